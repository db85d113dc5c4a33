/* SPDX-License-Identifier: MIT
 *
 * The decision about the size of a pool; see autoscale.h.
 */
#include "worker/autoscale.h"

#include <stdbool.h>

static int clamp(int value, int min, int max)
{
    return value < min ? min : value > max ? max : value;
}

/* The peak of a window that is not forgotten all at once: two halves, the older one dropped. */
static int note_peak(struct autoscale *a, const struct autoscale_view *view)
{
    if (a->window_us == 0)
        *a = (struct autoscale){.changed_us = view->now_us, .window_us = view->now_us};
    if (view->now_us - a->window_us >= view->keep_us / 2) {
        a->former_peak = a->peak;
        a->peak = 0;
        a->window_us = view->now_us;
    }
    if (view->busy > a->peak)
        a->peak = view->busy;
    return a->peak > a->former_peak ? a->peak : a->former_peak;
}

static bool should_grow(const struct autoscale *a, const struct autoscale_view *view)
{
    return view->busy >= view->slots && view->oldest_age_us > AUTOSCALE_WAIT_US &&
           view->now_us - a->changed_us >= AUTOSCALE_STEP_US;
}

/* Three quarters used is well used: what is grown by half and then used by more stays. */
static bool should_shrink(const struct autoscale *a, const struct autoscale_view *view, int peak)
{
    return peak * 4 <= view->slots * 3 && view->now_us - a->changed_us >= view->keep_us;
}

int autoscale_decide(struct autoscale *a, const struct autoscale_view *view)
{
    int peak = note_peak(a, view);
    int wanted = view->slots;

    if (should_grow(a, view))
        wanted = view->slots + (view->slots > 2 ? view->slots / 2 : 1);
    else if (should_shrink(a, view, peak))
        wanted = peak + (peak + 3) / 4;
    wanted = clamp(wanted, view->min, view->max);
    if (wanted != view->slots)
        a->changed_us = view->now_us;
    return wanted;
}

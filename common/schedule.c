/* SPDX-License-Identifier: MIT
 *
 * The pure part of a schedule; see schedule.h. Opens nothing.
 */
#include "common/schedule.h"

#include <string.h>

#include "common/auto.h"
#include "common/mem.h"

enum { CLOCK_TOLERANCE_S = 2 };

static const char *const overlap_names[] = {
#define X(name, text) text,
    SCHEDULE_OVERLAPS(X)
#undef X
};

const char *schedule_overlap_name(enum schedule_overlap overlap) { return overlap_names[overlap]; }

bool schedule_overlap_parse(const char *name, enum schedule_overlap *ret_overlap)
{
    for (size_t i = 0; i < COUNT_OF(overlap_names); i++) {
        if (strcmp(name, overlap_names[i]) == 0) {
            *ret_overlap = (enum schedule_overlap)i;
            return true;
        }
    }
    return false;
}

void schedule_release(struct schedule *schedule)
{
    mem_free(schedule->name);
    mem_free(schedule->cron);
    mem_free(schedule->zone);
    mem_free(schedule->task);
    mem_free(schedule->args);
    mem_free(schedule->kwargs);
    mem_free(schedule->queue);
    *schedule = (struct schedule){0};
}

/* FNV-1a with a last mixing (of splitmix64), since names are short and alike. */
int64_t schedule_delay_s(const struct schedule *schedule)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (const char *p = schedule->name; *p; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(1099511628211);
    hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
    hash ^= hash >> 31;
    return (int64_t)(hash % ((uint64_t)schedule->jitter_s + 1));
}

/* ---- which ticks ---- */

/* How many there are from `first`, which is one, to before `end`; at most SCHEDULE_COUNT_MAX. */
static int64_t count_ticks(const struct cron *cron, const struct zone *zone, int64_t first,
                           int64_t end)
{
    int64_t count = 0;

    for (int64_t at = first; at < end && count < SCHEDULE_COUNT_MAX;) {
        count++;
        if (!cron_next(cron, zone, at, &at))
            break;
    }
    return count;
}

/* Everything from `first`, a tick, to before `end` is missed: the last ones each by itself, what is
 * before them as one. */
static void plan_missed(const struct cron *cron, const struct zone *zone, int64_t first,
                        int64_t end, int64_t oldest, struct schedule_plan *plan)
{
    int64_t ticks[SCHEDULE_MISSED_MAX];
    size_t count = cron_last(cron, zone, first, end - 1, SCHEDULE_MISSED_MAX, ticks);

    if (count > 0 && ticks[0] > first)
        plan->missed[plan->missed_count++] =
            (struct schedule_missed){.tick = first,
                                     .ticks = count_ticks(cron, zone, first, ticks[0]),
                                     .is_too_old = first < oldest};
    for (size_t i = 0; i < count; i++)
        plan->missed[plan->missed_count++] =
            (struct schedule_missed){.tick = ticks[i], .ticks = 1, .is_too_old = ticks[i] < oldest};
}

/* The first tick that is not before `oldest`: ticks of an interval keep their phase. */
static int64_t window_start(const struct cron *cron, int64_t first, int64_t oldest)
{
    int64_t steps;

    if (first >= oldest)
        return first;
    if (!cron->every_s)
        return oldest;
    steps = (oldest - first + cron->every_s - 1) / cron->every_s;
    return first + steps * cron->every_s;
}

static void plan_due(const struct schedule *schedule, const struct cron *cron,
                     const struct zone *zone, int64_t first, int64_t until,
                     struct schedule_plan *plan)
{
    int64_t window =
        schedule->catch_up_s > SCHEDULE_GRACE_S ? schedule->catch_up_s : SCHEDULE_GRACE_S;
    int64_t oldest = until - window;
    size_t runs = schedule->catch_up_runs < SCHEDULE_RUNS_MAX ? (size_t)schedule->catch_up_runs
                                                              : SCHEDULE_RUNS_MAX;
    int64_t missed_end;

    plan->fire_count =
        cron_last(cron, zone, window_start(cron, first, oldest), until, runs, plan->fire);
    missed_end = plan->fire_count > 0 ? plan->fire[0] : until + 1;
    if (first < missed_end)
        plan_missed(cron, zone, first, missed_end, oldest, plan);
    plan->decided_to = plan->fire_count > 0 ? plan->fire[plan->fire_count - 1]
                                            : plan->missed[plan->missed_count - 1].tick;
}

void schedule_decide(const struct schedule *schedule, const struct cron *cron,
                     const struct zone *zone, int64_t decided_to, int64_t now,
                     struct schedule_plan *ret_plan)
{
    int64_t until = now - schedule_delay_s(schedule);
    int64_t first;

    *ret_plan = (struct schedule_plan){.decided_to = decided_to};
    if (decided_to > now + CLOCK_TOLERANCE_S)
        ret_plan->decided_to = now;
    if (cron_next(cron, zone, ret_plan->decided_to, &first) && first <= until)
        plan_due(schedule, cron, zone, first, until, ret_plan);
    ret_plan->has_next = cron_next(cron, zone, ret_plan->decided_to, &ret_plan->next);
}

/* SPDX-License-Identifier: MIT
 *
 * The shared memory of a supervisor and its processes; see seat.h.
 */
#include "worker/seat.h"

#include <string.h>
#include <sys/mman.h>

#include "common/clock.h"

static size_t size_of(int count)
{
    return sizeof(struct seats) + (size_t)count * sizeof(struct seat);
}

struct seats *seats_new(int count)
{
    struct seats *seats =
        mmap(NULL, size_of(count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (seats == MAP_FAILED)
        return NULL;
    seats->count = count;
    seats->started_us = clock_mono_us();
    return seats;
}

void seats_free(struct seats *seats)
{
    if (seats)
        (void)munmap(seats, size_of(seats->count));
}

void seat_clear(struct seat *seat)
{
    atomic_store(&seat->tick_us, 0);
    atomic_store(&seat->is_ready, false);
    for (int i = 0; i < SEAT_SLOTS_MAX; i++)
        if (atomic_load(&seat->slots[i].limit_us)) /* pages that nobody used stay unused */
            atomic_store(&seat->slots[i].limit_us, 0);
}

void seat_add_overrun(struct seat *seat, const struct uuid *id, int attempt, int64_t limit_us)
{
    int count = atomic_load(&seat->overrun_count);

    for (int i = 0; i < count; i++)
        if (strcmp(seat->overruns[i].id.text, id->text) == 0 &&
            seat->overruns[i].attempt == attempt)
            return;
    if (count >= SEAT_OVERRUNS_MAX)
        return;
    seat->overruns[count] =
        (struct seat_overrun){.id = *id, .attempt = attempt, .limit_us = limit_us};
    atomic_store(&seat->overrun_count, count + 1);
}

/* ---- leaving in turn ---- */

bool seats_may_leave(struct seats *seats, int index)
{
    int nobody = 0;

    return atomic_compare_exchange_strong(&seats->leaving, &nobody, index + 1) ||
           nobody == index + 1;
}

void seats_end_turn(struct seats *seats, int index)
{
    int mine = index + 1;

    (void)atomic_compare_exchange_strong(&seats->leaving, &mine, 0);
}

/* ---- the watch ---- */

static bool is_overrun(const struct seat *seat, int64_t now_us)
{
    for (int i = 0; i < SEAT_SLOTS_MAX; i++) {
        int64_t limit_us = atomic_load_explicit(&seat->slots[i].limit_us, memory_order_relaxed);

        if (limit_us && now_us - limit_us > SEAT_LIMIT_GRACE_S * US_PER_S)
            return true;
    }
    return false;
}

enum seat_verdict seat_judge(const struct seat *seat, struct seat_watch *watch, int64_t now_us,
                             int64_t late_us, int64_t lease_us)
{
    int64_t tick_us = atomic_load(&seat->tick_us);
    int64_t silence_us = 2 * lease_us;

    if (silence_us < SEAT_SILENCE_MIN_S * US_PER_S)
        silence_us = SEAT_SILENCE_MIN_S * US_PER_S;
    if (tick_us != watch->tick_us || tick_us == 0)
        *watch = (struct seat_watch){.tick_us = tick_us, .seen_us = now_us};
    else
        watch->seen_us += late_us;
    if (late_us > 0)
        return SEAT_WELL; /* whatever it should have done meanwhile, it does now */
    if (is_overrun(seat, now_us))
        return SEAT_OVERRUN;
    return now_us - watch->seen_us > silence_us ? SEAT_SILENT : SEAT_WELL;
}

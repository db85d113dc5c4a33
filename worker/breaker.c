/* SPDX-License-Identifier: MIT
 *
 * When to leave a server outside alone; see breaker.h. Knows no clock and no server: who calls says
 * what time it is.
 */
#include "worker/breaker.h"

#include <stddef.h>

#include "common/clock.h"

enum {
    FAILURES_MAX = 3,
    SILENCE_MS = 1000,
    BUSY_WAIT_MS = 1000,
    PAUSE_FIRST_MS = 500,
    PAUSE_MAX_MS = 5000,
    DELAY_MAX_S = 30,
    DOUBLINGS_MAX = 5,
};

void breaker_init(struct breaker *breaker, int slots)
{
    *breaker =
        (struct breaker){.half = slots > 1 ? slots / 2 : 1, .pause_us = PAUSE_FIRST_MS * US_PER_MS};
    pthread_mutex_init(&breaker->lock, NULL);
}

void breaker_release(struct breaker *breaker) { pthread_mutex_destroy(&breaker->lock); }

/* The lock is held. How long to wait; 0: go on. */
static int64_t judge(const struct breaker *breaker, int64_t now_us)
{
    if (breaker->is_open) {
        if (now_us < breaker->open_until_us)
            return breaker->open_until_us - now_us;
        return breaker->is_tried ? breaker->pause_us : 0;
    }
    if (breaker->calls >= breaker->half &&
        now_us - breaker->silent_since_us > SILENCE_MS * US_PER_MS)
        return BUSY_WAIT_MS * US_PER_MS;
    return 0;
}

bool breaker_enter(struct breaker *breaker, int64_t now_us, int64_t *ret_wait_us)
{
    int64_t wait_us;

    if (!breaker)
        return true;
    pthread_mutex_lock(&breaker->lock);
    wait_us = judge(breaker, now_us);
    if (wait_us == 0) {
        if (breaker->calls++ == 0)
            breaker->silent_since_us = now_us;
        breaker->is_tried = breaker->is_open;
    }
    pthread_mutex_unlock(&breaker->lock);
    if (wait_us > 0)
        *ret_wait_us = wait_us;
    return wait_us == 0;
}

/* The lock is held. */
static enum breaker_change note_answer(struct breaker *breaker, int64_t now_us)
{
    bool was_open = breaker->is_open;

    breaker->is_open = false;
    breaker->is_tried = false;
    breaker->failures = 0;
    breaker->silent_since_us = now_us;
    breaker->pause_us = PAUSE_FIRST_MS * US_PER_MS;
    return was_open ? BREAKER_CLOSED : BREAKER_SAME;
}

/* The lock is held. Those that were on their way when it opened say nothing new. */
static enum breaker_change note_silence(struct breaker *breaker, int64_t now_us)
{
    bool was_open = breaker->is_open;

    breaker->failures++;
    if (was_open ? !breaker->is_tried : breaker->failures < FAILURES_MAX)
        return BREAKER_SAME;
    breaker->is_open = true;
    breaker->is_tried = false;
    breaker->open_until_us = now_us + breaker->pause_us;
    breaker->pause_us *= 2;
    if (breaker->pause_us > PAUSE_MAX_MS * US_PER_MS)
        breaker->pause_us = PAUSE_MAX_MS * US_PER_MS;
    return was_open ? BREAKER_SAME : BREAKER_OPENED;
}

enum breaker_change breaker_leave(struct breaker *breaker, int64_t now_us, bool answered)
{
    enum breaker_change change;

    if (!breaker)
        return BREAKER_SAME;
    pthread_mutex_lock(&breaker->lock);
    breaker->calls--;
    change = answered ? note_answer(breaker, now_us) : note_silence(breaker, now_us);
    pthread_mutex_unlock(&breaker->lock);
    return change;
}

int64_t breaker_delay_us(int64_t wait_us, int times, uint32_t random)
{
    int64_t delay_us = US_PER_S << (times < DOUBLINGS_MAX ? times : DOUBLINGS_MAX);

    if (delay_us > DELAY_MAX_S * US_PER_S)
        delay_us = DELAY_MAX_S * US_PER_S;
    if (delay_us < wait_us)
        delay_us = wait_us;
    return delay_us / 2 + delay_us / 2 * (int64_t)random / BREAKER_RANDOM_MAX + wait_us / 2;
}

/* SPDX-License-Identifier: MIT
 *
 * The pure part of a job: states, moves, backoff; see job.h. Opens nothing.
 */
#include "common/job.h"

#include <string.h>

#include "common/auto.h"
#include "common/mem.h"

static const char *const state_names[] = {
#define X(name) #name,
    JOB_STATES(X)
#undef X
};

#define TO(state) (1u << JOB_##state)

/* Row: from; bits: to. The trigger jobs_transition in sql/0018_checks_after.sql says the same.
 * STARTED to STARTED is a takeover: a new attempt, no new state. */
static const unsigned legal_moves[JOB_STATE_COUNT] = {
    [JOB_PENDING] = TO(STARTED) | TO(FAILURE) | TO(REVOKED),
    [JOB_RETRY] = TO(STARTED) | TO(PENDING) | TO(FAILURE) | TO(REVOKED),
    [JOB_STARTED] = TO(PENDING) | TO(RETRY) | TO(SUCCESS) | TO(FAILURE) | TO(REVOKED),
    [JOB_SUCCESS] = 0,
    [JOB_FAILURE] = TO(PENDING),
    [JOB_REVOKED] = TO(PENDING),
};

void job_release(struct job *job)
{
    mem_free(job->task);
    mem_free(job->queue);
    mem_free(job->args);
    mem_free(job->kwargs);
    mem_free(job->headers);
    mem_free(job->traceparent);
    *job = (struct job){0};
}

const char *job_state_name(enum job_state state) { return state_names[state]; }

bool job_state_parse(const char *name, enum job_state *ret_state)
{
    for (size_t i = 0; i < COUNT_OF(state_names); i++) {
        if (strcmp(name, state_names[i]) == 0) {
            *ret_state = (enum job_state)i;
            return true;
        }
    }
    return false;
}

bool job_is_final(enum job_state state)
{
    return state == JOB_SUCCESS || state == JOB_FAILURE || state == JOB_REVOKED;
}

bool job_may_become(enum job_state from, enum job_state to)
{
    return (legal_moves[from] & (1u << to)) != 0;
}

/* x * percent / 100 without overflow; `max` when it is more. */
static int64_t scale(int64_t x, int percent, int64_t max)
{
    int64_t rest = x % 100 * percent / 100;

    if (x / 100 > (max - rest) / percent)
        return max;
    return x / 100 * percent + rest;
}

static int64_t exponential_us(const struct backoff *backoff, int failures)
{
    int percent = backoff->factor_percent ? backoff->factor_percent : 200;
    int64_t wait = backoff->base_us;

    for (int i = 1; i < failures && wait < backoff->max_us; i++) {
        int64_t next = scale(wait, percent, backoff->max_us);

        if (next <= wait) /* it does not grow */
            break;
        wait = next;
    }
    return wait;
}

static int64_t linear_us(const struct backoff *backoff, int failures)
{
    int percent = backoff->factor_percent ? backoff->factor_percent : 100;
    int64_t step = scale(backoff->base_us, percent, backoff->max_us);
    int64_t room = backoff->max_us - backoff->base_us;

    if (failures <= 1 || room <= 0)
        return backoff->base_us;
    if (step > 0 && failures - 1 > room / step)
        return backoff->max_us;
    return backoff->base_us + step * (failures - 1);
}

int64_t job_backoff_us(const struct backoff *backoff, int failures, uint64_t random)
{
    int64_t wait = backoff->base_us;

    if (backoff->curve == BACKOFF_EXPONENTIAL)
        wait = exponential_us(backoff, failures);
    else if (backoff->curve == BACKOFF_LINEAR)
        wait = linear_us(backoff, failures);
    if (wait > backoff->max_us)
        wait = backoff->max_us;
    if (backoff->jitter == BACKOFF_JITTER_FULL)
        return (int64_t)(random % ((uint64_t)wait + 1));
    if (backoff->jitter == BACKOFF_JITTER_EQUAL)
        return wait / 2 + (int64_t)(random % (uint64_t)(wait - wait / 2 + 1));
    return wait;
}

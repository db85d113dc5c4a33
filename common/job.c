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

/* Row: from; bits: to. The trigger jobs_transition in sql/0007_hot_claims.sql says the same.
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

int64_t job_backoff_us(int attempt, int64_t base_us, int64_t max_us, uint32_t random)
{
    int64_t wait = base_us;

    for (int i = 1; i < attempt && wait < max_us; i++)
        wait = wait > max_us / 2 ? max_us : wait * 2;
    if (wait > max_us)
        wait = max_us;
    return wait / 2 + (int64_t)(random % (uint64_t)(wait - wait / 2 + 1));
}

/* SPDX-License-Identifier: MIT
 *
 * What a job is, and the decisions about it that need no server: which states it may take and when
 * it is tried again. Its life is drawn in worker/README.md.
 */
#ifndef COMMON_JOB_H
#define COMMON_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "common/uuid.h"

/* Celery's names, which users know. The same states and moves stand in sql/0018_checks_after.sql.
 */
#define JOB_STATES(X)                                                                              \
    X(PENDING) /* waits: for a worker, or for its time */                                          \
    X(STARTED) /* a worker has it */                                                               \
    X(RETRY)   /* failed, waits for its next attempt */                                            \
    X(SUCCESS)                                                                                     \
    X(FAILURE) /* dead: attempts used up, or not worth retrying */                                 \
    X(REVOKED) /* cancelled */

enum job_state {
#define X(name) JOB_##name,
    JOB_STATES(X)
#undef X
};

enum { JOB_STATE_COUNT = JOB_REVOKED + 1 };

enum job_priority { JOB_PRIORITY_HIGH, JOB_PRIORITY_NORMAL, JOB_PRIORITY_LOW };
enum { JOB_PRIORITY_COUNT = 3 };

/* When the unique key of a new job is held by an unfinished one. */
enum job_conflict {
    JOB_CONFLICT_KEEP,    /* that one stays as it is */
    JOB_CONFLICT_REPLACE, /* it becomes the new one while it waits; while it runs, it gives the key
                             up, ends with this attempt, and the new one is added */
    JOB_CONFLICT_REFUSE,  /* ERR_CONFLICT, which names it */
};

enum {
    JOB_NAME_MAX = 200,        /* of a task or a queue, bytes */
    JOB_ARGS_MAX = 256 * 1024, /* JSON text of args or kwargs, bytes */
    JOB_DEFAULT_ATTEMPTS = 10,
};

#define JOB_DEFAULT_QUEUE "default"

/* A job as a worker holds it. All texts are owned; job_release() frees them. */
struct job {
    struct uuid id;
    char *task;
    char *queue;
    enum job_priority priority;
    int attempt; /* 1 is the first; the fence of everything this attempt writes */
    int max_attempts;
    bool has_places;   /* under limits; as far as its claim knew */
    int snoozes;       /* attempts in which it put itself off; they are no failures */
    char *args;        /* JSON array */
    char *kwargs;      /* JSON object */
    char *headers;     /* JSON object of texts, or NULL */
    char *traceparent; /* or NULL */
    int64_t created_us;
};

void job_release(struct job *job);

const char *job_state_name(enum job_state state);
bool job_state_parse(const char *name, enum job_state *ret_state);
bool job_is_final(enum job_state state);
bool job_may_become(enum job_state from, enum job_state to);

/* How the waits between the attempts of a failing job grow. */
enum backoff_curve {
    BACKOFF_EXPONENTIAL, /* base, then each the one before times the factor */
    BACKOFF_LINEAR,      /* base, then each longer by base times the factor */
    BACKOFF_CONSTANT,    /* base */
};

/* How much of a wait is random, so that jobs that failed together do not return together. (The
 * names are those of the AWS Architecture Blog, Exponential Backoff And Jitter.) */
enum backoff_jitter {
    BACKOFF_JITTER_EQUAL, /* the upper half */
    BACKOFF_JITTER_FULL,  /* all of it */
    BACKOFF_JITTER_NONE,
};

struct backoff {
    enum backoff_curve curve;
    enum backoff_jitter jitter;
    int factor_percent; /* 0: 200 for the exponential curve, 100 for the linear one */
    int64_t base_us;
    int64_t max_us;
};

/* Wait before the next attempt: after the first failure the base, and never more than the maximum.
 * `failures` counts from 1; `random` is any 64 bits. */
int64_t job_backoff_us(const struct backoff *backoff, int failures, uint64_t random);

#endif

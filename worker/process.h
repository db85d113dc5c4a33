/* SPDX-License-Identifier: MIT
 *
 * One worker process: a thread that fetches and claims, a thread that keeps leases and
 * acknowledges, one that hears which queues are paused, and TILL_WORKER_CONCURRENCY slots that run
 * jobs. They share this struct: settings, streams and names are read-only once the threads run (the
 * name belongs to the keeper's start), the pool has its own lock, the counters are atomic.
 */
#ifndef WORKER_PROCESS_H
#define WORKER_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/queue.h"
#include "common/queue_list.h"
#include "worker/limit_board.h"
#include "worker/pool.h"

#define PROCESS_COUNTERS(X)                                                                        \
    X(succeeded)                                                                                   \
    X(failed)                                                                                      \
    X(retried)                                                                                     \
    X(dropped)    /* deliveries of jobs that needed no run: duplicates, finished, cancelled */     \
    X(taken_over) /* deliveries of workers that were gone */

enum process_phase {
    PROCESS_RUNNING,
    PROCESS_QUIET,    /* takes no more work, finishes what it has */
    PROCESS_STOPPING, /* the same, and ends then */
};

struct process {
    const struct conf *conf;
    const char *token; /* holds this process' name across replacements */
    char host[64];
    char name[QUEUE_WORKER_NAME_SIZE]; /* "host:N" */
    struct queue_list queues;          /* what TILL_QUEUES says */
    struct queue_stream *streams; /* its queues' high, normal, low, one queue after the other */
    size_t stream_count;
    struct pool *pool;
    struct limit_board *limits;
    struct journal *journal; /* what running jobs say */
    int64_t started_us;      /* wall */
    atomic_int phase;        /* enum process_phase */
    atomic_bool name_lost;   /* another holds our name: end, so that a new process gets its own */
    atomic_bool keeper_ends;
    int ready_fd;                       /* gets one byte when the fetch thread consumes */
    atomic_int_fast64_t fetch_client;   /* Redis' id of the fetch connection; 0: none */
    atomic_bool *paused;                /* one for each stream: its queue gives nothing out */
    atomic_uint_fast64_t control_epoch; /* counts changes of both; 0: not known yet */
    atomic_uint_fast64_t control_seen;  /* the epoch that the fetch thread works by */
    int control_fd;                     /* an eventfd: written to, it ends the control thread */
#define X(name) atomic_uint_fast64_t name;
    PROCESS_COUNTERS(X)
#undef X
};

static inline enum process_phase process_phase(const struct process *process)
{
    return (enum process_phase)atomic_load(&process->phase);
}

static inline bool process_is_stopping(const struct process *process)
{
    return process_phase(process) == PROCESS_STOPPING;
}

/* Waits `us` or until the process stops, in small steps; false when it stops. For pauses between
 * attempts to reach a server, outside of any job. */
bool process_pause(const struct process *process, int64_t us);

/* The life of a child of the supervisor, until it is told to end. `token` holds its name;
 * `ready_fd` gets one byte once it consumes. Gives the exit code. */
int process_main(const struct conf *conf, const char *token, int ready_fd);

#endif

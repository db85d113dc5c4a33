/* SPDX-License-Identifier: MIT
 *
 * One worker process: a thread that fetches and claims, a thread that keeps leases and
 * acknowledges, one that hears what people order, and slots that run jobs, as many as were set up
 * or ordered. The main thread starts and ends them and watches over the others. They share this
 * struct: settings, streams and names are read-only once the threads run (the name belongs to the
 * keeper's start), the pool has its own lock, the counters are atomic.
 */
#ifndef WORKER_PROCESS_H
#define WORKER_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/queue.h"
#include "common/queue_list.h"
#include "worker/breaker.h"
#include "worker/limit_board.h"
#include "worker/meter.h"
#include "worker/pool.h"
#include "worker/seat.h"

/* What became of jobs is counted by meter.h. */
#define PROCESS_COUNTERS(X)                                                                        \
    X(dropped)    /* deliveries of jobs that needed no run: duplicates, finished, cancelled */     \
    X(taken_over) /* deliveries of workers that were gone */                                       \
    X(deaf)       /* times that nothing was heard of entries that waited */

/* What is kept for each stream has room for as many as there may ever be. */
enum { PROCESS_STREAMS_MAX = QUEUE_LIST_MAX * JOB_PRIORITY_COUNT };

enum { EXIT_OVERRUN = 70, EXIT_NAME_LOST = 71, EXIT_STOPPED = 72 /* ordered: not replaced */ };

enum process_phase {
    PROCESS_RUNNING,
    PROCESS_STOPPING, /* takes no more work, finishes what it has, and ends then */
};

/* Why a process takes no more work, but goes on with what it has. Any of them is enough. */
enum {
    QUIET_BY_SIGNAL = 1,
    QUIET_BY_ORDER = 2,
    QUIET_TO_LEAVE = 4, /* it is being replaced */
};

/* What is wrong with it, as far as it can tell; the worst of it. */
enum process_health { HEALTH_OK, HEALTH_NO_DATABASE, HEALTH_NO_REDIS, HEALTH_DEAF };

/* What the long-lived threads are doing, for SIGUSR1: a constant text and since when. */
enum process_role { ROLE_FETCH, ROLE_KEEPER, ROLE_CONTROL };
enum { ROLE_COUNT = ROLE_CONTROL + 1 };

struct process_doing {
    _Atomic(const char *) what;
    atomic_int_fast64_t since_us; /* monotonic */
};

/* What the fetch thread tells of itself to the watch for deafness; one for each stream. */
struct process_asked {
    atomic_uint_fast64_t count; /* how often it asked for new entries while there was room */
    atomic_uint_fast64_t got;   /* entries */
};

/* The pool that is wanted, as set up or ordered. */
struct process_size {
    atomic_int slots;
    atomic_int min; /* 0: no autoscaling */
    atomic_int max;
};

struct deadlines;
struct interrupts;
struct last_error;

struct process {
    const struct conf *conf;
    const char *token; /* holds this process' name across replacements */
    char host[64];
    char name[QUEUE_WORKER_NAME_SIZE]; /* "host:N" */
    /* What TILL_QUEUES says, and behind it what was ordered since; nothing ever leaves. */
    struct queue_list queues;
    size_t own_queues;            /* those of TILL_QUEUES */
    struct queue_stream *streams; /* its queues' high, normal, low, one queue after the other */
    atomic_size_t stream_count;   /* by the control thread, once the stream is whole */
    struct pool *pool;
    struct limit_board *limits;
    struct deadlines *deadlines; /* how long tasks may run */
    struct journal *journal;     /* what running jobs say */
    struct events *events;       /* what becomes of jobs, for live views */
    struct meters *meters;
    struct breaker gateway_breaker;
    struct breaker mail_breaker;
    struct interrupts *interrupts;
    struct last_error *last_error;
    struct seats *seats; /* shared with the supervisor */
    struct seat *seat;   /* ours */
    int seat_index;
    int64_t started_us;      /* wall */
    int64_t started_mono_us; /* monotonic */
    atomic_int phase;        /* enum process_phase */
    atomic_int quiet;        /* QUIET_BY_... together; a change counts up control_epoch */
    struct process_size size;
    atomic_bool stop_ordered;    /* end, and do not be replaced */
    atomic_bool restart_ordered; /* finish, end, and be replaced, when it is our turn */
    atomic_bool overran;         /* a job is past its hard limit: end at once */
    atomic_bool database_lost;   /* by the control thread */
    atomic_bool redis_lost;      /* by the fetch thread */
    atomic_bool is_deaf;
    atomic_bool reconnect;       /* to the fetch thread: make a new connection */
    atomic_int_fast64_t lag_us;  /* longest wait in a stream that was seen since the last beat */
    struct process_asked *asked; /* one for each stream */
    struct process_doing doing[ROLE_COUNT];
    /* Both monotonic, by the keeper. */
    atomic_int_fast64_t kept_us;           /* when Redis last took a renewal or a heartbeat */
    atomic_int_fast64_t take_over_from_us; /* after Redis was away: from then on all others have had
                                              the time to renew what they hold */
    atomic_bool is_replaced; /* ends in order and another takes its place: the name is left to it */
    atomic_bool name_lost;   /* another holds our name: end, so that a new process gets its own */
    atomic_bool keeper_ends;
    atomic_int_fast64_t fetch_client; /* Redis' id of the fetch connection; 0: none */
    atomic_bool *ignored; /* one for each stream: this worker is not to consume its queue */
    atomic_bool *closed;  /* likewise: it is ignored, or its queue is paused */
    atomic_uint_fast64_t control_epoch; /* counts changes of orders and limits; 0: not known yet */
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

/* How long an entry stays its reader's, and a name its process's, without being renewed. It is
 * shorter than the setting, within which another is to run what a dead worker had: other workers
 * look for such entries up to half of this later, the scheduler (heal.c) up to a third. */
static inline int64_t process_lease_us(const struct process *process)
{
    return process->conf->lease_seconds * US_PER_S * 2 / 3;
}

static inline size_t process_queue_count(const struct process *process)
{
    return atomic_load(&process->stream_count) / JOB_PRIORITY_COUNT;
}

static inline bool process_is_quiet(const struct process *process)
{
    return atomic_load(&process->quiet) != 0;
}

static inline void process_note_doing(struct process *process, enum process_role role,
                                      const char *what, int64_t now_us)
{
    atomic_store_explicit(&process->doing[role].since_us, now_us, memory_order_relaxed);
    atomic_store_explicit(&process->doing[role].what, what, memory_order_relaxed);
}

/* For the fetch thread, which alone writes them. */
static inline void process_note_asked(const struct process *process, size_t stream)
{
    struct process_asked *asked = &process->asked[stream];

    atomic_store_explicit(&asked->count,
                          atomic_load_explicit(&asked->count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static inline void process_note_got(const struct process *process, size_t stream, uint64_t entries)
{
    struct process_asked *asked = &process->asked[stream];

    if (entries > 0)
        atomic_store_explicit(&asked->got,
                              atomic_load_explicit(&asked->got, memory_order_relaxed) + entries,
                              memory_order_relaxed);
}

static inline bool process_is_stopping(const struct process *process)
{
    return process_phase(process) == PROCESS_STOPPING;
}

/* Another queue to consume, with weight 1 where there are weights; false: there are QUEUE_LIST_MAX
 * already. For the start and then the control thread alone. */
bool process_add_queue(struct process *process, const char *queue);

/* Waits `us` or until the process stops, in small steps; false when it stops. For pauses between
 * attempts to reach a server, outside of any job. */
bool process_pause(const struct process *process, int64_t us);

/* Sets or lifts one reason to take no work; the fetch thread works by it from its next step on. */
void process_set_quiet(struct process *process, int reason, bool set);

/* Has the main thread look at once at what has changed. */
void process_wake_main(void);

enum process_health process_health(const struct process *process);

/* The life of a child of the supervisor in its seat, until it is told to end. `token` holds its
 * name. Gives the exit code. */
int process_main(const struct conf *conf, const char *token, struct seats *seats, int seat_index);

#endif

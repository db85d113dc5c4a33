/* SPDX-License-Identifier: MIT
 *
 * What a supervisor and its worker processes share: one seat for each process, in memory that both
 * map. The process writes that it lives, that it is ready, and until when its running jobs may
 * take; the supervisor reads it and ends whoever overruns or falls silent. All of it is atomic or
 * written before a flag that is.
 *
 * A replacement takes the seat of its predecessor, and with it the name.
 */
#ifndef WORKER_SEAT_H
#define WORKER_SEAT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/queue.h"
#include "common/uuid.h"

enum { SEAT_SLOTS_MAX = 256, SEAT_OVERRUNS_MAX = 128 };

/* On a cache line of its own: written twice a job. */
struct seat_slot {
    _Alignas(64) atomic_int_fast64_t limit_us; /* monotonic: hard limit of what runs; 0: none */
};

/* A job that has ended its process by running for too long: for whoever takes the seat next, who
 * can write down what it was, since by then it can not end well any more. */
struct seat_overrun {
    struct uuid id;
    int attempt;
    int64_t limit_us; /* how long it might have run */
};

struct seat {
    atomic_int_fast64_t tick_us;       /* monotonic: last sign of life of the keeper; 0: none yet */
    atomic_bool is_ready;              /* it consumes */
    char name[QUEUE_WORKER_NAME_SIZE]; /* "": none yet; the process alone reads and writes it */
    atomic_int overrun_count;
    struct seat_overrun overruns[SEAT_OVERRUNS_MAX]; /* those that were there before it sat down */
    struct seat_slot slots[SEAT_SLOTS_MAX];
};

struct seats {
    atomic_bool quiet;  /* TSTP: every process, the next ones included, takes no work */
    atomic_int leaving; /* 1 + index of the seat that is being replaced in turn; 0: none */
    int64_t started_us; /* monotonic: of the supervisor */
    int count;
    struct seat items[];
};

/* Shared with every child forked afterwards. NULL when there is no memory. */
struct seats *seats_new(int count);
void seats_free(struct seats *seats);

/* A new process sits down: everything but the name and the overruns is as new. */
void seat_clear(struct seat *seat);

/* By the process that is to end: by its keeper, and then by its main thread for those that overran
 * meanwhile. One that is there already, or that there is no room for, is left out. */
void seat_add_overrun(struct seat *seat, const struct uuid *id, int attempt, int64_t limit_us);

/* ---- leaving in turn: so that the processes of a supervisor are not replaced all at once ---- */

/* Whether it is this one's turn; it keeps it until its replacement is ready. */
bool seats_may_leave(struct seats *seats, int index);
void seats_end_turn(struct seats *seats, int index);

/* ---- the supervisor's watch, pure but for the reads ---- */

enum {
    SEAT_LIMIT_GRACE_S = 5, /* past a hard limit the process has ended itself by then */
    SEAT_SILENCE_MIN_S = 10,
};

/* What the supervisor remembers of a seat. */
struct seat_watch {
    int64_t tick_us; /* the last one seen */
    int64_t seen_us; /* monotonic: when it was first seen */
};

enum seat_verdict {
    SEAT_WELL,
    SEAT_OVERRUN, /* a job is past its hard limit and the process has not ended itself */
    SEAT_SILENT,  /* no sign of life for two leases */
};

/* Judges by what it sees itself: a supervisor that was stopped together with its processes must not
 * take the time for theirs. `late_us`: how much later than meant this look comes. */
enum seat_verdict seat_judge(const struct seat *seat, struct seat_watch *watch, int64_t now_us,
                             int64_t late_us, int64_t lease_us);

#endif

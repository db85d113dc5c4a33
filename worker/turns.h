/* SPDX-License-Identifier: MIT
 *
 * Whose turn it is: which streams to read next, and how many jobs from each. Pure: it is asked for
 * the next command of a round and told what that command brought.
 *
 *   turns_begin(turns);                     a round fills the room there is
 *   while (turns_next(turns, room, &ask)) {
 *       ... one XREADGROUP, ask.max from each of its streams, ...
 *       for (each i of ask)
 *           turns_note(turns, ask.sources[i], ask.max, got[i]), room -= got[i];
 *   }
 *
 * Without weights the streams are in strict order: one is read when all before it have given less
 * than they were asked for. With weights the queues share in proportion, counted in jobs, and the
 * priorities within each are in strict order. Strict has one exception, so that nothing waits for
 * ever: one round in TURNS_GUARD begins at the stream that has been passed over longest.
 *
 * To save round trips, streams that had nothing lately are asked together, for one job each, and
 * what comes after them at the same time (turns_ahead()): should one of them have something again,
 * what stands behind it may get one more round of tiny jobs before it.
 */
#ifndef WORKER_TURNS_H
#define WORKER_TURNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/queue_list.h"

enum {
    TURNS_PRIORITIES = 3,
    TURNS_SOURCES_MAX = QUEUE_LIST_MAX * TURNS_PRIORITIES,
    TURNS_GUARD = 16,
};

/* A source is queue * TURNS_PRIORITIES + priority. */
struct turns_queue {
    int weight;
    bool is_closed; /* gives nothing: paused */
    bool is_joint;  /* all its priorities are read by one command of its own: its first source */
};

struct turns;

struct turns *turns_new(const struct turns_queue *queues, size_t count, bool is_weighted);
void turns_free(struct turns *turns);

struct turns_ask {
    size_t sources[TURNS_SOURCES_MAX];
    size_t count;
    int max; /* from each of them */
};

void turns_begin(struct turns *turns);
/* The source gives nothing in this round, whatever it holds. */
void turns_skip(struct turns *turns, size_t source);
/* False: the round is over, since there is no room or nothing more to ask. */
bool turns_next(struct turns *turns, int room, struct turns_ask *ret_ask);
void turns_note(struct turns *turns, size_t source, int max, int got);

/* What turns_next() would ask if `ask` brought nothing, so that both can be sent at once: worth
 * while where `ask` is of streams that had nothing lately, and nearly all is to be expected of the
 * next one. False: it is not so, or the room is small, and each job has to be the one whose turn it
 * is. What both could bring fits into the room. When the second has brought all it was asked for
 * the round is to end: asking for the few that there is room for still would cost what many do. */
bool turns_ahead(struct turns *turns, int room, const struct turns_ask *ask,
                 struct turns_ask *ret_ahead);

/* The order of the priorities in the `reads`th command that reads a joint queue: strict, and once
 * in TURNS_GUARD another one first. */
void turns_priorities(uint64_t reads, size_t order[TURNS_PRIORITIES]);

#endif

/* SPDX-License-Identifier: MIT
 *
 * What was counted of the dead the last time, for whoever asks next: common/dead_groups.h reads
 * only what has changed since.
 */
#ifndef API_DASHBOARD_DEAD_MEMORY_H
#define API_DASHBOARD_DEAD_MEMORY_H

#include "common/dead_groups.h"

enum {
    DEAD_MEMORY_QUEUES = 4,     /* that are remembered, with that of all queues together */
    DEAD_MEMORY_GROUPS = 10000, /* of one; what has more is counted anew */
};

struct dead_memory;

struct dead_memory *dead_memory_new(void);
void dead_memory_free(struct dead_memory *memory);

/* Takes what is there, or nothing, out of it. Queue NULL: of all. */
void dead_memory_take(struct dead_memory *memory, const char *queue,
                      struct dead_pieces *ret_pieces);
/* Takes the pieces over. */
void dead_memory_put(struct dead_memory *memory, const char *queue, struct dead_pieces *pieces);

#endif

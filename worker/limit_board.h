/* SPDX-License-Identifier: MIT
 *
 * The limits as this process knows them. The control thread puts them up, the others read; one
 * mutex guards the list.
 */
#ifndef WORKER_LIMIT_BOARD_H
#define WORKER_LIMIT_BOARD_H

#include <stdbool.h>

#include "common/limits.h"

struct limit_board;

struct limit_board *limit_board_new(void);

/* Takes the list over (`take` is emptied); whether it is another than before. */
bool limit_board_put(struct limit_board *board, struct limit_list *take);

/* Whether the queue has a limit; copies it. */
bool limit_board_queue(struct limit_board *board, const char *queue, struct limit *ret_limit);

/* The limits of tasks and keys. Owned by the caller. */
struct limit_list limit_board_copy(struct limit_board *board);

#endif

/* SPDX-License-Identifier: MIT
 *
 * The limits behind a mutex; see limit_board.h.
 */
#include "worker/limit_board.h"

#include <pthread.h>
#include <string.h>

#include "common/mem.h"

struct limit_board {
    pthread_mutex_t lock;
    struct limit_list list;
};

struct limit_board *limit_board_new(void)
{
    struct limit_board *board = mem_alloc(sizeof *board);

    pthread_mutex_init(&board->lock, NULL);
    return board;
}

static bool is_same(const struct limit_list *a, const struct limit_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct limit *x = &a->items[i];
        const struct limit *y = &b->items[i];

        if (x->scope != y->scope || strcmp(x->name, y->name) != 0 ||
            x->concurrency != y->concurrency || x->rate != y->rate ||
            x->per_seconds != y->per_seconds || x->burst != y->burst)
            return false;
    }
    return true;
}

bool limit_board_put(struct limit_board *board, struct limit_list *take)
{
    struct limit_list old = *take;
    bool changed;

    pthread_mutex_lock(&board->lock);
    changed = !is_same(&board->list, take);
    if (changed) {
        old = board->list;
        board->list = *take;
    }
    pthread_mutex_unlock(&board->lock);
    limit_list_release(&old);
    *take = (struct limit_list){0};
    return changed;
}

bool limit_board_queue(struct limit_board *board, const char *queue, struct limit *ret_limit)
{
    bool found = false;

    pthread_mutex_lock(&board->lock);
    for (size_t i = 0; i < board->list.count && !found; i++) {
        const struct limit *limit = &board->list.items[i];

        found = limit->scope == LIMIT_QUEUE && strcmp(limit->name, queue) == 0;
        if (found)
            *ret_limit = *limit;
    }
    pthread_mutex_unlock(&board->lock);
    return found;
}

struct limit_list limit_board_copy(struct limit_board *board)
{
    struct limit_list copy = {0};

    pthread_mutex_lock(&board->lock);
    copy.items = mem_array(board->list.count, sizeof copy.items[0]);
    for (size_t i = 0; i < board->list.count; i++)
        if (board->list.items[i].scope != LIMIT_QUEUE)
            copy.items[copy.count++] = board->list.items[i];
    pthread_mutex_unlock(&board->lock);
    return copy;
}

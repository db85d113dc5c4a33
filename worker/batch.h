/* SPDX-License-Identifier: MIT
 *
 * How many of the items that wait a slot takes together. Pure.
 */
#ifndef WORKER_BATCH_H
#define WORKER_BATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "worker/pace.h"
#include "worker/pool.h"

/* So long the first item of a batch may wait for the last. */
enum { BATCH_GOAL_US = 5 * 1000 };

/* Whether the item's task takes many jobs at once (run_many). */
bool batch_is_many(const struct item *item);

/* How many from `first` on: those alike of a task that takes many, up to as many as it takes; else
 * one, or as many as are likely over within BATCH_GOAL_US, up to `max`. Sharing tiny ones out to
 * all slots would win nothing: what costs is the statement that settles them. */
size_t batch_size(const struct pace *pace, const struct item *first, size_t max);

#endif

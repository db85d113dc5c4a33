/* SPDX-License-Identifier: MIT
 *
 * Making the index that finds jobs by words, in a thread of its own: it may take a second at a
 * time, and ticks wait for nobody. Of several schedulers the first to take its lock does it,
 * whoever leads.
 */
#ifndef SCHEDULER_INDEXER_H
#define SCHEDULER_INDEXER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "common/conf.h"

struct indexer {
    const struct conf *conf;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    bool stopping; /* under the lock */
    bool runs;
};

/* Does nothing when TILL_SEARCH_INDEX is 0. */
void indexer_start(struct indexer *indexer, const struct conf *conf);
void indexer_stop(struct indexer *indexer);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Connections to PostgreSQL, its replica and Redis, lent to requests. Most threads wait for clients
 * or answer out of memory, so there are many more of them than connections: a request that needs
 * one gets it with its first call of api_db() and its kin, and gives it back before its answer is
 * written, so that no slow client holds it. Which was used last is lent first; who has waited
 * longest is served first.
 *
 * A request whose deadline comes while it waits gets connections that refuse every use with
 * ERR_UNAVAILABLE, so its handler ends in a 503 like any that finds no database.
 */
#ifndef API_BACKENDS_H
#define API_BACKENDS_H

#include <stdint.h>

#include "common/conf.h"

/* One request's at a time, and nobody else's. */
struct backends {
    struct db *db;
    struct db *replica; /* NULL: none is set */
    unsigned replica_times;
    struct redis *redis;
    struct backends *next; /* of those that are free */
};

/* Before and after all threads; connections are made when they are first used. */
void backends_init(const struct conf *conf);
void backends_end(void);

/* For the figures: how many are lent, and how many requests wait for one. */
int backends_lent(void);
int backends_waiting(void);

/* The place of one request thread among those that wait. */
struct borrower;
struct borrower *borrower_new(void);
void borrower_free(struct borrower *mine); /* accepts NULL */

/* Waits until `deadline_us` (monotonic) at most. Never NULL. */
struct backends *backends_take(struct borrower *mine, int64_t deadline_us);
void backends_give_back(struct borrower *mine, struct backends *given);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Answers made once for everybody who asks within a moment: open pages ask again and again for what
 * is the same for all of them, and it costs the database the same for ten as for one.
 *
 *   return shared_get(req, make_queues, reply, e);
 *
 * Only for what depends neither on who asks nor on their role. It is given to those alone who say
 * that an answer of some age will do ("Cache-Control: max-age=10", as the pages do when they ask by
 * themselves): scripts, and a page that has just been opened or given an order, get a new one. It
 * is kept for a second; longer when it took long to make or many different ones are asked for, ten
 * seconds at most, so that all of them together keep one session of the database busy for no more
 * than a fiftieth of the time, whatever is open. Every order forgets all.
 */
#ifndef API_DASHBOARD_SHARED_H
#define API_DASHBOARD_SHARED_H

#include "api/http.h"

enum {
    SHARED_KEY_MAX = 1024,        /* what has a longer key is not shared */
    SHARED_BODY_MAX = 512 * 1024, /* nor what is longer */
    SHARED_COUNT = 32,
    SHARED_KEEP_MS = 1000,
    SHARED_KEEP_MAX_MS = 10000,
    SHARED_COST_FACTOR = 50,
};

struct shared;

struct shared *shared_new(void);
void shared_free(struct shared *shared);

/* Something may have changed: what is there is given to nobody any more. */
void shared_forget(struct shared *shared);

/* Fills the reply by `make`, or as another request has just got it by the same path and query. */
enum err_code shared_get(struct request *req, http_handler *make, struct reply *reply,
                         struct err *e) MUST_CHECK;
/* By the same key, which begins with no slash. */
enum err_code shared_answer(struct request *req, const char *key, http_handler *make,
                            struct reply *reply, struct err *e) MUST_CHECK;

/* For how long an answer is kept that took so long to make, being one of so many. Pure. */
int64_t shared_keep_us(int64_t cost_us, size_t count);
/* The max-age of a Cache-Control header, at most SHARED_KEEP_MAX_MS; 0: none. Pure. */
int64_t shared_max_age_us(const char *header);

#endif

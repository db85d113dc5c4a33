/* SPDX-License-Identifier: MIT
 *
 * A circuit breaker for one server outside (the gateway, the mail server), shared by the slots of a
 * process. It keeps a server that is away, or that accepts and says nothing, from holding every
 * slot, and jobs from spending their attempts on it:
 *
 *  - after some calls in a row without an answer it is open: nobody calls for a moment, then one
 *    does, to see; the moments grow while there is no answer;
 *  - while nothing has been heard for a second, calls take up half of the slots at most.
 *
 *   if (!breaker_enter(breaker, now_us, &wait_us))
 *       return put_off(run, wait_us);
 *   ... call ...
 *   breaker_leave(breaker, now_us, answered);
 *
 * An answer is whatever the server says, a refusal too. NULL is a breaker that is always closed.
 */
#ifndef WORKER_BREAKER_H
#define WORKER_BREAKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { BREAKER_RANDOM_MAX = 1000000 };

enum breaker_change { BREAKER_SAME, BREAKER_OPENED, BREAKER_CLOSED };

struct breaker {
    pthread_mutex_t lock;
    int half;     /* calls that may wait for a server that is silent */
    int calls;    /* on their way */
    int failures; /* in a row */
    bool is_open;
    bool is_tried;           /* open, and somebody looks whether it still must be */
    int64_t silent_since_us; /* since when calls are on their way and nothing was heard */
    int64_t open_until_us;
    int64_t pause_us; /* how long it opens the next time */
};

void breaker_init(struct breaker *breaker, int slots);
void breaker_release(struct breaker *breaker);

/* Whether to call now; breaker_leave() is due then. If not, when to ask again at the earliest. */
bool breaker_enter(struct breaker *breaker, int64_t now_us, int64_t *ret_wait_us);

/* What has changed by it, for the log. */
enum breaker_change breaker_leave(struct breaker *breaker, int64_t now_us, bool answered);

/* How long to put a job off that was turned away that many times before, with something at random
 * (below BREAKER_RANDOM_MAX), so that they do not come back all at once. */
int64_t breaker_delay_us(int64_t wait_us, int times, uint32_t random);

#endif

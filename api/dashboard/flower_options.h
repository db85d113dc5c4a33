/* SPDX-License-Identifier: MIT
 *
 * What a request to enqueue says, in Celery's options and Till's.
 *
 *   AUTO(json_decref) json_t *given = NULL;
 *   AUTO_VALUE(order_release) struct order order = {0};
 *   rc = order_read(req, &order, &given, e);     order.job borrows from both
 */
#ifndef API_DASHBOARD_FLOWER_OPTIONS_H
#define API_DASHBOARD_FLOWER_OPTIONS_H

#include <jansson.h>

#include "api/http.h"
#include "common/jobs.h"

struct order {
    struct job_new job;
    char *args; /* owned, as the next three */
    char *kwargs;
    char *headers;
    json_t *header_texts; /* what `headers` is made of */
    int retries;          /* attempts that count as made */
    bool has_conflict;    /* on_conflict was given */
    int64_t countdown_us; /* job.scheduled_us is so long after PostgreSQL's now; 0: it is as said */
    int64_t expires_in_us; /* and job.expires_us */
    bool has_expires_in;
    bool has_timeout;   /* of who waits for the result */
    int64_t timeout_us; /* 0 or more */
    const char *wrong;  /* the member of the body that order_read() refuses; NULL: all of it */
};

/* ERR_INVALID with a text for the client. `ret_given` is a new value. */
enum err_code order_read(const struct request *req, struct order *order, json_t **ret_given,
                         struct err *e) MUST_CHECK;
/* Sets the times that were told as seconds from now, which is `now_us`. */
void order_begin_at(struct order *order, int64_t now_us);
static inline bool order_needs_now(const struct order *order)
{
    return order->countdown_us > 0 || order->has_expires_in;
}
void order_release(struct order *order);

/* A number, or a text that is one: seconds, at most a hundred years. */
bool order_number(const json_t *value, double *ret_number);

#endif

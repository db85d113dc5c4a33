/* SPDX-License-Identifier: MIT
 *
 * Admission of checkouts; see admission.h. How slow the database is, this request has just found
 * out itself, by asking who makes it. How old the oldest waiting payment is, Redis tells, once a
 * second for the whole process. Without Redis nobody knows, and everything is taken: the job is a
 * row.
 */
#include "api/admission.h"

#include <stdatomic.h>

#include "api/api.h"
#include "api/metrics.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/payment.h"
#include "common/queue.h"

static atomic_int_fast64_t looked_us; /* monotonic: when Redis was asked last */
static atomic_int_fast64_t behind_us; /* how long the oldest waiting payment has waited then */

static int64_t measure(struct redis *redis)
{
    struct queue_stream stream = queue_stream_of(QUEUE_PAYMENTS, JOB_PRIORITY_NORMAL);
    struct queue_depth depth = {0};
    struct err e = {0};

    if (queue_measure(redis, &stream, &depth, &e)) {
        log_debug("measure_failed", L_ERR(&e));
        return 0;
    }
    return depth.waiting > 0 && depth.oldest_us > 0 ? clock_wall_us() - depth.oldest_us : 0;
}

/* One request in a second asks; the others take what it found. */
static int64_t look(struct redis *redis)
{
    int_fast64_t before = atomic_load(&looked_us);
    int64_t now_us = clock_mono_us();

    if (now_us - before >= US_PER_S && atomic_compare_exchange_strong(&looked_us, &before, now_us))
        atomic_store(&behind_us, measure(redis));
    return atomic_load(&behind_us);
}

static bool refuse(struct reply *reply, const char *reason, int64_t ms)
{
    metrics_add(METRIC_REFUSED);
    log_warn("checkout_refused", L_STR("reason", reason), L_INT("ms", ms));
    reply_detail(reply, 503, "The shop is too busy to take new orders. Please try again soon.");
    reply_header(reply, "Retry-After", "5");
    return false;
}

bool admission_is_open(const struct request *req, struct reply *reply)
{
    const struct api *api = api_of(req);
    int64_t limit_s = api->conf->admission_seconds;
    int64_t limit_ms = api->conf->admission_database_ms;
    int64_t waited_us;

    if (limit_ms > 0 && api->lookup_us > limit_ms * US_PER_MS)
        return refuse(reply, "database", api->lookup_us / US_PER_MS);
    if (limit_s <= 0)
        return true;
    waited_us = look(api_redis(req));
    return waited_us <= limit_s * US_PER_S || refuse(reply, "payments", waited_us / US_PER_MS);
}

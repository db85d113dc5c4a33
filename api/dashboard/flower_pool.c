/* SPDX-License-Identifier: MIT
 *
 * Flower's orders to workers: shutdown, the size of the pool, its queues. An order is kept in
 * PostgreSQL and heard at once; see common/worker_orders.h. What cannot be done is 403 with the
 * reason, in Flower's words.
 */
#include <string.h>

#include "api/dashboard/act.h"
#include "api/dashboard/dashboard.h"
#include "api/dashboard/flower.h"
#include "common/mem.h"
#include "common/text.h"
#include "common/worker_orders.h"

/* One order in progress: what its parts need. */
struct pool_order {
    const char *action; /* for the audit log */
    const char *failed; /* "Failed to grow '%s' worker's pool: %s" without its ends */
    const char *after;
    int n;
    int min;
    int max;
    const char *queue;
    bool consume;
};

typedef enum err_code pool_call(struct db *db, struct workers_found *found,
                                const struct pool_order *order, const char *by, struct err *e);

static enum err_code call_shutdown(struct db *db, struct workers_found *found,
                                   const struct pool_order *order, const char *by, struct err *e)
{
    (void)order;
    return workers_stop(db, found->items[0].name, by, e);
}

static enum err_code call_restart(struct db *db, struct workers_found *found,
                                  const struct pool_order *order, const char *by, struct err *e)
{
    (void)order;
    return workers_restart(db, found->items[0].name, by, e);
}

static enum err_code call_grow(struct db *db, struct workers_found *found,
                               const struct pool_order *order, const char *by, struct err *e)
{
    return workers_grow(db, found, order->n, by, e);
}

static enum err_code call_autoscale(struct db *db, struct workers_found *found,
                                    const struct pool_order *order, const char *by, struct err *e)
{
    return workers_autoscale(db, found->items[0].name, order->min, order->max, by, e);
}

/* As in Flower before its parameters are looked at. False: the reply, or the error, says why not.
 */
static bool find_worker(struct request *req, struct reply *reply, struct workers_found *found,
                        enum err_code *ret_rc, struct err *e)
{
    const char *name = request_param(req, 0);
    enum err_code rc = workers_find(thread_of(req)->redis, name, found, e);

    *ret_rc = ERR_OK;
    if (rc == ERR_INVALID || rc == ERR_NOT_FOUND ||
        (!rc && (found->count != 1 || strcmp(found->items[0].name, name) != 0))) {
        err_clear(e);
        (void)flower_refuse(reply, 404, "Unknown worker '%s'", name);
        return false;
    }
    *ret_rc = rc;
    return !rc;
}

/* What the audit log says of it besides its name. */
static json_t *detail_of(const struct pool_order *order)
{
    if (order->queue)
        return json_pack("{s:s}", "queue", order->queue);
    if (order->max)
        return json_pack("{s:i, s:i}", "min", order->min, "max", order->max);
    return order->n ? json_pack("{s:i}", "n", order->n) : NULL;
}

static enum err_code give(struct request *req, struct reply *reply, struct workers_found *found,
                          const struct pool_order *order, pool_call *call, bool *ret_given,
                          struct err *e)
{
    const char *name = request_param(req, 0);
    AUTO_VALUE(act_release) struct act act = {0};
    struct err problem = {0};
    enum err_code rc;

    *ret_given = false;
    if (!found->items[0].is_alive)
        return flower_refuse(reply, 403, "Failed to %s '%s'%s: the worker is offline",
                             order->failed, name, order->after);
    rc = act_begin(&act, req, order->action, name, e);
    if (rc)
        return rc;
    rc = call(thread_of(req)->db, found, order, req->user.name, &problem);
    if (rc == ERR_INVALID || rc == ERR_NOT_FOUND) {
        act_why(&act, problem.text);
        return flower_refuse(reply, 403, "Failed to %s '%s'%s: %s", order->failed, name,
                             order->after, problem.text);
    }
    if (rc) {
        *e = problem;
        return rc;
    }
    *ret_given = true;
    return act_commit(&act, ACT_DONE, detail_of(order), e);
}

/* False: the reply says what is wrong. */
static bool take_int(const struct request *req, struct reply *reply, const char *name, int64_t min,
                     int *value)
{
    AUTO(mem_free) char *text = flower_argument(req, name);
    int64_t number;

    if (!text)
        return true;
    if (!text_to_int(text, INT64_MIN, INT64_MAX, &number)) {
        (void)flower_refuse(reply, 400, "Invalid argument '%.80s' of type 'int'", text);
        return false;
    }
    if (number < min || number > WORKER_SLOTS_MAX) {
        (void)flower_refuse(reply, 400, "Invalid argument '%.80s': %s is %lld to %d", text, name,
                            (long long)min, WORKER_SLOTS_MAX);
        return false;
    }
    *value = (int)number;
    return true;
}

enum err_code flower_shutdown(struct request *req, struct reply *reply, struct err *e)
{
    const struct pool_order order = {"worker.stop", "shut down the", " worker", 0, 0, 0, NULL,
                                     false};
    AUTO_VALUE(workers_found_release) struct workers_found found = {0};
    bool given;
    enum err_code rc;

    if (!find_worker(req, reply, &found, &rc, e))
        return rc;
    rc = give(req, reply, &found, &order, call_shutdown, &given, e);
    return rc || !given ? rc : flower_message(reply, e, "Shutting down!");
}

enum err_code flower_pool_restart(struct request *req, struct reply *reply, struct err *e)
{
    const struct pool_order order = {
        "worker.restart", "restart the", " pool", 0, 0, 0, NULL, false};
    AUTO_VALUE(workers_found_release) struct workers_found found = {0};
    bool given;
    enum err_code rc;

    if (!find_worker(req, reply, &found, &rc, e))
        return rc;
    rc = give(req, reply, &found, &order, call_restart, &given, e);
    return rc || !given
               ? rc
               : flower_message(reply, e, "Restarting '%s' worker's pool", request_param(req, 0));
}

enum err_code flower_pool_grow(struct request *req, struct reply *reply, struct err *e)
{
    struct pool_order order = {"worker.grow", "grow", " worker's pool", 1, 0, 0, NULL, false};
    AUTO_VALUE(workers_found_release) struct workers_found found = {0};
    bool given;
    enum err_code rc;

    if (!find_worker(req, reply, &found, &rc, e) || !take_int(req, reply, "n", 1, &order.n))
        return rc;
    rc = give(req, reply, &found, &order, call_grow, &given, e);
    return rc || !given ? rc
                        : flower_message(reply, e, "Growing '%s' worker's pool by %d",
                                         request_param(req, 0), order.n);
}

enum err_code flower_pool_shrink(struct request *req, struct reply *reply, struct err *e)
{
    struct pool_order order = {"worker.shrink", "shrink", " worker's pool", 1, 0, 0, NULL, false};
    AUTO_VALUE(workers_found_release) struct workers_found found = {0};
    bool given;
    enum err_code rc;

    if (!find_worker(req, reply, &found, &rc, e) || !take_int(req, reply, "n", 1, &order.n))
        return rc;
    order.n = -order.n;
    rc = give(req, reply, &found, &order, call_grow, &given, e);
    return rc || !given ? rc
                        : flower_message(reply, e, "Shrinking '%s' worker's pool by %d",
                                         request_param(req, 0), -order.n);
}

enum err_code flower_pool_autoscale(struct request *req, struct reply *reply, struct err *e)
{
    struct pool_order order = {"worker.autoscale", "autoscale", " worker", 0, 0, 0, NULL, false};
    AUTO(mem_free) char *min = NULL;
    AUTO(mem_free) char *max = NULL;
    AUTO_VALUE(workers_found_release) struct workers_found found = {0};
    bool given;
    enum err_code rc;

    if (!find_worker(req, reply, &found, &rc, e) || !flower_need(req, reply, "min", &min) ||
        !flower_need(req, reply, "max", &max) || !take_int(req, reply, "min", 0, &order.min) ||
        !take_int(req, reply, "max", 0, &order.max))
        return rc;
    rc = give(req, reply, &found, &order, call_autoscale, &given, e);
    return rc || !given ? rc
                        : flower_message(reply, e, "Autoscaling '%s' worker (min=%d, max=%d)",
                                         request_param(req, 0), order.min, order.max);
}

/* ---- queues of a worker ---- */

static enum err_code call_consumer(struct db *db, struct workers_found *found,
                                   const struct pool_order *order, const char *by, struct err *e)
{
    return workers_consume(db, found->items[0].name, order->queue, order->consume, by, e);
}

/* Celery's words for both, whether the worker consumed it before or not. */
static enum err_code order_consumer(struct request *req, struct reply *reply, bool consume,
                                    struct err *e)
{
    AUTO_VALUE(workers_found_release) struct workers_found found = {0};
    AUTO(mem_free) char *queue = NULL;
    char failed[300];
    struct pool_order order = {.action = consume ? "worker.add-consumer" : "worker.cancel-consumer",
                               .failed = failed,
                               .after = " worker",
                               .consume = consume};
    bool given;
    enum err_code rc;

    if (!find_worker(req, reply, &found, &rc, e) || !flower_need(req, reply, "queue", &queue))
        return rc;
    order.queue = queue;
    if (!text_format(failed, sizeof failed, "%s '%.200s' consumer %s", consume ? "add" : "cancel",
                     queue, consume ? "to" : "from"))
        return err_set(e, ERR_INVALID, "the name of the queue is too long");
    rc = give(req, reply, &found, &order, call_consumer, &given, e);
    if (rc || !given)
        return rc;
    return flower_message(reply, e, "%s %s", consume ? "add consumer" : "no longer consuming from",
                          queue);
}

enum err_code flower_add_consumer(struct request *req, struct reply *reply, struct err *e)
{
    return order_consumer(req, reply, true, e);
}

enum err_code flower_cancel_consumer(struct request *req, struct reply *reply, struct err *e)
{
    return order_consumer(req, reply, false, e);
}

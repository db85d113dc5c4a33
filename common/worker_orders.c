/* SPDX-License-Identifier: MIT
 *
 * The table worker_orders; see worker_orders.h. Each order is one statement: it takes back what
 * nearer rows say of its matter and writes its own row; the trigger on the table tells the workers.
 */
#include "common/worker_orders.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/statements.h"
#include "common/text.h"

enum { QUIET, STOP, RESTART, SIZE, GROW, CONSUME, FORGET, OF, LIST };
enum { WHOM_MAX = 100, ARRAY_MAX = 256 * 1024, REPORT_BYTES_MAX = 1024 * 1024 };

/* The rows nearer than $1: its host's workers, or everybody's. */
#define NEARER " WHERE whom <> $1 AND ($1 = 'all' OR starts_with(whom, $1 || ':'))"
#define TAKE_BACK(columns) "WITH nearer AS (UPDATE worker_orders SET " columns NEARER ") "
#define HOST_OF(name) "regexp_replace(" name ", ':[0-9]+$', '')"
#define AGE(column) "coalesce((extract(epoch FROM now() - " column ") * 1000000)::bigint, -1)"
/* "+mail -slow", or nothing. */
#define CONSUMERS                                                                                  \
    "(SELECT string_agg(CASE value WHEN 'true' THEN '+' ELSE '-' END || key, ' ' ORDER BY key)"    \
    " FROM jsonb_each_text(queues))"
/* clang-format off */
#define COLUMNS                                                                                    \
    "whom, quiet, slots, slots_min, slots_max, " AGE("stop_at") ", " AGE("restart_at") ","         \
    " (extract(epoch FROM ordered_at) * 1000000)::bigint, ordered_by, " CONSUMERS
/* clang-format on */

static const struct db_stmt statements[] = {
    [QUIET] = {"worker_orders_quiet",
               TAKE_BACK("quiet = NULL") "INSERT INTO worker_orders (whom, quiet, ordered_by)"
                                         " VALUES ($1, $2, $3) ON CONFLICT (whom) DO UPDATE SET"
                                         " quiet = $2, ordered_at = now(), ordered_by = $3",
               3},
    [STOP] = {"worker_orders_stop",
              "INSERT INTO worker_orders (whom, stop_at, ordered_by) VALUES ($1, now(), $2)"
              " ON CONFLICT (whom) DO UPDATE SET stop_at = now(), ordered_at = now(),"
              " ordered_by = $2",
              2},
    [RESTART] = {"worker_orders_restart",
                 "INSERT INTO worker_orders (whom, restart_at, ordered_by) VALUES ($1, now(), $2)"
                 " ON CONFLICT (whom) DO UPDATE SET restart_at = now(), ordered_at = now(),"
                 " ordered_by = $2",
                 2},
    [SIZE] =
        {"worker_orders_size",
         TAKE_BACK(
             "slots = NULL, slots_min = NULL, slots_max = NULL") "INSERT INTO worker_orders (whom, "
                                                                 "slots, slots_min, slots_max, "
                                                                 "ordered_by)"
                                                                 " VALUES ($1, $2::int, $3::int, "
                                                                 "$4::int, $5) ON CONFLICT (whom) "
                                                                 "DO UPDATE SET"
                                                                 " slots = $2::int, slots_min = "
                                                                 "$3::int, slots_max = $4::int, "
                                                                 "ordered_at = now(),"
                                                                 " ordered_by = $5",
         5},
    /* Counted from the size that was ordered last, which the worker may not have told of yet; where
     * none is ordered (it was set up so, or scales itself) from the size that it told. */
    [GROW] =
        {"worker_orders_grow",
         "WITH given AS ("
         " SELECT name, told, coalesce((SELECT nullif(o.slots, 0) FROM worker_orders o"
         "  WHERE o.whom IN (name, " HOST_OF(
             "name") ", 'all')"
                     "  AND (o.slots IS NOT NULL OR o.slots_min IS NOT NULL)"
                     "  ORDER BY o.whom = 'all', o.whom <> name LIMIT 1), told) AS slots"
                     " FROM unnest($1::text[], $2::int[]) AS g(name, told)"
                     ") INSERT INTO worker_orders AS o (whom, slots, ordered_by)"
                     " SELECT name, coalesce(nullif(slots + $3::int, 0), -1), $4 FROM given ORDER "
                     "BY name"
                     " ON CONFLICT (whom) DO UPDATE SET slots = CASE WHEN o.slots > 0"
                     " THEN coalesce(nullif(o.slots + $3::int, 0), -1) ELSE excluded.slots END, "
                     "slots_min = NULL,"
                     " slots_max = NULL, ordered_at = now(), ordered_by = $4 RETURNING whom, slots",
         4},
    [CONSUME] =
        {"worker_orders_consume",
         TAKE_BACK(
             "queues = queues - $2::text") "INSERT INTO worker_orders AS o (whom, queues, "
                                           "ordered_by)"
                                           " VALUES ($1, jsonb_build_object($2::text, $3::boolean),"
                                           " $4) ON CONFLICT (whom) DO UPDATE SET"
                                           " queues = o.queues || excluded.queues,"
                                           " ordered_at = now(), ordered_by = $4",
         4},
    [FORGET] = {"worker_orders_forget",
                "DELETE FROM worker_orders WHERE whom = $1 OR $1 = 'all'"
                " OR starts_with(whom, $1 || ':')",
                1},
    [OF] = {"worker_orders_of",
            "SELECT " COLUMNS " FROM worker_orders"
            " WHERE whom IN ($1, " HOST_OF("$1") ", 'all') ORDER BY whom = 'all', whom <> $1",
            1},
    [LIST] = {"worker_orders_list",
              "SELECT " COLUMNS " FROM worker_orders WHERE num_nonnulls(quiet, slots, slots_min,"
              " stop_at, restart_at) > 0 OR queues <> '{}' ORDER BY whom <> 'all', whom",
              0},
};

DB_STATEMENTS(worker_orders, statements);

/* ---- whom ---- */

static bool is_whom(const char *whom)
{
    size_t len = strlen(whom);

    if (len == 0 || len > WHOM_MAX || !text_is_utf8(whom, len))
        return false;
    for (const char *p = whom; *p; p++)
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return false;
    return true;
}

static enum err_code check_whom(const char *whom, struct err *e)
{
    if (is_whom(whom))
        return ERR_OK;
    return err_set(e, ERR_INVALID, "\"%.40s\" is no name of a worker (host:N), a host, or all",
                   whom);
}

bool worker_is_meant(const char *whom, const char *name)
{
    const char *colon = strrchr(name, ':');

    if (strcmp(whom, WORKERS_ALL) == 0 || strcmp(whom, name) == 0)
        return true;
    return colon && strlen(whom) == (size_t)(colon - name) &&
           strncmp(whom, name, (size_t)(colon - name)) == 0;
}

void workers_found_release(struct workers_found *found)
{
    mem_free(found->items);
    *found = (struct workers_found){0};
}

static int told_slots(const struct queue_worker *worker)
{
    AUTO(json_decref) json_t *report = NULL;
    json_int_t slots;

    if (!worker->report ||
        json_read(worker->report, strlen(worker->report), REPORT_BYTES_MAX, &report, NULL))
        return 0;
    slots = json_integer_value(json_object_get(report, "concurrency"));
    return slots >= 1 && slots <= WORKER_SLOTS_MAX ? (int)slots : 0;
}

enum err_code workers_find(struct redis *redis, const char *whom, struct workers_found *ret_found,
                           struct err *e)
{
    AUTO_VALUE(queue_workers_release) struct queue_workers workers = {0};
    struct workers_found found = {0};
    enum err_code rc = check_whom(whom, e);

    if (!rc)
        rc = queue_list_workers(redis, &workers, e);
    if (rc)
        return rc;
    found.items = mem_array(workers.count, sizeof found.items[0]);
    for (size_t i = 0; i < workers.count; i++) {
        struct worker_found *one = &found.items[found.count];

        if (!worker_is_meant(whom, workers.items[i].name))
            continue;
        memcpy(one->name, workers.items[i].name, sizeof one->name);
        one->is_alive = workers.items[i].is_alive;
        one->slots = told_slots(&workers.items[i]);
        found.count++;
    }
    if (found.count == 0) {
        workers_found_release(&found);
        return err_set(e, ERR_NOT_FOUND,
                       "no worker \"%.100s\" was seen within a day; see till"
                       " worker list",
                       whom);
    }
    *ret_found = found;
    return ERR_OK;
}

/* ---- giving orders ---- */

enum err_code workers_quiet(struct db *db, const char *whom, bool quiet, const char *by,
                            struct err *e)
{
    enum err_code rc = check_whom(whom, e);

    if (rc)
        return rc;
    return db_exec(db, &statements[QUIET], DB_ARGS(DB_TEXT(whom), DB_BOOL(quiet), DB_TEXT(by)),
                   NULL, e);
}

static enum err_code order_once(struct db *db, const struct db_stmt *stmt, const char *whom,
                                const char *by, struct err *e)
{
    enum err_code rc = check_whom(whom, e);

    return rc ? rc : db_exec(db, stmt, DB_ARGS(DB_TEXT(whom), DB_TEXT(by)), NULL, e);
}

enum err_code workers_stop(struct db *db, const char *whom, const char *by, struct err *e)
{
    return order_once(db, &statements[STOP], whom, by, e);
}

enum err_code workers_restart(struct db *db, const char *whom, const char *by, struct err *e)
{
    return order_once(db, &statements[RESTART], whom, by, e);
}

enum err_code workers_scale(struct db *db, const char *whom, int slots, const char *by,
                            struct err *e)
{
    enum err_code rc = check_whom(whom, e);

    if (!rc && (slots < 0 || slots > WORKER_SLOTS_MAX))
        rc = err_set(e, ERR_INVALID, "a worker has 1 to %d slots, not %d", WORKER_SLOTS_MAX, slots);
    if (rc)
        return rc;
    return db_exec(db, &statements[SIZE],
                   DB_ARGS(DB_TEXT(whom), DB_INT(slots), DB_NULL, DB_NULL, DB_TEXT(by)), NULL, e);
}

enum err_code workers_autoscale(struct db *db, const char *whom, int min, int max, const char *by,
                                struct err *e)
{
    enum err_code rc = check_whom(whom, e);

    if (!rc && (min < 1 || max < min || max > WORKER_SLOTS_MAX))
        rc = err_set(e, ERR_INVALID, "a worker scales between 1 and %d slots, not from %d to %d",
                     WORKER_SLOTS_MAX, min, max);
    if (rc)
        return rc;
    return db_exec(db, &statements[SIZE],
                   DB_ARGS(DB_TEXT(whom), DB_NULL, DB_INT(min), DB_INT(max), DB_TEXT(by)), NULL, e);
}

static size_t add_alive(const struct workers_found *found, struct buf *names, struct buf *slots)
{
    size_t count = 0;

    buf_init(names, ARRAY_MAX);
    buf_init(slots, ARRAY_MAX);
    for (size_t i = 0; i < found->count; i++) {
        char number[16];

        if (!found->items[i].is_alive || found->items[i].slots < 1)
            continue;
        (void)snprintf(number, sizeof number, "%d", found->items[i].slots);
        db_array_add(names, found->items[i].name);
        db_array_add(slots, number);
        count++;
    }
    db_array_end(names);
    db_array_end(slots);
    return count;
}

static void take_sizes(const struct db_result *rows, struct workers_found *found)
{
    for (size_t i = 0; i < found->count; i++)
        for (int row = 0; row < db_rows(rows); row++)
            if (strcmp(db_text(rows, row, 0), found->items[i].name) == 0)
                found->items[i].slots = (int)db_int(rows, row, 1);
}

enum err_code workers_grow(struct db *db, struct workers_found *found, int by_slots, const char *by,
                           struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf names;
    AUTO_VALUE(buf_release) struct buf slots;
    size_t count = add_alive(found, &names, &slots);
    struct err own = {0};
    enum err_code rc;

    if (count == 0)
        return err_set(e, ERR_NOT_FOUND, "none of these workers is running");
    if (by_slots < -WORKER_SLOTS_MAX || by_slots > WORKER_SLOTS_MAX)
        by_slots = by_slots < 0 ? -WORKER_SLOTS_MAX : WORKER_SLOTS_MAX; /* refused below */
    rc = db_query(db, &statements[GROW],
                  DB_ARGS(DB_TEXT(names.data), DB_TEXT(slots.data), DB_INT(by_slots), DB_TEXT(by)),
                  &rows, &own);
    if (rc == ERR_INVALID)
        return err_set(e, rc, "a worker has 1 to %d slots: with %d %s %s would have another number",
                       WORKER_SLOTS_MAX, by_slots < 0 ? -by_slots : by_slots,
                       by_slots < 0 ? "fewer" : "more", count > 1 ? "one of them" : "it");
    if (rc)
        return err_set_detail(e, rc, own.detail, "%s", own.text);
    take_sizes(rows, found);
    return ERR_OK;
}

enum err_code workers_consume(struct db *db, const char *whom, const char *queue, bool consume,
                              const char *by, struct err *e)
{
    struct err own = {0};
    enum err_code rc = check_whom(whom, e);

    if (!rc && !text_is_name(queue))
        rc = err_set(e, ERR_INVALID, "\"%.40s\" is no name of a queue", queue);
    if (rc)
        return rc;
    rc = db_exec(db, &statements[CONSUME],
                 DB_ARGS(DB_TEXT(whom), DB_TEXT(queue), DB_BOOL(consume), DB_TEXT(by)), NULL, &own);
    if (rc == ERR_INVALID)
        return err_set(e, rc,
                       "consumers of %d queues are ordered of \"%.60s\" already: reset it first",
                       WORKER_QUEUES_MAX, whom);
    return rc ? err_set_detail(e, rc, own.detail, "%s", own.text) : ERR_OK;
}

enum err_code workers_forget(struct db *db, const char *whom, int64_t *ret_count, struct err *e)
{
    enum err_code rc = check_whom(whom, e);

    return rc ? rc : db_exec(db, &statements[FORGET], DB_ARGS(DB_TEXT(whom)), ret_count, e);
}

/* ---- reading them ---- */

static void read_consumers(const char *text, struct worker_order *order)
{
    while (text && *text && order->consumer_count < WORKER_QUEUES_MAX) {
        struct worker_consumer *consumer = &order->consumers[order->consumer_count];
        size_t len = strcspn(text, " ");

        consumer->consumes = *text == '+';
        if (text_format(consumer->queue, sizeof consumer->queue, "%.*s", (int)len - 1, text + 1))
            order->consumer_count++;
        text += len + strspn(text + len, " ");
    }
}

static struct worker_order read_row(const struct db_result *rows, int row)
{
    struct worker_order order = {
        .says_quiet = !db_is_null(rows, row, 1),
        .quiet = db_bool(rows, row, 1),
        .says_size = !db_is_null(rows, row, 2) || !db_is_null(rows, row, 3),
        .slots = (int)db_int(rows, row, 2),
        .slots_min = (int)db_int(rows, row, 3),
        .slots_max = (int)db_int(rows, row, 4),
        .stop_age_us = db_int(rows, row, 5),
        .restart_age_us = db_int(rows, row, 6),
        .ordered_us = db_int(rows, row, 7),
    };

    (void)snprintf(order.whom, sizeof order.whom, "%s", db_text(rows, row, 0));
    (void)snprintf(order.ordered_by, sizeof order.ordered_by, "%s", db_text(rows, row, 8));
    read_consumers(db_text(rows, row, 9), &order);
    return order;
}

/* The younger of two, of which negative ones are none. */
static int64_t younger(int64_t a, int64_t b) { return b >= 0 && (a < 0 || b < a) ? b : a; }

static bool says_consumer(const struct worker_order *order, const char *queue)
{
    for (size_t i = 0; i < order->consumer_count; i++)
        if (strcmp(order->consumers[i].queue, queue) == 0)
            return true;
    return false;
}

/* Queue by queue the nearest word. */
static void add_consumers(struct worker_order *all, const struct worker_order *row)
{
    for (size_t i = 0; i < row->consumer_count && all->consumer_count < WORKER_QUEUES_MAX; i++)
        if (!says_consumer(all, row->consumers[i].queue))
            all->consumers[all->consumer_count++] = row->consumers[i];
}

struct worker_order worker_order_merge(const struct worker_order *rows, size_t count)
{
    struct worker_order all = {.stop_age_us = -1, .restart_age_us = -1};

    for (size_t i = 0; i < count; i++) {
        const struct worker_order *row = &rows[i];

        if (row->says_quiet && !all.says_quiet) {
            all.says_quiet = true;
            all.quiet = row->quiet;
        }
        if (row->says_size && !all.says_size) {
            all.says_size = true;
            all.slots = row->slots;
            all.slots_min = row->slots_min;
            all.slots_max = row->slots_max;
        }
        add_consumers(&all, row);
        all.stop_age_us = younger(all.stop_age_us, row->stop_age_us);
        all.restart_age_us = younger(all.restart_age_us, row->restart_age_us);
    }
    return all;
}

enum err_code worker_orders_of(struct db *db, const char *name, struct worker_order *ret_order,
                               struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct worker_order found[3]; /* its own, its host's, everybody's */
    size_t count = 0;
    enum err_code rc = db_query(db, &statements[OF], DB_ARGS(DB_TEXT(name)), &rows, e);

    if (rc)
        return rc;
    for (int row = 0; row < db_rows(rows) && count < COUNT_OF(found); row++)
        found[count++] = read_row(rows, row);
    *ret_order = worker_order_merge(found, count);
    return ERR_OK;
}

void worker_order_list_release(struct worker_order_list *list)
{
    mem_free(list->items);
    *list = (struct worker_order_list){0};
}

enum err_code worker_orders_list(struct db *db, struct worker_order_list *ret_list, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[LIST], DB_NO_ARGS, &rows, e);

    if (rc)
        return rc;
    ret_list->count = (size_t)db_rows(rows);
    ret_list->items = mem_array(ret_list->count, sizeof ret_list->items[0]);
    for (size_t i = 0; i < ret_list->count; i++)
        ret_list->items[i] = read_row(rows, (int)i);
    return ERR_OK;
}

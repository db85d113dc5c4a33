/* SPDX-License-Identifier: MIT
 *
 * Limits in PostgreSQL; see limits.h.
 */
#include "common/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"
#include "common/statements.h"

enum {
    LIST,
    COUNT,
    SET,
    DELETE,
    MAKE_ROWS,
    FIND_OTHERS,
    RELEASE,
    FIND_UNCOUNTED,
    BUCKETS,
    RECOUNT,
    LOOK
};
enum { ROWS_BYTES = 160 * 1024 * 1024 };

#define BOUND "20000"
_Static_assert(LIMIT_COUNT_MAX == 20000, "BOUND is the same, as text");
#define MOST "1000"
_Static_assert(LIMITS_MAX == 1000, "MOST is the same, as text");

/* $1 a bucket, or how the buckets begin when $2. */
#define OF_BUCKETS(column) "(" column " = $1 OR ($2::bool AND starts_with(" column ", $1)))"

static const struct db_stmt statements[] = {
    [LIST] = {"limits_list",
              "SELECT scope, name, concurrency, rate, per_seconds, burst FROM limits"
              " ORDER BY array_position('{queue,task,key}', scope), name",
              0},
    [COUNT] =
        {"limits_count",
         "SELECT (SELECT least(coalesce(sum(places - coming), 0), " BOUND ") FROM limit_counts"
         " WHERE " OF_BUCKETS(
             "bucket") "),"
                       " (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE parked_on IS NOT NULL"
                       " AND enqueued_at IS NULL AND finished_at IS NULL AND " OF_BUCKETS(
                           "parked_on") " LIMIT " BOUND ") x)",
         2},
    [SET] = {"limits_set",
             "INSERT INTO limits (scope, name, concurrency, rate, per_seconds, burst, set_by)"
             " SELECT $1, $2, nullif($3::int, 0), nullif($4::int, 0), nullif($5::int, 0),"
             " nullif($6::int, 0), $7 WHERE (SELECT count(*) FROM limits) < " MOST
             " OR EXISTS (SELECT FROM limits WHERE scope = $1 AND name = $2)"
             " ON CONFLICT (scope, name) DO UPDATE SET concurrency = excluded.concurrency,"
             " rate = excluded.rate, per_seconds = excluded.per_seconds, burst = excluded.burst,"
             " set_at = now(), set_by = excluded.set_by",
             7},
    [DELETE] = {"limits_delete", "DELETE FROM limits WHERE scope = $1 AND name = $2", 2},
    [MAKE_ROWS] =
        {"limits_make_rows",
         "INSERT INTO jobs (id, task, queue, priority, args, kwargs, max_attempts,"
         " headers, traceparent, expires_at, enqueued_at)"
         " SELECT id, task, queue, priority, coalesce(args, '[]'), coalesce(kwargs, '{}'),"
         " max_attempts, headers,"
         " traceparent, to_timestamp(nullif(expires_us, 0) / 1000000.0), now()"
         " FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::jsonb[],"
         " $6::jsonb[], $7::int[], $8::jsonb[], $9::text[], $10::bigint[])"
         " AS n (id, task, queue, priority, args, kwargs, max_attempts, headers,"
         " traceparent, expires_us) ORDER BY id ON CONFLICT (id) DO NOTHING",
         10},
    /* $1 to $4: ids, tasks, args, kwargs. Which of these ids are other jobs'. */
    [FIND_OTHERS] = {"limits_find_others",
                     "SELECT g.n FROM unnest($1::uuid[], $2::text[], $3::jsonb[], $4::jsonb[])"
                     " WITH ORDINALITY AS g (id, task, args, kwargs, n) JOIN jobs j ON j.id = g.id"
                     " WHERE NOT (j.task = g.task AND j.args = coalesce(g.args, '[]')"
                     " AND j.kwargs = coalesce(g.kwargs, '{}'))",
                     4},
    [RELEASE] = {"limits_release",
                 "SELECT id, queue, priority, wait_us FROM till_release_parked($1)", 1},
    [FIND_UNCOUNTED] = {"limits_find_uncounted", "SELECT till_count_places()", 0},
    [BUCKETS] = {"limits_buckets",
                 "SELECT bucket FROM limit_buckets WHERE " OF_BUCKETS("bucket") " ORDER BY bucket",
                 2},
    [RECOUNT] = {"limits_recount", "SELECT till_recount_bucket($1)", 1},
    [LOOK] = {"limits_look", "SELECT till_look_at_lines()", 0},
};

DB_STATEMENTS(limits, statements);

void limit_list_release(struct limit_list *list)
{
    mem_free(list->items);
    *list = (struct limit_list){0};
}

enum err_code limits_list(struct db *db, struct limit_list *ret_list, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct limit_list list = {0};
    enum err_code rc = db_query(db, &statements[LIST], DB_NO_ARGS, &rows, e);

    if (rc)
        return rc;
    list.items = mem_array((size_t)db_rows(rows), sizeof list.items[0]);
    for (int row = 0; row < db_rows(rows); row++) {
        struct limit *limit = &list.items[list.count];

        if (!limit_scope_parse(db_text(rows, row, 0), &limit->scope))
            continue;
        (void)snprintf(limit->name, sizeof limit->name, "%s", db_text(rows, row, 1));
        limit->concurrency = db_int(rows, row, 2);
        limit->rate = db_int(rows, row, 3);
        limit->per_seconds = db_int(rows, row, 4);
        limit->burst = db_int(rows, row, 5);
        list.count++;
    }
    *ret_list = list;
    return ERR_OK;
}

/* A statement about the buckets of a limit of a task or key: $1 and $2 are as OF_BUCKETS() takes
 * them. */
static enum err_code query_buckets(struct db *db, const struct db_stmt *stmt,
                                   const struct limit *limit, struct db_result **ret_rows,
                                   struct err *e)
{
    char bucket[JOB_NAME_MAX + 16];
    size_t len;
    bool many;

    (void)snprintf(bucket, sizeof bucket, "%s:%s", limit_scope_name(limit->scope), limit->name);
    len = strlen(bucket);
    many = limit->scope == LIMIT_KEY && bucket[len - 1] == '*';
    if (many)
        bucket[len - 1] = '\0';
    return db_query(db, stmt, DB_ARGS(DB_TEXT(bucket), DB_BOOL(many)), ret_rows, e);
}

enum err_code limits_count(struct db *db, const struct limit *limit, struct limit_count *ret_count,
                           struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc;

    *ret_count = (struct limit_count){0};
    if (limit->scope == LIMIT_QUEUE)
        return ERR_OK;
    rc = query_buckets(db, &statements[COUNT], limit, &rows, e);
    if (!rc)
        *ret_count =
            (struct limit_count){.running = db_int(rows, 0, 0), .parked = db_int(rows, 0, 1)};
    return rc;
}

/* Each bucket in a transaction of its own: while it is counted, nobody begins a job of it. */
enum err_code limits_recount(struct db *db, const struct limit *limit,
                             struct limit_recount *ret_recount, struct err *e)
{
    AUTO(db_result_free) struct db_result *buckets = NULL;
    struct limit_recount recount = {0};
    enum err_code rc = query_buckets(db, &statements[BUCKETS], limit, &buckets, e);

    for (int i = 0; !rc && i < db_rows(buckets); i++) {
        AUTO(db_result_free) struct db_result *row = NULL;

        rc = db_query(db, &statements[RECOUNT], DB_ARGS(DB_TEXT(db_text(buckets, i, 0))), &row, e);
        if (rc)
            break;
        recount.buckets++;
        recount.too_many += db_int(row, 0, 0) > 0 ? db_int(row, 0, 0) : 0;
        recount.too_few -= db_int(row, 0, 0) < 0 ? db_int(row, 0, 0) : 0;
    }
    if (!rc)
        *ret_recount = recount;
    return rc;
}

enum err_code limits_set(struct db *db, const struct limit *limit, const char *by, struct err *e)
{
    int64_t touched = 0;
    enum err_code rc = limit_check(limit, e);

    if (!rc)
        rc = db_exec(db, &statements[SET],
                     DB_ARGS(DB_TEXT(limit_scope_name(limit->scope)), DB_TEXT(limit->name),
                             DB_INT(limit->concurrency), DB_INT(limit->rate),
                             DB_INT(limit->per_seconds), DB_INT(limit->burst), DB_TEXT(by)),
                     &touched, e);
    if (!rc && touched == 0)
        rc = err_set(e, ERR_CONFLICT, "there are %d limits already: delete one first", LIMITS_MAX);
    return rc;
}

enum err_code limits_delete(struct db *db, enum limit_scope scope, const char *name,
                            bool *ret_deleted, struct err *e)
{
    int64_t touched = 0;
    enum err_code rc =
        db_exec(db, &statements[DELETE], DB_ARGS(DB_TEXT(limit_scope_name(scope)), DB_TEXT(name)),
                &touched, e);

    if (!rc)
        *ret_deleted = touched > 0;
    return rc;
}

/* ---- workers ---- */

/* The parameters of MAKE_ROWS, in its order. */
enum { IDS, TASKS, QUEUES, PRIORITIES, ARGS, KWARGS, ATTEMPTS, HEADERS, TRACES, EXPIRES, ARRAYS };

struct arrays {
    struct buf items[ARRAYS];
};

static void arrays_release(struct arrays *arrays)
{
    for (int i = 0; i < ARRAYS; i++)
        buf_release(&arrays->items[i]);
}

static void add_row(struct arrays *arrays, const struct queue_delivery *delivery, int max_attempts,
                    const struct queue_stream *stream)
{
    db_array_add(&arrays->items[IDS], delivery->id.text);
    db_array_add(&arrays->items[TASKS], delivery->task);
    db_array_add(&arrays->items[QUEUES], stream->queue);
    db_array_add_int(&arrays->items[PRIORITIES], stream->priority);
    db_array_add(&arrays->items[ARGS], delivery->args);
    db_array_add(&arrays->items[KWARGS], delivery->kwargs);
    db_array_add_int(&arrays->items[ATTEMPTS], max_attempts);
    db_array_add(&arrays->items[HEADERS], delivery->headers);
    db_array_add(&arrays->items[TRACES], delivery->traceparent);
    db_array_add_int(&arrays->items[EXPIRES], delivery->expires_us);
}

/* The rows of one read, and of which deliveries they are. */
struct new_rows {
    struct arrays arrays;
    struct db_param params[ARRAYS];
    size_t *places;
    size_t count;
};

static void new_rows_release(struct new_rows *rows)
{
    arrays_release(&rows->arrays);
    mem_free(rows->places);
}

static enum err_code new_rows_init(struct new_rows *rows, const struct queue_delivery *deliveries,
                                   const int *max_attempts, size_t count,
                                   const struct queue_stream *streams, struct err *e)
{
    *rows = (struct new_rows){.places = mem_array(count, sizeof *rows->places)};
    for (int i = 0; i < ARRAYS; i++)
        buf_init(&rows->arrays.items[i], ROWS_BYTES);
    for (size_t i = 0; i < count; i++) {
        if (!deliveries[i].task)
            continue;
        add_row(&rows->arrays, &deliveries[i], max_attempts[i], &streams[deliveries[i].stream]);
        rows->places[rows->count++] = i;
    }
    for (int i = 0; i < ARRAYS; i++) {
        db_array_end(&rows->arrays.items[i]);
        if (rows->arrays.items[i].overflow)
            return err_set(e, ERR_INTERNAL, "the fast jobs of one read are too large");
        rows->params[i] = DB_TEXT(rows->arrays.items[i].data);
    }
    return ERR_OK;
}

/* Jobs whose producer gave them the id of another one get the id that their entry makes, as at
 * their failure (jobs_adopt_fast()). */
static enum err_code rename_others(struct db *db, const struct new_rows *rows,
                                   struct queue_delivery *deliveries,
                                   const struct queue_stream *streams, bool *ret_any, struct err *e)
{
    AUTO(db_result_free) struct db_result *found = NULL;
    enum err_code rc = db_query(
        db, &statements[FIND_OTHERS],
        DB_ARGS(rows->params[IDS], rows->params[TASKS], rows->params[ARGS], rows->params[KWARGS]),
        &found, e);

    *ret_any = false;
    for (int row = 0; !rc && row < db_rows(found); row++) {
        int64_t place = db_int(found, row, 0) - 1;
        struct queue_delivery *delivery;
        struct uuid made;

        if (place < 0 || (size_t)place >= rows->count)
            abort(); /* not by a statement of this file */
        delivery = &deliveries[rows->places[place]];
        made = queue_fast_id(&streams[delivery->stream], delivery->entry);
        *ret_any = *ret_any || strcmp(made.text, delivery->id.text) != 0;
        delivery->id = made;
    }
    return rc;
}

enum err_code limits_make_rows(struct db *db, struct queue_delivery *deliveries,
                               const int *max_attempts, size_t count,
                               const struct queue_stream *streams, struct err *e)
{
    for (bool again = true; again;) {
        AUTO_VALUE(new_rows_release) struct new_rows rows;
        int64_t made = 0;
        enum err_code rc = new_rows_init(&rows, deliveries, max_attempts, count, streams, e);

        again = false;
        if (!rc && rows.count > 0)
            rc = db_exec(db, &statements[MAKE_ROWS], (struct db_args){rows.params, ARRAYS}, &made,
                         e);
        /* Most that are there already are the same jobs, delivered before. */
        if (!rc && (size_t)made < rows.count)
            rc = rename_others(db, &rows, deliveries, streams, &again, e);
        if (rc)
            return rc;
    }
    return ERR_OK;
}

/* ---- scheduler ---- */

enum err_code limits_release(struct db *db, int max, struct job_list *ret_jobs,
                             int64_t *ret_wait_us, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    enum err_code rc = db_query(db, &statements[RELEASE], DB_ARGS(DB_INT(max)), &rows, e);
    int last;

    if (rc)
        return rc;
    last = db_rows(rows) - 1;
    if (last < 0)
        return err_set(e, ERR_INTERNAL, "till_release_parked() returned nothing");
    *ret_wait_us = db_is_null(rows, last, 3) ? -1 : db_int(rows, last, 3);
    *ret_jobs = job_list_from_rows(rows);
    if (ret_jobs->count > 0)
        ret_jobs->count--; /* the last row is no job */
    return ERR_OK;
}

enum err_code limits_find_uncounted(struct db *db, struct err *e)
{
    return db_exec(db, &statements[FIND_UNCOUNTED], DB_NO_ARGS, NULL, e);
}

enum err_code limits_look_at_lines(struct db *db, struct err *e)
{
    return db_exec(db, &statements[LOOK], DB_NO_ARGS, NULL, e);
}

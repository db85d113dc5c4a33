/* SPDX-License-Identifier: MIT
 *
 * Counters for trying and measuring; see trial.h.
 */
#include "common/trial.h"

#include <inttypes.h>

#include "common/buf.h"
#include "common/statements.h"

enum { COUNT, ENTER, COUNT_MANY, ENTER_MANY, TIME };
enum { ARRAY_MAX = 1024 * 1024, IDS_MAX = 64 * 1024 * 1024 };

#define PERCENTILES(column)                                                                        \
    "percentile_cont('{0.5,0.95,0.99}'::float8[]) WITHIN GROUP"                                    \
    " (ORDER BY date_part('epoch', " column " - created_at) * 1000000)"

static const struct db_stmt statements[] = {
    [COUNT] = {"trial_count", "UPDATE trial_counters SET total = total + $2 WHERE id = $1", 2},
    [ENTER] = {"trial_enter",
               "INSERT INTO trial_entries (job_id, counter, amount) VALUES ($1, $2, $3)", 3},
    /* Several batches at once meet at the same counters: each locks them in the order of their
     * numbers, one after the other, which a join would leave to the plan. No join by hashing or
     * merging can do "= ANY", so what is left is to look up each of those given. */
    [COUNT_MANY] = {"trial_count_many",
                    "WITH given AS MATERIALIZED ("
                    " SELECT counter, sum(amount)::bigint AS amount"
                    " FROM unnest($1::int[], $2::int[]) AS g(counter, amount)"
                    " GROUP BY counter ORDER BY counter"
                    "), counted AS ("
                    " UPDATE trial_counters c SET total = c.total + g.amount"
                    " FROM given g WHERE c.id = ANY (ARRAY[g.counter]) RETURNING c.id"
                    ") SELECT counter FROM given WHERE counter NOT IN (SELECT id FROM counted)",
                    2},
    [ENTER_MANY] = {"trial_enter_many",
                    "INSERT INTO trial_entries (job_id, counter, amount)"
                    " SELECT * FROM unnest($1::uuid[], $2::int[], $3::int[])",
                    3},
    [TIME] = {"trial_time",
              "WITH given AS MATERIALIZED (SELECT j.created_at, j.started_at, j.finished_at"
              "  FROM unnest($1::uuid[]) g(id) JOIN jobs j ON j.id = g.id"
              "), p AS ("
              " SELECT " PERCENTILES("started_at") " AS s, " PERCENTILES(
                  "finished_at") " AS f"
                                 " FROM given"
                                 ") SELECT count(*) FILTER (WHERE finished_at IS NULL),"
                                 " (extract(epoch FROM max(finished_at) - min(created_at)) * "
                                 "1000000)::bigint,"
                                 " s[1]::bigint, s[2]::bigint, s[3]::bigint, f[1]::bigint, "
                                 "f[2]::bigint, f[3]::bigint"
                                 " FROM given, p GROUP BY s, f",
              1},
};

DB_STATEMENTS(trial, statements);

enum err_code trial_add(struct db *db, const struct trial_tally *tally, struct err *e)
{
    int64_t touched = 0;
    enum err_code rc = db_exec(db, &statements[COUNT],
                               DB_ARGS(DB_INT(tally->counter), DB_INT(tally->amount)), &touched, e);

    if (!rc && touched == 0)
        rc = err_set(e, ERR_NOT_FOUND, "there is no counter %" PRId64, tally->counter);
    if (!rc)
        rc = db_exec_later(
            db, &statements[ENTER],
            DB_ARGS(DB_TEXT(tally->job.text), DB_INT(tally->counter), DB_INT(tally->amount)), e);
    return rc;
}

static bool mark_missing(const struct db_result *missing, const struct trial_tally *tallies,
                         size_t count, bool *ret_missing)
{
    for (size_t i = 0; i < count; i++) {
        ret_missing[i] = false;
        for (int row = 0; row < db_rows(missing) && !ret_missing[i]; row++)
            ret_missing[i] = db_int(missing, row, 0) == tallies[i].counter;
    }
    return db_rows(missing) > 0;
}

enum err_code trial_add_many(struct db *db, const struct trial_tally *tallies, size_t count,
                             bool *ret_missing, struct err *e)
{
    AUTO(db_result_free) struct db_result *missing = NULL;
    AUTO_VALUE(buf_release) struct buf jobs;
    AUTO_VALUE(buf_release) struct buf counters;
    AUTO_VALUE(buf_release) struct buf amounts;
    enum err_code rc;

    buf_init(&jobs, ARRAY_MAX);
    buf_init(&counters, ARRAY_MAX);
    buf_init(&amounts, ARRAY_MAX);
    db_ids_begin(&jobs, count);
    db_ints_begin(&counters, count);
    db_ints_begin(&amounts, count);
    for (size_t i = 0; i < count; i++) {
        db_ids_add(&jobs, &tallies[i].job);
        db_ints_add(&counters, (int32_t)tallies[i].counter);
        db_ints_add(&amounts, (int32_t)tallies[i].amount);
    }
    rc = db_query(db, &statements[COUNT_MANY], DB_ARGS(DB_ARRAY(counters), DB_ARRAY(amounts)),
                  &missing, e);
    if (rc || mark_missing(missing, tallies, count, ret_missing))
        return rc;
    return db_exec_later(db, &statements[ENTER_MANY],
                         DB_ARGS(DB_ARRAY(jobs), DB_ARRAY(counters), DB_ARRAY(amounts)), e);
}

enum err_code trial_time(struct db *db, const struct uuid *ids, size_t count,
                         struct trial_times *ret_times, struct err *e)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf array;
    enum err_code rc;

    buf_init(&array, IDS_MAX);
    db_ids_begin(&array, count);
    for (size_t i = 0; i < count; i++)
        db_ids_add(&array, &ids[i]);
    rc = db_query(db, &statements[TIME], DB_ARGS(DB_ARRAY(array)), &rows, e);
    if (rc)
        return rc;
    *ret_times = (struct trial_times){0};
    if (db_rows(rows) == 0)
        return err_set(e, ERR_NOT_FOUND, "the jobs are not there any more");
    ret_times->open = db_int(rows, 0, 0);
    ret_times->all_us = db_int(rows, 0, 1);
    for (int i = 0; i < 3; i++) {
        ret_times->start_us[i] = db_int(rows, 0, 2 + i);
        ret_times->end_us[i] = db_int(rows, 0, 5 + i);
    }
    return ERR_OK;
}

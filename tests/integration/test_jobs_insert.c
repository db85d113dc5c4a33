/* SPDX-License-Identifier: MIT
 *
 * jobs_insert_many() against the real server: the same rules as jobs_insert(), all or none.
 */
#include "common/jobs.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/clock.h"
#include "common/mem.h"
#include "tests/integration/stores.h"

static struct db *db;
static struct err e;

static void start(void)
{
    db = db_open(need_setting("DATABASE_URL"), "test_jobs_insert");
    cr_assert_eq(db_connect(db, &e), ERR_OK, "%s: %s", e.text, e.detail);
}

static void finish(void) { db_close(db); }

TestSuite(jobs_insert, .init = start, .fini = finish, .timeout = 60);

static const struct db_stmt COUNT_TASK = {"test_count", "SELECT count(*) FROM jobs WHERE task = $1",
                                          1};
static const struct db_stmt READ = {"test_read",
                                    "SELECT task, queue, priority, args::text, kwargs::text,"
                                    " max_attempts, enqueued_at IS NULL, scheduled_at > now()"
                                    " FROM jobs WHERE id = $1",
                                    1};

static int64_t count_of(const char *task)
{
    AUTO(db_result_free) struct db_result *rows = NULL;

    cr_assert_eq(db_query(db, &COUNT_TASK, DB_ARGS(DB_TEXT(task)), &rows, &e), ERR_OK, "%s",
                 e.detail);
    return db_int(rows, 0, 0);
}

static void expect_row(const struct job_ready *ready, const char *const values[8])
{
    AUTO(db_result_free) struct db_result *rows = NULL;

    cr_assert_eq(db_query(db, &READ, DB_ARGS(DB_TEXT(ready->id.text)), &rows, &e), ERR_OK);
    cr_assert_eq(db_rows(rows), 1, "%s", ready->id.text);
    for (int i = 0; i < 8; i++)
        cr_expect_str_eq(db_text(rows, 0, i), values[i]);
    cr_expect_str_eq(ready->queue, values[1]);
}

Test(jobs_insert, mixed_jobs_each_say_where_they_go)
{
    const struct job_new jobs[] = {
        {.task = "mixed.a", .queue = "q1", .priority = JOB_PRIORITY_HIGH, .args = "[\"a\\\"b\"]"},
        {.id = {"ffffffff-0000-7000-8000-000000000001"},
         .task = "mixed.told",
         .priority = JOB_PRIORITY_LOW,
         .kwargs = "{\"k\": [1, {\"l\": null}]}"},
        {.id = {"00000000-0000-7000-8000-000000000001"},
         .task = "mixed.told",
         .queue = "q2",
         .priority = JOB_PRIORITY_NORMAL,
         .max_attempts = 2,
         .scheduled_us = clock_wall_us() + 3600 * US_PER_S},
    };
    struct job_ready ready[COUNT_OF(jobs)];

    cr_assert_eq(
        jobs_declare_task(
            db, &(struct task_declared){.name = "mixed.told", .queue = "own", .max_attempts = 7},
            &e),
        ERR_OK);
    cr_assert_eq(jobs_insert_many(db, jobs, COUNT_OF(jobs), ready, &e), ERR_OK, "%s: %s", e.text,
                 e.detail);

    expect_row(&ready[0],
               (const char *[]){"mixed.a", "q1", "0", "[\"a\\\"b\"]", "{}", "10", "f", "f"});
    expect_row(&ready[1], (const char *[]){"mixed.told", "own", "2", "[]",
                                           "{\"k\": [1, {\"l\": null}]}", "7", "f", "f"});
    expect_row(&ready[2], (const char *[]){"mixed.told", "q2", "1", "[]", "{}", "2", "t", "t"});
    cr_expect_str_eq(ready[1].id.text, jobs[1].id.text);
    cr_expect_str_eq(ready[2].id.text, jobs[2].id.text);
    cr_expect(ready[0].is_ready && ready[1].is_ready && !ready[2].is_ready);
}

Test(jobs_insert, none_of_them_when_one_is_wrong)
{
    struct job_new jobs[] = {
        {.task = "none.at_all", .priority = JOB_PRIORITY_NORMAL},
        {.task = "none.at_all", .priority = JOB_PRIORITY_NORMAL, .args = "{}"},
    };
    struct job_ready ready[COUNT_OF(jobs)];

    cr_expect_eq(jobs_insert_many(db, jobs, COUNT_OF(jobs), ready, NULL), ERR_INVALID);
    jobs[1].args = NULL;
    jobs[1].task = "no name";
    cr_expect_eq(jobs_insert_many(db, jobs, COUNT_OF(jobs), ready, NULL), ERR_INVALID);
    jobs[1].task = "none.at_all";
    jobs[0].id = jobs[1].id = uuid_v7();
    cr_expect_eq(jobs_insert_many(db, jobs, COUNT_OF(jobs), ready, NULL), ERR_CONFLICT);
    cr_expect_eq(count_of("none.at_all"), 0);
}

Test(jobs_insert, no_jobs_are_no_statement)
{
    db_disconnect(db);
    cr_expect_eq(jobs_insert_many(db, NULL, 0, NULL, &e), ERR_OK);
    cr_expect_not(db_is_connected(db));
}

Test(jobs_insert, belongs_to_the_transaction_of_the_caller)
{
    const struct job_new job = {.task = "rolled.back", .priority = JOB_PRIORITY_NORMAL};
    struct db_tx tx = {0};
    struct job_ready ready;

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(jobs_insert_many(db, &job, 1, &ready, &e), ERR_OK);
    cr_expect_eq(count_of("rolled.back"), 1);
    db_rollback(&tx);
    cr_expect_eq(count_of("rolled.back"), 0);
}

Test(jobs_insert, the_ceilings_of_one_statement_are_refused_before_it)
{
    enum { BIG = JOB_ARGS_MAX - 4, FILL = JOBS_INSERT_BYTES / JOB_ARGS_MAX + 1 };
    struct job_new *jobs = mem_array(JOBS_INSERT_MAX + 1, sizeof *jobs);
    struct job_ready *ready = mem_array(JOBS_INSERT_MAX + 1, sizeof *ready);
    char *big = mem_alloc(JOB_ARGS_MAX);

    memset(big, ' ', BIG);
    big[0] = '[';
    big[BIG - 1] = ']';
    for (int i = 0; i <= JOBS_INSERT_MAX; i++)
        jobs[i] = (struct job_new){.task = "over.full", .priority = JOB_PRIORITY_NORMAL};
    cr_expect_eq(jobs_insert_many(db, jobs, JOBS_INSERT_MAX + 1, ready, NULL), ERR_INVALID);
    cr_expect_eq(jobs_insert_many(db, jobs, JOBS_INSERT_MAX, ready, &e), ERR_OK, "%s: %s", e.text,
                 e.detail);
    for (int i = 0; i < FILL; i++)
        jobs[i].args = big;
    cr_expect_eq(jobs_insert_many(db, jobs, FILL, ready, NULL), ERR_INVALID);
    cr_expect_eq(count_of("over.full"), JOBS_INSERT_MAX);
    mem_free(jobs);
    mem_free(ready);
    mem_free(big);
}

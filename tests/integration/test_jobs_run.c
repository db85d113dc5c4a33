/* SPDX-License-Identifier: MIT
 *
 * The end of a job that goes to the server together with the commit of its effect.
 */
#include "common/jobs_succeed.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/uuid.h"
#include "tests/integration/stores.h"

enum { ATTEMPT = 2 };

static const struct db_stmt MAKE = {
    "run_make",
    "INSERT INTO jobs (id, task, state, attempt, worker, enqueued_at, started_at)"
    " VALUES ($1, 'till.tasks.tally', 'STARTED', $2, 'w', now(), now())",
    2};
static const struct db_stmt EFFECT = {"run_effect", "INSERT INTO test_jobs_run VALUES ($1)", 1};
static const struct db_stmt LOOK = {"run_look",
                                    "SELECT state, result->>'made', (SELECT count(*) FROM"
                                    " test_jobs_run WHERE id = $1) FROM jobs WHERE id = $1",
                                    1};

static struct db *db;
static struct attempt attempt = {.number = ATTEMPT};
static struct err e;

static void start(void)
{
    db = db_open(need_setting("DATABASE_URL"), "test_jobs_run");
    cr_assert_eq(db_run_script(db, "CREATE TABLE IF NOT EXISTS test_jobs_run (id uuid)", &e),
                 ERR_OK, "%s: %s", e.text, e.detail);
    attempt.id = uuid_v7();
    cr_assert_eq(
        db_exec(db, &MAKE, DB_ARGS(DB_TEXT(attempt.id.text), DB_INT(attempt.number)), NULL, &e),
        ERR_OK, "%s: %s", e.text, e.detail);
}

static void finish(void) { db_close(db); }

TestSuite(jobs_run, .init = start, .fini = finish, .timeout = 60);

/* One effect, and the end of the job by this attempt. */
static enum err_code run(const struct attempt *by, const char *result)
{
    struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(db_exec(db, &EFFECT, DB_ARGS(DB_TEXT(by->id.text)), NULL, &e), ERR_OK);
    cr_assert_eq(jobs_succeed_later(db, by, result, &e), ERR_OK);
    return db_commit(&tx, &e);
}

static void expect(const char *state, const char *made, int64_t effects)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct err own = {0};

    cr_assert_eq(db_query(db, &LOOK, DB_ARGS(DB_TEXT(attempt.id.text)), &rows, &own), ERR_OK, "%s",
                 own.detail);
    cr_expect_str_eq(db_text(rows, 0, 0), state);
    cr_expect_str_eq(db_text(rows, 0, 1), made);
    cr_expect_eq(db_int(rows, 0, 2), effects);
}

Test(jobs_run, an_end_is_committed_with_the_effect)
{
    cr_assert_eq(run(&attempt, "{\"made\":\"it\"}"), ERR_OK, "%s: %s", e.text, e.detail);
    expect("SUCCESS", "it", 1);
}

Test(jobs_run, an_attempt_that_is_anothers_by_now_commits_nothing)
{
    const struct attempt former = {.id = attempt.id, .number = ATTEMPT - 1};

    cr_assert_eq(run(&former, NULL), ERR_CONFLICT, "%s: %s", e.text, e.detail);
    cr_expect_str_empty(db_constraint(db), "nothing was doubled");
    cr_expect(strstr(e.detail, "taken over or cancelled"), "%s", e.detail);
    expect("STARTED", "", 0);
}

Test(jobs_run, an_end_that_was_committed_is_not_committed_again)
{
    cr_assert_eq(run(&attempt, NULL), ERR_OK, "%s: %s", e.text, e.detail);
    cr_assert_eq(run(&attempt, NULL), ERR_CONFLICT);
    expect("SUCCESS", "", 1);
}

Test(jobs_run, a_result_that_is_none_commits_nothing)
{
    cr_assert_eq(run(&attempt, "{"), ERR_INVALID);
    cr_expect_str_eq(db_sqlstate(db), "22P02");
    expect("STARTED", "", 0);
}

/* The same as a batch of this job and of one that there is not. */
static enum err_code run_many(const struct attempt *attempts, size_t count)
{
    const char *results[] = {"1", NULL};
    struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(db_exec(db, &EFFECT, DB_ARGS(DB_TEXT(attempt.id.text)), NULL, &e), ERR_OK);
    cr_assert_eq(jobs_succeed_many_later(db, attempts, results, count, count > 1, &e), ERR_OK);
    return db_commit(&tx, &e);
}

Test(jobs_run, a_batch_is_committed_whole_or_not_at_all)
{
    struct attempt both[] = {attempt, {.id = uuid_v7(), .number = 1}};
    bool ours[2];

    cr_assert_eq(run_many(both, 2), ERR_CONFLICT, "%s: %s", e.text, e.detail);
    cr_expect(strstr(e.detail, both[1].id.text), "it names whose fence was lost: %s", e.detail);
    expect("STARTED", "", 0);
    cr_assert_eq(jobs_find_ours(db, both, 2, ours, &e), ERR_OK);
    cr_expect(ours[0]);
    cr_expect_not(ours[1]);

    cr_assert_eq(run_many(both, 1), ERR_OK, "%s: %s", e.text, e.detail);
    expect("SUCCESS", "", 1);
    cr_assert_eq(jobs_find_ours(db, both, 1, ours, &e), ERR_OK);
    cr_expect_not(ours[0], "it has ended");
}

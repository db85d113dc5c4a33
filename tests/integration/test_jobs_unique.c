/* SPDX-License-Identifier: MIT
 *
 * jobs_insert_many() with unique keys: what becomes of each job of a mixed batch, all or none, and
 * many sessions at once.
 */
#include "common/jobs.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "common/clock.h"
#include "common/mem.h"
#include "tests/integration/stores.h"

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static struct db *db;
static struct err e;

static void start(void)
{
    db = db_open(need_setting("DATABASE_URL"), "test_jobs_unique");
    cr_assert_eq(db_connect(db, &e), ERR_OK, "%s: %s", e.text, e.detail);
}

static void finish(void) { db_close(db); }

TestSuite(jobs_unique, .init = start, .fini = finish, .timeout = 120);

static const struct db_stmt ASK = {"test_ask",
                                   "SELECT count(*), count(DISTINCT unique_key),"
                                   " coalesce(string_agg(args::text, ' ' ORDER BY unique_key), '')"
                                   " FROM jobs WHERE task = $1",
                                   1};

/* How many jobs a task has, and their args in the order of their keys. */
static void expect_jobs(const char *task, int64_t count, const char *args)
{
    AUTO(db_result_free) struct db_result *rows = NULL;

    cr_assert_eq(db_query(db, &ASK, DB_ARGS(DB_TEXT(task)), &rows, &e), ERR_OK, "%s", e.detail);
    cr_expect_eq(db_int(rows, 0, 0), count, "%s has %s jobs", task, db_text(rows, 0, 0));
    if (args)
        cr_expect_str_eq(db_text(rows, 0, 2), args);
}

static void insert(const struct job_new *jobs, size_t count, struct job_ready *ready)
{
    cr_assert_eq(jobs_insert_many(db, jobs, count, ready, &e), ERR_OK, "%s: %s", e.text, e.detail);
}

static void expect(const struct job_ready *ready, enum job_outcome outcome,
                   const struct job_ready *same_as, bool is_ready)
{
    cr_expect_eq(ready->outcome, outcome, "%s", ready->id.text);
    cr_expect_str_eq(ready->id.text, same_as->id.text);
    cr_expect_eq(ready->is_ready, is_ready, "%s", ready->id.text);
}

#define UNIQUE(text, what, with_args)                                                              \
    {                                                                                              \
        .task = TASK, .priority = JOB_PRIORITY_NORMAL, .unique_key = (text),                       \
        .on_conflict = JOB_CONFLICT_##what, .args = (with_args)                                    \
    }

Test(jobs_unique, each_of_a_mixed_batch_has_its_own_outcome)
{
#define TASK "mixed.unique"
    const struct job_new first[] = {UNIQUE("mixed b", KEEP, "[1]"), UNIQUE("mixed a", KEEP, "[2]")};
    const struct job_new second[] = {
        UNIQUE("mixed b", REPLACE, "[3]"),
        {.task = TASK, .priority = JOB_PRIORITY_LOW, .args = "[4]"},
        UNIQUE("mixed a", KEEP, "[5]"),
        UNIQUE("mixed c", KEEP, "[6]"),
        UNIQUE("mixed c", KEEP, "[7]"),
        UNIQUE("mixed b", REPLACE, "[8]"),
        UNIQUE("mixed d", REFUSE, "[9]"),
    };
    struct job_ready held[COUNT_OF(first)];
    struct job_ready ready[COUNT_OF(second)];

    insert(first, COUNT_OF(first), held);
    insert(second, COUNT_OF(second), ready);

    expect(&held[0], JOB_ADDED, &held[0], true);
    expect(&ready[0], JOB_REPLACED, &held[0], false); /* the last of them is pushed */
    expect(&ready[1], JOB_ADDED, &ready[1], true);
    expect(&ready[2], JOB_KEPT, &held[1], false);
    expect(&ready[3], JOB_ADDED, &ready[3], true);
    expect(&ready[4], JOB_KEPT, &ready[3], false);
    expect(&ready[5], JOB_REPLACED, &held[0], true);
    expect(&ready[6], JOB_ADDED, &ready[6], true);
    cr_expect_str_eq(ready[5].queue, "default");
    expect_jobs(TASK, 5, "[2] [8] [6] [9] [4]");
#undef TASK
}

Test(jobs_unique, all_or_none_when_one_is_refused)
{
#define TASK "refused.unique"
    const struct job_new held = UNIQUE("refused a", KEEP, NULL);
    const struct job_new jobs[] = {UNIQUE("refused b", KEEP, NULL),
                                   UNIQUE("refused a", REFUSE, NULL),
                                   UNIQUE("refused c", KEEP, NULL)};
    const struct job_new twice[] = {UNIQUE("refused d", REFUSE, NULL),
                                    UNIQUE("refused d", REFUSE, NULL)};
    struct job_ready ready[COUNT_OF(jobs)];
    struct job_ready holder;
    struct err refused = {0};

    cr_assert_eq(jobs_insert(db, &held, &holder, &e), ERR_OK, "%s", e.text);
    cr_expect_eq(jobs_insert_many(db, jobs, COUNT_OF(jobs), ready, &refused), ERR_CONFLICT);
    cr_expect_not_null(strstr(refused.text, holder.id.text), "%s", refused.text);
    cr_expect_eq(jobs_insert_many(db, twice, COUNT_OF(twice), ready, NULL), ERR_CONFLICT);
    cr_expect_not(db_in_transaction(db));
    expect_jobs(TASK, 1, NULL);
#undef TASK
}

Test(jobs_unique, belongs_to_the_transaction_of_the_caller)
{
#define TASK "rolled.unique"
    const struct job_new job = UNIQUE("rolled", KEEP, NULL);
    struct db_tx tx = {0};
    struct job_ready first;
    struct job_ready second;

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(jobs_insert(db, &job, &first, &e), ERR_OK, "%s", e.detail);
    cr_assert_eq(jobs_insert(db, &job, &second, &e), ERR_OK, "%s", e.detail);
    expect(&second, JOB_KEPT, &first, false);
    cr_expect(db_in_transaction(db), "the caller's is still open");
    db_rollback(&tx);
    expect_jobs(TASK, 0, NULL);
    cr_assert_eq(jobs_insert(db, &job, &second, &e), ERR_OK, "%s", e.detail);
    cr_expect_eq(second.outcome, JOB_ADDED);
#undef TASK
}

Test(jobs_unique, a_job_replaces_everything_that_it_says)
{
    static const struct db_stmt READ = {
        "test_read_options",
        "SELECT queue, priority, max_attempts, scheduled_at > now(), enqueued_at IS NULL,"
        " expires_at > now(), headers::text, traceparent, retention_s, unique_until > now()"
        " FROM jobs WHERE id = $1",
        1};
    static const char *const wanted[] = {"q2",  "2",  "3", "t", "t", "t", "{\"a\": \"b\"}",
                                         TRACE, "60", "t"};
    const struct job_new first = {
        .task = "options.unique", .unique_key = "options", .priority = JOB_PRIORITY_HIGH};
    const struct job_new second = {.task = "options.unique",
                                   .queue = "q2",
                                   .priority = JOB_PRIORITY_LOW,
                                   .max_attempts = 3,
                                   .scheduled_us = clock_wall_us() + 3600 * US_PER_S,
                                   .expires_us = clock_wall_us() + 7200 * US_PER_S,
                                   .headers = "{\"a\": \"b\"}",
                                   .traceparent = TRACE,
                                   .retention_s = 60,
                                   .unique_key = "options",
                                   .unique_ttl_s = 60,
                                   .on_conflict = JOB_CONFLICT_REPLACE};
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct job_ready ready;
    struct job_ready again;

    cr_assert_eq(jobs_insert(db, &first, &ready, &e), ERR_OK, "%s", e.detail);
    cr_assert_eq(jobs_insert(db, &second, &again, &e), ERR_OK, "%s", e.detail);
    expect(&again, JOB_REPLACED, &ready, false);
    cr_expect_str_eq(again.queue, "q2");
    cr_assert_eq(db_query(db, &READ, DB_ARGS(DB_TEXT(ready.id.text)), &rows, &e), ERR_OK);
    for (size_t i = 0; i < COUNT_OF(wanted); i++)
        cr_expect_str_eq(db_text(rows, 0, (int)i), wanted[i]);
}

/* ---- many at once ---- */

enum { SESSIONS = 8, KEYS = 400 };

struct session {
    pthread_t thread;
    int number;
    enum err_code rc;
    struct err e;
    struct job_ready ready[KEYS];
};

/* Every other session asks for the keys in the opposite order. */
static void *insert_all(void *context)
{
    struct session *session = context;
    struct db *own = db_open(need_setting("DATABASE_URL"), "test_jobs_unique");
    struct job_new jobs[KEYS];
    char keys[KEYS][24];

    for (int i = 0; i < KEYS; i++) {
        int key = session->number % 2 ? KEYS - 1 - i : i;

        (void)snprintf(keys[i], sizeof keys[i], "crowd %d", key);
        jobs[i] = (struct job_new){.task = "crowd.unique",
                                   .priority = JOB_PRIORITY_NORMAL,
                                   .unique_key = keys[i],
                                   .on_conflict = session->number % 3 ? JOB_CONFLICT_KEEP
                                                                      : JOB_CONFLICT_REPLACE};
    }
    session->rc = jobs_insert_many(own, jobs, KEYS, session->ready, &session->e);
    db_close(own);
    return NULL;
}

Test(jobs_unique, sessions_with_the_same_keys_in_any_order_share_the_jobs)
{
    struct session *sessions = mem_array(SESSIONS, sizeof *sessions);

    for (int i = 0; i < SESSIONS; i++) {
        sessions[i].number = i;
        cr_assert_eq(pthread_create(&sessions[i].thread, NULL, insert_all, &sessions[i]), 0);
    }
    for (int i = 0; i < SESSIONS; i++)
        (void)pthread_join(sessions[i].thread, NULL);
    for (int i = 0; i < SESSIONS; i++) {
        cr_expect_eq(sessions[i].rc, ERR_OK, "%s: %s", sessions[i].e.text, sessions[i].e.detail);
        for (int k = 0; k < KEYS; k++)
            cr_expect_str_eq(sessions[i].ready[k].id.text,
                             sessions[0].ready[i % 2 ? KEYS - 1 - k : k].id.text);
    }
    expect_jobs("crowd.unique", KEYS, NULL);
    mem_free(sessions);
}

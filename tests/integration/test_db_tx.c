/* SPDX-License-Identifier: MIT
 *
 * When a transaction begins on the real server: with its first statement, whatever that is and
 * however it ends.
 */
#include "common/db.h"

#include <string.h>

#include <criterion/criterion.h>

#include "tests/integration/stores.h"

static struct db *db;
static struct db *other; /* a second session, which looks at the first */
static struct err e;

static const struct db_stmt INSERT = {"tx_insert", "INSERT INTO test_db_tx VALUES ($1)", 1};
static const struct db_stmt COUNT = {"tx_count", "SELECT count(*) FROM test_db_tx", 0};
static const struct db_stmt STATE = {"tx_state",
                                     "SELECT state FROM pg_stat_activity WHERE pid = $1::int", 1};
static const struct db_stmt KILL = {"tx_kill", "SELECT pg_terminate_backend($1::int, 10000)", 1};

static void script(struct db *on, const char *sql)
{
    struct err own = {0};

    cr_assert_eq(db_run_script(on, sql, &own), ERR_OK, "%s: %s", own.text, own.detail);
}

static void start(void)
{
    const char *url = need_setting("DATABASE_URL");

    db = db_open(url, "test_db_tx");
    other = db_open(url, "test_db_tx other");
    cr_assert_eq(db_connect(db, &e), ERR_OK, "%s: %s", e.text, e.detail);
    script(other, "DROP TABLE IF EXISTS test_db_tx; CREATE TABLE test_db_tx (n int CHECK (n > 0))");
}

static void finish(void)
{
    db_close(db);
    db_close(other);
}

TestSuite(db_tx, .init = start, .fini = finish, .timeout = 60);

static enum err_code insert(int64_t n)
{
    e = (struct err){0};
    return db_exec(db, &INSERT, DB_ARGS(DB_INT(n)), NULL, &e);
}

static int64_t count_seen_by(struct db *session)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct err own = {0};

    cr_assert_eq(db_query(session, &COUNT, DB_NO_ARGS, &rows, &own), ERR_OK, "%s", own.detail);
    return db_int(rows, 0, 0);
}

/* What the server says the first session does. */
static bool server_says(const char *state)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct err own = {0};

    cr_assert_eq(db_query(other, &STATE, DB_ARGS(DB_INT(db_backend(db))), &rows, &own), ERR_OK);
    return strcmp(db_text(rows, 0, 0), state) == 0;
}

static void end_session(void)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct err own = {0};

    cr_assert_eq(db_query(other, &KILL, DB_ARGS(DB_INT(db_backend(db))), &rows, &own), ERR_OK);
    cr_assert(db_bool(rows, 0, 0));
}

Test(db_tx, begins_with_its_first_statement)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert(db_in_transaction(db));
    cr_assert(server_says("idle"));
    cr_assert_eq(insert(1), ERR_OK, "%s: %s", e.text, e.detail);
    cr_assert(server_says("idle in transaction"));
    cr_assert_eq(insert(2), ERR_OK);
    cr_assert_eq(count_seen_by(other), 0);
    cr_assert_eq(db_commit(&tx, &e), ERR_OK);
    cr_assert_eq(count_seen_by(other), 2);
}

Test(db_tx, answers_its_first_query)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

    script(other, "INSERT INTO test_db_tx VALUES (1), (2), (3)");
    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(count_seen_by(db), 3);
    cr_assert_eq(count_seen_by(db), 3);
}

Test(db_tx, without_a_statement_never_begins)
{
    struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(db_commit(&tx, &e), ERR_OK);
    cr_assert_not(db_in_transaction(db));
    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    db_rollback(&tx);
    cr_assert_not(db_in_transaction(db));
    cr_assert(server_says("idle"));
    cr_assert_eq(insert(1), ERR_OK);
    cr_assert_eq(count_seen_by(other), 1, "it is committed by itself");
}

Test(db_tx, may_begin_with_a_script)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    script(db, "INSERT INTO test_db_tx VALUES (1)");
    cr_assert(server_says("idle in transaction"));
    db_rollback(&tx);
    cr_assert_eq(count_seen_by(other), 0);
}

Test(db_tx, a_first_statement_that_fails_spoils_it)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(insert(-1), ERR_INVALID, "%s", e.text);
    cr_assert_str_eq(db_constraint(db), "test_db_tx_n_check");
    cr_assert_neq(insert(1), ERR_OK, "it would be committed without what went before");
    e = (struct err){0};
    cr_assert_eq(db_commit(&tx, &e), ERR_INTERNAL, "the server said ROLLBACK");
    cr_assert_eq(count_seen_by(other), 0);
    cr_assert_eq(insert(2), ERR_OK, "the connection is usable again: %s", e.text);
}

Test(db_tx, a_session_that_ended_before_it_began_is_noticed)
{
    struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    end_session();
    cr_assert_eq(insert(1), ERR_UNAVAILABLE);
    cr_assert_eq(insert(2), ERR_UNAVAILABLE, "it would have committed by itself");
    cr_assert_eq(db_commit(&tx, &e), ERR_UNAVAILABLE);
    cr_assert_eq(count_seen_by(other), 0);
    cr_assert_eq(insert(3), ERR_OK, "after it all is well: %s", e.text);
}

Test(db_tx, a_session_that_ends_under_a_prepared_begin_is_noticed)
{
    struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(insert(1), ERR_OK);
    cr_assert_eq(db_commit(&tx, &e), ERR_OK);
    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    end_session();
    cr_assert_eq(insert(2), ERR_UNAVAILABLE);
    db_rollback(&tx);
    cr_assert_eq(count_seen_by(other), 1);
    cr_assert_eq(insert(3), ERR_OK, "%s", e.text);
}

Test(db_tx, tries_nested_in_another)
{
    cr_assert_eq(db_nest(db, &e), ERR_OK, "%s", e.text);
    for (int i = 0; i < 2; i++) {
        AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

        cr_assert_eq(db_begin(db, &tx, &e), ERR_OK, "%s", e.text);
        cr_assert_eq(insert(1), ERR_OK);
        cr_assert_eq(count_seen_by(db), i + 1);
        cr_assert_eq(db_commit(&tx, &e), ERR_OK);
    }
    db_unnest(db);
    cr_assert_eq(count_seen_by(other), 0);
    cr_assert_eq(count_seen_by(db), 0);
}

/* ---- what is sent later ---- */

static enum err_code insert_later(int64_t n)
{
    e = (struct err){0};
    return db_exec_later(db, &INSERT, DB_ARGS(DB_INT(n)), &e);
}

Test(db_tx, sends_later_what_can_wait)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(insert_later(1), ERR_OK);
    cr_assert(server_says("idle"));
    cr_assert_eq(count_seen_by(db), 1, "it comes before the next one");
    cr_assert_eq(insert_later(2), ERR_OK);
    cr_assert_eq(db_commit(&tx, &e), ERR_OK, "%s: %s", e.text, e.detail);
    cr_assert(server_says("idle"));
    cr_assert_eq(count_seen_by(other), 2);
}

Test(db_tx, may_be_all_sent_later)
{
    struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(insert_later(1), ERR_OK);
    cr_assert_eq(db_commit(&tx, &e), ERR_OK, "%s: %s", e.text, e.detail);
    cr_assert_eq(count_seen_by(other), 1);
    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    for (int n = 0; n < 10; n++)
        cr_assert_eq(insert_later(1), ERR_OK);
    cr_assert_eq(db_commit(&tx, &e), ERR_OK);
    cr_assert_eq(count_seen_by(other), 11);
}

Test(db_tx, is_not_committed_when_what_is_sent_later_fails)
{
    struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(insert(1), ERR_OK);
    cr_assert_eq(insert_later(2), ERR_OK);
    cr_assert_eq(insert_later(-1), ERR_OK, "nobody knows yet");
    cr_assert_eq(db_commit(&tx, &e), ERR_INVALID);
    cr_assert(strstr(e.text, "tx_insert"), "%s", e.text);
    cr_assert_str_eq(db_constraint(db), "test_db_tx_n_check");
    cr_assert_not(db_in_transaction(db));
    cr_assert(server_says("idle"));
    cr_assert_eq(count_seen_by(other), 0);
    cr_assert_eq(insert(2), ERR_OK, "the connection is usable again: %s", e.text);
}

Test(db_tx, tells_with_the_next_statement_what_has_failed_before_it)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(insert_later(-1), ERR_OK);
    cr_assert_eq(insert(1), ERR_INVALID);
    cr_assert_eq(db_commit(&tx, &e), ERR_INTERNAL, "the server said ROLLBACK");
    cr_assert_eq(count_seen_by(other), 0);
}

Test(db_tx, forgets_what_was_to_be_sent_later_when_it_is_rolled_back)
{
    struct db_tx tx = {0};

    for (int n = 0; n < 2; n++) {
        cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
        if (n == 1)
            cr_assert_eq(insert(1), ERR_OK);
        cr_assert_eq(insert_later(1), ERR_OK);
        db_rollback(&tx);
        cr_assert(server_says("idle"));
    }
    cr_assert_eq(count_seen_by(db), 0);
}

Test(db_tx, whose_session_ends_commits_nothing_that_was_to_be_sent_later)
{
    struct db_tx tx = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(insert(1), ERR_OK);
    cr_assert_eq(insert_later(2), ERR_OK);
    end_session();
    cr_assert_eq(db_commit(&tx, &e), ERR_UNAVAILABLE);
    cr_assert_eq(insert(3), ERR_OK, "%s", e.text);
    cr_assert_eq(count_seen_by(other), 1);
}

Test(db_tx, outside_of_it_nothing_is_sent_later)
{
    cr_assert_eq(insert_later(1), ERR_OK);
    cr_assert_eq(count_seen_by(other), 1);
}

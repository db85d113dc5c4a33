/* SPDX-License-Identifier: MIT
 *
 * The PostgreSQL driver against the real server: what survives, what surfaces, what is rolled back.
 */
#include "common/db.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "common/buf.h"
#include "common/clock.h"
#include "tests/integration/stores.h"

static struct db *db;
static struct db *other; /* a second session, for what is done to the first */
static struct err e;

static void start(void)
{
    const char *url = need_setting("DATABASE_URL");

    db = db_open(url, "test_db");
    other = db_open(url, "test_db other");
    cr_assert_eq(db_connect(db, &e), ERR_OK, "%s: %s", e.text, e.detail);
}

static void finish(void)
{
    db_close(db);
    db_close(other);
}

TestSuite(db, .init = start, .fini = finish, .timeout = 60);

static const struct db_stmt PID = {"test_pid", "SELECT pg_backend_pid()", 0};
static const struct db_stmt COUNT = {"test_count", "SELECT count(*) FROM test_db", 0};
static const struct db_stmt INSERT = {"test_insert", "INSERT INTO test_db VALUES ($1)", 1};
static const struct db_stmt JIT = {"test_jit", "SELECT (current_setting('jit') = 'off')::int", 0};
static const struct db_stmt SLEEP = {"test_sleep", "SELECT pg_sleep(30)", 0};

static void script(struct db *on, const char *sql)
{
    struct err own = {0};

    cr_assert_eq(db_run_script(on, sql, &own), ERR_OK, "%s: %s", own.text, own.detail);
}

static int64_t number(struct db *from, const struct db_stmt *stmt)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct err own = {0};

    cr_assert_eq(db_query(from, stmt, DB_NO_ARGS, &rows, &own), ERR_OK, "%s: %s", own.text,
                 own.detail);
    cr_assert_eq(db_rows(rows), 1);
    return db_int(rows, 0, 0);
}

static enum err_code insert(struct db *into, int64_t n)
{
    e = (struct err){0};
    return db_exec(into, &INSERT, DB_ARGS(DB_INT(n)), NULL, &e);
}

/* A real table, since a second session looks at it; each test's program has a database of its own,
 * but the tests of one program share it. */
static void make_table(const char *columns)
{
    char sql[300];

    cr_assert(text_format(sql, sizeof sql,
                          "DROP TABLE IF EXISTS test_db; CREATE TABLE test_db (%s)", columns));
    script(db, sql);
}

/* Ends the session of `db` from the other one, and waits until the server has forgotten it. */
static void terminate(void)
{
    static const struct db_stmt kill = {"test_kill", "SELECT pg_terminate_backend($1::int, 10000)",
                                        1};
    AUTO(db_result_free) struct db_result *rows = NULL;
    int64_t pid = number(db, &PID);
    struct err own = {0};

    cr_assert_eq(db_query(other, &kill, DB_ARGS(DB_INT(pid)), &rows, &own), ERR_OK, "%s",
                 own.detail);
    cr_assert(db_bool(rows, 0, 0));
}

/* ---- transactions ---- */

Test(db, scope_rolls_back)
{
    make_table("n int");
    {
        AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

        cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
        cr_assert(db_in_transaction(db));
        cr_assert_eq(insert(db, 1), ERR_OK);
    }
    cr_assert_not(db_in_transaction(db));
    cr_assert_eq(number(other, &COUNT), 0);
}

Test(db, commit_stays_after_scope)
{
    make_table("n int");
    {
        AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

        cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
        cr_assert_eq(insert(db, 1), ERR_OK);
        cr_assert_eq(number(other, &COUNT), 0);
        cr_assert_eq(db_commit(&tx, &e), ERR_OK, "%s", e.text);
        cr_assert_not(db_in_transaction(db));
    }
    cr_assert_eq(number(other, &COUNT), 1);
}

Test(db, release_of_what_never_began_does_nothing)
{
    struct db_tx tx = {0};

    db_tx_release(&tx);
    db_rollback(&tx);
}

Test(db, commit_of_a_failed_transaction_is_an_error)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

    make_table("n int CHECK (n > 0)");
    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(insert(db, 1), ERR_OK);
    cr_assert_eq(insert(db, -1), ERR_INVALID);
    e = (struct err){0};
    cr_assert_eq(db_commit(&tx, &e), ERR_INTERNAL, "the server said ROLLBACK");
    cr_assert_eq(number(other, &COUNT), 0);
    cr_assert_eq(insert(db, 2), ERR_OK, "the connection is usable again: %s", e.text);
}

Test(db, a_deferred_constraint_fails_the_commit)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

    make_table("n int CONSTRAINT test_db_n UNIQUE DEFERRABLE INITIALLY DEFERRED");
    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(insert(db, 1), ERR_OK);
    cr_assert_eq(insert(db, 1), ERR_OK);
    cr_assert_eq(db_commit(&tx, &e), ERR_CONFLICT, "%s", e.text);
    cr_assert_eq(number(other, &COUNT), 0);
}

/* ---- errors ---- */

Test(db, unique_violation_names_its_constraint)
{
    make_table("n int CONSTRAINT test_db_n UNIQUE");
    cr_assert_eq(insert(db, 1), ERR_OK);
    cr_assert_eq(insert(db, 1), ERR_CONFLICT);
    cr_assert_str_eq(db_constraint(db), "test_db_n");
    cr_assert_str_eq(db_sqlstate(db), "23505");
    cr_assert_null(strstr(e.text, "(1)"), "values are for the log alone: %s", e.text);
    cr_assert_eq(insert(db, 2), ERR_OK);
    cr_assert_str_empty(db_constraint(db));
    cr_assert_str_empty(db_sqlstate(db));
}

Test(db, sqlstates_become_codes)
{
    static const struct {
        const char *state;
        enum err_code code;
    } cases[] = {
        {"23505", ERR_CONFLICT},    {"23P01", ERR_CONFLICT},    {"23503", ERR_INVALID},
        {"23514", ERR_INVALID},     {"22012", ERR_INVALID},     {"40001", ERR_UNAVAILABLE},
        {"40P01", ERR_UNAVAILABLE}, {"55P03", ERR_UNAVAILABLE}, {"53100", ERR_UNAVAILABLE},
        {"42P01", ERR_INTERNAL},    {"0A000", ERR_INTERNAL},    {"57014", ERR_TIMEOUT},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct err own = {0};
        char sql[200];

        cr_assert(text_format(sql, sizeof sql,
                              "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '%s'; END $$",
                              cases[i].state));
        cr_expect_eq(db_run_script(db, sql, &own), cases[i].code, "%s", cases[i].state);
        cr_expect(db_is_connected(db), "%s", cases[i].state);
    }
}

/* Else who reads there would miss what the others have written at the new primary meanwhile. */
Test(db, a_server_that_has_become_read_only_is_left_even_by_who_only_reads)
{
    static const struct db_stmt demote = {
        "test_demote", "SELECT set_config('default_transaction_read_only', $1, false)", 1};
    AUTO(db_result_free) struct db_result *rows = NULL;
    int64_t before = number(db, &PID);

    cr_assert_eq(db_query(db, &demote, DB_ARGS(DB_TEXT("off")), &rows, &e), ERR_OK);
    cr_expect_eq(number(db, &PID), before);
    db_result_free(rows);
    rows = NULL;
    cr_expect_eq(db_query(db, &demote, DB_ARGS(DB_TEXT("on")), &rows, &e), ERR_UNAVAILABLE);
    cr_expect_null(rows);
    cr_expect(!db_is_connected(db));
    cr_expect_neq(number(db, &PID), before);
}

/* 57P01 ends the session; 25006 means that the server is no primary any more. */
Test(db, some_sqlstates_drop_the_connection)
{
    static const char *const states[] = {"57P01", "57P03", "25006"};

    for (size_t i = 0; i < COUNT_OF(states); i++) {
        struct err own = {0};
        char sql[200];

        cr_assert(text_format(sql, sizeof sql,
                              "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '%s'; END $$",
                              states[i]));
        cr_expect_eq(db_run_script(db, sql, &own), ERR_UNAVAILABLE, "%s", states[i]);
        cr_expect_not(db_is_connected(db), "%s", states[i]);
    }
    cr_assert_gt(number(db, &PID), 0);
}

Test(db, error_amid_a_script_keeps_the_connection_in_step)
{
    make_table("n int");
    cr_assert_eq(db_run_script(db, "SELECT 1; SELECT 1/0; SELECT 2", &e), ERR_INVALID);
    cr_assert_eq(number(db, &COUNT), 0);
}

Test(db, a_statement_that_cannot_be_prepared_is_our_mistake)
{
    static const struct db_stmt wrong = {"test_wrong", "SELECT nothing FROM nowhere", 0};
    AUTO(db_result_free) struct db_result *rows = NULL;

    cr_assert_eq(db_query(db, &wrong, DB_NO_ARGS, &rows, &e), ERR_INTERNAL);
    cr_assert_null(rows);
    cr_assert_str_eq(db_sqlstate(db), "42P01");
    cr_assert_gt(number(db, &PID), 0);
}

/* ---- time ---- */

Test(db, nothing_is_compiled) { cr_assert_eq(number(db, &JIT), 1); }

Test(db, statement_timeout)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    int64_t pid = number(db, &PID);

    script(db, "SET statement_timeout = '50ms'");
    cr_assert_eq(db_query(db, &SLEEP, DB_NO_ARGS, &rows, &e), ERR_TIMEOUT);
    cr_assert_str_eq(db_sqlstate(db), "57014");
    cr_assert_eq(number(db, &PID), pid, "the connection is the same");
}

Test(db, a_silent_server_is_left_at_the_deadline)
{
    AUTO(db_result_free) struct db_result *rows = NULL;
    int64_t begun = clock_mono_us();

    script(db, "SET statement_timeout = 0");
    db_set_deadline(db, 1);
    cr_assert_eq(db_query(db, &SLEEP, DB_NO_ARGS, &rows, &e), ERR_TIMEOUT);
    cr_assert_lt(clock_mono_us() - begun, 10 * US_PER_S);
    cr_assert_geq(clock_mono_us() - begun, US_PER_S * 9 / 10);
    cr_assert_not(db_is_connected(db), "nobody knows what is still on its way");
    cr_assert_gt(number(db, &PID), 0);
}

Test(db, lock_timeout_is_worth_a_retry)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

    make_table("n int");
    cr_assert_eq(db_begin(other, &tx, &e), ERR_OK);
    script(other, "LOCK TABLE test_db");
    script(db, "SET lock_timeout = '50ms'");
    cr_assert_eq(insert(db, 1), ERR_UNAVAILABLE);
    cr_assert_str_eq(db_sqlstate(db), "55P03");
}

/* ---- loss ---- */

Test(db, reconnects_after_the_server_ended_the_session)
{
    int64_t pid = number(db, &PID);

    make_table("n int");
    cr_assert_eq(insert(db, 1), ERR_OK);
    terminate();
    cr_assert_eq(insert(db, 2), ERR_UNAVAILABLE, "only the caller knows whether it may run again");
    cr_assert(err_is_transient(e.code));
    cr_assert_eq(insert(db, 3), ERR_OK, "prepared anew on the new session: %s", e.text);
    cr_assert_neq(number(db, &PID), pid);
    cr_assert_eq(number(other, &COUNT), 2);
}

Test(db, a_transaction_does_not_go_on_upon_a_new_connection)
{
    make_table("n int");
    {
        AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

        cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
        cr_assert_eq(insert(db, 1), ERR_OK);
        terminate();
        cr_assert_eq(insert(db, 2), ERR_UNAVAILABLE);
        cr_assert_eq(insert(db, 3), ERR_UNAVAILABLE, "it would have committed by itself");
        cr_assert_eq(db_run_script(db, "INSERT INTO test_db VALUES (4)", NULL), ERR_UNAVAILABLE);
        cr_assert_eq(db_commit(&tx, &e), ERR_UNAVAILABLE);
    }
    cr_assert_eq(number(other, &COUNT), 0);
    cr_assert_eq(insert(db, 5), ERR_OK, "after it all is well: %s", e.text);
}

Test(db, rollback_on_a_lost_connection_does_no_harm)
{
    make_table("n int");
    {
        AUTO_VALUE(db_tx_release) struct db_tx tx = {0};

        cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
        terminate();
    }
    cr_assert_neq(insert(db, 1), ERR_INTERNAL);
    cr_assert_eq(insert(db, 2), ERR_OK, "%s", e.text);
}

Test(db, unreachable_server)
{
    AUTO(db_close)
    struct db *nowhere = db_open("postgresql://till@/till?host=/nonexistent", "test_db");
    int64_t begun = clock_mono_us();

    cr_assert_eq(db_connect(nowhere, &e), ERR_UNAVAILABLE);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(db_connect(nowhere, NULL), ERR_UNAVAILABLE);
    cr_assert_lt(clock_mono_us() - begun, 5 * US_PER_S, "refuses at once between its tries");
    cr_assert_not(db_is_connected(nowhere));
    cr_assert_eq(db_socket(nowhere), -1);
}

Test(db, missing_url)
{
    AUTO(db_close) struct db *nowhere = db_open(NULL, "test_db");
    AUTO(db_close) struct db *empty = db_open("", "test_db");

    cr_assert_eq(db_connect(nowhere, &e), ERR_UNAVAILABLE, "made to refuse");
    cr_assert_eq(db_connect(empty, &e), ERR_INVALID);
    db_close(NULL);
}

Test(db, password_stands_in_no_error)
{
    AUTO(db_close)
    struct db *nowhere = db_open("postgresql://till:hunter2@/till?host=/nonexistent", "test_db");

    e = (struct err){0};
    cr_assert_eq(db_connect(nowhere, &e), ERR_UNAVAILABLE);
    cr_assert_null(strstr(e.text, "hunter2"), "%s", e.text);
    cr_assert_null(strstr(e.detail, "hunter2"), "%s", e.detail);
}

/* ---- values ---- */

Test(db, values_go_and_come_back)
{
    static const struct db_stmt echo = {
        "test_echo", "SELECT $1::text, $2::bigint, $3::bytea, $4::boolean, $5::text", 5};
    AUTO(db_result_free) struct db_result *rows = NULL;
    const char *hostile = "'; DROP TABLE jobs; -- \\ \" $1 \xf0\x9f\x9b\x92\n";

    cr_assert_eq(db_query(db, &echo,
                          DB_ARGS(DB_TEXT(hostile), DB_INT(INT64_MIN), DB_BYTES("a\0\xff", 3),
                                  DB_BOOL(true), DB_NULL),
                          &rows, &e),
                 ERR_OK, "%s", e.detail);
    cr_assert_str_eq(db_text(rows, 0, 0), hostile);
    cr_assert_eq(db_int(rows, 0, 1), INT64_MIN);
    cr_assert_str_eq(db_text(rows, 0, 2), "\\x6100ff");
    cr_assert(db_bool(rows, 0, 3));
    cr_assert(db_is_null(rows, 0, 4));
    cr_assert_str_empty(db_text(rows, 0, 4));
    cr_assert_eq(db_int(rows, 0, 4), 0);
    cr_assert_not(db_is_null(rows, 0, 0));
}

Test(db, exec_counts_rows)
{
    static const struct db_stmt update = {"test_update", "UPDATE test_db SET n = n + 1", 0};
    int64_t rows = -1;

    make_table("n int");
    cr_assert_eq(db_exec(db, &update, DB_NO_ARGS, &rows, &e), ERR_OK);
    cr_assert_eq(rows, 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(insert(db, i), ERR_OK);
    cr_assert_eq(db_exec(db, &update, DB_NO_ARGS, &rows, &e), ERR_OK);
    cr_assert_eq(rows, 3);
}

Test(db, arrays_keep_hostile_elements)
{
    static const struct db_stmt elements = {"test_elements", "SELECT unnest($1::text[])", 1};
    static const char *const texts[] = {"plain", "",     "NULL", "a,b", "{}",        "\"",
                                        "\\",    "\\\"", "'",    " a ", "\xc3\xa9\n"};
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf array;

    buf_init(&array, 1000);
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        db_array_add(&array, texts[i]);
    db_array_end(&array);
    cr_assert_eq(db_query(db, &elements, DB_ARGS(DB_TEXT(array.data)), &rows, &e), ERR_OK, "%s",
                 e.detail);
    cr_assert_eq(db_rows(rows), (int)COUNT_OF(texts));
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        cr_expect_not(db_is_null(rows, (int)i, 0), "%s", texts[i]);
        cr_expect_str_eq(db_text(rows, (int)i, 0), texts[i]);
    }
}

Test(db, empty_array)
{
    static const struct db_stmt elements = {"test_elements", "SELECT unnest($1::text[])", 1};
    AUTO(db_result_free) struct db_result *rows = NULL;
    AUTO_VALUE(buf_release) struct buf array;

    buf_init(&array, 1000);
    db_array_end(&array);
    cr_assert_eq(db_query(db, &elements, DB_ARGS(DB_TEXT(array.data)), &rows, &e), ERR_OK);
    cr_assert_eq(db_rows(rows), 0);
}

/* ---- notifications ---- */

Test(db, waits_for_a_notification)
{
    bool notified = false;

    script(db, "LISTEN test_db");
    script(other, "NOTIFY test_db");
    cr_assert_eq(db_wait_notify(db, -1, 30 * US_PER_S, &notified, &e), ERR_OK);
    cr_assert(notified);
    cr_assert_eq(db_wait_notify(db, -1, 0, &notified, &e), ERR_OK);
    cr_assert_not(notified, "each is told once");
}

Test(db, a_notification_that_came_with_an_answer_is_not_lost)
{
    bool notified = false;

    script(db, "LISTEN test_db");
    script(other, "NOTIFY test_db");
    (void)number(db, &PID);
    cr_assert_eq(db_wait_notify(db, -1, 30 * US_PER_S, &notified, &e), ERR_OK);
    cr_assert(notified);
}

Test(db, wait_ends_with_its_time)
{
    bool notified = true;
    int64_t begun = clock_mono_us();

    script(db, "LISTEN test_db");
    cr_assert_eq(db_wait_notify(db, -1, 20 * US_PER_MS, &notified, &e), ERR_OK);
    cr_assert_not(notified);
    cr_assert_geq(clock_mono_us() - begun, 20 * US_PER_MS);
}

Test(db, wait_ends_when_the_other_descriptor_is_readable)
{
    bool notified = true;
    int ends[2];
    int64_t begun = clock_mono_us();

    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(write(ends[1], "x", 1), 1);
    cr_assert_eq(db_wait_notify(db, ends[0], 30 * US_PER_S, &notified, &e), ERR_OK);
    cr_assert_not(notified);
    cr_assert_lt(clock_mono_us() - begun, 20 * US_PER_S);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

Test(db, wait_notices_that_the_server_is_gone)
{
    bool notified = false;

    script(db, "LISTEN test_db");
    terminate();
    e = (struct err){0};
    /* The server's last words may end one wait, before the end of the connection ends the next. */
    if (db_wait_notify(db, -1, 30 * US_PER_S, &notified, &e) == ERR_OK)
        cr_assert_eq(db_wait_notify(db, -1, 30 * US_PER_S, &notified, &e), ERR_UNAVAILABLE);
    cr_assert_eq(e.code, ERR_UNAVAILABLE);
    cr_assert_not(notified);
    cr_assert_not(db_is_connected(db));
}

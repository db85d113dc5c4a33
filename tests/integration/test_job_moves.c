/* SPDX-License-Identifier: MIT
 *
 * Legal states stand twice: in the pure functions of common/ and in the triggers of sql/. For every
 * pair of states both must say the same. Each move is tried in a transaction that is rolled back.
 */
#include "common/job.h"
#include "common/order.h"
#include "common/payment.h"

#include <string.h>

#include <criterion/criterion.h>

#include "common/db.h"
#include "tests/integration/stores.h"

static struct db *db;

static void start(void)
{
    struct err e = {0};

    db = db_open(need_setting("DATABASE_URL"), "test_job_moves");
    cr_assert_eq(db_connect(db, &e), ERR_OK, "%s: %s", e.text, e.detail);
}

static void finish(void) { db_close(db); }

TestSuite(moves, .init = start, .fini = finish);

/* One kind of thing with states. `make` puts a row in state $1 there, `move` takes it to $1, each
 * with the columns that its other constraints ask of that state. */
struct machine {
    const char *trigger;
    int count;
    const char *(*name)(int state);
    bool (*may_become)(int from, int to);
    const char *prepare; /* rows that `make` refers to, or NULL */
    struct db_stmt make;
    struct db_stmt move;
};

static void check_move(const struct machine *machine, int from, int to)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    struct err e = {0};
    const char *from_name = machine->name(from);
    const char *to_name = machine->name(to);
    int64_t moved = 0;
    enum err_code rc;

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK, "%s", e.text);
    if (machine->prepare)
        cr_assert_eq(db_run_script(db, machine->prepare, &e), ERR_OK, "%s", e.detail);
    rc = db_exec(db, &machine->make, DB_ARGS(DB_TEXT(from_name)), NULL, &e);
    cr_assert_eq(rc, ERR_OK, "a row in state %s: %s", from_name, e.detail);
    rc = db_exec(db, &machine->move, DB_ARGS(DB_TEXT(to_name)), &moved, &e);
    if (machine->may_become(from, to)) {
        cr_expect_eq(rc, ERR_OK, "%s to %s is legal in C, but: %s", from_name, to_name, e.detail);
        cr_expect_eq(moved, 1);
    } else {
        cr_expect_eq(rc, ERR_INVALID, "%s to %s is illegal in C only", from_name, to_name);
        cr_expect_str_eq(db_constraint(db), machine->trigger, "%s to %s: %s", from_name, to_name,
                         e.detail);
    }
}

static void check_machine(const struct machine *machine)
{
    for (int from = 0; from < machine->count; from++)
        for (int to = 0; to < machine->count; to++)
            if (from != to) /* no change of state: no question for the trigger */
                check_move(machine, from, to);
}

static const char *job_name(int state) { return job_state_name((enum job_state)state); }

static bool job_may(int from, int to)
{
    return job_may_become((enum job_state)from, (enum job_state)to);
}

Test(moves, of_jobs)
{
    static const struct machine machine = {
        "jobs_transition",
        JOB_STATE_COUNT,
        job_name,
        job_may,
        NULL,
        {"moves_make_job",
         "INSERT INTO jobs (id, task, state, attempt, started_at, worker, enqueued_at, error,"
         " finished_at) VALUES ('00000000-0000-7000-8000-000000000001', 'till.tasks.noop',"
         " $1::job_state, 1, now(), 'w', now(), 'e',"
         " CASE WHEN $1::job_state IN ('SUCCESS', 'FAILURE', 'REVOKED') THEN now() END)",
         1},
        {"moves_move_job",
         "UPDATE jobs SET state = $1::job_state, finished_at ="
         " CASE WHEN $1::job_state IN ('SUCCESS', 'FAILURE', 'REVOKED') THEN now() END"
         " WHERE id = '00000000-0000-7000-8000-000000000001'",
         1},
    };

    check_machine(&machine);
}

/* A job's state may stay while a new attempt begins: the takeover of a dead worker's job. */
Test(moves, takeover_keeps_the_state)
{
    AUTO_VALUE(db_tx_release) struct db_tx tx = {0};
    struct err e = {0};

    cr_assert_eq(db_begin(db, &tx, &e), ERR_OK);
    cr_assert_eq(db_run_script(db,
                               "INSERT INTO jobs (id, task, state, attempt, started_at, worker,"
                               " enqueued_at) VALUES ('00000000-0000-7000-8000-000000000001', 't',"
                               " 'STARTED', 1, now(), 'w', now());"
                               "UPDATE jobs SET state = 'STARTED', attempt = 2, worker = 'v'"
                               " WHERE id = '00000000-0000-7000-8000-000000000001'",
                               &e),
                 ERR_OK, "%s", e.detail);
}

static const char *order_name(int state) { return order_state_name((enum order_state)state); }

static bool order_may(int from, int to)
{
    return order_may_become((enum order_state)from, (enum order_state)to);
}

#define A_USER                                                                                     \
    "INSERT INTO users (id, username, email, password_hash) VALUES (-1, 'moves', 'm@x.invalid',"   \
    " '$argon2id$x');"

Test(moves, of_orders)
{
    static const struct machine machine = {
        "orders_transition",
        ORDER_STATE_COUNT,
        order_name,
        order_may,
        A_USER,
        {"moves_make_order",
         "INSERT INTO orders (id, user_id, order_status, total_amount) VALUES (-1, -1, $1, 0)", 1},
        {"moves_move_order", "UPDATE orders SET order_status = $1 WHERE id = -1", 1},
    };

    check_machine(&machine);
}

static const char *payment_name(int state) { return payment_state_name((enum payment_state)state); }

static bool payment_may(int from, int to)
{
    return payment_may_become((enum payment_state)from, (enum payment_state)to);
}

Test(moves, of_payments)
{
    static const struct machine machine = {
        "payments_transition",
        PAYMENT_STATE_COUNT,
        payment_name,
        payment_may,
        A_USER "INSERT INTO orders (id, user_id, total_amount) VALUES (-1, -1, 0)",
        {"moves_make_payment",
         "INSERT INTO payments (id, order_id, payment_method, payment_token, amount, status,"
         " idempotency_key, refund_key, first_sent_at, gateway_reference, paid_at)"
         " VALUES ('00000000-0000-7000-8000-000000000001', -1, 'card', 'pm_x', 0, $1,"
         " gen_random_uuid(), gen_random_uuid(), now(), 'pi_moves',"
         " CASE WHEN $1 IN ('succeeded', 'refunded') THEN now() END)",
         1},
        {"moves_move_payment",
         "UPDATE payments SET status = $1,"
         " paid_at = CASE WHEN $1 IN ('succeeded', 'refunded') THEN now() END"
         " WHERE id = '00000000-0000-7000-8000-000000000001'",
         1},
    };

    check_machine(&machine);
}

/* The names themselves: no state exists on one side only. */
Test(moves, job_states_are_those_of_the_enum)
{
    static const struct db_stmt labels = {
        "moves_labels",
        "SELECT enumlabel FROM pg_enum WHERE enumtypid = 'job_state'::regtype ORDER BY enumlabel",
        0};
    AUTO(db_result_free) struct db_result *rows = NULL;
    struct err e = {0};

    cr_assert_eq(db_query(db, &labels, DB_NO_ARGS, &rows, &e), ERR_OK, "%s", e.detail);
    cr_assert_eq(db_rows(rows), JOB_STATE_COUNT);
    for (int i = 0; i < db_rows(rows); i++) {
        enum job_state state;

        cr_expect(job_state_parse(db_text(rows, i, 0), &state), "%s", db_text(rows, i, 0));
    }
}

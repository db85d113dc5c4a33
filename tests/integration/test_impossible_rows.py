# SPDX-License-Identifier: MIT
"""What no statement can write, whoever sends it: numbers, amounts, tokens and times of jobs, orders and payments."""

import psycopg2
import pytest

PAYMENT = "'00000000-0000-7000-8000-000000000001'"


@pytest.fixture(name="one")
def shop(stack):
    """An order, its payment and a job."""
    one = stack()
    one.query(
        "INSERT INTO users (id, username, email, password_hash) VALUES (-1, 'u', 'u@shop.example', '$argon2id$x')"
    )
    one.query("INSERT INTO orders (id, user_id, total_amount) VALUES (-1, -1, 0), (-2, -1, 0)")
    one.query(payment())
    one.query("INSERT INTO jobs (task, enqueued_at) VALUES ('till.tasks.noop', now())")
    return one


def payment(order=-1, **changed):
    values = {
        "id": PAYMENT,
        "order_id": order,
        "payment_method": "'card'",
        "payment_token": "'pm_card_visa'",
        "amount": "0",
        "currency": "'usd'",
        "status": "'pending'",
        "idempotency_key": "gen_random_uuid()",
        "refund_key": "gen_random_uuid()",
        **changed,
    }
    return f"INSERT INTO payments ({', '.join(values)}) VALUES ({', '.join(map(str, values.values()))})"


def job(**changed):
    values = {"task": "'till.tasks.noop'", "enqueued_at": "now()", **changed}
    return f"INSERT INTO jobs ({', '.join(values)}) VALUES ({', '.join(values.values())})"


OTHER = {"order": -2, "id": "gen_random_uuid()"}
TRACE = "'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'"

ILLEGAL = {
    "payments_input_check": (
        payment(**OTHER, amount="-0.01"),
        payment(**OTHER, currency="'USD'"),
        payment(**OTHER, currency="'us'"),
        payment(**OTHER, payment_method="'cash'"),
        payment(**OTHER, payment_token="'4242424242424242'"),
        payment(**OTHER, payment_token="'pm_'"),
        "UPDATE payments SET payment_token = 'tok_1'",
        "UPDATE payments SET payment_method = ''",
    ),
    "payments_frozen": (
        "UPDATE payments SET amount = 1",
        "UPDATE payments SET amount = -1",
        "UPDATE payments SET currency = 'eur'",
        "UPDATE payments SET order_id = -2",
        "UPDATE payments SET idempotency_key = gen_random_uuid()",
        "UPDATE payments SET refund_key = gen_random_uuid()",
    ),
    "payments_transition": (
        "UPDATE payments SET status = 'succeeded', paid_at = now(), gateway_reference = 'pi', first_sent_at = now()",
        "UPDATE payments SET status = 'paid'",
    ),
    "payments_status_check": (payment(**OTHER, status="'paid'", first_sent_at="now()"),),
    "payments_key_before_call": ("UPDATE payments SET status = 'processing'",),
    "orders_input_check": (
        "INSERT INTO orders (user_id, total_amount) VALUES (-1, -1)",
        "INSERT INTO orders (user_id, total_amount, currency) VALUES (-1, 0, 'EUR')",
        "UPDATE orders SET total_amount = -1",
        "UPDATE orders SET currency = '12'",
    ),
    "orders_transition": (
        "UPDATE orders SET order_status = 'refunded'",
        "UPDATE orders SET order_status = 'sold'",
    ),
    "orders_order_status_check": (
        "INSERT INTO orders (user_id, total_amount, order_status) VALUES (-1, 0, 'sold')",
    ),
    "jobs_input_check": (
        job(task="''"),
        job(task="'a b'"),
        job(task="repeat('a', 201)"),
        job(queue="'q?'"),
        job(queue="repeat('q', 201)"),
        job(args="'{}'"),
        job(kwargs="'[]'"),
        "UPDATE jobs SET task = 'a b'",
        "UPDATE jobs SET queue = ''",
        "UPDATE jobs SET args = '1'",
        "UPDATE jobs SET kwargs = 'null'",
    ),
    "jobs_limit_key_check": (
        job(limit_key="''"),
        job(limit_key="repeat('k', 201)"),
        job(limit_key="E'a\\nb'"),
        "UPDATE jobs SET limit_key = ''",
    ),
    "jobs_time_check": (
        job(scheduled_at="'infinity'"),
        job(created_at="'-infinity'"),
        job(created_at="'10000-01-01 00:00:00+00'"),
        job(enqueued_at="'infinity'"),
        job(unique_until="'0001-01-01 00:00:00+00 BC'"),
        "UPDATE jobs SET scheduled_at = 'infinity'",
        "UPDATE jobs SET unique_until = 'infinity'",
    ),
    "jobs_numbers_check": (
        job(priority="3"),
        job(priority="-1"),
        job(max_attempts="0"),
        job(snoozes="0"),
        "UPDATE jobs SET priority = 3",
        "UPDATE jobs SET max_attempts = 0",
        "UPDATE jobs SET snoozes = -1",
    ),
    "jobs_attempt_check": (job(attempt="-1"),),
    "jobs_started_check": ("UPDATE jobs SET state = 'STARTED', attempt = 1, worker = 'w'",),
    "jobs_finished_check": (
        job(finished_at="now()"),
        job(state="'SUCCESS'"),
        "UPDATE jobs SET state = 'REVOKED'",
        "UPDATE jobs SET state = 'FAILURE', error = 'e'",
        "UPDATE jobs SET state = 'STARTED', attempt = 1, worker = 'w', started_at = now(), finished_at = now()",
    ),
    "jobs_options_check": (
        job(traceparent="'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0'"),
        job(traceparent="'00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'"),
        job(traceparent="'00-00000000000000000000000000000000-b7ad6b7169203331-01'"),
        job(traceparent="'00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01'"),
        job(traceparent="'00-0af7651916cd43dd-8448eb211c80319cb7ad6b71692033310-01'"),
        job(traceparent="'01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'"),
        job(traceparent="'00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01'"),
        job(traceparent=TRACE, retention_s="0"),
        job(traceparent=TRACE, headers="'[]'"),
        job(expires_at="'10000-01-01 00:00:00+00'"),
    ),
}


def test_no_statement_writes_what_must_not_be(one):
    for constraint, statements in ILLEGAL.items():
        for sql in statements:
            with pytest.raises(psycopg2.errors.CheckViolation) as refused:
                one.query(sql)
            assert refused.value.diag.constraint_name == constraint, sql


def test_an_insert_of_a_job_has_no_condition_read(one):
    """PostgreSQL reads it from its text in each statement: six of them were half of what an INSERT cost."""
    conditions = one.query(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = 'jobs'::regclass AND tgqual IS NOT NULL AND tgtype & 4 <> 0"
    )
    assert conditions == []


def test_what_may_be_is_written_and_says_when(one):
    for sql in (
        payment(**OTHER, payment_method="'paypal'", currency="'eur'", amount="12000.00"),
        job(priority="2", max_attempts="1", snoozes="3", traceparent=TRACE),
        "UPDATE payments SET status = 'processing', first_sent_at = now() WHERE order_id = -1",
        "UPDATE orders SET order_status = 'paid' WHERE id = -1",
    ):
        one.query(sql)
    for table, key in (("orders", "id"), ("payments", "order_id")):
        [row] = one.query(f"SELECT updated_at > created_at AS changed FROM {table} WHERE {key} = -1")
        assert row["changed"], table
    [row] = one.query(f"SELECT string_agg(to_status, ' ' ORDER BY id) AS moves FROM payment_events WHERE payment_id = {PAYMENT}")
    assert row["moves"] == "pending processing"

"""Transactions that PostgreSQL undoes because of what others did at the same moment (a deadlock, a
serialization failure): what is ours as a whole is made again, and nobody is told of it."""

import concurrent.futures
import json
from contextlib import closing, contextmanager

import pytest
import requests
from browser import rows
from harness import flows
from harness.wait import wait_for

WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"


@contextmanager
def session(one):
    with closing(one.postgres.connect(one.database)) as connection, connection.cursor() as cursor:
        yield cursor


def prepare(stack, setting):
    one = stack()
    one.query(f"ALTER DATABASE {one.database} SET {setting}")
    one.start_dashboard()
    return one


def by_dashboard(one, path, body):
    answer = requests.post(one.dashboard.url + path, json=body, timeout=60)
    return answer.status_code, answer.json()


# ---- met in a deadlock ----


def retry_by_dashboard(one, ids):
    status, body = by_dashboard(one, "/api/v1/tasks", {"action": "retry", "ids": ids})
    assert status == 200, body
    assert one.query("SELECT action, outcome FROM audit") == [{"action": "task.retry", "outcome": "done"}]


def retry_by_shell(one, ids):
    done = one.till("task", "retry", *ids)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("retry", [retry_by_dashboard, retry_by_shell])
def test_a_retry_of_many_that_meets_another_the_other_way_round_is_made_again(stack, retry):
    """Another session has taken a key of one of them, and then wants the other job, which we hold."""
    one = prepare(stack, "deadlock_timeout = '4s'")
    dead = [rows.insert(one, "FAILURE", unique_key=key) for key in ("k1", "k2")]

    with session(one) as cursor, concurrent.futures.ThreadPoolExecutor(1) as pool:
        cursor.execute("SET deadlock_timeout = '10min'")  # so that we are the one that is undone
        cursor.execute("BEGIN; SELECT till_enqueue('a', unique_key => 'k2')")
        retrying = pool.submit(retry, one, dead)
        wait_for(lambda: one.value(WAITS) == 1, 30, "the retry does not wait for the key")
        cursor.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", (dead[0],))  # until we are undone
        cursor.execute("ROLLBACK")
        retrying.result(60)

    assert "deadlock detected" in one.take_refusals()[0]
    assert [one.job(job)["state"] for job in dead] == ["PENDING", "PENDING"]


def retry_one_by_dashboard(one, ids):
    status, body = by_dashboard(one, f"/api/v1/tasks/{ids[0]}/retry", {})
    assert status == 200, body
    assert one.query("SELECT action, outcome FROM audit") == [{"action": "task.retry", "outcome": "done"}]


@pytest.mark.parametrize("retry", [retry_by_dashboard, retry_one_by_dashboard, retry_by_shell])
def test_a_retry_of_a_stopped_step_that_meets_one_of_the_dead_before_it_is_made_again(stack, retry):
    """Who retries the dead holds its gate, and then wants the step, which we hold until we have that gate."""
    one = prepare(stack, "deadlock_timeout = '4s'")
    flow = one.value("SELECT till_chain(%s)", json.dumps([{"task": "a"}, {"task": "b"}]))
    dead, stopped = [row["id"] for row in one.query("SELECT id FROM jobs WHERE flow_id = %s ORDER BY flow_step", flow)]
    one.query("UPDATE jobs SET state = 'STARTED', started_at = now(), worker = 'w', attempt = 1 WHERE id = %s", dead)
    one.query("UPDATE jobs SET state = 'FAILURE', error = 'why', finished_at = now() WHERE id = %s", dead)

    with session(one) as cursor, concurrent.futures.ThreadPoolExecutor(1) as pool:
        cursor.execute("SET deadlock_timeout = '10min'")  # so that we are the one that is undone
        cursor.execute("BEGIN; SELECT FROM flow_gates WHERE flow_id = %s AND gate <> 0 FOR UPDATE", (flow,))
        retrying = pool.submit(retry, one, [stopped])
        wait_for(lambda: one.value(WAITS) == 1, 30, "the retry does not wait for the gate")
        cursor.execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", (stopped,))  # until we are undone
        cursor.execute("ROLLBACK")
        retrying.result(60)

    assert "deadlock detected" in one.take_refusals()[0]
    assert one.job(stopped)["state"] == "PENDING"
    flows.check(one)


# ---- not serializable ----


def enqueue_by_dashboard(one):
    status, body = by_dashboard(one, "/api/task/async-apply/a", {"args": [], "unique_key": "k"})
    assert status == 200, body
    return body["task-id"]


def enqueue_by_shell(one):
    done = one.till("enqueue", "a", "--unique", "k")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def enqueue_batch_by_shell(one):
    done = one.till("enqueue", "a", "--unique", "k", "--batch", "-", stdin="[1]\n[2]\n")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split()
    assert first == second
    return first


@pytest.mark.parametrize("enqueue", [enqueue_by_dashboard, enqueue_by_shell, enqueue_batch_by_shell])
def test_an_enqueue_that_cannot_be_serialized_is_made_again(stack, enqueue):
    """In a database whose transactions are repeatable reads, a key that is taken behind our snapshot."""
    one = prepare(stack, "default_transaction_isolation = 'repeatable read'")
    rows.declare_task(one, "a")

    with session(one) as cursor, concurrent.futures.ThreadPoolExecutor(1) as pool:
        cursor.execute("BEGIN; SELECT till_enqueue('a', unique_key => 'k')::text")
        (holder,) = cursor.fetchone()
        enqueuing = pool.submit(enqueue, one)
        wait_for(lambda: one.value(WAITS) == 1, 30, "the enqueue does not wait for the key")
        cursor.execute("COMMIT")
        assert enqueuing.result(60) == holder

    assert one.value("SELECT count(*) FROM jobs") == 1

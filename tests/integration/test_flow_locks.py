"""The gates of flows under transactions that meet: no lost wake-up, no second one, no deadlock."""

import os
import random
import threading

import psycopg2
import pytest
import requests

from harness import flows
from harness.flows import job
from harness.wait import wait_for

SEED = int(os.environ.get("FLOW_LOCKS_SEED", "20261122"))
SUCCEED = "UPDATE jobs SET state = 'SUCCESS', finished_at = now() WHERE id = ANY (%s::uuid[])"
FAIL = "UPDATE jobs SET state = 'FAILURE', error = 'why', finished_at = now() WHERE id = ANY (%s::uuid[])"
CLAIM = (
    "UPDATE jobs SET state = 'STARTED', started_at = now(), worker = %s, attempt = attempt + 1,"
    " enqueued_at = now() WHERE id = ANY (ARRAY(SELECT id FROM jobs WHERE finished_at IS NULL"
    " AND state = 'PENDING' AND waits IS NULL ORDER BY random() LIMIT %s FOR NO KEY UPDATE SKIP LOCKED))"
    " RETURNING id"
)
RETRY = (
    "UPDATE jobs SET state = 'PENDING', finished_at = NULL, enqueued_at = now() WHERE id = ANY (ARRAY("
    "SELECT id FROM jobs WHERE state = 'FAILURE' ORDER BY id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED))"
)


def connect(one):
    connection = one.postgres.connect(one.database)
    connection.autocommit = True
    return connection


def is_callback_due(one, flow):
    return one.value("SELECT waits IS NULL FROM jobs WHERE flow_id = %s ORDER BY flow_step DESC LIMIT 1", flow)


def start_all(one, flow):
    return [
        row["id"]
        for row in one.query(
            "UPDATE jobs SET state = 'STARTED', started_at = now(), worker = 'w', attempt = 1"
            " WHERE flow_id = %s AND waits IS NULL RETURNING id",
            flow,
        )
    ]


@pytest.mark.parametrize("count", [2, 300], ids=["one gate", "a gate of gates"])
def test_two_last_members_that_commit_at_once_wake_the_callback(stack, count):
    one = stack()
    flow = one.value(
        "SELECT till_group(%s, %s)", flows.json.dumps([job("t")] * count), flows.json.dumps(job("cb"))
    )
    *rest, last, other = start_all(one, flow)
    one.query(SUCCEED, rest)
    first, second = connect(one), connect(one)
    first.autocommit = second.autocommit = False
    first.cursor().execute(SUCCEED, ([last],))
    second.cursor().execute(SUCCEED, ([other],))

    ends = [threading.Thread(target=connection.commit) for connection in (first, second)]
    for end in ends:
        end.start()
    for end in ends:
        end.join(10)

    assert is_callback_due(one, flow)
    flows.check(one)
    first.close()
    second.close()


def test_a_member_rolled_back_wakes_nobody(stack):
    one = stack()
    flow = one.value("SELECT till_group(%s, %s)", flows.json.dumps([job("t")]), flows.json.dumps(job("cb")))
    connection = connect(one)
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute(SUCCEED.replace("WHERE", "WHERE state = 'STARTED' AND"), (start_all(one, flow),))
        cursor.execute("SAVEPOINT s")
        connection.rollback()
    connection.close()

    assert not is_callback_due(one, flow)
    flows.check(one)


def test_members_ended_in_a_savepoint_that_is_rolled_back_do_not_count(stack):
    one = stack()
    flow = one.value("SELECT till_group(%s, %s)", flows.json.dumps([job("t")] * 2), flows.json.dumps(job("cb")))
    members = start_all(one, flow)
    connection = connect(one)
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT s")
        cursor.execute(SUCCEED, (members[:1],))
        cursor.execute("ROLLBACK TO s")
        cursor.execute(SUCCEED, (members[1:],))
        connection.commit()
    connection.close()
    assert not is_callback_due(one, flow)
    flows.check(one)

    one.query(SUCCEED, members[:1])
    assert is_callback_due(one, flow)
    flows.check(one)


def waits_for_a_lock(one, connection):
    pid = connection.info.backend_pid
    return one.value("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", pid)


def test_members_retried_before_their_turn_lock_gates_in_the_order_of_everybody(stack):
    """They locked them in the order of their rows: two of them, or one and a worker, waited for each other."""
    one = stack()
    branch = {"chain": [job("t"), job("t")]}
    flow = one.value("SELECT till_group(%s)", flows.json.dumps([branch, branch]))
    one.query(FAIL, start_all(one, flow))
    first, last = one.query("SELECT id, flow_from FROM jobs WHERE flow_id = %s AND waits ORDER BY flow_from", flow)
    holder, other = connect(one), connect(one)
    holder.autocommit = other.autocommit = False
    gate = "SELECT FROM flow_gates WHERE flow_id = %s AND gate = %s FOR NO KEY UPDATE NOWAIT"
    holder.cursor().execute(gate, (flow, last["flow_from"]))
    for row in (first, last):
        other.cursor().execute("UPDATE jobs SET state = 'PENDING', finished_at = NULL WHERE id = %s", (row["id"],))
    end = threading.Thread(target=other.commit)
    end.start()
    wait_for(lambda: waits_for_a_lock(one, other), 10, "the retry waits for nobody")

    holder.cursor().execute(gate, (flow, first["flow_from"]))  # further down the flow

    holder.commit()
    end.join(10)
    assert one.value("SELECT count(*) FROM jobs WHERE flow_id = %s AND state = 'PENDING' AND waits", flow) == 2
    flows.check(one)
    holder.close()
    other.close()


WAITING_TILLS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name LIKE 'till%' AND wait_event_type = 'Lock'"
)


def leaves_alone_while_he_waits(one, flow, gate, member, begin):
    """Whoever comes by begin() meets a gate that is held, and holds no row of this member meanwhile."""
    holder = connect(one)
    holder.autocommit = False
    cursor = holder.cursor()
    cursor.execute("SELECT FROM flow_gates WHERE flow_id = %s AND gate = %s FOR UPDATE", (flow, gate))
    begin()
    wait_for(lambda: one.value(WAITING_TILLS), 20, "nobody waits for the gate")

    cursor.execute("SELECT FROM jobs WHERE id = %s FOR NO KEY UPDATE NOWAIT", (member,))

    holder.rollback()
    holder.close()


def test_who_expires_others_holds_no_member_that_waits_while_he_waits_for_a_gate(stack):
    """A worker that wakes that member may hold the gate: each waited for the other, and one lost an attempt."""
    one = stack()
    over = {"expires_at": "2026-01-01T00:00:00Z"}
    flow = one.value(
        "SELECT till_group(%s)", flows.json.dumps([job("t", **over), {"chain": [job("t"), job("t", **over)]}])
    )
    ready, _, waits = one.query("SELECT id, flow_to FROM jobs WHERE flow_id = %s ORDER BY flow_step", flow)

    leaves_alone_while_he_waits(one, flow, ready["flow_to"], waits["id"], one.start_scheduler)

    for row in (ready, waits):
        assert one.wait_job(row["id"], "REVOKED")["error"] == "expired"
    flows.check(one)


def by_shell(one, ids):
    return one.till("task", "revoke", *ids).returncode == 0


def by_page(one, ids):
    url = one.dashboard.url + "/api/v1/tasks"
    return requests.post(url, json={"action": "revoke", "ids": ids}, timeout=60).json()["changed"] == len(ids)


@pytest.mark.parametrize("revoke", [by_shell, by_page], ids=["shell", "page"])
def test_who_revokes_many_holds_no_member_that_waits_while_he_waits_for_a_gate(stack, revoke):
    """As above. A job with a transaction of its own lost an attempt by that, its last one maybe."""
    one = stack().start(apis=0, workers=0, schedulers=0, dashboards=1)
    flow = one.value("SELECT till_group(%s)", flows.json.dumps([job("t"), {"chain": [job("t"), job("t")]}]))
    ready, _, waits = one.query("SELECT id, flow_to FROM jobs WHERE flow_id = %s ORDER BY flow_step", flow)
    ends = []
    end = threading.Thread(target=lambda: ends.append(revoke(one, [ready["id"], waits["id"]])))

    leaves_alone_while_he_waits(one, flow, ready["flow_to"], waits["id"], end.start)

    end.join(60)
    assert ends == [True]
    assert [one.job(row["id"])["error"] for row in (ready, waits)] == ["revoked", "revoked"]
    flows.check(one)


def cancelled_by_shell(one, flow):
    return one.till("flow", "cancel", flow).returncode == 0


def cancelled_by_page(one, flow):
    url = f"{one.dashboard.url}/api/v1/flows/{flow}/cancel"
    return requests.post(url, json={}, timeout=60).json() == {"changed": 1, "more": False}


@pytest.mark.parametrize("cancel", [cancelled_by_shell, cancelled_by_page], ids=["shell", "page"])
def test_who_cancels_a_flow_does_not_hold_it_while_he_waits_for_a_gate(stack, cancel):
    """Whoever ends its last job holds a gate and then wants the flow: a job lost an attempt by that."""
    one = stack().start(apis=0, workers=0, schedulers=0, dashboards=1)
    flow = one.value("SELECT till_chain(%s)", flows.json.dumps([job("t"), job("t")]))
    ready = one.query("SELECT flow_to FROM jobs WHERE flow_id = %s AND waits IS NULL", flow)[0]
    ends = []
    end = threading.Thread(target=lambda: ends.append(cancel(one, flow)))
    holder = connect(one)
    holder.autocommit = False
    cursor = holder.cursor()
    cursor.execute("SELECT FROM flow_gates WHERE flow_id = %s AND gate = %s FOR UPDATE", (flow, ready["flow_to"]))
    end.start()
    wait_for(lambda: one.value(WAITING_TILLS), 20, "nobody waits for the gate")

    cursor.execute("SELECT FROM flows WHERE id = %s FOR UPDATE NOWAIT", (flow,))

    holder.rollback()
    holder.close()
    end.join(60)
    assert ends == [True]
    flows.check(one)


def tree(chooser, depth=0):
    kind = chooser.random()
    if depth == 3 or kind < 0.4:
        return job("t")
    members = [tree(chooser, depth + 1) for _ in range(chooser.randint(1, 4))]
    if kind < 0.7:
        return {"chain": members}
    group = {"group": members}
    if chooser.random() < 0.5:
        group["callback"] = tree(chooser, depth + 1)
    if chooser.random() < 0.3:
        group["on_complete"] = tree(chooser, depth + 1)
    return group


class Worker(threading.Thread):
    """Claims jobs of all flows in random batches and ends them in any order, some badly; and now and
    then does what people do."""

    def __init__(self, one, seed, misery):
        super().__init__()
        self.connection = connect(one)
        self.chooser = random.Random(seed)
        self.name = f"w{seed}"
        self.misery = misery
        self.deadlocks = 0
        self.trouble = None
        self.idle = 0

    def execute(self, sql, *values):
        for _ in range(20):
            try:
                with self.connection.cursor() as cursor:
                    cursor.execute(sql, values)
                    return [row[0] for row in cursor.fetchall()] if cursor.description else []
            except psycopg2.errors.DeadlockDetected:
                self.deadlocks += 1
        raise AssertionError("deadlocks without end")

    def step(self):
        batch = self.execute(CLAIM, self.name, self.chooser.randint(1, 24))
        self.idle = 0 if batch else self.idle + 1
        bad = [j for j in batch if self.chooser.random() < self.misery]
        good = [j for j in batch if j not in bad]
        self.chooser.shuffle(good)
        if good:
            self.execute(SUCCEED, good)
        if bad:
            self.execute(FAIL, bad)
        if self.misery and self.chooser.random() < 0.3:
            self.execute(RETRY, self.chooser.randint(1, 8))
        if self.misery and self.chooser.random() < 0.1:
            self.execute(
                "UPDATE jobs SET state = 'REVOKED', error = 'revoked', finished_at = now()"
                " WHERE id = ANY (ARRAY(SELECT id FROM jobs WHERE finished_at IS NULL AND waits"
                " ORDER BY random() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED))"
            )
        if self.misery and self.chooser.random() < 0.1:
            self.execute(
                "UPDATE jobs SET state = 'PENDING', finished_at = NULL, enqueued_at = now()"
                " WHERE id = ANY (ARRAY(SELECT id FROM jobs WHERE state = 'REVOKED'"
                " ORDER BY random() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED))"
            )

    def run(self):
        try:
            while self.idle < 20:
                self.step()
        except Exception as error:  # told by the test
            self.trouble = error
        finally:
            self.connection.close()


def run_workers(one, seed, misery, count=6):
    workers = [Worker(one, seed + n, misery) for n in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [w.trouble for w in workers] == [None] * count
    return sum(worker.deadlocks for worker in workers)


def declare_random(one, chooser, count):
    for _ in range(count):
        one.query("SELECT till_flow(%s)", flows.json.dumps(tree(chooser)))


def test_random_flows_end_without_a_deadlock(stack):
    one = stack()
    print(f"seed {SEED}")
    declare_random(one, random.Random(SEED), 150)

    deadlocks = run_workers(one, SEED, misery=0)

    assert deadlocks == 0
    assert one.value("SELECT count(*) FROM jobs WHERE state <> 'SUCCESS'") == 0
    assert one.value("SELECT count(*) FROM flows WHERE outcome <> 'SUCCESS'") == 0
    flows.check(one)


def test_random_flows_with_failures_revokes_and_retries_keep_their_counts(stack):
    one = stack()
    print(f"seed {SEED}")
    declare_random(one, random.Random(SEED + 1), 150)

    deadlocks = run_workers(one, SEED, misery=0.15)
    flows.check(one)

    # In the end all that failed is repaired, and every flow ends well.
    for _ in range(50):
        if not one.value("SELECT count(*) FROM jobs WHERE state IN ('FAILURE', 'REVOKED', 'PENDING')"):
            break
        one.query(RETRY, 1000000)
        one.query(
            "UPDATE jobs SET state = 'PENDING', finished_at = NULL, enqueued_at = now()"
            " WHERE state = 'REVOKED' AND error = 'revoked'"
        )
        run_workers(one, SEED, misery=0)
        flows.check(one)
    assert one.value("SELECT count(*) FROM jobs WHERE state <> 'SUCCESS'") == 0
    assert one.value("SELECT count(*) FROM flows WHERE outcome IS DISTINCT FROM 'SUCCESS'") == 0
    print(f"{deadlocks} deadlocks")

"""Tasks that take many jobs at once: one transaction a batch, and each job's effect exactly once."""

import json
import os
import random
import signal

import pytest

from harness.wait import SLOWNESS, pause, wait_for

TASK = "till.tasks.tally_many"
# All that waits before the worker starts is claimed at once, and taken by the first slot.
TOGETHER = {"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 32, "TILL_LEASE_SECONDS": 2}
SEED = int(os.environ.get("RANDOM_KILLS_SEED", "20261121"))
KILLS = 12


def enqueue(one, tallies):
    """A job for each of the argument lists, ready in its stream: their ids."""
    path = os.path.join(one.folder, "batch.json")
    with open(path, "w") as lines:
        lines.writelines(json.dumps(tally) + "\n" for tally in tallies)
    done = one.till("enqueue", TASK, "--batch", path, "--json")
    assert done.returncode == 0, done.stderr
    return [row["id"] for row in one.query("SELECT id FROM jobs ORDER BY id")]


def check_tally(one):
    """Every job that succeeded counted once, no other at all."""
    done = one.query(
        "SELECT id, (args->>0)::int AS counter, coalesce((args->>1)::int, 1) AS amount"
        " FROM jobs WHERE state = 'SUCCESS'"
    )
    entries = one.query("SELECT job_id AS id, counter, amount FROM trial_entries")
    assert sorted(map(str, entries)) == sorted(map(str, done))
    assert one.value("SELECT sum(total) FROM trial_counters") == sum(j["amount"] for j in done)


def batches(worker):
    return [line["batch"] for line in worker.read_log() if line["event"] == "job_done"]


def test_waiting_jobs_are_done_many_in_a_transaction(stack):
    one = stack({"TILL_WORKER_PROCESSES": 1})
    enqueue(one, ([n % 7] for n in range(500)))
    worker = one.start_worker()

    one.wait_settled()

    assert one.query("SELECT state, attempt, count(*) FROM jobs GROUP BY 1, 2") == [
        {"state": "SUCCESS", "attempt": 1, "count": 500}
    ]
    check_tally(one)
    transactions = one.value("SELECT count(DISTINCT xmin::text) FROM trial_entries")
    assert transactions <= 250, "jobs share transactions"
    assert 8 <= max(batches(worker)) <= 128


def test_one_that_cannot_be_written_is_split_off_and_the_rest_commit(stack):
    one = stack(TOGETHER)
    enqueue(one, [[3]] * 20 + [[4, -1]] + [[5]] * 43)
    worker = one.start_worker()

    one.wait_settled()

    assert one.query("SELECT args, attempt, error FROM jobs WHERE state <> 'SUCCESS'") == [
        {
            "args": [4, -1],
            "attempt": 1,
            "error": 'the database refused "trial_count_many"',
        }
    ]
    assert one.query("SELECT DISTINCT attempt FROM jobs") == [{"attempt": 1}]
    check_tally(one)
    assert one.value("SELECT count(DISTINCT xmin::text) FROM trial_entries") <= 12, "halves"
    assert len(batches(worker)) == 63
    one.books(dead=1)


def test_marked_ones_are_left_out_before_and_after_the_transaction_began(stack):
    one = stack(TOGETHER)
    enqueue(one, [[3]] * 10 + [["x"], [999999], [1, 2, 3], [999998]] + [[5]] * 10)
    worker = one.start_worker()

    one.wait_settled()

    failed = one.query("SELECT args, attempt, error FROM jobs WHERE state = 'FAILURE'")
    assert {str(job["args"]): job["error"] for job in failed} == {
        "['x']": "tally takes the number of a counter and, if wanted, an amount",
        "[999999]": "there is no counter 999999",
        "[1, 2, 3]": "tally takes the number of a counter and, if wanted, an amount",
        "[999998]": "there is no counter 999998",
    }
    assert batches(worker) == [20] * 20
    check_tally(one)
    one.books(dead=4)


@pytest.fixture
def locked(request):
    """Holds the row of a counter, so that whoever wants it waits: locked(one, counter)."""
    held = []

    def lock(one, counter):
        connection = one.postgres.connect(one.database)
        connection.autocommit = False
        held.append(connection)
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM trial_counters WHERE id = %s FOR UPDATE", (counter,))
        return connection

    yield lock
    for connection in held:
        connection.close()


def waits_for_lock(one):
    return one.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'",
        one.database,
    )


def test_one_that_is_revoked_while_its_batch_runs_has_no_effect_and_the_rest_commit(stack, locked):
    one = stack(TOGETHER)
    ids = enqueue(one, [[n] for n in range(20)])
    holder = locked(one, 7)
    one.start_worker()
    wait_for(lambda: waits_for_lock(one), 10, "no batch waits for the counter")
    started = one.query("SELECT id FROM jobs WHERE state = 'STARTED'")
    assert len(started) == len(ids)

    assert one.till("task", "revoke", ids[7], "--json").returncode == 0
    holder.rollback()
    one.wait_settled()

    assert one.query("SELECT id FROM jobs WHERE state <> 'SUCCESS'") == [{"id": ids[7]}]
    assert one.job(ids[7])["state"] == "REVOKED"
    assert one.value("SELECT count(*) FROM trial_entries") == len(ids) - 1
    check_tally(one)


def running(one):
    """How many places of the one limit are taken."""
    [line] = one.till("limit", "list", "--json").stdout.splitlines()
    return json.loads(line)["running"]


def test_the_places_of_a_batch_come_back_with_its_commit(stack, locked):
    """One of them is not ours any more: nothing is written, no place is given back twice."""
    one = stack(TOGETHER)
    assert one.till("limit", "set", "task", TASK, "--concurrency", "10").returncode == 0
    ids = enqueue(one, [[n] for n in range(20)])
    holder = locked(one, 3)
    one.start_worker()
    one.start_scheduler()
    wait_for(lambda: waits_for_lock(one), 10, "no batch waits for the counter")
    [first] = one.query("SELECT id FROM jobs WHERE state = 'STARTED' AND args = '[3]'")

    assert one.till("task", "revoke", first["id"], "--json").returncode == 0
    holder.rollback()
    one.wait_settled()

    assert one.query("SELECT id FROM jobs WHERE state <> 'SUCCESS'") == [first]
    assert one.value("SELECT count(*) FROM trial_entries") == len(ids) - 1
    check_tally(one)
    wait_for(lambda: running(one) == 0, 10, lambda: f"{running(one)} places are left")
    one.books()


def test_one_that_its_own_index_refuses_at_the_commit_is_split_off(stack):
    """A conflict as that of a lost fence, but nobody else's: told by looking whose they still are."""
    one = stack(TOGETHER)
    ids = enqueue(one, [[n] for n in range(20)])
    one.query("UPDATE jobs SET max_attempts = 1 WHERE id = %s", ids[7])
    one.query("INSERT INTO trial_entries (job_id, counter, amount) VALUES (%s, 7, 0)", ids[7])
    one.query("CREATE UNIQUE INDEX trial_entries_once ON trial_entries (job_id)")
    worker = one.start_worker()

    one.wait_settled()

    assert one.query("SELECT id, attempt, error FROM jobs WHERE state <> 'SUCCESS'") == [
        {"id": ids[7], "attempt": 1, "error": 'the database refused "trial_enter_many"'}
    ]
    assert one.value("SELECT sum(total) FROM trial_counters") == 19
    assert not [line for line in worker.read_log() if line["event"] == "job_not_ours"]
    one.books(dead=1)


def test_after_their_worker_has_died_the_jobs_of_a_batch_run_alone(stack, locked):
    one = stack(TOGETHER)
    ids = enqueue(one, [[n] for n in range(20)])
    holder = locked(one, 7)
    worker = one.start_worker()
    wait_for(lambda: waits_for_lock(one), 10, "no batch waits for the counter")

    os.kill(worker.family()[1], signal.SIGKILL)
    done = "SELECT count(*) FROM jobs WHERE state = 'SUCCESS'"
    wait_for(lambda: one.value(done) == 19, 10, lambda: f"{one.value(done)} of 19 are done")
    holder.rollback()
    one.start_scheduler()
    one.wait_settled()

    assert one.value(done) == len(ids)
    assert one.value("SELECT count(DISTINCT xmin::text) FROM trial_entries") == 20
    check_tally(one)


@pytest.mark.slow
def test_killed_at_random_under_load_each_job_counts_once(stack):
    one = stack({"TILL_LEASE_SECONDS": 2, "TILL_WORKER_PROCESSES": 1})
    chooser = random.Random(SEED)
    print(f"seed {SEED}")
    jobs = 0
    one.start_scheduler()
    workers = [one.start_worker() for _ in range(2)]
    done = "SELECT count(*) FROM jobs WHERE state = 'SUCCESS'"

    for _ in range(KILLS):
        if jobs - one.value(done) < 5000:  # there is always something that can be cut off
            enqueue(one, ([chooser.randrange(1000)] for _ in range(10000)))
            jobs += 10000
        pause(chooser.uniform(0.05, 0.3))
        at = chooser.randrange(len(workers))
        children = workers[at].family()[1:]
        if children and chooser.random() < 0.7:
            os.kill(chooser.choice(children), signal.SIGKILL)
        else:
            workers[at].kill()
            workers[at] = one.start_worker()
    one.wait_settled(timeout=60 * SLOWNESS)

    assert one.value(done) == jobs
    check_tally(one)

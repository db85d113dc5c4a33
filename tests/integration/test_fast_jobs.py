# SPDX-License-Identifier: MIT
"""Fast jobs whose workers die: one that ends its process is capped like a durable one, one whose worker
was ended from outside runs, and their neighbours come to their end."""

import os
import signal
import uuid

import pytest

from harness.wait import wait_for

CRASH = "till.tasks.crash"
STUBBORN = "till.tasks.stubborn"
KEY = "till:{default}:normal"


def fast(one, task, *args, **fields):
    made = str(uuid.uuid4())
    one.enqueue_fast(task, *args, id=made, **fields)
    return made


def errors_of(one, job):
    return [row["error"] for row in one.query("SELECT error FROM job_errors WHERE job_id = %s ORDER BY attempt", job)]


def held(one):
    """Entries that some worker holds."""
    groups = one.redis.xinfo_groups(KEY) if one.redis.exists(KEY) else []
    return sum(group["pending"] for group in groups)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_fast_job_that_ends_its_process_ends_in_failure_and_its_neighbours_in_success(stack, processes):
    one = stack({"TILL_WORKER_PROCESSES": processes, "TILL_LEASE_SECONDS": 2}).start(apis=0, workers=2)
    bad = fast(one, CRASH, 9)
    others = one.enqueue("till.tasks.noop", count=300)
    job = one.wait_job(bad, "FAILURE", timeout=60)
    one.wait_settled(timeout=60)

    # The run that came from the stream has no row that could count it.
    assert (job["attempt"], len(errors_of(one, bad))) == (3, 3)
    assert "worker died" in job["error"]
    states = one.query("SELECT DISTINCT state FROM jobs WHERE id::text = ANY(%s)", others)
    assert states == [{"state": "SUCCESS"}]
    assert held(one) == 0
    one.books(dead=1)


def test_a_fast_job_that_overruns_its_hard_limit_ends_in_failure(stack):
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_LEASE_SECONDS": 2}).start(apis=0)
    done = one.till("task", "timeout", STUBBORN, "--soft", "0.2", "--hard", "0.5")
    assert done.returncode == 0, done.stderr
    bad = fast(one, STUBBORN, 60000)
    others = [one.enqueue("till.tasks.sleep", 1) for _ in range(6)]
    job = one.wait_job(bad, "FAILURE", timeout=90)
    for other in others:
        one.wait_job(other, timeout=60)

    assert (job["attempt"], len(errors_of(one, bad))) == (3, 3)
    one.settle(dead=1)


@pytest.mark.parametrize("by", ["its replacement", "another worker"])
def test_a_fast_job_whose_worker_was_killed_runs(stack, by):
    """Even where its task has one attempt: being killed is no failure of its own."""
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_LEASE_SECONDS": 2}).start(apis=0)
    job = fast(one, "till.tasks.sleep", 5, headers='{"tenant": "a"}')
    wait_for(lambda: held(one) == 1, 30, "nobody took it")
    worker = one.worker
    if by == "another worker":
        worker.kill()
        one.start_worker()
    else:
        os.kill(worker.family()[1], signal.SIGKILL)

    row = one.wait_job(job, timeout=30)
    assert (row["attempt"], row["headers"], errors_of(one, job)) == (1, {"tenant": "a"}, [])
    one.settle()


def test_a_fast_job_that_was_killed_and_expires_meanwhile_ends_in_revoked(stack):
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_LEASE_SECONDS": 2}).start(apis=0)
    seconds, micros = one.redis.time()
    job = fast(one, "till.tasks.sleep", 60, expires=seconds * 1000 + micros // 1000 + 3000)
    wait_for(lambda: held(one) == 1, 30, "nobody took it")
    os.kill(one.worker.family()[1], signal.SIGKILL)
    one.wait_job(job, "STARTED", "REVOKED", timeout=30)
    wait_for(lambda: one.value("SELECT now() > to_timestamp(%s)", seconds + 4), 30)
    os.kill(one.worker.family()[1], signal.SIGKILL)

    assert one.wait_job(job, "REVOKED", timeout=30)["error"] == "expired"
    one.settle()


@pytest.mark.parametrize("args", ["[1e-20000]", "[0e9999999999]"])
def test_a_number_that_no_row_holds_makes_a_fast_entry_undecodable(stack, args):
    one = stack()
    with pytest.raises(Exception, match="numeric|json"):
        one.query("SELECT %s::jsonb", args)
    one.redis.xadd(KEY, {"task": "till.tasks.noop", "args": args})
    one.start_worker()

    wait_for(lambda: one.value("SELECT count(*) FROM jobs WHERE task = 'undecodable'"), 30, "nowhere")
    one.settle(dead=1)

"""How long it takes until work goes on after something died: measured, put into the table of `make
faults`, and held against limits that a slow machine keeps, too. The promises are in the README."""

import functools
import signal
import time

import pytest

from harness import faults_report, processes
from harness.wait import pause, wait_for

LEASE = 30  # the default
JOBS = 4
IN_FULL = functools.partial(pytest.param, marks=pytest.mark.full)


def jobs_struck(one, seconds, kill):
    """The ids of jobs that ran when it struck; a busy machine may strike too late."""
    for _ in range(20):
        ids = one.enqueue("till.tasks.sleep", seconds, count=JOBS)
        for job in ids:
            one.wait_job(job, "STARTED", "SUCCESS", timeout=30)
        kill()
        left = [job for job in ids if one.job(job)["state"] != "SUCCESS"]
        if left:
            return left
    raise AssertionError("every job was faster than a kill")


def time_of_second_attempts(one, ids, timeout):
    began = time.monotonic()
    wait_for(
        lambda: all(one.job(job)["attempt"] >= 2 for job in ids),
        timeout,
        lambda: str(one.query("SELECT id, state, attempt, worker FROM jobs")),
    )
    return time.monotonic() - began


def finish(one, fault, jobs, times):
    one.wait_settled(timeout=60)
    lost = one.value("SELECT count(*) FROM jobs WHERE state <> 'SUCCESS'")
    faults_report.record(fault, rounds=len(times), jobs=jobs, lost=lost, recovery_s=times)
    print(f"{fault}: {', '.join(f'{t:.2f}' for t in times)} s")
    assert lost == 0


def kill_processes(worker):
    for pid in processes.children_of(worker.pid):
        processes.send(pid, signal.SIGKILL)


def test_jobs_of_a_killed_process_run_again_at_once_while_its_supervisor_lives(stack):
    """Promised within 2 s. Far below the lease, so it is the replacement that has taken them."""
    one = stack({"TILL_LEASE_SECONDS": LEASE, "TILL_WORKER_PROCESSES": 1}).start(apis=0)
    times = []
    for _ in range(faults_report.pick(2, 10)):
        ids = jobs_struck(one, 1.5, lambda: kill_processes(one.worker))
        times.append(time_of_second_attempts(one, ids, LEASE - 5))
        one.wait_settled(timeout=60)

    finish(one, "worker process killed: its own jobs run again", JOBS * len(times), times)
    assert min(times) < 10


@pytest.mark.full
def test_jobs_of_a_killed_worker_run_on_another_within_the_lease(stack):
    """Promised within 30 s, with the default lease."""
    one = stack({"TILL_LEASE_SECONDS": LEASE, "TILL_WORKER_PROCESSES": 1}).start(apis=0)
    times = []
    for _ in range(3):
        victim = one.worker
        other = one.start_quiet_worker()
        ids = jobs_struck(one, 20, victim.kill)
        other.send(signal.SIGCONT)
        times.append(time_of_second_attempts(one, ids, 2 * LEASE))
        one.wait_settled(timeout=60)
        assert other.is_running()

    finish(one, "worker killed: its jobs run on another", JOBS * len(times), times)
    assert max(times) < LEASE


def passed_jobs(one):
    """The ids of jobs that run on a place passed on. Some may get theirs from the scheduler."""
    found = "SELECT id::text FROM jobs WHERE state = 'STARTED' AND starts_with(delivery, 'passed:')"
    for _ in range(20):
        for seconds in [1] * JOBS + [25] * JOBS:
            one.insert_job("till.tasks.sleep", [seconds], limit_key="few")
        wait_for(lambda: one.value("SELECT count(*) FROM jobs WHERE state = 'STARTED' AND args = '[25]'") == JOBS, 60)
        ids = [row["id"] for row in one.query(found)]
        if ids:
            return ids
        one.wait_settled(timeout=90)
    raise AssertionError("no place was passed on")


@pytest.mark.full
def test_jobs_of_a_killed_worker_that_have_no_entry_run_on_another_within_the_lease(stack):
    """Those that came by a place passed on."""
    settings = {"TILL_LEASE_SECONDS": LEASE, "TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 2 * JOBS}
    one = stack(settings).start(apis=0)  # it fetches those, too, that find no place, and parks them
    limited = one.till("limit", "set", "key", "few", "--concurrency", str(JOBS))
    assert limited.returncode == 0, limited.stderr
    times = []
    for _ in range(3):
        victim = one.worker
        other = one.start_quiet_worker()
        ids = passed_jobs(one)
        victim.kill()
        other.send(signal.SIGCONT)
        times.append(time_of_second_attempts(one, ids, 2 * LEASE))
        one.wait_settled(timeout=90)

    finish(one, "worker killed: its jobs without an entry run on another", JOBS * len(times), times)
    assert max(times) < LEASE


def first_job_after(one):
    """Seconds until a job that is enqueued now has ended."""
    began = time.monotonic()
    job = one.insert_job("till.tasks.tally", [1])
    one.wait_job(job, timeout=60)
    return time.monotonic() - began


@pytest.mark.parametrize("how", ["kill", IN_FULL("stop")])
def test_redis_back_the_first_job_is_done_soon(stack, how):
    """Promised within 10 s, with nobody's help."""
    one = stack(own_redis=True).start(apis=0)
    times = []
    for _ in range(faults_report.pick(1, 5)):
        first_job_after(one)
        getattr(one.redis_server, how)()
        pause(1.5)
        one.redis_server.start()
        times.append(first_job_after(one))

    finish(one, f"Redis back after {how}: first job", 2 * len(times), times)


@pytest.mark.parametrize("how", ["kill", IN_FULL("fast"), IN_FULL("immediate")])
def test_postgresql_back_the_first_job_is_done_soon(stack, how):
    """Promised within 10 s, with nobody's help."""
    one = stack(own_postgres=True).start(apis=0)
    times = []
    for _ in range(faults_report.pick(1, 5)):
        first_job_after(one)
        one.postgres.stop(how)
        pause(1.5)
        one.postgres.start()
        times.append(first_job_after(one))

    finish(one, f"PostgreSQL back after {how}: first job", 2 * len(times), times)

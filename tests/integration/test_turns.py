"""Which job runs next: strict order and weights over queues, and that nothing starves."""

import uuid

import pytest

from harness.wait import wait_for

ONE_SLOT = {
    "TILL_WORKER_PROCESSES": 1,
    "TILL_WORKER_CONCURRENCY": 1,
    "TILL_WORKER_PREFETCH": 0,
}


def fill(one, count, queues, task="till.tasks.noop", priority="normal"):
    for queue in queues:
        one.enqueue(task, queue=queue, count=count, priority=priority)


def begun(one):
    """Queue and priority of each job that has begun, in the order in which they did."""
    return one.query(
        "SELECT queue, priority FROM jobs WHERE started_at IS NOT NULL ORDER BY started_at, id"
    )


def wait_begun(one, count):
    wait_for(
        lambda: one.value("SELECT count(*) FROM jobs WHERE started_at IS NOT NULL") >= count,
        60,
        lambda: f"{len(begun(one))} of {count} began",
    )


def share(rows, queue):
    return sum(row["queue"] == queue for row in rows) / len(rows)


def test_names_alone_are_in_strict_order(stack):
    one = stack({**ONE_SLOT, "TILL_QUEUES": "first,second"})
    fill(one, 60, ["second", "first"])
    one.start_worker()
    wait_begun(one, 120)

    rows = begun(one)[:60]

    # One read in sixteen begins at the other end.
    assert share(rows, "first") >= 0.85
    assert [row["queue"] for row in rows[:16]] == ["first"] * 16


def test_weights_share_the_workers_by_jobs(stack):
    one = stack(
        {
            "TILL_QUEUES": "critical=6,default=3,low=1",
            "TILL_WORKER_CONCURRENCY": 4,
            "TILL_WORKER_PREFETCH": 16,
        }
    )
    fill(one, 600, ["low", "default", "critical"])
    one.start_worker()
    wait_begun(one, 1800)

    rows = begun(one)[:800]

    assert share(rows, "critical") == pytest.approx(0.6, abs=0.1)
    assert share(rows, "default") == pytest.approx(0.3, abs=0.1)
    assert share(rows, "low") == pytest.approx(0.1, abs=0.06)
    one.wait_settled()


def test_what_an_empty_queue_leaves_goes_to_the_others(stack):
    one = stack({"TILL_QUEUES": "critical=1000,low=1"})
    one.start_worker()
    one.enqueue("till.tasks.noop", queue="low", count=500)

    one.wait_settled()


def test_the_low_priority_is_read_while_the_high_one_never_runs_dry(stack):
    one = stack({**ONE_SLOT, "TILL_QUEUES": "default"})
    fill(one, 400, ["default"], priority="high")
    fill(one, 5, ["default"], priority="low")
    fill(one, 5, ["default"], priority="normal")
    one.start_worker()
    wait_begun(one, 200)

    rows = begun(one)[:200]

    assert {row["priority"] for row in rows} == {0, 1, 2}
    assert sum(row["priority"] == 0 for row in rows) >= 180


@pytest.mark.parametrize("queues", ["a=1,b", "a=0", "a,,a", "a=x", " , "])
def test_queues_that_make_no_sense_are_refused_with_a_reason(stack, queues):
    one = stack()
    made = one.program("till-worker", None, ["--check"], TILL_QUEUES=queues)

    made.expect_exit(2)

    assert "TILL_QUEUES: " in made.tail()


# ---- order within a stream ----

PREFETCHING = {"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 1}


def ran(one):
    return [str(row["job_id"]) for row in one.query("SELECT job_id FROM trial_entries ORDER BY id")]


@pytest.mark.parametrize("limit", [None, 1, 100])
def test_jobs_of_a_stream_run_in_the_order_of_its_entries(stack, limit):
    """Whatever their ids, whenever they were made: what was pushed first is run first, in a claimed batch, too."""
    one = stack(PREFETCHING)
    ids = [str(uuid.uuid4()) for _ in range(60)]
    for n, job in enumerate(ids):
        one.query(
            "INSERT INTO jobs (id, task, args, created_at, enqueued_at)"
            " VALUES (%s, 'till.tasks.tally', '[1]', now() - %s * interval '1 minute', now())", job, n)  # fmt: skip
        one.redis.xadd("till:{default}:normal", {"job": job})
    if limit == 100:
        assert one.till("limit", "set", "task", "till.tasks.tally", "--concurrency", 100).returncode == 0
    elif limit:
        assert one.till("limit", "set", "queue", "default", "--concurrency", 1).returncode == 0

    one.start_worker()
    one.wait_settled()

    assert ran(one) == ids


def test_jobs_that_are_due_together_come_in_the_order_of_their_times(stack):
    one = stack(PREFETCHING)
    ids = [
        one.value(
            "INSERT INTO jobs (id, task, args, scheduled_at)"
            " VALUES (gen_random_uuid(), 'till.tasks.tally', '[1]', now() - %s * interval '1 min') RETURNING id", n)  # fmt: skip
        for n in range(60)
    ]
    one.start_scheduler()
    wait_for(lambda: one.redis.xlen("till:{default}:normal") == 60, 10, "not delivered")

    one.start_worker()
    one.wait_settled()

    assert ran(one) == [str(job) for job in reversed(ids)]


def test_jobs_that_an_emptied_redis_has_lost_come_back_in_their_order(stack):
    one = stack(PREFETCHING)
    ids = [
        one.value(
            "INSERT INTO jobs (id, task, args, scheduled_at, enqueued_at) SELECT gen_random_uuid(), 'till.tasks.tally', '[1]',"
            " at, at FROM (SELECT now() - %s * interval '1 min' AS at) t RETURNING id", n)  # fmt: skip
        for n in range(1, 61)
    ]
    one.start_scheduler()
    wait_for(lambda: one.redis.xlen("till:{default}:normal") == 60, 20, "not put back")

    one.start_worker()
    one.wait_settled()

    assert ran(one) == [str(job) for job in reversed(ids)]

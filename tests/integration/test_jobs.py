"""The life of a job, on real servers with the real worker and scheduler."""

import json
import statistics
import time
import uuid

import pytest

from harness import processes
from harness.wait import SLOWNESS, pause, wait_for


def errors_of(one, job_id):
    return one.query("SELECT * FROM job_errors WHERE job_id = %s ORDER BY attempt", job_id)


def test_a_job_runs_and_tells_who_ran_it_and_when(stack):
    one = stack()
    one.start_worker()

    job = one.wait_job(one.enqueue("till.tasks.noop"))

    assert job["attempt"] == 1
    assert job["worker"]
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    one.settle()


def test_a_thousand_jobs_are_each_run_once(stack):
    one = stack()
    one.enqueue("till.tasks.noop", count=1000)
    one.start_worker()
    one.start_worker()

    one.wait_settled()

    assert one.query("SELECT state, attempt, count(*) FROM jobs GROUP BY 1, 2") == [
        {"state": "SUCCESS", "attempt": 1, "count": 1000}
    ]


def test_a_job_inserted_by_another_program_runs_without_any_xadd(stack):
    one = stack(settings={"TILL_HEAL_SECONDS": 60})
    one.start_worker()
    one.start_scheduler()

    job = one.wait_job(one.insert_job("till.tasks.noop"))

    waited = (job["started_at"] - job["created_at"]).total_seconds()
    assert waited < 30, "the notification wakes the scheduler"


def test_a_delayed_job_runs_at_its_time_and_not_before(stack):
    one = stack()
    one.start_worker()
    one.start_scheduler()

    job = one.wait_job(one.enqueue("till.tasks.noop", countdown=2))

    late = (job["started_at"] - job["scheduled_at"]).total_seconds()
    assert 0 <= late < 2 * SLOWNESS


def test_a_failing_job_is_tried_again_with_growing_waits_and_dies_with_every_error_kept(stack):
    one = stack({"TILL_RETRY_BASE_MS": 200})
    one.start_worker()
    one.start_scheduler()

    made = one.enqueue("till.tasks.fail", "the reason", max_attempts=4)
    job = one.wait_job(made, "FAILURE")

    errors = errors_of(one, made)
    assert job["attempt"] == 4
    assert [error["attempt"] for error in errors] == [1, 2, 3, 4]
    assert all("the reason" in error["error"] for error in errors)
    assert "the reason" in job["error"]
    waits = [
        (later["started_at"] - earlier["failed_at"]).total_seconds()
        for earlier, later in zip(errors, errors[1:])
    ]
    for attempt, wait in enumerate(waits):
        assert wait >= 0.1 * 2**attempt, f"half of the backoff is certain: {waits}"
    one.settle(dead=1)


def test_a_task_that_no_worker_knows_fails_with_a_reason_after_a_day(stack):
    one = stack()
    one.start_worker()
    one.start_scheduler()
    day = 8 + 86400 // 256  # waits, of which the first eight are shorter

    dead = one.wait_job(one.insert_job("nobody.knows.this", max_attempts=2, snoozes=day), "FAILURE")
    put_off = one.insert_job("nobody.knows.this", max_attempts=1, snoozes=day - 1)
    [row] = wait_for(
        lambda: one.query("SELECT *, scheduled_at - now() AS due FROM jobs WHERE id = %s AND snoozes = %s", put_off, day), 30
    )

    assert "does not know" in dead["error"] and dead["snoozes"] == day
    assert (row["state"], row["attempt"], row["max_attempts"]) == ("PENDING", 1, 2)
    assert 200 < row["due"].total_seconds() <= 256


@pytest.mark.parametrize("fast", [False, True], ids=["durable", "fast"])
def test_a_job_that_comes_before_the_first_worker_that_knows_its_task_waits_for_it(stack, fast):
    """As in a deploy that begins with those who enqueue."""
    one = stack()
    one.start_scheduler()
    older = one.start_worker()
    if fast:
        one.enqueue_fast("tests.tasks.poison", "transaction")
    else:
        one.enqueue("tests.tasks.poison", "transaction", max_attempts=1)
    job = wait_for(lambda: one.value("SELECT id FROM jobs WHERE snoozes >= 2"), 30, "it is not put off")
    assert one.job(job)["error"] == "put off: no worker knows the task; it waits for one, for a day in all"
    assert one.query("SELECT * FROM job_errors") == []
    assert "put off: no worker knows" in one.till("task", "show", job).stdout
    older.wait_for_log("job_snoozed", reason="no worker knows the task; it waits for one, for a day in all")

    one.start_worker(TILL_CRASHPOINT="none:1")  # the build that knows it
    older.term_and_wait()

    assert "a transaction of its own open" in one.wait_job(job, "FAILURE", timeout=60)["error"]


@pytest.mark.parametrize("fast", [False, True], ids=["durable", "fast"])
def test_a_task_that_another_worker_knows_is_left_to_it(stack, fast):
    """As while a version with a new task is rolled out. One attempt is enough: none is used up by those
    who do not know it."""
    one = stack()
    one.start_scheduler()
    newer = one.start_worker(TILL_CRASHPOINT="none:1")  # the build that knows tests.tasks.poison
    newer.term_and_wait()
    older = one.start_worker()
    if fast:
        one.enqueue_fast("tests.tasks.poison", "transaction")
    else:
        one.enqueue("tests.tasks.poison", "transaction", max_attempts=1)
    job = wait_for(
        lambda: one.value("SELECT id FROM jobs WHERE snoozes >= 2"), 30, "the older worker does not put it off"
    )
    assert one.job(job)["error"] == "put off: this worker does not know the task, but another does"
    assert one.query("SELECT * FROM job_errors") == []

    one.start_worker(TILL_CRASHPOINT="none:1")
    older.term_and_wait()

    assert "a transaction of its own open" in one.wait_job(job, "FAILURE", timeout=60)["error"]


def test_a_job_delivered_five_times_runs_once(stack):
    one = stack()
    made = one.enqueue("till.tasks.noop")
    for _ in range(4):
        one.redis.xadd("till:{default}:normal", {"job": made})

    one.start_worker()
    one.wait_settled()

    job = one.job(made)
    assert (job["state"], job["attempt"]) == ("SUCCESS", 1)


def test_a_delivery_of_a_job_that_does_not_exist_is_dropped(stack):
    one = stack()
    one.redis.xadd("till:{default}:normal", {"job": "0190f3c4-0000-7000-8000-000000000000"})

    one.start_worker()
    one.wait_settled()

    assert one.value("SELECT count(*) FROM jobs") == 0


def test_a_revoked_job_does_not_run(stack):
    one = stack()
    made = one.enqueue("till.tasks.noop")
    one.query("UPDATE jobs SET state = 'REVOKED', finished_at = now() WHERE id = %s", made)

    one.start_worker()
    one.wait_settled()

    assert one.job(made)["attempt"] == 0


def test_entries_that_cannot_be_decoded_become_failures_with_their_bytes_and_stop_nobody(stack):
    one = stack()
    stream = "till:{default}:normal"
    garbage = [
        {"what": "no idea"},
        {"job": "not-a-uuid"},
        {"task": "till.tasks.noop", "args": "{not json"},
        {"task": "bad name!", "args": "[]"},
        {"task": "till.tasks.noop", "args": '{"not": "an array"}'},
        {b"\xff\x00\xfe": b"\x00\x01\x02\xff"},
    ]
    for entry in garbage:
        one.redis.xadd(stream, entry)
    good = one.enqueue("till.tasks.noop")

    one.start_worker()
    one.wait_job(good)
    one.wait_settled()

    rows = one.query("SELECT * FROM jobs WHERE id <> %s ORDER BY id", good)
    assert [row["state"] for row in rows] == ["FAILURE"] * len(garbage)
    assert all(row["error"] and row["payload"] for row in rows)
    kept = b"\n".join(bytes(row["payload"]) for row in rows)
    for text in (b"no idea", b"not-a-uuid", b"{not json", b"bad name!"):
        assert text in kept


def test_fast_jobs_run_once_and_leave_no_row_when_they_succeed(stack):
    one = stack({"TILL_LEASE_SECONDS": 2, "LOG_LEVEL": "debug"})
    for number in range(500):
        one.enqueue_fast("till.tasks.noop", number)

    worker = one.start_worker()
    one.wait_settled()

    ran = [line["job_id"] for line in worker.read_log() if line["event"] == "job_done"]
    assert len(ran) == len(set(ran)) == 500
    assert one.value("SELECT count(*) FROM jobs") == 0


def test_a_fast_job_that_fails_becomes_a_row_and_lives_like_any_other(stack):
    one = stack()
    one.start_worker()
    one.start_scheduler()

    one.enqueue_fast("till.tasks.fail", "fast and broken")
    row = wait_for(
        lambda: one.query("SELECT * FROM jobs WHERE state = 'FAILURE'"), 30, "never failed"
    )[0]

    assert (row["task"], row["args"]) == ("till.tasks.fail", ["fast and broken"])
    assert row["attempt"] == row["max_attempts"]
    assert len(errors_of(one, row["id"])) == row["attempt"]
    one.settle(dead=1)


def test_a_fast_job_under_the_id_of_another_job_is_not_swallowed_by_it(stack):
    one = stack().start(apis=0)
    taken = one.enqueue("till.tasks.noop")
    one.wait_job(taken)

    one.enqueue_fast("till.tasks.fail", "fails once", 1, id=taken)
    one.enqueue_fast("till.tasks.fail", "fails always", id=taken)

    once = wait_for(lambda: one.query("SELECT id FROM jobs WHERE args->>0 = 'fails once'"), 15, "it is gone")[0]["id"]
    one.wait_job(once)
    always = wait_for(lambda: one.query("SELECT id FROM jobs WHERE args->>0 = 'fails always'"), 15, "gone")[0]["id"]
    one.wait_job(always, "FAILURE", timeout=30)
    assert len({taken, once, always}) == 3
    assert one.job(taken)["state"] == "SUCCESS"
    one.settle(dead=1)


@pytest.mark.parametrize("why", ["taken over", "limited", "snoozed"])
def test_a_fast_job_that_needs_a_row_at_once_is_not_taken_for_the_job_whose_id_it_has(stack, why):
    one = stack()
    waits = one.insert_job("till.tasks.noop", ["waits"], scheduled_at="2099-01-01")
    done = one.insert_job("till.tasks.noop", ["done"], state="REVOKED", finished_at="2020-01-01")
    task, args = ("till.tasks.snooze", (0.01, 1)) if why == "snoozed" else ("till.tasks.noop", ("mine",))
    if why == "limited":
        ended = one.till("limit", "set", "task", task, "--concurrency", "1")
        assert ended.returncode == 0, ended.stderr
    for taken in (waits, done, done):
        one.enqueue_fast(task, *args, id=taken)
    if why == "taken over":
        stream = "till:{default}:normal"
        one.redis.xgroup_create(stream, "till", id="0")
        held = one.redis.xreadgroup("till", "gone:1", {stream: ">"}, count=3)
        assert len(held[0][1]) == 3

    one.start(apis=0)

    mine = f"task = '{task}' AND args <> '[\"waits\"]' AND args <> '[\"done\"]' AND state = 'SUCCESS'"
    wait_for(lambda: one.value(f"SELECT count(*) FROM jobs WHERE {mine}") == 3, 30, "they were swallowed")
    assert (one.job(waits)["state"], one.job(done)["state"]) == ("PENDING", "REVOKED")
    assert one.job(waits)["attempt"] == one.job(done)["attempt"] == 0


def test_one_fast_job_delivered_twice_under_its_id_is_one_row(stack):
    one = stack()
    name = str(uuid.uuid4())
    for _ in range(2):
        one.enqueue_fast("till.tasks.fail", "always", id=name)

    one.start(apis=0)

    one.wait_job(name, "FAILURE", timeout=30)
    one.wait_settled()
    assert one.value("SELECT count(*) FROM jobs") == 1


def test_high_priority_goes_first(stack):
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 1, "TILL_WORKER_PREFETCH": 0})
    low = one.enqueue("till.tasks.noop", count=20, priority="low")
    high = one.enqueue("till.tasks.noop", count=5, priority="high")

    one.start_worker()
    one.wait_settled()

    order = [row["id"] for row in one.query("SELECT id FROM jobs ORDER BY started_at, finished_at")]
    # One low job may be fetched together with the first high one.
    assert set(high) <= set(order[: len(high) + 1])
    assert set(low) >= set(order[len(high) + 1 :])


@pytest.mark.parametrize("number", [9, 11], ids=["SIGKILL", "SIGSEGV"])
def test_a_crashing_job_ends_in_failure_while_others_go_on(stack, number):
    one = stack({"TILL_LEASE_SECONDS": 2})
    worker = one.start_worker()
    one.start_scheduler()
    before = set(worker.family())

    bad = one.enqueue("till.tasks.crash", number, max_attempts=3)
    others = one.enqueue("till.tasks.noop", count=300)
    job = one.wait_job(bad, "FAILURE", timeout=40)
    one.wait_settled(timeout=40)

    assert job["attempt"] == 3
    assert len(errors_of(one, bad)) == 3
    states = one.query("SELECT DISTINCT state FROM jobs WHERE id::text = ANY(%s)", others)
    assert states == [{"state": "SUCCESS"}]
    assert worker.is_running(), "the supervisor stays"
    wait_for(lambda: len(worker.family()) == len(before), 10, "crashed processes are replaced")
    one.books(dead=1)


def test_one_scheduler_leads_and_another_takes_over_when_it_is_killed(stack):
    one = stack()
    one.start_worker()
    schedulers = [one.start_scheduler(), one.start_scheduler()]

    def leaders():
        return [s for s in schedulers if s.is_running() and s.find_log("leading")]

    wait_for(leaders, 10, "nobody leads")
    one.wait_job(one.enqueue("till.tasks.noop", countdown=1))
    (leader,) = leaders()
    leader.kill()

    wait_for(leaders, 20, "nobody took over")
    one.wait_job(one.enqueue("till.tasks.noop", countdown=1))


def test_a_worker_that_starts_late_finds_what_waited(stack):
    one = stack()
    one.start_scheduler()
    made = one.enqueue("till.tasks.noop", count=50)
    pause(1.5)  # longer than a round of healing: which must not add them over and over
    assert one.redis.xlen("till:{default}:normal") == len(made)

    one.start_worker()
    one.wait_settled()


def test_a_stream_that_was_deleted_is_filled_again(stack):
    one = stack()
    made = one.enqueue("till.tasks.noop", count=20)
    one.redis.delete("till:{default}:normal")

    one.start_worker()
    one.start_scheduler()
    one.wait_settled()

    assert one.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'") == len(made)


def test_whoever_finds_a_key_of_another_type_put_aside_already_tells_nobody_to_do_it(stack):
    """Two processes met it at once: the later one named a key that was not there any more."""
    one = stack()
    key = "till:{default}:normal"
    one.redis.set(key, "not ours")
    way = one.proxy("redis")
    carry = way.carry

    async def be_overtaken(link, data, writer, is_answer):
        if not is_answer and b"RENAMENX" in data and one.redis.exists(key):
            one.redis.rename(key, key + ":aside:1")  # by the other process
        await carry(link, data, writer, is_answer)

    way.carry = be_overtaken
    worker = one.start_worker(**way.settings)

    wait_for(lambda: one.redis.type(key) == "stream", 30, "the worker makes no stream")
    one.start_scheduler()
    one.wait_job(one.insert_job("till.tasks.noop"), timeout=30)
    assert one.redis.keys(key + ":aside:*") == [key + ":aside:1"]
    assert not [line for line in worker.read_log() if "rename or delete it" in line.get("error", "")]


@pytest.mark.parametrize("limited", [False, True])
def test_a_key_of_another_type_stops_no_queue(stack, limited):
    """A string in the place of one stream was an error for the command that names all of them."""
    one = stack({"TILL_QUEUES": "default,mail"})
    if limited:
        assert one.till("limit", "set", "queue", "default", "--concurrency", "1", "--rate", "100/s").returncode == 0
    spoilt = ["till:{default}:low", "till:{default}:normal"]
    if limited:
        spoilt += [f"till:{{default}}:{name}" for name in ("permits", "place")]
        one.redis.lpush("till:{default}:bucket", "not ours")
    for key in spoilt:
        one.redis.set(key, "not ours")

    one.start(apis=0)

    for queue in ("mail", "default"):
        one.wait_job(one.insert_job("till.tasks.noop", queue=queue), timeout=30)
    for job in [one.insert_job("till.tasks.sleep", [1]) for _ in range(3)]:  # of a limited queue two wait for a place
        one.wait_job(job, timeout=30)
    for key in spoilt:
        aside = wait_for(lambda: one.redis.keys(key + ":aside:*"), 15, lambda: f"{key} was left where it is")
        assert [one.redis.get(name) for name in aside] == ["not ours"], key
    told = one.worker.wait_for_log("fetch_interrupted")
    assert "was no stream" in told["error"]
    one.redis.delete("till:{mail}:normal")
    one.redis.set("till:{mail}:normal", "again")
    one.wait_job(one.insert_job("till.tasks.noop", queue="mail"), timeout=30)
    one.wait_job(one.insert_job("till.tasks.noop"), timeout=30)


def test_an_idle_system_starts_a_job_within_milliseconds_and_stays_small(stack, capsys):
    one = stack()
    worker = one.start_worker()
    waits = []
    for _ in range(30):
        job = one.wait_job(one.enqueue("till.tasks.noop"))
        waits.append((job["started_at"] - job["created_at"]).total_seconds() * 1000)
    sizes = [rss_kib(pid) for pid in worker.family()]

    with capsys.disabled():
        print(
            f"\n  enqueue to start: median {statistics.median(waits):.1f} ms, max {max(waits):.1f} ms;"
            f" idle worker: {', '.join(f'{size / 1024:.1f}' for size in sizes)} MiB a process"
        )
    assert statistics.median(waits) < 100 * SLOWNESS


def rss_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def test_a_worker_is_ready_soon_after_its_start(stack, capsys):
    one = stack()
    start = time.monotonic()
    one.start_worker()
    took = time.monotonic() - start

    with capsys.disabled():
        print(f"\n  worker ready after {took * 1000:.0f} ms")
    assert took < 3 * SLOWNESS


@pytest.mark.parametrize("name", ["till-api", "till-worker", "till-scheduler", "till-dashboard"])
def test_term_ends_an_idle_program_with_exit_code_0_and_leaves_no_process(stack, name):
    one = stack()
    ready = "listening" if name in ("till-api", "till-dashboard") else "ready"
    program = one.program(name, ready)
    family = program.family()

    program.term_and_wait(timeout=10)

    assert not [pid for pid in family if processes.is_running(pid)]


def test_worker_processes_do_not_outlive_a_killed_supervisor(stack):
    one = stack()
    worker = one.start_worker()
    children = worker.family()[1:]
    assert children

    processes.send(worker.pid, 9)

    wait_for(
        lambda: not any(processes.is_running(pid) for pid in children), 10, "children live on"
    )


def test_log_lines_are_json_with_time_level_and_event(stack):
    one = stack()
    one.start(apis=1, workers=1, schedulers=1)
    one.wait_job(one.enqueue("till.tasks.noop"))
    for program in one.programs:
        program.term_and_wait()

    for name, text in one.logs().items():
        for line in text.splitlines():
            fields = json.loads(line)
            assert {"time", "level", "event", "program", "pid"} <= set(fields), (name, line)

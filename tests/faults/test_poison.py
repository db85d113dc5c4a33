"""Entries that no producer should write, tasks that no author should write, and programs that have
not what they need: whoever is not concerned goes on."""

import json
import random
import resource

import pytest

from harness import faults_report, ordeal
from harness.load import Load
from harness.wait import pause, wait_for

full = pytest.mark.full
STREAM = "till:{default}:normal"
NOOP = "till.tasks.noop"
FAIL = "till.tasks.fail"


def poison(one):
    """Every way in which an entry is wrong."""
    taken = one.enqueue(NOOP)
    deep = "[" * 3000 + "]" * 3000
    return [
        {"job": ""},
        {"job": "0" * 36},
        {"job": b"\x00" * 16},
        {"job": "x" * 1_000_000},
        {"task": ""},
        {"task": "\x00"},
        {"task": "x" * 10_000, "args": "[]"},
        {"task": NOOP, "args": ""},
        {"task": NOOP, "args": "null"},
        {"task": NOOP, "args": deep},
        {"task": NOOP, "args": '["\\u0000"]'},
        {"task": NOOP, "args": '["\\ud800"]'},
        {"task": NOOP, "args": "[1e999999]"},
        {"task": NOOP, "args": b'["\xff"]'},
        {"task": NOOP, "args": json.dumps(["x" * 5_000_000])},
        {"task": NOOP, "args": "[]", "kwargs": "[]"},
        {"task": NOOP, "args": "[]", "kwargs": '{"a": 1, "a": 2'},
        {"task": NOOP, "args": "[]", "id": "not an id"},
        {"task": NOOP, "args": "[]", "headers": "[1]"},
        {"task": NOOP, "args": "[]", "expires": "tomorrow"},
        {"task": NOOP, "args": "[]", "expires": "-1"},
        {b"\xff" * 1000: b"\x00" * 100_000},
        {str(n): "x" for n in range(2000)},
        # These are well formed, and fail or succeed as the row that is there already allows.
        {"task": FAIL, "args": '["never"]', "id": taken},
        {"task": NOOP, "args": "[]", "id": taken},
        {"job": taken},
        {"job": taken, "task": FAIL},
    ]


def test_no_entry_stops_anybody_or_comes_back_for_ever(stack):
    one = stack({"TILL_LEASE_SECONDS": 2}).start(apis=0)
    entries = poison(one)
    random.Random(71).shuffle(entries)
    good = []
    for entry in entries:
        one.redis.xadd(STREAM, entry)
        good.append(one.enqueue_fast(NOOP))
    last = one.enqueue(NOOP)

    one.wait_job(last, timeout=30)
    one.wait_settled(timeout=60)
    assert one.worker.is_running() and not one.worker.find_log("worker_died")
    dead = one.value("SELECT count(*) FROM jobs WHERE state = 'FAILURE' AND payload IS NOT NULL")
    assert dead >= 15, "what cannot be read is kept"
    faults_report.record("poison entries", 1, len(entries))


@full
def test_poison_under_load(stack):
    one = stack({"TILL_LEASE_SECONDS": 3}).start(workers=2)
    entries = poison(one)
    chooser = random.Random(72)
    rounds = 200
    with Load(one, seed=72) as load:
        for _ in range(rounds):
            queue = chooser.choice(["payments", "mail", "default"])
            one.redis.xadd(f"till:{{{queue}}}:high", chooser.choice(entries))
            pause(0.05)
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(10)
    one.wait_settled(timeout=90)
    dead = one.value("SELECT count(*) FROM jobs WHERE state = 'FAILURE'")
    ordeal.account(one, "poison entries under load", rounds, recovery_s, 72, dead=dead)
    assert one.value("SELECT count(*) FROM jobs WHERE state = 'FAILURE' AND task LIKE 'payments.%%'") == 0


@full
def test_tasks_that_crash_and_hang_under_load(stack):
    """SIGSEGV, SIGABRT, SIGKILL, and handlers that do not end."""
    one = stack({"TILL_LEASE_SECONDS": 3}).start(workers=2)
    bad = []
    with Load(one, seed=73) as load:
        load.wait_accepted(5)
        for number in (11, 6, 9):
            bad.append(one.enqueue("till.tasks.crash", number))
        bad.append(one.enqueue("till.tasks.stubborn", 60_000))
        load.wait_accepted(20, timeout=60)
        for job in bad:
            one.wait_job(job, "FAILURE", timeout=120)
        load.wait_accepted(5)
        recovery_s = ordeal.first_job(one)
    one.wait_settled(timeout=90)
    ordeal.account(one, "tasks that crash or hang", len(bad), recovery_s, 73, dead=len(bad), extra_mails=True)


DIED = "during this attempt"  # the worker died, or gave no sign of life
# Kinds of tests.tasks.poison (task_poison.c), and what its job says in the end.
BAD_AUTHORS = {
    "exit": DIED,
    "abort": DIED,
    "stack": DIED,
    "transaction": "a transaction of its own open",
    "begin": "a transaction of its own open",
    "lose": "a transaction of its own open",
    "commit": "itself ended the transaction",
    "failed": "a statement had failed",
}
WORSE_AUTHORS = {"loop": DIED, "memory": DIED, "lock": ""}


def limit_memory(worker):
    """No process of it may have more than now and a little."""
    sizes = []
    for pid in worker.family():
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            sizes.append(int(file.read().split()[0]) * resource.getpagesize())
    for pid in worker.family():
        resource.prlimit(pid, resource.RLIMIT_AS, (max(sizes) + (256 << 20), resource.RLIM_INFINITY))


def run_bad_authors(one, kinds):
    worker = one.start_worker(TILL_CRASHPOINT="none:1")  # the build that knows the task
    one.start_scheduler()
    processes = len(worker.family())
    product = one.product(stock=7)
    others = []
    for kind, reason in kinds.items():
        if kind == "memory":
            limit_memory(worker)
        others += one.enqueue(NOOP, count=50)
        bad = one.enqueue("tests.tasks.poison", kind, max_attempts=2)
        others += one.enqueue(NOOP, count=50)
        one.wait_job(bad, "FAILURE", timeout=60)
        errors = one.query("SELECT error FROM job_errors WHERE job_id = %s", bad)
        assert errors and all(reason in error["error"] for error in errors), (kind, errors)
    one.wait_settled(timeout=60)
    states = one.query("SELECT state, count(*) FROM jobs WHERE id::text = ANY(%s) GROUP BY state", others)
    assert states == [{"state": "SUCCESS", "count": len(others)}]
    assert one.value("SELECT stock_quantity FROM products WHERE id = %s", product) == 7
    assert worker.is_running()
    wait_for(lambda: len(worker.family()) == processes, 10, "what has died is replaced")
    one.books(dead=len(kinds))
    faults_report.record("tasks that no author should write", len(kinds), len(others) + len(kinds))


def test_what_no_author_should_write_ends_in_failure_and_harms_no_other_job(stack):
    run_bad_authors(stack({"TILL_LEASE_SECONDS": 2}), BAD_AUTHORS)


@pytest.mark.parametrize("kind", ["path", "table", "function", "statements"])
def test_what_a_task_asks_of_its_session_meets_no_other_job(stack, kind):
    """One slot, so that all of them have its connection."""
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 1, "TILL_LEASE_SECONDS": 30})
    worker = one.start_worker(TILL_CRASHPOINT="none:1")  # the build that knows the task
    one.wait_job(one.enqueue("tests.tasks.poison", kind))
    for task in (NOOP, "till.tasks.tally", "till.tasks.tally_many", NOOP):
        one.wait_job(one.enqueue(task, 7 if task != NOOP else "x"))
    assert one.value("SELECT max(attempt) FROM jobs") == 1
    assert not worker.find_log("settle_failed")


def test_a_wait_that_is_longer_than_any_is_cut_and_its_attempt_kept(stack):
    one = stack({"TILL_LEASE_SECONDS": 30})
    one.start_worker(TILL_CRASHPOINT="none:1")  # the build that knows the task

    job = one.wait_job(one.enqueue("tests.tasks.poison", "later"), "RETRY")

    assert job["error"] == "come again when the sun is cold" and job["attempt"] == 1
    assert 364 <= (job["scheduled_at"] - job["created_at"]).days <= 366


@pytest.mark.parametrize("kind", ["nul", "cut"])
def test_a_result_that_postgresql_refuses_fails_its_job_at_once_and_undoes_its_effect(stack, kind):
    """One slot: what comes next has its connection. The same result would come again, and the same mail."""
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 1, "TILL_LEASE_SECONDS": 30})
    one.start_worker(TILL_CRASHPOINT="none:1")  # the build that knows the task
    product = one.product(stock=7)

    job = one.wait_job(one.enqueue("tests.tasks.poison", kind, max_attempts=2), "FAILURE")

    assert (job["error"], job["attempt"]) == ("the result is no JSON that PostgreSQL takes", 1)
    assert job["result"] is None
    one.wait_job(one.enqueue("till.tasks.tally", 7))
    assert one.value("SELECT stock_quantity FROM products WHERE id = %s", product) == 7


def test_in_a_batch_a_refused_result_fails_its_job_alone_and_a_long_wait_is_cut(stack):
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 1, "TILL_LEASE_SECONDS": 30})
    kinds = ["good", "nul", "good", "far", "good", "good"]
    ids = [one.enqueue("tests.tasks.poison_many", kind) for kind in kinds]
    one.start_worker(TILL_CRASHPOINT="none:1")  # the build that knows the task

    wait_for(
        lambda: one.value("SELECT count(*) FROM jobs WHERE state IN ('SUCCESS', 'FAILURE', 'RETRY')") == len(ids),
        20,
        lambda: one.query("SELECT state, args, error FROM jobs"),
    )

    ends = [one.job(job) for job in ids]
    assert [job["state"] for job in ends] == ["SUCCESS", "FAILURE", "SUCCESS", "RETRY", "SUCCESS", "SUCCESS"]
    assert (ends[1]["error"], ends[1]["attempt"]) == ("the result is no JSON that PostgreSQL takes", 1)
    assert ends[3]["error"] == "later"
    assert 364 <= (ends[3]["scheduled_at"] - ends[3]["created_at"]).days <= 366


def test_a_line_of_no_level_is_an_error_and_costs_no_other_line(stack):
    one = stack({"TILL_LEASE_SECONDS": 30})
    worker = one.start_worker(TILL_CRASHPOINT="none:1")  # the build that knows the task

    job = one.wait_job(one.enqueue("tests.tasks.poison", "level"))

    assert one.query("SELECT level, line FROM job_logs WHERE job_id = %s ORDER BY id", job["id"]) == [
        {"level": 1, "line": "before"},
        {"level": 3, "line": "odd"},
    ]
    worker.wait_for_log("job_done", job_id=str(job["id"]), attempt=1)  # a number, as in the lines of batches


def test_what_the_workers_user_may_not_do_is_told_with_who_may(stack):
    one = stack({"TILL_LEASE_SECONDS": 30})
    one.start_worker(TILL_CRASHPOINT="none:1")  # the build that knows the task

    job = one.wait_job(one.enqueue("tests.tasks.poison", "forbidden"), "FAILURE")

    assert job["attempt"] == 1 and "its user may not do that; sql/grants.sql says who may" in job["error"]
    assert one.take_refusals()


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_copy_of_its_process_that_a_task_makes_ends_where_the_task_returns(stack):
    """It would settle the job beside the process itself, by the same connections, and live on."""
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 1, "TILL_LEASE_SECONDS": 30})
    worker = one.start_worker(TILL_CRASHPOINT="none:1")  # the build that knows the task
    product = one.product(stock=7)
    before = set(worker.family())

    one.wait_job(one.enqueue("tests.tasks.poison", "fork"))

    one.wait_job(one.enqueue("till.tasks.tally", 7))
    wait_for(lambda: not any(is_running(pid) for pid in set(worker.family()) - before), 10, "the copy lives on")
    assert before <= set(worker.family()) and not worker.find_log("worker_died")
    assert one.value("SELECT stock_quantity FROM products WHERE id = %s", product) == 8
    assert one.value("SELECT max(attempt) FROM jobs") == 1


@full
def test_loops_hoards_and_kept_locks_end_in_failure_and_harm_no_other_job(stack):
    run_bad_authors(stack({"TILL_LEASE_SECONDS": 2}), WORSE_AUTHORS)


@full
def test_a_task_that_closes_what_its_process_has_open(stack):
    """Its process may do nothing sensible any more; another one does. One slot: what a descriptor is
    taken for after it was closed is nobody's to promise."""
    one = stack({"TILL_LEASE_SECONDS": 2, "TILL_WORKER_CONCURRENCY": 1})
    run_bad_authors(one, {"close": ""})


@full
def test_all_jobs_fail_for_a_while_and_heal(stack):
    """They come back spread over their waits, not all at once."""
    one = stack({"TILL_RETRY_BASE_MS": 500, "TILL_RETRY_MAX_SECONDS": 4}).start()
    with Load(one, customers=4, seed=74) as load:
        load.wait_accepted(10)
        one.gateway.fault("status", status=503, times=-1)
        pause(20)
        one.gateway.clear_faults()
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(10)
    ordeal.account(one, "every payment fails for 20 s", 1, recovery_s, 74)


def limit_files(program, limits):
    """Sets RLIMIT_NOFILE of a running program and of all it has started."""
    for pid in program.family():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@full
@pytest.mark.parametrize("program", ["till-api", "till-worker", "till-scheduler"])
def test_no_file_can_be_opened_for_a_while(stack, program):
    """Connections are cut at that moment, so that new ones are wanted."""
    one = stack({"TILL_LEASE_SECONDS": 3}, own_redis=True).start()
    victim = one.named(program)[0]
    before = resource.prlimit(victim.pid, resource.RLIMIT_NOFILE)
    with Load(one, seed=75) as load:
        load.wait_accepted(10)
        limit_files(victim, (8, before[1]))
        one.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        one.query(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        pause(6)
        limit_files(victim, before)
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(10)
    ordeal.account(one, f"no descriptors left: {program[5:]}", 1, recovery_s, 75, unpaid=True)


@full
def test_processors_are_scarce(stack):
    """Workers stopped and continued at random, for half of the time."""
    one = stack({"TILL_LEASE_SECONDS": 2}).start(workers=3)
    chooser = random.Random(76)
    rounds = 60
    with Load(one, customers=4, seed=76) as load:
        for _ in range(rounds):
            worker = chooser.choice(one.named("till-worker"))
            worker.stop()
            pause(chooser.uniform(0.05, 0.8))
            worker.cont()
            pause(chooser.uniform(0.05, 0.3))
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(10)
    ordeal.account(one, "workers stopped at random", rounds, recovery_s, 76, extra_mails=True)


@full
def test_a_newer_schema_is_worked_with(stack):
    """In a rolling upgrade the migration comes first, so old programs meet a newer database."""
    one = stack()
    one.query("INSERT INTO schema_migrations (name, checksum) VALUES ('9999_later.sql', 'unknown')")
    one.start()
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))["id"]
    shop.pay(order)
    shop.wait_order(order, "paid", timeout=30)
    one.settle()


@full
def test_a_backlog_of_a_million_jobs(stack):
    one = stack().start(apis=0, schedulers=1, workers=0)
    jobs = 1_000_000
    for _ in range(20):  # no one command has to be done within a time that a busy machine needs more of
        one.enqueue(NOOP, count=jobs // 20)
    one.start_worker()
    one.start_worker()
    wait_for(
        lambda: one.value("SELECT NOT EXISTS (SELECT FROM jobs WHERE finished_at IS NULL)"),
        1800,
        lambda: f"{one.value('SELECT count(*) FROM jobs WHERE finished_at IS NULL')} left",
    )
    one.wait_settled(timeout=120)
    assert one.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'") == jobs
    faults_report.record("a backlog of a million jobs", 1, jobs)

"""What the author of a task can do: retry policies, snoozing, progress and log lines, results."""

import json
import time

from harness import processes, programs
from harness.wait import SLOWNESS, wait_for


def shown(one, job):
    done = one.till("task", "show", job, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_snoozed_job_waits_without_an_error_and_without_losing_an_attempt(stack):
    one = stack().start(apis=0)
    made = one.enqueue("till.tasks.snooze", 0.2, 5)

    job = one.wait_job(made)

    assert (job["attempt"], job["max_attempts"], job["snoozes"]) == (6, 7, 5)
    assert job["error"] is None
    assert one.query("SELECT * FROM job_errors") == []
    waited = (job["started_at"] - job["created_at"]).total_seconds()
    assert 1 <= waited < 6 * SLOWNESS
    assert shown(one, made)["snoozes"] == 5
    assert "snoozes    5\n" in one.till("task", "show", made).stdout
    one.settle()


def test_a_job_is_pending_until_its_snooze_is_over(stack):
    one = stack().start(apis=0)
    made = one.enqueue("till.tasks.snooze", 3600, 1)

    job = wait_for(
        lambda: one.query("SELECT *, scheduled_at - now() AS due FROM jobs WHERE snoozes = 1"), 10
    )[0]

    assert str(job["id"]) == made
    assert (job["state"], job["enqueued_at"], job["attempt"]) == ("PENDING", None, 1)
    assert 3500 < job["due"].total_seconds() <= 3600
    assert one.till("task", "revoke", made).returncode == 0
    one.wait_settled()


def test_a_fast_job_that_snoozes_becomes_a_row(stack):
    one = stack().start(apis=0)
    one.enqueue_fast("till.tasks.snooze", 0.2, 2)

    wait_for(lambda: one.query("SELECT id FROM jobs WHERE state = 'SUCCESS'"), 15)

    assert one.query("SELECT attempt, max_attempts, snoozes, error FROM jobs") == [
        {"attempt": 3, "max_attempts": 4, "snoozes": 2, "error": None}
    ]
    one.settle()


def lines_of(one, job):
    done = one.till("task", "logs", job, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_lines_and_progress_are_seen_while_the_job_is_in_its_transaction(stack):
    one = stack({"TILL_LEASE_SECONDS": 30}).start(apis=0, schedulers=0)
    made = one.enqueue("till.tasks.talk", 8, 1)

    seen = wait_for(
        lambda: one.query(
            "SELECT l.line, j.state FROM job_logs l JOIN jobs j ON j.id = l.job_id WHERE l.job_id = %s ORDER BY l.id",
            made,
        ),
        10,
        "no line is seen",
    )
    wait_for(lambda: shown(one, made)["progress"], 5)
    one.worker.stop()  # it goes on when we have looked
    assert seen[0]["line"] == "line 1 of 8" and seen[0]["state"] == "STARTED"
    assert len(lines_of(one, made)) < 8, "they are seen before the last one is said"
    progress = shown(one, made)["progress"]
    assert (progress["total"], progress["text"]) == (8, "talking")
    assert 1 <= progress["done"] < 8
    assert shown(one, made)["state"] == "STARTED"
    one.worker.cont()

    one.wait_job(made)
    lines = lines_of(one, made)
    assert [line["line"] for line in lines] == [f"line {n} of 8" for n in range(1, 9)]
    assert [line["level"] for line in lines] == ["info", "warning"] * 4
    assert {line["attempt"] for line in lines} == {1}
    assert shown(one, made)["progress"]["done"] == 8
    assert "progress   8 of 8: talking\n" in one.till("task", "show", made).stdout
    one.settle()


def test_every_line_is_there_when_the_job_is_done(stack):
    one = stack().start(apis=0, schedulers=0)
    made = [one.enqueue("till.tasks.talk", 300, 0) for _ in range(10)]

    for job in made:
        one.wait_job(job)
        assert len(lines_of(one, job)) == 300
    one.settle()


def test_a_job_that_talks_too_much_is_cut(stack):
    one = stack().start(apis=0, schedulers=0)
    made = one.enqueue("till.tasks.talk", 50000, 0)
    one.wait_job(made)

    lines = lines_of(one, made)

    assert len(lines) == 1001
    assert lines[-2]["line"] == "line 1000 of 50000"
    assert lines[-1]["line"].startswith("truncated")
    one.settle()


def test_lines_of_a_failed_attempt_stay_and_go_with_the_job(stack):
    one = stack().start(apis=0, schedulers=0)
    made = one.enqueue("till.tasks.talk", 2, 0, "enough")
    one.wait_job(made, "FAILURE")

    assert len(lines_of(one, made)) == 2
    assert one.value("SELECT count(*) FROM job_progress") == 1
    assert one.till("dead", "delete", made, "--json").returncode == 0
    assert one.value("SELECT count(*) FROM job_logs") == 0
    assert one.value("SELECT count(*) FROM job_progress") == 0
    assert one.till("task", "logs", made).returncode == 1


def test_lines_are_followed_until_the_job_is_over(stack):
    one = stack().start(apis=0, schedulers=0)
    began = time.monotonic()
    made = one.enqueue("till.tasks.talk", 3, 1)

    follower = programs.run("till", one.settings, "task", "logs", made, "--follow", timeout=30)

    assert follower.returncode == 0, follower.stderr
    assert [line.split(None, 3)[1:] for line in follower.stdout.splitlines()] == [
        ["1", "info", "line 1 of 3"],
        ["1", "warning", "line 2 of 3"],
        ["1", "info", "line 3 of 3"],
    ]
    assert time.monotonic() - began > 2
    assert one.job(made)["state"] == "SUCCESS"


def test_following_outlives_a_connection_that_was_cut(stack):
    one = stack()
    made = one.insert_job("till.tasks.talk", [1, 0], scheduled_at="2099-01-01")
    has_looked = """SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'
        AND query LIKE '%job_logs%' AND pid <> pg_backend_pid()"""
    follower = processes.spawn(
        [programs.path_of("till"), "task", "logs", made, "--follow"], env=programs.environment(one.settings)
    )
    first = wait_for(lambda: one.value(has_looked), 30, "it never came")

    one.query("SELECT pg_terminate_backend(%s)", first)
    wait_for(lambda: one.value(has_looked) not in (None, first), 30, lambda: f"gone, with {follower.poll()}")
    assert one.till("task", "revoke", made).returncode == 0

    assert follower.wait(60) == 0


def test_a_worker_whose_jobs_say_nothing_has_no_journal(stack):
    one = stack().start(apis=0, schedulers=0)
    one.wait_job(one.enqueue("till.tasks.noop"))

    connections = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'till-worker-journal' AND datname = %s"
    assert one.value(connections, one.database) == 0
    one.wait_job(one.enqueue("till.tasks.talk", 1, 0))
    assert one.value(connections, one.database) == 1


def test_a_result_that_is_too_large_is_a_clear_error(stack):
    one = stack().start(apis=0)
    fits = one.enqueue("till.tasks.echo", "x" * 60_000)
    large = one.enqueue("till.tasks.echo", "x" * 70_000)

    one.wait_job(fits)
    job = one.wait_job(large, "FAILURE")

    assert job["attempt"] == 1, "the same result would come again"
    assert "at most 65536 are kept: store it elsewhere, return where" in job["error"]
    one.settle(dead=1)

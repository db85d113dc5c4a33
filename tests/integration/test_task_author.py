"""What the author of a task can do: retry policies, snoozing, progress and log lines, results."""

import json

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

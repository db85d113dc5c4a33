# SPDX-License-Identifier: MIT
"""Time limits of tasks, set while the workers run: what begins afterwards has them, in all workers, whatever
restarts; and without them a task has its author's."""

import json
import uuid

import psycopg2
import pytest

from harness.wait import wait_for

ONE = {"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 2}
SLEEP = "till.tasks.sleep"


def timeout(one, *words):
    ended = one.till("task", "timeout", *words, "--json")
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def own(one):
    found = {line["task"]: line for line in timeout(one)}
    return found.get(SLEEP)


def fails_within(one, seconds):
    """A sleep of `seconds` is refused by the soft limit."""
    job = one.enqueue(SLEEP, seconds, max_attempts=1)
    ended = one.wait_job(job, "SUCCESS", "FAILURE", timeout=60)
    return ended["state"] == "FAILURE" and "soft time limit" in ended["error"]


def test_soft_limit_holds_for_what_begins_afterwards_and_survives(stack):
    one = stack(ONE).start(apis=0)
    wait_for(lambda: own(one), 30)
    assert own(one)["own_soft"] == own(one)["soft"] == 3600
    assert not fails_within(one, 0.3)
    timeout(one, SLEEP, "--soft", "0.2")
    assert own(one)["soft"] == 0.2 and own(one)["hard"] == 3660
    wait_for(lambda: fails_within(one, 0.3), 30)
    one.worker.term_and_wait()
    one.start_worker()
    assert fails_within(one, 0.3)
    timeout(one, SLEEP)
    assert own(one)["soft"] == 3600
    wait_for(lambda: not fails_within(one, 0.3), 30)


def test_hard_limit_ends_the_process_and_the_attempt_counts(stack):
    one = stack(ONE).start(apis=0)
    wait_for(lambda: own(one), 30)
    timeout(one, SLEEP, "--hard", "0.4")
    assert own(one)["soft"] == 0.4 and own(one)["hard"] == 0.4
    wait_for(lambda: fails_within(one, 0.6), 30)
    timeout(one, "till.tasks.stubborn", "--soft", "0.2", "--hard", "0.5")
    job = one.enqueue("till.tasks.stubborn", 60000, max_attempts=1)
    assert one.wait_job(job, "FAILURE", timeout=60)["attempt"] == 1
    assert one.worker.find_log("job_overran_hard_limit")


def test_each_attempt_that_overruns_its_hard_limit_says_so(stack):
    """Not that its worker died, as if somebody had killed it."""
    one = stack(ONE).start(apis=0)
    short = '{"soft_time_limit": "0.1", "time_limit": "0.3"}'
    jobs = [one.insert_job("till.tasks.stubborn", [60000], max_attempts=2, headers=short) for _ in range(2)]
    said = "overran its hard time limit of 0.3 s during this attempt"

    for job in jobs:
        assert one.wait_job(job, "FAILURE", timeout=60)["error"] == said
        rows = one.query("SELECT error FROM job_errors WHERE job_id = %s", job)
        assert [row["error"] for row in rows] == [said, said]


def ended(one, job):
    return one.wait_job(job, "SUCCESS", "FAILURE", timeout=60)


def soft_of(one, **enqueue):
    """Whether a sleep of 300 ms ends by a soft limit."""
    row = ended(one, one.insert_job(SLEEP, [0.3], max_attempts=1, **enqueue))
    return row["state"] == "FAILURE" and "soft time limit" in row["error"]


def test_a_job_may_have_limits_of_its_own(stack):
    one = stack(ONE).start(apis=0)
    wait_for(lambda: own(one), 30)

    assert soft_of(one, headers='{"soft_time_limit": "0.1"}')
    assert soft_of(one, headers='{"time_limit": "0.1", "other": "x"}'), "soft is never beyond hard"
    assert not soft_of(one, headers='{"other": "0.1"}')
    stubborn = one.insert_job("till.tasks.stubborn", [60000], max_attempts=1,
                              headers='{"soft_time_limit": "0.1", "time_limit": "0.3"}')
    assert ended(one, stubborn)["attempt"] == 1
    assert one.worker.find_log("job_overran_hard_limit")
    timeout(one, SLEEP, "--soft", "0.1")
    wait_for(lambda: soft_of(one), 30)
    assert not soft_of(one, headers='{"soft_time_limit": "30"}'), "the job's own comes first"

    said = one.till("enqueue", SLEEP, "[0.3]", "--soft-time-limit", "0.2", "--time-limit", "20", "--max-attempts", "1",
                    "--json")
    assert said.returncode == 0, said.stderr
    row = ended(one, json.loads(said.stdout)["id"])
    assert row["headers"] == {"soft_time_limit": "0.2", "time_limit": "20"} and "soft time limit" in row["error"]


def test_members_of_a_batch_and_fast_jobs_have_them_too(stack):
    one = stack(ONE).start(apis=0)
    wait_for(lambda: own(one), 30)
    fast = str(uuid.uuid4())
    one.enqueue_fast(SLEEP, 0.3, id=fast, headers='{"soft_time_limit": "0.1"}')
    wait_for(lambda: one.job(fast), 30)  # it failed, so it has a row
    assert "soft time limit" in one.job(fast)["error"]
    many = [one.insert_job("till.tasks.tally_many", [n], headers='{"time_limit": "30"}') for n in range(20)]
    for job in many:
        one.wait_job(job)


def test_bad_limits_of_a_job_are_refused_everywhere(stack):
    one = stack()
    for soft, hard in (("0", "1"), ("1e3", "1"), ("2", "1"), ("soon", "9")):
        words = ("--soft-time-limit", soft, "--time-limit", hard)
        assert one.till("enqueue", SLEEP, *words).returncode == 2, words
        with pytest.raises(psycopg2.errors.CheckViolation, match="time_limit|soft_time_limit"):
            one.insert_job(SLEEP, headers=json.dumps({"soft_time_limit": soft, "time_limit": hard}))
    assert one.value("SELECT count(*) FROM jobs") == 0


def test_bad_limits_are_refused(stack):
    one = stack()
    for words in (["x y"], ["t", "--soft", "0"], ["t", "--soft", "x"], ["t", "--hard", "1e12"], ["--soft", "3"],
                  ["t", "--soft", "3", "--hard", "2"], ["t", "u"]):
        assert one.till("task", "timeout", *words).returncode == 2, words
    assert timeout(one) == []

# SPDX-License-Identifier: MIT
"""Time limits of tasks, set while the workers run: what begins afterwards has them, in all workers, whatever
restarts; and without them a task has its author's."""

import json

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


def test_bad_limits_are_refused(stack):
    one = stack()
    for words in (["x y"], ["t", "--soft", "0"], ["t", "--soft", "x"], ["t", "--hard", "1e12"], ["--soft", "3"],
                  ["t", "--soft", "3", "--hard", "2"], ["t", "u"]):
        assert one.till("task", "timeout", *words).returncode == 2, words
    assert timeout(one) == []

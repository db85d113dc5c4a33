# SPDX-License-Identifier: MIT
"""The page of limits: what is set there is what the command line sets, and holds for workers."""

import json

import pytest
import requests
from harness.wait import wait_for


@pytest.fixture
def system(stack):
    one = stack()
    one.start_dashboard()
    return one


def show(system):
    answer = requests.get(system.dashboard.url + "/api/v1/limits", timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(system, path, body, expect=200, **options):
    answer = requests.post(f"{system.dashboard.url}/api/v1/{path}", json=body, timeout=60, **options)
    assert answer.status_code == expect, f"{body}: {answer.status_code} {answer.text}"
    return answer.json()


def by_command(system, *words):
    done = system.till(*words, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_limits_are_those_of_the_command_line(system):
    assert show(system)["limits"] == []
    post(system, "limits", {"scope": "queue", "name": "mail", "concurrency": 4})
    post(system, "limits", {"scope": "key", "name": "tenant:*", "rate": "10/m", "burst": 3})
    post(system, "limits", {"scope": "task", "name": "shop.mail", "concurrency": 2, "rate": "5/s"})

    listed = by_command(system, "limit", "list")
    assert show(system)["limits"] == listed
    assert {(one["scope"], one["name"], one["concurrency"], one["rate"], one["burst"]) for one in listed} == {
        ("queue", "mail", 4, None, None), ("key", "tenant:*", None, "10/m", 3), ("task", "shop.mail", 2, "5/s", 5),
    }
    assert post(system, "limits", {"scope": "queue", "name": "mail"}) == {"changed": True}
    assert post(system, "limits", {"scope": "queue", "name": "mail", "rate": None}) == {"changed": False}
    assert len(show(system)["limits"]) == 2
    assert [(row["action"], row["target"], row["outcome"]) for row in system.query("SELECT * FROM audit ORDER BY id")] == [
        ("limit.set", "queue mail", "done"), ("limit.set", "key tenant:*", "done"),
        ("limit.set", "task shop.mail", "done"), ("limit.delete", "queue mail", "done"),
        ("limit.delete", "queue mail", "nothing"),
    ]


def test_what_a_limit_holds_back_is_counted(system):
    post(system, "limits", {"scope": "key", "name": "narrow", "concurrency": 1})
    system.start_worker(TILL_WORKER_PROCESSES=1, TILL_WORKER_CONCURRENCY=4)
    for _ in range(3):
        system.insert_job("till.tasks.sleep", [600], limit_key="narrow")
    system.start_scheduler()

    def narrow():
        [found] = show(system)["limits"]
        return (found["running"], found["parked"]) == (1, 2)

    wait_for(narrow, 30, lambda: show(system))
    system.worker.kill()  # its job would take ten minutes


def test_time_limits_are_those_of_the_command_line(system):
    system.start_worker(TILL_WORKER_PROCESSES=1)
    listed = by_command(system, "task", "timeout")
    assert show(system)["time_limits"] == listed and {"till.tasks.sleep"} <= {one["task"] for one in listed}
    post(system, "time-limits", {"task": "till.tasks.sleep", "soft": 1.5, "hard": 20})

    def sleeps():
        return next(one for one in show(system)["time_limits"] if one["task"] == "till.tasks.sleep")

    assert sleeps() == {"task": "till.tasks.sleep", "soft": 1.5, "hard": 20, "own_soft": 3600, "own_hard": 3660}
    post(system, "time-limits", {"task": "till.tasks.sleep", "soft": None})
    assert sleeps()["soft"] == 3600


@pytest.mark.parametrize("path, body", [
    ("limits", {}), ("limits", {"scope": "queue"}), ("limits", {"scope": "moon", "name": "x", "concurrency": 1}),
    ("limits", {"scope": "queue", "name": "a b", "concurrency": 1}),
    ("limits", {"scope": "queue", "name": "x" * 201, "concurrency": 1}),
    ("limits", {"scope": "queue", "name": "x", "concurrency": 0}),
    ("limits", {"scope": "queue", "name": "x", "concurrency": "3"}),
    ("limits", {"scope": "queue", "name": "x", "concurrency": 1.5}),
    ("limits", {"scope": "queue", "name": "x", "rate": "10"}), ("limits", {"scope": "queue", "name": "x", "rate": 10}),
    ("limits", {"scope": "queue", "name": "x", "rate": "1/s", "burst": 10**9}),
    ("limits", {"scope": "key", "name": "\u0000", "concurrency": 1}),
    ("time-limits", {}), ("time-limits", {"task": "t", "soft": 0}), ("time-limits", {"task": "t", "soft": "3"}),
    ("time-limits", {"task": "t", "soft": 3, "hard": 2}), ("time-limits", {"task": "a b", "soft": 3}),
    ("time-limits", {"task": "t", "hard": 1e12}),
])
def test_what_makes_no_sense_is_refused_and_changes_nothing(system, path, body):
    assert post(system, path, body, 400)["detail"]
    assert show(system)["limits"] == [] and system.query("SELECT * FROM time_limits WHERE soft_ms IS NOT NULL") == []

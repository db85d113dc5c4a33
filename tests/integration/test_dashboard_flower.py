# SPDX-License-Identifier: MIT
"""Flower's HTTP API whole: a script that was written for Flower works unchanged. Enqueueing, waiting,
results, revoking; and that no page elsewhere can make a browser do any of it."""

import datetime
import threading
import time
import uuid

import pytest
import requests
from browser import rows
from harness.wait import wait_for


@pytest.fixture
def system(stack):
    one = stack()
    one.start_dashboard()
    one.query("INSERT INTO tasks (name, queue, max_attempts, fast) VALUES ('shop.mail', 'mail', 7, false)")
    return one


@pytest.fixture
def running(stack):
    return stack().start(apis=0, dashboards=1)


def post(system, path, expect=200, **options):
    answer = requests.post(system.dashboard.url + path, timeout=30, **options)
    assert answer.status_code == expect, f"{path}: {answer.status_code} {answer.text}"
    return answer


def get(system, path, expect=200, **parameters):
    answer = requests.get(system.dashboard.url + path, params=parameters, timeout=30)
    assert answer.status_code == expect, f"{path}: {answer.status_code} {answer.text}"
    return answer.json()


def audit(system):
    return system.query("SELECT actor, role, action, target, outcome FROM audit ORDER BY id")


# ---- enqueueing ----


def test_async_apply_enqueues_and_runs(running):
    made = post(running, "/api/task/async-apply/till.tasks.noop", json={"args": [1, "ä"], "kwargs": {}}).json()
    assert made["state"] == "PENDING" and set(made) == {"task-id", "state"}
    job = running.wait_job(made["task-id"])
    assert job["args"] == [1, "ä"] and job["queue"] == "default"
    assert audit(running)[-1] == {"actor": "local", "role": "admin", "action": "task.enqueue",
                                  "target": made["task-id"], "outcome": "done"}


def test_apply_waits_for_the_result(running):
    done = post(running, "/api/task/apply/till.tasks.sleep", json={"args": [1]}).json()
    assert done["state"] == "SUCCESS" and "result" in done and running.job(done["task-id"])
    failed = post(running, "/api/task/apply/till.tasks.fail", json={"max_retries": 0}).json()
    assert failed["state"] == "FAILURE" and failed["result"] and "traceback" in failed


def test_body_is_json_whatever_curl_says_of_it(system):
    """curl -d '{"args": [1]}' sends it as a form."""
    made = post(system, "/api/task/async-apply/shop.mail", data='{"args": [5]}',
                headers={"Content-Type": "application/x-www-form-urlencoded"}).json()
    job = system.job(made["task-id"])
    assert job["args"] == [5] and job["queue"] == "mail" and job["max_attempts"] == 7
    assert system.job(post(system, "/api/task/async-apply/shop.mail").json()["task-id"])["args"] == []


def test_options_of_celery(system):
    own = str(uuid.uuid4())
    made = post(system, "/api/task/async-apply/shop.mail", json={
        "args": [], "countdown": 90.5, "queue": "other", "priority": 9, "task_id": own, "serializer": "json",
        "max_retries": 2,
    }).json()
    assert made["task-id"] == own
    job = system.job(own)
    assert job["queue"] == "other" and job["priority"] == 2 and job["max_attempts"] == 3
    assert job["enqueued_at"] is None
    wait = job["scheduled_at"] - datetime.datetime.now(datetime.timezone.utc)
    assert 60 < wait.total_seconds() < 91
    later = post(system, "/api/task/async-apply/shop.mail", json={"eta": "2126-01-02 03:04:05.5"}).json()
    assert system.job(later["task-id"])["scheduled_at"].isoformat() == "2126-01-02T03:04:05.500000+00:00"
    again = post(system, "/api/task/send-task/shop.mail", json={"retries": 3, "priority": 0}).json()
    job = system.job(again["task-id"])
    assert job["max_attempts"] == 4 and job["priority"] == 0
    post(system, "/api/task/async-apply/shop.mail", 409, json={"task_id": own})


def test_unknown_tasks_are_for_send_task_alone(system):
    for path in ("apply", "async-apply"):
        assert "Unknown task 'no.such'" in post(system, f"/api/task/{path}/no.such", 404, json={}).text
    made = post(system, "/api/task/send-task/no.such", json={"args": [1]}).json()
    assert system.job(made["task-id"])["task"] == "no.such"


@pytest.mark.parametrize("body", [
    "{", "[]", "7", '{"args": {}}', '{"args": "x"}', '{"kwargs": []}', '{"countdown": "soon"}',
    '{"countdown": 1e300}', '{"eta": "tomorrow"}', '{"queue": "a b"}', '{"queue": 7}', '{"priority": 10}',
    '{"priority": "urgent"}', '{"task_id": "mine"}', '{"retries": -1}', '{"link": []}', '{"colour": 1}',
    '{"args": [' + "[" * 60 + "]" * 60 + "]}", '{"args": ["' + "x" * 300_000 + '"]}',
])
def test_bad_options_are_400_and_nothing_is_enqueued(system, body):
    for path in ("apply", "async-apply", "send-task"):
        assert post(system, f"/api/task/{path}/shop.mail", 400, data=body).text
    assert system.query("SELECT count(*) AS n FROM jobs")[0]["n"] == 0


def test_bad_task_name_is_400(system):
    post(system, "/api/task/send-task/a%20b", 400, json={})


def test_waiting_requests_leave_threads_for_others(stack):
    system = stack()
    system.start_dashboard(TILL_DASHBOARD_THREADS=4)
    system.query("INSERT INTO tasks (name, queue, max_attempts, fast) VALUES ('shop.mail', 'mail', 7, false)")
    job = rows.insert(system, "PENDING")
    url = f"{system.dashboard.url}/api/task/result/{job}?timeout=20"

    def insist():
        wait_for(lambda: requests.get(url, timeout=60).status_code == 200, 60)

    waiting = [threading.Thread(target=insist) for _ in range(2)]
    for thread in waiting:
        thread.start()
    short = url.replace("timeout=20", "timeout=0.02")

    def refused():
        answer = requests.get(short, timeout=60)
        return answer.text if answer.status_code == 503 else None

    assert "TILL_DASHBOARD_THREADS" in wait_for(refused, 15)
    get(system, "/api/tasks")
    system.query("UPDATE jobs SET state = 'REVOKED', finished_at = now() WHERE id = %s", job)
    for thread in waiting:
        thread.join(20)
        assert not thread.is_alive()


# ---- results ----


def test_result_now_and_after_a_while(running):
    made = post(running, "/api/task/async-apply/till.tasks.sleep", json={"args": [1]}).json()["task-id"]
    first = get(running, f"/api/task/result/{made}")
    assert first["task-id"] == made and first["state"] in ("PENDING", "STARTED") and "result" not in first
    done = get(running, f"/api/task/result/{made}", timeout=20)
    assert done["state"] == "SUCCESS" and "result" in done
    assert get(running, f"/api/task/result/{made}")["state"] == "SUCCESS"


def test_result_that_does_not_come_in_time_is_no_error(system):
    job = rows.insert(system, "PENDING")
    begun = time.monotonic()
    assert get(system, f"/api/task/result/{job}", timeout=0.5) == {"task-id": job, "state": "PENDING"}
    assert 0.4 < time.monotonic() - begun < 10
    get_text = requests.get(f"{system.dashboard.url}/api/task/result/{job}?timeout=x", timeout=10)
    assert get_text.status_code == 400


def test_result_of_every_state(system):
    made = rows.insert_every_state(system)
    for state, job in made.items():
        assert get(system, f"/api/task/result/{job}")["state"] == state
    assert get(system, f"/api/task/result/{made['SUCCESS']}")["result"] == {"ok": True}
    assert get(system, f"/api/task/result/{made['FAILURE']}")["result"] == "the gateway answered 503"
    unknown = str(uuid.uuid4())
    assert get(system, f"/api/task/result/{unknown}") == {"task-id": unknown, "state": "PENDING"}


# ---- revoking ----


def test_revoke_is_for_what_has_not_begun_terminate_for_all(system):
    made = rows.insert_every_state(system)
    for job in made.values():
        assert post(system, f"/api/task/revoke/{job}").json() == {"message": f"Revoked '{job}'"}
    states = {state: system.job(job)["state"] for state, job in made.items()}
    assert states == {**dict(zip(rows.STATES, rows.STATES)), "PENDING": "REVOKED", "RETRY": "REVOKED"}
    answer = post(system, f"/api/task/revoke/{made['STARTED']}?terminate=true&signal=SIGKILL")
    assert answer.json() == {"message": f"Revoked '{made['STARTED']}'"}
    assert system.job(made["STARTED"])["state"] == "REVOKED"
    outcomes = [(row["action"], row["outcome"]) for row in audit(system)]
    assert outcomes.count(("task.revoke", "done")) == 2 and outcomes.count(("task.revoke", "nothing")) == 4
    assert outcomes[-1] == ("task.terminate", "done")


def test_revoke_takes_forms_and_refuses_nonsense(system):
    job = rows.insert(system, "STARTED")
    post(system, f"/api/task/revoke/{job}", 400, data={"terminate": "perhaps"})
    post(system, f"/api/task/revoke/{job}", 400, data={"terminate": "1", "signal": "SIGSEGV; rm"})
    post(system, f"/api/task/revoke/{job}", data={"terminate": "True", "signal": "SIGTERM"})
    assert system.job(job)["state"] == "REVOKED"
    post(system, f"/api/task/revoke/{uuid.uuid4()}")
    post(system, "/api/task/revoke/no-uuid")


def test_abort(system):
    job = rows.insert(system, "STARTED")
    assert post(system, f"/api/task/abort/{job}").json() == {"message": f"Aborted '{job}'"}
    assert system.job(job)["state"] == "REVOKED"


# ---- pages elsewhere ----


@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}, {"Referer": "http://evil.example/page"},
    {"Origin": "http://127.0.0.1:1"}, {"Origin": "http://localhost.evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://HOST"},
])
def test_no_page_elsewhere_can_enqueue(system, headers):
    host = system.dashboard.url.removeprefix("http://")
    headers = {name: value.replace("HOST", host) for name, value in headers.items()}
    for path in ("/api/task/send-task/shop.mail", "/api/task/apply/shop.mail", f"/api/task/revoke/{uuid.uuid4()}",
                 "/api/v1/login"):
        for body in ({"data": "{}"}, {"json": {}}):
            post(system, path, 403, headers=headers, **body)
    assert system.query("SELECT count(*) AS n FROM jobs")[0]["n"] == 0


def test_our_own_page_and_scripts_may(system):
    host = system.dashboard.url.removeprefix("http://")
    for headers in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": f"http://{host}"},
                    {"Referer": f"http://{host}/tasks"}, {"Origin": f"https://{host}"}):
        post(system, "/api/task/send-task/shop.mail", headers=headers, json={})


def test_read_only_refuses_every_post(stack):
    system = stack()
    system.start_dashboard(TILL_DASHBOARD_READ_ONLY=1)
    job = rows.insert(system, "PENDING")
    for path in ("/api/task/send-task/shop.mail", "/api/task/apply/shop.mail", f"/api/task/revoke/{job}",
                 f"/api/task/abort/{job}", "/api/task/async-apply/shop.mail"):
        assert "read-only" in post(system, path, 403, json={}).text
    assert system.job(job)["state"] == "PENDING"
    assert job in get(system, "/api/tasks")

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


@pytest.mark.parametrize("timeout", [0.05, "0.05", 0, -1])
def test_apply_waits_no_longer_than_it_is_told(system, timeout):
    made = post(system, "/api/task/apply/shop.mail", json={"timeout": timeout}).json()
    assert made == {"task-id": made["task-id"], "state": "PENDING"}
    assert system.job(made["task-id"])["kwargs"] == {}


def test_apply_with_a_long_timeout_ends_with_its_task(running):
    assert post(running, "/api/task/apply/till.tasks.noop", json={"timeout": 100000}).json()["state"] == "SUCCESS"


def test_a_timeout_that_is_none_enqueues_nothing(system):
    for bad in ("soon", [1], True, "nan", "1e300"):
        assert post(system, "/api/task/apply/shop.mail", 400, json={"timeout": bad}).text == "Invalid timeout"
    assert system.value("SELECT count(*) FROM jobs") == 0
    post(system, "/api/task/async-apply/shop.mail", json={"timeout": 5})


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
    unnamed = post(system, "/api/task/async-apply/shop.mail", json={"queue": "", "task_id": str(uuid.uuid4())}).json()
    assert system.job(unnamed["task-id"])["queue"] == "mail"  # the task's own, as Celery takes it
    later = post(system, "/api/task/async-apply/shop.mail", json={"eta": "2126-01-02 03:04:05.5"}).json()
    assert system.job(later["task-id"])["scheduled_at"].isoformat() == "2126-01-02T03:04:05.500000+00:00"
    again = post(system, "/api/task/send-task/shop.mail", json={"retries": 3, "priority": 0}).json()
    job = system.job(again["task-id"])
    assert job["max_attempts"] == 4 and job["priority"] == 0
    post(system, "/api/task/async-apply/shop.mail", 409, json={"task_id": own})
    silent = {name: "x" for name in ("root_id", "parent_id", "group_id", "reply_to", "argsrepr", "kwargsrepr")}
    silent = post(system, "/api/task/send-task/shop.mail", json={**silent, "add_to_parent": False, "kwargs": None})
    assert system.job(silent.json()["task-id"])["kwargs"] == {}
    limited = post(system, "/api/task/async-apply/shop.mail", json={
        "time_limit": 90, "headers": {"a": 1}, "soft_time_limit": "0.25",
    }).json()
    assert system.job(limited["task-id"])["headers"] == {
        "a": "1", "time_limit": "90.000", "soft_time_limit": "0.250",
    }


def test_unknown_tasks_are_for_send_task_alone(system):
    for path in ("apply", "async-apply"):
        assert "Unknown task 'no.such'" in post(system, f"/api/task/{path}/no.such", 404, json={}).text
    made = post(system, "/api/task/send-task/no.such", json={"args": [1]}).json()
    assert system.job(made["task-id"])["task"] == "no.such"


@pytest.mark.parametrize("body", [
    "{", "[]", "7", '{"args": {}}', '{"args": "x"}', '{"kwargs": [1]}', '{"countdown": "soon"}',
    '{"countdown": 1e300}', '{"eta": "tomorrow"}', '{"queue": "a b"}', '{"queue": 7}', '{"priority": 10}',
    '{"priority": "urgent"}', '{"task_id": "mine"}', '{"retries": -1}', '{"link": []}', '{"colour": 1}',
    '{"args": [' + "[" * 60 + "]" * 60 + "]}", '{"args": ["' + "x" * 300_000 + '"]}',
    '{"time_limit": 0}', '{"time_limit": "soon"}', '{"time_limit": 1, "soft_time_limit": 2}',
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


@pytest.mark.parametrize("path, words", [
    ("/api/tasks?limit=x", "Invalid argument 'x' of type 'int'"),
    ("/api/tasks?offset=1.5", "Invalid argument '1.5' of type 'int'"),
    ("/api/tasks?received_start=soon", "Invalid received_start or received_end, expected format 'YYYY-MM-DD HH:MM'"),
    ("/api/tasks?sort_by=uuid", "Invalid sort_by 'uuid', expected one of name, received, runtime, started, state"),
    ("/api/workers?status=x", "Invalid argument 'x' of type 'bool'"),
    ("/api/task/result/none?timeout=x", "Invalid argument 'x' of type 'float'"),
    ("/api/task/result/none?timeout=", "Invalid argument '' of type 'float'"),
])
def test_refusals_are_flowers_plain_texts(system, path, words):
    """As a real one answered (2.2.0)."""
    answer = requests.get(system.dashboard.url + path, timeout=30)
    assert (answer.status_code, answer.text) == (400, words)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_what_is_missing_is_told_before_what_is_unknown(system):
    for path in ("timeout", "rate-limit"):
        assert post(system, f"/api/task/{path}/no.such", 400).text == "Missing argument workername"
        assert post(system, f"/api/task/{path}/no.such?workername=", 400).text == "Missing argument workername"
    assert post(system, "/api/task/rate-limit/no.such?workername=x&ratelimit=", 400).text == "Missing argument ratelimit"
    assert post(system, "/api/task/rate-limit/no.such?workername=x&ratelimit=1", 404).text == "Unknown task 'no.such'"


def test_an_empty_array_is_no_kwargs(system):
    """As languages write an empty map that have no other."""
    made = post(system, "/api/task/async-apply/shop.mail", json={"args": [1], "kwargs": []}).json()
    assert system.job(made["task-id"])["kwargs"] == {}
    post(system, "/api/task/async-apply/shop.mail", 400, json={"kwargs": [1]})


# ---- results ----


def test_result_now_and_after_a_while(running):
    sleeper = post(running, "/api/task/async-apply/till.tasks.sleep", json={"args": [600]}).json()["task-id"]
    running.wait_job(sleeper, "STARTED")
    assert get(running, f"/api/task/result/{sleeper}") == {"task-id": sleeper, "state": "STARTED"}
    post(running, f"/api/task/revoke/{sleeper}?terminate=true")
    made = post(running, "/api/task/async-apply/till.tasks.sleep", json={"args": [1]}).json()["task-id"]
    done = get(running, f"/api/task/result/{made}", timeout=20)
    assert done["state"] == "SUCCESS" and "result" in done
    assert get(running, f"/api/task/result/{made}")["state"] == "SUCCESS"


def test_result_that_does_not_come_in_time_is_no_error(system):
    job = rows.insert(system, "PENDING")
    begun = time.monotonic()
    assert get(system, f"/api/task/result/{job}", timeout=0.5) == {"task-id": job, "state": "PENDING"}
    assert 0.4 < time.monotonic() - begun < 10
    get_text = requests.get(f"{system.dashboard.url}/api/task/result/{job}?timeout=x", timeout=60)
    assert get_text.status_code == 400


def test_result_of_every_state(system):
    made = rows.insert_every_state(system)
    for state, job in made.items():
        assert get(system, f"/api/task/result/{job}")["state"] == state
    assert get(system, f"/api/task/result/{made['SUCCESS']}")["result"] == {"ok": True}
    assert get(system, f"/api/task/result/{made['FAILURE']}")["result"] == "the gateway answered 503"
    unknown = str(uuid.uuid4())
    assert get(system, f"/api/task/result/{unknown}") == {"task-id": unknown, "state": "PENDING"}


# ---- Till's own options ----


def test_enqueueing_takes_the_options_of_till_enqueue(system):
    made = post(system, "/api/task/send-task/shop.mail", json={
        "unique_key": "order 7", "unique_ttl": 60, "limit_key": "tenant-1", "retention": 3600}).json()
    job = system.job(made["task-id"])
    assert made["outcome"] == "added"
    assert (job["unique_key"], job["limit_key"], job["retention_s"]) == ("order 7", "tenant-1", 3600)
    assert job["unique_until"] is not None
    plain = post(system, "/api/task/async-apply/shop.mail", json={"retention": "60"}).json()
    assert set(plain) == {"task-id", "state"}
    for wrong in ({"unique_key": 7}, {"unique_key": ""}, {"unique_key": "a", "on_conflict": "perhaps"}, {"on_conflict": "keep"},
                  {"unique_ttl": 5}, {"unique_key": "a", "unique_ttl": 0}, {"retention": 0.5}, {"retention": "x"},
                  {"limit_key": ["a"]}, {"limit_key": ""}):
        post(system, "/api/task/send-task/shop.mail", 400, json=wrong)


def test_a_unique_key_that_is_held_is_kept_replaced_or_refused(system):
    path = "/api/task/send-task/shop.mail"
    held = post(system, path, json={"args": [1], "unique_key": "k", "countdown": 900}).json()["task-id"]
    kept = post(system, path, json={"args": [2], "unique_key": "k"}).json()
    assert kept == {"task-id": held, "state": "PENDING", "outcome": "kept"} and system.job(held)["args"] == [1]
    refused = post(system, path, 409, json={"args": [3], "unique_key": "k", "on_conflict": "refuse"})
    assert held in refused.text and "unique key" in refused.text
    put = post(system, path, json={"args": [4], "unique_key": "k", "on_conflict": "replace", "countdown": 900}).json()
    assert put == {"task-id": held, "state": "PENDING", "outcome": "replaced"} and system.job(held)["args"] == [4]
    system.query("UPDATE jobs SET state = 'STARTED', attempt = 1, worker = 'h:0', started_at = now(), enqueued_at = now()"
                 " WHERE id = %s", held)
    assert post(system, path, json={"unique_key": "k"}).json() == {"task-id": held, "state": "STARTED", "outcome": "kept"}
    assert system.value("SELECT count(*) FROM jobs") == 1
    assert [(row["target"], row["outcome"]) for row in audit(system) if row["target"] == held] == [
        (held, "done"), (held, "nothing"), (held, "done"), (held, "nothing")]
    twice = post(system, path, 409, json={"task_id": held, "unique_key": "other", "on_conflict": "refuse"})
    assert "There is already a task" in twice.text


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


@pytest.fixture
def steered(stack):
    """One worker process with two slots and a dashboard; a task that heeds nobody runs in it."""
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 2, "TILL_SHUTDOWN_SECONDS": 1})
    one.start(apis=0, dashboards=1)
    made = post(one, "/api/task/async-apply/till.tasks.stubborn",
                json={"args": [120_000], "soft_time_limit": 200, "time_limit": 300}).json()["task-id"]
    one.wait_job(made, "STARTED")
    return one, made


def ended_with_its_process(one, made, before):
    line = one.worker.wait_for_log("job_terminated", timeout=20)
    assert line["job_id"] == made
    wait_for(lambda: one.worker.family()[1:] not in ([], [before]), 20, "never replaced")
    assert one.job(made)["error"] == "terminated"


def test_terminate_by_flower_ends_what_does_not_heed(steered):
    one, made = steered
    before = one.worker.family()[1]
    post(one, f"/api/task/revoke/{made}?terminate=true&signal=SIGKILL")
    ended_with_its_process(one, made, before)
    assert [(row["action"], row["outcome"]) for row in audit(one)][-1] == ("task.terminate", "done")


def test_terminate_by_the_page_ends_what_was_aborted_and_runs_on(steered):
    one, made = steered
    before = one.worker.family()[1]
    post(one, f"/api/task/abort/{made}")
    one.worker.wait_for_log("job_revoked")
    wait_for(lambda: get(one, f"/api/v1/tasks/{made}")["still_runs"], 20, "its worker never told of it")
    assert not one.worker.find_log("job_terminated"), "abort only tells it"
    post(one, f"/api/v1/tasks/{made}/terminate")
    ended_with_its_process(one, made, before)
    wait_for(lambda: not get(one, f"/api/v1/tasks/{made}")["still_runs"], 20, "told as running for ever")
    assert [(row["action"], row["outcome"]) for row in audit(one)][-2:] == [
        ("task.abort", "done"), ("task.terminate", "done")]


def test_revoke_takes_forms_and_refuses_nonsense(system):
    job = rows.insert(system, "STARTED")
    post(system, f"/api/task/revoke/{job}", 400, data={"terminate": "perhaps"})
    post(system, f"/api/task/revoke/{job}", 400, data={"terminate": "1", "signal": "SIGSEGV; rm"})
    post(system, f"/api/task/revoke/{job}", data={"terminate": "True", "signal": "SIGTERM"})
    assert system.job(job)["state"] == "REVOKED"
    post(system, f"/api/task/revoke/{uuid.uuid4()}")
    post(system, "/api/task/revoke/no-uuid")
    for number, code in (("9", 200), ("15", 200), ("0", 400), ("-9", 400), ("65", 400)):
        post(system, f"/api/task/revoke/{job}?terminate=1&signal={number}", code)


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


def test_expiry_and_headers_of_celery(system):
    made = post(system, "/api/task/async-apply/shop.mail", json={
        "expires": 3600, "headers": {"tenant": "a", "depth": 3,
                                     "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    }).json()["task-id"]
    job = system.job(made)
    left = job["expires_at"] - datetime.datetime.now(datetime.timezone.utc)
    assert 3500 < left.total_seconds() <= 3600
    assert job["headers"] == {"tenant": "a", "depth": "3"} and job["traceparent"].startswith("00-0af7")
    made = post(system, "/api/task/async-apply/shop.mail", json={"expires": "2126-01-02 03:04:05.0"}).json()
    assert system.job(made["task-id"])["expires_at"].year == 2126
    for bad in ({"expires": "never"}, {"headers": [1]}, {"headers": {"traceparent": "x"}},
                {"headers": {"a": "x" * 10_000}}):
        post(system, "/api/task/async-apply/shop.mail", 400, json=bad)


# ---- listing ----


def test_search_has_flowers_syntax(system):
    mail = rows.insert(system, "SUCCESS", task="shop.mail", args=["Käse", 17], kwargs={"user": 7, "note": "two words"},
                       worker="host:4")
    dead = rows.insert(system, "FAILURE", task="shop.pay", error="the gateway answered 503", age=5)
    wait = rows.insert(system, "PENDING", task="shop.pay", args=["order-99"], age=9)

    def found(text):
        return set(get(system, "/api/tasks", search=text))

    assert found("shop.mail") == {mail} and found("SHOP.") == {mail, dead, wait}
    assert found("name:pay") == {dead, wait} and found("state:FAILURE") == {dead}
    assert found("name:pay state:PENDING") == {wait}
    assert found("state:SUCCESS OR state:failure") == {mail, dead}
    assert found("name:shop (state:SUCCESS OR order-99)") == {mail, wait}
    assert found("worker:host:4") == {mail} and found("kwargs:user=7") == {mail}
    assert found('kwargs:note="two words"') == {mail} and found("kwargs:user=8") == set()
    assert found("args:Käse") == {mail} and found("args:17") == {mail}
    assert found("result:true") == {mail}
    assert found('"gateway answered"') == {dead} and found("result:gateway") == {dead}
    assert found(dead) == {dead} and found(dead[:13].upper()) >= {dead}
    assert found("nothing-like-this") == set() and found("") == {mail, dead, wait}
    for text in ("'; DROP TABLE jobs; --", "100%", "a\\b", "{1,2}"):
        assert get(system, "/api/v1/tasks", search=f'"{text}"'.replace("\\", "\\\\"))["tasks"] == []
    for bad in ("ab", '"open', "(state:FAILURE", "state:FAILURE)", "OR", "kwargs:x", "x" * 2000):
        get_bad = requests.get(f"{system.dashboard.url}/api/tasks", params={"search": bad}, timeout=60)
        assert get_bad.status_code == 400 and get_bad.text, bad


def test_all_is_what_flower_sends_for_no_choice(system):
    made = rows.insert_every_state(system)
    assert len(get(system, "/api/tasks", state="All", workername="All", taskname="All")) == len(made)


# ---- workers ----


def test_orders_to_a_worker(stack):
    # However long all of this takes: a process that does not get to run for a lease is offline.
    system = stack({"TILL_WORKER_PROCESSES": 1, "TILL_LEASE_SECONDS": 60}).start(apis=0, dashboards=1)
    name = wait_for(lambda: next(iter(get(system, "/api/workers")), None), 15)

    def ordered(column):
        return system.query(f"SELECT {column} AS x FROM worker_orders WHERE whom = %s", name)[0]["x"]

    answer = post(system, f"/api/worker/pool/grow/{name}?n=2").json()
    assert answer == {"message": f"Growing '{name}' worker's pool by 2"}
    assert ordered("slots") == 6
    answer = post(system, f"/api/worker/pool/shrink/{name}", data={"n": 3}).json()
    assert answer == {"message": f"Shrinking '{name}' worker's pool by 3"}
    assert ordered("slots") < 6
    refused = post(system, f"/api/worker/pool/shrink/{name}?n=100", 403)
    assert refused.text.startswith(f"Failed to shrink '{name}' worker's pool: ")
    answer = post(system, f"/api/worker/pool/autoscale/{name}?min=1&max=5").json()
    assert answer == {"message": f"Autoscaling '{name}' worker (min=1, max=5)"}
    assert ordered("slots_max") == 5
    post(system, f"/api/worker/pool/autoscale/{name}?min=9&max=2", 403)
    post(system, f"/api/worker/pool/autoscale/{name}?min=9", 400)
    for bad in ("x", "0", "-1", "1e9", "99999999999999999999"):
        post(system, f"/api/worker/pool/grow/{name}?n={bad}", 400)
    answer = post(system, f"/api/worker/pool/restart/{name}").json()
    assert answer == {"message": f"Restarting '{name}' worker's pool"}
    answer = post(system, f"/api/worker/queue/add-consumer/{name}?queue=extra").json()
    assert answer == {"message": "add consumer extra"}
    answer = post(system, f"/api/worker/queue/cancel-consumer/{name}", data={"queue": "mail"}).json()
    assert answer == {"message": "no longer consuming from mail"}
    assert ordered("queues") == {"extra": True, "mail": False}
    refused = post(system, f"/api/worker/queue/add-consumer/{name}?queue=a%20b", 403).text
    assert refused.startswith(f"Failed to add 'a b' consumer to '{name}' worker: ")
    assert post(system, f"/api/worker/queue/cancel-consumer/{name}", 400).text == "Missing argument queue"
    assert post(system, f"/api/worker/shutdown/{name}").json() == {"message": "Shutting down!"}
    assert ordered("stop_at") and ordered("restart_at")
    done = [row["action"] for row in audit(system) if row["outcome"] == "done"]
    assert done == ["worker.grow", "worker.shrink", "worker.autoscale", "worker.restart", "worker.add-consumer",
                    "worker.cancel-consumer", "worker.stop"]
    outcomes = [row["outcome"] for row in audit(system) if row["action"] == "worker.shrink"]
    assert outcomes == ["done", "failed"]


def test_the_audit_log_says_what_was_ordered_and_why_it_failed(system):
    rows.report_worker(system, "h:0", concurrency=4, beat_at="2026-01-01T00:00:00Z", queues=["mail"])
    post(system, "/api/worker/pool/restart/h:0")
    post(system, "/api/worker/pool/autoscale/h:0", data={"min": "1", "max": "2"})
    post(system, "/api/worker/pool/autoscale/h:0", 403, data={"min": "3", "max": "2"})
    post(system, "/api/worker/queue/add-consumer/h:0", 403, data={"queue": "a b"})
    requests.post(system.dashboard.url + "/api/v1/workers/h:0", json={"order": "autoscale", "min": 3, "max": 2}, timeout=30)
    reason = "a worker scales between 1 and 256 slots, not from 3 to 2"
    assert [(row["outcome"], row["detail"]) for row in system.query("SELECT outcome, detail FROM audit ORDER BY id")] == [
        ("done", {}), ("done", {"min": 1, "max": 2}), ("failed", {"why": reason}),
        ("failed", {"why": '"a b" is no name of a queue'}), ("failed", {"why": reason})]


@pytest.mark.parametrize("path", [
    "shutdown/W", "pool/restart/W", "pool/grow/W", "pool/shrink/W", "pool/autoscale/W?min=1&max=2",
    "queue/add-consumer/W?queue=a", "queue/cancel-consumer/W?queue=a",
])
def test_unknown_worker_is_404(system, path):
    for name in ("nobody:0", "all", "a%20b"):
        answer = post(system, f"/api/worker/{path.replace('W', name)}", 404)
        assert "Unknown worker" in answer.text
    bare = path.partition("?")[0]  # as in Flower it comes before what is wrong with the parameters
    assert "Unknown worker" in post(system, f"/api/worker/{bare.replace('W', 'nobody')}?n=x&min=x", 404).text


def test_time_limits_of_a_task(system):
    rows.report_worker(system, "h:0")

    def timeout(expect=200, task="shop.mail", **data):
        return post(system, f"/api/task/timeout/{task}", expect, data={"workername": "h:0", **data})

    def kept():
        return [(row["task"], row["soft_ms"], row["hard_ms"]) for row in system.query("SELECT * FROM time_limits")]

    assert timeout(soft=1.5, hard=20).json() == {"message": "time limits set successfully"}
    assert kept() == [("shop.mail", 1500, 20000)]
    timeout(hard="3")
    assert kept() == [("shop.mail", None, 3000)]
    assert timeout(403, soft=9, hard=3).text == "Failed to set timeouts: 'the soft limit is beyond the hard one'"
    for bad in ("soon", "-1", "nan", "1e99"):
        assert "of type 'float'" in timeout(400, soft=bad).text
    timeout(soft=0)
    assert kept() == []
    assert post(system, "/api/task/timeout/shop.mail", 400).text == "Missing argument workername"
    assert timeout(404, task="no.such").text == "Unknown task 'no.such'"
    assert "Unknown worker 'h:9'" in timeout(404, workername="h:9").text
    assert [row["action"] for row in audit(system) if row["outcome"] == "done"] == ["task.timeout"] * 3


# ---- metrics ----


def samples(system):
    answer = requests.get(system.dashboard.url + "/metrics", timeout=60)
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name not in found, f"twice: {name}"
            found[name] = float(value)
    return answer.text, found


def test_metrics_tell_depth_age_dead_and_retries(system):
    rows.insert(system, "PENDING", queue="mail", age=500)
    rows.insert(system, "RETRY", queue="mail")
    rows.insert(system, "FAILURE", queue="mail")
    rows.insert(system, "STARTED", queue="mail", worker='w"\\:1', task="shop.mail")
    rows.report_worker(system, "h:0", busy=2, succeeded=7, failed=1, retried=2, held=["a", "b", "c"])
    system.query("INSERT INTO queues (name, paused_at) VALUES ('mail', now())")
    text, found = samples(system)
    assert found['till_queue_dead{queue="mail"}'] == 1 and found['till_queue_retries{queue="mail"}'] == 1
    assert found['till_queue_waiting{queue="mail"}'] == 1 and found['till_queue_started{queue="mail"}'] == 1
    assert found['till_queue_paused{queue="mail"}'] == 1 and found["till_redis_up"] == 1
    assert 495 < found['till_queue_oldest_seconds{queue="mail"}'] < 600
    assert found['flower_worker_online{worker="h:0"}'] == 1
    assert found['flower_worker_number_of_currently_executing_tasks{worker="h:0"}'] == 2
    assert found['flower_worker_prefetched_tasks{worker="h:0",task=""}'] == 3
    assert found['flower_events_total{worker="h:0",type="task-succeeded",task=""}'] == 7
    for begun in ("task-received", "task-started"):
        assert found[f'flower_events_total{{worker="h:0",type="{begun}",task=""}}'] == 10
    assert found['flower_task_prefetch_time_seconds{worker="w\\"\\\\:1",task="shop.mail"}'] == pytest.approx(0.01)
    for name in [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]:
        assert text.count(f"# TYPE {name} ") == 1 and f"# HELP {name} " in text


def test_metrics_tell_of_a_worker_that_is_deaf_and_of_a_queue_that_nobody_reads(system):
    rows.insert(system, "PENDING", queue="unread")
    rows.report_worker(system, "h:0", state="running", health="ok", queues=["mail"], concurrency=16, rss_bytes=9_000_000)
    rows.report_worker(system, "h:1", state="running", health="deaf", queues=["mail"], concurrency=4, rss_bytes=1)
    rows.report_worker(system, "h:2", state="running", health="ok", queues=["mail"])
    system.redis.delete("till:worker:h:2")

    _, found = samples(system)

    assert [found[f'till_worker_healthy{{worker="h:{n}"}}'] for n in range(3)] == [1, 0, 0]
    assert found['till_worker_memory_bytes{worker="h:0"}'] == 9_000_000 and found['till_worker_slots{worker="h:0"}'] == 16
    assert found['till_queue_consumers{queue="mail"}'] == 2 and found['till_queue_consumers{queue="unread"}'] == 0


def test_metrics_and_healthcheck_are_never_asked_for_a_password(stack):
    system = stack()
    system.start_dashboard(TILL_DASHBOARD_AUTH="ops:s3cret")
    samples(system)
    assert requests.get(system.dashboard.url + "/healthcheck", timeout=60).text == "OK"
    assert requests.get(system.dashboard.url + "/api/tasks", timeout=60).status_code == 401
    post(system, "/api/task/send-task/x", 401, json={})
    post(system, "/api/task/send-task/x", auth=("ops", "s3cret"), data="{}")
    post(system, "/api/task/send-task/x", 401, auth=("ops", "wrong"), data="{}")


def test_rate_limit_of_a_task(system):
    rows.report_worker(system, "h:0")

    def limit(rate, expect=200, **more):
        return post(system, "/api/task/rate-limit/shop.mail", expect, data={"workername": "h:0", "ratelimit": rate, **more})

    assert limit("100/m").json() == {"message": "new rate limit set successfully"}
    (row,) = system.query("SELECT * FROM limits")
    assert (row["scope"], row["name"], row["rate"], row["per_seconds"]) == ("task", "shop.mail", 100, 60)
    limit("5")
    assert system.query("SELECT rate, per_seconds FROM limits")[0]["per_seconds"] == 1
    for text, rate in (("1.5/s", (90, 60)), ("0.1/m", (6, 3600)), ("2.0", (2, 1)), ("0.5/h", None), ("7/x", None), ("1/ss", None)):
        limit(text, 200 if rate else 403)
        row = system.query("SELECT rate, per_seconds FROM limits")[0]
        assert not rate or (row["rate"], row["per_seconds"]) == rate, text
    assert limit("0").json() == {"message": "rate limit disabled successfully"}
    assert system.query("SELECT * FROM limits") == []
    assert "Failed to set rate limit" in limit("often", 403).text
    post(system, "/api/task/rate-limit/shop.mail", 400, data={"workername": "h:0"})
    post(system, "/api/task/rate-limit/no.such", 404, data={"workername": "h:0", "ratelimit": "1/s"})
    post(system, "/api/task/rate-limit/no.such", 400)
    post(system, "/api/task/rate-limit/shop.mail", 400, data={"workername": "h:7"})
    post(system, "/api/task/rate-limit/shop.mail", 404, data={"workername": "h:7", "ratelimit": "1/s"})


def test_run_times_are_a_histogram(running):
    for _ in range(3):
        post(running, "/api/task/apply/till.tasks.noop", json={})

    def counted():
        _, found = samples(running)
        return sum(value for name, value in found.items()
                   if name.startswith("flower_task_runtime_seconds_count{") and 'task="till.tasks.noop"' in name) >= 3 and found

    found = wait_for(counted, 20)
    buckets = [(name, value) for name, value in found.items()
               if name.startswith("flower_task_runtime_seconds_bucket{") and 'task="till.tasks.noop"' in name]
    for worker in {name.split('worker="')[1].split('"')[0] for name, _ in buckets}:
        own = [value for name, value in buckets if f'worker="{worker}"' in name]
        assert own == sorted(own)
        total = found[f'flower_task_runtime_seconds_count{{worker="{worker}",task="till.tasks.noop"}}']
        assert found[f'flower_task_runtime_seconds_bucket{{worker="{worker}",task="till.tasks.noop",le="+Inf"}}'] == total
        assert found[f'flower_events_total{{worker="{worker}",type="task-succeeded",task="till.tasks.noop"}}'] == total


def test_grown_worker_works_and_stopped_one_ends(stack):
    system = stack({"TILL_WORKER_PROCESSES": 1}).start(apis=0, dashboards=1)
    name = wait_for(lambda: next(iter(get(system, "/api/workers")), None), 15)
    post(system, f"/api/worker/pool/grow/{name}?n=2")
    wait_for(lambda: get(system, "/api/workers")[name]["stats"]["pool"]["max-concurrency"] == 6, 20)
    job = post(system, "/api/task/async-apply/till.tasks.sleep", json={"args": [60]}).json()["task-id"]
    system.wait_job(job, "STARTED")
    post(system, f"/api/task/revoke/{job}?terminate=true")
    wait_for(lambda: not get(system, "/api/workers")[name]["active"], 20)
    worker = system.worker
    post(system, f"/api/worker/shutdown/{name}")
    wait_for(lambda: not worker.is_running(), 30)

# SPDX-License-Identifier: MIT
"""What people do at the dashboard: to tasks, queues and workers; who may, and what is written down."""

import json
import os
import signal
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
import requests
from browser import rows
from harness import programs
from harness.wait import wait_for


@pytest.fixture
def system(stack):
    one = stack()
    one.start_dashboard()
    return one


def post(system, path, expect=200, body=None, **options):
    answer = requests.post(system.dashboard.url + path, json=body if body is not None else {}, timeout=30, **options)
    assert answer.status_code == expect, f"{path}: {answer.status_code} {answer.text}"
    return answer.json()


def get(system, path, expect=200, **options):
    answer = requests.get(system.dashboard.url + path, timeout=30, **options)
    assert answer.status_code == expect, f"{path}: {answer.status_code} {answer.text}"
    return answer.json()


def audit(system):
    return [(row["actor"], row["action"], row["target"], row["outcome"])
            for row in system.query("SELECT * FROM audit ORDER BY id")]


# ---- one task ----


def test_a_retry_tells_that_a_member_of_a_flow_waits_or_can_not_run(system):
    flow = system.value("""SELECT till_flow('{"chain": [{"task": "a"}, {"task": "b"}, {"task": "c"}]}')""")
    first, second, third = [str(row["id"]) for row in system.query("SELECT id FROM jobs WHERE flow_id = %s ORDER BY flow_step", flow)]
    post(system, f"/api/v1/tasks/{first}/revoke")
    assert system.job(second)["state"] == "REVOKED"

    reason = f"job {first} (a), which was revoked"
    assert post(system, f"/api/v1/tasks/{second}/retry") == {"changed": 1, "waits_for": reason}
    assert post(system, "/api/v1/tasks", body={"action": "retry", "ids": [first, third]})["waiting"] == 1

    for job in (first, second):
        system.query("UPDATE jobs SET state = 'STARTED', attempt = 1, worker = 'w', started_at = now(), enqueued_at = now() WHERE id = %s", job)
        system.query("UPDATE jobs SET state = 'SUCCESS', finished_at = now() WHERE id = %s", job)
    post(system, f"/api/v1/tasks/{third}/revoke")
    system.query("DELETE FROM jobs WHERE id = %s", second)
    assert "were deleted" in post(system, f"/api/v1/tasks/{third}/retry", 409)["detail"]


def test_revoke_retry_terminate_delete_one(system):
    made = rows.insert_every_state(system)

    def act(state, verb, expect=200):
        return post(system, f"/api/v1/tasks/{made[state]}/{verb}", expect)

    assert act("PENDING", "revoke") == {"changed": 1}
    assert "STARTED" in act("STARTED", "revoke", 409)["detail"]
    act("STARTED", "terminate")
    act("FAILURE", "retry")
    assert system.job(made["FAILURE"])["state"] == "PENDING"
    act("SUCCESS", "retry", 409)
    act("SUCCESS", "delete", 409)
    act("REVOKED", "retry")
    dead = rows.insert(system, "FAILURE")
    post(system, f"/api/v1/tasks/{dead}/delete")
    assert system.job(dead) is None
    for verb in ("revoke", "terminate", "retry", "delete", "replay"):
        post(system, f"/api/v1/tasks/{uuid.uuid4()}/{verb}", 404)
        post(system, f"/api/v1/tasks/x/{verb}", 404)
    assert ("local", "task.retry", made["FAILURE"], "done") in audit(system)
    assert ("local", "task.revoke", made["STARTED"], "nothing") in audit(system)


def test_a_task_that_is_run_again_stays_under_its_limit_and_has_its_attempts(system):
    made = system.enqueue("shop.mail", max_attempts=3, limit_key="tenant-1", retention=60)
    again = system.job(post(system, f"/api/v1/tasks/{made}/replay", 201)["id"])
    assert (again["limit_key"], again["max_attempts"], again["retention_s"]) == ("tenant-1", 3, 60)


def test_replay_keeps_the_lineage(system):
    first = rows.insert(system, "FAILURE", task="shop.mail", queue="mail", args=["a", 1], kwargs={"k": 1})
    second = post(system, f"/api/v1/tasks/{first}/replay", 201, {"args": ["b"], "kwargs": {"k": 2}})["id"]
    third = post(system, f"/api/v1/tasks/{second}/replay", 201)["id"]
    job = system.job(second)
    assert (job["task"], job["queue"], job["args"], job["kwargs"]) == ("shop.mail", "mail", ["b"], {"k": 2})
    assert system.job(third)["args"] == ["b"] and system.job(first)["state"] == "FAILURE"
    shown = get(system, f"/api/v1/tasks/{third}")
    assert shown["parent_id"] == second and shown["root_id"] == first and shown["made_by"] == "local"
    assert get(system, f"/api/v1/tasks/{first}")["replays"] == [second]
    flower = get(system, f"/api/task/info/{second}")
    assert flower["parent_id"] == first and flower["root_id"] == first and flower["children"] == [third]
    assert flower["parent"] == first and flower["root"] == first


def test_replay_puts_secrets_back_that_it_has_hidden(system):
    job = rows.insert(system, "FAILURE", args=[{"password": "hunter2"}, "x"], kwargs={"api_key": "k-1", "n": 1})
    shown = get(system, f"/api/v1/tasks/{job}")
    assert "hunter2" not in json.dumps(shown)
    made = post(system, f"/api/v1/tasks/{job}/replay", 201,
                {"args": [shown["args"][0], "y"], "kwargs": {**shown["kwargs"], "n": 2}})["id"]
    assert system.job(made)["args"] == [{"password": "hunter2"}, "y"]
    assert system.job(made)["kwargs"] == {"api_key": "k-1", "n": 2}
    moved = post(system, f"/api/v1/tasks/{job}/replay", 400, {"args": ["x", shown["args"][0]]})
    assert "type the value" in moved["detail"]


@pytest.mark.parametrize("body", [{"args": {}}, {"args": "x"}, {"kwargs": []}, {"queue": "a b"}, {"args": ["x" * 400_000]}])
def test_replay_refuses_what_cannot_be_a_task(system, body):
    job = rows.insert(system, "FAILURE")
    assert post(system, f"/api/v1/tasks/{job}/replay", 400, body)["detail"]
    assert system.query("SELECT count(*) AS n FROM jobs")[0]["n"] == 1


# ---- a new one ----

NEW = "/api/v1/enqueue/shop.mail"


def test_a_task_is_enqueued_by_the_form_and_written_down(system):
    rows.declare_task(system, "shop.mail")
    own = rows.uuid7()
    made = post(system, NEW, 201, {"task_id": own, "args": ["a"], "kwargs": {"k": 1}, "queue": "slow", "priority": "low",
                                   "countdown": 600, "expires": 900, "max_retries": 2, "limit_key": "tenant-1",
                                   "retention": 60, "headers": {"tenant": "a"}, "unique_key": "one"})
    assert made == {"id": own, "outcome": "added"}
    job = system.job(own)
    assert (job["args"], job["kwargs"], job["queue"], job["priority"]) == (["a"], {"k": 1}, "slow", 2)
    assert (job["max_attempts"], job["limit_key"], job["retention_s"], job["unique_key"]) == (3, "tenant-1", 60, "one")
    assert job["enqueued_at"] is None and 590 < (job["scheduled_at"] - job["created_at"]).total_seconds() < 610
    assert post(system, NEW, 409, {"task_id": own})["field"] == "task_id", "the same order again makes nothing"
    assert post(system, NEW, 200, {"unique_key": "one"}) == {"id": own, "outcome": "kept"}
    assert post(system, NEW, 200, {"unique_key": "one", "on_conflict": "replace"}) == {"id": own, "outcome": "replaced"}
    assert post(system, NEW, 409, {"unique_key": "one", "on_conflict": "refuse"})["field"] == "unique_key"
    assert [row[3] for row in audit(system) if row[1] == "task.enqueue" and row[2] == own][:2] == ["done", "failed"]


@pytest.mark.parametrize("body, field", [
    ({"args": {}}, "args"), ({"kwargs": []}, "kwargs"), ({"queue": "a b"}, "queue"), ({"priority": "urgent"}, "priority"),
    ({"countdown": "soon"}, "countdown"), ({"eta": "tomorrow"}, "eta"), ({"expires": "never"}, "expires"),
    ({"countdown": 60, "expires": 30}, "expires"), ({"max_retries": -1}, "max_retries"), ({"unique_key": ""}, "unique_key"),
    ({"unique_key": "a\u0007b"}, "unique_key"), ({"unique_ttl": 5}, "unique_key"), ({"limit_key": "a\u0007"}, "limit_key"),
    ({"retention": 0}, "retention"), ({"headers": {"a b": "c"}}, "headers"), ({"args": ["x" * 400_000]}, "args"),
    ({"explode": 1}, None),
])
def test_the_form_is_told_the_field_that_is_wrong(system, body, field):
    rows.declare_task(system, "shop.mail")
    answer = post(system, NEW, 400, body)
    assert answer["field"] == field and answer["detail"] and "Invalid option" not in answer["detail"]
    assert system.value("SELECT count(*) FROM jobs") == 0


def test_the_form_takes_no_task_that_nobody_has(system):
    assert post(system, NEW, 400)["field"] == "task"
    assert system.value("SELECT count(*) FROM jobs") == 0


# ---- some and all ----


def test_a_selection(system):
    dead = [rows.insert(system, "FAILURE") for _ in range(5)]
    assert post(system, "/api/v1/tasks", body={"action": "retry", "ids": dead[:3]})["changed"] == 3
    assert post(system, "/api/v1/tasks", body={"action": "delete", "ids": dead})["changed"] == 2
    assert {job["state"] for job in system.query("SELECT state FROM jobs")} == {"PENDING"}
    assert post(system, "/api/v1/tasks", body={"action": "revoke", "ids": dead[:3]})["changed"] == 3


def test_all_that_match_a_filter_and_nothing_else(system):
    system.query(
        "INSERT INTO jobs (id, task, queue, state, attempt, finished_at, error) SELECT new_job_id(), 'shop.mail',"
        " CASE WHEN n % 2 = 0 THEN 'mail' ELSE 'other' END, 'FAILURE', 1, now(), 'timed out' FROM generate_series(1, 2500) n"
    )
    other = rows.insert(system, "FAILURE", task="shop.pay", queue="mail")
    changed, cursor = 0, None
    for _ in range(20):
        answer = post(system, "/api/v1/tasks", body={
            "action": "retry", "cursor": cursor,
            "filter": {"state": "FAILURE", "task": "shop.mail", "queue": "mail", "search": '"timed out"'}})
        changed += answer["changed"]
        cursor = answer["next"]
        if not cursor:
            break
    assert changed == 1250 and system.job(other)["state"] == "FAILURE"
    left = system.query("SELECT queue, count(*) AS n FROM jobs WHERE state = 'FAILURE' GROUP BY queue ORDER BY queue")
    assert [dict(row) for row in left] == [{"queue": "mail", "n": 1}, {"queue": "other", "n": 1250}]


def test_a_selection_is_run_again_once_by_one_order(system):
    done = rows.insert(system, "SUCCESS", task="shop.mail", queue="mail", args=["a"], kwargs={"api_key": "k-1"},
                       limit_key="tenant-1", retention_s=60, max_attempts=7, snoozes=2, priority=0)
    dead = rows.insert(system, "FAILURE")
    broken = rows.insert(system, "FAILURE", payload=b"\x00")
    waiting = rows.insert(system, "PENDING", enqueued_at=None, scheduled_at="2126-01-01T00:00:00Z")
    gone = str(uuid.uuid4())
    asked = {"action": "replay", "ids": [done, dead, broken, waiting, gone]}
    first = post(system, "/api/v1/tasks", body=asked)
    assert (first["changed"], first["skipped"]) == (2, {"unreadable": 1, "unfinished": 1, "gone": 1})
    (copy,) = get(system, f"/api/v1/tasks/{done}")["replays"]
    made = system.job(copy)
    assert (made["state"], made["task"], made["queue"], made["args"], made["kwargs"]) == (
        "PENDING", "shop.mail", "mail", ["a"], {"api_key": "k-1"})
    assert (made["limit_key"], made["retention_s"], made["max_attempts"], made["priority"]) == ("tenant-1", 60, 5, 0)
    assert (system.job(done)["state"], system.job(dead)["state"]) == ("SUCCESS", "FAILURE")
    # The answer was lost, so the order is given again; the copies belong to it, too.
    again = post(system, "/api/v1/tasks", body={"action": "replay", "ids": [done, dead, done], "order": first["order"]})
    assert (again["changed"], again["skipped"]) == (0, {"done": 3})
    system.query("UPDATE jobs SET state = 'REVOKED', finished_at = now() WHERE id = %s", copy)
    assert post(system, "/api/v1/tasks", body={"action": "replay", "ids": [copy], "order": first["order"]})["changed"] == 0
    # Another order makes another copy, of the copy too: the lineage is kept.
    assert post(system, "/api/v1/tasks", body={"action": "replay", "ids": [copy]})["changed"] == 1
    (third,) = get(system, f"/api/v1/tasks/{copy}")["replays"]
    assert get(system, f"/api/v1/tasks/{third}")["root_id"] == done
    rows_of = system.query("SELECT outcome, detail FROM audit WHERE action = 'task.replay' ORDER BY id")
    assert [row["outcome"] for row in rows_of] == ["done", "nothing", "nothing", "done"]
    assert rows_of[0]["detail"] == {"asked": 5, "changed": 2, "order": first["order"],
                                    "skipped": {"unreadable": 1, "unfinished": 1, "gone": 1}}


def test_all_that_match_are_run_again_while_others_give_the_same_order(system):
    system.query("INSERT INTO jobs (id, task, state, attempt, finished_at) SELECT new_job_id(), 'shop.mail', 'SUCCESS', 1, now()"
                 " FROM generate_series(1, 1200)")
    order, before = str(uuid.uuid4()), system.value("SELECT count(*) FROM jobs")

    def run(_):
        changed, cursor = 0, None
        while True:
            answer = post(system, "/api/v1/tasks", body={"action": "replay", "order": order, "cursor": cursor,
                                                         "filter": {"state": "SUCCESS", "task": "shop.mail"}})
            changed, cursor = changed + answer["changed"], answer["next"]
            if not cursor:
                return changed

    with ThreadPoolExecutor(3) as pool:
        changed = list(pool.map(run, range(3)))
    assert sum(changed) == 1200 and system.value("SELECT count(*) FROM jobs") == before + 1200
    assert system.value("SELECT count(DISTINCT parent_id) FROM job_replays") == 1200
    post(system, "/api/v1/tasks", 400, {"action": "replay", "order": "x", "filter": {"state": "SUCCESS"}})


def test_what_waits_for_its_time_runs_now(system):
    later = rows.insert(system, "PENDING", enqueued_at=None, scheduled_at="2126-01-01T00:00:00Z")
    retry, ready = rows.insert(system, "RETRY"), rows.insert(system, "PENDING")
    chain = json.dumps({"chain": [{"task": "till.tasks.noop"}, {"task": "shop.last", "queue": "mail"}]})
    assert system.till("flow", "run", "-", stdin=chain).returncode == 0
    member = system.value("SELECT id::text FROM jobs WHERE task = 'shop.last'")
    assert post(system, f"/api/v1/tasks/{later}/run") == {"changed": 1}
    assert "ready already" in post(system, f"/api/v1/tasks/{later}/run", 409)["detail"]
    assert "others of its flow" in post(system, f"/api/v1/tasks/{member}/run", 409)["detail"]
    done = rows.insert(system, "SUCCESS")
    assert "SUCCESS cannot be run now" in post(system, f"/api/v1/tasks/{done}/run", 409)["detail"]
    some = {"action": "run", "ids": [later, retry, ready, member, done]}
    assert post(system, "/api/v1/tasks", body=some)["changed"] == 1
    assert get(system, f"/api/v1/tasks/{retry}")["enqueued_at"]
    for _ in range(3):
        rows.insert(system, "RETRY", task="shop.mail")
    matching = {"action": "run", "filter": {"state": "RETRY", "task": "shop.mail"}}
    assert post(system, "/api/v1/tasks", body=matching)["changed"] == 3
    assert post(system, "/api/v1/tasks", body=matching)["changed"] == 0
    assert system.job(member)["enqueued_at"] is None
    assert ("local", "task.run", later, "done") in audit(system) and ("local", "task.run", member, "nothing") in audit(system)
    pushed = str(system.redis.xrange("till:{default}:normal"))
    assert later in pushed and retry in pushed, "at once: no scheduler runs here"


def test_what_is_run_again_runs(stack):
    system = stack().start(dashboards=1)
    done = [system.enqueue("till.tasks.noop") for _ in range(3)]
    wait_for(lambda: all(system.job(job)["state"] == "SUCCESS" for job in done))
    assert post(system, "/api/v1/tasks", body={"action": "replay", "ids": done})["changed"] == 3
    wait_for(lambda: system.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'") == 6)


@pytest.mark.parametrize("body", [
    {}, {"action": "retry"}, {"action": "explode", "ids": [str(uuid.uuid4())]}, {"action": "retry", "ids": []},
    {"action": "retry", "ids": ["x"]}, {"action": "retry", "ids": [7]}, {"action": "retry", "filter": {}},
    {"action": "retry", "filter": {"state": "ALL"}}, {"action": "retry", "ids": [str(uuid.uuid4())] * 1001},
    {"action": "retry", "filter": {"state": "FAILURE", "search": "("}},
    {"action": "retry", "filter": {"state": "FAILURE"}, "cursor": "x"},
])
def test_nonsense_changes_nothing(system, body):
    job = rows.insert(system, "FAILURE")
    assert post(system, "/api/v1/tasks", 400, body)["detail"]
    assert system.job(job)["state"] == "FAILURE"


def test_only_json_is_read(system):
    job = rows.insert(system, "FAILURE")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = requests.post(system.dashboard.url + "/api/v1/tasks", timeout=60, headers={"Content-Type": kind},
                               data=json.dumps({"action": "retry", "ids": [job]}))
        assert answer.status_code == 400
    assert system.job(job)["state"] == "FAILURE"


def test_dead_by_reason(system):
    for number in range(4):
        rows.insert(system, "FAILURE", task="shop.mail", age=9, error=f"no route to order {100000 + number}\nmore {number}")
    rows.insert(system, "FAILURE", task="shop.mail", age=9, error="503 from the gateway")
    rows.insert(system, "FAILURE", task="shop.pay", error="password=hunter2 refused")
    answer = get(system, "/api/v1/dead")
    groups = {(g["task"], g["shown"]): g["count"] for g in answer["groups"]}
    assert groups[("shop.mail", "no route to order *")] == 4
    assert groups[("shop.mail", "* from the gateway")] == 1
    assert "hunter" not in json.dumps(answer)
    one = {"task": "shop.mail", "reason": "no route to order *"}
    assert post(system, "/api/v1/dead", body={"action": "retry", **one}) == {"changed": 4, "more": False}
    assert post(system, "/api/v1/dead", body={"action": "delete", "task": "shop.mail",
                                              "reason": "* from the gateway"})["changed"] == 1
    assert len(get(system, "/api/v1/dead")["groups"]) == 1
    post(system, "/api/v1/dead", 400, {"action": "revoke", **one})


# ---- queues and workers ----


def test_pause_resume_purge(system):
    jobs = [rows.insert(system, "PENDING", queue="mail", age=5) for _ in range(3)]
    later = rows.insert(system, "PENDING", queue="mail", enqueued_at=None, scheduled_at="2126-01-01T00:00:00Z")
    assert post(system, "/api/v1/queues/mail/pause") == {"paused": True, "changed": True}
    assert post(system, "/api/v1/queues/mail/pause") == {"paused": True, "changed": False}
    (mail,) = [queue for queue in get(system, "/api/v1/queues")["queues"] if queue["name"] == "mail"]
    assert mail["paused_at"]
    assert post(system, "/api/v1/queues/mail/resume")["changed"] is True
    assert post(system, "/api/v1/queues/mail/purge")["changed"] == 3
    assert {system.job(job)["state"] for job in jobs} == {"REVOKED"} and system.job(later)["state"] == "PENDING"
    assert post(system, "/api/v1/queues/mail/purge", body={"scheduled": True})["changed"] == 1
    post(system, "/api/v1/queues/a%20b/pause", 400)
    done = [(action, outcome) for _, action, target, outcome in audit(system) if target == "mail"]
    assert done == [("queue.pause", "done"), ("queue.pause", "nothing"), ("queue.resume", "done"),
                    ("queue.purge", "done"), ("queue.purge", "done")]


def test_orders_to_workers(system):
    rows.report_worker(system, "h:0", concurrency=4)
    for order in ({"order": "quiet"}, {"order": "resume"}, {"order": "grow", "n": 2}, {"order": "scale", "slots": 3},
                  {"order": "autoscale", "min": 1, "max": 4}, {"order": "restart"}, {"order": "stop"}):
        assert post(system, "/api/v1/workers/h:0", body=order) == {"ordered": order["order"]}
    for bad in ({}, {"order": "fly"}, {"order": "grow"}, {"order": "grow", "n": 0}, {"order": "scale", "slots": 999},
                {"order": "autoscale", "min": 4, "max": 1}):
        post(system, "/api/v1/workers/h:0", 400, bad)
    post(system, "/api/v1/workers/h:9", 404, {"order": "stop"})
    assert [action for _, action, _, outcome in audit(system) if outcome == "done"] == [
        "worker.quiet", "worker.resume", "worker.grow", "worker.scale", "worker.autoscale", "worker.restart", "worker.stop"]


# ---- the log ----


def test_audit_is_shown_and_cannot_be_changed(system):
    jobs = [rows.insert(system, "FAILURE") for _ in range(3)]
    for job in jobs:
        post(system, f"/api/v1/tasks/{job}/retry")
    post(system, "/api/v1/queues/mail/pause")
    page = get(system, "/api/v1/audit?limit=2")
    assert [entry["action"] for entry in page["entries"]] == ["queue.pause", "task.retry"]
    first = page["entries"][0]
    assert (first["actor"], first["role"], first["target"], first["outcome"]) == ("local", "admin", "mail", "done")
    assert first["remote"] == "127.0.0.1" and first["at"].endswith("Z")
    rest = get(system, f"/api/v1/audit?cursor={page['next']}")
    assert len(rest["entries"]) == 2 and rest["next"] is None
    assert len(get(system, "/api/v1/audit?action=task.")["entries"]) == 3
    assert len(get(system, f"/api/v1/audit?target={jobs[0]}&actor=local")["entries"]) == 1
    for bad in ("limit=x", "limit=0", "limit=9999", "cursor=x"):
        get(system, f"/api/v1/audit?{bad}", 400)
    with pytest.raises(psycopg2.Error):
        system.query("UPDATE audit SET actor = 'nobody'")


def test_no_action_without_its_row(system):
    """The log cannot be written: then nothing is done."""
    job = rows.insert(system, "PENDING")
    system.query("ALTER TABLE audit ADD CONSTRAINT nothing CHECK (action <> 'task.revoke')")
    for path in (f"/api/v1/tasks/{job}/revoke", f"/api/task/revoke/{job}"):
        assert requests.post(system.dashboard.url + path, timeout=60).status_code >= 400
    assert system.job(job)["state"] == "PENDING"


# ---- who may ----

PASSWORDS = {"vera": ("viewer", "looks-but-touches-not"), "otto": ("operator", "runs-the-whole-night"),
             "anna": ("admin", "owns-all-of-the-keys")}


def line(system, kind, name, role, text=None):
    done = subprocess.run([programs.path_of("till"), "dashboard", kind, name, "--role", role, "--json"], input=text,
                          capture_output=True, text=True, timeout=30, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def guarded(stack, test_folder):
    system = stack()
    lines = [line(system, "user", name, role, password + "\n")["line"] for name, (role, password) in PASSWORDS.items()]
    token = line(system, "token", "robot", "operator")
    system.users = os.path.join(test_folder, "users")
    with open(system.users, "w", encoding="utf-8") as file:
        file.write("\n".join(["# who may", *lines, token["line"], ""]))
    system.token = token["token"]
    system.start_dashboard(TILL_DASHBOARD_USERS=system.users, TILL_DASHBOARD_AUTH="root:of-all-of-it")
    return system


def auth(name):
    return (name, PASSWORDS[name][1])


def test_each_role_may_what_it_may(guarded):
    job = rows.insert(guarded, "FAILURE")
    asked = {
        "viewer": [("GET", "/api/v1/tasks"), ("GET", "/api/v1/audit"), ("GET", "/api/tasks")],
        "operator": [("POST", f"/api/v1/tasks/{job}/retry"), ("POST", "/api/v1/queues/mail/pause"),
                     ("POST", "/api/task/send-task/shop.mail"), ("POST", f"/api/task/revoke/{job}")],
        "admin": [("POST", "/api/v1/queues/mail/purge"), ("POST", f"/api/v1/tasks/{job}/delete"),
                  ("POST", "/api/worker/shutdown/nobody:0"), ("POST", "/api/v1/workers/nobody:0")],
    }
    order = ["viewer", "operator", "admin"]
    for name, (role, _) in PASSWORDS.items():
        for needed, requests_ in asked.items():
            for method, path in requests_:
                code = requests.request(method, guarded.dashboard.url + path, auth=auth(name), json={} if method == "POST"
                                        else None, timeout=30).status_code
                may = order.index(role) >= order.index(needed)
                assert (code not in (401, 403)) == may, f"{name} {method} {path}: {code}"
    refused = [row for row in audit(guarded) if row[3] == "refused"]
    assert ("vera", "refused", "/api/v1/queues/mail/pause", "refused") in refused
    post(guarded, "/api/v1/tasks", 403, {"action": "delete", "ids": [job]}, auth=auth("otto"))


def test_tokens_and_the_setting_of_old(guarded):
    headers = {"Authorization": f"Bearer {guarded.token}"}
    assert get(guarded, "/api/v1/me", headers=headers)["role"] == "operator"
    post(guarded, "/api/v1/queues/mail/pause", headers=headers)
    assert audit(guarded)[-1][0] == "robot"
    get(guarded, "/api/v1/me", 401, headers={"Authorization": f"Bearer {guarded.token}x"})
    assert get(guarded, "/api/v1/me", auth=("root", "of-all-of-it"))["role"] == "admin"
    get(guarded, "/api/v1/me", 401, auth=("robot", guarded.token))
    get(guarded, "/api/v1/me", 401)


def log_in(system, name, password, expect=200):
    return requests.post(system.dashboard.url + "/api/v1/login", json={"username": name, "password": password},
                         timeout=30), expect


def test_login_by_cookie_and_out_again(guarded):
    answer, _ = log_in(guarded, *auth("otto"))
    assert answer.status_code == 200 and answer.json()["role"] == "operator"
    cookie = answer.headers["Set-Cookie"]
    for word in ("__Host-till=", "Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
        assert word in cookie
    held = {"Cookie": cookie.split(";")[0]}
    assert get(guarded, "/api/v1/me", headers=held) == {
        "name": "otto", "role": "operator", "read_only": False, "logged_in": True}
    stored = guarded.query("SELECT * FROM dashboard_sessions")
    assert len(stored) == 1 and cookie.split("=")[1].split(";")[0] not in str(stored)
    guarded.dashboard.term_and_wait()
    guarded.start_dashboard(TILL_DASHBOARD_USERS=guarded.users)
    get(guarded, "/api/v1/me", headers=held)
    guarded.query("UPDATE dashboard_sessions SET expires_at = now()")
    get(guarded, "/api/v1/me", 401, headers=held)
    guarded.query("UPDATE dashboard_sessions SET expires_at = now() + interval '1 hour'")
    out = requests.post(guarded.dashboard.url + "/api/v1/logout", headers=held, timeout=60)
    assert out.status_code == 200 and "Max-Age=0" in out.headers["Set-Cookie"]
    get(guarded, "/api/v1/me", 401, headers=held)


def test_wrong_passwords_are_refused_and_then_made_to_wait(guarded):
    for name, password in (("otto", "wrong"), ("nobody", "wrong"), ("otto", ""), ("", ""), ("otto:x", "y")):
        assert log_in(guarded, name, password)[0].status_code == 401
    codes = [log_in(guarded, "vera", f"guess-{n}")[0].status_code for n in range(12)]
    assert codes[:10] == [401] * 10 and codes[10:] == [429, 429]
    assert log_in(guarded, *auth("vera"))[0].status_code == 429
    assert log_in(guarded, *auth("otto"))[0].status_code == 200
    for body in ("", "[]", '{"username": 7, "password": "x"}', '{"username": "otto"}'):
        answer = requests.post(guarded.dashboard.url + "/api/v1/login", data=body, timeout=60,
                               headers={"Content-Type": "application/json"})
        assert answer.status_code == 400


def at(address):
    """As the proxy of this machine passes it on."""
    return {"X-Forwarded-For": f"203.0.113.250, {address}"}


@pytest.mark.parametrize("has_users", (False, True))
def test_the_password_of_the_setting_is_guessed_ten_times_and_no_more(guarded, has_users):
    if not has_users:
        guarded.dashboard.term_and_wait()
        guarded.start_dashboard(TILL_DASHBOARD_AUTH="root:of-all-of-it")
    url = guarded.dashboard.url + "/api/v1/me"
    answers = [requests.get(url, auth=("root", f"guess-{n}"), timeout=60) for n in range(40)]
    codes = [answer.status_code for answer in answers]
    assert codes == [401] * 10 + [429] * 30 and 1 <= int(answers[-1].headers["Retry-After"]) <= 300
    assert requests.get(url, auth=("root", "of-all-of-it"), timeout=60).status_code == 429
    assert log_in(guarded, "root", "of-all-of-it")[0].status_code == 429
    assert requests.get(url, auth=("root", "of-all-of-it"), headers=at("198.51.100.2"), timeout=60).status_code == 200


def test_guessing_locks_nobody_out_at_another_address_and_needs_no_redis(guarded):
    guarded.dashboard.term_and_wait()
    guarded.start_dashboard(TILL_DASHBOARD_USERS=guarded.users, REDIS_URL="redis://127.0.0.1:1/0")
    url = guarded.dashboard.url + "/api/v1/login"

    def try_it(name, password, address):
        return requests.post(url, json={"username": name, "password": password}, headers=at(address), timeout=60).status_code

    assert [try_it("vera", "wrong", "198.51.100.1") for _ in range(12)] == [401] * 10 + [429] * 2
    assert try_it(*auth("vera"), "198.51.100.1") == 429
    assert try_it(*auth("vera"), "198.51.100.2") == 200
    names = [try_it(f"nobody-{n}", "x", "198.51.100.3") for n in range(22)]
    assert names == [401] * 20 + [429] * 2
    assert try_it(*auth("otto"), "198.51.100.3") == 429
    assert try_it(*auth("otto"), "198.51.100.2") == 200


def test_a_wrong_password_is_written_down_as_often_as_one_was_compared(guarded):
    for n in range(13):
        requests.post(guarded.dashboard.url + "/api/v1/login", json={"username": "vera", "password": f"x{n}"},
                      headers=at("198.51.100.1"), timeout=60)
    requests.get(guarded.dashboard.url + "/api/v1/me", auth=("mallory", "x"), headers=at("198.51.100.2"), timeout=60)
    found = guarded.query("SELECT actor, role, remote, action, outcome FROM audit ORDER BY id")
    assert [tuple(row.values()) for row in found] == [("vera", "none", "198.51.100.1", "login", "refused")] * 10 + [
        ("mallory", "none", "198.51.100.2", "login", "refused")]
    assert guarded.dashboard.find_log("login_refused", user="mallory", address="198.51.100.2")
    assert sum(line.get("event") == "login_refused" for line in guarded.dashboard.read_log()) == 11


def test_the_log_of_actions_tells_the_address_that_the_proxy_has_seen(guarded):
    for headers in ({}, at("198.51.100.7"), at("2001:db8::1")):
        post(guarded, "/api/v1/queues/mail/pause", auth=auth("otto"), headers=headers)
    assert [row["remote"] for row in guarded.query("SELECT remote FROM audit ORDER BY id")] == [
        "127.0.0.1", "198.51.100.7", "2001:0db8:0000:0000::/64"]


def test_pages_lead_to_the_login(guarded):
    for path in ("/", "/tasks", "/audit"):
        answer = requests.get(guarded.dashboard.url + path, headers={"Accept": "text/html"}, allow_redirects=False, timeout=60)
        assert answer.status_code == 303 and answer.headers["Location"].startswith("/login")
    assert requests.get(guarded.dashboard.url + "/login", timeout=60).status_code == 200
    answer = requests.get(guarded.dashboard.url + "/api/v1/tasks", timeout=60)
    assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_users_are_read_again_on_hup(guarded):
    get(guarded, "/api/v1/me", auth=auth("otto"))
    answer, _ = log_in(guarded, *auth("otto"))
    held = {"Cookie": answer.headers["Set-Cookie"].split(";")[0]}
    with open(guarded.users, encoding="utf-8") as file:
        rest = [text for text in file if not text.startswith("otto:")]
    with open(guarded.users, "w", encoding="utf-8") as file:
        file.writelines(rest)
    os.kill(guarded.dashboard.pid, signal.SIGHUP)
    wait_for(lambda: requests.get(guarded.dashboard.url + "/api/v1/me", auth=auth("otto"), timeout=60).status_code == 401, 10)
    get(guarded, "/api/v1/me", 401, headers=held)
    with open(guarded.users, "w", encoding="utf-8") as file:
        file.write("broken\n")
    os.kill(guarded.dashboard.pid, signal.SIGHUP)
    guarded.dashboard.wait_for_log("reload_failed")
    get(guarded, "/api/v1/me", auth=auth("anna"))


@pytest.mark.parametrize("text", ["", "anna\n", "anna:king:$argon2id$x\n", "anna:admin:plain\n", "anna:admin:$token$xyz\n"])
def test_a_bad_file_of_users_refuses_to_start(stack, test_folder, text):
    path = os.path.join(test_folder, "users")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    done = programs.run("till-dashboard", {**stack().settings, "TILL_DASHBOARD_USERS": path})
    assert done.returncode == 2 and "till dashboard user" in done.stderr and "plain" not in done.stderr
    done = programs.run("till-dashboard", {**stack().settings, "TILL_DASHBOARD_USERS": path + ".not"})
    assert done.returncode == 2 and "cannot read" in done.stderr


@pytest.mark.parametrize("prefix", ["till", "/till/", "/a b", "/a\"b", "//x", "/<script>"])
def test_a_bad_prefix_refuses_to_start(stack, prefix):
    done = programs.run("till-dashboard", {**stack().settings, "PATH_PREFIX": prefix})
    assert done.returncode == 2 and "PATH_PREFIX" in done.stderr


def test_prefix_is_served_with_and_without(stack):
    system = stack()
    system.start_dashboard(PATH_PREFIX="/jobs/till")
    job = rows.insert(system, "SUCCESS")
    for prefix in ("", "/jobs/till"):
        assert job in get(system, f"{prefix}/api/tasks")
        page = requests.get(f"{system.dashboard.url}{prefix}/tasks", timeout=60)
        assert page.status_code == 200 and 'href="/jobs/till/static/style.css"' in page.text
        assert 'src="/static' not in page.text and 'href="/static' not in page.text
    assert requests.get(f"{system.dashboard.url}/jobs/tillx/tasks", timeout=60).status_code == 404
    assert requests.get(f"{system.dashboard.url}/jobs/till", timeout=60).status_code == 200


# ---- figures of each minute ----


def test_minutes_count_what_workers_count(stack):
    """Two looks of the scheduler: what was added between them, and nothing twice after a change of leader."""
    system = stack().start(apis=0, workers=1, schedulers=1, dashboards=1)
    for _ in range(7):
        system.enqueue("till.tasks.noop")
    for _ in range(5):
        system.enqueue_fast("till.tasks.noop")

    def counted():
        return sum(point["succeeded"] for point in get(system, "/api/v1/charts")["points"])

    wait_for(lambda: counted() == 12, 45)
    system.scheduler.term_and_wait()
    system.start_scheduler()
    system.enqueue("till.tasks.noop")
    wait_for(lambda: counted() == 13, 45)
    for name in ("hour", "day", "week"):
        assert sum(point["succeeded"] for point in get(system, f"/api/v1/charts?range={name}")["points"]) == 13
    get(system, "/api/v1/charts?range=year", 400)

    def ended(queue):
        return sum(point["ended"] for point in get(system, f"/api/v1/charts?queue={queue}")["points"])

    wait_for(lambda: ended("default") == 13, 45)
    assert ended("mail") == 0 and ended("") == 13


def test_schedules_run_now_pause_resume(stack):
    system = stack()
    path = os.path.join(system.folder, "schedules.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write("[nightly.sweep]\ncron = 30 7 * * 1-5\ntask = till.tasks.noop\n")
    system.settings["TILL_SCHEDULES_FILE"] = path
    system.start_scheduler()
    system.start_dashboard()
    (one,) = wait_for(  # first it is known, then its next tick
        lambda: [found for found in get(system, "/api/v1/schedules")["schedules"] if found["next_at"]], 20)
    assert one["name"] == "nightly.sweep" and "07:30" in one["words"] and one["last_job"] is None
    assert post(system, "/api/v1/schedules/nightly.sweep/pause")["changed"] is True
    (one,) = get(system, "/api/v1/schedules")["schedules"]
    assert one["paused_by"] == "local" and one["paused_at"]
    post(system, "/api/v1/schedules/nightly.sweep/resume")
    made = post(system, "/api/v1/schedules/nightly.sweep/run", 201)["id"]
    assert system.job(made)["task"] == "till.tasks.noop"
    shown = get(system, "/api/v1/schedules/nightly.sweep")
    assert shown["runs"][0]["job"] == made and shown["runs"][0]["by_hand"] is True
    for verb in ("pause", "resume", "run"):
        post(system, f"/api/v1/schedules/nobody/{verb}", 404)
    get(system, "/api/v1/schedules/nobody", 404)
    assert [action for _, action, _, outcome in audit(system) if outcome == "done"] == [
        "schedule.pause", "schedule.resume", "schedule.run"]


def test_lines_and_progress_of_a_task(system):
    job = rows.insert(system, "STARTED")
    system.query("INSERT INTO job_logs (job_id, attempt, at, level, line) SELECT %s, 1, now(), 1 + n %% 3,"
                 " 'line ' || n || ' password=hunter2' FROM generate_series(1, 5) n", job)
    system.query("INSERT INTO job_progress VALUES (%s, 1, 3, 10, 'reading', now())", job)
    lines = get(system, f"/api/v1/tasks/{job}/logs")["lines"]
    assert [line["text"][:6] for line in lines] == [f"line {n}" for n in range(1, 6)]
    assert "hunter2" not in json.dumps(lines) and lines[0]["level"] == "warning"
    rest = get(system, f"/api/v1/tasks/{job}/logs?after={lines[2]['number']}")["lines"]
    assert rest == lines[3:]
    assert get(system, f"/api/v1/tasks/{job}")["progress"]["done"] == 3


def test_flows_are_shown_and_cancelled(system):
    assert get(system, "/api/v1/flows") == {"flows": [], "next": None}
    flow = json.dumps({"chain": [{"task": "till.tasks.noop"}, {"task": "till.tasks.noop"}]})
    done = system.till("flow", "run", "-", "--name", "two steps", stdin=flow)
    assert done.returncode == 0, done.stderr
    (one,) = get(system, "/api/v1/flows")["flows"]
    assert one["name"] == "two steps" and one["total"] == 2 and one["state"] == "PENDING"
    shown = get(system, f"/api/v1/flows/{one['id']}")
    assert [member["task"] for member in shown["members"]] == ["till.tasks.noop"] * 2 and shown["members"][1]["waits"]
    assert post(system, f"/api/v1/flows/{one['id']}/cancel")["more"] is False
    assert get(system, f"/api/v1/flows/{one['id']}")["flow"]["state"] == "REVOKED"
    post(system, f"/api/v1/flows/{one['id']}/cancel", 409)
    get(system, f"/api/v1/flows/{uuid.uuid4()}", 404)
    post(system, f"/api/v1/flows/{uuid.uuid4()}/cancel", 404)


def test_a_flow_is_shown_as_till_shows_it(system):
    flow = json.dumps({"chain": [{"task": "till.tasks.noop"}, {"task": "till.tasks.noop"}]})
    done = system.till("flow", "run", "-", "--name", "password=hunter2", stdin=flow)
    assert done.returncode == 0, done.stderr
    (one,) = get(system, "/api/v1/flows")["flows"]
    shown = get(system, f"/api/v1/flows/{one['id']}")
    told = json.loads(system.till("flow", "show", one["id"], "--json").stdout)
    members = {name: told.pop(name) for name in ("members", "next")}
    assert shown["flow"] == one == told and one["name"] == "password=[redacted]"
    assert shown["members"] == members["members"] and shown["members"][0]["from"] is None


def test_a_flows_members_are_given_by_state_and_after_a_step(system):
    flow = json.dumps({"chain": [{"task": "till.tasks.noop"}] * 3})
    done = system.till("flow", "run", "-", stdin=flow)
    assert done.returncode == 0, done.stderr
    path = f"/api/v1/flows/{done.stdout.strip()}"
    steps = [member["step"] for member in get(system, path)["members"]]

    assert [member["step"] for member in get(system, f"{path}?state=PENDING&after={steps[0]}")["members"]] == steps[1:]
    assert get(system, f"{path}?state=SUCCESS")["members"] == []
    assert "there is no state" in get(system, f"{path}?state=DONE", 400)["detail"]
    assert get(system, f"{path}?after=first", 400)["detail"] == "after is a number"

# SPDX-License-Identifier: MIT
"""The dashboard's HTTP side: shapes, filters, pages, the feed, who may look, what is hidden, and
that it tells the truth after any restart."""

import base64
import json
import time

import psycopg2.extras
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


def fetch(system, path, expect=200, **options):
    answer = requests.get(system.dashboard.url + path, timeout=20, **options)
    assert answer.status_code == expect, f"{path}: {answer.status_code} {answer.text}"
    return answer


def read(system, path, expect=200, **parameters):
    return fetch(system, path, expect, params=parameters).json()


def ids_of(answer):
    return [task["id"] for task in answer["tasks"]]


# ---- lists ----


def test_list_shows_every_state_newest_first(system):
    made = rows.insert_every_state(system)
    answer = read(system, "/api/v1/tasks")
    assert ids_of(answer) == list(reversed(made.values()))
    assert answer["ids"] == ids_of(answer)
    assert answer["next"] is None and answer["is_cut"] is False
    waiting = answer["tasks"][-1]
    assert waiting["state"] == "PENDING" and waiting["started_at"] is None
    success = next(task for task in answer["tasks"] if task["state"] == "SUCCESS")
    assert success["result"] == {"ok": True}
    assert success["runtime"] == pytest.approx(0.25)
    assert success["args"] == [] and success["kwargs"] == {}


def test_scheduled_jobs_are_visible(system):
    later = rows.insert(system, "PENDING", enqueued_at=None, scheduled_at="2126-01-01T00:00:00Z")
    (task,) = read(system, "/api/v1/tasks", state="PENDING")["tasks"]
    assert task["id"] == later and task["enqueued_at"] is None
    assert task["scheduled_at"].startswith("2126-01-01")


def test_filters_alone_and_together(system):
    made = rows.insert_every_state(system)
    mail = rows.insert(system, "FAILURE", task="shop.mail", queue="mail", worker="other:1")
    for state, job in made.items():
        expected = {job, mail} if state == "FAILURE" else {job}
        assert set(ids_of(read(system, "/api/v1/tasks", state=state))) == expected
    assert ids_of(read(system, "/api/v1/tasks", task="shop.mail")) == [mail]
    assert ids_of(read(system, "/api/v1/tasks", queue="mail")) == [mail]
    assert ids_of(read(system, "/api/v1/tasks", worker="other:1")) == [mail]
    assert ids_of(read(system, "/api/v1/tasks", worker="other:1", state="SUCCESS")) == []
    assert ids_of(read(system, "/api/v1/tasks", task="shop.mail", state="FAILURE")) == [mail]
    assert ids_of(read(system, "/api/v1/tasks", order="oldest"))[0] == made["PENDING"]


@pytest.mark.parametrize("part", [slice(0, 36), slice(0, 13), slice(20, 36), slice(24, 30)])
def test_text_finds_any_part_of_an_id(system, part):
    rows.insert_every_state(system)
    wanted = rows.insert(system, "SUCCESS", age=1)
    found = ids_of(read(system, "/api/v1/tasks", text=wanted[part].upper()))
    assert wanted in found
    assert all(wanted[part] in one for one in found)


@pytest.mark.parametrize("filters", [{}, {"state": "SUCCESS"}, {"task": "till.tasks.noop"}, {"order": "oldest"}])
def test_pages_cover_all_jobs_once(system, filters):
    made = [rows.insert(system, "SUCCESS", age=i) for i in range(47)]
    seen, cursor = [], None
    for _ in range(10):
        page = read(system, "/api/v1/tasks", limit=10, cursor=cursor, **filters)
        seen += ids_of(page)
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == (made[::-1] if filters.get("order") == "oldest" else made)


def test_rare_filter_over_many_jobs_is_cut_and_goes_on(system):
    """Of 30,000 jobs the oldest is wanted: the first answer says that it has not seen all."""
    wanted = rows.insert(system, "SUCCESS", age=1000, queue="rare")
    system.query(
        "INSERT INTO jobs (id, task, state, attempt, finished_at)"
        " SELECT new_job_id(), 'till.tasks.noop', 'SUCCESS', 1, now() FROM generate_series(1, 30000)"
    )
    first = read(system, "/api/v1/tasks", queue="rare")
    assert first["tasks"] == [] and first["is_cut"] is True and first["next"]
    second = read(system, "/api/v1/tasks", queue="rare", cursor=first["next"])
    assert ids_of(second) == [wanted] and second["is_cut"] is False


@pytest.mark.parametrize(
    "parameters",
    [{"limit": "0"}, {"limit": "1000000"}, {"limit": "x"}, {"state": "LOST"}, {"cursor": "1 OR 1=1"},
     {"order": "random"}, {"text": "a" * 400}],
)
def test_nonsense_is_refused(system, parameters):
    answer = read(system, "/api/v1/tasks", 400, **parameters)
    assert answer["detail"]


def test_quotes_and_percents_in_filters_find_nothing(system):
    rows.insert_every_state(system)
    for text in ("' OR 1=1 --", "%", "_", "\\", "$1"):
        assert read(system, "/api/v1/tasks", task=text)["tasks"] == []
        assert read(system, "/api/v1/tasks", text=text)["tasks"] == []


# ---- the feed ----


@pytest.mark.parametrize("since", ["x", "2026-11-21T19:19:16Z", "0123456789a", "0123456789AB"])
def test_feed_refuses_a_since_that_no_answer_gave(system, since):
    assert "from=" in read(system, "/api/v1/tasks", 400, since=since)["detail"]


def test_feed_of_an_empty_list_can_be_asked_again(system):
    assert read(system, "/api/v1/tasks")["since"] == ""
    for nothing in ("", "-"):
        assert read(system, "/api/v1/tasks", since=nothing)["ids"] == []


def test_feed_gives_only_what_changed(system):
    made = rows.insert_every_state(system)
    first = read(system, "/api/v1/tasks")
    again = read(system, "/api/v1/tasks", since=first["since"])
    assert again["tasks"] == [] and again["ids"] == first["ids"]
    assert again["since"] == first["since"]

    system.query(
        "UPDATE jobs SET state = 'SUCCESS', finished_at = now(), result = '1' WHERE id = %s",
        made["STARTED"],
    )
    new = rows.insert(system, "PENDING")
    changed = read(system, "/api/v1/tasks", since=first["since"])
    assert set(ids_of(changed)) == {new, made["STARTED"]}
    assert changed["ids"] == [new, *first["ids"]]


def test_feed_drops_what_no_longer_fits_the_filter(system):
    job = rows.insert(system, "STARTED")
    first = read(system, "/api/v1/tasks", state="STARTED")
    assert first["ids"] == [job]
    system.query("UPDATE jobs SET state = 'SUCCESS', finished_at = now() WHERE id = %s", job)
    assert read(system, "/api/v1/tasks", state="STARTED", since=first["since"])["ids"] == []


def test_feed_survives_a_restart_of_the_dashboard(system):
    rows.insert_every_state(system)
    first = read(system, "/api/v1/tasks")
    system.dashboard.term_and_wait()
    system.start_dashboard()
    again = read(system, "/api/v1/tasks", since=first["since"])
    assert again["tasks"] == [] and again["ids"] == first["ids"]


# ---- one task ----


def test_task_with_every_attempt(system):
    job = rows.insert(system, "FAILURE", attempt=3, max_attempts=3, args=["a", 1], kwargs={"k": [True]})
    for attempt in (1, 2, 3):
        rows.insert_failure(system, job, attempt, f"error {attempt}", f"line\nof {attempt}")
    task = read(system, f"/api/v1/tasks/{job}")
    assert task["args"] == ["a", 1] and task["kwargs"] == {"k": [True]}
    assert [one["attempt"] for one in task["attempts"]] == [1, 2, 3]
    assert [one["error"] for one in task["attempts"]] == ["error 1", "error 2", "error 3"]
    assert task["attempts"][2]["detail"] == "line\nof 3"
    assert {one["outcome"] for one in task["attempts"]} == {"failed"}


def test_timeline_ends_with_what_is_going_on(system):
    running = rows.insert(system, "STARTED", attempt=2)
    rows.insert_failure(system, running, 1, "first")
    attempts = read(system, f"/api/v1/tasks/{running}")["attempts"]
    assert [one["outcome"] for one in attempts] == ["failed", "running"]
    done = rows.insert(system, "SUCCESS")
    assert [one["outcome"] for one in read(system, f"/api/v1/tasks/{done}")["attempts"]] == ["succeeded"]


def test_large_args_are_left_out_of_lists_and_shown_in_the_task(system):
    job = rows.insert(system, "SUCCESS", args=["x" * 100_000])
    (listed,) = read(system, "/api/v1/tasks")["tasks"]
    assert listed["args"] is None and listed["args_bytes"] == 100_004
    assert read(system, f"/api/v1/tasks/{job}")["args"] == ["x" * 100_000]
    (flower,) = read(system, "/api/tasks").values()
    assert flower["args"] == "... (100004 bytes)"


@pytest.mark.parametrize("name", ["00000000-0000-7000-8000-000000000000", "x", "..%2f..", "1;drop"])
def test_unknown_task_is_not_found(system, name):
    fetch(system, f"/api/v1/tasks/{name}", 404)
    fetch(system, f"/api/task/info/{name}", 404)


def test_what_a_task_waits_for_is_told_in_lists_too(system):
    later = {"enqueued_at": None, "scheduled_at": "2126-01-01T00:00:00Z"}
    made = {"limit": rows.insert(system, "PENDING", limit_key="tenant:7", parked_on="key:tenant:7", **later),
            "time": rows.insert(system, "PENDING", **later), "worker": rows.insert(system, "PENDING"),
            "over": rows.insert(system, "SUCCESS", limit_key="password=s3cret")}
    listed = {task["id"]: (task["held_by"], task["limit_key"]) for task in read(system, "/api/v1/tasks")["tasks"]}
    wanted = {"limit": ("limit", "tenant:7"), "time": (None, None), "worker": (None, None), "over": (None, "password=[redacted]")}
    assert listed == {made[name]: told for name, told in wanted.items()}
    for name, told in wanted.items():
        task = read(system, f"/api/v1/tasks/{made[name]}")
        assert (task["held_by"], task["limit_key"]) == told
    # The scope "key" does not make a secret of the name.
    assert read(system, f"/api/v1/tasks/{made['limit']}")["parked_on"] == "key:tenant:7"
    assert "key:tenant:7" in system.till("task", "show", made["limit"]).stdout


# ---- sums, queues, workers ----


def test_queues_tell_how_many_workers_take_work_from_them(system):
    for name, state in (("a", "running"), ("b", "running"), ("c", "quiet")):
        rows.report_worker(system, name, state=state, queues=["mail"])
    for queue in ("mail", "unread"):
        rows.insert(system, "PENDING", queue=queue)
    told = {queue["name"]: queue["consumers"] for queue in read(system, "/api/v1/queues")["queues"]}
    assert told == {"mail": 2, "unread": 0}


def test_a_queue_of_fast_jobs_alone_is_told_wherever_queues_are(system):
    """PostgreSQL knows nothing of it; workers say that they read it."""
    rows.report_worker(system, "a", state="running", queues=["quick", "<b>no name</b>", 7])
    rows.report_worker(system, "gone", state="running", queues=["past"])
    system.redis.delete("till:worker:gone")
    long_ago = int(time.time() - 500) * 1000
    for n in range(3):
        system.redis.xadd("till:{quick}:normal", {"task": "till.tasks.noop"}, id=f"{long_ago}-{n + 1}")

    (told,) = read(system, "/api/v1/queues")["queues"]
    assert (told["name"], told["depth"], told["consumers"], told["limit"]) == ("quick", 3, 1, None)
    assert told["waiting"] == {"count": 0, "is_exact": True}
    (listed,) = [json.loads(line) for line in system.till("queue", "list", "--json").stdout.splitlines()]
    assert (listed["queue"], listed["waiting"]) == ("quick", 3)
    assert 495 < listed["oldest_seconds"] < 600


def test_sums_of_many_say_that_there_are_more(system):
    system.query(
        "INSERT INTO jobs (task, queue, enqueued_at, scheduled_at) SELECT 'shop.mail', 'mail',"
        " CASE WHEN n > 10001 THEN now() END, now() + CASE WHEN n > 10001 THEN interval '0' ELSE interval '1 day' END"
        " FROM generate_series(1, 20001) n")
    more, exact = {"count": 10000, "is_exact": False}, {"count": 10000, "is_exact": True}
    assert read(system, "/api/v1/summary")["states"]["PENDING"] == more
    (mail,) = [queue for queue in read(system, "/api/v1/queues")["queues"] if queue["name"] == "mail"]
    assert mail["waiting"] == exact and not mail["scheduled"]["is_exact"]
    system.query("INSERT INTO jobs (task, queue, enqueued_at) VALUES ('shop.mail', 'mail', now())")
    (mail,) = [queue for queue in read(system, "/api/v1/queues")["queues"] if queue["name"] == "mail"]
    assert mail["waiting"] == more


def test_summary_is_exact_for_few(system):
    rows.insert_every_state(system)
    rows.insert(system, "SUCCESS")
    summary = read(system, "/api/v1/summary")
    assert summary["total"] == {"count": 7, "is_exact": True}
    counts = {state: one["count"] for state, one in summary["states"].items()}
    assert counts == {**dict.fromkeys(rows.STATES, 1), "SUCCESS": 2}


def test_queues_tell_depth_age_and_dead(system):
    system.redis.xgroup_create("till:{mail}:high", "till", id="0", mkstream=True)
    for number in range(3):
        system.redis.xadd("till:{mail}:high", {"job": str(number)})
    system.redis.xreadgroup("till", "c", {"till:{mail}:high": ">"}, count=1)
    rows.insert(system, "PENDING", queue="mail", age=500)
    rows.insert(system, "RETRY", queue="mail")
    rows.insert(system, "STARTED", queue="mail")
    rows.insert(system, "FAILURE", queue="mail")
    answer = read(system, "/api/v1/queues")
    assert answer["redis"] is True
    (mail,) = [queue for queue in answer["queues"] if queue["name"] == "mail"]
    assert (mail["depth"], mail["pending"]) == (2, 1)
    assert mail["streams"]["high"]["depth"] == 2 and mail["streams"]["low"]["depth"] == 0
    for name in ("waiting", "scheduled", "started", "dead"):
        assert mail[name] == {"count": 1, "is_exact": True}, name
    age = time.time() - time.mktime(time.strptime(mail["oldest_at"][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone
    assert 495 < age < 600
    assert {"name": "mail", "messages": 2} in read(system, "/api/queues/length")["active_queues"]


REPORT = {
    "host": "h", "pid": 42, "started_at": "2026-01-01T00:00:00Z", "version": "1", "queues": ["mail"],
    "concurrency": 8, "busy": 1, "processed": 10, "succeeded": 7, "failed": 1, "retried": 2,
    "rss_bytes": 1000, "beat_at": "2026-01-01T00:00:01Z", "state": "running",
    "jobs": [{"id": "a", "task": "t", "started_at": "2026-01-01T00:00:00Z"}],
}


def test_workers_come_from_heartbeats_and_started_jobs(system):
    rows.report_worker(system, "h:0", **REPORT)
    rows.report_worker(system, "h:1", **REPORT)
    system.redis.delete("till:worker:h:1")
    rows.insert(system, "STARTED", worker="h:0")
    rows.insert(system, "STARTED", worker="unheard:7")
    workers = {one["name"]: one for one in read(system, "/api/v1/workers")["workers"]}
    assert workers["h:0"]["is_alive"] is True and workers["h:0"]["started_jobs"] == 1
    assert workers["h:0"]["processed"] == 10
    assert workers["h:1"]["is_alive"] is False
    assert workers["unheard:7"]["is_alive"] is None and workers["unheard:7"]["started_jobs"] == 1
    assert read(system, "/api/v1/workers/h:0")["worker"]["pid"] == 42
    fetch(system, "/api/v1/workers/nobody", 404)


def test_broken_reports_do_no_harm(system):
    rows.report_worker(system, "h:0")
    system.redis.set("till:worker:h:0:report", "{broken")
    rows.report_worker(system, "h:1")
    system.redis.set("till:worker:h:1:report", "[1]")
    rows.report_worker(system, "h:2", queues="x", jobs={"a": 1}, busy="many", name="h:9")
    assert [one["name"] for one in read(system, "/api/v1/workers")["workers"]] == ["h:0", "h:1", "h:2"]
    assert set(read(system, "/api/workers")) == {"h:0", "h:1", "h:2"}


# ---- Flower's API ----


def test_flower_tasks_have_its_shape(system):
    made = rows.insert_every_state(system)
    tasks = read(system, "/api/tasks")
    assert set(tasks) == set(made.values())
    for state, job in made.items():
        task = tasks[job]
        assert task["uuid"] == job and task["name"] == "till.tasks.noop" and task["state"] == state
        assert task["args"] == "[]" and task["kwargs"] == "{}"
        assert time.time() - 120 < task["received"] < time.time() + 5
        assert task["retries"] == 0
    done, dead = tasks[made["SUCCESS"]], tasks[made["FAILURE"]]
    assert done["result"] == '{"ok":true}' and done["runtime"] == pytest.approx(0.25)
    assert done["succeeded"] - done["started"] == pytest.approx(0.25, abs=0.001)
    assert done["failed"] is None and done["exception"] is None
    assert dead["failed"] and dead["exception"] == "the gateway answered 503"
    assert tasks[made["REVOKED"]]["revoked"]
    assert tasks[made["RETRY"]]["eta"]
    for name in ("sent", "rejected", "retried", "expires", "worker", "timestamp", "traceback",
                 "exchange", "routing_key", "clock", "client", "root", "root_id", "parent",
                 "parent_id", "children"):
        assert name in done


def test_flower_tasks_are_filtered_and_paged(system):
    jobs = [rows.insert(system, "SUCCESS", age=i * 120) for i in range(5)]
    other = rows.insert(system, "FAILURE", task="a.first", worker="w:1", age=1000)
    assert list(read(system, "/api/tasks", limit=2)) == jobs[:2]
    assert list(read(system, "/api/tasks", limit=2, offset=2)) == jobs[2:4]
    assert list(read(system, "/api/tasks", state="FAILURE")) == [other]
    assert list(read(system, "/api/tasks", taskname="a.first")) == [other]
    assert list(read(system, "/api/tasks", workername="w:1")) == [other]
    assert list(read(system, "/api/tasks", state="RECEIVED")) == []
    assert list(read(system, "/api/tasks", search=other)) == [other]
    assert next(iter(read(system, "/api/tasks", sort_by="name"))) == other
    assert list(read(system, "/api/tasks", sort_by="-name"))[-1] == other
    assert next(iter(read(system, "/api/tasks", sort_by="received"))) == other
    assert list(read(system, "/api/tasks", sort_by="-started"))[:5] == jobs
    assert next(iter(read(system, "/api/tasks", sort_by="state"))) == other
    end = time.strftime("%Y-%m-%d %H:%M", time.gmtime(time.time() - 700))
    assert list(read(system, "/api/tasks", received_end=end)) == [other]
    assert set(read(system, "/api/tasks", received_start=end)) == set(jobs)


@pytest.mark.parametrize(
    "parameters",
    [{"sort_by": "color"}, {"limit": "x"}, {"offset": "x"}, {"offset": "99999999"},
     {"received_start": "yesterday"}, {"received_end": "2026-13-01 00:00"}],
)
def test_flower_refuses_bad_options(system, parameters):
    answer = requests.get(system.dashboard.url + "/api/tasks", params=parameters, timeout=30)
    assert answer.status_code == 400 and answer.headers["Content-Type"].startswith("text/plain")
    assert next(iter(parameters)) in answer.text or next(iter(parameters.values())) in answer.text


def test_flower_info_types_workers_and_health(system):
    job = rows.insert(system, "FAILURE", attempt=2)
    rows.insert_failure(system, job, 2, "e", "the detail")
    info = read(system, f"/api/task/info/{job}")
    assert info["uuid"] == job and info["traceback"] == "the detail" and info["retries"] == 1
    assert read(system, "/api/task/types") == {"task-types": ["till.tasks.noop"]}
    rows.report_worker(system, "h:0", **REPORT)
    worker = read(system, "/api/workers")["h:0"]
    (active,) = worker["active"]
    assert active.items() >= {"id": "a", "name": "t", "hostname": "h:0", "time_start": 1767225600.0,
                              "worker_pid": 42, "acknowledged": False}.items()
    assert worker["timestamp"] == 1767225601.0 and worker["registered"] == []
    assert worker["active_queues"][0]["name"] == "mail"
    assert worker["stats"]["pool"]["max-concurrency"] == 8 and worker["stats"]["pid"] == 42
    assert read(system, "/api/workers", status="true") == {"h:0": True}
    assert list(read(system, "/api/workers", workername="h:0")) == ["h:0"]
    fetch(system, "/api/workers?workername=nobody", 404)
    assert fetch(system, "/healthcheck").text == "OK"


# ---- secrets ----

SECRETS = ["hunter2-secret", "4242424242424242", "4242 4242 4242 4242", "pm_card_visa_x", "sk_test_9Zq"]


def test_secrets_are_redacted_everywhere(system):
    job = rows.insert(
        system, "FAILURE",
        args=[{"password": "hunter2-secret"}, 4242424242424242, "4242 4242 4242 4242"],
        kwargs={"payment_token": "pm_card_visa_x", "deep": [{"apiKey": "hunter2-secret"}], "monkey": "seen"},
        result=psycopg2.extras.Json({"Authorization": "hunter2-secret", "number": "4242424242424242"}),
        error="POST failed: Authorization: Bearer hunter2-secret, card 4242 4242 4242 4242, sk_test_9Zq",
        payload=b'{"token": "hunter2-secret"}',
    )
    rows.insert_failure(system, job, 1, "password=hunter2-secret", '{"secret": "hunter2-secret"}')
    for path in ("/api/v1/tasks", f"/api/v1/tasks/{job}", "/api/tasks", f"/api/task/info/{job}"):
        text = fetch(system, path).text
        assert "[redacted]" in text
        for secret in SECRETS:
            assert secret not in text, f"{secret} in {path}"
    assert read(system, f"/api/v1/tasks/{job}")["kwargs"]["monkey"] == "seen"


# ---- hostile texts, headers ----


def test_hostile_texts_are_served_as_json_only(system):
    jobs = rows.insert_hostile(system)
    for path in ("/api/v1/tasks", f"/api/v1/tasks/{jobs[0]}", "/api/tasks", "/api/v1/workers"):
        answer = fetch(system, path)
        assert answer.headers["Content-Type"].startswith("application/json")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    shown = {task["error"] for task in read(system, "/api/v1/tasks")["tasks"]}
    assert rows.XSS[0] in shown
    for path in (f"/task/{rows.XSS[0]}", f"/worker/{rows.XSS[1]}", f"/tasks?text={rows.XSS[2]}"):
        page = requests.get(system.dashboard.url + path, timeout=60)
        assert "__xss" not in page.text


PAGES = ["/", "/workers", "/worker/h:0", "/tasks", "/task/x", "/queues"]


def test_every_answer_carries_the_secure_headers(system):
    paths = [*PAGES, "/api/v1/tasks", "/api/tasks", "/healthcheck", "/healthz", "/nowhere",
             "/static/app.js", "/static/none.js", "/api/v1/tasks?limit=x"]
    for path in paths:
        headers = requests.get(system.dashboard.url + path, timeout=60).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy, path
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Server" not in headers and "Access-Control-Allow-Origin" not in headers
        kept = path in PAGES or path == "/static/app.js"
        assert headers["Cache-Control"] == ("no-cache" if kept else "no-store"), path


def test_pages_and_files(system):
    for path in PAGES:
        page = fetch(system, path)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "<script>" not in page.text and "style=" not in page.text
        assert "http://" not in page.text and "https://" not in page.text
    script = fetch(system, "/static/app.js")
    assert script.headers["Content-Type"].startswith("text/javascript")
    tag = script.headers["ETag"]
    assert fetch(system, "/static/app.js", 304, headers={"If-None-Match": tag}).text == ""
    for path in ("/static/../main.c", "/static/%2e%2e%2fmain.c", "/static/", "/tasksx", "/Tasks"):
        assert requests.get(system.dashboard.url + path, timeout=60).status_code == 404, path


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(system, method):
    for path in ("/api/v1/summary", "/tasks", "/api/tasks"):
        answer = requests.request(method, system.dashboard.url + path, timeout=60)
        assert answer.status_code == 405 and "GET" in answer.headers["Allow"]


# ---- who may look ----


def basic(text):
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_password_is_asked_for_and_compared(stack):
    system = stack()
    system.start_dashboard(TILL_DASHBOARD_AUTH="ops:päss:word")
    for headers in ({}, basic("ops:wrong"), basic("ops:päss:word "), basic(""), basic("ops"),
                    {"Authorization": "Basic ???"}, {"Authorization": "Bearer x"},
                    {"Authorization": "Basic " + "A" * 4000}):
        for path in ("/", "/tasks", "/api/v1/tasks", "/api/tasks", "/api/workers"):
            answer = fetch(system, path, 401, headers=headers)
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    # Ten were wrong here, so the right one comes from elsewhere (test_dashboard_actions.py has the count).
    right = {**basic("ops:päss:word"), "X-Forwarded-For": "198.51.100.2"}
    assert fetch(system, "/api/v1/tasks", headers=right).json()["tasks"] == []
    for path in ("/healthcheck", "/healthz", "/readyz", "/static/app.js"):
        fetch(system, path)
    assert "päss" not in json.dumps(system.logs())


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "5555", "192.0.2.1:0", "127.0.0.1:0,0.0.0.0:0"])
def test_refuses_to_be_open_to_others(stack, listen):
    done = programs.run("till-dashboard", {**stack().settings, "TILL_DASHBOARD_LISTEN": listen})
    assert done.returncode == 2
    assert "TILL_DASHBOARD_AUTH" in done.stderr


@pytest.mark.parametrize("auth", ["nocolon", ":password", "user:"])
def test_refuses_half_a_credential(stack, auth):
    done = programs.run("till-dashboard", {**stack().settings, "TILL_DASHBOARD_AUTH": auth})
    assert done.returncode == 2
    assert "user:password" in done.stderr and "nocolon" not in done.stderr


def test_other_host_names_are_refused_without_a_password(system):
    """A web page that lets its name point to 127.0.0.1 must not read the dashboard."""
    for host in ("evil.example", "evil.example:5555", "127.0.0.1.evil.example", "localhost.evil.example"):
        fetch(system, "/api/v1/tasks", 403, headers={"Host": host})
    for host in ("localhost:5555", "127.0.0.1", "LOCALHOST"):
        fetch(system, "/api/v1/tasks", headers={"Host": host})


# ---- faults ----


def test_redis_away_is_told_and_the_rest_is_shown(stack):
    system = stack(own_redis=True)
    system.start_dashboard()
    rows.insert(system, "PENDING", queue="mail")
    rows.insert(system, "STARTED", worker="h:3")
    assert read(system, "/api/v1/queues")["redis"] is True
    system.redis_server.kill()
    answer = read(system, "/api/v1/queues")
    assert answer["redis"] is False
    mail = next(queue for queue in answer["queues"] if queue["name"] == "mail")
    assert mail["depth"] is None and mail["waiting"]["count"] == 1
    workers = read(system, "/api/v1/workers")
    assert workers["redis"] is False and workers["workers"][0]["name"] == "h:3"
    assert len(read(system, "/api/v1/tasks")["tasks"]) == 2
    fetch(system, "/readyz")
    system.redis_server.start()
    wait_for(lambda: read(system, "/api/v1/queues")["redis"], 15)


def test_who_is_logged_in_reads_that_the_database_is_away(stack):
    system = stack(own_postgres=True)
    system.start_dashboard(TILL_DASHBOARD_AUTH="ops:long enough")
    session = {"Cookie": "__Host-till=" + "a" * 43}
    fetch(system, "/api/v1/tasks", 401, headers=session)
    system.postgres.stop("immediate")
    assert "the database" in fetch(system, "/api/v1/tasks", 503, headers=session).json()["detail"]


def test_postgres_away_is_503_and_recovers(stack):
    system = stack(own_postgres=True)
    system.start_dashboard()
    job = rows.insert(system, "SUCCESS")
    assert ids_of(read(system, "/api/v1/tasks")) == [job]
    system.postgres.stop("immediate")
    detail = read(system, "/api/v1/tasks", 503)["detail"]
    assert "the database" in detail and str(system.postgres.sockets) not in detail, detail
    fetch(system, "/readyz", 503)
    fetch(system, "/healthz")
    fetch(system, "/tasks")
    system.postgres.start()

    def again():
        answer = requests.get(system.dashboard.url + "/api/v1/tasks", timeout=20)
        return answer.status_code == 200 and ids_of(answer.json()) == [job]

    wait_for(again, 20)


def test_term_ends_it_cleanly(system):
    fetch(system, "/tasks")
    system.dashboard.term_and_wait()


# ---- with the real worker ----


def test_real_worker_and_its_job_are_shown(stack):
    system = stack().start(apis=0, dashboards=1)
    job = system.enqueue("till.tasks.noop")
    system.wait_job(job)

    def settled():
        workers = read(system, "/api/v1/workers")["workers"]
        return sum(one.get("succeeded", 0) for one in workers) >= 1 and workers

    workers = wait_for(settled, 15)
    assert {one["is_alive"] for one in workers} == {True}
    for one in workers:
        assert one["pid"] and one["rss_bytes"] > 0 and one["concurrency"] == 4, one
        assert one["state"] == "running" and "default" in one["queues"], one
    task = read(system, f"/api/v1/tasks/{job}")
    assert task["state"] == "SUCCESS" and task["worker"] in {one["name"] for one in workers}
    assert [one["outcome"] for one in task["attempts"]] == ["succeeded"]
    assert read(system, f"/api/task/info/{job}")["runtime"] >= 0
    assert "till.tasks.noop" in read(system, "/api/task/types")["task-types"]


def test_real_running_job_is_active(stack):
    system = stack().start(apis=0, dashboards=1)
    job = system.enqueue("till.tasks.sleep", 20)
    system.wait_job(job, "STARTED")

    def active():
        workers = read(system, "/api/workers").values()
        return [one for worker in workers for one in worker["active"] if one["id"] == job]

    (one,) = wait_for(active, 15)
    assert one["name"] == "till.tasks.sleep" and one["worker_pid"]
    (listed,) = read(system, "/api/v1/tasks", state="STARTED")["tasks"]
    assert listed["id"] == job
    for worker in system.named("till-worker"):
        worker.kill()

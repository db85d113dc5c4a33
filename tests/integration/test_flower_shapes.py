# SPDX-License-Identifier: MIT
"""Shapes, codes and words of Flower 2.1 and of what Celery's workers tell it, path by path: what a script
that was written for them reads."""

import time
from datetime import datetime

import pytest
import requests
from browser import rows

REPORT = {
    "host": "h", "pid": 42, "started_at": "2026-01-01T00:00:00Z", "version": "1", "queues": ["mail", "slow"],
    "concurrency": 8, "busy": 1, "processed": 10, "succeeded": 7, "failed": 1, "retried": 2, "loadavg": [1, 2, 3],
    "rss_bytes": 1000, "beat_at": "2026-01-01T00:00:01Z", "state": "running", "autoscale": None,
    "rusage": {"utime": 1.5, "maxrss": 4096, "nvcsw": 7}, "settings": {"TILL_WORKER_PREFETCH": 256, "TILL_QUEUES": "mail"},
    "tasks": {"shop.mail": {"succeeded": 7, "failed": 1, "retried": 2}, "shop.pay": {"succeeded": 3}},
}


@pytest.fixture
def system(stack):
    one = stack()
    one.start_dashboard()
    one.query("INSERT INTO tasks (name, queue, max_attempts, fast) VALUES ('shop.mail', 'mail', 7, false)")
    return one


def ask(system, path, expect=200, method="GET", **options):
    answer = requests.request(method, system.dashboard.url + path, timeout=30, **options)
    assert answer.status_code == expect, f"{path}: {answer.status_code} {answer.text}"
    return answer


def read(system, path, expect=200, **parameters):
    return ask(system, path, expect, params=parameters).json()


def test_workers_are_what_inspect_tells(system):
    job = rows.insert(system, "STARTED", task="shop.mail", queue="mail", args=["a"], kwargs={"user": 7}, worker="h:0",
                      attempt=2, priority=0)
    held = rows.insert(system, "STARTED", task="shop.mail", queue="mail", worker="h:0")
    rows.report_worker(system, "h:0", **REPORT, held=[held, "gone"], jobs=[
        {"id": job, "task": "shop.mail", "started_at": "2026-01-01T00:00:00Z", "revoked": True},
        {"id": "fast", "task": "fast.task", "started_at": "2026-01-01T00:00:00Z"}])
    worker = read(system, "/api/workers", refresh="1", workername="h:0")["h:0"]
    assert set(worker) == {"active", "active_queues", "conf", "registered", "reserved", "revoked", "scheduled", "stats",
                           "timestamp"}
    queue = worker["active_queues"][0]
    assert queue == {
        "name": "mail", "routing_key": "mail", "bindings": [], "durable": True, "exclusive": False, "auto_delete": False,
        "no_ack": False, "alias": None, "binding_arguments": None, "consumer_arguments": None, "expires": None,
        "max_length": None, "max_length_bytes": None, "max_priority": None, "message_ttl": None, "queue_arguments": None,
        "no_declare": None,
        "exchange": {"name": "mail", "type": "direct", "arguments": None, "durable": True, "passive": False,
                     "auto_delete": False, "delivery_mode": 2, "no_declare": False},
    }
    request = {"id", "name", "type", "args", "kwargs", "hostname", "time_start", "acknowledged", "delivery_info", "worker_pid"}
    active, fast = worker["active"]
    assert set(active) == set(fast) == request
    assert active["args"] == '["a"]' and active["kwargs"] == '{"user":7}' and active["type"] == "shop.mail"
    assert active["delivery_info"] == {"exchange": "", "routing_key": "mail", "priority": 0, "redelivered": True}
    assert active["time_start"] == 1767225600.0 and active["worker_pid"] == 42 and active["hostname"] == "h:0"
    assert fast["name"] == "fast.task" and fast["args"] is None
    reserved, unknown = worker["reserved"]
    assert set(reserved) == set(unknown) == request
    assert reserved["name"] == "shop.mail" and reserved["time_start"] is None and unknown["name"] is None
    assert worker["scheduled"] == [] and worker["revoked"] == [job] and worker["registered"] == ["shop.mail"]
    assert worker["conf"]["TILL_QUEUES"] == "mail" and worker["conf"]["worker_concurrency"] == 8


def test_stats_are_celerys(system):
    rows.report_worker(system, "h:0", **REPORT)
    stats = read(system, "/api/workers")["h:0"]["stats"]
    assert stats["total"] == {"shop.mail": 10, "shop.pay": 3} and stats["prefetch_count"] == 256
    assert stats["clock"] == "0" and stats["pid"] == 42 and stats["uptime"] > 0
    assert stats["pool"]["processes"] == [42] and stats["pool"]["max-concurrency"] == 8
    assert stats["pool"]["max-tasks-per-child"] == "N/A" and stats["pool"]["timeouts"] == [0, 0]
    assert stats["rusage"]["utime"] == 1.5 and stats["rusage"]["maxrss"] == 4096 and stats["rusage"]["nsignals"] == 0
    assert len(stats["rusage"]) == 16
    broker = stats["broker"]
    assert broker["transport"] == "redis" and broker["port"] >= 0 and broker["virtual_host"].isdigit()
    assert broker["hostname"] and broker["userid"] is None


def test_stats_count_no_task_without_a_name(system):
    nameless = {**REPORT["tasks"], "": {"failed": 3}}
    rows.report_worker(system, "h:0", **{**REPORT, "tasks": nameless})
    assert read(system, "/api/workers")["h:0"]["stats"]["total"] == {"shop.mail": 10, "shop.pay": 3}


def test_status_tells_of_all_workers(system):
    rows.report_worker(system, "h:0", **REPORT)
    rows.report_worker(system, "h:1", **REPORT)
    system.redis.delete("till:worker:h:1")
    for yes in ("1", "true", "True", "yes", "on"):
        assert read(system, "/api/workers", status=yes, workername="nobody") == {"h:0": True, "h:1": False}
    assert set(read(system, "/api/workers", status="no")["h:0"]) >= {"stats"}
    for name in ("status", "refresh"):
        assert "type 'bool'" in ask(system, f"/api/workers?{name}=perhaps", 400).text
    assert "Unknown worker 'no'" in ask(system, "/api/workers?workername=no&refresh=1", 404).text


def test_pages_give_their_json(system):
    rows.report_worker(system, "h:0", **REPORT)
    for path in ("/", "/workers"):
        assert "<!doctype html>" in ask(system, path).text
        (row,) = read(system, path, json="1")["data"]
        assert row["hostname"] == "h:0" and row["status"] is True and row["task-succeeded"] == 7
        assert row["task-received"] == row["task-started"] == row["processed"]
        assert row["loadavg"] == [1, 2, 3] and row["active"] == 1 and row["heartbeats"] == [1767225601.0]


def test_lists_of_tasks(system):
    jobs = [rows.insert(system, "SUCCESS", age=i * 60) for i in range(3)]
    waits = rows.insert(system, "PENDING", age=500)
    assert read(system, "/api/tasks", limit=0) == {} and read(system, "/api/tasks", limit=-4) == {}
    assert list(read(system, "/api/tasks", limit=1, offset=-3)) == jobs[:1]
    listed = read(system, "/api/tasks")
    assert "worker" not in listed[waits] and listed[jobs[0]]["worker"] == "host:0"
    assert read(system, f"/api/task/info/{waits}")["worker"] is None
    assert read(system, "/api/tasks", state="success") == read(system, "/api/tasks", state="SUCCESS") != {}
    for bad in ("ab", "NOT aaa", "-aaa", "aaa AND", "(aaa", "aaa OR"):
        assert set(read(system, "/api/tasks", 400, search=bad)) == {"error"}
    assert set(read(system, "/api/tasks", search="NAME:noop AND state:SUCCESS")) == set(jobs)
    assert ask(system, "/api/task/info/nonsense", 404).text == "Unknown task 'nonsense'"


def three_ways(system, job):
    """A task as Flower's list, its table and its page of one task have it."""
    (row,) = [one for one in read(system, "/tasks/datatable", draw=1, start=0, length=100)["data"] if one["uuid"] == job]
    return [read(system, "/api/tasks")[job], row, read(system, f"/api/task/info/{job}")]


def test_a_task_is_its_own_root_and_a_copy_names_its_origin(system):
    first = rows.insert(system, "FAILURE", task="shop.mail")
    copies = [ask(system, f"/api/v1/tasks/{first}/replay", 201, "POST", json={}).json()["id"] for _ in range(2)]
    last = ask(system, f"/api/v1/tasks/{rows.insert(system, 'FAILURE')}/replay", 201, "POST", json={}).json()["id"]
    for task in three_ways(system, first):
        assert (task["root_id"], task["root"], task["parent_id"], task["parent"]) == (first, first, None, None)
        assert task["children"] == copies
    for task in three_ways(system, copies[1]):
        assert (task["root_id"], task["root"], task["parent_id"], task["parent"]) == (first, first, first, first)
        assert task["children"] == []
    assert three_ways(system, last)[0]["root_id"] != first


def test_lists_have_the_traceback_and_the_expiry_of_each(system):
    plain = rows.insert(system, "SUCCESS")
    failed = rows.insert(system, "FAILURE", kwargs={"password": "hunter2"}, attempt=2)
    rows.insert_failure(system, failed, 1, "e", "the first")
    rows.insert_failure(system, failed, 2, "e", "in login(hunter2)")
    long = rows.insert(system, "FAILURE")
    rows.insert_failure(system, long, 1, "e", "x" * 4097)
    later = rows.insert(system, "PENDING", enqueued_at=None, scheduled_at="2126-01-01T00:00:00Z",
                        expires_at="2126-01-02T03:04:05.5Z")
    told = three_ways(system, failed)
    assert [task["traceback"] for task in told] == [told[2]["traceback"]] * 3
    assert told[0]["traceback"].startswith("in login(") and "hunter2" not in str(told)
    assert [task["traceback"] for task in three_ways(system, long)] == ["... (4097 bytes)"] * 2 + ["x" * 4097]
    assert [task["traceback"] for task in three_ways(system, plain)] == [None] * 3
    for task in three_ways(system, later):
        assert task["eta"] == "2126-01-01T00:00:00.000000+00:00" and task["traceback"] is None
        assert task["expires"] == "2126-01-02T03:04:05.500000+00:00"


def test_table_of_tasks(system):
    jobs = [rows.insert(system, "SUCCESS", task=f"a.task{i}", kwargs={"colour": "blue"}, age=i * 60) for i in range(5)]
    order = {"columns[0][data]": "name", "columns[1][data]": "received", "order[0][column]": 1, "order[0][dir]": "desc"}

    def table(method="GET", **more):
        asked = {"draw": 3, "start": 0, "length": 2, "search[value]": "", **order, **more}
        where = {"params": asked} if method == "GET" else {"data": asked}
        return ask(system, "/tasks/datatable", method=method, **where).json()

    first = table()
    assert (first["draw"], first["recordsTotal"], first["recordsFiltered"]) == (3, 5, 5)
    assert [one["uuid"] for one in first["data"]] == jobs[:2] and first["data"][0]["name"] == "a.task0"
    assert [one["uuid"] for one in table("POST", start=4)["data"]] == jobs[4:]
    assert [one["name"] for one in table(**{"order[0][column]": 0, "order[0][dir]": "asc"})["data"]] == ["a.task0", "a.task1"]
    found = table(**{"search[value]": "kwargs:blue", "length": 10})
    assert len(found["data"]) == found["recordsFiltered"] == 5
    assert table(**{"search[value]": "a.task3"})["recordsFiltered"] == 1
    wrong = table(**{"search[value]": "(open"})
    assert wrong["data"] == [] and wrong["recordsFiltered"] == 0 and wrong["searchError"]
    ask(system, "/tasks/datatable?length=many", 400)


def test_rate_limit_has_celerys_words(system):
    rows.report_worker(system, "h:0")

    def limit(expect, **data):
        return ask(system, "/api/task/rate-limit/shop.mail", expect, "POST", data=data).text

    assert limit(400, workername="h:0") == "Missing argument ratelimit"
    assert limit(403, workername="h:0", ratelimit="often") == (
        "Failed to set rate limit: 'Invalid rate limit string: often'")
    assert '"new rate limit set successfully"' in limit(200, workername="h:0", ratelimit="10/m")


def test_broker(system):
    rows.insert(system, "PENDING", queue="mail", age=30)
    broker = read(system, "/api/v1/broker")
    assert broker["redis"] is True and broker["url"].startswith(("redis://", "unix://")) and "@" not in broker["url"]
    assert broker["server"]["version"] and broker["server"]["memory_bytes"] > 0 and broker["server"]["clients"] >= 1
    assert [queue["name"] for queue in broker["queues"]] == ["mail"]
    lengths = read(system, "/api/queues/length")
    assert lengths == {"active_queues": [{"name": "mail", "messages": 0}]}


def test_broker_tells_consumers_and_since_when_a_queue_is_idle(system):
    """As Flower's page does where the broker can tell."""
    rows.insert(system, "PENDING", queue="quiet", age=30)
    rows.report_worker(system, "h:0", queues=["mail", "default"], state="running")
    rows.report_worker(system, "h:1", queues=["mail"], state="running")
    rows.report_worker(system, "h:2", queues=["mail"], state="quiet")
    before = time.time()
    entry = system.redis.xadd("till:{mail}:normal", {"id": "x"})
    rows.insert(system, "PENDING", queue="mail")

    def queues():
        return {queue["name"]: queue for queue in read(system, "/api/v1/broker")["queues"]}

    mail, quiet = queues()["mail"], queues()["quiet"]
    assert (mail["consumers"], quiet["consumers"]) == (2, 0)
    assert mail["idle_since"] is None and quiet["idle_since"] is None, "one has an entry, the other never had one"
    system.redis.xgroup_create("till:{mail}:normal", "till", id="0")
    system.redis.xreadgroup("till", "h:0", {"till:{mail}:normal": ">"})
    assert queues()["mail"]["idle_since"] is None, "one is at work on it"
    system.redis.xack("till:{mail}:normal", "till", entry)
    system.redis.xdel("till:{mail}:normal", entry)
    since = datetime.fromisoformat(queues()["mail"]["idle_since"].replace("Z", "+00:00")).timestamp()
    assert before - 1 <= since <= time.time()

# SPDX-License-Identifier: MIT
"""Lists of tasks by when they are due, when they were received, and how long they ran."""

from datetime import datetime, timedelta, timezone

import pytest
import requests
from browser import rows


@pytest.fixture
def system(stack):
    one = stack()
    one.start_dashboard()
    return one


def read(system, path="/api/v1/tasks", expect=200, **parameters):
    answer = requests.get(system.dashboard.url + path, params=parameters, timeout=30)
    assert answer.status_code == expect, answer.text
    return answer.json()


def ids(answer):
    return [task["id"] for task in answer["tasks"]]


def moment(**later):
    return (datetime.now(timezone.utc) + timedelta(**later)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def due(system, at, state="PENDING", **columns):
    return rows.insert(system, state, enqueued_at=None, scheduled_at=at, **columns)


def all_pages(system, **parameters):
    """Ids of every page, in order."""
    found, cursor = [], None
    for _ in range(200):
        answer = read(system, cursor=cursor, **parameters)
        found += ids(answer)
        cursor = answer["next"]
        if not cursor:
            return found
    raise AssertionError("the pages never end")


# ---- due ----


def test_what_waits_for_its_time_is_listed_by_when_it_is_due(system):
    late = due(system, "2126-01-01T00:00:00Z", task="shop.mail", queue="mail")
    soon = due(system, moment(minutes=10), state="RETRY", error="503")
    tomorrow = due(system, moment(days=1))
    rows.insert(system, "PENDING")
    rows.insert(system, "SUCCESS")
    system.query("INSERT INTO jobs (task, enqueued_at, parked_on) VALUES ('shop.parked', NULL, 'task:shop.parked')")
    assert ids(read(system, order="due")) == [soon, tomorrow, late]
    assert ids(read(system, due_from=moment(hours=1))) == [tomorrow, late]
    assert ids(read(system, due_to=moment(days=2))) == [soon, tomorrow]
    assert ids(read(system, due_from=moment(hours=1), due_to=moment(days=2))) == [tomorrow]
    assert ids(read(system, due_to=moment(days=2), state="RETRY")) == [soon]
    assert ids(read(system, order="due", queue="mail")) == [late]
    assert ids(read(system, order="due", task="shop.mail", text=late[:10])) == [late]
    assert ids(read(system, due_from="2127-01-01T00:00:00Z")) == []


@pytest.mark.parametrize("same", [True, False])
def test_pages_by_due_time_cover_all_once(system, same):
    step = "0 s" if same else "1 s"
    system.query(
        "INSERT INTO jobs (id, task, enqueued_at, scheduled_at) SELECT new_job_id(), 'shop.mail', NULL,"
        f" now() + interval '1 day' + n * interval '{step}' FROM generate_series(1, 130) n"
    )
    found = all_pages(system, order="due", limit=20)
    assert len(found) == 130 and set(found) == {row["id"] for row in system.query("SELECT id::text FROM jobs")}


def test_pages_by_due_time_go_on_behind_what_was_due_long_ago(system):
    old = [due(system, f"{year}-01-01T00:00:00Z") for year in (1969, 1970, 2001)]
    assert all_pages(system, order="due", limit=1) == old


def test_a_rare_filter_among_what_is_due_is_cut_and_goes_on(system):
    system.query(
        "INSERT INTO jobs (id, task, enqueued_at, scheduled_at) SELECT new_job_id(), 'shop.mail', NULL,"
        " now() + interval '1 day' + n * interval '1 ms' FROM generate_series(1, 7000) n"
    )
    last = due(system, moment(days=3), queue="rare")
    answer = read(system, order="due", queue="rare")
    assert answer["is_cut"] and ids(answer) == []
    assert all_pages(system, order="due", queue="rare") == [last]


def test_words_are_found_among_what_is_due_in_that_order(system):
    late = due(system, "2126-01-01T00:00:00Z", args=["express-1"])
    soon = due(system, moment(minutes=10), kwargs={"by": "Express-2"})
    other = due(system, moment(minutes=20), task="shop.mail")
    rows.insert(system, "PENDING", args=["express-3"])
    assert ids(read(system, order="due", search="express")) == [soon, late]
    assert ids(read(system, due_from=moment(hours=1), search="express")) == [late]
    assert ids(read(system, order="due", search="kwargs:by=express-2 OR shop.mail")) == [soon, other]
    assert ids(read(system, order="due", search="express state:PENDING", task="shop.mail")) == []
    assert all_pages(system, order="due", search="express", limit=1) == [soon, late]
    assert system.till("task", "secrets", "*", "by").returncode == 0
    assert ids(read(system, order="due", search="express")) == [late]


def test_words_among_many_that_are_due_are_cut_and_go_on(system):
    system.query(
        "INSERT INTO jobs (id, task, enqueued_at, scheduled_at, args) SELECT new_job_id(), 'shop.mail', NULL,"
        " now() + interval '1 day' + n * interval '1 ms', jsonb_build_array(CASE WHEN n % 50 = 0 THEN 'express' ELSE 'slow' END)"
        " FROM generate_series(1, 7000) n"
    )
    last = due(system, moment(days=3), args=["once"])
    answer = read(system, order="due", search="once")
    assert answer["is_cut"] and ids(answer) == [] and answer["next"]
    assert all_pages(system, order="due", search="once") == [last]
    found = all_pages(system, order="due", search="express")
    assert len(found) == 140 == len(set(found))
    assert found == [row["id"] for row in system.query(
        "SELECT id::text FROM jobs WHERE args = '[\"express\"]' ORDER BY scheduled_at")]


def test_an_order_for_all_that_are_due_means_only_them(system):
    near = [due(system, moment(minutes=n + 1)) for n in range(3)]
    far, ready = due(system, moment(days=9)), rows.insert(system, "PENDING")
    answer = requests.post(system.dashboard.url + "/api/v1/tasks", timeout=30, json={
        "action": "revoke", "filter": {"state": "PENDING", "due_to": moment(days=1)}})
    assert answer.status_code == 200 and answer.json() == {"changed": 3, "next": None}
    assert {system.job(job)["state"] for job in near} == {"REVOKED"}
    assert {system.job(job)["state"] for job in (far, ready)} == {"PENDING"}
    wrong = requests.post(system.dashboard.url + "/api/v1/tasks", timeout=30, json={
        "action": "revoke", "filter": {"state": "PENDING", "due_to": 7}})
    assert wrong.status_code == 400 and system.job(far)["state"] == "PENDING"


# ---- received ----


def test_lists_are_bounded_by_when_tasks_were_received(system):
    old, middle, new = [rows.insert(system, "SUCCESS", age=age) for age in (7200, 3600, 10)]
    assert ids(read(system, **{"from": moment(minutes=-90)})) == [new, middle]
    assert ids(read(system, to=moment(minutes=-30))) == [middle, old]
    assert ids(read(system, **{"from": moment(minutes=-90), "to": moment(minutes=-30), "state": "SUCCESS"})) == [middle]


# ---- running time ----


def ran(system, seconds, **columns):
    job = rows.insert(system, "SUCCESS", age=100, **columns)
    system.query("UPDATE jobs SET finished_at = started_at + make_interval(secs => %s) WHERE id = %s", seconds, job)
    return job


def test_slowest_and_fastest_first_with_pages(system):
    system.query("ALTER TABLE jobs DISABLE TRIGGER USER")
    jobs = {ran(system, seconds, task="shop.mail"): seconds for seconds in (5, 1, 9, 0.5)}
    running = rows.insert(system, "STARTED")
    slowest = sorted(jobs, key=jobs.get, reverse=True)
    answer = read(system, order="slowest")
    assert ids(answer) == [*slowest, running] and answer["sorted_of"] == 20000 and answer["next"] is None
    assert ids(read(system, order="fastest")) == [*reversed(slowest), running]
    assert all_pages(system, order="slowest", limit=2) == [*slowest, running]
    of_task = read(system, order="slowest", task="shop.mail", limit=1)
    assert (ids(of_task), of_task["next"], of_task["sorted_of"]) == (slowest[:1], "+1", 3000)
    words = read(system, order="slowest", search="shop.mail")
    assert (ids(words), words["sorted_of"]) == (slowest, 3000)
    assert "sorted_of" not in read(system)


def test_flowers_table_and_list_are_sorted_by_running_time(system):
    system.query("ALTER TABLE jobs DISABLE TRIGGER USER")
    jobs = {ran(system, seconds): seconds for seconds in (5, 1, 9)}
    table = {"columns[0][data]": "runtime", "order[0][column]": "0", "order[0][dir]": "desc"}
    slowest = sorted(jobs, key=jobs.get, reverse=True)
    assert [task["uuid"] for task in read(system, "/tasks/datatable", **table)["data"]] == slowest
    assert list(read(system, "/api/tasks", sort_by="runtime")) == slowest[::-1]
    assert list(read(system, "/api/tasks", sort_by="-runtime", search="noop")) == slowest


@pytest.mark.parametrize("parameters", [
    {"order": "due", "cursor": "x"}, {"order": "due", "cursor": "1.x"}, {"order": "due", "cursor": "+50"},
    {"order": "due", "search": "((("}, {"due_to": "tomorrow"}, {"from": "1"}, {"to": "2026-01-01"},
    {"order": "slowest", "cursor": "+x"}, {"order": "slowest", "cursor": "+20000"}, {"cursor": "+50"},
    {"order": "slowest", "cursor": "x"}, {"order": "due", "cursor": "99999999999999999999.x"},
])
def test_nonsense_is_told(system, parameters):
    assert read(system, expect=400, **parameters)["detail"]

# SPDX-License-Identifier: MIT
"""What open pages ask again and again is read once for all of them, and is never older than what an order
has changed, nor given to whoever may not see it."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from browser import rows
from harness.wait import wait_for

PAGES = 10
POLL = {"Cache-Control": "max-age=10"}
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'till-dashboard'"


@pytest.fixture
def system(stack):
    one = stack()
    one.start_dashboard()
    return one


def get(system, path, headers=POLL, expect=200, **options):
    answer = requests.get(system.dashboard.url + path, headers=headers, timeout=60, **options)
    assert answer.status_code == expect, answer.text
    return answer.json()


def connections(url):
    """How many have been accepted at this address."""
    port = f":{int(url.rpartition(':')[2]):04X}"
    with open("/proc/net/tcp") as file:
        fields = [line.split() for line in file.readlines()[1:]]
    return sum(one[1].endswith(port) and one[3] == "01" for one in fields)


def together(system, path):
    """The answers to pages that ask while the database keeps the first of them waiting."""
    blocker = system.postgres.connect(system.database)
    blocker.autocommit = False
    try:
        with blocker.cursor() as cursor, ThreadPoolExecutor(PAGES) as pool:
            cursor.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
            answers = [pool.submit(get, system, path) for _ in range(PAGES)]
            wait_for(lambda: connections(system.dashboard.url) >= PAGES, 30, "not all pages have asked")
            wait_for(lambda: system.value(SESSIONS + " AND wait_event_type = 'Lock'"), 30, "nobody reads")
            blocker.rollback()
            return [one.result() for one in answers]
    finally:
        blocker.close()


@pytest.mark.parametrize("path", ["/api/v1/tasks?state=FAILURE", "/api/v1/summary", "/api/v1/queues"])
def test_ten_pages_cost_the_database_one_answer(system, path):
    rows.insert_every_state(system)
    first, *others = together(system, path)
    assert others == [first] * (PAGES - 1)
    assert system.value(SESSIONS) == 1  # each thread that reads has one of its own


def test_a_script_gets_what_is_there_now(system):
    assert get(system, "/api/v1/tasks")["tasks"] == []
    made = rows.insert(system, "SUCCESS")
    for headers in ({}, {"Cache-Control": "no-cache"}, {"Cache-Control": "max-age=0"}, {"Cache-Control": "max-age=x"}):
        assert [task["id"] for task in get(system, "/api/v1/tasks", headers)["tasks"]] == [made]


def test_every_page_sees_what_an_order_has_changed(system):
    rows.insert(system, "PENDING", queue="mail")
    for order, is_paused in (("pause", True), ("resume", False)):
        get(system, "/api/v1/queues")
        answer = requests.post(f"{system.dashboard.url}/api/v1/queues/mail/{order}", json={}, timeout=60)
        assert answer.status_code == 200, answer.text
        (queue,) = [one for one in get(system, "/api/v1/queues")["queues"] if one["name"] == "mail"]
        assert (queue["paused_at"] is not None) is is_paused


def test_one_list_is_not_given_for_another(system):
    made = rows.insert_every_state(system)
    for state, job in made.items():
        assert get(system, f"/api/v1/tasks?state={state}")["ids"] == [job]
    newest, oldest = get(system, "/api/v1/tasks?limit=1"), get(system, "/api/v1/tasks?limit=1&order=oldest")
    assert newest["ids"] != oldest["ids"]


def test_each_page_gets_the_rows_that_it_does_not_hold(system):
    rows.insert_every_state(system)
    whole = get(system, "/api/v1/tasks")
    some = get(system, f"/api/v1/tasks?since={whole['since'][12:]}")
    assert len(whole["tasks"]) > 1 and some["ids"] == whole["ids"] and some["since"] == whole["since"]
    assert some["tasks"] == whole["tasks"][:1]
    assert get(system, f"/api/v1/tasks?since={whole['since']}")["tasks"] == []


def test_who_may_not_look_gets_nothing_that_others_have_got(stack):
    system = stack()
    system.start_dashboard(TILL_DASHBOARD_AUTH="ann:long enough")
    rows.insert_every_state(system)
    assert get(system, "/api/v1/tasks", auth=("ann", "long enough"))["ids"]
    assert set(get(system, "/api/v1/tasks", expect=401)) == {"detail"}


STATEMENTS = {"summary": 2, "queues": 3, "tasks": 1}
THREADS = 16  # of the dashboard; each may have a session, and prepares there what it sends
OTHERS = 50  # transactions of autovacuum, and the test's own before


def transactions(system):
    """How many have ended in the test's database: one for each statement, prepared or sent. Sessions that
    have ended have told all of theirs; this one is in another database, where it counts nothing."""
    connection = system.postgres.connect()

    def ask(sql):
        with connection.cursor() as cursor:
            cursor.execute(sql, (system.database,))
            return cursor.fetchone()[0]

    try:
        others = SESSIONS + " AND datname = %s"
        wait_for(lambda: ask(others) == 0, 60, "the sessions are still there")
        return ask("SELECT xact_commit FROM pg_stat_database WHERE datname = %s")
    finally:
        connection.close()


def test_however_many_pages_are_open_the_database_works_the_same(stack):
    """An answer is made once a second at most; 20 pages ask for it as fast as they get it."""
    system, pages, asks = stack(), 20, 20
    rows.insert_every_state(system)
    before, began = transactions(system), time.monotonic()
    dashboard = system.start_dashboard()

    def look(number):
        for _ in range(asks):
            get(system, f"/api/v1/{list(STATEMENTS)[number % len(STATEMENTS)]}")

    with ThreadPoolExecutor(pages) as pool:
        list(pool.map(look, range(pages)))
    took = time.monotonic() - began
    dashboard.term_and_wait()
    each = sum(STATEMENTS.values())
    most = (took + 1) * each + THREADS * (each + 1) + OTHERS
    done = transactions(system) - before
    assert done <= most < pages * asks * each / len(STATEMENTS), (done, most, took)

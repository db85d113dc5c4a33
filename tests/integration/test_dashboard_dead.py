# SPDX-License-Identifier: MIT
"""The dead by task and reason: what is counted piece by piece, and remembered from one request to the next,
is what a look at every one of them finds, whoever has died or was revived meanwhile."""

import random

import pytest
import requests
from browser import rows
from harness.wait import wait_for

WINDOW = 20000
REASON = (
    "left(regexp_replace(coalesce(nullif(left(split_part(error, E'\\n', 1), 200), ''), left(error, 40)),"
    " '[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|0x[0-9a-fA-F]+|[0-9]+|\"[^\"]*\"|''[^'']*''', '*', 'g'), 160)"
)
TIME = "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'"
SHOWN = ("task", "reason", "count", "first_at", "last_at", "last_id", "queue")
ERRORS = ("ARRAY['connection timed out', 'no order ' || 10000 + n || ' is there', n %% 90 || ' is no amount',"
          " E'refused\\nby the server', 'id ' || id || ' is unknown', E'\\nwithout a first line',"
          " repeat('é', 155 + n %% 9) || (n %% 7 + 1) * 1111, 'deadbeef-12 ab' || substr(md5((n %% 20)::text), 1, 9) || '-0a1b']")


@pytest.fixture
def system(stack):
    one = stack()
    one.start_dashboard()
    return one


def die(system, count, span, ago="0 s"):
    """Dead jobs, evenly over that time, which ended some time ago."""
    system.query(
        "INSERT INTO jobs (id, task, queue, state, attempt, worker, error, finished_at)"
        f" SELECT id, 'shop.task_' || n %% 3, 'q' || n %% 2, 'FAILURE', 1, 'w:1', ({ERRORS})[1 + n * 7 %% 8],"
        "  date_trunc('milliseconds', now()) - %s::interval - %s::interval * n / %s + n * interval '1 us'"
        " FROM (SELECT n, new_job_id() AS id FROM generate_series(1, %s) n) x",
        ago, span, count, count)


def groups(system, queue=None):
    answer = requests.get(system.dashboard.url + "/api/v1/dead", params={"queue": queue}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["groups"]


def by_sql(system, queue=None):
    return system.query(
        "SELECT task, reason, count(*)::int AS count,"
        f" to_char(min(finished_at), {TIME}) AS first_at, to_char(max(finished_at), {TIME}) AS last_at,"
        " (array_agg(id::text ORDER BY finished_at DESC))[1] AS last_id,"
        " (array_agg(queue ORDER BY finished_at DESC))[1] AS queue"
        f" FROM (SELECT *, {REASON} AS reason FROM jobs WHERE state = 'FAILURE'"
        f"  AND (%s::text IS NULL OR queue = %s) ORDER BY finished_at DESC LIMIT {WINDOW}) d"
        " GROUP BY task, reason ORDER BY count(*) DESC, task COLLATE \"C\", reason COLLATE \"C\" LIMIT 200",
        queue, queue)


def assert_same(system, step):
    for queue in (None, "q1", "q0", None, "nobody"):
        shown = [{name: group[name] for name in SHOWN} for group in groups(system, queue)]
        assert shown == by_sql(system, queue), (step, queue)


def test_groups_are_what_a_look_at_every_dead_one_finds(system):
    chance = random.Random(7)
    steps = {
        "many die": lambda: die(system, 3000, "9 days", "1 hour"),
        "some die now": lambda: die(system, 50, "3 s"),
        "nothing happens": lambda: None,
        "some are revived": lambda: system.query(
            "UPDATE jobs SET state = 'PENDING', finished_at = NULL, error = NULL WHERE id IN"
            " (SELECT id FROM jobs WHERE state = 'FAILURE' ORDER BY md5(id::text) LIMIT 40)"),
        "some are deleted": lambda: system.query(
            "DELETE FROM jobs WHERE id IN"
            " (SELECT id FROM jobs WHERE state = 'FAILURE' ORDER BY id LIMIT 30)"),
        "some die again": lambda: system.query(
            "UPDATE jobs j SET state = 'FAILURE', finished_at = now() + o.n * interval '1 us',"
            " error = 'again' FROM (SELECT id, row_number() OVER () AS n FROM jobs"
            "  WHERE state = 'PENDING' LIMIT 9) o WHERE j.id = o.id"),
    }
    assert_same(system, "none has died")
    for step in ["many die", *(chance.choice(list(steps)[1:]) for _ in range(6)), *list(steps)[1:]]:
        steps[step]()
        assert_same(system, step)


def test_an_id_is_one_whatever_its_digits(system):
    """Five of them in a row are no number that ends what comes before them."""
    for job in ("01a204d0-8391-74b5-9dcb-2e36f301f24e", "01a12345-8391-74b5-9dcb-2e36f301f24e",
                "12345abc-0000-7000-8000-000000000000"):
        rows.insert(system, "FAILURE", age=9, error=f"order {job} is gone")
    assert [(group["reason"], group["count"]) for group in groups(system)] == [("order * is gone", 3)]


def test_errors_that_differ_by_what_they_name_are_one_group_which_is_retried_as_a_whole(system):
    """Each number of less than five digits, each time, each address and each name made a group of its own."""
    texts = ["gateway {} after {} ms: 10.0.{}.7:5432 said \"{}\"", "2026-11-23T18:0{}:0{}Z worker at 0x{}ffe lost '{}'"]
    for text in texts:
        for n in range(9):
            rows.insert(system, "FAILURE", age=20 - n, error=text.format(n, n, n, "x" * n))
    rows.insert(system, "FAILURE", age=5, error="gateway is away")

    found = {group["reason"]: group for group in groups(system)}

    assert {reason: group["count"] for reason, group in found.items()} == {
        "gateway * after * ms: *.*.*.*:* said *": 9, "*-*-*T*:*:*Z worker at * lost *": 9, "gateway is away": 1}
    one = found["gateway * after * ms: *.*.*.*:* said *"]
    assert (one["shown"], one["last_error"]) == (one["reason"], texts[0].format(8, 8, 8, "x" * 8))
    body = {"action": "retry", "task": one["task"], "reason": one["reason"]}
    assert requests.post(system.dashboard.url + "/api/v1/dead", json=body, timeout=60).json()["changed"] == 9
    assert sorted(row["error"] for row in system.query("SELECT error FROM jobs WHERE state = 'FAILURE'")) == sorted(
        [texts[1].format(n, n, n, "x" * n) for n in range(9)] + ["gateway is away"])


def test_more_than_are_counted(system):
    """Then the newest are; the window moves on with each that dies."""
    die(system, WINDOW + 500, "2 days")
    assert_same(system, "more than a window")
    die(system, 300, "100 ms")
    assert_same(system, "more have died")


def read_of_dead(system):
    """Entries read of the index of the dead so far, and rows of the table for them."""
    [row] = system.query("SELECT idx_tup_read, idx_tup_fetch FROM pg_stat_user_indexes"
                         " WHERE indexrelname = 'jobs_dead'")
    return row["idx_tup_read"], row["idx_tup_fetch"]


def test_only_what_has_changed_is_read_again(system):
    """Each row of the table once, however often one asks, and those that died about when another did."""
    die(system, 4000, "4 days", "1 hour")
    system.query("VACUUM jobs")
    for _ in range(5):
        assert groups(system)
    rows.insert(system, "FAILURE", age=100 * 3600 - 10, task="shop.alone", error="alone")
    system.query("UPDATE jobs SET finished_at = finished_at - interval '1 ms' WHERE error = 'alone'")
    assert "alone" in [group["reason"] for group in groups(system)]
    system.dashboard.term_and_wait()
    sessions = "SELECT FROM pg_stat_activity WHERE application_name = 'till-dashboard'"
    wait_for(lambda: not system.query(sessions), 60, "the sessions are still there")
    wait_for(lambda: read_of_dead(system)[0] >= 6 * 4000, 60, "what they have read to be told")
    entries, fetched = read_of_dead(system)
    assert 4000 <= fetched < 4000 + 4000 // 10, (entries, fetched)

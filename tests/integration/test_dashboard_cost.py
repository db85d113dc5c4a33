# SPDX-License-Identifier: MIT
"""What a page costs the database does not grow with the number of jobs: rows of each index that are read
for one, among thousands of which PostgreSQL's statistics know nothing."""

import pytest
import requests
from browser import rows
from harness.wait import wait_for

MANY = 6000
PAGE = 150  # entries of indexes for a page of 50, and a few for what else is read


@pytest.fixture
def system(stack):
    """Thousands of dead jobs and of successful ones, while the statistics say that there is none."""
    one = stack()
    one.query("ALTER TABLE jobs SET (autovacuum_enabled = off)")
    one.query("ANALYZE jobs")
    one.query(
        "INSERT INTO jobs (id, task, queue, state, attempt, worker, error, finished_at)"
        " SELECT new_job_id(), 'shop.task_' || n % 2, 'q', (CASE WHEN n % 2 = 0 THEN 'FAILURE' ELSE 'SUCCESS'"
        " END)::job_state, 1, 'host:0', CASE WHEN n % 2 = 0 THEN 'no' END, now()"
        f" FROM generate_series(1, {MANY}) n"
    )
    one.query("VACUUM jobs")  # which tells what all can see, and no distribution of values
    return one


def read_rows(system):
    """Rows read of each index of jobs so far: entries of the index, and rows of the table for them."""
    found = system.query(
        "SELECT indexrelname AS name, idx_tup_read AS entries, idx_tup_fetch AS fetched"
        " FROM pg_stat_user_indexes WHERE relname = 'jobs'"
    )
    return {one["name"]: (one["entries"], one["fetched"]) for one in found}


def ask(system, path, reads=True, **parameters):
    """The answer, and what it has read: by the name of the index (entries, rows of the table). A session
    that ends tells what it has read, on a busy machine a moment later."""
    before = read_rows(system)
    dashboard = system.start_dashboard()
    answer = requests.get(dashboard.url + path, params=parameters, timeout=60)
    assert answer.status_code == 200, answer.text
    dashboard.term_and_wait()
    wait_for(
        lambda: not system.query("SELECT FROM pg_stat_activity WHERE application_name = 'till-dashboard'"),
        60, "the sessions are still there",
    )
    if reads:
        wait_for(lambda: read_rows(system) != before, 60, "nothing has been read")
    after = read_rows(system)
    read = {name: (after[name][0] - before[name][0], after[name][1] - before[name][1]) for name in after}
    return answer.json(), {name: counts for name, counts in read.items() if counts != (0, 0)}


def test_a_page_reads_a_page_of_one_index(system):
    for index, filters in (
        ("jobs_listed", {"state": "FAILURE"}),
        ("jobs_listed", {"state": "FAILURE", "order": "oldest"}),
        ("jobs_listed", {"state": "FAILURE", "task": "shop.task_0"}),
        ("jobs_task", {"task": "shop.task_1"}),
        ("jobs_task", {"task": "shop.task_1", "order": "oldest"}),
        ("jobs_pkey", {}),
        ("jobs_pkey", {"worker": "host:0"}),
    ):
        answer, read = ask(system, "/api/v1/tasks", **filters)
        assert len(answer["tasks"]) == 50
        assert read[index][0] > 50 and sum(entries for entries, _ in read.values()) <= PAGE, (filters, read)


def test_what_is_skipped_costs_no_row_of_the_table(system):
    for filters in ({"state": "FAILURE"}, {"taskname": "shop.task_1"}, {}):
        answer, read = ask(system, "/api/tasks", limit=20, offset=2000, **filters)
        assert len(answer) == 20
        assert sum(fetched for _, fetched in read.values()) <= PAGE, (filters, read)
        assert 2000 < sum(entries for entries, _ in read.values()) <= 2000 + PAGE, (filters, read)


def test_nothing_is_walked_through_that_cannot_be_meant(system):
    for path, filters in (
        ("/api/tasks", {"limit": 20, "received_end": "2001-01-01 00:00", "state": "FAILURE"}),
        ("/api/tasks", {"limit": 20, "received_end": "2001-01-01 00:00", "search": "shop"}),
        ("/api/v1/tasks", {"search": rows.uuid7()}),  # an id that is not there
    ):
        answer, read = ask(system, path, reads=False, **filters)
        assert not answer.get("tasks") and not answer.get("is_cut"), answer
        assert sum(entries for entries, _ in read.values()) <= PAGE, (filters, read)


def test_the_dead_are_counted_by_the_index(system):
    answer, read = ask(system, "/api/v1/queues")
    (queue,) = answer["queues"]
    assert queue["dead"] == {"count": MANY // 2, "is_exact": True}
    assert read["jobs_dead"] == (MANY // 2, 0), read

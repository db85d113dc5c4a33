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
    """Rows read of each index so far, of jobs and of their words: entries of the index, and rows of the table
    for them."""
    found = system.query(
        "SELECT indexrelname AS name, idx_tup_read AS entries, idx_tup_fetch AS fetched"
        " FROM pg_stat_user_indexes WHERE relname IN ('jobs', 'job_grams')"
    )
    return {one["name"]: (one["entries"], one["fetched"]) for one in found}


def wait_until_told(system):
    """A session that ends tells what it has read: on a busy machine a moment after its program has ended."""
    sessions = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'till-%'"
    wait_for(lambda: not system.query(sessions), 60, "the sessions are still there")


def ask(system, path, reads=True, **parameters):
    """The answer, and what it has read: by the name of the index (entries, rows of the table)."""
    wait_until_told(system)
    before = read_rows(system)
    dashboard = system.start_dashboard()
    answer = requests.get(dashboard.url + path, params=parameters, timeout=60)
    assert answer.status_code == 200, answer.text
    dashboard.term_and_wait()
    wait_until_told(system)
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


def test_a_page_by_due_time_reads_a_page_of_its_index(system):
    system.query(
        "INSERT INTO jobs (id, task, enqueued_at, scheduled_at) SELECT new_job_id(), 'shop.later', NULL,"
        f" now() + interval '1 day' + n % 7 * interval '1 s' FROM generate_series(1, {MANY}) n"
    )
    first, read = ask(system, "/api/v1/tasks", order="due")
    assert read["jobs_due_alone"][0] > 50 and sum(entries for entries, _ in read.values()) <= PAGE, read
    second, read = ask(system, "/api/v1/tasks", order="due", cursor=first["next"])
    assert len(second["tasks"]) == 50 and sum(entries for entries, _ in read.values()) <= PAGE, read


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


def test_flowers_table_counts_no_state_for_its_total(system):
    system.query("UPDATE pg_class SET reltuples = 10000000 WHERE oid = 'jobs'::regclass")
    answer, read = ask(system, "/tasks/datatable", draw=1, length=10)
    assert len(answer["data"]) == 10 and answer["recordsTotal"] == 10_000_000
    assert sum(entries for entries, _ in read.values()) <= PAGE, read


def test_what_runs_is_looked_up_beside_a_backlog(system):
    system.query("INSERT INTO jobs (id, task, enqueued_at) SELECT new_job_id(), 'shop.waits', now()"
                 f" FROM generate_series(1, {MANY // 2}) n")
    running = rows.insert(system, "STARTED", age=60)
    system.query("VACUUM (ANALYZE) jobs")
    for filters in ({}, {"order": "oldest"}, {"order": "slowest"}):
        answer, read = ask(system, "/api/v1/tasks", state="STARTED", **filters)
        assert [task["id"] for task in answer["tasks"]] == [running]
        assert read["jobs_pkey"][0] <= PAGE, (filters, read)


def test_a_time_costs_no_row_of_the_hour_beside_it(system):
    """A clock that makes ids may be an hour late; a thousand jobs are looked at for that, not the hour's."""
    system.query("DELETE FROM jobs")
    system.query(
        "INSERT INTO jobs (id, task, state, attempt, worker, created_at, finished_at) SELECT (lpad(to_hex((extract(epoch FROM at)"
        " * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15))::uuid,"
        " 'shop.mail', 'SUCCESS', 1, 'host:0', at, at"
        " FROM (SELECT n, now() - interval '3 hours' + n * interval '1 s' AS at FROM generate_series(1, 10800) n) x"
    )
    late = rows.insert(system, "SUCCESS", age=3600 * 2 - 700)
    system.query("UPDATE jobs SET created_at = now() - interval '2 hours 3 minutes' WHERE id = %s", late)
    system.query("VACUUM jobs")
    (times,) = system.query("SELECT (now() - interval '150 minutes')::text AS since, (now() - interval '2 hours')::text AS until")
    bounds = {"from": times["since"].replace(" ", "T") + ":00", "to": times["until"].replace(" ", "T") + ":00"}
    for filters in ({}, {"order": "oldest"}, {"order": "slowest"}):
        answer, read = ask(system, "/api/v1/tasks", **bounds, **filters)
        assert len(answer["tasks"]) == 50 and not answer["is_cut"]
        entries, fetched = (sum(counts) for counts in zip(*read.values()))
        assert fetched <= (1000 if filters.get("order") != "slowest" else 1000 + 1800 + 1000) + PAGE, (filters, read)
    assert ask(system, "/api/v1/tasks", **bounds)[0]["tasks"][0]["id"] == late


def test_the_dead_are_counted_by_the_index(system):
    answer, read = ask(system, "/api/v1/queues")
    (queue,) = answer["queues"]
    assert queue["dead"] == {"count": MANY // 2, "is_exact": True}
    assert read["jobs_dead"] == (MANY // 2, 0), read


# ---- searches ----

SEGMENT = 1100
PLANNED = 20  # rows at the edges of the index that PostgreSQL looks at to plan what has bounds, once it has statistics


def make_segment(system, number):
    """Some more jobs that have ended, and the index of their words."""
    system.query(
        "INSERT INTO jobs (id, task, queue, state, attempt, worker, args, kwargs, created_at, scheduled_at,"
        " enqueued_at, started_at, finished_at)"
        " SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(h, 1, 3)"
        "  || '8' || substr(h, 4, 15))::uuid, 'shop.find', 'find', 'SUCCESS', 1, 'host:1',"
        " jsonb_build_array('order-' || n),"
        " jsonb_build_object('email', 'customer' || n % 500 || '@example.com'), at, at, at, at, at"
        " FROM (SELECT n, md5(n::text) AS h, now() - interval '2 hours' + n * interval '1 ms' AS at"
        f"  FROM generate_series({number * SEGMENT + 1}, {(number + 1) * SEGMENT}) n) x"
    )
    scheduler = system.start_scheduler()
    count = "SELECT coalesce(sum(jobs), 0)::int AS jobs FROM job_segments WHERE replaced_at IS NULL"
    wait_for(lambda: system.query(count)[0]["jobs"] == (number + 1) * SEGMENT, 60, "the index")
    scheduler.term_and_wait(60)


def test_a_search_reads_the_rarest_of_its_grams(stack):
    """What a segment more costs: nothing of a text that is nowhere, however common most of its grams are;
    and of one that is there, what tells apart those who have it. Each that is found is read once."""
    one, made = stack(), 0
    # Nobody makes statistics, after which the planner reads the edges of an index, whenever he comes by.
    one.query("ALTER TABLE jobs SET (autovacuum_enabled = off)")
    one.query("CREATE OR REPLACE FUNCTION till_analyze_grown() RETURNS integer LANGUAGE sql AS 'SELECT 0'")
    grams = {"customer17@example.org": [], "customer417@example.com": []}
    for segments in (3, 6):
        for number in range(made, segments):
            make_segment(one, number)
        made = segments
        for words, reads in grams.items():
            answer, read = ask(one, "/api/v1/tasks", search=words)
            found = len(answer["tasks"])
            assert found == (0 if words.endswith("org") else segments * SEGMENT // 500), answer
            assert read.get("jobs_pkey", (0, 0))[1] <= found + 4, (words, read)
            reads.append(read["job_grams_pkey"][0])
    (few, many), (few_found, many_found) = grams.values()
    assert many - few == 0, grams
    assert many_found - few_found <= 3 * 7, grams
    one.query("ANALYZE jobs")
    answer, read = ask(one, "/api/v1/tasks", search="customer417@example.com")
    assert read["jobs_pkey"][1] <= len(answer["tasks"]) + PLANNED, read

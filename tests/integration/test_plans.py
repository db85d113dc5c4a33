"""How PostgreSQL finds the rows of each statement. A session plans a statement once and keeps the plan; the statistics
that it planned by may be of a quiet hour, in which nothing was open. No statement may then read from end to end an index
or a table that a backlog fills: one payment would cost as much as there are payments that wait."""

import json
import os
import re
import subprocess

import pytest

from harness import programs

ROWS = 5000  # so many that reading all of them does not look cheap

# Statements that read a whole index, or as much of it as their LIMIT wants, because that is what they are for.
LISTS = {
    "dead_pieces": "the dead, newest first, a piece at a time",
    "job_find_open_down": "steps from queue to queue, one entry each",
    "job_find_open_up": "the same",
    "job_minutes_close": "steps from task to task; the newest 5,000 jobs",
    "jobs_busy_workers": "steps from queue to queue, one entry each",
    "jobs_count": "counts the open ones, up to a bound",
    "jobs_find_passed": "steps from queue to queue, one entry each",
    "jobs_list_started": "the same",
    "jobs_list_started_up": "the same",
    "jobs_next_due": "the first entry",
    "jobs_purge_scheduled": "what waits for its time, a batch at a time",
    "jobs_queues": "counts by queue, up to a bound",
    "jobs_sort_started": "steps from queue to queue, one entry each",
    "jobs_take_orphans": "the same",
    "jobs_take_passed": "the same",
    "jobs_tasks": "steps from task to task, one entry each",
    "jobs_total": "the newest, up to a bound",
    "jobs_waiting_streams": "steps from stream to stream, one entry each",
    "jobs_workers": "steps from queue to queue, one entry each",
    "limits_count": "who stands in line, of one bucket or of all",
    "users_list": "a page of the users, for staff",
}


def statements():
    path = os.path.join(os.path.dirname(programs.path_of("till")), "tests", "harness", "list_statements")
    done = subprocess.run([path], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def read_whole(plan):
    """The indexes that the plan reads without a condition on their columns."""
    found = []
    for number, line in enumerate(plan):
        scan = re.search(r"(?:Index Scan|Index Only Scan|Bitmap Index Scan)(?: Backward)? (?:using|on) (\S+)", line)
        if not scan:
            continue
        depth, conditions = len(line) - len(line.lstrip()), []
        for below in plan[number + 1 :]:
            if len(below) - len(below.lstrip()) <= depth or below.lstrip().startswith("->"):
                break
            conditions.append(below.strip())
        if not any(one.startswith("Index Cond") for one in conditions):
            found.append(scan[1])
    return found


@pytest.fixture(name="quiet")
def quiet_system(stack):
    """A system whose orders are paid and whose jobs are done, and whose statistics say so."""
    one = stack()
    for sql in (
        "INSERT INTO users (username, email, password_hash)"
        " SELECT 'user' || n, 'user' || n || '@shop.example', '$argon2id$v=19$m=19456,t=2,p=1$'"
        " || repeat('a', 22) || '$' || repeat('b', 43) FROM generate_series(1, 500) n",
        "INSERT INTO orders (user_id, order_status, total_amount)"
        f" SELECT (SELECT min(id) FROM users) + n % 500, 'paid', 0 FROM generate_series(1, {ROWS}) n",
        "INSERT INTO payments (id, order_id, payment_method, payment_token, amount, status, gateway_reference,"
        " first_sent_at, paid_at, idempotency_key, refund_key) SELECT gen_random_uuid(), id, 'card', 'pm_x', 0,"
        " 'succeeded', 'pi_' || id, now(), now(), gen_random_uuid(), gen_random_uuid() FROM orders",
        "INSERT INTO jobs (task, state, attempt, worker, enqueued_at, started_at, finished_at)"
        f" SELECT 'till.tasks.noop', 'SUCCESS', 1, 'w', now(), now(), now() FROM generate_series(1, {ROWS})",
        "VACUUM ANALYZE",
    ):
        one.query(sql)
    return one


def plans_of(one, wanted=None):
    """(name, plan) of all statements, as a session keeps it; or of those `wanted`."""
    one.query("SET plan_cache_mode = force_generic_plan")
    for statement in statements():
        name, params = statement["name"], statement["params"]
        if wanted and name not in wanted:
            continue
        one.query(f'PREPARE "{name}" AS {statement["sql"]}')
        given = f"({', '.join(['NULL'] * params)})" if params else ""
        yield name, [row["QUERY PLAN"] for row in one.query(f'EXPLAIN (COSTS OFF) EXECUTE "{name}"{given}')]


def test_no_statement_reads_a_whole_backlog_for_one_row(quiet):
    found = {}
    for name, plan in plans_of(quiet):
        whole = read_whole(plan) if name not in LISTS else []
        whole += re.findall(r"Seq Scan on (?:jobs|payments)\b", "\n".join(plan))
        if whole:
            found[name] = whole
    assert not found


def test_the_lists_of_what_is_open_read_only_that(quiet):
    """The conditions of these indexes are met by their own words alone."""
    indexes = {
        "upkeep_start_stuck": "payments_unsettled",
        "upkeep_lock_unpaid": "orders_unpaid",
        "jobs_list_pending": "jobs_unfinished",
        "jobs_list_pending_up": "jobs_unfinished",
        "jobs_sort_pending": "jobs_unfinished",
        "jobs_count": "jobs_unfinished",
    }
    for name, plan in plans_of(quiet, indexes):
        assert f"using {indexes[name]} " in "\n".join(plan)

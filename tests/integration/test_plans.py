"""How PostgreSQL finds the rows of each statement. A session plans a statement once and keeps the plan; the statistics
that it planned by may be of a quiet hour, in which nothing was open. No statement may then read from end to end an index
or a table that a backlog fills: one payment would cost as much as there are payments that wait."""

import json
import os
import re
import subprocess
from collections import deque

import pytest

from harness import programs
from harness.wait import wait_for

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
    "jobs_take_own_passed": "the same",
    "jobs_take_passed": "the same",
    "jobs_tasks": "steps from task to task, one entry each",
    "jobs_total": "the newest, up to a bound",
    "jobs_waiting_streams": "steps from stream to stream, one entry each",
    "jobs_workers": "steps from queue to queue, one entry each",
    "limits_count": "who stands in line, of one bucket or of all",
    "users_list": "a page of the users, for staff",
    "users_list_down": "the same",
}


def statements():
    path = os.path.join(os.path.dirname(programs.path_of("till")), "tests", "harness", "list_statements")
    done = subprocess.run([path], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def plain(text):
    """An expression without its brackets, which are not the same everywhere."""
    return re.sub(r"[() ]+", " ", text).replace(" ::", "::").strip()


def first_columns(one):
    """What each index is sorted by first."""
    rows = one.query(
        "SELECT c.relname AS name, pg_get_indexdef(i.indexrelid, 1, true) AS first"
        " FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace"
    )
    return {row["name"]: plain(row["first"]) for row in rows}


def read_whole(plan, firsts):
    """The indexes that the plan reads without a condition on what they are sorted by first."""
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
        first = re.compile(rf"Index Cond: .*(?<!\S){re.escape(firsts[scan[1]])}(?![^\s,])")
        if not any(first.match(plain(one)) for one in conditions):
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
    firsts, found = first_columns(quiet), {}
    for name, plan in plans_of(quiet):
        whole = read_whole(plan, firsts) if name not in LISTS else []
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


# ---- what stands in functions and triggers ----

CLAIM = (
    "SELECT count(*) FROM {by}(ARRAY(SELECT id FROM jobs WHERE task = 't' AND state = 'PENDING'"
    " AND enqueued_at IS NOT NULL ORDER BY id LIMIT {many}), array_fill('1-1'::text, ARRAY[{many}]), 'w')"
)
ONE_RUNNING = "id = (SELECT id FROM jobs WHERE task = 't' AND state = 'STARTED' LIMIT 1)"
GROUP = '[{"task": "part"}, {"chain": [{"task": "a"}, {"task": "b"}]}]'
# In the order in which each finds something to do.
WORK = (
    "INSERT INTO limits (scope, name, concurrency) VALUES ('key', 'k:*', 2), ('task', 't', 3)",
    "INSERT INTO limits (scope, name, rate, per_seconds, burst) VALUES ('key', 'r', 100, 1, 1)",
    "INSERT INTO jobs (task, limit_key, enqueued_at) SELECT 't', (ARRAY['k:1', 'k:2', 'r'])[n % 3 + 1], now()"
    " FROM generate_series(1, 40) n",
    CLAIM.format(by="till_claim_first", many=2),
    CLAIM.format(by="till_claim_first", many=20),  # without room
    CLAIM.format(by="till_claim_limited", many=20),
    "SELECT till_park(ARRAY(SELECT id FROM jobs WHERE task = 't' AND state = 'PENDING' AND enqueued_at IS NOT NULL),"
    " true)",
    f"UPDATE jobs SET state = 'SUCCESS', finished_at = now() WHERE {ONE_RUNNING}",
    f"UPDATE jobs SET state = 'REVOKED', finished_at = now() WHERE {ONE_RUNNING}",
    "DELETE FROM limit_ghosts",
    "SELECT count(*) FROM till_release_parked(100)",
    "SELECT till_look_at_lines()",
    "SELECT count(*) FROM till_release_parked(100)",
    CLAIM.format(by="till_claim_limited", many=20),
    "UPDATE jobs SET places = NULL WHERE state = 'STARTED'",  # as if their limit were new
    "SELECT till_count_places()",
    "SELECT till_recount_bucket(bucket) FROM limit_buckets",
    "INSERT INTO queues (name, paused_at) VALUES ('default', now())",
    "UPDATE queues SET paused_at = NULL",
    "UPDATE limits SET concurrency = 4 WHERE scope = 'task'",
    "DELETE FROM limits",
    "SELECT till_enqueue('t', '[1]', unique_key => 'mine')",
    "SELECT till_enqueue('t', '[1]', unique_key => 'mine', on_conflict => 'replace')",
    f"SELECT till_group('{GROUP}', '{{\"task\": \"callback\"}}')",
    "UPDATE jobs SET state = 'STARTED', attempt = 1, worker = 'w', started_at = now()"
    " WHERE id = ANY (ARRAY(SELECT id FROM jobs WHERE task IN ('part', 'a')))",
    "UPDATE jobs SET state = 'SUCCESS', finished_at = now() WHERE id = (SELECT id FROM jobs WHERE task = 'a')",
    "UPDATE jobs SET state = 'FAILURE', finished_at = now(), error = 'e'"
    " WHERE id = (SELECT id FROM jobs WHERE task = 'part')",
    "UPDATE jobs SET state = 'REVOKED', finished_at = now() WHERE id = (SELECT id FROM jobs WHERE task = 'b')",
    "UPDATE jobs SET state = 'PENDING', finished_at = NULL WHERE id = (SELECT id FROM jobs WHERE task = 'part')",
    "DELETE FROM jobs WHERE id = (SELECT id FROM jobs WHERE task = 'callback')",
    "SELECT till_chain('[{\"task\": \"first\"}, {\"task\": \"second\"}]')",
    "UPDATE jobs SET state = 'REVOKED', finished_at = now() WHERE id = (SELECT id FROM jobs WHERE task = 'second')",
    "UPDATE jobs SET state = 'PENDING', finished_at = NULL, enqueued_at = now()"
    " WHERE id = (SELECT id FROM jobs WHERE task = 'second')",
)
# Of limits there are 1,000 at most, and rows of buckets for those that jobs use now.
SMALL = {"limits_beginnings", "limit_buckets_waiting", "limit_buckets_look"}
# Of what reads an index from end to end, a piece that tells which one it is.
WHOLE_LINES = (
    ("FROM started_jobs s", "jobs_open", "steps from queue to queue, one entry each"),
    ("WITH RECURSIVE line AS", "jobs_line", "steps from line to line, one entry each"),
    ("AS coming FROM jobs j WHERE (j.finished_at IS NULL) IS TRUE AND CASE", "jobs_unfinished", "till_recount_bucket(), by hand"),
    ("WHERE j.queue = OLD.name AND j.parked_on IS NOT NULL", "jobs_line", "a queue is resumed: who waits for it"),
)
# Functions that speak of jobs, but are not run here.
NOT_RUN = {
    "job_place": "jobs is an argument of it",
    "till_analyze_grown": "asks what is known of the table",
}


def nested_plans(session, sql):
    """(statement, plan) of all that PostgreSQL runs for it, in functions and triggers, too."""
    session.notices.clear()
    with session.cursor() as cursor:
        cursor.execute(sql)
    for notice in session.notices:
        lines = notice.partition("Query Text: ")[2].splitlines()
        plan = [number for number, line in enumerate(lines) if "(cost=" in line]
        if plan:
            yield " ".join(" ".join(lines[: plan[0]]).split()), lines[plan[0] :]


def test_no_statement_in_a_function_reads_a_whole_backlog(quiet):
    session = quiet.postgres.connect(quiet.database)
    session.notices = deque()
    for setting in (
        "LOAD 'auto_explain'", "SET auto_explain.log_min_duration = 0", "SET auto_explain.log_nested_statements = on",
        "SET auto_explain.log_level = notice", "SET plan_cache_mode = force_generic_plan", "SET track_functions = 'all'",
    ):
        for _ in nested_plans(session, setting):
            pass
    firsts, found, count = first_columns(quiet), {}, 0
    for sql in WORK:
        for statement, plan in nested_plans(session, sql):
            if statement in WORK:
                continue
            count += 1
            whole = set(read_whole(plan, firsts)) - SMALL
            whole -= {index for piece, index, _ in WHOLE_LINES if piece in statement}
            whole |= set(re.findall(r"Seq Scan on (?:jobs|payments)\b", "\n".join(plan)))
            if whole:
                found[statement] = whole
    session.close()

    assert not found
    assert count > 80
    never = (
        "SELECT p.proname FROM pg_proc p LEFT JOIN pg_stat_user_functions f ON f.funcid = p.oid"
        " JOIN pg_language l ON l.oid = p.prolang AND l.lanname = 'plpgsql'"
        " WHERE p.pronamespace = current_schema()::regnamespace AND f.calls IS NULL AND p.prosrc ~ '\\mjobs\\M'"
    )
    # A session that ends tells what it has run, a moment after its end.
    wait_for(lambda: {row["proname"] for row in quiet.query(never)} <= set(NOT_RUN), 10, lambda: quiet.query(never))

"""jobs.tasks.prune: what is kept, for how long, and how little is looked at to find it."""

import contextlib
import json
import threading
import time
import uuid

import pytest
from harness.wait import wait_for

WEEK = 7 * 86400
HALF_YEAR = 180 * 86400
# Seconds since the end, state, columns; and whether the job outlives a pass.
KINDS = {
    "young": (WEEK - 600, "SUCCESS", {}, True),
    "old": (WEEK + 600, "SUCCESS", {}, False),
    "old and revoked": (WEEK + 600, "REVOKED", {}, False),
    "dead": (WEEK + 600, "FAILURE", {}, True),
    "long dead": (HALF_YEAR + 600, "FAILURE", {}, False),
    "kept short by itself": (120, "SUCCESS", {"retention_s": 60}, False),
    "kept short by itself, not over": (30, "SUCCESS", {"retention_s": 60}, True),
    "kept long by itself": (WEEK * 2, "SUCCESS", {"retention_s": WEEK * 3}, True),
    "kept long by itself, over": (WEEK * 3 + 60, "REVOKED", {"retention_s": WEEK * 3}, False),
    "dead, and kept short by itself": (120, "FAILURE", {"retention_s": 60}, True),
    "long dead, and kept longer by itself": (HALF_YEAR + 600, "FAILURE", {"retention_s": 10**8}, True),
    "kept short by its task": (120, "SUCCESS", {"task": "short.task"}, False),
    "kept short by its task, not over": (30, "SUCCESS", {"task": "short.task"}, True),
    "kept long by its task": (WEEK * 2, "SUCCESS", {"task": "long.task"}, True),
    "short by itself, long by its task": (120, "SUCCESS", {"task": "long.task", "retention_s": 60}, False),
}


def id_of(seconds_ago, version):
    """An id that was made then: of version 7 it tells the time, of 4 it does not."""
    if version == 4:
        return str(uuid.uuid4())
    ms = int((time.time() - seconds_ago) * 1000)
    tail = uuid.uuid4().hex[13:]
    return str(uuid.UUID(f"{ms:012x}7{tail}"))


def insert(one, seconds_ago, state, columns, version=7):
    job_id = id_of(seconds_ago, version)
    values = {"task": "any.task", "retention_s": None, **columns}
    one.query(
        "INSERT INTO jobs (id, task, retention_s, state, error, created_at, enqueued_at, finished_at)"
        " SELECT %s, %s, %s, %s::job_state, CASE %s WHEN 'SUCCESS' THEN NULL ELSE 'why' END,"
        " at, at, at FROM (SELECT now() - %s * interval '1 second' AS at) t",
        job_id,
        values["task"],
        values["retention_s"],
        state,
        state,
        seconds_ago,
    )
    one.query("INSERT INTO job_errors (job_id, attempt, error) VALUES (%s, 1, 'why')", job_id)
    return job_id


NOTHING = {"jobs": 0, "flows": 0, "idempotency_keys": 0, "refresh_tokens": 0, "dashboard_sessions": 0, "audit": 0,
           "gateway_events": 0, "all": True}


def prune(one):
    """One pass; its result."""
    done = one.till("enqueue", "jobs.tasks.prune", "--retention", 3600)
    return one.wait_job(done.stdout.strip(), timeout=60)["result"]


@pytest.mark.parametrize("version", [7, 4])
def test_jobs_are_kept_as_long_as_they_their_task_or_the_settings_say(stack, version):
    one = stack()
    one.start_worker()
    one.query(
        "INSERT INTO tasks (name, queue, max_attempts, fast, retention_s)"
        " VALUES ('short.task', 'default', 1, false, 60), ('long.task', 'default', 1, false, %s)",
        WEEK * 3,
    )
    ids = {name: insert(one, *kind[:3], version) for name, kind in KINDS.items()}
    waiting = one.value(
        "INSERT INTO jobs (id, task, created_at, scheduled_at) VALUES (%s, 'any.task',"
        " now() - interval '1 year', now() + interval '1 year') RETURNING id",
        id_of(365 * 86400, version),
    )

    result = prune(one)

    left = {row["id"] for row in one.query("SELECT id FROM jobs WHERE task <> 'jobs.tasks.prune'")}
    assert {name for name, job_id in ids.items() if job_id in left} == {
        name for name, kind in KINDS.items() if kind[3]
    }
    assert waiting in left
    gone = sum(not kind[3] for kind in KINDS.values())
    assert result == {**NOTHING, "jobs": gone}
    assert one.value("SELECT count(*) FROM job_errors") == len(KINDS) - gone
    assert prune(one)["jobs"] == 0


def test_jobs_of_a_flow_are_kept_until_it_is_over(stack):
    """What comes last may need the results of all."""
    one = stack()
    one.start_worker()
    one.start_scheduler()
    flow = one.value(
        "SELECT till_chain(%s)",
        json.dumps(
            [
                {"task": "till.tasks.noop", "retention_s": 1},
                {"task": "till.tasks.noop"},
                {"task": "till.tasks.noop", "scheduled_at": "2100-01-01T00:00:00Z"},
            ]
        ),
    )
    done = "SELECT count(*) FROM jobs WHERE flow_id = %s AND state = 'SUCCESS'"
    age = (
        "UPDATE jobs SET id = %s::uuid, finished_at = now() - interval '1 year'"
        " WHERE flow_id = %s AND flow_step = %s"
    )
    wait_for(lambda: one.value(done, flow) == 2, 15, "the flow does not begin")
    for step in (1, 2):
        one.query(age, id_of(366 * 86400, 7), flow, step)
    assert prune(one)["jobs"] == 0
    assert one.value(done, flow) == 2

    one.query("UPDATE jobs SET scheduled_at = now() WHERE finished_at IS NULL")
    wait_for(lambda: one.value(done, flow) == 3, 15, "the flow does not end")
    one.query(age, id_of(366 * 86400, 7), flow, 3)
    one.query("UPDATE flows SET finished_at = now() - interval '1 year'")

    result = prune(one)

    assert (result["jobs"], result["flows"]) == (3, 1)
    assert one.value("SELECT count(*) FROM flows") == 0


def test_a_failed_flow_keeps_what_a_retry_needs_as_long_as_its_dead(stack):
    """The dead are kept for half a year, what has succeeded for a week: a retry in between was given nothing."""
    one = stack().start(apis=0)
    flow = one.value("SELECT till_chain(%s)", json.dumps([{"task": "till.tasks.echo"}, {"task": "till.tasks.fail"}]))
    dead = one.value("SELECT id FROM jobs WHERE flow_id = %s AND flow_step = 2", flow)
    one.query("UPDATE jobs SET max_attempts = 1 WHERE id = %s", dead)
    one.wait_job(dead, "FAILURE")
    over = "SELECT finished_at FROM flows WHERE id = %s"
    wait_for(lambda: one.value(over, flow), 10, "the flow does not end")

    def age(days):
        one.query(
            "UPDATE jobs SET id = %s::uuid, finished_at = now() - %s * interval '1 day'"
            " WHERE flow_id = %s AND flow_step = 1", id_of(days * 86400, 7), days, flow)  # fmt: skip
        one.query("UPDATE flows SET finished_at = now() - %s * interval '1 day' WHERE id = %s", days, flow)

    age(100)
    assert prune(one)["jobs"] == 0
    age(200)
    assert prune(one)["jobs"] == 1

    told = one.till("task", "retry", dead)
    assert told.returncode == 1 and "jobs before it in its flow were deleted" in told.stderr
    assert one.job(dead)["state"] == "FAILURE"


def test_what_a_failed_flow_has_stopped_is_kept_as_long_as_its_dead(stack):
    """With a retention of its own it was deleted, and the flow went nowhere when its dead member was retried."""
    one = stack().start(apis=0)
    short = {"task": "till.tasks.echo", "retention_s": 1}
    once = {"task": "till.tasks.fail", "args": ["once", 1], "max_attempts": 1}
    outcome = "SELECT outcome::text FROM flows WHERE id = %s"
    flow = one.value("SELECT till_chain(%s)", json.dumps([short, once, short, short]))
    wait_for(lambda: one.value(outcome, flow) == "FAILURE", 10, "the flow does not end")

    def age(days):
        one.query("UPDATE jobs SET finished_at = now() - %s * interval '1 day' WHERE flow_id = %s", days, flow)
        one.query("UPDATE flows SET finished_at = now() - %s * interval '1 day' WHERE id = %s", days, flow)

    age(1)
    assert prune(one)["jobs"] == 1  # what has run, and so has a result, goes when it is said to
    age(200)
    assert prune(one)["jobs"] == 3

    flow = one.value("SELECT till_chain(%s)", json.dumps([once, short, short]))
    wait_for(lambda: one.value(outcome, flow) == "FAILURE", 10, "the flow does not end")
    age(1)
    one.query("UPDATE flows SET outcome = 'REVOKED', cancelled_at = now() WHERE id = %s", flow)  # one that was cancelled, too
    assert prune(one)["jobs"] == 0
    dead = one.value("SELECT id FROM jobs WHERE flow_id = %s AND flow_step = 1", flow)
    assert one.till("dead", "retry", dead).returncode == 0
    wait_for(lambda: one.value(outcome, flow) == "SUCCESS", 10, "it does not go on")


def failed_flow(one, revoked=False):
    """A chain whose first member has died, and what stands behind it long ago; its id and those of the members."""
    short = {"task": "till.tasks.echo", "retention_s": 1}
    once = {"task": "till.tasks.fail", "args": ["once", 1], "max_attempts": 1, "queue": "payments"}
    flow = one.value("SELECT till_chain(%s)", json.dumps([once, short, short]))
    ids = [row["id"] for row in one.query("SELECT id FROM jobs WHERE flow_id = %s ORDER BY flow_step", flow)]
    if revoked:
        assert one.till("task", "revoke", ids[1]).returncode == 0
    one.start_scheduler()
    one.start_worker()
    wait_for(lambda: one.value("SELECT outcome FROM flows"), 10, "the flow does not end")
    one.query("UPDATE jobs SET finished_at = finished_at - interval '200 days' WHERE id = ANY (%s::uuid[])", ids[1:])
    one.query("UPDATE flows SET finished_at = finished_at - interval '200 days'")
    return ids


def test_a_step_that_is_deleted_while_the_dead_before_it_is_retried_leaves_the_flow_over(stack):
    """It was counted as one that waits again, and was gone: the flow was never over."""
    one = stack()
    dead, stopped, last = failed_flow(one)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
    with contextlib.closing(one.postgres.connect(one.database)) as holder:
        cursor = holder.cursor()
        cursor.execute("BEGIN; DELETE FROM jobs WHERE id = %s", (stopped,))
        retry = threading.Thread(target=one.till, args=("task", "retry", dead))
        retry.start()
        wait_for(lambda: one.value(waiting) == 1, 20, "the retry does not wait")
        cursor.execute("COMMIT")
        retry.join(60)

    one.wait_job(dead, "SUCCESS")
    assert one.value("SELECT outcome::text FROM flows") == "FAILURE"  # what was behind the deleted one never comes
    assert one.job(last)["state"] == "REVOKED"
    assert one.value("SELECT count(*) FROM flow_gates WHERE open <> stopped AND open > 0") == 0


def test_a_prune_that_began_before_a_retry_deletes_nothing_of_the_flow_after_it(stack):
    """A member that somebody had revoked was deleted though the flow went on, which was never over then."""
    one = stack()
    dead, stopped, last = failed_flow(one, revoked=True)
    # Of the programs, which own no table, whoever looks at flows waits in the middle of the statement.
    one.query("CREATE FUNCTION pause() RETURNS boolean LANGUAGE plpgsql AS"
              " 'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN true; END'")  # fmt: skip
    one.query("CREATE POLICY pauses ON flows USING ((SELECT pause())) WITH CHECK (true)")
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND query ~ '^DELETE FROM jobs'"
        " AND datname = current_database()"
    )
    with contextlib.closing(one.postgres.connect(one.database)) as holder:
        holder.cursor().execute("SELECT pg_advisory_lock(42)")
        one.query("ALTER TABLE flows ENABLE ROW LEVEL SECURITY")
        pruning = one.till("enqueue", "jobs.tasks.prune", "--retention", 3600).stdout.strip()
        wait_for(lambda: one.value(waiting) == 1, 20, "the prune does not look at the flow")
        assert one.till("queue", "pause", "payments").returncode == 0
        assert one.till("task", "retry", dead).returncode == 0
        holder.cursor().execute("SELECT pg_advisory_unlock(42)")
        one.wait_job(pruning, "SUCCESS")

    assert one.till("queue", "resume", "payments").returncode == 0
    one.wait_job(dead, "SUCCESS")
    wait_for(lambda: one.value("SELECT outcome::text FROM flows") == "FAILURE", 10, "the flow is never over")
    assert [one.job(step)["state"] for step in (stopped, last)] == ["REVOKED", "REVOKED"]


def test_the_settings_say_how_long(stack):
    one = stack(settings={"TILL_RETENTION_SECONDS": 60, "TILL_DEAD_RETENTION_SECONDS": 600})
    one.start_worker()
    kept = [insert(one, 30, "SUCCESS", {}), insert(one, 540, "FAILURE", {})]
    insert(one, 120, "SUCCESS", {})
    insert(one, 660, "FAILURE", {})

    assert prune(one)["jobs"] == 2

    assert [one.job(job_id) is not None for job_id in kept] == [True, True]


def fill(one, count, seconds_ago, task="any.task", prefix="7"):
    """That many succeeded jobs, one a millisecond, the last of them `seconds_ago`."""
    one.query(
        "INSERT INTO jobs (id, task, state, created_at, enqueued_at, finished_at)"
        " SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')"
        " || %s || lpad(to_hex(n), 19, '0'))::uuid, %s, 'SUCCESS', at, at, at"
        " FROM (SELECT n, now() - %s * interval '1 s' - n * interval '1 ms' AS at"
        "       FROM generate_series(1, %s) n) t",
        prefix,
        task,
        seconds_ago,
        count,
    )


def rows_read(one):
    return one.value(
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'jobs'"
    )


@pytest.mark.parametrize("prefix", ["7", "4"])
def test_a_pass_reads_what_it_deletes_and_hardly_more(stack, prefix):
    one = stack()
    one.start_worker()
    fill(one, 60000, 3600, prefix=prefix)
    fill(one, 2500, WEEK + 3600, prefix=prefix)
    fill(one, 300, WEEK + 3600, "other.task", prefix=prefix)
    one.query("INSERT INTO tasks (name, queue, max_attempts, fast, retention_s)"
              " VALUES ('short.task', 'default', 1, false, 60)")
    fill(one, 700, 120, "short.task", prefix=prefix)
    one.query("ANALYZE jobs")
    deleted = "SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'jobs'"
    wait_for(lambda: one.value("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'jobs'") == 63500, 20, "no figures")
    before = rows_read(one)

    assert prune(one)["jobs"] == 3500

    wait_for(lambda: one.value(deleted) == 3500, 20, "the figures never come")
    assert rows_read(one) - before < 3 * 3500 + 2000
    assert one.value("SELECT count(*) FROM jobs WHERE task = 'any.task'") == 60000


def test_several_passes_at_once_delete_each_job_once(stack):
    one = stack(settings={"TILL_RETENTION_SECONDS": 60})
    one.start_worker()
    fill(one, 20000, 3600)
    fill(one, 20000, 3600, prefix="4")
    results = []
    threads = [threading.Thread(target=lambda: results.append(prune_alone(one))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sum(results) == 40000
    assert one.value("SELECT count(*) FROM jobs WHERE task = 'any.task'") == 0


def prune_alone(one):
    """As prune(), with a session of its own to look."""
    done = one.till("enqueue", "jobs.tasks.prune", "--retention", 3600, "--wait", "--json")
    return json.loads(done.stdout.splitlines()[-1])["result"]["jobs"]


def test_answers_and_sessions_that_have_expired_go_too(stack):
    one = stack()
    one.start_worker()
    user = one.value(
        "INSERT INTO users (username, email, password_hash)"
        " VALUES ('a', 'a@example.com', '$argon2id$x') RETURNING id"
    )
    for hours in (71, 73):
        one.query(
            "INSERT INTO idempotency_keys (user_id, key, fingerprint, status, body, created_at)"
            " VALUES (%s, %s, sha256('x'), 200, '', now() - %s * interval '1 hour')",
            user,
            f"key {hours}",
            hours,
        )
        one.query(
            "INSERT INTO refresh_tokens (jti_hash, family, user_id, expires_at)"
            " VALUES (sha256(%s), gen_random_uuid(), %s, now() + %s * interval '1 hour')",
            str(hours).encode(),
            user,
            72 - hours,
        )

    assert prune(one) == {**NOTHING, "idempotency_keys": 1, "refresh_tokens": 1}

    assert one.value("SELECT key FROM idempotency_keys") == "key 71"
    assert one.value("SELECT expires_at > now() FROM refresh_tokens")


def test_logins_audit_and_gateway_events_go_by_their_own_times(stack):
    one = stack({"TILL_AUDIT_RETENTION_SECONDS": 86400, "TILL_EVENT_RETENTION_SECONDS": 604800})
    one.start_worker()
    for days in (8.1, 6.9, 1.1, 0.9):
        one.query("INSERT INTO audit (at, actor, role, remote, action, outcome)"
                  " VALUES (now() - %s * interval '1 day', 'ann', 'admin', '::1', %s, 'done')", days, f"did {days}")
        one.query("INSERT INTO gateway_events (id, type, outcome, created_at, received_at)"
                  " VALUES (%s, 't', 'ignored', now(), now() - %s * interval '1 day')", f"evt_{days}", days)
        one.query("INSERT INTO dashboard_sessions (hash, username, expires_at)"
                  " VALUES (sha256(%s), 'ann', now() + %s * interval '1 day')", str(days).encode(), days - 5)

    assert prune(one) == {**NOTHING, "dashboard_sessions": 2, "audit": 3, "gateway_events": 1}

    assert one.value("SELECT string_agg(action, ',') FROM audit") == "did 0.9"
    assert one.value("SELECT count(*) FROM gateway_events") == 3
    assert one.value("SELECT count(*) FROM dashboard_sessions WHERE expires_at > now()") == 2
    assert prune(one) == NOTHING


def test_an_audit_log_of_more_than_a_batch_goes_whole_and_what_is_young_is_not_looked_through(stack):
    one = stack()
    one.start_worker()
    one.query("INSERT INTO audit (at, actor, role, remote, action, outcome)"
              " SELECT now() - interval '401 days', 'ann', 'admin', '::1', 'a', 'done' FROM generate_series(1, 2500)")
    one.query("INSERT INTO audit (actor, role, remote, action, outcome)"
              " SELECT 'ann', 'admin', '::1', 'young', 'done' FROM generate_series(1, 10)")
    assert prune(one)["audit"] == 2500
    assert one.value("SELECT count(*) FROM audit") == 10

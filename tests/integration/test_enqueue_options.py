"""What an enqueue may say besides task and arguments: unique keys, expiry, headers, traces."""

import json
import signal
import threading
import uuid

import psycopg2
import pytest
from harness.wait import pause, wait_for

STREAM = "till:{default}:normal"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
UNFINISHED = "SELECT count(*) FROM jobs WHERE finished_at IS NULL"


def connect(one):
    return one.postgres.connect(one.database)


def sql_enqueue(cursor, task="till.tasks.noop", **named):
    """till_enqueue() as any SQL client calls it."""
    marks = "".join(f", {name} => %s" for name in named)
    cursor.execute(f"SELECT till_enqueue(%s{marks})", (task, *named.values()))
    return cursor.fetchone()[0]


def by_sql(one, task="till.tasks.noop", **named):
    marks = "".join(f", {name} => %s" for name in named)
    return one.value(f"SELECT till_enqueue(%s{marks})", task, *named.values())


def by_cli(one, task="till.tasks.noop", args="[]", **named):
    names = {"unique_key": "unique", "unique_ttl": "unique-ttl", "on_conflict": "on-conflict"}
    flags = []
    for name, value in named.items():
        flags += ["--" + names.get(name, name.replace("_", "-")), value]
    done = one.till("enqueue", task, args, *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


both = pytest.mark.parametrize("enqueue", [by_sql, by_cli])


# ---- unique keys ----


@both
@pytest.mark.parametrize("on_conflict", ["keep", "refuse"])
def test_a_job_that_has_expired_holds_its_key_no_longer(stack, enqueue, on_conflict):
    """Nobody has looked at it since: there is neither worker nor scheduler."""
    one = stack()
    expired = by_sql(one, unique_key="report 7", expires_at="2026-01-01T00:00:00Z")

    asked = enqueue(one, unique_key="report 7", on_conflict=on_conflict)
    assert asked != expired
    assert (one.job(expired)["state"], one.job(expired)["error"]) == ("REVOKED", "expired")
    assert by_sql(one, unique_key="report 7") == asked, "which holds it now"


@both
def test_a_key_is_held_until_the_job_is_finished(stack, enqueue):
    one = stack()

    first = enqueue(one, unique_key="report 7")
    assert enqueue(one, unique_key="report 7") == first
    assert enqueue(one, unique_key="report 8") != first
    assert one.value(UNFINISHED) == 2
    one.start_worker()
    one.start_scheduler()
    one.wait_settled()

    again = enqueue(one, unique_key="report 7")
    assert again != first
    one.wait_job(again)


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "REVOKED"])
def test_every_final_state_gives_the_key_back(stack, state):
    one = stack()
    task = {"SUCCESS": "till.tasks.noop"}.get(state, "till.tasks.fail")
    first = by_cli(one, task, unique_key="k", countdown=3600 if state == "REVOKED" else 0)

    if state == "REVOKED":
        assert one.till("task", "revoke", first).returncode == 0
    one.start_worker()
    one.start_scheduler()
    one.wait_job(first, state)

    assert by_cli(one, unique_key="k") != first


def test_a_retry_goes_on_holding_the_key(stack):
    one = stack(settings={"TILL_RETRY_BASE_MS": 3600000, "TILL_RETRY_MAX_SECONDS": 3600})
    one.start_worker()
    first = by_cli(one, "till.tasks.fail", unique_key="k")
    one.wait_job(first, "RETRY")

    assert by_cli(one, "till.tasks.fail", unique_key="k") == first
    assert by_sql(one, "till.tasks.fail", unique_key="k") == first


@both
def test_a_kept_job_stays_as_it_is(stack, enqueue):
    one = stack()
    first = enqueue(one, args="[1]", unique_key="k")
    before = one.job(first)

    enqueue(one, args="[2]", unique_key="k", priority=0 if enqueue is by_sql else "high")

    assert one.job(first) == before
    assert one.value("SELECT count(*) FROM jobs") == 1


def test_the_command_line_tells_what_became_of_it(stack):
    one = stack()

    def told(*words):
        done = one.till("enqueue", "till.tasks.noop", "--unique", "k", "--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    first = told()
    assert first["outcome"] == "added"
    assert told() == {"id": first["id"], "outcome": "kept"}
    assert told("--on-conflict", "replace") == {"id": first["id"], "outcome": "replaced"}


@both
def test_a_waiting_job_is_replaced_in_place(stack, enqueue):
    one = stack()
    high = 0 if enqueue is by_sql else "high"
    first = enqueue(one, args="[1]", unique_key="k")
    before = one.job(first)

    second = enqueue(
        one,
        "till.tasks.sleep",
        args="[0]",
        kwargs='{"a": 1}',
        queue="other",
        priority=high,
        max_attempts=3,
        traceparent=TRACE,
        unique_key="k",
        on_conflict="replace",
    )

    after = one.job(first)
    assert second == first
    assert (after["task"], after["args"], after["kwargs"]) == ("till.tasks.sleep", [0], {"a": 1})
    assert (after["queue"], after["priority"], after["max_attempts"]) == ("other", 0, 3)
    assert (after["traceparent"], after["created_at"]) == (TRACE, before["created_at"])
    assert one.value("SELECT count(*) FROM jobs") == 1
    one.start_worker(TILL_QUEUES="default,other")
    one.start_scheduler()
    one.wait_settled()
    assert one.job(first)["attempt"] == 1


@both
def test_replacing_moves_a_job_in_time_both_ways(stack, enqueue):
    one = stack()
    later = "2100-01-01T00:00:00Z"
    when = "scheduled_at" if enqueue is by_sql else "eta"
    first = enqueue(one, unique_key="k", **{when: later})
    one.start_worker()
    one.start_scheduler()

    enqueue(one, unique_key="k", on_conflict="replace")
    one.wait_job(first)
    second = enqueue(one, "till.tasks.noop", unique_key="k2")
    one.wait_job(second)

    third = enqueue(one, unique_key="k3", queue="other")  # nobody reads it yet
    enqueue(one, unique_key="k3", queue="other", on_conflict="replace", **{when: later})
    one.start_worker(TILL_QUEUES="other")
    fourth = enqueue(one, queue="other")
    one.wait_job(fourth)  # its entry came behind that of the third, which was dropped
    wait_for(lambda: one.redis.xlen("till:{other}:normal") == 0, 10, "the entry of a postponed job stays")
    assert one.job(third)["state"] == "PENDING" and one.job(third)["attempt"] == 0


def test_replacing_a_failed_job_that_waits_gives_it_all_attempts_and_keeps_its_errors(stack):
    one = stack(settings={"TILL_RETRY_BASE_MS": 3600000, "TILL_RETRY_MAX_SECONDS": 3600})
    one.start_worker()
    first = by_cli(one, "till.tasks.fail", unique_key="k", max_attempts=2)
    one.wait_job(first, "RETRY")

    assert by_cli(one, "till.tasks.noop", unique_key="k", on_conflict="replace") == first

    job = one.wait_job(first)
    assert (job["attempt"], job["max_attempts"]) == (2, 11)
    assert one.value("SELECT count(*) FROM job_errors WHERE job_id = %s", first) == 1


@both
@pytest.mark.parametrize("limited", [False, True], ids=["free", "limited"])
def test_a_job_replaced_into_another_queue_is_not_run_by_its_old_entry(stack, enqueue, limited):
    """The worker of the old queue meets that entry, and brings the job where it belongs."""
    one = stack({"TILL_QUEUES": "default"})
    if limited:
        assert one.till("limit", "set", "key", "narrow", "--concurrency", "1").returncode == 0
    options = {"unique_key": "k", **({"limit_key": "narrow"} if limited else {})}
    old = one.start_quiet_worker()
    first = by_cli(one, "till.tasks.noop", **options)
    assert one.redis.xlen("till:{default}:normal") == 1
    assert enqueue(one, "till.tasks.noop", queue="special", on_conflict="replace", **options) == first
    one.query("UPDATE jobs SET enqueued_at = now() WHERE id = %s", first)  # as the scheduler does before its XADD
    one.redis.delete("till:{special}:normal")
    assert one.till("queue", "pause", "special").returncode == 0

    old.send(signal.SIGCONT)
    assert old.wait_for_log("job_redirected", job_id=first)["queue"] == "special"
    wait_for(lambda: one.redis.xlen("till:{default}:normal") == 0, 30, "the old entry stays")
    row = one.job(first)
    assert (row["state"], row["queue"], row["attempt"]) == ("PENDING", "special", 0)
    assert one.redis.xlen("till:{special}:normal") == 1, "it is where it belongs"
    one.start_worker(TILL_QUEUES="special")
    assert one.till("queue", "resume", "special").returncode == 0

    assert one.wait_job(first, timeout=30)["attempt"] == 1
    one.settle()


@both
def test_a_job_replaced_with_another_priority_runs_once_by_the_entry_of_that(stack, enqueue):
    one = stack()
    worker = one.start_quiet_worker()
    first = by_cli(one, "till.tasks.noop", unique_key="k")
    priority = 0 if enqueue is by_sql else "high"
    assert enqueue(one, "till.tasks.noop", priority=priority, unique_key="k", on_conflict="replace") == first
    one.start_scheduler()
    worker.send(signal.SIGCONT)

    assert one.wait_job(first, timeout=30)["attempt"] == 1
    one.settle()


@both
def test_what_replaces_a_running_job_is_a_job_of_its_own(stack, enqueue):
    """Nothing of what is new is lost, and the old one does not come back behind it."""
    one = stack()
    worker = one.start_worker(TILL_WORKER_PROCESSES=1)
    one.start_scheduler()
    first = by_cli(one, "till.tasks.sleep", "[600]", unique_key="k")
    one.wait_job(first, "STARTED")

    second = enqueue(one, args="[2]", unique_key="k", on_conflict="replace")

    assert second != first
    one.wait_job(second)
    third = enqueue(one, unique_key="k", **{"countdown": 3600} if enqueue is by_cli else {})
    assert third != first
    worker.kill()  # the attempt that was cut off was its last
    one.start_worker()
    assert "attempt" in one.wait_job(first, "FAILURE")["error"]
    assert one.job(first)["attempt"] == 1


def superseded(one, first):
    """The old one has ended, says why, and cannot be made to run behind the new one."""
    old = one.wait_job(first, "REVOKED")
    assert old["error"] == 'superseded: a newer job took its unique key "k" while it ran'
    done = one.till("task", "retry", first)
    assert done.returncode == 1 and 'took its unique key "k" while it ran' in done.stderr
    one.settle()
    return (one.job(first)["state"], one.job(first)["attempt"]) == ("REVOKED", 1)


def test_a_superseded_job_that_is_given_back_does_not_run_again(stack):
    one = stack()
    worker = one.start_worker(TILL_WORKER_PROCESSES=1, TILL_SHUTDOWN_SECONDS=1)
    one.start_scheduler()
    first = by_cli(one, "till.tasks.sleep", "[600]", unique_key="k")
    one.wait_job(first, "STARTED")
    second = by_sql(one, args="[2]", unique_key="k", on_conflict="replace")
    one.wait_job(second)

    worker.term_and_wait()
    one.start_worker()

    assert superseded(one, first)


# Whatever a worker writes of jobs waits for advisory lock 1 while one runs.
HOLD = """
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('application_name') = 'till-worker' AND EXISTS (SELECT FROM jobs WHERE state = 'STARTED') THEN
            PERFORM pg_advisory_xact_lock(1);
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER hold BEFORE UPDATE ON jobs FOR EACH STATEMENT EXECUTE FUNCTION hold()
"""


def test_the_most_attempts_there_are_stand_a_snooze_and_a_worker_that_ends(stack):
    """One more than that is no integer, and would be refused for all that a worker gives back."""
    most = 2**31 - 1
    one = stack({"TILL_LEASE_SECONDS": 60}).start(apis=0, workers=0)
    worker = one.start_worker(TILL_WORKER_PROCESSES=1, TILL_SHUTDOWN_SECONDS=1)
    one.wait_job(one.insert_job("till.tasks.snooze", [0.05, 1], max_attempts=most))
    jobs = [one.insert_job("till.tasks.sleep", [600], max_attempts=n) for n in (most, 3)]
    for job in jobs:
        one.wait_job(job, "STARTED")
    worker.term()

    for job in jobs:
        one.wait_job(job, "PENDING")
    assert [one.job(job)["max_attempts"] for job in jobs] == [most, 4]


@pytest.mark.parametrize(("task", "args"), [("till.tasks.snooze", "[0.05, 9]"), ("till.tasks.fail", "[]")])
def test_a_superseded_job_that_would_be_run_later_is_not(stack, task, args):
    """Its worker writes how the attempt ended behind the one that took the key."""
    one = stack()
    one.query(HOLD)
    one.start_worker(TILL_WORKER_PROCESSES=1)
    one.start_scheduler()

    with connect(one) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(1)")
        first = by_cli(one, task, args, unique_key="k")
        one.wait_job(first, "STARTED")
        second = by_sql(one, args="[2]", unique_key="k", on_conflict="replace")
        assert second != first

    one.wait_job(second)
    assert superseded(one, first)
    one.worker.wait_for_log("job_superseded", job_id=first)
    for event in ("job_retry", "job_snoozed"):
        assert not one.worker.find_log(event, job_id=first)


@both
def test_refusing_names_the_holder_and_changes_nothing(stack, enqueue):
    one = stack()
    first = enqueue(one, args="[1]", unique_key="k")

    done = one.till("enqueue", "till.tasks.noop", "--unique", "k", "--on-conflict", "refuse")
    with pytest.raises(psycopg2.errors.UniqueViolation, match=f'"k" is held by job {first}') as error:
        by_sql(one, unique_key="k", on_conflict="refuse")

    assert error.value.diag.constraint_name == "jobs_unique_key"
    assert done.returncode == 1
    assert f'unique key "k" is held by job {first}' in done.stderr
    assert done.stdout == ""
    assert one.value("SELECT count(*) FROM jobs") == 1
    assert enqueue(one, unique_key="free", on_conflict="refuse") != first


@both
def test_a_key_is_held_for_its_time_to_live_at_most(stack, enqueue):
    one = stack()
    ttl = "1 hour" if enqueue is by_sql else 3600
    first = enqueue(one, unique_key="k", unique_ttl=ttl)
    assert enqueue(one, unique_key="k", unique_ttl=ttl) == first
    lives = one.value("SELECT extract(epoch FROM unique_until - created_at)::float FROM jobs WHERE id = %s", first)
    assert lives == pytest.approx(3600, abs=60)

    one.query("UPDATE jobs SET unique_until = now() WHERE id = %s", first)  # as when it is over
    second = enqueue(one, unique_key="k", on_conflict="refuse")

    assert second != first
    assert one.job(first)["unique_key"] is None
    assert enqueue(one, unique_key="k") == second
    one.start_worker()
    one.start_scheduler()
    one.wait_settled()
    assert one.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'") == 2


def in_parallel(count, work):
    """Runs work(number) in that many threads that begin together; raises what one of them did."""
    barrier = threading.Barrier(count)
    errors = []

    def run(number):
        try:
            barrier.wait()
            work(number)
        except Exception as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors, errors


def test_of_many_sessions_at_once_one_inserts_and_all_get_its_id(stack):
    one = stack()
    got = [[] for _ in range(12)]

    def work(number):
        connection = connect(one)
        with connection.cursor() as cursor:
            for key in range(20):
                got[number].append(sql_enqueue(cursor, unique_key=f"key {key}"))
        connection.close()

    in_parallel(len(got), work)

    assert one.value("SELECT count(*) FROM jobs") == 20
    assert all(ids == got[0] for ids in got)
    assert len(set(got[0])) == 20


def test_at_most_one_job_of_a_key_is_unfinished_while_workers_finish_them(stack):
    """Sessions insert as fast as the worker finishes: the key changes hands all the time."""
    one = stack()
    one.start_worker()
    one.start_scheduler()
    ids = set()

    def work(_):
        connection = connect(one)
        with connection.cursor() as cursor:
            for at in range(40):
                ids.add(
                    sql_enqueue(cursor, unique_key="k", on_conflict=["keep", "replace"][at % 2])
                )
        connection.close()

    in_parallel(6, work)
    one.wait_settled()

    rows = one.query("SELECT id, state, unique_key FROM jobs")
    assert {row["id"] for row in rows} == ids
    assert {row["state"] for row in rows} <= {"SUCCESS"}


def test_an_open_transaction_holds_its_key_and_a_rolled_back_one_gives_it_back(stack):
    one = stack()
    first, second = connect(one), connect(one)
    first.autocommit = second.autocommit = False
    with first.cursor() as cursor:
        dropped = sql_enqueue(cursor, unique_key="k")
    got = []

    def wait():
        with second.cursor() as cursor:
            got.append(sql_enqueue(cursor, unique_key="k"))

    thread = threading.Thread(target=wait)
    thread.start()
    wait_for(
        lambda: one.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
        10,
        "the second session does not wait",
    )
    assert got == []
    first.rollback()
    thread.join(20)
    second.commit()

    assert len(got) == 1 and got[0] != dropped
    assert [row["id"] for row in one.query("SELECT id FROM jobs")] == got
    first.close()
    second.close()


def test_a_waiting_session_gets_the_job_that_was_committed_meanwhile(stack):
    one = stack()
    first = connect(one)
    first.autocommit = False
    with first.cursor() as cursor:
        made = sql_enqueue(cursor, unique_key="k")
    got = []
    thread = threading.Thread(target=lambda: got.append(by_cli(one, unique_key="k")))
    thread.start()
    wait_for(
        lambda: one.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
        10,
        "the command does not wait",
    )
    first.commit()
    thread.join(20)
    first.close()

    assert got == [made]


def test_a_batch_with_one_key_throughout_is_one_job(stack):
    one = stack()
    lines = "\n".join(f"[{n}]" for n in range(1000))

    kept = one.till("enqueue", "till.tasks.noop", "--batch", "-", "--unique", "a", stdin=lines)
    last = one.till(
        *("enqueue", "till.tasks.noop", "--batch", "-", "--unique", "b", "--on-conflict", "replace"),
        stdin=lines,
    )
    refused = one.till(
        *("enqueue", "till.tasks.noop", "--batch", "-", "--unique", "c", "--on-conflict", "refuse"),
        stdin=lines,
    )

    assert (kept.returncode, last.returncode, refused.returncode) == (0, 0, 1)
    assert [len(set(done.stdout.split())) for done in (kept, last)] == [1, 1]
    assert len(kept.stdout.split()) == 1000
    rows = one.query("SELECT unique_key, args FROM jobs ORDER BY unique_key")
    assert [tuple(row.values()) for row in rows] == [("a", [0]), ("b", [999])]
    one.start_worker()
    one.wait_settled()
    assert one.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS' AND attempt = 1") == 2


def test_a_dead_job_whose_key_another_holds_is_not_retried(stack):
    one = stack()
    worker = one.start_worker()
    one.start_scheduler()
    dead = by_cli(one, "till.tasks.fail", unique_key="k", max_attempts=1)
    one.wait_job(dead, "FAILURE")
    holder = by_cli(one, unique_key="k", countdown=3600)
    other = by_cli(one, "till.tasks.fail", max_attempts=1)
    one.wait_job(other, "FAILURE")
    worker.term_and_wait()

    one_by_id = one.till("task", "retry", dead)
    dead_by_id = one.till("dead", "retry", dead)
    matching = one.till("dead", "retry", "--all")

    for done in (one_by_id, dead_by_id):
        assert done.returncode == 1
        assert f'unique key "k" is held by job {holder}' in done.stderr, done.stderr
    assert matching.returncode == 0
    assert "1 job retried" in matching.stdout
    assert "1 job" in matching.stderr and "unique key" in matching.stderr
    assert one.job(dead)["state"] == "FAILURE"
    assert one.job(other)["state"] == "PENDING"

    one.till("task", "revoke", holder)
    assert one.till("task", "retry", dead).returncode == 0
    assert by_sql(one, unique_key="k") == dead, "it holds its key again"


def test_of_several_dead_jobs_with_one_key_one_is_retried(stack):
    one = stack()
    one.query(
        "INSERT INTO jobs (id, task, state, enqueued_at, finished_at, error, unique_key)"
        " SELECT new_job_id(), 'till.tasks.noop', 'FAILURE', now(), now() - n * interval '1 s',"
        " 'no', CASE WHEN n % 2 = 0 THEN 'k' END FROM generate_series(1, 1400) n"
    )
    dead = [row["id"] for row in one.query("SELECT id FROM jobs WHERE unique_key = 'k' LIMIT 3")]

    by_ids = one.till("task", "retry", *dead)
    matching = one.till("dead", "retry", "--all")

    assert by_ids.returncode == 1
    assert "1 job retried" in by_ids.stdout
    assert matching.returncode == 0
    assert "700 jobs retried" in matching.stdout
    assert "699 jobs" in matching.stderr and "unique key" in matching.stderr
    assert one.value(UNFINISHED) == 701


def test_a_dead_job_whose_key_ran_out_is_retried_without_it(stack):
    one = stack()
    dead = one.insert_job(
        "till.tasks.noop",
        state="FAILURE",
        error="no",
        enqueued_at="now",
        finished_at="now",
        unique_key="k",
        unique_until="2020-01-01",
    )
    holder = by_sql(one, unique_key="k")

    assert one.till("task", "retry", dead).returncode == 0
    assert one.job(dead)["unique_key"] is None
    assert by_sql(one, unique_key="k") == holder


def test_an_expired_job_that_is_retried_by_hand_has_no_expiry_any_more(stack):
    one = stack()
    one.start_worker()
    job_id = one.till("enqueue", "till.tasks.noop", "--expires", 0).stdout.strip()
    one.wait_job(job_id, "REVOKED")

    assert one.till("task", "retry", job_id).returncode == 0

    assert one.wait_job(job_id)["expires_at"] is None


def test_a_plain_insert_keeps_by_on_conflict_and_is_refused_without(stack):
    one = stack()
    first = one.insert_job("till.tasks.noop", unique_key="k")

    one.query(
        "INSERT INTO jobs (task, unique_key) VALUES ('till.tasks.noop', 'k') ON CONFLICT (unique_key)"
        " WHERE unique_key IS NOT NULL AND finished_at IS NULL DO NOTHING"
    )
    with pytest.raises(psycopg2.errors.UniqueViolation):
        one.insert_job("till.tasks.noop", unique_key="k")

    assert [row["id"] for row in one.query("SELECT id FROM jobs")] == [first]


# ---- expiry ----


@both
def test_a_job_that_no_worker_claims_expires(stack, enqueue):
    one = stack()
    soon = "--expires"
    waiting = one.till("enqueue", "till.tasks.noop", soon, 1).stdout.strip()
    scheduled = one.value(
        "SELECT till_enqueue('till.tasks.noop', scheduled_at => now() + interval '1.2 s',"
        " expires_at => now() + interval '1.5 s')"
    )
    kept = enqueue(one, unique_key="k")
    one.start_scheduler()

    for job_id in (waiting, scheduled):
        job = one.wait_job(job_id, "REVOKED")
        assert (job["error"], job["attempt"]) == ("expired", 0)
    assert one.job(kept)["state"] == "PENDING"


def test_an_expired_job_is_revoked_at_the_claim(stack):
    one = stack()
    expired = one.till("enqueue", "till.tasks.noop", "--expires", 0).stdout.strip()
    alive = one.till("enqueue", "till.tasks.noop", "--expires", "2100-01-01T00:00:00Z").stdout.strip()

    worker = one.start_worker()

    one.wait_job(alive)
    job = one.wait_job(expired, "REVOKED")
    assert (job["error"], job["attempt"], job["started_at"]) == ("expired", 0, None)
    assert worker.wait_for_log("job_expired")["job_id"] == expired
    wait_for(lambda: one.redis.xlen(STREAM) == 0, 10, "its entry stays")


def test_the_expiry_counts_for_each_attempt(stack):
    """As in Celery: a retry that would begin too late does not."""
    one = stack(settings={"TILL_RETRY_BASE_MS": 3600000, "TILL_RETRY_MAX_SECONDS": 3600})
    one.start_worker()
    one.start_scheduler()
    retrying = one.till("enqueue", "till.tasks.fail", '["why"]', "--expires", 3600).stdout.strip()
    one.wait_job(retrying, "RETRY")

    one.query("UPDATE jobs SET expires_at = now() + interval '1 second' WHERE id = %s", retrying)
    job = one.wait_job(retrying, "REVOKED")

    assert (job["error"], job["attempt"]) == ("expired", 1)
    errors = one.query("SELECT error FROM job_errors WHERE job_id = %s", retrying)
    assert [row["error"] for row in errors] == ["why"]


def test_a_running_job_does_not_expire_but_is_not_taken_over_afterwards(stack):
    one = stack()
    worker = one.start_worker(TILL_WORKER_PROCESSES=1)
    one.start_scheduler()
    job_id = one.till("enqueue", "till.tasks.sleep", "[600]", "--expires", 3600).stdout.strip()
    one.wait_job(job_id, "STARTED")
    one.query("UPDATE jobs SET expires_at = now() WHERE id = %s", job_id)
    pause(2)  # past a round of healing
    assert one.job(job_id)["state"] == "STARTED"

    worker.kill()
    one.start_worker()

    job = one.wait_job(job_id, "REVOKED")
    assert (job["error"], job["attempt"]) == ("expired", 1)
    assert one.value("SELECT count(*) FROM job_errors WHERE job_id = %s", job_id) == 1


def test_an_expired_fast_job_is_dropped(stack):
    one = stack()
    one.enqueue_fast("till.tasks.fail", expires=1)
    one.enqueue_fast("till.tasks.fail", expires=4102444800000)

    worker = one.start_worker()

    assert worker.wait_for_log("fast_jobs_expired")["count"] == 1
    wait_for(lambda: one.redis.xlen(STREAM) == 0, 10, "its entry stays")
    row = one.query("SELECT expires_at::text FROM jobs")
    assert [r["expires_at"][:10] for r in row] == ["2100-01-01"]


# ---- headers and traces ----


def test_headers_and_trace_come_from_everywhere_to_the_row(stack):
    one = stack()
    words = ("--header", "tenant=a b=c", "--header", "X-Kind=ü", "--traceparent", TRACE)
    headers = {"tenant": "a b=c", "X-Kind": "ü"}

    cli = one.till("enqueue", "any.task", *words, "--retention", 60, "--expires", 3600).stdout.strip()
    many = one.till("enqueue", "any.task", "--count", 2, *words).stdout.split()
    sql = by_sql(
        one, "any.task", headers=json.dumps(headers), traceparent=TRACE, retention="1 minute"
    )

    for job_id in (cli, *many, sql):
        job = one.job(job_id)
        assert (job["headers"], job["traceparent"]) == (headers, TRACE)
    assert one.job(cli)["retention_s"] == one.job(sql)["retention_s"] == 60
    shown = one.till("task", "show", cli).stdout
    told = json.loads(one.till("task", "show", cli, "--json").stdout)
    assert "tenant: a b=c" in shown and TRACE in shown and "60 s" in shown and "expires" in shown
    assert (told["headers"], told["traceparent"], told["retention"]) == (headers, TRACE, 60)
    assert told["expires_at"] and told["unique_key"] is None


def test_a_trace_of_a_version_to_come_is_taken_as_far_as_it_is_known(stack):
    one = stack()
    text = "cc" + TRACE[2:] + "-what-comes-then"

    by_words = one.till("enqueue", "any.task", "--traceparent", text).stdout.strip()
    by_function = by_sql(one, "any.task", traceparent=text)

    assert one.job(by_words)["traceparent"] == one.job(by_function)["traceparent"] == TRACE


def test_log_lines_of_a_job_carry_its_trace(stack):
    one = stack()
    worker = one.start_worker(LOG_LEVEL="debug")
    one.start_scheduler()
    done = by_cli(one, traceparent=TRACE)
    failed = by_cli(one, "till.tasks.fail", traceparent=TRACE, max_attempts=2)
    plain = by_cli(one)
    expired = by_cli(one, traceparent=TRACE, expires=0)
    fast = str(uuid.uuid4())
    one.enqueue_fast("till.tasks.fail", id=fast, traceparent=TRACE, headers='{"a": "b"}')
    for job_id, state in ((done, "SUCCESS"), (failed, "FAILURE"), (plain, "SUCCESS")):
        one.wait_job(job_id, state)
    one.wait_job(expired, "REVOKED")
    one.wait_job(fast, "FAILURE")

    for job_id, events in (
        (done, ["job_done"]),
        (failed, ["job_retry", "job_failed"]),
        (expired, ["job_expired"]),
        (fast, ["job_retry", "job_failed"]),
    ):
        for event in events:
            assert worker.wait_for_log(event, job_id=job_id)["trace_id"] == TRACE_ID
    assert "trace_id" not in worker.wait_for_log("job_done", job_id=plain)
    row = one.job(fast)
    assert (row["traceparent"], row["headers"]) == (TRACE, {"a": "b"})


def test_log_lines_of_a_job_carry_its_headers_without_secrets(stack):
    one = stack()
    worker = one.start_worker(LOG_LEVEL="debug")
    one.start_scheduler()
    headers = json.dumps({"tenant": "a b", "api_key": "hush-hush"})
    shown = {"tenant": "a b", "api_key": "[redacted]"}
    done = by_cli(one, header="tenant=a b")
    failed = by_sql(one, "till.tasks.fail", headers=headers, max_attempts=2)
    plain = by_cli(one)
    expired = by_cli(one, header="tenant=a b", expires=0)
    fast = str(uuid.uuid4())
    one.enqueue_fast("till.tasks.fail", id=fast, headers=headers)
    many = one.till("enqueue", "till.tasks.tally_many", "[1]", "--count", 3, "--header", "tenant=a b")
    for job_id, state in ((done, "SUCCESS"), (failed, "FAILURE"), (plain, "SUCCESS"), (expired, "REVOKED"),
                          (fast, "FAILURE"), *((job, "SUCCESS") for job in many.stdout.split())):
        one.wait_job(job_id, state)

    for job_id in (done, *many.stdout.split()):
        assert worker.wait_for_log("job_done", job_id=job_id)["headers"] == {"tenant": "a b"}
    assert worker.wait_for_log("job_expired", job_id=expired)["headers"] == {"tenant": "a b"}
    for job_id in (failed, fast):
        for event in ("job_retry", "job_failed"):
            assert worker.wait_for_log(event, job_id=job_id)["headers"] == shown
    assert "headers" not in worker.wait_for_log("job_done", job_id=plain)
    assert not any("hush-hush" in json.dumps(line) for line in worker.read_log())


def test_a_fast_entry_with_a_bad_trace_runs_without_one(stack):
    one = stack()
    one.enqueue_fast("till.tasks.fail", traceparent=TRACE.upper())

    worker = one.start_worker()

    assert worker.wait_for_log("traceparents_dropped")["count"] == 1
    wait_for(lambda: one.value("SELECT count(*) FROM jobs"), 10, "the job never failed")
    assert one.value("SELECT traceparent FROM jobs") is None


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": "[]"},
        {"headers": '{"a": 1}'},
        {"headers": '{"": "x"}'},
        {"headers": b"\xff"},
        {"headers": json.dumps({f"h{n}": "" for n in range(33)})},
        {"headers": json.dumps({"h": "x" * 8192})},
        {"expires": "soon"},
        {"expires": "-1"},
        {"expires": "99999999999999999999"},
        {"expires": ""},
    ],
)
def test_a_fast_entry_with_bad_options_is_kept_as_undecodable(stack, fields):
    one = stack()
    one.enqueue_fast("till.tasks.noop", **fields)

    one.start_worker()

    wait_for(lambda: one.value("SELECT count(*) FROM jobs"), 10, "the entry is nowhere")
    job = one.query("SELECT task, state, error FROM jobs")[0]
    assert (job["task"], job["state"]) == ("undecodable", "FAILURE")
    assert next(iter(fields)) in job["error"]


# ---- what is refused ----

BAD = {
    "unique_key": ["", "x" * 201, "ü" * 101, "a\nb", "a\u0085b", "\x7f"],
    "traceparent": [
        "",
        TRACE[:-1],
        TRACE + "-",
        TRACE + "0",
        TRACE.upper(),
        "ff" + TRACE[2:],
        TRACE.replace("-", "_"),
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"cc-{TRACE_ID}-00f067aa0ba902b7-01.what",
        f"00-{TRACE_ID[:-1]}g-00f067aa0ba902b7-01",
    ],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_bad_texts_are_refused_by_command_function_and_insert(stack, name, value):
    one = stack()
    word = {"unique_key": "--unique"}.get(name, "--" + name)

    done = one.till("enqueue", "any.task", word, value)
    with pytest.raises(psycopg2.errors.InvalidParameterValue) as error:
        by_sql(one, "any.task", **{name: value})
    with pytest.raises(psycopg2.errors.CheckViolation):
        one.insert_job("any.task", **{name: value})

    assert done.returncode == 2
    assert error.value.diag.message_primary in done.stderr
    assert one.value("SELECT count(*) FROM jobs") == 0


@pytest.mark.parametrize(
    "headers",
    [
        [],
        "text",
        {"a": 1},
        {"a": None},
        {"a": {"b": "c"}},
        {"": "a"},
        {"a b": "c"},
        {"a\r\nb": "c"},
        {"ü": "c"},
        {f"h{n}": "" for n in range(33)},
        {"h": "x" * 8192},
    ],
)
def test_bad_headers_are_refused(stack, headers):
    one = stack()

    with pytest.raises(psycopg2.errors.InvalidParameterValue):
        by_sql(one, "any.task", headers=json.dumps(headers))
    with pytest.raises(psycopg2.errors.CheckViolation):
        one.insert_job("any.task", headers=json.dumps(headers))
    assert one.value("SELECT count(*) FROM jobs") == 0


def test_headers_at_their_limits_are_taken(stack):
    one = stack()
    most = {f"h{n:02}": "x" * 253 for n in range(32)}

    by_function = by_sql(one, "any.task", headers=json.dumps(most))
    words = [word for name, value in most.items() for word in ("--header", f"{name}={value}")]
    by_words = one.till("enqueue", "any.task", *words).stdout.strip()

    assert one.job(by_function)["headers"] == one.job(by_words)["headers"] == most


@pytest.mark.parametrize(
    "words",
    [
        ["--header", "novalue"],
        ["--header", "=x"],
        ["--header", "a b=x"],
        ["--header", "a=1", "--header", "a=2"],
        ["--header", "h=" + "x" * 8192],
        [word for n in range(33) for word in ("--header", f"h{n}=")],
        ["--unique-ttl", "5"],
        ["--on-conflict", "keep"],
        ["--unique", "k", "--unique-ttl", "0"],
        ["--unique", "k", "--on-conflict", "drop"],
        ["--expires", "tomorrow"],
        ["--expires", "-1"],
        ["--countdown", "10", "--expires", "9"],
        ["--countdown", "1.5", "--expires", "1.4"],
        ["--countdown", "0.0001"],
        ["--countdown", "-0.5"],
        ["--countdown", "1e3"],
        ["--time-limit", "5", "--header", "time_limit=6"],
        ["--retention", "0"],
        ["--retention", "315360001"],
    ],
)
def test_bad_words_are_refused(stack, words):
    one = stack()

    done = one.till("enqueue", "any.task", *words)

    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("till: ")
    assert one.value("SELECT count(*) FROM jobs") == 0


def test_seconds_from_now_may_have_fractions(stack):
    one = stack()
    done = one.till("enqueue", "any.task", "--countdown", "1000.75", "--expires", "2000.5")
    assert done.returncode == 0, done.stderr

    job = one.job(done.stdout.strip())

    assert 900 < (job["scheduled_at"] - job["created_at"]).total_seconds() <= 1000.75  # it was told before its row was made
    assert 1900 < (job["expires_at"] - job["created_at"]).total_seconds() <= 2000.5


@pytest.mark.parametrize("option", ["--eta", "--expires"])
@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01"])
def test_a_time_that_its_zone_leads_out_of_the_calendar_is_told_as_no_time(stack, option, time):
    done = stack().till("enqueue", "any.task", option, time)

    assert (done.returncode, done.stdout) == (2, "")
    assert "a time" in done.stderr or "RFC 3339" in done.stderr
    assert "the database refused" not in done.stderr


@pytest.mark.parametrize(
    "named",
    [
        {"unique_ttl": "1 minute"},
        {"on_conflict": "keep"},
        {"unique_key": "k", "on_conflict": "drop"},
        {"unique_key": "k", "unique_ttl": "0"},
        {"unique_key": "k", "unique_ttl": "-1 s"},
        {"unique_key": "k", "unique_ttl": "11 years"},
        {"expires_at": "infinity"},
        {"expires_at": "2030-01-01", "scheduled_at": "2030-01-02"},
        {"retention": "0"},
        {"retention": "-1 day"},
        {"retention": "11 years"},
    ],
)
def test_bad_arguments_of_the_function_are_refused(stack, named):
    one = stack()

    with pytest.raises(psycopg2.errors.InvalidParameterValue):
        by_sql(one, "any.task", **named)

    assert one.value("SELECT count(*) FROM jobs") == 0

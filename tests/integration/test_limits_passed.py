"""Places of limits that go straight from a job that ends to the oldest one that is parked for them."""

import os
import signal

import pytest

from harness.wait import wait_for
from integration.test_limits import limit, nothing_left, overlap, spans

SLOW = 60  # seconds until anybody else would look: what happens before that was done at once
TWO_BY_FOUR = {"TILL_WORKER_PROCESSES": 2, "TILL_WORKER_CONCURRENCY": 4}


def parked(one, bucket):
    return one.value("SELECT count(*) FROM jobs WHERE parked_on = %s AND enqueued_at IS NULL", bucket)


def passed(one, condition="true"):
    return one.value(f"SELECT count(*) FROM jobs WHERE starts_with(delivery, 'passed:') AND {condition}")


def is_ending(one):
    """Whether a job waits for our transaction already: what becomes of its place is decided by then."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return one.value(sql) > 0


TRIES = (2, 4, 8, 16, 32)  # seconds of the job that others are to be parked behind: a busy machine needs more


def hold_one(one, seconds):
    """A job that has the only place, and the transaction without whose end it cannot end."""
    held = one.postgres.connect(one.database)
    held.autocommit = False
    cursor = held.cursor()
    for _ in range(5):
        first = one.insert_job("till.tasks.sleep", [seconds], limit_key="one")
        one.wait_job(first, "STARTED", "SUCCESS", timeout=60)
        cursor.execute("SELECT state FROM jobs WHERE id = %s FOR UPDATE", (first,))
        if cursor.fetchone()[0] == "STARTED":
            return first, held
        held.rollback()
    raise AssertionError("each job was faster than we")


def begin_and_park(one, count, task="till.tasks.noop", args=(), then=lambda: None, **columns):
    """One job that has the only place, and others that are parked behind it: its id, theirs, and the
    transaction without whose end it cannot end. Where it came to its end before they were parked, and `then`
    was done, it is begun anew."""
    for seconds in TRIES:
        first, held = hold_one(one, seconds)
        made = [one.insert_job(task, list(args), limit_key="one", **columns) for _ in range(count)]
        wait_for(lambda: parked(one, "key:one") == count, 60, "they are not parked")
        undo = then()
        if not is_ending(one):
            return first, made, held
        held.rollback()
        if undo:
            undo()
        one.wait_settled(60)
        one.query("DELETE FROM jobs")
    raise AssertionError("each had ended before the others were parked")


def test_whoever_ends_gives_its_place_to_the_oldest(stack):
    one = stack({**TWO_BY_FOUR, "TILL_HEAL_SECONDS": SLOW})
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    first, made, held = begin_and_park(one, 40)
    for scheduler in one.named("till-scheduler"):
        scheduler.end()  # who brings them on is not it
    held.rollback()

    wait_for(lambda: one.value("SELECT bool_and(state = 'SUCCESS') FROM jobs"), 60, "they are not done")

    rows = one.query("SELECT id::text, attempt FROM jobs ORDER BY started_at")
    assert [row["id"] for row in rows][-41:] == [first, *made]
    assert {row["attempt"] for row in rows} == {1}
    assert passed(one) == len(made)
    assert overlap(spans(one)) == 1
    one.start_scheduler()
    nothing_left(one)


# What a commit that starts a job sees running, of all and of its key. Times of the jobs would not do: a claim
# that has to wait for its bucket has written started_at before, when the place may yet have been another's.
WITNESS = """
    CREATE TABLE witnessed (running bigint, of_key bigint);
    CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO public.witnessed SELECT count(*), count(*) FILTER (WHERE limit_key = NEW.limit_key)
        FROM public.jobs WHERE state = 'STARTED';
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER witness AFTER UPDATE ON jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
        WHEN (NEW.state = 'STARTED' AND OLD.state <> 'STARTED') EXECUTE FUNCTION witness();
"""


@pytest.mark.parametrize("scope, name, most", [("task", "till.tasks.noop", 7), ("key", "t:*", 2)])
def test_a_backlog_is_done_once_each_and_never_by_more_than_there_are_places(stack, scope, name, most):
    one = stack(TWO_BY_FOUR)
    limit(one, "set", scope, name, "--concurrency", most)
    one.query(WITNESS)
    one.query(
        "INSERT INTO jobs (task, limit_key) SELECT 'till.tasks.noop', 't:' || n % 5 FROM generate_series(1, 800) n"
    )
    one.start(apis=0)

    one.wait_settled(120)

    assert one.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS' AND attempt = 1") == 800
    assert passed(one) > 100
    column = "running" if scope == "task" else "of_key"
    seen, ever = one.query(f"SELECT max({column}), count(*) FROM witnessed")[0].values()
    assert ever == 800 and 1 < seen <= most
    nothing_left(one)


def test_a_killed_process_gives_up_at_once_what_was_passed_to_it(stack):
    """It has no entry in a stream: its row tells the process that comes after it."""
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_LEASE_SECONDS": SLOW, "TILL_HEAL_SECONDS": SLOW})
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    _, _, held = begin_and_park(one, 1, "till.tasks.sleep", [5])
    held.rollback()
    job = wait_for(
        lambda: one.query("SELECT id::text, worker FROM jobs WHERE state = 'STARTED'"
                          " AND starts_with(delivery, 'passed:')"), 30, "nothing was passed on")[0]
    for pid in one.worker.family()[1:]:
        os.kill(pid, signal.SIGKILL)

    one.wait_job(job["id"], timeout=40)
    one.wait_settled(60)

    assert one.job(job["id"])["attempt"] == 2
    assert "died" in one.value("SELECT error FROM job_errors WHERE job_id = %s", job["id"])
    assert overlap(spans(one)) == 1
    nothing_left(one)


def test_another_worker_gets_what_was_passed_to_one_that_is_gone_for_good(stack):
    """Nothing in a stream tells of it: the scheduler takes it back soon after the name has expired."""
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_LEASE_SECONDS": SLOW, "TILL_HEAL_SECONDS": 1})
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    other = one.start_quiet_worker()
    _, _, held = begin_and_park(one, 1, "till.tasks.sleep", [5])
    held.rollback()
    job = wait_for(
        lambda: one.query("SELECT id::text, worker FROM jobs WHERE state = 'STARTED'"
                          " AND starts_with(delivery, 'passed:')"), 30, "nothing was passed on")[0]
    one.worker.kill()
    other.send(signal.SIGCONT)
    one.redis.delete(f"till:worker:{job['worker']}")  # as when it has expired, some 40 seconds later
    one.query("UPDATE jobs SET started_at = started_at - interval '40 seconds' WHERE id = %s", job["id"])

    one.wait_job(job["id"], timeout=SLOW - 5)  # before anybody would miss him by the lease alone

    ended = one.job(job["id"])
    assert ended["attempt"] == 2 and ended["worker"] != job["worker"]
    assert overlap(spans(one)) == 1


def test_a_place_is_not_passed_to_a_paused_queue_whose_jobs_are_let_go_by_the_scheduler_later(stack):
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_QUEUES": "default,other"})
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)

    def pause_it():
        times = lambda: sum(line.get("event") == "queue_paused" for line in one.worker.read_log())  # noqa: E731
        before = times()  # where it is begun anew it has heard of a pause before
        assert one.till("queue", "pause", "other").returncode == 0
        wait_for(lambda: times() > before, 60, "the worker does not hear of it")
        return lambda: one.till("queue", "resume", "other")

    first, made, held = begin_and_park(one, 4, then=pause_it, queue="other")
    held.rollback()

    one.wait_job(first)
    wait_for(lambda: one.value("SELECT places FROM limit_counts WHERE bucket = 'key:one'") == 0, 30, "it is kept")
    assert parked(one, "key:one") == 4
    assert one.till("queue", "resume", "other").returncode == 0
    for job in made:
        one.wait_job(job, timeout=30)
    nothing_left(one)


def be_quiet(one):
    """Gives what undoes it."""
    times = lambda: sum(line.get("event") == "quiet" for line in one.worker.read_log())  # noqa: E731
    before = times()
    one.worker.send(signal.SIGTSTP)
    wait_for(lambda: times() > before, 60, "the worker is not quiet")
    return lambda: one.worker.send(signal.SIGCONT)


def test_a_quiet_worker_takes_nothing_over(stack):
    one = stack({**TWO_BY_FOUR, "TILL_WORKER_PROCESSES": 1})
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    first, made, held = begin_and_park(one, 3, then=lambda: be_quiet(one))
    held.rollback()

    one.wait_job(first, timeout=30)
    wait_for(lambda: parked(one, "key:one") == 2, 30, "its place is not given back")
    assert passed(one) == 0
    one.start_worker()
    for job in made:
        one.wait_job(job, timeout=30)
    nothing_left(one)


def test_a_lowered_limit_takes_the_places_that_come_free(stack):
    one = stack(TWO_BY_FOUR)
    limit(one, "set", "task", "till.tasks.sleep", "--concurrency", "4")
    one.start(apis=0)
    for _ in range(4):
        one.insert_job("till.tasks.sleep", [5])
    wait_for(lambda: one.value("SELECT count(*) FROM jobs WHERE state = 'STARTED'") == 4, 30, "they do not run")
    held = one.postgres.connect(one.database)
    held.autocommit = False
    held.cursor().execute("SELECT FROM jobs WHERE state = 'STARTED' FOR UPDATE")  # none of them ends
    late = [one.insert_job("till.tasks.sleep", [0.05]) for _ in range(8)]
    wait_for(lambda: parked(one, "task:till.tasks.sleep") == 8, 30, "they are not parked")

    limit(one, "set", "task", "till.tasks.sleep", "--concurrency", "1")
    held.rollback()
    one.wait_settled(60)

    assert overlap(one.query("SELECT started_at, finished_at FROM jobs WHERE id = ANY (%s::uuid[])", late)) == 1
    nothing_left(one)


def test_keys_under_a_limited_task_and_with_rates_keep_all_their_limits(stack):
    """Whoever needs a place or a token elsewhere, too, is asked there: it goes by the scheduler."""
    one = stack(TWO_BY_FOUR)
    limit(one, "set", "key", "k:*", "--concurrency", "2", "--rate", "200/s", "--burst", "3")
    limit(one, "set", "key", "j:*", "--concurrency", "2")
    limit(one, "set", "task", "till.tasks.sleep", "--concurrency", "3")
    one.query(
        "INSERT INTO jobs (task, args, limit_key) SELECT CASE WHEN n % 3 = 0 THEN 'till.tasks.sleep' ELSE"
        " 'till.tasks.noop' END, CASE WHEN n % 3 = 0 THEN '[0.01]'::jsonb ELSE '[]' END,"
        " (ARRAY['k:a', 'k:b', 'j:a', 'j:b', NULL])[1 + n % 5] FROM generate_series(1, 150) n"
    )
    one.start(apis=0)

    one.wait_settled(120)

    assert one.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS' AND attempt = 1") == 150
    assert overlap(spans(one, "task = 'till.tasks.sleep'")) <= 3
    for key in ("k:a", "k:b", "j:a", "j:b"):
        assert overlap(spans(one, f"limit_key = '{key}'")) <= 2
    nothing_left(one)


def test_connections_that_break_lose_nobody(stack):
    """Who does not hear whether places were passed on asks for it."""
    one = stack(TWO_BY_FOUR)
    limit(one, "set", "task", "till.tasks.noop", "--concurrency", 5)
    one.query("INSERT INTO jobs (task) SELECT 'till.tasks.noop' FROM generate_series(1, 600)")
    one.start(apis=0)
    for share in (100, 250, 400):
        wait_for(lambda: one.value("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL") > share, 60, share)
        one.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'till-worker'")

    one.wait_settled(120)

    assert one.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'") == 600
    assert overlap(spans(one)) <= 5
    nothing_left(one)


# ---- standing in line, by SQL alone ----


def wait_in(one, task, key=None):
    return one.value(
        "INSERT INTO jobs (task, limit_key, enqueued_at) VALUES (%s, %s, now()) RETURNING id::text", task, key
    )


def park(one, ids, keyed=False):
    return sorted(row["n"] for row in one.query("SELECT n FROM till_park(%s::uuid[], %s) AS n", ids, keyed))


def test_who_comes_to_a_line_stands_in_it_and_nobody_else_does(stack):
    one = stack()
    one.query("INSERT INTO limits (scope, name, concurrency) VALUES ('task', 't', 1), ('key', 'k', 1)")
    first = [wait_in(one, "t"), wait_in(one, "t")]
    assert park(one, first) == [], "no line yet"
    one.query("SELECT FROM till_claim_limited(%s::uuid[], %s::text[], 'w')", first, ["1-1", "1-2"])
    later = [wait_in(one, "t"), wait_in(one, "u"), wait_in(one, "t", "k"), wait_in(one, "t")]
    one.query("UPDATE jobs SET attempt = max_attempts WHERE id = %s", later[3])

    assert park(one, later, keyed=True) == [1], "of another task, with a key, of no attempts"
    assert park(one, later, keyed=False) == [3], "the first stands there already"

    rows = one.query("SELECT id::text FROM jobs WHERE parked_on = 'task:t' AND enqueued_at IS NULL ORDER BY id")
    assert [row["id"] for row in rows] == sorted([first[1], later[0], later[2]])
    assert one.value("SELECT places FROM limit_counts WHERE bucket = 'task:t'") == 1

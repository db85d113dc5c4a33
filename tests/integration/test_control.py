"""What people do to jobs and queues by hand, through `till`, on real servers and programs."""

import json
import uuid
from contextlib import closing

import pytest

from harness.wait import SLOWNESS, pause, wait_for

QUEUES = {"TILL_QUEUES": "default,mail"}
NOBODY = str(uuid.uuid4())


def done(one, *words):
    """Runs a verb that must succeed; the lines of its JSON output."""
    ended = one.till(*words, "--json")
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def errors_of(one, job_id):
    return one.query("SELECT * FROM job_errors WHERE job_id = %s ORDER BY attempt", job_id)


def states(one):
    rows = one.query("SELECT state::text, count(*) FROM jobs GROUP BY 1")
    return {row["state"]: row["count"] for row in rows}


def dead_job(one, *args, **options):
    """A job that a worker has run into FAILURE."""
    made = one.enqueue("till.tasks.fail", *args, **{"max_attempts": 1, **options})
    one.wait_job(made, "FAILURE")
    return made


def kill_row(one, **columns):
    """A row in FAILURE, for tests of what is chosen and not of how it died."""
    return one.insert_job(
        columns.pop("task", "till.tasks.noop"),
        state="FAILURE",
        finished_at=columns.pop("finished_at", "2026-01-01T00:00:00Z"),
        enqueued_at="2026-01-01T00:00:00Z",
        error=columns.pop("error", "it did not work"),
        **columns,
    )


def wait_paused(program, queue="default", count=2, timeout=10):
    """Until every process of a worker has heard it."""

    def heard():
        lines = [line for line in program.read_log() if line.get("event") == "queue_paused"]
        return len([line for line in lines if line["queue"] == queue]) >= count

    wait_for(heard, timeout, f"{queue} was never paused")


# ---- run now ----


def test_jobs_that_wait_for_their_time_run_now_and_others_are_left(stack):
    one = stack().start()
    later = one.enqueue("till.tasks.noop", countdown=3600)
    finished = one.enqueue("till.tasks.noop")
    one.wait_job(finished, "SUCCESS")

    ended = one.till("task", "run", later, finished, NOBODY, "--json")

    assert ended.returncode == 1
    assert [json.loads(line) for line in ended.stdout.splitlines()] == [
        {"id": later, "done": "brought forward"},
        {"id": finished, "done": None, "state": "SUCCESS"},
        {"id": NOBODY, "done": None, "state": None},
    ]
    one.wait_job(later, "SUCCESS")


def test_only_time_is_skipped_by_task_run(stack):
    one = stack()
    ready = one.enqueue("till.tasks.noop")
    assert done(one, "limit", "set", "task", "shop.mail", "--concurrency", "1")
    parked = one.insert_job("shop.mail", state="PENDING", enqueued_at=None, parked_on="task:shop.mail")
    chain = json.dumps({"chain": [{"task": "till.tasks.noop"}, {"task": "shop.last"}]})
    assert one.till("flow", "run", "-", stdin=chain).returncode == 0
    member = one.value("SELECT id::text FROM jobs WHERE task = 'shop.last'")
    retry = one.insert_job("till.tasks.noop", state="RETRY", attempt=1, enqueued_at=None, error="x",
                           scheduled_at="2126-01-01T00:00:00Z")

    for job, why in ((ready, "is ready already"), (parked, "under a limit"), (member, "others of its flow")):
        ended = one.till("task", "run", job)
        assert ended.returncode == 1 and why in ended.stderr, ended.stderr
        assert one.job(job)["state"] == "PENDING"
    assert one.job(member)["enqueued_at"] is None and one.job(parked)["enqueued_at"] is None
    ended = one.till("task", "run", retry)
    assert (ended.returncode, ended.stdout) == (0, f"{retry} brought forward\n1 job brought forward\n")
    assert one.job(retry)["state"] == "RETRY" and one.job(retry)["enqueued_at"] is not None
    assert one.value("SELECT scheduled_at <= now() FROM jobs WHERE id = %s", retry)


# ---- revoke ----


def test_a_revoked_waiting_job_does_not_run(stack):
    one = stack()
    made = one.enqueue("till.tasks.noop")

    assert done(one, "task", "revoke", made) == [{"id": made, "done": "revoked"}]
    one.start_worker()
    one.wait_settled()

    job = one.job(made)
    assert (job["state"], job["attempt"], job["started_at"]) == ("REVOKED", 0, None)
    assert job["finished_at"] and job["error"] == "revoked"
    assert errors_of(one, made) == []


def test_a_revoked_scheduled_job_does_not_run(stack):
    one = stack()
    made = one.enqueue("till.tasks.noop", countdown=1)
    later = one.enqueue("till.tasks.noop", countdown=2)

    done(one, "task", "revoke", made)
    one.start(apis=0)
    one.wait_job(later)

    assert (one.job(made)["state"], one.job(made)["attempt"]) == ("REVOKED", 0)


def test_a_revoked_retrying_job_is_not_tried_again_and_keeps_its_errors(stack):
    one = stack({"TILL_RETRY_BASE_MS": 60000, "TILL_RETRY_MAX_SECONDS": 60})
    one.start(apis=0)
    made = one.enqueue("till.tasks.fail", "first words")
    one.wait_job(made, "RETRY")

    done(one, "task", "revoke", made)

    assert (one.job(made)["state"], one.job(made)["attempt"]) == ("REVOKED", 1)
    assert ["first words" in error["error"] for error in errors_of(one, made)] == [True]
    one.settle()


def test_a_running_job_that_is_revoked_commits_nothing(stack):
    one = stack()
    one.start(apis=0)
    made = one.enqueue("till.tasks.sleep", 600)
    one.wait_job(made, "STARTED")

    done(one, "task", "revoke", made)

    assert one.job(made)["state"] == "REVOKED"
    one.worker.wait_for_log("job_not_ours")
    one.wait_settled()  # its entry goes once nobody renews it
    job = one.job(made)
    assert (job["state"], job["attempt"], job["result"]) == ("REVOKED", 1, None)
    assert [error["error"] for error in errors_of(one, made)] == ["revoked during this attempt"]
    assert one.worker.find_log("job_failed") is None


def test_a_payment_revoked_while_it_runs_rolls_its_effect_back_and_a_retry_settles_it(stack):
    one = stack()
    one.start()
    shop = one.shop().sign_up()
    order = shop.order((one.product(stock=5, price="7.25"), 2))
    one.query(
        "CREATE FUNCTION revoke_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.status = 'succeeded' THEN PERFORM pg_advisory_xact_lock(1); END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER a_revoke_late BEFORE UPDATE ON payments FOR EACH ROW"
        " EXECUTE FUNCTION revoke_late()"
    )
    with closing(one.postgres.connect(one.database)) as holder:
        holder.cursor().execute("SELECT pg_advisory_lock(1)")
        shop.pay(order["id"])
        find = "SELECT id FROM jobs WHERE task = 'payments.tasks.process_payment'"
        made = wait_for(lambda: one.value(find), 10, "no job")
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
        wait_for(lambda: one.value(waiting), 10, "the effect was never being written")

        done(one, "task", "revoke", made)
    one.worker.wait_for_log("job_not_ours")

    assert one.value("SELECT count(*) FROM payments WHERE status = 'succeeded'") == 0
    assert one.value("SELECT order_status FROM orders") == "pending"
    one.query("DROP TRIGGER a_revoke_late ON payments")
    done(one, "task", "retry", made)
    shop.wait_order(order["id"], "paid")
    one.settle()


def test_what_is_over_cannot_be_revoked(stack):
    one = stack()
    one.start_worker()
    made = one.enqueue("till.tasks.noop")
    one.wait_job(made)
    waiting = one.enqueue("till.tasks.noop", countdown=60)

    ended = one.till("task", "revoke", made, waiting, NOBODY, "--json")

    assert ended.returncode == 1
    assert [json.loads(line) for line in ended.stdout.splitlines()] == [
        {"id": made, "done": None, "state": "SUCCESS"},
        {"id": waiting, "done": "revoked"},
        {"id": NOBODY, "done": None, "state": None},
    ]
    assert "is SUCCESS: not revoked" in ended.stderr
    assert one.job(waiting)["state"] == "REVOKED"


# ---- retry ----


def test_a_dead_job_that_is_retried_has_its_tasks_attempts_again_and_keeps_its_errors(stack):
    one = stack()
    one.start(apis=0)
    made = dead_job(one, "old reason")

    assert done(one, "task", "retry", made) == [{"id": made, "done": "retried"}]

    wait_for(lambda: one.job(made)["attempt"] == 6, 15, "it was not tried five times more")
    job = one.wait_job(made, "FAILURE")
    assert (job["attempt"], job["max_attempts"]) == (6, 6)
    assert [error["attempt"] for error in errors_of(one, made)] == [1, 2, 3, 4, 5, 6]
    one.settle(dead=1)


def test_a_retried_job_runs_without_a_scheduler(stack):
    one = stack()
    made = kill_row(one, max_attempts=1, attempt=1, started_at="2026-01-01", worker="w")
    one.start_worker()

    done(one, "dead", "retry", made)

    job = one.wait_job(made)
    assert (job["attempt"], job["max_attempts"]) == (2, 11)


def test_a_retry_without_redis_is_delivered_by_the_scheduler(stack):
    one = stack()
    made = kill_row(one)
    redis = one.settings["REDIS_URL"]
    one.settings["REDIS_URL"] = "unix:///nowhere/redis.sock"

    ended = one.till("task", "retry", made)
    one.settings["REDIS_URL"] = redis
    one.start(apis=0)

    assert ended.returncode == 0
    assert "the scheduler delivers" in ended.stderr
    one.wait_job(made)


def test_a_revoked_job_is_retried_by_task_retry_and_not_by_dead_retry(stack):
    one = stack()
    one.start_worker()
    made = one.enqueue("till.tasks.noop", countdown=3600)
    done(one, "task", "revoke", made)

    assert one.till("dead", "retry", made).returncode == 1
    assert one.job(made)["state"] == "REVOKED"
    done(one, "task", "retry", made)
    assert one.wait_job(made)["error"] is None


def test_a_job_that_could_not_be_decoded_is_not_retried_but_can_be_deleted(stack):
    one = stack()
    one.start_worker()
    one.redis.xadd("till:{default}:normal", {"job": "nonsense"})
    made = wait_for(lambda: one.value("SELECT id FROM jobs WHERE state = 'FAILURE'"), 10, "none")

    ended = one.till("task", "retry", made)
    assert ended.returncode == 1
    assert "could not be decoded" in ended.stderr
    assert done(one, "dead", "retry", "--all") == [{"count": 0, "done": "retried"}]
    assert done(one, "dead", "delete", made) == [{"id": made, "done": "deleted"}]
    assert one.value("SELECT count(*) FROM jobs") == 0


# ---- the dead set ----


def test_dead_list_shows_dead_jobs_by_task_and_queue(stack):
    one = stack()
    mail = kill_row(one, task="a.mail", queue="mail")
    other = kill_row(one, task="a.thing")
    one.enqueue("till.tasks.noop")

    def listed(*words):
        return {row["id"] for row in done(one, "dead", "list", *words)}

    assert listed() == {mail, other}
    assert listed("--task", "a.mail") == {mail}
    assert listed("--queue", "default") == {other}
    assert listed("--queue", "mail", "--task", "a.thing") == set()
    assert other in one.till("dead", "list").stdout


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (["--task", "a.b"], {1, 2}),
        (["--queue", "mail"], {2, 3}),
        (["--task", "a.b", "--queue", "mail"], {2}),
        (["--error", "timeout: "], {1, 3}),
        (["--all"], {1, 2, 3}),
    ],
)
@pytest.mark.parametrize("verb", ["retry", "delete"])
def test_dead_jobs_are_chosen_by_what_they_have_in_common(stack, verb, words, chosen):
    one = stack()
    kill_row(one, task="a.b", error="timeout: a", args=[1])
    kill_row(one, task="a.b", error="no timeout: b", queue="mail", args=[2])
    kill_row(one, task="a.c", error="timeout: %", queue="mail", args=[3])
    revoked = one.enqueue("a.b", queue="mail", countdown=60)
    done(one, "task", "revoke", revoked)

    told = done(one, "dead", verb, *words)

    left = one.query("SELECT args->>0 AS number FROM jobs WHERE state = 'FAILURE'")
    assert {int(row["number"]) for row in left} == {1, 2, 3} - chosen
    assert told == [{"count": len(chosen), "done": {"retry": "retried"}.get(verb, "deleted")}]
    assert one.job(revoked)["state"] == "REVOKED"
    assert states(one).get("PENDING", 0) == (len(chosen) if verb == "retry" else 0)


def test_more_dead_jobs_than_one_batch_are_retried_each_once(stack):
    one = stack()
    one.query(
        "INSERT INTO jobs (task, state, finished_at, error, queue, enqueued_at) SELECT"
        " 'till.tasks.noop', 'FAILURE', now(), 'x', CASE WHEN n % 2 = 0 THEN 'mail' ELSE 'default'"
        " END, now() FROM generate_series(1, 1201) n"
    )

    assert done(one, "dead", "retry", "--all") == [{"count": 1201, "done": "retried"}]

    assert one.redis.xlen("till:{default}:normal") + one.redis.xlen("till:{mail}:normal") == 1201
    one.start_worker(**QUEUES)
    one.wait_settled()
    assert one.query("SELECT state, attempt, count(*) FROM jobs GROUP BY 1, 2") == [
        {"state": "SUCCESS", "attempt": 1, "count": 1201}
    ]


def test_deleting_takes_the_errors_along_and_nothing_that_lives(stack):
    one = stack()
    one.start(apis=0)
    dead = dead_job(one, "x")
    alive = one.enqueue("till.tasks.noop", countdown=3600)

    ended = one.till("dead", "delete", dead, alive)

    assert ended.returncode == 1
    assert (one.job(dead), errors_of(one, dead)) == (None, [])
    assert one.job(alive)["state"] == "PENDING"


# ---- pause and resume ----


def test_a_paused_queue_holds_its_backlog_while_others_go_on_and_resume_drains_it(stack):
    one = stack(QUEUES)
    one.start(apis=0)

    assert done(one, "queue", "pause", "default") == [
        {"queue": "default", "paused": True, "changed": True}
    ]
    wait_paused(one.worker)
    held = one.enqueue("till.tasks.noop", count=50)
    one.wait_job(one.enqueue("till.tasks.noop", queue="mail"))
    pause(2)  # several heals of the scheduler

    assert states(one) == {"PENDING": 50, "SUCCESS": 1}
    assert one.redis.xlen("till:{default}:normal") == 50, "nothing was healed twice"
    listed = {row["queue"]: row for row in done(one, "queue", "list")}
    assert listed["default"]["paused"] and listed["default"]["waiting"] == 50
    assert "paused" in one.till("queue", "list").stdout

    done(one, "queue", "resume", "default")
    for made in held:
        one.wait_job(made)
    one.settle()
    assert {row["paused"] for row in done(one, "queue", "list")} == {False}


def test_pause_and_resume_are_heard_at_once_by_an_idle_worker(stack):
    one = stack({**QUEUES, "TILL_LEASE_SECONDS": 30})  # blocked reads of five seconds
    soon = 4.5
    one.start_worker()
    one.wait_job(one.enqueue("till.tasks.noop"))

    one.till("queue", "pause", "default")
    wait_paused(one.worker, timeout=soon / SLOWNESS)
    made = one.enqueue("till.tasks.noop")
    pause(1)
    assert one.job(made)["state"] == "PENDING"
    one.till("queue", "resume", "default")
    resumed = one.value("SELECT now()")

    job = one.wait_job(made)
    assert (job["started_at"] - resumed).total_seconds() < soon


def test_what_runs_when_its_queue_is_paused_ends_well(stack):
    one = stack()
    one.start(apis=0)
    made = one.enqueue("till.tasks.sleep", 2)
    one.wait_job(made, "STARTED")

    one.till("queue", "pause", "default")

    assert one.wait_job(made)["attempt"] == 1


def test_a_pause_survives_restarts_and_the_loss_of_redis(stack):
    one = stack(own_redis=True)
    one.till("queue", "pause", "default")
    one.start(apis=0)
    held = one.enqueue("till.tasks.noop", count=20)

    one.worker.kill()
    one.start_worker()
    one.redis.flushall()
    wait_for(lambda: one.redis.xlen("till:{default}:normal") == 20, 15, "never healed")
    one.worker.term_and_wait()
    one.start_worker()
    pause(1)

    assert states(one) == {"PENDING": 20}
    one.till("queue", "resume", "default")
    for made in held:
        one.wait_job(made)
    one.settle()


def test_a_pause_is_heard_after_the_connection_to_the_database_was_cut(stack):
    one = stack(QUEUES)
    one.start_worker()
    ears = "application_name = 'till-worker-control' AND datname = current_database()"
    wait_for(lambda: one.value(f"SELECT count(*) FROM pg_stat_activity WHERE {ears}") == 2, 10, "")

    one.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ears}")
    one.till("queue", "pause", "default")

    wait_paused(one.worker)
    made = one.enqueue("till.tasks.noop")
    one.wait_job(one.enqueue("till.tasks.noop", queue="mail"))
    assert one.job(made)["state"] == "PENDING"


def test_a_job_cut_off_in_a_queue_that_is_paused_comes_back_with_the_queue(stack):
    one = stack(QUEUES)
    one.start(apis=0)
    made = one.enqueue("till.tasks.sleep", 3)
    one.wait_job(made, "STARTED")
    one.till("queue", "pause", "default")
    one.worker.kill()
    one.start_worker()

    one.wait_job(made, "PENDING", timeout=20)  # the scheduler has seen that its worker is gone
    pause(1)
    assert one.job(made)["attempt"] == 1
    one.till("queue", "resume", "default")

    assert one.wait_job(made)["attempt"] == 2
    one.settle()


def test_all_queues_paused_the_worker_waits_and_ends_well(stack):
    one = stack()
    one.start_worker(TILL_QUEUES="default")
    one.till("queue", "pause", "default")
    wait_paused(one.worker)

    one.worker.term_and_wait()


def test_pausing_twice_changes_nothing_and_tells_who_was_first(stack):
    one = stack()
    one.till("queue", "pause", "default")
    before = one.query("SELECT * FROM queues")

    again = done(one, "queue", "pause", "default")

    assert again == [{"queue": "default", "paused": True, "changed": False}]
    assert one.query("SELECT * FROM queues") == before
    assert before[0]["paused_by"]
    assert done(one, "queue", "resume", "default")[0]["changed"]
    assert not done(one, "queue", "resume", "default")[0]["changed"]


# ---- purge ----


def test_purge_revokes_what_waits_in_one_queue(stack):
    one = stack(QUEUES)
    one.enqueue("till.tasks.noop", count=1500)
    later = one.enqueue("till.tasks.noop", countdown=3600)
    other = one.enqueue("till.tasks.noop", queue="mail")

    assert done(one, "queue", "purge", "default") == [{"count": 1500, "done": "revoked"}]

    assert states(one) == {"REVOKED": 1500, "PENDING": 2}
    assert one.value("SELECT count(*) FROM jobs WHERE error = 'purged from its queue'") == 1500
    one.start_worker()
    one.wait_job(other)
    assert done(one, "queue", "purge", "default", "--scheduled")[0]["count"] == 1
    assert one.job(later)["state"] == "REVOKED"
    one.settle()


def test_purge_leaves_what_runs(stack):
    one = stack()
    one.start_worker()
    made = one.enqueue("till.tasks.sleep", 2)
    one.wait_job(made, "STARTED")

    assert done(one, "queue", "purge", "default")[0]["count"] == 0
    one.wait_job(made)


# ---- bad input ----


@pytest.mark.parametrize(
    "words",
    [
        ["task", "retry"],
        ["task", "revoke"],
        ["task", "revoke", "42"],
        ["task", "revoke", "GOOD", "42"],
        ["task", "revoke", "GOOD", "--all"],
        ["dead", "retry"],
        ["dead", "retry", "GOOD", "--all"],
        ["dead", "retry", "--all", "--task", "a.b"],
        ["dead", "delete"],
        ["dead", "delete", "--task", "no name"],
        ["dead", "delete", "--queue", ""],
        ["dead", "delete", "--all", "--nonsense"],
        ["dead", "list", "--limit", "0"],
        ["dead", "list", "extra"],
        ["queue", "pause"],
        ["queue", "pause", "no name"],
        ["queue", "pause", "default", "mail"],
        ["queue", "resume", "--all"],
        ["queue", "purge"],
        ["queue", "purge", "default", "--force"],
    ],
)
def test_wrong_words_are_exit_code_2_and_do_nothing(stack, words):
    one = stack()
    waiting = one.enqueue("till.tasks.noop", countdown=60)
    kill_row(one)

    ended = one.till(*[waiting if word == "GOOD" else word for word in words])

    assert ended.returncode == 2
    assert ended.stderr.startswith("till: ")
    assert states(one) == {"PENDING": 1, "FAILURE": 1}
    assert one.value("SELECT count(*) FROM queues") == 0


@pytest.mark.parametrize(
    "verb",
    ["task retry", "task run", "task revoke", "dead list", "dead retry", "dead delete"]
    + ["queue pause", "queue resume", "queue purge"],
)
def test_every_verb_has_a_help_page(stack, verb):
    ended = stack().till(*verb.split(), "--help")

    assert ended.returncode == 0
    assert ended.stdout.startswith(f"till {verb}")

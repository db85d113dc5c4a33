"""Jobs of many parts: each part takes effect once, and whoever runs the job again goes on where it was."""

import json
import signal

from harness import processes
from harness.wait import wait_for

STEPS = "till.tasks.tally_steps"


def done(one, job):
    return one.value("SELECT count(*) FROM trial_entries WHERE job_id = %s", job)


def wait_done(one, job, steps):
    wait_for(lambda: done(one, job) >= steps, 60, lambda: f"{done(one, job)} of {steps} steps")


def shown(one, job):
    told = one.till("task", "show", job, "--json")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def test_each_part_is_there_once_though_its_workers_are_killed(stack):
    one = stack({"TILL_WORKER_PROCESSES": 1}).start(apis=0)
    job = one.enqueue(STEPS, 5, 40, 50)
    for steps in (3, 12, 25):
        wait_done(one, job, steps)
        processes.send(processes.children_of(one.worker.pid)[0], signal.SIGKILL)

    row = one.wait_job(job, timeout=60)

    assert (row["attempt"], row["checkpoint"]) == (4, 40)
    assert done(one, job) == 40
    assert one.value("SELECT total FROM trial_counters WHERE id = 5") == 40
    one.settle()


def test_a_job_goes_on_beyond_its_time_limit_and_loses_no_attempt(stack):
    one = stack().start(apis=0)
    job = one.enqueue(STEPS, 5, 30, 100, header="soft_time_limit=1")

    row = one.wait_job(job, timeout=60)

    assert row["snoozes"] >= 2
    assert row["attempt"] == row["snoozes"] + 1
    assert (done(one, job), one.query("SELECT * FROM job_errors")) == (30, [])
    one.settle()


def freeze_between_parts(one):
    """In the middle of one it would hold the counter that whoever goes on needs, until its session times out."""
    others = ("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
              " AND state ")

    def freeze():
        one.worker.stop()
        wait_for(lambda: one.value(others + "= 'active'") == 0, 30, "PostgreSQL never came to rest")
        if one.value(others + "= 'idle in transaction'") == 0:
            return True
        one.worker.cont()
        return False

    wait_for(freeze, 60, "it was always in the middle of a part")


def test_who_is_taken_over_in_the_middle_writes_no_part_more(stack):
    one = stack({"TILL_LEASE_SECONDS": 2, "TILL_WORKER_PROCESSES": 1}).start(apis=0)
    job = one.enqueue(STEPS, 5, 60, 50)
    wait_done(one, job, 3)
    frozen = one.worker
    freeze_between_parts(one)
    one.start_worker()
    wait_for(lambda: one.job(job)["attempt"] == 2, 60, "nobody took it over")
    wait_done(one, job, 10)
    frozen.cont()
    frozen.wait_for_log("job_not_ours", timeout=60)

    assert one.wait_job(job, timeout=60)["checkpoint"] == 60
    assert done(one, job) == 60
    one.settle()


def test_a_revoked_job_commits_no_part_more_and_a_retry_goes_on_from_there(stack):
    one = stack().start(apis=0)
    job = one.enqueue(STEPS, 5, 400, 50)
    wait_done(one, job, 3)

    assert one.till("task", "revoke", job).returncode == 0
    kept = one.job(job)["checkpoint"]
    one.wait_settled()
    assert (done(one, job), one.job(job)["checkpoint"], one.job(job)["state"]) == (kept, kept, "REVOKED")

    one.query("UPDATE jobs SET args = jsonb_build_array(5, %s::int, 0) WHERE id = %s", kept + 5, job)
    assert one.till("task", "retry", job).returncode == 0
    one.wait_job(job)
    assert done(one, job) == kept + 5
    one.settle()


def test_a_dead_job_that_is_tried_again_goes_on_after_what_is_done(stack):
    one = stack().start(apis=0)
    job = one.enqueue(STEPS, 5, 400, 20)
    wait_done(one, job, 3)
    one.query("DELETE FROM trial_counters WHERE id = 5")
    one.wait_job(job, "FAILURE")
    kept = done(one, job)

    one.query("INSERT INTO trial_counters (id) VALUES (5)")
    one.query("UPDATE jobs SET args = jsonb_build_array(5, %s::int, 0) WHERE id = %s", kept + 5, job)
    assert one.till("dead", "retry", job).returncode == 0
    one.wait_job(job)

    assert one.value("SELECT total FROM trial_counters WHERE id = 5") == 5, "the parts before were done again"
    assert done(one, job) == kept + 5
    one.settle()


def waiting(one, key):
    """A job that has done seven of its ten parts, and waits."""
    return str(one.value(
        "INSERT INTO jobs (task, args, checkpoint, unique_key, scheduled_at)"
        " VALUES (%s, '[5, 10]', '7', %s, now() + interval '1 hour') RETURNING id",
        STEPS, key,
    ))


def test_what_replaces_a_job_begins_at_its_beginning(stack):
    one = stack().start(apis=0)
    by_sql, by_till = waiting(one, "a"), waiting(one, "b")

    one.query("SELECT till_enqueue(%s, '[6, 10]', unique_key => 'a', on_conflict => 'replace')", STEPS)
    told = one.till("enqueue", STEPS, "[6, 10]", "--unique", "b", "--on-conflict", "replace")
    assert told.returncode == 0, told.stderr

    for job in (by_sql, by_till):
        one.wait_job(job)
        assert done(one, job) == 10
    one.settle()


def test_a_fast_job_becomes_a_row_where_it_has_a_checkpoint_to_keep(stack):
    one = stack({"TILL_RETRY_BASE_MS": 20}).start(apis=0)
    one.enqueue_fast(STEPS, 5, 10)

    row = wait_for(lambda: one.query("SELECT * FROM jobs WHERE state = 'SUCCESS'"), 60, "it never became a row")[0]

    assert (row["attempt"], row["checkpoint"]) == (2, 10)
    assert done(one, row["id"]) == 10
    assert "a fast job has no row" in one.value("SELECT error FROM job_errors")
    one.settle()


def test_where_it_is_is_shown_without_secrets(stack):
    one = stack().start(apis=0, workers=0, schedulers=0)
    job = str(one.value(
        "INSERT INTO jobs (task, checkpoint) VALUES (%s, %s) RETURNING id",
        STEPS, json.dumps({"row": 7, "password": "hunter2hunter2"}),
    ))

    assert shown(one, job)["checkpoint"] == {"row": 7, "password": "[redacted]"}
    text = one.till("task", "show", job).stdout
    assert 'checkpoint {"password":"[redacted]","row":7}\n' in text
    assert shown(one, one.enqueue("till.tasks.noop"))["checkpoint"] is None


def test_the_proof_of_a_task_knows_checkpoints(stack):
    one = stack().start(apis=0, workers=0, schedulers=0)

    proof = one.try_task(STEPS, 5, 10)

    assert proof["first"]["outcome"] == "done", proof
    assert set(proof["touched"].split()) == {"jobs", "trial_counters", "trial_entries"}
    assert proof["is_idempotent"] and proof["survives_a_crash"], proof
    assert one.value("SELECT count(*) FROM trial_entries") == 0

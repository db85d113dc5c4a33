"""Every crash point of the source is visited: the real program dies there, with the job and the
checkout in just that state, somebody runs again, and all invariants hold.

In `make test` a program that has several points ahead of it dies at one after the other; in `make
faults` each is visited alone, the first and the second time it is reached, and workers die as one
process and as a whole.
"""

import os
import signal
import subprocess
from collections import Counter

import pytest

from harness import faults_report, processes, programs
from harness.crash import Stage, points_in_source
from harness.gateway import WEBHOOK_SECRET
from harness.shop import DECLINED
from harness.wait import wait_for

SCHEDULE = "[each-second]\ncron = * * * * * *\ntask = till.tasks.tally\nargs = [7]\noverlap = allow\n" \
    "catch_up = 1h\ncatch_up_runs = 100\n"
WORKER, SCHEDULER, API, DASHBOARD = "till-worker", "till-scheduler", "till-api", "till-dashboard"

# ---- visits: what makes a program come by; see harness/crash.py ----


def checkout(stage):
    yield
    stage.wait_payment(stage.check_out(), "succeeded")


def declined_checkout(stage):
    yield
    stage.wait_payment(stage.check_out(DECLINED), "failed")


def refund(stage):
    payment = stage.check_out()
    stage.wait_payment(payment, "succeeded")
    yield
    stage.one.query("SELECT till_enqueue('payments.tasks.refund_payment', %s)", f'["{payment}"]')
    stage.wait_payment(payment, "refunded")


def jobs(task, args, count=1, **options):
    """Durable jobs by SQL."""

    def act(stage):
        yield
        names = "".join(f", {name} => %s" for name in options)
        rows = stage.one.query(
            f"SELECT till_enqueue(%s, %s{names})::text AS id FROM generate_series(1, %s)",
            task, args, *options.values(), count,
        )
        ids = [row["id"] for row in rows]
        stage.known.jobs.extend(ids)
        stage.finish(*ids)

    return act


def batch_that_breaks(stage):
    """One of many cannot be written; it dies alone, of its only attempt."""
    stage.retire(WORKER)  # all of them shall wait when it comes
    rows = stage.one.query(
        "SELECT till_enqueue('till.tasks.tally_many',"
        " CASE n WHEN 12 THEN '[4, -1000000]' ELSE '[3]' END::jsonb)::text AS id"
        " FROM generate_series(1, 30) n"
    )
    key = "till:{default}:normal"
    wait_for(lambda: stage.one.redis.xlen(key) >= 30, 30, "they were never delivered")
    stage.known.dead += 1
    yield
    stage.one.wait_job(rows[11]["id"], "FAILURE", timeout=60)
    stage.finish(*(row["id"] for row in rows if row != rows[11]))


def fast_jobs(stage):
    yield
    for _ in range(5):
        stage.one.enqueue_fast("till.tasks.noop")
    key = "till:{default}:normal"
    wait_for(lambda: stage.one.redis.xlen(key) == 0, 60, "fast jobs are left")


def stray(stage):
    """A job whose entry is in the stream of another queue, as one that was replaced leaves it."""
    yield
    job = stage.one.value(
        "INSERT INTO jobs (task, args, queue, enqueued_at) VALUES ('till.tasks.tally', '[1]', 'mail', now()) RETURNING id"
    )
    stage.one.redis.xadd("till:{default}:normal", {"job": str(job)})
    stage.finish(job)


def undecodable(stage):
    yield
    stage.known.dead += 1
    stage.one.redis.xadd("till:{default}:normal", {"nothing": "of use"})
    wait_for(lambda: stage.one.value("SELECT count(*) FROM jobs WHERE task = 'undecodable'"), 60, "not kept")


def limited_jobs(stage):
    done = stage.one.till("limit", "set", "key", "narrow", "--concurrency", "1")
    assert done.returncode == 0, done.stderr
    return (yield from jobs("till.tasks.tally", "[1]", 6, limit_key="narrow")(stage))


def kill_with_job(stage):
    """Kills the worker in the middle of a job: its id."""
    for _ in range(20):
        job = stage.one.enqueue("till.tasks.sleep", 1)
        stage.one.wait_job(job, "STARTED", "SUCCESS")
        for worker in stage.one.named(WORKER):
            stage.known.ended.add(worker.pid)
            worker.kill()
        if stage.one.job(job)["state"] == "STARTED":
            return job
        stage.start(WORKER)  # the job was faster
    raise AssertionError("every job was faster than a kill")


def limited_fast_jobs(stage):
    """Under a limit of its task a fast job becomes a row."""
    done = stage.one.till("limit", "set", "task", "till.tasks.noop", "--concurrency", "3")
    assert done.returncode == 0, done.stderr
    made = "SELECT count(*) FROM jobs WHERE task = 'till.tasks.noop' AND state = 'SUCCESS'"
    before = stage.one.value(made)
    yield
    for _ in range(5):
        stage.one.enqueue_fast("till.tasks.noop")
    wait_for(lambda: stage.one.value(made) == before + 5, 60, "fast jobs under a limit are left")


def job_of_dead_worker(stage):
    """Of another host: where more than a lease passes before the next one starts here, that one has the
    name of the dead one, and finds the entry as its own."""
    job = kill_with_job(stage)
    key = "till:{default}:normal"
    for entry in stage.one.redis.xpending_range(key, "till", "-", "+", 100):
        stage.one.redis.xclaim(key, "till", "elsewhere:0", 0, [entry["message_id"]], justid=True)
    yield
    stage.finish(job)


def orphan(stage):
    """As before, and its entry is gone from Redis: only its row tells of it."""
    job = kill_with_job(stage)
    stage.retire(SCHEDULER)  # or it would find it before its time
    stage.one.redis.delete("till:{default}:normal")
    stage.start(WORKER)
    yield
    stage.finish(job)


def lost_entry(stage):
    """A row that says that it is in its stream, and is not."""
    yield
    job = stage.one.value(
        "INSERT INTO jobs (task, enqueued_at) VALUES ('till.tasks.noop', now() - interval '1 minute')"
        " RETURNING id::text"
    )
    stage.finish(job)


def expiring_job(stage):
    yield
    job = stage.one.value(
        "SELECT till_enqueue('till.tasks.noop', queue => 'nobodys',"
        " expires_at => now() + interval '0.3 seconds')::text"
    )
    stage.one.wait_job(job, "REVOKED", timeout=60)
    stage.one.redis.delete("till:{nobodys}:normal")  # which no worker reads


def killed_process(stage):
    yield
    child = wait_for(lambda: processes.children_of(stage.armed.pid), 30, "no process")[0]
    stage.known.crashes += 1
    processes.send(child, signal.SIGKILL)


def wait_gone(program):
    wait_for(lambda: not program.is_running(), 60, f"{program.name} was told to end, and does not")


def told_to_end(stage):
    yield
    stage.armed.term()
    wait_gone(stage.armed)


def told_to_end_at_once(stage):
    """With a job that it has to give back."""
    yield
    job = stage.one.enqueue("till.tasks.sleep", 1)
    stage.one.wait_job(job, "STARTED")
    stage.armed.send(signal.SIGQUIT)
    wait_gone(stage.armed)
    stage.finish(job)


def nothing(_):
    yield


def webhook(stage):
    """The worker never hears of a charge; the gateway tells of it by itself."""
    one = stage.one
    one.gateway.call("POST", "webhooks", {"url": one.api.url, "secret": WEBHOOK_SECRET, "paused": True})
    one.gateway.fault("hold_after", path="/v1/payment_intents")
    payment = stage.check_out()
    wait_for(one.gateway.held, 30, "the gateway was never asked")
    intent = one.gateway.effective_charges()[-1]["payment_intent"]
    yield

    def tell():
        """As often as the gateway itself does: until it hears a 200."""
        one.gateway.call("POST", "webhooks", {"url": one.api.url + "/api/webhooks/stripe/"})
        sent = one.gateway.call(
            "POST", "webhooks/send", {"payment_intent": intent, "type": "payment_intent.succeeded"}
        )
        return sent["deliveries"][-1]["status"] == 200

    stage.insist(tell)
    stage.wait_payment(payment, "succeeded")
    one.gateway.release()
    one.gateway.call("POST", "webhooks", {"url": "", "paused": False})


def dashboard_post(path, body=None, of=None):
    """`of` makes the job that the path names, or a body that is made for it."""

    def act(stage):
        target = of(stage) if of else ""
        yield
        before = stage.one.value("SELECT count(*) FROM audit")

        def post():
            asked = body(target) if callable(body) else body or {}
            stage.shop.http.post(stage.one.dashboard.url + path.format(target), json=asked, timeout=60)
            return True

        try:
            post()
        except OSError:
            pass  # it died with the answer
        # The row is in the transaction of what was done.
        assert stage.one.value("SELECT count(*) FROM audit") == before + 1

    return act


def dead_job(stage):
    """Fails its only attempt, and succeeds in the next."""
    job = stage.one.value("SELECT till_enqueue('till.tasks.fail', '[\"once\", 1]', max_attempts => 1)::text")
    stage.one.wait_job(job, "FAILURE")
    return job


def done_job(stage):
    job = stage.one.enqueue("till.tasks.tally", 1)
    stage.finish(job)
    return job


# (program, visit, points): in this order a program comes by, as far as there is one.
VISITS = [
    (WORKER, checkout, "fetch.read claim.before claim.done run.before charge.before"),
    (WORKER, checkout, "charge.after payment.succeeded payment.confirmation_added run.after"),
    (WORKER, checkout, "settle.before_commit settle.committed settle.pushed ack.before ack.done"),
    (WORKER, checkout, "mail.before mail.sent"),
    (WORKER, declined_checkout, "payment.declined"),
    (WORKER, refund, "refund.before refund.after"),
    (WORKER, jobs("till.tasks.noop", "[]", 40), "settle.batch_written lease.renewed heartbeat.before"),
    (WORKER, jobs("till.tasks.fail", '["not yet", 3]'), "settle.before_end settle.end_written"),
    (WORKER, jobs("till.tasks.tally_many", "[2]", 30), "many.before many.after many.fenced many.committed"),
    (WORKER, batch_that_breaks, "many.halved"),
    (WORKER, jobs("till.tasks.tally_steps", "[5, 3]"), "checkpoint.before_commit checkpoint.committed"),
    (WORKER, fast_jobs, "fast.taken"),
    (WORKER, stray, "stray.unclaimed"),
    (WORKER, undecodable, "undecodable.written"),
    (WORKER, limited_fast_jobs, "claim.rows_made"),
    (WORKER, jobs("till.tasks.talk", "[3, 0]"), "journal.before journal.written"),
    (WORKER, job_of_dead_worker, "fetch.taken_over fetch.own"),
    (WORKER, nothing, "supervisor.forked process.named"),
    (WORKER, killed_process, "supervisor.child_died"),
    (WORKER, told_to_end, "leave.before"),
    (WORKER, told_to_end_at_once, "give_back.written"),
    (WORKER, told_to_end_at_once, "give_back.pushed"),
    (SCHEDULER, nothing, "lead.won lead.settled schedules.before_commit figures.counted"),
    (SCHEDULER, nothing, "tick.recorded tick.before_commit tick.committed tick.pushed"),
    (SCHEDULER, jobs("till.tasks.fail", '["not yet", 2]'), "due.marked due.pushed"),
    (SCHEDULER, lost_entry, "heal.marked heal.pushed"),
    (SCHEDULER, orphan, "heal.orphans_marked"),
    (SCHEDULER, expiring_job, "expire.done"),
    (SCHEDULER, limited_jobs, "parked.marked parked.pushed"),
    (API, checkout, "request.begun order.stock_taken request.before_commit"),
    (API, checkout, "payment.inserted request.committed request.before_answer"),
    (API, webhook, "webhook.read webhook.before_commit webhook.committed"),
    (DASHBOARD, dashboard_post("/api/v1/tasks/{}/retry", of=dead_job), "dashboard.retried"),
    (DASHBOARD, dashboard_post("/api/v1/tasks/{}/replay", of=done_job), "dashboard.replayed"),
    (DASHBOARD, dashboard_post("/api/v1/tasks", lambda job: {"action": "replay", "ids": [job]}, of=done_job),
     "dashboard.replayed_many"),
    (DASHBOARD, dashboard_post("/api/v1/schedules/each-second/run"), "dashboard.schedule_run"),
    (DASHBOARD, dashboard_post("/api/task/async-apply/till.tasks.tally", {"args": [1]}), "dashboard.applied"),
]
# Points of `till`: what it is called with, and what it reads.
COMMANDS = {
    "enqueue.committed": (["enqueue", "till.tasks.tally", "[1]", "--count", "20"], None),
    "enqueue.pushed": (["enqueue", "till.tasks.tally", "[1]", "--count", "20"], None),
    "enqueue.before_commit": (["enqueue", "till.tasks.tally", "--batch", "-"], "[1]\n[2]\n"),
    "enqueue.fast_pushed": (["enqueue", "till.tasks.noop", "--fast"], None),
    "command.committed": (["task", "retry", "{job}"], None),
    "flow.declared": (["flow", "run", "-"], '{"chain": [{"task": "till.tasks.tally", "args": [1]},'
                      ' {"task": "till.tasks.tally", "args": [2]}]}'),
}


def new_stage(stack):
    one = stack({"TILL_LEASE_SECONDS": 2, "TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 16,
                 "TILL_RETRY_BASE_MS": 20, "TILL_SHUTDOWN_SECONDS": 5,
                 "GATEWAY_WEBHOOK_SECRET": WEBHOOK_SECRET})
    path = os.path.join(one.folder, "each-second.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(SCHEDULE)
    one.settings["TILL_SCHEDULES_FILE"] = path
    one.start(dashboards=1)
    return Stage(one)


def record(stage, name, deaths, times, seed=None):
    jobs_done = stage.one.value("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL")
    faults_report.record(f"crash points of {name}", deaths, jobs_done, recovery_s=times, seed=seed)


def visits_of(name):
    return [(act, points.split()) for program, act, points in VISITS if program == name]


def test_every_crash_point_of_the_source_has_a_visit():
    listed = Counter(point for _, _, points in VISITS for point in points.split())
    listed.update(list(COMMANDS))
    in_source = points_in_source()

    assert sorted(in_source) == sorted(set(in_source)), "each name stands at one place"
    assert sorted(listed) == sorted(in_source), "each point has a visit, and each visit a point"
    assert set(listed.values()) == {1}


def halves(name):
    """The worker has so many that two tests share them."""
    visits = visits_of(name)
    middle = len(visits) // 2
    return [(name, visits[:middle]), (name, visits[middle:])] if name == WORKER else [(name, visits)]


ROUNDS = [part for name in (WORKER, SCHEDULER, API, DASHBOARD) for part in halves(name)]


@pytest.mark.slow
@pytest.mark.parametrize("name, visits", ROUNDS, ids=lambda part: part if isinstance(part, str) else "")
def test_wherever_a_program_dies_all_invariants_hold(stack, name, visits):
    stage = new_stage(stack)
    times = [stage.visit(name, dict.fromkeys(points, 1), act) for act, points in visits]
    stage.judge()
    assert sorted(stage.seen) == sorted(point for _, points in visits for point in points)
    record(stage, name, len(stage.seen), times)


@pytest.mark.full
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("whole", [False, True], ids=["process", "whole worker"])
def test_each_point_alone_and_again(stack, nth, whole):
    """The nth time it is reached, where a visit comes by more than once: several visits at once."""
    stage = new_stage(stack)
    times = []
    for name, act, points in VISITS:
        if (whole and name != WORKER) or act in (told_to_end, told_to_end_at_once, nothing, killed_process):
            continue
        for point in points.split():
            if nth > 1 and act not in OFTEN:
                continue
            if whole and point in AFTER:
                continue  # only the replacement of a process comes by, under the same supervisor
            several = OFTEN.get(act, act) if nth > 1 else act
            first = {AFTER[point]: 1} if point in AFTER else {}
            times.append(stage.visit(name, {**first, point: nth}, several, whole=whole))
            stage.judge()
    record(stage, "one at a time" + (", whole worker" if whole else ""), len(stage.seen), times)


def thrice(act):
    def acts(stage):
        all_of_them = [act(stage) for _ in range(3)]
        for one in all_of_them:
            next(one)
        yield
        for one in all_of_them:
            next(one, None)

    return acts


# What a process comes by only once another has died at the former.
AFTER = {"fetch.own": "fetch.taken_over"}
OFTEN = {act: thrice(act) for act in (checkout, declined_checkout)}


def test_a_command_that_dies_has_enqueued_all_or_nothing(stack):
    stage = new_stage(stack)
    one = stage.one
    job = dead_job(stage)
    for point, (words, text) in COMMANDS.items():
        before = one.value("SELECT count(*) FROM jobs WHERE headers->>'schedule' IS NULL")
        words = [word.replace("{job}", job) for word in words]
        settings = {**one.settings, "TILL_CRASHPOINT": f"{point}:1"}

        done = programs.run("till", settings, *words, stdin=text)

        assert done.returncode == -signal.SIGKILL and point in done.stderr, (point, done)
        added = one.value("SELECT count(*) FROM jobs WHERE headers->>'schedule' IS NULL") - before
        wanted = {"enqueue.committed": 20, "enqueue.pushed": 20, "flow.declared": 2}.get(point, 0)
        assert added == wanted, point
    stage.judge()
    assert one.job(job)["state"] == "SUCCESS", "it was tried again"
    record(stage, "till", len(COMMANDS), None)


def test_an_unknown_form_of_crash_point_is_refused_and_the_release_has_none(stack):
    one = stack()
    refused = programs.run("till", {**one.settings, "TILL_CRASHPOINT": "claim.done"}, "task", "list")
    assert refused.returncode == 2 and "name:nth" in refused.stderr

    environment = {**programs.environment(one.settings), "TILL_CRASHPOINT": "enqueue.committed:1"}
    done = subprocess.run(
        [programs.path_of("till-worker"), "--check"], env=environment, capture_output=True, text=True,
        timeout=60, check=False,
    )
    assert done.returncode == 2 and "TILL_CRASHPOINT" in done.stderr, "no setting of a release"

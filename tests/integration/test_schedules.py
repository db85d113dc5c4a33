"""Schedules: each tick becomes one job, whatever happens to schedulers, clocks and files."""

import contextlib
import json
import os
import random
import signal
from datetime import datetime, timedelta, timezone

import psycopg2
import pytest

from harness import processes, programs
from harness.wait import SLOWNESS, a_second, pause, wait_for

EVERY_SECOND = "* * * * * *"
NEVER_SOON = "0 0 1 1 *"


def write_file(one, text, name="schedules.conf"):
    path = os.path.join(one.folder, name)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    return path


def section(name, cron=EVERY_SECOND, task="till.tasks.noop", **fields):
    lines = [f"[{name}]", f"cron = {cron}", f"task = {task}"]
    return "\n".join(lines + [f"{key} = {value}" for key, value in fields.items()]) + "\n"


def start(one, text, **settings):
    one.settings["TILL_SCHEDULES_FILE"] = write_file(one, text)
    return one.start_scheduler(**settings)


def runs(one, name, outcome=None):
    rows = one.query("SELECT * FROM schedule_runs WHERE schedule = %s ORDER BY tick", name)
    return [row for row in rows if outcome in (None, row["outcome"])]


def wait_runs(one, name, count=1, outcome="fired", timeout=15):
    return wait_for(
        lambda: len(runs(one, name, outcome)) >= count and runs(one, name, outcome),
        timeout,
        lambda: f"never {count} {outcome} of {name}: {runs(one, name)}",
    )


def schedule(one, name):
    rows = one.query("SELECT * FROM schedules WHERE name = %s", name)
    return rows[0] if rows else None


def set_back(one, name, seconds):
    """As if nobody had looked for that long."""
    one.query(
        "UPDATE schedules SET decided_to = date_trunc('second', now()) - %s * interval '1 second',"
        " next_tick = now(), next_run = now() WHERE name = %s",
        seconds,
        name,
    )


def wait_decided(one, name):
    """Until nothing of the past is open."""
    wait_for(
        lambda: one.value("SELECT next_tick > now() FROM schedules WHERE name = %s", name),
        20,
        lambda: f"never decided: {schedule(one, name)}",
    )


def listed(one, name):
    done = one.till("schedule", "list", name, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---- the file ----


def test_the_sample_file_is_good_and_its_schedules_are_listed(stack):
    one = stack()
    one.settings["TILL_SCHEDULES_FILE"] = os.path.join(programs.ROOT, "etc", "schedules.conf")
    one.settings["TILL_TIME_ZONE"] = "Europe/Berlin"
    one.start_scheduler()
    wait_for(lambda: schedule(one, "daily-sales") and schedule(one, "daily-sales")["next_tick"], 10)

    assert [row["name"] for row in one.query("SELECT name FROM schedules ORDER BY name")] == [
        "daily-sales",
        "expire-unpaid-orders",
        "prune-jobs",
        "reconcile-payments",
    ]
    found = listed(one, "daily-sales")
    assert (found["cron"], found["zone"], found["state"]) == ("30 6 * * *", "Europe/Berlin", "active")
    assert found["description"] == "at 06:30"
    due = datetime.fromisoformat(found["next_run"])
    assert (due.hour, due.minute) == (6, 30) and due > datetime.now(timezone.utc)
    assert due - datetime.now(timezone.utc) <= timedelta(hours=25)


BAD_FILES = [
    ("[x]\ncron = 61 * * * *\ntask = a\n", "line 2: cron: minute"),
    ("[x]\n# nothing\ncron = 0 0 30 2 *\ntask = a\n", "line 3: cron: there is no such date"),
    ("[x]\ncron = */30 2 8-14 3 */7\ntask = a\nzone = America/New_York\n", "line 1: cron: it never"),
    ("[x]\ncron = @daily\ntask = a\nzone = Mars/Olympus\n", "line 4: zone"),
    ("[x]\ncron = @daily\ntask = a\nargs = {}\n", "line 4: args"),
    ("[x]\ncron = @daily\ntask = a\nargs = [1,\n", "line 4: args"),
    ("[x]\ncron = @daily\ntask = a\nkwargs = []\n", "line 4: kwargs"),
    ("[x]\ncron = @daily\ntask = a b\n", "line 3: task"),
    ("[x]\ncron = @daily\ntask = a\nqueue = /\n", "line 4: queue"),
    ("[x]\ncron = @daily\ntask = a\noverlap = maybe\n", "line 4: overlap: write skip"),
    ("[x]\ncron = @daily\ntask = a\ncatch_up = 1y\n", "line 4: catch_up"),
    ("[x]\ncron = @daily\ntask = a\ncatch_up = 32d\n", "line 4: catch_up"),
    ("[x]\ncron = @daily\ntask = a\ncatch_up_runs = 0\n", "line 4: catch_up_runs"),
    ("[x]\ncron = @daily\ntask = a\njitter = -1s\n", "line 4: jitter"),
    ("[x]\ncron = @daily\ntask = a\ncolour = red\n", "line 4: colour: there is no such field"),
    ("[x]\n# caf\udce9\ncron = @daily\ntask = a\n", "line 2: it is no text in UTF-8"),
    ("[x]\ncron = @daily\ntask = a\0\n", "line 3: it is no text in UTF-8"),
    ("[x]\ncron\u00a0= @daily\ntask = a\n", "line 2: byte 5 of the field's name is no printable ASCII"),
    ("[x]\ncron = @daily\ntask = a\ntask = b\n", "line 4: task: it was given above"),
    ("[x]\ncron = @daily\n", "line 1: task: schedule \"x\" has none"),
    ("[x]\ntask = a\n[y]\ncron = @daily\ntask = a\n", "line 1: cron"),
    ("cron = @daily\n", "line 1: cron: a [name] comes first"),
    ("[x\ncron = @daily\n", "line 1: section"),
    ("[x y]\n", "line 1: section"),
    ("[]\n", "line 1: section"),
    ("[x]\ncron = @daily\ntask = a\n[x]\ncron = @daily\ntask = a\n", "line 4: section: there is a"),
    ("[x]\ncron\n", "line 2: expected"),
    ("[x]\ncron =\n", "line 2: cron: it has no value"),
]


def test_a_bad_file_is_refused_with_line_field_and_reason(stack):
    one = stack()
    for text, wanted in BAD_FILES:
        one.settings["TILL_SCHEDULES_FILE"] = write_file(one, text)
        for arguments in (("--check",), ()):
            done = programs.run("till-scheduler", one.settings, *arguments)
            assert done.returncode == 2, text
            assert wanted in done.stderr, (text, done.stderr)
    one.settings["TILL_SCHEDULES_FILE"] = os.path.join(one.folder, "nowhere.conf")
    done = programs.run("till-scheduler", one.settings, "--check")
    assert done.returncode == 2 and "nowhere.conf" in done.stderr
    one.settings.update(TILL_SCHEDULES_FILE=write_file(one, section("x")), TILL_TIME_ZONE="Nowhere")
    done = programs.run("till-scheduler", one.settings, "--check")
    assert done.returncode == 2 and 'time zone "Nowhere"' in done.stderr
    one.settings["TILL_TIME_ZONE"] = "UTC"
    assert programs.run("till-scheduler", one.settings, "--check").returncode == 0


def test_reload_changes_adds_and_removes_and_a_bad_file_changes_nothing(stack):
    one = stack()
    one_scheduler = start(one, section("stays", NEVER_SOON) + section("goes"))
    wait_runs(one, "goes")

    write_file(one, section("stays", "0 0 2 1 *", args="[7]") + section("comes", NEVER_SOON))
    one_scheduler.send(signal.SIGHUP)
    wait_for(lambda: schedule(one, "comes"), 10)
    assert schedule(one, "goes") is None and runs(one, "goes"), "its history stays"
    assert (schedule(one, "stays")["cron"], schedule(one, "stays")["args"]) == ("0 0 2 1 *", [7])

    write_file(one, section("comes", "every now and then"))
    one_scheduler.send(signal.SIGHUP)
    line = one_scheduler.wait_for_log("schedules_refused")
    assert "line 2: cron" in line["error"]
    assert schedule(one, "stays") and schedule(one, "comes")["cron"] == NEVER_SOON

    write_file(one, section("comes", "0 0 3 1 *"))
    one_scheduler.send(signal.SIGHUP)
    wait_for(lambda: not schedule(one, "stays"), 10)
    assert schedule(one, "comes")["cron"] == "0 0 3 1 *"


def test_without_a_file_the_schedules_stay_as_they_are(stack):
    one = stack()
    first = start(one, section("seconds", overlap="allow"))
    wait_runs(one, "seconds")
    first.term_and_wait()
    before = len(runs(one, "seconds"))

    one.settings["TILL_SCHEDULES_FILE"] = ""
    one.start_scheduler()

    wait_runs(one, "seconds", before + 2)


# ---- ticks ----


def test_a_tick_becomes_a_job_with_its_arguments_headers_and_queue(stack):
    one = stack()
    start(
        one,
        section(
            "x", task="any.task", args='[1, "zwei"]', kwargs='{"a": 1}', queue="mail", zone="Asia/Kolkata"
        ),
    )

    run = wait_runs(one, "x")[0]

    job = one.job(run["job_id"])
    assert (job["task"], job["args"], job["kwargs"], job["queue"]) == (
        "any.task",
        [1, "zwei"],
        {"a": 1},
        "mail",
    )
    assert job["headers"]["schedule"] == "x"
    tick = datetime.fromisoformat(job["headers"]["tick"])
    assert tick == run["tick"] and tick.utcoffset() == timedelta(hours=5, minutes=30)
    assert abs((job["created_at"] - run["tick"]).total_seconds()) < 2 * SLOWNESS
    # The entry comes behind the commit.
    wait_for(lambda: one.redis.xlen("till:{mail}:normal") >= 1, 10, "it was never delivered")


def test_a_scheduler_that_has_no_schedules_says_so(stack):
    one = stack({"TILL_SCHEDULES_FILE": ""})
    warned = one.start_scheduler().wait_for_log("no_schedules", timeout=30)
    assert "TILL_SCHEDULES_FILE" in warned["advice"]


def test_every_second_of_a_calm_time_fires_once(stack):
    one = stack({"TILL_SCHEDULES_FILE": ""})
    start(one, section("seconds", catch_up_runs=100, overlap="allow"))
    found = wait_runs(one, "seconds", 8)

    gaps = {after["tick"] - before["tick"] for before, after in zip(found, found[1:])}
    assert gaps == {timedelta(seconds=1)}
    assert not runs(one, "seconds", "missed")
    # In one statement: the next tick may come at any moment.
    assert one.value("SELECT count(DISTINCT job_id) = count(*) FROM schedule_runs")


def test_ticks_are_decided_while_redis_is_away(stack):
    one = stack(own_redis=True)
    start(one, section("seconds", catch_up_runs=100, overlap="allow"))
    wait_runs(one, "seconds")
    one.redis_server.stop()
    before = len(runs(one, "seconds"))
    wait_runs(one, "seconds", before + 3)
    one.redis_server.start()
    one.start_worker()

    wait_for(
        lambda: one.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'") >= before + 3, 30
    )


@pytest.mark.parametrize("what", ["due", "lost"])
def test_a_backlog_keeps_neither_ticks_nor_signals_waiting(stack, what):
    """Of jobs that become due together, or that Redis has lost. Each 500 or 1000 of them take a moment."""
    one = stack({"TILL_LEASE_SECONDS": 30})
    slow = one.proxy("redis")
    scheduler = start(one, section("seconds", overlap="allow", catch_up_runs=100), **slow.settings)
    wait_runs(one, "seconds")
    slow.set("delay", seconds=0.1)
    one.query(
        "INSERT INTO jobs (id, task, queue, scheduled_at, enqueued_at) SELECT gen_random_uuid(),"
        " 'till.tasks.noop', 'backlog', now() - interval '1 hour',"
        " CASE WHEN %s = 'lost' THEN now() - interval '1 hour' END FROM generate_series(1, 40000)",
        what,
    )
    # At one moment: some are delivered, some are not, and ticks have come meanwhile.
    delivered = "enqueued_at IS NOT NULL AND enqueued_at > scheduled_at"
    wait_for(
        lambda: one.value(
            f"SELECT bool_or(NOT coalesce({delivered}, false)) AND (SELECT count(*) FROM schedule_runs"
            f" WHERE decided_at > min(enqueued_at) FILTER (WHERE {delivered}) + interval '1 second') > 1"
            " FROM jobs WHERE queue = 'backlog'"
        ),
        30,
        lambda: (one.value(f"SELECT count(*) FROM jobs WHERE {delivered}"), runs(one, "seconds")[-1]),
    )
    scheduler.term_and_wait()
    left = one.value(f"SELECT count(*) FROM jobs WHERE queue = 'backlog' AND ({delivered}) IS NOT TRUE")
    assert left > 0, "it stopped when it was asked to"


def test_after_a_downtime_at_most_one_run_is_made_up(stack):
    one = stack()
    far = datetime.now(timezone.utc) + timedelta(minutes=30)  # no tick comes by itself meanwhile
    first = start(one, section("hourly", f"{far.minute} * * * *", zone="UTC"))
    wait_for(lambda: schedule(one, "hourly") and schedule(one, "hourly")["next_tick"], 10)
    first.term_and_wait()
    set_back(one, "hourly", 5 * 3600)
    one.start_scheduler()

    wait_runs(one, "hourly")
    wait_decided(one, "hourly")

    fired, missed = runs(one, "hourly", "fired"), runs(one, "hourly", "missed")
    assert (len(fired), len(missed)) == (1, 4)
    assert fired[0]["tick"] > max(row["tick"] for row in missed), "the last one runs"
    assert one.value("SELECT count(*) FROM jobs") == 1


def test_what_is_older_than_the_window_is_not_made_up(stack):
    one = stack()
    far = datetime.now(timezone.utc) + timedelta(hours=12)  # no tick comes by itself meanwhile
    first = start(
        one,
        section("daily", f"0 {far.hour} * * *", zone="UTC", catch_up="0s")
        + section("three", "@every 60s", catch_up="10m", catch_up_runs=3, overlap="allow")
        + section("long", "* * * * * *", catch_up="1m"),
    )
    for name in ("daily", "three", "long"):
        wait_for(lambda: schedule(one, name) and schedule(one, name)["next_tick"], 10)
    first.term_and_wait()
    one.query("DELETE FROM schedule_runs")
    one.query("DELETE FROM jobs")
    set_back(one, "daily", 3 * 86400)
    set_back(one, "three", 3600)
    set_back(one, "long", 30 * 86400)
    one.start_scheduler()
    for name in ("daily", "three", "long"):
        wait_decided(one, name)

    assert len(runs(one, "daily", "missed")) == 3 and not runs(one, "daily", "fired")
    assert {row["reason"] for row in runs(one, "daily")} == {
        "nobody was there, and it is older than catch_up"
    }
    fired = runs(one, "three", "fired")
    assert len(fired) == 3
    assert [b["tick"] - a["tick"] for a, b in zip(fired, fired[1:])] == [timedelta(minutes=1)] * 2
    assert sum(row["ticks"] for row in runs(one, "three", "missed")) == 57
    # A month of seconds is not counted to the end, and costs one row beyond the last hundred.
    long = runs(one, "long", "missed")
    assert max(row["ticks"] for row in long) == 10000
    assert len(long) < 130


def test_a_clock_that_was_put_back_repeats_nothing_and_goes_on(stack):
    """The schedule has decided a day that has not come: PostgreSQL's clock was a day ahead."""
    one = stack()
    start(one, section("seconds", catch_up_runs=100, overlap="allow"))
    wait_runs(one, "seconds", 2)
    last = runs(one, "seconds")[-1]["tick"]
    one.query(
        "UPDATE schedules SET decided_to = decided_to + interval '1 day',"
        " next_tick = next_tick + interval '1 day', next_run = next_run + interval '1 day'"
    )
    # Of the day that was lived ahead, some ticks have fired, others were missed.
    at = last + timedelta(seconds=12)
    fired_ahead = one.insert_job("till.tasks.noop")
    one.query(
        "INSERT INTO schedule_runs (schedule, tick, outcome, job_id) VALUES ('seconds', %s, 'fired', %s)",
        at,
        fired_ahead,
    )
    one.query(
        "INSERT INTO schedule_runs (schedule, tick, outcome) VALUES ('seconds', %s, 'missed')",
        at + timedelta(seconds=1),
    )

    wait_for(lambda: runs(one, "seconds")[-1]["tick"] > at + timedelta(seconds=2), 40)

    by_tick = {row["tick"]: row for row in runs(one, "seconds")}
    assert str(by_tick[at]["job_id"]) == fired_ahead, "it fired once, and not again"
    assert by_tick[at + timedelta(seconds=1)]["outcome"] == "fired", "a missed one may still come"
    # In one statement: they go on firing.
    counts = one.query(
        "SELECT (SELECT count(*) FROM jobs WHERE headers ->> 'schedule' = 'seconds') AS jobs,"
        " (SELECT count(*) FROM schedule_runs WHERE outcome = 'fired') AS fired"
    )[0]
    assert counts["jobs"] == counts["fired"] - 1


def test_jitter_delays_runs_by_an_amount_that_is_fixed_for_the_name(stack):
    one = stack()
    start(one, "".join(section(f"s{i}", NEVER_SOON, jitter="1h") for i in range(20)))
    wait_for(lambda: one.value("SELECT count(*) FROM schedules WHERE next_run IS NOT NULL") == 20, 10)

    rows = one.query("SELECT name, next_run - next_tick AS delay FROM schedules")
    delays = {row["name"]: row["delay"].total_seconds() for row in rows}
    assert all(0 <= delay <= 3600 for delay in delays.values())
    assert len(set(delays.values())) > 15, "they spread"
    shown = listed(one, "s3")
    assert datetime.fromisoformat(shown["next_run"]) - datetime.fromisoformat(
        shown["next_tick"]
    ) == timedelta(seconds=delays["s3"])


# ---- overlap ----


def long_run(one, overlap):
    """A schedule whose job takes a while, with a worker."""
    start(
        one,
        section("slow", "* * * * * *", "till.tasks.sleep", args="[3]", overlap=overlap, catch_up_runs=50),
    )
    one.start_worker()
    wait_runs(one, "slow")


def test_overlap_skip_skips_and_says_why(stack):
    one = stack()
    long_run(one, "skip")

    skipped = wait_runs(one, "slow", 2, "skipped")
    wait_runs(one, "slow", 2)

    assert skipped[0]["reason"] == "the run before it is not finished"
    assert running_at_once(one) == 1


def test_overlap_queue_lets_one_wait(stack):
    one = stack()
    long_run(one, "queue")

    wait_runs(one, "slow", 1, "waiting")
    fired = wait_runs(one, "slow", 3, timeout=30)
    assert len(runs(one, "slow", "waiting")) <= 1
    assert runs(one, "slow", "skipped")[0]["reason"] == "another run waits already"
    assert running_at_once(one) == 1
    # The one that waited began when the one before it had ended, and did not wait for a tick.
    first, second = (one.job(row["job_id"]) for row in fired[:2])
    assert second["created_at"] >= first["finished_at"]
    assert second["created_at"] - first["finished_at"] < timedelta(seconds=3 * SLOWNESS)


def test_runs_that_wait_keep_no_other_schedule_from_running(stack):
    """More of them than are looked at together. No worker: none of the runs before them is over."""
    one = stack()
    waiting = 101
    text = "".join(section(f"slow-{n}", overlap="queue", catch_up_runs=50) for n in range(waiting))
    start(one, text + section("other", overlap="allow", catch_up_runs=50))
    wait_for(
        lambda: one.value("SELECT count(*) FROM schedules WHERE waiting_tick IS NOT NULL") == waiting,
        60,
        lambda: one.value("SELECT count(*) FROM schedules WHERE waiting_tick IS NOT NULL"),
    )

    wait_runs(one, "other", len(runs(one, "other", "fired")) + 3, timeout=60)


@pytest.mark.parametrize(
    "now, reason", [("skip", "its schedule lets none wait any more"), (None, "its schedule was removed")]
)
def test_a_run_that_waits_and_can_not_come_any_more_is_told_as_skipped(stack, now, reason):
    """No worker: the run before it is not finished."""
    one = stack()
    scheduler = start(one, section("slow", overlap="queue", catch_up_runs=50))
    [waiting] = wait_runs(one, "slow", 1, "waiting")

    write_file(one, section("other", NEVER_SOON) + (section("slow", overlap=now) if now else ""))
    scheduler.send(signal.SIGHUP)

    wait_for(lambda: schedule(one, "other"), 10)
    assert not runs(one, "slow", "waiting")
    [told] = [run for run in runs(one, "slow") if run["tick"] == waiting["tick"]]
    assert (told["outcome"], told["reason"]) == ("skipped", "it waited, and " + reason)


def hourly(one, **fields):
    """A schedule that has just begun, of which no tick comes by itself during the test."""
    far = datetime.now(timezone.utc) + timedelta(minutes=30)
    scheduler = start(one, section("hourly", f"{far.minute} * * * *", zone="UTC", **fields))
    wait_for(lambda: schedule(one, "hourly") and schedule(one, "hourly")["next_tick"], 10)
    return scheduler


def look_anew(one):
    """As each hour."""
    one.query("UPDATE schedules SET next_tick = NULL, next_run = NULL")


def test_a_job_that_was_brought_back_from_the_dead_counts_as_the_run_that_goes_on(stack):
    """No worker: it is not finished again."""
    one = stack()
    hourly(one)
    job = json.loads(one.till("schedule", "run", "hourly", "--json").stdout)["id"]
    assert one.till("task", "revoke", job).returncode == 0
    look_anew(one)
    wait_for(lambda: runs(one, "hourly")[0]["job_state"] == "REVOKED", 15)

    assert one.till("task", "retry", job).returncode == 0
    set_back(one, "hourly", 3600)

    (skipped,) = wait_runs(one, "hourly", 1, "skipped")
    assert skipped["reason"] == "the run before it is not finished"
    one.start_worker()
    one.wait_job(job)
    look_anew(one)
    wait_for(lambda: runs(one, "hourly", "fired")[0]["job_state"] == "SUCCESS", 15)


def test_a_run_that_goes_on_for_longer_than_the_history_is_kept_is_not_forgotten(stack):
    """No worker: it is not finished. In its time more ticks were skipped than rows are kept."""
    one = stack()
    scheduler = start(one, section("slow", catch_up_runs=100))
    [first] = wait_runs(one, "slow")
    scheduler.term_and_wait()
    one.query(
        "INSERT INTO schedule_runs (schedule, tick, outcome, reason) SELECT 'slow',"
        " %s + n * interval '1 microsecond', 'skipped', 'before' FROM generate_series(1, 20100) n",
        first["tick"],
    )
    one.start_scheduler().wait_for_log("schedule_runs_deleted")
    wait_decided(one, "slow")

    wait_for(lambda: runs(one, "slow")[-1]["reason"] == "the run before it is not finished", 10)
    assert [run["job_id"] for run in runs(one, "slow", "fired")] == [first["job_id"]]


def test_overlap_allow_runs_side_by_side(stack):
    one = stack()
    long_run(one, "allow")

    wait_runs(one, "slow", 4)

    assert not runs(one, "slow", "skipped")
    wait_for(lambda: running_at_once(one) >= 2, 10)


def running_at_once(one):
    """The most jobs of the schedule that were unfinished at one moment."""
    rows = one.query(
        "SELECT created_at, coalesce(finished_at, 'infinity') AS finished_at FROM jobs"
        " WHERE task = 'till.tasks.sleep' AND finished_at IS NOT NULL OR started_at IS NOT NULL"
    )
    return max(
        (
            sum(other["created_at"] <= row["created_at"] < other["finished_at"] for other in rows)
            for row in rows
        ),
        default=0,
    )


# ---- what people order ----


def test_a_paused_schedule_does_not_run_and_nothing_is_made_up(stack):
    one = stack()
    start(one, section("seconds", overlap="allow", catch_up_runs=100))
    wait_runs(one, "seconds")

    done = one.till("schedule", "pause", "seconds")
    assert done.returncode == 0 and "now paused" in done.stdout
    assert listed(one, "seconds")["state"] == "paused"
    count = len(runs(one, "seconds"))
    pause(3)
    assert len(runs(one, "seconds")) == count
    resumed = one.value("SELECT now()")
    assert "now active" in one.till("schedule", "resume", "seconds").stdout
    assert "already active" in one.till("schedule", "resume", "seconds").stdout

    found = wait_runs(one, "seconds", count + 2)
    assert all(row["tick"] > resumed - timedelta(seconds=1) for row in found[count:])
    assert not runs(one, "seconds", "missed")


def test_schedules_that_somebody_has_locked_however_many_hold_nobody_up(stack):
    """A hundred of them were all that was looked at, again and again."""
    one = stack()
    one.settings["TILL_LEASE_SECONDS"] = 60  # the leader is stopped for a moment
    locked = [f"locked-{number}" for number in range(250)]
    scheduler = start(one, "".join(section(name, NEVER_SOON) for name in [*locked, "free"]))
    wait_for(lambda: one.value("SELECT count(next_run) FROM schedules") == 251, 30)
    scheduler.stop()
    one.query("UPDATE schedules SET next_run = now() - interval '1 hour' WHERE name <> 'free'")
    set_back(one, "free", 367 * 86400)
    with contextlib.closing(one.postgres.connect(one.database)) as holder:
        holder.cursor().execute("BEGIN; SELECT FROM schedules WHERE name <> 'free' FOR UPDATE")
        scheduler.cont()

        wait_for(lambda: schedule(one, "free")["next_run"] > datetime.now(timezone.utc), 20, "nobody looks at it")
        assert runs(one, "free", "missed")
        assert not runs(one, locked[0])

    wait_for(lambda: one.value("SELECT min(next_run) FROM schedules") > datetime.now(timezone.utc), 20, "they stay behind")


def test_a_pause_outlives_that_its_schedule_is_taken_out_of_the_file_and_put_back(stack):
    one = stack()
    both = section("seconds", overlap="allow") + section("other", NEVER_SOON)
    scheduler = start(one, both)

    def put(text):
        write_file(one, text)
        scheduler.send(signal.SIGHUP)

    def is_read(name, state):
        wait_for(lambda: listed(one, name).get("state") == state, 15, lambda: listed(one, name))

    wait_runs(one, "seconds")
    assert one.till("schedule", "pause", "seconds").returncode == 0
    put(section("other", NEVER_SOON))
    is_read("seconds", "removed")
    assert "when it comes back it is paused" in one.till("schedule", "list").stdout
    assert "no schedule" in one.till("schedule", "run", "seconds").stderr
    put(both)
    is_read("seconds", "paused")
    count = len(runs(one, "seconds"))

    put(section("other", NEVER_SOON))
    is_read("seconds", "removed")
    assert "its pause is forgotten" in one.till("schedule", "resume", "seconds").stdout
    assert "no schedule" in one.till("schedule", "list", "seconds").stderr
    assert len(runs(one, "seconds")) == count
    put(both)

    is_read("seconds", "active")
    wait_runs(one, "seconds", count + 1)


def with_a_run_ahead(one):
    """A schedule whose tick has been, and whose run comes later by its jitter: (scheduler, row)."""
    names = [f"s{n}" for n in range(9)]
    scheduler = start(one, "".join(section(name, NEVER_SOON, jitter="24h") for name in names))
    wait_for(lambda: one.value("SELECT count(next_run) FROM schedules") == len(names), 10)
    row = one.query("SELECT name, next_run - next_tick AS delay FROM schedules ORDER BY 2 DESC LIMIT 1")[0]
    assert row["delay"] > timedelta(hours=1)
    tick = (datetime.now(timezone.utc) - row["delay"] / 2).replace(second=0, microsecond=0)
    write_file(one, section(row["name"], f"{tick.minute} {tick.hour} * * *", zone="UTC", jitter="24h"))
    scheduler.send(signal.SIGHUP)
    wait_for(lambda: one.value("SELECT count(next_run) FROM schedules") == 1, 10)
    one.query(
        "UPDATE schedules SET decided_to = %s, next_tick = NULL, next_run = NULL",
        tick - timedelta(minutes=1),
    )
    found = wait_for(
        lambda: one.query("SELECT * FROM schedules WHERE name = %s AND next_tick = %s", row["name"], tick), 15
    )
    return scheduler, found[0]


def test_a_pause_that_is_over_before_the_run_of_a_tick_does_not_cost_it(stack):
    one = stack()
    _, row = with_a_run_ahead(one)

    assert one.till("schedule", "pause", row["name"]).returncode == 0
    assert one.till("schedule", "resume", row["name"]).returncode == 0

    assert wait_for(lambda: schedule(one, row["name"])["next_run"], 10) == row["next_run"]


@pytest.mark.parametrize("what", ["changed", "removed"])
def test_a_tick_that_a_change_of_its_schedule_forgoes_is_told_as_missed(stack, what):
    one = stack()
    scheduler, row = with_a_run_ahead(one)
    same = section(row["name"], row["cron"], zone="UTC", jitter="24h")

    changed = same.replace("24h", "23h") if what == "changed" else section("other", NEVER_SOON)
    write_file(one, changed)
    scheduler.send(signal.SIGHUP)
    (missed,) = wait_runs(one, row["name"], 1, "missed")
    write_file(one, same)
    scheduler.send(signal.SIGHUP)

    assert (missed["tick"], missed["reason"]) == (row["next_tick"], f"its schedule was {what} before it ran")
    found = wait_for(lambda: (schedule(one, row["name"]) or {}).get("next_tick"), 10)
    assert found > row["next_tick"], "not NULL, as it is for a moment after each change"
    assert len(runs(one, row["name"])) == 1


def test_a_schedule_can_be_run_now_paused_or_not(stack):
    one = stack()
    start(one, section("yearly", NEVER_SOON, args="[5]"))
    wait_for(lambda: schedule(one, "yearly"), 10)
    one.till("schedule", "pause", "yearly")
    one.start_worker()

    done = one.till("schedule", "run", "yearly", "--json")

    job = one.wait_job(json.loads(done.stdout)["id"])
    assert job["args"] == [5] and job["headers"]["schedule"] == "yearly"
    (run,) = runs(one, "yearly")
    assert (run["outcome"], run["by_hand"], str(run["job_id"])) == ("fired", True, str(job["id"]))
    assert datetime.fromisoformat(job["headers"]["tick"]) == run["tick"], "by PostgreSQL's clock, too"
    lines = one.till("schedule", "history", "yearly", "--json").stdout.splitlines()
    (event,) = map(json.loads, lines)
    assert (event["outcome"], event["by_hand"], event["state"]) == ("fired", True, "SUCCESS")
    assert listed(one, "yearly")["last_job"] == str(job["id"])


def test_verbs_refuse_what_is_not_there(stack):
    one = stack()
    for verb in ("pause", "resume", "run", "list"):
        done = one.till("schedule", verb, "nobody")
        assert done.returncode == 1 and "no" in done.stderr, verb
    assert one.till("schedule", "pause").returncode == 2
    assert one.till("schedule", "history", "x", "--limit", "0").returncode == 2
    assert one.till("schedule", "list").stdout == ""


# ---- two schedulers ----


def test_a_frozen_leader_is_succeeded_and_fires_nothing_when_it_wakes(stack):
    one = stack({"TILL_LEASE_SECONDS": 2})
    first = start(one, section("seconds", overlap="allow", catch_up_runs=100))
    wait_runs(one, "seconds")
    second = one.start_scheduler()
    first.stop()

    second.wait_for_log("leading", timeout=20)
    count = len(runs(one, "seconds", "fired"))
    wait_runs(one, "seconds", count + 3)
    first.cont()
    first.wait_for_log("scheduler_interrupted")
    wait_runs(one, "seconds", count + 8)

    check_ticks(one, ["seconds"])


def test_leadership_is_proved_in_the_transaction_of_the_tick(stack):
    """Somebody else holds the lock: a scheduler that believes that it leads can decide nothing."""
    one = stack()
    leader = start(one, section("seconds", overlap="allow", catch_up_runs=100))
    wait_runs(one, "seconds")
    holder = one.postgres.connect(one.database)
    with holder.cursor() as cursor:
        # The leader's session loses the lock, and goes on.
        leader.stop()
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 115"
        )
        wait_for(lambda: try_lock(cursor), 10)
        count = len(runs(one, "seconds"))
        leader.cont()
        pause(3)
        assert len(runs(one, "seconds")) == count
    holder.close()
    wait_runs(one, "seconds", count + 1)


def try_lock(cursor):
    cursor.execute("SELECT pg_try_advisory_lock(115, 1667786084)")
    return cursor.fetchone()[0]


@pytest.mark.slow
def test_two_schedulers_random_kills_and_frozen_leaders_fire_each_tick_once(stack):
    """More than a thousand ticks, of schedules that come each second."""
    seed = int(os.environ.get("TICKS_SEED", random.randrange(1 << 30)))
    wanted = int(os.environ.get("TICKS", "1000"))
    print(f"TICKS_SEED={seed}")
    chance = random.Random(seed)
    names = [f"s{i}" for i in range(40)]
    one = stack({"TILL_LEASE_SECONDS": 2})
    text = "".join(section(name, overlap="allow", catch_up_runs=100) for name in names)
    text += section("pair", "*/2 * * * * *", jitter="1s", overlap="allow", catch_up_runs=100)
    schedulers = [start(one, text), one.start_scheduler()]
    faults = {"kill": 0, "stop": 0, "cut": 0}

    while one.value("SELECT count(*) FROM schedule_runs") < wanted or min(faults.values()) == 0:
        fault = chance.choice(list(faults))
        victim = chance.choice(schedulers)
        faults[fault] += 1
        if fault == "kill":
            victim.kill()
            schedulers[schedulers.index(victim)] = one.start_scheduler()
        elif fault == "stop":
            victim.stop()
            pause(chance.choice([0.3, 1.5, 3.5]))
            victim.cont()
        else:
            one.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'till-scheduler' AND datname = current_database()"
            )
        pause(chance.random() * 2)

    last = one.value("SELECT max(tick) FROM schedule_runs")
    wait_for(
        lambda: one.value("SELECT min(decided_to) FROM schedules") >= last + timedelta(seconds=2), 30
    )
    print(faults, one.value("SELECT count(*) FROM schedule_runs"))
    check_ticks(one, names)
    check_ticks(one, ["pair"], timedelta(seconds=2))


def check_ticks(one, names, distance=timedelta(seconds=1)):
    """Each tick has fired, once: no hole, no second job, none that nobody knows of."""
    for name in names:
        found = runs(one, name)
        assert {row["outcome"] for row in found} == {"fired"}, name
        ticks = [row["tick"] for row in found]
        assert {b - a for a, b in zip(ticks, ticks[1:])} == {distance}, name
        rows = one.query(
            "SELECT id, headers ->> 'tick' AS tick FROM jobs WHERE headers ->> 'schedule' = %s", name
        )
        # They go on firing: what has come since `found` was read is not in it.
        jobs = {str(row["id"]): datetime.fromisoformat(row["tick"]) for row in rows}
        jobs = {job: tick for job, tick in jobs.items() if tick <= ticks[-1]}
        assert jobs == {str(row["job_id"]): row["tick"] for row in found}, name


def test_a_tick_that_fired_cannot_be_undone_by_anybody(stack):
    one = stack()
    start(one, section("seconds"))
    wait_runs(one, "seconds")
    with pytest.raises(psycopg2.Error, match="illegal change"):
        one.query("UPDATE schedule_runs SET outcome = 'missed', job_id = NULL, is_open = false")
    with pytest.raises(psycopg2.Error, match="duplicate key"):
        one.query(
            "INSERT INTO schedule_runs (schedule, tick, outcome)"
            " SELECT schedule, tick, 'missed' FROM schedule_runs"
        )


def test_an_idle_scheduler_makes_about_two_statements_a_second(stack):
    one = stack(own_postgres=True)
    one.settings["TILL_HEAL_SECONDS"] = 5
    one.settings["TILL_LEASE_SECONDS"] = 30
    one.settings["TILL_SEARCH_INDEX"] = 0  # it comes to rest in minutes; test_workers.py counts it
    start(one, "".join(section(f"s{i}", NEVER_SOON) for i in range(50)))
    wait_for(lambda: one.value("SELECT count(*) FROM schedules WHERE next_run IS NOT NULL") == 50, 10)
    commits = lambda: one.value(
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    )

    # PostgreSQL tells of the busy start for some seconds; its own vacuuming and our question count.
    rates = [a_second(commits, 10)]
    while rates[-1] >= 2.3 and len(rates) < 5:
        rates.append(a_second(commits, 10))
    print(f"statements a second: {rates}")
    assert rates[-1] < 2.3

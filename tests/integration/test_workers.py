"""Steering running workers: quiet, stop, restart, another size of the pool; what they tell; and how
those that overrun or fall silent are ended. Orders go through `till`, as people give them."""

import json
import os
import re
import signal
import time

import pytest
import requests

from harness import processes
from harness.deafness import DeafProxy
from harness.wait import BUILD, SLOWNESS, pause, wait_for

ONE = {"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 2, "TILL_WORKER_PREFETCH": 0}


def done(one, *words):
    """Runs a verb that must succeed; the lines of its JSON output."""
    ended = one.till(*words, "--json")
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def reports(one):
    """What the living workers last told, by name."""
    found = [line["report"] for line in done(one, "worker", "list") if line["alive"]]
    return {report["name"]: report for report in found}


def wait_report(one, holds, timeout=15):
    """Until every living worker tells what is wanted; the reports."""
    told = {}

    def look():
        told.clear()
        told.update(reports(one))
        return told and all(holds(report) for report in told.values())

    wait_for(look, timeout, lambda: json.dumps(told))
    return dict(told)


def names(one, count):
    wait_for(lambda: len(reports(one)) == count, 15, lambda: f"not {count} workers")
    return sorted(reports(one))


def running(one):
    return one.value("SELECT count(*) FROM jobs WHERE state = 'STARTED'")


def states(one):
    rows = one.query("SELECT state::text, count(*) FROM jobs GROUP BY 1")
    return {row["state"]: row["count"] for row in rows}


def highest_attempt(one):
    return one.value("SELECT max(attempt) FROM jobs")


# ---- quiet and resume ----


def wait_reads_no_more(one):
    """A quiet worker says so when it has heard; what it was reading just then it still takes."""

    def asked():
        os.kill(one.worker.family()[1], signal.SIGUSR1)
        return one.worker.find_log("thread", thread="fetch", doing="is quiet or paused")

    wait_for(asked, 30, "it still reads")


def test_a_quiet_worker_takes_nothing_finishes_what_it_has_and_goes_on_when_resumed(stack):
    one = stack(ONE)
    one.start(apis=0)
    (name,) = names(one, 1)
    begun = one.enqueue("till.tasks.sleep", 1.5)
    one.wait_job(begun, "STARTED")

    assert done(one, "worker", "quiet", name)[0]["workers"] == [name]
    one.worker.wait_for_log("quiet")
    wait_reads_no_more(one)
    held = one.enqueue("till.tasks.noop", count=10)

    assert one.wait_job(begun)["attempt"] == 1
    pause(1)
    assert states(one) == {"SUCCESS": 1, "PENDING": 10}
    wait_report(one, lambda report: report["state"] == "quiet")
    done(one, "worker", "resume", name)
    for made in held:
        one.wait_job(made)
    wait_report(one, lambda report: report["state"] == "running")
    one.settle()


def test_quiet_survives_the_worker_its_supervisor_and_an_emptied_redis(stack):
    one = stack(ONE, own_redis=True)
    one.start(apis=0)
    (name,) = names(one, 1)
    done(one, "worker", "quiet", name)
    one.worker.wait_for_log("quiet")

    os.kill(one.worker.family()[1], signal.SIGKILL)
    one.worker.wait_for_log("process_died")
    wait_for(lambda: len(one.worker.family()) == 2, 10, "never replaced")
    one.worker.term_and_wait()
    one.redis.flushall()
    one.start_worker()
    held = one.enqueue("till.tasks.noop", count=5)
    pause(1.5)

    assert states(one) == {"PENDING": 5}
    assert [row["whom"] for row in done(one, "worker", "orders")] == [name]
    done(one, "worker", "resume", "all")
    for made in held:
        one.wait_job(made)
    one.settle()


def test_an_order_to_all_is_taken_before_there_is_any_worker_and_one_to_a_stranger_is_not(stack):
    one = stack(ONE)

    done(one, "worker", "quiet", "all")
    stranger = one.till("worker", "quiet", "nobody:7")

    assert stranger.returncode == 1
    assert "till worker list" in stranger.stderr
    one.start_worker()
    made = one.enqueue("till.tasks.noop")
    pause(1)
    assert one.job(made)["state"] == "PENDING"
    done(one, "worker", "reset", "all")
    one.wait_job(made)


def test_a_report_that_is_a_key_of_another_kind_hides_nobody_and_stops_no_healing(stack):
    one = stack(ONE).start(apis=0)
    job = one.insert_job("till.tasks.noop", state="STARTED", attempt=1, worker="foreign:1", delivery="1-1",
                         enqueued_at="2020-01-01", started_at="2020-01-01")  # somebody asks for its worker
    one.redis.lpush("till:worker:foreign:1:report", "no report")
    one.redis.zadd("till:workers", {"foreign:1": 1})

    assert [report["name"] for report in wait_report(one, lambda report: True).values()]
    assert one.wait_job(job, timeout=20)["attempt"] == 2


def test_tstp_quiets_and_a_replacement_is_as_quiet_until_cont(stack):
    one = stack(ONE)
    one.start(apis=0)
    before = one.worker.family()[1]
    one.worker.send(signal.SIGTSTP)
    one.worker.wait_for_log("quiet")

    os.kill(before, signal.SIGKILL)
    wait_for(lambda: one.worker.family()[1:] not in ([], [before]), 10, "never replaced")
    made = one.enqueue("till.tasks.noop")
    pause(1.5)
    assert one.job(made)["state"] == "PENDING"
    one.worker.send(signal.SIGCONT)

    one.wait_job(made)


# ---- stop and restart ----


def test_a_stopped_worker_is_not_replaced_and_the_supervisor_ends_with_its_last(stack):
    one = stack({"TILL_WORKER_PROCESSES": 2})
    one.start(apis=0)
    worker = one.worker
    first, second = names(one, 2)
    made = one.enqueue("till.tasks.sleep", 1)
    one.wait_job(made, "STARTED")

    done(one, "worker", "stop", first)
    one.worker.wait_for_log("process_stopped")
    pause(0.5)
    assert len(one.worker.family()) == 2
    assert names(one, 1) == [second]
    os.kill(one.worker.family()[1], signal.SIGKILL)  # its replacement is not the one to stop
    wait_for(lambda: len(one.worker.family()) == 2, 10, "never replaced")
    one.wait_job(made, timeout=20)
    names(one, 1)
    done(one, "worker", "stop", "all")

    worker.expect_exit(0)
    again = one.start_worker()  # an order to stop is for those that ran then
    one.wait_job(one.enqueue("till.tasks.noop"))
    assert again.is_running()


def test_a_stop_is_heard_by_whoever_replaces_the_one_that_was_meant(stack):
    one = stack({**ONE, "TILL_LEASE_SECONDS": 30})  # for so long the name of the dead one is held
    one.start(apis=0)
    (name,) = names(one, 1)
    worker = one.worker
    processes.send(worker.pid, signal.SIGSTOP)
    processes.send(worker.family()[1], signal.SIGKILL)

    done(one, "worker", "stop", name)
    processes.send(worker.pid, signal.SIGCONT)

    worker.expect_exit(0)


def test_restart_replaces_all_one_after_the_other_and_interrupts_no_job(stack):
    one = stack({"TILL_WORKER_PROCESSES": 3, "TILL_WORKER_CONCURRENCY": 2})
    one.start(apis=0)
    before = names(one, 3)
    pids = {name: report["pid"] for name, report in reports(one).items()}
    jobs = [one.enqueue("till.tasks.sleep", 0.3) for _ in range(20)]

    done(one, "worker", "restart", "all")
    jobs += [one.enqueue("till.tasks.sleep", 0.2) for _ in range(20)]

    def all_new():
        now = reports(one)
        return len(now) == 3 and not set(pids.values()) & {r["pid"] for r in now.values()}

    wait_for(all_new, 30, lambda: f"{pids} {reports(one)}")
    for made in jobs:
        one.wait_job(made, timeout=30)
    assert names(one, 3) == before, "replacements take the names of their predecessors"
    assert highest_attempt(one) == 1
    lines = [line for line in one.worker.read_log() if line["event"] in ("leaving", "process_ended")]
    assert [line["event"] for line in lines] == ["leaving", "process_ended"] * 3
    one.settle()


def test_a_worker_takes_orders_while_its_process_is_being_replaced(stack):
    one = stack({**ONE, "TILL_LEASE_SECONDS": 30})  # for so long its name is held
    one.start(apis=0, dashboards=1)
    (name,) = names(one, 1)
    worker = one.worker
    processes.send(worker.pid, signal.SIGSTOP)  # the moment in between lasts

    done(one, "worker", "restart", name)
    worker.wait_for_log("stopped")
    wait_for(lambda: all(has_ended(pid) for pid in worker.family()[1:]), 10, "it has not ended")
    assert list(reports(one)) == [name]
    assert done(one, "worker", "grow", 3, name) == [{"worker": name, "slots": 5}]
    ordered = requests.post(one.dashboard.url + f"/api/worker/shutdown/{name}", timeout=30)
    assert ordered.status_code == 200, ordered.text
    processes.send(worker.pid, signal.SIGCONT)

    worker.expect_exit(0)
    assert reports(one) == {}


def has_ended(pid):
    """It is a zombie: its parent has not asked for its code yet."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


# ---- the size of the pool ----


def test_a_pool_grows_and_shrinks_under_load_and_loses_nothing(stack):
    one = stack(ONE)
    one.start(apis=0)
    (name,) = names(one, 1)
    made = one.enqueue("till.tasks.sleep", 0.1, count=200)

    assert done(one, "worker", "grow", 6, name) == [{"worker": name, "slots": 8}]
    wait_for(lambda: running(one) > 4, 10, lambda: f"{running(one)} run")
    wait_report(one, lambda report: report["concurrency"] == 8)
    assert done(one, "worker", "shrink", 7) == [{"worker": name, "slots": 1}]
    one.worker.wait_for_log("pool_resized", slots=1)
    wait_for(lambda: running(one) <= 1, 10, lambda: f"{running(one)} run")
    assert done(one, "worker", "scale", 40)[0]["workers"] == [name]
    for job in made:
        one.wait_job(job, timeout=60)

    assert states(one) == {"SUCCESS": 200}
    assert highest_attempt(one) == 1
    threads = f"/proc/{one.worker.family()[1]}/task"
    done(one, "worker", "scale", 1)
    wait_for(
        lambda: sum(comm(threads, tid) == "slot" for tid in os.listdir(threads)) == 1,
        10,
        "threads that left are gone",
    )
    one.settle()


def comm(threads, tid):
    try:
        with open(f"{threads}/{tid}/comm", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def test_a_slot_that_leaves_finishes_its_job_and_a_size_survives_a_restart(stack):
    one = stack(ONE)
    one.start(apis=0)
    jobs = [one.enqueue("till.tasks.sleep", 2) for _ in range(2)]
    for made in jobs:
        one.wait_job(made, "STARTED")

    done(one, "worker", "scale", 1)
    for made in jobs:
        assert one.wait_job(made)["attempt"] == 1
    one.worker.term_and_wait()
    one.start_worker()

    wait_report(one, lambda report: report["concurrency"] == 1)


def test_a_pool_scales_itself_up_by_what_waits_and_down_when_it_is_idle(stack):
    one = stack({**ONE, "TILL_WORKER_AUTOSCALE_SECONDS": 2})
    one.start(apis=0)
    (name,) = names(one, 1)

    done(one, "worker", "autoscale", "1-12", name)
    wait_report(one, lambda report: report["autoscale"] == [1, 12])
    wait_report(one, lambda report: report["concurrency"] == 1)  # nothing to do
    made = one.enqueue("till.tasks.sleep", 0.5, count=150)
    wait_for(lambda: running(one) >= 10, 20, lambda: f"{running(one)} run")
    for job in made:
        one.wait_job(job, timeout=60)
    wait_report(one, lambda report: report["concurrency"] == 1, timeout=20)

    sizes = [r["slots"] for r in one.worker.read_log() if r["event"] == "pool_resized"]
    top = sizes.index(max(sizes))
    assert sizes[top] == 12
    assert sizes[1 : top + 1] == sorted(sizes[1 : top + 1]), f"it wavered: {sizes}"
    assert highest_attempt(one) == 1
    done(one, "worker", "autoscale", "off")
    wait_report(one, lambda report: report["concurrency"] == 2 and report["autoscale"] is None)
    one.settle()


def test_an_idle_system_asks_redis_and_postgresql_for_hardly_anything(stack, capsys):
    settings = {"TILL_WORKER_AUTOSCALE_MAX": 16, "TILL_LEASE_SECONDS": 30, "TILL_HEAL_SECONDS": 5}
    one = stack(settings, own_redis=True, own_postgres=True)
    one.start(apis=1, dashboards=1)
    names(one, 2)
    one.query("ALTER SYSTEM SET log_statement = 'all'")
    one.query("SELECT pg_reload_conf()")
    pause(5)  # beginnings are not idle

    def counts():
        commands = one.redis.info("stats")["total_commands_processed"]
        with open(one.postgres.log, encoding="utf-8", errors="replace") as file:
            return commands, len(re.findall(r" LOG:  (?:execute|statement)", file.read()))

    before, began = counts(), time.monotonic()
    pause(20)
    passed = time.monotonic() - began
    asked, said = ((now - then) / passed for now, then in zip(counts(), before))

    with capsys.disabled():
        print(f"\n  idle: {asked:.1f} Redis commands and {said:.1f} SQL statements a second")
    assert 0 < asked < 20
    assert 0 < said < 5


# ---- replacing a process that has done enough ----


def test_processes_are_replaced_after_so_many_jobs_in_turn_and_lose_nothing(stack):
    one = stack({"TILL_WORKER_MAX_JOBS": 60, "TILL_WORKER_PROCESSES": 2})
    one.start(apis=0)
    one.enqueue("till.tasks.noop", count=2000)
    one.wait_settled(timeout=60)

    assert states(one) == {"SUCCESS": 2000}
    assert highest_attempt(one) == 1

    def reasons():
        return [line["reason"] for line in one.worker.read_log() if line["event"] == "leaving"]

    # The second one leaves when the first is replaced, which the last jobs need not wait for.
    wait_for(lambda: len(reasons()) >= 2, 30, reasons)
    assert set(reasons()) == {"max_jobs"}
    assert not one.worker.find_log("process_died")
    one.books()


def test_a_job_that_runs_when_its_process_is_due_is_not_cut_off_and_the_others_go_on(stack):
    one = stack(
        {
            "TILL_WORKER_MAX_JOBS": 20,
            "TILL_WORKER_PROCESSES": 2,
            "TILL_WORKER_CONCURRENCY": 2,
            "TILL_SHUTDOWN_SECONDS": 1,
        }
    )
    one.start(apis=0)
    long = one.enqueue("till.tasks.sleep", 5)
    one.wait_job(long, "STARTED")
    one.enqueue("till.tasks.noop", count=500)
    one.worker.wait_for_log("leaving")
    later = one.enqueue("till.tasks.noop")

    one.wait_job(later, timeout=4)
    assert one.wait_job(long)["attempt"] == 1
    one.wait_settled()
    assert highest_attempt(one) == 1


HEAP_BYTES = 64 * 1024 * 1024  # what glibc reserves for a thread's heap, and where it may begin


def heaps(pid):
    """Those of glibc beside the first, which grows where the program ends: used in front, reserved behind. That
    something begins at such a place proves nothing, a stack does once in some hundred runs."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        parts = [line.split() for line in maps]
    spans = [[int(end, 16) for end in part[0].split("-")] + [part[1]] for part in parts if len(part) == 5]
    reserved = {(start, end) for start, end, mode in spans if mode == "---p"}
    return sum(
        start % HEAP_BYTES == 0 and mode == "rw-p" and (end, start + HEAP_BYTES) in reserved for start, end, mode in spans
    )


@pytest.mark.skipif("asan" in BUILD or "tsan" in BUILD, reason="a sanitizer brings an allocator of its own")
def test_slots_share_their_heaps(stack):
    one = stack({**ONE, "TILL_WORKER_CONCURRENCY": 16})
    one.start(apis=0)
    one.enqueue("till.tasks.sleep", 3, count=16)
    one.wait_settled(60)

    assert one.value("SELECT max(started_at) < min(finished_at) FROM jobs"), "each slot has run one"
    assert heaps(one.worker.family()[1]) == 1


@pytest.mark.skipif("asan" in BUILD or "tsan" in BUILD, reason="a sanitizer alone takes more than that")
def test_a_process_that_holds_too_much_memory_is_replaced_and_its_jobs_end_well(stack):
    limit = 16 * 1024 * 1024
    one = stack({**ONE, "TILL_WORKER_CONCURRENCY": 40, "TILL_WORKER_MAX_BYTES": limit})
    one.start(apis=0)
    one.wait_job(one.enqueue("till.tasks.noop"))
    pause(1.5)
    assert not one.worker.find_log("leaving")

    jobs = [one.insert_job("till.tasks.sleep", [3, "x" * 200_000]) for _ in range(40)]

    line = one.worker.wait_for_log("leaving", reason="max_bytes")
    assert line["rss_bytes"] > limit
    for made in jobs:
        assert one.wait_job(made)["attempt"] == 1
    one.worker.wait_for_log("process_ended")
    one.wait_job(one.enqueue("till.tasks.noop"))


# ---- ending what does not end ----


def test_a_job_past_its_hard_limit_ends_its_process_and_costs_the_others_no_attempt(stack):
    one = stack({**ONE, "TILL_WORKER_CONCURRENCY": 3})
    one.start(apis=0)
    bad = one.enqueue("till.tasks.stubborn", 60000, max_attempts=1)
    one.wait_job(bad, "STARTED")
    good = one.enqueue("till.tasks.sleep", 600)
    one.wait_job(good, "STARTED")

    assert one.wait_job(bad, "FAILURE", timeout=20)["attempt"] == 1
    wait_for(lambda: one.job(good)["attempt"] == 2, 20, "the other one is not run again")
    # Given back, not cut off: no error, and one attempt more than before.
    assert one.query("SELECT * FROM job_errors WHERE job_id = %s", good) == []
    assert one.job(good)["max_attempts"] == 11
    done(one, "task", "revoke", good)
    one.settle(dead=1)


def test_the_supervisor_kills_a_process_that_overruns_and_cannot_end_itself(stack):
    one = stack({**ONE, "TILL_LEASE_SECONDS": 60})
    one.start(apis=0)
    # SIGSTOP from within: its keeper stands still with it.
    bad = one.enqueue("till.tasks.crash", int(signal.SIGSTOP), max_attempts=1)
    began = time.monotonic()

    line = one.worker.wait_for_log("process_killed", timeout=30)
    assert "hard time limit" in line["why"]
    assert time.monotonic() - began < (4 + 5 + 4) * SLOWNESS
    assert one.wait_job(bad, "FAILURE")["attempt"] == 1
    one.wait_job(one.enqueue("till.tasks.noop"))
    one.settle(dead=1)


def test_the_supervisor_kills_a_process_that_falls_silent(stack):
    one = stack({**ONE, "TILL_LEASE_SECONDS": 2})
    one.start(apis=0)
    silent = one.worker.family()[1]
    os.kill(silent, signal.SIGSTOP)

    line = one.worker.wait_for_log("process_killed", timeout=30)
    assert line["process"] == silent and "sign of life" in line["why"]
    one.wait_job(one.enqueue("till.tasks.noop"))


def test_a_supervisor_that_was_stopped_with_its_processes_kills_none(stack):
    one = stack({**ONE, "TILL_LEASE_SECONDS": 5})  # silent is who gives no sign of life for two of them
    one.start(apis=0)
    family = one.worker.family()

    one.worker.stop()
    pause(11)
    processes.send(one.worker.pid, signal.SIGCONT)  # it first: it must not take them for silent
    pause(2)
    one.worker.cont()

    one.wait_job(one.enqueue("till.tasks.noop"))
    assert one.worker.family() == family
    assert not one.worker.find_log("process_killed")


# ---- revoking what runs ----


def test_a_running_job_that_is_revoked_hears_it_at_once(stack):
    one = stack({**ONE, "TILL_LEASE_SECONDS": 60})
    one.start(apis=0)
    made = one.enqueue("till.tasks.sleep", 600)
    one.wait_job(made, "STARTED")

    done(one, "task", "revoke", made)
    began = time.monotonic()
    one.worker.wait_for_log("job_not_ours", revoked=True)

    # Its entry goes with it, not a lease later.
    wait_for(lambda: one.redis.xlen("till:{default}:normal") == 0, 5, "the entry stays")
    assert time.monotonic() - began < 5 * SLOWNESS
    job = one.job(made)
    assert (job["state"], job["attempt"], job["error"]) == ("REVOKED", 1, "revoked")
    one.settle()


def test_a_job_that_does_not_heed_its_revocation_is_ended_by_terminate(stack):
    one = stack({**ONE, "TILL_WORKER_CONCURRENCY": 3, "TILL_SHUTDOWN_SECONDS": 1})
    one.start(apis=0)
    bad = one.enqueue("till.tasks.stubborn", 600_000, soft_time_limit=700, time_limit=800)
    other = one.enqueue("till.tasks.sleep", 600)
    for made in (bad, other):
        one.wait_job(made, "STARTED")
    before = one.worker.family()[1]

    done(one, "task", "revoke", bad)
    one.worker.wait_for_log("job_revoked")
    assert done(one, "task", "revoke", bad, "--terminate") == [{"id": bad, "done": "terminated"}]
    line = one.worker.wait_for_log("job_terminated", timeout=15)

    assert line["job_id"] == bad
    wait_for(lambda: one.worker.family()[1:] not in ([], [before]), 15, "never replaced")
    wait_for(lambda: one.job(other)["attempt"] == 2, 20, "the other one is not run again")
    assert one.job(other)["max_attempts"] == 11, "given back, not cut off"
    assert one.query("SELECT * FROM job_errors WHERE job_id = %s", other) == []
    assert one.job(bad)["state"] == "REVOKED"
    assert one.job(bad)["error"] == "terminated"
    done(one, "task", "revoke", other)
    one.settle()


def test_terminate_disturbs_nobody_when_the_job_ends_by_itself(stack):
    one = stack(ONE)
    one.start(apis=0)
    made = one.enqueue("till.tasks.sleep", 60)
    one.wait_job(made, "STARTED")
    before = one.worker.family()

    done(one, "task", "revoke", "--terminate", made)
    one.worker.wait_for_log("job_not_ours", revoked=True)
    pause(6)

    assert one.worker.family() == before
    assert not one.worker.find_log("job_terminated")
    errors = one.query("SELECT error FROM job_errors WHERE job_id = %s", made)
    assert errors == [{"error": "terminated during this attempt"}]


# ---- what they tell ----


def test_a_worker_tells_what_became_of_its_jobs_and_how_long_they_took(stack):
    one = stack(ONE)
    one.start(apis=0)
    one.enqueue("till.tasks.noop", count=30)
    slow = one.enqueue("till.tasks.sleep", 0.2, queue="mail")
    bad = one.enqueue("till.tasks.fail", "what went wrong", max_attempts=2)
    unknown = one.insert_job("nobody.knows.this", max_attempts=1, snoozes=1000)  # which it has waited for long enough
    for made in (bad, unknown):
        one.wait_job(made, "FAILURE")
    one.wait_job(slow)
    one.wait_settled()

    (report,) = wait_report(one, lambda r: r["processed"] == 34 and not r["jobs"]).values()

    noop = report["tasks"]["till.tasks.noop"]
    assert (noop["succeeded"], noop["failed"], noop["retried"]) == (30, 0, 0)
    assert sum(noop["runtime_buckets"]) == 30
    assert len(noop["runtime_buckets"]) == len(report["runtime_bounds_us"]) + 1
    sleep = report["tasks"]["till.tasks.sleep"]
    bucket = sleep["runtime_buckets"].index(1)
    bounds = report["runtime_bounds_us"]
    assert sleep["runtime_sum_us"] >= 200_000
    assert bounds[bucket - 1] < sleep["runtime_sum_us"] <= bounds[bucket]  # of a busy machine, it sleeps longer
    fail = report["tasks"]["till.tasks.fail"]
    assert (fail["succeeded"], fail["failed"], fail["retried"]) == (0, 1, 1)
    assert report["tasks"][""]["failed"] == 1
    assert (report["succeeded"], report["failed"], report["retried"]) == (31, 2, 1)
    assert report["processed_by_queue"]["mail"] == 1
    assert sum(report["processed_by_queue"].values()) == 34
    assert report["health"] == "ok"
    assert report["last_error"]["id"] in (bad, unknown) and report["last_error"]["error"]
    assert report["rss_bytes"] > 0 and len(report["loadavg"]) == 3


def test_usr1_tells_what_every_thread_is_doing(stack):
    one = stack(ONE)
    one.start(apis=0)
    made = one.enqueue("till.tasks.sleep", 600)
    one.wait_job(made, "STARTED")

    def asked():
        """Claimed is a moment before begun."""
        os.kill(one.worker.family()[1], signal.SIGUSR1)
        return one.worker.find_log("thread", thread="slot")

    line = wait_for(asked, 30, "its slot runs nothing")

    assert (line["job_id"], line["task"], line["attempt"]) == (made, "till.tasks.sleep", 1)
    assert line["doing"] == "runs" and line["for_ms"] >= 0 and line["worker"]
    for thread in ("fetch", "keeper", "control"):
        assert one.worker.wait_for_log("thread", thread=thread)["doing"]
    assert one.worker.wait_for_log("report", running=1)
    done(one, "task", "revoke", made)


def test_every_log_line_of_a_job_tells_job_task_attempt_queue_and_worker(stack):
    one = stack()
    one.start(apis=0)
    one.enqueue("till.tasks.noop", count=50)
    one.enqueue("till.tasks.tally_many", 7, 1, count=20)
    one.wait_job(one.enqueue("till.tasks.sleep", 0, queue="mail"))
    one.wait_job(one.enqueue("till.tasks.fail", max_attempts=2), "FAILURE")
    one.wait_settled()

    lines = [line for line in one.worker.read_log() if line["event"].startswith("job_")]
    wanted = {"job_id", "task", "attempt", "queue", "worker"}
    for line in lines:
        assert wanted <= set(line), line
        assert line["queue"] == ("mail" if line["task"] == "till.tasks.sleep" else "default")
    assert {"job_done", "job_retry", "job_failed"} <= {line["event"] for line in lines}
    assert len([line for line in lines if line["event"] == "job_done"]) == 71


def test_ready_is_told_once_all_processes_consume_and_not_by_one_twice(stack):
    one = stack({"TILL_WORKER_PROCESSES": 2}, own_redis=True)
    one.redis_server.stop()
    worker = one.program("till-worker", None)
    wait_for(lambda: len(worker.family()) == 3, 10, "no processes")
    for pid in worker.family()[1:]:
        os.kill(pid, signal.SIGKILL)
    worker.wait_for_log("process_died")
    assert not worker.find_log("ready")
    one.redis_server.start()

    assert worker.wait_for_log("ready", timeout=30)["processes"] == 2
    names(one, 2)


# ---- a consumer that does not hear ----


def test_a_consumer_that_gets_nothing_of_what_waits_connects_anew_and_tells_of_it(stack):
    one = stack({**ONE, "TILL_LEASE_SECONDS": 30})
    proxy = DeafProxy(one.folder, one.redis_server.socket)
    try:
        one.start_worker(REDIS_URL=proxy.url())
        one.wait_job(one.enqueue("till.tasks.noop"))
        began = time.monotonic()
        proxy.go_deaf()
        made = one.enqueue("till.tasks.noop", count=5)

        line = one.worker.wait_for_log("consumer_deaf", timeout=40)
        for job in made:
            one.wait_job(job, timeout=15)
        took = time.monotonic() - began

        assert proxy.swallowed > 0
        assert line["stream"] == "till:{default}:normal"
        assert 10 < took < 35 * SLOWNESS, f"{took:.1f} s"
        one.worker.wait_for_log("consumer_hears")
        # A report of before may say "ok", too: the new one counts.
        wait_report(one, lambda report: report["health"] == "ok" and report["deaf"] == 1)
    finally:
        proxy.stop()


def test_a_worker_is_not_deaf_to_a_queue_that_is_paused_or_limited(stack):
    one = stack({**ONE, "TILL_QUEUES": "default,mail", "TILL_LEASE_SECONDS": 30})
    one.start(apis=0)
    one.till("queue", "pause", "default")
    assert one.till("limit", "set", "queue", "mail", "--concurrency", "1").returncode == 0
    one.worker.wait_for_log("queue_paused")
    one.enqueue("till.tasks.noop", count=5)
    busy = one.enqueue("till.tasks.sleep", 20, queue="mail")
    one.wait_job(busy, "STARTED")
    one.enqueue("till.tasks.noop", count=5, queue="mail")

    pause(18)

    assert not one.worker.find_log("consumer_deaf")
    wait_report(one, lambda report: report["health"] == "ok" and report["deaf"] == 0)
    one.wait_job(busy, timeout=20)


# ---- bad input ----


@pytest.mark.parametrize(
    "words",
    [
        ["quiet"],
        ["quiet", "a b"],
        ["quiet", "all", "all"],
        ["stop"],
        ["resume", "--all"],
        ["grow"],
        ["grow", "0"],
        ["grow", "257"],
        ["grow", "-1"],
        ["grow", "two"],
        ["scale", "1e3"],
        ["autoscale"],
        ["autoscale", "4"],
        ["autoscale", "0-4"],
        ["autoscale", "5-4"],
        ["autoscale", "1-257"],
        ["autoscale", "1-4-9"],
        ["orders", "all"],
    ],
)
def test_wrong_words_are_exit_code_2_and_order_nothing(stack, words):
    one = stack()

    ended = one.till("worker", *words)

    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith("till: ")
    assert one.value("SELECT count(*) FROM worker_orders") == 0


def test_a_pool_is_not_shrunk_to_nothing_nor_grown_without_bounds(stack):
    one = stack(ONE)
    one.start_worker()
    names(one, 1)

    for words in (["shrink", 2], ["shrink", 200], ["grow", 255]):
        ended = one.till("worker", *words)
        assert ended.returncode == 2 and "1 to 256" in ended.stderr, ended.stderr
    assert one.value("SELECT count(*) FROM worker_orders") == 0


def test_heartbeats_that_are_refused_are_told_of_once_not_with_each(stack):
    one = stack({**ONE, "TILL_LEASE_SECONDS": 2})
    worker = one.start_worker()
    names(one, 1)

    def refused():
        lines = one.redis.execute_command("INFO", "errorstats")
        return int(re.search(r"WRONGTYPE\D*(\d+)|$", str(lines))[1] or 0)

    one.redis.pipeline().delete("till:workers").set("till:workers", "of somebody else").execute()
    worker.wait_for_log("keeper_interrupted")
    before = refused()
    wait_for(lambda: refused() >= before + 6, 30)
    one.redis.delete("till:workers")
    worker.wait_for_log("keeper_resumed")

    told = [line["event"] for line in worker.read_log() if line["event"].startswith("keeper_")]
    assert told == ["keeper_interrupted", "keeper_resumed"]


def test_a_name_of_another_type_costs_no_attempt_of_a_long_job(stack):
    """A hand or another program has put it there. Who holds the name must not look dead for it."""
    one = stack({**ONE, "TILL_LEASE_SECONDS": 2, "TILL_HEAL_SECONDS": 1})
    one.start_scheduler()
    one.start_worker()
    [name] = names(one, 1)
    key = f"till:worker:{name}"
    job = one.enqueue("till.tasks.sleep", 8, max_attempts=1)
    one.wait_job(job, "STARTED")

    one.redis.pipeline().delete(key).lpush(key, "of somebody else").execute()

    assert one.wait_job(job, timeout=40)["attempt"] == 1
    assert one.redis.type(key) == "string" and 0 < one.redis.pttl(key)


def test_a_name_of_another_type_keeps_no_worker_from_starting(stack):
    one = stack(ONE)
    killed = one.start_worker()
    [name] = names(one, 1)
    killed.kill()
    killed.wait()
    one.redis.pipeline().delete(f"till:worker:{name}").hset(f"till:worker:{name}", "a", "b").execute()

    started = one.start_worker()

    wait_for(lambda: one.redis.type(f"till:worker:{name}") == "string", 20, "the name is not taken")
    started.term_and_wait()
    assert not one.redis.exists(f"till:worker:{name}")


def test_a_list_of_workers_of_another_type_is_told_by_its_name_and_harms_no_job(stack):
    one = stack({**ONE, "TILL_LEASE_SECONDS": 2, "TILL_HEAL_SECONDS": 1})
    one.start_scheduler()
    worker = one.start_worker()
    [name] = names(one, 1)
    job = one.enqueue("till.tasks.sleep", 8, max_attempts=1)
    one.wait_job(job, "STARTED")

    one.redis.pipeline().delete("till:workers").set("till:workers", "of somebody else").execute()
    told = worker.wait_for_log("keeper_interrupted")
    listed = one.till("worker", "list")

    for words in (listed.stderr, str(told)):
        assert "till:workers" in words and "rename or delete it" in words
    assert listed.returncode == 1
    assert one.wait_job(job, timeout=40)["attempt"] == 1
    one.redis.delete("till:workers")
    assert names(one, 1) == [name]


@pytest.mark.parametrize(
    "verb",
    "quiet resume stop restart grow shrink scale autoscale reset orders list".split(),
)
def test_every_verb_has_a_help_page(stack, verb):
    ended = stack().till("worker", verb, "--help")

    assert ended.returncode == 0
    assert ended.stdout.startswith(f"till worker {verb}")

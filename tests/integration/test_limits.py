"""Limits of queues, tasks and keys, over real workers: never more than allowed, and as many."""

import json
import os
import random
import re
import signal
import time
from contextlib import closing

import pytest
import requests

from harness.wait import a_second, pause, wait_for
from integration.test_control import wait_paused

TWO_BY_EIGHT = {"TILL_WORKER_PROCESSES": 2, "TILL_WORKER_CONCURRENCY": 8}


def limit(one, *words):
    ended = one.till("limit", *words, "--json")
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def overlap(rows):
    """How many of the spans ran at the same instant, at most."""
    moments = []
    for row in rows:
        moments += [(row["started_at"], 1), (row["finished_at"], -1)]
    running = most = 0
    for _, step in sorted(moments, key=lambda moment: (moment[0], moment[1])):
        running += step
        most = max(most, running)
    return most


def spans(one, condition="true"):
    return one.query(
        "SELECT started_at, finished_at, limit_key, queue, task FROM jobs"
        f" WHERE state = 'SUCCESS' AND {condition} ORDER BY started_at"
    )


def sleepers(one, count, seconds=0.2, **columns):
    return [one.insert_job("till.tasks.sleep", [seconds], **columns) for _ in range(count)]


def begun_within(rows, seconds):
    """The most jobs that began within any such time."""
    starts = sorted(row["started_at"].timestamp() for row in rows)
    return max(
        sum(start <= other < start + seconds for other in starts) for start in starts
    )


def nothing_left(one):
    """What the limits count is nothing, once nothing runs."""

    def count():
        return (
            one.value("SELECT count(*) FROM limit_counts WHERE places <> 0 OR coming <> 0"),
            one.value("SELECT count(*) FROM limit_freed WHERE wakes"),
            one.value("SELECT count(*) FROM jobs WHERE parked_on IS NOT NULL"),
        )

    wait_for(lambda: count() == (0, 0, 0), 10, lambda: f"places, freed, parked: {count()}")


# ---- queues ----


def test_a_queue_never_runs_more_than_its_concurrency_and_runs_as_many(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "queue", "default", "--concurrency", "10")
    one.start_worker()  # one process alone has eight slots
    one.enqueue("till.tasks.sleep", 0.3, count=60)

    one.wait_settled()

    assert overlap(spans(one)) == 10


def test_one_at_a_time_over_all_processes(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "queue", "default", "--concurrency", "1")
    one.enqueue("till.tasks.sleep", 0.05, count=15)
    one.start_worker()

    one.wait_settled()

    assert overlap(spans(one)) == 1


def test_a_full_queue_takes_nothing_from_the_others(stack):
    one = stack({**TWO_BY_EIGHT, "TILL_QUEUES": "slow,default"})
    limit(one, "set", "queue", "slow", "--concurrency", "2")
    long = one.enqueue("till.tasks.sleep", 600, queue="slow", count=2)
    others = one.enqueue("till.tasks.sleep", 0.1, queue="slow", count=4)
    one.start_worker()
    wait_for(lambda: one.value("SELECT count(*) FROM jobs WHERE state = 'STARTED'") == 2, 30, "two of them run")

    made = one.enqueue("till.tasks.noop", count=100)

    wait_for(
        lambda: one.value("SELECT count(*) FROM jobs WHERE queue = 'default'"
                          " AND state = 'SUCCESS'") == len(made),
        10,
        "the others did not run",
    )
    assert [one.job(job)["state"] for job in long + others] == ["STARTED"] * 2 + ["PENDING"] * 4
    assert one.till("task", "revoke", *long).returncode == 0
    one.wait_settled()
    assert overlap(spans(one, "queue = 'slow'")) <= 2


@pytest.mark.parametrize("task", ["till.tasks.noop", "till.tasks.sleep"])
def test_a_queues_rate_holds_over_all_processes(stack, task):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "queue", "default", "--rate", "40/s", "--burst", "10")
    one.enqueue(task, *([0.01] if task.endswith("sleep") else []), count=90)
    begun = time.monotonic()
    one.start_worker()

    one.wait_settled()

    assert time.monotonic() - begun >= (90 - 10) / 40 - 0.2
    # Starts are written a moment after the token is taken: some of a late batch may fall in.
    assert begun_within(spans(one), 0.5) <= 10 + 40 * 0.5 + 16


def test_a_token_is_taken_when_it_comes_and_not_at_the_next_tick_of_redis(stack):
    """Redis looks once a tick whose time to wait is over: here once a second, ten times as seldom as usual."""
    one = stack(own_redis=True)
    one.redis.config_set("hz", 1)
    limit(one, "set", "queue", "default", "--rate", "20/s", "--burst", "1")
    one.enqueue("till.tasks.noop", count=60)  # 3 s of tokens; at the ticks it took above 20
    one.start_worker()

    wait_for(lambda: one.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'") == 60, 15, "not all in time")


def test_fast_jobs_of_a_limited_queue_wait_for_their_tokens(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "queue", "default", "--rate", "50/s", "--burst", "5")
    one.start_worker()
    begun = time.monotonic()
    for _ in range(60):
        one.enqueue_fast("till.tasks.noop")

    wait_for(lambda: one.redis.xlen("till:{default}:normal") == 0, 20, "not drained")

    assert time.monotonic() - begun >= 0.8


def held(one):
    return sum(
        one.redis.xpending(f"till:{{default}}:{priority}", "till")["pending"]
        for priority in ("high", "normal", "low")
    )


def add_noops(one, count):
    """Fast ones, a thousand in a round trip."""
    for first in range(0, count, 1000):
        pipe = one.redis.pipeline(transaction=False)
        for _ in range(min(1000, count - first)):
            pipe.xadd("till:{default}:normal", {"task": "till.tasks.noop"})
        pipe.execute()


def most_held_until_drained(one):
    """Of the jobs that are there. Who looks late finds all of them done: then of as many more, which come at
    once, and are looked at at once."""
    script = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'task', 'till.tasks.noop') end"
    most = 0

    def drained():
        nonlocal most
        if most == 0 and not one.redis.xlen("till:{default}:normal"):
            one.redis.eval(script, 1, "till:{default}:normal", 20_000)
        for _ in range(50):
            most = max(most, held(one))
        return most > 0 and not one.redis.xlen("till:{default}:normal")

    wait_for(drained, 30, "not drained")
    return most


@pytest.mark.parametrize("concurrency", [20, 300, 600])
def test_many_small_jobs_never_take_more_places_than_there_are(stack, concurrency):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "queue", "default", "--concurrency", str(concurrency))
    add_noops(one, 20_000)
    one.start_worker()

    most = most_held_until_drained(one)

    assert 0 < most <= concurrency
    wait_for(lambda: not one.redis.exists("till:{default}:permits"), 10, "a permit was not given up")


def test_places_that_another_reader_may_take_are_taken(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "queue", "default", "--concurrency", "300")
    now = one.redis.time()[0]
    one.redis.hset("till:{default}:permits", "frozen", f"290 {now + 3600}")  # it is about to read them
    one.redis.hset("till:{default}:permits", "dead", f"290 {now - 3600}")  # it never will
    add_noops(one, 2000)
    one.start_worker()

    most = most_held_until_drained(one)

    assert 0 < most <= 10
    wait_for(lambda: one.redis.hkeys("till:{default}:permits") == ["frozen"], 10, "permits are left")


def test_a_large_backlog_goes_by_the_rate_to_the_token(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "queue", "default", "--rate", "1000/s", "--burst", "300")
    add_noops(one, 2500)
    begun = time.monotonic()

    def is_begun():
        """Who looks late may find it begun for long: the last look that found it whole counts."""
        nonlocal begun
        looked = time.monotonic()
        if one.redis.xlen("till:{default}:normal") < 2500:
            return True
        begun = looked
        return False

    one.start_worker()
    wait_for(is_begun, 20, "not begun")

    wait_for(lambda: one.redis.xlen("till:{default}:normal") == 0, 30, "not drained")

    assert time.monotonic() - begun >= 2.0


def test_a_limit_is_heard_at_once_and_by_running_workers(stack):
    one = stack(TWO_BY_EIGHT)
    one.start_worker()
    limit(one, "set", "queue", "default", "--rate", "1/h")

    def held_back():
        """One may be read before the limit is heard, and one has the token."""
        made = one.enqueue("till.tasks.noop")
        pause(1)
        return made if one.job(made)["state"] == "PENDING" else None

    made = wait_for(held_back, 10, "it is not heard")

    limit(one, "delete", "queue", "default")

    one.wait_job(made, timeout=5)


def test_priorities_of_a_limited_queue_are_strict(stack):
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 2})
    limit(one, "set", "queue", "default", "--concurrency", "1")
    for priority in ("low", "normal", "high"):
        one.enqueue("till.tasks.sleep", 0.02, priority=priority, count=4)
    one.start_worker()
    one.wait_settled()

    order = one.query("SELECT priority FROM jobs ORDER BY started_at")

    assert [row["priority"] for row in order] == [0] * 4 + [1] * 4 + [2] * 4


def test_what_a_killed_worker_held_counts_until_it_is_taken_over(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "queue", "default", "--concurrency", "3")
    one.enqueue("till.tasks.sleep", 0.6, count=9)
    first = one.start_worker()
    wait_for(lambda: one.value("SELECT count(*) FROM jobs WHERE state = 'STARTED'") == 3, 10, "")

    first.kill()
    cut_off = one.value("SELECT count(*) FROM jobs WHERE state = 'STARTED'")
    one.start_worker()
    one.start_scheduler()
    one.wait_settled()

    # The attempts that were cut off ended when the worker did; of the others all is known.
    assert overlap(spans(one)) <= 3
    assert one.value("SELECT count(*) FROM jobs WHERE attempt = 2") == cut_off


def test_a_paused_queue_with_a_limit_waits_and_goes_on(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "queue", "default", "--concurrency", "2")
    one.start_worker()
    assert one.till("queue", "pause", "default").returncode == 0
    wait_paused(one.worker)
    made = one.enqueue("till.tasks.sleep", 0.05, count=6)
    pause(0.5)
    assert one.value("SELECT count(*) FROM jobs WHERE state = 'PENDING'") == len(made)

    assert one.till("queue", "resume", "default").returncode == 0
    one.wait_settled()

    assert overlap(spans(one)) == 2


def test_limited_queues_survive_an_emptied_redis(stack):
    one = stack(TWO_BY_EIGHT, own_redis=True)
    limit(one, "set", "queue", "default", "--concurrency", "2", "--rate", "1000/s")
    one.start(apis=0)
    one.wait_job(one.enqueue("till.tasks.noop"))

    one.redis_server.flush()
    made = one.enqueue("till.tasks.sleep", 0.05, count=8)
    one.redis.script_flush()

    for job in made:
        one.wait_job(job)
    one.settle()


def commands(one):
    return one.redis.info("stats")["total_commands_processed"]


def reads(one):
    """What a worker asks for work with; what a script calls of its own does not count."""
    stats = one.redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("xreadgroup", "xread", "evalsha"))


def test_an_idle_system_with_limits_is_quiet(stack):
    one = stack({**TWO_BY_EIGHT, "TILL_LEASE_SECONDS": 30})
    limit(one, "set", "queue", "default", "--concurrency", "2", "--rate", "10/s")
    limit(one, "set", "key", "tenant:*", "--concurrency", "1")
    one.start(apis=0)
    one.wait_job(one.enqueue("till.tasks.noop"))
    pause(2)

    # In rounds of two, five and six seconds: 15 a second in the long run, 21 in the six that meet most of them.
    assert a_second(lambda: commands(one), 20) < 20


def test_a_queue_at_its_limit_is_not_polled(stack):
    one = stack({**TWO_BY_EIGHT, "TILL_LEASE_SECONDS": 30})
    limit(one, "set", "queue", "default", "--concurrency", "2")
    one.start(apis=0)
    one.enqueue("till.tasks.sleep", 30, count=6)
    wait_for(lambda: one.value("SELECT count(*) FROM jobs WHERE state = 'STARTED'") == 2, 30, "two of them run")
    pause(1)

    assert a_second(lambda: reads(one), 5) < 20
    one.worker.kill()  # it would finish its jobs first


# ---- tasks and keys ----


def test_a_key_never_runs_more_than_its_concurrency_and_runs_as_many(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "key", "tenant:*", "--concurrency", "3")
    for tenant in ("a", "b"):
        sleepers(one, 15, limit_key=f"tenant:{tenant}")
    one.start(apis=0)

    one.wait_settled()

    for tenant in ("a", "b"):
        assert overlap(spans(one, f"limit_key = 'tenant:{tenant}'")) == 3
    assert overlap(spans(one)) == 6
    assert one.value("SELECT max(attempt) FROM jobs") == 1
    nothing_left(one)


def test_a_task_never_runs_more_than_its_concurrency_and_others_do(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "task", "till.tasks.sleep", "--concurrency", "4")
    sleepers(one, 24, 0.1)
    one.start(apis=0)
    quick = one.enqueue("till.tasks.noop")
    one.wait_job(quick)

    one.wait_settled()

    assert overlap(spans(one, "task = 'till.tasks.sleep'")) == 4
    nothing_left(one)


def test_a_key_and_a_task_both_hold(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "task", "till.tasks.sleep", "--concurrency", "5")
    limit(one, "set", "key", "k:*", "--concurrency", "2")
    for key in "abcd":
        sleepers(one, 10, 0.05, limit_key=f"k:{key}")
    one.start(apis=0)

    one.wait_settled()

    assert overlap(spans(one)) == 5
    assert max(overlap(spans(one, f"limit_key = 'k:{key}'")) for key in "abcd") == 2
    nothing_left(one)


def test_parked_jobs_keep_their_order(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    ids = [one.insert_job("till.tasks.sleep", [1], limit_key="one")]
    one.wait_job(ids[0], "STARTED")
    ids += [one.insert_job("till.tasks.sleep", [0.01], limit_key="one") for _ in range(30)]

    one.wait_settled()

    rows = one.query("SELECT id FROM jobs ORDER BY started_at")
    assert [str(row["id"]) for row in rows] == ids


def test_a_tenant_at_its_limit_does_not_make_others_wait(stack):
    one = stack({**TWO_BY_EIGHT, "TILL_LEASE_SECONDS": 30})
    limit(one, "set", "key", "tenant:*", "--concurrency", "1")
    one.query(
        "INSERT INTO jobs (task, args, limit_key)"
        " SELECT 'till.tasks.sleep', '[1]', 'tenant:greedy' FROM generate_series(1, 3000)"
    )
    one.start(apis=0)
    wait_for(
        lambda: one.value("SELECT count(*) FROM jobs WHERE parked_on = 'key:tenant:greedy'") > 2000,
        20,
        "nothing was parked",
    )

    made = [one.insert_job("till.tasks.noop", limit_key="tenant:small") for _ in range(5)]

    for job in made:
        one.wait_job(job, timeout=5)
    parked = one.value("SELECT count(*) FROM jobs WHERE parked_on = 'key:tenant:greedy'")
    assert parked > 2900


def test_a_keys_rate_holds(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "key", "tenant:*", "--rate", "20/s", "--burst", "5")
    for tenant in ("a", "b"):
        for _ in range(45):
            one.insert_job("till.tasks.noop", limit_key=f"tenant:{tenant}")
    one.start_worker()
    begun = time.monotonic()
    one.start_scheduler()

    one.wait_settled()

    assert 1.8 <= time.monotonic() - begun < 15
    for tenant in ("a", "b"):
        rows = spans(one, f"limit_key = 'tenant:{tenant}'")
        # Who is let go has its token then, and begins when a worker comes to it: a burst of them may be on their way.
        assert begun_within(rows, 1.0) <= 5 + 20 + 5 + 1
    nothing_left(one)


def test_a_fast_task_under_a_limit_becomes_durable(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "task", "till.tasks.noop", "--rate", "20/s", "--burst", "1")
    one.start(apis=0)
    for number in range(20):
        one.enqueue_fast("till.tasks.noop", number)

    wait_for(
        lambda: one.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'") == 20, 20, "not run"
    )

    rows = one.query("SELECT args, started_at FROM jobs ORDER BY started_at")
    assert sorted(row["args"][0] for row in rows) == list(range(20))
    assert (rows[-1]["started_at"] - rows[0]["started_at"]).total_seconds() >= 0.9
    one.wait_settled()


def test_a_killed_workers_places_come_back(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "key", "one", "--concurrency", "2")
    sleepers(one, 24, 0.3, limit_key="one")  # enough for more than a lease with one place alone
    first = one.start_worker()
    one.start_scheduler()
    wait_for(lambda: one.value("SELECT count(*) FROM jobs WHERE state = 'STARTED'") == 2, 30, "two of them run")

    first.kill()
    one.start_worker()
    one.wait_settled()

    assert overlap(spans(one)) == 2
    nothing_left(one)


def test_many_keys_and_a_task_under_failures_and_a_kill_never_exceed_and_leave_nothing(stack):
    seed = int(os.environ.get("TILL_TEST_SEED") or random.randrange(1 << 32))
    print("TILL_TEST_SEED", seed)
    chance = random.Random(seed)
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "key", "t:*", "--concurrency", "2")
    limit(one, "set", "task", "till.tasks.sleep", "--concurrency", "6")
    one.start(apis=0)
    for _ in range(200):
        key = f"t:{chance.randrange(8)}"
        if chance.random() < 0.2:
            one.insert_job("till.tasks.fail", limit_key=key, max_attempts=3)
        else:
            one.insert_job("till.tasks.sleep", [round(chance.random() / 20, 3)], limit_key=key)
    one.worker.kill()
    one.start_worker()

    one.wait_settled(60)

    assert overlap(spans(one, "task = 'till.tasks.sleep'")) <= 6
    for number in range(8):
        assert overlap(spans(one, f"limit_key = 't:{number}'")) <= 2
    nothing_left(one)


@pytest.mark.parametrize("how", ["revoke", "fail", "delete"])
def test_a_place_comes_back_however_a_job_ends(stack, how):
    one = stack({**TWO_BY_EIGHT, "TILL_RETRY_BASE_MS": 60000, "TILL_RETRY_MAX_SECONDS": 60})
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    if how == "fail":
        first = one.insert_job("till.tasks.fail", limit_key="one")
    else:
        first = one.insert_job("till.tasks.sleep", [600], limit_key="one")
        one.wait_job(first, "STARTED")
    second = one.insert_job("till.tasks.noop", limit_key="one")
    if how == "revoke":
        wait_for(lambda: one.job(second)["parked_on"], 10, "not parked")
        assert one.till("task", "revoke", first).returncode == 0
    elif how == "delete":
        wait_for(lambda: one.job(second)["parked_on"], 10, "not parked")
        one.query("DELETE FROM jobs WHERE id = %s", first)

    one.wait_job(second, timeout=4)
    one.worker.kill()  # what was deleted would run for ten minutes


def test_what_is_parked_is_shown_and_purged(stack):
    """It waits for a worker like what stands in the stream, not for its time."""
    one = stack()
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0, dashboards=1)
    running = one.enqueue("till.tasks.sleep", 30, limit_key="one")
    one.wait_job(running, "STARTED")
    others = [one.enqueue("till.tasks.noop", limit_key="one") for _ in range(5)]
    wait_for(lambda: all(one.job(job)["parked_on"] for job in others), 30, "not parked")

    def listed():
        lines = map(json.loads, one.till("queue", "list", "--json").stdout.splitlines())
        return next(line for line in lines if line["queue"] == "default")

    assert (listed()["parked"], listed()["scheduled"]) == (5, 0)
    metrics = requests.get(f"{one.dashboard.url}/metrics", timeout=30).text
    assert re.search(r'^till_queue_parked\{.*queue="default".*\} 5', metrics, re.M)
    assert re.search(r'^till_queue_scheduled\{.*queue="default".*\} 0', metrics, re.M)

    assert one.till("queue", "purge", "default").returncode == 0
    assert [one.job(job)["state"] for job in others] == ["REVOKED"] * 5
    assert one.job(running)["state"] == "STARTED" and listed()["parked"] == 0


def test_a_parked_job_can_be_revoked(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    first = one.insert_job("till.tasks.sleep", [600], limit_key="one")
    one.wait_job(first, "STARTED")
    parked = one.insert_job("till.tasks.noop", limit_key="one")
    last = one.insert_job("till.tasks.noop", limit_key="one")
    wait_for(lambda: one.job(last)["parked_on"], 10, "not parked")

    assert one.till("task", "revoke", parked).returncode == 0
    assert one.till("task", "revoke", first).returncode == 0

    one.wait_job(last)
    assert (one.job(parked)["state"], one.job(parked)["attempt"]) == ("REVOKED", 0)
    one.wait_settled()


def test_deleting_a_limit_lets_go_whoever_is_parked(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "key", "tenant:*", "--rate", "1/h")
    one.start(apis=0)
    made = [one.insert_job("till.tasks.noop", limit_key="tenant:a") for _ in range(20)]
    wait_for(
        lambda: one.value("SELECT count(*) FROM jobs WHERE parked_on IS NOT NULL") == 19, 10, ""
    )

    limit(one, "delete", "key", "tenant:*")

    for job in made:
        one.wait_job(job, timeout=10)
    one.wait_settled()


def test_raising_a_limit_lets_as_many_more_go(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    jobs = sleepers(one, 6, 600, limit_key="one")
    wait_for(
        lambda: one.value("SELECT count(*) FROM jobs WHERE parked_on IS NOT NULL") == 5, 10, ""
    )

    limit(one, "set", "key", "one", "--concurrency", "4")

    wait_for(
        lambda: one.value("SELECT count(*) FROM jobs WHERE state = 'STARTED'") == 4, 5, "not 4"
    )
    pause(0.5)
    assert one.value("SELECT count(*) FROM jobs WHERE parked_on IS NOT NULL") == 2
    assert one.till("task", "revoke", *jobs).returncode == 0
    one.wait_settled()


def test_jobs_that_run_when_a_limit_is_set_are_counted(stack):
    one = stack(TWO_BY_EIGHT)
    one.start(apis=0)
    first = sleepers(one, 2, 600, limit_key="one")
    for job in first:
        one.wait_job(job, "STARTED")

    limit(one, "set", "key", "one", "--concurrency", "2")
    wait_for(lambda: one.value("SELECT sum(places) FROM limit_counts") == 2, 5, "not counted")
    pause(0.3)
    later = sleepers(one, 2, 0.1, limit_key="one")
    for job in later:
        wait_for(lambda job=job: one.job(job)["parked_on"], 10, "not parked")

    assert one.till("task", "revoke", *first).returncode == 0
    for job in later:
        one.wait_job(job)
    one.wait_settled()


def test_the_exact_key_goes_before_the_longer_and_the_shorter_beginning(stack):
    one = stack()
    limit(one, "set", "key", "a*", "--concurrency", "1")
    limit(one, "set", "key", "a:b*", "--concurrency", "2")
    limit(one, "set", "key", "a:b:c", "--concurrency", "3")

    found = {
        key: one.value("SELECT (limit_of(%s)).concurrency", f"key:{key}")
        for key in ("a", "ax", "a:b", "a:b:", "a:b:c", "a:b:c:d", "b")
    }

    assert found == {"a": 1, "ax": 1, "a:b": 2, "a:b:": 2, "a:b:c": 3, "a:b:c:d": 2, "b": None}


def test_every_way_to_enqueue_takes_a_limit_key(stack):
    one = stack()
    by_cli = one.enqueue("till.tasks.noop", limit_key="tenant:1")
    by_count = one.enqueue("till.tasks.noop", limit_key="tenant:2", count=3)
    by_sql = one.value("SELECT till_enqueue('till.tasks.noop', limit_key => 'tenant:3')")

    assert one.job(by_cli)["limit_key"] == "tenant:1"
    assert {one.job(made)["limit_key"] for made in by_count} == {"tenant:2"}
    assert one.job(by_sql)["limit_key"] == "tenant:3"
    ended = one.till("enqueue", "till.tasks.noop", "--limit-key", "a\nb")
    assert (ended.returncode, "limit_key is 1 to 200 bytes" in ended.stderr) == (2, True)
    with pytest.raises(Exception, match="limit_key is 1 to 200 bytes"):
        one.query("SELECT till_enqueue('till.tasks.noop', limit_key => '')")


def test_a_replaced_job_takes_the_new_key_and_is_not_parked_for_the_old(stack):
    one = stack(TWO_BY_EIGHT)
    limit(one, "set", "key", "old", "--rate", "1/h")
    one.start(apis=0)
    one.wait_job(one.insert_job("till.tasks.noop", limit_key="old"))
    made = one.enqueue("till.tasks.noop", limit_key="old", unique="u")
    wait_for(lambda: one.job(made)["parked_on"], 10, "not parked")

    one.enqueue("till.tasks.noop", limit_key="new", unique="u", on_conflict="replace")

    one.wait_job(made, timeout=5)


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", "a\x7fb"])
def test_a_bad_key_is_refused(stack, key):
    one = stack()

    with pytest.raises(Exception, match="limit_key is 1 to 200 bytes"):
        one.insert_job("till.tasks.noop", limit_key=key)


# ---- the command line ----


def test_limits_are_listed_changed_and_deleted(stack):
    one = stack()
    limit(one, "set", "queue", "mail", "--concurrency", "4", "--rate", "600/m", "--burst", "20")
    limit(one, "set", "task", "a.b", "--rate", "10/s")
    limit(one, "set", "key", "tenant:*", "--concurrency", "2")
    limit(one, "set", "key", "tenant:*", "--rate", "5/h")

    assert limit(one, "list") == [
        {"scope": "queue", "name": "mail", "concurrency": 4, "rate": "600/m", "burst": 20},
        {"scope": "task", "name": "a.b", "concurrency": None, "rate": "10/s", "burst": 10,
         "running": None, "parked": 0},
        {"scope": "key", "name": "tenant:*", "concurrency": None, "rate": "5/h", "burst": 1,
         "running": None, "parked": 0},
    ]
    listed = [json.loads(line) for line in one.till("queue", "list", "--json").stdout.splitlines()]
    mail = next(row for row in listed if row["queue"] == "mail")
    assert (mail["concurrency"], mail["rate"], mail["burst"]) == (4, "600/m", 20)
    assert "concurrency 4  rate 600/m burst 20" in one.till("queue", "list").stdout
    assert "key    tenant:*" in one.till("limit", "list").stdout

    limit(one, "delete", "queue", "mail")
    assert one.till("limit", "delete", "queue", "mail").returncode == 1
    assert len(limit(one, "list")) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["set", "queue", "a"],
        ["set", "queue", "a", "--burst", "3"],
        ["set", "queue", "a", "--concurrency", "0"],
        ["set", "queue", "a", "--concurrency", "2", "--burst", "2"],
        ["set", "queue", "a", "--rate", "10"],
        ["set", "queue", "a", "--rate", "10/d"],
        ["set", "queue", "a", "--rate", "1.5/s"],
        ["set", "queue", "a", "--rate", "0/s"],
        ["set", "queue", "a", "--rate", "10/s", "--burst", "0"],
        ["set", "queue", "a b", "--rate", "10/s"],
        ["set", "queue", "", "--rate", "10/s"],
        ["set", "nothing", "a", "--rate", "10/s"],
        ["set", "key", "x" * 201, "--rate", "10/s"],
        ["set", "key", "a\nb", "--rate", "10/s"],
        ["set", "queue", "a", "b", "--rate", "10/s"],
        ["delete", "queue"],
        ["list", "x"],
    ],
)
def test_what_makes_no_limit_is_refused(stack, words):
    one = stack()

    ended = one.till("limit", *words)

    assert ended.returncode == 2
    assert ended.stderr.startswith("till: ")
    assert one.value("SELECT count(*) FROM limits") == 0


def is_held_up(one, job):
    """Whether it has to wait for a limit, once that is known."""

    def look():
        row = one.job(job)
        return row if row["finished_at"] or row["parked_on"] else None

    return wait_for(look, 15)["parked_on"]


def test_a_job_whose_key_gets_a_limit_on_its_way_keeps_no_place_of_its_task(stack):
    """It would wait for its key with that in its hands, and ask for a second one afterwards."""
    one = stack({"TILL_WORKER_PROCESSES": 1}).start(apis=0, workers=0)
    limit(one, "set", "task", "till.tasks.sleep", "--concurrency", 1)
    one.start_worker(TILL_QUEUES="mail")
    other = one.start_worker()
    first = one.insert_job("till.tasks.sleep", [600], queue="mail")
    one.wait_job(first, "STARTED")
    job = one.insert_job("till.tasks.sleep", [0], limit_key="k")
    wait_for(lambda: one.job(job)["parked_on"] == "task:till.tasks.sleep", 15)

    other.send(signal.SIGTSTP)
    other.wait_for_log("quiet")
    assert one.till("task", "revoke", first).returncode == 0
    wait_for(lambda: one.job(job)["enqueued_at"], 15, lambda: f"never let go: {one.job(job)}")
    limit(one, "set", "key", "k", "--rate", "1/h", "--burst", 1)
    wait_for(lambda: is_held_up(one, one.insert_job("till.tasks.tally", [1], queue="mail", limit_key="k")))
    other.send(signal.SIGCONT)
    wait_for(lambda: one.job(job)["parked_on"] == "key:k", 15, lambda: str(one.job(job)))

    one.wait_job(one.insert_job("till.tasks.sleep", [0]))  # its task's only place is free
    limit(one, "delete", "key", "k")
    one.wait_job(job)
    one.settle()
    nothing_left(one)


@pytest.mark.parametrize("scope, name, bucket", [("task", "till.tasks.noop", "task:till.tasks.noop"),
                                                 ("key", "tenant:*", "key:tenant:7")])
def test_a_limit_that_counts_places_which_no_job_has_is_set_right_by_a_recount(stack, scope, name, bucket):
    one = stack()
    limit(one, "set", scope, name, "--concurrency", 3)
    one.start_scheduler()
    one.start_worker()
    one.wait_job(one.insert_job("till.tasks.noop", limit_key="tenant:7"))
    one.query("UPDATE limit_buckets SET places = places + 3 WHERE bucket = %s", bucket)
    held = one.insert_job("till.tasks.noop", limit_key="tenant:7")
    wait_for(lambda: one.job(held)["parked_on"] == bucket, 20, "it found a place")

    [told] = limit(one, "recount", scope, name)
    assert (told["buckets"], told["too_many"], told["too_few"]) == (1, 3, 0)

    one.wait_job(held)
    nothing_left(one)
    one.query("UPDATE limit_buckets SET places = places + 2 WHERE bucket = %s", bucket)
    for words in ("counted 2 too many and 0 too few", "counts right"):
        assert words in one.till("limit", "recount", scope, name).stdout


def test_a_recount_misses_no_job_that_ends_meanwhile(stack):
    """Its end is not committed yet: it counts, and the place that it gives back is taken off later."""
    one = stack()
    limit(one, "set", "task", "till.tasks.sleep", "--concurrency", 2)
    job = one.insert_job("till.tasks.sleep", [60], enqueued_at="now")
    one.query("SELECT FROM till_claim_limited(ARRAY[%s]::uuid[], '{1-1}', 'w')", job)

    with closing(one.postgres.connect(one.database)) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE jobs SET state = 'SUCCESS', finished_at = now() WHERE id = %s", (job,))
        assert one.till("limit", "recount", "task", "till.tasks.sleep").stdout == "task till.tasks.sleep counts right\n"
        assert one.value("SELECT places FROM limit_counts") == 1
        cursor.execute("COMMIT")

    nothing_left(one)


def test_a_queue_has_nothing_to_recount(stack):
    refused = stack().till("limit", "recount", "queue", "mail")

    assert refused.returncode == 2 and "nothing to recount" in refused.stderr

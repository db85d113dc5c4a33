# SPDX-License-Identifier: MIT
"""Which queues a worker consumes, changed while it runs: heard at once, without a restart, and kept over
restarts of the worker and an emptied Redis."""

import json
import os
import signal

from harness.wait import pause, wait_for

ONE = {"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 2, "TILL_QUEUES": "default,mail"}


def order(one, *words):
    ended = one.till("worker", *words, "--json")
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


def queues(one):
    """What the living worker told last."""
    for line in order(one, "list"):
        if line["alive"]:
            return line["report"]["queues"]
    return None


def wait_queues(one, *wanted):
    wait_for(lambda: queues(one) == list(wanted), 30, lambda: f"{queues(one)} and not {wanted}")


def work(one, queue):
    return one.enqueue("till.tasks.noop", queue=queue)


def test_a_consumer_is_added_and_cancelled_while_the_worker_runs(stack):
    one = stack(ONE).start(apis=0)
    wait_queues(one, "default", "mail")
    pid = one.worker.family()[1]
    waits = work(one, "extra")
    long = one.enqueue("till.tasks.sleep", 3, queue="mail")
    one.wait_job(long, "STARTED", timeout=30)

    assert order(one, "add-consumer", "extra")[0]["order"] == "add-consumer extra"
    one.wait_job(waits, timeout=30)
    wait_queues(one, "default", "mail", "extra")
    order(one, "cancel-consumer", "mail")
    wait_queues(one, "default", "extra")
    left = work(one, "mail")
    one.wait_job(work(one, "default"), timeout=30)
    assert one.wait_job(long, timeout=30)["attempt"] == 1  # what it held of the queue is finished
    assert one.job(left)["state"] == "PENDING"
    order(one, "add-consumer", "mail")
    one.wait_job(left, timeout=30)
    wait_queues(one, "default", "mail", "extra")
    assert one.worker.family()[1] == pid
    one.settle()


def test_consumers_survive_the_worker_its_supervisor_and_an_emptied_redis(stack):
    one = stack(ONE, own_redis=True).start(apis=0)
    wait_queues(one, "default", "mail")
    order(one, "add-consumer", "extra", "all")
    order(one, "cancel-consumer", "mail", "all")
    wait_queues(one, "default", "extra")

    os.kill(one.worker.family()[1], signal.SIGKILL)
    one.worker.wait_for_log("process_died")
    one.wait_job(work(one, "extra"), timeout=60)
    one.worker.term_and_wait()
    one.redis.flushall()
    one.start_worker()
    left = work(one, "mail")
    one.wait_job(work(one, "extra"), timeout=60)
    wait_queues(one, "default", "extra")
    assert one.job(left)["state"] == "PENDING"
    (kept,) = order(one, "orders")
    assert kept["whom"] == "all" and kept["queues"] == {"extra": True, "mail": False}

    order(one, "reset", "all")
    one.wait_job(left, timeout=60)
    wait_queues(one, "default", "mail")
    ignored = work(one, "extra")
    one.wait_job(work(one, "default"), timeout=30)
    assert one.job(ignored)["state"] == "PENDING"


def test_a_paused_or_limited_queue_that_is_added_stays_so(stack):
    one = stack({**ONE, "TILL_QUEUES": "default=3,mail=1"}).start(apis=0)
    assert one.till("queue", "pause", "extra").returncode == 0
    assert one.till("limit", "set", "queue", "slow", "--concurrency", "1").returncode == 0
    order(one, "add-consumer", "extra")
    order(one, "add-consumer", "slow")
    wait_queues(one, "default", "mail", "extra", "slow")
    paused = work(one, "extra")
    jobs = [one.enqueue("till.tasks.sleep", 0.5, queue="slow") for _ in range(3)]
    most = 0

    def all_done():
        nonlocal most
        most = max(most, one.value("SELECT count(*) FROM jobs WHERE state = 'STARTED'"))
        return all(one.job(job)["state"] == "SUCCESS" for job in jobs)

    wait_for(all_done, 60)
    assert most == 1 and one.job(paused)["state"] == "PENDING"
    assert one.till("queue", "resume", "extra").returncode == 0
    one.wait_job(paused, timeout=30)
    one.settle()


def test_fast_jobs_of_an_added_queue_run(stack):
    one = stack(ONE).start(apis=0)
    wait_queues(one, "default", "mail")
    one.enqueue_fast("till.tasks.echo", "x", queue="quick")
    pause(0.5)
    assert one.redis.xlen("till:{quick}:normal") == 1
    order(one, "add-consumer", "quick")
    wait_for(lambda: one.redis.xlen("till:{quick}:normal") == 0, 30)


def test_bad_words_are_refused(stack):
    one = stack(ONE)
    for words in (["add-consumer"], ["add-consumer", "a b"], ["cancel-consumer", ""], ["add-consumer", "q", "all", "x"]):
        assert one.till("worker", *words).returncode == 2
    ended = one.till("worker", "add-consumer", "q", "nobody:7")
    assert ended.returncode == 1 and "nobody:7" in ended.stderr

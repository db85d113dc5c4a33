"""Flows while their programs are killed at random and Redis is emptied: every job of every flow takes
effect exactly once, every callback comes, and none before its turn."""

import json
import os
import random
import signal
import time

import pytest

from harness import flows
from harness.flows import tally
from harness.wait import pause

SEED = int(os.environ.get("FLOWS_SURVIVE_SEED", "20261122"))
SECONDS = float(os.environ.get("FLOWS_SURVIVE_SECONDS", "25"))
FLOWS = 240


def a_flow(chooser, number):
    """Chains, groups and a chain of groups; each flow adds to a counter of its own."""
    one = lambda: tally(number)
    group = {"group": [one() for _ in range(chooser.randint(2, 12))], "callback": one(), "on_complete": one()}
    return chooser.choice(
        [
            {"chain": [one() for _ in range(chooser.randint(2, 6))]},
            group,
            {"chain": [one(), group, one()]},
            {"group": [{"chain": [one(), one()]}, group, one()], "callback": {"chain": [one(), one()]}},
        ]
    )


def kill_worker(one, chooser):
    chooser.choice(one.named("till-worker")).kill()
    one.start_worker()


def kill_worker_process(one, chooser):
    children = chooser.choice(one.named("till-worker")).family()[1:]
    if children:
        os.kill(chooser.choice(children), signal.SIGKILL)


def kill_scheduler(one, chooser):
    chooser.choice(one.named("till-scheduler")).kill()
    one.start_scheduler()


def empty_redis(one, _):
    one.redis.flushall()


FAULTS = [kill_worker, kill_worker_process, kill_worker_process, kill_scheduler, empty_redis]


@pytest.mark.slow
def test_every_callback_comes_exactly_once_whatever_dies(stack):
    one = stack({"TILL_LEASE_SECONDS": 2}, own_redis=True).start(apis=0, workers=2, schedulers=2)
    chooser = random.Random(SEED)
    print(f"seed {SEED}")
    declared = 0
    done = []
    end = time.monotonic() + SECONDS

    while time.monotonic() < end or declared < FLOWS:
        for _ in range(min(chooser.randint(1, 20), FLOWS - declared)):
            one.query("SELECT till_flow(%s)", json.dumps(a_flow(chooser, declared)))
            declared += 1
        pause(chooser.uniform(0.02, 0.4))
        fault = chooser.choice(FAULTS)
        done.append(fault.__name__)
        fault(one, chooser)
        flows.check(one)
    one.wait_settled(timeout=60)

    assert one.query("SELECT id, outcome FROM flows WHERE outcome IS DISTINCT FROM 'SUCCESS'") == []
    assert one.value("SELECT count(*) FROM flows") == FLOWS
    assert (
        one.query(
            "SELECT j.id, count(e.id) FROM jobs j LEFT JOIN trial_entries e ON e.job_id = j.id"
            " WHERE j.flow_id IS NOT NULL GROUP BY j.id HAVING count(e.id) <> 1"
        )
        == []
    )
    assert one.value("SELECT sum(total) FROM trial_counters") == one.value("SELECT sum(total) FROM flows")
    early = one.query(
        "SELECT a.id FROM jobs a JOIN jobs b ON b.flow_id = a.flow_id AND b.flow_to = a.flow_from"
        " WHERE a.started_at < b.finished_at"
    )
    assert early == []
    flows.check(one)
    print(f"{len(done)} faults, {one.value('SELECT count(*) FROM jobs')} jobs,"
          f" {one.value('SELECT count(*) FROM job_errors')} attempts cut off")
    assert len(set(done)) == len(set(FAULTS)), "every fault came to pass"

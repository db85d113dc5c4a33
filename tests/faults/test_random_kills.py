"""A minute of checkouts while programs are killed at random moments: the books balance."""

import os
import random
import signal
import time

import pytest

from harness.load import Load
from harness.wait import SLOWNESS, pause

SECONDS = float(os.environ.get("RANDOM_KILLS_SECONDS", "50"))
SEED = int(os.environ.get("RANDOM_KILLS_SEED", "20261121"))


def kill_api(one, _):
    api = one.named("till-api")[0]
    one.start_api()
    api.kill()


def kill_scheduler(one, chooser):
    chooser.choice(one.named("till-scheduler")).kill()
    one.start_scheduler()


def kill_worker(one, chooser):
    chooser.choice(one.named("till-worker")).kill()
    one.start_worker()


def kill_worker_process(one, chooser):
    children = chooser.choice(one.named("till-worker")).family()[1:]
    if children:
        os.kill(chooser.choice(children), signal.SIGKILL)


def freeze_worker(one, chooser):
    worker = chooser.choice(one.named("till-worker"))
    worker.stop()
    pause(chooser.uniform(0.5, 5))
    worker.cont()


FAULTS = [kill_api, kill_scheduler, kill_worker, kill_worker, kill_worker_process, freeze_worker]


@pytest.mark.slow
def test_killed_at_random_the_books_balance(stack):
    one = stack({"TILL_LEASE_SECONDS": 2}).start(apis=2, workers=2, schedulers=2)
    chooser = random.Random(SEED)
    done = []
    print(f"seed {SEED}")
    with Load(one, customers=8, seed=SEED, think=0.3) as load:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            pause(chooser.uniform(0.2, 1.5))
            fault = chooser.choice(FAULTS)
            done.append(fault.__name__)
            fault(one, chooser)
        load.wait_accepted(20)
    one.wait_settled(timeout=60)

    one.books(unpaid=True, extra_mails=True)
    print(f"{len(load.accepted)} payments, {len(done)} faults, {len(load.troubles)} retries")
    assert len(load.accepted) > 2 * SECONDS / SLOWNESS, "there was a load"

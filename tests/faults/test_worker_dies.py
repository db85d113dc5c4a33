"""Workers that die, freeze, or come back from the dead between the charge and our commit."""

import os
import signal
import time

import pytest

from harness.wait import SLOWNESS, pause, wait_for

LEASE = 3
MARGIN = 4 * SLOWNESS


def begin(one, stage="hold_after"):
    """An order whose payment is at the gateway, charged already, its answer held back."""
    one.gateway.fault(stage, path="/v1/payment_intents")
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))
    payment = shop.pay(order["id"])
    wait_for(one.gateway.held, 15, "the gateway was never asked")
    return shop, order["id"], payment


@pytest.mark.parametrize("standby", [False, True], ids=["new worker", "standby worker"])
@pytest.mark.parametrize("stage", ["hold_before", "hold_after"])
def test_kill_9_around_the_charge_leaves_one_charge_and_a_paid_order(stack, stage, standby):
    one = stack({"TILL_LEASE_SECONDS": LEASE}).start()
    worker = one.worker
    shop, order, payment = begin(one, stage)
    if standby:
        one.start_worker()

    worker.kill()
    killed = time.monotonic()
    one.gateway.release("drop")
    if not standby:
        one.start_worker()
    shop.wait_order(order, "paid", timeout=LEASE + MARGIN)
    took = time.monotonic() - killed

    assert took < LEASE + MARGIN
    one.settle()
    assert len(one.gateway.effective_charges()) == 1
    posts = [r for r in one.gateway.requests() if r["method"] == "POST"]
    assert len(posts) == 2 and len({r["idempotency_key"] for r in posts}) == 1
    assert one.job(payment["task_id"])["attempt"] == 2


def test_one_process_killed_is_replaced_and_its_job_goes_on(stack):
    one = stack({"TILL_LEASE_SECONDS": LEASE, "TILL_WORKER_PROCESSES": 2}).start()
    shop, order, payment = begin(one)
    before = set(one.worker.family())

    for pid in one.worker.family()[1:]:
        os.kill(pid, signal.SIGKILL)
    one.gateway.release("drop")

    shop.wait_order(order, "paid", timeout=LEASE + MARGIN)
    wait_for(lambda: len(one.worker.family()) == len(before), 10, "not all were replaced")
    one.settle()


def snapshot(one):
    return [
        one.query(f"SELECT * FROM {table} ORDER BY 1")
        for table in ("orders", "payments", "payment_events", "jobs", "job_errors")
    ] + [sorted(c["id"] for c in one.gateway.charges()), len(one.mail.messages())]


def test_a_worker_stopped_beyond_its_lease_and_continued_changes_nothing(stack):
    one = stack({"TILL_LEASE_SECONDS": LEASE}).start()
    frozen = one.worker
    shop, order, _ = begin(one)

    frozen.stop()
    assert one.gateway.release() == 1  # its answer waits in the socket of the frozen one
    second = one.start_worker()
    shop.wait_order(order, "paid", timeout=LEASE + MARGIN)
    one.settle()
    before = snapshot(one)

    frozen.cont()
    pause(2 * LEASE)  # time for it to do what it must not
    assert snapshot(one) == before
    one.books()

    second.kill()
    assert frozen.is_running()
    next_order = shop.order((one.product(), 1))["id"]
    shop.pay(next_order)
    shop.wait_order(next_order, "paid", timeout=2 * LEASE + MARGIN)
    one.settle()


def test_a_worker_killed_while_the_mail_server_answers_sends_again_under_the_same_id(stack):
    one = stack({"TILL_LEASE_SECONDS": LEASE}).start()
    one.mail.fault("hold")
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))["id"]
    shop.pay(order)
    wait_for(one.mail.held, 15, "no mail was sent")

    one.worker.kill()
    one.mail.release("drop")
    one.start_worker()
    one.settle(extra_mails=True)

    assert len(one.mail.messages()) == 2


def test_all_workers_killed_under_a_backlog_lose_nothing(stack):
    one = stack({"TILL_LEASE_SECONDS": 2}).start(apis=0, workers=2)
    one.enqueue("till.tasks.noop", count=5000)
    done = "SELECT count(*) FROM jobs WHERE state = 'SUCCESS'"
    wait_for(lambda: one.value(done) > 200, 30, "nothing was done")

    for worker in one.named("till-worker"):
        worker.kill()
    one.start_worker()
    one.wait_settled(timeout=60)

    assert one.value(done) == 5000


def test_a_job_longer_than_the_lease_runs_once(stack):
    one = stack({"TILL_LEASE_SECONDS": 2}).start(apis=0, workers=2)

    job = one.wait_job(one.enqueue("till.tasks.sleep", 7), timeout=20)

    assert job["attempt"] == 1
    one.settle()

"""The gateway and the mail server away, silent, slow, or talking nonsense, while customers check out."""

import pytest

from harness import ordeal
from harness.load import Load
from harness.shop import PAID
from harness.wait import pause, wait_for

full = pytest.mark.full
INTENTS = "/v1/payment_intents"
STORMS = [
    {"action": "status", "status": 500},
    {"action": "status", "status": 500, "when": "after"},  # and under this key for ever
    {"action": "status", "status": 429, "retry_after": 1},
    {"action": "status", "status": 409},
    {"action": "drop_before"},
    {"action": "drop_after"},
    {"action": "reset", "when": "after"},
    {"action": "garbage"},
    {"action": "duplicate_keys"},
    {"action": "huge_body"},
    {"action": "gzip_bomb"},
    {"action": "truncate"},
    {"action": "wrong_content_type", "content_type": "text/html"},
    {"action": "latency", "seconds": 3},
    {"action": "slow_body", "rate": 1},
]
MAIL_STORMS = [
    "greet_421", "greylist", "mail_from_451", "data_451", "drop_before_data", "drop_after_data",
    "silent_greeting", "garbage", "refuse",
]  # fmt: skip


def test_a_silent_mail_server_holds_up_no_payment(stack):
    """More mails wait for it than there are slots; the queues of payments and mail share these."""
    one = stack({"TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 4}).start()
    shop = one.shop().sign_up()
    product = one.product()
    one.mail.fault("silent_greeting", times=-1)
    first = [shop.order((product, 1))["id"] for _ in range(8)]
    for order in first:
        shop.pay(order, PAID)
    for order in first:
        shop.wait_order(order, "paid", timeout=15)
    wait_for(
        lambda: one.value("SELECT count(*) FROM jobs WHERE queue = 'mail' AND snoozes > 0") > 0,
        15,
        "every mail waits in a slot",
    )
    late = shop.order((product, 1))["id"]
    shop.pay(late)
    shop.wait_order(late, "paid", timeout=15)  # less than a mail server may be silent

    one.mail.clear_faults()
    one.settle(timeout=90)
    assert one.value("SELECT max(attempt - snoozes) FROM jobs WHERE queue = 'mail'") <= 3


def test_a_gateway_that_hangs_costs_no_payment_and_few_attempts(stack):
    one = stack().start(workers=0)
    link = one.proxy("gateway")
    one.start_worker(**link.settings)
    shop = one.shop().sign_up()
    product = one.product()
    link.set("cut")
    orders = [shop.order((product, 1))["id"] for _ in range(10)]
    for order in orders:
        shop.pay(order)
    wait_for(lambda: one.worker.find_log("breaker_opened", server="gateway"), 15, "never opened")
    pause(3)
    link.set("pass")

    for order in orders:
        shop.wait_order(order, "paid", timeout=60)
    one.settle(timeout=60)
    assert one.worker.find_log("breaker_closed", server="gateway")
    posts = [r for r in one.gateway.requests() if r["method"] == "POST" and r["path"] == INTENTS]
    assert len(posts) == len(orders), "nothing was sent while it was away, and once after it"


def storm(one, begin, end, fault, seed, **allowed):
    with Load(one, customers=4, seed=seed) as load:
        load.wait_accepted(10)
        begin()
        load.wait_accepted(10)
        pause(4)
        end()
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(5)
    ordeal.account(one, fault, 1, recovery_s, seed, **allowed)


@full
@pytest.mark.parametrize("fault", STORMS, ids=lambda f: "-".join(map(str, f.values())))
def test_a_storm_at_the_gateway(stack, fault):
    one = stack().start()
    storm(
        one,
        lambda: one.gateway.fault(**fault, method="POST", path=INTENTS, times=-1),
        one.gateway.clear_faults,
        "gateway: " + " ".join(map(str, fault.values())),
        51,
    )


@full
@pytest.mark.parametrize("fault", MAIL_STORMS)
def test_a_storm_at_the_mail_server(stack, fault):
    one = stack({"TILL_RETRY_BASE_MS": 10}).start()
    storm(
        one,
        lambda: one.mail.fault(fault, times=-1),
        one.mail.clear_faults,
        f"mail server: {fault}",
        52,
        extra_mails=fault == "drop_after_data",
    )


@full
@pytest.mark.parametrize("seconds", [2, 15])
def test_the_gateway_freezes(stack, seconds):
    one = stack().start(workers=0)
    link = one.proxy("gateway")
    one.start_worker(**link.settings)

    def thaw():
        pause(seconds)
        link.set("pass")

    storm(one, lambda: link.set("stall"), thaw, f"gateway silent for {4 + seconds} s", 53)

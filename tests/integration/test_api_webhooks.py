"""What the gateway tells us on its own: signatures, duplicates, order, and what it does to money."""

import concurrent.futures
import fcntl
import hashlib
import hmac
import itertools
import json
import pathlib
import shutil
import subprocess
import time

import pytest
import requests

from harness.gateway import SANDBOX, WEBHOOK_SECRET
from harness.wait import SLOWNESS, wait_for

PATH = "/api/webhooks/stripe/"
numbers = itertools.count(1)


@pytest.fixture
def api(stack):
    one = stack({"GATEWAY_WEBHOOK_SECRET": WEBHOOK_SECRET})
    one.start_api()
    return one


@pytest.fixture
def payment(api, shop):
    """A payment that a worker has sent to the gateway and knows no answer of."""
    order = shop.order((api.product(stock=5, price="10.00"), 2))
    made = shop.pay(order["id"])
    api.query("UPDATE payments SET status = 'processing', first_sent_at = now()")
    api.query("DELETE FROM jobs")
    return made


def sign(body, at=None, secret=WEBHOOK_SECRET):
    at = int(time.time()) if at is None else at
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"


def event(payment, kind="payment_intent.succeeded", **changes):
    intent = {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 2000,
        "amount_received": 2000,
        "currency": "usd",
        "metadata": {"payment_id": payment["id"], "order_id": str(payment["order_id"])},
        **changes,
    }
    return {
        "id": f"evt_{next(numbers)}",
        "object": "event",
        "type": kind,
        "created": int(time.time()),
        "data": {"object": intent},
    }


def post(api, body, header=None, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    header = sign(raw) if header is None else header
    headers = {"Content-Type": "application/json; charset=utf-8", **headers}
    if header:
        headers["Stripe-Signature"] = header
    return requests.post(api.api.url + PATH, data=raw, headers=headers, timeout=30)


def accepted(answer):
    assert (answer.status_code, answer.json()) == (200, {"received": True}), answer.text


def states(api):
    row = api.query(
        "SELECT p.status, o.order_status FROM payments p JOIN orders o ON o.id = p.order_id"
    )[0]
    return row["status"], row["order_status"]


def outcomes(api):
    rows = api.query("SELECT outcome FROM gateway_events ORDER BY received_at, id")
    return [row["outcome"] for row in rows]


def test_a_success_pays_the_order_and_confirms_it_once(api, shop, payment):
    body = event(payment)
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        for answer in pool.map(lambda _: post(api, body), range(100)):
            accepted(answer)
    accepted(post(api, event(payment)))
    assert states(api) == ("succeeded", "paid")
    jobs = api.query("SELECT task, args FROM jobs")
    assert [job["args"] for job in jobs] == [[payment["order_id"]]]
    assert sorted(outcomes(api)) == ["applied", "ignored"]
    assert shop.payment(payment["id"])["transaction_id"] == "pi_1"


HEADERS = {
    "none": "",
    "garbage": "this is not a signature",
    "no time": lambda raw: sign(raw).split(",")[1],
    "two times": lambda raw: "t=1," + sign(raw),
    "no v1": lambda raw: sign(raw).replace("v1=", "v0="),
    "time only": lambda raw: sign(raw).split(",")[0],
    "another secret": lambda raw: sign(raw, secret="whsec_other"),
    "another body": lambda raw: sign(raw + b" "),
    "another time": lambda raw: sign(raw).replace("t=", "t=1"),
    "cut": lambda raw: sign(raw)[:-1],
    "longer": lambda raw: sign(raw) + "00",
    "301 s old": lambda raw: sign(raw, int(time.time()) - 302),
    "301 s ahead": lambda raw: sign(raw, int(time.time()) + 302),
    "an old one": lambda raw: sign(raw, 1700000000),
    "no number": lambda raw: sign(raw).replace("t=", "t=x"),
    "long": lambda raw: sign(raw) + ",v1=" + "0" * 5000,
}


@pytest.mark.parametrize("kind", HEADERS)
def test_what_is_not_signed_changes_nothing(api, payment, kind):
    raw = json.dumps(event(payment)).encode()
    header = HEADERS[kind] if isinstance(HEADERS[kind], str) else HEADERS[kind](raw)
    answer = post(api, raw, header)
    assert answer.status_code == 400 and "detail" in answer.json(), answer.text
    assert states(api) == ("processing", "pending")
    assert outcomes(api) == []


def test_any_of_several_signatures_is_enough(api, payment):
    raw = json.dumps(event(payment)).encode()
    good = sign(raw)
    accepted(post(api, raw, good.replace("v1=", "v0=abc,v1=" + "0" * 64 + ",v1=")))
    assert states(api) == ("succeeded", "paid")


@pytest.mark.parametrize("age", [-290, 290])
def test_five_minutes_are_forgiven(api, payment, age):
    raw = json.dumps(event(payment)).encode()
    accepted(post(api, raw, sign(raw, int(time.time()) + age)))


def test_the_body_is_signed_byte_for_byte(api, payment):
    raw = json.dumps(event(payment), indent=3).replace("\n", "\r\n").encode()
    accepted(post(api, raw))
    assert states(api) == ("succeeded", "paid")


def test_stripes_own_client_signs_what_is_accepted(api, payment):
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    with open(pathlib.Path(SANDBOX) / "package-lock.json", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (pathlib.Path(SANDBOX) / "node_modules" / "stripe").is_dir():
            subprocess.run(["npm", "ci"], cwd=SANDBOX, check=True, timeout=120)
    script = pathlib.Path(__file__).with_name("webhook_header.mjs")
    raw = json.dumps(event(payment)).encode()

    def node(*arguments):
        done = subprocess.run(
            ["node", script, WEBHOOK_SECRET, *arguments], input=raw, capture_output=True,
            timeout=30 * SLOWNESS, check=True,
        )
        return done.stdout.decode().strip()

    header = node()
    accepted(post(api, raw, header))
    assert states(api) == ("succeeded", "paid")
    assert node(sign(raw)).startswith("evt_")


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_received": 1999}, {"amount_received": "2000"}, {"amount_received": 2000.0},
        {"amount_received": None}, {"currency": "eur"},
    ],
)
def test_a_charge_that_is_not_ours_pays_nothing(api, payment, changes):
    accepted(post(api, event(payment, **changes)))
    assert states(api) == ("processing", "pending")
    assert outcomes(api) == ["refused"]
    api.api.wait_for_log("webhook_contradicts", payment_id=payment["id"])


@pytest.mark.parametrize("known", ["", "nonsense", "00000000-0000-4000-8000-000000000000", 7])
def test_what_we_know_nothing_of_is_thanked_for(api, payment, known):
    accepted(post(api, event(payment, metadata={"payment_id": known})))
    accepted(post(api, event(payment, kind="customer.created")))
    accepted(post(api, {"id": "evt_x", "type": "payment_intent.succeeded"}))
    assert states(api) == ("processing", "pending")


def test_a_signed_body_that_is_no_event(api):
    assert post(api, b"{").status_code == 400
    assert post(api, b"[" * 40 + b"]" * 40).status_code == 400
    for body in ([1], "x", {}, {"type": 7}, {"type": "payment_intent.succeeded", "data": []}):
        accepted(post(api, body))
    accepted(post(api, b'{"x":"' + b"y" * (1024 * 1024 - 8) + b'"}'))
    assert post(api, b" " * (1024 * 1024 + 1)).status_code == 413


def test_a_decline_lets_the_order_be_paid_again(api, shop, payment):
    error = {"code": "card_declined", "decline_code": "lost_card", "message": "Your card was declined."}
    code = {"last_payment_error": error}
    accepted(post(api, event(payment, "payment_intent.payment_failed", **code)))
    assert states(api) == ("failed", "payment_failed")
    assert shop.payment(payment["id"])["failure_code"] == "lost_card"
    assert api.value("SELECT failure_message FROM payments") == "Your card was declined."
    accepted(post(api, event(payment)))
    assert states(api) == ("failed", "payment_failed")
    assert outcomes(api) == ["applied", "refused"]
    assert shop.pay(payment["order_id"])["status"] == "pending"


def about_charge(**changes):
    """charge.refunded is about the charge, not the intent; test_api_event_orders.py has the gateway's own."""
    charge = {"id": "ch_1", "object": "charge", "payment_intent": "pi_1", "captured": True}
    return {**charge, "amount_refunded": 2000, **changes}


def about_refund(**changes):
    refund = {"id": "re_1", "object": "refund", "payment_intent": "pi_1", "amount_received": None}
    return {**refund, "status": "succeeded", **changes}


def test_what_was_paid_back_before_we_knew_that_it_was_paid_is_both(api, shop, payment):
    accepted(post(api, event(payment, "charge.refunded", **about_charge())))
    assert states(api) == ("refunded", "refunded")
    accepted(post(api, event(payment)))
    accepted(post(api, event(payment, "payment_intent.payment_failed")))
    assert states(api) == ("refunded", "refunded")
    assert api.value("SELECT stock_quantity FROM products") == 5
    assert outcomes(api) == ["applied", "ignored", "ignored"]
    assert shop.payment(payment["id"])["transaction_id"] == "pi_1"
    assert [row["task"] for row in api.query("SELECT task FROM jobs")] == [
        "payments.tasks.send_order_confirmation_email"
    ]


@pytest.mark.parametrize(
    "kind", ["charge.refunded", "refund.created", "refund.updated", "charge.refund.updated"]
)
@pytest.mark.parametrize("status", ["succeeded", "pending"])
def test_a_refund_is_known_by_any_of_its_events(api, payment, kind, status):
    accepted(post(api, event(payment)))
    about = about_charge() if kind == "charge.refunded" else about_refund(status=status)
    accepted(post(api, event(payment, kind, **about, metadata={})))
    assert states(api) == ("refunded", "refunded")
    assert api.value("SELECT stock_quantity FROM products") == 5


@pytest.mark.parametrize(
    "kind, about",
    [
        ("charge.refunded", about_charge(amount_refunded=5)),  # a part, by hand
        ("charge.refunded", about_charge(amount_refunded=None)),
        ("charge.refunded", about_charge(payment_intent=None)),
        ("charge.refunded", about_charge(captured=False)),  # a hold that was let go: nothing was paid
        ("charge.refunded", about_charge(currency="eur")),
        ("refund.created", about_refund(amount=5)),
        ("refund.created", about_refund(status="requires_action")),
    ],
)
@pytest.mark.parametrize("known", [False, True], ids=["open", "succeeded"])
def test_what_is_no_whole_refund_leaves_the_payment_as_it_is(api, payment, kind, about, known):
    if known:
        accepted(post(api, event(payment)))
    before = states(api)
    accepted(post(api, event(payment, kind, **about)))
    assert states(api) == before


@pytest.mark.parametrize("kind", ["refund.failed", "refund.updated", "charge.refund.updated"])
def test_a_refund_that_failed_is_told_to_people(api, payment, kind):
    accepted(post(api, event(payment)))
    accepted(post(api, event(payment, "charge.refunded", **about_charge())))
    failed = about_refund(status="failed", failure_reason="lost_or_stolen_card")
    accepted(post(api, event(payment, kind, **failed, metadata={})))
    assert states(api) == ("refunded", "refunded")
    assert outcomes(api) == ["applied", "applied", "refused"]
    api.api.wait_for_log("webhook_contradicts", type=kind, reason="lost_or_stolen_card")


def test_a_success_for_a_cancelled_order_is_paid_back(api, shop, payment):
    shop.expect(200, shop.post(f"/api/orders/{payment['order_id']}/cancel/", {}))
    accepted(post(api, event(payment)))
    assert states(api) == ("succeeded", "cancelled")
    tasks = [row["task"] for row in api.query("SELECT task FROM jobs")]
    assert tasks == ["payments.tasks.refund_payment"]


def waiting(one, program):
    return one.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = %s AND wait_event_type = 'Lock'",
        program,
    )


@pytest.mark.parametrize("first", ["till-worker", "till-api"])
def test_a_worker_and_a_webhook_that_end_one_payment_at_once_agree(stack, first):
    """Whoever comes second waits for the order alone (else the two would wait for each other), and then
    sees that the other was there."""
    one = stack({"GATEWAY_WEBHOOK_SECRET": WEBHOOK_SECRET}).start()
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))
    one.gateway.fault("hold_after")
    payment = shop.pay(order["id"])
    wait_for(one.gateway.held, 15, "the gateway was never asked")
    (charge,) = one.gateway.charges()
    told = event(payment, id=charge["payment_intent"], amount=1000, amount_received=1000)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        begin = {"till-worker": one.gateway.release, "till-api": lambda: pool.submit(post, one, told)}
        second = next(name for name in begin if name != first)
        with one.postgres.connect(one.database) as holder:
            holder.autocommit = False
            holder.cursor().execute("SELECT FROM orders WHERE id = %s FOR NO KEY UPDATE", [order["id"]])
            begun = [begin[first]()]
            wait_for(lambda: waiting(one, first), 15, f"{first} never waited for the order")
            begun.append(begin[second]())
            wait_for(lambda: waiting(one, second), 15, f"{second} never waited for the order")
            holder.rollback()
        holder.close()
        accepted(next(made for made in begun if isinstance(made, concurrent.futures.Future)).result())
    one.settle()
    assert outcomes(one) == ["applied" if first == "till-api" else "ignored"]
    assert one.query("SELECT state, attempt FROM jobs WHERE queue = 'payments'") == [
        {"state": "SUCCESS", "attempt": 1}
    ]


def test_the_path_takes_nothing_else(api):
    answer = requests.get(api.api.url + PATH)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST, OPTIONS")
    assert requests.options(api.api.url + PATH).status_code == 200


def test_without_a_secret_they_are_refused(stack):
    api = stack()
    api.start_api()
    answer = post(api, {"id": "evt_1"}, sign(b"", secret=""))
    assert answer.status_code == 503 and "GATEWAY_WEBHOOK_SECRET" in answer.json()["detail"]


def test_the_gateway_settles_what_a_stopped_worker_cannot(stack):
    api = stack({"GATEWAY_WEBHOOK_SECRET": WEBHOOK_SECRET, "TILL_LEASE_SECONDS": 2}).start()
    shop = api.shop().sign_up()
    api.gateway.call("POST", "webhooks", {"url": api.api.url + PATH, "backoff": 0.1})
    try:
        order = shop.order((api.product(stock=5), 1))
        api.gateway.fault("hold_after")
        shop.pay(order["id"])
        wait_for(api.gateway.held, 15, "the gateway was never asked")
        shop.wait_order(order["id"], "paid")
        api.gateway.release("drop")
        api.settle()
        intent = api.value("SELECT gateway_reference FROM payments")
        sent = api.gateway.call(
            "POST", "webhooks/send",
            {"payment_intent": intent, "times": 5, "together": True, "order": "shuffle"},
        )
        assert sent
        api.settle()
    finally:
        api.gateway.call("POST", "webhooks", {"url": None})

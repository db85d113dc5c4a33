"""What becomes of money in the rare cases: orders that close meanwhile, keys that the gateway may have
forgotten, answers that hide a charge."""

import json
import urllib.parse
import urllib.request

import psycopg2
import pytest
import requests

from harness.gateway import SECRET_KEY
from harness.shop import DECLINED, PAID
from harness.wait import wait_for

INTENTS = "/v1/payment_intents"
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'till-worker' AND wait_event_type = 'Lock'"
)


@pytest.fixture
def waiting(stack):
    """A system without a worker, and a payment that waits for one."""
    one = stack().start(workers=0)
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 2))
    return one, order, shop.pay(order["id"])


def payment_of(one, payment):
    return one.query("SELECT * FROM payments WHERE id = %s", payment["id"])[0]


def order_status(one, order):
    return one.value("SELECT order_status FROM orders WHERE id = %s", order["id"])


def wait_payment(one, payment, status):
    wait_for(lambda: payment_of(one, payment)["status"] == status, 15, f"the payment to be {status}")


def intents_posted(one):
    return [r for r in one.gateway.requests() if r["method"] == "POST" and r["path"] == INTENTS]


def was_sent(one, payment, hours):
    """As if the gateway had been called that long ago, and the worker had died."""
    one.query(
        "UPDATE payments SET status = 'processing', first_sent_at = now() - %s * interval '1 hour'"
        " WHERE id = %s",
        hours,
        payment["id"],
    )


def charge_at_the_gateway(one, payment, **others):
    """What the worker that died had sent; `others` as another version would have sent it."""
    row = payment_of(one, payment)
    form = {
        "amount": int(row["amount"] * 100),
        "currency": row["currency"],
        "payment_method": row["payment_token"],
        "confirm": "true",
        "payment_method_types[0]": "card",
        "metadata[order_id]": row["order_id"],
        "metadata[payment_id]": payment["id"],
        **others,
    }
    request = urllib.request.Request(
        one.gateway.url + INTENTS,
        urllib.parse.urlencode(form).encode(),
        {"Authorization": f"Bearer {SECRET_KEY}", "Idempotency-Key": str(row["idempotency_key"])},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["status"] == "succeeded"


def test_a_success_that_comes_for_a_cancelled_order_is_refunded(waiting):
    one, order, payment = waiting
    one.gateway.fault("hold_after", path=INTENTS)
    one.start_worker()
    wait_for(lambda: one.gateway.held(), 15, "the charge to be made and its answer held")
    one.query("UPDATE orders SET order_status = 'cancelled' WHERE id = %s", order["id"])
    one.gateway.release()

    wait_payment(one, payment, "refunded")

    assert order_status(one, order) == "cancelled"
    (charge,) = one.gateway.charges()
    assert charge["refunded"] and not one.gateway.effective_charges()
    assert one.value("SELECT count(*) FROM jobs WHERE queue = 'mail'") == 0


@pytest.mark.parametrize("token, status", [(PAID, "succeeded"), (DECLINED, "failed")])
def test_who_pays_again_while_the_first_payment_ends_waits_for_nobody_who_waits_for_them(stack, token, status):
    """The API holds the order while its INSERT waits for the payment before; so whoever ends that one
    must want the order first: else the two wait for each other, and PostgreSQL refuses one."""
    one = stack().start(workers=0)
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))
    payment = shop.pay(order["id"], token)
    api = psycopg2.connect(one.settings["DATABASE_URL"])
    try:
        with api, api.cursor() as cursor:
            cursor.execute("SELECT FROM orders WHERE id = %s FOR NO KEY UPDATE", [order["id"]])
            one.start_worker()
            wait_for(lambda: one.value(WAITING), 15, "the end of the payment to wait for the order")
            with pytest.raises(psycopg2.errors.UniqueViolation):
                cursor.execute(
                    "INSERT INTO payments (id, order_id, payment_method, payment_token, amount,"
                    " idempotency_key, refund_key) SELECT gen_random_uuid(), id, 'card', 'pm_again',"
                    " total_amount, gen_random_uuid(), gen_random_uuid() FROM orders WHERE id = %s",
                    [order["id"]],
                )
            api.rollback()
    finally:
        api.close()

    wait_payment(one, payment, status)
    one.settle()


def test_a_token_that_is_no_cards_fails_the_payment_by_a_code(waiting):
    one, _, _ = waiting
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 2))
    body = {"order_id": order["id"], "payment_method": "bank_account", "payment_token": "pm_usBankAccount_success"}
    payment = shop.expect(202, shop.post("/api/payments/", body))
    one.start_worker()

    wait_payment(one, payment, "failed")

    assert shop.payment(payment["id"])["failure_code"] == "payment_method_not_allowed"
    assert order_status(one, order) == "payment_failed"
    assert one.wait_job(payment["task_id"])["attempt"] == 1


@pytest.mark.parametrize(
    "price, code",
    [
        ("0.49", "amount_too_small"), ("1000000.00", "amount_too_large"),
        ("0.00", "parameter_invalid_integer"),
    ],
)
def test_an_order_of_an_amount_that_the_gateway_takes_nobody_for_fails_its_payment(stack, price, code):
    """It is an answer about the payment, not a mistake of ours: nothing for the dead set."""
    one = stack().start()
    shop = one.shop().sign_up()
    order = shop.order((one.product(price=price, stock=5), 1))
    payment = shop.pay(order["id"])
    shop.wait_order(order["id"], "payment_failed")
    one.settle()
    assert shop.payment(payment["id"])["failure_code"] == code
    job = one.job(payment["task_id"])
    assert (job["state"], job["result"]) == ("SUCCESS", {"status": "failed", "code": code})


@pytest.mark.parametrize("code", ["parameter_unknown", "secret_key_required"])
def test_a_request_that_the_gateway_finds_wrong_fails_the_payment_and_stays_loud(stack, code):
    one = stack().start()
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))
    one.gateway.fault("status", status=400, code=code, path="/v1/payment_intents")
    payment = shop.pay(order["id"])
    shop.wait_order(order["id"], "payment_failed")
    one.settle(dead=1)
    assert shop.payment(payment["id"])["failure_code"] == code


def test_a_token_that_has_paid_before_fails_the_payment_by_a_code(stack):
    """A client's mistake that Stripe tells by the parameter alone."""
    one = stack().start()
    shop = one.shop().sign_up()
    made = requests.post(
        f"{one.gateway.url}/v1/payment_methods", {"type": "card", "card[token]": "tok_visa"},
        headers={"Authorization": f"Bearer {SECRET_KEY}"}, timeout=30,
    )
    orders = [shop.order((one.product(), 1)) for _ in range(2)]
    shop.pay(orders[0]["id"], made.json()["id"])
    shop.wait_order(orders[0]["id"], "paid")
    payment = shop.pay(orders[1]["id"], made.json()["id"])
    shop.wait_order(orders[1]["id"], "payment_failed")
    one.settle()
    assert shop.payment(payment["id"])["failure_code"] == "payment_method_not_allowed"


def test_an_order_that_closed_before_its_payment_began_is_not_charged(waiting):
    one, order, payment = waiting
    one.query("UPDATE orders SET order_status = 'expired' WHERE id = %s", order["id"])
    one.start_worker()

    wait_payment(one, payment, "failed")

    assert payment_of(one, payment)["failure_code"] == "order_closed"
    assert order_status(one, order) == "expired"
    assert not intents_posted(one)


def test_a_payment_older_than_its_key_is_looked_up_and_ends_failed_when_never_charged(waiting):
    one, order, payment = waiting
    was_sent(one, payment, hours=21)
    one.start_worker()

    wait_payment(one, payment, "failed")

    assert payment_of(one, payment)["failure_code"] == "never_charged"
    assert order_status(one, order) == "payment_failed"
    assert not intents_posted(one), "it is never sent again"


def test_a_payment_older_than_its_key_is_looked_up_and_ends_paid_when_charged(waiting):
    one, order, payment = waiting
    charge_at_the_gateway(one, payment)
    was_sent(one, payment, hours=21)
    one.start_worker()

    wait_payment(one, payment, "succeeded")

    assert order_status(one, order) == "paid"
    assert len(intents_posted(one)) == 1, "the first one alone"
    assert len(one.gateway.effective_charges()) == 1
    states = one.query("SELECT to_status FROM payment_events ORDER BY id")
    assert [row["to_status"] for row in states] == ["pending", "processing", "unknown", "succeeded"]


def test_a_payment_younger_than_its_key_is_sent_again_under_it(waiting):
    one, order, payment = waiting
    charge_at_the_gateway(one, payment)
    was_sent(one, payment, hours=19)
    one.start_worker()

    one.settle()

    assert order_status(one, order) == "paid"
    assert len({r["idempotency_key"] for r in intents_posted(one)}) == 1
    assert len(intents_posted(one)) == 2 and len(one.gateway.effective_charges()) == 1


def test_a_key_that_another_version_used_with_other_parameters_is_looked_up(waiting):
    one, order, payment = waiting
    charge_at_the_gateway(one, payment, description="an order")
    was_sent(one, payment, hours=1)
    one.start_worker()

    one.settle()

    assert order_status(one, order) == "paid"
    assert len(one.gateway.effective_charges()) == 1


def test_a_stored_500_that_hides_a_charge_is_found_out_by_looking_it_up(waiting):
    one, order, _ = waiting
    one.gateway.fault("status", status=500, when="after", path=INTENTS)
    one.start_worker()

    one.settle()

    assert order_status(one, order) == "paid"
    assert len(one.gateway.effective_charges()) == 1
    assert all(r["status"] == 500 for r in intents_posted(one)), "the gateway repeats it for ever"


def test_a_stored_500_that_hides_a_decline_is_found_out_by_looking_it_up(stack):
    """Before its attempts are used up, so that the customer can pay again."""
    one = stack().start(workers=0)
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 2))
    payment = shop.pay(order["id"], DECLINED)
    one.gateway.fault("status", status=500, when="after", path=INTENTS)
    one.start_worker()

    one.settle()

    assert payment_of(one, payment)["failure_code"] == "generic_decline"
    assert order_status(one, order) == "payment_failed"
    assert one.job(payment["task_id"])["state"] == "SUCCESS"
    assert all(r["status"] == 500 for r in intents_posted(one)), "the gateway repeats it for ever"


@pytest.fixture
def paid(stack):
    """A system, a member of its staff and a paid order."""
    one = stack().start()
    shop, staff = one.shop().sign_up(), one.shop().sign_up()
    one.query("UPDATE users SET is_staff = true WHERE email = %s", staff.email)
    order = shop.order((one.product(), 2))
    payment = shop.pay(order["id"])
    wait_payment(one, payment, "succeeded")
    return one, staff, order, payment


def refund(staff, order):
    return staff.expect(202, staff.post(f"/api/orders/{order['id']}/refund/", {}))["task_id"]


def post_refund(one, payment, **others):
    """As another version would have sent it."""
    row = payment_of(one, payment)
    form = {"payment_intent": row["gateway_reference"], "metadata[payment_id]": payment["id"], **others}
    request = urllib.request.Request(
        one.gateway.url + "/v1/refunds",
        urllib.parse.urlencode(form).encode(),
        {"Authorization": f"Bearer {SECRET_KEY}", "Idempotency-Key": str(row["refund_key"])},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["status"] == "succeeded"


def test_a_stored_500_that_hides_a_refund_is_found_out_by_looking_it_up(paid):
    one, staff, order, payment = paid
    one.gateway.fault("status", status=500, when="after", path="/v1/refunds")

    job = one.wait_job(refund(staff, order), "SUCCESS", "FAILURE", timeout=40)

    assert job["state"] == "SUCCESS", job["error"]
    assert payment_of(one, payment)["status"] == "refunded" and order_status(one, order) == "refunded"
    posted = [r["status"] for r in one.gateway.requests() if (r["method"], r["path"]) == ("POST", "/v1/refunds")]
    assert set(posted) == {500}, "the gateway repeats it for ever"


def test_a_refund_key_that_another_version_used_with_other_parameters_is_looked_up(paid):
    one, staff, order, payment = paid
    post_refund(one, payment, reason="requested_by_customer")

    job = one.wait_job(refund(staff, order), "SUCCESS", "FAILURE")

    assert job["state"] == "SUCCESS", job["error"]
    assert payment_of(one, payment)["status"] == "refunded"


def test_a_part_that_was_given_back_is_not_taken_for_the_whole(paid):
    one, staff, order, payment = paid
    post_refund(one, payment, amount=500)

    job = one.wait_job(refund(staff, order), "FAILURE")

    assert payment_of(one, payment)["status"] == "succeeded" and order_status(one, order) == "paid"
    assert "status 400" in job["error"]


def test_a_charge_of_another_amount_ends_unknown_and_calls_for_people(waiting):
    one, order, payment = waiting
    one.gateway.fault("wrong_amount", amount=1, path=INTENTS)
    one.start_worker()

    job = one.wait_job(payment["task_id"], "FAILURE")

    assert payment_of(one, payment)["status"] == "unknown"
    assert order_status(one, order) == "pending"
    assert payment["id"] in job["error"]

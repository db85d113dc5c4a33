"""Paying, Idempotency-Key, and what must never get in."""

import concurrent.futures
import time

import pytest
import requests

from harness.shop import PAID
from harness.wait import wait_for


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.fixture
def order(api, shop):
    return shop.order((api.product(stock=100, price="11.01"), 2))


CARD = {"payment_method": "card", "payment_token": PAID}


def test_a_payment_is_accepted_with_its_task(api, shop, order):
    answer = shop.post_payment(order["id"])
    payment = shop.expect(202, answer)
    assert answer.headers["Location"] == f"/api/payments/{payment['id']}/"
    assert list(payment) == [
        "id", "order_id", "payment_uuid", "payment_method", "payment_status", "status", "amount",
        "transaction_id", "created_at", "updated_at", "paid_at", "task_id",
    ]
    assert payment["payment_uuid"] == payment["id"]
    assert (payment["status"], payment["amount"], payment["paid_at"]) == ("pending", "22.02", None)
    job = api.job(payment["task_id"])
    assert (job["task"], job["queue"], job["args"], job["max_attempts"]) == (
        "payments.tasks.process_payment", "payments", [payment["id"]], 30,
    )
    entries = api.redis.xrange("till:{payments}:normal")
    assert [fields for _, fields in entries] in (
        [{"job": payment["task_id"]}], [{b"job": payment["task_id"].encode()}],
    )
    del payment["task_id"]
    assert shop.payment(payment["id"]) == payment
    assert shop.expect(200, shop.get("/api/payments/"))["results"] == [payment]


@pytest.mark.parametrize("path", ["/payment/pay", "/market/pay"])
def test_an_order_is_paid_by_its_path_and_by_form(api, shop, order, path):
    answer = requests.post(
        f"{api.api.url}{path}/{order['id']}/",
        data={"payment_method": "paypal", "payment_token": "pm_paypal"},
        headers={"Authorization": f"Bearer {shop.token}"},
    )
    payment = shop.expect(202, answer)
    assert (payment["order_id"], payment["payment_method"]) == (order["id"], "paypal")
    wrong = shop.get(f"{path}/{order['id']}/")
    assert error_of(wrong, 405) == {"detail": 'Method "GET" not allowed.'}
    assert wrong.headers["Allow"] == "POST, OPTIONS"


def test_what_is_wrong_with_a_payment_is_told(api, shop, order):
    pay = f"/payment/pay/{order['id']}/"
    required = ["This field is required."]
    assert error_of(shop.post(pay, {}), 400) == {"payment_method": required}
    assert error_of(shop.post("/api/payments/", {}), 400) == {
        "order_id": required, "payment_method": required,
    }
    assert error_of(shop.post(pay, {"payment_method": "cash"}), 400) == {
        "payment_method": ['"cash" is not a valid choice.']
    }
    assert error_of(shop.post(pay, {"payment_method": "card"}), 400) == {"payment_token": required}
    for token in ("tok_visa", "pm_", "pm_a b", "pm_" + "x" * 201):
        assert "payment_token" in error_of(shop.post(pay, {**CARD, "payment_token": token}), 400)
    unknown = {"payment_method": ['"cash" is not a valid choice.']}
    assert error_of(shop.post(pay, {**CARD, "payment_method": "cash"}), 400) == unknown
    assert error_of(shop.post("/api/payments/", {**CARD, "order_id": "x"}), 400) == {
        "order_id": ["Incorrect type. Expected pk value, received str."]
    }
    assert set(error_of(shop.post(pay, {"payment_method": "cash", "payment_token": "tok_visa"}), 400)) == {
        "payment_method", "payment_token",
    }
    assert error_of(shop.post("/payment/pay/abc/", CARD), 404)
    assert error_of(shop.post("/payment/pay/999999/", CARD), 404)
    assert error_of(shop.post_payment(999999), 400) == {
        "order_id": ['Invalid pk "999999" - object does not exist.']
    }
    assert api.value("SELECT count(*) FROM payments") == 0


def test_a_foreign_order_or_payment_does_not_exist(api, shop, order):
    payment = shop.pay(order["id"])
    other = api.shop().sign_up()
    assert error_of(other.post(f"/payment/pay/{order['id']}/", CARD), 404)
    assert error_of(other.post_payment(order["id"]), 400) == {
        "order_id": [f'Invalid pk "{order["id"]}" - object does not exist.']
    }
    assert error_of(other.get(f"/api/payments/{payment['id']}/"), 404)
    assert other.expect(200, other.get("/api/payments/"))["count"] == 0


def test_an_order_has_one_live_payment(api, shop, order):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda _: shop.another_session().post_payment(order["id"]), range(16))
        )
    assert sorted(a.status_code for a in answers) == [202] + [400] * 15
    refused = next(a for a in answers if a.status_code == 400).json()
    assert refused == {"order_id": ["A payment for this order is already in progress."]}
    assert api.value("SELECT count(*) FROM payments") == 1
    assert api.value("SELECT count(*) FROM jobs") == 1


def test_payments_are_filtered_and_ordered(api, shop):
    product = api.product(price="11.01")
    orders = [shop.order((product, 1))["id"] for _ in range(3)]
    made = [shop.pay(order)["id"] for order in orders]
    api.query("UPDATE payments SET status = 'failed', failure_code = 'a \"code\"' WHERE id = %s", made[1])
    other = api.shop().sign_up()
    other.pay(other.order((product, 1))["id"])

    def found(query):
        page = shop.expect(200, shop.get("/api/payments/?" + query))
        assert page["count"] == len(page["results"])
        for payment in page["results"]:
            assert payment == shop.payment(payment["id"])
            assert list(payment) == list(shop.payment(payment["id"]))
        return [payment["id"] for payment in page["results"]]

    assert found("") == found("ordering=created_at") == made
    assert found("ordering=-created_at") == made[::-1]
    assert found(f"order_id={orders[2]}") == made[2:]
    assert found("status=failed") == made[1:2]
    assert found("status=pending&ordering=-created_at") == [made[2], made[0]]
    assert found(f"status=failed&order_id={orders[0]}") == []
    second = shop.expect(200, shop.get("/api/payments/?page_size=2&status=pending&page=last"))
    assert ([payment["id"] for payment in second["results"]], second["count"]) == ([made[0], made[2]], 2)
    assert error_of(shop.get("/api/payments/?status=lost&order_id=x"), 400) == {
        "status": ['"lost" is not a valid choice.'],
        "order_id": ["Incorrect type. Expected pk value, received str."],
    }


@pytest.mark.parametrize(
    "status, text",
    [
        ("paid", "Order is already paid."),
        ("cancelled", "Order is cancelled."),
        ("expired", "Order has expired."),
    ],
)
def test_an_order_that_is_over_is_not_paid(api, shop, order, status, text):
    api.query("UPDATE orders SET order_status = %s", status)
    assert error_of(shop.post_payment(order["id"]), 400) == {"order_id": [text]}


def test_a_declined_order_can_be_paid_again(api, shop, order):
    first = shop.pay(order["id"])
    api.query("UPDATE payments SET status = 'failed', failure_code = 'card_declined'")
    api.query("UPDATE orders SET order_status = 'payment_failed'")
    assert shop.payment(first["id"])["failure_code"] == "card_declined"
    assert shop.pay(order["id"])["id"] != first["id"]
    assert shop.order_status(order["id"]) == "pending"
    keys = api.query("SELECT idempotency_key, refund_key FROM payments")
    assert len({str(k) for row in keys for k in row.values()}) == 4


# ---- Idempotency-Key ----


def key(text):
    return {"headers": {"Idempotency-Key": text}}


def test_a_key_gives_the_first_answer_again(api, shop):
    product = api.product(stock=10)
    first = shop.post_order((product, 1), **key("k1"))
    again = shop.post_order((product, 1), **key("k1"))
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert error_of(shop.post_order((product, 2), **key("k1")), 422)
    assert api.value("SELECT count(*) FROM orders") == 1
    other = api.shop().sign_up()
    assert other.post_order((product, 2), **key("k1")).status_code == 201


def test_a_key_covers_payments_with_their_location(api, shop, order):
    first = shop.post_payment(order["id"], **key("pay 1"))
    again = shop.post_payment(order["id"], **key("pay 1"))
    assert first.status_code == again.status_code == 202
    assert first.content == again.content
    assert first.headers["Location"] == again.headers["Location"]
    path = f"/payment/pay/{order['id']}/"
    assert error_of(shop.post(path, CARD, **key("pay 1")), 422)
    assert api.value("SELECT count(*) FROM jobs") == 1


def test_a_refusal_is_not_kept(api, shop):
    product = api.product(stock=0)
    assert error_of(shop.post_order((product, 1), **key("k")), 400)
    api.query("UPDATE products SET stock_quantity = 1")
    assert shop.post_order((product, 1), **key("k")).status_code == 201


@pytest.mark.parametrize("wrong", ["", "x" * 256, "a\tb", "ü".encode("latin-1")])
def test_a_bad_key_is_refused(api, shop, wrong):
    answer = shop.post_order((api.product(), 1), **key(wrong))
    assert answer.status_code == 400
    assert api.value("SELECT count(*) FROM orders") == 0


def test_the_same_key_at_once_makes_one_order(api, shop):
    product = api.product(stock=100)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(
                lambda _: shop.another_session().post_order((product, 1), **key("same")), range(20)
            )
        )
    assert {a.status_code for a in answers} <= {201, 409}
    assert len({a.content for a in answers if a.status_code == 201}) == 1
    for answer in answers:
        assert answer.status_code == 201 or answer.headers["Retry-After"] == "1"
    assert api.value("SELECT count(*) FROM orders") == 1
    assert shop.post_order((product, 1), **key("same")).headers["Idempotent-Replayed"] == "true"


def test_a_request_that_still_runs_holds_its_key(api, shop):
    product = api.product(stock=5)
    with api.postgres.connect(api.database) as connection:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM products WHERE id = %s FOR UPDATE", [product])
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                first = pool.submit(shop.another_session().post_order, (product, 1), **key("k"))
                wait_for(
                    lambda: api.value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0,
                    10,
                    "the first request never waited",
                )
                second = shop.post_order((product, 1), **key("k"))
                connection.commit()
                assert first.result().status_code == 201
    assert error_of(second, 409)
    assert second.headers["Retry-After"] == "1"
    connection.close()


def test_a_killed_api_leaves_an_order_and_its_answer_or_neither(api, shop):
    product = api.product(stock=100000)
    sent = []

    def buy(thread):
        mine = shop.another_session()
        for number in range(100000):
            name = f"{thread}-{number}"
            sent.append(name)
            try:
                assert mine.post_order((product, 1), **key(name)).status_code == 201
            except requests.exceptions.ConnectionError:
                return

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for thread in range(8):
            pool.submit(buy, thread)
        wait_for(lambda: len(sent) > 200, 20, "the load never began")
        api.api.kill()
    sessions = "SELECT FROM pg_stat_activity WHERE application_name = 'till-api' AND datname = current_database()"
    wait_for(lambda: not api.query(sessions), 30, "what it has sent last is still being done")
    kept = "SELECT count(*) FROM idempotency_keys"
    assert api.value("SELECT count(*) FROM orders") == api.value(kept) <= len(sent)
    api.start_api()
    for name in sent:
        assert shop.post_order((product, 1), **key(name)).status_code == 201
    assert api.value("SELECT count(*) FROM orders") == api.value(kept) == len(sent)
    assert api.value("SELECT stock_quantity FROM products") == 100000 - len(sent)


# ---- what must never get in ----

NUMBERS = ["4242424242424242", "4242 4242 4242 4242", "5555-5555-5555-4444", "378282246310005"]


def card_requests(number, order_id):
    """Every place in which a client may put a card number."""
    pay = f"/payment/pay/{order_id}/"
    yield "POST", pay, {**CARD, "card_number": number}, {}
    yield "POST", pay, {**CARD, "note": [{"deep": f"my card is {number}."}]}, {}
    yield "POST", pay, {**CARD, number: "x"}, {}
    yield "POST", pay, {**CARD, "payment_token": "pm_" + number.replace(" ", "").replace("-", "")}, {}
    yield "POST", pay + "?card=" + number.replace(" ", "%20"), CARD, {}
    yield "GET", "/api/orders/?q=" + number.replace(" ", "+"), None, {}
    yield "GET", f"/api/payments/{number.replace(' ', '%20')}/", None, {}
    yield "POST", "/api/orders/", {"items": []}, {"Idempotency-Key": number}
    yield "POST", "/api/auth/register/", {"username": number, "email": "a@b.co", "password": "x"}, {}


@pytest.mark.parametrize("number", NUMBERS)
def test_card_numbers_are_refused_and_kept_nowhere(api, shop, order, number):
    for method, path, body, headers in card_requests(number, order["id"]):
        answer = shop.call(method, path, body, headers=headers)
        assert "payment_token" in error_of(answer, 422)["detail"], (method, path, body)
        assert number not in answer.text
    digits = int(number.replace(" ", "").replace("-", ""))
    assert error_of(shop.post("/api/payments/", {**CARD, "order_id": digits}), 422)
    for field in ("card_cvc", "cvc", "card_expiry", "CARD_NUMBER"):
        assert error_of(shop.post(f"/payment/pay/{order['id']}/", {**CARD, field: "123"}), 422)
    form = requests.post(
        f"{api.api.url}/payment/pay/{order['id']}/",
        data={**CARD, "x": number},
        headers={"Authorization": f"Bearer {shop.token}", "X-Request-Id": number.replace(" ", "")},
    )
    assert error_of(form, 422)
    assert number.replace(" ", "") not in form.headers["X-Request-Id"]
    wait_for(
        lambda: "".join(api.logs().values()).count('"status":422') == 15,
        10,
        "the log is not complete",
    )
    log = "".join(api.logs().values())
    for form_of in (number, str(digits)):
        assert form_of not in log
    assert api.value("SELECT count(*) FROM payments") == 0
    assert api.value("SELECT count(*) FROM idempotency_keys") == 0
    assert not api.redis.keys("*")


def test_uuids_are_not_mistaken_for_cards(api, shop, order):
    digits = "42424242-4242-4242-8000-000000000000"
    assert error_of(shop.get(f"/api/payments/{digits}/"), 404)
    assert shop.post_payment(order["id"], **key(digits)).status_code == 202


# ---- faults ----


def test_without_redis_everything_is_accepted(stack):
    api = stack(own_redis=True)
    api.start_api()
    shop = api.shop().sign_up()
    product = api.product()
    api.redis_server.stop()
    slowest = 0
    for _ in range(5):
        began = time.monotonic()
        shop.pay(shop.order((product, 1))["id"])
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 2
    ready = shop.expect(200, shop.get("/readyz"))
    assert (ready["database"], ready["redis"]) == ("ok", "unavailable")
    assert api.value("SELECT count(*) FROM jobs WHERE enqueued_at IS NOT NULL") == 5


def test_a_restarted_database_is_found_again(stack):
    api = stack(own_postgres=True)
    api.start_api()
    shop = api.shop().sign_up()
    product = api.product()
    shop.order((product, 1))
    api.postgres.stop("fast")
    gone = shop.get("/api/orders/")
    assert gone.status_code == 503 and gone.headers["Retry-After"] == "1"
    assert "database" not in gone.text and "connect" not in gone.text
    assert shop.get("/readyz").status_code == 503
    assert shop.get("/healthz").status_code == 200
    api.postgres.start()
    wait_for(lambda: shop.get("/readyz").status_code == 200, 15, "never ready again")
    wait_for(lambda: shop.post_order((product, 1)).status_code == 201, 15, "never accepted again")

"""The checkout from registration to the mail, and what may go wrong with card, gateway and mail."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.gateway import SECRET_KEY
from harness.shop import DECLINED, NO_FUNDS, PAID
from harness.wait import wait_for


@pytest.fixture
def one(stack):
    return stack().start()


def attempts_of(one, order_id):
    return one.query("SELECT * FROM payments WHERE order_id = %s ORDER BY created_at", order_id)


def test_a_checkout_ends_with_a_paid_order_one_charge_and_a_mail(one):
    tea = one.product(stock=5, price="7.25", name="Green tea")
    cup = one.product(stock=3, price="12.00", name="Cup")
    shop = one.shop()
    user = shop.register(first_name="Ada", last_name="Lovelace")
    tokens = shop.login()
    assert {"access", "refresh"} <= set(tokens)

    order = shop.order((tea, 2), (cup, 1))
    assert (order["order_status"], order["total_amount"]) == ("pending", "26.50")
    assert {(i["product_id"], i["quantity"], i["price"]) for i in order["items"]} == {
        (tea, 2, "7.25"),
        (cup, 1, "12.00"),
    }
    assert one.value("SELECT stock_quantity FROM products WHERE id = %s", tea) == 3

    answer = shop.post_payment(order["id"])
    payment = shop.expect(202, answer)
    assert answer.headers["Location"].endswith(f"/api/payments/{payment['id']}/")
    assert one.job(payment["task_id"])["task"] == "payments.tasks.process_payment"
    assert payment["amount"] == "26.50"

    shop.wait_order(order["id"], "paid")
    assert shop.payment(payment["id"])["status"] == "succeeded"
    one.settle()
    (charge,) = one.gateway.effective_charges()
    assert (charge["amount"], charge["currency"]) == (2650, "usd")
    (mail,) = one.mail.messages()
    assert mail.recipients == [shop.email]
    assert one.value("SELECT count(*) FROM orders WHERE user_id = %s", user["id"]) == 1


@pytest.mark.parametrize("given", ["theirs", "none", "broken"])
def test_a_trace_goes_from_the_request_to_gateway_mail_and_log(one, given):
    theirs = uuid.uuid4().hex
    traceparent = f"00-{theirs}-00f067aa0ba902b7-01"
    headers = {
        "theirs": {"traceparent": traceparent},
        "none": {},
        "broken": {"traceparent": traceparent.upper()},
    }[given]
    shop = one.shop().sign_up()
    order = shop.order((one.product(price="19.99"), 1))

    answer = shop.post_payment(order["id"], headers=headers)
    payment = shop.expect(202, answer)
    shop.wait_order(order["id"], "paid")
    one.settle()

    trace_id = one.job(payment["task_id"])["traceparent"].split("-")[1]
    ours = answer.headers["X-Request-Id"].replace("-", "")
    assert trace_id == (theirs if given == "theirs" else ours)
    (call,) = [r["headers"]["traceparent"] for r in one.gateway.requests() if r["method"] == "POST"]
    version, called, span, flags = call.split("-")
    assert (version, called, flags) == ("00", trace_id, "01")
    assert span not in ("00f067aa0ba902b7", one.job(payment["task_id"])["traceparent"].split("-")[2])
    (mail,) = one.mail.messages()
    assert mail.header("X-Till-Trace-Id") == [trace_id]
    tasks = [row["task"] for row in one.query("SELECT task FROM jobs WHERE traceparent LIKE %s", f"%{trace_id}%")]
    assert sorted(tasks) == [
        "payments.tasks.process_payment",
        "payments.tasks.send_order_confirmation_email",
    ]
    for task in tasks:
        assert one.worker.wait_for_log("job_done", task=task)["trace_id"] == trace_id
    assert one.api.wait_for_log("request", trace_id=trace_id)["status"] == 202


def test_headers_named_x_go_with_the_job_to_gateway_follow_up_and_mail(stack):
    one = stack()
    one.start(workers=0)
    shop = one.shop().sign_up()
    order = shop.order((one.product(price="19.99"), 1))
    payment = shop.expect(202, shop.post_payment(order["id"]))
    headers = {
        "X-Tenant": "seven", "tenant": "not for others", "X-Session-Token": "hush-hush",
        "X-Evil": "a\r\nBcc: eve@example.com", "X-Till-Trace-Id": "forged",
    }  # fmt: skip
    one.query("UPDATE jobs SET headers = %s WHERE id = %s", json.dumps(headers), payment["task_id"])

    one.start_worker()
    shop.wait_order(order["id"], "paid")
    one.settle()

    (call,) = [r["headers"] for r in one.gateway.requests() if r["method"] == "POST"]
    sent = {name.lower(): value for name, value in call.items() if name.lower().startswith("x-")}
    assert sent == {"x-tenant": "seven"}
    (mail,) = one.mail.messages()
    assert mail.header("X-Tenant") == ["seven"]
    assert not mail.header("X-Evil") and not mail.header("Bcc") and not mail.header("X-Session-Token")
    assert "forged" not in mail.header("X-Till-Trace-Id")
    (follow_up,) = one.query("SELECT headers FROM jobs WHERE task LIKE '%%confirmation%%'")
    assert follow_up["headers"] == {"X-Tenant": "seven"}
    line = one.worker.wait_for_log("job_done", task="payments.tasks.send_order_confirmation_email")
    assert line["headers"] == {"X-Tenant": "seven"}


def test_the_mail_has_items_total_and_a_fixed_message_id_in_text_and_html(one):
    product = one.product(price="19.99", name="Blue <b>kettle</b> & lid")
    shop = one.shop().sign_up()
    order = shop.order((product, 3))
    shop.pay(order["id"])
    shop.wait_order(order["id"], "paid")
    one.settle()

    (mail,) = one.mail.messages()
    assert mail.header("Content-Type")[0].startswith("multipart/alternative")
    for body in (mail.text, mail.html):
        assert str(order["id"]) in body
        assert "59.97" in body
        assert "19.99" in body
        assert "kettle" in body
    assert "Blue <b>kettle</b> & lid" in mail.text
    assert "&lt;b&gt;kettle&lt;/b&gt; &amp; lid" in mail.html
    job = one.query("SELECT id FROM jobs WHERE queue = 'mail'")[0]
    assert len(mail.header("Message-ID")) == 1
    assert str(job["id"]) in mail.message_id
    assert len(mail.header("Date")) == len(mail.header("From")) == len(mail.header("To")) == 1
    assert mail.sender == "shop@till.example"
    assert mail.order_id == order["id"]


@pytest.mark.parametrize(
    "name",
    ["Evil\r\nBcc: victim@example.com", "Evil\nX-Injected: yes", "Evil\r\n\r\nbody of my own"],
)
def test_no_header_gets_into_a_mail_through_names(one, name):
    product = one.product(name=name)
    shop = one.shop().sign_up()
    one.query(
        "UPDATE users SET first_name = %s, username = %s WHERE lower(email) = lower(%s)",
        name, name, shop.email,
    )  # fmt: skip
    order = shop.order((product, 1))
    shop.pay(order["id"])
    shop.wait_order(order["id"], "paid")
    one.settle()

    (mail,) = one.mail.messages()
    assert mail.recipients == [shop.email]
    names = {key.lower() for key, _ in mail.headers}
    assert not names & {"bcc", "cc", "x-injected"}
    assert mail.text and mail.html


@pytest.mark.parametrize("token, code", [(DECLINED, "card_declined"), (NO_FUNDS, None)])
def test_a_declined_card_fails_the_payment_and_the_order_can_be_paid_again(one, token, code):
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))

    first = shop.pay(order["id"], token)
    shop.wait_order(order["id"], "payment_failed")
    assert shop.payment(first["id"])["status"] == "failed"
    assert one.job(first["task_id"])["state"] == "SUCCESS", "declined is an answer"
    assert one.mail.messages() == []

    second = shop.pay(order["id"], PAID)
    shop.wait_order(order["id"], "paid")
    one.settle()

    assert first["id"] != second["id"]
    rows = attempts_of(one, order["id"])
    assert [row["status"] for row in rows] == ["failed", "succeeded"]
    assert rows[0]["idempotency_key"] != rows[1]["idempotency_key"]
    assert rows[0]["failure_code"]
    if code:
        assert rows[0]["failure_code"] in (code, "generic_decline")


def test_a_paid_order_cannot_be_paid_again(one):
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))
    shop.pay(order["id"])
    shop.wait_order(order["id"], "paid")

    answer = shop.post_payment(order["id"])

    assert 400 <= answer.status_code < 500
    one.settle()


def test_ten_payments_of_one_order_at_once_charge_once(one):
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))
    sessions = [shop.another_session() for _ in range(10)]

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda s: s.post_payment(order["id"]).status_code, sessions))

    assert answers.count(202) == 1
    assert all(400 <= code < 500 for code in answers if code != 202)
    shop.wait_order(order["id"], "paid")
    one.settle()


def test_pay_by_the_orders_path(one):
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))

    answer = shop.post(
        f"/payment/pay/{order['id']}/", {"payment_method": "card", "payment_token": PAID}
    )

    shop.expect(202, answer)
    shop.wait_order(order["id"], "paid")
    one.settle()


# ---- the gateway has its moods ----


FAULTS = [
    {"action": "status", "status": 500, "times": 2},
    {"action": "status", "status": 500, "when": "after", "times": 2},
    {"action": "status", "status": 503, "times": 3},
    {"action": "status", "status": 429, "retry_after": 1},
    {"action": "status", "status": 409},
    {"action": "drop_before", "times": 2},
    {"action": "drop_after", "times": 2},
    {"action": "reset", "when": "after"},
    {"action": "truncate"},
    {"action": "garbage"},
    {"action": "wrong_content_type", "content_type": "text/html"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: "-".join(map(str, f.values())))
def test_a_gateway_that_fails_for_a_while_is_asked_again_with_the_same_key(one, fault):
    one.gateway.fault(**fault, method="POST", path="/v1/payment_intents")
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))

    payment = shop.pay(order["id"])
    shop.wait_order(order["id"], "paid", timeout=30)
    one.settle()

    asked = [r for r in one.gateway.requests() if r["path"] == "/v1/payment_intents"]
    keys = {r["idempotency_key"] for r in asked if r["method"] == "POST"}
    assert keys == {str(attempts_of(one, order["id"])[0]["idempotency_key"])}
    assert len([r for r in asked if r["fault"]]) == fault.get("times", 1)
    errors = one.query("SELECT error FROM job_errors WHERE job_id = %s", payment["task_id"])
    assert errors and SECRET_KEY not in str(errors)


def test_a_charge_of_another_amount_is_never_taken_for_a_payment(one):
    one.gateway.fault("wrong_amount", amount=1, path="/v1/payment_intents")
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))
    payment = shop.pay(order["id"])

    job = one.wait_job(payment["task_id"], "SUCCESS", "FAILURE", "RETRY")

    row = attempts_of(one, order["id"])[0]
    assert row["status"] != "succeeded" or job["attempt"] > 1, "only a right answer later may settle"
    assert len(one.gateway.effective_charges()) <= 1


def test_a_fresh_connection_for_each_call_so_that_nothing_is_sent_twice(one):
    shop = one.shop().sign_up()
    for _ in range(3):
        order = shop.order((one.product(), 1))
        shop.pay(order["id"])
        shop.wait_order(order["id"], "paid")
    one.settle()

    posts = [r for r in one.gateway.requests() if r["method"] == "POST"]
    assert [r["request_on_connection"] for r in posts] == [1] * len(posts)


# ---- so has the mail server ----


@pytest.mark.parametrize(
    "fault", ["greet_421", "greylist", "mail_from_451", "data_451", "drop_before_data", "refuse"]
)
def test_a_mail_that_was_not_taken_is_sent_again(one, fault):
    # A worker may look whether the server is there before it begins, which uses up the first.
    one.mail.fault(fault, times=2 if fault in ("greet_421", "refuse") else 1)
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))
    shop.pay(order["id"])
    shop.wait_order(order["id"], "paid")

    one.settle()

    job = one.query("SELECT attempt FROM jobs WHERE queue = 'mail'")[0]
    assert job["attempt"] >= 2


def test_a_mail_whose_taking_is_not_known_is_sent_again_under_the_same_id(one):
    one.mail.fault("drop_after_data")
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))
    shop.pay(order["id"])
    shop.wait_order(order["id"], "paid")

    one.settle(extra_mails=True)

    mails = one.mail.messages()
    assert len(mails) == 2
    assert len({mail.message_id for mail in mails}) == 1


def test_an_address_that_is_refused_for_good_ends_the_job_at_once(one):
    shop = one.shop().sign_up()
    one.mail.fault("rcpt", rcpt={shop.email: [550, "5.1.1 No such user"]}, times=-1)
    order = shop.order((one.product(), 1))
    shop.pay(order["id"])
    shop.wait_order(order["id"], "paid")

    wait_for(
        lambda: one.query("SELECT 1 FROM jobs WHERE queue = 'mail' AND state = 'FAILURE'"),
        20,
        "the mail job never ended",
    )

    job = one.query("SELECT attempt, error FROM jobs WHERE queue = 'mail'")[0]
    assert job["attempt"] == 1
    assert "550" in job["error"]


# ---- orders ----


def test_an_order_beyond_the_stock_is_refused_whole(one):
    plenty, scarce = one.product(stock=10), one.product(stock=1)
    shop = one.shop().sign_up()

    answer = shop.post_order((plenty, 2), (scarce, 2))

    assert 400 <= answer.status_code < 500
    assert one.value("SELECT count(*) FROM orders") == 0
    assert one.value("SELECT sum(stock_quantity) FROM products") == 11


@pytest.mark.parametrize(
    "items",
    [
        [],
        [{"product_id": 999999999, "quantity": 1}],
        [{"product_id": None, "quantity": 1}],
        [{"product_id": 1, "quantity": 0}],
        [{"product_id": 1, "quantity": -1}],
        [{"product_id": 1, "quantity": 1.5}],
        [{"product_id": 1, "quantity": 99999999999}],
        "not a list",
        None,
    ],
)
def test_an_order_that_makes_no_sense_is_refused(one, items):
    one.product()
    shop = one.shop().sign_up()

    answer = shop.post("/api/orders/", {"items": items})

    assert 400 <= answer.status_code < 500
    assert one.value("SELECT count(*) FROM orders") == 0


def test_the_price_of_an_order_stays_what_it_was(one):
    product = one.product(price="10.00")
    shop = one.shop().sign_up()
    order = shop.order((product, 1))

    one.query("UPDATE products SET price = 99 WHERE id = %s", product)
    shop.pay(order["id"])
    shop.wait_order(order["id"], "paid")
    one.settle()

    assert one.gateway.effective_charges()[0]["amount"] == 1000


def test_somebody_elses_order_and_payment_are_not_found(one):
    owner, other = one.shop().sign_up(), one.shop().sign_up()
    order = owner.order((one.product(), 1))
    payment = owner.pay(order["id"])
    owner.wait_order(order["id"], "paid")

    for path in (f"/api/orders/{order['id']}/", f"/api/payments/{payment['id']}/"):
        assert owner.get(path).status_code == 200
        assert other.get(path).status_code == 404
    assert other.post_payment(order["id"]).status_code in (400, 404)
    assert other.expect(200, other.get("/api/orders/"))["count"] == 0


def test_without_a_token_nothing_is_ordered(one):
    shop = one.shop()

    answer = shop.post_order((one.product(), 1))

    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers


# ---- Idempotency-Key ----


def test_the_same_key_and_body_get_the_first_answer_again(one):
    shop = one.shop().sign_up()
    product = one.product(stock=10)
    key = {"Idempotency-Key": str(uuid.uuid4())}

    first, second = (shop.post_order((product, 1), headers=key) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()

    other = shop.post_order((product, 2), headers=key)
    assert other.status_code == 422

    key = {"Idempotency-Key": str(uuid.uuid4())}
    order = first.json()["id"]
    payments = [shop.post_payment(order, headers=key) for _ in range(2)]
    assert [p.status_code for p in payments] == [202, 202]
    assert payments[0].json()["id"] == payments[1].json()["id"]
    shop.wait_order(order, "paid")
    one.settle()
    assert one.value("SELECT count(*) FROM orders") == 1


def test_the_same_key_twenty_times_at_once_makes_one_order(one):
    shop = one.shop().sign_up()
    product = one.product(stock=100)
    key = {"Idempotency-Key": str(uuid.uuid4())}
    sessions = [shop.another_session() for _ in range(20)]

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda s: s.post_order((product, 1), headers=key), sessions))

    assert {answer.status_code for answer in answers} <= {201, 409}
    made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert len(made) == 1
    assert one.value("SELECT count(*) FROM orders") == 1
    assert one.value("SELECT stock_quantity FROM products WHERE id = %s", product) == 99


# ---- health ----


def test_health_and_readiness(stack):
    one = stack(own_postgres=True)
    api = one.start_api()
    shop = one.shop()
    assert shop.get("/healthz").status_code == 200
    assert shop.get("/readyz").status_code == 200

    one.postgres.stop()
    wait_for(lambda: shop.get("/readyz").status_code == 503, 20, "ready without a database")
    assert shop.get("/healthz").status_code == 200

    one.postgres.start()
    wait_for(lambda: shop.get("/readyz").status_code == 200, 20, "never ready again")
    api.term_and_wait()

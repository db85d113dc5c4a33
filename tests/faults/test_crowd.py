"""Many customers at once over scarce goods."""

import random
import uuid
from concurrent.futures import ThreadPoolExecutor

import requests

from harness.shop import DECLINED, NO_FUNDS, PAID

CHECKOUTS = 200
PRODUCTS = 20
STOCK = 9


def sent(post, *what):
    """As a good client sends: once more under the same key if its kept connection was ended in the very
    moment, which happens to those who are slow while more clients than threads want in."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    try:
        return post(*what, headers=headers)
    except requests.ConnectionError:
        return post(*what, headers=headers)


def test_200_checkouts_at_once_oversell_nothing_and_charge_each_payment_once(stack):
    one = stack().start(apis=1, workers=2)
    chooser = random.Random(2)
    products = [one.product(stock=STOCK, price=f"{n + 3}.10") for n in range(PRODUCTS)]
    customers = [one.shop().sign_up() for _ in range(10)]

    def plan(number):
        chosen = chooser.sample(products, chooser.randint(1, 3))
        card = chooser.choice([PAID] * 8 + [DECLINED, NO_FUNDS])
        return customers[number % 10].another_session(), [(p, chooser.randint(1, 2)) for p in chosen], card

    def check_out(plan):
        shop, lines, card = plan
        answer = sent(shop.post_order, *lines)
        if answer.status_code != 201:
            return answer.status_code, None
        payment = sent(shop.post_payment, answer.json()["id"], card)
        return 201, shop.expect(202, payment)["id"]

    with ThreadPoolExecutor(CHECKOUTS) as pool:
        outcomes = list(pool.map(check_out, [plan(n) for n in range(CHECKOUTS)]))

    accepted = [payment for code, payment in outcomes if payment]
    refused = [code for code, payment in outcomes if not payment]
    assert len(accepted) > 30 and len(refused) > 30, "both must happen for this to prove anything"
    assert {400, 409, 422} >= set(refused)
    one.settle(timeout=60)
    statuses = one.query("SELECT status, count(*) FROM payments GROUP BY 1")
    assert {row["status"] for row in statuses} == {"succeeded", "failed"}
    assert sum(row["count"] for row in statuses) == len(accepted)
    posts = {r["idempotency_key"] for r in one.gateway.requests() if r["method"] == "POST"}
    assert len(posts) == len(accepted)


def test_64_customers_and_one_last_piece(stack):
    one = stack().start()
    product = one.product(stock=1)
    shop = one.shop().sign_up()
    sessions = [shop.another_session() for _ in range(64)]

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda s: s.post_order((product, 1)), sessions))

    won = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert len(won) == 1
    assert all(answer.status_code in (201, 400, 409, 422) for answer in answers)
    shop.pay(won[0])
    one.settle()

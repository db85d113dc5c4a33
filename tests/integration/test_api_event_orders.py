"""Every order in which the gateway's events and a worker's own answer can come leads to one end: what
was charged, what was given back, what the stock and the customer's mail say.

Each payment starts as one whose worker was killed after the charge: the gateway has made it under the
payment's key, and nothing of it is known here. The events are the gateway's own. Some come before the
next worker asks the gateway again, the others after it; then all come once more, in another order."""

import itertools
import json

import pytest
import requests

from harness.gateway import SECRET_KEY, WEBHOOK_SECRET
from harness.shop import DECLINED, PAID
from integration.test_api_webhooks import accepted, post

WORKER = "worker"


class Books:
    def __init__(self, one):
        self.one = one
        self.shop = one.shop().sign_up()

    def gateway(self, method, path, values=(), key=None):
        headers = {"Authorization": f"Bearer {SECRET_KEY}"} | ({"Idempotency-Key": key} if key else {})
        answer = requests.request(
            method, self.one.gateway.url + path, data=dict(values), headers=headers, timeout=30
        )
        return answer.json()

    def charge(self, card):
        """The id of a payment that was sent, with the intent that came of it."""
        order = self.shop.order((self.one.product(stock=5, price="10.00"), 2))
        payment = self.shop.pay(order["id"], card)["id"]
        key = self.one.value("SELECT idempotency_key FROM payments WHERE id = %s", payment)
        self.one.query(
            "UPDATE payments SET status = 'processing', first_sent_at = now() WHERE id = %s", payment
        )
        self.gateway(
            "POST", "/v1/payment_intents",
            [
                ("amount", 2000), ("currency", "usd"), ("payment_method", card), ("confirm", "true"),
                ("payment_method_types[0]", "card"), ("metadata[order_id]", order["id"]),
                ("metadata[payment_id]", payment),
            ],
            key,
        )
        return payment, self.intent_of(payment)

    def intent_of(self, payment):
        """By its metadata, as a worker looks for it."""
        intents = self.gateway("GET", "/v1/payment_intents?limit=1")["data"]
        assert intents[0]["metadata"]["payment_id"] == payment
        return intents[0]["id"]

    def event(self, kind, intent):
        """The newest event of this kind about it, as the gateway has it."""
        for event in self.gateway("GET", f"/v1/events?limit=20&type={kind}")["data"]:
            thing = event["data"]["object"]
            if intent in (thing["id"], thing.get("payment_intent")):
                return event
        raise AssertionError(f"the gateway has no {kind} about {intent}")

    def pay_back(self, intent):
        refund = self.gateway("POST", "/v1/refunds", {"payment_intent": intent})
        self.gateway("POST", f"/v1/refunds/{refund['id']}", {"metadata[by]": "hand"})


def paid(books):
    payment, intent = books.charge(PAID)
    return payment, [books.event(kind, intent) for kind in ("charge.succeeded", "payment_intent.succeeded")]


def paid_back(books):
    payment, intent = books.charge(PAID)
    books.pay_back(intent)
    kinds = ("payment_intent.succeeded", "charge.refunded", "refund.updated")
    return payment, [books.event(kind, intent) for kind in kinds]


def paid_back_in_vain(books):
    """The bank did not take it: the gateway says so of the refund, under three names."""
    payment, events = paid_back(books)
    failed = events.pop()
    refund = {**failed["data"]["object"], "status": "failed", "failure_reason": "lost_or_stolen_card"}
    failed = {**failed, "id": failed["id"] + "x", "type": "refund.failed", "data": {"object": refund}}
    return payment, [*events, failed]


def cancelled_and_paid_back(books):
    payment, events = paid_back(books)
    order = books.one.value("SELECT order_id FROM payments WHERE id = %s", payment)
    books.shop.expect(200, books.shop.post(f"/api/orders/{order}/cancel/", {}))
    return payment, events[:2]


def declined(books):
    payment, intent = books.charge(DECLINED)
    books.gateway("POST", f"/v1/payment_intents/{intent}/cancel")
    kinds = ("payment_intent.payment_failed", "payment_intent.canceled")
    return payment, [books.event(kind, intent) for kind in kinds]


# What is left of a payment: its status, the order's, the stock of 5 of which 2 were sold, mails, why it failed
STORIES = {
    paid: ("succeeded", "paid", 3, 1, None),
    paid_back: ("refunded", "refunded", 5, 1, None),
    paid_back_in_vain: ("refunded", "refunded", 5, 1, None),
    cancelled_and_paid_back: ("refunded", "cancelled", 5, 0, None),
    declined: ("failed", "payment_failed", 3, 0, "generic_decline"),
}


def end_of(one, payment):
    (row,) = one.query(
        "SELECT p.status, o.order_status, s.stock_quantity, p.failure_code, o.id FROM payments p"
        " JOIN orders o ON o.id = p.order_id JOIN order_items i ON i.order_id = o.id"
        " JOIN products s ON s.id = i.product_id WHERE p.id = %s",
        payment,
    )
    mails = sum(mail.order_id == row["id"] for mail in one.mail.messages())
    return row["status"], row["order_status"], row["stock_quantity"], mails, row["failure_code"]


def send(one, events):
    for event in events:
        accepted(post(one, event))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_any_order_of_events_and_answers_has_one_end(stack, story):
    one = stack({"GATEWAY_WEBHOOK_SECRET": WEBHOOK_SECRET})
    one.start_api()
    one.start_scheduler()
    books = Books(one)
    first = story(books)
    made = {}
    for order in itertools.permutations([*range(len(first[1])), WORKER]):
        payment, events = story(books) if made else first
        at = order.index(WORKER)
        send(one, [events[step] for step in order[:at]])
        made[payment] = (order, [events[step] for step in order[at + 1 :]], events)
    one.start_worker()
    one.wait_settled(60)
    for order, later, events in made.values():
        send(one, later)
        send(one, reversed(events))
        send(one, [{**event, "id": event["id"] + "again"} for event in events])
    one.settle(60, unpaid=True)
    ends = {json.dumps(order): end_of(one, payment) for payment, (order, _, _) in made.items()}
    assert ends == dict.fromkeys(ends, STORIES[story])
    refused = one.query("SELECT DISTINCT type FROM gateway_events WHERE outcome = 'refused'")
    assert [row["type"] for row in refused] == (["refund.failed"] if story is paid_back_in_vain else [])

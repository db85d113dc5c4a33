"""Money while everybody pulls at it: each order is sent three times at once, paid six times at once by cards
that are good or not, now and then cancelled or paid back in the same moment; its prices change meanwhile, the
gateway fails and sends its events again in any order, and programs are killed. MONEY_STORM_SECONDS and
MONEY_STORM_SEED."""

import concurrent.futures
import os
import random
import threading
import time
import uuid

import pytest
import requests

from harness import faults_report
from harness.gateway import WEBHOOK_SECRET
from harness.shop import DECLINED, NO_FUNDS, PAID
from harness.wait import SLOWNESS, pause

SECONDS = float(os.environ.get("MONEY_STORM_SECONDS", faults_report.pick("15", "300")))
SEED = int(os.environ.get("MONEY_STORM_SEED", "20261123"))
HOOK = "/api/webhooks/stripe/"
LATER = (429, 502, 503, 504)
FAULTS = (
    ("drop_after", {}),
    ("drop_before", {}),
    ("status", {"status": 500, "when": "before"}),
    ("status", {"status": 500, "when": "after"}),
    ("status", {"status": 429}),
    ("latency", {"seconds": 1}),
    ("truncate", {}),
)


class Storm:
    def __init__(self, one):
        self.one = one
        self.products = [one.product(stock=60 if n < 2 else 100000, price=f"{n + 1}.25") for n in range(6)]
        self.staff = one.shop().sign_up()
        one.query("UPDATE users SET is_staff = true WHERE email = %s", self.staff.email)
        self.accounts = [one.shop().sign_up() for _ in range(3)]
        self.stopping = threading.Event()
        self.failures = []
        self.orders = 0

    def ask(self, shop, method, path, body, key=None):
        """The answer that settles it; asked on a connection of its own."""
        shop = shop.another_session()
        headers = {"Idempotency-Key": key} if key else {}
        until = time.monotonic() + 60 * SLOWNESS
        while time.monotonic() < until:
            try:
                answer = shop.call(method, path, body, headers=headers, timeout=20)
            except (requests.RequestException, IndexError, RuntimeError):
                pause(0.05)  # no API runs at this moment, or it died while it answered
                continue
            assert answer.status_code != 500, f"{path}: {answer.text}"
            if answer.status_code not in LATER and (answer.status_code != 409 or not key):
                return answer
            pause(0.05)
        raise AssertionError(f"{path}: no answer")

    def together(self, calls):
        with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
            return [asked.result() for asked in [pool.submit(self.ask, *call) for call in calls]]

    def order(self, shop, chooser):
        """Sent three times under one key: its id, or None when there is too little in stock."""
        chosen = chooser.sample(self.products, chooser.randint(1, 3))
        lines = [{"product_id": product, "quantity": chooser.randint(1, 3)} for product in chosen]
        body = {"items": lines}
        if chooser.random() < 0.3:
            cart = self.ask(shop, "POST", "/api/shopping-carts/", {}).json()["id"]
            for line in lines:
                self.ask(shop, "POST", "/api/cart-items/", {"cart_id": cart, **line})
            body = {"cart_id": cart}
        answers = self.together([(shop, "POST", "/api/orders/", body, str(uuid.uuid4()))] * 3)
        made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
        assert len(made) <= 1, f"one key made the orders {made}"
        self.orders += len(made)
        return made.pop() if made else None

    def check_out(self, shop, chooser):
        order = self.order(shop, chooser)
        if order is None:
            return
        calls = []
        for _ in range(6):
            card = chooser.choice([PAID, PAID, DECLINED, NO_FUNDS])
            body = {"order_id": order, "payment_method": "card", "payment_token": card}
            calls.append((shop, "POST", "/api/payments/", body, chooser.choice([None, str(uuid.uuid4())])))
        fate = chooser.random()
        if fate < 0.35:
            calls.insert(chooser.randrange(6), (shop, "POST", f"/api/orders/{order}/cancel/", {}))
        self.together(calls)
        if fate > 0.6:
            self.together([(self.staff, "POST", f"/api/orders/{order}/refund/", {})] * 3)

    def change_prices(self, chooser):
        path = f"/api/products/{chooser.choice(self.products)}/"
        self.ask(self.staff, "PATCH", path, {"price": f"{chooser.randint(1, 99)}.{chooser.randint(10, 99)}"})
        pause(0.1)

    def trouble_gateway(self, chooser):
        action, options = chooser.choice(FAULTS)
        path = chooser.choice(["/v1/payment_intents", "/v1/refunds"])
        self.one.gateway.fault(action, path=path, times=chooser.randint(1, 2), **options)
        pause(chooser.uniform(0.2, 0.8))

    def replay_events(self, chooser):
        charges = self.one.gateway.charges()
        apis = self.one.named("till-api")
        if charges and apis:
            self.one.gateway.call("POST", "webhooks", {"url": chooser.choice(apis).url + HOOK})
            self.one.gateway.call("POST", "webhooks/send", {
                "payment_intent": chooser.choice(charges[-20:])["payment_intent"],
                "times": 3, "together": True, "order": "shuffle", "seed": chooser.randrange(1000),
            })
        pause(0.4)

    def repeat(self, what, chooser):
        try:
            while not self.stopping.is_set():
                what(chooser)
        except Exception as error:  # a thread's failure shall fail the test, not vanish
            self.failures.append(repr(error))

    def start(self, seed):
        customers = [lambda chooser, n=n: self.check_out(self.accounts[n % 3], chooser) for n in range(5)]
        others = [self.change_prices, self.trouble_gateway, self.replay_events]
        threads = [
            threading.Thread(target=self.repeat, args=(what, random.Random(seed * 100 + number)), daemon=True)
            for number, what in enumerate(customers + others)
        ]
        for thread in threads:
            thread.start()
        return threads


def kill_one(one, chooser):
    name = chooser.choice(["till-api", "till-worker", "till-worker", "till-scheduler"])
    chooser.choice(one.named(name)).kill()
    {"till-api": one.start_api, "till-worker": one.start_worker, "till-scheduler": one.start_scheduler}[name]()


@pytest.mark.slow
def test_nobody_is_charged_twice_and_nothing_is_sold_twice_whoever_pulls(stack):
    one = stack({"GATEWAY_WEBHOOK_SECRET": WEBHOOK_SECRET, "TILL_LEASE_SECONDS": 2, "TILL_ADMISSION_SECONDS": 3600})
    one.start(apis=2, workers=2, schedulers=1)
    print(f"seed {SEED}")
    storm = Storm(one)
    chooser = random.Random(SEED)
    one.gateway.call("POST", "webhooks", {"url": one.api.url + HOOK, "backoff": 0.05, "tries": 3})
    try:
        threads = storm.start(SEED)
        until = time.monotonic() + SECONDS
        kills = 0
        while time.monotonic() < until and not storm.failures:
            pause(chooser.uniform(1, 4))
            kill_one(one, chooser)
            kills += 1
        storm.stopping.set()
        for thread in threads:
            thread.join(90 * SLOWNESS)
        assert not storm.failures, storm.failures[:5]
        assert not any(thread.is_alive() for thread in threads), "somebody is stuck"
        one.gateway.clear_faults()
        one.settle(90, unpaid=True, extra_mails=True)
    finally:
        one.gateway.call("POST", "webhooks", {"url": None})
    assert storm.orders >= 20, f"{storm.orders} orders: there was a storm"
    faults_report.record("everybody pulls at the money", kills, one.value("SELECT count(*) FROM jobs"), seed=SEED)

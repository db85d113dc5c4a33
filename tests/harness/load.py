"""Customers who check out in a loop while something breaks.

A customer who gets no answer, or "try later", asks again with the same Idempotency-Key, as a good
client does; so each order that was begun ends with a payment. Everything random comes from a seed.
"""

import random
import threading
import uuid

import requests

from .shop import DECLINED, NO_FUNDS, PAID
from .wait import SLOWNESS, pause, wait_for

PATIENCE = 60 * SLOWNESS


class GaveUp(Exception):
    pass


class Load:
    def __init__(self, stack, customers=6, products=8, stock=100000, seed=1, declined=0.1, think=0.05):
        """`think`: seconds between two checkouts of one customer."""
        self.stack = stack
        self.think = think
        self.seed = seed
        self.declined = declined
        self.products = [stack.product(stock=stock, price=f"{n + 1}.25") for n in range(products)]
        # Few accounts, many sessions: passwords are slow to hash on purpose.
        accounts = [stack.shop().sign_up() for _ in range(min(customers, 4))]
        self.shops = [accounts[n % len(accounts)].another_session() for n in range(customers)]
        self.stopping = threading.Event()
        self.going = threading.Event()  # cleared while nobody may begin a checkout
        self.going.set()
        self.busy = 0  # customers in the middle of one
        self.lock = threading.Lock()
        self.ordered = []
        self.accepted = []
        self.troubles = []
        self.failures = []
        self.threads = []

    def __enter__(self):
        for number, shop in enumerate(self.shops):
            chooser = random.Random(self.seed * 1000 + number)
            thread = threading.Thread(target=self.live, args=(shop, chooser), daemon=True)
            self.threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Lets everybody finish what they began."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(PATIENCE + 30)
        assert not any(thread.is_alive() for thread in self.threads), "a customer is stuck"
        assert not self.failures, f"customers met {len(self.failures)} errors: {self.failures[:5]}"

    def pause(self):
        """Until everybody has finished what they began; nobody begins anything until resume()."""
        with self.lock:
            self.going.clear()
        wait_for(lambda: self.busy == 0 or self.failures, PATIENCE + 30, "a customer is stuck")
        assert not self.failures, f"customers met {len(self.failures)} errors: {self.failures[:5]}"

    def resume(self):
        self.going.set()

    def wait_accepted(self, more, timeout=30):
        """Until that many more payments were accepted."""
        wanted = len(self.accepted) + more
        wait_for(
            lambda: len(self.accepted) >= wanted or self.failures,
            timeout,
            lambda: f"{len(self.accepted)} of {wanted} payments; {self.troubles[-5:]}",
        )
        assert not self.failures, self.failures[:5]

    def live(self, shop, chooser):
        try:
            while not self.stopping.is_set():
                with self.lock:
                    self.busy += self.going.is_set()
                    goes = self.going.is_set()
                if goes:
                    self.check_out(shop, chooser)
                    with self.lock:
                        self.busy -= 1
                self.stopping.wait(self.think)
        except Exception as error:  # a thread's failure shall fail the test, not vanish
            self.failures.append(repr(error))

    def check_out(self, shop, chooser):
        chosen = chooser.sample(self.products, chooser.randint(1, 3))
        lines = [{"product_id": p, "quantity": chooser.randint(1, 2)} for p in chosen]
        card = PAID
        if chooser.random() < self.declined:
            card = chooser.choice([DECLINED, NO_FUNDS])
        order = self.insist(shop, "/api/orders/", {"items": lines}, 201)
        if order is None:
            return
        with self.lock:
            self.ordered.append(order["id"])
        body = {"order_id": order["id"], "payment_method": "card", "payment_token": card}
        payment = self.insist(shop, "/api/payments/", body, 202)
        if payment is not None:
            with self.lock:
                self.accepted.append(payment["id"])

    def insist(self, shop, path, body, wanted):
        """Asks until there is an answer that settles it. None: the request was lost with a process
        that died in its middle, and its key is locked for longer than we wait."""
        key = {"Idempotency-Key": str(uuid.uuid4())}
        lost = False
        for _ in range(int(PATIENCE / 0.05)):
            try:
                answer = shop.post(path, body, headers=key, timeout=20)
                if answer.status_code == 401 and shop.renew():  # its token has lived its 15 minutes
                    continue
            except (requests.RequestException, IndexError, RuntimeError) as error:
                # IndexError: no API runs at this moment; RuntimeError: it died while starting
                self.trouble(path, repr(error)[:200])
                lost = True
            else:
                if answer.status_code == wanted:
                    return answer.json()
                self.trouble(path, f"{answer.status_code} {answer.text[:200]}")
                if answer.status_code == 409 and lost:
                    return None
                if answer.status_code not in (401, 408, 409, 429, 500, 502, 503, 504):
                    raise GaveUp(f"{path}: {answer.status_code} {answer.text[:300]}")
            pause(0.05)  # between two tries, as every client waits
        raise GaveUp(f"{path}: no answer for {PATIENCE} s; {self.troubles[-3:]}")

    def trouble(self, path, text):
        with self.lock:
            self.troubles.append(f"{path}: {text}")

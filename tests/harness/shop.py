"""A customer: a client of the shop's REST API."""

import itertools
import secrets

import requests

from .wait import wait_for

numbers = itertools.count(1)
PASSWORD = "correct-horse-battery-7"
PAID = "pm_card_visa"
DECLINED = "pm_card_chargeDeclined"
NO_FUNDS = "pm_card_chargeDeclinedInsufficientFunds"


class Shop:
    """One customer's session. `url` may be a function, since a program that is started again
    listens on another port. `check` looks at each answer, as openapi.check does."""

    def __init__(self, url, check=None):
        self.base = url if callable(url) else lambda: url
        self.check = check
        self.http = requests.Session()
        self.http.trust_env = False
        self.token = None
        self.email = None

    def call(self, method, path, body=None, **options):
        headers = dict(options.pop("headers", {}))  # the caller may send it again, with another token
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        options.setdefault("timeout", 30)
        answer = self.http.request(
            method, self.base() + path, json=body, headers=headers, **options
        )
        if self.check:
            self.check(answer)
        return answer

    def get(self, path, **options):
        return self.call("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.call("POST", path, body, **options)

    def expect(self, status, answer):
        assert answer.status_code == status, (
            f"{answer.request.method} {answer.request.path_url} answered {answer.status_code}, "
            f"not {status}: {answer.text[:500]}"
        )
        return answer.json() if answer.content else None

    def register(self, **fields):
        name = f"customer{next(numbers)}{secrets.token_hex(3)}"
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD, **fields}
        user = self.expect(201, self.post("/api/auth/register/", body))
        self.email = body["email"]
        return user

    def login(self, email=None, password=PASSWORD):
        self.token = None
        body = {"email": email or self.email, "password": password}
        tokens = self.expect(200, self.post("/api/auth/login/", body))
        self.token = tokens["access"]
        return tokens

    def renew(self):
        """Another access token, when the old one has lived its time. False: not now."""
        body = {"email": self.email, "password": PASSWORD}
        self.token = None
        answer = self.post("/api/auth/login/", body)
        self.token = answer.json()["access"] if answer.status_code == 200 else "none yet"
        return answer.status_code == 200

    def sign_up(self, **fields):
        self.register(**fields)
        self.login(password=fields.get("password", PASSWORD))
        return self

    def another_session(self):
        """The same customer with connections of its own, for a thread."""
        other = Shop(self.base, self.check)
        other.token, other.email = self.token, self.email
        return other

    def post_order(self, *items, **options):
        """`items` are (product id, quantity). The bare answer, whatever it is."""
        lines = [{"product_id": product, "quantity": quantity} for product, quantity in items]
        return self.post("/api/orders/", {"items": lines}, **options)

    def order(self, *items, **options):
        return self.expect(201, self.post_order(*items, **options))

    def post_payment(self, order_id, token=PAID, **options):
        body = {"order_id": order_id, "payment_method": "card", "payment_token": token}
        return self.post("/api/payments/", body, **options)

    def pay(self, order_id, token=PAID, **options):
        return self.expect(202, self.post_payment(order_id, token, **options))

    def order_status(self, order_id):
        return self.expect(200, self.get(f"/api/orders/{order_id}/"))["order_status"]

    def payment(self, payment_id):
        return self.expect(200, self.get(f"/api/payments/{payment_id}/"))

    def wait_order(self, order_id, *statuses, timeout=20):
        """The order's status once it is one of `statuses`."""

        def look():
            status = self.order_status(order_id)
            return status if status in statuses else None

        return wait_for(look, timeout, f"order {order_id} never became {' or '.join(statuses)}")

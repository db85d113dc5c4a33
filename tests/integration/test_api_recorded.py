"""What a shop on Django REST framework answered to these requests, Till answers.

`recorded_answers.json` holds the requests in the order in which they were made, with what came back; TIME,
UUID, JWT and REFERENCE stand for what differs each time. Where Till differs on purpose, the file has its
answer and says `why`; what all lists have in common (they are pages here) is said below, once.
"""

import json
import os
import re

import requests

CASES = os.path.join(os.path.dirname(__file__), "recorded_answers.json")
MARKS = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "TIME"),
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "JWT"),
    (re.compile(r'"pi_\w+"'), '"REFERENCE"'),
)


def fill(one):
    """The recorded shop: ten categories, three products, four users."""
    for number in range(1, 11):
        one.query("INSERT INTO categories (name) VALUES (%s)", f"Category {number}")
    for number in range(1, 4):
        one.query(
            "INSERT INTO products (name, description, price, stock_quantity, category_id)"
            " VALUES (%s, %s, %s, 5, %s)",
            f"Product {number}",
            f"Some description of product {number}",
            f"1{number}.0{number}",
            number + 1,
        )
        one.initial_stock[number] = 5


class Client:
    def __init__(self, one):
        self.one = one
        self.url = one.api.url
        self.http = requests.Session()
        self.http.trust_env = False
        for number in range(1, 5):
            user = self.account(number)
            body = {**user, "username": f"user{number}", "first_name": "User", "last_name": str(number)}
            assert self.http.post(self.url + "/api/auth/register/", json=body).status_code == 201
        one.query("UPDATE users SET is_staff = true WHERE id = 4")
        tokens = {name: self.login(number) for name, number in (("user", 1), ("other", 2), ("staff", 4))}
        self.refresh = tokens["user"]["refresh"]
        self.tokens = {name: pair["access"] for name, pair in tokens.items()}
        self.tokens["refresh token"] = self.refresh

    def account(self, number):
        return {"email": f"user{number}@example.com", "password": f"peer-password-{number}"}

    def login(self, number):
        return self.http.post(self.url + "/api/auth/login/", json=self.account(number)).json()

    def prepare(self, case):
        """What the recording did between its lines: two more orders, and waiting for payments."""
        if case["name"] in ("Paying: Paying as a form, answer as JSON", "Payments: Create"):
            self.send({
                "request": "POST /api/orders/", "who": "user",
                "body": '{"items": [{"product_id": 2, "quantity": 1}]}',
            })
        if "already paid" in json.dumps(case.get("answer")) or case["name"].endswith("afterwards"):
            self.one.settle()
            self.http.close()  # the server may have ended what was idle for so long

    def send(self, case):
        method, path = case["request"].split()
        if "PAYMENT" in path:
            payment = self.one.value("SELECT id FROM payments WHERE order_id = 1")
            path = path.replace("PAYMENT", str(payment))
        headers = {"Content-Type": "application/json", **case.get("headers", {})}
        if "who" in case:
            headers["Authorization"] = f"Bearer {self.tokens[case['who']]}"
        body = case.get("body", "").replace("REFRESH", self.refresh)
        return self.http.request(
            method, self.url + path, data=body.encode(), headers=headers, allow_redirects=False, timeout=60
        )


def answer_of(answer, url):
    """The body as the file has it."""
    text = answer.text.replace(url, "ORIGIN")
    for pattern, mark in MARKS:
        text = pattern.sub(mark, text)
    body = json.loads(text) if text else None
    is_page = isinstance(body, dict) and set(body) == {"count", "next", "previous", "results"}
    return body["results"] if is_page else body


def test_the_answers_are_those_of_the_recorded_shop(stack):
    one = stack()
    fill(one)
    one.start(apis=1, workers=1, schedulers=1)
    client = Client(one)
    with open(CASES, encoding="utf-8") as file:
        cases = json.load(file)
    assert len(cases) > 140
    for case in cases:
        client.prepare(case)
        answer = client.send(case)
        given = {name: answer.headers.get(name) for name in case["answer_headers"]}
        assert (answer.status_code, given) == (case["status"], case["answer_headers"]), case["name"]
        if "answer" in case:
            assert answer_of(answer, client.url) == case["answer"], case["name"]
    one.settle()

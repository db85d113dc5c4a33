"""The gateway sandbox: its API as our worker sees it, its faults, its webhooks, its process.

Every test has a private gateway on a free port. Stripe's own client is driven by the Node test
that the first test here runs.
"""

import fcntl
import hashlib
import hmac
import http.server
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from harness.wait import SLOWNESS, wait_for

SANDBOX = Path(__file__).resolve().parents[1] / "sandbox"
sys.path.insert(0, str(SANDBOX))

from launch import PYTHON, start_gateway  # noqa: E402

KEY = {"Authorization": "Bearer sk_test_till"}
PAID = {"amount": "1200", "currency": "usd", "payment_method": "pm_card_visa", "confirm": "true"}
BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class Gateway:
    """One running gateway and short names for what the tests do with it."""

    def __init__(self, url):
        self.url = url

    def post(self, path="payment_intents", key=None, timeout=10 * SLOWNESS, whose=KEY, **values):
        """A fresh connection each time, as the worker's."""
        headers = {**whose, "Connection": "close"}
        if key is not None:
            headers["Idempotency-Key"] = key
        form = {name.replace("__", "[") + "]" * ("__" in name): v for name, v in values.items()}
        return requests.post(f"{self.url}/v1/{path}", form, headers=headers, timeout=timeout)

    def pay(self, key=None, timeout=10 * SLOWNESS, **changes):
        return self.post(key=key, timeout=timeout, **{**PAID, **changes})

    def get(self, path, whose=KEY, **query):
        return requests.get(f"{self.url}/v1/{path}", query, headers=whose, timeout=60)

    def admin(self, method, path, body=None):
        answer = requests.request(method, f"{self.url}/_sandbox/{path}", json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, action, **more):
        self.admin("POST", "faults", {"action": action, **more})

    def charged(self):
        """The charges that really took money."""
        charges = self.admin("GET", "ledger")["charges"]
        return [charge for charge in charges if charge["status"] == "succeeded"]

    def requests(self):
        return self.admin("GET", "requests")["requests"]

    def outcomes(self):
        return [entry["outcome"] for entry in self.requests()]


@pytest.fixture
def gateway():
    with start_gateway("--settle-seconds", "0.2") as program:
        yield Gateway(program.url)


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


class Shop:
    """A webhook receiver that remembers what it got and answers what it is told."""

    def __init__(self):
        self.got = []
        self.answers = []
        shop = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                shop.got.append((self.headers.get("Stripe-Signature"), body))
                self.send_response(shop.answers.pop(0) if shop.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 64  # the default of 5 refuses some of twenty at once

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def types(self):
        return [json.loads(body)["type"] for _, body in list(self.got)]


@pytest.fixture
def shop():
    shop = Shop()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


def test_stripes_own_client_works_unchanged():
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    with open(SANDBOX / "package-lock.json", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (SANDBOX / "node_modules" / "stripe").is_dir():
            subprocess.run(["npm", "ci"], cwd=SANDBOX, check=True, timeout=120)
    ran = subprocess.run(
        ["node", "--test", "stripe_client.test.mjs"],
        cwd=SANDBOX,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60 * SLOWNESS,
    )
    assert ran.returncode == 0, ran.stdout


def test_a_payment_is_charged_once_and_answered_like_stripe(gateway):
    answer = gateway.pay(key="k", metadata__order_id="7")
    intent = answer.json()
    assert (intent["status"], intent["amount_received"]) == ("succeeded", 1200)
    assert intent["metadata"] == {"order_id": "7"}
    assert intent["livemode"] is False and intent["next_action"] is None
    assert intent["client_secret"].startswith(intent["id"] + "_secret_")
    assert answer.headers["Request-Id"].startswith("req_")
    assert answer.headers["Idempotency-Key"] == "k"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Stripe-Version"]
    (charge,) = gateway.charged()
    assert charge["payment_intent"] == intent["id"] and charge["idempotency_key"] == "k"
    assert gateway.get("balance").json()["available"][0]["amount"] == 1200


@pytest.mark.parametrize(
    "token, code, decline_code",
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("pm_card_chargeDeclinedFraudulent", "card_declined", "fraudulent"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
    ],
)
def test_declines(gateway, token, code, decline_code):
    error = error_of(gateway.pay(payment_method=token), 402)
    assert (error["type"], error["code"]) == ("card_error", code)
    assert error["decline_code"] == decline_code and error["message"] and error["doc_url"]
    intent = gateway.get(f"payment_intents/{error['payment_intent']['id']}").json()
    assert intent["status"] == "requires_payment_method"
    assert intent["last_payment_error"]["charge"] == error["charge"] == intent["latest_charge"]
    assert gateway.charged() == []
    again = gateway.post(f"payment_intents/{intent['id']}/confirm", payment_method="pm_card_visa")
    assert again.json()["status"] == "succeeded" and len(gateway.charged()) == 1


@pytest.mark.parametrize(
    "changes, code, param",
    [
        ({"amount": "abc"}, "parameter_invalid_integer", "amount"),
        ({"amount": "12.5"}, "parameter_invalid_integer", "amount"),
        ({"amount": "0"}, "parameter_invalid_integer", "amount"),
        ({"amount": "-5"}, "parameter_invalid_integer", "amount"),
        ({"amount": "49"}, "amount_too_small", "amount"),
        ({"amount": "100000000"}, "amount_too_large", "amount"),
        ({"amount": ""}, "parameter_invalid_empty", "amount"),
        ({"currency": "xxx"}, None, "currency"),
        ({"confirm": "maybe"}, None, "confirm"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"automatic_payment_methods__on": "1"}, "parameter_unknown", None),
        ({"capture_method": "never"}, None, "capture_method"),
        ({"metadata": "x"}, None, "metadata"),
        ({"metadata__a": "x" * 501}, None, "metadata[a]"),
        ({"payment_method": "pm_nobody"}, "resource_missing", "payment_method"),
        ({"automatic_payment_methods__enabled": "true"}, None, "return_url"),
    ],
)
def test_invalid_requests(gateway, changes, code, param):
    error = error_of(gateway.pay(**changes), 400)
    assert error["type"] == "invalid_request_error" and error.get("code") == code
    if param:
        assert error["param"] == param
    assert gateway.admin("GET", "ledger")["charges"] == []


def test_missing_parameters_and_unknown_things(gateway):
    assert error_of(gateway.post(currency="usd"), 400)["param"] == "amount"
    assert error_of(gateway.post(amount="100"), 400)["code"] == "parameter_missing"
    missing = error_of(gateway.get("payment_intents/pi_none"), 404)
    assert missing["code"] == "resource_missing" and "No such payment_intent" in missing["message"]
    unknown = error_of(gateway.get("x"), 404)
    assert unknown["message"].startswith("Unrecognized request URL (GET: /v1/x)")


def test_form_encoding_of_lists_and_nested_names(gateway):
    for name in ("payment_method_types[]", "payment_method_types[0]"):
        body = {**PAID, name: "card", "expand[]": "latest_charge", "metadata[0]": "digit"}
        answer = requests.post(f"{gateway.url}/v1/payment_intents", body, headers=KEY, timeout=60)
        intent = answer.json()
        assert intent["payment_method_types"] == ["card"] and intent["metadata"] == {"0": "digit"}
        assert intent["latest_charge"]["paid"] is True


def test_who_may_ask(gateway):
    url = f"{gateway.url}/v1/payment_intents"
    basic = requests.post(url, PAID, auth=("sk_test_till", ""), timeout=60)
    assert basic.status_code == 200
    for headers in ({}, {"Authorization": "Bearer sk_test_wrong"}, {"Authorization": "Basic !"}):
        refused = requests.post(url, PAID, headers=headers, timeout=60)
        assert error_of(refused, 401)["type"] == "invalid_request_error"
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert len(gateway.charged()) == 1


def test_states_that_cannot_be_left(gateway):
    intent = gateway.pay().json()["id"]
    for action in ("confirm", "cancel", "capture"):
        error = error_of(gateway.post(f"payment_intents/{intent}/{action}"), 400)
        assert error["code"] == "payment_intent_unexpected_state"
        assert error["payment_intent"]["status"] == "succeeded"
    made = gateway.post(amount="500", currency="usd").json()
    assert made["status"] == "requires_payment_method"
    named = gateway.post(f"payment_intents/{made['id']}", payment_method="pm_card_visa").json()
    assert named["status"] == "requires_confirmation"
    assert gateway.post(f"payment_intents/{made['id']}/cancel").json()["status"] == "canceled"
    error_of(gateway.post(f"payment_intents/{made['id']}/confirm"), 400)


def test_authentication_and_bank_debit(gateway):
    asked = gateway.pay(payment_method="pm_card_authenticationRequired").json()
    assert asked["status"] == "requires_action" and asked["next_action"]["type"]
    refused = gateway.pay(payment_method="pm_card_authenticationRequired", off_session="true")
    assert error_of(refused, 402)["code"] == "authentication_required"
    path = f"payment_intents/{asked['id']}/authenticate"
    failed = gateway.admin("POST", path, {"success": False})
    assert failed["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    for token, end in [
        ("pm_usBankAccount_success", "succeeded"),
        ("pm_usBankAccount_accountClosed", "requires_payment_method"),
    ]:
        debit = gateway.pay(payment_method=token).json()
        assert debit["status"] == "processing"
        where = f"payment_intents/{debit['id']}"
        wait_for(lambda: gateway.get(where).json()["status"] == end)
    assert len(gateway.charged()) == 1


def test_lists_and_search(gateway):
    for number in range(5):
        token = "pm_card_chargeDeclined" if number == 4 else "pm_card_visa"
        payment = {"amount": str(1000 + number), "metadata__payment_id": f"it's {number}"}
        gateway.pay(payment_method=token, **payment)
    page = gateway.get("payment_intents", limit=2).json()
    assert [row["amount"] for row in page["data"]] == [1004, 1003] and page["has_more"]
    rest = gateway.get("payment_intents", starting_after=page["data"][1]["id"]).json()
    assert [row["amount"] for row in rest["data"]] == [1002, 1001, 1000] and not rest["has_more"]
    recent = gateway.get("payment_intents", **{"created[gte]": int(time.time()) + 60}).json()
    assert recent["data"] == []
    assert len(gateway.get("charges").json()["data"]) == 5
    for query, amounts in [
        (r"metadata['payment_id']:'it\'s 2' AND status:'succeeded'", [1002]),
        ("metadata[\"payment_id\"]:\"it's 4\" status:'succeeded'", []),
        ("metadata['payment_id']~'IT\\'S' -status:'succeeded'", [1004]),
        ("amount>1001 and amount<=1003", [1003, 1002]),
        ("amount:1000 OR amount:1003", [1003, 1000]),
        ("-metadata['none']:null currency:'usd' amount<1001", []),
        ("metadata['none']:null customer:null amount<1001", [1000]),
    ]:
        found = gateway.get("payment_intents/search", query=query).json()
        assert [row["amount"] for row in found["data"]] == amounts, query
    for query in ("", "nothing", "colour:'red'", "amount:1 AND amount:2 OR amount:3", "status>'a'"):
        error_of(gateway.get("payment_intents/search", query=query), 400)


def test_refunds_never_exceed_the_charge(gateway):
    intent = gateway.pay().json()["id"]
    assert gateway.post("refunds", payment_intent=intent, amount="200").json()["amount"] == 200
    error_of(gateway.post("refunds", payment_intent=intent, amount="1001"), 400)
    assert gateway.post("refunds", payment_intent=intent).json()["amount"] == 1000
    error = error_of(gateway.post("refunds", payment_intent=intent), 400)
    assert error["code"] == "charge_already_refunded"
    assert gateway.charged()[0]["refunded"] is True
    declined = error_of(gateway.pay(payment_method="pm_card_chargeDeclined"), 402)
    error_of(gateway.post("refunds", payment_intent=declined["payment_intent"]["id"]), 400)


def test_card_numbers_are_refused(gateway):
    body = {"type": "card", "card[number]": "4242424242424242"}
    answer = requests.post(f"{gateway.url}/v1/payment_methods", body, headers=KEY, timeout=60)
    assert "generally unsafe" in error_of(answer, 402)["message"]
    method = gateway.post("payment_methods", type="card", card__token="tok_visa").json()
    assert gateway.pay(payment_method=method["id"]).json()["status"] == "succeeded"


def test_replays_are_the_same_bytes_also_for_declines(gateway):
    for key, changes in [("a", {}), ("b", {"payment_method": "pm_card_chargeDeclined"})]:
        first, second = gateway.pay(key=key, **changes), gateway.pay(key=key, **changes)
        assert first.content == second.content and first.status_code == second.status_code
        assert "Idempotent-Replayed" not in first.headers
        assert second.headers["Idempotent-Replayed"] == "true"
        assert second.headers["Original-Request"] == first.headers["Request-Id"]
    assert len(gateway.admin("GET", "ledger")["charges"]) == 2


def test_a_key_belongs_to_its_parameters_and_endpoint(gateway):
    made = gateway.pay(key="a").json()
    error = error_of(gateway.pay(key="a", amount="1300"), 400)
    assert error["type"] == "idempotency_error" and "same parameters" in error["message"]
    error = error_of(gateway.post("refunds", key="a", payment_intent=made["id"]), 400)
    assert error["type"] == "idempotency_error" and "same endpoint" in error["message"]
    error_of(gateway.pay(key="x" * 256), 400)
    error_of(gateway.pay(key=""), 400)
    assert gateway.pay(key="x" * 255).status_code == 200


def test_validation_401_and_429_are_not_saved(gateway):
    error_of(gateway.pay(key="a", amount="1"), 400)
    gateway.fault("status", status=429, retry_after=3)
    limited = gateway.pay(key="a")
    assert limited.status_code == 429 and limited.headers["Retry-After"] == "3"
    assert limited.headers["Stripe-Should-Retry"] == "false"
    assert gateway.pay(key="a").status_code == 200
    assert len(gateway.charged()) == 1


def test_a_500_after_running_is_saved_and_a_500_before_is_not(gateway):
    gateway.fault("status", status=500)
    gateway.fault("status", status=500, when="after")
    gateway.fault("status", status=503, save=True, idempotency_key="b")
    assert gateway.pay(key="a").headers["Stripe-Should-Retry"] == "true"
    assert gateway.charged() == []
    first, second = gateway.pay(key="a"), gateway.pay(key="a")
    assert first.status_code == second.status_code == 500 and len(gateway.charged()) == 1
    assert second.headers["Stripe-Should-Retry"] == "false"
    assert error_of(second, 500)["type"] == "api_error"
    assert [gateway.pay(key="b").status_code for _ in range(2)] == [503, 503]
    assert len(gateway.charged()) == 1


def test_a_key_in_flight_is_409_and_a_key_is_forgotten_after_a_day(gateway):
    gateway.fault("hold_before")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(gateway.pay, key="a")
        wait_for(lambda: gateway.admin("GET", "held")["held"] == 1)
        busy = gateway.pay(key="a")
        assert error_of(busy, 409)["code"] == "idempotency_key_in_use"
        assert busy.headers["Stripe-Should-Retry"] == "true"
        gateway.admin("POST", "release")
        done = first.result().json()["id"]
    assert gateway.pay(key="a").json()["id"] == done
    gateway.admin("POST", "clock", {"advance": 23 * 3600})
    assert gateway.pay(key="a").json()["id"] == done
    gateway.admin("POST", "clock", {"advance": 3601})
    assert gateway.pay(key="a").json()["id"] != done
    assert len(gateway.charged()) == 2


def test_one_key_from_many_clients_at_once_is_one_charge(gateway):
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda n: gateway.pay(key=f"k{n % 4}"), range(128)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len(gateway.charged()) == 4


@pytest.mark.parametrize(
    "fault, charged",
    [
        ({"action": "drop_before"}, 0),
        ({"action": "drop_after"}, 1),
        ({"action": "reset"}, 0),
        ({"action": "reset", "when": "after"}, 1),
        ({"action": "truncate"}, 1),
        ({"action": "hang"}, 0),
        ({"action": "hang", "when": "after"}, 1),
        ({"action": "slow_body"}, 1),
    ],
)
def test_answers_that_never_arrive(gateway, fault, charged):
    gateway.fault(**fault)
    with pytest.raises(BROKEN):
        answer = requests.post(
            f"{gateway.url}/v1/payment_intents",
            PAID,
            headers={**KEY, "Idempotency-Key": "a"},
            timeout=0.3 if fault["action"] in ("hang", "slow_body") else 30,
        )
        if len(answer.content) < int(answer.headers["Content-Length"]):
            raise requests.ConnectionError  # this version of requests takes a short body for whole
    wait_for(lambda: len(gateway.charged()) == charged)  # whoever hangs up in time is faster than a busy machine
    assert gateway.pay(key="a").json()["status"] == "succeeded"
    assert len(gateway.charged()) == 1


def test_answers_that_make_no_sense(gateway):
    gateway.fault("garbage")
    gateway.fault("wrong_content_type")
    gateway.fault("wrong_amount")
    gateway.fault("duplicate_keys")
    gateway.fault("redirect", location="http://elsewhere.test/")
    garbage = gateway.pay(key="a")
    assert garbage.status_code == 200
    with pytest.raises(ValueError):
        garbage.json()
    assert gateway.pay(key="a").headers["Content-Type"].startswith("text/html")
    wrong = gateway.pay(key="a").json()
    assert (wrong["amount"], wrong["amount_received"]) == (1201, 1201)
    doubled = gateway.pay(key="a")
    names = [name for name, _ in json.loads(doubled.text, object_pairs_hook=list)]
    assert names.count("amount") == 2
    moved = requests.post(
        f"{gateway.url}/v1/payment_intents", PAID, headers=KEY, timeout=60, allow_redirects=False
    )
    assert (moved.status_code, moved.headers["Location"]) == (302, "http://elsewhere.test/")
    assert [charge["amount"] for charge in gateway.charged()] == [1200]


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_without_end(gateway, chunked):
    gateway.fault("huge_body", chunked=chunked)
    url = f"{gateway.url}/v1/payment_intents"
    with requests.post(url, PAID, headers=KEY, timeout=60, stream=True) as answer:
        assert ("Content-Length" in answer.headers) is not chunked
        assert len(answer.raw.read(3_000_000)) == 3_000_000
    wait_for(lambda: gateway.outcomes() == ["client gone"])


def test_a_gzip_bomb(gateway):
    gateway.fault("gzip_bomb", bytes=3_000_000)
    answer = gateway.pay()
    assert answer.headers["Content-Encoding"] == "gzip" and len(answer.content) == 3_000_000


def test_faults_match_what_they_name_as_often_as_they_say(gateway):
    gateway.fault("status", status=500, metadata={"order_id": "7"}, skip=1, times=2)
    gateway.fault("status", status=503, method="GET", path="/v1/charges", times=-1)
    gateway.fault("status", status=502, idempotency_key="bad")
    gateway.fault("status", status=504, payment_method="pm_card_amex", latency=0.05)
    got = [gateway.pay(metadata__order_id="7").status_code for _ in range(4)]
    assert got == [200, 500, 500, 200]
    assert gateway.pay().status_code == 200
    assert [gateway.get("charges").status_code for _ in range(3)] == [503, 503, 503]
    assert [gateway.pay(key="bad").status_code for _ in range(2)] == [502, 200]
    assert gateway.pay(payment_method="pm_card_amex").status_code == 504
    gateway.admin("DELETE", "faults")
    assert gateway.get("charges").status_code == 200


def test_a_fault_with_a_probability_is_the_same_for_the_same_seed(gateway):
    def run():
        gateway.admin("POST", "reset")
        gateway.fault("status", status=500, times=-1, probability=0.5, seed=7)
        return [gateway.pay().status_code for _ in range(20)]

    first = run()
    assert first == run() and set(first) == {200, 500}


@pytest.mark.parametrize(
    "fault",
    [{}, {"action": "explode"}, {"action": "hang", "tmes": 2}, {"action": "status"},
     {"action": "latency", "seconds": "1"}],
)  # fmt: skip
def test_a_mistaken_fault_is_refused(gateway, fault):
    answer = requests.post(f"{gateway.url}/_sandbox/faults", json=fault, timeout=60)
    assert answer.status_code == 400 and answer.json()["error"]


def test_a_client_killed_between_charge_and_answer(gateway):
    gateway.fault("hold_after")
    with pytest.raises(requests.Timeout):
        gateway.pay(key="a", timeout=0.2)
    wait_for(lambda: gateway.admin("GET", "held")["held"] == 1)
    assert len(gateway.charged()) == 1
    again = gateway.pay(key="a")
    assert again.json()["status"] == "succeeded" and len(gateway.charged()) == 1
    assert gateway.admin("POST", "release")["released"] == 1
    wait_for(lambda: gateway.outcomes() == ["client gone", "answered"])


def test_the_answer_that_comes_after_the_clients_time_out(gateway):
    gateway.fault("latency", seconds=4)
    with pytest.raises(requests.Timeout):
        gateway.pay(key="a", timeout=0.1)
    wait_for(lambda: gateway.admin("GET", "faults")["faults"][0]["applied"] == 1)
    assert gateway.pay(key="a").status_code == 409
    wait_for(lambda: len(gateway.charged()) == 1)
    assert gateway.pay(key="a").json()["status"] == "succeeded"
    assert len(gateway.charged()) == 1


def test_a_held_request_can_be_dropped(gateway):
    gateway.fault("hold_before")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(gateway.pay, key="a")
        wait_for(lambda: gateway.admin("GET", "held")["held"] == 1)
        gateway.admin("POST", "release", {"action": "drop"})
        with pytest.raises(BROKEN):
            first.result()
    assert gateway.charged() == []


def test_the_log_tells_connections_and_headers(gateway):
    with requests.Session() as session:
        session.headers.update(KEY)
        for _ in range(2):
            trace = {"traceparent": "00-ab-cd-01"}
            session.get(f"{gateway.url}/v1/charges", headers=trace, timeout=60)
    gateway.pay(key="a")
    entries = gateway.requests()
    numbers = [entry["connection"] for entry in entries]
    assert numbers[0] == numbers[1] != numbers[2]
    assert [entry["request_on_connection"] for entry in entries] == [1, 2, 1]
    assert entries[0]["headers"]["traceparent"] == "00-ab-cd-01"
    assert entries[2]["idempotency_key"] == "a" and entries[2]["status"] == 200


def check_signature(header, body, secret="whsec_till_sandbox"):
    parts = [part.split("=", 1) for part in header.split(",")]
    stamp = dict(parts)["t"]
    wanted = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert abs(int(stamp) - time.time()) < 60
    return wanted in [value for name, value in parts if name == "v1"]


def test_a_payment_method_of_no_customer_pays_once(gateway):
    for customer in ({}, {"customer": "cus_1"}):
        method = gateway.post("payment_methods", type="card", card__token="tok_visa").json()["id"]
        refused = gateway.post(amount="20", currency="usd", payment_method=method, confirm="true")
        assert refused.status_code == 400  # what was not paid does not use it up
        assert gateway.pay(payment_method=method, key=method, **customer).status_code == 200
        assert gateway.pay(payment_method=method, key=method, **customer).status_code == 200  # the same payment
        again = gateway.pay(payment_method=method, **customer)
        if customer:
            assert again.status_code == 200
        else:
            error = error_of(again, 400)
            assert (error["type"], error["param"]) == ("invalid_request_error", "payment_method")
            assert "previously used" in error["message"]
    assert len(gateway.charged()) == 3


SECRET_WRONG = ("payment_intent_invalid_parameter", "client_secret")
PUBLIC = {"Authorization": "Bearer pk_test_till"}


def test_a_wrong_client_secret_is_refused_and_a_browsers_key_needs_the_right_one(gateway):
    intent = gateway.post(amount="500", currency="usd", payment_method="pm_card_visa").json()
    other = gateway.post(amount="500", currency="usd").json()["client_secret"]
    path, confirm = f"payment_intents/{intent['id']}", f"payment_intents/{intent['id']}/confirm"
    for whose in (KEY, PUBLIC):
        for wrong in (other, "", intent["client_secret"] + "x", "\u00e9"):
            error = error_of(gateway.get(path, whose, client_secret=wrong), 400)
            assert (error["code"], error["param"], error["type"]) == (*SECRET_WRONG, "invalid_request_error")
            error = error_of(gateway.post(confirm, whose=whose, client_secret=wrong), 400)
            assert (error["code"], error["param"]) == SECRET_WRONG
    error = error_of(gateway.post(confirm, whose=PUBLIC), 400)
    assert (error["code"], error["param"]) == ("parameter_missing", "client_secret")
    assert "publishable" in error_of(gateway.post(amount="500", currency="usd", whose=PUBLIC), 401)["message"]
    assert gateway.charged() == []
    seen = gateway.post(confirm, whose=PUBLIC, client_secret=intent["client_secret"]).json()
    assert (seen["status"], "metadata" in seen) == ("succeeded", False)
    assert len(gateway.charged()) == 1


def test_webhooks_are_signed_and_tell_what_happened(gateway, shop):
    gateway.admin("POST", "webhooks", {"url": shop.url})
    intent = gateway.pay(key="a").json()
    gateway.pay(payment_method="pm_card_chargeDeclined")
    gateway.post("refunds", payment_intent=intent["id"])
    expected = [
        "charge.failed",
        "charge.refunded",
        "charge.succeeded",
        "payment_intent.created",
        "payment_intent.created",
        "payment_intent.payment_failed",
        "payment_intent.succeeded",
        "refund.created",
    ]
    wait_for(lambda: len(shop.got) == len(expected))
    assert sorted(shop.types()) == expected
    assert all(check_signature(header, body) for header, body in shop.got)
    events = [json.loads(body) for _, body in shop.got]
    paid = next(event for event in events if event["type"] == "payment_intent.succeeded")
    assert paid["data"]["object"]["id"] == intent["id"]
    assert paid["request"]["idempotency_key"] == "a"
    listed = gateway.get("events", type="payment_intent.succeeded").json()["data"]
    assert [event["id"] for event in listed] == [paid["id"]]
    wait_for(lambda: gateway.get(f"events/{paid['id']}").json()["pending_webhooks"] == 0)


def test_a_refused_webhook_comes_again(gateway, shop):
    shop.answers = [500, 302]
    gateway.admin("POST", "webhooks", {"url": shop.url, "backoff": 0.02})
    gateway.post(amount="500", currency="usd")
    wait_for(lambda: len(shop.got) == 3)
    assert len({json.loads(body)["id"] for _, body in shop.got}) == 1
    wait_for(lambda: len(gateway.admin("GET", "webhooks/deliveries")["deliveries"]) == 3)
    deliveries = gateway.admin("GET", "webhooks/deliveries")["deliveries"]
    assert [entry["status"] for entry in deliveries] == [500, 302, 200]


def test_webhooks_on_demand(gateway, shop):
    gateway.admin("POST", "webhooks", {"url": shop.url, "paused": True})
    intent = gateway.pay().json()["id"]
    assert shop.got == [] and gateway.admin("GET", "webhooks")["waiting"] == 3
    send = {"payment_intent": intent}
    gateway.admin("POST", "webhooks/send", {**send, "order": "reverse"})
    assert shop.types() == [
        "payment_intent.succeeded",
        "charge.succeeded",
        "payment_intent.created",
    ]
    send["type"] = "payment_intent.succeeded"
    shop.got.clear()
    many = {**send, "times": 20, "together": True}
    assert len(gateway.admin("POST", "webhooks/send", many)["deliveries"]) == 20
    assert len(shop.got) == 20 and len({body for _, body in shop.got}) == 1
    for how, good in [("wrong", False), ("two", True), ("two_wrong", False), ("v0_only", False)]:
        shop.got.clear()
        gateway.admin("POST", "webhooks/send", {**send, "signature": how})
        assert check_signature(*shop.got[0]) is good
    gateway.admin("POST", "webhooks/send", {**send, "timestamp_offset": -400})
    stamp = int(shop.got[-1][0].split(",")[0][2:])
    assert 390 < time.time() - stamp < 420
    gateway.admin("POST", "webhooks/send", {**send, "signature": "missing"})
    assert shop.got[-1][0] is None


def test_a_kill_forgets_nothing_that_was_answered(tmp_path):
    state = tmp_path / "state.jsonl"
    with start_gateway("--state", str(state)) as program:
        gateway = Gateway(program.url)
        first = gateway.pay(key="a", metadata__order_id="7")
        gateway.pay(key="b", payment_method="pm_card_chargeDeclined")
        before = gateway.admin("GET", "ledger")
        program.kill()
    with open(state, "ab") as file:
        file.write(b'["charge", "ch_torn", {"id"')
    with start_gateway("--state", str(state)) as program:
        gateway = Gateway(program.url)
        after = gateway.admin("GET", "ledger")
        assert after["charges"] == before["charges"]
        replay = gateway.pay(key="a", metadata__order_id="7")
        assert replay.content == first.content
        assert replay.headers["Idempotent-Replayed"] == "true"
        assert gateway.pay(key="b", payment_method="pm_card_chargeDeclined").status_code == 402
        assert len(gateway.charged()) == 1
        gateway.admin("POST", "reset")
        assert state.stat().st_size == 0


def test_a_port_in_use_and_a_clean_end():
    with start_gateway() as program:
        port = program.url.rpartition(":")[2]
        command = [PYTHON, "-B", str(SANDBOX / "gateway.py"), "--port", port]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert second.returncode == 1 and "in use" in second.stderr and not second.stdout
        idle = socket.create_connection(("127.0.0.1", int(port)))
        assert program.stop() == 0
        idle.close()


def test_sixty_four_clients_at_once(gateway):
    def client(number):
        with requests.Session() as session:
            session.headers.update({**KEY, "Idempotency-Key": ""})
            for turn in range(5):
                session.headers["Idempotency-Key"] = f"{number}-{turn}"
                url = f"{gateway.url}/v1/payment_intents"
                assert session.post(url, PAID, timeout=60).status_code == 200

    with ThreadPoolExecutor(64) as pool:
        list(pool.map(client, range(64)))
    assert len(gateway.charged()) == 320


def test_expand_shows_what_hangs_on_a_charge(gateway):
    paid = gateway.pay(customer="cus_9").json()
    refund = gateway.post("refunds", payment_intent=paid["id"], amount="200").json()

    path = f"payment_intents/{paid['id']}"
    wanted = ["customer", "latest_charge.balance_transaction", "latest_charge.refunds", "review"]
    shown = gateway.get(path, **{"expand[]": wanted}).json()

    assert shown["customer"]["id"] == "cus_9" and shown["customer"]["object"] == "customer"
    assert shown["review"] is None
    charge = shown["latest_charge"]
    assert charge["balance_transaction"]["net"] == 1200 and charge["balance_transaction"]["source"] == charge["id"]
    assert [row["id"] for row in charge["refunds"]["data"]] == [refund["id"]]
    given_back = gateway.get(f"refunds/{refund['id']}", **{"expand[]": "balance_transaction"}).json()
    assert given_back["balance_transaction"]["amount"] == -200
    assert gateway.get(path, **{"expand[]": "amount"}).status_code == 400


def test_the_metadata_of_a_refund_are_changed(gateway):
    paid = gateway.pay().json()
    refund = gateway.post("refunds", payment_intent=paid["id"], metadata__a="1").json()

    changed = gateway.post(f"refunds/{refund['id']}", metadata__b="2").json()

    assert changed["metadata"] == {"a": "1", "b": "2"}
    assert gateway.get(f"refunds/{refund['id']}").json()["metadata"] == changed["metadata"]
    assert gateway.post(f"refunds/{refund['id']}", amount="1").status_code == 400
    assert gateway.post("refunds/re_nope", metadata__a="1").status_code == 404


@pytest.mark.parametrize("version, status", [("2026-10-28.endive", 200), ("2020-08-27", 200), ("nope", 400)])
def test_a_version_that_is_none_is_refused(gateway, version, status):
    answer = requests.get(f"{gateway.url}/v1/balance", headers={**KEY, "Stripe-Version": version}, timeout=60)
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["error"]["message"] == "Invalid Stripe API version: nope"

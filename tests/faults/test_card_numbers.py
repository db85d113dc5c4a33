"""Card numbers are refused and stand nowhere: not in a log, a table, a stream or a mail."""

import subprocess

from harness.postgres import program

# The public test numbers of the card companies; each passes the Luhn check.
NUMBERS = [
    "4242424242424242", "4000056655665556", "5555555555554444", "2223003122003222",
    "5200828282828210", "5105105105105100", "378282246310005", "371449635398431",
    "6011111111111117", "6011000990139424", "3056930009020004", "36227206271667",
    "3566002020360505", "6200000000000005", "4000000000000002", "4000000000009995",
    "4000002500003155", "4917610000000000003", "6304000000000000", "5019717010103742",
]  # fmt: skip


def spellings(number):
    groups = [number[i : i + 4] for i in range(0, len(number), 4)]
    return [number, " ".join(groups), "-".join(groups)]


def everything_kept(one, dump):
    """Every place where something of a request could have been kept."""
    places = dict(one.logs())
    places["database"] = dump
    for key in one.redis.scan_iter("*"):
        kind = one.redis.type(key)
        read = {
            "stream": lambda k: one.redis.xrange(k),
            "hash": one.redis.hgetall,
            "string": one.redis.get,
            "zset": lambda k: one.redis.zrange(k, 0, -1, withscores=True),
            "set": one.redis.smembers,
            "list": lambda k: one.redis.lrange(k, 0, -1),
        }[kind]
        places[f"redis {key}"] = f"{key} {read(key)}"
    for mail in one.mail.messages():
        places[f"mail {mail.number}"] = mail.raw().decode("utf-8", "replace")
    places["gateway"] = str(one.gateway.requests())
    return places


def test_card_numbers_are_refused_and_kept_nowhere(stack):
    one = stack({"LOG_LEVEL": "debug"}).start(dashboards=1)
    shop = one.shop().sign_up()
    product = one.product()
    order = shop.order((product, 1))["id"]
    token = "pm_card_visa"
    accepted = []
    canaries = []
    for number in NUMBERS:
        for text in spellings(number):
            canaries.append(text)
            payment = {"order_id": order, "payment_method": "card", "payment_token": token}
            bodies = [
                ("/api/payments/", {**payment, "payment_token": text}),
                ("/api/payments/", {**payment, "payment_token": f"pm_{text}"}),
                ("/api/payments/", {**payment, "card_number": text, "cvc": "123"}),
                ("/api/payments/", {**payment, "payment_method": text}),
                (f"/payment/pay/{order}/", {"payment_method": "card", "payment_token": text}),
                ("/api/orders/", {"items": [{"product_id": product, "quantity": 1}], "note": text}),
                ("/api/auth/register/", {
                    "username": f"u{text}", "email": f"c{len(canaries)}@example.com",
                    "password": "correct-horse-battery-7", "first_name": text,
                }),
            ]  # fmt: skip
            for path, body in bodies:
                answer = shop.post(path, body)
                if answer.status_code < 400:
                    accepted.append((path, body))
                assert answer.status_code < 500, answer.text
                assert text not in answer.text, "nor is it sent back"
        shop.get(f"/api/orders/?card={number}")
        shop.get(f"/api/orders/{number}/")
        shop.get("/api/orders/", headers={"User-Agent": number, "X-Card": number, "Referer": number})
        shop.post("/api/orders/", {"items": []}, headers={"Idempotency-Key": number})
        shop.http.post(shop.base() + "/api/payments/", data=f"{{broken {number}", timeout=60)
    assert not accepted, f"{len(accepted)} requests with a card number were taken: {accepted[:3]}"
    assert one.value("SELECT count(*) FROM payments") == 0

    shop.pay(order)
    shop.wait_order(order, "paid")
    one.settle()
    dump = subprocess.run(
        [program("pg_dump"), one.settings["DATABASE_URL"]],
        check=True, capture_output=True, text=True, cwd="/",
    ).stdout  # fmt: skip
    assert "pm_card_visa" in dump, "the dump is a whole one"
    places = everything_kept(one, dump)
    found = {name: c for name, text in places.items() for c in canaries if c in text}
    assert not found

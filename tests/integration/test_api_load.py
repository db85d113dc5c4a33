"""Figures, the access log, refusing checkouts in time, and clients that are slow on purpose."""

import concurrent.futures
import re
import socket
import time

import requests

from harness.wait import pause, wait_for

LINE = re.compile(r'^till_api_(\w+?)(?:\{(.*)\})? (\d+(?:\.\d+)?)$')
LABEL = re.compile(r'(\w+)="([^"]*)"')


def figures(api):
    """{(name, labels): value}"""
    answer = requests.get(api.api.url + "/metrics", timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            name, labels, value = LINE.match(line).groups()
            key = name, frozenset(LABEL.findall(labels or ""))
            assert key not in found, line
            found[key] = float(value)
    return found


def labelled(**labels):
    return frozenset(labels.items())


def test_answers_are_counted_by_route_and_status(api):
    shop = api.shop().sign_up()
    product = api.product()
    for _ in range(3):
        shop.get(f"/api/products/{product}/")
    shop.get("/api/products/999/")
    shop.call("HEAD", f"/api/products/{product}/")
    found = figures(api)
    route = {"method": "GET", "route": "/api/products/<id>/"}
    assert found["requests_total", labelled(**route, status="200")] == 4
    assert found["requests_total", labelled(**route, status="404")] == 1
    assert found["request_seconds_count", labelled(**route, status="2xx")] == 4
    buckets = [
        found["request_seconds_bucket", labelled(**route, status="2xx", le=le)]
        for le in ("0.0010", "0.1000", "10.0000", "+Inf")
    ]
    assert buckets == sorted(buckets) and buckets[-1] == 4
    assert 0 < found["request_seconds_sum", labelled(**route, status="2xx")] < 20
    assert found["cache_hits_total", frozenset()] == 3
    assert found["requests_in_flight", frozenset()] == 1
    assert (found["threads", frozenset()], found["backends", frozenset()]) == (80, 16)
    assert found["backends_lent", frozenset()] == 0


def test_no_client_makes_a_label(api):
    shop = api.shop().sign_up()
    for n in range(60):
        shop.get(f"/api/products/{n}{'x' * n}/")
        shop.get(f"/nothing-{n}/?x={n}", headers={"User-Agent": f"a{n}", "Host": f"h{n}"})
        requests.request(f"VERB{n}", api.api.url + "/healthz", timeout=30)
    names = {name: len([1 for n, _ in figures(api) if n == name]) for name, _ in figures(api)}
    assert names["requests_total"] < 15, names
    assert "nothing" not in str(figures(api))


def test_each_request_is_a_line_of_the_log(api):
    shop = api.shop().sign_up()
    user = shop.expect(200, shop.get("/api/users/"))["results"][0]["id"]
    answer = shop.get("/api/orders/", headers={"X-Request-Id": "line-1"})
    line = api.api.wait_for_log("request", request_id="line-1")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/api/orders/", 200)
    assert (line["bytes"], line["user_id"]) == (len(answer.content), user)
    assert 0 <= line["ms"] < 10000


def refused(answer):
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    return True


def test_checkouts_are_refused_while_payments_wait_too_long(stack):
    api = stack({"TILL_ADMISSION_SECONDS": 1})
    api.start_api()
    shop = api.shop().sign_up()
    product = api.product(stock=100)
    orders = [shop.order((product, 1)) for _ in range(2)]
    shop.pay(orders[0]["id"])
    wait_for(
        lambda: shop.post_order((product, 1)).status_code == 503, 15, "orders are still taken"
    )
    assert refused(shop.post_payment(orders[1]["id"]))
    body = {"payment_method": "card", "payment_token": "pm_card_visa"}
    assert refused(shop.post(f"/payment/pay/{orders[1]['id']}/", body))
    for path in ("/api/orders/", "/api/products/", "/readyz"):
        assert shop.get(path).status_code == 200
    assert figures(api)["admission_refused_total", frozenset()] >= 3
    api.start_worker()
    wait_for(
        lambda: shop.post_order((product, 1)).status_code == 201, 15, "orders are refused for ever"
    )
    assert shop.post_payment(orders[1]["id"]).status_code == 202


def test_checkouts_are_refused_while_the_database_is_slow(stack):
    api = stack({"TILL_ADMISSION_DATABASE_MS": 1500})  # more than a busy machine needs for a look-up
    api.start_api()
    shop = api.shop().sign_up()
    product = api.product()
    shop.order((product, 1))
    connection = api.postgres.connect(api.database)
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(shop.another_session().post_order, (product, 1))
            wait_for(
                lambda: api.value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0,
                10, "the request never waited",
            )
            pause(2)
            connection.commit()
            assert refused(waiting.result())
    connection.close()
    assert shop.post_order((product, 1)).status_code == 201


def test_slow_heads_do_not_end_the_service(stack):
    """Each connection sends a byte now and then and never ends its head."""
    api = stack()
    api.start_api(TILL_API_THREADS=4)
    host, port = api.api.address().split(":")
    slow = [socket.create_connection((host, int(port)), 5) for _ in range(40)]
    for connection in slow:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ")
    began = time.monotonic()
    ended = 0
    served = None
    while time.monotonic() - began < 90 and (ended < len(slow) or not served):
        for connection in slow:
            try:
                connection.sendall(b"a")
            except OSError:
                pass
        try:
            answer = requests.get(api.api.url + "/healthz", timeout=1)
            served = served or (answer.status_code == 200 and time.monotonic() - began)
        except requests.exceptions.RequestException:
            pass
        ended = 0
        for connection in slow:
            connection.setblocking(False)
            try:
                ended += not connection.recv(4096)
            except BlockingIOError:
                pass
            except OSError:
                ended += 1
            connection.setblocking(True)
            connection.settimeout(1)
    for connection in slow:
        connection.close()
    assert served, "nobody was served"
    assert ended == len(slow), f"{ended} of {len(slow)} were let go"

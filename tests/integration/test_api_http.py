"""HTTP itself: routing, headers, framing, limits, and the end of the program under load."""

import re
import socket
import threading
import time

import pytest
import requests

from harness import openapi
from harness.wait import wait_for


SECURE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}


def check_secure(answer):
    for name, value in SECURE.items():
        assert answer.headers[name] == value
    assert "Server" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_health_and_readiness(api):
    for path in ("/health", "/healthz"):
        answer = requests.get(api.api.url + path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        check_secure(answer)
    ready = requests.get(api.api.url + "/readyz")
    assert ready.json() == {"status": "ok", "database": "ok", "redis": "ok"}


def test_paths_are_exact(api):
    shop = api.shop().sign_up()
    product = api.product()
    for path in (
        "/api/nothing/", "/API/products/", "/api/productsx/", "/api//products/", "//api/products/",
        "/api/products/;x/", "/api/products;x=1/", f"/api/products/{product}%00/",
        f"/api/products/{product}%2f/", "/api/products/%2e%2e/products/", "/api/%70roducts/",
        "/healthz/", "/healthz;x", "/%68ealthz",
    ):
        answer = raw(api, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                          f"Authorization: Bearer {shop.token}\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404 Not Found\r\n"), (path, answer)
        assert answer.endswith(b'{"detail":"Not found."}')
    moved = shop.get("/api/products?page=1", allow_redirects=False)
    assert (moved.status_code, moved.headers["Location"]) == (301, "/api/products/?page=1")
    moved = shop.post("/api/orders", {"items": []}, allow_redirects=False)
    assert (moved.status_code, moved.headers["Location"]) == (301, "/api/orders/")
    check_secure(moved)


def test_methods(api):
    shop = api.shop().sign_up()
    product = f"/api/products/{api.product()}/"
    get, head = shop.get(product), shop.call("HEAD", product)
    assert head.status_code == 200 and head.content == b""
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    options = shop.call("OPTIONS", "/api/orders/")
    assert (options.status_code, options.headers["Allow"]) == (200, "GET, POST, HEAD, OPTIONS")
    wrong = shop.call("DELETE", "/api/orders/")
    assert (wrong.status_code, wrong.json()) == (405, {"detail": 'Method "DELETE" not allowed.'})
    assert wrong.headers["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert requests.options(
        api.api.url + "/api/orders/",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    ).status_code == 401
    for answer in (get, head, options, wrong):
        check_secure(answer)


def test_links_begin_as_the_client_came(api):
    """TLS ends at the proxy, which tells by X-Forwarded-Proto what it spoke."""
    shop = api.shop().sign_up()
    for _ in range(2):
        api.product()
    for proto, scheme in ((None, "http"), ("http", "http"), ("https", "https"), ("ftp", "http")):
        headers = {"Host": "shop.example", **({"X-Forwarded-Proto": proto} if proto else {})}
        root = shop.expect(200, shop.get("/api/", headers=headers))
        assert root["products"] == f"{scheme}://shop.example/api/products/"
        page = shop.expect(200, shop.get("/api/products/?page_size=1", headers=headers))
        assert page["next"] == f"{scheme}://shop.example/api/products/?page_size=1&page=2"


def test_what_cannot_be_accepted_is_not_given(api):
    shop = api.shop().sign_up()
    for accept, status in (
        ("application/json", 200), ("*/*", 200), ("application/*;q=0.5", 200), ("", 200),
        ("text/html,application/xhtml+xml,*/*;q=0.8", 200),
        ("application/xml", 406), ("text/html", 406), ("application/jsonx", 406),
    ):
        answer = shop.get("/api/products/", headers={"Accept": accept})
        assert answer.status_code == status, accept
    assert answer.json() == {"detail": "Could not satisfy the request Accept header."}


def test_probes_and_scrapers_are_answered_whatever_they_accept(api):
    prometheus = ("application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
                  "q=0.4,text/plain;version=0.0.4;q=0.3")
    for path in ("/health", "/healthz", "/readyz", "/metrics", "/api/openapi.json"):
        plain = requests.get(api.api.url + path)
        for accept in ("text/plain", "text/plain;version=0.0.4", "application/openmetrics-text", prometheus, "text/html"):
            answer = requests.get(api.api.url + path, headers={"Accept": accept})
            assert answer.status_code == 200, (path, accept)
            assert answer.headers["Content-Type"] == plain.headers["Content-Type"]
    login = requests.post(api.api.url + "/api/auth/login/", headers={"Accept": "text/plain"})
    assert login.status_code == 406


def test_a_request_can_be_followed_by_its_id(api):
    mine = requests.get(api.api.url + "/healthz", headers={"X-Request-Id": "abc-1"})
    assert mine.headers["X-Request-Id"] == "abc-1"
    line = api.api.wait_for_log("request", request_id="abc-1")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/healthz", 200)
    for bad in ("a b", "x" * 37, "a\"b"):
        made = requests.get(api.api.url + "/healthz", headers={"X-Request-Id": bad})
        assert re.fullmatch(r"[0-9a-f-]{36}", made.headers["X-Request-Id"])


def test_the_log_holds_no_secrets(api):
    shop = api.shop()
    shop.register(password="Canary-Password-1")
    tokens = shop.login(password="Canary-Password-1")
    shop.get("/api/products/?token=Canary-Query-1")
    shop.post("/api/auth/refresh/", {"refresh": tokens["refresh"]})
    shop.post("/api/auth/login/", {"email": shop.email, "password": "Canary-Password-2"})
    log = "".join(api.logs().values())
    for secret in ("Canary", tokens["access"], tokens["refresh"], shop.email, "argon2id"):
        assert secret not in log


# ---- framing ----


def raw(api, data, timeout=15):
    host, port = api.api.address().split(":")
    with socket.create_connection((host, int(port)), timeout) as connection:
        connection.sendall(data)
        answer = b""
        while True:
            try:
                part = connection.recv(65536)
            except ConnectionResetError:
                break
            if not part:
                break
            answer += part
    openapi.check_raw(data, answer)
    return answer


GET = b"GET /healthz HTTP/1.1\r\n"
POST = b"POST /api/auth/login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
NEXT = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

AMBIGUOUS = {
    "no host": (400, GET + b"A: b\r\n\r\n"),
    "two hosts": (400, GET + b"Host: x\r\nHost: y\r\n\r\n"),
    "empty host": (400, GET + b"Host:\r\n\r\n"),
    "host with path": (400, GET + b"Host: x/y\r\n\r\n"),
    "folded line": (400, GET + b"Host: x\r\nA: b\r\n c: d\r\n\r\n"),
    "folded by tab": (400, GET + b"Host: x\r\n\tfold\r\n\r\n"),
    "length hidden in a fold": (400, POST + b"A: b\r\n \r\nContent-Length: 2\r\n\r\n{}"),
    "blank before colon": (400, GET + b"Host: x\r\nA : b\r\n\r\n"),
    "bare line feed": (400, GET + b"Host: x\nA: b\r\n\r\n"),
    "bare line feeds": (400, GET + b"Host: x\n\n"),
    "blank before the first name": (400, GET + b" Host: x\r\n\r\n"),
    "no name": (400, GET + b"Host: x\r\n: y\r\n\r\n"),
    "two blanks in the first line": (400, b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"),
    "two different lengths": (400, POST + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}"),
    "length list": (400, POST + b"Content-Length: 2, 2\r\n\r\n{}"),
    "length with letters": (400, POST + b"Content-Length: 2abc\r\n\r\n{}"),
    "length with sign": (400, POST + b"Content-Length: +2\r\n\r\n{}"),
    "negative length": (411, POST + b"Content-Length: -2\r\n\r\n{}"),
    "empty length": (411, POST + b"Content-Length:\r\n\r\n{}"),
    "two keys": (400, POST + b"Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 2\r\n\r\n{}"),
    "one key twice": (400, POST + b"Idempotency-Key: a\r\nidempotency-key: a\r\nContent-Length: 2\r\n\r\n{}"),
    "two tokens": (400, GET + b"Host: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"),
    "two types": (400, POST + b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}"),
    "two signatures": (400, POST + b"Stripe-Signature: a\r\nStripe-Signature: b\r\nContent-Length: 2\r\n\r\n{}"),
    "length and encoding": (
        400, POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "chunked": (411, POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    "unknown encoding": (400, POST + b"Transfer-Encoding: xchunked\r\n\r\n{}"),
    "huge length": (413, POST + b"Content-Length: 99999999999999999999\r\n\r\n"),
    "over one MiB": (413, POST + b"Content-Length: 1048577\r\n\r\n"),
    "64 headers": (431, GET + b"Host: x\r\n" + b"A: b\r\n" * 63 + b"\r\n"),
    "200 headers": (431, GET + b"Host: x\r\n" + b"A: b\r\n" * 199 + b"\r\n"),
    "HTTP/2.0": (505, b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n"),
    "expectation": (417, POST + b"Expect: x\r\nContent-Length: 2\r\n\r\n{}"),
    "binary": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "no version": (400, b"GET /healthz\r\n\r\n"),
}


def test_ambiguous_requests_are_refused_and_end_the_connection(api):
    answers = {name: raw(api, data + NEXT) for name, (_, data) in AMBIGUOUS.items()}
    given = {name: int(answer[9:12] or 0) for name, answer in answers.items()}
    assert given == {name: status for name, (status, _) in AMBIGUOUS.items()}
    for name, answer in answers.items():
        assert answer.count(b"HTTP/1.1 ") == 1, (name, answer)
        assert b"\r\nConnection: close\r\n" in answer, name
        assert b"\r\nX-Content-Type-Options: nosniff\r\n" in answer, name
        assert b"\r\nContent-Type: application/json\r\n" in answer, name
        given = re.search(rb"\r\nX-Request-Id: ([0-9a-f-]{36})\r\n", answer)
        assert given, (name, answer)
        line = api.api.wait_for_log("request", request_id=given[1].decode())
        assert line["status"] == AMBIGUOUS[name][0], name


def test_what_has_no_path_of_ours_gets_none(api):
    for target in (b"http://x/healthz", b"*", b"x:80"):
        for method in (b"GET", b"OPTIONS", b"CONNECT"):
            answer = raw(api, method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not answer.startswith(b"HTTP/1.1 2"), (method, target, answer)
    for method in (b"TRACE", b"FOO"):
        answer = raw(api, method + b" /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert re.match(rb"HTTP/1.1 4\d\d ", answer), (method, answer)


def test_a_probe_without_headers_is_answered(api):
    """As load balancers send it in HTTP/1.0. HTTP/1.1 wants a Host."""
    for path, text in ((b"/health", b"200 OK"), (b"/nothing/", b"404 Not Found")):
        answer = raw(api, b"GET " + path + b" HTTP/1.0\r\n\r\n" + NEXT)
        assert answer.startswith(b"HTTP/1.1 " + text), answer
        assert answer.count(b"HTTP/1.1 ") == 1 and b"\r\nConnection: close\r\n" in answer
    assert raw(api, b"GET /health HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_connections_are_kept_and_pipelined(api):
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    login = POST + b"Content-Length: 2\r\n\r\n{}"
    answer = raw(api, one + login + one + NEXT)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"400", b"200", b"200"]


def test_large_bodies_and_slow_ones(api):
    big = b'{"email":"' + b"x" * (1024 * 1024 - 12) + b'"}'
    assert len(big) == 1024 * 1024
    answer = raw(api, POST + b"Connection: close\r\nContent-Length: 1048576\r\n\r\n" + big)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"no more than 254" in answer
    expecting = POST + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    assert raw(api, expecting).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 ")
    short = raw(api, POST + b"Content-Length: 10\r\n\r\n{}")
    assert short.startswith(b"HTTP/1.1 408 ")


def trickle(api, length, pause, limit):
    """Sends a body byte by byte; how long until the server has had enough."""
    host, port = api.api.address().split(":")
    began = time.monotonic()
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % length)
        connection.settimeout(pause)
        while time.monotonic() - began < limit:
            try:
                connection.sendall(b" ")
                if connection.recv(100):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    return time.monotonic() - began


@pytest.mark.parametrize("length", [100, 100000])
def test_a_trickling_body_does_not_hold_a_thread(api, length):
    assert 8 < trickle(api, length, 0.2, 30) < 17


# ---- the end ----


class Load:
    """Clients that send one request after the other, each on a connection of its own or on one
    that is kept, and note every request that was taken and not answered."""

    def __init__(self, api, product, keep):
        self.shop = api.shop().sign_up()
        self.product = product
        self.keep = keep
        self.made = 0
        self.refused = 0
        self.cut = []
        self.threads = [threading.Thread(target=self.run) for _ in range(8)]
        for thread in self.threads:
            thread.start()

    def run(self):
        mine = self.shop.another_session()
        while True:
            if not self.keep:
                mine.http.close()
            try:
                answer = mine.post_order((self.product, 1))
            except requests.exceptions.ConnectTimeout:
                return
            except requests.exceptions.ConnectionError as error:
                if "Connection refused" not in str(error):
                    self.cut.append(str(error))
                return
            assert answer.status_code == 201, answer.text
            self.made += 1

    def join(self):
        for thread in self.threads:
            thread.join(60)


@pytest.mark.parametrize("keep", [False, True], ids=["new connections", "kept connections"])
def test_the_end_cuts_nobody_off(stack, keep):
    api = stack()
    api.start_api(TILL_API_THREADS=4)
    load = Load(api, api.product(stock=1000000), keep)
    wait_for(lambda: load.made > 100, 30, "the load never began")
    api.api.term_and_wait(timeout=15)
    load.join()
    assert load.cut == []
    assert api.value("SELECT count(*) FROM orders") == load.made


def ready_at_the_end(api):
    """[what /readyz answers to one who comes when a program has been told to end], None to one who came too late: after a
    quarter of a second no new connection is made."""
    program = api.start_api()
    url = program.url
    idle = requests.Session()
    assert idle.get(url + "/healthz").status_code == 200
    host, port = program.address().split(":")
    silent = socket.create_connection((host, int(port)))
    program.term()
    began = time.monotonic()
    program.wait_for_log("stopping")
    try:
        answers = [requests.get(url + "/readyz", timeout=(1, 30))]
    except requests.ConnectionError:
        answers = None
    program.expect_exit(0)
    assert time.monotonic() - began < 15, "it has 25 s"
    silent.close()
    return answers


def test_readiness_falls_first_and_idle_connections_do_not_delay_the_end(stack):
    api = stack()
    [answer] = wait_for(lambda: ready_at_the_end(api), 60, "no new connection is ever made")
    assert (answer.status_code, answer.json()["status"]) == (503, "stopping")
    assert answer.headers["Connection"] == "close"


def test_a_second_signal_ends_it_at_once(api):
    host, port = api.api.address().split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(POST + b"Content-Length: 100\r\n\r\n")
        began = time.monotonic()
        api.api.term()
        api.api.wait_for_log("stopping")
        api.api.term()
        api.api.expect_exit(0)
        assert time.monotonic() - began < 9, "the body has 10 s"


def test_a_port_alone_is_told_as_every_address(stack):
    api = stack().start_api(TILL_API_LISTEN="0")

    assert api.address().startswith("0.0.0.0:")


def test_the_settings_are_checked(api):
    from harness import programs

    assert programs.run("till-api", api.settings, "--check").returncode == 0
    taken = {**api.settings, "TILL_API_LISTEN": api.api.address()}
    done = programs.run("till-api", taken)
    assert done.returncode == 1 and '"cannot listen on' in done.stderr.replace("\\", "")
    assert "Address already in use" in done.stderr
    nowhere = programs.run("till-api", {**taken, "TILL_API_LISTEN": "192.0.2.1:8000"})
    assert nowhere.returncode == 1 and "Cannot assign requested address" in nowhere.stderr
    for wrong in ({"JWT_SECRET": "short"}, {"TILL_NONSENSE": "1"}):
        assert programs.run("till-api", {**api.settings, **wrong}).returncode == 2

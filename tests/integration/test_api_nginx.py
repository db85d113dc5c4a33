"""The programs behind nginx, with the configuration of etc/nginx.conf: TLS, who the client is, framing, and
clients that are slow or idle, ten thousand of them."""

import concurrent.futures
import json
import re
import select
import socket
import ssl
import time
import warnings

import pytest
import requests

from harness import nginx, openapi
from harness.shop import Shop
from harness.wait import wait_for
from integration.test_api_http import AMBIGUOUS, GET, NEXT, POST, SECURE

IDLE = 10000


@pytest.fixture
def front(stack, test_folder):
    """A started API with nginx before it."""
    made = []

    def make(dashboard=False, **settings):
        one = stack()
        one.start_api(**settings)
        if dashboard:
            one.start_dashboard(PATH_PREFIX="/till", TILL_DASHBOARD_AUTH="admin:correct horse")
        behind = one.dashboard.address() if dashboard else "127.0.0.1:1"
        made.append(nginx.Nginx(test_folder, one.api.address(), behind).start())
        return one, made[0]

    yield make
    for proxy in made:
        proxy.stop()


def session(proxy):
    made = requests.Session()
    made.trust_env = False
    made.verify = proxy.certificate
    return made


def exchange(proxy, data, source=None):
    """All that comes back before the end."""
    answer = b""
    with proxy.connect(source, 60) as connection:
        try:
            connection.sendall(data)
            while part := connection.recv(65536):
                answer += part
        except (ConnectionError, ssl.SSLError):
            pass
    return answer


def statuses(answer):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def check_told(answer, status):
    """An answer of nginx itself."""
    assert answer.status_code == status
    assert list(answer.json()) == ["detail"]
    for name, value in SECURE.items():
        assert name == "Vary" or answer.headers[name] == value
    assert answer.headers["Server"] == "nginx"


def test_tls_ends_here(front):
    one, proxy = front(dashboard=True)
    shop = Shop(proxy.url, openapi.check)
    shop.http = session(proxy)
    shop.sign_up()
    for _ in range(3):
        one.product()
    page = shop.expect(200, shop.get("/api/products/?page_size=2"))
    assert page["next"] == f"{proxy.url}/api/products/?page_size=2&page=2"
    root = shop.expect(200, shop.get("/api/"))
    assert root["orders"] == f"{proxy.url}/api/orders/"
    answer = shop.get("/api/products/")
    for name, value in SECURE.items():
        assert answer.headers[name] == value
    one.api.wait_for_log("request", request_id=answer.headers["X-Request-Id"])

    assert shop.http.get(proxy.url + "/healthz").json() == {"status": "ok"}
    for inside in ("/metrics", "/readyz", "/readyz?a=b"):
        check_told(shop.http.get(proxy.url + inside), 404)
    for spelt in (b"/%72eadyz", b"/x/../readyz", b"//readyz", b"/readyz/"):
        answer = exchange(proxy, b"GET " + spelt + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert statuses(answer) in ([404], [301]) and b'"database"' not in answer, spelt
    clear = requests.get(f"http://127.0.0.1:{proxy.clear_port}/api/?a=b", allow_redirects=False)
    assert (clear.status_code, clear.headers["Location"]) == (308, "https://127.0.0.1/api/?a=b")
    with pytest.raises(ssl.SSLError), warnings.catch_warnings(action="ignore"):
        old = ssl.create_default_context(cafile=proxy.certificate)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with socket.create_connection(("127.0.0.1", proxy.port), 30) as plain:
            old.wrap_socket(plain, server_hostname="localhost")
    big = shop.http.post(proxy.url + "/api/auth/login/", data=b"x" * (1024 * 1024 + 1))
    check_told(big, 413)

    admin = session(proxy)
    admin.auth = ("admin", "correct horse")
    assert '"/till/' in admin.get(proxy.url + "/till/").text
    assert admin.get(proxy.url + "/till/api/workers").status_code == 200
    assert session(proxy).get(proxy.url + "/till/api/workers").status_code == 401
    for inside in ("metrics", "readyz", "%6detrics", "x/../readyz"):
        answer = exchange(proxy, f"GET /till/{inside} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert statuses(answer) == [404] and b"\r\nServer: nginx\r\n" in answer, inside
    assert session(proxy).get(proxy.url + "/till/healthz").status_code == 200
    pause = proxy.url + "/till/api/v1/queues/default/pause"
    assert admin.post(pause, headers={"Origin": "https://evil.example"}).status_code == 403
    assert admin.post(pause, headers={"Origin": proxy.url}).status_code == 200

    one.api.kill()
    down = shop.get("/api/products/")
    check_told(down, 502)
    assert down.headers["Retry-After"] == "1"


def test_a_client_cannot_choose_its_address(front):
    """Logging in costs ten: after one the address has to wait for a minute, whatever it says of itself."""
    _, proxy = front(TILL_RATE_ADDRESS=10)

    def status_of(number, source, *headers):
        lines = b"".join(header.encode() + b"\r\n" for header in headers)
        data = POST + lines + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"
        return statuses(exchange(proxy, data, source))

    spoofed = [
        status_of(number, "127.0.0.2", f"X-Forwarded-For: 192.0.2.{number}", "Forwarded: for=192.0.2.1",
                  f"X-Real-IP: 192.0.2.{number}", f"X_Forwarded_For: 192.0.2.{number}")
        for number in range(4)
    ]
    assert spoofed == [[400], [429], [429], [429]]
    assert status_of(0, "127.0.0.2", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-For: ::1") == [429]
    assert status_of(0, "127.0.0.3") == [400]


# A second request where a body, a header or an encoding would hide it from one of the two.
HIDDEN = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLED = {
    "in the body": POST + b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "behind length and encoding": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  b"%x\r\n%s\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN),
    "encoding spelt otherwise": POST + b"Content-Length: %d\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"
                                % (5 + len(HIDDEN)) + HIDDEN,
    "encoding in a tab": POST + b"Content-Length: %d\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n"
                         % (5 + len(HIDDEN)) + HIDDEN,
    "encoding twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "length with sign": POST + b"Content-Length: +0\r\n\r\n" + HIDDEN,
    "chunk with sign": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + HIDDEN,
    "huge chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n" + HIDDEN,
    "get with a body": GET + b"Host: x\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "bare line feed in a value": GET + b"Host: x\r\nA: b\n\nGET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    "bare carriage return": GET + b"Host: x\r\nA: b\r\rGET /readyz HTTP/1.1\r\n\r\n",
    "encoded in the path": b"GET /healthz%0d%0a%0d%0aGET%20/readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    "upgrade": GET + b"Host: x\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n",
    "connection drops a length": POST + b"Connection: Content-Length\r\nContent-Length: %d\r\n\r\n"
                                 % len(HIDDEN) + HIDDEN,
}
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


def test_nginx_and_the_api_see_the_same_requests(front):
    one, proxy = front()
    corpus = {**{name: data for name, (_, data) in AMBIGUOUS.items()}, **SMUGGLED, "whole": CHUNKED}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = dict(zip(corpus, pool.map(lambda data: exchange(proxy, data + NEXT), corpus.values())))

    def lines():
        with open(proxy.access_log, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def passed():
        """(method, status) of what nginx says that it passed on, and of what the API has answered."""
        mine = [line for line in one.api.read_log() if line.get("event") == "request"]
        return (
            sorted((line["method"], line["status"]) for line in lines() if line["upstream"]),
            sorted((line["method"], line["status"]) for line in mine),
        )

    def is_balanced():
        """Both logs are complete: every answer that a client has got is in nginx's, and they agree."""
        theirs, ours = passed()
        answered = sum(len(statuses(answer)) for answer in answers.values())
        return len(lines()) >= answered and theirs == ours and len(ours) > 10

    wait_for(is_balanced, 30, lambda: f"nginx passed on {passed()[0]}, the API saw {passed()[1]}")
    routes = [line["route"] for line in one.api.read_log() if line.get("event") == "request"]
    # What was hidden in the body of another came out nowhere; where nginx saw it as a request, so did we.
    seen = sum(line["path"] == "/readyz" and bool(line["upstream"]) for line in lines())
    assert routes.count("/readyz") == seen
    assert statuses(answers["whole"]) == [400, 200]  # read by nginx, and passed on with its length
    for name in ("length and encoding", "two lengths", "length with letters", "length with sign",
                 "negative length", "two hosts", "no host"):
        assert statuses(answers[name]) == [400], name
    assert statuses(answers["unknown encoding"]) == [501]
    for name in ("in the body", "get with a body", "connection drops a length"):
        assert b'"database"' not in answers[name], name
    for name, answer in answers.items():  # a request of HTTP/0.9 gets no head
        assert all(status < 500 or status in (501, 505) for status in statuses(answer)), name
        assert not statuses(answer) or b"\r\nX-Content-Type-Options: nosniff\r\n" in answer, name


class Crowd:
    """Connections of clients that say nothing, or too little."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.sockets = []

    def open(self, port, count, data):
        for number in range(count):
            source = f"127.0.1.{number % 200 + 1}"
            one = socket.create_connection(("127.0.0.1", port), 30, (source, 0))
            if data:
                one.sendall(data)
            self.sockets.append(one)
        return self.sockets[-count:]

    def close(self):
        for one in self.sockets:
            one.close()


def connections(api):
    text = requests.get(api.url + "/metrics", timeout=30).text
    return int(re.search(r"^till_api_connections (\d+)$", text, re.M)[1])


def test_slow_and_idle_clients_do_not_stop_the_service(front):
    descriptors = nginx.allow_descriptors()
    one, proxy = front()
    idle = min(IDLE, descriptors - 2000)
    print(f"{idle} idle connections; the machine permits {descriptors} descriptors a process")
    slow = []
    crowd = Crowd(proxy)
    try:
        # More than the API has threads: half of them send their head letter by letter, half their body.
        for number in range(40):
            connection = proxy.connect(f"127.0.2.{number + 1}")
            connection.sendall(GET if number % 2 else POST + b"Content-Length: 1000\r\n\r\n")
            slow.append(connection)
        kept = crowd.open(proxy.clear_port, idle * 4 // 5, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for connection in kept:
            assert connection.recv(64).startswith(b"HTTP/1.1 308 ")
        silent = crowd.open(proxy.port, idle // 5, None)
        began = time.monotonic()
        shop = Shop(proxy.url, openapi.check)
        shop.http = session(proxy)
        shop.sign_up()
        product = one.product()
        for _ in range(50):
            shop.expect(200, shop.get(f"/api/products/{product}/"))
            for connection in slow:
                try:
                    connection.sendall(b"A")
                except OSError:
                    pass  # nginx has had enough
        print(f"50 answers in {time.monotonic() - began:.1f} s")
        assert connections(one.api) < 16
        # Who sends no head in time is shut out, and none of them was ever seen by the API.
        wait_for(lambda: ended(silent) == len(silent), 60, lambda: f"{ended(silent)} have ended")
        wait_for(lambda: ended(slow[1::2]) == len(slow[1::2]), 60, "slow heads are still waited for")
        shop.expect(200, shop.get(f"/api/products/{product}/"))
        assert one.api.find_log("request", route="/api/auth/login/", status=408) is None
    finally:
        crowd.close()
        for connection in slow:
            connection.close()


def ended(connections):
    """How many the other side has closed."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN | select.POLLRDHUP)
    return sum(bool(events & (select.POLLRDHUP | select.POLLHUP | select.POLLERR)) for _, events in poll.poll(0))

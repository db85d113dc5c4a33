"""Which connections keep their thread: silent ones while threads are free, nobody for long when
every thread is taken."""

import socket
import threading
import time

import pytest
import requests

from harness import openapi
from harness.wait import SLOWNESS, pause

ASK = b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n"
THREADS = 2


@pytest.fixture
def api(stack):
    one = stack(settings={"TILL_API_THREADS": THREADS})
    one.start_api()
    return one.api


class Connection:
    def __init__(self, api):
        host, port = api.address().split(":")
        self.socket = socket.create_connection((host, int(port)), 30 * SLOWNESS)

    def ask(self):
        """One answer, b"" when the connection has been closed."""
        self.socket.sendall(ASK)
        answer = self.socket.recv(4096)
        openapi.check_raw(ASK, answer)
        return answer

    def is_closed_within(self, seconds):
        self.socket.settimeout(seconds * SLOWNESS)
        try:
            while self.socket.recv(4096):
                pass
        except TimeoutError:
            return False
        return True


def test_a_silent_connection_stays_open_while_a_thread_is_free(api):
    one = Connection(api)
    assert one.ask().startswith(b"HTTP/1.1 200 ")

    pause(2.5)  # what is shown is that time does nothing to it

    assert one.ask().startswith(b"HTTP/1.1 200 ")


def test_silent_connections_give_way_when_every_thread_is_taken(api):
    silent = [Connection(api) for _ in range(THREADS)]
    for one in silent:
        assert one.ask().startswith(b"HTTP/1.1 200 ")

    assert requests.get(api.url + "/healthz", timeout=30 * SLOWNESS).status_code == 200

    assert any(one.is_closed_within(1) for one in silent)


def test_who_has_written_has_to_connect_anew_when_every_thread_is_taken(api):
    """A read that meets the end of its connection can be sent again; a write cannot without thought."""
    taken = [Connection(api) for _ in range(THREADS - 1)]
    for one in taken:
        assert one.ask().startswith(b"HTTP/1.1 200 ")
    with requests.Session() as client:
        read = client.get(api.url + "/api/products/", timeout=30 * SLOWNESS)
        write = client.post(api.url + "/api/auth/login/", json={}, timeout=30 * SLOWNESS)

    assert "close" not in read.headers.get("Connection", "")
    assert write.status_code == 400 and write.headers["Connection"] == "close"


def test_connections_that_never_ask_hold_the_threads_for_seconds_at_most(api):
    silent = [Connection(api) for _ in range(THREADS)]
    silent[0].socket.sendall(b"GET /healthz HTTP/1.1\r\n")

    assert requests.get(api.url + "/healthz", timeout=30 * SLOWNESS).status_code == 200

    assert all(one.is_closed_within(30) for one in silent)


def test_busy_connections_share_the_threads(api):
    """Twice as many clients as threads, none of which ever falls silent: each gets its answers."""
    over = threading.Event()
    answers = [0] * (2 * THREADS)

    def live(number):
        session = requests.Session()
        while not over.is_set():
            assert session.get(api.url + "/healthz", timeout=60 * SLOWNESS).status_code == 200
            answers[number] += 1

    clients = [threading.Thread(target=live, args=(n,)) for n in range(len(answers))]
    for client in clients:
        client.start()
    until = time.monotonic() + 60 * SLOWNESS
    while min(answers) < 20 and time.monotonic() < until:
        pause(0.05)
    over.set()
    for client in clients:
        client.join()

    assert min(answers) >= 20, answers

"""How a scripted fault spoils an answer: the points where it gets in, and the bytes it sends.

Owns: the meaning of each action of faults.py. server.py calls it around and instead of its own
sending.
"""

import gzip
import json
import socket
import struct
import time

from .stripe_api import Answer, failure

CHUNK = b"x" * 65536


class Dropped(Exception):
    """The connection is closed now, without (the rest of) an answer; the text is the outcome."""


class Stages:
    """One request's fault, asked at each point of the request's life. Without a fault, nothing."""

    def __init__(self, book, request, fault):
        self.book = book
        self.request = request
        self.fault = fault
        self.action = fault.action if fault else None
        self.was_delayed = self.was_replaced = False

    def before_running(self):
        self.was_delayed = True
        if not self.fault:
            return
        time.sleep(self.fault.delay())
        if self.action == "hold_before":
            self.hold("before")

    def instead_of_running(self):
        if self.action == "status" and self.fault.option("when", "before") == "before":
            self.was_replaced = True
            return failed(self.fault, self.request)
        return None

    def instead_of_result(self, answer, save):
        if self.action != "status":
            return answer, save
        self.was_replaced = True
        return failed(self.fault, self.request), self.fault.option("save", True)

    def after_answer(self, answer):
        """Makes good what a replay or a refusal has stepped over, then holds if asked to."""
        if not self.was_delayed:
            self.before_running()
        if self.action == "status" and not self.was_replaced:
            answer = failed(self.fault, self.request)
        if self.action == "hold_after":
            self.hold("after")
        return answer

    def hold(self, stage):
        self.request.log["outcome"] = f"held {stage}"
        if not self.book.hold(self.request, stage):
            raise Dropped(f"dropped while held {stage}")


def failed(fault, request):
    status = fault.option("status")
    body = failure(status, request, fault.option("code"), fault.option("message"))
    headers = {}
    if status == 429 or fault.option("retry_after") is not None:
        headers["Retry-After"] = str(fault.option("retry_after", 1))
    retry = {409: True, 429: fault.option("code") == "lock_timeout"}.get(status)
    if status >= 500:
        # An answer that is saved under the key comes back the same; asking again is no use.
        saved = fault.option("save", fault.option("when", "before") == "after")
        retry = not (saved and request.idempotency_key)
    retry = fault.option("should_retry", retry)
    if retry is not None:
        headers["Stripe-Should-Retry"] = "true" if retry else "false"
    return Answer(status, body, headers)


def before(handler, request, fault):
    """Faults that leave the request unread by the API; returns the outcome if it has answered."""
    if fault.action == "status":
        handler.send_answer(request, failed(fault, request))
        return "answered"
    if fault.action == "redirect":
        status = fault.option("status", 302)
        headers = {"Location": fault.option("location", "http://127.0.0.1:9/v1/elsewhere")}
        handler.send_answer(request, Answer(status, b"", headers))
        return "redirected"
    close(handler, fault)


def after(handler, request, fault, answer):
    """Sends `answer` spoiled; returns the outcome, or None if the fault leaves it alone."""
    if fault.action in ("drop_after", "reset", "hang"):
        close(handler, fault)
    spoil = SPOILERS.get(fault.action)
    return spoil(handler, request, fault, answer) if spoil else None


def close(handler, fault):
    connection = handler.connection
    if fault.action == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Dropped("reset")
    if fault.action == "hang":
        connection.settimeout(None)
        while connection.recv(4096):
            pass
        raise Dropped("hung")
    raise Dropped("dropped")


def garbage(handler, request, fault, answer):
    body = fault.option("body", '<html>this is {"not": json').encode()
    handler.send_answer(request, Answer(200, body, answer.headers))
    return "garbage"


def truncate(handler, request, fault, answer):
    whole = handler.head(request, answer)
    handler.connection.sendall(whole + answer.body[: len(answer.body) // 2])
    raise Dropped("truncated")


def slow_body(handler, request, fault, answer):
    rate = fault.option("rate", 1)
    handler.connection.sendall(handler.head(request, answer))
    for index in range(len(answer.body)):
        time.sleep(1 / rate if rate else 3600)
        handler.connection.sendall(answer.body[index : index + 1])
    return "slow"


def wrong_content_type(handler, request, fault, answer):
    answer.headers["Content-Type"] = fault.option("content_type", "text/html; charset=utf-8")
    handler.send_answer(request, answer)
    return "wrong content type"


def huge_body(handler, request, fault, answer):
    """Sends until the client has had enough; chunked means that no length is told."""
    left = fault.option("bytes", 10_000_000_000)
    chunked = fault.option("chunked", False)
    size = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(left)}
    handler.connection.sendall(handler.head(request, Answer(200, b"", {**answer.headers, **size})))
    while left > 0:
        part = CHUNK[: min(left, len(CHUNK))]
        left -= len(part)
        frame = b"%x\r\n%s\r\n" % (len(part), part) if chunked else part
        handler.connection.sendall(frame)
    if chunked:
        handler.connection.sendall(b"0\r\n\r\n")
    return "huge"


def gzip_bomb(handler, request, fault, answer):
    body = gzip.compress(bytes(fault.option("bytes", 50_000_000)), compresslevel=9)
    headers = {**answer.headers, "Content-Encoding": "gzip"}
    handler.send_answer(request, Answer(200, body, headers))
    return "gzip bomb"


def duplicate_keys(handler, request, fault, answer):
    """The true answer with other values first under the same names."""
    first = b'{"id": "pi_other", "amount": 1, "currency": "xxx", "status": "canceled", '
    body = first + answer.body.lstrip()[1:]
    handler.send_answer(request, Answer(answer.status, body, answer.headers))
    return "duplicate keys"


def wrong_amount(handler, request, fault, answer):
    try:
        thing = json.loads(answer.body)
        wrong = fault.option("amount", thing["amount"] + 1)
    except (ValueError, KeyError, TypeError):
        return None
    thing["amount"] = wrong
    if thing.get("amount_received"):
        thing["amount_received"] = wrong
    body = json.dumps(thing).encode()
    handler.send_answer(request, Answer(answer.status, body, answer.headers))
    return "wrong amount"


SPOILERS = {
    function.__name__: function
    for function in (
        garbage,
        truncate,
        slow_body,
        wrong_content_type,
        huge_body,
        gzip_bomb,
        duplicate_keys,
        wrong_amount,
    )
}

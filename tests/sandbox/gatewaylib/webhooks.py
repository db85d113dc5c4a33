"""Events, and their signed delivery to the shop.

Owns: recording an event with the object as it was, sending it until a 2xx comes back or the tries
are used up, and sending it again on demand in every wrong way a test wants. A few threads send,
so that one slow receiver does not hold up the rest; order of arrival is therefore not promised,
which is what Stripe says too. Signatures carry the real time, not the ledger's clock, because the
receiver compares them with its own.
"""

import hashlib
import hmac
import heapq
import http.client
import itertools
import json
import random
import threading
import time
from urllib.parse import urlsplit

from . import objects

SENDERS = 4
TIMEOUT = 10.0
MAX_BACKOFF = 60.0
SIGNATURES = ("good", "wrong", "two", "two_wrong", "v0_only", "no_time", "missing", "garbage")
MAX_EVENTS = 50_000
WRONG_SECRET = "whsec_wrong"


def record(call, kind, subject, pending):
    """A shallow copy is a true snapshot: values inside an object are replaced, never changed."""
    event = objects.event(
        call.now, kind, dict(subject), call.request_id, call.idempotency_key, pending
    )
    call.ledger.put("event", event)
    if len(call.ledger["event"]) > MAX_EVENTS:
        call.ledger.remove("event", next(iter(call.ledger["event"])))
    return event


def sign(secret, stamp, body):
    return hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


def signature(secret, stamp, body, how="good"):
    """The Stripe-Signature header, or None for no header at all."""
    good, wrong = sign(secret, stamp, body), sign(WRONG_SECRET, stamp, body)
    return {
        "good": f"t={stamp},v1={good},v0={wrong}",
        "wrong": f"t={stamp},v1={wrong}",
        "two": f"t={stamp},v1={wrong},v1={good}",
        "two_wrong": f"t={stamp},v1={wrong},v1={wrong[::-1]}",
        "v0_only": f"t={stamp},v0={good}",
        "no_time": f"v1={good}",
        "missing": None,
        "garbage": "this is not a signature",
    }[how]


class Webhooks:
    def __init__(self, ledger, url, secret):
        self.ledger = ledger
        self.url = url
        self.secret = secret
        self.tries = 10
        self.backoff = 0.5
        self.paused = False
        self.deliveries = []
        self.waiting = []
        self.numbers = itertools.count()
        self.changed = threading.Condition()

    def start(self):
        with self.ledger.lock:
            unsent = [event for event in self.ledger["event"].values() if event["pending_webhooks"]]
        self.deliver(unsent)
        for _ in range(SENDERS):
            threading.Thread(target=self.send_waiting, daemon=True).start()

    def settings(self):
        with self.changed:
            names = ("url", "secret", "tries", "backoff", "paused")
            settings = {name: getattr(self, name) for name in names}
            settings["waiting"] = len(self.waiting)
            return settings

    def configure(self, values):
        with self.changed:
            for name, value in values.items():
                setattr(self, name, value)
            self.changed.notify_all()

    def deliver(self, events):
        if not events or not self.url:
            return
        with self.changed:
            for event in events:
                heapq.heappush(
                    self.waiting, (time.monotonic(), next(self.numbers), event["id"], 1)
                )
            self.changed.notify_all()

    def forget(self):
        with self.changed:
            self.waiting.clear()
            self.deliveries.clear()

    def send_waiting(self):
        while True:
            event_id, attempt = self.next_due()
            with self.ledger.lock:
                event = self.ledger["event"].get(event_id)
                body = json.dumps(event).encode() if event else None
            if body is None:
                continue
            delivery = self.post(event_id, event["type"], body, attempt)
            if 200 <= (delivery["status"] or 0) <= 299:
                self.delivered(event_id)
            elif attempt < self.tries:
                pause = min(self.backoff * 2 ** (attempt - 1), MAX_BACKOFF)
                entry = (time.monotonic() + pause, next(self.numbers), event_id, attempt + 1)
                with self.changed:
                    heapq.heappush(self.waiting, entry)
                    self.changed.notify_all()

    def next_due(self):
        with self.changed:
            while True:
                pause = None
                if self.waiting and not self.paused:
                    pause = self.waiting[0][0] - time.monotonic()
                    if pause <= 0:
                        _, _, event_id, attempt = heapq.heappop(self.waiting)
                        return event_id, attempt
                self.changed.wait(pause)

    def delivered(self, event_id):
        with self.ledger.lock:
            event = self.ledger["event"].get(event_id)
            if event:
                event["pending_webhooks"] = 0
                self.ledger.put("event", event)
                self.ledger.commit()

    def send(self, event, times=1, how="good", offset=0, body=None, together=False):
        """On demand and at once: the list of what the receiver answered."""
        if body is None:
            with self.ledger.lock:
                body = json.dumps(event)
        results = [None] * times

        def one(index):
            results[index] = self.post(
                event["id"], event["type"], body.encode(), 0, how, int(offset)
            )

        if together:
            threads = [threading.Thread(target=one, args=(index,)) for index in range(times)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        else:
            for index in range(times):
                one(index)
        return results

    def post(self, event_id, kind, body, attempt, how="good", offset=0):
        header = signature(self.secret, int(time.time()) + offset, body, how)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Connection": "close",
        }
        if header is not None:
            headers["Stripe-Signature"] = header
        status = error = None
        try:
            status = post(self.url, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as problem:
            error = f"{type(problem).__name__}: {problem}"
        delivery = {
            "event": event_id,
            "type": kind,
            "attempt": attempt,
            "signature": how,
            "status": status,
            "error": error,
            "at": time.time(),
        }
        with self.changed:
            self.deliveries.append(delivery)
        return delivery


def post(url, body, headers):
    parts = urlsplit(url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"no webhook URL is set, or it is not http: '{url}'")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read(65536)
        return answer.status
    finally:
        connection.close()


def in_order(events, order, seed):
    if order == "reverse":
        return list(reversed(events))
    if order == "shuffle":
        return random.Random(seed).sample(events, len(events))
    return events

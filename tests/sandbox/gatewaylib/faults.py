"""Scripted faults: what a test wants to go wrong, for which requests, and how often.

Owns: the table of actions with their options, the matching, and the requests that are being held.
One fault at most is applied to a request: the first in the order they were posted that matches
and has turns left. server.py and stripe_api.py ask a fault what to do; they script nothing.
"""

import itertools
import random
import threading
import time

WHEN = ("before", "after")


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def turns(value):
    return count(value) or value == -1


def text(value):
    return isinstance(value, str)


def flag(value):
    return isinstance(value, bool)


def when(value):
    return value in WHEN


def status(value):
    return count(value) and 100 <= value <= 599


def strings(value):
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def probability(value):
    return number(value) and value <= 1


MATCH = {
    "method": text,
    "path": text,
    "metadata": strings,
    "payment_method": text,
    "idempotency_key": text,
    "times": turns,
    "skip": count,
    "probability": probability,
    "seed": count,
    "latency": number,
}
ACTIONS = {
    "latency": {"seconds": number},
    "drop_before": {},
    "drop_after": {},
    "reset": {"when": when},
    "hang": {"when": when},
    "hold_before": {},
    "hold_after": {},
    "status": {
        "status": status,
        "when": when,
        "save": flag,
        "code": text,
        "message": text,
        "retry_after": count,
        "should_retry": flag,
    },
    "redirect": {"location": text, "status": status},
    "garbage": {"body": text},
    "truncate": {},
    "slow_body": {"rate": number},
    "wrong_content_type": {"content_type": text},
    "huge_body": {"bytes": count, "chunked": flag},
    "gzip_bomb": {"bytes": count},
    "duplicate_keys": {},
    "wrong_amount": {"amount": count},
}


class Refused(Exception):
    """A fault that no request could ever match or that nobody understands: a mistake in a test."""


class Fault:
    ids = itertools.count(1)

    def __init__(self, spec):
        if not isinstance(spec, dict) or spec.get("action") not in ACTIONS:
            raise Refused(f"a fault needs an action, one of: {', '.join(ACTIONS)}")
        self.action = spec["action"]
        known = {"action": text, **MATCH, **ACTIONS[self.action]}
        for name, value in spec.items():
            if name not in known:
                raise Refused(f"action '{self.action}' has no option '{name}'")
            if not known[name](value):
                raise Refused(f"option '{name}' of action '{self.action}' cannot be {value!r}")
        if self.action == "status" and "status" not in spec:
            raise Refused("action 'status' needs the option 'status'")
        self.id = next(self.ids)
        self.spec = spec
        self.left = spec.get("times", 1)
        self.skip = spec.get("skip", 0)
        self.matched = self.applied = 0
        self.random = random.Random(spec.get("seed", 0))

    def option(self, name, default=None):
        return self.spec.get(name, default)

    def is_for(self, request):
        spec, given = self.spec, request.given
        metadata = given.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        return (
            spec.get("method", request.method).upper() == request.method
            and request.path.startswith(spec.get("path", "/"))
            and spec.get("idempotency_key", request.idempotency_key) == request.idempotency_key
            and spec.get("payment_method", given.get("payment_method"))
            == given.get("payment_method")
            and all(metadata.get(key) == item for key, item in spec.get("metadata", {}).items())
        )

    def take_turn(self):
        """True if this matching request is one that the fault wants."""
        if self.left == 0:
            return False
        self.matched += 1
        if self.matched <= self.skip or self.random.random() >= self.spec.get("probability", 1):
            return False
        if self.left > 0:
            self.left -= 1
        self.applied += 1
        return True

    def is_before(self):
        """Whether the request is spoiled before anything of it has run."""
        early = ("drop_before", "redirect")
        if self.action == "status":
            return self.option("when", "before") == "before" and not self.option("save", False)
        if self.action in ("reset", "hang"):
            return self.option("when", "before") == "before"
        return self.action in early

    def delay(self):
        seconds = self.option("latency", 0)
        return seconds + self.option("seconds", 0) if self.action == "latency" else seconds

    def shown(self):
        state = {"id": self.id, "left": self.left, "matched": self.matched}
        return {**self.spec, **state, "applied": self.applied}


class FaultBook:
    def __init__(self):
        self.lock = threading.Lock()
        self.faults = []
        self.held = {}
        self.hold_ids = itertools.count(1)

    def add(self, specs):
        faults = [Fault(spec) for spec in (specs if isinstance(specs, list) else [specs])]
        with self.lock:
            self.faults.extend(faults)
        return [fault.shown() for fault in faults]

    def shown(self):
        with self.lock:
            return [fault.shown() for fault in self.faults]

    def clear(self):
        with self.lock:
            self.faults.clear()

    def pick(self, request):
        with self.lock:
            for fault in self.faults:
                if fault.is_for(request) and fault.take_turn():
                    return fault
        return None

    def hold(self, request, stage):
        """Waits for release(); True means go on, False means drop the connection."""
        entry = {
            "id": next(self.hold_ids),
            "stage": stage,
            "method": request.method,
            "path": request.path,
            "idempotency_key": request.idempotency_key,
            "since": time.time(),
        }
        released = threading.Event()
        with self.lock:
            self.held[entry["id"]] = (entry, released)
        released.wait()
        return entry["action"] == "continue"

    def held_now(self):
        with self.lock:
            return [entry for entry, _ in self.held.values()]

    def release(self, limit=None, action="continue"):
        """Lets the longest held go first; returns how many went."""
        with self.lock:
            chosen = list(self.held)[:limit]
            for hold_id in chosen:
                entry, released = self.held.pop(hold_id)
                entry["action"] = action
                released.set()
        return len(chosen)

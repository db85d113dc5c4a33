"""Scripted faults of the mail server, and the sessions that are being held.

Owns: which faults wait for their turn. A fault is {"action": name, "times": n, ...}; n is 1 unless
told, -1 for ever. Taken by the SMTP sessions in their loop, set by the control interface's
threads, hence the lock.
"""

import asyncio
import itertools
import threading

ACTIONS = (
    "greet_421",
    "greylist",
    "rcpt",
    "mail_from_451",
    "data_552",
    "data_451",
    "drop_after_data",
    "drop_before_data",
    "silent_greeting",
    "slow",
    "garbage",
    "refuse",
    "hold",
)
OPTIONS = {"rcpt": "rcpt", "slow": "seconds"}


class Refused(Exception):
    """A fault that nobody understands: a mistake in a test."""


def checked(spec):
    if not isinstance(spec, dict) or spec.get("action") not in ACTIONS:
        raise Refused(f"a fault needs an action, one of: {', '.join(ACTIONS)}")
    action = spec["action"]
    needed = OPTIONS.get(action)
    for name in spec:
        if name not in ("action", "times", "skip", needed):
            raise Refused(f"action '{action}' has no option '{name}'")
    for name, least in (("times", -1), ("skip", 0)):
        value = spec.get(name, 0)
        if type(value) is not int or value < least:
            raise Refused(f"option '{name}' cannot be {value!r}")
    fault = {"times": 1, "skip": 0, **spec, "taken": 0}
    if action == "slow" and not is_seconds(fault.get("seconds")):
        raise Refused("action 'slow' needs 'seconds'")
    if action == "rcpt":
        fault["rcpt"] = replies(fault.get("rcpt"))
    return fault


def is_seconds(value):
    return type(value) in (int, float) and value >= 0


def replies(given):
    """{address: [code, words]} with the addresses in lower case."""
    if not isinstance(given, dict) or not given:
        raise Refused("action 'rcpt' needs 'rcpt': {address: [code, words]}")
    for reply in given.values():
        if not isinstance(reply, list) or len(reply) != 2 or type(reply[0]) is not int:
            raise Refused("a reply of action 'rcpt' is [code, words]")
    return {address.lower(): reply for address, reply in given.items()}


class FaultBook:
    def __init__(self, loop):
        self.loop = loop
        self.lock = threading.Lock()
        self.faults = []
        self.held = {}
        self.hold_ids = itertools.count(1)

    def add(self, specs):
        faults = [checked(spec) for spec in (specs if isinstance(specs, list) else [specs])]
        with self.lock:
            self.faults.extend(faults)

    def shown(self):
        with self.lock:
            return [dict(fault) for fault in self.faults]

    def clear(self):
        with self.lock:
            self.faults.clear()

    def take(self, action, address=None):
        """The first fault of this action that has a turn left, used up by one; or None."""
        with self.lock:
            for fault in self.faults:
                if fault["action"] != action or fault["times"] == 0:
                    continue
                if address is not None and address.lower() not in fault["rcpt"]:
                    continue
                if fault["skip"] > 0:
                    fault["skip"] -= 1
                    continue
                if fault["times"] > 0:
                    fault["times"] -= 1
                fault["taken"] += 1
                return fault
        return None

    async def hold(self, number):
        """Waits for release(); True means answer, False means close without an answer."""
        released = self.loop.create_future()
        with self.lock:
            hold_id = next(self.hold_ids)
            self.held[hold_id] = (number, released)
        try:
            return await released
        finally:
            with self.lock:
                self.held.pop(hold_id, None)

    def held_now(self):
        with self.lock:
            return [number for number, _ in self.held.values()]

    def release(self, limit=None, action="continue"):
        with self.lock:
            chosen = [self.held.pop(hold_id) for hold_id in list(self.held)[:limit]]
        for _, released in chosen:
            self.loop.call_soon_threadsafe(answer, released, action == "continue")
        return len(chosen)


def answer(released: asyncio.Future, value):
    if not released.done():
        released.set_result(value)

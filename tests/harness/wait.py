"""Waiting for something to become true. The only place in the tests that sleeps."""

import os
import time

# A deadline is there to end a test that has failed, so it leaves room for a machine that is busy with
# other things; sanitizers make the programs slower still.
BUILD = os.environ.get("BUILD", "build")
SLOWNESS = 12 if "tsan" in BUILD else 6 if "asan" in BUILD or "coverage" in BUILD else 3


class TooLate(AssertionError):
    pass


def wait_for(condition, timeout=10.0, message=None):
    """Calls `condition` until it gives something true, and returns that.

    `message` is a text, or a function that makes one when it is needed.
    """
    deadline = time.monotonic() + timeout * SLOWNESS
    pause = 0.005
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            text = message() if callable(message) else message or "condition never held"
            raise TooLate(f"not within {timeout * SLOWNESS:g} s: {text}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def pause(seconds):
    """Time that has to pass because it is what a test is about: a lease running out, a moment of
    load between two faults. Never a guess at how long something takes."""
    time.sleep(seconds)


def a_second(count, seconds):
    """How often a second something happens, by the time that really passes: a busy machine wakes late."""
    before, began = count(), time.monotonic()
    pause(seconds)
    after, ended = count(), time.monotonic()
    return (after - before) / (ended - began)

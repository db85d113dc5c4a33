"""Crash points: the places in the source, and a stage on which a program dies at them.

A visit is a generator: what it does before its `yield` is prepared while nothing is armed, what it
does after is what makes the program come by. It begins again what a dying API leaves unanswered,
as a client does; everything else comes to its end by itself, once somebody runs again.
"""

import glob
import os
import random
import re
import threading
import time

from . import invariants
from .load import Load
from .programs import ROOT
from .wait import wait_for

FOLDERS = ("api", "api/dashboard", "cli", "common", "scheduler", "worker")


def points_in_source():
    found = []
    for folder in FOLDERS:
        for path in sorted(glob.glob(os.path.join(ROOT, folder, "*.c"))):
            with open(path, encoding="utf-8") as file:
                found += re.findall(r'\bCRASH_POINT\("([^"]*)"\)', file.read())
    return found


class Stage:
    def __init__(self, one, seed=1):
        """`one` runs one of each program; each is replaced when it is the one to die."""
        self.one = one
        self.chooser = random.Random(seed)
        self.known = invariants.Known()
        self.load = Load(one, customers=1, products=4, seed=seed, declined=0)
        self.shop = self.load.shops[0]
        self.known.orders, self.known.payments = self.load.ordered, self.load.accepted
        self.armed = None
        self.seen = []  # points at which a program has died, in order

    # ---- what visits do ----

    def check_out(self, token=None):
        """Orders and pays, insisting; the payment's id."""
        before = len(self.load.accepted)
        self.load.declined = 1 if token else 0
        self.load.check_out(self.shop, self.chooser)
        assert len(self.load.accepted) == before + 1, self.load.troubles[-3:]
        return self.load.accepted[-1]

    def wait_payment(self, payment, *states):
        wait_for(
            lambda: self.one.value("SELECT status FROM payments WHERE id = %s", payment) in states,
            60,
            f"payment {payment} never {states}",
        )

    def finish(self, *jobs):
        """Waits until these jobs have succeeded."""
        for job in jobs:
            self.one.wait_job(job, timeout=60)

    def insist(self, call):
        """Calls until it gives something true; a program that is dead at the moment gives nothing."""

        def attempt():
            try:
                return call()
            except (OSError, IndexError, RuntimeError):  # requests' errors are OSErrors
                return None

        return wait_for(attempt, 60, "nobody answers")

    # ---- dying ----

    def start(self, name, **settings):
        begin = {
            "till-api": self.one.start_api,
            "till-worker": self.one.start_worker,
            "till-scheduler": self.one.start_scheduler,
            "till-dashboard": self.one.start_dashboard,
        }[name]
        return begin(**settings)

    def retire(self, name):
        """In good order, so that nothing waits for a lease."""
        for program in self.one.named(name):
            self.known.ended.add(program.pid)
            program.end()

    def dies_at(self, program):
        """The points that its log tells of. The line stands there a moment before the death; when it
        is the program itself that dies, and not a process of it, this waits for it."""
        lines = [line for line in program.read_log() if line.get("event") == "crash_point"]
        if any(line["pid"] == program.pid for line in lines):
            wait_for(lambda: not program.is_running(), 30, f"{program.name} lives on after {lines}")
        return [line["point"] for line in lines]

    def arm(self, name, points):
        """Starts the program so that it dies at each of them. One that dies while it starts is begun
        again with what is left."""
        text = ",".join(f"{point}:{nth}" for point, nth in points.items())
        settings = {"TILL_CRASHPOINT": text}
        if name == "till-worker":
            settings["TILL_WORKER_PROCESSES"] = 1
        try:
            self.armed = self.start(name, **settings)
        except RuntimeError:
            self.armed = self.one.programs[-1]

    def visit(self, name, points, act, whole=False):
        """Arms {point: nth} in one program, acts, and sees it die at each of them. `whole`: with a
        worker's process all of the worker is killed, and another one started."""
        steps = act(self)
        next(steps)
        self.retire(name)
        left = dict(points)
        self.arm(name, left)
        worker = _Runner(steps)
        worker.start()

        def look():
            new = [point for point in self.dies_at(self.armed) if point in left]
            for point in new:
                del left[point]
                self.seen.append(point)
                self.known.killed += 1
                self.known.crashes += name == "till-worker"
            if new and whole and self.armed.is_running():
                self.known.ended.add(self.armed.pid)
                self.armed.kill()
            if not self.armed.is_running():
                assert self.dies_at(self.armed) or whole, self.armed.tail()
                self.known.ended.add(self.armed.pid)
                self.arm(name, left) if left else self.start(name)
            assert not worker.error, worker.error
            return not left

        wait_for(look, 90, lambda: f"never came by {left}:\n{self.armed.tail(20)}")
        died = time.monotonic()

        def ended():
            """A supervisor that was told to end may outlive the death of its process for a moment."""
            is_over = not worker.is_alive()
            if not self.one.named(name):
                self.known.ended.add(self.armed.pid)
                self.start(name)
            return is_over

        wait_for(ended, 60, f"{points}: what was begun never ended")
        assert not worker.error, worker.error
        return time.monotonic() - died

    def judge(self):
        """All invariants, at rest."""
        self.one.wait_settled(timeout=60)
        found = invariants.judge(self.one, self.known, invariants.AT_REST)
        assert not found, "\n  ".join([f"after {self.seen}:", *found])


class _Runner(threading.Thread):
    """The second half of a visit. It may not start programs: they end with the thread that does."""

    def __init__(self, steps):
        super().__init__(daemon=True)
        self.steps = steps
        self.error = None

    def run(self):
        try:
            next(self.steps, None)
        except Exception as error:  # shall fail the test, not vanish
            self.error = repr(error)

"""Till's own programs: started with exactly the settings given, watched by their log lines."""

import json
import os
import signal
import subprocess

from . import processes
from .wait import BUILD, SLOWNESS, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEPT = ("PATH", "HOME", "LANG", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS")


def path_of(name, settings=()):
    """With an armed crash point it is the program that has some."""
    return os.path.join(ROOT, BUILD, "faults" if "TILL_CRASHPOINT" in settings else "", name)


def environment(settings):
    """The settings and nothing that the caller's shell happens to hold: a stray TILL_* name would
    stop every program."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return {**kept, **{name: str(value) for name, value in settings.items()}}


apis = {}  # till-api programs by their addresses


def is_api(address):
    """Whether a till-api of ours listens there."""
    return address in apis and apis[address].is_running()


class Program:
    """One running program. Its stderr goes to a file, read as JSON lines."""

    def __init__(self, name, settings, log, arguments=(), ready=None, path=None):
        """`ready` names the event after which start() returns; None: at once. `path`: another build's."""
        self.name = name
        self.path = path
        self.settings = settings
        self.arguments = list(arguments)
        self.log = log
        self.ready = ready
        self.process = None
        self.lines = []
        self.rest = b""
        self.offset = 0

    def __repr__(self):
        return f"<{self.name} {self.pid or 'not running'}>"

    @property
    def pid(self):
        return self.process.pid if self.process else None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = processes.spawn(
                [self.path or path_of(self.name, self.settings), *self.arguments],
                env=environment(self.settings),
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        if self.ready:
            self.wait_for_log(self.ready, timeout=20)
        return self

    def read_log(self):
        """All log lines so far, as dictionaries; what is no JSON comes as {"text": …}."""
        with open(self.log, "rb") as file:
            file.seek(self.offset)
            data = file.read()
        self.offset += len(data)
        *whole, self.rest = (self.rest + data).split(b"\n")
        for line in whole:
            try:
                parsed = json.loads(line)
            except ValueError:
                parsed = None
            if not isinstance(parsed, dict):
                parsed = {"text": line.decode("utf-8", "replace")}
            self.lines.append(parsed)
        return self.lines

    def find_log(self, event, **fields):
        """The first line with this event and fields, or None."""
        for line in self.read_log():
            if line.get("event") == event and all(line.get(k) == v for k, v in fields.items()):
                return line
        return None

    def wait_for_log(self, event, timeout=10, **fields):
        def look():
            alive = self.is_running()  # before reading: the last lines of a dead one count
            found = self.find_log(event, **fields)
            if not found and not alive:
                code = self.process.returncode
                raise RuntimeError(f"{self.name} ended with {code} before {event}:\n{self.tail()}")
            return found

        return wait_for(look, timeout, lambda: f"{self.name} never logged {event}:\n{self.tail()}")

    def tail(self, count=60):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-count:])

    def address(self):
        found = self.wait_for_log("listening")["address"]
        if self.name == "till-api":
            apis[found] = self
        return found

    @property
    def url(self):
        return f"http://{self.address()}"

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def send(self, number):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)

    def term(self):
        self.send(signal.SIGTERM)

    def family(self):
        """Pids of the program and of all that it has started."""
        return [self.pid, *processes.descendants_of(self.pid)] if self.is_running() else []

    def stop(self):
        """SIGSTOP to all of it, the parent first, which then replaces nothing."""
        self.send(signal.SIGSTOP)
        for pid in self.family()[1:]:
            processes.send(pid, signal.SIGSTOP)

    def cont(self):
        for pid in reversed(self.family()):
            processes.send(pid, signal.SIGCONT)

    def kill(self):
        """kill -9 of all of it."""
        if self.process:
            processes.kill_tree(self.process)

    def wait(self, timeout=30):
        """Its exit code."""
        try:
            return self.process.wait(timeout * SLOWNESS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end:\n{self.tail()}") from None

    def expect_exit(self, code=0, timeout=30):
        found = self.wait(timeout)
        assert found == code, f"{self.name} ended with {found}, not {code}:\n{self.tail()}"

    def term_and_wait(self, timeout=30):
        family = self.family()[1:]
        self.term()
        self.expect_exit(0, timeout)
        left = [pid for pid in family if processes.is_running(pid)]
        assert not left, f"{self.name} has left processes behind: {left}"

    def end(self):
        """Gets rid of it, whatever state it is in. Sanitizers report at a clean end only, so that
        is tried first."""
        if not self.is_running():
            return
        self.cont()
        self.term()
        try:
            self.process.wait(10 * SLOWNESS)
        except subprocess.TimeoutExpired:
            processes.kill_tree(self.process)


def run(name, settings, *arguments, stdin=None, timeout=60, path=None):
    """Runs a program to its end: CompletedProcess with texts."""
    return subprocess.run(
        [path or path_of(name, settings), *map(str, arguments)],
        env=environment(settings),
        cwd=ROOT,
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=timeout * SLOWNESS,
        check=False,
    )


def migrate(url, path=None):
    done = run("till", {"DATABASE_URL": url}, "migrate", "--roles", path=path)
    if done.returncode != 0:
        raise RuntimeError(f"till migrate failed:\n{done.stdout}{done.stderr}")

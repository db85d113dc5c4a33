#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs the tests: run.py [all|unit|programs|faults [TEST...]]. `make test`, `check`, `asan`, `tsan` and
`faults` call it.

    unit      the Criterion programs that need no server
    programs  what drives the real programs: integration, faults, browser
    all       both, and the Criterion programs that need a database
    faults    tests/faults with all that is too long for `make test`, or files of it; its table in
              var/faults/. After FAULTS_MINUTES (60; 0: never) no further test begins

BUILD names the folder that the programs were built into. The last line says how many passed and
failed; the exit code is 1 when any failed or none ran. A report of a sanitizer is a failure, even
if the test that met it passed: Criterion does not notice leaks.
"""

import glob
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
BUILD = os.environ.setdefault("BUILD", "build")
sys.path.insert(0, TESTS)

from harness import faults_report, folders, processes, programs, redis  # noqa: E402
from harness.postgres import Cluster  # noqa: E402

SLOWEST = 12
# Tests wait more than they compute: one more at a time than there are processors. Those of the browser are
# the longest, and come first: at the end one process would run them while the others have nothing left.
WORKERS = str((os.cpu_count() or 1) + 1)


class Results:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.times = []

    def add(self, name, outcome, seconds):
        if outcome == "skipped":
            self.skipped += 1
            return
        self.times.append((seconds, name))
        if outcome == "passed":
            self.passed += 1
        else:
            self.fail(name)

    def fail(self, name):
        self.failed += 1
        self.failures.append(name)

    def add_junit(self, path, program=None):
        """Counts what a JUnit file tells, `program`'s or pytest's. False when it cannot be read."""
        try:
            root = ElementTree.parse(path).getroot()
        except (OSError, ElementTree.ParseError):
            return False
        for suite in root.iter("testsuite"):
            for case in suite.iter("testcase"):
                where = f"{program}::{suite.get('name')}" if program else file_of(case)
                seconds = float(case.get("time") or 0)
                self.add(f"{where}::{case.get('name')}", outcome_of(case), seconds)
        return True

    def line(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def file_of(case):
    """pytest tells a test's module as integration.test_x; when collecting failed, in its name."""
    return case.get("classname", "").replace(".", "/") + ".py"


def outcome_of(case):
    """Criterion tells it as an attribute, pytest as an element."""
    kinds = {child.tag for child in case}
    if kinds & {"failure", "error"} or case.get("status") in ("FAILED", "ERRORED"):
        return "failed"
    if "skipped" in kinds or case.get("status") == "SKIPPED":
        return "skipped"
    return "passed"


def sanitizer_environment(folder):
    """Reports go to files: whoever only looks at exit codes would miss them."""
    path = os.path.join(folder, "report")
    return {
        "ASAN_OPTIONS": f"log_path={path}:detect_leaks=1:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": f"log_path={path}:print_stacktrace=1",
        # A worker whose grace time is over leaves with its handlers still running, on purpose.
        "TSAN_OPTIONS": f"log_path={path}:second_deadlock_stack=1:report_thread_leaks=0",
    }


def criterion_programs(kind):
    return sorted(
        path
        for path in glob.glob(os.path.join(ROOT, BUILD, "tests", kind, "test_*"))
        if os.access(path, os.X_OK) and not path.endswith(".d")
    )


def run_criterion(path, folder, results, settings=None):
    """One Criterion program; its output is shown when something in it fails."""
    name = os.path.relpath(path, os.path.join(ROOT, BUILD, "tests"))
    report = os.path.join(folder, name.replace("/", "-") + ".xml")
    start = time.monotonic()
    before = (results.passed, results.failed)
    done = subprocess.run(
        # Tests of a store share its database: one after the other.
        [path, f"--xml={report}"] + (["--jobs", "1"] if settings else []),
        env={**os.environ, **(settings or {})},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    counted = results.add_junit(report, name)
    if done.returncode != 0 and results.failed == before[1]:
        counted = False
    if not counted:
        results.fail(f"{name} (ended with {done.returncode})")
    passed, failed = results.passed - before[0], results.failed - before[1]
    print(f"  {name}: {passed} passed, {failed} failed ({time.monotonic() - start:.1f} s)", flush=True)
    if failed:
        print(done.stdout, flush=True)


def run_unit(folder, results):
    print("unit tests", flush=True)
    for path in criterion_programs("unit"):
        run_criterion(path, folder, results)


def run_stores(folder, results):
    """The Criterion programs that need a migrated database and a Redis."""
    paths = criterion_programs("integration")
    if not paths:
        return
    print("store tests", flush=True)
    postgres = Cluster(folder, programs.migrate).new_server(folder, "pg")
    redis_server = redis.new_server(folder, "redis")
    try:
        for number, path in enumerate(paths):
            redis_server.flush()
            url = postgres.new_database(f"stores{number}")
            settings = {"DATABASE_URL": url, "REDIS_URL": redis_server.url()}
            run_criterion(path, folder, results, settings)
    finally:
        redis_server.stop()
        postgres.stop("immediate")


def run_pytest(folder, results, kinds=("browser", "faults", "integration", "sandbox")):
    kinds = [kind for kind in kinds if has_tests(kind)]
    if not kinds:
        return
    print("tests of the programs", flush=True)
    report = os.path.join(folder, "pytest.xml")
    command = [sys.executable, "-m", "pytest", "-n", WORKERS, "-v", "--tb=short", f"--junitxml={report}"]
    pytest = processes.spawn([*command, *kinds], signal.SIGINT, cwd=TESTS)
    try:
        code = pytest.wait()
    except KeyboardInterrupt:
        processes.interrupt(pytest)
        raise
    failed = results.failed
    if not results.add_junit(report) or code not in (0, 1, 5):
        results.fail(f"pytest (ended with {code})")
    elif code == 1 and results.failed == failed:
        results.fail("pytest (failed outside of any test)")


def run_faults(folder, results, kinds):
    """The whole fault suite, and what it says of itself, however it ends."""
    report = os.path.join(folder, "faults.jsonl")
    os.environ.update(FAULTS="full", FAULTS_REPORT=report)
    minutes = float(os.environ.get("FAULTS_MINUTES") or 60)
    if minutes:
        os.environ["FAULTS_UNTIL"] = str(time.time() + minutes * 60)
    notes = ["the run was interrupted"]
    try:
        run_pytest(folder, results, kinds or ["faults"])
        notes = [f"failed: {name}" for name in results.failures]
        if results.skipped:
            notes.append(f"{results.skipped} tests were left out: {minutes:g} minutes were over")
    finally:
        rows = faults_report.publish(report, os.path.join(ROOT, "var", "faults"), notes)
        print("\n".join([faults_report.table(rows), *notes]), flush=True)
    for row in rows:
        if row["lost"] or row["doubled"]:
            results.fail(f"{row['fault']}: {row['lost']} lost, {row['doubled']} doubled")


def has_tests(kind):
    """A folder of tests, or one file of it."""
    if kind.endswith(".py"):
        return os.path.exists(os.path.join(TESTS, kind))
    return bool(glob.glob(os.path.join(TESTS, kind, "test_*.py")))


# The task that is to exhaust its stack does.
POISON = " in descend tests/faults/task_poison.c:"


def count_reports(folder, results):
    """Each kind of sanitizer report once, with its text."""
    seen = set()
    for path in sorted(glob.glob(os.path.join(folder, "report*"))):
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        kind = re.search(r"SUMMARY: .*|.*runtime error: .*", text)
        kind = kind[0] if kind else text[:200]
        if text and kind not in seen and POISON not in text:
            seen.add(kind)
            results.fail(f"sanitizer: {kind}")
            print(text[:8000], flush=True)


def main():
    kind, *tests = sys.argv[1:] or ["all"]
    if kind not in ("all", "unit", "programs", "faults") or (tests and kind != "faults"):
        print("usage: run.py [all|unit|programs|faults [TEST...]]", file=sys.stderr)
        return 2
    start = time.monotonic()
    results = Results()
    folder = folders.new_run_folder(in_memory=True)
    reports = folders.subfolder(folder, "reports", mode=0o777)
    os.environ.update(sanitizer_environment(reports))
    if kind in ("all", "unit"):
        run_unit(folder, results)
    if kind == "all":
        run_stores(folder, results)
    if kind in ("all", "programs"):
        run_pytest(folder, results)
    if kind == "faults":
        run_faults(folder, results, tests)
    count_reports(reports, results)
    if results.times and kind != "unit":
        print("slowest:")
        for seconds, name in sorted(results.times, reverse=True)[:SLOWEST]:
            print(f"  {seconds:6.1f} s  {name}")
    for name in results.failures:
        print(f"failed: {name}")
    print(f"took {time.monotonic() - start:.0f} s")
    print(results.line(), flush=True)
    return 1 if results.failed or not results.passed else 0


def interrupted(*_):
    raise KeyboardInterrupt


def exit_when_interrupted():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)


if __name__ == "__main__":
    exit_when_interrupted()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the tests reach, line by line: line_coverage.py [TEST...]. `make coverage` calls it.

Runs the Criterion programs and pytest's TESTs ("integration", a file of it, "faults") with programs
that count (BUILD), and shows the share of lines of every folder and file; the pages in var/coverage/
show the lines themselves. Processes that end by themselves or on TERM are counted, those that a test
ends by kill -9 are not. There is no floor but one: a file that only decides needs no server to be
tested, so no more than a tenth of its lines may be out of reach (of a whole run).
"""

import collections
import glob
import json
import os
import re
import subprocess
import sys
import time

import run
from harness import folders

OUT = os.path.join(run.ROOT, "var", "coverage")
FOLDERS = ("api", "cli", "common", "scheduler", "worker")
PURE_FLOOR = 90.0
# What a file calls when it does more than decide: descriptors, servers, processes, locks.
EFFECTS = re.compile(
    r"(PQ|redis|mg_|curl_|smtp_|auth_|SSL_|sem_|pthread_(create|mutex|cond|rwlock)|sodium_malloc)\w*|"
    r"open(at|dir)?|f?open(64)?|fdopen|(recv|send|accept|connect|socket|listen|bind|poll|ppoll|select)\w*|"
    r"p?(read|write)v?(64)?|f(read|write|puts|gets|printf|close|flush)|puts|v?printf|putchar|getline|"
    r"fork|execv?\w*|wait(pid)?|kill|raise|sig(action|timedwait|nal)\w*|eventfd\w*|pipe2?|mmap|prctl|"
    r"(nano|u)?sleep|getenv|environ|exit|_exit|__wrap__exit|isatty|tcsetattr|getaddrinfo|stat|fstat|rename|unlink"
)

# Who calls these still only decides.
TRANSPARENT = {f"common/{name}.c" for name in ("clock", "entropy", "err", "log", "mem")}
HIDDEN = {"common/crashpoint.c"}  # is empty but in build/faults


class Lines:
    """How many lines there are, and how many of them ran."""

    def __init__(self, covered=0, total=0):
        self.covered = covered
        self.total = total

    def __add__(self, other):
        return Lines(self.covered + other.covered, self.total + other.total)

    @property
    def percent(self):
        return 100.0 * self.covered / self.total if self.total else 100.0


# ---- running ----


def forget_counts():
    for path in glob.glob(os.path.join(run.ROOT, run.BUILD, "**", "*.gcda"), recursive=True):
        os.remove(path)


def run_tests(kinds):
    results = run.Results()
    folder = folders.new_run_folder()
    run.run_unit(folder, results)
    run.run_stores(folder, results)
    run.run_pytest(folder, results, kinds)
    return results


def count_lines():
    """{file: Lines}; leaves the pages in OUT."""
    os.makedirs(OUT, exist_ok=True)
    report = os.path.join(OUT, "coverage.json")
    command = ["gcovr", "--root", run.ROOT, "-j", str(os.cpu_count() or 1)]
    command += [word for folder in FOLDERS for word in ("--filter", f"{run.ROOT}/{folder}/")]
    command += ["--json-summary", report, "--html-details", os.path.join(OUT, "index.html")]
    command += ["--html-title", "Till", "--gcov-ignore-parse-errors", os.path.join(run.ROOT, run.BUILD, "obj")]
    subprocess.run(command, cwd=run.ROOT, check=True, stdout=subprocess.DEVNULL)
    with open(report, encoding="utf-8") as file:
        found = json.load(file)["files"]
    return {f["filename"]: Lines(f["line_covered"], f["line_total"]) for f in found}


# ---- which files are pure ----


def symbols():
    """{file: (defines, needs)} of each object that the programs are made of."""
    objects = os.path.join(run.ROOT, run.BUILD, "obj")
    found = {}
    for folder in FOLDERS:
        for path in glob.glob(os.path.join(objects, folder, "**", "*.o"), recursive=True):
            text = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
            kinds = [line.split()[-2:] for line in text.splitlines()]
            source = os.path.relpath(path, objects)[:-1] + "c"
            found[source] = (
                {name for kind, name in kinds if kind in "TDRBVW"},
                {name for kind, name in kinds if kind == "U"},
            )
    return found


def pure_files():
    """The files that call nothing with an effect, nor anything of ours that does."""
    known = symbols()
    where = {name: source for source, (defines, _) in known.items() for name in defines}
    pure = {
        source
        for source, (_, needs) in known.items()
        if source in TRANSPARENT or not any(EFFECTS.fullmatch(name) for name in needs)
    }

    def is_spoiled(source):
        callees = {where.get(name, source) for name in known[source][1]}
        return source not in TRANSPARENT and not callees <= pure

    while spoiled := {source for source in pure if is_spoiled(source)}:
        pure -= spoiled
    return pure - HIDDEN - {"common/clock.c", "common/log.c", "common/mem.c"}


# ---- telling ----


def table(lines, pure):
    """Every folder with its files, as Markdown; `*` marks the pure ones."""
    by_folder = collections.defaultdict(list)
    for name in sorted(lines):
        by_folder[os.path.dirname(name)].append(name)
    rows = [("folder, file", "lines", "reached", "%")]
    for folder, names in sorted(by_folder.items()):
        rows.append(cells(f"{folder}/", sum((lines[name] for name in names), Lines())))
        for name in names:
            rows.append(cells("  " + os.path.basename(name) + " *" * (name in pure), lines[name]))
    rows.append(cells("pure files (*)", sum((lines[name] for name in pure & lines.keys()), Lines())))
    rows.append(cells("all", sum(lines.values(), Lines())))
    widths = [max(len(row[n]) for row in rows) for n in range(4)]
    text = [
        "| " + " | ".join([row[0].ljust(widths[0]), *(row[n].rjust(widths[n]) for n in (1, 2, 3))]) + " |"
        for row in rows
    ]
    return "\n".join([text[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *text[1:]])


def cells(name, lines):
    return name, str(lines.total), str(lines.covered), f"{lines.percent:.1f}"


def below_floor(lines, pure):
    return [
        f"{name}: {lines[name].percent:.1f} % of its lines are reached, and it only decides: unit tests can"
        f" reach {PURE_FLOOR:g} % (var/coverage/ shows which are not)"
        for name in sorted(pure & lines.keys())
        if lines[name].percent < PURE_FLOOR
    ]


def main():
    start = time.monotonic()
    kinds = sys.argv[1:] or ["integration"]
    forget_counts()
    results = run_tests(kinds)
    lines, pure = count_lines(), pure_files()
    text = table(lines, pure)
    print(text, flush=True)
    with open(os.path.join(OUT, "coverage.md"), "w", encoding="utf-8") as file:
        file.write(text + "\n")
    for complaint in below_floor(lines, pure) if "integration" in kinds else []:
        results.fail(complaint)
    for name in results.failures:
        print(f"failed: {name}")
    print(f"took {time.monotonic() - start:.0f} s; the lines themselves: {OUT}/index.html")
    print(results.line(), flush=True)
    return 1 if results.failed or not results.passed else 0


if __name__ == "__main__":
    run.exit_when_interrupted()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

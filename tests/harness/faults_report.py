"""What the fault tests have broken and what came of it: fault, rounds, jobs, lost, doubled, seconds
until the first job was done again.

    faults_report.record("Redis killed", rounds=3, jobs=120, lost=0, doubled=0, recovery_s=1.4)

A test calls it once or more often; the lines of one fault are added up, its slowest recovery counts.
Without `make faults`, which names the file, nothing is kept. FULL says whether the whole suite runs:
then a test may take minutes, else seconds.
"""

import json
import os
import time

FULL = os.environ.get("FAULTS") == "full"


def pick(short, full):
    """How much of something: `short` in `make test`, `full` in `make faults`."""
    return full if FULL else short


def time_is_over():
    """Whether no further test shall begin; see run.py."""
    until = os.environ.get("FAULTS_UNTIL")
    return until is not None and time.time() > float(until)


def record(fault, rounds=1, jobs=0, lost=0, doubled=0, recovery_s=None, seed=None):
    """recovery_s: None when the fault has no moment of healing; a list when there were several."""
    path = os.environ.get("FAULTS_REPORT")
    if isinstance(recovery_s, (list, tuple)):
        recovery_s = max(recovery_s, default=None)
    line = {"fault": fault, "rounds": rounds, "jobs": jobs, "lost": lost, "doubled": doubled}
    line |= {"recovery_s": recovery_s, "seed": seed}
    if path:
        with open(path, "ab", buffering=0) as file:  # one write: other workers append, too
            file.write(json.dumps(line).encode() + b"\n")
    return line


def merge(lines):
    """One row for each fault, in the order in which they came."""
    rows = {}
    for line in lines:
        row = rows.setdefault(line["fault"], {**line, "rounds": 0, "jobs": 0, "lost": 0, "doubled": 0})
        for name in ("rounds", "jobs", "lost", "doubled"):
            row[name] += line[name]
        times = [t for t in (row["recovery_s"], line["recovery_s"]) if t is not None]
        row["recovery_s"] = max(times, default=None)
        seeds = {str(s) for s in (row["seed"], line["seed"]) if s is not None}
        row["seed"] = " ".join(sorted(seeds)) or None
    return list(rows.values())


def read(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return merge(json.loads(line) for line in file)


def cells(row):
    recovery = "" if row["recovery_s"] is None else f"{row['recovery_s']:.1f}"
    counts = [str(row[name]) for name in ("rounds", "jobs", "lost", "doubled")]
    return [row["fault"], *counts, recovery, row["seed"] or ""]


def table(rows):
    """As Markdown, its columns aligned, with a line of sums."""
    head = ["fault", "rounds", "jobs", "lost", "doubled", "recovered in s", "seed"]
    total = {name: sum(row[name] for row in rows) for name in ("rounds", "jobs", "lost", "doubled")}
    slowest = max((row["recovery_s"] for row in rows if row["recovery_s"] is not None), default=None)
    lines = [head, *map(cells, rows), cells({"fault": "all", **total, "recovery_s": slowest, "seed": None})]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]

    def text(line):
        first, *rest = (cell.ljust(w) if n in (0, 6) else cell.rjust(w)
                        for n, (cell, w) in enumerate(zip(line, widths)))
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([text(lines[0]), rule, *map(text, lines[1:])])


def publish(path, folder, notes=()):
    """The rows of the file at `path`; leaves faults.json and faults.md in `folder`, where `notes` stand
    beneath the table: a test that failed has no row."""
    rows = read(path)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "faults.json"), "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=1)
        file.write("\n")
    with open(os.path.join(folder, "faults.md"), "w", encoding="utf-8") as file:
        file.write("\n".join([table(rows), *(f"\n- {note}" for note in notes)]) + "\n")
    return rows

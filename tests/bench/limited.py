"""No-op durable jobs under limits of their task or key, beside the same jobs without any.

Used by bench.py; alone it measures these (or BENCH_CASES, by name) and nothing else:

    limited.py [--rounds 3] [--json FILE]
"""

import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

JOBS = 100_000
KEYS = 100
# What is limited, and how; then how many jobs, and whether they have keys. `others`: a limit is there,
# but of another task. A concurrency of a million never bites; one of 20 or 2 does.
CASES = {
    "none": ((), JOBS, False),
    "slots": ((), JOBS, False),  # as many slots as the limits that bite have places
    "others": ((("task", "till.tasks.echo", "1000000"), ("key", "other:*", "1")), JOBS, False),
    "task": ((("task", "till.tasks.noop", "1000000"),), JOBS, False),
    "keys": ((("key", "tenant:*", "1000000"),), JOBS, True),
    "both": ((("task", "till.tasks.noop", "1000000"), ("key", "tenant:*", "1000000")), JOBS, True),
    "queue": ((("queue", "default", "1000000"),), JOBS, False),
    "biting_queue": ((("queue", "default", "100"),), JOBS, False),
    "biting_task": ((("task", "till.tasks.noop", "100"),), JOBS, False),
    "biting_keys": ((("key", "tenant:*", "2"),), JOBS, True),
}
SETTINGS = {"slots": {"TILL_WORKER_CONCURRENCY": 50}}
TITLES = {
    "others": "limits that are others'",
    "task": "a limit of the task that never bites",
    "keys": f"a limit of each of {KEYS} keys that never bites",
    "both": "both",
    "queue": "a limit of the queue that never bites",
    "biting_queue": "a queue of which 100 may run",
    "biting_task": "a task of which 100 may run",
    "biting_keys": f"{KEYS} keys of which 2 each may run",
}


def fill(bench, jobs, keyed):
    bench.redis.flushall()
    bench.query("TRUNCATE jobs CASCADE")
    key = f"'tenant:' || n % {KEYS}" if keyed else "NULL"
    bench.query(
        "INSERT INTO jobs (task, limit_key, enqueued_at)"
        f" SELECT 'till.tasks.noop', {key}, now() FROM generate_series(1, {jobs}) AS n"
    )
    bench.query("VACUUM ANALYZE jobs")
    bench.push_jobs()


def is_done(bench):
    [(open_jobs,)] = bench.query("SELECT EXISTS (SELECT FROM jobs WHERE finished_at IS NULL)")
    return not open_jobs


def drain(bench, case, processes):
    """Jobs a second, and microseconds of CPU a job, from the first that is done to the last."""
    limits, jobs, keyed = CASES[case]
    bench.query("DELETE FROM limits")
    for scope, name, concurrency in limits:
        bench.query(
            f"INSERT INTO limits (scope, name, concurrency) VALUES ('{scope}', '{name}', {concurrency})"
        )
    fill(bench, jobs, keyed)
    scheduler = bench.scheduler()
    worker = bench.worker(processes, **SETTINGS.get(case, {}))
    bench.wait_at_once(lambda: bench.waiting() < jobs, "the first job")
    began, left, before = time.monotonic(), bench.waiting(), bench.cpu(worker, scheduler)
    bench.wait_at_once(lambda: is_done(bench), "the last job", pause_s=0.02)
    took, after = time.monotonic() - began, bench.cpu(worker, scheduler)
    for program in (worker, scheduler):
        program.term()
        program.wait()
    return {"rate": left / took, **{name: (after[name] - before[name]) / left for name in after}}


def measure(bench, note, processes=2):
    for case in (os.environ.get("BENCH_CASES", "").split() or CASES):
        note(f"limit_{case}", drain(bench, case, processes))
    bench.query("DELETE FROM limits")


def show(figures, row):
    for case, title in TITLES.items():
        row(f"durable, {title}", figures[f"limit_{case}"]["rate"], figures["limit_none"]["rate"])
    row("the first of them; limit: 100 slots", figures["limit_biting_task"]["rate"], figures["limit_slots"]["rate"])


def main():
    from bench import Bench, median_of
    from harness import folders

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    series = {}
    bench = Bench(folders.new_run_folder())
    try:
        for _ in range(arguments.rounds):
            measure(bench, lambda name, figures: series.setdefault(name, []).append(figures))
    finally:
        bench.end()
    figures = {name: median_of(rounds) for name, rounds in series.items()}
    for name, of in figures.items():
        parts = "  ".join(f"{part} {of[part]:5.1f}" for part in of if part != "rate")
        total = sum(value for part, value in of.items() if part != "rate")
        print(f"{name:<20} {of['rate']:>9,.0f}/s   CPU us a job: {total:6.1f} = {parts}")
    if arguments.json:
        with open(arguments.json, "w") as out:
            json.dump(figures, out, indent=2)


if __name__ == "__main__":
    main()

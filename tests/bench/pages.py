#!/usr/bin/python3
"""make bench-pages: how long the dashboard takes for a page of tasks among very many finished ones.

Makes the jobs (history.py), lets the scheduler make its index, and asks for the pages in turn. What a
search finds is as old as the jobs that it looks for, so words are both common and rare.

    pages.py [--jobs 10000000] [--rounds 40] [--json FILE]
"""

import argparse
import json
import os
import sys
import time

import requests

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import history  # noqa: E402
from bench import Bench, percentiles  # noqa: E402

from harness import folders, programs  # noqa: E402
from harness.wait import wait_for  # noqa: E402

GOAL_MS = 50
INDEX_HOURS = 4
PAGES = {
    "newest first": {},
    "by state": {"state": "FAILURE"},
    "by task": {"task": "payments.tasks.process_payment"},
    "by rare task": {"task": "reports.tasks.daily_sales"},
    "by rare queue": {"queue": "reports"},
    "by worker": {"worker": "host1:2"},
    "by worker and state": {"worker": "host1:2", "state": "REVOKED"},
    "a common word": {"search": "express"},
    "two common words": {"search": "express payments"},
    "a rare word": {"search": "daily_sales"},
    "an exact error": {"search": '"no order {failed} is there"'},
    "an e-mail": {"search": "customer{user}@example.com"},
    "a pair of kwargs": {"search": "kwargs:user={user}"},
    "nothing that is there": {"search": "zeppelin"},
}


def numbers(jobs, turn):
    """Others in each turn, from all times: those of a failed job, and of a customer."""
    failed = (turn * 7919 * 160 + 123) % jobs
    return {"failed": failed - (failed - 123) % 160, "user": turn * 7919 % 100003}


def ask(url, page, found):
    began = time.perf_counter()
    answer = requests.get(url, params=page, timeout=60)
    took = (time.perf_counter() - began) * 1000
    answer.raise_for_status()
    body = answer.json()
    found.append((len(body["tasks"]), body["is_cut"]))
    return took


def fill(bench, jobs):
    began = time.monotonic()
    history.load(bench.connection, jobs, lambda done: print(f"\r{done:,} jobs", end="", flush=True))
    print(f" in {time.monotonic() - began:.0f} s", flush=True)
    scheduler, began = bench.scheduler(), time.monotonic()
    behind = "SELECT count(*) FROM (SELECT FROM jobs, job_search_mark WHERE id > passed LIMIT 1024) x"
    wait_for(lambda: bench.query(behind)[0][0] < 1024, INDEX_HOURS * 3600, "the index")
    print(f"indexed in {time.monotonic() - began:.0f} s, {size(bench)}", flush=True)
    return scheduler


def size(bench):
    return bench.query(
        "SELECT pg_size_pretty(pg_total_relation_size('job_grams')"
        " + pg_total_relation_size('job_segments'))"
        " || ' beside ' || pg_size_pretty(pg_total_relation_size('jobs')) || ' of jobs'"
    )[0][0]


def measure(bench, jobs, rounds):
    settings = {**bench.settings, "TILL_DASHBOARD_LISTEN": "127.0.0.1:0"}
    log = os.path.join(bench.folder, "dashboard.log")
    settings["LOG_LEVEL"] = "info"
    dashboard = programs.Program("till-dashboard", settings, log, (), "listening").start()
    url = dashboard.url + "/api/v1/tasks"
    times, found = {name: [] for name in PAGES}, {name: [] for name in PAGES}
    try:
        for turn in range(rounds):
            words = numbers(jobs, turn)
            for name, page in PAGES.items():
                filled = {key: text.format(**words) for key, text in page.items()}
                times[name].append(ask(url, filled, found[name]))
    finally:
        dashboard.end()
    return {
        name: {**percentiles(times[name]), "first": times[name][0],
               "found": max(count for count, _ in found[name]), "cut": sum(cut for _, cut in found[name])}
        for name in PAGES
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    bench = Bench(folders.new_run_folder())
    try:
        scheduler = fill(bench, arguments.jobs)
        figures = measure(bench, arguments.jobs, arguments.rounds)
        scheduler.end()
    finally:
        bench.end()
    print(f"{'a page of tasks':<24} {'p50':>8} {'p95':>8} {'first':>8} ms   found")
    for name, of in figures.items():
        late = "" if of["p95"] < GOAL_MS else f"   more than {GOAL_MS} ms"
        print(f"{name:<24} {of['p50']:8.1f} {of['p95']:8.1f} {of['first']:8.1f}      {of['found']:5}{late}")
    if arguments.json:
        with open(arguments.json, "w") as out:
            json.dump(figures, out, indent=2)


if __name__ == "__main__":
    main()

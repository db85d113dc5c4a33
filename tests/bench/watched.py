#!/usr/bin/python3
"""make bench-watched: what ten open pages of the dashboard cost the workers.

Drains durable no-op jobs with and without them, in turns. A page asks what its script asks, every two
seconds (api/dashboard/static/): most show the list of tasks, others queues, workers and charts.

    watched.py [--rounds 5] [--pages 10]
"""

import argparse
import os
import statistics
import sys
import threading

import requests

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import bench as benches  # noqa: E402

from harness import folders, programs  # noqa: E402

INTERVAL_S = 2
JOBS = 160_000  # some seconds
GOAL = 0.02
PATHS = ("tasks", "tasks", "tasks?state=FAILURE", "tasks",
         "tasks", "tasks", "queues", "workers", "charts", "broker")


class Page(threading.Thread):
    """One open page: its requests, one after the other, then a pause."""

    def __init__(self, url, number, closed):
        super().__init__(daemon=True)
        self.path = f"{url}/api/v1/{PATHS[number % len(PATHS)]}"
        self.summary = f"{url}/api/v1/summary" if "tasks" in self.path else None
        self.closed = closed
        self.shift = number * INTERVAL_S / len(PATHS)
        self.answers = 0

    def run(self):
        session, rounds = requests.Session(), 0
        self.closed.wait(self.shift)
        while not self.closed.is_set():
            paths = [self.path] + [self.summary] * (self.summary is not None and rounds % 3 == 0)
            for path in paths:
                session.get(path, timeout=30).raise_for_status()
                self.answers += 1
            rounds += 1
            self.closed.wait(INTERVAL_S)


def drain(bench, count):
    settings = {**bench.settings, "TILL_DASHBOARD_LISTEN": "127.0.0.1:0"}
    bench.logs += 1
    log = os.path.join(bench.folder, f"dashboard-{bench.logs}.log")
    settings["LOG_LEVEL"] = "info"
    dashboard = programs.Program("till-dashboard", settings, log, (), "listening").start()
    closed = threading.Event()
    pages = [Page(dashboard.url, number, closed) for number in range(count)]
    try:
        for page in pages:
            page.start()
        rate = bench.durable_drain(2)["rate"]
        closed.set()
        for page in pages:
            page.join()
    finally:
        closed.set()
        dashboard.end()
    return rate, sum(page.answers for page in pages)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pages", type=int, default=10)
    arguments = parser.parse_args()
    alone, watched = [], []
    benches.DURABLE_JOBS = JOBS
    bench = benches.Bench(folders.new_run_folder())
    try:
        for _ in range(arguments.rounds):
            alone.append(drain(bench, 0)[0])
            rate, answers = drain(bench, arguments.pages)
            watched.append(rate)
            print(f"alone {alone[-1]:9,.0f}/s   watched {rate:9,.0f}/s   {answers} answers", flush=True)
    finally:
        bench.end()
    lost = 1 - statistics.median(watched) / statistics.median(alone)
    print(f"{arguments.pages} pages cost {lost:.1%} of the jobs a second (goal: less than {GOAL:.0%})")


if __name__ == "__main__":
    main()

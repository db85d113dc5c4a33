#!/usr/bin/python3
"""make bench-watched: what ten open pages of the dashboard cost the workers.

Drains durable no-op jobs with and without them, in turns. A page asks what its script asks, every two
seconds (api/dashboard/static/): most show the list of tasks, others queues, workers and charts. Beside the
jobs a second it tells the CPU time of the dashboard and of its sessions of PostgreSQL, which scatters less.

    watched.py [--rounds 5] [--pages 10] [--apart]

With --apart no answer is shared, as if each page asked for itself alone.
"""

import argparse
import os
import statistics
import sys
import threading
import time

import requests

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import bench as benches  # noqa: E402
import cpu  # noqa: E402

from harness import folders, programs  # noqa: E402

INTERVAL_S = 2
JOBS = 160_000  # some seconds
GOAL = 0.02
PATHS = ("tasks", "tasks", "tasks?state=FAILURE", "tasks",
         "tasks", "tasks", "queues", "workers", "charts", "broker")


class Page(threading.Thread):
    """One open page: its requests, one after the other, then a pause."""

    def __init__(self, url, number, closed, headers):
        super().__init__(daemon=True)
        self.path = f"{url}/api/v1/{PATHS[number % len(PATHS)]}"
        self.summary = f"{url}/api/v1/summary" if "tasks" in self.path else None
        self.closed = closed
        self.headers = headers  # of all but the first round
        self.shift = number * INTERVAL_S / len(PATHS)
        self.answers = 0

    def run(self):
        session, rounds = requests.Session(), 0
        self.closed.wait(self.shift)
        while not self.closed.is_set():
            paths = [self.path] + [self.summary] * (self.summary is not None and rounds % 3 == 0)
            for path in paths:
                session.get(path, timeout=30, headers=self.headers if rounds else {}).raise_for_status()
                self.answers += 1
            rounds += 1
            self.closed.wait(INTERVAL_S)


def worked_ns(bench, dashboard):
    """CPU time so far of the dashboard and of its sessions of PostgreSQL."""
    sessions = bench.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'till-dashboard'")
    return sum(map(cpu.ran_ns, [dashboard.pid, *(pid for (pid,) in sessions)]))


def drain(bench, count, headers):
    """Jobs a second; answers to pages; the share of one core that they took."""
    settings = {**bench.settings, "TILL_DASHBOARD_LISTEN": "127.0.0.1:0"}
    bench.logs += 1
    log = os.path.join(bench.folder, f"dashboard-{bench.logs}.log")
    settings["LOG_LEVEL"] = "info"
    dashboard = programs.Program("till-dashboard", settings, log, (), "listening").start()
    closed = threading.Event()
    pages = [Page(dashboard.url, number, closed, headers) for number in range(count)]
    try:
        began = time.monotonic()
        for page in pages:
            page.start()
        rate = bench.durable_drain(2)["rate"]
        closed.set()
        for page in pages:
            page.join()
        core = worked_ns(bench, dashboard) / 1e9 / (time.monotonic() - began)
    finally:
        closed.set()
        dashboard.end()
    return rate, sum(page.answers for page in pages), core


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pages", type=int, default=10)
    parser.add_argument("--apart", action="store_true")
    arguments = parser.parse_args()
    headers = {} if arguments.apart else {"Cache-Control": "max-age=10"}
    alone, watched, cores = [], [], []
    benches.DURABLE_JOBS = JOBS
    bench = benches.Bench(folders.new_run_folder())
    try:
        for _ in range(arguments.rounds):
            alone.append(drain(bench, 0, headers)[0])
            rate, answers, core = drain(bench, arguments.pages, headers)
            watched.append(rate)
            cores.append(core)
            print(f"alone {alone[-1]:9,.0f}/s   watched {rate:9,.0f}/s   {answers} answers"
                  f"   {core:.2%} of a core", flush=True)
    finally:
        bench.end()
    lost = 1 - statistics.median(watched) / statistics.median(alone)
    print(f"dashboard and its sessions of PostgreSQL: {statistics.median(cores):.2%} of a core,"
          f" {statistics.median(cores) / os.cpu_count():.2%} of {os.cpu_count()}")
    print(f"{arguments.pages} pages cost {lost:.1%} of the jobs a second (goal: less than {GOAL:.0%})")


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""make bench-watched: what ten open pages of the dashboard cost the workers.

Two worker processes drain no-op jobs, fast ones and durable ones in turn, and the pages are open for every
second window, by chance the first or the last of two. A page asks what its script asks, every two seconds
(api/dashboard/static/): most show the list of tasks, others queues, workers, charts and the broker.

A window begins when each page has had its first answer, and one of durable jobs is longer than the ten seconds
for which an answer is kept at most. What the first answers cost is told apart: they walk over all that has ended
while nobody looked, once.

It tells the CPU time of the dashboard and of its sessions of PostgreSQL (and what Redis needed for their
commands) as a share of all processors, which is what the goal is about, and of each pair of windows the ratio of
the jobs a second, whose mean scatters by more than that on a machine that others use, too.

    watched.py [--pairs 20] [--window SECONDS] [--pages 10] [--kinds fast,durable] [--apart] [--statements]

With --apart no answer is shared, as if each page asked for itself alone; with --statements PostgreSQL's own
figures of what the dashboard has sent follow.
"""

import argparse
import math
import os
import random
import statistics
import sys
import threading
import time

import requests

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import cpu  # noqa: E402
from bench import STREAM, Bench  # noqa: E402

from harness import folders, postgres, programs  # noqa: E402
from harness.wait import wait_for  # noqa: E402

INTERVAL_S = 2
WINDOW_S = {"fast": 4, "durable": 15}
JOBS_A_SECOND = {"fast": 450_000, "durable": 80_000}  # rather too many: a filling is to last for two windows
GOAL = 0.02
PATHS = ("tasks", "tasks", "tasks?state=FAILURE", "tasks",
         "tasks", "tasks", "queues", "workers", "charts", "broker")
COMMANDS = ("ping", "info", "xlen", "xinfo|groups", "xrange", "zrange", "zrangebyscore", "mget", "get", "exists")


class Page(threading.Thread):
    """One page: while it is open, its requests, one after the other, then a pause."""

    def __init__(self, url, number, opened, headers):
        super().__init__(daemon=True)
        self.path = f"{url}/api/v1/{PATHS[number % len(PATHS)]}"
        self.summary = f"{url}/api/v1/summary" if "tasks" in self.path else None
        self.opened = opened
        self.headers = headers
        self.shift = number * INTERVAL_S / len(PATHS)
        self.rounds = self.answers = 0
        self.since = "-"
        self.ended = False

    def run(self):
        session = requests.Session()
        while not self.ended:
            if not self.opened.wait(0.1):
                continue
            time.sleep(self.shift)
            while self.opened.is_set() and not self.ended:
                self.look(session)
                time.sleep(INTERVAL_S)

    def look(self, session):
        of_tasks = self.summary is not None
        for path in [self.path] + [self.summary] * (of_tasks and self.rounds % 3 == 0):
            since = {"since": self.since} if of_tasks and path == self.path else None
            answer = session.get(path, params=since, timeout=30, headers=self.headers)
            answer.raise_for_status()
            self.since = answer.json().get("since") or self.since
            self.answers += 1
        self.rounds += 1


class Watch:
    """The dashboard and its pages, open or not."""

    def __init__(self, bench, count, headers):
        settings = {**bench.settings, "TILL_DASHBOARD_LISTEN": "127.0.0.1:0", "LOG_LEVEL": "info"}
        log = os.path.join(bench.folder, "dashboard.log")
        self.bench = bench
        self.dashboard = programs.Program("till-dashboard", settings, log, (), "listening").start()
        self.opened = threading.Event()
        self.pages = [Page(self.dashboard.url, number, self.opened, headers) for number in range(count)]
        for page in self.pages:
            page.start()

    def worked_s(self):
        """CPU seconds so far of the dashboard and of its sessions of PostgreSQL."""
        sessions = self.bench.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'till-dashboard'")
        return sum(map(cpu.ran_ns, [self.dashboard.pid, *(pid for (pid,) in sessions)])) / 1e9

    def redis_s(self):
        """Of the commands that the dashboard sends; workers send some of them, too."""
        stats = self.bench.redis.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {}).get("usec", 0) for name in COMMANDS) / 1e6

    def open(self):
        """CPU seconds until each page has had its first answers."""
        before, worked = [page.rounds for page in self.pages], self.worked_s()
        self.opened.set()
        wait_for(lambda: all(page.rounds > old for page, old in zip(self.pages, before)), 60, "the first answers")
        return self.worked_s() - worked

    def answers(self):
        return sum(page.answers for page in self.pages)

    def end(self):
        for page in self.pages:
            page.ended = True
        for page in self.pages:
            page.join()
        self.dashboard.end()


def jobs_for(kind, seconds):
    """As many as a filling needs for two windows, for all pages to open between them, and some."""
    return int((2.2 * seconds + 2 * INTERVAL_S) * JOBS_A_SECOND[kind])


def fill(bench, kind, count):
    bench.redis.flushall()
    bench.query("TRUNCATE jobs CASCADE")
    if kind == "fast":
        bench.push_fast(count)
        return
    bench.query(
        "INSERT INTO jobs (task, enqueued_at) SELECT 'till.tasks.noop', now()"
        f" FROM generate_series(1, {count})"
    )
    bench.query("ANALYZE jobs")  # autovacuum may have looked while the rows were in their transaction
    bench.push_jobs()


def window(bench, watch, is_open, seconds):
    """Jobs a second, the shares of one processor that the dashboard and its part of Redis took, and the CPU
    seconds of opening the pages."""
    opening = watch.open() if is_open else 0
    began, left = time.monotonic(), bench.redis.xlen(STREAM)
    worked, redis = watch.worked_s(), watch.redis_s()
    time.sleep(seconds)
    took = time.monotonic() - began
    rate = (left - bench.redis.xlen(STREAM)) / took
    worked, redis = watch.worked_s() - worked, watch.redis_s() - redis
    watch.opened.clear()
    return rate, worked / took, redis / took, opening


def pairs_of_one_filling(bench, watch, kind, seconds, wanted):
    """Pairs of windows (alone, watched) until the jobs would not last for another."""
    count = jobs_for(kind, seconds)
    fill(bench, kind, count)
    worker = bench.worker(2)
    pairs, rate = [], 0
    try:
        wait_for(lambda: bench.redis.xlen(STREAM) < count * 0.99, 120, "the first jobs")
        while len(pairs) < wanted and bench.redis.xlen(STREAM) > (2.2 * seconds + 2 * INTERVAL_S) * rate:
            found = {is_open: window(bench, watch, is_open, seconds)
                     for is_open in random.sample((False, True), 2)}
            rate = max(one[0] for one in found.values())
            pairs.append((found[False], found[True]))
            if bench.redis.xlen(STREAM) == 0:
                pairs.pop()  # it ended within the last
    finally:
        worker.term()
        worker.wait()
    return pairs


def measure(bench, watch, kind, seconds, wanted):
    pairs = []
    while len(pairs) < wanted:
        found = pairs_of_one_filling(bench, watch, kind, seconds, wanted - len(pairs))
        if not found:
            sys.exit(f"{jobs_for(kind, seconds)} {kind} jobs are too few for two windows of {seconds} s")
        pairs += found
        print(f"{kind}: {len(pairs)} of {wanted} pairs", file=sys.stderr, flush=True)
    return pairs


def show(kind, pairs, answers):
    logs = [math.log(watched[0] / alone[0]) for alone, watched in pairs]
    mean, spread = statistics.mean(logs), 0.0
    if len(logs) > 1:
        spread = 2 * statistics.stdev(logs) / math.sqrt(len(logs))
    core = statistics.mean(watched[1] for _, watched in pairs)
    redis = statistics.mean(watched[2] - alone[2] for alone, watched in pairs)
    share = (core + max(redis, 0)) / os.cpu_count()
    print(f"{kind}: {len(pairs)} pairs, alone {statistics.median(alone[0] for alone, _ in pairs):,.0f} jobs/s,"
          f" {answers} answers")
    print(f"  CPU of the dashboard and its sessions {core:.2%} of a core, of Redis for them {max(redis, 0):.2%}:"
          f" {share:.2%} of {os.cpu_count()} (goal: less than {GOAL:.0%})")
    print(f"  opening the pages: {statistics.mean(watched[3] for _, watched in pairs):.3f} s of CPU")
    print(f"  jobs a second with open pages: {math.exp(mean):.3f} of those without"
          f" (95 %: {math.exp(mean - spread):.3f} to {math.exp(mean + spread):.3f})", flush=True)


def show_statements(bench):
    rows = bench.query(
        "SELECT calls, mean_exec_time, max_exec_time, (shared_blks_hit + shared_blks_read) / calls,"
        " regexp_replace(query, '\\s+', ' ', 'g') FROM pg_stat_statements WHERE calls > 0"
        " ORDER BY total_exec_time DESC LIMIT 25"
    )
    for calls, mean, most, blocks, text in rows:
        print(f"{calls:8} calls {mean:9.3f} ms {most:9.3f} ms at most {blocks:7} blocks  {text[:110]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--window", type=float, help="seconds; else 4 for fast jobs, 15 for durable ones")
    parser.add_argument("--pages", type=int, default=10)
    parser.add_argument("--kinds", default="fast,durable")
    parser.add_argument("--apart", action="store_true")
    parser.add_argument("--statements", action="store_true")
    arguments = parser.parse_args()
    if arguments.statements:
        postgres.SETTINGS["shared_preload_libraries"] = "pg_stat_statements"
    bench = Bench(folders.new_run_folder())
    if arguments.statements:
        bench.query("CREATE EXTENSION pg_stat_statements")
    watch = Watch(bench, arguments.pages, {} if arguments.apart else {"Cache-Control": "max-age=10"})
    try:
        for kind in arguments.kinds.split(","):
            before = watch.answers()
            pairs = measure(bench, watch, kind, arguments.window or WINDOW_S[kind], arguments.pairs)
            show(kind, pairs, watch.answers() - before)
        if arguments.statements:
            show_statements(bench)
    finally:
        watch.end()
        bench.end()


if __name__ == "__main__":
    main()

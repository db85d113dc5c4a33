#!/usr/bin/python3
"""make bench-pages: how long the dashboard takes for a page of tasks among very many finished ones.

Makes the jobs (history.py), lets the scheduler make its index, and asks for the pages in turn. What a
search finds is as old as the jobs that it looks for, so words are both common and rare.

    pages.py [--jobs 10000000] [--waiting N] [--recent N] [--rounds 40] [--json FILE] [--real-time]

With --waiting so many others wait: for a worker, for their time, for their next attempt; with --recent so many
have ended since the index was made.

With --real-time (as root) the dashboard, its sessions of PostgreSQL and this program come before all others on
the machine: then milliseconds tell something even when it is busy.
"""

import argparse
import datetime
import json
import os
import sys
import time

import requests

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import cpu  # noqa: E402
import history  # noqa: E402
from bench import Bench, percentiles  # noqa: E402

from harness import folders, programs  # noqa: E402
from harness.wait import wait_for  # noqa: E402

GOAL_MS = 50
INDEX_HOURS = 4
TASKS, FLOWER, TABLE = "/api/v1/tasks", "/api/tasks", "/tasks/datatable"
PAGES = {
    "newest first": (TASKS, {}),
    "oldest first": (TASKS, {"order": "oldest"}),
    "by state": (TASKS, {"state": "FAILURE"}),
    "by state, oldest first": (TASKS, {"state": "FAILURE", "order": "oldest"}),
    "by the commonest state": (TASKS, {"state": "SUCCESS"}),
    "by a state that none has": (TASKS, {"state": "RETRY"}),
    "by task": (TASKS, {"task": "payments.tasks.process_payment"}),
    "by rare task": (TASKS, {"task": "reports.tasks.daily_sales"}),
    "by task and state": (TASKS, {"task": "till.tasks.noop", "state": "REVOKED"}),
    "by rare task and state": (TASKS, {"task": "reports.tasks.daily_sales", "state": "FAILURE"}),
    "by queue": (TASKS, {"queue": "mail"}),
    "by rare queue": (TASKS, {"queue": "reports"}),
    "by rare queue, oldest": (TASKS, {"queue": "reports", "order": "oldest"}),
    "by a queue that none has": (TASKS, {"queue": "nobody"}),
    "by worker": (TASKS, {"worker": "host1:2"}),
    "by worker and state": (TASKS, {"worker": "host1:2", "state": "REVOKED"}),
    "by a worker that is none": (TASKS, {"worker": "nobody"}),
    "half way down": (TASKS, {"cursor": "{half}"}),
    "half way, by state": (TASKS, {"cursor": "{half}", "state": "FAILURE"}),
    "half way, by rare queue": (TASKS, {"cursor": "{half}", "queue": "reports"}),
    "half way, a common word": (TASKS, {"cursor": "{half}", "search": "express"}),
    "far down": (TASKS, {"cursor": "{low}"}),
    "an id": (TASKS, {"search": "{half}"}),
    "how an id begins": (TASKS, {"search": "{half:.11}"}),
    "the middle of an id": (TASKS, {"text": "7777-8"}),
    "a common word": (TASKS, {"search": "express"}),
    "two common words": (TASKS, {"search": "express payments"}),
    "a common word, oldest": (TASKS, {"search": "express", "order": "oldest"}),
    "either of two words": (TASKS, {"search": "neighbour OR daily_sales"}),
    "a rare word": (TASKS, {"search": "daily_sales"}),
    "an exact error": (TASKS, {"search": '"no order {failed} is there"'}),
    "an e-mail": (TASKS, {"search": "customer{user}@example.com"}),
    "a pair of kwargs": (TASKS, {"search": "kwargs:user={user}"}),
    "a word and a worker": (TASKS, {"search": "worker:host1:2 daily_sales"}),
    "a short value of kwargs": (TASKS, {"search": "kwargs:user=7"}),
    "nothing that is there": (TASKS, {"search": "zeppelin"}),
    "an e-mail and a state": (TASKS, {"search": "customer{user}@example.com", "state": "FAILURE"}),
    "a word and a task": (TASKS, {"search": "neighbour", "task": "till.tasks.noop"}),
    "a word, a queue, an hour": (TASKS, {"search": "neighbour", "queue": "mail", "from": "{since}", "to": "{until}"}),
    "in an hour": (TASKS, {"from": "{since}", "to": "{until}"}),
    "in an hour, by worker": (TASKS, {"from": "{since}", "to": "{until}", "worker": "host1:2"}),
    "in an hour, rare queue": (TASKS, {"from": "{since}", "to": "{until}", "queue": "reports"}),
    "slowest first": (TASKS, {"order": "slowest"}),
    "slowest first, far down": (TASKS, {"order": "slowest", "cursor": "+19900"}),
    "fastest first": (TASKS, {"order": "fastest"}),
    "slowest, by task": (TASKS, {"order": "slowest", "task": "till.tasks.noop"}),
    "slowest, by rare task": (TASKS, {"order": "slowest", "task": "reports.tasks.daily_sales"}),
    "slowest, by state": (TASKS, {"order": "slowest", "state": "FAILURE"}),
    "slowest, by success": (TASKS, {"order": "slowest", "state": "SUCCESS"}),
    "slowest, by queue": (TASKS, {"order": "slowest", "queue": "mail"}),
    "slowest, by rare queue": (TASKS, {"order": "slowest", "queue": "reports"}),
    "slowest, by worker": (TASKS, {"order": "slowest", "worker": "host1:2"}),
    "slowest, in an hour": (TASKS, {"order": "slowest", "from": "{since}", "to": "{until}"}),
    "slowest, common word": (TASKS, {"order": "slowest", "search": "express"}),
    "slowest, rare word": (TASKS, {"order": "slowest", "search": "daily_sales"}),
    "slowest, an e-mail": (TASKS, {"order": "slowest", "search": "customer{user}@example.com"}),
    "waiting": (TASKS, {"state": "PENDING"}),
    "waiting, oldest first": (TASKS, {"state": "PENDING", "order": "oldest"}),
    "waiting, by task": (TASKS, {"state": "PENDING", "task": "reports.tasks.daily_sales"}),
    "waiting, by rare queue": (TASKS, {"state": "PENDING", "queue": "reports"}),
    "waiting, a common word": (TASKS, {"state": "PENDING", "search": "express"}),
    "waiting, an e-mail": (TASKS, {"state": "PENDING", "search": "waiting{user}@example.com"}),
    "an e-mail of what waits": (TASKS, {"search": "waiting{user}@example.com"}),
    "to be retried": (TASKS, {"state": "RETRY"}),
    "to be retried, a word": (TASKS, {"state": "RETRY", "search": "waiting{user}@example.com"}),
    "running": (TASKS, {"state": "STARTED"}),
    "due first": (TASKS, {"order": "due"}),
    "due first, by queue": (TASKS, {"order": "due", "queue": "mail"}),
    "due first, by rare task": (TASKS, {"order": "due", "task": "reports.tasks.daily_sales"}),
    "due first, received then": (TASKS, {"order": "due", "from": "{since}", "to": "{until}"}),
    "due first, an id": (TASKS, {"order": "due", "search": "{half}"}),
    "due first, common word": (TASKS, {"order": "due", "search": "express"}),
    "due first, an e-mail": (TASKS, {"order": "due", "search": "waiting{user}@example.com"}),
    "due tomorrow": (TASKS, {"due_from": "{soon}", "due_to": "{later}"}),
    "Flower: limit": (FLOWER, {"limit": "20"}),
    "Flower: no limit, 1,000": (FLOWER, {}),
    "Flower: offset": (FLOWER, {"limit": "20", "offset": "19980"}),
    "Flower: sort_by name": (FLOWER, {"limit": "20", "sort_by": "name"}),
    "Flower: sort_by -state": (FLOWER, {"limit": "20", "sort_by": "-state"}),
    "Flower: sort_by started": (FLOWER, {"limit": "20", "sort_by": "started", "offset": "10000"}),
    "Flower: sort_by received": (FLOWER, {"limit": "20", "sort_by": "received"}),
    "Flower: sort_by, state": (FLOWER, {"limit": "20", "sort_by": "name", "state": "FAILURE"}),
    "Flower: sort_by, taskname": (FLOWER, {"limit": "20", "sort_by": "started", "taskname": "till.tasks.noop"}),
    "Flower: sort_by, search": (FLOWER, {"limit": "20", "sort_by": "name", "search": "express"}),
    "Flower: workername": (FLOWER, {"limit": "20", "workername": "host1:2"}),
    "Flower: workername, offset": (FLOWER, {"limit": "20", "workername": "host1:2", "offset": "500"}),
    "Flower: taskname, state": (FLOWER, {"limit": "20", "taskname": "reports.tasks.daily_sales",
                                         "state": "SUCCESS"}),
    "Flower: state, offset": (FLOWER, {"limit": "20", "state": "FAILURE", "offset": "10000"}),
    "Flower: received in an hour": (FLOWER, {"limit": "20", "received_start": "{from}", "received_end": "{to}"}),
    "Flower: that, and a worker": (FLOWER, {"limit": "20", "received_start": "{from}", "received_end": "{to}",
                                            "workername": "nobody"}),
    "Flower: that, and a state": (FLOWER, {"limit": "20", "received_start": "{from}", "received_end": "{to}",
                                           "state": "FAILURE"}),
    "Flower: that, and a word": (FLOWER, {"limit": "20", "received_start": "{from}", "received_end": "{to}",
                                          "search": "express"}),
    "Flower: search": (FLOWER, {"limit": "20", "search": "daily_sales"}),
    "Flower: search, state": (FLOWER, {"limit": "20", "search": "customer{user}@example.com", "state": "FAILURE"}),
    "Flower's own table": (TABLE, {"draw": "1", "start": "0", "length": "10"}),
    "sums by state": ("/api/v1/summary", {}),
    "the dead, by reason": ("/api/v1/dead", {}),
    "the dead of a queue": ("/api/v1/dead", {"queue": "mail"}),
    "charts of a day": ("/api/v1/charts", {"range": "day"}),
    "audit log": ("/api/v1/audit", {}),
    "flows": ("/api/v1/flows", {}),
    "metrics": ("/metrics", {}),
    "names of tasks": ("/api/v1/task-names", {}),
    "queues": ("/api/v1/queues", {}),
}


def id_at(end, days):
    """How the ids of that time begin."""
    text = f"{int((end - days * 86400) * 1000):012x}"
    return f"{text[:8]}-{text[8:]}-7000-8000-000000000000"


def numbers(jobs, turn, end):
    """Others in each turn, from all times: those of a failed job, and of a customer."""
    failed = (turn * 7919 * 160 + 123) % jobs
    days = 1 + turn % 27
    begin = datetime.datetime.fromtimestamp(end - days * 86400, datetime.timezone.utc)
    return {
        "failed": failed - (failed - 123) % 160,
        "user": turn * 7919 % 100003,
        "half": id_at(end, 15 + turn % 5),
        "low": id_at(end, 29.9),
        "from": f"{begin:%Y-%m-%d %H:%M}",
        "to": f"{begin + datetime.timedelta(hours=1):%Y-%m-%d %H:%M}",
        "since": f"{begin:%Y-%m-%dT%H:%M:00Z}",
        "until": f"{begin + datetime.timedelta(hours=1):%Y-%m-%dT%H:%M:00Z}",
        "soon": f"{begin + datetime.timedelta(days=days + 1):%Y-%m-%dT%H:%M:00Z}",
        "later": f"{begin + datetime.timedelta(days=days + 2):%Y-%m-%dT%H:%M:00Z}",
    }


def ask(url, page, found, pids, work):
    """Milliseconds until the answer is there; `work` gets those that the dashboard and its sessions of
    PostgreSQL were on a CPU."""
    worked = sum(map(cpu.ran_ns, pids))
    began = time.perf_counter()
    answer = requests.get(url, params=page, timeout=60)
    took = (time.perf_counter() - began) * 1000
    work.append((sum(map(cpu.ran_ns, pids)) - worked) / 1e6)
    answer.raise_for_status()
    body = answer.json() if answer.headers["Content-Type"].startswith("application/json") else {}
    rows = body.get("tasks", body.get("data", body))
    found.append((len(rows), body.get("is_cut") is True))
    return took


BEHIND = "SELECT count(*) FROM (SELECT FROM jobs, job_search_mark WHERE id > passed LIMIT 1024) x"


def fill(bench, jobs):
    began = time.monotonic()
    history.load(bench.connection, jobs, lambda done: print(f"\r{done:,} jobs", end="", flush=True))
    print(f" in {time.monotonic() - began:.0f} s", flush=True)
    scheduler, began = bench.scheduler(), time.monotonic()
    wait_for(lambda: bench.query(BEHIND)[0][0] < 1024, INDEX_HOURS * 3600, "the index")
    print(f"indexed in {time.monotonic() - began:.0f} s, {size(bench)}", flush=True)
    return scheduler


def add_to(bench, waiting, recent):
    """What a busy moment adds; the index comes to those that wait and not to the others."""
    if waiting:
        history.add(bench.connection, history.WAITING, waiting)
        wait_for(lambda: bench.query(BEHIND)[0][0] < 1024, INDEX_HOURS * 3600, "the index of what waits")
    if recent:
        history.add(bench.connection, history.RECENT, recent)


def size(bench):
    return bench.query(
        "SELECT pg_size_pretty(pg_total_relation_size('job_grams')"
        " + pg_total_relation_size('job_segments'))"
        " || ' beside ' || pg_size_pretty(pg_total_relation_size('jobs')) || ' of jobs'"
    )[0][0]


def put_first(pids):
    """Real-time, with all their threads; the kernel's groups of sessions leave nice without effect."""
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(1))


def sessions(bench):
    found = bench.query("SELECT pid FROM pg_stat_activity WHERE application_name = 'till-dashboard'")
    return [pid for (pid,) in found]


def measure(bench, jobs, rounds, end, real_time=False):
    settings = {**bench.settings, "TILL_DASHBOARD_LISTEN": "127.0.0.1:0"}
    log = os.path.join(bench.folder, "dashboard.log")
    settings["LOG_LEVEL"] = "info"
    dashboard = programs.Program("till-dashboard", settings, log, (), "listening").start()
    times, found, work = ({name: [] for name in PAGES} for _ in range(3))
    try:
        for turn in range(rounds):
            words = numbers(jobs, turn, end)
            for name, (path, page) in PAGES.items():
                filled = {key: text.format(**words) for key, text in page.items()}
                pids = [dashboard.pid, *sessions(bench)]
                if real_time:
                    put_first([*pids, os.getpid()])
                times[name].append(ask(dashboard.url + path, filled, found[name], pids, work[name]))
    finally:
        dashboard.end()
    return {
        name: {**percentiles(times[name]), "cpu": percentiles(work[name])["p50"], "first": times[name][0],
               "found": max(count for count, _ in found[name]), "cut": sum(cut for _, cut in found[name])}
        for name in PAGES
    }


def show(figures):
    print(f"{'a page of tasks':<28} {'p50':>8} {'p95':>8} {'first':>8} {'CPU':>8} ms   found")
    for name, of in figures.items():
        late = "" if of["p95"] < GOAL_MS else f"   more than {GOAL_MS} ms"
        cut = "   cut" if of["cut"] else ""
        print(f"{name:<28} {of['p50']:8.1f} {of['p95']:8.1f} {of['first']:8.1f} {of['cpu']:8.1f}      {of['found']:5}{cut}{late}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--waiting", type=int, default=0)
    parser.add_argument("--recent", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--real-time", action="store_true")
    arguments = parser.parse_args()
    bench = Bench(folders.new_run_folder())
    try:
        scheduler = fill(bench, arguments.jobs)
        [(end,)] = bench.query("SELECT extract(epoch FROM max(created_at))::float8 FROM jobs")
        if arguments.waiting or arguments.recent:
            add_to(bench, arguments.waiting, 0)
            scheduler.end()
            add_to(bench, 0, arguments.recent)
        figures = measure(bench, arguments.jobs, arguments.rounds, end, arguments.real_time)
        scheduler.end()
    finally:
        bench.end()
    show(figures)
    if arguments.json:
        with open(arguments.json, "w") as out:
            json.dump(figures, out, indent=2)


if __name__ == "__main__":
    main()

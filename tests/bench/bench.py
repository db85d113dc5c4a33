#!/usr/bin/python3
"""make bench: our figures beside their limits, on this machine, in one run.

The limits are what hiredis alone does with the same stream (raw_redis), what PostgreSQL alone does with
the same statements in batches (raw_jobs, raw_tally) and under pgbench, and what civetweb alone answers.
Every figure is the median of some rounds in which limit and ours take turns, so that a busy neighbour
hits both. PostgreSQL runs without fsync, as in the tests: what is measured is our share, not the disk.
Beside the rates stands where the time goes: CPU by program and bytes of WAL, a job, ours and bare.

With a backlog, the jobs are drained from the front of so many others, and nothing else is measured.

    bench.py [--rounds 5] [--backlog N] [--json FILE]
"""

import argparse
import datetime
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import cpu  # noqa: E402
import limited  # noqa: E402
import tally  # noqa: E402
import web  # noqa: E402

from harness import folders, programs, redis  # noqa: E402
from harness.postgres import Cluster  # noqa: E402
from harness.wait import wait_for  # noqa: E402

FAST_JOBS = 1_000_000
DURABLE_JOBS = 200_000
LATENCY_JOBS = 300
SINGLE_JOBS = 50_000
FEW_SLOTS, MANY_SLOTS = 4, 64
STEP = 5_000
RAW_THREADS = 2
RAW_JOBS_THREADS = 4
STREAM = "till:{default}:normal"


class Bench:
    def __init__(self, folder, backlog=0):
        cluster = Cluster(folder, programs.migrate)
        self.postgres = cluster.new_server(folder, "pg")
        self.redis_server = redis.new_server(folder, "redis")
        self.redis = self.redis_server.client()
        self.postgres.new_database("bench")
        self.connection = self.postgres.connect("bench")
        self.folder = folder
        self.settings = {
            "DATABASE_URL": self.postgres.url("bench"),
            "REDIS_URL": self.redis_server.url(),
            "GATEWAY_SECRET_KEY": "sk_test_bench",
            "LOG_LEVEL": "warn",
        }
        self.logs = 0
        self.backlog = backlog
        self.web = None  # made by web.py

    def end(self):
        self.redis_server.stop()
        self.postgres.stop("immediate")

    def raw(self, name, *arguments):
        """What the program prints. One that fills first tells when it is done with that ("filled"): then also
        what a job costs, which is how many its first argument says."""
        urls = {name: self.settings[name] for name in ("DATABASE_URL", "REDIS_URL")}
        environment = {**os.environ, **urls}
        path = os.path.join(os.path.dirname(programs.path_of("till")), "tests", "bench", name)
        ended = children_us()
        with subprocess.Popen(
            [path, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            line, before = process.stdout.readline(), None
            if line == "filled\n":
                before, filling = self.costs(), cpu.family_us(process.pid)
                line = process.stdout.readline()
        if process.returncode:
            sys.exit(f"bench: {name} ended with {process.returncode}")
        figures = json.loads(line)
        if before:
            costs = costs_of(before, self.costs(), arguments[0])
            figures |= costs | {"cpu_client": (children_us() - ended - filling) / arguments[0]}
        return figures

    def worker(self, processes, ready=None, **settings):
        self.logs += 1
        log = os.path.join(self.folder, f"worker-{self.logs}.log")
        made = programs.Program(
            "till-worker",
            {**self.settings, "TILL_WORKER_PROCESSES": processes, **settings},
            log,
            (),
            ready,
        )
        return made.start()

    def scheduler(self):
        self.logs += 1
        log = os.path.join(self.folder, f"scheduler-{self.logs}.log")
        settings = {**self.settings, "TILL_HEAL_SECONDS": 60}  # the filling takes some
        return programs.Program("till-scheduler", settings, log).start()

    def cpu(self, *others):
        """Microseconds of CPU so far, by program."""
        pids = {"postgres": self.postgres.process.pid, "redis": self.redis_server.process.pid}
        pids |= {one.name.removeprefix("till-"): one.pid for one in others}
        return {name: cpu.family_us(pid) for name, pid in pids.items()}

    def costs(self, *others):
        """As cpu(), and the bytes of WAL."""
        [(wal,)] = self.query("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8")
        return {**{f"cpu_{name}": us for name, us in self.cpu(*others).items()}, "wal": wal}

    def query(self, sql):
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else None

    @staticmethod
    def wait_at_once(condition, what, pause_s=0.005):
        """As wait_for(), for what is timed: it looks as often at the end as at the beginning."""
        deadline = time.monotonic() + 300
        while not condition():
            if time.monotonic() > deadline:
                sys.exit(f"bench: {what} never came")
            time.sleep(pause_s)

    def drain(self, processes, jobs, **settings):
        """Jobs a second, from the first one that is done until only the backlog is left."""
        worker = self.worker(processes, **settings)
        self.wait_at_once(lambda: self.waiting() < jobs + self.backlog, "the first job")
        began, left, before = time.monotonic(), self.waiting() - self.backlog, self.costs(worker)
        self.wait_at_once(lambda: self.waiting() <= self.backlog, "the last job")
        took = time.monotonic() - began
        jobs = left + self.backlog - self.waiting()
        costs = costs_of(before, self.costs(worker), jobs)
        memory = max(rss_mib(pid) for pid in worker.family()[1:])
        worker.term()
        worker.wait()
        return {"rate": jobs / took, "memory": memory, **costs}

    def waiting(self):
        return self.redis.xlen(STREAM)

    def push_fast(self, count):
        script = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'task', 'till.tasks.noop') end"
        for _ in range(0, count, STEP):
            self.redis.eval(script, 1, STREAM, STEP)

    def fast_drain(self, processes):
        self.redis.flushall()
        self.push_fast(FAST_JOBS + self.backlog)
        return self.drain(processes, FAST_JOBS)

    def push_jobs(self):
        """Entries for all rows, in the order of their ids."""
        script = "for _, id in ipairs(ARGV) do redis.call('XADD', KEYS[1], '*', 'job', id) end"
        ids = [str(job) for (job,) in self.query("SELECT id FROM jobs ORDER BY id")]
        for first in range(0, len(ids), STEP):
            self.redis.eval(script, 1, STREAM, *ids[first : first + STEP])

    def durable_drain(self, processes, **settings):
        self.redis.flushall()
        self.query("TRUNCATE jobs CASCADE")
        self.query(
            "INSERT INTO jobs (task, enqueued_at) SELECT 'till.tasks.noop', now()"
            f" FROM generate_series(1, {DURABLE_JOBS + self.backlog})"
        )
        self.query("ANALYZE jobs")  # autovacuum may have looked while the rows were in their transaction
        self.push_jobs()
        figures = self.drain(processes, DURABLE_JOBS, **settings)
        [(done,)] = self.query("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'")
        if done < DURABLE_JOBS or (done > DURABLE_JOBS and not self.backlog):
            sys.exit(f"bench: {done} of {DURABLE_JOBS} jobs are done")
        return figures

    def slot_memory(self):
        """MiB of a process after a drain, by its slots, and of a slot."""
        few, many = (
            self.durable_drain(1, TILL_WORKER_CONCURRENCY=slots)["memory"] for slots in (FEW_SLOTS, MANY_SLOTS)
        )
        return {"few": few, "many": many, "slot": (many - few) / (MANY_SLOTS - FEW_SLOTS)}

    def latency(self, enqueue):
        """Milliseconds from just before the enqueueing to the end of the no-op, one at a time; for
        those with a row also to the claim, after which the handler begins."""
        self.redis.flushall()
        worker = self.worker(2, "ready", LOG_LEVEL="debug")
        begun = {}
        for _ in range(LATENCY_JOBS):
            job = str(uuid.uuid4())
            begun[job] = time.time()
            enqueue(job)
            wait_for(lambda: self.redis.xlen(STREAM) == 0, 10, "the job to be done")
        worker.term()
        worker.wait()
        ended = {
            line["job_id"]: time_of(line["time"])
            for line in worker.read_log()
            if line["event"] == "job_done"
        }
        claimed = {
            str(job): at
            for job, at in self.query("SELECT id, extract(epoch FROM started_at)::float8 FROM jobs")
        }
        return {
            "end": percentiles((ended[job] - at) * 1000 for job, at in begun.items()),
            "claim": percentiles((claimed[job] - begun[job]) * 1000 for job in claimed if job in begun),
        }

    def add_fast(self, job):
        self.redis.xadd(STREAM, {"task": "till.tasks.noop", "id": job})

    def add_durable(self, job):
        self.query(
            "INSERT INTO jobs (id, task, enqueued_at) VALUES"
            f" ('{job}', 'till.tasks.noop', now())"
        )
        self.redis.xadd(STREAM, {"job": job})


def children_us():
    """Microseconds that the programs have worked which this one has started, and which have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * 1_000_000


def costs_of(before, after, jobs):
    return {name: (after[name] - before[name]) / jobs for name in after}


def percentiles(values):
    """None of nothing."""
    values = sorted(values)
    return {f"p{p}": values[len(values) * p // 100] for p in (50, 95, 99)} if values else None


def time_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def rss_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


def median_of(rounds):
    """Rounds of equal dictionaries of numbers."""
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def measure(bench, rounds):
    series = {}
    socket = bench.redis_server.url().removeprefix("unix://").split("?")[0]

    def note(name, figures):
        series.setdefault(name, []).append(figures)

    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        note("raw_redis", bench.raw("raw_redis", socket, FAST_JOBS, RAW_THREADS, 64))
        note("fast_1", bench.fast_drain(1))
        note("fast_2", bench.fast_drain(2))
        note("raw_jobs", bench.raw("raw_jobs", DURABLE_JOBS, RAW_JOBS_THREADS, 256))
        note("durable_1", bench.durable_drain(1))
        note("durable_2", bench.durable_drain(2))
        if not bench.backlog:
            bench.redis.flushall()
            bench.query("TRUNCATE jobs CASCADE")
            note("add", bench.raw("add_jobs", FAST_JOBS, SINGLE_JOBS))
            tally.measure(bench, note)
            limited.measure(bench, note)
            web.measure(bench, note)
    figures = {name: median_of(rounds) for name, rounds in series.items()}
    if bench.backlog:
        return figures
    bench.query("TRUNCATE jobs CASCADE")
    figures["fast_end"] = bench.latency(bench.add_fast)["end"]
    durable = bench.latency(bench.add_durable)
    figures["durable_claim"], figures["durable_end"] = durable["claim"], durable["end"]
    figures["slot_memory"] = bench.slot_memory()
    return figures


# What is shown of where the time goes: ours, and what does the same without us.
COSTS = (
    ("no-op fast", "fast_2"),
    ("no-op durable", "durable_2"),
    ("the same statements, bare", "raw_jobs"),
    ("a transaction a job", "tally_2"),
    ("the same without a claim, bare", "raw_tally"),
    ("batched task", "tally_many_2"),
    ("64 a transaction without a claim, bare", "raw_tally_many"),
)


def show_costs(f):
    parts = ("cpu_worker", "cpu_client", "cpu_postgres", "cpu_redis")
    titles = ("worker", "client", "PostgreSQL", "Redis", "together", "WAL bytes")
    print(f"\n{'microseconds of CPU a job':<44}" + "".join(f"{title:>11}" for title in titles))
    for what, name in COSTS:
        of = [f[name].get(part) for part in parts]
        of += [sum(cost for cost in of if cost), f[name]["wal"]]
        print(f"{what:<44}" + "".join(f"{cost:>11,.1f}" if cost is not None else " " * 11 for cost in of))


def show(f):
    def row(what, ours, limit):
        print(f"{what:<44} {ours:>10,.0f} {limit:>10,.0f} {ours / limit:>7.0%}")

    print(f"{'jobs a second':<44} {'Till':>10} {'limit':>10} {'share':>7}")
    row("no-op fast jobs, 1 process", f["fast_1"]["rate"], f["raw_redis"]["drain"])
    row("no-op fast jobs, 2 processes", f["fast_2"]["rate"], f["raw_redis"]["drain"])
    row("no-op durable jobs, 1 process", f["durable_1"]["rate"], f["raw_jobs"]["drain"])
    row("no-op durable jobs, 2 processes", f["durable_2"]["rate"], f["raw_jobs"]["drain"])
    if "add" not in f:
        return
    row("enqueue fast jobs one by one", f["add"]["fast_single"], f["add"]["raw_single"])
    row("enqueue fast jobs in bulk", f["add"]["fast_bulk"], f["raw_redis"]["add"])
    row("enqueue durable jobs in bulk, with their XADD", f["add"]["durable_bulk"], f["add"]["bare_bulk"])
    tally.show(f, row)
    limited.show(f, row)
    print(f"\n{'one job at a time, idle, ms':<44} {'p50':>10} {'p95':>10} {'p99':>10}")
    for what, name in (
        ("fast: from before XADD to the end", "fast_end"),
        ("durable: from before INSERT to the claim", "durable_claim"),
        ("durable: from before INSERT to the end", "durable_end"),
    ):
        print(f"{what:<44} {f[name]['p50']:>10.2f} {f[name]['p95']:>10.2f} {f[name]['p99']:>10.2f}")
    web.show(f)
    show_costs(f)
    redis, memory = f["raw_redis"], f["slot_memory"]
    print(f"\nRedis alone, entries a second: XADD {redis['add']:,.0f}, XREADGROUP {redis['read']:,.0f},", end="")
    print(f" XACK and XDEL {redis['settle']:,.0f}, all but XADD {redis['drain']:,.0f}")
    print(f"memory of a worker process after a drain: {memory['few']:.1f} MiB with {FEW_SLOTS} slots,", end="")
    print(f" {memory['many']:.1f} with {MANY_SLOTS}: {memory['slot'] * 1024:.0f} KiB a slot")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backlog", type=int, default=0, help="jobs that wait behind the measured ones")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    bench = Bench(folders.new_run_folder(), arguments.backlog)
    try:
        figures = measure(bench, arguments.rounds)
    finally:
        web.end(bench)
        bench.end()
    show(figures)
    if arguments.json:
        os.makedirs(os.path.dirname(arguments.json) or ".", exist_ok=True)
        with open(arguments.json, "w") as out:
            json.dump(figures, out, indent=2)


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Whether a worker's memory stays flat, and Redis' with it: one process of 16 slots runs no-op after no-op, fast
ones from a stream and durable ones from rows in turn, and what the kernel says of it is printed each million.

    memory_worker.py [--jobs 10000000] [--durable 100000 of each million]

Ends with 1 when the process held more at the end than after the first million, by a tenth, or ever more
than 10 MB, or when the streams did not become empty.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from bench import STREAM, Bench, rss_mib  # noqa: E402
from harness import folders  # noqa: E402
from harness.wait import wait_for  # noqa: E402

MILLION = 1_000_000
SLOTS = 16
MOST_MIB = 10e6 / 1024 / 1024
SCRIPT = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'task', 'till.tasks.noop') end"
PATIENCE = 1200


def run_fast(bench, jobs):
    for _ in range(10):  # a script that runs for long stops all others
        bench.redis.eval(SCRIPT, 1, STREAM, jobs // 10)
    wait_for(lambda: bench.redis.xlen(STREAM) == 0, PATIENCE, "the fast jobs to be done")


def run_durable(bench, jobs):
    bench.query("TRUNCATE jobs CASCADE")
    rows = bench.query(
        "INSERT INTO jobs (task, enqueued_at) SELECT 'till.tasks.noop', now()"
        f" FROM generate_series(1, {jobs}) RETURNING id"
    )
    bench.query("ANALYZE jobs")
    pipe = bench.redis.pipeline(transaction=False)
    for (job,) in rows:
        pipe.xadd(STREAM, {"job": str(job)})
    pipe.execute()
    wait_for(lambda: bench.redis.xlen(STREAM) == 0, PATIENCE, "the durable jobs to be done")
    [(done,)] = bench.query("SELECT count(*) FROM jobs WHERE state = 'SUCCESS' AND attempt = 1")
    if done != jobs:
        sys.exit(f"{done} of {jobs} durable jobs are done")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--jobs", type=int, default=10 * MILLION)
    parser.add_argument("--durable", type=int, default=MILLION // 10)
    arguments = parser.parse_args()
    bench = Bench(folders.new_run_folder())
    held = []
    try:
        worker = bench.worker(1, "ready", TILL_WORKER_CONCURRENCY=SLOTS, LOG_LEVEL="info")
        process = worker.family()[1]
        for done in range(MILLION, arguments.jobs + 1, MILLION):
            run_fast(bench, MILLION - arguments.durable)
            run_durable(bench, arguments.durable)
            held.append(rss_mib(process))
            redis_mib = bench.redis.info("memory")["used_memory"] / 1024 / 1024
            print(f"{done:11,} jobs: worker {held[-1]:5.2f} MiB, Redis {redis_mib:5.1f} MiB", flush=True)
        worker.term()
        worker.wait()
    finally:
        bench.end()
    print(f"grew by {held[-1] - held[0]:.2f} MiB after the first million")
    return 1 if held[-1] > held[0] * 1.1 or max(held) > MOST_MIB else 0


if __name__ == "__main__":
    sys.exit(main())

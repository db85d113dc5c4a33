"""Jobs with an effect of their own, one UPDATE and one INSERT: ours beside pgbench and bare libpq (raw_tally).

Used by bench.py; alone it measures these and nothing else:

    tally.py [--rounds 3]
"""

import argparse
import os
import re
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from harness import postgres  # noqa: E402

JOBS = 60_000
BATCHED_JOBS = 200_000
COUNTERS = 20_000  # so many that batches seldom meet at one
SLOTS = 10  # and connections of the bare program, as many as pgbench had in the target
BATCH = 64  # jobs a transaction of the bare program; with more its batches meet, and end in deadlocks
BATCH_SLOTS = 4  # more only get in each other's way, here as there
# What a transaction a job sends, for pgbench: each of its clients has jobs of its own, one after the other.
SCRIPT = """\\set n :n + 1
\\set job :client_id * {share} + :n
\\set counter :job % {counters}
BEGIN;
UPDATE trial_counters SET total = total + 1 WHERE id = :counter;
INSERT INTO trial_entries (counter, job_id, amount) VALUES (:counter, {id}, 1);
UPDATE jobs SET state = 'SUCCESS', finished_at = now(), result = NULL, error = NULL
 WHERE id = {id} AND attempt = 1 AND state = 'STARTED';
COMMIT;
"""
NUMBERED = "('00000000-0000-7000-8000-' || lpad(({})::text, 12, '0'))::uuid"


def prepare(bench):
    bench.query(
        f"INSERT INTO trial_counters (id) SELECT generate_series(0, {COUNTERS - 1}) ON CONFLICT DO NOTHING"
    )


def fill(bench, task, jobs):
    """Rows that wait, and their entries."""
    bench.redis.flushall()
    bench.query("TRUNCATE jobs, trial_entries CASCADE")
    bench.query(
        "INSERT INTO jobs (task, args, enqueued_at)"
        f" SELECT '{task}', jsonb_build_array(n % {COUNTERS}), now() FROM generate_series(1, {jobs}) AS n"
    )
    bench.query("VACUUM ANALYZE jobs")
    bench.query("VACUUM ANALYZE trial_counters")
    bench.push_jobs()


def pgbench(bench):
    """The three statements and nothing else: no claim, no queue."""
    bench.query("TRUNCATE jobs, trial_entries CASCADE")
    bench.query(
        "INSERT INTO jobs (id, task, state, attempt, worker, args, enqueued_at, started_at)"
        f" SELECT {NUMBERED.format('n')}, 'till.tasks.tally', 'STARTED', 1, 'pgbench',"
        f" jsonb_build_array(n % {COUNTERS}), now(), now() FROM generate_series(1, {JOBS}) AS n"
    )
    bench.query("VACUUM ANALYZE jobs")
    bench.query("VACUUM ANALYZE trial_counters")
    share = JOBS // SLOTS
    path = os.path.join(bench.folder, "tally.sql")
    with open(path, "w", encoding="utf-8") as file:
        file.write(SCRIPT.format(share=share, counters=COUNTERS, id=NUMBERED.format(":job")))
    command = f"{postgres.program('pgbench')} -n -M prepared -c {SLOTS} -j 2 -t {share} -D n=0 -f".split()
    done = subprocess.run(
        [*command, path, bench.settings["DATABASE_URL"]], check=True, stdout=subprocess.PIPE, text=True
    )
    [(left,)] = bench.query("SELECT count(*) FROM jobs WHERE state <> 'SUCCESS'")
    if left:
        sys.exit(f"bench: pgbench has left {left} of {JOBS} jobs")
    return {"drain": float(re.search(r"tps = ([\d.]+)", done.stdout)[1])}


def drain(bench, task, jobs, processes, slots):
    fill(bench, task, jobs)
    [(before,)] = bench.query("SELECT sum(total) FROM trial_counters")
    figures = bench.drain(processes, jobs, TILL_WORKER_CONCURRENCY=slots)
    [(after,)] = bench.query("SELECT sum(total) FROM trial_counters")
    [(entries,)] = bench.query("SELECT count(*) FROM trial_entries")
    if (after - before, entries) != (jobs, jobs):
        sys.exit(f"bench: {jobs} jobs, but {after - before} counted and {entries} entries")
    return figures


def measure(bench, note):
    """One round; note(name, figures)."""
    prepare(bench)
    note("pgbench_tally", pgbench(bench))
    note("raw_tally", bench.raw("raw_tally", JOBS, SLOTS, 1, COUNTERS))
    note("tally_1", drain(bench, "till.tasks.tally", JOBS, 1, SLOTS))
    note("tally_2", drain(bench, "till.tasks.tally", JOBS, 2, SLOTS // 2))
    note("raw_tally_many", bench.raw("raw_tally", BATCHED_JOBS, BATCH_SLOTS, BATCH, COUNTERS))
    note("tally_many_1", drain(bench, "till.tasks.tally_many", BATCHED_JOBS, 1, BATCH_SLOTS))
    note("tally_many_2", drain(bench, "till.tasks.tally_many", BATCHED_JOBS, 2, BATCH_SLOTS // 2))


def show(figures, row):
    for processes in (1, 2):
        name = f"{processes} process{'es' if processes > 1 else ''}"
        row(
            f"a transaction a job, {name}; limit: pgbench",
            figures[f"tally_{processes}"]["rate"],
            figures["pgbench_tally"]["drain"],
        )
        row(
            "the same; limit: bare libpq",
            figures[f"tally_{processes}"]["rate"],
            figures["raw_tally"]["drain"],
        )
    for processes in (1, 2):
        name = f"{processes} process{'es' if processes > 1 else ''}"
        row(
            f"batched task, {name}; limit: bare, {BATCH} a transaction",
            figures[f"tally_many_{processes}"]["rate"],
            figures["raw_tally_many"]["drain"],
        )


def main():
    from bench import Bench, median_of
    from harness import folders

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    series = {}
    bench = Bench(folders.new_run_folder())
    try:
        for _ in range(rounds):
            measure(bench, lambda name, figures: series.setdefault(name, []).append(figures))
    finally:
        bench.end()
    for name, all_rounds in series.items():
        key = "drain" if "drain" in all_rounds[0] else "rate"
        print(
            f"{name:<16} {statistics.median(one[key] for one in all_rounds):>10,.0f}",
            [round(one[key]) for one in all_rounds],
        )
    figures = {name: median_of(all_rounds) for name, all_rounds in series.items()}
    show(figures, lambda what, ours, limit: print(f"{what:<44} {ours / limit:>7.0%}"))


if __name__ == "__main__":
    main()

"""A day's mixture of jobs in a minute, while worker processes are killed: books balance to the job.

MIXED_LOAD_JOBS=86400 is a job a second for 24 hours; MIXED_LOAD_SEED makes the same run again.
"""

import os
import random
import signal
import time
import uuid
from collections import Counter

import psycopg2.extras
import pytest

from harness.wait import BUILD, pause, wait_for

JOBS = int(os.environ.get("MIXED_LOAD_JOBS", "5000"))
SEED = int(os.environ.get("MIXED_LOAD_SEED", "20261121"))
PORTION = 250  # jobs in a transaction of the producer
COUNTERS = 1000
DEAD_ATTEMPTS = 2
UNIQUE_KEYS = 40
TENANTS = 3  # of which two jobs each may run at a time

# What is enqueued, and how often of a hundred.
KINDS = {
    "tally": 32,
    "tally_many": 22,
    "delayed": 10,
    "fast": 8,
    "flaky": 7,
    "unique": 6,
    "limited": 4,
    "dead": 5,
    "cancelled": 4,
    "expiring": 2,
    "chain": 1,
    "group": 1,
    "broken": 1,
}
TALLY = "till.tasks.tally"
DEAD = {"task": "till.tasks.fail", "args": ["never"], "max_attempts": DEAD_ATTEMPTS}


class Producer:
    """Enqueues by SQL, as any client would, and remembers what must become of it."""

    def __init__(self, one, chooser):
        self.one = one
        self.chooser = chooser
        self.connection = one.postgres.connect(one.database)
        self.kinds = {}
        self.unique_calls = 0
        self.fast = set()

    def arguments(self, kind):
        """task, args and options of till_enqueue()."""
        counter = [self.chooser.randrange(COUNTERS)]
        priority = {"priority": self.chooser.randrange(3)}
        if kind == "flaky":
            return "till.tasks.fail", ["not yet", self.chooser.randint(1, 2)], {}
        if kind == "dead":
            return "till.tasks.fail", ["never"], {"max_attempts": DEAD_ATTEMPTS}
        if kind == "delayed":
            return TALLY, counter, {"scheduled_at": self.chooser.uniform(0.1, 4)}
        if kind == "cancelled":
            return TALLY, counter, {"scheduled_at": self.chooser.uniform(10, 20)}
        if kind == "expiring":
            return TALLY, counter, {"expires_at": self.chooser.uniform(0.2, 2)}
        if kind == "limited":
            return TALLY, counter, {"limit_key": f"tenant:{self.chooser.randrange(TENANTS)}"}
        if kind == "unique":
            key = f"key {self.chooser.randrange(UNIQUE_KEYS)}"
            return TALLY, counter, {"unique_key": key, "scheduled_at": 0.2}
        return f"till.tasks.{kind}", counter, priority

    def tally(self):
        return {"task": TALLY, "args": [self.chooser.randrange(COUNTERS)]}

    def flow(self, cursor, kind):
        """Three in a row; four and what follows them; or a chain that breaks in the middle."""
        many = [self.tally() for _ in range(4)]
        flow, kinds = {
            "chain": ({"chain": many[:3]}, ["chain"] * 3),
            "group": ({"group": many, "callback": self.tally()}, ["group"] * 5),
            "broken": ({"chain": [many[0], DEAD, many[1]]}, ["chain", "dead", "stopped"]),
        }[kind]
        cursor.execute("SELECT till_flow(%s)", [psycopg2.extras.Json(flow)])
        cursor.execute("SELECT id FROM jobs WHERE flow_id = %s ORDER BY flow_step", cursor.fetchone())
        self.kinds.update(zip((str(row[0]) for row in cursor.fetchall()), kinds, strict=True))

    def enqueue(self, cursor, kind):
        task, args, options = self.arguments(kind)
        values = [task, psycopg2.extras.Json(args)]
        named = ""
        for name, value in options.items():
            is_time = name.endswith("_at")
            named += f", {name} => " + ("now() + %s * interval '1 second'" if is_time else "%s")
            values.append(value)
        cursor.execute(f"SELECT till_enqueue(%s, %s{named})", values)
        job = str(cursor.fetchone()[0])
        self.unique_calls += kind == "unique"
        self.kinds[job] = kind
        return job

    def portion(self):
        """A transaction of jobs of all kinds; some of them are cancelled at once after it."""
        kinds = self.chooser.choices(list(KINDS), KINDS.values(), k=PORTION)
        cancelled = []
        with self.connection, self.connection.cursor() as cursor:
            for kind in kinds:
                if kind == "fast":
                    job = str(uuid.uuid4())
                    self.fast.add(job)
                    self.one.enqueue_fast("till.tasks.noop", id=job)
                    continue
                if kind in ("chain", "group", "broken"):
                    self.flow(cursor, kind)
                    continue
                job = self.enqueue(cursor, kind)
                if kind == "cancelled":
                    cancelled.append(job)
        if cancelled:
            self.one.till("task", "revoke", *cancelled)  # who comes too late finds SUCCESS


def unfinished(one):
    left = one.value("SELECT count(*) FROM jobs WHERE finished_at IS NULL")
    return left + sum(one.redis.xlen(key) for key in one.redis.scan_iter("till:{*"))


def check_states(one, producer):
    rows = one.query("SELECT id, state, attempt, error FROM jobs")
    taken_over = [row for row in rows if str(row["id"]) in producer.fast]
    assert {row["state"] for row in taken_over} <= {"SUCCESS"}, "fast jobs that a killed worker held"
    rows = [row for row in rows if str(row["id"]) not in producer.fast]
    assert len(rows) == len(producer.kinds), "each accepted job has one row, and nothing else has"
    seen = Counter()
    for row in rows:
        kind = producer.kinds[str(row["id"])]
        seen[kind, row["state"]] += 1
        wanted = {
            "dead": row["state"] == "FAILURE" and row["attempt"] == DEAD_ATTEMPTS,
            "cancelled": row["state"] in ("REVOKED", "SUCCESS"),
            "stopped": row["state"] == "REVOKED" and row["error"].startswith("depends on job"),
            "expiring": row["state"] == "SUCCESS" or row["error"] == "expired",
        }.get(kind, row["state"] == "SUCCESS")
        assert wanted, f"a {kind} job: {row}"
    return seen


def check_effects(one, producer):
    entries = {str(r["job_id"]): r["n"] for r in one.query(
        "SELECT job_id, count(*) AS n FROM trial_entries GROUP BY job_id"
    )}
    done = {str(r["id"]) for r in one.query(
        "SELECT id FROM jobs WHERE state = 'SUCCESS' AND task LIKE 'till.tasks.tally%%'"
    )}
    assert set(entries) == done, "what succeeded took effect, and nothing else did"
    assert set(entries.values()) <= {1}, "and once"
    assert one.value("SELECT sum(total) FROM trial_counters") == len(done)


def check_errors(one):
    """Every attempt that did not succeed left its error, and no other did."""
    wrong = one.query(
        "SELECT j.id, j.state, j.attempt, count(e.job_id) AS errors FROM jobs j"
        " LEFT JOIN job_errors e ON e.job_id = j.id GROUP BY j.id"
        " HAVING count(e.job_id) <> j.attempt - (j.state = 'SUCCESS')::int LIMIT 5"
    )
    assert wrong == []


def check_redis(one, keys_before):
    for key in one.redis.scan_iter("till:{*"):
        if one.redis.type(key) == "stream":
            assert one.redis.xlen(key) == 0
            assert one.redis.xpending(key, "till")["pending"] == 0
    left = {key for key in one.redis.scan_iter("*")} - keys_before
    assert not [key for key in left if not key.startswith(("till:{", "till:worker", "till:events"))]


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@pytest.mark.slow
def test_a_mixture_of_everything_balances_to_the_job(stack):
    one = stack({"TILL_LEASE_SECONDS": 2}).start(apis=0, workers=2, schedulers=2)
    assert one.till("limit", "set", "key", "tenant:*", "--concurrency", "2").returncode == 0
    chooser = random.Random(SEED)
    print(f"seed {SEED}")
    producer = Producer(one, chooser)
    keys_before = set(one.redis.scan_iter("*"))
    spared, victim = one.named("till-worker")
    kills = 0
    sizes = {}
    began = time.monotonic()

    while len(producer.kinds) + len(producer.fast) < JOBS:
        producer.portion()
        if not sizes and len(producer.kinds) > JOBS / 4:
            sizes = {pid: rss_kib(pid) for pid in spared.family()[1:]}
        if chooser.random() < 0.2:
            children = victim.family()[1:]
            if children:
                os.kill(chooser.choice(children), signal.SIGKILL)
                kills += 1
        pause(chooser.uniform(0, 0.2))
    wait_for(lambda: unfinished(one) == 0, 60 + JOBS / 100, lambda: f"{unfinished(one)} left")

    seen = check_states(one, producer)
    check_effects(one, producer)
    check_errors(one)
    check_redis(one, keys_before)
    assert {kind for kind, _ in seen} == set(KINDS) - {"fast", "broken"} | {"stopped"}
    assert one.value("SELECT count(*) FROM flows WHERE finished_at IS NULL") == 0
    counted = one.query("SELECT * FROM limit_counts WHERE places <> 0 OR coming <> 0")
    assert counted == [], "every place was given back, once"
    for pid, before in sizes.items() if "asan" not in BUILD else []:  # which keeps what was freed
        assert rss_kib(pid) < before * 1.25 + 1024, "its memory has settled"
    took = time.monotonic() - began
    print(f"{len(producer.kinds)} rows, {len(producer.fast)} fast jobs, {kills} kills, {took:.0f} s")
    print(dict(seen))

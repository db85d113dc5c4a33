"""Places under limits while many claim, end, revoke, delete and let go at once: never more than allowed, no
place lost or given twice, no deadlock."""

import os
import random
import threading
import time

SEED = int(os.environ.get("LIMIT_LOCKS_SEED") or random.randrange(1 << 32))
KEYS = 6
KEY_MOST, TASK_MOST = 2, 7
JOBS = 200
CLAIM = "SELECT id FROM till_claim_limited(%s::uuid[], %s::text[], %s)"
CLAIM_FIRST = (
    "SELECT j.id FROM till_claim_first(%s::uuid[], %s::text[], %s) c"
    " JOIN unnest(%s::uuid[]) WITH ORDINALITY AS j (id, n) USING (n)"
)
WAITING = (
    "SELECT id FROM jobs WHERE state IN ('PENDING', 'RETRY') AND enqueued_at IS NOT NULL"
    " ORDER BY random() LIMIT %s"
)
# Alone, as a task with a transaction of its own does, and many at once, as common/jobs_run.c does.
SUCCEED = "UPDATE jobs SET state = 'SUCCESS', finished_at = now() WHERE id = %s AND state = 'STARTED'"
SUCCEED_MANY = (
    "WITH done AS (UPDATE jobs SET state = 'SUCCESS', finished_at = now(), places = -places"
    " WHERE id = ANY (%s::uuid[]) AND state = 'STARTED' RETURNING places, task, limit_key)"
    " INSERT INTO limit_freed (bucket, places, coming, wakes)"
    " SELECT x.bucket, 1, 0, true FROM done d, LATERAL ("
    " VALUES (CASE WHEN -d.places & 1 <> 0 THEN 'key:' || d.limit_key END),"
    " (CASE WHEN -d.places & 2 <> 0 THEN 'task:' || d.task END)) x (bucket) WHERE x.bucket IS NOT NULL"
)
RETRY = (
    "UPDATE jobs SET state = 'RETRY', error = 'why', enqueued_at = now() WHERE id = %s AND state = 'STARTED'"
)
REVOKE = (
    "UPDATE jobs SET state = 'REVOKED', error = 'why', finished_at = now() WHERE id = ANY (ARRAY("
    "SELECT id FROM jobs WHERE finished_at IS NULL ORDER BY random() LIMIT 3 FOR NO KEY UPDATE SKIP LOCKED))"
)
DELETE = (
    "DELETE FROM jobs WHERE id = ANY (ARRAY(SELECT id FROM jobs WHERE finished_at IS NULL"
    " ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED))"
)
OTHER_KEY = (
    "UPDATE jobs SET limit_key = 'k:0', enqueued_at = now(), parked_on = NULL WHERE id = ANY (ARRAY("
    "SELECT id FROM jobs WHERE state = 'PENDING' ORDER BY random() LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED))"
)


class Actor(threading.Thread):
    """One connection that does `step` until it is told to end."""

    def __init__(self, one, number, ends):
        super().__init__()
        self.connection = one.postgres.connect(one.database)
        self.connection.autocommit = True
        self.chooser = random.Random(SEED + number)
        self.name = f"w{number}"
        self.ends = ends
        self.trouble = None

    def execute(self, sql, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def run(self):
        try:
            while not self.ends.is_set():
                self.step()
        except Exception as error:  # told by the test
            self.trouble = error
            self.ends.set()
        finally:
            self.connection.close()


class Worker(Actor):
    def step(self):
        ids = [row[0] for row in self.execute(WAITING, self.chooser.randint(1, 30))]
        if self.chooser.random() < 0.5:
            got = self.execute(CLAIM, ids, ["1-1"] * len(ids), self.name)
        else:
            got = self.execute(CLAIM_FIRST, ids, ["1-1"] * len(ids), self.name, ids)
        got = [row[0] for row in got]
        self.chooser.shuffle(got)
        for job in got[::3]:
            self.execute(RETRY if self.chooser.random() < 0.3 else SUCCEED, job)
        rest = [job for n, job in enumerate(got) if n % 3]
        if rest:
            self.execute(SUCCEED_MANY, rest)
        if not ids:
            self.ends.wait(0.01)


class Scheduler(Actor):
    def step(self):
        self.execute("SELECT till_release_parked(20)")
        if self.chooser.random() < 0.1:
            self.execute("SELECT till_count_places()")
        self.ends.wait(0.005)


class Operator(Actor):
    def step(self):
        self.execute(self.chooser.choice([REVOKE, DELETE, OTHER_KEY]))
        self.ends.wait(0.05)


class Counter(Actor):
    """A bucket counts right at any one moment, whatever is on its way."""

    looks = 0

    def step(self):
        wrong = self.execute(
            "SELECT bucket, till_recount_bucket(bucket) FROM (SELECT bucket FROM limit_buckets ORDER BY random() LIMIT 1) b"
        )
        assert all(by == 0 for _, by in wrong), wrong
        self.looks += len(wrong)
        self.ends.wait(0.005)


class Watcher(Actor):
    """What runs at any one moment is within the limits."""

    looks = 0

    def step(self):
        over = self.execute(
            "SELECT limit_key, count(*) FROM jobs WHERE state = 'STARTED' GROUP BY GROUPING SETS ((limit_key), ())"
            " HAVING count(*) > CASE WHEN grouping(limit_key) = 1 THEN %s ELSE %s END",
            TASK_MOST, KEY_MOST,
        )
        assert over == [], "more run than may"
        self.looks += 1


def test_places_hold_under_everybody_at_once_and_nobody_deadlocks(stack):
    print(f"LIMIT_LOCKS_SEED={SEED}")
    one = stack()
    one.query("INSERT INTO limits (scope, name, concurrency) VALUES ('key', 'k:*', %s)", KEY_MOST)
    one.query("INSERT INTO limits (scope, name, concurrency) VALUES ('task', 't', %s)", TASK_MOST)
    one.query(
        "INSERT INTO jobs (task, limit_key, enqueued_at, max_attempts)"
        " SELECT 't', 'k:' || n %% %s, now(), 1000 FROM generate_series(1, %s) AS n", KEYS, JOBS
    )
    ends = threading.Event()
    watcher = Watcher(one, 9, ends)
    actors = [Worker(one, n, ends) for n in range(4)]
    counter = Counter(one, 7, ends)
    actors += [Scheduler(one, 4, ends), Operator(one, 5, ends), Operator(one, 6, ends), counter, watcher]
    for actor in actors:
        actor.start()
    began = time.monotonic()
    while not ends.wait(0.05) and time.monotonic() < began + 60:
        done = one.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'")
        if not one.value("SELECT count(*) FROM jobs WHERE finished_at IS NULL"):
            break
        # On a slow machine less is done, and what is left ends below.
        if time.monotonic() > began + 6 and done and watcher.looks and counter.looks:
            break
    ends.set()
    for actor in actors:
        actor.join(60)
    one.query(
        "UPDATE jobs SET state = 'REVOKED', error = 'why', finished_at = now() WHERE finished_at IS NULL"
    )
    one.query("DELETE FROM limit_ghosts")  # as workers do when the handlers of these have ended

    assert [actor.trouble for actor in actors] == [None] * len(actors)
    assert one.value("SELECT count(*) FROM jobs WHERE state = 'SUCCESS'") > 0
    assert watcher.looks > 0 and counter.looks > 0
    assert one.query("SELECT * FROM limit_counts WHERE places <> 0 OR coming <> 0") == []
    assert one.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0

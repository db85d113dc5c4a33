# SPDX-License-Identifier: MIT
"""Jobs in every state, as rows, for tests of what people look at; and texts that attack a page."""

import json
import os
import time
import uuid

import psycopg2.extras

# Each of these in the places that a job or a worker fills with any text it likes.
XSS = [
    "<script>window.__xss = 1</script>",
    "<img src=x onerror=\"window.__xss = 2\">",
    "\"><svg onload=window.__xss=3>",
    "'><iframe srcdoc='<script>parent.__xss=4</script>'>",
    "</script><script>window.__xss=5</script>",
    "javascript:window.__xss=6",
    "{{constructor.constructor('window.__xss=7')()}}",
    "<a href=\"javascript:window.__xss=8\">x</a>",
    "<style>@import 'http://evil.example/x.css'</style>",
    "\u2028<math><mtext></form><form><mglyph><style></math><img src onerror=window.__xss=9>",
]


def uuid7(age_seconds=0.0):
    """An id as Till makes it, for a job that was made so long ago."""
    milliseconds = int((time.time() - age_seconds) * 1000)
    data = bytearray(milliseconds.to_bytes(6, "big") + os.urandom(10))
    data[6] = data[6] & 0x0F | 0x70
    data[8] = data[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(data)))


def declare_task(stack, name, soft_ms=10_000, hard_ms=20_000):
    """As a worker does that has it."""
    stack.query(
        "INSERT INTO tasks (name, queue, max_attempts, fast, soft_limit_ms, hard_limit_ms)"
        " VALUES (%s, 'mail', 5, false, %s, %s)", name, soft_ms, hard_ms,
    )


def insert(stack, state, task="till.tasks.noop", age=0.0, args=(), kwargs=None, **columns):
    """One job in the state, made `age` seconds ago, with what that state requires."""
    made = f"now() - interval '{float(age)} s'"
    sql = {"created_at": made, "scheduled_at": made, "enqueued_at": made}
    row = {
        "id": uuid7(age),
        "task": task,
        "state": state,
        "args": psycopg2.extras.Json(list(args)),
        "kwargs": psycopg2.extras.Json(kwargs or {}),
    }
    if state != "PENDING":
        sql["started_at"] = f"{made} + interval '10 ms'"
        row |= {"attempt": 1, "worker": "host:0", "delivery": "1-0"}
    if state in ("SUCCESS", "FAILURE", "REVOKED"):
        sql["finished_at"] = f"{made} + interval '260 ms'"
    if state in ("RETRY", "FAILURE"):
        row["error"] = "the gateway answered 503"
    if state == "RETRY":
        sql |= {"enqueued_at": "NULL", "scheduled_at": "now() + interval '1 hour'"}
    if state == "SUCCESS":
        row["result"] = psycopg2.extras.Json({"ok": True})
    row |= columns
    for name in row:
        sql.pop(name, None)
    names = [*row, *sql]
    values = ["%s"] * len(row) + list(sql.values())
    stack.query(
        f"INSERT INTO jobs ({', '.join(names)}) VALUES ({', '.join(values)})", *row.values()
    )
    return row["id"]


STATES = ("PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED")


def insert_every_state(stack):
    """State -> id; the last is the newest."""
    return {state: insert(stack, state, age=60 - i) for i, state in enumerate(STATES)}


def insert_failure(stack, job_id, attempt, error, detail=None, worker="host:0"):
    stack.query(
        "INSERT INTO job_errors (job_id, attempt, worker, started_at, failed_at, error, detail)"
        " VALUES (%s, %s, %s, now() - interval '2 s', now() - interval '1 s', %s, %s)",
        job_id, attempt, worker, error, detail,
    )


def insert_hostile(stack):
    """Ids of jobs whose every text is an attack."""
    ids = []
    for text in XSS:
        job = insert(
            stack, "FAILURE", args=[text, {text: text}], kwargs={text: [text]},
            result=psycopg2.extras.Json({text: text}), error=text, worker=text[:60], checkpoint=psycopg2.extras.Json({text: text}),
            payload=text.encode(), delivery=text[:40],
        )
        insert_failure(stack, job, 1, text, text, worker=text[:60])
        ids.append(job)
    return ids


def report_worker(stack, name, /, **report):
    """A heartbeat as a worker publishes it."""
    stack.redis.set(f"till:worker:{name}", "token", ex=3600)
    stack.redis.set(f"till:worker:{name}:report", json.dumps({"name": name, **report}), ex=3600)
    stack.redis.zadd("till:workers", {name: int(time.time() * 1000)})

"""Flows as tests declare and judge them."""

import json

from .wait import wait_for

# Counters of gates that are not what the jobs say, and jobs whose turn came and who still wait.
WRONG_GATES = """
    SELECT g.flow_id, g.gate, g.open, x.open AS open_is, g.stopped, x.stopped AS stopped_is
    FROM flow_gates g CROSS JOIN LATERAL (SELECT
        (SELECT count(*) FROM jobs j WHERE j.flow_id = g.flow_id AND j.flow_to = g.gate
            AND j.state <> 'SUCCESS')
        + (SELECT count(*) FROM flow_gates c WHERE c.flow_id = g.flow_id AND c.parent = g.gate
            AND c.open > 0) AS open,
        (SELECT count(*) FROM jobs j LEFT JOIN flow_gates f
            ON f.flow_id = j.flow_id AND f.gate = j.flow_from
            WHERE j.flow_id = g.flow_id AND j.flow_to = g.gate
            AND j.state IN ('FAILURE', 'REVOKED') AND (j.waits IS NULL OR f.open = f.stopped))
        + (SELECT count(*) FROM flow_gates c WHERE c.flow_id = g.flow_id AND c.parent = g.gate
            AND c.open > 0 AND c.open = c.stopped) AS stopped) x
    WHERE (g.open, g.stopped) <> (x.open, x.stopped)"""
LEFT_WAITING = """
    SELECT j.id, j.task FROM jobs j JOIN flow_gates g ON g.flow_id = j.flow_id AND g.gate = j.flow_from
    WHERE j.waits AND j.finished_at IS NULL AND (g.open = 0 OR (j.flow_over AND g.open = g.stopped))"""
TOO_EARLY = """
    SELECT j.id, j.task FROM jobs j JOIN flow_gates g ON g.flow_id = j.flow_id AND g.gate = j.flow_from
    WHERE j.attempt > 0 AND j.flow_over IS NULL AND g.open > 0"""
WRONG_END = """
    SELECT f.id, f.outcome FROM flows f WHERE (f.finished_at IS NULL) <> EXISTS (
        SELECT FROM jobs j WHERE j.flow_id = f.id AND j.finished_at IS NULL)"""


def job(task, *args, **more):
    return {"task": task, "args": list(args), **more}


def echo(*args, **more):
    return job("till.tasks.echo", *args, **more)


def tally(counter, **more):
    return job("till.tasks.tally", counter, **more)


def fail(**more):
    return job("till.tasks.fail", **{"max_attempts": 1, **more})


def declare(one, flow, name=None):
    """By `till flow run`; the id of the flow."""
    words = ["--name", name] if name else []
    done = one.till("flow", "run", "-", "--json", *words, stdin=json.dumps(flow))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["id"]


def show(one, flow_id, *words):
    done = one.till("flow", "show", flow_id, "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def members(one, flow_id):
    """The rows of a flow's jobs in their order."""
    return one.query("SELECT * FROM jobs WHERE flow_id = %s ORDER BY flow_step", flow_id)


def states(one, flow_id):
    return [row["state"] for row in members(one, flow_id)]


def wait_over(one, flow_id, outcome="SUCCESS", timeout=20):
    def look():
        return one.value("SELECT outcome::text FROM flows WHERE id = %s", flow_id)

    found = wait_for(look, timeout, lambda: f"the flow was never over: {states(one, flow_id)}")
    assert found == outcome, [(row["task"], row["state"], row["error"]) for row in members(one, flow_id)]


def check(one):
    """What must be true of all flows whenever no transaction is open."""
    for name, sql in (
        ("wrong counters", WRONG_GATES),
        ("left waiting", LEFT_WAITING),
        ("ran too early", TOO_EARLY),
        ("wrong end", WRONG_END),
    ):
        rows = one.query(sql)
        assert not rows, f"{name}: {rows[:10]}"

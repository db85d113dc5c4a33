"""What waits holds nobody else up: a paused queue, a low priority, a locked row, a held unique key."""

import pytest
import requests

from harness import flows
from harness.flows import declare, echo, fail, job, members, tally, wait_over
from harness.wait import a_second, wait_for
from integration.test_limits import limit, nothing_left
from integration.test_limits_passed import SLOW, TWO_BY_FOUR, begin_and_park, parked

QUIET = {**TWO_BY_FOUR, "TILL_HEAL_SECONDS": SLOW}


def stand_in_line(one, bucket="key:one", **columns):
    """A job that is parked for the bucket by now."""
    before = parked(one, bucket)
    made = one.insert_job("till.tasks.noop", limit_key="one", **columns)
    wait_for(lambda: parked(one, bucket) == before + 1, 60, "it is not parked")
    return made


def begin_and_revoke_later(one, then, **columns):
    """As begin_and_park() with one that is parked, but what has the place never ends by itself."""
    first = one.insert_job("till.tasks.sleep", [600], limit_key="one")
    one.wait_job(first, "STARTED")
    made = stand_in_line(one, **columns)
    then()
    assert one.till("task", "revoke", first).returncode == 0
    return made


# ---- paused queues ----


@pytest.mark.parametrize("how", ["ends", "is revoked"])
def test_a_place_is_not_given_to_a_job_of_a_paused_queue(stack, how):
    one = stack({**QUIET, "TILL_QUEUES": "default,other"})
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    behind = []

    def pause_it():
        assert one.till("queue", "pause", "other").returncode == 0
        behind.append(stand_in_line(one))
        return lambda: one.till("queue", "resume", "other")

    if how == "ends":
        _, [paused], held = begin_and_park(one, 1, then=pause_it, queue="other")
        held.rollback()
    else:
        paused = begin_and_revoke_later(one, pause_it, queue="other")

    one.wait_job(behind[-1], timeout=5)
    one.wait_job(one.insert_job("till.tasks.noop", limit_key="one"), timeout=5)
    assert (one.job(paused)["state"], one.job(paused)["parked_on"]) == ("PENDING", "key:one")
    assert one.till("queue", "resume", "other").returncode == 0
    one.wait_job(paused, timeout=5)
    one.wait_settled()
    nothing_left(one)


# ---- the line ----


@pytest.mark.parametrize("how", ["ends", "is revoked"])
def test_in_the_line_of_a_limit_a_higher_priority_goes_first(stack, how):
    one = stack(QUIET)
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    made = {}

    def add_more():
        made["normal"] = stand_in_line(one)
        made["high"] = stand_in_line(one, priority=0)
        aged = "(SELECT now() - interval '30 minutes')"
        made["old and low"] = stand_in_line(one, priority=2, created_at=one.value(aged))

    if how == "ends":
        _, [made["low"]], held = begin_and_park(one, 1, then=add_more, priority=2)
        held.rollback()
    else:
        made["low"] = begin_and_revoke_later(one, add_more, priority=2)

    one.wait_settled()
    order = sorted(made, key=lambda name: one.job(made[name])["started_at"])
    assert order == ["old and low", "high", "normal", "low"]


def test_what_stands_in_a_line_is_not_due_by_time(stack):
    one = stack(QUIET)
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    first = one.insert_job("till.tasks.sleep", [600], limit_key="one")
    one.wait_job(first, "STARTED")
    made = [stand_in_line(one) for _ in range(3)]

    one.query("UPDATE jobs SET scheduled_at = now() - interval '1 hour' WHERE parked_on IS NOT NULL")
    one.wait_job(one.insert_job("till.tasks.noop"))  # by the scheduler, which takes all that is due

    assert parked(one, "key:one") == 3
    assert one.till("task", "revoke", first).returncode == 0
    for job in made:
        one.wait_job(job)


def test_a_line_that_nobody_woke_is_looked_at_all_the_same(stack):
    one = stack(TWO_BY_FOUR)
    limit(one, "set", "key", "one", "--concurrency", "1")
    made = one.insert_job("till.tasks.noop", limit_key="one", parked_on="key:one")

    one.start(apis=0)

    one.wait_job(made)


def test_a_job_that_was_parked_once_keeps_to_its_backoff(stack):
    one = stack({**QUIET, "TILL_RETRY_BASE_MS": 600000, "TILL_RETRY_MAX_SECONDS": 600})
    limit(one, "set", "key", "one", "--rate", "1/h")
    one.start(apis=0)
    one.wait_job(one.insert_job("till.tasks.noop", limit_key="one"))
    made = one.insert_job("till.tasks.fail", limit_key="one")
    wait_for(lambda: parked(one, "key:one") == 1, 20, "it is not parked")
    assert one.till("task", "revoke", made).returncode == 0
    limit(one, "delete", "key", "one")
    assert one.till("task", "retry", made).returncode == 0
    one.wait_job(made, "RETRY")

    limit(one, "set", "key", "one", "--concurrency", "1")
    one.wait_job(one.insert_job("till.tasks.noop", limit_key="one"))

    assert parked(one, "key:one") == 0
    assert one.job(made)["attempt"] == 1


# ---- locked rows ----


def test_the_scheduler_does_not_spin_on_a_due_row_that_is_locked(stack):
    one = stack(QUIET)
    made = one.insert_job("till.tasks.noop")
    held = one.postgres.connect(one.database)
    held.autocommit = False
    held.cursor().execute("SELECT FROM jobs WHERE id = %s FOR UPDATE", (made,))
    one.start(apis=0)
    one.wait_job(one.insert_job("till.tasks.noop"))  # others are not kept waiting

    def transactions():
        return one.value("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")

    assert a_second(transactions, 5) < 150
    held.rollback()
    one.wait_job(made, timeout=5)


# ---- flows ----


def test_a_held_unique_key_in_a_flow_lets_everything_else_be_tried_again(stack):
    one = stack().start(apis=0)
    one.query("UPDATE trial_counters SET id = 5000 WHERE id = 77")  # so tally 77 fails
    flow = declare(one, {"chain": [tally(77, max_attempts=1), echo("b", unique_key="k"), echo("c")]})
    wait_over(one, flow, "FAILURE")
    alone = one.insert_job("till.tasks.tally", [77], max_attempts=1)
    one.wait_job(alone, "FAILURE")
    tomorrow = one.value("SELECT now() + interval '1 day'")
    holder = one.insert_job("till.tasks.noop", unique_key="k", scheduled_at=tomorrow)
    one.query("UPDATE trial_counters SET id = 77 WHERE id = 5000")

    done = one.till("dead", "retry", "--all")

    assert (done.returncode, done.stdout) == (0, "2 jobs retried\n"), done.stderr
    one.wait_job(alone)
    wait_over(one, flow, "FAILURE")
    first, second, third = members(one, flow)
    assert [row["state"] for row in (first, second, third)] == ["SUCCESS", "REVOKED", "REVOKED"]
    assert second["error"].startswith(f"its unique key is held by job {holder}")
    assert third["error"] == f"depends on job {second['id']} (till.tasks.echo), which was revoked"
    flows.check(one)

    refused = one.till("task", "retry", second["id"])
    assert holder in refused.stderr
    assert one.till("task", "revoke", holder).returncode == 0
    assert one.till("task", "retry", second["id"]).returncode == 0
    wait_over(one, flow)
    flows.check(one)


def test_a_dead_member_is_not_deleted_from_a_flow_that_is_not_over(stack):
    one = stack({"TILL_RETRY_BASE_MS": 600000, "TILL_RETRY_MAX_SECONDS": 600}).start(apis=0, dashboards=1)
    flow = declare(
        one,
        {"group": [fail(), job("till.tasks.fail", max_attempts=2)], "callback": echo("c"), "on_complete": echo("d")},
    )
    wait_for(lambda: [row["state"] for row in members(one, flow)][:2] == ["FAILURE", "RETRY"], 20, "no dead member")
    dead = str(members(one, flow)[0]["id"])
    alone = one.insert_job("till.tasks.fail", max_attempts=1)
    one.wait_job(alone, "FAILURE")

    by_id = one.till("dead", "delete", dead)
    many = one.till("dead", "delete", "--all")
    shown = requests.post(f"{one.dashboard.url}/api/v1/tasks/{dead}/delete", json={}, timeout=30)

    assert (by_id.returncode, by_id.stdout) == (1, "0 jobs deleted\n")
    assert f"job {dead} belongs to flow {flow}, which is not over" in by_id.stderr
    assert (many.returncode, many.stdout) == (0, "1 job deleted\n")
    assert "1 job was not deleted: its flow is not over" in many.stderr
    assert (shown.status_code, "flow that is not over" in shown.json()["detail"]) == (409, True)
    assert one.job(dead) is not None and one.job(alone) is None
    assert one.till("task", "revoke", members(one, flow)[1]["id"]).returncode == 0
    wait_over(one, flow, "FAILURE")
    assert [row["state"] for row in members(one, flow)] == ["FAILURE", "REVOKED", "REVOKED", "SUCCESS"]
    flows.check(one)
    assert one.till("dead", "delete", dead).returncode == 0

"""A revoked job whose handler goes on has its place under a limit until that has ended."""

import signal

import pytest

from harness.wait import wait_for
from integration.test_limits import limit, nothing_left

SETTINGS = {"TILL_WORKER_PROCESSES": 2, "TILL_WORKER_CONCURRENCY": 4}
LEASE = 3  # the harness's TILL_LEASE_SECONDS
FOR_EVER = 600_000


def ghosts(one):
    return one.value("SELECT count(*) FROM limit_ghosts")


def revoked_while_it_runs(one, milliseconds, **columns):
    """A job that was revoked, its handler heeding nobody, and the one that is parked behind it."""
    limits = '{"soft_time_limit": "700", "time_limit": "800"}'
    first = one.insert_job("till.tasks.stubborn", [milliseconds], headers=limits, **columns)
    one.wait_job(first, "STARTED")
    second = one.insert_job("till.tasks.stubborn", [1], **columns)
    wait_for(lambda: one.job(second)["parked_on"], 10, "not parked")
    ended = one.till("task", "revoke", first)
    assert ended.returncode == 0, ended.stderr
    assert one.job(first)["state"] == "REVOKED"
    return first, second


def began_after(one, second, first):
    spans = "SELECT extract(epoch FROM s.started_at - f.started_at)::float FROM jobs f, jobs s"
    return one.value(f"{spans} WHERE f.id = %s AND s.id = %s", first, second)


@pytest.mark.parametrize("scope, name", [("key", "one"), ("task", "till.tasks.stubborn")])
def test_the_next_begins_only_when_the_handler_of_a_revoked_job_has_ended(stack, scope, name):
    one = stack(SETTINGS)
    limit(one, "set", scope, name, "--concurrency", "1")
    one.start(apis=0)
    first, second = revoked_while_it_runs(one, 3 * LEASE * 1000, limit_key="one")

    assert ghosts(one) == 1
    one.wait_job(second, timeout=20)

    assert began_after(one, second, first) >= 3 * LEASE
    nothing_left(one)
    assert ghosts(one) == 0


def test_the_place_of_a_handler_that_died_comes_back_without_redis(stack):
    """Nothing tells of it but its row, which nobody renews any more."""
    one = stack(SETTINGS, own_redis=True)
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    _, second = revoked_while_it_runs(one, FOR_EVER, limit_key="one")
    wait_for(  # its worker has heard of it
        lambda: one.value("SELECT until < now() + interval '10 seconds' FROM limit_ghosts"), 10, "not renewed")

    one.worker.kill()
    one.redis.flushall()
    one.start_worker()
    one.wait_job(second, timeout=20)

    nothing_left(one)
    assert ghosts(one) == 0


def test_a_worker_that_leaves_takes_the_places_of_its_handlers_with_it(stack):
    one = stack({**SETTINGS, "TILL_WORKER_PROCESSES": 1, "TILL_SHUTDOWN_SECONDS": 1, "TILL_LEASE_SECONDS": 60})
    limit(one, "set", "key", "one", "--concurrency", "1")
    one.start(apis=0)
    _, second = revoked_while_it_runs(one, FOR_EVER, limit_key="one")

    one.worker.send(signal.SIGTERM)
    wait_for(lambda: ghosts(one) == 0, 15, "it is still counted")
    one.start_worker()
    one.wait_job(second, timeout=20)

    nothing_left(one)


def test_a_revoke_that_no_worker_hears_of_blocks_a_place_for_seconds_only(stack):
    """As when a version before this one runs the handler: it renews nothing, and deletes nothing."""
    one = stack(SETTINGS)
    limit(one, "set", "key", "one", "--concurrency", "1")
    first = one.value(
        "INSERT INTO jobs (task, limit_key, enqueued_at) VALUES ('till.tasks.noop', 'one', now()) RETURNING id::text")
    one.query("SELECT till_claim_first(ARRAY[%s::uuid], ARRAY['1-1'], 'gone:1')", first)
    assert one.job(first)["state"] == "STARTED"
    one.query("UPDATE jobs SET state = 'REVOKED', finished_at = now(), error = 'revoked' WHERE id = %s", first)
    assert one.value("SELECT places FROM limit_counts WHERE bucket = 'key:one'") == 1
    assert one.value("SELECT until - since < interval '16 seconds' FROM limit_ghosts")

    one.start_scheduler()
    one.query("UPDATE limit_ghosts SET until = now()")  # as when they are over

    nothing_left(one)
    assert ghosts(one) == 0

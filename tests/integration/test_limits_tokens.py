"""When a rate's tokens are spent by jobs that are parked for them: with the place, by whoever lets them go."""

import pytest

from integration.test_limits_first import limit, waiting

A_TOKEN = 60  # seconds


def claim(one, ids):
    rows = one.query("SELECT id::text FROM till_claim_limited(%s::uuid[], %s::text[], 'w')", ids, ["1-1"] * len(ids))
    return [row["id"] for row in rows]


def let_go(one):
    rows = one.query("SELECT id::text FROM till_release_parked(500) WHERE id IS NOT NULL")
    return [row["id"] for row in rows]


def late_by(one, seconds):
    """The token came so long ago, and nobody was there."""
    one.query("UPDATE limit_buckets SET full_at = now() - %s * interval '1 second', look_at = now()", seconds)


def next_in(one):
    return one.value("SELECT extract(epoch FROM full_at - now())::float FROM limit_buckets")


@pytest.fixture(name="parked")
def parked_behind_one(stack):
    one = stack()
    limit(one, "task", "t", rate=3600 // A_TOKEN, burst=1)
    ids = waiting(one, None, None, None, None)
    assert claim(one, ids) == ids[:1]
    return one, ids[1:]


def test_who_comes_late_for_a_token_does_not_put_off_the_next(parked):
    one, ids = parked
    late_by(one, 20)

    assert let_go(one) == ids[:1]

    assert next_in(one) == pytest.approx(A_TOKEN - 20, abs=5)
    assert let_go(one) == []


def test_a_token_that_nobody_took_in_time_is_not_saved_up(parked):
    one, ids = parked
    late_by(one, 10 * A_TOKEN)

    assert let_go(one) == ids[:1]

    assert next_in(one) == pytest.approx(A_TOKEN, abs=5)
    assert let_go(one) == []


def test_a_job_that_was_let_go_spends_no_second_token_at_its_claim(parked):
    one, ids = parked
    late_by(one, 0)
    assert let_go(one) == ids[:1]
    before = one.value("SELECT full_at FROM limit_buckets")

    assert claim(one, ids[:1]) == ids[:1]

    assert one.value("SELECT full_at FROM limit_buckets") == before
    assert one.value("SELECT places + coming FROM limit_counts") == 0


def test_what_comes_while_no_worker_is_there_does_not_all_begin_at_once(parked):
    one, ids = parked
    late_by(one, 0)
    assert let_go(one) == ids[:1]

    late_by(one, 0)
    assert let_go(one) == []  # the one before has not begun yet
    assert one.value("SELECT look_at > now() FROM limit_buckets")  # and nobody asks again and again

    assert claim(one, ids[:1]) == ids[:1]  # which has the scheduler look at once
    assert one.value("SELECT look_at <= now() + interval '1 millisecond' FROM limit_buckets")
    assert let_go(one) == ids[1:2]


def test_a_line_that_waits_for_a_place_is_not_looked_at_for_its_tokens(stack):
    one = stack()
    limit(one, "task", "t", concurrency=1, rate=3600 // A_TOKEN, burst=5)
    ids = waiting(one, None, None)
    assert claim(one, ids) == ids[:1]
    one.query("UPDATE limit_buckets SET look_at = now()")

    assert let_go(one) == []

    assert one.value("SELECT look_at > now() FROM limit_buckets")
    one.query("UPDATE jobs SET state = 'SUCCESS', finished_at = now() WHERE id = %s", ids[0])
    assert let_go(one) == ids[1:]


def test_as_many_as_the_burst_are_let_go_at_once(stack):
    one = stack()
    limit(one, "task", "t", rate=3600 // A_TOKEN, burst=3)
    ids = waiting(one, *[None] * 9)
    assert claim(one, ids) == ids[:3]
    late_by(one, 0)

    assert sorted(let_go(one)) == sorted(ids[3:6])

    assert next_in(one) == pytest.approx(3 * A_TOKEN, abs=5)
    assert sorted(claim(one, ids[3:6])) == sorted(ids[3:6])
    assert let_go(one) == []


def test_a_job_that_waits_for_its_task_has_its_keys_token_already(stack):
    one = stack()
    limit(one, "key", "k", rate=3600 // A_TOKEN, burst=5)
    limit(one, "task", "t", concurrency=1)
    ids = waiting(one, "k", "k")
    assert claim(one, ids) == ids[:1]
    bucket = "SELECT extract(epoch FROM full_at - now())::float FROM limit_buckets WHERE bucket = 'key:k'"
    assert one.value(bucket) == pytest.approx(2 * A_TOKEN, abs=5)

    one.query("UPDATE jobs SET state = 'SUCCESS', finished_at = now() WHERE id = %s", ids[0])
    assert let_go(one) == ids[1:]
    assert claim(one, ids[1:]) == ids[1:]

    assert one.value(bucket) == pytest.approx(2 * A_TOKEN, abs=5)

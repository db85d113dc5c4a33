"""Claiming a whole batch under limits at once: till_claim_first() claims all that wait, or none."""

import pytest

CLAIM = (
    "SELECT j.id FROM till_claim_first(%s::uuid[], %s::text[], 'w') c"
    " JOIN unnest(%s::uuid[]) WITH ORDINALITY AS j (id, n) USING (n)"
)


def limit(one, scope, name, concurrency=None, rate=None, burst=None):
    one.query(
        "INSERT INTO limits (scope, name, concurrency, rate, per_seconds, burst) VALUES (%s, %s, %s, %s, %s, %s)",
        scope, name, concurrency, rate, 3600 if rate else None, burst,
    )


def waiting(one, *keys, task="t"):
    """The ids of new jobs that wait, one for each key."""
    return [
        one.value("INSERT INTO jobs (task, limit_key, enqueued_at) VALUES (%s, %s, now()) RETURNING id::text", task, key)
        for key in keys
    ]


def claim(one, ids):
    return {str(row["id"]) for row in one.query(CLAIM, ids, ["1-1"] * len(ids), ids)}


def counted(one):
    return {row["bucket"]: row["places"] for row in one.query("SELECT bucket, places FROM limit_counts")}


def places(one, ids):
    return [one.value("SELECT places FROM jobs WHERE id = %s", job) for job in ids]


def test_a_batch_with_room_is_claimed_whole_and_counted(stack):
    one = stack()
    limit(one, "key", "k:*", 2)
    limit(one, "task", "t", 9)
    ids = waiting(one, "k:a", "k:a", "k:b", None, "other")

    assert claim(one, ids) == set(ids)

    assert counted(one) == {"key:k:a": 2, "key:k:b": 1, "task:t": 5}
    assert places(one, ids) == [1 | 2 | 8, 1 | 2 | 8, 1 | 2 | 8, 2 | 8, 2 | 8]
    rows = one.query("SELECT DISTINCT state, attempt, worker, delivery FROM jobs")
    assert [(row["state"], row["attempt"], row["worker"], row["delivery"]) for row in rows] == [("STARTED", 1, "w", "1-1")]


def test_one_without_room_and_nothing_has_happened(stack):
    one = stack()
    limit(one, "key", "k:*", 2)
    assert claim(one, waiting(one, "k:a"))
    before = counted(one)
    ids = waiting(one, "k:b", "k:a", "k:a", None)

    assert claim(one, ids) == set()

    assert counted(one) == before
    assert one.value("SELECT count(*) FROM jobs WHERE state = 'PENDING' AND attempt = 0 AND places IS NULL") == 4
    assert claim(one, ids[:2] + ids[3:]) == {ids[0], ids[1], ids[3]}


def test_tokens_are_spent_and_not_overspent(stack):
    one = stack()
    limit(one, "key", "k:*", rate=1, burst=5)

    assert claim(one, waiting(one, *["k:a"] * 6)) == set()
    assert len(claim(one, waiting(one, *["k:a"] * 3))) == 3
    assert claim(one, waiting(one, *["k:a"] * 3)) == set()
    assert len(claim(one, waiting(one, *["k:a"] * 2))) == 2
    assert claim(one, waiting(one, "k:a")) == set()

    assert one.value("SELECT count(*) FROM jobs WHERE places IS NOT NULL") == 0  # a rate counts nobody who runs


def test_tokens_come_back_with_time_up_to_the_burst(stack):
    one = stack()
    limit(one, "task", "t", rate=1, burst=2)
    assert len(claim(one, waiting(one, None, None))) == 2
    one.query("UPDATE limit_buckets SET full_at = full_at - interval '1 hour'")

    assert claim(one, waiting(one, None, None)) == set()
    assert len(claim(one, waiting(one, None))) == 1
    one.query("UPDATE limit_buckets SET full_at = full_at - interval '1000 hours'")
    assert claim(one, waiting(one, None, None, None)) == set()
    assert len(claim(one, waiting(one, None, None))) == 2


def test_nobody_overtakes_who_is_parked(stack):
    one = stack()
    limit(one, "task", "t", 5)
    one.query("INSERT INTO limit_buckets (bucket, waiting) VALUES ('task:t', true)")

    assert claim(one, waiting(one, None)) == set()


def test_places_that_were_given_back_are_not_seen_here(stack):
    """They are taken off by till_claim_limited(), to which a refused batch goes."""
    one = stack()
    limit(one, "task", "t", 1)
    first = waiting(one, None)
    assert claim(one, first) == set(first)
    one.query("UPDATE jobs SET state = 'SUCCESS', finished_at = now()")
    second = waiting(one, None)

    assert claim(one, second) == set()

    assert one.value("SELECT count(*) FROM till_claim_limited(%s::uuid[], '{1-1}', 'w')", second) == 1
    assert counted(one) == {"task:t": 1}


@pytest.mark.parametrize("key, place", [("a:b:c", None), ("a:b:d", 1 | 8), ("a:c", None), ("b", None)])
def test_the_exact_limit_decides_then_the_longest_beginning(stack, key, place):
    one = stack()
    limit(one, "key", "a:b:c", rate=10, burst=10)
    limit(one, "key", "a:b*", 3)
    limit(one, "key", "a:*", rate=10, burst=10)
    ids = waiting(one, key)

    assert claim(one, ids) == set(ids)

    assert places(one, ids) == [place]


def test_what_does_not_wait_or_comes_with_a_place_is_left_alone(stack):
    one = stack()
    limit(one, "task", "t", 100)
    ids = waiting(one, *[None] * 6)
    one.query("UPDATE jobs SET enqueued_at = NULL WHERE id = %s", ids[0])
    one.query("UPDATE jobs SET expires_at = now() - interval '1 second' WHERE id = %s", ids[1])
    one.query("UPDATE jobs SET attempt = max_attempts WHERE id = %s", ids[2])
    one.query("UPDATE jobs SET state = 'REVOKED', error = 'why', finished_at = now() WHERE id = %s", ids[3])
    one.query("UPDATE jobs SET places = 2 WHERE id = %s", ids[4])

    assert claim(one, ids) == {ids[5]}
    assert counted(one) == {"task:t": 1}

# SPDX-License-Identifier: MIT
"""What the scheduler writes down of each minute, as the charts show it."""

import pytest
import requests
from harness.wait import wait_for

JOBS_OF_LATE = """
INSERT INTO jobs (id, task, queue, state, attempt, worker, created_at, scheduled_at, enqueued_at, started_at,
    finished_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(h, 1, 3) || '8'
        || substr(h, 4, 15))::uuid, %s, %s, 'SUCCESS', 1, 'host:0', at, at, at, at + %s * interval '1 s',
    at + %s * interval '1 s'
FROM (SELECT md5(%s || n::text) AS h, now() - interval '150 s' * n / %s AS at FROM generate_series(1, %s) n) x
"""


def points_of(system, queue):
    answer = requests.get(f"{system.dashboard.url}/api/v1/charts", params={"queue": queue}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["points"]


def test_each_queue_has_its_latencies(stack):
    """Of the newest 5,000 jobs none has ended: many wait. Those that have did so before them, and those of a
    queue that is seldom used are few among them."""
    system = stack()

    def made(task, queue, waited, ended, count):
        system.query(JOBS_OF_LATE, task, queue, waited, ended, queue, count, count)

    made("shop.busy", "busy", 1, 1.5, 900)
    made("shop.rare", "rare", 7, 9, 30)
    system.query(
        "INSERT INTO jobs (id, task, queue, enqueued_at) SELECT new_job_id(), 'shop.busy', 'busy', now()"
        " FROM generate_series(1, 6000)"
    )
    system.start_scheduler()  # closes the minute before
    system.start_dashboard()
    for queue, waited, ran in (("rare", 7, 2), ("busy", 1, 0.5), ("", 1, 0.5)):
        points = wait_for(lambda q=queue: points_of(system, q), 60)
        assert (points[0]["wait_p50"], points[0]["run_p50"]) == pytest.approx((waited, ran)), queue

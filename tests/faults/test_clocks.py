"""Programs whose clocks are wrong, each by itself, by libfaketime; PostgreSQL's and Redis' are right.

Only the wall clock is moved: the monotonic one cannot jump in a real system either.
"""

import glob

import pytest
import requests

from harness import ordeal
from harness.load import Load
from harness.wait import BUILD, pause

full = pytest.mark.full
LIBRARY = sorted(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"))
LEASE = 3

pytestmark = [
    pytest.mark.skipif(not LIBRARY, reason="the package faketime is not installed"),
    pytest.mark.skipif("asan" in BUILD, reason="AddressSanitizer wants to be the first library, and faketime is"),
]


def clock(offset):
    """Settings of a program whose clock is off, as `faketime -f` takes it: "+3600", "-3600"; with
    " x2" it also runs twice as fast."""
    return {
        "LD_PRELOAD": LIBRARY[-1],
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }


@pytest.mark.parametrize("offset", ["+2d", pytest.param("-2d", marks=full)])
def test_a_scheduler_two_days_off_takes_nobody_for_gone(stack, offset):
    """A job that runs longer than a lease, by a worker that lives, runs once."""
    one = stack({"TILL_LEASE_SECONDS": LEASE})
    one.start_worker()
    one.start_scheduler(**clock(offset))
    long = one.enqueue("till.tasks.sleep", 3 * LEASE)

    assert one.wait_job(long, timeout=40)["attempt"] == 1


@pytest.mark.parametrize("offset", ["+1h", "-1h"])
def test_seconds_from_now_are_by_the_servers_clock(stack, offset):
    """Whoever enqueues may be on a machine whose clock is wrong."""
    one = stack(clock(offset))
    made = one.till("enqueue", "till.tasks.noop", "--countdown", "600", "--expires", "900").stdout.strip()
    [times] = one.query("SELECT extract(epoch FROM scheduled_at - created_at)::float8 AS starts,"
                        " extract(epoch FROM expires_at - created_at)::float8 AS ends FROM jobs WHERE id = %s", made)
    assert times["starts"] == pytest.approx(600, abs=30)
    assert times["ends"] == pytest.approx(900, abs=30)


@pytest.mark.parametrize("offset", ["+1h", "-1h"])
def test_seconds_from_now_of_the_dashboards_api_are_by_the_servers_clock(stack, offset):
    one = stack()
    one.start_dashboard(**clock(offset))
    body = {"countdown": 600, "expires": 900}
    answer = requests.post(one.dashboard.url + "/api/task/send-task/till.tasks.noop", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    [times] = one.query("SELECT extract(epoch FROM scheduled_at - created_at)::float8 AS starts,"
                        " extract(epoch FROM expires_at - created_at)::float8 AS ends FROM jobs")
    assert times["starts"] == pytest.approx(600, abs=30)
    assert times["ends"] == pytest.approx(900, abs=30)


@full
@pytest.mark.parametrize("offset", ["+1h", "-1h", "+1d", "+0 x3"])
@pytest.mark.parametrize("program", ["till-worker", "till-scheduler"])
def test_a_clock_that_is_wrong(stack, program, offset):
    one = stack({"TILL_LEASE_SECONDS": LEASE})
    wrong = clock(offset)
    one.start_scheduler(**(wrong if program == "till-scheduler" else {}))
    one.start_worker(**(wrong if program == "till-worker" else {}))
    one.start_worker()
    one.start_api()
    delayed = one.enqueue("till.tasks.noop", countdown=5)
    with Load(one, customers=4, seed=61) as load:
        load.wait_accepted(20)
        pause(2 * LEASE)
        load.wait_accepted(10)
    job = one.wait_job(delayed, timeout=30)
    ordeal.account(one, f"{program[5:]}'s clock {offset}", 1, 0.0, 61)
    assert (job["started_at"] - job["created_at"]).total_seconds() > 4.5

"""A bad network between each program and each server: under load, for longer than a lease.

The programs get through it or over it by themselves, in bounded time, and lose and double nothing.
"""

import time

import pytest
import requests

from harness import faults_report, ordeal
from harness.load import Load
from harness.wait import SLOWNESS, pause, wait_for

LEASE = 3
LASTS = 5.0 * SLOWNESS  # longer than a lease
MODES = {
    "delay": {"seconds": 0.05},
    "throttle": {"rate": 4000},
    "cut": {},
    "cut_after": {"count": 3000},
    "stall": {},
    "half_close": {},
    "lose_answers": {},
    "forget": {},
}
PAIRS = [
    ("till-api", "postgres"),
    ("till-api", "redis"),
    ("till-worker", "postgres"),
    ("till-worker", "redis"),
    ("till-worker", "gateway"),
    ("till-worker", "mail"),
    ("till-scheduler", "postgres"),
    ("till-scheduler", "redis"),
]


def starter(one, name):
    return {
        "till-api": one.start_api,
        "till-worker": one.start_worker,
        "till-scheduler": one.start_scheduler,
        "till-dashboard": one.start_dashboard,
    }[name]


def start_with(one, program, link):
    """One of each program, `program` through the link."""
    for name in ("till-scheduler", "till-worker", "till-api"):
        starter(one, name)(**(link.settings if name == program else {}))


# The telling one runs in `make test`, all in `make faults`.
SHORT = [("till-worker", "redis", "lose_answers")]
ALL = [
    pytest.param(*case, marks=() if case in SHORT else pytest.mark.full, id=" ".join(case))
    for case in [(*pair, mode) for pair in PAIRS for mode in MODES]
]


@pytest.mark.parametrize("program, server, mode", ALL)
def test_through_a_bad_network(stack, program, server, mode):
    one = stack({"TILL_LEASE_SECONDS": LEASE})
    link = one.proxy(server)
    start_with(one, program, link)
    with Load(one, customers=4, seed=21) as load:
        load.wait_accepted(10)
        link.set(mode, **MODES[mode])
        pause(LASTS)
        link.set("pass")
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(10, timeout=60)
    ordeal.account(
        one, f"{program[5:]} to {server}: {mode}", 1, recovery_s, 21, unpaid=True, extra_mails=True
    )


@pytest.mark.full
@pytest.mark.parametrize("server", ["postgres", "redis"])
def test_the_dashboard_behind_a_bad_network(stack, server):
    """It answers within its limits whatever the network does, and is itself again after it."""
    one = stack()
    link = one.proxy(server)
    page = one.start_dashboard(**link.settings).url + "/api/v1/workers"
    times = []
    for mode, options in MODES.items():
        assert requests.get(page, timeout=30).status_code == 200
        link.set(mode, **options)
        for _ in range(3):
            assert requests.get(page, timeout=30).status_code in (200, 503)
        link.set("pass")
        began = time.monotonic()
        wait_for(lambda: requests.get(page, timeout=30).status_code == 200, 30, f"after {mode}")
        times.append(time.monotonic() - began)
    assert one.dashboard.is_running()
    faults_report.record(f"dashboard to {server}: every mode", len(MODES), recovery_s=times)

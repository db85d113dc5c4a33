"""Checkouts and jobs of every kind while programs are killed at random moments: all invariants hold
after every kill, and the books balance in the end. RANDOM_KILLS_SECONDS and RANDOM_KILLS_SEED."""

import os
import random

import pytest

from harness import chaos, faults_report

SECONDS = float(os.environ.get("RANDOM_KILLS_SECONDS", faults_report.pick("40", "600")))
SEED = int(os.environ.get("RANDOM_KILLS_SEED", "20261121"))


@pytest.mark.slow
def test_killed_at_random_all_invariants_hold(stack):
    one = stack()
    print(f"seed {SEED}")

    done, accepted, found = chaos.run(one, random.Random(SEED), SEED, SECONDS)

    assert not found, f"after {done} faults:\n  " + "\n  ".join(found)
    assert done >= 3 and accepted >= 20, f"{done} faults, {accepted} payments: there was a load"
    one.settle(60, unpaid=True, extra_mails=True)  # the last customers came after the last rest

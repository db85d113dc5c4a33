"""The primary of Redis is lost, and Sentinels decide who takes its place: under customers, and back again."""

import pytest

from harness import ordeal
from harness.load import Load
from harness.sentinel import NAME, Watch
from harness.wait import pause

LEASE = 3


@pytest.fixture
def watch(stack, test_folder):
    made = []

    def make():
        one = stack({"TILL_LEASE_SECONDS": LEASE}, own_redis=True)
        made.append(Watch(one, test_folder, "replica"))
        return made[-1]

    yield make
    for one in made:
        one.end()
        for server in one.servers.values():
            server.stop()


def dies(watch, old):
    old.kill()
    watch.wait_promoted()
    old.start()


def freezes(watch, old):
    """It comes back as the primary that it still thinks it is."""
    old.freeze()
    watch.wait_promoted()
    old.thaw()


def is_cut_off(watch, old):
    """From the replica and the Sentinels, not from the programs: what they still write there is lost."""
    watch.links[old].set("stall")
    watch.wait_promoted()
    pause(LEASE)
    watch.links[old].set("pass")


def is_told_to_go(watch, _):
    """A planned change: nothing is lost, and everybody is sent elsewhere."""
    watch.sentinels[0].ask("FAILOVER", NAME)
    watch.wait_promoted()


@pytest.mark.full
@pytest.mark.parametrize("fault", [dies, freezes, is_cut_off, is_told_to_go])
def test_sentinels_promote_the_replica_and_nothing_is_lost(watch, fault):
    both = watch()
    one = both.one
    one.start(workers=2, schedulers=2)
    times = []
    with Load(one, seed=38) as load:
        for _ in range(2):  # there, and back again
            load.wait_accepted(15)
            old = both.primary
            fault(both, old)
            times.append(ordeal.first_job(one))
            load.wait_accepted(15)
            both.wait_follows(old)
    name = f"Redis: its primary {fault.__name__.replace('_', ' ')}, failover by Sentinel"
    ordeal.account(one, name, 2, times, 38)

"""A synchronous standby takes PostgreSQL's place. Programs know both hosts, and go where they may write
(target_session_attrs): what was accepted is there, and nobody stays with the server of before."""

import pytest

from harness import ordeal
from harness.load import Load
from harness.postgres import USER, Standby
from harness.wait import wait_for

LEASE = 3


@pytest.fixture
def pair(stack, test_folder):
    """(stack, standby): a commit is answered when the standby has it, too."""
    made = []

    def make():
        one = stack({"TILL_LEASE_SECONDS": LEASE}, own_postgres=True)
        standby = Standby(one.postgres, test_folder).start()
        made.append(standby)
        hosts = f"{one.postgres.sockets},{standby.sockets}"
        one.settings["DATABASE_URL"] = (
            f"postgresql://{USER}@/{one.database}?host={hosts}&target_session_attrs=read-write"
        )
        alter(one.postgres, "synchronous_standby_names = '*'")
        sync = "SELECT sync_state FROM pg_stat_replication"
        wait_for(lambda: one.value(sync) == "sync", 60, "the standby is never waited for")
        return one, standby

    yield make
    for standby in made:
        standby.stop("immediate")


def alter(server, setting):
    server.run(f"ALTER SYSTEM SET {setting}")
    server.run("SELECT pg_reload_conf()")


def dies(old, _):
    old.stop("kill")


def turns_read_only(old, standby):
    """It lives on and answers: whoever stayed with it would see what was, and could change nothing."""
    alter(old, "default_transaction_read_only = on")
    standby.wait_until_there()


@pytest.mark.full
@pytest.mark.parametrize("fault", [dies, turns_read_only])
def test_failover_to_a_standby(pair, fault):
    one, standby = pair()
    one.start(workers=2, schedulers=2)
    with Load(one, seed=46) as load:
        load.wait_accepted(15)
        fault(one.postgres, standby)
        standby.run("SELECT pg_promote()")
        one.postgres, one.connection = standby, None
        one.postgres_log = standby.log_size()
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(15)
    name = f"PostgreSQL: the primary {fault.__name__.replace('_', ' ')}, a standby takes over"
    ordeal.account(one, name, 1, recovery_s, 46, unpaid=True, extra_mails=True)

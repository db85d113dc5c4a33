"""PostgreSQL crashes, is full, read-only, locked, frozen, or has no connection left."""

import os
import signal
import socket
import subprocess

import pytest

from harness import ordeal, processes
from harness.load import Load
from harness.postgres import LOGINS
from harness.wait import pause, wait_for

full = pytest.mark.full
LEASE = 3
SHORT = {"TILL_LEASE_SECONDS": LEASE}


def alter(one, setting, value):
    """As an administrator would, in the middle of the day."""
    one.postgres.run(f"ALTER SYSTEM SET {setting} = {value}")
    one.postgres.run("SELECT pg_reload_conf()")


def backends(one):
    rows = one.query(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name LIKE 'till%%' ORDER BY backend_start"
    )
    return [row["pid"] for row in rows]


@full
def test_backends_killed_at_once(stack):
    """kill -9 of one backend makes the server end all others, and recover."""
    one = stack(SHORT, own_postgres=True).start(schedulers=2)
    times = []
    with Load(one, seed=41) as load:
        for number in range(5):
            load.wait_accepted(10)
            pids = backends(one)
            processes.send(pids[number % len(pids)], signal.SIGKILL)
            times.append(ordeal.first_job(one))
    ordeal.account(one, "PostgreSQL: kill -9 of a backend", 5, times, 41, unpaid=True, extra_mails=True)


@full
def test_the_postmaster_killed_alone(stack):
    """Its backends live until they notice."""
    one = stack(SHORT, own_postgres=True).start(schedulers=2)
    times = []
    with Load(one, seed=42) as load:
        for _ in range(3):
            load.wait_accepted(10)
            one.postgres.stop("postmaster")
            pause(1)
            one.postgres.start()
            times.append(ordeal.first_job(one))
    ordeal.account(one, "PostgreSQL: kill -9 of the postmaster", 3, times, 42, unpaid=True, extra_mails=True)


@full
@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_postgresql_restarted_again_and_again(stack, mode):
    one = stack(SHORT, own_postgres=True).start(schedulers=2)
    times = []
    with Load(one, seed=43) as load:
        for _ in range(8):
            load.wait_accepted(10)
            one.postgres.restart(mode)
            times.append(ordeal.first_job(one))
    ordeal.account(one, f"PostgreSQL: restart {mode}", 8, times, 43, unpaid=True, extra_mails=True)


@full
def test_no_connection_is_left(stack):
    """Somebody else takes all there are, and cuts off those that were ours."""
    one = stack(SHORT, own_postgres={"max_connections": 60}).start()
    with Load(one, seed=44) as load:
        load.wait_accepted(10)
        one.query("SELECT 1")
        one.query("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", backends(one))
        hogs = []
        try:
            for _ in range(200):
                hogs.append(one.postgres.connect(one.database))
        except Exception as error:  # psycopg2 has no class of its own for this
            assert "too many clients" in str(error) or "reserved" in str(error), error
        pause(2 * LEASE)
        for hog in hogs:
            hog.close()
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(10)
    assert hogs
    ordeal.account(one, "PostgreSQL: no connection left", 1, recovery_s, 44, unpaid=True, extra_mails=True)


@pytest.mark.parametrize(
    "table, seconds",
    [("jobs", 7), *[pytest.param(t, 12, marks=full) for t in ("jobs", "orders", "payments", "products")]],
)
def test_a_table_is_locked_by_somebody_else(stack, table, seconds):
    """Longer than our lock_timeout."""
    one = stack(SHORT).start()
    hog = one.postgres.connect(one.database)
    hog.autocommit = False
    with Load(one, seed=45) as load:
        load.wait_accepted(10)
        hog.cursor().execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        pause(seconds)
        hog.rollback()
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(10)
    hog.close()
    ordeal.account(one, f"PostgreSQL: {table} locked", 1, recovery_s, 45, unpaid=True)


@full
def test_nothing_can_be_written_for_longer_than_any_statement_may_take(stack):
    one = stack(SHORT).start(schedulers=2)
    hog = one.postgres.connect(one.database)
    hog.autocommit = False
    with Load(one, seed=46) as load:
        load.wait_accepted(10)
        hog.cursor().execute("LOCK TABLE idempotency_keys IN ACCESS EXCLUSIVE MODE")
        hog.cursor().execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
        pause(20)
        hog.rollback()
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(10)
    hog.close()
    ordeal.account(one, "PostgreSQL: jobs and keys locked for 20 s", 1, recovery_s, 46, unpaid=True)


@full
def test_postgresql_is_read_only_for_a_while(stack):
    one = stack(SHORT, own_postgres=True).start(schedulers=2)
    times = []
    with Load(one, seed=47) as load:
        for _ in range(2):
            load.wait_accepted(10)
            alter(one, "default_transaction_read_only", "on")
            pause(2 * LEASE)
            alter(one, "default_transaction_read_only", "off")
            times.append(ordeal.first_job(one))
        load.wait_accepted(10)
    ordeal.account(one, "PostgreSQL: read-only", 2, times, 47, unpaid=True, extra_mails=True)


@full
@pytest.mark.parametrize("seconds", [2 * LEASE, 20])
def test_postgresql_freezes(stack, seconds):
    """Every process of it stops: connections stay, nothing answers."""
    one = stack(SHORT, own_postgres=True).start(schedulers=2)
    with Load(one, seed=48) as load:
        load.wait_accepted(10)
        one.postgres.freeze()
        pause(seconds)
        one.postgres.thaw()
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(10)
    fault = f"PostgreSQL frozen for {seconds} s"
    ordeal.account(one, fault, 1, recovery_s, 48, unpaid=True, extra_mails=True)


def keepalives(address, port):
    """Seconds until the kernel asks next whether the other end is there: one for each connection that the
    server has at this address; None where it does not ask (proc(5), net/tcp: timer 2 is the keepalive)."""
    local = socket.inet_aton(address)[::-1].hex().upper() + f":{port:04X}"
    found = []
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file.readlines()[1:]:
            words = line.split()
            if words[1] == local and words[3] == "01":
                timer, ticks = words[5].split(":")
                found.append(int(ticks, 16) / os.sysconf("SC_CLK_TCK") if timer == "02" else None)
    return found


def test_the_server_asks_whether_a_silent_program_is_there_still(stack):
    """A machine that vanishes says no goodbye, and its sessions shall not stay for hours."""
    address = f"127.83.{os.getpid() // 256 % 256}.{os.getpid() % 256}"
    one = stack(own_postgres={"listen_addresses": address})
    url = f"postgresql://{LOGINS['till-scheduler']}@{address}:5432/{one.database}"
    one.start_scheduler(DATABASE_URL=url)

    def asks():  # while an answer is on its way, another timer runs
        seen = keepalives(address, 5432)
        return seen and all(seconds is not None and seconds <= 10 for seconds in seen)

    wait_for(asks, 30, lambda: str(keepalives(address, 5432)))


@full
def test_the_disk_of_postgresql_is_full_for_a_while(stack, run_folder):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    one = stack(SHORT, own_postgres=True)
    one.postgres.stop()
    data = one.postgres.data
    disk = data + ".disk"
    os.rename(data, disk)
    os.mkdir(data)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m,mode=0700", "tmpfs", data],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr}")
    account = one.postgres.account
    os.chown(data, account.pw_uid, account.pw_gid)
    subprocess.run(["cp", "-a", disk + "/.", data], check=True)
    ballast = os.path.join(data, "ballast")
    try:
        one.postgres.start()
        one.start(schedulers=2)
        with Load(one, seed=49) as load:
            load.wait_accepted(10)
            with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    file.write(bytes(1 << 20))
            pause(3 * LEASE)
            os.unlink(ballast)
            if one.postgres.process.poll() is not None:  # no room for its log: it has ended
                one.postgres.process = None
                one.postgres.start()
            recovery_s = ordeal.first_job(one)
            load.wait_accepted(10)
        ordeal.account(one, "PostgreSQL: disk full", 1, recovery_s, 49, unpaid=True, extra_mails=True)
    finally:
        for program in one.programs:
            program.end()
        one.postgres.stop("immediate")
        subprocess.run(["umount", "-l", data], check=False)

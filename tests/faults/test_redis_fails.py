"""Redis restarts, forgets, is full, cannot write, freezes, or is replaced by one that knows less."""

import glob
import os
import random
import signal
import subprocess
import time

import pytest
from redis.exceptions import ResponseError

from harness import folders, ordeal, processes, redis
from harness.faults_report import pick
from harness.load import Load
from harness.wait import pause, wait_for

full = pytest.mark.full
LEASE = 3


def streams_of(one):
    return [k for k in one.redis.scan_iter("till:{*}:*") if k.rpartition(":")[2] in ("high", "normal", "low")]


def truncate_log(server):
    """What a power failure leaves: the last part of the log was never written."""
    (path,) = glob.glob(os.path.join(server.folder, "appendonlydir", "*.incr.aof"))
    os.truncate(path, os.path.getsize(path) * 4 // 5)


@full
@pytest.mark.parametrize("truncated", [False, True], ids=["whole log", "truncated log"])
@pytest.mark.parametrize("fsync", ["everysec", "always"])
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_redis_restarted_under_load(stack, how, fsync, truncated):
    one = stack({"TILL_LEASE_SECONDS": LEASE}, own_redis={"appendfsync": fsync}).start()
    times = []
    with Load(one, seed=31) as load:
        for _ in range(5):
            load.wait_accepted(10)
            getattr(one.redis_server, how)()
            if truncated:
                truncate_log(one.redis_server)
            load.wait_accepted(5)
            one.redis_server.start()
            times.append(ordeal.first_job(one))
    log = "the log truncated" if truncated else f"AOF {fsync}"
    ordeal.account(one, f"Redis {how}, {log}", 5, times, 31)


def destroy_streams(one):
    one.redis.delete(*streams_of(one))


def destroy_groups(one):
    for key in streams_of(one):
        one.redis.xgroup_destroy(key, "till")


def forget_workers(one):
    one.redis.delete("till:workers", *one.redis.scan_iter("till:worker:*"))


DESTROYERS = [destroy_streams, destroy_groups, forget_workers]


@pytest.mark.parametrize("destroy", [pytest.param(d, marks=full) for d in DESTROYERS[::2]] + [destroy_groups])
def test_keys_destroyed_under_load(stack, destroy):
    one = stack({"TILL_LEASE_SECONDS": LEASE}, own_redis=True).start()
    rounds = pick(3, 10)
    times = []
    with Load(one, seed=32) as load:
        for _ in range(rounds):
            load.wait_accepted(10)
            destroy(one)
            times.append(ordeal.first_job(one))
    ordeal.account(one, f"Redis: {destroy.__name__.replace('_', ' ')}", rounds, times, 32)


def fill_memory(server, is_full):
    server.set(maxmemory=1 if is_full else 0)


def break_saving(server, is_broken):
    """A snapshot that cannot be written makes Redis refuse every command that writes."""
    os.chmod(server.folder, 0o555 if is_broken else 0o755)
    server.set(save="1 1" if is_broken else "")
    if not is_broken:
        with server.client() as client:
            client.bgsave()

            def is_saved():
                return client.info("persistence")["rdb_last_bgsave_status"] == "ok"

            wait_for(is_saved, 30, "the snapshot is never written")


def refuses_writes(one, error):
    try:
        one.redis.set("probe", "1")
    except ResponseError as refusal:
        return error in str(refusal).upper()
    return False


@pytest.mark.parametrize(
    "error, spoil",
    [("OOM", fill_memory), pytest.param("MISCONF", break_saving, marks=full)],
    ids=["no memory", "no snapshots"],
)
def test_redis_refuses_to_write_for_a_while(stack, error, spoil):
    """Longer than two leases. What runs meanwhile goes on and is not run again: its worker lives,
    though it can tell nobody."""
    one = stack({"TILL_LEASE_SECONDS": LEASE}, own_redis=True).start(workers=2)
    long = one.enqueue("till.tasks.sleep", 4 * LEASE)
    one.wait_job(long, "STARTED")
    with Load(one, seed=33) as load:
        load.wait_accepted(10)
        spoil(one.redis_server, True)
        wait_for(lambda: refuses_writes(one, error), 30, "Redis writes as ever")
        load.wait_accepted(10)
        pause(2.5 * LEASE)
        spoil(one.redis_server, False)
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(5)
    ordeal.account(one, f"Redis refuses to write ({error})", 1, recovery_s, 33)
    assert one.job(long)["attempt"] == 1


def evict(server, does):
    """It throws away whatever it has, streams and groups included, to make room for what comes."""
    server.set(maxmemory_policy="allkeys-random" if does else "noeviction", maxmemory=1 if does else 0)


@full
def test_redis_evicts_what_it_has_for_a_while(stack):
    """As it is never to be set (etc/redis.conf): durable jobs are found missing, and added again."""
    one = stack({"TILL_LEASE_SECONDS": LEASE}, own_redis=True).start(workers=2)
    times = []
    with Load(one, seed=39) as load:
        for _ in range(3):
            load.wait_accepted(10)
            evicted = one.redis.info("stats")["evicted_keys"]
            evict(one.redis_server, True)
            wait_for(lambda: one.redis.info("stats")["evicted_keys"] > evicted, 30, "nothing is evicted")
            pause(LEASE)
            evict(one.redis_server, False)
            times.append(ordeal.first_job(one))
        load.wait_accepted(5)
    ordeal.account(one, "Redis evicts what it has", 3, times, 39)


@pytest.mark.parametrize("how", ["kill", pytest.param("freeze", marks=full)])
def test_who_lives_through_an_outage_of_redis_keeps_its_jobs(stack, how):
    """Longer than a lease, so that nobody could renew any. Those of a worker that died meanwhile are
    taken over as ever."""
    settings = {"TILL_LEASE_SECONDS": LEASE, "TILL_WORKER_PROCESSES": 1, "TILL_WORKER_CONCURRENCY": 4}
    one = stack(settings, own_redis=True).start(apis=0, workers=3)
    one.query("SELECT till_enqueue('till.tasks.sleep', '[8]', max_attempts => 2) FROM generate_series(1, 12)")
    started = "SELECT id, worker FROM jobs WHERE state = 'STARTED'"
    wait_for(lambda: len(one.query(started)) == 12, 30, "they do not fill the slots of all three")
    whose = {row["id"]: row["worker"] for row in one.query(started)}
    getattr(one.redis_server, how)()
    one.named("till-worker")[1].kill()
    pause(1.5 * LEASE)
    one.redis_server.start() if how == "kill" else one.redis_server.thaw()

    attempts = {job: one.wait_job(job, timeout=30)["attempt"] for job in whose}

    once = {whose[job] for job, attempt in attempts.items() if attempt == 1}
    again = {whose[job] for job, attempt in attempts.items() if attempt == 2}
    assert len(once) == 2 and len(again) == 1 and not once & again, (whose, attempts)
    one.settle()


@full
def test_the_disk_of_redis_is_full_for_a_while(stack, run_folder):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    one = stack({"TILL_LEASE_SECONDS": LEASE}, own_redis=True)
    server = one.redis_server
    server.stop()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", server.folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr}")
    ballast = os.path.join(server.folder, "ballast")
    server.socket = os.path.join(folders.subfolder(run_folder, "full", server.account, 0o755), "redis.sock")
    one.settings["REDIS_URL"] = server.url()
    one.redis = server.client()
    try:
        server.start()
        one.start(workers=2)
        with Load(one, seed=34) as load:
            load.wait_accepted(10)
            with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    file.write(bytes(4096))
            wait_for(lambda: refuses_writes(one, "MISCONF"), 30, "the disk is not full")
            load.wait_accepted(10)
            pause(2 * LEASE)
            os.truncate(ballast, 0)
            recovery_s = ordeal.first_job(one)
            load.wait_accepted(5)
        ordeal.account(one, "Redis: disk full", 1, recovery_s, 34)
    finally:
        for program in one.programs:
            program.end()
        server.stop()
        subprocess.run(["umount", "-l", server.folder], check=False)


@full
def test_connections_to_redis_killed_at_random(stack):
    one = stack({"TILL_LEASE_SECONDS": LEASE}, own_redis=True).start(workers=2)
    chooser = random.Random(35)
    rounds = 300
    with Load(one, seed=35) as load:
        for _ in range(rounds):
            victims = [c["id"] for c in one.redis.client_list() if int(c["id"]) != one.redis.client_id()]
            if victims:
                one.redis.execute_command("CLIENT", "KILL", "ID", chooser.choice(victims))
            pause(0.1)
        load.wait_accepted(10)
        recovery_s = ordeal.first_job(one)
    ordeal.account(one, "Redis: CLIENT KILL at random", rounds, recovery_s, 35)


@full
@pytest.mark.parametrize("seconds", [2, 2.5 * LEASE, 20])
def test_redis_freezes(stack, seconds):
    """Connections stay, answers do not come, and then all at once."""
    one = stack({"TILL_LEASE_SECONDS": LEASE}, own_redis=True).start(workers=2)
    times = []
    with Load(one, seed=36) as load:
        for _ in range(2):
            load.wait_accepted(10)
            one.redis_server.freeze()
            pause(seconds)
            one.redis_server.thaw()
            times.append(ordeal.first_job(one))
    ordeal.account(one, f"Redis frozen for {seconds:g} s", 2, times, 36)


# ---- failover: the address moves to a replica ----


class Pair:
    """A primary, a replica that follows it through a link, and the address that everybody uses."""

    def __init__(self, one, run_folder, name):
        self.one = one
        self.primary = one.redis_server
        self.address = one.proxy("redis")
        self.link = one.proxy("redis")
        self.replica = redis.new_server(run_folder, name, appendonly=True)
        with self.replica.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", self.link.port)
        one.settings.update(self.address.settings)
        self.wait_follows()

    def wait_follows(self):
        with self.replica.client() as client:
            wait_for(
                lambda: client.info("replication")["master_link_status"] == "up", 30, "it never follows"
            )

    def promote(self, tell_the_old_one):
        """The replica becomes the primary. The old one hears of it and follows, or never does."""
        with self.replica.client() as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
        if tell_the_old_one:
            self.address.target = self.replica.socket  # connections to the old one stay
            back = self.one.proxy("redis")
            back.target = self.replica.socket
            self.one.redis.execute_command("REPLICAOF", "127.0.0.1", back.port)
        else:
            self.address.move(self.replica.socket)
        self.one.redis_server = self.replica
        self.one.redis = self.replica.client()


@pytest.fixture
def pair(stack, run_folder):
    made = []

    def make(settings):
        one = stack(settings, own_redis=True)
        made.append(Pair(one, run_folder, f"replica{len(made)}-{os.getpid()}-{time.monotonic_ns() % 10**6}"))
        return made[-1]

    yield make
    for one in made:
        one.replica.stop()


@full
@pytest.mark.parametrize("how", ["primary dies", "primary demoted", "partition", "writes lost"])
def test_failover_to_a_replica(pair, how):
    both = pair({"TILL_LEASE_SECONDS": LEASE})
    one = both.one
    one.start(workers=2, schedulers=2)
    with Load(one, seed=37) as load:
        load.wait_accepted(15)
        if how in ("partition", "writes lost"):
            both.link.set("stall")
            load.wait_accepted(15)  # of which the replica hears nothing
            pause(LEASE if how == "partition" else 0)
        if how == "primary dies":
            both.primary.kill()
        both.promote(tell_the_old_one=how == "primary demoted")
        recovery_s = ordeal.first_job(one)
        load.wait_accepted(15)
    ordeal.account(one, f"Redis failover: {how}", 1, recovery_s, 37)

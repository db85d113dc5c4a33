"""A private PostgreSQL 15 on a unix socket.

`Cluster` is a data folder prepared once in a test run (initdb, then one database with all
migrations); each `Postgres` starts as a copy of it, and each test's database as a copy of the
migrated one. Without fsync: a test may kill the server, not the machine.
"""

import glob
import os
import re
import signal
import subprocess
from urllib.parse import quote

import psycopg2

from . import processes
from .folders import subfolder
from .wait import wait_for

USER = "till"  # may do everything: the tests' own queries, and the command line
OWNER = "shop_owner"  # owns what is in a database, and is nobody beyond that
LOGINS = {f"till-{name}": f"shop_{name}" for name in ("api", "worker", "scheduler", "dashboard")}
TEMPLATE = "till_template"
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "deadlock_timeout": "1s",
    "dynamic_shared_memory_type": "mmap",  # below the data folder: nothing of a killed server stays
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %q%a ",  # %a: the program, by which refusals() knows ours
    "timezone": "UTC",
}


def program(name):
    """PostgreSQL's programs are not in Debian's PATH."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    if not found:
        raise RuntimeError(f"there is no {name} below /usr/lib/postgresql")
    return found[-1]


def url_of(sockets, database, user=USER):
    return f"postgresql://{user}@{quote(sockets, safe='')}/{database}"


def initdb(data, account=None):
    """A new cluster whose only user may do everything, and comes by the unix socket alone."""
    options = {}
    if account:
        options = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    subprocess.run(
        [program("initdb"), "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]
        + ["-U", USER, "-D", data],
        check=True,
        capture_output=True,
        cwd="/",
        stdin=subprocess.DEVNULL,
        **options,
    )


class Postgres:
    def __init__(self, folder, cluster=None, settings=None, sockets=None):
        """The data in folder/data begins as a copy of `cluster`, or new when there is none yet."""
        self.account = processes.server_account()
        self.sockets = sockets or folder
        self.data = os.path.join(folder, "data")
        self.settings = {**SETTINGS, **(settings or {})}
        self.log = os.path.join(folder, "postgres.log")
        self.process = None
        if cluster:
            copy_as_owner(cluster.data, self.data)
        elif not os.path.exists(self.data):
            initdb(self.data, self.account)

    def url(self, database="postgres", user=USER):
        return url_of(self.sockets, database, user)

    def make_logins(self):
        """A login for each program, in the role that `till migrate --roles` has made for it."""
        for program_name, login in LOGINS.items():
            role = program_name.replace("-", "_")
            if not self.has_role(login):
                self.run(f"CREATE ROLE {login} LOGIN IN ROLE {role}")

    def has_role(self, name):
        connection = self.connect()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
            found = cursor.fetchone()
        connection.close()
        return found is not None

    def connect(self, database="postgres"):
        connection = psycopg2.connect(self.url(database))
        connection.autocommit = True
        return connection

    def start(self):
        command = [program("postgres"), "-D", self.data, "-k", self.sockets]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        with open(self.log, "ab") as log:
            # QUIT is PostgreSQL's immediate shutdown, which takes its own children along.
            self.process = processes.spawn(
                command, signal.SIGQUIT, self.account, cwd="/", stdout=log, stderr=log
            )
        wait_for(self.answers, 30, self.log_text)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended:\n{self.log_text()}")
        try:
            self.connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:]

    def log_size(self):
        return os.path.getsize(self.log)

    def refusals(self, offset=0):
        """What the server has refused since its log had that size for want of a privilege, and the
        deadlocks that it ended at the cost of one of the programs."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            file.seek(offset)
            lines = file.read().splitlines()
        return [
            "\n".join(lines[i : i + 8])
            for i, line in enumerate(lines)
            if "permission denied for" in line or re.search(r" till[-\w]* ERROR:  deadlock detected", line)
        ]

    def stop(self, mode="fast"):
        """fast: ends sessions, then shuts down. immediate: as if it crashed. kill: SIGKILL to all.
        postmaster: SIGKILL to the first process, and what others notice."""
        if self.process is None:
            return
        if mode == "kill":
            processes.kill_tree(self.process)
        elif mode == "postmaster":
            family = processes.descendants_of(self.process.pid)
            processes.send(self.process.pid, signal.SIGKILL)
            self.process.wait()
            left = lambda: [pid for pid in family if processes.is_running(pid)]  # noqa: E731
            wait_for(lambda: not left(), 30, lambda: f"{left()} outlive their postmaster")
        elif self.process.poll() is None:
            processes.send(self.process.pid, {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode])
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                processes.kill_tree(self.process)
        self.process = None
        self.remove_memory()

    def remove_memory(self):
        """The few shared bytes that a killed server leaves to the next one on the same data, which may
        never come: the seventh line of its postmaster.pid is their key and their id."""
        try:
            with open(os.path.join(self.data, "postmaster.pid")) as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return
        if len(lines) > 6:
            processes.remove_shared_memory(int(lines[6].split()[1]))

    def restart(self, mode="fast"):
        self.stop(mode)
        return self.start()

    def freeze(self):
        """SIGSTOP to every process of it, the first one first."""
        for pid in [self.process.pid, *processes.descendants_of(self.process.pid)]:
            processes.send(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in [*processes.descendants_of(self.process.pid), self.process.pid]:
            processes.send(pid, signal.SIGCONT)

    def run(self, sql):
        """One statement outside any transaction, as CREATE DATABASE needs it."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
        finally:
            connection.close()

    def has_database(self, name):
        connection = self.connect()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            found = cursor.fetchone()
        connection.close()
        return found is not None

    def new_database(self, name, template=TEMPLATE):
        self.drop_database(name)
        self.run(f'CREATE DATABASE "{name}" TEMPLATE {template}')
        return self.url(name)

    def new_empty_database(self, name):
        """Nothing is in it yet; its owner may make roles, and nothing else beyond it. Gives the owner's URL."""
        self.new_database(name, "template1")
        self.run(f'ALTER DATABASE "{name}" OWNER TO {OWNER}')
        return self.url(name, OWNER)

    def drop_database(self, name):
        self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


class Standby(Postgres):
    """A streaming standby of a running server: a base backup that follows."""

    def __init__(self, primary, folder):
        account = processes.server_account()
        where = subfolder(folder, "standby", account, 0o755)
        options = {}
        if account:
            options = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        subprocess.run(
            [program("pg_basebackup"), "-h", primary.sockets, "-U", USER, "-D", os.path.join(where, "data")]
            + ["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf", "--no-sync"],
            check=True,
            capture_output=True,
            cwd="/",
            stdin=subprocess.DEVNULL,
            **options,
        )
        self.primary = primary
        settings = {**primary.settings, "wal_retrieve_retry_interval": "200ms"}
        super().__init__(where, settings=settings)

    def value(self, sql):
        connection = self.connect()
        with connection.cursor() as cursor:
            cursor.execute(sql)
            [(found,)] = cursor.fetchall()
        connection.close()
        return found

    def pause(self):
        """From now on it is behind, whatever it receives."""
        self.run("SELECT pg_wal_replay_pause()")
        wait_for(lambda: self.value("SELECT pg_get_wal_replay_pause_state()") == "paused", 30)

    def resume(self):
        self.run("SELECT pg_wal_replay_resume()")

    def wait_until_there(self):
        """Until it has all that the primary has committed by now."""
        connection = self.primary.connect()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_flush_lsn()")
            [(position,)] = cursor.fetchall()
        connection.close()
        wait_for(lambda: self.value(f"SELECT pg_last_wal_replay_lsn() >= '{position}'"), 30, self.log_text)

    def freeze(self):
        """SIGSTOP to all of it: connections stay, and nobody answers."""
        for pid in (self.process.pid, *processes.descendants_of(self.process.pid)):
            processes.send(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in (*processes.descendants_of(self.process.pid), self.process.pid):
            processes.send(pid, signal.SIGCONT)


def copy_as_owner(source, target):
    """cp keeps the owner, which PostgreSQL insists on."""
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)


class Cluster:
    """The data folder that all servers of a run begin with."""

    def __init__(self, folder, migrate):
        """`migrate` is called with the URL of the empty template database, as its owner: who may
        make roles, and nothing else."""
        account = processes.server_account()
        folder = subfolder(folder, "cluster", account, 0o755)
        server = Postgres(folder)
        server.start()
        try:
            server.run(f"CREATE ROLE {OWNER} LOGIN CREATEROLE")
            migrate(server.new_empty_database(TEMPLATE))
            server.make_logins()
        finally:
            server.stop()
        self.data = server.data

    def new_server(self, folder, name, settings=None):
        """A running server in folder/name."""
        where = subfolder(folder, name, processes.server_account(), 0o755)
        return Postgres(where, self, settings).start()

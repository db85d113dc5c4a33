"""A private redis-server on a unix socket."""

import hashlib
import os
import secrets
import signal
import subprocess

import redis

from . import processes
from .folders import subfolder
from .wait import wait_for


ETC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "etc")


def sample_lines(name):
    with open(os.path.join(ETC, name), encoding="utf-8") as file:
        return [line.split() for line in file if line.strip() and not line.startswith("#")]


def sample_settings(password):
    """etc/redis.conf and the users as flags: the server's account need not be able to read files.
    The default user stays as it is, for the tests' own queries and the command line."""
    digest = hashlib.sha256(password.encode()).hexdigest()
    users = [line for line in sample_lines("redis-users.conf") if line[1] != "default"]
    lines = sample_lines("redis.conf") + [[*line, f"#{digest}"] for line in users]
    return [word for name, *values in lines for word in (f"--{name}", *values)]


class Redis:
    def __init__(self, folder, appendonly=False, sockets=None, settings=None):
        """`folder` belongs to the servers' account; the data stays in it between starts. `settings`
        go before those of the sample file."""
        self.account = processes.server_account()
        self.folder = folder
        self.socket = os.path.join(sockets or folder, "redis.sock")
        self.appendonly = appendonly
        self.settings = settings or {}
        self.password = secrets.token_urlsafe(12)  # of the programs' users
        self.log = os.path.join(folder, "redis.log")
        self.process = None

    def url(self, db=0, user=None):
        credentials = f"{user}:{self.password}@" if user else ""
        return f"unix://{credentials}{self.socket}" + (f"?db={db}" if db else "")

    def client(self, db=0, **options):
        return redis.Redis(unix_socket_path=self.socket, db=db, decode_responses=True, **options)

    def start(self):
        command = ["redis-server", "--port", "0", "--unixsocket", self.socket]
        command += ["--unixsocketperm", "777", "--dir", self.folder, "--save", ""]
        command += ["--logfile", self.log, "--databases", "64", *sample_settings(self.password)]
        command += ["--appendonly", "yes" if self.appendonly else "no"]
        for name, value in self.settings.items():
            command += [f"--{name}", *str(value).split()]
        self.process = processes.spawn(
            command,
            signal.SIGKILL,
            self.account,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self.answers, 30, self.log_text)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"Redis ended:\n{self.log_text()}")
        try:
            with self.client() as client:
                return client.ping()
        except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
            return False

    def log_text(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.read()[-4000:]
        except FileNotFoundError:
            return "no log of Redis"

    def stop(self, number=signal.SIGTERM):
        if self.process is None:
            return
        if self.process.poll() is None:
            processes.send(self.process.pid, signal.SIGCONT)
            processes.send(self.process.pid, number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                processes.kill_tree(self.process)
        self.process = None

    def kill(self):
        self.stop(signal.SIGKILL)

    def set(self, **settings):
        """CONFIG SET; the underscores of names are hyphens there."""
        with self.client() as client:
            for name, value in settings.items():
                client.config_set(name.replace("_", "-"), value)

    def freeze(self):
        """SIGSTOP: its sockets go on accepting, and nobody answers."""
        processes.send(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        processes.send(self.process.pid, signal.SIGCONT)

    def flush(self):
        with self.client() as client:
            client.flushall()
            client.acl_log_reset()

    def refusals(self):
        """What the server has refused the programs since it was flushed."""
        with self.client() as client:
            return client.acl_log()


def new_server(folder, name, appendonly=False, settings=None):
    """A running server in folder/name."""
    where = subfolder(folder, name, processes.server_account(), 0o755)
    return Redis(where, appendonly, settings=settings).start()

"""A private PgBouncer before a private PostgreSQL, on a unix socket."""

import os
import signal
import subprocess

import psycopg2

from . import processes
from .postgres import LOGINS, USER, url_of
from .wait import wait_for

PORT = 6432


class PgBouncer:
    def __init__(self, folder, postgres, mode, **settings):
        """`mode`: session or transaction; `folder` belongs to the servers' account."""
        self.account = processes.server_account()
        self.folder = folder
        self.log = os.path.join(folder, "pgbouncer.log")
        self.process = None
        users = os.path.join(folder, "users.txt")
        with open(users, "w", encoding="utf-8") as file:
            file.writelines(f'"{name}" ""\n' for name in (USER, *LOGINS.values()))
        lines = {
            "listen_addr": "",
            "unix_socket_dir": folder,
            "listen_port": PORT,
            "auth_type": "trust",
            "auth_file": users,
            "pool_mode": mode,
            "max_client_conn": 1000,
            "default_pool_size": 40,
            # What a session is to be like comes with its first message, and PgBouncer passes none of it on.
            "ignore_startup_parameters": "options",
            **settings,
        }
        self.config = os.path.join(folder, "pgbouncer.ini")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"[databases]\n* = host={postgres.sockets}\n[pgbouncer]\n")
            file.writelines(f"{name} = {value}\n" for name, value in lines.items())
        for name in (users, self.config):
            os.chmod(name, 0o644)

    def url(self, database, user=USER):
        return f"{url_of(self.folder, database, user)}?port={PORT}"

    def start(self):
        with open(self.log, "ab") as log:
            self.process = processes.spawn(
                ["pgbouncer", self.config], signal.SIGTERM, self.account, cwd="/",
                stdout=log, stderr=subprocess.STDOUT,
            )
        wait_for(self.answers, 30, self.log_text)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"PgBouncer ended:\n{self.log_text()}")
        try:
            psycopg2.connect(self.url("postgres")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-4000:]

    def stop(self):
        processes.send(self.process.pid, signal.SIGTERM)
        self.process.wait(20)

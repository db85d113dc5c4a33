"""Two Redis servers under three Sentinels, and the address that follows whoever they say is the primary.

Till knows one address of Redis. What keeps it at the primary is the site's (a proxy, an address that moves,
Sentinel's client-reconfig-script); here `Watch.follow()` does it, by asking the Sentinels. Servers and
Sentinels know each other by links, which a test may break. A busy machine may be silent for seconds:
they take a server for gone after five.
"""

import os
import subprocess
import threading

import redis

from . import processes
from .folders import free_port, subfolder
from .redis import new_server
from .wait import wait_for

NAME = "till"
CONFIGURATION = """
port {port}
bind 127.0.0.1
protected-mode no
dir {folder}
logfile {folder}/sentinel.log
sentinel monitor {name} 127.0.0.1 {primary} 2
sentinel down-after-milliseconds {name} 5000
sentinel failover-timeout {name} 10000
"""


class Sentinel:
    def __init__(self, folder, primary_port):
        account = processes.server_account()
        self.port = free_port()
        path = os.path.join(folder, "sentinel.conf")  # it writes into it what it has learnt
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(port=self.port, folder=folder, name=NAME, primary=primary_port))
        if account:
            os.chown(path, account.pw_uid, account.pw_gid)
        self.process = processes.spawn(
            ["redis-server", path, "--sentinel"], account=account, cwd="/",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def ask(self, *words):
        """None while it does not answer."""
        try:
            with redis.Redis(port=self.port, decode_responses=True, socket_timeout=5) as client:
                return client.execute_command("SENTINEL", *words)
        except (redis.ConnectionError, redis.TimeoutError):
            return None

    def knows_all(self, others):
        """The replica, and the other Sentinels: before that nobody can be promoted."""
        replicas = self.ask("REPLICAS", NAME) or []
        return len(replicas) == 1 and len(self.ask("SENTINELS", NAME) or []) == others


class Watch:
    def __init__(self, one, run_folder, name):
        """`one` has a Redis of its own, which is the first primary."""
        self.one = one
        self.address = one.proxy("redis")
        self.servers = {}
        self.links = {}
        replica = new_server(run_folder, name, appendonly=True)
        for server in (one.redis_server, replica):
            link = one.proxy("redis")
            link.target = server.socket
            server.settings |= {"replica-announce-ip": "127.0.0.1", "replica-announce-port": link.port}
            server.set(**server.settings)
            self.servers[link.port] = server
            self.links[server] = link
        self.primary, self.replica = one.redis_server, replica
        primary_port = self.links[self.primary].port
        with replica.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", primary_port)
        self.wait_follows(replica)
        folders = [
            subfolder(run_folder, f"{name}-sentinel{n}", processes.server_account(), 0o755) for n in range(3)
        ]
        self.sentinels = [Sentinel(folder, primary_port) for folder in folders]
        wait_for(lambda: all(s.knows_all(2) for s in self.sentinels), 60, "the Sentinels never meet")
        one.settings.update(self.address.settings)
        self.ending = threading.Event()
        self.follower = threading.Thread(target=self.follow, daemon=True)
        self.follower.start()

    def port(self):
        """Of the primary, as most of the Sentinels see it; None while they do not agree."""
        answers = [s.ask("GET-MASTER-ADDR-BY-NAME", NAME) for s in self.sentinels]
        ports = [int(answer[1]) for answer in answers if answer]
        return next((port for port in set(ports) if ports.count(port) >= 2), None)

    def follow(self):
        while not self.ending.wait(0.1):
            server = self.servers.get(self.port())
            if server and server.socket != self.address.target:
                self.address.move(server.socket)

    def wait_promoted(self):
        """Until the other one is the primary, and the address leads there; the tests' own queries go there."""
        wait_for(lambda: self.address.target == self.replica.socket, 60, "nobody is promoted")
        self.primary, self.replica = self.replica, self.primary
        self.one.redis_server = self.primary
        self.one.redis = self.primary.client()

    def wait_follows(self, replica):
        """Until it is a replica that hears its primary."""
        def is_up():
            try:
                with replica.client() as client:
                    return client.info("replication").get("master_link_status") == "up"
            except redis.ConnectionError:  # who turns a server into a replica ends its connections
                return False

        wait_for(is_up, 60, "it never follows")

    def end(self):
        self.ending.set()
        self.follower.join(30)
        for sentinel in self.sentinels:
            processes.kill_tree(sentinel.process)

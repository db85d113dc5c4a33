"""A real nginx with the configuration of etc/nginx.conf: what differs are ports, paths and the account."""

import os
import pwd
import resource
import signal
import socket
import ssl
import subprocess

from . import processes, programs
from .folders import free_port, subfolder
from .wait import wait_for

CONFIGURATION = os.path.join(programs.ROOT, "etc", "nginx.conf")


def program():
    for path in ("/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"):
        if os.access(path, os.X_OK):
            return path
    raise RuntimeError("there is no nginx: etc/install-packages.sh")


def make_certificate(folder):
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        + ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/fullchain.pem"],
        check=True,
        capture_output=True,
    )


def allow_descriptors():
    """As many as the machine gives this process and its children."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


class Nginx:
    def __init__(self, folder, api, dashboard="127.0.0.1:1"):
        """`api` and `dashboard` are host:port of the programs behind it."""
        self.folder = subfolder(folder, "nginx", mode=0o755)
        self.port = self.clear_port = None
        self.upstreams = {"127.0.0.1:8000": api, "127.0.0.1:5555": dashboard}
        self.access_log = os.path.join(self.folder, "access.log")
        self.output = os.path.join(self.folder, "output")
        self.error_log = os.path.join(self.folder, "error.log")
        self.configuration = os.path.join(self.folder, "nginx.conf")
        self.process = None
        make_certificate(self.folder)

    def configure(self):
        with open(CONFIGURATION, encoding="utf-8") as file:
            text = file.read()
        account = pwd.getpwuid(os.geteuid()).pw_name
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        changes = {
            "user www-data;": f"user {account};" if account == "root" else "",
            "/run/nginx.pid": f"{self.folder}/pid",
            "/var/log/nginx/till-error.log": self.error_log,
            "/var/log/nginx/till-access.log": self.access_log,
            "/etc/ssl/till/fullchain.pem": f"{self.folder}/fullchain.pem",
            "/etc/ssl/till/key.pem": f"{self.folder}/key.pem",
            "listen 80 ": f"listen {self.clear_port} ",
            "listen 443 ": f"listen {self.port} ",
            "http {\n": "http {\n" + temporary,
            **self.upstreams,
        }
        for old, new in changes.items():
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in etc/nginx.conf"
            text = text.replace(old, new)
        with open(self.configuration, "w", encoding="utf-8") as file:
            file.write(text)

    def start(self):
        for _ in range(5):  # somebody may take the port in the meantime
            self.port, self.clear_port = free_port(), free_port()
            self.configure()
            if self.run():
                return self
        raise RuntimeError(f"nginx does not start:\n{self.log_text()}")

    def run(self):
        with open(self.output, "ab") as output:
            self.process = processes.spawn(
                [program(), "-c", self.configuration, "-g", "daemon off;"],
                signal.SIGTERM,
                stdout=output,
                stderr=output,
            )
        wait_for(lambda: self.process.poll() is not None or self.answers(), 30, self.log_text)
        return self.process.poll() is None

    def answers(self):
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def log_text(self):
        texts = []
        for path in (self.output, self.error_log):
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    texts.append(file.read()[-4000:])
        return "\n".join(texts)

    def connect(self, source=None, timeout=30):
        """A TLS connection whose certificate was looked at; `source` is the client's address."""
        context = ssl.create_default_context(cafile=os.path.join(self.folder, "fullchain.pem"))
        plain = socket.create_connection(
            ("127.0.0.1", self.port), timeout, (source, 0) if source else None
        )
        return context.wrap_socket(plain, server_hostname="localhost")

    @property
    def certificate(self):
        return os.path.join(self.folder, "fullchain.pem")

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                processes.kill_tree(self.process)

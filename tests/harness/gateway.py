"""The payment gateway's sandbox as a child process, and a client of its control interface."""

import os
import signal
import sys

import requests

from . import processes
from .wait import wait_for

SANDBOX = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "sandbox")
SECRET_KEY = "sk_test_till_harness"
WEBHOOK_SECRET = "whsec_till_harness"


class Gateway:
    def __init__(self, folder, port=0, secret_key=SECRET_KEY):
        """The ledger is kept in `folder`, so it outlives a kill of the gateway."""
        self.folder = folder
        self.secret_key = secret_key
        self.port = port
        self.process = None
        self.http = requests.Session()

    def start(self):
        out = os.path.join(self.folder, "gateway.log")
        command = [sys.executable, os.path.join(SANDBOX, "gateway.py"), "--port", str(self.port)]
        command += ["--secret-key", self.secret_key, "--webhook-secret", WEBHOOK_SECRET]
        command += ["--state", os.path.join(self.folder, "gateway.state")]
        with open(out, "wb") as log:
            self.process = processes.spawn(command, signal.SIGKILL, stdout=log, stderr=log)
        self.url = wait_for(lambda: self.announced(out), 20, "the gateway sandbox did not start")
        self.port = int(self.url.rpartition(":")[2])  # the same again after a restart
        return self

    def announced(self, out):
        with open(out, encoding="utf-8") as file:
            text = file.read()
        if self.process.poll() is not None:
            raise RuntimeError(f"the gateway sandbox ended:\n{text}")
        return text.split()[-1] if text.endswith("\n") and "listening on" in text else None

    def call(self, method, path, body=None):
        answer = self.http.request(method, f"{self.url}/_sandbox/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def charges(self):
        """Every charge ever tried, declined ones too."""
        return self.call("GET", "ledger")["charges"]

    def effective_charges(self):
        """The charges that took money and kept it."""
        return [c for c in self.charges() if c["status"] == "succeeded" and not c["refunded"]]

    def requests(self):
        return self.call("GET", "requests")["requests"]

    def fault(self, action, **options):
        """Scripts what goes wrong next; see tests/sandbox/README.md."""
        return self.call("POST", "faults", {"action": action, **options})

    def clear_faults(self):
        self.call("DELETE", "faults")

    def held(self):
        return self.call("GET", "held")["requests"]

    def release(self, action="continue"):
        return self.call("POST", "release", {"action": action})["released"]

    def reset(self):
        self.call("POST", "reset")

    def stop(self):
        if self.process:
            processes.kill_tree(self.process)
            self.process = None
        self.http.close()
        self.http = requests.Session()

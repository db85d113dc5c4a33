"""The mail sink as a child process, and a client of its control interface."""

import os
import re
import signal
import sys

import requests

from . import processes
from .gateway import SANDBOX
from .wait import wait_for


class Message:
    """One mail that the sink accepted."""

    def __init__(self, sink, shown):
        self.sink = sink
        self.number = shown["id"]
        self.sender = shown["mail_from"]
        self.recipients = shown["rcpt_tos"]
        self.headers = shown.get("headers")  # None, with the text: only briefly listed
        self.message_id = shown["message_id"]
        self.subject = shown["subject"]
        self.text = shown.get("text")
        self.html = shown.get("html")

    def __repr__(self):
        return f"<mail to {self.recipients}: {self.subject}>"

    def header(self, name):
        """All values that a header has."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def raw(self):
        return self.sink.call("GET", f"mails/{self.number}").content

    @property
    def order_id(self):
        """The number of the order that it is about, by its subject; None when it is about none."""
        found = re.search(r"order (\d+)", self.subject)
        return int(found[1]) if found else None


class Mail:
    def __init__(self, folder, port=0, control_port=0, keep=None):
        """`keep`: a folder in which each mail is also kept as a file."""
        self.folder = folder
        self.keep = keep
        self.port = port
        self.control_port = control_port
        self.process = None
        self.http = requests.Session()

    @property
    def url(self):
        return f"smtp://127.0.0.1:{self.port}"

    def start(self):
        out = os.path.join(self.folder, "mail.log")
        command = [sys.executable, os.path.join(SANDBOX, "mail_sink.py"), "--port", str(self.port)]
        command += ["--control-port", str(self.control_port)]
        command += ["--dir", self.keep] if self.keep else []
        with open(out, "wb") as log:
            self.process = processes.spawn(command, signal.SIGKILL, stdout=log, stderr=log)
        self.port, self.control_port = wait_for(
            lambda: self.announced(out), 20, "the mail sink did not start"
        )
        return self

    def announced(self, out):
        with open(out, encoding="utf-8") as file:
            text = file.read()
        if self.process.poll() is not None:
            raise RuntimeError(f"the mail sink ended:\n{text}")
        found = re.search(r"listening on \S+:(\d+), control on \S+:(\d+)\n", text)
        return (int(found[1]), int(found[2])) if found else None

    def call(self, method, path, body=None):
        where = f"http://127.0.0.1:{self.control_port}/{path}"
        answer = self.http.request(method, where, json=body, timeout=300)
        answer.raise_for_status()
        return answer

    def messages(self):
        """Every mail accepted since the last reset, in order."""
        return [Message(self, shown) for shown in self.call("GET", "mails").json()["mails"]]

    def messages_after(self, number):
        """Those that came after that one, without their texts."""
        shown = self.call("GET", f"mails/after/{number}").json()["mails"]
        return [Message(self, mail) for mail in shown]

    def about(self, order_id):
        return [mail for mail in self.messages() if mail.order_id == order_id]

    def fault(self, action, **options):
        """Scripts what goes wrong next; see tests/sandbox/README.md."""
        return self.call("POST", "faults", {"action": action, **options}).json()

    def clear_faults(self):
        self.call("DELETE", "faults")

    def held(self):
        return self.call("GET", "held").json()["mails"]

    def release(self, action="continue"):
        return self.call("POST", "release", {"action": action}).json()["released"]

    def reset(self):
        """Forgets mails and faults; what is held is let go of without an answer."""
        self.clear_faults()
        self.release("drop")
        self.call("DELETE", "mails")

    def stop(self):
        if self.process:
            processes.kill_tree(self.process)
            self.process = None
        self.http.close()
        self.http = requests.Session()

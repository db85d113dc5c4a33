"""The mail sink as a child process, and a client of its control interface."""

import email
import email.policy
import os
import re
import signal
import sys

import requests

from . import processes
from .gateway import SANDBOX
from .wait import wait_for


class Mail:
    pass


class Message:
    """One mail that the sink accepted."""

    def __init__(self, recipients, raw):
        self.recipients = recipients
        self.raw = raw
        self.parsed = email.message_from_bytes(raw, policy=email.policy.default)
        self.message_id = self.parsed["Message-ID"]
        self.subject = self.parsed["Subject"]

    @property
    def text(self):
        return self.parsed.get_body(("plain",)).get_content()

    @property
    def html(self):
        return self.parsed.get_body(("html",)).get_content()

    @property
    def order_id(self):
        """The number of the order that it is about, by its subject."""
        found = re.search(r"\d+", self.subject)
        return int(found[0]) if found else None

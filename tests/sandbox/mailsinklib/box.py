"""The mails that were accepted, in order of arrival.

Owns: what is kept of each, in memory and (with a directory) as a file that appears whole or not
at all. Added to by the SMTP sessions, read by the control interface's threads.
"""

import os
import re
import threading
import time
from email import message_from_bytes, policy
from email.parser import BytesHeaderParser
from pathlib import Path


class MailBox:
    def __init__(self, directory=None):
        self.lock = threading.Lock()
        self.mails = {}
        self.number = 0
        self.directory = Path(directory) if directory else None
        if self.directory:
            self.directory.mkdir(parents=True, exist_ok=True)
            taken = [int(path.name[:6]) for path in self.directory.glob("[0-9]*.eml")]
            self.number = max(taken, default=0)

    def add(self, envelope, session):
        """Keeps a mail and returns its number; from here on it counts as delivered."""
        raw = bytes(envelope.original_content)
        mail = {
            "mail_from": envelope.mail_from,
            "rcpt_tos": list(envelope.rcpt_tos),
            "received_at": time.time(),
            "tls": session.ssl is not None,
            "authenticated": bool(session.authenticated),
            "raw": raw,
        }
        with self.lock:
            self.number += 1
            number = mail["id"] = self.number
        if self.directory:
            self.write(number, raw)
        with self.lock:
            self.mails[number] = mail
        return number

    def write(self, number, raw):
        message_id = message_from_bytes(raw, policy=policy.compat32).get("Message-ID", "none")
        safe = re.sub(r"[^A-Za-z0-9.@_-]+", "_", str(message_id).strip("<> \t\r\n"))[:120]
        path = self.directory / f"{number:06d}-{safe}.eml"
        half = path.with_name("." + path.name + ".part")
        half.write_bytes(raw)
        os.replace(half, path)

    def shown(self):
        with self.lock:
            mails = [self.mails[number] for number in sorted(self.mails)]
        return [describe(mail) for mail in mails]

    def brief(self, after):
        """Of those after that number, only what tells which mail it is: thousands are listed at once."""
        with self.lock:
            mails = [self.mails[number] for number in sorted(self.mails) if number > after]
        return [brief_of(mail) for mail in mails]

    def raw(self, number):
        with self.lock:
            mail = self.mails.get(number)
        return mail["raw"] if mail else None

    def clear(self):
        """Forgets the mails in memory; files stay, they belong to whoever asked for them."""
        with self.lock:
            self.mails.clear()


def describe(mail):
    message = message_from_bytes(mail["raw"], policy=policy.default)
    shown = {name: value for name, value in mail.items() if name != "raw"}
    shown["size"] = len(mail["raw"])
    shown["headers"] = [[name, str(value)] for name, value in message.items()]
    shown["message_id"] = header(message, "Message-ID")
    shown["subject"] = header(message, "Subject")
    shown["text"] = part(message, "plain")
    shown["html"] = part(message, "html")
    return shown


def brief_of(mail):
    message = BytesHeaderParser(policy=policy.compat32).parsebytes(mail["raw"])
    shown = {name: mail[name] for name in ("id", "mail_from", "rcpt_tos")}
    return {**shown, "message_id": header(message, "Message-ID"), "subject": header(message, "Subject")}


def header(message, name):
    value = message.get(name)
    return None if value is None else str(value).strip()


def part(message, kind):
    body = message.get_body(preferencelist=(kind,))
    if body is None:
        return None
    try:
        return body.get_content()
    except (LookupError, UnicodeError):
        return body.get_payload(decode=True).decode("utf-8", "replace")

#!/usr/bin/python3
"""A mail server for tests and the demo: keeps every mail, and misbehaves on demand.

Owns: the SMTP sessions, the mails, and the faults scripted into them. The SMTP grammar itself is
aiosmtpd's. The control interface (HTTP) is in mailsinklib/control.py; README.md tells both.
"""

import argparse
import asyncio
import errno
import signal
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from mailsinklib.box import MailBox
from mailsinklib.control import start_control
from mailsinklib.faults import FaultBook

TIMEOUT = 300
BACKLOG = 1024


class Session(SMTP):
    """One connection; asks the faults at every point where a server can go wrong."""

    def __init__(self, sink, **options):
        super().__init__(sink, **options)
        self.sink = sink

    async def _handle_client(self):
        """The greeting is the first thing aiosmtpd pushes here, so faults of it come before."""
        faults = self.sink.faults
        if faults.take("refuse"):
            self.transport.abort()
            return
        if faults.take("greet_421"):
            await super().push("421 4.3.2 Service not available, closing transmission channel")
            self.transport.close()
            return
        if faults.take("silent_greeting"):
            await asyncio.sleep(TIMEOUT)
            return
        await super()._handle_client()

    async def push(self, status):
        slow = self.sink.faults.take("slow")
        if slow:
            await asyncio.sleep(slow["seconds"])
        if self.sink.faults.take("garbage"):
            status = b"\x00\xff this is not \x80 a reply"
        await super().push(status)

    def hang_up(self):
        """Closes without a word; cancelled is how aiosmtpd takes the end of a connection."""
        self.transport.abort()
        raise asyncio.CancelledError


class Sink:
    """aiosmtpd's handler: decides the reply to MAIL, RCPT and DATA."""

    def __init__(self, box, faults):
        self.box = box
        self.faults = faults

    async def handle_MAIL(self, server, session, envelope, address, options):
        if self.faults.take("mail_from_451"):
            return "451 4.3.0 Temporary failure, try again later"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.faults.take("greylist"):
            return "450 4.2.0 Greylisted, try again later"
        refused = self.faults.take("rcpt", address)
        if refused:
            code, words = refused["rcpt"][address.lower()]
            return f"{code} {words}"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.faults.take("data_552"):
            return "552 5.2.2 Mailbox full"
        if self.faults.take("data_451"):
            return "451 4.3.0 Temporary failure, try again later"
        if self.faults.take("drop_before_data"):
            server.hang_up()
        number = self.box.add(envelope, session)
        if self.faults.take("drop_after_data"):
            server.hang_up()
        if self.faults.take("hold") and not await self.faults.hold(number):
            server.hang_up()
        return f"250 2.0.0 OK: kept as {number}"

    async def handle_exception(self, error):
        print(f"mail sink: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return "451 4.3.0 Internal error"


def parse_arguments():
    parser = argparse.ArgumentParser(description="A mail server that keeps what it is sent.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2525, help="0 takes any free port")
    parser.add_argument("--control-port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--dir", help="also keep each mail as a file in this directory")
    parser.add_argument("--user", help="require AUTH with this name")
    parser.add_argument("--password", help="and this password")
    parser.add_argument("--tls-cert", help="offer STARTTLS with this certificate")
    parser.add_argument("--tls-key", help="and this key")
    options = parser.parse_args()
    if bool(options.user) != bool(options.password):
        parser.error("--user and --password go together")
    if bool(options.tls_cert) != bool(options.tls_key):
        parser.error("--tls-cert and --tls-key go together")
    return options


def session_options(options):
    chosen = {"hostname": "mail.sandbox.test", "ident": "mail sink", "timeout": TIMEOUT}
    chosen["enable_SMTPUTF8"] = True
    if options.tls_cert:
        chosen["tls_context"] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chosen["tls_context"].load_cert_chain(options.tls_cert, options.tls_key)
    if options.user:
        wanted = LoginPassword(options.user.encode(), options.password.encode())

        def check(server, session, envelope, mechanism, data):
            return AuthResult(success=data == wanted, handled=False)

        chosen.update(auth_required=True, auth_require_tls=False, authenticator=check)
    return chosen


async def run(options):
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    box = MailBox(options.dir)
    faults = FaultBook(loop)
    sink = Sink(box, faults)
    chosen = session_options(options)
    server = await loop.create_server(
        lambda: Session(sink, loop=loop, **chosen), options.host, options.port, backlog=BACKLOG
    )
    port = server.sockets[0].getsockname()[1]
    control = start_control(options.host, options.control_port, box, faults)
    print(
        f"mail sink listening on {options.host}:{port}, "
        f"control on http://{options.host}:{control.server_address[1]}",
        flush=True,
    )
    await stop.wait()
    server.close()
    control.shutdown()


def main():
    options = parse_arguments()
    try:
        asyncio.run(run(options))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            ports = f"{options.port} or {options.control_port}"
            print(f"mail sink: port {ports} of {options.host} is in use", file=sys.stderr)
        else:
            print(f"mail sink: could not start: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""A payment gateway for tests and the demo: Stripe's API, its faults on demand, and a true ledger.

Owns: the command line, and what belongs to one running gateway. The parts are in gatewaylib/, the
interfaces are told in README.md. Needs nothing but the standard library.
"""

import argparse
import errno
import os
import signal
import sys
import threading

from gatewaylib.faults import FaultBook
from gatewaylib.idempotency import Keys
from gatewaylib.ledger import Ledger
from gatewaylib.server import RequestLog, Server
from gatewaylib.settlement import Settlement
from gatewaylib.stripe_api import StripeApi
from gatewaylib.webhooks import Webhooks


class Gateway:
    def __init__(self, options):
        self.secret_key = options.secret_key
        self.search_lag = options.search_lag
        self.base_url = None
        self.ledger = Ledger(options.state)
        self.keys = Keys(self.ledger)
        self.log = RequestLog()
        self.faults = FaultBook()
        self.webhooks = Webhooks(self.ledger, options.webhook_url, options.webhook_secret)
        self.settlement = Settlement(self, options.settle_seconds)
        self.api = StripeApi(self)

    def listen(self, host, port):
        server = Server(self, host, port)
        shown = f"[{host}]" if ":" in host else host
        self.base_url = f"http://{shown}:{server.server_address[1]}"
        return server

    def start(self):
        self.webhooks.start()
        self.settlement.start()

    def reset(self):
        """As if just started without a state file; what is held is let go of without an answer."""
        self.faults.clear()
        self.faults.release(action="drop")
        self.webhooks.forget()
        self.ledger.clear()
        self.log.clear()


def parse_arguments():
    parser = argparse.ArgumentParser(description="A payment gateway that speaks Stripe's API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090, help="0 takes any free port")
    parser.add_argument("--secret-key", default="sk_test_till")
    parser.add_argument("--webhook-url", help="where events are sent; none: nowhere")
    parser.add_argument("--webhook-secret", default="whsec_till_sandbox")
    parser.add_argument("--state", metavar="FILE", help="remember everything over a restart")
    parser.add_argument(
        "--settle-seconds", type=float, default=1.0, help="how long a bank debit is processing"
    )
    parser.add_argument(
        "--search-lag", type=float, default=0.0, help="seconds until search finds a new object"
    )
    return parser.parse_args()


def main():
    options = parse_arguments()
    # Blocked before the first thread starts, so that all inherit it and only sigwait() below sees
    # them; a handler may run in the wrong thread and leave the main one asleep.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        gateway = Gateway(options)
        server = gateway.listen(options.host, options.port)
    except OSError as error:
        where = f"{options.host}:{options.port}"
        if error.errno == errno.EADDRINUSE:
            print(f"gateway: port {options.port} of {options.host} is in use", file=sys.stderr)
        else:
            print(f"gateway: could not start on {where}: {error}", file=sys.stderr)
        return 1
    gateway.start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"gateway sandbox listening on {gateway.base_url}", flush=True)
    signal.sigwait(ends)
    with gateway.ledger.lock:  # nobody is in the middle of writing the journal
        os._exit(0)  # at once: threads may hang in a connection or in a hold


if __name__ == "__main__":
    sys.exit(main())

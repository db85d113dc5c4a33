#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Continuous checkouts while faults come at random: soak.py [--minutes N] [--seed N] [--faults N].

`make soak MINUTES=n [SEED=n]` calls it. One line a fault, then the table; it stays in var/soak/ as
JSON and Markdown. The same seed gives the same faults in the same order; when they strike depends on
the machine. Ends with 1 at the first finding, and leaves the programs' logs in var/soak/logs/.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
os.environ.setdefault("BUILD", "build")
sys.path.insert(0, TESTS)

from harness import chaos, faults_report, folders, programs, redis  # noqa: E402
from harness.gateway import Gateway  # noqa: E402
from harness.mail import Mail  # noqa: E402
from harness.postgres import Cluster  # noqa: E402
from harness.stack import Stack  # noqa: E402


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--faults", type=int, help="end after so many")
    parser.add_argument("--only", help="faults whose name contains this")
    parser.add_argument("--think", type=float, default=0.8, help="seconds between checkouts of one customer")
    return parser.parse_args()


def new_stack(folder):
    """Servers of its own, which faults may break."""
    postgres = Cluster(folder, programs.migrate).new_server(folder, "pg")
    postgres.new_database("soak")
    redis_server = redis.new_server(folder, "redis", appendonly=True)
    gateway = Gateway(folders.subfolder(folder, "gateway")).start()
    mail = Mail(folders.subfolder(folder, "mail")).start()
    where = folders.subfolder(folder, "soak", mode=0o755)
    return Stack(where, postgres, "soak", redis_server, gateway, mail)


def keep_logs(one, out):
    logs = os.path.join(out, "logs")
    shutil.rmtree(logs, ignore_errors=True)
    os.makedirs(logs)
    for name, text in one.logs().items():
        with open(os.path.join(logs, name), "w", encoding="utf-8") as file:
            file.write(text)
    return logs


def main():
    chosen = options()
    out = os.path.join(ROOT, "var", "soak")
    faults = {n: f for n, f in chaos.FAULTS.items() if not chosen.only or chosen.only in n}
    folder = folders.new_run_folder()
    report = os.path.join(tempfile.mkdtemp(dir=folder), "lines")
    os.environ.update(FAULTS="full", FAULTS_REPORT=report)
    one = new_stack(folder)
    began = time.monotonic()
    print(f"seed {chosen.seed}, {chosen.minutes:g} minutes", flush=True)
    found = ["it did not come to its end"]
    try:
        _, _, found = chaos.run(
            one, random.Random(chosen.seed), chosen.seed, chosen.minutes * 60, faults, chosen.faults,
            tell=lambda text: print(text, flush=True), think=chosen.think,
        )
        print(f"took {time.monotonic() - began:.0f} s")
    finally:
        if found:
            print(f"logs: {keep_logs(one, out)}")
        print(faults_report.table(faults_report.publish(report, out)), flush=True)
        one.end()
        for server in (one.gateway, one.mail, one.redis_server):
            server.stop()
        one.postgres.stop("immediate")
    return 1 if found else 0


def interrupted(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupted)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)

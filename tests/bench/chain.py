"""From a payment to its mail: what a checkout leaves to the workers, with a gateway and a mail server that
answer at once (raw_peers).

Used by web.py, whose checkouts have left their payments in the queue.
"""

import os
import subprocess
import sys
import time

from harness import programs

PAYMENTS, MAILS = "till:{payments}:normal", "till:{mail}:normal"
THREADS = 32  # of each server; as many slots as the two processes have
# Django + Celery with all their tuning on such a machine: jobs a second.
CELERY = 111


class Peers:
    def __init__(self):
        path = os.path.join(os.path.dirname(programs.path_of("till")), "tests", "bench", "raw_peers")
        self.process = subprocess.Popen(
            [path, str(THREADS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        gateway, mail = self.process.stdout.readline().split()
        self.settings = {
            "GATEWAY_URL": f"http://127.0.0.1:{gateway}",
            "SMTP_URL": f"smtp://127.0.0.1:{mail}",
            "MAIL_FROM": "Till shop <shop@till.example>",
        }

    def end(self):
        """(charges, mails)"""
        self.process.stdin.close()
        counts = tuple(map(int, self.process.stdout.read().split()))
        self.process.wait()
        return counts


def states(bench):
    return dict(bench.query("SELECT status, count(*)::int FROM payments GROUP BY 1"))


def drain(bench):
    """Jobs a second, payments and mails, from the first payment on; microseconds of CPU a job."""
    def left():
        """Jobs to come: each payment that waits will have a mail, too."""
        return 2 * bench.redis.xlen(PAYMENTS) + bench.redis.xlen(MAILS)

    waiting, before = bench.redis.xlen(PAYMENTS), states(bench)
    peers = Peers()
    worker = bench.worker(2, TILL_QUEUES="payments,mail", **peers.settings)
    bench.wait_at_once(lambda: left() < 2 * waiting, "the first charge")
    began, jobs, cpu = time.monotonic(), left(), bench.cpu(worker)
    bench.wait_at_once(lambda: left() == 0, "the last mail")
    took, after = time.monotonic() - began, bench.cpu(worker)
    worker.term()
    worker.wait()
    counts = peers.end()
    paid = states(bench).get("succeeded", 0) - before.get("succeeded", 0)
    if counts != (paid, paid) or paid < waiting:  # requests that wrk has cut off may have come behind it
        sys.exit(f"bench: of {waiting} payments {paid} succeeded, and there were {counts} charges and mails")
    return {"rate": jobs / took, **{name: (after[name] - cpu[name]) / jobs for name in after}}


def show(figures):
    rate = figures["rate"]
    print(f"{'from payment to mail, jobs':<44} {rate:>10,.0f} {CELERY:>10,} {rate / CELERY:>6.1f}x (Celery's)")

"""What every fault test does after its fault: how long until work goes on, whether all is accounted
for, whether everybody lived."""

import time

import psycopg2

from . import faults_report
from .wait import wait_for

GOES_ON = 60  # seconds; the time itself is measured, this only ends a test that hangs


def ask(one, sql, *values):
    """None while PostgreSQL does not answer."""
    try:
        return one.value(sql, *values)
    except psycopg2.Error:
        return None


def first_job(one, timeout=GOES_ON):
    """Seconds from now until a job is done that was not done before, by PostgreSQL's clock."""
    began = time.monotonic()
    before = wait_for(lambda: ask(one, "SELECT clock_timestamp()"), timeout, "no database")
    done = "SELECT EXISTS (SELECT FROM jobs WHERE state = 'SUCCESS' AND finished_at > %s)"
    wait_for(lambda: ask(one, done, before), timeout, "nothing is done any more")
    return time.monotonic() - began


def account(one, fault, rounds=1, recovery_s=None, seed=None, timeout=90, **allowed):
    """Waits until all is settled, balances the books, and enters the fault in the table. Every
    program must have lived through it."""
    one.wait_settled(timeout=timeout)
    one.books(**allowed)
    ended = [p for p in one.programs if p.process.poll() is not None]
    assert not ended, f"{ended} did not live through it"
    jobs = one.value("SELECT count(*) FROM jobs")
    return faults_report.record(fault, rounds, jobs, recovery_s=recovery_s, seed=seed)

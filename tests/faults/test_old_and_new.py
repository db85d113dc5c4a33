"""The version before this one and this one side by side, on one database and one Redis, under checkouts
and jobs of every kind: the migration comes while the old programs work, new ones join them one by one,
old ones leave, by TERM or by kill -9; then the way back, under the new schema, and forth again. All
invariants hold after every step.

Which version that is, and why there may be none: harness/previous.py. OLD_VERSION=COMMIT names another.
"""

import json
import os
import random

import pytest

from harness import chaos, faults_report, previous, programs
from harness.postgres import OWNER
from harness.wait import pause, wait_for

full = pytest.mark.full
SECONDS = float(os.environ.get("OLD_AND_NEW_SECONDS", "45"))
LEAVES = ("till-scheduler", "till-worker", "till-api", "till-dashboard")
OWN = ("TILL_QUEUES", "TILL_WORKER_PROCESSES")  # settings of one worker, which its successor has, too


@pytest.fixture(scope="module")
def old():
    try:
        return previous.version()
    except previous.Absent as error:
        return pytest.skip(str(error))


def old_stack(stack, old):
    """A system whose database, programs and command line are the old version's."""
    one = stack(migrate=lambda url: programs.migrate(url, old.path_of("till")))
    one.version = old
    limit(one, "task", "till.tasks.sleep", "--concurrency", "3")
    limit(one, "key", "side:*", "--concurrency", "2")
    return one


def limit(one, *words):
    done = one.till("limit", "set", *words)
    assert done.returncode == 0, done.stderr


def leave_by_term(program, known):
    known.ended.add(program.pid)
    program.term_and_wait(60)


def replace(one, program, by, how, known):
    """A program of version `by` comes, then this one leaves."""
    one.version = by
    own = {name: program.settings[name] for name in OWN if name in program.settings}
    ready = "ready" if program.name in ("till-scheduler", "till-worker") else "listening"
    one.program(program.name, ready, **own)
    if how == "kill -9":
        chaos.end(one, program, known)
    else:
        leave_by_term(program, known)


def enqueue_everywhere(one, old, known):
    """Jobs by both command lines, by SQL under a limit, and fast ones by XADD."""
    kept = one.version
    for version in (old, None):
        one.version = version
        known.jobs += one.enqueue("till.tasks.tally", 11, count=5)
    one.version = kept
    for number in range(8):
        known.jobs.append(one.value(
            "SELECT till_enqueue('till.tasks.tally', '[12]', limit_key => %s)::text", f"side:{number % 2}",
        ))
        one.enqueue_fast("till.tasks.noop")


def both_see_all_workers(one, old):
    """What one version's workers write of themselves the other's command line reads."""
    running = len(one.named("till-worker"))
    kept = one.version
    for version in (old, None):
        one.version = version
        wait_for(lambda: len(listed(one, "worker")) >= running, 30, lambda: str(listed(one, "worker")))
    one.version = kept


def listed(one, what):
    done = one.till(what, "list", "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Way:
    """The steps of one test: each is a fault to the storm, judged like one."""

    def __init__(self, storm, old, how):
        self.storm = storm
        self.old = old
        self.how = how
        self.found = []

    def note(self, line, found):
        self.found += found
        faults_report.record(**line)
        assert not found, f"{line['fault']}:\n  " + "\n  ".join(found)

    def step(self, name, what):
        enqueue_everywhere(self.storm.one, self.old, self.storm.known)
        self.note(*self.storm.strike(name, what))

    def rest(self):
        self.note(*self.storm.rest())

    def migrate(self):
        """By the new command line, while the old programs work."""
        def fault(one, *_):
            programs.migrate(one.postgres.url(one.database, OWNER))

        self.step("the new version's migrations while the old one works", fault)

    def replace_all(self, to):
        """One by one, until all that run are of that version."""
        path = to.folder if to else programs.ROOT
        name = f"programs of the {'older' if to else 'new'} version take over one by one, by {self.how}"
        one = self.storm.one
        for kind in LEAVES:
            for program in one.named(kind):
                self.step(name, lambda one, _, known, p=program: replace(one, p, to, self.how, known))
            if kind == "till-worker":
                both_see_all_workers(one, self.old)
        stay = [p.path or programs.ROOT for p in one.programs if p.is_running()]
        assert all(where.startswith(path) for where in stay), stay

    def mix(self, seconds, chooser):
        """Kills at random; what is started instead is of a version at random."""
        rounds = max(4, int(seconds / 3))
        for _ in range(rounds):
            name = chooser.choice(list(chaos.KILLS))

            def fault(one, chooser, known, kill=chaos.KILLS[name]):
                one.version = chooser.choice([self.old, None])
                kill(one, chooser, known)

            pause(chooser.uniform(0.05, 0.4))
            self.step("kills at random, old and new side by side", fault)


@full
@pytest.mark.parametrize("how", ["TERM", "kill -9"])
def test_old_and_new_programs_work_side_by_side(stack, old, how):
    one = old_stack(stack, old)
    seed = 20261122
    chooser = random.Random(seed)
    with chaos.Storm(one, chooser, seed, customers=4) as storm:
        way = Way(storm, old, how)
        storm.load.wait_accepted(3, timeout=60)
        way.migrate()
        storm.load.wait_accepted(5, timeout=60)  # the old version goes on under the new schema
        way.replace_all(None)
        way.rest()
        way.replace_all(old)  # the new programs were not liked: back, without touching the schema
        way.mix(SECONDS, chooser)
        way.rest()
        way.replace_all(None)
        way.rest()
    one.settle(60, unpaid=True, extra_mails=True)


@full
def test_an_older_migrate_leaves_a_newer_schema_alone(stack, old):
    """As when a machine that was forgotten starts its old units again: neither schema nor rights change."""
    one = old_stack(stack, old)
    url = one.postgres.url(one.database, OWNER)
    programs.migrate(url)
    state = (
        "SELECT (SELECT json_agg(m ORDER BY m.name) FROM schema_migrations m)::text"
        " || (SELECT json_agg(c.relacl::text ORDER BY c.oid) FROM pg_class c)::text"
    )
    before = one.value(state)

    done = programs.run("till", {"DATABASE_URL": url}, "migrate", path=old.path_of("till"))

    assert done.returncode != 0 and "newer than this program" in done.stderr, done
    assert one.value(state) == before

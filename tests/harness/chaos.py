"""A whole system under continuous checkout, while something breaks it again and again.

`Storm` has the load: customers, jobs of every kind, a schedule that ticks each second, and a queue
that nobody troubles. `strike()` lets one fault happen, waits for the first job that begins after
it, and judges every invariant that can be judged without rest; `rest()` lets all come to its end and
judges the others. FAULTS are those of our own programs; others may be added to them: a function
that gets (stack, random chooser), breaks something, and leaves it whole.
"""

import os
import random
import signal
import subprocess
import threading
import time

import psycopg2
import psycopg2.extras

from . import faults_report, invariants, processes, programs
from .flows import tally
from .load import Load
from .wait import pause, wait_for

SCHEDULE = """
[each-second]
cron = * * * * * *
task = till.tasks.tally
args = [7]
overlap = allow
catch_up = 1h
catch_up_runs = 100
"""
COUNTERS = 900
SETTINGS = {"TILL_LEASE_SECONDS": 2, "TILL_HEAL_SECONDS": 1, "LOG_LEVEL": "info"}
ASIDE = "aside"


# ---- what breaks ----


def end(one, program, known):
    """kill -9 of a program and of all it has started."""
    size = len(program.family())
    known.ended.add(program.pid)
    known.killed += size
    known.crashes += size if program.name == "till-worker" else 0
    program.kill()


def kill_api(one, chooser, known):
    """One of two, or the only one for a moment."""
    victim = chooser.choice(one.named("till-api"))
    first = chooser.random() < 0.5
    if first:
        end(one, victim, known)
    one.start_api()
    if not first:
        end(one, victim, known)


def kill_scheduler(one, chooser, known):
    end(one, chooser.choice(one.named("till-scheduler")), known)
    one.start_scheduler()


def kill_dashboard(one, chooser, known):
    end(one, one.dashboard, known)
    one.start_dashboard()


def workers(one):
    """Those that the customers' jobs are for."""
    return [w for w in one.named("till-worker") if w.settings.get("TILL_QUEUES") != ASIDE]


def kill_worker(one, chooser, known):
    end(one, chooser.choice(workers(one)), known)
    one.start_worker()


def kill_all_workers(one, _, known):
    victims = workers(one)
    for victim in victims:
        end(one, victim, known)
    for _ in victims:
        one.start_worker()


def kill_worker_process(one, chooser, known):
    children = chooser.choice(workers(one)).family()[1:]
    if children:
        known.killed += 1
        known.crashes += 1
        processes.send(chooser.choice(children), signal.SIGKILL)


def kill_supervisor(one, chooser, known):
    """Its processes are told to end, and do so in good order."""
    victim = chooser.choice(workers(one))
    children = victim.family()[1:]
    known.ended.add(victim.pid)
    known.killed += 1
    victim.send(signal.SIGKILL)
    victim.wait()
    one.start_worker()
    wait_for(
        lambda: not any(processes.is_running(pid) for pid in children), 60, "processes without supervisor"
    )


def freeze_worker(one, chooser, known):
    victim = chooser.choice(workers(one))
    known.crashes += len(victim.family())  # a mail under way is sent again by another
    victim.stop()
    pause(chooser.uniform(0.5, 5))
    victim.cont()


def kill_command(one, chooser, known):
    """`till enqueue` of many jobs, killed on its way."""
    path = one.version.path_of("till") if one.version else programs.path_of("till")
    command = [path, "enqueue", "till.tasks.tally", f"[{chooser.randrange(COUNTERS)}]"]
    environment = programs.environment(one.known(one.settings))
    child = processes.spawn(
        [*command, "--count", "300"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    pause(chooser.uniform(0.005, 0.15))
    known.killed += processes.send(child.pid, signal.SIGKILL)
    child.wait()


KILLS = {
    "kill -9 of an API": kill_api,
    "kill -9 of a scheduler": kill_scheduler,
    "kill -9 of a worker": kill_worker,
    "kill -9 of a worker process": kill_worker_process,
    "kill -9 of a supervisor": kill_supervisor,
    "kill -9 of all workers": kill_all_workers,
    "kill -9 of the dashboard": kill_dashboard,
    "kill -9 of till enqueue": kill_command,
}
FAULTS = {**KILLS, "SIGSTOP and SIGCONT of a worker": freeze_worker}


# ---- what goes on meanwhile ----


class Producer(threading.Thread):
    """Enqueues jobs by SQL, as another program's transaction would; remembers those whose commit was
    answered."""

    def __init__(self, one, chooser, jobs):
        super().__init__(daemon=True)
        self.one = one
        self.chooser = chooser
        self.jobs = jobs
        self.stopping = threading.Event()
        self.paused = threading.Event()
        self.idle = threading.Event()
        self.failures = []
        self.connection = None

    def run(self):
        while not self.stopping.wait(0.2):
            self.idle.set()
            if self.paused.is_set():
                continue
            self.idle.clear()
            try:
                self.jobs.extend(self.portion())
            except (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.errors.InsufficientResources,
                    psycopg2.errors.ReadOnlySqlTransaction):
                self.connection = None  # whether it was committed nobody knows
            except Exception as error:  # shall fail the test, not vanish
                self.failures.append(repr(error))
                return

    def portion(self):
        if self.connection is None or self.connection.closed:
            self.connection = self.one.postgres.connect(self.one.database)
            self.connection.autocommit = False
        counter = self.chooser.randrange(COUNTERS)
        with self.connection, self.connection.cursor() as cursor:
            jobs = [
                self.add(cursor, "till.tasks.tally", f"[{counter}]"),
                self.add(cursor, "till.tasks.tally_many", f"[{counter}]"),
                self.add(cursor, "till.tasks.tally_steps", f"[{counter}, 4, 20]"),
                self.add(cursor, "till.tasks.tally_many", "[3]"),
                self.add(cursor, "till.tasks.tally", "[4]", "now() + interval '700 ms'"),
                self.add(cursor, "till.tasks.fail", '["not yet", 1]'),
                self.add(cursor, "till.tasks.sleep", f"[{self.chooser.choice([0, 0.05, 0.4])}]"),
            ]
            if self.chooser.random() < 0.3:
                flow = {"group": [tally(counter), tally(5)], "callback": tally(6)}
                cursor.execute("SELECT till_flow(%s)", [psycopg2.extras.Json(flow)])
                cursor.execute("SELECT id::text FROM jobs WHERE flow_id = %s", cursor.fetchone())
                jobs += [row[0] for row in cursor.fetchall()]
        return jobs

    @staticmethod
    def add(cursor, task, args, at="NULL"):
        cursor.execute(f"SELECT till_enqueue(%s, %s, scheduled_at => {at})::text", [task, args])
        return cursor.fetchone()[0]

    def end(self):
        self.stopping.set()
        self.join(60)
        assert not self.is_alive(), "the producer is stuck"
        assert not self.failures, self.failures


class Storm:
    """with Storm(stack, chooser) as storm: storm.strike(name, fault)"""

    def __init__(self, one, chooser, seed, customers=6, think=0.8):
        self.one = one
        self.chooser = chooser
        self.known = invariants.Known()
        self.known.unpaid = True  # a customer's request may be lost with its API, and its key locked
        schedules = os.path.join(one.folder, "storm.conf")
        with open(schedules, "w", encoding="utf-8") as file:
            file.write(SCHEDULE)
        one.settings.update(SETTINGS, TILL_SCHEDULES_FILE=schedules)
        one.start(apis=2, workers=2, schedulers=2, dashboards=1)
        one.start_worker(TILL_QUEUES=ASIDE, TILL_WORKER_PROCESSES=1)
        self.load = Load(one, customers=customers, seed=seed, think=think)
        self.known.orders, self.known.payments = self.load.ordered, self.load.accepted
        # Of its own, so that the faults of a seed do not depend on how much is enqueued meanwhile.
        self.producer = Producer(one, random.Random(seed + 1), self.known.jobs)
        self.counted = 0
        self.judge_at = 0

    def __enter__(self):
        self.load.__enter__()
        self.producer.start()
        return self

    def __exit__(self, kind, *_):
        self.producer.end() if kind is None else self.producer.stopping.set()
        self.load.stop() if kind is None else self.load.stopping.set()

    def jobs(self):
        """Jobs that came to their end since the last call."""
        total = self.one.value("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL")
        new, self.counted = total - self.counted, total
        return new

    def time_to_first_job(self):
        """Seconds until a job that was begun after now has ended."""
        since = self.one.value("SELECT clock_timestamp()")
        began = time.monotonic()
        wait_for(
            lambda: self.one.value(
                "SELECT 1 FROM jobs WHERE started_at > %s AND finished_at IS NOT NULL"
                " AND queue <> %s LIMIT 1", since, ASIDE,
            ),
            120,
            "no job since the fault was over",
        )
        return time.monotonic() - began

    def look_aside(self):
        """How long the jobs of the untroubled queue take: the last one must be done by now."""
        rows = self.one.query(
            "SELECT extract(epoch FROM coalesce(finished_at, now()) - created_at)::float AS waited FROM jobs"
            " WHERE queue = %s ORDER BY id DESC LIMIT 5", ASIDE,
        )
        self.known.waits.extend(row["waited"] for row in rows)
        self.one.query("SELECT till_enqueue('till.tasks.tally', '[8]', queue => %s)", ASIDE)

    def strike(self, name, fault):
        """One fault, and what it did: a line for the table."""
        self.look_aside()
        fault(self.one, self.chooser, self.known)
        recovery = self.time_to_first_job()
        self.known.recoveries = [recovery]
        found = self.judge()
        return self.line(name, found, recovery), found

    def judge(self):
        """Everything, as long as that takes less than half of the time: after hours there is much to
        look through. What is left out of one judgement is in the next, and in that at rest."""
        began = time.monotonic()
        if began < self.judge_at:
            return invariants.judge(self.one, self.known, invariants.AT_ONCE)
        found = invariants.judge(self.one, self.known)
        self.judge_at = 2 * time.monotonic() - began
        return found

    def rest(self):
        """Lets everything come to its end, and judges it."""
        self.load.pause()
        self.producer.paused.set()
        wait_for(self.producer.idle.is_set, 60, "the producer is stuck")
        self.one.wait_settled(timeout=120)
        found = invariants.judge(self.one, self.known, invariants.AT_REST)
        self.load.resume()
        self.producer.paused.clear()
        return self.line("none: all at rest", found, None), found

    def line(self, name, found, recovery):
        doubled = sum(map(invariants.is_doubling, found))
        return {
            "fault": name,
            "jobs": self.jobs(),
            "lost": len(found) - doubled,
            "doubled": doubled,
            "recovery_s": recovery,
        }


def run(one, chooser, seed, seconds, faults=None, kills=None, every=20, tell=print, think=0.8):
    """Faults at random until the time is over, so many have been, or one was not survived. Gives the
    number of faults, of payments, and the findings."""
    faults = faults or FAULTS
    end_at = time.monotonic() + seconds
    done = 0
    found = []

    def note(line, what):
        found.extend(what)
        faults_report.record(**line, seed=seed)
        recovery = "" if line["recovery_s"] is None else f", first job after {line['recovery_s']:.2f} s"
        tell(f"{done:5} {line['fault']}: {line['jobs']} jobs{recovery}" + "".join(f"\n  ! {w}" for w in what))

    with Storm(one, chooser, seed, think=think) as storm:
        storm.load.wait_accepted(1, timeout=60)
        while time.monotonic() < end_at and (kills is None or done < kills) and not found:
            pause(chooser.uniform(0.05, 0.4))
            name = chooser.choice(list(faults))
            done += 1
            note(*storm.strike(name, faults[name]))
            if done % every == 0:
                note(*storm.rest())
        note(*storm.rest())
        accepted, killed = len(storm.load.accepted), storm.known.killed
    tell(f"{done} faults, {killed} processes killed by kill -9, {accepted} payments")
    return done, accepted, found

"""The whole system of one test: database, Redis, gateway, mail, and as many of Till's programs as
the test wants.

    def test_x(stack):
        shop = stack(settings={"TILL_LEASE_SECONDS": 5}).start().shop()

What a test does not start does not run: Stack alone gives database, Redis, gateway and mail.
"""

import itertools
import json
import os
import signal
import subprocess
import uuid

import psycopg2
import redis
from psycopg2.extras import Json, RealDictCursor

from . import books, programs
from .faultproxy import FaultProxy
from .gateway import SECRET_KEY
from .postgres import LOGINS, USER
from .shop import Shop
from .wait import wait_for

# Short times, so that recovery is seen within a test; nothing else differs from a real setup.
SETTINGS = {
    "GATEWAY_SECRET_KEY": SECRET_KEY,
    "JWT_SECRET": "a-key-that-only-the-tests-know-0123456789",
    "MAIL_FROM": "Till shop <shop@till.example>",
    "TILL_API_LISTEN": "127.0.0.1:0",
    "TILL_DASHBOARD_LISTEN": "127.0.0.1:0",
    "TILL_ADMISSION_DATABASE_MS": 60000,  # a processor that others use is not a database that is behind
    "TILL_HEAL_SECONDS": 1,
    "TILL_LEASE_SECONDS": 3,
    "TILL_RETRY_BASE_MS": 50,
    "TILL_RETRY_MAX_SECONDS": 2,
    "TILL_WORKER_PROCESSES": 2,
    "TILL_WORKER_CONCURRENCY": 4,
}


class Stack:
    def __init__(self, folder, postgres, database, redis_server, gateway, mail, settings=None):
        self.folder = folder
        self.postgres = postgres
        self.database = database
        self.redis_server = redis_server
        self.gateway = gateway
        self.mail = mail
        self.urls = {"DATABASE_URL": postgres.url(database), "REDIS_URL": redis_server.url()}
        self.settings = {
            **SETTINGS,
            **self.urls,
            "GATEWAY_URL": gateway.url,
            "SMTP_URL": mail.url,
            **(settings or {}),
        }
        self.version = None  # an older one (harness/previous.py), of which programs are started from now on
        self.programs = []
        self.apis = []
        self.numbers = itertools.count(1)
        self.initial_stock = {}
        self.connection = None
        self.redis = redis_server.client()
        self.proxies = []
        self.postgres_log = postgres.log_size()

    # ---- programs ----

    def own_urls(self, name):
        """Each program comes to the servers as itself, with the little it may do there; but not to
        an address that a test has put in."""
        own = {
            "DATABASE_URL": self.postgres.url(self.database, LOGINS[name]),
            "REDIS_URL": self.redis_server.url(user=name),
        }
        return {key: url for key, url in own.items() if self.settings[key] == self.urls[key]}

    def program(self, name, ready, arguments=(), **settings):
        log = os.path.join(self.folder, f"{name}-{next(self.numbers)}.log")
        all_settings = self.known({**self.settings, **self.own_urls(name), **settings})
        path = self.version.path_of(name) if self.version else None
        made = programs.Program(name, all_settings, log, arguments, ready, path)
        self.programs.append(made)
        return made.start()

    def known(self, settings):
        return self.version.known(settings) if self.version else settings

    def start_api(self, **settings):
        api = self.program("till-api", "listening", **settings)
        self.apis.append(api)
        return api

    def start_worker(self, **settings):
        return self.program("till-worker", "ready", **settings)

    def start_quiet_worker(self):
        """One that is there and takes nothing until it gets a SIGCONT."""
        worker = self.start_worker()
        worker.send(signal.SIGTSTP)
        worker.wait_for_log("quiet", timeout=30)
        return worker

    def start_scheduler(self, **settings):
        return self.program("till-scheduler", "ready", **settings)

    def start_dashboard(self, **settings):
        return self.program("till-dashboard", "listening", **settings)

    def start(self, apis=1, workers=1, schedulers=1, dashboards=0):
        """Starts that many of each and returns the stack."""
        for count, begin in (
            (schedulers, self.start_scheduler),
            (workers, self.start_worker),
            (apis, self.start_api),
            (dashboards, self.start_dashboard),
        ):
            for _ in range(count):
                begin()
        return self

    def named(self, name):
        """The running programs of this name."""
        return [p for p in self.programs if p.name == name and p.is_running()]

    @property
    def worker(self):
        return self.named("till-worker")[0]

    @property
    def scheduler(self):
        return self.named("till-scheduler")[0]

    @property
    def api(self):
        return self.named("till-api")[0]

    @property
    def dashboard(self):
        return self.named("till-dashboard")[0]

    # ---- the network ----

    def proxy(self, server):
        """A FaultProxy in front of "postgres", "redis", "gateway" or "mail". Its `settings` lead a
        program through it: one.start_worker(**one.proxy("redis").settings)."""
        target = {
            "postgres": os.path.join(self.postgres.sockets, ".s.PGSQL.5432"),
            "redis": self.redis_server.socket,
            "gateway": ("127.0.0.1", self.gateway.port),
            "mail": ("127.0.0.1", self.mail.port),
        }[server]
        made = FaultProxy(target)
        self.proxies.append(made)
        name, url = {
            "postgres": ("DATABASE_URL", f"postgresql://{USER}@127.0.0.1:{{}}/{self.database}"),
            "redis": ("REDIS_URL", "redis://127.0.0.1:{}/0"),
            "gateway": ("GATEWAY_URL", "http://127.0.0.1:{}"),
            "mail": ("SMTP_URL", "smtp://127.0.0.1:{}"),
        }[server]
        made.settings = {name: url.format(made.port)}
        return made

    def till(self, *arguments, **options):
        """Runs the command line program: CompletedProcess."""
        path = self.version.path_of("till") if self.version else None
        return programs.run("till", self.known(self.settings), *arguments, path=path, **options)

    def shop(self):
        """A customer who has not registered yet, at the first API that runs."""
        return Shop(lambda: self.api.url)

    # ---- data ----

    def query(self, sql, *values):
        """Rows as dictionaries; each statement commits by itself. A connection that a restart of
        the server has cut is met at the next statement, and replaced."""
        for is_new in (False, True):
            if self.connection is None or self.connection.closed:
                self.connection = self.postgres.connect(self.database)
                is_new = True
            try:
                with self.connection.cursor(cursor_factory=RealDictCursor) as cursor:
                    cursor.execute(sql, values or None)
                    return [dict(row) for row in cursor.fetchall()] if cursor.description else []
            except psycopg2.Error as error:
                if error.pgcode and self.connection.closed == 0:
                    raise  # the server has answered
                self.connection.close()
                if is_new:
                    raise

    def value(self, sql, *values):
        """The first column of the first row, None without a row."""
        rows = self.query(sql, *values)
        return next(iter(rows[0].values())) if rows else None

    def product(self, stock=1000, price="10.00", name=None):
        """A new product's id; its first stock is remembered for the books."""
        category = self.value("SELECT id FROM categories ORDER BY id LIMIT 1") or self.value(
            "INSERT INTO categories (name) VALUES ('Things') RETURNING id"
        )
        product = self.value(
            "INSERT INTO products (name, price, stock_quantity, category_id)"
            " VALUES (%s, %s, %s, %s) RETURNING id",
            name or f"Thing {next(self.numbers)}",
            price,
            stock,
            category,
        )
        self.initial_stock[product] = stock
        return product

    def try_task(self, task, *args, **kwargs):
        """Runs a task in a transaction that is rolled back: the proof of harness/task_try.h."""
        path = os.path.join(os.path.dirname(programs.path_of("till")), "tests", "harness", "try_task")
        assert os.path.exists(path), f"{path} is missing: make tests"
        done = subprocess.run(
            [path, task, json.dumps(args), json.dumps(kwargs)],
            env=programs.environment(self.settings),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def insert_job(self, task, args=(), **columns):
        """A durable job as a producer in another language inserts it: one row, nothing in Redis."""
        columns = {
            "id": str(uuid.uuid4()),
            "task": task,
            "args": Json(list(args)),
            **columns,
        }
        names = ", ".join(columns)
        marks = ", ".join(["%s"] * len(columns))
        self.query(f"INSERT INTO jobs ({names}) VALUES ({marks})", *columns.values())
        return columns["id"]

    def enqueue(self, task, *args, **options):
        """By `till enqueue`: the id of the job, or all ids when a count was asked for."""
        flags = []
        for name, value in options.items():
            flags += ["--" + name.replace("_", "-"), value]
        done = self.till("enqueue", task, json.dumps(args), "--json", *flags)
        assert done.returncode == 0, done.stderr
        ids = [json.loads(line)["id"] for line in done.stdout.splitlines()]
        return ids if "count" in options else ids[0]

    def enqueue_fast(self, task, *args, queue="default", **fields):
        """A fast job as any producer adds it: one XADD. Gives the entry's id."""
        fields = {"task": task, "args": json.dumps(args), **fields}
        return self.redis.xadd(f"till:{{{queue}}}:normal", fields)

    def job(self, job_id):
        rows = self.query("SELECT * FROM jobs WHERE id = %s", str(job_id))
        return rows[0] if rows else None

    def wait_job(self, job_id, *states, timeout=15):
        """The row of a job once it is in one of `states` (SUCCESS without any)."""
        states = states or ("SUCCESS",)

        def look():
            job = self.job(job_id)
            return job if job and job["state"] in states else None

        return wait_for(look, timeout, lambda: f"job never {states}: {self.job(job_id)}")

    # ---- the end of a test ----

    def wait_settled(self, timeout=30):
        """Until no job and no payment is open and the streams are empty."""
        wait_for(lambda: not books.unsettled(self), timeout, lambda: str(books.unsettled(self)))

    def books(self, **allowed):
        """Asserts that the books balance; see books.check()."""
        books.check(self, **allowed)

    def settle(self, timeout=30, **allowed):
        self.wait_settled(timeout)
        self.books(**allowed)

    def refusals(self):
        """What a program wanted to do at a server and may not, or could not for a deadlock: none, in
        any test."""
        found = self.postgres.refusals(self.postgres_log)
        try:
            found += [f"Redis: {entry}" for entry in self.redis_server.refusals()]
        except redis.ConnectionError:
            pass  # the test has ended it
        return found

    def take_refusals(self):
        """Those so far, which the test has brought about itself."""
        found = self.postgres.refusals(self.postgres_log)
        self.postgres_log = self.postgres.log_size()
        return found

    def logs(self):
        """The log text of every program that ran."""
        texts = {}
        for program in self.programs:
            with open(program.log, encoding="utf-8", errors="replace") as file:
                texts[os.path.basename(program.log)] = file.read()
        return texts

    def end(self):
        for link in self.proxies:
            link.set("pass")
        for program in self.programs:
            program.end()
        for link in self.proxies:
            link.close()
        if self.connection:
            self.connection.close()
        self.redis.close()

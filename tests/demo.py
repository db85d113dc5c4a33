#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make demo`: the whole system on this machine, and one real checkout through it.

Starts PostgreSQL, Redis, a mail sink, a payment gateway sandbox and Till's four programs, all
private, with their data below var/ (kept between runs); checks out one order, shows each step, and
keeps running until Ctrl-C. With --once (or DEMO_ONCE=1) it ends after the checkout.

Another port: --api-port, --dashboard-port, --gateway-port, --mail-port, or DEMO_API_PORT and so on
in the environment; 0 takes a free one. Another folder: --var, or DEMO_VAR.
"""

import argparse
import fcntl
import hashlib
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
sys.path.insert(0, TESTS)

from harness import folders, processes, programs  # noqa: E402
from harness.gateway import Gateway  # noqa: E402
from harness.mail import Mail  # noqa: E402
from harness.postgres import LOGINS, Postgres  # noqa: E402
from harness.redis import Redis  # noqa: E402
from harness.shop import Shop  # noqa: E402
from harness.wait import pause, wait_for  # noqa: E402

PORTS = {"api": 8000, "dashboard": 5555, "gateway": 8090, "mail": 2525}
GATEWAY_KEY = "sk_test_till_demo"
SOCKET_PATH_MAX = 90  # a unix socket's path may have 107 bytes, its name included
DURABLE = {"fsync": "on", "full_page_writes": "on", "max_connections": "100"}


class Refused(Exception):
    """The demo cannot run; the text says why and what to do."""


class Stopped(BaseException):
    """Ctrl-C, or TERM."""


def parse_arguments():
    parser = argparse.ArgumentParser(description="The whole system, and one checkout through it.")
    env = os.environ
    for name, port in PORTS.items():
        given = env.get(f"DEMO_{name.upper()}_PORT", str(port))
        parser.add_argument(f"--{name}-port", type=port_number, default=given, metavar="PORT")
    parser.add_argument("--var", default=env.get("DEMO_VAR") or os.path.join(ROOT, "var"))
    once = env.get("DEMO_ONCE", "") not in ("", "0")
    parser.add_argument("--once", action="store_true", default=once, help="end after the checkout")
    return parser.parse_args()


def port_number(text):
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def say(text=""):
    print(text, flush=True)


def step(text):
    say(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}")


# ---- the folder ----


def open_folder(var):
    """Makes var/ or takes the one that is there; the file returned is locked while we run."""
    os.makedirs(var, exist_ok=True)
    owner = os.stat(var).st_uid
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise Refused(
            f"{var} belongs to {name}, who ran the demo before. Run it as {name}, remove that"
            f" folder, or choose another one: DEMO_VAR=/some/folder make demo"
        )
    lock = open(os.path.join(var, "demo.lock"), "a+", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        pid = lock.read().strip()
        raise Refused(f"a demo is running already (process {pid}) with its data in {var}") from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def may_pass(path, account):
    """Whether `account` can get into `path`, every folder on the way included."""
    while True:
        if os.path.exists(path) and not os.stat(path).st_mode & 0o001:
            stat = os.stat(path)
            if stat.st_uid != account.pw_uid and stat.st_gid != account.pw_gid:
                return False
        if path == "/":
            return True
        path = os.path.dirname(path)


def server_folder(var, account):
    """Where the servers' data is: var/servers. Where their account may not go (root's home), that
    is a link to a folder where it may."""
    path = os.path.join(var, "servers")
    if os.path.exists(path):
        return os.path.realpath(path)
    if account and not may_pass(os.path.realpath(var), account):
        mark = hashlib.sha256(os.path.realpath(var).encode()).hexdigest()[:10]
        target = os.path.join("/var/tmp", f"till-demo-{mark}")
        os.makedirs(target, mode=0o755, exist_ok=True)
        if os.stat(target).st_uid != os.geteuid():
            raise Refused(f"{target} belongs to somebody else; remove it")
        if os.path.islink(path):
            os.remove(path)
        os.symlink(target, path)
        return target
    os.makedirs(path, mode=0o755)
    return os.path.realpath(path)


def ensure(path, account=None, mode=0o755):
    if not os.path.isdir(path):
        os.mkdir(path)
        os.chmod(path, mode)
        if account:
            os.chown(path, account.pw_uid, account.pw_gid)
    return path


def check_ports(options):
    for name in PORTS:
        port = getattr(options, f"{name}_port")
        if port == 0:
            setattr(options, f"{name}_port", folders.free_port())
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise Refused(
                    f"port {port}, meant for the {name}, cannot be used: {error.strerror}. Choose"
                    f" another one: DEMO_{name.upper()}_PORT={port + 10 if port < 65000 else 0} make demo"
                ) from None


def read_settings(path):
    try:
        with open(path, encoding="utf-8") as file:
            pairs = (line.rstrip("\n").partition("=") for line in file if "=" in line)
            return {name: (shlex.split(value) or [""])[0] for name, _, value in pairs}
    except FileNotFoundError:
        return {}


# ---- the system ----


class Demo:
    def __init__(self, options):
        self.options = options
        self.var = os.path.realpath(options.var)
        self.ends = []
        self.settings = {}
        self.programs = []

    def start_servers(self):
        account = processes.server_account()
        servers = server_folder(self.var, account)
        sockets = None
        if len(servers) > SOCKET_PATH_MAX:
            sockets = tempfile.mkdtemp(prefix="till-demo-", dir="/tmp")
            if account:
                os.chown(sockets, account.pw_uid, account.pw_gid)
            os.chmod(sockets, 0o755)
            self.ends.append(lambda: shutil.rmtree(sockets, ignore_errors=True))
        where = ensure(os.path.join(servers, "postgres"), account)
        self.postgres = Postgres(where, settings=DURABLE, sockets=sockets)
        self.ends.append(self.postgres.stop)
        self.postgres.start()
        where = ensure(os.path.join(servers, "redis"), account)
        self.redis = Redis(where, appendonly=True, sockets=sockets)
        self.ends.append(self.redis.stop)
        self.redis.start()
        is_new = not self.postgres.has_database("till")
        if is_new:
            self.postgres.run("CREATE DATABASE till TEMPLATE template1")
        return is_new

    def start_sandboxes(self):
        where = ensure(os.path.join(self.var, "gateway"))
        self.gateway = Gateway(where, self.options.gateway_port, GATEWAY_KEY)
        self.ends.append(self.gateway.stop)
        self.gateway.start()
        where = ensure(os.path.join(self.var, "mail"))
        self.mail = Mail(where, self.options.mail_port, keep=where)
        self.ends.append(self.mail.stop)
        self.mail.start()

    def write_settings(self):
        """var/demo.env: what every program, and a client in any language, needs."""
        path = os.path.join(self.var, "demo.env")
        jwt_secret = read_settings(path).get("JWT_SECRET") or secrets.token_urlsafe(36)
        api = f"127.0.0.1:{self.options.api_port}"
        dashboard = f"127.0.0.1:{self.options.dashboard_port}"
        self.settings = {
            "DATABASE_URL": self.postgres.url("till"),
            "REDIS_URL": self.redis.url(),
            "GATEWAY_URL": self.gateway.url,
            "GATEWAY_SECRET_KEY": GATEWAY_KEY,
            "SMTP_URL": self.mail.url,
            "MAIL_FROM": "shop@till.example",
            "JWT_SECRET": jwt_secret,
            "TILL_SCHEDULES_FILE": os.path.join(ROOT, "etc", "schedules.conf"),
            "TILL_API_LISTEN": api,
            "TILL_DASHBOARD_LISTEN": dashboard,
        }
        addresses = {
            "API_URL": f"http://{api}",
            "DASHBOARD_URL": f"http://{dashboard}",
            "MAIL_CONTROL_URL": f"http://127.0.0.1:{self.mail.control_port}",
        }
        lines = [f"{k}={shlex.quote(v)}\n" for k, v in {**self.settings, **addresses}.items()]
        half = path + ".new"
        with open(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.writelines(lines)
        os.replace(half, path)
        return path

    def till(self, *arguments):
        done = programs.run("till", self.settings, *arguments, timeout=120)
        if done.returncode != 0:
            raise Refused(f"till {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout

    def own_urls(self, name):
        """Each program comes to the servers as itself; what demo.env has is for the command line."""
        return {
            "DATABASE_URL": self.postgres.url("till", LOGINS[name]),
            "REDIS_URL": self.redis.url(user=name),
        }

    def start_programs(self):
        logs = ensure(os.path.join(self.var, "log"))
        for name, ready in (
            ("till-scheduler", "ready"),
            ("till-worker", "ready"),
            ("till-api", "listening"),
            ("till-dashboard", "listening"),
        ):
            log = os.path.join(logs, f"{name}.log")
            with open(log, "wb"):
                pass  # the log of this run alone
            own = {**self.settings, **self.own_urls(name)}
            program = programs.Program(name, own, log, ready=ready)
            self.programs.append(program)
            self.ends.append(program.end)
            program.start()

    def query(self, sql, *values):
        connection = self.postgres.connect("till")
        with connection.cursor() as cursor:
            cursor.execute(sql, values)
            rows = cursor.fetchall()
        connection.close()
        return rows

    def finished_jobs(self, order, payment):
        """The payment's job and the mail's, once both are done."""
        rows = self.query(
            "SELECT task, state, attempt, extract(epoch FROM started_at - created_at)::float * 1000,"
            " extract(epoch FROM finished_at - started_at)::float * 1000 FROM jobs"
            " WHERE args IN (jsonb_build_array(%s::text), jsonb_build_array(%s::bigint))"
            " AND created_at >= (SELECT created_at FROM payments WHERE id = %s)"
            " AND finished_at IS NOT NULL ORDER BY created_at",
            payment["id"],
            order["id"],
            payment["id"],
        )
        return rows if len(rows) == 2 else None

    def end(self):
        """Everything, last started first; nothing stops it half way."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        while self.ends:
            try:
                self.ends.pop()()
            except Exception as error:  # the others have to end, too
                print(f"demo: {error}", file=sys.stderr)

    def keep_running(self):
        while True:
            for program in self.programs:
                if not program.is_running():
                    code = program.process.returncode
                    raise Refused(f"{program.name} ended with {code}; its log is {program.log}")
            pause(0.5)

    def show_addresses(self, env):
        once = "That was it; the data stays for the next time."
        step(once if self.options.once else "Running. Ctrl-C ends everything; the data stays.")
        say(f"  shop's API        {self.programs[2].url}   (/healthz, /api/products/)")
        say(f"  dashboard         {self.programs[3].url}")
        say(f"  gateway sandbox   {self.gateway.url}   (ledger: /_sandbox/ledger)")
        say(f"  mail sink         {self.mail.url}   (mails: {self.mail.keep})")
        say(f"  settings          {env}")
        say(f"  logs              {os.path.join(self.var, 'log')}")


# ---- one checkout ----


def check_out(demo):
    shop = Shop(demo.programs[2].url)
    start = time.monotonic()
    step("One checkout")
    user = shop.register(first_name="Ada", last_name="Lovelace")
    say(f"  register    POST /api/auth/register/   201  {user['username']} <{shop.email}>")
    shop.login()
    say("  login       POST /api/auth/login/      200  access and refresh token")
    products = shop.expect(200, shop.get("/api/products/?page_size=50"))
    chosen = [p for p in products["results"] if p["stock_quantity"] >= 2][:2]
    say(f"  products    GET  /api/products/        200  {products['count']} of them")
    order = shop.order((chosen[0]["id"], 2), (chosen[1]["id"], 1))
    say(f"  order       POST /api/orders/          201  order {order['id']}, {order['order_status']}")
    for item, product in zip(order["items"], chosen):
        say(f"              {item['quantity']} x {product['name']} at {item['price']}")
    say(f"              total {order['total_amount']}")
    payment = shop.pay(order["id"])
    say(f"  pay         POST /api/payments/        202  payment {payment['id']}")
    seen = watch_payment(shop, payment["id"])
    say(f"  payment     GET  /api/payments/<id>/   200  {' -> '.join(seen)}")
    if seen[-1] != "succeeded":
        raise Refused(f"the payment did not succeed; look into {demo.var}/log")
    say(f"  order       GET  /api/orders/<id>/     200  {shop.order_status(order['id'])}")
    show_charge(demo, payment)
    (mail,) = wait_for(lambda: demo.mail.about(order["id"]), 20, "the e-mail never arrived")
    show_jobs(demo, order, payment)
    show_mail(mail)
    show_schedules(demo)
    say(f"\n  all of it took {time.monotonic() - start:.2f} s")


def watch_payment(shop, payment_id):
    """The statuses that the payment went through, as its customer sees them."""
    seen = []

    def look():
        status = shop.payment(payment_id)["status"]
        if status not in seen:
            seen.append(status)
        return status in ("succeeded", "failed")

    wait_for(look, 30, "the payment was never settled")
    return seen


def show_charge(demo, payment):
    keys = demo.query("SELECT idempotency_key FROM payments WHERE id = %s", payment["id"])
    (charge,) = [c for c in demo.gateway.charges() if c["idempotency_key"] == keys[0][0]]
    amount = f"{charge['amount'] // 100}.{charge['amount'] % 100:02d} {charge['currency']}"
    say(f"  charge      {charge['id']}, {amount}, {charge['status']}: the only one of its key")


def show_jobs(demo, order, payment):
    step("Its jobs")
    rows = wait_for(lambda: demo.finished_jobs(order, payment), 20, "the jobs never finished")
    say(f"  {'task':46} {'state':8} attempt  waited   ran")
    for task, state, attempt, waited, ran in rows:
        say(f"  {task:46} {state:8} {attempt:7}  {waited:4.0f} ms  {ran:4.0f} ms")


def show_schedules(demo):
    step("The schedules (till schedule list)")
    waiting = "SELECT 1 FROM schedules WHERE next_run IS NULL AND problem IS NULL AND paused_at IS NULL"
    wait_for(lambda: not demo.query(waiting), 20, "the scheduler never read its schedules")
    for line in demo.till("schedule", "list").splitlines():
        say(f"  {line}")


def show_mail(mail):
    step("The e-mail")
    for name, value in mail.headers:
        say(f"  {name}: {value}")
    say()
    for line in mail.text.strip().splitlines():
        say(f"  {line}".rstrip())
    say(f"\n  (and the same as HTML, {len(mail.html)} characters)")


def run(demo):
    options = demo.options
    check_ports(options)
    start = time.monotonic()
    step("Starting")
    is_new = demo.start_servers()
    say(f"  PostgreSQL and Redis, private{', new' if is_new else ', with the data of last time'}")
    demo.start_sandboxes()
    say("  mail sink and payment gateway sandbox")
    env = demo.write_settings()
    demo.till("migrate", "--roles")
    demo.postgres.make_logins()
    demo.till("seed")
    say("  database migrated, demo data loaded")
    demo.start_programs()
    say("  till-scheduler, till-worker, till-api, till-dashboard")
    say(f"  ready after {time.monotonic() - start:.1f} s")
    check_out(demo)
    demo.show_addresses(env)
    if not options.once:
        demo.keep_running()


def stop(*_):
    raise Stopped


def main():
    options = parse_arguments()
    demo = Demo(options)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    lock = None
    try:
        lock = open_folder(demo.var)
        run(demo)
    except Stopped:
        step("Ending")
    except (Refused, AssertionError, RuntimeError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        demo.end()
        if lock:
            lock.close()
    say("  everything has ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())

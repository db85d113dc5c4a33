# SPDX-License-Identifier: MIT
"""Drives the dashboard's pages in Chromium: rows are put in here, *.test.js walk them."""

import fcntl
import glob
import json
import os
import subprocess

import pytest
from browser import rows
from harness.shop import PAID
from harness.wait import SLOWNESS, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="session")
def playwright():
    """What package.json names in node_modules, installed once, whichever run comes first."""
    with open(os.path.join(HERE, "package.json"), encoding="utf-8") as file:
        wanted = json.load(file)["devDependencies"]
    with open(os.path.join(HERE, "package-lock.json"), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if any(version_of(name) != version for name, version in wanted.items()):
            subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=HERE, check=True, timeout=300, stdin=subprocess.DEVNULL,
            )
    return HERE


def version_of(name):
    path = os.path.join(HERE, "node_modules", name, "package.json")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)["version"]
    except (OSError, ValueError, KeyError):
        return None


def file_of(name):
    """The file that has this test; a name is used once."""
    (found,) = [path for path in glob.glob(os.path.join(HERE, "*.test.js")) if has_test(path, name)]
    return found


def has_test(path, name):
    with open(path, encoding="utf-8") as file:
        return f"test('{name}'," in file.read()


@pytest.fixture
def walk(stack, playwright, test_folder):
    """Runs one test of *.test.js against a dashboard; facts go to it as JSON."""

    def run(name, facts, settings=None, system=None):
        system = system or stack()
        if not system.named("till-dashboard"):
            system.start_dashboard(**(settings or {}))
        facts = {"url": system.dashboard.url, "folder": test_folder, **facts}
        done = subprocess.run(
            ["node", "--test", "--test-name-pattern", f"^{name}$", file_of(name)],
            cwd=playwright,
            env={**os.environ, "TILL_FACTS": json.dumps(facts), "HOME": test_folder},
            capture_output=True, text=True, timeout=150 * SLOWNESS, stdin=subprocess.DEVNULL,
            check=False,
        )
        report = done.stdout + done.stderr
        assert done.returncode == 0, report
        assert "# pass 1" in report and "# fail 0" in report, report

    return run


def filled(stack):
    system = stack()
    made = rows.insert_every_state(system)
    dead = made["FAILURE"]
    for attempt in (1, 2):
        rows.insert_failure(system, dead, attempt, f"error {attempt}", f"detail {attempt}")
    system.query("UPDATE jobs SET attempt = 2, worker = 'shop:1', queue = 'mail', checkpoint = %s WHERE id = %s",
                 json.dumps({"file": "customers-2026-11-23T04-30-00-berlin.csv", "row": 1_250_000}), dead)
    for number in range(120):
        rows.insert(system, "SUCCESS", task="shop.mail", age=100 + number)
    later = rows.insert(system, "PENDING", enqueued_at=None, scheduled_at="2126-01-01T00:00:00Z")
    rows.declare_task(system, "shop.mail")
    for words in (["queue", "mail", "--concurrency", "4"], ["key", "tenant:*", "--rate", "600/m"]):
        assert system.till("limit", "set", *words).returncode == 0
    report = {
        "host": "shop", "pid": 42, "started_at": "2026-01-01T00:00:00Z", "version": "1",
        "queues": ["mail"], "concurrency": 8, "busy": 1, "processed": 1234, "succeeded": 1200,
        "failed": 4, "retried": 30, "rss_bytes": 8_000_000, "beat_at": "2026-01-01T00:00:01Z",
        "state": "running", "jobs": [], "processed_by_queue": {"mail": 1234}, "loadavg": [0.5, 0.4, 0.3],
        "tasks": {"shop.mail": {"succeeded": 1200, "failed": 4, "retried": 30, "runtime_sum_us": 61_700_000}},
        "rusage": {"utime": 12.5, "stime": 3.25, "minflt": 1000, "nvcsw": 9},
        "settings": {"TILL_QUEUES": "mail", "TILL_WORKER_PREFETCH": 256, "LOG_LEVEL": "info"},
    }
    rows.report_worker(system, "shop:1", **report)
    system.start_dashboard()
    return system, {"jobs": {**made, "LATER": later}}


@pytest.mark.slow
def test_walk_from_list_to_task(stack, walk):
    system, facts = filled(stack)
    walk("walk", facts, system=system)


@pytest.mark.slow
def test_looks_light_dark_narrow_wide(stack, walk):
    system, facts = filled(stack)
    system.query("INSERT INTO schedules (name, cron, zone, task, queue, jitter_s, next_tick, next_run, source, source_hash)"
                 " VALUES ('nightly', '30 7 * * 1-5', 'Europe/Berlin', 'shop.mail', 'mail', 3600,"
                 "  '2126-11-23T06:30:00Z', '2126-11-23T07:10:10Z', 'schedules.conf', 'x')")
    for ms in (512, 498):
        rows.insert(system, "FAILURE", age=9, task="shop.mail", error=f"gateway answered after {ms} ms to 10.0.0.7:443")
    system.query("INSERT INTO schedules (name, cron, zone, task, source, source_hash, paused_at, paused_by, removed_at)"
                 " VALUES ('yearly', '0 0 1 1 *', 'UTC', 'shop.mail', 'schedules.conf', 'x', now(), 'anna', now())")
    assert system.till("schedule", "run", "nightly").returncode == 0
    chain = json.dumps({"chain": [{"task": "till.tasks.noop"}, {"task": "till.tasks.noop"}]})
    assert system.till("flow", "run", "-", "--name", "two steps", stdin=chain).returncode == 0
    (flow,) = system.query("SELECT id::text FROM flows")
    walk("looks", {**facts, "flow": flow["id"]}, system=system)


def test_hostile_texts_stay_texts(stack, walk):
    system = stack()
    jobs = rows.insert_hostile(system)
    for number, text in enumerate(rows.XSS):
        rows.report_worker(
            system, text[:60], host=text, version=text, queues=[text], state=text, pid=text,
            started_at=text, beat_at=text, busy=text, rss_bytes=text,
            jobs=[{"id": text, "task": text, "started_at": text}], loadavg=[text], rusage={"utime": text},
            tasks={text: {"succeeded": text}}, settings={text: text}, processed_by_queue={text: text},
        )
        system.query(
            "INSERT INTO tasks (name, queue, max_attempts, fast) VALUES (%s, %s, 1, false)",
            f"{number}{text}", text,
        )
        system.query(
            "INSERT INTO audit (actor, role, remote, action, target, outcome, detail)"
            " VALUES (%s, %s, %s, %s, %s, 'done', jsonb_build_object(%s::text, %s::text))", *[text] * 7,
        )
    walk("hostile", {"ids": jobs, "texts": rows.XSS, "workers": [t[:60] for t in rows.XSS]}, system=system)


def die(system, job):
    system.query("UPDATE jobs SET state = 'STARTED', attempt = 1, worker = 'w', started_at = now(), enqueued_at = now() WHERE id = %s", job)
    system.query("UPDATE jobs SET state = 'FAILURE', error = 'why', finished_at = now() WHERE id = %s", job)


def members(system, flow):
    return [row["id"] for row in system.query("SELECT id::text FROM jobs WHERE flow_id = %s ORDER BY flow_step", flow)]


def test_a_flow_says_what_holds_it_up(stack, walk):
    system = stack()
    branch = {"chain": [{"task": "b"}, {"task": "c"}]}
    task = "shop.catalogue.tasks.import_everything_that_the_wholesalers_have_at_night_and_tell_of_it"
    flow = system.value("SELECT till_chain(%s)::text", json.dumps([{"task": task}, {"group": [branch, {"task": "d"}]}]))
    dead, second, *_ = members(system, flow)
    die(system, dead)
    assert system.till("task", "retry", second).returncode == 0
    walk("stopped", {"flow": flow, "dead": dead, "task": task}, system=system)


def test_members_of_a_long_flow_are_shown_in_parts(stack, walk):
    system = stack()
    flow = system.value("SELECT till_group(%s)::text", json.dumps([{"task": "a"}] * 601))
    die(system, members(system, flow)[554])
    walk("long", {"flow": flow}, system=system)


def test_list_lives_and_tells_when_it_does_not(stack, walk):
    system = stack()
    job = rows.insert(system, "STARTED")
    system.start_dashboard()
    facts = {"job": job, "pid": system.dashboard.pid, "database": system.settings["DATABASE_URL"]}
    walk("live", facts, system=system)


def test_workers_that_cannot_be_heard_are_not_said_to_be_none(stack, walk):
    system = stack(own_redis=True)
    rows.insert(system, "STARTED", worker="shop:1")
    system.start_dashboard()
    system.redis_server.stop()
    walk("unheard", {"worker": "shop:1"}, system=system)


def test_parts_in_which_nothing_is_found_are_passed_over(stack, walk):
    system = stack()
    system.query(
        "INSERT INTO jobs (id, task, enqueued_at, scheduled_at) SELECT new_job_id(), 'shop.mail', NULL,"
        " now() + interval '1 day' + n * interval '1 ms' FROM generate_series(1, 7000) n"
    )
    rows.insert(system, "PENDING", task="shop.found", args=["needle"], enqueued_at=None, scheduled_at="2126-01-01T00:00:00Z")
    walk("further", {}, system=system)


@pytest.mark.slow
def test_the_way_back_and_other_screens(stack, walk):
    system, facts = filled(stack)
    walk("place", facts, system=system)
    walk("print", facts, system=system)
    walk("forced", facts, system=system)


@pytest.mark.slow
def test_long_lists_are_chosen_from_and_shown_in_parts(stack, walk):
    system = stack()
    for number in range(250):
        rows.report_worker(system, f"host-{number:03}:0", state="running", processed=31_234_567, succeeded=31_000_000, failed=4, retried=0,
                           busy=0, queues=["q-000"], jobs=[], beat_at="2026-01-01T00:00:00Z")
    system.query("INSERT INTO tasks (name, queue, max_attempts, fast) SELECT 'shop.mail' || n, 'q-' || lpad(n::text, 3, '0'), 5, false"
                 " FROM generate_series(0, 249) n")
    system.query("INSERT INTO schedules (name, cron, zone, task, queue, next_tick, next_run, source, source_hash)"
                 " SELECT 's-' || lpad(n::text, 3, '0'), '30 7 * * *', 'UTC', 'shop.mail', 'mail', '2126-01-01Z', '2126-01-01Z', 'x', 'x'"
                 " FROM generate_series(0, 249) n")
    walk("many", {}, system=system)


def test_empty_pages_say_what_to_do(walk):
    walk("empty", {})


def test_password_is_enough_for_all_of_it(walk):
    walk("password", {"user": "ops", "password": "s3cret"}, {"TILL_DASHBOARD_AUTH": "ops:s3cret"})


@pytest.mark.slow
def test_actions_by_mouse_and_keyboard(stack, walk):
    system = stack()
    dead = [rows.insert(system, "FAILURE", task="shop.mail", queue="mail", age=50 + n, args=["a"], kwargs={"api_key": "k-1"})
            for n in range(4)]
    rows.declare_task(system, "shop.mail")
    later = rows.insert(system, "PENDING", age=40, enqueued_at=None, scheduled_at="2126-01-01T00:00:00Z")
    running = rows.insert(system, "STARTED", age=30, task="till.tasks.sleep", worker="shop:1")
    rows.report_worker(system, "shop:1", concurrency=4, started_at="2026-01-01T00:00:00Z", beat_at="2026-01-01T00:00:00Z",
                       jobs=[{"id": running, "task": "till.tasks.sleep", "started_at": "2026-01-01T00:00:00Z"}])
    system.start_dashboard()
    walk("act", {"dead": dead, "later": later, "running": running, "database": system.settings["DATABASE_URL"]}, system=system)
    (copy,) = system.query("SELECT kwargs FROM jobs WHERE args = '[\"edited\"]'")
    assert copy["kwargs"] == {"api_key": "k-1"}
    (made,) = system.query("SELECT queue, unique_key FROM jobs WHERE args = '[\"by hand\"]'")
    assert (made["queue"], made["unique_key"]) == ("slow", "by-hand")


@pytest.mark.slow
def test_what_people_hold_stays_while_a_page_lives(stack, walk):
    system = stack()
    facts = {"database": system.settings["DATABASE_URL"],
             "chosen": rows.insert(system, "FAILURE", task="shop.chosen", age=40),
             "digits": rows.insert(system, "SUCCESS", task="shop.digits", age=35, args=[9007199254740993, 1.0, 0.5, "9007199254740993"],
                                   kwargs={"user": 9223372036854775807}),
             "running": rows.insert(system, "STARTED", task="till.tasks.sleep", age=30)}
    rows.insert(system, "FAILURE", task="shop.mail", queue="mail", age=50)
    rows.declare_task(system, "shop.digits")
    system.start_dashboard()
    for name in ("drawn", "pressed", "keyboard", "chosen", "digits", "forms"):
        walk(name, facts, system=system)
    copies = [(row["args"], row["kwargs"]) for row in system.query("SELECT args::text, kwargs::text FROM jobs WHERE task = 'shop.digits' ORDER BY id")]
    args, kwargs = '[9007199254740993, 1.0, 0.5, "9007199254740993"]', '{"user": 9223372036854775807}'
    assert copies == [(args, kwargs), (args, kwargs), ("[9007199254740995]", "{}")]


def test_a_page_tells_why_a_task_waits(stack, walk):
    system = stack()
    rows.report_worker(system, "shop:1", state="running", queues=["mail", "idle"], concurrency=4, busy=0)
    rows.report_worker(system, "shop:2", state="quiet", queues=["unread"], concurrency=4, busy=0)
    assert system.till("limit", "set", "key", "tenant:*", "--concurrency", "1").returncode == 0
    facts = {"paused": rows.insert(system, "PENDING", queue="mail"), "unread": rows.insert(system, "PENDING", queue="unread"),
             "held": rows.insert(system, "PENDING", limit_key="tenant:7", parked_on="key:tenant:7", enqueued_at=None,
                                 scheduled_at="2126-01-01T00:00:00Z")}
    rows.insert(system, "STARTED", age=3660, limit_key="tenant:7", worker="shop:1")
    rows.insert(system, "STARTED", task="shop.turned", args=["\u202egpj.exe"], worker="shop:1")
    assert system.till("queue", "pause", "mail").returncode == 0
    rows.insert(system, "SUCCESS", queue="idle")
    walk("why", facts, system=system)


def test_a_reason_leads_to_those_that_died_of_it(stack, walk):
    system = stack()
    reasons = [('no template "spring" \\ for 7', 2, "no template * \\ for *"),
               ("the gateway answered 503: (try OR leave)", 3, "the gateway answered *: (try OR leave)")]
    for reason, count, _ in reasons:
        for _ in range(count):
            rows.insert(system, "FAILURE", task="shop.mail", error=reason)
    rows.insert(system, "FAILURE", task="shop.other", error=reasons[0][0])
    walk("reason", {"reasons": reasons}, system=system)


def test_a_session_that_ends_takes_no_form_with_it(stack, walk, test_folder):
    system = stack()
    path = os.path.join(test_folder, "users")
    done = system.till("dashboard", "user", "otto", "--role", "operator", stdin="runs-the-whole-night\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write(done.stdout)
    rows.declare_task(system, "till.tasks.sleep")
    walk("session", {"user": ("otto", "runs-the-whole-night"), "database": system.settings["DATABASE_URL"]}, {"TILL_DASHBOARD_USERS": path}, system)
    made = system.query("SELECT args FROM jobs")
    assert [one["args"] for one in made] == [["half typed"]]


def test_a_login_that_no_browser_keeps_says_so(stack, walk, test_folder):
    system = stack()
    path = os.path.join(test_folder, "users")
    done = system.till("dashboard", "user", "vera", "--role", "viewer", stdin="looks-but-touches-not\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write(done.stdout)
    walk("plain", {"users": [("vera", "looks-but-touches-not")]}, {"TILL_DASHBOARD_USERS": path}, system)


@pytest.mark.slow
def test_each_role_sees_what_it_may(stack, walk, test_folder):
    system = stack()
    users = [("vera", "looks-but-touches-not", "viewer"), ("otto", "runs-the-whole-night", "operator"),
             ("anna", "owns-all-of-the-keys", "admin")]
    path = os.path.join(test_folder, "users")
    with open(path, "w", encoding="utf-8") as file:
        for name, password, role in users:
            done = system.till("dashboard", "user", name, "--role", role, stdin=password + "\n")
            assert done.returncode == 0, done.stderr
            file.write(done.stdout)
    rows.insert(system, "FAILURE", queue="mail")
    walk("roles", {"users": users}, {"TILL_DASHBOARD_USERS": path}, system)


def test_charts_show_the_minutes(stack, walk):
    system = stack()
    system.query(
        "INSERT INTO job_minutes (minute, queue, succeeded, failed, retried, waiting, wait_p50, wait_p95, run_p50, run_p95)"
        " SELECT date_trunc('minute', now()) - n * interval '1 minute', '', 120 - n, n / 10, n / 7, abs(30 - n) * 9,"
        " 0.01, 0.2 + n / 50.0, 0.4, 1.5 FROM generate_series(1, 50) n"
    )
    system.query("UPDATE job_minutes SET succeeded = 120 WHERE minute = (SELECT max(minute) FROM job_minutes)")
    system.query(
        "INSERT INTO job_minutes (minute, queue, ended, waiting, wait_p50, wait_p95, run_p50, run_p95)"
        " SELECT date_trunc('minute', now()) - n * interval '1 minute', 'mail', 41 - n, 7 - n % 7, 0.01, 0.3,"
        " 0.4, 1.5 FROM generate_series(1, 30) n"
    )
    system.query("INSERT INTO limits (scope, name, concurrency, rate, per_seconds, burst) VALUES ('queue', 'mail', 5, 10, 1, 1)")
    rows.insert(system, "PENDING", queue="quiet")
    system.start_dashboard()
    walk("charts", {}, system=system)
    walk("clock", {}, system=system)
    walk("axes", {}, system=system)
    walk("dots", {}, system=system)


def test_all_of_it_works_below_a_prefix(stack, walk):
    system = stack()
    rows.insert_every_state(system)
    walk("prefix", {}, {"PATH_PREFIX": "/jobs/till"}, system)


@pytest.mark.slow
def test_from_an_order_to_a_schedule_that_is_run_now(stack, walk, test_folder):
    path = os.path.join(test_folder, "schedules.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write("[nightly.sweep]\ncron = 30 7 * * 1-5\ntask = till.tasks.noop\n")
    system = stack(settings={"TILL_SCHEDULES_FILE": path}).start(dashboards=1)
    shop = system.shop().sign_up()
    dead = system.enqueue("till.tasks.fail", "no route to the moon", 1, max_attempts=1)
    wait_for(lambda: system.job(dead)["state"] == "FAILURE", 60)
    wait_for(lambda: system.value("SELECT next_run FROM schedules WHERE name = 'nightly.sweep'"), 60)
    walk("whole", {"api": system.api.url, "token": shop.token, "product": system.product(), "paid": PAID,
                   "reason": "no route to the moon"}, system=system)

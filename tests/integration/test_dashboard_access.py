# SPDX-License-Identifier: MIT
"""Who may do what at the dashboard, and what is written down: every row of its table of routes, by everybody.

ACTIONS tells of each path that changes something how it is asked for and what the audit log calls it; a route
without a row fails the first test. Who may is told by the table of routes alone.
"""

import json
import os
import re
import subprocess
import threading

import pytest
import requests
from browser import rows
from harness import programs
from harness.wait import wait_for

ROUTES = os.path.join(programs.ROOT, "api", "dashboard", "routes.c")
ROLES = ["viewer", "operator", "admin"]
LOGINS = {"/api/v1/login": "login", "/api/v1/logout": "logout"}  # public, and written down all the same
TABLE = "/tasks/datatable"  # reads, by POST, too
LIMIT = {"scope": "queue", "name": "mail", "concurrency": 4}


def routes():
    """[(method, pattern, scope)] as api/dashboard/routes.c has them."""
    with open(ROUTES, encoding="utf-8") as file:
        text = file.read().partition("dashboard_routes_count")[0]
    found = re.findall(r'\{"([A-Z]+)",\s+"([^"]+)",\s+SCOPE_(\w+),\s+\w+\}', text)
    assert len(found) == len(re.findall(r'^    \{"', text, re.MULTILINE)), "a row is not understood"
    return [(method, pattern, scope.lower()) for method, pattern, scope in found]


def job(state, **columns):
    return lambda system: rows.insert(system, state, task="shop.mail", queue="mail", **columns)


def named(name):
    return lambda system: name


def a_flow(system):
    flow = json.dumps({"chain": [{"task": "till.tasks.noop"}]})
    done = system.till("flow", "run", "-", "--json", stdin=flow)
    assert done.returncode == 0, done.stderr
    return system.query("SELECT id::text FROM flows ORDER BY id DESC LIMIT 1")[0]["id"]


# pattern: (what stands in the path, how it is asked for, what the log calls it)
ACTIONS = {
    "/api/v1/tasks": (job("FAILURE"), lambda it: {"json": {"action": "retry", "ids": [it]}}, "task.retry"),
    "/api/v1/tasks/<uuid>/revoke": (job("PENDING"), None, "task.revoke"),
    "/api/v1/tasks/<uuid>/terminate": (job("STARTED"), None, "task.terminate"),
    "/api/v1/tasks/<uuid>/retry": (job("FAILURE"), None, "task.retry"),
    "/api/v1/tasks/<uuid>/run": (job("PENDING", enqueued_at=None, scheduled_at="2126-01-01T00:00:00Z"), None, "task.run"),
    "/api/v1/tasks/<uuid>/replay": (job("SUCCESS"), None, "task.replay"),
    "/api/v1/tasks/<uuid>/delete": (job("FAILURE"), None, "task.delete"),
    "/api/v1/enqueue/<name>": (named("shop.mail"), lambda it: {"json": {}}, "task.enqueue"),
    "/api/v1/dead": (job("FAILURE", age=9, error="no such order"), lambda it: {"json": {
        "action": "retry", "task": "shop.mail", "reason": "no such order"}}, "task.retry"),
    "/api/v1/queues/<name>/pause": (named("mail"), None, "queue.pause"),
    "/api/v1/queues/<name>/resume": (named("mail"), None, "queue.resume"),
    "/api/v1/queues/<name>/purge": (named("mail"), None, "queue.purge"),
    "/api/v1/schedules/<name>/pause": (named("nightly"), None, "schedule.pause"),
    "/api/v1/schedules/<name>/resume": (named("nightly"), None, "schedule.resume"),
    "/api/v1/schedules/<name>/run": (named("nightly"), None, "schedule.run"),
    "/api/v1/flows/<uuid>/cancel": (a_flow, None, "flow.cancel"),
    "/api/v1/workers/<name>": (named("h:0"), lambda it: {"json": {"order": "quiet"}}, "worker.quiet"),
    "/api/v1/limits": (named(""), lambda it: {"json": LIMIT}, "limit.set"),
    "/api/v1/time-limits": (named(""), lambda it: {"json": {"task": "shop.mail", "hard": 9}}, "task.timeout"),
    "/api/task/apply/<name>": (named("shop.mail"), None, "task.enqueue"),
    "/api/task/async-apply/<name>": (named("shop.mail"), None, "task.enqueue"),
    "/api/task/send-task/<name>": (named("shop.mail"), None, "task.enqueue"),
    "/api/task/revoke/<id>": (job("PENDING"), None, "task.revoke"),
    "/api/task/abort/<id>": (job("STARTED"), None, "task.abort"),
    "/api/task/rate-limit/<name>": (named("shop.mail"), lambda it: {
        "data": {"workername": "h:0", "ratelimit": "5/s"}}, "task.rate-limit"),
    "/api/task/timeout/<name>": (named("shop.mail"), lambda it: {
        "data": {"workername": "h:0", "hard": "8"}}, "task.timeout"),
    "/api/worker/shutdown/<worker>": (named("h:0"), None, "worker.stop"),
    "/api/worker/pool/restart/<worker>": (named("h:0"), None, "worker.restart"),
    "/api/worker/pool/grow/<worker>": (named("h:0"), None, "worker.grow"),
    "/api/worker/pool/shrink/<worker>": (named("h:0"), None, "worker.shrink"),
    "/api/worker/pool/autoscale/<worker>": (named("h:0"), lambda it: {"data": {"min": 1, "max": 4}},
                                            "worker.autoscale"),
    "/api/worker/queue/add-consumer/<worker>": (named("h:0"), lambda it: {"data": {"queue": "a"}},
                                                "worker.add-consumer"),
    "/api/worker/queue/cancel-consumer/<worker>": (named("h:0"), lambda it: {"data": {"queue": "a"}},
                                                   "worker.cancel-consumer"),
}


def test_every_route_that_changes_something_has_its_row():
    changing = {pattern for method, pattern, scope in routes() if method != "GET"}
    assert changing == set(ACTIONS) | set(LOGINS) | {TABLE}
    assert {method for method, _, _ in routes()} == {"GET", "POST"}
    assert {scope for _, pattern, scope in routes() if pattern in LOGINS} == {"public"}


@pytest.fixture
def system(stack, test_folder):
    one = stack()
    lines, one.tokens = [], {}
    for role in ROLES:
        done = subprocess.run([programs.path_of("till"), "dashboard", "token", f"the-{role}", "--role", role, "--json"],
                              capture_output=True, text=True, timeout=60, check=True)
        made = json.loads(done.stdout)
        lines.append(made["line"])
        one.tokens[role] = made["token"]
    one.users = os.path.join(test_folder, "users")
    with open(one.users, "w", encoding="utf-8") as file:
        file.write("\n".join([*lines, ""]))
    rows.declare_task(one, "shop.mail")
    rows.report_worker(one, "h:0", concurrency=4)
    one.query("INSERT INTO schedules (name, cron, zone, task, source, source_hash)"
              " VALUES ('nightly', '0 3 * * *', 'UTC', 'shop.mail', 'schedules.conf', 'x')")
    one.start_dashboard(TILL_DASHBOARD_USERS=one.users)
    return one


def audit(system, after=0):
    return system.query("SELECT id, actor, role, action, target, outcome FROM audit WHERE id > %s ORDER BY id", after)


def newest_row(system):
    return system.query("SELECT coalesce(max(id), 0) AS id FROM audit")[0]["id"]


def ask(url, pattern, it, options, token=None, headers=None):
    headers = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token else {})}
    path = re.sub("<[a-z]+>", it, pattern)
    return path, requests.post(url + path, headers=headers, timeout=60, **options)


def counts(system):
    """Everything that an action could have changed."""
    return system.query("SELECT (SELECT md5(string_agg(j::text, '' ORDER BY id)) FROM jobs j) AS jobs,"
                        " (SELECT md5(string_agg(l::text, '')) FROM limits l) AS limits,"
                        " (SELECT md5(string_agg(q::text, '')) FROM queues q) AS queues,"
                        " (SELECT md5(string_agg(s::text, '')) FROM schedules s) AS schedules,"
                        " (SELECT md5(string_agg(w::text, '')) FROM worker_orders w) AS orders,"
                        " (SELECT md5(string_agg(f::text, '')) FROM flows f) AS flows")


def do(system, pattern, it, options, token):
    """The code of the answer. Who applies a task waits for its end, which comes here."""
    codes = []

    def run():
        codes.append(ask(system.dashboard.url, pattern, it, options, token)[1].status_code)

    waiting = threading.Thread(target=run)
    known = {row["id"] for row in system.query("SELECT id FROM jobs")}
    waiting.start()
    if "/task/apply/" in pattern:
        (made,) = wait_for(lambda: {row["id"] for row in system.query("SELECT id FROM jobs")} - known, 60)
        system.query("UPDATE jobs SET state = 'REVOKED', finished_at = now() WHERE id = %s", made)
    waiting.join(60)
    return codes[0]


def test_each_action_is_for_its_role_alone_and_is_written_down(system):
    """Nobody: 401. Too small a role: 403, and a row that says so. The least that may: done, with its row."""
    for method, pattern, scope in routes():
        if method != "POST" or pattern not in ACTIONS:
            continue
        make, body, action = ACTIONS[pattern]
        it = make(system)
        options = body(it) if body else {"json": {}}
        before, mark = counts(system), newest_row(system)
        assert ask(system.dashboard.url, pattern, it, options)[1].status_code == 401, pattern
        assert not audit(system, mark), pattern
        for role in ROLES[:ROLES.index(scope)]:
            path, answer = ask(system.dashboard.url, pattern, it, options, system.tokens[role])
            assert answer.status_code == 403, (pattern, role, answer.text)
            (row,) = audit(system, mark)
            assert (row["actor"], row["role"], row["target"], row["outcome"]) == (
                f"the-{role}", role, path, "refused")
            mark = row["id"]
        cross = ask(system.dashboard.url, pattern, it, options, system.tokens["admin"], {"Sec-Fetch-Site": "cross-site"})
        assert cross[1].status_code == 403 and not audit(system, mark) and counts(system) == before, pattern
        assert do(system, pattern, it, options, system.tokens[scope]) in (200, 201), pattern
        (row,) = audit(system, mark)
        assert (row["actor"], row["role"], row["action"], row["outcome"]) == (f"the-{scope}", scope, action, "done")
        assert row["target"], pattern


def test_a_choice_within_an_action_may_need_more(system):
    """Deleting some is for admins, on the same path as retrying them."""
    dead = rows.insert(system, "FAILURE", age=9, task="shop.mail", error="no such order")
    for pattern, body in (("/api/v1/tasks", {"action": "delete", "ids": [dead]}),
                          ("/api/v1/dead", {"action": "delete", "task": "shop.mail", "reason": "no such order"})):
        mark = newest_row(system)
        assert ask(system.dashboard.url, pattern, "", {"json": body}, system.tokens["operator"])[1].status_code == 403
        (row,) = audit(system, mark)
        assert (row["actor"], row["target"], row["outcome"]) == ("the-operator", pattern, "refused")
    assert system.job(dead)["state"] == "FAILURE"


def test_read_only_does_nothing_of_it_for_anybody(system):
    fixed = system.start_dashboard(TILL_DASHBOARD_USERS=system.users, TILL_DASHBOARD_READ_ONLY=1)
    made = {pattern: make(system) for pattern, (make, _, _) in ACTIONS.items()}
    before, mark = counts(system), newest_row(system)
    for pattern, (_, body, _) in ACTIONS.items():
        options = body(made[pattern]) if body else {"json": {}}
        _, answer = ask(fixed.url, pattern, made[pattern], options, system.tokens["admin"])
        assert answer.status_code == 403 and "read-only" in answer.text, pattern
    assert counts(system) == before and not audit(system, mark)


def test_what_is_read_is_for_those_who_are_known_and_changes_nothing(system):
    """Closed by default: each GET but those that are public by the table."""
    id_of = {"<uuid>": rows.insert(system, "FAILURE", task="shop.mail"), "<worker>": "h:0", "<file>": "style.css"}
    id_of["<id>"] = id_of["<uuid>"]
    before, mark = counts(system), newest_row(system)
    public = set()
    for method, pattern, scope in routes():
        if method != "GET" and pattern != TABLE:
            continue
        path = re.sub("<[a-z]+>", lambda found: id_of.get(found[0], "mail"), pattern)
        codes = [requests.request(method, system.dashboard.url + path, timeout=60, headers=headers).status_code
                 for headers in ({}, {"Authorization": "Bearer x"},
                                 {"Authorization": f"Bearer {system.tokens['viewer']}"})]
        if scope == "public":
            public.add(pattern)
        else:
            assert scope == "viewer" and codes[:2] == [401, 401] and codes[2] not in (401, 403), (pattern, codes)
    assert public == {"/static/<file>", "/login", "/metrics", "/healthcheck", "/healthz", "/readyz"}
    assert counts(system) == before and not audit(system, mark)


def test_logins_are_written_down(system):
    done = subprocess.run([programs.path_of("till"), "dashboard", "user", "vera", "--role", "viewer", "--json"],
                          input="looks-but-touches-not\n", capture_output=True, text=True, timeout=60, check=True)
    with open(system.users, "a", encoding="utf-8") as file:
        file.write(json.loads(done.stdout)["line"] + "\n")
    url = system.start_dashboard(TILL_DASHBOARD_USERS=system.users).url
    wrong = requests.post(url + "/api/v1/login", json={"username": "vera", "password": "x"}, timeout=60)
    assert wrong.status_code == 401
    answer = requests.post(url + "/api/v1/login", timeout=60,
                           json={"username": "vera", "password": "looks-but-touches-not"})
    assert answer.status_code == 200, answer.text
    cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    assert requests.get(url + "/api/v1/me", headers=cookie, timeout=60).status_code == 200
    for _ in range(2):  # the second time nobody is logged in any more
        assert requests.post(url + "/api/v1/logout", headers=cookie, timeout=60).status_code == 200
    assert requests.get(url + "/api/v1/me", headers=cookie, timeout=60).status_code == 401
    assert [(row["actor"], row["role"], row["action"], row["outcome"]) for row in audit(system)] == [
        ("vera", "none", "login", "refused"), ("vera", "viewer", "login", "done"), ("vera", "viewer", "logout", "done")]


def test_nothing_is_done_that_cannot_be_written_down(system):
    for number, pattern in enumerate(("/api/v1/tasks", "/api/v1/tasks/<uuid>/retry", "/api/v1/tasks/<uuid>/revoke",
                                      "/api/v1/schedules/<name>/run", "/api/v1/schedules/<name>/pause",
                                      "/api/task/send-task/<name>")):
        make, body, action = ACTIONS[pattern]
        it = make(system)
        system.query(f"ALTER TABLE audit ADD CONSTRAINT none_{number} CHECK (action <> '{action}') NOT VALID")
        before = counts(system)
        _, answer = ask(system.dashboard.url, pattern, it, body(it) if body else {"json": {}}, system.tokens["admin"])
        assert answer.status_code >= 400 and counts(system) == before, pattern

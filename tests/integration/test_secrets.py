# SPDX-License-Identifier: MIT
"""Secrets by declaration of the task: nobody sees them, wherever a job is shown, and nobody finds them."""

import json

import psycopg2.extras
import pytest
import requests
from browser import rows
from harness.wait import wait_for

# Values that stand under a declared name, as they are; each is looked for in every answer.
CORPUS = [
    "tiger-striped-umbrella",
    "Straße/ünïcode \"quoted\" \\back",
    "line one\nline two",
    "a+b=c&d e%20f",
    "<script>alert('x')</script>",
    "9f86d081884c7d659a2feaa0c55ad015",
    "qz1",  # short, and no part of an id
    "🔑 under the mat",
    "x" * 5000,
]
NAMES = ["iban", "2", "deep_word"]


@pytest.fixture
def system(stack):
    one = stack()
    one.start_dashboard()
    return one


def get(system, path, expect=200, **options):
    answer = requests.get(system.dashboard.url + path, timeout=30, **options)
    assert answer.status_code == expect, f"{path}: {answer.status_code} {answer.text}"
    return answer


def forms(secret):
    """As it looks in JSON of either kind, and in a URL."""
    return {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1],
            json.dumps(json.dumps(secret, ensure_ascii=False)[1:-1], ensure_ascii=False)[1:-1],
            requests.utils.quote(secret, safe="")}


def assert_hidden(text, secret, where):
    for form in forms(secret):
        assert form not in text, f"{form[:80]} in {where}"


def insert(system, secret, **columns):
    job = rows.insert(
        system, "FAILURE", task="elsewhere.transfer", worker="host:0",
        args=["plain", 17, secret], kwargs={"IBAN": secret, "deep": [{"deep_word": {"a": [secret]}}], "note": f"for {secret}."},
        result=psycopg2.extras.Json({"echo": f"<{secret}>", secret: 1}), error=f"refused: {secret} is unknown",
        headers=psycopg2.extras.Json({"x-seen": f"it is {secret}"[:900].replace("\n", " ")}), **columns)
    rows.insert_failure(system, job, 1, f"POST /{requests.utils.quote(secret, safe='')} failed",
                        f"body {json.dumps({'v': secret}, ensure_ascii=False)}")
    system.query("INSERT INTO job_logs (job_id, attempt, at, level, line) VALUES (%s, 1, now(), 1, %s)",
                 job, f"sending {secret} to the bank")
    system.query("INSERT INTO job_progress VALUES (%s, 1, 1, 2, %s, now())", job, f"at {secret}")
    return job


def test_corpus_is_hidden_everywhere(system):
    assert system.till("task", "secrets", "elsewhere.transfer", *NAMES).returncode == 0
    jobs = {insert(system, secret): secret for secret in CORPUS}
    pages = {path: get(system, path).text for path in (
        "/api/v1/tasks", "/api/v1/dead", "/api/v1/audit", "/api/tasks", "/api/v1/tasks?state=FAILURE&limit=9")}
    pages |= {f"till task {' '.join(words)}": till_task(system, *words) for words in (["list"], ["list", "--json"])}
    for job, secret in jobs.items():
        own = {path: get(system, path).text for path in (
            f"/api/v1/tasks/{job}", f"/api/v1/tasks/{job}/logs", f"/api/task/info/{job}", f"/api/task/result/{job}")}
        own |= {f"till task {' '.join(words)}": till_task(system, *words)
                for words in (["show", job], ["show", job, "--json"], ["logs", job])}
        for where, text in (pages | own).items():
            assert_hidden(text, secret, where)
        shown = json.loads(own[f"/api/v1/tasks/{job}"])
        assert shown["args"] == ["plain", 17, "[redacted]"] and shown["kwargs"]["IBAN"] == "[redacted]"
        assert shown["kwargs"]["note"] == "for [redacted]." and shown["error"] == "refused: [redacted] is unknown"


def till_task(system, *words):
    done = system.till("task", *words)
    assert done.returncode == 0 and "redacted" in done.stdout
    return done.stdout


# Args with a secret that no list shows, since they are too long; or that nobody can read at all.
LONG = {
    "more than a list shows": [["x" * 5000], "none", CORPUS[0]],
    "more than is searched": [["x" * 70000], "none", CORPUS[0]],
    "more than is read": [["x" * 1100000], "none", CORPUS[0]],
    "too deep": [json.loads("[" * 40 + "]" * 40), "none", CORPUS[0]],
    "a number beyond those of C": [10 ** 30, "none", CORPUS[0]],
}


def test_values_too_long_to_be_shown_tell_no_secrets(system):
    """The error repeats what stands in them: hidden in lists, in what is found, and in the index."""
    system.till("task", "secrets", "elsewhere.transfer", *NAMES)
    jobs = {}
    for i, (name, args) in enumerate(LONG.items()):
        for where in ({"args": args}, {"kwargs": {"deep": args[:2], "deep_word": args[2]}}):
            job = rows.insert(system, "FAILURE", task="elsewhere.transfer", age=7200 + i,
                              error=f"no {CORPUS[0]} on the shelf", **where)
            jobs[job] = name
    guessed = rows.insert(system, "FAILURE", task="elsewhere.other", age=7200,
                          kwargs={"password": CORPUS[0], "blob": "y" * 6000}, error=f"no {CORPUS[0]} on the shelf")

    def look():
        for path in ["/api/v1/tasks", "/api/tasks", "/api/v1/tasks?search=shelf", "/api/v1/dead"]:
            assert_hidden(get(system, path).text, CORPUS[0], path)
        for words in ("umbrella", CORPUS[0], "error:umbrella", "args:umbrella", "shelf umbrella"):
            assert get(system, "/api/v1/tasks", params={"search": words}).json()["ids"] == [], words
        assert guessed in get(system, "/api/v1/tasks", params={"search": "shelf"}).json()["ids"]

    look()
    for job, name in jobs.items():
        for path in (f"/api/v1/tasks/{job}", f"/api/task/info/{job}"):
            assert_hidden(get(system, path).text, CORPUS[0], f"{path}: {name}")
        assert_hidden(till_task(system, "show", job), CORPUS[0], name)
    assert_hidden(till_task(system, "list"), CORPUS[0], "till task list")
    fill_index(system)
    look()
    system.query("UPDATE jobs SET args = '[]', kwargs = '{}'")  # what is indexed is no secret, so nothing comes to light
    assert get(system, "/api/v1/tasks", params={"search": "error:umbrella"}).json()["ids"] == []


def fill_index(system):
    system.query(
        "INSERT INTO jobs (id, task, state, attempt, finished_at, created_at) SELECT (lpad(to_hex((extract(epoch FROM"
        " now() - interval '1 hour') * 1000)::bigint + n), 12, '0') || '7' || substr(md5(n::text), 1, 19))::uuid,"
        " 'till.tasks.noop', 'SUCCESS', 1, now(), now() - interval '1 hour' FROM generate_series(1, 1200) n")
    system.start_scheduler()
    wait_for(lambda: system.query("SELECT 1 FROM job_segments"), 60, "the index")


def test_a_secret_cannot_be_found(system):
    """Neither among the newest jobs nor in the index, alone nor as a test of what else is found."""
    secret = CORPUS[0]
    system.till("task", "secrets", "elsewhere.transfer", *NAMES)
    job = insert(system, secret, age=7200)
    for i in range(3):
        insert(system, secret, age=7300 + i)

    def look():
        for words in (secret, f"args:{secret}", f"kwargs:IBAN={secret}", f"kwargs:note={secret}", f"error:{secret}",
                      f"result:{secret}", f'"refused: {secret}"', "umbrella", "triped-umb"):
            for limit in (1, 50):
                page = get(system, "/api/v1/tasks", params={"search": words, "limit": limit}).json()
                assert page["tasks"] == [] and page["next"] is None, words
            assert get(system, "/api/tasks", params={"search": words, "sort_by": "name", "limit": 1}).json() == {}
        assert len(get(system, "/api/v1/tasks", params={"search": "refused plain"}).json()["tasks"]) == 4
        assert job in get(system, "/api/tasks", params={"search": "name:transfer"}).json()

    look()
    fill_index(system)
    look()


def test_declared_later_hides_what_the_index_holds(system):
    job = insert(system, "tiger-striped-umbrella")
    assert get(system, "/api/v1/tasks", params={"search": "umbrella"}).json()["ids"] == [job]
    system.till("task", "secrets", "*", *NAMES)
    assert get(system, "/api/v1/tasks", params={"search": "umbrella"}).json()["ids"] == []
    listed = system.till("task", "secrets", "--json")
    assert json.loads(listed.stdout) == {"task": "*", "secrets": NAMES}
    assert system.till("task", "secrets", "*", "--none").returncode == 0
    assert get(system, "/api/v1/tasks", params={"search": "umbrella"}).json()["ids"] == [job]


@pytest.mark.parametrize("words", [["a b", "x"], ["elsewhere.x"], ["elsewhere.x", "--none", "y"], ["--none"],
                                   ["elsewhere.x", "n" * 101]])
def test_nonsense_declares_nothing(system, words):
    assert system.till("task", "secrets", *words).returncode == 2
    assert system.till("task", "secrets").stdout == ""


def test_replay_keeps_them_on_the_server(system):
    system.till("task", "secrets", "elsewhere.transfer", *NAMES)
    job = insert(system, "tiger-striped-umbrella")
    shown = get(system, f"/api/v1/tasks/{job}").json()
    answer = requests.post(f"{system.dashboard.url}/api/v1/tasks/{job}/replay", timeout=20,
                           json={"args": ["changed", *shown["args"][1:]], "kwargs": shown["kwargs"]})
    assert answer.status_code == 201, answer.text
    (copy,) = system.query("SELECT args, kwargs FROM jobs WHERE id = %s", answer.json()["id"])
    assert copy["args"] == ["changed", 17, "tiger-striped-umbrella"]
    assert copy["kwargs"]["IBAN"] == "tiger-striped-umbrella" and copy["kwargs"]["note"] == "for tiger-striped-umbrella."
    assert_hidden(get(system, "/api/v1/audit").text, "tiger-striped-umbrella", "the audit log")
    moved = {"args": ["[redacted]", 17], "kwargs": {}}
    refused = requests.post(f"{system.dashboard.url}/api/v1/tasks/{job}/replay", timeout=20, json=moved)
    assert refused.status_code == 400 and "umbrella" not in refused.text


def test_dead_groups_are_called_by_a_job(system):
    system.till("task", "secrets", "elsewhere.transfer", *NAMES)
    job = insert(system, "tiger-striped-umbrella", age=9)
    (group,) = get(system, "/api/v1/dead").json()["groups"]
    assert group["shown"] == "refused: [redacted] is unknown" and group["reason"] == f"of:{job}"
    body = {"action": "retry", "task": group["task"], "reason": group["reason"]}
    answer = requests.post(f"{system.dashboard.url}/api/v1/dead", timeout=20, json=body)
    assert answer.status_code == 200 and answer.json()["changed"] == 1, answer.text
    assert_hidden(get(system, "/api/v1/audit").text, "tiger-striped-umbrella", "the audit log")


def test_a_group_that_hides_its_reason_is_changed_to_its_end(system):
    """It is called by one of its jobs, which is changed like the others, and in several batches."""
    system.till("task", "secrets", "elsewhere.transfer", *NAMES)
    system.query(
        "INSERT INTO jobs (task, state, attempt, error, kwargs, finished_at) SELECT 'elsewhere.transfer', 'FAILURE', 1,"
        " 'refused: tiger-striped-umbrella', '{\"iban\": \"tiger-striped-umbrella\"}', now() - interval '1 s' * (n % 7)"
        " FROM generate_series(1, 1201) n")
    (group,) = get(system, "/api/v1/dead").json()["groups"]
    body = {"action": "retry", "task": group["task"], "reason": group["reason"]}
    url = f"{system.dashboard.url}/api/v1/dead"
    assert group["reason"].startswith("of:") and group["count"] == 1201
    assert requests.post(url, timeout=20, json=body | {"cursor": "1.x"}).status_code == 400
    assert requests.post(url, timeout=20, json=body | {"task": "elsewhere.other"}).status_code == 404
    answer = requests.post(url, timeout=60, json=body)
    assert answer.status_code == 200, answer.text
    changed, done = answer.json()["changed"], answer.json()
    while "next" in done:  # a slow machine needs several requests
        done = requests.post(url, timeout=60, json=body | {"cursor": done["next"]}).json()
        changed += done["changed"]
    assert changed == 1201 and get(system, "/api/v1/dead").json()["groups"] == []
    assert requests.post(url, timeout=20, json=body).status_code == 404
    assert_hidden(get(system, "/api/v1/audit").text, "tiger-striped-umbrella", "the audit log")


def test_reports_of_workers_hide_what_people_declare(stack):
    system = stack({"TILL_WORKER_PROCESSES": 1}).start(apis=0, dashboards=1)
    system.wait_job(system.enqueue("till.tasks.fail"), "RETRY", "FAILURE", timeout=60)

    def last_errors():
        return [worker["last_error"]["error"] for worker in get(system, "/api/v1/workers").json()["workers"]
                if worker.get("last_error")]

    wait_for(last_errors, 60, "the report of the error")
    assert "[redacted]" not in last_errors()
    system.till("task", "secrets", "till.tasks.fail", "0")
    assert last_errors() == ["[redacted]"]
    (listed,) = map(json.loads, system.till("worker", "list", "--json").stdout.splitlines())
    assert listed["report"]["last_error"]["error"] == "[redacted]"


def test_workers_tell_what_their_tasks_declare(stack):
    system = stack({"TILL_WORKER_PROCESSES": 1}).start(apis=0, dashboards=1)
    done = system.till("enqueue", "till.tasks.echo", '["say tiger-striped-umbrella"]', "--kwargs",
                       '{"hidden": "tiger-striped-umbrella"}')
    job = json.loads(system.till("task", "list", "--json").stdout)["id"]
    assert done.returncode == 0
    wait_for(lambda: system.query("SELECT 1 FROM jobs WHERE state = 'SUCCESS'"), 60, "the job")
    shown = get(system, f"/api/v1/tasks/{job}").json()
    assert shown["kwargs"] == {"hidden": "[redacted]"} and shown["args"] == ["say [redacted]"]
    assert shown["result"]["args"] == ["say [redacted]"]


def test_schedules_hide_them_too(stack, test_folder):
    path = f"{test_folder}/schedules.conf"
    with open(path, "w") as file:
        file.write('[nightly]\ncron = 0 3 * * *\ntask = elsewhere.transfer\nkwargs = {"iban": "tiger-striped-umbrella"}\n')
    system = stack({"TILL_SCHEDULES_FILE": path}).start(apis=0, workers=0, dashboards=1)
    system.till("task", "secrets", "elsewhere.transfer", *NAMES)
    wait_for(lambda: system.query("SELECT 1 FROM schedules"), 60, "the schedule")
    for text in (get(system, "/api/v1/schedules").text, get(system, "/api/v1/schedules/nightly").text,
                 system.till("schedule", "list", "--json").stdout):
        assert "umbrella" not in text and "[redacted]" in text


def test_what_was_declared_is_told(system):
    declared = system.till("task", "secrets", "elsewhere.transfer", *NAMES, "--json")
    taken_back = system.till("task", "secrets", "elsewhere.transfer", "--none", "--json")

    assert json.loads(declared.stdout) == {"task": "elsewhere.transfer", "secrets": NAMES}
    assert json.loads(taken_back.stdout) == {"task": "elsewhere.transfer", "secrets": None}

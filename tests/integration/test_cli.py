"""The command line program `till`."""

import datetime
import json
import os
import re
import subprocess
import uuid

import pytest
from browser import rows
from harness import programs


def test_enqueue_prints_the_id_of_a_job_that_is_in_its_stream(stack):
    one = stack()

    done = one.till("enqueue", "till.tasks.noop", "[1]")

    assert done.returncode == 0, done.stderr
    job = one.job(done.stdout.strip())
    assert (job["task"], job["args"], job["state"]) == ("till.tasks.noop", [1], "PENDING")
    assert one.redis.xlen("till:{default}:normal") == 1


def test_enqueue_takes_queue_priority_attempts_and_id(stack):
    one = stack()
    wanted = str(uuid.uuid4())

    made = one.enqueue(
        "any.task", queue="mail", priority="high", max_attempts=3, id=wanted, kwargs='{"a": 1}'
    )

    job = one.job(wanted)
    assert made == wanted
    assert (job["queue"], job["priority"], job["max_attempts"]) == ("mail", 0, 3)
    assert job["kwargs"] == {"a": 1}
    assert one.redis.xlen("till:{mail}:high") == 1


def test_enqueue_many_at_once(stack):
    one = stack()

    ids = one.enqueue("till.tasks.noop", count=1200)

    assert len(set(ids)) == 1200
    assert one.value("SELECT count(*) FROM jobs") == 1200
    assert one.redis.xlen("till:{default}:normal") == 1200


def test_a_job_for_later_is_in_no_stream_yet(stack):
    one = stack()

    job = one.job(one.enqueue("till.tasks.noop", countdown=3600))

    assert job["enqueued_at"] is None
    assert 3500 < (job["scheduled_at"] - job["created_at"]).total_seconds() < 3700
    assert one.redis.xlen("till:{default}:normal") == 0


def test_enqueue_without_redis_still_accepts_the_job(stack):
    one = stack()
    one.settings["REDIS_URL"] = "unix:///nowhere/redis.sock"

    done = one.till("enqueue", "till.tasks.noop")

    assert done.returncode == 0, done.stderr
    assert one.job(done.stdout.strip())["state"] == "PENDING"


@pytest.mark.parametrize(
    "words",
    [
        ["enqueue"],
        ["enqueue", "till.tasks.noop", "[]", "extra"],
        ["enqueue", "till.tasks.noop", "--count", "0"],
        ["enqueue", "till.tasks.noop", "--priority", "urgent"],
        ["enqueue", "till.tasks.noop", "--eta", "tomorrow"],
        ["enqueue", "till.tasks.noop", "--eta", "2030-01-01T00:00:00Z", "--countdown", "1"],
        ["enqueue", "till.tasks.noop", "--id", "42"],
        ["nonsense"],
        [],
    ],
)
def test_wrong_usage_is_exit_code_2_and_adds_nothing(stack, words):
    one = stack()

    done = one.till(*words)

    assert done.returncode == 2
    assert done.stderr
    assert one.value("SELECT count(*) FROM jobs") == 0


@pytest.mark.parametrize(
    "words",
    [
        ["bad task name"],
        ["till.tasks.noop", "{}"],
        ["till.tasks.noop", "[1"],
        ["till.tasks.noop", "[]", "--kwargs", "[]"],
        ["till.tasks.noop", "[]", "--queue", "a b"],
    ],
)
def test_a_job_that_cannot_be_is_refused(stack, words):
    one = stack()

    done = one.till("enqueue", *words)

    assert done.returncode in (1, 2)
    assert done.stderr.startswith("till: ")
    assert one.value("SELECT count(*) FROM jobs") == 0


def test_a_user_is_created_with_a_password_from_stdin(stack):
    one = stack()

    done = one.till(
        "user", "create", "--username", "rosa", "--email", "rosa@example.com", "--staff",
        stdin="a-long-and-quiet-river\n",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    row = one.query("SELECT username, email, is_staff, password_hash FROM users")[0]
    assert (row["username"], row["email"], row["is_staff"]) == ("rosa", "rosa@example.com", True)
    assert row["password_hash"].startswith("$argon2id$")
    assert "river" not in row["password_hash"]


def test_a_user_with_a_taken_name_or_a_weak_password_is_refused(stack):
    one = stack()
    words = ["user", "create", "--username", "rosa", "--email", "rosa@example.com"]

    assert one.till(*words, stdin="12345678\n").returncode != 0
    assert one.value("SELECT count(*) FROM users") == 0
    assert one.till(*words, stdin="a-long-and-quiet-river\n").returncode == 0
    assert one.till(*words, stdin="a-long-and-quiet-river\n").returncode == 1


@pytest.mark.parametrize(
    "words, password",
    [
        (["--username", ""], None),
        (["--username", " rosa"], None),
        (["--username", "rosa\nluxemburg"], None),
        (["--username", "rosa\udcff"], None),
        (["--username", "x" * 151], None),
        (["--first-name", "x" * 151], None),
        (["--last-name", "x" * 151], None),
        (["--email", "rosa"], None),
        (["--email", " rosa@example.com"], None),
        (["--email", "rosa@example.com\nBcc: all@example.com"], None),
        (["--email", "x" * 60 + "@" + "y." * 100 + "example.com"], None),
        ([], "a-long-and-quiet-river-" * 6),
        ([], "\ufeffa-long-and-quiet-river"),
        ([], "a-long-and-quiet-river-" * 60),
    ],
)
def test_a_user_who_could_not_log_in_is_not_made_and_no_hash_is_shown(stack, words, password):
    one = stack()
    given = {"--username": "rosa", "--email": "rosa@example.com"}
    given.update(dict(zip(words[::2], words[1::2])))

    done = one.till(
        "user", "create", *(word for pair in given.items() for word in pair),
        stdin=(password or "a-long-and-quiet-river") + "\n",
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr.startswith("till: ")
    assert "argon2" not in done.stderr
    assert one.value("SELECT count(*) FROM users") == 0


def test_settings_prints_a_file_that_every_program_accepts(stack, tmp_path):
    one = stack()
    file = tmp_path / "till.env"

    done = one.till("settings")
    file.write_text(done.stdout)

    assert done.returncode == 0
    assert "TILL_LEASE_SECONDS=30" in done.stdout
    assert one.till("settings", "--config", str(file)).returncode == 0
    told = [json.loads(line) for line in one.till("settings", "--json").stdout.splitlines()]
    assert [f"{each['name']}={each['default'] or ''}" for each in told] == done.stdout.splitlines()
    assert {each["name"] for each in told if each["secret"]} >= {"JWT_SECRET", "GATEWAY_SECRET_KEY"}
    assert all(each["help"] for each in told)


def test_json_output_is_json(stack):
    done = stack().till("enqueue", "till.tasks.noop", "--count", "3", "--json")

    assert [set(json.loads(line)) for line in done.stdout.splitlines()] == [{"id"}] * 3


def verbs():
    """Every verb, "task list", as the help page has them."""
    page = programs.run("till", {}, "--help").stdout.partition("Exit codes")[0]
    lines = re.findall(r"^  till ([a-z-]+(?: [a-z-]+)?)", page, re.M)
    assert len(lines) > 40
    return [line.split() for line in lines]


def test_each_verb_has_a_page_and_refuses_what_it_does_not_know():
    nowhere = {"DATABASE_URL": "postgresql:///x?host=/nowhere", "REDIS_URL": "unix:///nowhere/redis.sock"}
    for verb in verbs():
        page = programs.run("till", {}, *verb, "--help")
        assert page.returncode == 0 and page.stdout.startswith(f"till {' '.join(verb)} "), verb
        assert programs.run("till", {}, "help", *verb).stdout == page.stdout
        refused = programs.run("till", nowhere, *verb, "--no-such-option")
        assert refused.returncode == 2 and refused.stderr.startswith("till: "), verb
        assert refused.stdout == "", verb


@pytest.mark.parametrize("words, text", [
    ((), "till VERB"),
    (("nonsense",), 'unknown verb "nonsense"'),
    (("task",), '"task" needs one of list, show, '),
    (("task", "nonsense"), 'there is no "task nonsense"; task takes list, show, '),
    (("limit", "--json"), '"limit" needs one of list, set, delete'),
])
def test_half_a_verb_is_told_what_it_lacks(words, text):
    done = programs.run("till", {}, *words)
    assert done.returncode == 2 and text in done.stderr and done.stdout == ""
    if words == ("task",):
        pages = programs.run("till", {}, "help", "task").stdout
        assert "till task list" in pages and "till task revoke" in pages and "till queue" not in pages


@pytest.mark.parametrize("words", [("help", "nonsense"), ("nonsense", "--help")])
def test_there_is_no_help_page_for_what_is_no_verb(words):
    done = programs.run("till", {}, *words)
    assert done.returncode == 2 and 'unknown verb "nonsense"' in done.stderr and done.stdout == ""


def test_history_of_a_schedule_that_never_was(stack):
    done = stack().till("schedule", "history", "nobody")
    assert done.returncode == 1 and 'there is no schedule "nobody"' in done.stderr


def test_bench_measures_what_runs(stack):
    one = stack().start(apis=0)
    done = one.till("bench", "--count", "2000", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert all(figures[name] > 0 for name in ("durable_enqueued", "durable_ended", "fast_enqueued", "fast_ended"))
    for name in ("start_us", "end_us"):
        assert 0 < figures[name][0] <= figures[name][1] <= figures[name][2]
    states = one.query("SELECT state::text, count(*)::int FROM jobs WHERE task = 'till.tasks.noop' GROUP BY 1")
    assert states == [{"state": "SUCCESS", "count": 2100}]
    shown = one.till("bench", "--count", "100")
    assert shown.returncode == 0 and "durable (with a row)" in shown.stdout


def test_bench_without_workers_says_what_to_look_at(stack):
    done = stack().till("bench", "--count", "10", "--timeout", "1")
    assert done.returncode == 1 and done.stdout == ""
    assert 'queue "default"' in done.stderr and "till worker list" in done.stderr


ODD = "red \x1b[31m\r bell \x07 csi \x9b2J nel \x85 del \x7f but ü – \xa0 €"
SHOWN = "red \\u001b[31m\\u000d bell \\u0007 csi \\u009b2J nel \\u0085 del \\u007f but ü – \xa0 €"


def texts(value):
    """All strings in some JSON."""
    if isinstance(value, str):
        return [value]
    return [text for one in (value.values() if isinstance(value, dict) else value if isinstance(value, list) else [])
            for text in texts(one)]


def test_control_characters_of_a_job_do_not_reach_the_terminal(stack):
    """Whoever wrote them: a producer or worker in another language writes the row itself."""
    one = stack()
    job = one.value(
        "INSERT INTO jobs (task, state, attempt, args, error, worker, finished_at)"
        " VALUES ('shop.odd', 'FAILURE', 1, to_jsonb(ARRAY[%s]), %s, %s, now()) RETURNING id::text", ODD, ODD, ODD)
    one.query("INSERT INTO job_logs (job_id, attempt, at, level, line) VALUES (%s, 1, now(), 1, %s)", job, ODD)
    for words in (["task", "list"], ["task", "show", job], ["task", "logs", job], ["dead", "list"]):
        for form in ([], ["--json"]):
            done = one.till(*words, *form)
            assert done.returncode == 0, done.stderr
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", done.stdout), (words, form, done.stdout)
            if form:
                assert any(ODD in texts(json.loads(line)) for line in done.stdout.splitlines()), (words, done.stdout)
            else:
                assert SHOWN in done.stdout, (words, done.stdout)


def test_jobs_are_listed_by_due_time_by_running_time_and_by_words(stack):
    one = stack()
    later, soon = (one.till("enqueue", "till.tasks.noop", f'["{word}"]', "--countdown", str(seconds)).stdout.strip()
                   for word, seconds in (("express", 7200), ("slow", 600)))
    ready = one.till("enqueue", "till.tasks.noop", '["express"]').stdout.strip()
    for job, seconds in ((fast := rows.insert(one, "SUCCESS"), 1), (slow := rows.insert(one, "SUCCESS"), 9)):
        one.query("ALTER TABLE jobs DISABLE TRIGGER USER")
        one.query("UPDATE jobs SET finished_at = started_at + make_interval(secs => %s) WHERE id = %s", seconds, job)

    def listed(*words):
        done = one.till("task", "list", *words)
        assert done.returncode == 0, done.stderr
        return [line.split()[0] for line in done.stdout.splitlines() if len(line.split()[0]) == 36], done.stdout

    ids, text = listed("--order", "due")
    assert ids == [soon, later] and "  due 20" in text
    assert listed("--order", "due", "--search", "express")[0] == [later]
    assert listed("--search", "express")[0] == [ready, later]
    assert listed("--search", soon[:20])[0][-1] == soon
    hour = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).isoformat()
    assert listed("--due-from", hour)[0] == [later] and listed("--due-to", hour)[0] == [soon]
    ids, text = listed("--order", "slowest", "--state", "SUCCESS")
    assert ids == [slow, fast] and "  ran 9.000 s" in text and "among the newest" in text
    for order, first, second in (("due", soon, later), ("slowest", slow, fast)):
        ids, text = listed("--order", order, "--limit", "1")
        assert ids == [first]
        assert listed("--order", order, "--limit", "1", "--after", text.rsplit(" ", 1)[1].strip())[0] == [second]
    for words in (["--order", "random"], ["--due-to", "soon"], ["--search", "((("], ["--order", "oldest", "--after", "+1"]):
        assert one.till("task", "list", *words).returncode == 2, words


def test_output_that_gets_lost_is_no_success(stack):
    one = stack()
    for words in (["enqueue", "till.tasks.noop"], ["task", "list"], ["queue", "--help"], ["--version"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [programs.path_of("till"), *words], env=programs.environment(one.settings),
                stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            )  # fmt: skip
        assert done.returncode == 1 and "standard output could not be written" in done.stderr, words
    assert one.value("SELECT count(*) FROM jobs") == 1


def test_a_reader_that_has_seen_enough_is_no_failure():
    with subprocess.Popen(
        [programs.path_of("till"), "cron", "next", "* * * * *", "--count", "10000"],
        env=programs.environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_a_missing_address_of_the_database_is_named():
    done = programs.run("till", {}, "task", "list")
    assert done.returncode == 2 and "setting DATABASE_URL is missing" in done.stderr


def test_a_database_without_the_tables_says_what_to_do(empty_database_url):
    for words in (["enqueue", "till.tasks.noop"], ["task", "list"], ["queue", "list"], ["schedule", "list"]):
        done = programs.run("till", {"DATABASE_URL": empty_database_url}, *words)
        assert done.returncode == 1 and '"till migrate"' in done.stderr, words


def test_a_database_that_takes_no_writes_says_what_to_do(stack):
    one = stack()
    name = one.value("SELECT current_database()")
    one.query(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')

    done = one.till("enqueue", "till.tasks.noop")

    assert done.returncode == 1 and "DATABASE_URL must name the primary" in done.stderr


def test_an_empty_text_of_errors_deletes_nothing(stack):
    one = stack()
    one.query("INSERT INTO jobs (task, state, attempt, finished_at, error) VALUES ('a', 'FAILURE', 1, now(), 'x')")

    for verb in ("delete", "retry"):
        done = one.till("dead", verb, "--error", "")
        assert done.returncode == 2 and "--error" in done.stderr

    assert one.value("SELECT count(*) FROM jobs WHERE state = 'FAILURE'") == 1


@pytest.mark.parametrize(
    "args, why",
    [
        ("[1", "line 1 column 2"),
        ("[99999999999999999999]", "too big integer"),
        ('[{"a": 1, "a": 2}]', "duplicate object key"),
        ("[" * 40 + "]" * 40, "deeper than 32 levels"),
        (json.dumps(["x" * 100000] * 3), "exceeds the limit of 262144"),
    ],
)
def test_args_that_are_no_json_are_told_why(stack, tmp_path, args, why):
    lines = tmp_path / "lines"
    lines.write_text(args)
    done = stack().till("enqueue", "till.tasks.noop", "--batch", lines)
    assert done.returncode == 2 and why in done.stderr, done.stderr


def test_what_cannot_be_a_name_or_a_time_is_wrong_usage(stack):
    one = stack()
    taken = one.enqueue("till.tasks.noop")
    bad = os.fsencode("a\udcff")
    for words, text in (
        (["schedule", "list", bad], "name of a schedule"),
        (["schedule", "history", bad], "name of a schedule"),
        (["task", "list", "--task", bad], "no name of a task"),
        (["task", "list", "--worker", bad], "--worker is a name"),
        (["task", "list", "--after", "5"], "no UUID"),
        (["task", "list", "--limit", "1", "--limit", "2"], "given twice"),
        (["task", "timeout", "a.b", "--soft", "0x10"], "number of seconds"),
        (["task", "timeout", "a.b", "--hard", " 5"], "number of seconds"),
        (["dead", "retry", "--error", bad], "UTF-8"),
    ):
        done = subprocess.run(
            [programs.path_of("till"), *words], env=programs.environment(one.settings),
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 2 and text in done.stderr.decode(errors="replace"), (words, done)
    done = one.till("enqueue", "till.tasks.noop", "--id", taken)
    assert done.returncode == 1 and "a job with this id exists already" in done.stderr


def test_queues_are_listed_while_redis_is_away(stack):
    one = stack()
    one.insert_job("till.tasks.noop", state="FAILURE", attempt=1, finished_at="now", error="x", queue="mail")
    assert one.till("queue", "pause", "mail").returncode == 0
    one.settings["REDIS_URL"] = "unix:///nowhere/redis.sock"

    done = one.till("queue", "list", "--json")
    shown = one.till("queue", "list")

    assert done.returncode == shown.returncode == 1 and "Redis is not reachable" in done.stderr
    mail = next(row for row in map(json.loads, done.stdout.splitlines()) if row["queue"] == "mail")
    assert (mail["waiting"], mail["pending"], mail["dead"], mail["paused"]) == (None, None, 1, True)
    assert re.search(r"^mail +waiting \? +running \? +parked 0 .*paused$", shown.stdout, re.M)


@pytest.mark.parametrize(
    "before, behind",
    [
        (["enqueue"], []),
        (["limit", "set", "task"], ["--rate", "1/h"]),
        (["task", "timeout"], ["--soft", "5"]),
        (["task", "secrets"], ["password"]),
    ],
)
def test_a_task_that_no_worker_has_told_of_is_told(stack, before, behind):
    one = stack()
    one.query(
        "INSERT INTO tasks (name, queue, max_attempts, fast)"
        " VALUES ('shop.tasks.mail', 'mail', 3, false)"
    )

    misspelt = one.till(*before, "shop.tasks.mial", *behind)
    known = one.till(*before, "shop.tasks.mail", *behind)

    assert misspelt.returncode == 0
    assert misspelt.stderr == 'till: note: no worker has told of a task "shop.tasks.mial" so far\n'
    assert known.returncode == 0 and known.stderr == ""


def test_a_limit_of_a_queue_that_nobody_knows_is_told(stack):
    one = stack()
    one.insert_job("till.tasks.noop", queue="mail")

    misspelt = one.till("limit", "set", "queue", "mial", "--concurrency", "1")
    known = one.till("limit", "set", "queue", "mail", "--concurrency", "1")

    assert misspelt.returncode == 0 and 'no open job is of queue "mial"' in misspelt.stderr
    assert known.returncode == 0 and known.stderr == ""


def test_pausing_a_queue_that_nobody_knows_is_told(stack):
    one = stack()
    one.insert_job("till.tasks.noop", queue="mail")

    misspelt = one.till("queue", "pause", "mial")
    known = one.till("queue", "pause", "mail")

    assert misspelt.returncode == 0 and 'no open job is of queue "mial"' in misspelt.stderr
    assert known.returncode == 0 and known.stderr == ""
    assert one.till("queue", "pause", "mial").stderr == ""  # it is paused, so it is known

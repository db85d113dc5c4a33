"""Enqueueing: in bulk, from files, from SQL, and waiting for the end."""

import json
import os
import shutil
import subprocess
import time
import uuid
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from harness.wait import SLOWNESS

HERE = Path(__file__).resolve().parent
STREAM = "till:{default}:normal"


def states(one):
    rows = one.query("SELECT state, attempt, count(*) FROM jobs GROUP BY 1, 2 ORDER BY 1, 2")
    return [(row["state"], row["attempt"], row["count"]) for row in rows]


# ---- fast ----


def test_fast_jobs_in_bulk_are_entries_alone_and_their_ids_are_told(stack):
    one = stack()
    one.query(
        "INSERT INTO tasks (name, queue, max_attempts, fast)"
        " VALUES ('a.fast', 'default', 3, true), ('a.durable', 'default', 3, false)"
    )

    done = one.till("enqueue", "a.fast", "--fast", "--count", "2500", "--header", "a=b")
    assert done.returncode == 0, done.stderr
    ids = done.stdout.split()
    entries = one.redis.xrange(STREAM)
    assert len(entries) == len(set(ids)) == 2500
    assert one.value("SELECT count(*) FROM jobs") == 0
    assert entries[0][1] == {"task": "a.fast", "headers": '{"a":"b"}'}

    one.redis.delete(STREAM)
    [last] = one.till("enqueue", "a.fast", "--fast").stdout.split()
    one.start_worker()  # it does not know the task, so the job becomes a row, by the id that was told
    assert one.wait_job(last, "RETRY", "PENDING", "STARTED", "FAILURE")["task"] == "a.fast"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["a.durable"], "not declared fast"),
        (["nobody.told"], "no worker has told yet"),
        (["a.fast", "--countdown", "5"], "no row that could hold a time"),
        (["a.fast", "--unique", "k"], "no row that could hold a unique key"),
        (["a.fast", "--max-attempts", "5"], "no row that could hold a number of attempts"),
        (["a.fast", "--limit-key", "tenant:1"], "no row that could hold a limit's key"),
    ],
)
def test_what_cannot_be_fast_is_refused(stack, arguments, message):
    one = stack()
    one.query(
        "INSERT INTO tasks (name, queue, max_attempts, fast)"
        " VALUES ('a.fast', 'default', 3, true), ('a.durable', 'default', 3, false)"
    )

    done = one.till("enqueue", *arguments, "--fast")

    assert done.returncode == 2 and message in done.stderr
    assert one.redis.exists(STREAM) == 0


# ---- in bulk ----


def test_arguments_just_below_the_limit_run_although_the_database_writes_them_longer(stack, tmp_path):
    one = stack()
    one.start_worker()
    one.start_scheduler()
    file = tmp_path / "batch"
    file.write_text("[" + ",".join("1" * 120_000) + "]\n")

    one.till("enqueue", "till.tasks.noop", "--batch", str(file))
    one.wait_settled()

    assert states(one) == [("SUCCESS", 1, 1)]


def test_twenty_thousand_jobs_each_run_exactly_once(stack):
    one = stack()
    one.start_worker()
    one.start_scheduler()

    ids = one.enqueue("till.tasks.noop", count=20000)
    one.wait_settled(60)

    assert len(set(ids)) == 20000
    assert ids == sorted(ids), "ids sort in the order of enqueueing"
    assert states(one) == [("SUCCESS", 1, 20000)]


def test_a_hundred_thousand_ids_go_into_the_stream(stack):
    one = stack()

    ids = one.enqueue("till.tasks.noop", count=100000)

    assert one.redis.xlen(STREAM) == len(ids) == 100000
    first, last = one.redis.xrange(STREAM, count=1), one.redis.xrevrange(STREAM, count=1)
    assert [first[0][1]["job"], last[0][1]["job"]] == [ids[0], ids[-1]]


def test_jobs_in_bulk_take_queue_and_attempts_from_the_task(stack):
    one = stack()
    one.query("INSERT INTO tasks (name, queue, max_attempts, fast) VALUES ('a.b', 'mail', 3, false)")

    one.enqueue("a.b", 7, count=2)
    one.enqueue("a.b", count=2, queue="own", max_attempts=4, priority="low", kwargs='{"k": "\\"\\\\"}')
    one.enqueue("nobody.told", count=2)

    rows = one.query(
        "SELECT task, queue, priority, max_attempts, args, kwargs FROM jobs ORDER BY id"
    )
    assert [tuple(row.values()) for row in rows] == [
        *[("a.b", "mail", 1, 3, [7], {})] * 2,
        *[("a.b", "own", 2, 4, [], {"k": '"\\'})] * 2,
        *[("nobody.told", "default", 1, 10, [], {})] * 2,
    ]
    assert one.redis.xlen("till:{mail}:normal") == one.redis.xlen("till:{own}:low") == 2


def test_delayed_jobs_in_bulk_wait_for_their_time(stack):
    one = stack()
    one.start_worker()

    one.enqueue("till.tasks.noop", count=2000, countdown=3)
    assert one.redis.xlen(STREAM) == 0
    assert one.value("SELECT count(*) FROM jobs WHERE enqueued_at IS NULL") == 2000
    one.start_scheduler()
    one.wait_settled()

    assert states(one) == [("SUCCESS", 1, 2000)]
    assert one.value("SELECT bool_and(started_at >= scheduled_at) FROM jobs")


def test_jobs_accepted_without_redis_are_delivered_later(stack):
    one = stack()
    redis_url = one.settings["REDIS_URL"]
    one.settings["REDIS_URL"] = "unix:///nowhere/redis.sock"

    done = one.till("enqueue", "till.tasks.noop", "--count", "6000")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6000
    assert "scheduler delivers" in done.stderr
    one.settings["REDIS_URL"] = redis_url
    one.start_scheduler()
    one.start_worker()
    one.wait_settled(60)

    assert states(one) == [("SUCCESS", 1, 6000)]


# ---- from a file ----


def test_each_line_of_a_file_is_the_args_of_a_job(stack, tmp_path):
    one = stack()
    file = tmp_path / "lines"
    wanted = [[n, 'a "b" \\ {c}, ü'] for n in range(12000)]
    file.write_text("\n".join(json.dumps(args, ensure_ascii=False) for args in wanted))

    done = one.till("enqueue", "any.task", "--batch", file, "--priority", "high")

    assert done.returncode == 0, done.stderr
    rows = one.query("SELECT id, args FROM jobs ORDER BY id")
    assert [row["args"] for row in rows] == wanted
    assert [row["id"] for row in rows] == done.stdout.split()
    assert one.redis.xlen("till:{default}:high") == 12000


def test_lines_come_from_standard_input_too(stack):
    one = stack()

    done = one.till("enqueue", "any.task", "--batch", "-", stdin='[1]\r\n["two"]\n[]\n')
    nothing = one.till("enqueue", "any.task", "--batch", "-", stdin="")

    assert done.returncode == nothing.returncode == 0, done.stderr + nothing.stderr
    assert nothing.stdout == ""
    assert [row["args"] for row in one.query("SELECT args FROM jobs ORDER BY id")] == [[1], ["two"], []]


@pytest.mark.parametrize("bad", ["{}", "[1", "", "[1] [2]", '["\\u0000"]', "[1\0]", "[" * 40 + "]" * 40])
def test_a_bad_line_is_named_and_nothing_of_the_file_is_enqueued(stack, bad):
    one = stack()
    lines = ["[1]"] * 6000 + [bad, "[2]"]

    done = one.till("enqueue", "till.tasks.noop", "--batch", "-", stdin="\n".join(lines))

    assert done.returncode == 2
    assert "line 6001" in done.stderr and done.stdout == ""
    assert one.value("SELECT count(*) FROM jobs") == 0
    assert one.redis.xlen(STREAM) == 0


def test_a_file_is_enqueued_whole_or_not_at_all(stack):
    """The second statement fails, so the first leaves nothing."""
    one = stack()
    one.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = '53100'; END $$"
    )
    one.query(
        "CREATE TRIGGER full_disk BEFORE INSERT ON jobs FOR EACH ROW"
        " WHEN (NEW.args = '[9000]') EXECUTE FUNCTION refuse()"
    )

    done = one.till(
        "enqueue", "any.task", "--batch", "-", stdin="\n".join(f"[{n}]" for n in range(12000))
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert one.value("SELECT count(*) FROM jobs") == 0
    assert one.redis.xlen(STREAM) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--count", "1000001"],
        ["--count", "2", "--batch", "-"],
        ["[]", "--batch", "-"],
        ["--batch", "-", "--id", str(uuid.uuid4())],
        ["--batch", "-", "--wait"],
        ["--count", "2", "--wait"],
        ["--timeout", "3"],
        ["--wait", "--timeout", "0"],
    ],
)
def test_words_that_do_not_go_together_are_refused(stack, words):
    one = stack()

    done = one.till("enqueue", "till.tasks.noop", *words, stdin="[1]\n")

    assert done.returncode == 2
    assert one.value("SELECT count(*) FROM jobs") == 0


def test_a_file_that_is_not_there(stack):
    done = stack().till("enqueue", "till.tasks.noop", "--batch", "/nowhere/lines")

    assert done.returncode == 1
    assert "/nowhere/lines" in done.stderr


# ---- waiting ----


def test_waiting_tells_of_success(stack):
    one = stack()
    one.start_worker()

    plain = one.till("enqueue", "till.tasks.noop", "--wait")
    told = one.till("enqueue", "till.tasks.noop", "--wait", "--json", "--timeout", "30")

    assert (plain.returncode, told.returncode) == (0, 0), plain.stderr + told.stderr
    assert plain.stdout.splitlines()[1].split()[0] == "SUCCESS"
    made, end = map(json.loads, told.stdout.splitlines())
    assert end["id"] == made["id"]
    assert (end["state"], end["attempt"], end["error"]) == ("SUCCESS", 1, None)
    assert end["result"] == one.job(made["id"])["result"]


def test_waiting_tells_of_failure(stack):
    one = stack()
    one.start_worker()
    one.start_scheduler()
    words = ["enqueue", "till.tasks.fail", '["no \\"luck\\""]', "--max-attempts", "2", "--wait"]

    plain = one.till(*words)
    told = one.till(*words, "--json")

    assert (plain.returncode, told.returncode) == (1, 1)
    assert plain.stdout.splitlines()[1].startswith("FAILURE ")
    assert 'no "luck"' in plain.stdout
    end = json.loads(told.stdout.splitlines()[1])
    assert (end["state"], end["attempt"], end["result"]) == ("FAILURE", 2, None)
    assert 'no "luck"' in end["error"]


def test_waiting_ends_when_its_time_is_over(stack):
    one = stack()
    begun = time.monotonic()

    done = one.till("enqueue", "till.tasks.noop", "--wait", "--timeout", "1")

    assert done.returncode == 1
    assert 1 <= time.monotonic() - begun < 5 * SLOWNESS
    made = done.stdout.strip()
    assert f"job {made} is still PENDING after 1 s" in done.stderr
    assert one.job(made)["state"] == "PENDING", "it is not cancelled"


# ---- from SQL ----


def test_till_enqueue_takes_queue_and_attempts_from_the_task(stack):
    one = stack()
    one.query("INSERT INTO tasks (name, queue, max_attempts, fast) VALUES ('a.b', 'mail', 3, false)")
    wanted = str(uuid.uuid4())

    plain = one.value("SELECT till_enqueue('a.b')")
    full = one.value(
        "SELECT till_enqueue('a.b', '[1, \"x\"]', kwargs => '{\"k\": 1}', queue => 'own', priority => 0,"
        " scheduled_at => now() + interval '1 hour', max_attempts => 5, id => %s)",
        wanted,
    )

    job = one.job(plain)
    assert (job["queue"], job["max_attempts"], job["priority"]) == ("mail", 3, 1)
    assert (job["args"], job["kwargs"], job["enqueued_at"]) == ([], {}, None)
    assert uuid.UUID(plain).version == 7
    job = one.job(full)
    assert full == wanted
    assert (job["queue"], job["max_attempts"], job["priority"]) == ("own", 5, 0)
    assert (job["args"], job["kwargs"]) == ([1, "x"], {"k": 1})
    assert 3500 < (job["scheduled_at"] - job["created_at"]).total_seconds() < 3700


def test_jobs_of_till_enqueue_run_when_the_transaction_commits_and_not_without(stack):
    one = stack()
    one.start_worker()
    one.start_scheduler()
    connection = psycopg2.connect(one.settings["DATABASE_URL"])

    with connection.cursor() as cursor:
        cursor.execute("SELECT till_enqueue('till.tasks.noop') FROM generate_series(1, 100)")
        connection.rollback()
        cursor.execute("SELECT till_enqueue('till.tasks.noop') FROM generate_series(1, 100)")
        made = [row[0] for row in cursor.fetchall()]
        assert one.value("SELECT count(*) FROM jobs") == 0
        connection.commit()
    connection.close()

    one.wait_settled()
    assert states(one) == [("SUCCESS", 1, 100)]
    assert {row["id"] for row in one.query("SELECT id FROM jobs")} == set(made)


@pytest.mark.parametrize(
    "words, told",
    [
        ("NULL", "the name of a task must be given"),
        ("'a b'", '"a b" is no name of a task'),
        ("'a.b' || chr(10)", "is no name of a task"),
        ("repeat('a', 201)", "is no name of a task"),
        ("'a', queue => 'ö'", '"ö" is no name of a queue'),
        ("'a', queue => ''", '"" is no name of a queue'),
        ("'a', '{}'", "args of a job must be a JSON array, not object"),
        ("'a', kwargs => '[]'", "kwargs of a job must be a JSON object, not array"),
        ("'a', jsonb_build_array(repeat('x', 262144))", "args of a job must be at most 262144 bytes"),
        ("'a', priority => 3", "priority is 0 (high), 1 (normal) or 2 (low), not 3"),
        ("'a', max_attempts => 0", "max_attempts is at least 1, not 0"),
        ("'a', scheduled_at => 'infinity'", "scheduled_at must be a time, not infinity"),
        ("'a', scheduled_at => '294276-12-31'", "scheduled_at must be a time in the years 1 to 9999"),
        ("'a', scheduled_at => '4713-01-01 BC'", "scheduled_at must be a time in the years 1 to 9999"),
        ("'a', expires_at => '10000-01-01'", "expires_at must be a time in the years 1 to 9999"),
    ],
)
def test_till_enqueue_names_what_is_wrong(stack, words, told):
    one = stack()

    with pytest.raises(psycopg2.errors.InvalidParameterValue) as refused:
        one.query(f"SELECT till_enqueue({words})")

    assert told in refused.value.diag.message_primary
    assert one.value("SELECT count(*) FROM jobs") == 0


def test_till_enqueue_refuses_an_id_that_exists(stack):
    one = stack()
    made = one.value("SELECT till_enqueue('a')")

    with pytest.raises(psycopg2.errors.UniqueViolation):
        one.query("SELECT till_enqueue('a', id => %s)", made)


@pytest.mark.parametrize(
    "column, value",
    [
        ("task", "a b"),
        ("task", "a" * 201),
        ("task", ""),
        ("task", "a\n"),
        ("queue", "a/b"),
        ("queue", "q" * 201),
        ("args", "{}"),
        ("kwargs", "[]"),
        ("scheduled_at", "infinity"),
        ("scheduled_at", "-infinity"),
        ("scheduled_at", "10000-01-01 00:00:00+00"),
        ("created_at", "infinity"),
        ("created_at", "294276-12-31"),
        ("enqueued_at", "infinity"),
        ("expires_at", "294276-12-31"),
        ("unique_until", "infinity"),
        ("unique_until", "0001-01-01 BC"),
    ],
)
def test_an_insert_that_cannot_be_a_job_is_refused(stack, column, value):
    one = stack()
    columns = {"task": "any.task", column: value}

    with pytest.raises(psycopg2.errors.CheckViolation):
        one.query(
            f"INSERT INTO jobs ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})",
            *columns.values(),
        )


def test_a_job_of_the_last_year_can_be_looked_at(stack):
    one = stack()
    last = one.value("SELECT till_enqueue('a', scheduled_at => '9999-12-31 23:59:59.999999+00')")
    first = one.value("SELECT till_enqueue('b', scheduled_at => '0001-01-01 00:00:00+00')")

    shown = [json.loads(line) for line in one.till("task", "list", "--json").stdout.splitlines()]

    assert {job["id"]: job["scheduled_at"] for job in shown} == {
        last: "9999-12-31T23:59:59.999999Z",
        first: "0001-01-01T00:00:00.000000Z",
    }


def test_a_row_that_cannot_be_claimed_keeps_no_other_from_it(stack):
    """Nothing but a hole in the rules makes such a row; all workers stood still before it."""
    one = stack()
    one.query("ALTER TABLE jobs DISABLE TRIGGER jobs_new_check")
    bad = one.insert_job("till.tasks.noop", created_at="infinity")
    good = [one.insert_job("till.tasks.noop") for _ in range(5)]

    one.start(apis=0)

    for job in good:
        one.wait_job(job)
    dead = one.wait_job(bad, "FAILURE")
    assert "the job cannot be claimed" in dead["error"] and "bigint" in dead["error"]
    assert dead["attempt"] == 0
    one.wait_settled()


def test_a_producer_whose_clock_is_ahead_loses_no_job(stack):
    """It says that it has pushed the job, by its own clock, and has not."""
    one = stack().start(apis=0)

    job = one.value(
        "INSERT INTO jobs (task, enqueued_at) VALUES ('till.tasks.noop', now() + interval '1 day') RETURNING id"
    )

    one.wait_job(job)


def test_a_name_of_two_hundred_is_accepted(stack):
    one = stack()

    one.query("INSERT INTO jobs (task, queue) VALUES (%s, %s)", "t" * 200, "q" * 200)
    one.value("SELECT till_enqueue(%s, queue => %s)", "t" * 200, "q" * 200)

    assert one.value("SELECT count(*) FROM jobs") == 2


# ---- from another language ----


def test_a_producer_written_from_the_protocol_alone(stack):
    """In Node, without any package: see producer.test.mjs."""
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    one = stack().start(apis=0)
    assert one.till("limit", "set", "key", "node:*", "--concurrency", 1).returncode == 0

    ran = subprocess.run(
        ["node", "--test", HERE / "producer.test.mjs"],
        env={
            "PATH": os.environ["PATH"],
            "TEST_DATABASE_URL": one.settings["DATABASE_URL"],
            "TEST_REDIS_SOCKET": one.redis_server.socket,
            "TEST_SLOWNESS": str(SLOWNESS),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120 * SLOWNESS,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout
    one.wait_settled()


def test_a_prepared_transaction_brings_the_job_that_has_told_nobody(stack):
    """Two phases (XA): what PROTOCOL.md says of them."""
    one = stack(own_postgres={"max_prepared_transactions": 4})
    insert = "INSERT INTO jobs (task, enqueued_at) VALUES ('till.tasks.noop', {}) RETURNING id"
    with closing(one.postgres.connect(one.database)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for refused in (insert.format("NULL"), "SELECT till_enqueue('till.tasks.noop')"):
            cursor.execute("BEGIN")
            cursor.execute(refused)
            with pytest.raises(psycopg2.errors.FeatureNotSupported):
                cursor.execute("PREPARE TRANSACTION 'two phases'")
            cursor.execute("ROLLBACK")
        cursor.execute("BEGIN")
        cursor.execute(insert.format("now()"))
        [job] = cursor.fetchone()
        cursor.execute("PREPARE TRANSACTION 'two phases'")
        one.start(apis=0)
        cursor.execute("COMMIT PREPARED 'two phases'")

    assert one.wait_job(job)["attempt"] == 1
    assert one.value("SELECT count(*) FROM jobs") == 1

# SPDX-License-Identifier: MIT
"""The index that finds jobs by words: made by the scheduler, behind the mark it is all that is asked,
so what is found here is found among any number."""

import random
import uuid

import pytest
import requests
from browser import rows
from harness.wait import wait_for

LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"


@pytest.fixture
def system(stack):
    one = stack()
    one.start_dashboard()
    return one


def search(system, words=None, expect=200, **parameters):
    if words is not None:
        parameters["search"] = words
    answer = requests.get(system.dashboard.url + "/api/v1/tasks", params=parameters, timeout=30)
    assert answer.status_code == expect, answer.text
    return answer.json()


def found(system, words=None, **parameters):
    return [task["id"] for task in search(system, words, **parameters)["tasks"]]


def fill(system, count, first=1, age="2 hours"):
    """Finished jobs of an hour and more ago, oldest first: numbers and words to find them by."""
    system.query(
        "INSERT INTO jobs (id, task, queue, state, attempt, worker, args, kwargs, result, created_at,"
        " scheduled_at, enqueued_at, started_at, finished_at)"
        " SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)"
        "  || '8' || substr(md5(n::text), 4, 15))::uuid, 'shop.fill', 'fill', 'SUCCESS', 1, 'host:1',"
        " jsonb_build_array('order-' || n), jsonb_build_object('user', n %% 10), '{\"ok\": true}', at, at, at, at, at"
        " FROM (SELECT n, now() - %s::interval + n * interval '1 ms' AS at"
        "  FROM generate_series(%s, %s) n) x",
        age, first, first + count - 1,
    )


def mark(system):
    return str(system.query("SELECT passed FROM job_search_mark")[0]["passed"])


def newest(system):
    return str(system.query("SELECT id FROM jobs ORDER BY id DESC LIMIT 1")[0]["id"])


def segments(system):
    return system.query("SELECT * FROM job_segments WHERE replaced_at IS NULL ORDER BY id")


def fresh_scheduler(system):
    """One that begins at once, however long the one before has had nothing to do."""
    for one in system.named("till-scheduler"):
        one.term_and_wait(60)
    system.start_scheduler()


def index(system):
    """All jobs there are, behind the mark."""
    fresh_scheduler(system)
    wait_for(lambda: mark(system) >= newest(system), 60, "the index to come to the newest job")


def test_words_are_found_behind_the_mark(system):
    rare = rows.insert(system, "FAILURE", task="shop.pay", queue="rare", age=7300, args=["Käse", 17, "needle-4711"],
                       kwargs={"user": 7, "note": "two words"}, error="the gateway answered 503", worker="other:3")
    fill(system, 2000)
    index(system)
    assert segments(system)[0]["jobs"] == 2001
    for words in ("needle", "NEEDLE-47", "args:needle", "Käse", "error:gateway", '"answered 503"', "name:shop.pay",
                  "state:FAILURE", "worker:other:3", "queue:rare", "kwargs:note=words", "shop.pay kwargs:user=7",
                  "nothing-here OR needle", "(state:REVOKED OR state:FAILURE) 4711", "kwargs:two",
                  "needle state:failure order-1 OR needle"):
        assert found(system, words) == [rare], words
    for words in ("needle state:SUCCESS", "kwargs:user=77", "args:gateway", "needle order-1", "result:needle"):
        assert found(system, words) == [], words
    assert found(system, "needle", state="FAILURE", task="shop.pay", queue="rare", worker="other:3") == [rare]
    assert found(system, "needle", queue="fill") == []
    assert len(found(system, "order-1999")) == 1 and found(system, order="oldest", limit=1, search="order") != [rare]


def all_pages(system, words, **parameters):
    seen, cursor = [], None
    for _ in range(50):
        page = search(system, words, cursor=cursor, **parameters)
        seen += [task["id"] for task in page["tasks"]]
        cursor = page["next"]
        if cursor is None:
            return seen
    raise AssertionError(f"no end after {len(seen)} tasks")


def ids_where(system, condition):
    return [row["id"] for row in system.query(f"SELECT id::text FROM jobs WHERE {condition} ORDER BY id DESC")]


def test_pages_of_a_search_cover_all_jobs_once(system):
    fill(system, 1500)
    rows.insert(system, "STARTED", age=7199.5, kwargs={"user": 3})
    index(system)
    fill(system, 700, first=1501)  # these stay in the tail: fewer than a segment has
    rows.insert(system, "STARTED", kwargs={"user": 3})
    wanted = ids_where(system, "kwargs->>'user' = '3'")
    assert len(wanted) == 222 and mark(system) < newest(system)
    assert all_pages(system, "kwargs:user=3", limit=60) == wanted
    assert all_pages(system, "kwargs:user=3", limit=60, order="oldest") == wanted[::-1]


def test_a_tail_of_many_windows_is_covered_once(system):
    """No scheduler has made an index yet."""
    fill(system, 21000)
    for order, word, turn in (("newest", "order-77", 1), ("oldest", "order-20", -1)):
        wanted = ids_where(system, f"args->>0 LIKE '{word}%'")
        assert len(wanted) > 100 and all_pages(system, word, limit=200, order=order) == wanted[::turn]


def test_more_open_jobs_than_one_look_takes(system):
    """They waited when the index came by, and are revoked then: found at once, while the index reads them
    again, and after."""
    system.query(
        "INSERT INTO jobs (id, task, queue, enqueued_at, created_at, scheduled_at) SELECT (lpad(to_hex((extract(epoch"
        " FROM now() - interval '1 hour') * 1000)::bigint + n), 12, '0') || '7' || substr(md5(n::text), 1, 19))::uuid,"
        " 'shop.later', 'later', NULL, now() - interval '1 hour', now() + interval '1 day'"
        " FROM generate_series(1, 1250) n")
    index(system)
    assert all_pages(system, "name:later error:changed") == []
    system.query("UPDATE jobs SET state = 'REVOKED', finished_at = now(), error = 'they changed their mind'")
    wanted = ids_where(system, "true")

    def look():
        for order, turn in (("newest", 1), ("oldest", -1)):
            assert all_pages(system, "name:later error:changed", limit=200, order=order) == wanted[::turn]

    look()
    fresh_scheduler(system)
    look()
    wait_for(lambda: not ids_open(system), 60, "the index to have read them again")
    look()


def test_what_waits_does_not_stand_before_what_is_looked_for(system):
    """However many wait: what they say is in the index. What is to be retried says something new."""
    dead = rows.insert(system, "FAILURE", age=7300, args=["needle-4711"])
    retried = rows.insert(system, "RETRY", age=7200, error="no route to the moon")
    system.query(
        "INSERT INTO jobs (id, task, args, kwargs, created_at) SELECT (lpad(to_hex((extract(epoch"
        " FROM now() - interval '1 hour') * 1000)::bigint + n), 12, '0') || '7' || substr(md5(n::text), 1, 19))::uuid,"
        " 'shop.waits', jsonb_build_array('order-' || n), '{}', now() - interval '1 hour' FROM generate_series(1, 21000) n")
    index(system)
    for words, wanted in (("needle-4711", [dead]), ("moon", [retried]), ("state:RETRY moon", [retried])):
        answer = search(system, words)
        assert ([task["id"] for task in answer["tasks"]], answer["is_cut"]) == (wanted, False), words
    (waits,) = ids_where(system, "args = '[\"order-77\"]'")
    for order in ("newest", "oldest"):
        assert waits in found(system, "order-77 name:waits", order=order, limit=200)
    assert all_pages(system, "args:order-2099", state="PENDING") == ids_where(system, "args->>0 LIKE 'order-2099%%'")


def ids_open(system):
    return [str(row["job_id"]) for row in system.query("SELECT job_id FROM job_search_open")]


def test_what_ends_late_or_again_is_found_by_how_it_ended(system):
    waits = rows.insert(system, "PENDING", task="shop.late", age=7300, args=["latecomer"], enqueued_at=None,
                        scheduled_at="2126-01-01T00:00:00Z")
    dead = rows.insert(system, "FAILURE", task="shop.dead", age=7250, error="first ending")
    fill(system, 1100)
    index(system)
    assert found(system, "latecomer") == [waits] and found(system, "first ending") == [dead]
    assert found(system, "latecomer", state="PENDING") == [waits]
    system.query("UPDATE jobs SET state = 'PENDING', finished_at = NULL, error = NULL WHERE id = %s", dead)
    for job in (waits, dead):
        system.query("UPDATE jobs SET state = 'STARTED', attempt = attempt + 1, worker = 'w:1', started_at = now(),"
                     " enqueued_at = now() WHERE id = %s", job)
        system.query("UPDATE jobs SET state = 'SUCCESS', finished_at = now(), result = '\"second ending\"'"
                     " WHERE id = %s", job)
    assert set(found(system, "second ending")) == {waits, dead}  # while they are open
    fresh_scheduler(system)
    wait_for(lambda: not system.query("SELECT 1 FROM job_search_open"), 60, "the index to read them again")
    assert set(found(system, "second ending", state="SUCCESS")) == {waits, dead}
    assert found(system, "first ending") == [] and found(system, "latecomer", state="PENDING") == []


def test_one_that_begins_again_is_not_struck_off(system):
    """Each beginning is another turn: who has seen the end of the one before strikes nothing off."""
    dead = rows.insert(system, "FAILURE", age=7250)
    for turn in (0, 1):
        system.query("UPDATE jobs SET state = 'PENDING', finished_at = NULL, error = NULL WHERE id = %s", dead)
        assert system.query("SELECT job_id::text, turn FROM job_search_open") == [{"job_id": dead, "turn": turn}]
        system.query("UPDATE jobs SET state = 'FAILURE', finished_at = now(), error = 'again' WHERE id = %s", dead)


def test_what_a_late_clock_makes_is_found(system):
    """Its id lies behind the mark from the beginning: among those of a segment, before and between them."""
    fill(system, 1100)
    index(system)
    fill(system, 1100, first=1101, age="1 hour")
    index(system)
    late = {rows.insert(system, "SUCCESS", age=age, args=["straggler"]) for age in (7198.5, 5000, 9000)}
    waits = rows.insert(system, "PENDING", age=6000, args=["straggler"], enqueued_at=None,
                        scheduled_at="2126-01-01T00:00:00Z")
    assert found(system, "straggler") == []
    system.query("UPDATE job_segments SET looked_at = now() - interval '1 day'")
    fresh_scheduler(system)
    wait_for(lambda: set(found(system, "straggler")) == late | {waits}, 60, "them to be found")
    fresh_scheduler(system)
    wait_for(lambda: ids_open(system) == [waits], 60, "those that have ended to be in the index")
    assert set(found(system, "straggler")) == late | {waits}
    system.query("UPDATE job_segments SET looked_at = now() - interval '1 day'")
    fresh_scheduler(system)
    wait_for(lambda: not system.query("SELECT 1 FROM job_segments WHERE looked_at < now() - interval '1 hour'"),
             60, "another look")
    assert ids_open(system) == [waits] and len(found(system, "straggler")) == 4


def test_rare_filters_find_what_no_window_holds(system):
    """Behind 21,000 others: the list's window ends before it, the index does not."""
    rare = rows.insert(system, "SUCCESS", task="shop.rare", queue="rare", age=7300)
    fill(system, 21000)
    index(system)
    page = search(system, queue="rare")
    assert [task["id"] for task in page["tasks"]] == [rare] and page["is_cut"] is False
    assert found(system, state="SUCCESS", queue="rare") == [rare]


def test_segments_are_merged_and_forgotten(system):
    for turn in range(8):
        fill(system, 1100, first=turn * 1100 + 1, age=f"{9000 - turn * 100} s")
        index(system)
    wait_for(lambda: len(segments(system)) == 1, 60, "eight small segments to become one")
    assert segments(system)[0]["jobs"] == 8800
    assert len(found(system, "order-17 queue:fill", limit=200)) == 111  # 17, 170-179, 1700-1799
    system.query("DELETE FROM jobs")
    system.query("UPDATE job_segments SET looked_at = now() - interval '1 day'")
    fresh_scheduler(system)
    wait_for(lambda: not segments(system), 60, "the segment without jobs to be dropped")
    system.query("UPDATE job_segments SET replaced_at = now() - interval '2 minutes'")
    fresh_scheduler(system)
    wait_for(lambda: not system.query("SELECT 1 FROM job_grams LIMIT 1"), 60, "its grams to be deleted")


def test_two_schedulers_make_one_index(system):
    fill(system, 1200)
    for _ in range(2):
        system.start_scheduler()
    wait_for(lambda: mark(system) >= newest(system), 60, "the index to come to the newest job")
    assert [one["jobs"] for one in segments(system)] == [1200]


def test_an_open_transaction_is_waited_for(system):
    """Its ids are older than those that others have committed meanwhile."""
    late = str(uuid.UUID(rows.uuid7(3)))
    with system.postgres.connect(system.database) as other:
        other.autocommit = False
        with other.cursor() as cursor:
            cursor.execute("INSERT INTO jobs (id, task, state, attempt, finished_at, args)"
                           " VALUES (%s, 'shop.slow', 'SUCCESS', 1, now(), '[\"slowpoke\"]')", (late,))
            fill(system, 1200)
            system.start_scheduler()
            wait_for(lambda: segments(system), 60, "the index of what is older")
            assert mark(system) < late
            other.commit()
    assert found(system, "slowpoke") == [late]


def test_it_keeps_up_with_those_who_always_write(system):
    """There is never a moment without an open transaction, and the scheduler's role does not see when those
    of others began: still each is waited for only until it ends."""
    fill(system, 1200, age="90 s")
    held = []

    def writer():
        with_id = system.postgres.connect(system.database)
        with_id.autocommit = False
        with_id.cursor().execute("SELECT pg_current_xact_id()")
        held.append(with_id)

    def keeps_up():
        writer()
        held.pop(0).close()
        return mark(system) >= newest(system)

    writer()
    try:
        system.start_scheduler()
        wait_for(keeps_up, 60, "the index to come to the newest job")
    finally:
        for one in held:
            one.close()


# ---- beside what PostgreSQL finds by looking at every row ----

FIELDS = {"": "concat_ws(' ', task, id, state, worker, queue, args, kwargs, result, error)", "name": "task",
          "worker": "worker", "queue": "queue", "args": "args::text", "kwargs": "kwargs::text",
          "result": "concat_ws(' ', result, error)", "error": "error"}
WORDS = ["gift", "wrapping", "neighbour", "express", "noon", "gateway", "refused", "timed", "SUCC", "order"]
KINDS = ["", "", "", "name", "worker", "queue", "args", "kwargs", "result", "error", "pair", "state"]
FILTERS = [{}, {}, {"state": "SUCCESS"}, {"queue": "q1"}, {"task": "shop.pay", "worker": "host1:1"}]
COLUMNS = {"name": 'task COLLATE "C"', "state": 'state::text COLLATE "C"', "started": "started_at"}
VARIED = """
INSERT INTO jobs (id, task, queue, state, attempt, worker, args, kwargs, result, error, created_at,
    scheduled_at, enqueued_at, started_at, finished_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(h, 1, 3) || '8'
        || substr(h, 4, 15))::uuid,
    'shop.' || (ARRAY['pay', 'mail', 'pack', 'report'])[1 + length(ltrim(h, '0123456789')) %% 4],
    'q' || n %% 3, (CASE WHEN n %% 7 = 0 THEN 'FAILURE' ELSE 'SUCCESS' END)::job_state, 1,
    'host' || n %% 5 || ':' || n %% 2, jsonb_build_array('order-' || n),
    jsonb_build_object('user', n %% 37, 'email', 'customer' || n * 31 %% 997 || '@example.com',
        'note', (%s::text[])[1 + ascii(h) * n %% 12]),
    jsonb_build_object('reference', substr(h, 20)), CASE WHEN n %% 7 = 0 THEN
        (ARRAY['the gateway answered 503', 'no order ' || n || ' is there'])[1 + n %% 2] END,
    at, at, at, at + n * 7919 %% 1000 * interval '1 ms', at + interval '1 s'
FROM (SELECT n, md5(n || %s) AS h, now() - %s::interval + n * interval '1 ms' AS at
    FROM generate_series(%s, %s) n) x
"""


def fill_varied(system, chance, first, count, age):
    """Finished jobs whose words repeat in few of them or in many."""
    for number in range(first, first + count, 250):
        notes = [" ".join(chance.sample(WORDS, 2)) for _ in range(12)]
        system.query(VARIED, notes, str(chance.random()), age, number, min(number + 249, first + count - 1))


def some_term(chance):
    """What people may type, and the same as a condition with its parameters."""
    kind = chance.choice(KINDS)
    number = chance.randrange(6000)
    if kind == "pair":
        return f"kwargs:user={number % 37}", "kwargs ->> 'user' = %s", [str(number % 37)]
    if kind == "state":
        return "state:failure", "state = %s", ["FAILURE"]
    word = chance.choice({
        "name": ["shop.pay", "report", "ack"],
        "worker": ["host1:", "host3:1", "OST2"],
        "queue": ["q", "q1"],
        "error": ["answered", f"no order {number} is", "is there"],
        "args": [f"order-{number}", f"der-{number % 100}", "order-1"],
    }.get(kind, [
        *WORDS, f"customer{number % 997}@example.com", f"mer{number % 997}@", f"no order {number} is there",
        f"der-{number}", "zeppelin", f'user": {number % 37}', "the gateway answered 503",
    ]))
    typed = '"' + word.replace('"', '\\"') + '"'
    return (f"{kind}:" if kind else "") + typed, f"strpos(lower({FIELDS[kind]}), lower(%s)) > 0", [word]


def some_search(chance):
    alternatives = [[some_term(chance) for _ in range(chance.choice([1, 1, 2, 3]))]
                    for _ in range(chance.choice([1, 1, 1, 2]))]
    words = " OR ".join(" ".join(term[0] for term in terms) for terms in alternatives)
    where = " OR ".join("(" + " AND ".join(f"coalesce({term[1]}, false)" for term in terms) + ")"
                        for terms in alternatives)
    return words, where, [value for terms in alternatives for term in terms for value in term[2]]


def ids_by_sql(system, where, order, values):
    found = system.query(f"SELECT id::text FROM jobs WHERE {where} ORDER BY {order}", *values)
    return [row["id"] for row in found]


def test_a_search_finds_what_a_look_at_every_row_does(system):
    chance = random.Random(20261122)
    for turn in range(3):
        fill_varied(system, chance, turn * 1200 + 1, 1200, f"{3600 - turn * 600} s")
        index(system)
    fill_varied(system, chance, 4000, 300, "60 s")  # the tail
    system.query("UPDATE jobs SET finished_at = NULL, state = 'PENDING', error = NULL WHERE state = 'FAILURE'"
                 " AND id IN (SELECT id FROM jobs ORDER BY md5(id::text) LIMIT 40)")
    found_any = 0
    for _ in range(20):
        words, where, values = some_search(chance)
        filters = chance.choice(FILTERS)
        order, turn = chance.choice([("newest", "DESC"), ("newest", "DESC"), ("oldest", "ASC")])
        for name, value in filters.items():
            where, values = f"({where}) AND {name} = %s", [*values, value]
        wanted = ids_by_sql(system, where, f"id {turn}", values)
        limit = min(max(len(wanted) // chance.choice([1, 2, 5]), 30), 200)
        assert all_pages(system, words, order=order, limit=limit, **filters) == wanted, (words, filters)
        found_any += bool(wanted)
    assert found_any > 7
    assert_sorted_as_by_sql(system, chance)


def assert_sorted_as_by_sql(system, chance):
    """Flower's sort_by, of what words find, as far as it is not more than is put in order: 3,000 that the
    index does not rule out, and of a queue of two letters it rules out none."""
    compared = 0
    while compared < 10:
        words, where, values = some_search(chance)
        column, turn = chance.choice(list(COLUMNS)), chance.choice(["", "-"])
        order = f"{COLUMNS[column]} {'DESC' if turn else 'ASC'} NULLS LAST, id DESC"
        wanted = ids_by_sql(system, where, order, values)
        if "queue:" in words or not 0 < len(wanted) < 2500:
            continue
        offset = chance.choice([0, 7, 150])
        answer = requests.get(system.dashboard.url + "/api/tasks", timeout=60, params={
            "search": words, "sort_by": turn + column, "limit": 20, "offset": offset})
        assert answer.status_code == 200, answer.text
        assert list(answer.json()) == wanted[offset:offset + 20], (words, turn + column, offset)
        compared += 1

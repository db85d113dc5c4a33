"""`till migrate` and `till seed` on a real server."""

import concurrent.futures
import glob
import os
import signal
import subprocess
from contextlib import closing

import psycopg2

from harness import processes, programs
from harness.wait import SLOWNESS, wait_for

FILES = sorted(os.path.basename(p) for p in glob.glob(os.path.join(programs.ROOT, "sql", "0*.sql")))


def till(url, *arguments):
    return programs.run("till", {"DATABASE_URL": url}, *arguments)


def rows(url, sql):
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(sql)
        found = cursor.fetchall()
    connection.close()
    return found


def schema(url):
    return rows(
        url,
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY 1, 2",
    )


def test_migrating_an_empty_database_applies_every_file_in_order(empty_database_url):
    done = till(empty_database_url, "migrate", "--json")

    assert done.returncode == 0, done.stderr
    applied = [line.split('"')[3] for line in done.stdout.splitlines()]
    assert [os.path.splitext(name)[0] for name in applied] == [
        os.path.splitext(name)[0] for name in FILES
    ]
    assert {"users", "orders", "payments", "jobs"} <= {row[0] for row in schema(empty_database_url)}


def test_migrating_again_changes_nothing(empty_database_url):
    till(empty_database_url, "migrate")
    before = schema(empty_database_url)

    done = till(empty_database_url, "migrate", "--json")

    assert done.returncode == 0, done.stderr
    assert "applied" not in done.stdout
    assert schema(empty_database_url) == before


def test_four_migrations_at_once_all_succeed_and_apply_each_file_once(empty_database_url):
    command = [programs.path_of("till"), "migrate", "--json"]
    env = programs.environment({"DATABASE_URL": empty_database_url})

    running = [
        processes.spawn(command, signal.SIGKILL, env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = [process.communicate(timeout=60 * SLOWNESS)[0] for process in running]

    assert [process.returncode for process in running] == [0] * 4
    assert sum(text.count("applied") for text in outputs) == len(FILES)


def test_a_migration_that_waits_for_a_table_keeps_nobody_waiting_behind_it(empty_database_url):
    """Nor does it hold one table while it waits for the next, which others have in another order."""
    till(empty_database_url, "migrate")
    rows(empty_database_url, "DROP INDEX job_search_missed; DELETE FROM schema_migrations"
                             " WHERE name = '0050_search_missed.sql' RETURNING 1")
    env = programs.environment({"DATABASE_URL": empty_database_url})
    writes = "SET statement_timeout = '8s'; LOCK TABLE job_search_open IN ROW EXCLUSIVE MODE"
    waits = "SELECT 1 FROM pg_locks WHERE relation = 'job_search_open'::regclass AND NOT granted"

    with closing(psycopg2.connect(empty_database_url)) as holder, closing(psycopg2.connect(empty_database_url)) as other:
        holder.cursor().execute(writes)
        running = processes.spawn([programs.path_of("till"), "migrate"], signal.SIGKILL, env=env)
        wait_for(lambda: rows(empty_database_url, waits), 30, "the migration")
        other.cursor().execute(writes)
        other.commit()
        assert running.poll() is None
        holder.commit()
        assert running.wait(30) == 0
    assert rows(empty_database_url, "SELECT 1 FROM pg_class WHERE relname = 'job_search_missed'")


def meet_in_a_deadlock(url):
    """A migration that has its table, and somebody who waits for that with what it wants next. Whether it came to
    that: the migration waits for half a second only, and may have given up meanwhile."""
    rows(url, "DROP INDEX job_search_missed; DELETE FROM schema_migrations WHERE name = '0050_search_missed.sql' RETURNING 1")
    waits = "SELECT 1 FROM pg_locks WHERE relation = 'job_search_open'::regclass AND NOT granted AND mode = '%s'"

    with closing(psycopg2.connect(url)) as holder, closing(psycopg2.connect(url)) as other:
        holder.cursor().execute("LOCK TABLE job_search_open IN ROW EXCLUSIVE MODE")
        other.cursor().execute("SET deadlock_timeout = '10min'; LOCK TABLE schema_migrations IN EXCLUSIVE MODE")
        running = processes.spawn(
            [programs.path_of("till"), "migrate"], signal.SIGKILL, env=programs.environment({"DATABASE_URL": url})
        )
        wait_for(lambda: rows(url, waits % "ShareLock"), 30, "the migration")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            locked = pool.submit(other.cursor().execute, "LOCK TABLE job_search_open IN ACCESS EXCLUSIVE MODE")
            wait_for(lambda: rows(url, waits % "AccessExclusiveLock"), 30, "the other")
            holder.commit()
            locked.result(30)
        other.commit()
        assert running.wait(30) == 0
    return rows(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0] > 0


def test_a_migration_that_meets_others_in_a_deadlock_comes_again(empty_database_url):
    till(empty_database_url, "migrate")
    name = empty_database_url.rsplit("/", 1)[1].split("?")[0]
    rows(empty_database_url, f'ALTER DATABASE "{name}" SET deadlock_timeout = 20; SELECT 1')

    wait_for(lambda: meet_in_a_deadlock(empty_database_url), 120, "no deadlock")


def test_a_program_refuses_a_database_that_is_not_migrated(empty_database_url):
    done = till(empty_database_url, "seed")

    assert done.returncode == 1
    assert "migrate" in done.stderr


def test_what_a_database_lacks_is_counted_in_words_that_fit(empty_database_url):
    till(empty_database_url, "migrate")
    forget_one = "DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations) RETURNING 1"

    rows(empty_database_url, forget_one)
    assert "lacks 1 migration:" in till(empty_database_url, "seed").stderr
    rows(empty_database_url, forget_one)
    assert "lacks 2 migrations:" in till(empty_database_url, "seed").stderr


def test_seed_loads_a_shop_of_a_thousand_products_and_a_hundred_users(database_url):
    done = till(database_url, "seed")

    assert done.returncode == 0, done.stderr
    assert rows(database_url, "SELECT count(*) FROM products")[0][0] >= 1000
    assert rows(database_url, "SELECT count(*) FROM users")[0][0] >= 100
    assert till(database_url, "seed").returncode == 0, "a second time does no harm"


def test_an_unreachable_database_is_told_with_exit_code_1():
    done = till("postgresql://till@127.0.0.1:1/nothing", "migrate")

    assert done.returncode == 1
    assert done.stderr.startswith("till: ")

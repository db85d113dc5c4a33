"""What each program may do at PostgreSQL and Redis, and above all what it may not. That it may do
what it needs is proved by every other test: a stack's programs come as their own users, and the
fixture fails a test in which one was refused (conftest.py)."""

import os
import re
import shutil
import signal
import subprocess

import psycopg2
import pytest
import redis as redis_client
from harness import folders, processes, programs, redis
from harness.postgres import LOGINS, OWNER, TEMPLATE
from harness.wait import wait_for

USERS = sorted(LOGINS)
JOB = "INSERT INTO jobs (task) VALUES ('t')"

# Beyond the shop and the jobs: nobody, whoever it is.
NOBODY = """
    CREATE TABLE mine (id int)
    CREATE TEMP TABLE mine AS SELECT * FROM pg_authid
    CREATE SCHEMA mine
    CREATE ROLE mine
    CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'
    CREATE EXTENSION dblink
    ALTER TABLE jobs DISABLE TRIGGER ALL
    ALTER TABLE payments DISABLE TRIGGER payments_transition
    ALTER ROLE CURRENT_USER SUPERUSER
    SET ROLE shop_owner
    SET SESSION AUTHORIZATION till
    SET session_replication_role = replica
    DROP TABLE job_errors
    TRUNCATE jobs
    TRUNCATE trial_entries
    COPY (SELECT 1) TO PROGRAM 'true'
    COPY (SELECT 1) TO '/tmp/till-never'
    SELECT pg_read_file('/etc/passwd')
    SELECT * FROM pg_authid
    SELECT pg_reload_conf()
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'till' AND datname IS NULL
    UPDATE schema_migrations SET checksum = ''
    DELETE FROM schema_migrations
    UPDATE payment_events SET actor = 'nobody'
    DELETE FROM payment_events
    UPDATE audit SET actor = 'nobody'
    UPDATE payments SET amount = 0
    UPDATE payments SET idempotency_key = gen_random_uuid()
    DELETE FROM payments
    UPDATE orders SET user_id = 1
    DELETE FROM orders
    DELETE FROM order_items
    UPDATE order_items SET price = 0
    UPDATE users SET is_staff = true
    UPDATE users SET password_hash = ''
    DELETE FROM users
    INSERT INTO users (username, email, password_hash, is_staff) VALUES ('a', 'a@b', '$argon2id$', true)
    SELECT setval('catalogue_version', 1)
"""

MAY_NOT = {
    "till-api": """
        DELETE FROM audit
        DELETE FROM jobs
        UPDATE jobs SET state = 'SUCCESS', finished_at = now()
        UPDATE jobs SET args = '[]'
        SELECT * FROM job_errors
        SELECT * FROM job_logs
        SELECT * FROM audit
        SELECT * FROM dashboard_sessions
        INSERT INTO dashboard_sessions VALUES ('\\x00', 'admin', now(), now())
        SELECT * FROM sales_reports
        INSERT INTO tasks VALUES ('t', 'default', 1, false)
        INSERT INTO queues (name) VALUES ('default')
        INSERT INTO limits (scope) VALUES ('queue')
        INSERT INTO worker_orders (whom) VALUES ('all')
        SELECT * FROM schedules
        UPDATE schedules SET paused_at = now()
        DELETE FROM refresh_tokens
        UPDATE refresh_tokens SET expires_at = 'infinity'
        DELETE FROM idempotency_keys
        UPDATE idempotency_keys SET body = ''
    """,
    "till-worker": """
        SELECT * FROM users
        SELECT password_hash FROM users
        SELECT count(*) FROM users u WHERE u.password_hash LIKE '$argon2id$%'
        INSERT INTO users (username, email, password_hash) VALUES ('a', 'a@b', '$argon2id$')
        SELECT family FROM refresh_tokens
        INSERT INTO refresh_tokens (jti_hash, family, user_id, expires_at)
            VALUES ('\\x00', gen_random_uuid(), 1, now())
        SELECT body FROM idempotency_keys
        INSERT INTO idempotency_keys (user_id) VALUES (1)
        SELECT * FROM audit
        SELECT * FROM dashboard_sessions
        INSERT INTO dashboard_sessions VALUES ('\\x00', 'admin', now(), now())
        INSERT INTO audit (actor) VALUES ('me')
        INSERT INTO payments (id) VALUES (gen_random_uuid())
        INSERT INTO orders (user_id) VALUES (1)
        UPDATE orders SET total_amount = 0
        UPDATE products SET price = 0
        INSERT INTO products (name, price, category_id) VALUES ('a', 1, 1)
        DELETE FROM products
        SELECT * FROM gateway_events
        SELECT * FROM shopping_carts
        SELECT * FROM reviews
        UPDATE queues SET paused_at = NULL
        UPDATE limits SET rate = NULL
        DELETE FROM limits
        UPDATE worker_orders SET quiet = false
        SELECT * FROM schedules
        SELECT * FROM job_replays
    """,
    "till-scheduler": """
        DELETE FROM audit
        SELECT * FROM users
        SELECT password_hash FROM users
        SELECT * FROM refresh_tokens
        SELECT * FROM idempotency_keys
        SELECT * FROM orders
        UPDATE orders SET order_status = 'paid'
        SELECT * FROM payments
        UPDATE payments SET status = 'succeeded'
        INSERT INTO payment_events (payment_id, to_status, actor) VALUES (gen_random_uuid(), 'paid', 'me')
        SELECT * FROM products
        UPDATE products SET stock_quantity = 0
        SELECT * FROM sales
        DELETE FROM jobs
        SELECT * FROM job_logs
        SELECT * FROM job_errors
        SELECT * FROM audit
        SELECT * FROM dashboard_sessions
        UPDATE queues SET paused_at = NULL
        UPDATE limits SET rate = NULL
        UPDATE tasks SET max_attempts = 1
        INSERT INTO worker_orders (whom) VALUES ('all')
    """,
    "till-dashboard": """
        DELETE FROM audit
        SELECT * FROM users
        SELECT password_hash FROM users
        SELECT email FROM users
        SELECT * FROM refresh_tokens
        SELECT * FROM idempotency_keys
        SELECT * FROM orders
        UPDATE orders SET order_status = 'paid'
        SELECT * FROM order_items
        SELECT * FROM payments
        SELECT payment_token FROM payments
        UPDATE payments SET status = 'succeeded'
        SELECT * FROM payment_events
        SELECT * FROM gateway_events
        SELECT * FROM products
        SELECT * FROM sales
        SELECT * FROM shopping_carts
        SELECT * FROM reviews
        UPDATE tasks SET max_attempts = 1
        INSERT INTO schedules (name) VALUES ('mine')
        UPDATE schedules SET task = 'till.tasks.noop'
        UPDATE schedules SET cron = '* * * * *'
        DELETE FROM schedules
        DELETE FROM schedule_runs
        DELETE FROM job_errors
        UPDATE job_errors SET error = ''
        UPDATE job_replays SET made_by = 'nobody'
        UPDATE dashboard_sessions SET username = 'admin'
    """,
}


def statements(text):
    """One a line; one that is indented further goes on with the line before it."""
    text = re.sub(r"\n {12,}", " ", text)
    return [line.strip() for line in text.splitlines() if line.strip()]


def refused(connection, sql):
    """Whether it is refused for want of a privilege, and for no other reason."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(sql)
        except psycopg2.errors.InsufficientPrivilege:
            return True
        except psycopg2.Error as error:
            return f"another error: {error}"
        finally:
            connection.rollback()
    return False


def answer(url, sql):
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


def name_of(url):
    return url.rpartition("/")[2]


@pytest.mark.parametrize("user", USERS)
def test_what_a_program_may_not_do_in_the_database(user, postgres, database_url):
    connection = psycopg2.connect(postgres.url(name_of(database_url), LOGINS[user]))
    tried = statements(NOBODY.replace("    ", "")) + statements(MAY_NOT[user])
    outcomes = {sql: refused(connection, sql) for sql in tried}
    connection.close()
    wrong = {sql: outcome for sql, outcome in outcomes.items() if outcome is not True}
    assert not wrong
    assert len(outcomes) > 55


def test_nobody_but_the_api_sees_a_password_and_nobody_at_all_changes_a_ledger(database_url):
    """The whole matrix, so that a table or a grant of tomorrow is judged, too."""
    roles = [user.replace("-", "_") for user in USERS]
    rows = answer(
        database_url,
        "SELECT r, c.relname, a.attname, p FROM unnest(ARRAY['SELECT', 'UPDATE']) p,"
        f" unnest(ARRAY{roles}) r, pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0"
        " AND NOT a.attisdropped AND has_column_privilege(r, c.oid, a.attnum, p)",
    )
    may = {}
    for role, table, column, privilege in rows:
        may.setdefault((privilege, f"{table}.{column}"), set()).add(role)
    assert may["SELECT", "users.password_hash"] == {"till_api"}
    assert may["SELECT", "payments.payment_token"] == {"till_api", "till_worker"}
    assert may["SELECT", "audit.actor"] == {"till_dashboard"}
    for column in ("amount", "currency", "order_id", "idempotency_key", "refund_key", "payment_token"):
        assert ("UPDATE", f"payments.{column}") not in may
    changed = {name.partition(".")[0] for privilege, name in may if privilege == "UPDATE"}
    assert not changed & {"users", "payment_events", "audit", "order_items", "schema_migrations"}
    removed = answer(
        database_url,
        f"SELECT r, c.relname FROM unnest(ARRAY{roles}) r, pg_class c"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
        " AND has_table_privilege(r, c.oid, 'DELETE')",
    )
    ledgers = {"users", "orders", "order_items", "payments", "payment_events", "schema_migrations"}
    assert not ledgers & {table for _, table in removed}


def test_every_name_in_the_grants_exists(database_url):
    """A misspelt table would be left out silently."""
    with open(os.path.join(programs.ROOT, "sql", "grants.sql"), encoding="utf-8") as file:
        text = file.read().partition("wanted (")[0]
    lines = re.findall(r"\('(till_\w+)', '([^']*)', '([^']*)',\s+'([^']*)'\)", text)
    assert len(lines) > 25
    found = answer(
        database_url,
        "SELECT c.relname, array_agg(a.attname::text) FROM pg_class c JOIN pg_attribute a"
        " ON a.attrelid = c.oid WHERE c.relnamespace = 'public'::regnamespace GROUP BY 1",
    )
    columns = {table: set(names) for table, names in found}
    for role, privileges, tables, named in lines:
        assert role in ("till_api", "till_worker", "till_scheduler", "till_dashboard")
        assert set(privileges.split()) <= {"SELECT", "INSERT", "UPDATE", "DELETE", "USAGE"}
        for table in tables.split():
            assert set(named.split()) <= columns[table], (role, table)


def grants(url):
    """All that is granted to the roles, and the version of each table's and column's row."""
    rows = answer(
        url,
        "WITH x AS (SELECT c.relname, '' AS col, c.xmin, c.relacl AS acl FROM pg_class c"
        "  WHERE c.relnamespace = 'public'::regnamespace"
        "  UNION ALL SELECT c.relname, a.attname, a.xmin, a.attacl FROM pg_class c, pg_attribute a"
        "  WHERE c.relnamespace = 'public'::regnamespace AND a.attrelid = c.oid)"
        " SELECT x.relname, x.col, x.xmin::text, r.rolname, g.privilege_type"
        " FROM x, aclexplode(x.acl) g JOIN pg_roles r ON r.oid = g.grantee AND r.rolname LIKE 'till\\_%'",
    )
    return {(table, col, role, privilege) for table, col, _, role, privilege in rows}, set(rows)


def test_migrating_again_brings_back_exactly_what_is_written_and_touches_nothing_else(database_url):
    before, versions = grants(database_url)
    assert len(before) > 200
    assert programs.run("till", {"DATABASE_URL": database_url}, "migrate").returncode == 0
    assert grants(database_url)[1] == versions

    answer(
        database_url,
        "REVOKE INSERT ON jobs FROM till_api; REVOKE SELECT (email) ON users FROM till_worker;"
        " GRANT DELETE ON orders TO till_dashboard; GRANT SELECT ON users TO till_worker;"
        " GRANT UPDATE (password_hash) ON users TO till_scheduler; CREATE TABLE new_one (id int);"
        " GRANT ALL ON new_one TO till_api",
    )
    assert len(grants(database_url)[0] ^ before) > 8
    done = programs.run("till", {"DATABASE_URL": database_url}, "migrate")

    assert done.returncode == 0, done.stderr
    assert grants(database_url)[0] == before


@pytest.fixture
def bare_server(cluster, run_folder):
    """A server without the roles."""
    server = cluster.new_server(run_folder, "pgroles")
    answer(server.url(TEMPLATE), "".join(f"DROP OWNED BY till_{u[5:]};" for u in USERS))
    for user in USERS:
        server.run(f"DROP ROLE {LOGINS[user]}")
        server.run(f"DROP ROLE {user.replace('-', '_')}")
    yield server
    server.stop("immediate")


def test_four_databases_that_make_the_roles_at_once_all_succeed(bare_server):
    """Roles belong to the server: in each database one of the four meets another's."""
    for number in range(4):
        bare_server.new_database(f"db{number}")
        bare_server.run(f"ALTER DATABASE db{number} OWNER TO {OWNER}")
    bare_server.run(f"ALTER ROLE {OWNER} NOCREATEROLE")
    settings = {"DATABASE_URL": bare_server.url("db0", OWNER)}
    done = programs.run("till", settings, "migrate")
    assert done.returncode == 0, "without the roles there is nothing to grant"
    done = programs.run("till", settings, "migrate", "--roles")
    assert done.returncode == 1, "who may not make roles is told"
    assert "role" in done.stderr

    bare_server.run(f"ALTER ROLE {OWNER} CREATEROLE")
    running = [
        processes.spawn(
            [programs.path_of("till"), "migrate", "--roles"],
            signal.SIGKILL,
            env=programs.environment({"DATABASE_URL": bare_server.url(f"db{number}", OWNER)}),
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, errors

    bare_server.run(f"ALTER ROLE {OWNER} NOCREATEROLE")
    done = programs.run("till", settings, "migrate", "--roles")
    assert done.returncode == 0, "roles that are there need nobody who may make them"
    bare_server.make_logins()
    for number in range(4):
        answer(bare_server.url(f"db{number}", LOGINS["till-api"]), JOB)


# ---- Redis ----

# Of everybody, on keys of ours and of others.
DANGEROUS = """
    FLUSHALL|FLUSHDB|CONFIG GET *|CONFIG SET maxmemory 1|SHUTDOWN NOSAVE|SAVE|BGSAVE|BGREWRITEAOF
    KEYS *|SCAN 0|RANDOMKEY|DBSIZE|MONITOR|SLOWLOG GET|CLIENT LIST|CLIENT KILL ID 1|CLIENT PAUSE 1
    ACL LIST|ACL SETUSER default nopass|ACL WHOAMI|MODULE LIST|REPLICAOF NO ONE|FAILOVER|CLUSTER INFO
    EVAL return 0|FUNCTION LIST|FUNCTION FLUSH|SCRIPT FLUSH|SCRIPT KILL|SWAPDB 0 1|MIGRATE h 1 k 0 1
    PUBLISH till x|SUBSCRIBE till|XTRIM till:{default}:normal MAXLEN 0|DEL till:{default}:normal
    UNLINK till:{default}:normal|RENAME till:{default}:normal till:{default}:x|EXPIRE till:{default}:normal 1
    XGROUP DESTROY till:{default}:normal till|XGROUP DELCONSUMER till:{default}:normal till c
    XGROUP SETID till:{default}:normal till $|XSETID till:{default}:normal 0-1|COPY till:workers x
    DUMP till:workers|RESTORE till:workers 0 x|OBJECT ENCODING till:workers|SORT till:workers
    GET session:1|SET session:1 x|DEL session:1|XADD session * a b|GET till|GET other:{default}:normal
    XADD xtill:{default}:normal * a b|XLEN sessions|ZRANGE sessions 0 -1|INCR counter
"""
READING = """
    XREADGROUP GROUP till c STREAMS till:{default}:normal >|XACK till:{default}:normal till 0-1
    XDEL till:{default}:normal 0-1|XCLAIM till:{default}:normal till c 0 0-1
    XAUTOCLAIM till:{default}:normal till c 0 0|XGROUP CREATE till:{default}:normal till 0
    SET till:{default}:bucket 0|EVALSHA x 0|SCRIPT LOAD x|CLIENT UNBLOCK 1|XADD till:events * a b
    SET till:worker:a x|DEL till:worker:a|ZADD till:workers 1 a|DEL till:workers|DEL till:events
"""
OF_THE_API = """
    GET till:guesses:gate:x|SET till:guesses:gate:x 1|INCR till:guesses:account:x|DEL till:guesses:gate:x
    GETEX till:cache:1:x|SET till:cache:1:x y|DEL till:cache:1:x
"""
REDIS_MAY_NOT = {
    "till-api": READING + "INFO|GET till:worker:a:report|ZRANGE till:workers 0 -1|XREAD STREAMS till:events 0",
    "till-worker": OF_THE_API + "INFO|XREAD STREAMS till:events 0|DEL till:workers|DEL till:events",
    "till-scheduler": READING + OF_THE_API + "INFO",
    "till-dashboard": READING + OF_THE_API,
}


def commands_in(text):
    return [command.strip() for command in text.replace("\n", "|").split("|") if command.strip()]


def redis_refuses(client, command):
    try:
        client.execute_command(*command.split())
    except redis_client.exceptions.NoPermissionError:
        return True
    except redis_client.ResponseError as error:
        return "no permissions" in str(error).lower() or f"another error: {error}"
    return False


@pytest.mark.parametrize("user", USERS)
def test_what_a_program_may_not_do_at_redis(user, redis_server):
    with redis_server.client(username=user, password=redis_server.password) as client:
        assert client.ping()
        commands = commands_in(DANGEROUS + REDIS_MAY_NOT[user])
        outcomes = {command: redis_refuses(client, command) for command in commands}
    redis_server.flush()  # what it has noted of all that is expected here
    assert not {command: outcome for command, outcome in outcomes.items() if outcome is not True}
    assert len(outcomes) > 65


def test_the_file_of_users_lets_nobody_in_before_it_has_passwords(run_folder):
    """As a site includes it: the users have no password yet, and the one without a name is off."""
    account = processes.server_account()
    folder = folders.subfolder(run_folder, "redisusers", account, 0o755)
    shutil.copy(os.path.join(redis.ETC, "redis-users.conf"), folder)
    os.chmod(os.path.join(folder, "redis-users.conf"), 0o644)
    socket = os.path.join(folder, "redis.sock")
    command = ["redis-server", os.path.join(folder, "redis-users.conf"), "--port", "0"]
    command += ["--unixsocket", socket, "--unixsocketperm", "777", "--dir", folder, "--save", ""]
    server = processes.spawn(command, signal.SIGKILL, account, cwd="/", stdout=subprocess.DEVNULL)
    try:
        for credentials in [{}, *({"username": u, "password": p} for u in USERS for p in ("", "x", u))]:
            with redis_client.Redis(unix_socket_path=socket, **credentials) as client:
                assert wait_for(lambda: knock(client), 30) == "refused"
    finally:
        processes.kill_tree(server)


def knock(client):
    try:
        return client.ping() and "let in"
    except (redis_client.exceptions.AuthenticationError, redis_client.exceptions.ResponseError):
        return "refused"
    except redis_client.exceptions.ConnectionError:
        return None  # not up yet


def test_the_programs_come_as_their_own_users(stack):
    one = stack().start(dashboards=1)
    rows = one.query(
        "SELECT DISTINCT usename, application_name FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'till-%%'"
    )
    by_name = {}
    for row in rows:
        program = re.match(r"till-[a-z]+", row["application_name"])[0]
        by_name.setdefault(program, set()).add(row["usename"])
    assert {name: {LOGINS[name]} for name in by_name} == by_name
    assert "till-worker" in by_name and "till-scheduler" in by_name
    users = {(c["name"], c["user"]) for c in one.redis.client_list() if c["name"].startswith("till")}
    assert users and all(name.startswith(user) for name, user in users), users

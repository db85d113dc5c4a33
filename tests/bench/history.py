# SPDX-License-Identifier: MIT
"""A history of finished jobs as a busy shop leaves it behind: any number of rows, made by PostgreSQL
itself, each with an id of its time, over the last thirty days; and what a busy moment adds to it."""

DAYS = 30
CHUNK = 250_000

# $1 first number, $2 last, $3 of how many, $4 when they all end. One in 40 is dead, one in 200 revoked.
INSERT = """
INSERT INTO jobs (id, task, queue, state, attempt, worker, args, kwargs, result, error,
    created_at, scheduled_at, enqueued_at, started_at, finished_at)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(h, 1, 3)
        || '8' || substr(h, 4, 15))::uuid,
    CASE WHEN n % 50000 = 7 THEN 'reports.tasks.daily_sales' WHEN n % 2 = 0 THEN 'payments.tasks.process_payment'
        WHEN n % 10 = 1 THEN 'till.tasks.noop' ELSE 'payments.tasks.send_order_confirmation_email' END,
    CASE WHEN n % 50000 = 7 THEN 'reports' WHEN n % 2 = 0 THEN 'payments' WHEN n % 10 = 1 THEN 'default'
        ELSE 'mail' END,
    state, 1 + n %% 3, 'host' || n % 4 || ':' || n % 3,
    CASE WHEN n % 2 = 0 THEN jsonb_build_array(h::uuid) ELSE jsonb_build_array(n) END,
    jsonb_build_object('user', n % 100003, 'email', 'customer' || n % 100003 || '@example.com',
        'note', (ARRAY['gift wrapping', 'express delivery', 'leave with the neighbour', 'call before noon'])[1 + n % 4]),
    CASE WHEN state = 'SUCCESS' THEN jsonb_build_object('ok', true, 'amount', (n % 900 + 1) || '.00',
        'reference', 'ch_' || substr(h, 20, 12)) END,
    CASE WHEN state = 'FAILURE' THEN (ARRAY['the gateway answered 503', 'connection timed out after 30 s',
        'the mail server refused the recipient', 'no order ' || n || ' is there'])[1 + n / 40 % 4] END,
    at, at, at, at + interval '20 ms', at + interval '20 ms' + (n % 700) * interval '1 ms'
FROM (SELECT n, md5(n::text) AS h, %(end)s::timestamptz - interval '30 days' * (1 - n::float8 / %(of)s) AS at,
    (CASE WHEN n % 40 = 3 THEN 'FAILURE' WHEN n % 200 = 9 THEN 'REVOKED' ELSE 'SUCCESS' END)::job_state AS state
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) n) x
""".replace("n % ", "n %% ").replace("40 % 4", "40 %% 4")


def load(connection, count, progress=lambda done: None):
    """Fills an empty table of jobs; triggers judge none of them."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("SELECT now() - interval '10 minutes'")
        (end,) = cursor.fetchone()
        for first in range(1, count + 1, CHUNK):
            last = min(count, first + CHUNK - 1)
            cursor.execute(INSERT, {"first": first, "last": last, "of": count, "end": end})
            progress(last)
        cursor.execute("SET session_replication_role = DEFAULT")
        cursor.execute("VACUUM (ANALYZE) jobs")


# What waits: of ten six ready, three for their time within the next days, one for its next attempt.
WAITING = """
INSERT INTO jobs (id, task, queue, state, attempt, args, kwargs, error, created_at, scheduled_at, enqueued_at)
SELECT new_job_id(), CASE WHEN n % 50000 = 7 THEN 'reports.tasks.daily_sales' WHEN n % 2 = 0 THEN 'payments.tasks.process_payment'
        ELSE 'payments.tasks.send_order_confirmation_email' END,
    CASE WHEN n % 2 = 0 THEN 'payments' ELSE 'mail' END, state, attempt, jsonb_build_array(n),
    jsonb_build_object('user', n % 100003, 'email', 'waiting' || n % 100003 || '@example.com',
        'note', (ARRAY['gift wrapping', 'express delivery', 'leave with the neighbour', 'call before noon'])[1 + n % 4]),
    error, now(), at, CASE WHEN n % 10 < 6 THEN now() END
FROM (SELECT n, (CASE WHEN n % 10 = 9 THEN 'RETRY' ELSE 'PENDING' END)::job_state AS state,
    (n % 10 = 9)::int AS attempt, CASE WHEN n % 10 = 9 THEN 'the gateway answered 503' END AS error,
    now() + CASE WHEN n % 10 < 6 THEN interval '0' ELSE interval '1 hour' + n % 7919 * interval '1 minute' END AS at
    FROM generate_series(1, %(count)s::bigint) n) x
""".replace("n % ", "n %% ")

# What has ended within the last seconds: the index has not come to it.
RECENT = """
INSERT INTO jobs (id, task, queue, state, attempt, worker, args, kwargs, result, started_at, finished_at)
SELECT new_job_id(), 'till.tasks.noop', 'default', 'SUCCESS', 1, 'host1:1', jsonb_build_array(n),
    jsonb_build_object('user', n % 100003, 'email', 'recent' || n % 100003 || '@example.com', 'note', 'call before noon'),
    jsonb_build_object('ok', true, 'amount', (n % 900 + 1) || '.00', 'reference', 'ch_' || md5(n::text)),
    now(), now() + n % 700 * interval '1 ms'
FROM generate_series(1, %(count)s::bigint) n
""".replace("n % ", "n %% ")


def add(connection, statement, count):
    """WAITING or RECENT; triggers judge none of them."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement, {"count": count})
        cursor.execute("SET session_replication_role = DEFAULT")
        cursor.execute("ANALYZE jobs")

"""The invariants I1 to I12 as functions: what must hold whatever dies. Each gives what it found, one
text a finding; none when all is well.

Some can be judged while customers go on (ALWAYS: each asks one statement, or asks in the order that
cannot mislead), the others when everything has come to rest (AT_REST). What only the test can know
(whom it killed, what customers were told) stands in `Known`.
"""

import os

from . import books
from .gateway import WEBHOOK_SECRET
from .shop import PASSWORD
from .wait import TooLate, wait_for

LAZY = 200  # connections of slots and of API threads are opened when first used, two for each


class Known:
    """What the database cannot tell."""

    def __init__(self):
        self.orders = []  # ids that customers were told of
        self.payments = []
        self.jobs = []  # ids of jobs whose commit was acknowledged, and that shall succeed
        self.killed = 0  # processes that the test has ended by kill -9
        self.crashes = 0  # of them, and of those it has frozen, workers': so many mails may be there twice
        self.dead = 0  # jobs that shall end in FAILURE
        self.unpaid = False  # customers may have given up between order and payment
        self.recoveries = []  # seconds from a healing to the first job that began after it
        self.recovery_limit = 30
        self.sizes = {}  # sizes() when each was first seen at rest
        self.waits = []  # seconds that jobs of a queue that nobody troubled took
        self.waits_limit = 30
        self.ended = set()  # pids of programs that the test has ended
        self.signals = {9}  # by which it ends worker processes
        self.mails = []  # that have come so far
        self.offsets = {}  # how far each log has been read


def i1_nothing_is_lost(one, known):
    """Every order, payment and job that somebody was told of is there, and comes to its end."""
    found = []
    for table, kind, ids in (
        ("orders", "bigint", known.orders),
        ("payments", "uuid", known.payments),
        ("jobs", "uuid", known.jobs),
    ):
        rows = one.query(
            f"SELECT id FROM unnest(%s::{kind}[]) AS told(id)"
            f" WHERE NOT EXISTS (SELECT FROM {table} WHERE {table}.id = told.id)",
            list(ids),
        )
        found += [f"{table} has no {row['id']}, which somebody was told of" for row in rows]
    return found


def i1_everything_ends(one, known):
    """I1, at rest: nothing is left open, nothing is dead that should not be."""
    found = settled(lambda: [f"still open: {name}: {rows}" for name, rows in books.unsettled(one).items()])
    dead = one.query("SELECT id, task, attempt, error FROM jobs WHERE state = 'FAILURE'")
    if len(dead) != known.dead:
        found.append(f"{len(dead)} jobs ended in FAILURE, not {known.dead}: {dead[:3]}")
    rows = one.query(
        "SELECT id, state, error FROM jobs WHERE id = ANY (%s::uuid[]) AND state <> 'SUCCESS'",
        list(known.jobs),
    )
    found += [f"a job that should succeed: {row}" for row in rows if row["state"] != "FAILURE"]
    if not known.unpaid:
        rows = one.query(
            "SELECT id, order_status FROM orders"
            " WHERE order_status NOT IN ('paid', 'payment_failed', 'refunded')"
        )
        found += [f"order neither paid nor payment_failed: {row}" for row in rows]
    return found


def i2_one_charge(one, _):
    """By the gateway's own ledger: at most one charge that took money for a key and for an order."""
    payments = {}
    orders = {}
    for charge in one.gateway.effective_charges():
        payments.setdefault(charge["idempotency_key"], []).append(charge["id"])
    rows = one.query("SELECT idempotency_key::text AS key, order_id FROM payments")
    order_of = {row["key"]: row["order_id"] for row in rows}
    for key, charges in payments.items():
        orders.setdefault(order_of.get(key), []).extend(charges)
    found = [f"key {key} charged {len(ids)} times: {ids}" for key, ids in payments.items() if len(ids) > 1]
    found += [f"a charge of no payment of ours: {ids}" for order, ids in orders.items() if order is None]
    found += [f"order {order} charged by {ids}" for order, ids in orders.items() if order and len(ids) > 1]
    return found


def i2_one_effect(one, _):
    """The same for jobs: an effect in the database is there once, and its row says SUCCESS; of a job of many
    parts as many are there as its checkpoint says."""
    rows = one.query(
        "SELECT e.job_id, count(*) AS times, max(j.state::text) AS state FROM trial_entries e"
        " LEFT JOIN jobs j ON j.id = e.job_id GROUP BY e.job_id"
        " HAVING CASE WHEN max(j.task) = 'till.tasks.tally_steps'"
        "  THEN count(*) IS DISTINCT FROM max((j.checkpoint #>> '{}')::int)"
        "  OR max(j.state::text) = 'SUCCESS' AND count(*) <> max((j.args ->> 1)::int)"
        "  ELSE count(*) > 1 OR max(j.state::text) IS DISTINCT FROM 'SUCCESS' END"
    )
    return [f"effect of job {row['job_id']}: {row['times']} times, {row['state']}" for row in rows]


def i3_order_and_payment_agree(one, _):
    """A paid order has exactly one succeeded payment of its amount; no other order has any."""
    return impossible(one, "paid order without exactly", "succeeded payment", "order payment_failed")


def i3_gateway_agrees(one, _):
    """I3, at rest: each succeeded payment has its charge, each charge its succeeded payment."""
    return books.charge_problems(one)


def i4_goods_and_totals(one, _):
    """Stock and what orders hold add up; totals are the sums of the items."""
    return impossible(one, "stock below", "order that does not", "order without") + books.stock_problems(one)


def mails_of(one, known):
    known.mails += one.mail.messages_after(known.mails[-1].number if known.mails else 0)
    return known.mails


def i5_mail(one, known):
    """No mail about an order that is not paid; copies have one Message-ID, and are no more than the
    crashes that can have caused them."""
    mails = mails_of(one, known)  # before the orders: what is paid stays so
    problems = books.mail_problems_of(one, mails)
    copies = len(mails) - len({mail.message_id for mail in mails})
    if copies > known.crashes:
        problems.append(f"{copies} mails too many after {known.crashes} crashes")
    return problems


def i5_every_mail_went_out(one, known):
    """I5, at rest: each paid order has its mail."""
    return books.missing_mails(one, mails_of(one, known)) + impossible(one, "paid order without a job")


def i6_events_are_a_path(one, _):
    """Each payment's events lead, unbroken, to its status."""
    return impossible(one, "payment whose events")


def i6_attempts_have_errors(one, _):
    """I6, at rest: each attempt of a job but the one that succeeded has left its error. A worker that
    was told to end has given jobs back: an attempt without an error, and one more that is allowed."""
    rows = one.query(
        "SELECT * FROM (SELECT j.id, j.task, j.state, j.attempt, j.max_attempts, count(e.job_id) AS errors,"
        "  j.attempt - (j.state = 'SUCCESS')::int - count(e.job_id) AS silent,"
        "  greatest(0, j.max_attempts - t.max_attempts) AS given_back"
        "  FROM jobs j JOIN tasks t ON t.name = j.task LEFT JOIN job_errors e ON e.job_id = j.id"
        "  WHERE j.snoozes IS NULL AND j.state IN ('SUCCESS', 'FAILURE') AND j.max_attempts >= t.max_attempts"
        "  GROUP BY j.id, t.max_attempts) a WHERE silent NOT BETWEEN 0 AND given_back LIMIT 5"
    )
    return [f"attempts without their errors: {row}" for row in rows]


def i7_liveness(_, known):
    """After each healing a job began and ended soon, with nobody's help."""
    late = [s for s in known.recoveries if s > known.recovery_limit]
    return [f"no job for {s:.1f} s after the fault was over" for s in late]


def sizes(one):
    """What must not grow: connections, and what each program holds."""
    found = {
        "PostgreSQL connections": one.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        ),
        "Redis clients": len(one.redis.client_list()),
    }
    for program in one.programs:
        for pid in program.family():
            try:
                found[f"descriptors of {program.name} {pid}"] = len(os.listdir(f"/proc/{pid}/fd"))
                found[f"threads of {program.name} {pid}"] = len(os.listdir(f"/proc/{pid}/task"))
            except OSError:
                continue
    return found


def pending(one):
    found = []
    for key in books.streams(one):
        if one.redis.exists(key) and one.redis.xpending(key, "till")["pending"]:
            found.append(f"{key} has entries pending")
    return found


def i8_bounded(one, known):
    """At rest: nothing waits or pends in a stream, and nothing has grown."""
    found = settled(lambda: pending(one))
    for name, now in sizes(one).items():
        before = known.sizes.setdefault(name, now)
        if now > before * 1.05 + LAZY:
            found.append(f"{name}: {now}, {before} at the beginning")
    return found


def i9_isolation(_, known):
    """Jobs of a queue with a worker of its own went on meanwhile."""
    late = [wait for wait in known.waits if wait > known.waits_limit]
    return [f"{len(late)} jobs of an untroubled queue waited up to {max(late):.1f} s"] if late else []


def i10_each_tick_once(one, _):
    """Every tick of a schedule fired, and has exactly one job."""
    rows = one.query(
        "SELECT s.name, count(r.tick) AS ticks, count(r.job_id) AS fired, count(DISTINCT r.job_id) AS jobs,"
        " (SELECT count(*) FROM jobs j WHERE j.headers->>'schedule' = s.name AND NOT EXISTS ("
        "  SELECT FROM schedule_runs h WHERE h.job_id = j.id AND h.by_hand)) AS made,"
        " extract(epoch FROM max(r.tick) - min(r.tick))::bigint + 1 AS seconds"
        " FROM schedules s JOIN schedule_runs r ON r.schedule = s.name"
        " WHERE s.cron = '* * * * * *' AND NOT r.by_hand GROUP BY s.name"
    )
    return [
        f"ticks of schedule {row['name']} without exactly one job each: {row}"
        for row in rows
        if len({row["ticks"], row["fired"], row["jobs"], row["made"], row["seconds"]}) > 1
    ]


def new_log_texts(one, known):
    """(program, what it has logged since the last look)."""
    for program in one.programs:
        with open(program.log, encoding="utf-8", errors="replace") as file:
            file.seek(known.offsets.get(program.log, 0))
            text = file.read()
            known.offsets[program.log] = file.tell()
        yield program, text


def i11_and_i12_logs(one, known):
    """I11: no secret, no password, no token in any log. I12: no process ended but by us."""
    secrets = {one.settings[name] for name in ("GATEWAY_SECRET_KEY", "JWT_SECRET")}
    secrets |= {WEBHOOK_SECRET, PASSWORD, "Bearer ey", "4242424242424242"}
    found = []
    for program, text in new_log_texts(one, known):
        found += [f"{program.log} shows a secret: {secret[:6]}..." for secret in secrets if secret in text]
        for line in text.splitlines():
            if '"process_died"' in line and not any(f'"signal":{n},' in line for n in known.signals):
                found.append(f"a worker process ended by itself: {line}")
    for program in one.programs:
        if program.process and not program.is_running() and program.pid not in known.ended:
            known.ended.add(program.pid)
            found.append(f"{program.name} ended by itself: {program.process.returncode}\n{program.tail(5)}")
    return found


def impossible(one, *beginnings):
    """Rows that must not exist, of those statements of the books."""
    return [
        f"{name}: {row}"
        for name, sql in books.IMPOSSIBLE.items()
        if name.startswith(beginnings)
        for row in one.query(sql)
    ]


ALWAYS = (
    i1_nothing_is_lost, i2_one_charge, i2_one_effect, i3_order_and_payment_agree, i4_goods_and_totals,
    i5_mail, i6_events_are_a_path, i7_liveness, i9_isolation, i10_each_tick_once, i11_and_i12_logs,
)
# What says something about the last fault alone, or reads only what is new.
AT_ONCE = (i7_liveness, i9_isolation, i11_and_i12_logs)
AT_REST = (
    *ALWAYS, i1_everything_ends, i3_gateway_agrees, i5_every_mail_went_out, i6_attempts_have_errors,
    i8_bounded,
)


def settled(find, seconds=20):
    """What `find` still finds after a while: schedules go on, even at rest."""
    try:
        wait_for(lambda: not find(), seconds)
    except TooLate:
        return find()
    return []


def judge(one, known, which=ALWAYS):
    """What they found: texts that begin with the name of the invariant."""
    return [f"{check.__name__}: {text}" for check in which for text in check(one, known)]


def is_doubling(finding):
    """Whether a finding says that something happened twice; the others say that something is lost
    or not as it should be."""
    return finding.startswith(("i2_", "i5_mail:"))

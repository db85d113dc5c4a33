"""The books: what must be true of database, gateway, mail and streams after any test.

Each line of SQL gives the rows that must not exist. The numbers are those of the invariants that
tests/faults/README.md lists.
"""

UNFINISHED = "SELECT id, task, state, attempt, error FROM jobs WHERE state IN ('PENDING', 'STARTED', 'RETRY')"
UNSETTLED = "SELECT id, status FROM payments WHERE status IN ('pending', 'processing', 'unknown')"

IMPOSSIBLE = {
    "stock below zero": "SELECT id, stock_quantity FROM products WHERE stock_quantity < 0",
    "order that does not add up": """
        SELECT o.id FROM orders o LEFT JOIN order_items i ON i.order_id = o.id
        GROUP BY o.id HAVING o.total_amount <> coalesce(sum(i.price * i.quantity), 0)""",
    "order without items": """
        SELECT id FROM orders o WHERE NOT EXISTS (SELECT FROM order_items WHERE order_id = o.id)""",
    "paid order without exactly one succeeded payment of its amount": """
        SELECT o.id FROM orders o WHERE o.order_status = 'paid' AND 1 <> (
            SELECT count(*) FROM payments p WHERE p.order_id = o.id AND p.status = 'succeeded'
            AND p.amount = o.total_amount AND p.currency = o.currency)""",
    "succeeded payment of an order that is not paid": """
        SELECT p.id, o.order_status FROM payments p JOIN orders o ON o.id = p.order_id
        WHERE p.status = 'succeeded' AND o.order_status <> 'paid'""",
    "order payment_failed without a failed payment": """
        SELECT id FROM orders o WHERE order_status = 'payment_failed' AND NOT EXISTS (
            SELECT FROM payments p WHERE p.order_id = o.id AND p.status = 'failed')""",
    "payment whose events are no path to its status": """
        SELECT p.id, array_agg(e.to_status ORDER BY e.id) FROM payments p
        JOIN (SELECT *, lag(to_status) OVER (PARTITION BY payment_id ORDER BY id) AS before,
                     last_value(to_status) OVER (PARTITION BY payment_id ORDER BY id
                         ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS last
              FROM payment_events) e ON e.payment_id = p.id
        GROUP BY p.id HAVING bool_or(e.from_status IS DISTINCT FROM e.before)
            OR bool_or(e.last <> p.status)""",
    "paid order without a job for its confirmation": """
        SELECT o.id FROM orders o WHERE o.order_status = 'paid' AND NOT EXISTS (
            SELECT FROM jobs j WHERE j.task = 'payments.tasks.send_order_confirmation_email'
            AND j.args = jsonb_build_array(o.id))""",
}


def streams(stack):
    """{stream: entries} of all streams that carry jobs."""
    found = {}
    for key in stack.redis.scan_iter("till:{*}:*"):
        if key.rpartition(":")[2] in ("high", "normal", "low"):
            found[key] = stack.redis.xlen(key)
    return found


def unsettled(stack):
    """What is still open, or {} when all is done."""
    found = {
        "jobs": stack.query(UNFINISHED),
        "payments": stack.query(UNSETTLED),
        "streams": {key: count for key, count in streams(stack).items() if count},
    }
    return {name: value for name, value in found.items() if value}


def check(stack, dead=0, unpaid=False, extra_mails=False):
    """dead: jobs that end in FAILURE. unpaid: orders may be left without a payment. extra_mails:
    a crash between the mail server's 250 and our commit may have sent a mail again."""
    problems = []
    for name, sql in IMPOSSIBLE.items():
        problems += [f"{name}: {row}" for row in stack.query(sql)]
    if not unpaid:
        rows = stack.query(
            "SELECT id, order_status FROM orders WHERE order_status NOT IN ('paid', 'payment_failed')"
        )
        problems += [f"order neither paid nor payment_failed: {row}" for row in rows]
    problems += [f"still open: {unsettled(stack)}"] if unsettled(stack) else []
    failures = stack.query("SELECT id, task, attempt, error FROM jobs WHERE state = 'FAILURE'")
    if len(failures) != dead:
        problems.append(f"{len(failures)} jobs ended in FAILURE, not {dead}: {failures[:5]}")
    problems += stock_problems(stack) + charge_problems(stack) + mail_problems(stack, extra_mails)
    assert not problems, "the books do not balance:\n  " + "\n  ".join(map(str, problems[:30]))


def stock_problems(stack):
    """What is in stock and what stands in orders that hold their goods add up to the beginning."""
    held = stack.query(
        "SELECT p.id, p.stock_quantity + coalesce((SELECT sum(i.quantity) FROM order_items i"
        " JOIN orders o ON o.id = i.order_id WHERE i.product_id = p.id"
        " AND o.order_status IN ('pending', 'paid', 'payment_failed')), 0) AS known FROM products p"
    )
    known = {row["id"]: row["known"] for row in held}
    return [
        f"stock of product {product}: {known[product]} accounted for, {stock} at the beginning"
        for product, stock in stack.initial_stock.items()
        if known[product] != stock
    ]


def charge_problems(stack):
    """The gateway's ledger against our payments: one charge for each that succeeded, no other."""
    problems = []
    rows = stack.query(
        "SELECT id, order_id, idempotency_key, status, (amount * 100)::bigint AS minor FROM payments"
    )
    payments = {row["idempotency_key"]: row for row in rows}
    charged = {}
    orders = {}
    for charge in stack.gateway.effective_charges():
        payment = payments.get(charge["idempotency_key"])
        if payment is None:
            problems.append(f"charge of no payment of ours: {charge}")
            continue
        charged.setdefault(payment["id"], []).append(charge)
        orders.setdefault(payment["order_id"], []).append(charge["id"])
        if charge["amount"] != payment["minor"]:
            problems.append(f"charge of another amount: {charge['amount']} for {payment}")
        if payment["status"] != "succeeded":
            problems.append(f"charged, but the payment is {payment['status']}: {payment}")
    problems += [f"order {order} charged {len(ids)} times" for order, ids in orders.items() if len(ids) > 1]
    problems += [
        f"payment succeeded without a charge: {row}"
        for row in rows
        if row["status"] == "succeeded" and row["id"] not in charged
    ]
    return problems


def mail_problems(stack, extra_mails):
    """One mail for each paid order; more of one only with the same Message-ID."""
    mails = stack.mail.messages()
    return mail_problems_of(stack, mails, extra_mails) + missing_mails(stack, mails)


def mail_problems_of(stack, messages, extra_mails=True):
    """Mails that should not have gone out."""
    problems = []
    rows = stack.query("SELECT id FROM orders WHERE order_status IN ('paid', 'refunded')")
    paid = {row["id"] for row in rows}
    mails = {}
    for mail in messages:
        if mail.order_id is not None:
            mails.setdefault(mail.order_id, []).append(mail)
    for order, copies in mails.items():
        ids = {mail.message_id for mail in copies}
        if order not in paid:
            problems.append(f"mail about order {order}, which is not paid: {copies[0].subject}")
        elif len(ids) > 1:
            problems.append(f"mails with different ids about order {order}: {ids}")
        elif len(copies) > 1 and not extra_mails:
            problems.append(f"{len(copies)} mails about order {order}")
    return problems


def missing_mails(stack, messages):
    """Mails that should have gone out."""
    paid = {row["id"] for row in stack.query("SELECT id FROM orders WHERE order_status = 'paid'")}
    told = {mail.order_id for mail in messages}
    return [f"no mail about paid order {order}" for order in sorted(paid - told)]

"""What the shop's schedules do: expire, reconcile, report. Every test of money ends with the books."""

import threading
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest

from harness.shop import DECLINED
from harness.wait import wait_for
from test_money import INTENTS, charge_at_the_gateway, intents_posted, payment_of, was_sent

EXPIRE = "orders.tasks.expire_unpaid_orders"
RECONCILE = "payments.tasks.reconcile_payments"
SALES = "reports.tasks.daily_sales"


def run_task(one, task, *args, **columns):
    """Runs a job of the task to its end: its row."""
    return one.wait_job(one.enqueue(task, *args, **columns))


def make_older(one, order, hours):
    one.query(
        "UPDATE orders SET created_at = now() - %s * interval '1 hour' WHERE id = %s", hours, order["id"]
    )


def status(one, order):
    return one.value("SELECT order_status FROM orders WHERE id = %s", order["id"])


def stock(one, product):
    return one.value("SELECT stock_quantity FROM products WHERE id = %s", product)


# ---- unpaid orders ----


def test_plans_follow_a_table_that_has_just_grown(stack):
    """A session that has claimed from a small table keeps reading all of it, until it is analyzed."""
    one = stack()
    one.query("ALTER TABLE jobs SET (autovacuum_enabled = false)")
    with one.postgres.connect(one.database) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("SET plan_cache_mode = force_generic_plan")
            cursor.execute("PREPARE end_of (uuid[]) AS UPDATE jobs j SET error = NULL"
                           " FROM unnest($1) g(id) WHERE j.id = g.id")

            def plan():
                cursor.execute("EXPLAIN EXECUTE end_of ('{00000000-0000-7000-8000-000000000001}')")
                return "\n".join(line for (line,) in cursor.fetchall())

            one.query("INSERT INTO jobs (task, enqueued_at) VALUES ('till.tasks.noop', now())")
            assert "Seq Scan on jobs" in plan()
            one.query("INSERT INTO jobs (task, scheduled_at) SELECT 'till.tasks.noop', now() + interval '1 hour'"
                      " FROM generate_series(1, 5000)")
            assert "Seq Scan on jobs" in plan(), "nobody has told it"
            scheduler = one.start_scheduler()
            wait_for(lambda: "Index Scan" in plan(), 60, plan)
    scheduler.wait_for_log("tables_analyzed", timeout=30)


def test_plans_follow_a_table_that_was_analyzed_before_its_rows_were_committed(stack):
    """It has pages and no rows then: one index looks as good as any other for as long as nobody analyzes it anew."""
    one = stack()
    one.query("ALTER TABLE jobs SET (autovacuum_enabled = false)")
    with closing(one.postgres.connect(one.database)) as filling, filling.cursor() as cursor:
        filling.autocommit = False
        cursor.execute("INSERT INTO jobs (task, scheduled_at) SELECT 'till.tasks.noop', now() + interval '1 hour'"
                       " FROM generate_series(1, 50000)")
        one.query("ANALYZE jobs")
        filling.commit()

    def known():
        return one.value("SELECT reltuples FROM pg_class WHERE oid = 'jobs'::regclass")

    assert known() == 0
    scheduler = one.start_scheduler()
    wait_for(lambda: known() > 40000, 60, known)
    scheduler.wait_for_log("tables_analyzed", timeout=30)


def test_unpaid_orders_expire_and_give_their_stock_back_once(stack):
    one = stack().start()
    shop = one.shop().sign_up()
    pen, ink = one.product(stock=10), one.product(stock=10)
    old = shop.order((pen, 3), (ink, 2), (pen, 1))
    young = shop.order((pen, 1))
    make_older(one, old, 2)

    job = run_task(one, EXPIRE)

    assert job["result"] == {"expired": 1}
    assert (status(one, old), status(one, young)) == ("expired", "pending")
    assert (stock(one, pen), stock(one, ink)) == (9, 10)
    assert run_task(one, EXPIRE)["result"] == {"expired": 0}
    assert stock(one, pen) == 9
    assert shop.post_payment(old["id"]).status_code in (400, 409)
    one.settle(unpaid=True)


def test_an_order_with_a_payment_under_way_or_paid_never_expires(stack):
    one = stack().start(workers=0)
    shop = one.shop().sign_up()
    product = one.product(stock=20)
    orders = {name: shop.order((product, 1)) for name in ("pending", "processing", "unknown", "failed", "paid")}
    for name in ("pending", "processing", "unknown", "paid"):
        shop.pay(orders[name]["id"])
    declined = shop.pay(orders["failed"]["id"], DECLINED)
    one.query("UPDATE jobs SET scheduled_at = now() + interval '1 hour', enqueued_at = NULL")
    for order in orders.values():
        make_older(one, order, 48)
    for name in ("processing", "unknown", "paid"):
        one.query(
            "UPDATE payments SET status = 'processing', first_sent_at = now() WHERE order_id = %s",
            orders[name]["id"],
        )
    one.query("UPDATE payments SET status = 'unknown' WHERE order_id = %s", orders["unknown"]["id"])
    one.query("UPDATE payments SET status = 'failed' WHERE id = %s", declined["id"])
    one.query("UPDATE orders SET order_status = 'payment_failed' WHERE id = %s", orders["failed"]["id"])
    one.query(
        "UPDATE payments SET status = 'succeeded', paid_at = now(), gateway_reference = 'pi_x'"
        " WHERE order_id = %s",
        orders["paid"]["id"],
    )
    one.start_worker()

    job = run_task(one, EXPIRE)

    assert job["result"] == {"expired": 1}
    found = {name: status(one, order) for name, order in orders.items()}
    assert found == {
        "pending": "pending",
        "processing": "pending",
        "unknown": "pending",
        "failed": "expired",
        "paid": "pending",
    }
    assert stock(one, product) == 16


def test_expiring_and_paying_at_once_never_does_both(stack):
    """Orders are old already; customers pay while they expire. Each ends paid or expired, and the
    stock agrees."""
    one = stack().start(workers=1)
    shop = one.shop().sign_up()
    product = one.product(stock=500)
    orders = [shop.order((product, 1)) for _ in range(40)]
    one.query("UPDATE orders SET created_at = now() - interval '3 hours'")
    answers = {}

    def pay(mine):
        session = shop.another_session()
        for order in mine:
            answers[order["id"]] = session.post_payment(order["id"]).status_code

    threads = [threading.Thread(target=pay, args=(orders[i::2],)) for i in range(2)]
    for thread in threads:
        thread.start()
    jobs = [one.enqueue(EXPIRE) for _ in range(6)]
    for thread in threads:
        thread.join()
    jobs += [one.enqueue(EXPIRE)]
    for job in jobs:
        one.wait_job(job)
    one.wait_settled()

    for order in orders:
        assert status(one, order) == ("paid" if answers[order["id"]] == 202 else "expired"), order
    one.books(unpaid=True)


def test_many_orders_expire_in_batches(stack):
    one = stack().start(apis=0)
    product = one.product(stock=1000)
    user = one.value(
        "INSERT INTO users (username, email, password_hash) VALUES ('x', 'x@example.com', '$argon2id$x')"
        " RETURNING id"
    )
    one.query(
        "WITH made AS (INSERT INTO orders (user_id, total_amount, created_at)"
        " SELECT %s, 20, now() - interval '2 hours' FROM generate_series(1, 450) RETURNING id)"
        " INSERT INTO order_items (order_id, product_id, quantity, price) SELECT id, %s, 2, 10 FROM made",
        user,
        product,
    )
    one.query("UPDATE products SET stock_quantity = 100 WHERE id = %s", product)

    assert run_task(one, EXPIRE)["result"] == {"expired": 450}

    assert stock(one, product) == 1000
    one.settle(unpaid=True)


# ---- stuck payments ----


@pytest.fixture
def stuck(stack):
    """A payment whose job is dead: a system, its order, the payment."""
    one = stack({"TILL_RECONCILE_MINUTES": 1}).start(workers=0)
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 2))
    payment = shop.pay(order["id"])
    one.query(
        "UPDATE jobs SET state = 'FAILURE', finished_at = now(), error = 'the worker died' WHERE id = %s",
        payment["task_id"],
    )
    one.query("UPDATE payments SET created_at = now() - interval '2 days' WHERE id = %s", payment["id"])
    one.redis.delete("till:{payments}:normal")
    return one, order, payment


def reconcile(one):
    """One round, and the jobs that it added: the results of these."""
    begun = one.value("SELECT now()")
    count = run_task(one, RECONCILE)["result"]["payments"]
    find = lambda: one.query(
        "SELECT * FROM jobs WHERE task = 'payments.tasks.reconcile_payment' AND created_at > %s"
        " AND finished_at IS NOT NULL",
        begun,
    )
    wait_for(lambda: len(find()) == count, 20)
    return [job["result"] for job in find()]


def test_a_charge_that_nobody_heard_of_is_found_and_the_order_paid(stuck):
    one, order, payment = stuck
    charge_at_the_gateway(one, payment)
    was_sent(one, payment, hours=1)
    one.start_worker()

    (result,) = reconcile(one)

    assert result["status"] == "succeeded" and result["gateway_reference"].startswith("pi_")
    assert status(one, order) == "paid"
    assert len(intents_posted(one)) == 1, "nothing was posted for it"
    assert reconcile(one) == []
    one.settle(dead=1)


def test_a_payment_that_the_gateway_does_not_know_is_sent_again_under_its_key(stuck):
    one, order, payment = stuck
    was_sent(one, payment, hours=2)
    one.start_worker()

    assert [result["status"] for result in reconcile(one)] == ["sent_again"]

    wait_for(lambda: status(one, order) == "paid", 20)
    (post,) = intents_posted(one)
    assert post["idempotency_key"] == str(payment_of(one, payment)["idempotency_key"])
    one.settle(dead=1)


def test_a_payment_that_was_never_begun_is_sent(stuck):
    one, order, payment = stuck
    one.query("UPDATE payments SET created_at = now() - interval '1 hour' WHERE id = %s", payment["id"])
    one.start_worker()

    assert [result["status"] for result in reconcile(one)] == ["sent_again"]

    wait_for(lambda: status(one, order) == "paid", 20)
    one.settle(dead=1)


@pytest.mark.parametrize("hours, found", [(20.5, "processing"), (21.5, "failed")])
def test_past_the_life_of_the_key_nothing_is_sent_and_an_unknown_charge_fails_in_time(stuck, hours, found):
    one, order, payment = stuck
    was_sent(one, payment, hours=hours)
    one.start_worker()

    (result,) = reconcile(one)

    assert result["status"] == found
    assert payment_of(one, payment)["status"] == found
    assert status(one, order) == ("payment_failed" if found == "failed" else "pending")
    assert not intents_posted(one)


def test_an_old_charge_is_found_and_paid_however_old(stuck):
    one, order, payment = stuck
    charge_at_the_gateway(one, payment)
    was_sent(one, payment, hours=40)
    one.query("UPDATE payments SET status = 'unknown' WHERE id = %s", payment["id"])
    one.start_worker()

    reconcile(one)

    assert status(one, order) == "paid"
    assert len(intents_posted(one)) == 1
    one.settle(dead=1)


def test_a_declined_charge_is_found_and_the_order_can_be_paid_again(stuck):
    one, order, payment = stuck
    charge_declined(one, payment)
    was_sent(one, payment, hours=1)
    one.start_worker()

    (result,) = reconcile(one)

    assert result["status"] == "failed"
    assert status(one, order) == "payment_failed"
    one.settle(dead=1)


def charge_declined(one, payment):
    """As the worker that died had sent it, with a card that is declined."""
    import urllib.error

    with pytest.raises(urllib.error.HTTPError) as refused:
        charge_at_the_gateway(one, payment, payment_method=DECLINED)
    assert refused.value.code == 402


def test_a_payment_whose_job_was_revoked_is_looked_up_and_not_sent(stuck):
    one, order, payment = stuck
    one.query("UPDATE jobs SET state = 'PENDING', finished_at = NULL WHERE id = %s", payment["task_id"])
    one.query(
        "UPDATE jobs SET state = 'REVOKED', finished_at = now() WHERE id = %s", payment["task_id"]
    )
    was_sent(one, payment, hours=2)
    one.start_worker()

    assert [result["status"] for result in reconcile(one)] == ["processing"]
    assert not intents_posted(one)
    # It is not asked for again until its age has grown by a quarter.
    assert reconcile(one) == []


def test_a_payment_that_its_own_job_still_works_on_is_left_alone(stuck):
    one, _, payment = stuck
    was_sent(one, payment, hours=2)
    one.query(
        "UPDATE jobs SET state = 'PENDING', finished_at = NULL, enqueued_at = NULL,"
        " scheduled_at = now() + interval '1 hour' WHERE id = %s",
        payment["task_id"],
    )
    one.start_worker()

    assert reconcile(one) == []


def test_a_gateway_that_is_away_is_asked_again(stuck):
    one, order, payment = stuck
    charge_at_the_gateway(one, payment)
    was_sent(one, payment, hours=1)
    one.gateway.fault("status", status=503, path="/v1/payment_intents/search", times=2)
    one.start_worker()

    reconcile(one)

    assert status(one, order) == "paid"
    one.settle(dead=1)


def test_a_gateway_that_is_away_puts_reconciliations_off(stuck):
    """As it does payments: else each would hold its slot for as long as the gateway is silent."""
    one, order, payment = stuck
    charge_at_the_gateway(one, payment)
    was_sent(one, payment, hours=1)
    way = one.proxy("gateway")
    way.set("cut")
    one.start_worker(TILL_WORKER_PROCESSES=1, **way.settings)
    one.enqueue(RECONCILE)

    job = wait_for(
        lambda: one.query(
            "SELECT * FROM jobs WHERE task = 'payments.tasks.reconcile_payment'"
            " AND (snoozes > 0 OR finished_at IS NOT NULL)"
        ),
        30,
    )[0]
    assert job["finished_at"] is None and job["attempt"] - job["snoozes"] < 8
    way.set("pass")
    one.wait_job(job["id"], timeout=60)
    assert status(one, order) == "paid"
    one.settle(dead=1)


def test_a_charge_of_another_amount_stays_for_people_and_calls_them_once(stuck):
    one, order, payment = stuck
    charge_at_the_gateway(one, payment, amount=5000)
    was_sent(one, payment, hours=1)
    one.start_worker()

    run_task(one, RECONCILE)
    (job,) = wait_for(
        lambda: one.query(
            "SELECT * FROM jobs WHERE task = 'payments.tasks.reconcile_payment' AND state = 'FAILURE'"
        ),
        20,
    )
    assert payment["id"] in job["error"]
    assert (payment_of(one, payment)["status"], status(one, order)) == ("unknown", "pending")
    one.query("UPDATE jobs SET created_at = now() - interval '1 day' WHERE id = %s", job["id"])
    (result,) = reconcile(one)
    assert result["code"] == "mismatch"


# ---- the daily report ----


def make_staff(one, *names):
    for name in names:
        one.query(
            "INSERT INTO users (username, email, password_hash, is_staff) VALUES (%s, %s, '$argon2id$x', true)",
            name,
            f"{name}@staff.example",
        )


def sold(one, shop, day_local, *items, refunded=False):
    """An order that was paid at a time of another day."""
    order = shop.order(*items)
    shop.pay(order["id"])
    shop.wait_order(order["id"], "paid")
    one.query("UPDATE payments SET paid_at = %s WHERE order_id = %s", day_local, order["id"])
    one.query("UPDATE orders SET created_at = %s WHERE id = %s", day_local, order["id"])
    if refunded:
        one.query("UPDATE payments SET status = 'refunded' WHERE order_id = %s", order["id"])
        one.query("UPDATE orders SET order_status = 'refunded' WHERE id = %s", order["id"])
    return order


def reports(one):
    return [mail for mail in one.mail.messages() if mail.subject.startswith("Sales of")]


def test_the_daily_report_has_the_right_amounts_of_the_shop_s_day(stack):
    one = stack({"TILL_TIME_ZONE": "America/New_York"}).start()
    make_staff(one, "ada", "bob")
    make_staff(one, "gone")
    one.query("UPDATE users SET is_active = false WHERE username = 'gone'")
    shop = one.shop().sign_up()
    pen, ink = one.product(price="1.10", name="Pen"), one.product(price="450000.45", name="Ink é")
    # 2 November 2024 is 04:00 to 04:00 UTC; the 3rd, when the clock goes back, ends at 05:00.
    sold(one, shop, "2024-11-03T03:59:59Z", (pen, 1))
    sold(one, shop, "2024-11-03T04:00:00Z", (pen, 3), (ink, 1))
    sold(one, shop, "2024-11-04T04:59:59Z", (ink, 2))
    sold(one, shop, "2024-11-04T01:00:00Z", (pen, 7), refunded=True)
    sold(one, shop, "2024-11-04T05:00:00Z", (pen, 9))

    job = run_task(one, SALES, "2024-11-03")

    assert job["result"] == {"day": "2024-11-03", "mails": 2}
    mails = wait_for(lambda: len(reports(one)) == 2 and reports(one), 20)
    assert {tuple(mail.recipients) for mail in mails} == {("ada@staff.example",), ("bob@staff.example",)}
    text = mails[0].text
    assert "the sales of 2024-11-03 (America/New_York)" in text
    assert "Paid orders: 3  1350012.35 USD" in text
    assert "Refunded:    1  7.70 USD" in text
    assert "Sales:       1350004.65 USD, 6 items" in text
    assert "Orders placed: 3" in text
    assert "3 x Pen" in text and "3 x Ink é" in text and "7 x" not in text
    assert not mails[0].html and mails[0].header("Content-Type")[0].startswith("text/plain")


def test_a_day_whose_midnight_comes_twice_begins_with_the_first(stack):
    """On the Azores, on 25 October 2026, the clock goes from 1:00 back to 0:00, at 01:00 UTC."""
    one = stack({"TILL_TIME_ZONE": "Atlantic/Azores"}).start()
    make_staff(one, "ada")
    shop = one.shop().sign_up()
    pen = one.product(price="1.10", name="Pen")
    sold(one, shop, "2026-10-24T23:59:59Z", (pen, 1))  # the 24th
    sold(one, shop, "2026-10-25T00:00:00Z", (pen, 2))  # 0:00, the first time
    sold(one, shop, "2026-10-25T01:30:00Z", (pen, 3))  # 0:30, the second
    sold(one, shop, "2026-10-26T00:59:59Z", (pen, 4))
    sold(one, shop, "2026-10-26T01:00:00Z", (pen, 5))  # the 26th

    for day in ("2026-10-24", "2026-10-25", "2026-10-26"):
        run_task(one, SALES, day)

    mails = wait_for(lambda: len(reports(one)) == 3 and reports(one), 20)
    texts = {mail.subject: mail.text for mail in mails}
    for day, orders, items in (("24", 1, 1), ("25", 3, 9), ("26", 1, 5)):
        text = texts[f"Sales of 2026-10-{day}"]
        assert f"Paid orders: {orders}  " in text and f", {items} items" in text, text
        assert f"Orders placed: {orders}" in text and f"{items} x Pen" in text


def test_each_member_of_staff_gets_one_mail_a_day_however_often_it_runs(stack):
    one = stack().start(apis=0)
    make_staff(one, "ada", "bob")
    one.mail.reset()

    jobs = [one.enqueue(SALES, "2026-11-20") for _ in range(5)]
    for job in jobs:
        one.wait_job(job)
    make_staff(one, "eve")
    run_task(one, SALES, "2026-11-20")
    run_task(one, SALES, "2026-11-21")
    one.wait_settled()

    sent = sorted((mail.recipients[0], mail.subject) for mail in reports(one))
    assert sent == sorted(
        (f"{name}@staff.example", f"Sales of {day}")
        for name in ("ada", "bob", "eve")
        for day in ("2026-11-20", "2026-11-21")
    )
    assert "Nothing was sold." in reports(one)[0].text


def test_a_report_is_tried_again_with_the_same_message_id(stack):
    one = stack().start(apis=0, workers=0)
    make_staff(one, "ada")
    one.mail.fault("drop_after_data")  # the server has it, and nobody heard
    one.start_worker()

    run_task(one, SALES, "2026-11-20")
    one.wait_settled()

    (job,) = one.query("SELECT * FROM jobs WHERE task = 'reports.tasks.send_daily_sales'")
    assert job["attempt"] >= 2
    assert len(reports(one)) == 2, "no design prevents that"
    assert {mail.message_id.strip("<>") for mail in reports(one)} == {
        f"sales-2026-11-20.{job['id']}@till.example"
    }


def test_a_report_that_comes_late_is_about_the_day_that_was_planned(stack):
    one = stack({"TILL_TIME_ZONE": "Pacific/Auckland"}).start(apis=0)
    tick = datetime(2026, 3, 1, 17, 30, tzinfo=timezone.utc)  # 06:30 on the 2nd in Auckland

    job = one.enqueue(SALES, header=f"tick={tick.isoformat()}")

    assert one.wait_job(job)["result"]["day"] == "2026-03-01"
    today = datetime.now(timezone.utc) + timedelta(hours=13)
    found = datetime.fromisoformat(run_task(one, SALES)["result"]["day"])
    assert abs((found - today.replace(tzinfo=None)).total_seconds()) < 3 * 86400


def test_a_day_that_is_none_ends_in_the_dead_set(stack):
    one = stack().start(apis=0)
    make_staff(one, "ada")
    for day in ("yesterday", "2026-02-30", "2026-11-201", "20261121", "2026-11-2"):
        job = one.wait_job(one.enqueue(SALES, day), "FAILURE")
        assert "2026-11-21" in job["error"]
    assert one.value("SELECT count(*) FROM sales_reports") == 0

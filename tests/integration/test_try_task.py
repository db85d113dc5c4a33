"""Every task stands a repetition: tried in a transaction that is rolled back."""

import json
import os
import subprocess

import pytest
from harness import programs


def rows(one):
    return {
        table: one.value(f"SELECT count(*) FROM {table}")
        for table in ("jobs", "payments", "payment_events", "refresh_tokens", "trial_entries")
    }


@pytest.fixture
def order(stack):
    """A system whose worker does not run, and an order with a payment that waits."""
    one = stack().start(apis=1, workers=0, schedulers=0)
    shop = one.shop().sign_up()
    made = shop.order((one.product(), 2))
    payment = shop.pay(made["id"])
    return one, made["id"], payment["id"]


def test_a_payment_is_charged_once_however_often_its_task_runs(order):
    one, order_id, payment_id = order
    before = rows(one)

    proof = one.try_task("payments.tasks.process_payment", payment_id)

    assert proof["first"]["outcome"] == "done", proof
    assert json.loads(proof["first"]["result"])["status"] == "succeeded"
    assert set(proof["touched"].split()) >= {"orders", "payments", "jobs"}
    assert proof["first"]["follow_ups"] == 1
    assert proof["second"]["follow_ups"] == 0, "one confirmation"
    assert proof["is_idempotent"], proof
    assert proof["survives_a_crash"], proof
    assert len(one.gateway.effective_charges()) == 1, "four runs, one key, one charge"
    assert rows(one) == before, "all of it is rolled back"
    assert one.value("SELECT order_status FROM orders WHERE id = %s", order_id) == "pending"


def test_a_declined_payment_is_declined_again(stack):
    one = stack().start(apis=1, workers=0, schedulers=0)
    shop = one.shop().sign_up()
    made = shop.order((one.product(), 1))
    payment = shop.pay(made["id"], token="pm_card_visa_chargeDeclined")

    proof = one.try_task("payments.tasks.process_payment", payment["id"])

    assert json.loads(proof["first"]["result"])["status"] == "failed"
    assert proof["is_idempotent"] and proof["survives_a_crash"], proof


def test_a_confirmation_changes_nothing_in_the_database_and_carries_one_id(order):
    one, order_id, _ = order
    one.start_worker()
    one.start_scheduler()
    one.wait_settled()
    sent = len(one.mail.messages())

    proof = one.try_task("payments.tasks.send_order_confirmation_email", order_id)

    assert proof["first"]["outcome"] == "done", proof
    assert proof["touched"] == ""
    assert proof["is_idempotent"] and proof["survives_a_crash"], proof
    assert proof["first"]["result"] == proof["second"]["result"], "the same Message-ID"
    assert len(one.mail.messages()) == sent + 4, "mail is sent at least once: a copy a run"


def test_a_confirmation_of_an_order_that_is_not_paid_fails_for_good(order):
    one, order_id, _ = order

    proof = one.try_task("payments.tasks.send_order_confirmation_email", order_id)

    assert proof["first"]["outcome"] == "fail"
    assert "there is nothing to confirm" in proof["first"]["error"]


def test_the_example_ends_all_sessions_of_its_user_and_of_nobody_else(stack):
    one = stack().start(apis=1, workers=0, schedulers=0)
    shop = one.shop().sign_up()
    one.shop().sign_up()
    user = one.value("SELECT id FROM users WHERE email = %s", shop.email)
    live = "SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL AND user_id {} %s"
    theirs = one.value(live.format("="), user)
    others = one.value(live.format("<>"), user)
    assert theirs > 0 and others > 0

    proof = one.try_task("accounts.tasks.end_sessions", user)

    assert proof["touched"] == "refresh_tokens"
    assert json.loads(proof["first"]["result"]) == {"ended": theirs}
    assert json.loads(proof["second"]["result"]) == {"ended": 0}
    assert proof["is_idempotent"] and proof["survives_a_crash"], proof
    one.start_worker()
    job = one.wait_job(one.enqueue("accounts.tasks.end_sessions", user))
    assert job["result"] == {"ended": theirs}
    assert one.value(live.format("="), user) == 0
    assert one.value(live.format("<>"), user) == others


@pytest.mark.parametrize("args, error", [([], "takes the id"), ([0], "takes the id"), ([1 << 60], "no user")])
def test_the_example_fails_for_good_without_a_user(stack, args, error):
    proof = stack().try_task("accounts.tasks.end_sessions", *args)

    assert proof["first"]["outcome"] == "fail"
    assert error in proof["first"]["error"]
    assert proof["touched"] == ""


@pytest.mark.parametrize("task", ["till.tasks.tally", "till.tasks.tally_many"])
def test_a_task_whose_effect_is_in_its_transaction_survives_a_crash_and_is_told_from_an_idempotent_one(
    stack, task
):
    one = stack()

    proof = one.try_task(task, 7, 5)

    assert proof["touched"] == proof["changed"] == "trial_counters trial_entries"
    assert not proof["is_idempotent"]
    assert proof["survives_a_crash"], proof
    assert one.value("SELECT sum(total) FROM trial_counters") == 0


def test_a_task_that_writes_by_a_connection_of_its_own_is_not_proved(stack):
    """Neither a crash nor the trial takes that back, and no look from within the transaction sees it."""
    one = stack()

    proof = one.try_task("try.tasks.outside")

    assert proof["first"]["outcome"] == "done" and proof["touched"] == proof["changed"] == ""
    assert (proof["outside"], proof["connections"]) == ("trial_counters", 4)
    assert not proof["is_idempotent"] and not proof["survives_a_crash"], proof
    assert one.value("SELECT total FROM trial_counters WHERE id = 7") == 4, "a run each"
    proof = one.try_task("try.tasks.looks")
    assert (proof["outside"], proof["connections"]) == ("", 4)
    assert proof["is_idempotent"] and proof["survives_a_crash"], proof


def test_what_is_written_outside_of_the_transaction_is_told_and_has_to_stand_a_repetition(stack):
    """A crash takes it not back, be it no row more than before."""
    one = stack()

    proof = one.try_task("try.tasks.before")

    assert proof["first"]["outcome"] == "done" and proof["after_cut"] == ""
    assert proof["left"] == proof["left_again"] == "trial_counters"
    assert not proof["survives_a_crash"], proof
    assert one.value("SELECT total FROM trial_counters WHERE id = 7") == 0


@pytest.mark.parametrize(
    "kind, outcome, error",
    [
        ("alone", "fail", 'the database refused "try_mistake"'),
        ("begin", "fail", "a transaction of its own open"),
        ("few", "fail", 'parameters of the statement "try_echo": 1 wanted, 0 given'),
        ("nameless", "fail", "a job needs the name of a task"),
        ("broken", "fail", "a statement had failed"),
        ("large", "fail", "at most 65536 are kept"),
        ("json", "fail", "no JSON that PostgreSQL takes"),
        ("bytes", "fail", "what \ufffd is no text"),
        ("number", "fail", "no outcome"),
        ("silent", "retry", "gave no reason"),
        ("fork", "done", ""),
    ],
)
def test_the_trial_ends_a_run_as_a_worker_would(stack, kind, outcome, error):
    one = stack()

    proof = one.try_task("try.tasks.mistake", kind)

    for run in ("first", "second", "after_crash"):
        assert proof[run]["outcome"] == outcome and error in proof[run]["error"], (run, proof)
    assert proof["left"] == "" and proof["touched"] == ("trial_counters" if kind == "fork" else "")
    assert ("division by zero" in proof["first"]["detail"]) == (kind == "alone")


@pytest.mark.parametrize(
    "kind, error",
    [
        ("commit", "the task itself ended the transaction"),
        ("begin again", "the task itself ended the transaction"),
        ("rollback", "the task itself ended the transaction"),
        ("close", "the session was lost while the task ran"),
        ("exit", "the task ended the process"),
    ],
)
def test_a_task_that_ends_its_trial_is_told_so_and_leaves_nothing_behind(stack, kind, error):
    one = stack()

    with pytest.raises(AssertionError, match=error):
        one.try_task("try.tasks.mistake", kind)

    assert one.value("SELECT total FROM trial_counters WHERE id = 7") == 0
    assert one.value("SELECT count(*) FROM jobs") == 0


def test_a_task_that_nobody_knows_is_an_error(stack):
    with pytest.raises(AssertionError, match="there is no task"):
        stack().try_task("no.such.task")


def test_without_a_task_it_says_how_it_is_called():
    path = os.path.join(os.path.dirname(programs.path_of("till")), "tests", "harness", "try_task")

    done = subprocess.run([path], env={}, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2 and "TASK" in done.stderr

"""Redis and PostgreSQL go away, lose everything, or start again, and come back."""

import pytest

from harness.load import Load
from harness.shop import DECLINED
from harness.wait import pause


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_without_redis_orders_are_accepted_and_settled_once_it_is_back(stack, how):
    one = stack(own_redis=True).start()
    shop = one.shop().sign_up()
    product = one.product()
    getattr(one.redis_server, how)()

    orders = [shop.order((product, 1))["id"] for _ in range(10)]
    for number, order in enumerate(orders):
        shop.pay(order, DECLINED if number % 5 == 4 else "pm_card_visa")
    assert one.value("SELECT count(*) FROM payments WHERE status = 'pending'") == 10

    one.redis_server.start()
    one.settle(timeout=30)
    assert one.value("SELECT count(*) FROM orders WHERE order_status = 'paid'") == 8


def test_programs_start_without_redis_and_work_once_it_is_there(stack):
    one = stack(own_redis=True)
    one.redis_server.stop()
    one.start_api()
    shop = one.shop().sign_up()
    order = shop.order((one.product(), 1))["id"]
    shop.pay(order)
    one.program("till-worker", None)
    one.program("till-scheduler", None)

    one.redis_server.start()

    shop.wait_order(order, "paid", timeout=30)
    one.settle()


def test_flushall_under_load_loses_nothing(stack):
    one = stack(own_redis=True).start()
    with Load(one, seed=11) as load:
        for _ in range(5):
            load.wait_accepted(15)
            one.redis_server.flush()
        load.wait_accepted(10)
    one.settle(timeout=60)


def test_redis_killed_under_load_loses_nothing(stack):
    one = stack(own_redis=True).start()
    with Load(one, seed=12) as load:
        for _ in range(3):
            load.wait_accepted(15)
            one.redis_server.kill()
            load.wait_accepted(5)
            one.redis_server.start()
        load.wait_accepted(10)
    one.settle(timeout=60)


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_postgresql_restarted_under_load_loses_nothing(stack, mode):
    one = stack(own_postgres=True).start(workers=1, schedulers=2)
    with Load(one, seed=13) as load:
        for _ in range(3):
            load.wait_accepted(15)
            one.postgres.restart(mode)
        load.wait_accepted(10)
    one.settle(timeout=60, unpaid=True)
    for program in one.programs:
        assert program.is_running(), f"{program} recovers by itself"


def test_postgresql_away_for_some_seconds_is_answered_with_503_and_recovered_from(stack):
    one = stack(own_postgres=True).start()
    shop = one.shop().sign_up()
    product = one.product()
    one.postgres.stop()

    answer = shop.post_order((product, 1))
    assert answer.status_code == 503
    assert "postgres" not in answer.text.lower() and "sql" not in answer.text.lower()
    pause(4)  # longer than a lease: the workers lose sight of everything

    one.postgres.start()
    order = None
    for _ in range(100):
        answer = shop.post_order((product, 1))
        if answer.status_code == 201:
            order = answer.json()["id"]
            break
        pause(0.1)
    assert order
    shop.pay(order)
    shop.wait_order(order, "paid", timeout=30)
    one.settle()


def test_the_worker_lives_while_every_connection_is_cut_again_and_again(stack):
    one = stack(own_redis=True, own_postgres=True).start()
    with Load(one, seed=14) as load:
        for _ in range(8):
            load.wait_accepted(5)
            one.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            one.query(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
    one.settle(timeout=60, unpaid=True)
    assert all(program.is_running() for program in one.programs)

"""Requests share a few connections to the database: they wait for each other in turn, and what needs
none waits for nobody."""

import concurrent.futures
import time

from harness.shop import PASSWORD
from harness.wait import SLOWNESS, wait_for
from test_api_lookups import counter

CROWD = 6


def test_a_database_that_does_not_answer_costs_a_request_no_more_than_its_time(stack):
    """Its processes are stopped: connections stay open, and a new one is taken and not greeted."""
    api = stack(own_postgres=True)
    api.start_api()
    shop = api.shop().sign_up()
    product = api.product()
    order = {"items": [{"product_id": product, "quantity": 1}]}
    asked = {
        "ready": ("GET", "/readyz", None),
        "catalogue": ("GET", f"/api/products/{product}/", None),
        "list": ("GET", "/api/orders/", None),
        "order": ("POST", "/api/orders/", order),
        "login": ("POST", "/api/auth/login/", {"email": shop.email, "password": PASSWORD}),
    }

    def ask(method, path, body):
        began = time.monotonic()
        status = shop.another_session().call(method, path, body, timeout=120).status_code
        return status, time.monotonic() - began

    def ask_all():
        with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
            waiting = {name: pool.submit(ask, *request) for name, request in asked.items()}
            return {name: one.result() for name, one in waiting.items()}

    good = {"ready": 200, "catalogue": 200, "list": 200, "order": 201, "login": 200}
    assert {name: status for name, (status, _) in ask_all().items()} == good
    api.postgres.freeze()
    try:
        found = ask_all()
    finally:
        api.postgres.thaw()
    assert {status for status, _ in found.values()} == {503}, found
    seconds = {name: taken for name, (_, taken) in found.items()}
    assert max(seconds.values()) < 18 * SLOWNESS, seconds
    assert seconds["ready"] < 7 * SLOWNESS, seconds
    wait_for(lambda: {name: status for name, (status, _) in ask_all().items()} == good, 30, "it never came back")


def test_many_threads_share_one_connection(stack):
    api = stack()
    api.start_api(TILL_API_CONNECTIONS=1)
    shops = [api.shop().sign_up() for _ in range(CROWD)]
    product = api.product()
    kept = f"/api/products/{product}/"
    for shop in shops:
        shop.expect(200, shop.get(kept))
    connection = api.postgres.connect(api.database)
    connection.autocommit = False
    with connection.cursor() as cursor, concurrent.futures.ThreadPoolExecutor(CROWD) as pool:
        cursor.execute("LOCK TABLE reviews IN ACCESS EXCLUSIVE MODE")
        waiting = [pool.submit(shop.get, "/api/reviews/") for shop in shops]
        wait_for(lambda: counter(api, "backends_waiting") >= 2, 60, "they wait for nothing")
        assert counter(api, "backends_lent") == 1
        # Out of memory and without a connection:
        again = shops[0].another_session()
        assert again.get(kept).status_code == again.get("/healthz").status_code == 200
        connection.commit()
        statuses = [answer.result().status_code for answer in waiting]
    connection.close()
    # 503: on a slow machine the first may have waited for its lock too long.
    assert 200 in statuses and set(statuses) <= {200, 503}, statuses
    assert counter(api, "backends_lent") == counter(api, "backends_waiting") == 0
    assert counter(api, "backends_waited_total") >= 2
    sessions = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'till-api' AND datname = current_database()"
    )
    assert api.value(sessions) <= 2, "one for requests, one for look-ups"

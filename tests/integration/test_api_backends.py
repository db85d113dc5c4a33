"""Requests share a few connections to the database: they wait for each other in turn, and what needs
none waits for nobody."""

import concurrent.futures

from harness.wait import wait_for
from test_api_lookups import counter

CROWD = 6


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

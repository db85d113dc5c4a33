"""Who asks is looked up for many requests at once, and for each as if it had asked alone."""

import concurrent.futures
import re

import requests

from harness.wait import wait_for

CROWD = 8


def counter(api, name):
    text = requests.get(api.api.url + "/metrics", timeout=30).text
    return float(re.search(rf"^till_api_{name} (\S+)$", text, re.MULTILINE)[1])


def lock_users(api):
    """Nobody's look-up ends before this connection is closed."""
    connection = api.postgres.connect(api.database)
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    return connection


def answers_of_a_crowd(api, shops, while_they_wait=lambda cursor: None):
    """Statuses of one request of everybody, all of which wait for their look-up at the same time."""
    connection = lock_users(api)
    try:
        with concurrent.futures.ThreadPoolExecutor(len(shops)) as pool:
            waiting = [pool.submit(shop.get, "/api/orders/") for shop in shops]
            wait_for(
                lambda: counter(api, "requests_in_flight") > len(shops), 60, "not all have come"
            )
            with connection.cursor() as cursor:
                while_they_wait(cursor)
            connection.commit()
            return [answer.result().status_code for answer in waiting]
    finally:
        connection.close()


def test_requests_that_wait_share_a_look_up_and_are_judged_alone(stack):
    api = stack()
    api.start_api(TILL_API_THREADS=32)
    shops = [api.shop().sign_up() for _ in range(CROWD)]

    def is_shared():
        before = counter(api, "lookups_total")
        statuses = answers_of_a_crowd(api, shops)
        assert set(statuses) <= {200, 503}
        # The first goes alone; those who come meanwhile go together.
        return 503 not in statuses and 0 < counter(api, "lookups_total") - before <= 3

    # On a slow machine the crowd may take longer to come than a look-up waits for the lock.
    wait_for(is_shared, 120, "everybody asks alone")
    twice = shops[0].another_session()
    gone, inactive = shops[2], shops[3]

    def change(cursor):
        cursor.execute("DELETE FROM users WHERE email = %s", (gone.email,))
        cursor.execute("UPDATE users SET is_active = false WHERE email = %s", (inactive.email,))

    # What was committed before the look-up could end is what it finds. 503: the crowd came slowly.
    statuses = wait_for(
        lambda: [
            statuses
            for statuses in [answers_of_a_crowd(api, [*shops, twice], change)]
            if 503 not in statuses
        ],
        120, "some are never answered",
    )
    assert statuses == [[200, 200, 401, 401] + [200] * (CROWD - 3)]
    for shop, code in ((gone, "user_not_found"), (inactive, "user_inactive")):
        answer = shop.get("/api/orders/")
        assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert shops[0].get("/api/orders/").status_code == 200


def test_look_ups_go_on_when_their_connection_is_cut(stack):
    api = stack()
    api.start_api()
    shops = [api.shop().sign_up() for _ in range(2)]
    for _ in range(3):
        api.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'till-api' AND datname = current_database()"
        )
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda shop: shop.get("/api/orders/"), shops))
        assert [answer.status_code for answer in answers] == [200] * 2

"""till-api with PgBouncer between it and PostgreSQL, in both of its modes."""

import collections
import concurrent.futures

import pytest
import requests

from harness import folders, processes
from harness.crowd import Crowd, counter
from harness.pgbouncer import PgBouncer
from harness.postgres import LOGINS
from harness.wait import pause

MODES = ["session", "transaction"]
# Sessions that PgBouncer keeps: of transactions many clients share few.
SIZES = {"session": 60, "transaction": 4}


@pytest.fixture
def pooled(stack, run_folder, request):
    api = stack()
    mode = request.param
    folder = folders.subfolder(run_folder, f"pooler-{api.database}", processes.server_account())
    pooler = PgBouncer(folder, api.postgres, mode, default_pool_size=SIZES[mode]).start()
    api.settings["DATABASE_URL"] = pooler.url(api.database, LOGINS["till-api"])
    yield api
    api.end()
    pooler.stop()


@pytest.mark.parametrize("pooled", MODES, indirect=True)
def test_many_customers_at_once_are_served_behind_a_pooler(pooled):
    pooled.start_api()
    shop = pooled.shop().sign_up()
    product = pooled.product(stock=1000)

    def buy(_):
        mine = shop.another_session()
        statuses = []
        for _ in range(10):
            order = mine.post_order((product, 1))
            paid = mine.post_payment(order.json()["id"])
            asked = (mine.get(f"/api/products/{product}/"), mine.get("/api/orders/"), order, paid)
            statuses += [answer.status_code for answer in asked]
        return statuses

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        told = collections.Counter(status for made in pool.map(buy, range(12)) for status in made)
    assert told == {200: 240, 201: 120, 202: 120}
    assert shop.get(f"/api/products/{product}/").json()["stock_quantity"] == 1000 - 120
    assert pooled.value("SELECT count(*) FROM jobs") == 120


@pytest.mark.parametrize("pooled", MODES, indirect=True)
def test_behind_a_pooler_a_write_is_seen_at_once_in_every_process(pooled):
    """Nobody knows whose session is whose: there are no leases, and each write waits for those of others."""
    pooled.start_api()
    shop = pooled.shop().sign_up()
    pooled.query("UPDATE users SET is_staff = true")
    product = pooled.product(stock=1000)
    path = f"/api/products/{product}/"
    second = type(shop)(pooled.start_api().url)
    second.token = shop.token
    with Crowd(pooled.api.url + path, shop.token):
        pause(1.5)  # so long one is alone before it makes leases
        for n in range(1, 31):
            for there in (shop, second):
                price = f"{n}.{'25' if there is shop else '75'}"
                there.expect(200, there.call("PATCH", path, {"price": price}))
                seen = [one.get(path).json()["price"] for one in (shop, second, shop, second)]
                assert seen == [price] * 4
            shop.order((product, 1))
            seen = [one.get(path).json()["stock_quantity"] for one in (second, shop)]
            assert seen == [1000 - n] * 2
    assert counter(pooled.api.url, "leased_total") == 0
    assert counter(pooled.api.url, "lease_waits_total") > 0


@pytest.mark.parametrize("pooled", MODES, indirect=True)
def test_sessions_of_a_pooler_that_are_not_in_utc_are_refused(pooled):
    """Every time would be told an hour off."""
    pooled.query(f"ALTER DATABASE {pooled.database} SET timezone = 'Europe/Berlin'")
    pooled.start_api()
    ready = requests.get(pooled.api.url + "/readyz")
    assert (ready.status_code, ready.json()["database"]) == (503, "unavailable")

"""Reads that may lag come from the replica; what one has written oneself is never missed, and no fault
of the replica is seen by a client."""

import re

import pytest
import requests

from harness.postgres import Standby
from harness.wait import wait_for

LONG = 600000  # milliseconds of allowed lag: as long as a test takes


class Pair:
    """A shop whose APIs have a replica."""

    def __init__(self, one, standby):
        self.one = one
        self.standby = standby

    def start_api(self, lag=LONG):
        api = self.one.start_api(
            DATABASE_REPLICA_URL=self.standby.url(self.one.database), TILL_REPLICA_LAG_MS=lag
        )
        wait_for(lambda: figure(api, "replica_up") == 1, 30, api.tail)
        return api

    def customer(self, api):
        shop = self.one.shop()
        shop.base = lambda: api.url
        return shop.sign_up()


@pytest.fixture
def pair(stack, test_folder):
    one = stack(own_postgres=True)
    standby = Standby(one.postgres, test_folder).start()
    yield Pair(one, standby)
    standby.stop("kill")


def figure(api, name):
    text = requests.get(api.url + "/metrics", timeout=30).text
    return int(re.search(rf"^till_api_{name} (\d+)$", text, re.M)[1])


def reads(api):
    return figure(api, "replica_reads_total")


def answer(shop, path):
    found = shop.expect(200, shop.get(path))
    return found["results"] if "results" in found else found


def from_replica(api, shop, path):
    """The answer, once it was the replica that gave it."""

    def look():
        before = reads(api)
        found = answer(shop, path)
        return [found] if reads(api) == before + 1 else None

    return wait_for(look, 30, f"{path} was never read from the replica")[0]


def from_primary(api, shop, path):
    before = reads(api)
    found = answer(shop, path)
    assert reads(api) == before, path
    return found


def write_everything(shop, product):
    """One object of each kind of one's own, by the path of its list."""

    def add(path, **body):
        return shop.expect(201, shop.post(path, body))

    cart, wishlist = add("/api/shopping-carts/"), add("/api/wishlists/")
    order = shop.order((product, 2))
    made = {
        "/api/shopping-carts/": cart,
        "/api/wishlists/": wishlist,
        "/api/cart-items/": add("/api/cart-items/", cart_id=cart["id"], product_id=product),
        "/api/wishlist-items/": add(
            "/api/wishlist-items/", wishlist_id=wishlist["id"], product_id=product
        ),
        "/api/reviews/": add("/api/reviews/", product_id=product, rating="4.00", comment="Fine"),
        "/api/orders/": order,
        "/api/payments/": shop.pay(order["id"]),
    }
    del made["/api/payments/"]["task_id"]
    return made


def test_what_may_lag_is_read_from_the_replica_and_nothing_else(pair):
    api = pair.start_api()
    shop, product = pair.customer(api), pair.one.product()
    made = write_everything(shop, product)
    pair.standby.wait_until_there()
    for path, one in made.items():
        assert from_replica(api, shop, path) == [one], path
        detail = from_replica if path == "/api/reviews/" else from_primary
        assert detail(api, shop, f"{path}{one['id']}/") == one
    assert len(from_replica(api, shop, "/api/order-items/")) == 1
    from_primary(api, shop, "/payment/order/")
    assert [user["email"] for user in from_primary(api, shop, "/api/users/")] == [shop.email]
    assert figure(api, "replica_failures_total") == 0


def test_ones_own_writes_are_never_missed_whichever_process_took_them(pair):
    first, second = pair.start_api(), pair.start_api()
    product = pair.one.product()
    shop, other = pair.customer(first), pair.customer(second)
    there = shop.another_session()
    there.base = lambda: second.url
    old = shop.expect(201, shop.post("/api/shopping-carts/", {}))
    pair.standby.wait_until_there()
    from_replica(second, there, "/api/shopping-carts/")
    pair.standby.pause()

    made = write_everything(shop, product)
    for path, one in made.items():
        expected = [old, one] if path == "/api/shopping-carts/" else [one]
        assert from_primary(second, there, path) == expected, path
    # For somebody else it may lag, and it does: it is the replica that answers.
    assert from_replica(second, other, "/api/reviews/") == []
    review = made["/api/reviews/"]["id"]
    assert answer(other, f"/api/reviews/{review}/")["comment"] == "Fine"

    for path in ("/api/wishlist-items/", "/api/wishlists/", "/api/shopping-carts/"):
        shop.expect(204, shop.call("DELETE", f"{path}{made[path]['id']}/"))
    shop.expect(200, shop.post(f"/api/orders/{shop.order((product, 1))['id']}/cancel/"))
    assert from_primary(second, there, "/api/wishlists/") == []
    assert len(from_primary(second, there, "/api/orders/")) == 2

    pair.standby.resume()
    pair.standby.wait_until_there()
    assert from_replica(second, there, "/api/wishlists/") == []
    assert from_replica(second, there, "/api/shopping-carts/") == [old]
    states = [order["order_status"] for order in from_replica(second, there, "/api/orders/")]
    assert sorted(states) == ["cancelled", "pending"]


def test_nothing_older_than_the_catalogue_is_kept(pair):
    api = pair.start_api()
    shop, product = pair.customer(api), pair.one.product(name="Old")
    path = f"/api/products/{product}/"
    pair.standby.wait_until_there()

    def read_anew():
        """What was kept before is of another catalogue. The primary answers, and that is kept, when
        the standby lacks a record that the server itself has written in this moment."""
        pair.one.query("UPDATE products SET name = 'Old' WHERE id = %s", product)
        pair.standby.wait_until_there()
        before = reads(api)
        found = answer(shop, path)
        return found if reads(api) == before + 1 else None

    assert wait_for(read_anew, 30, "it was never read from the replica")["name"] == "Old"
    before = reads(api)
    assert answer(shop, path)["name"] == "Old" and reads(api) == before  # out of Redis
    pair.standby.pause()
    pair.one.query("UPDATE products SET name = 'New' WHERE id = %s", product)
    assert from_primary(api, shop, path)["name"] == "New"
    assert from_primary(api, shop, path)["name"] == "New"

    # While somebody writes nothing is kept, so what is read may lag.
    with pair.one.postgres.connect(pair.one.database) as writer, writer.cursor() as cursor:
        writer.autocommit = False
        cursor.execute("UPDATE products SET name = 'Newest' WHERE id = %s", (product,))
        assert from_replica(api, shop, path)["name"] == "Old"
        writer.commit()
    assert from_primary(api, shop, path)["name"] == "Newest"
    # What is not on the replica yet is no reason for a 404.
    late = pair.one.product(name="Late")
    assert from_primary(api, shop, f"/api/products/{late}/")["name"] == "Late"
    writer.close()


def test_a_replica_too_far_behind_is_left(pair):
    api = pair.start_api(lag=300)
    shop, other = pair.customer(api), pair.customer(api)
    product = pair.one.product()
    pair.standby.wait_until_there()
    from_replica(api, other, "/api/reviews/")
    pair.standby.pause()
    shop.expect(
        201, shop.post("/api/reviews/", {"product_id": product, "rating": 4, "comment": "Fine"})
    )
    wait_for(lambda: len(answer(other, "/api/reviews/")) == 1, 30, "it is behind for ever")
    for _ in range(3):
        assert len(from_primary(api, other, "/api/reviews/")) == 1
    assert figure(api, "replica_behind_total") > 0
    pair.standby.resume()
    assert len(from_replica(api, other, "/api/reviews/")) == 1


def test_a_replica_that_fails_is_not_noticed_by_clients(pair):
    api = pair.start_api()
    shop = pair.customer(api)
    cart = shop.expect(201, shop.post("/api/shopping-carts/", {}))
    pair.standby.wait_until_there()

    def losses():
        return sum(line.get("event") == "replica_lost" for line in api.read_log())

    def is_left(before):
        """Reads go on, and the API says that it has lost the replica."""
        assert from_primary(api, shop, "/api/shopping-carts/") == [cart]
        assert losses() > before and figure(api, "replica_up") == 0

    assert from_replica(api, shop, "/api/shopping-carts/") == [cart]
    pair.standby.stop("kill")
    is_left(0)
    pair.standby.start()
    assert from_replica(api, shop, "/api/shopping-carts/") == [cart]
    before = losses()
    pair.standby.freeze()
    is_left(before)
    pair.standby.thaw()
    assert from_replica(api, shop, "/api/shopping-carts/") == [cart]
    before = losses()
    pair.standby.run("SELECT pg_promote()")
    is_left(before)
    # It goes its own way now, and is not listened to.
    pair.one.query("DELETE FROM shopping_carts")
    assert from_primary(api, shop, "/api/shopping-carts/") == []
    assert figure(api, "replica_failures_total") >= 3


def test_the_api_starts_without_its_replica(stack, test_folder):
    one = stack()
    api = one.start_api(DATABASE_REPLICA_URL=f"postgresql://till@/x?host={test_folder}")
    shop = one.shop().sign_up()
    cart = shop.expect(201, shop.post("/api/shopping-carts/", {}))
    assert answer(shop, "/api/shopping-carts/") == [cart]
    assert figure(api, "replica_up") == figure(api, "replica_reads_total") == 0
    api.term_and_wait()

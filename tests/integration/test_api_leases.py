"""Under load a look-up stands for later reads of the catalogue, and nobody ever misses what was written
through the API before."""

import contextlib
import time

from harness.crowd import Crowd, counter
from harness.sales import sales
from harness.wait import pause, wait_for

LEASE_S = 0.01  # TILL_API_LOOKUP_MS as it comes
ALONE_S = 1  # before which nobody makes leases
WRITE_WAIT_S = 0.03  # after its session began to be registered no write is answered for so long
# Of those that know each other by it (common/api_session.h), in any database of the server.
HOLDERS = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (classid::bigint << 32 | objid::bigint) = hashtextextended('till api', 0)"
)


def leased(program):
    return counter(program.url, "leased_total")


def wait_leases(program):
    before = leased(program)
    wait_for(lambda: leased(program) > before, 60, "no look-up stands for another request")


def holders(api):
    return {row["pid"] for row in api.query(HOLDERS)}


def wait_registered(api, there, product, count):
    """A session is registered with a look-up, if there was nothing against it."""

    def look():
        price(there, product)
        return len(holders(api)) == count

    wait_for(look, 60, "it is not registered")


def make_staff(api, shop):
    api.query("UPDATE users SET is_staff = true WHERE email = %s", shop.email)
    return shop


def at(shop, program):
    """The same customer at another till-api."""
    other = type(shop)(program.url)
    other.token, other.email = shop.token, shop.email
    return other


def price(shop, product):
    return shop.expect(200, shop.get(f"/api/products/{product}/"))["price"]


def set_price(staff, product, to):
    staff.expect(200, staff.call("PATCH", f"/api/products/{product}/", {"price": to}))


@contextlib.contextmanager
def crowd(program, shop, product):
    with Crowd(f"{program.url}/api/products/{product}/", shop.token):
        yield


def test_a_write_is_seen_by_the_next_read_of_everybody(api, shop, other, staff):
    product = api.product(stock=1000)
    path = f"/api/products/{product}/"
    with crowd(api.api, shop, product):
        wait_leases(api.api)
        before = leased(api.api)
        for n in range(1, 201):
            set_price(staff, product, f"{n}.50")
            assert [price(one, product) for one in (staff, other, shop)] == [f"{n}.50"] * 3
            if n % 4 == 0:
                other.order((product, 1))
                assert shop.get(path).json()["stock_quantity"] == 1000 - n // 4
        assert leased(api.api) > before, "nothing of this was tried under leases"


def test_while_others_are_sold_leases_stand_for_one_product_and_writes_to_it_are_seen(api, shop, staff):
    sold, product = api.product(stock=100000000), api.product()
    with crowd(api.api, shop, product), sales(api, sold):
        wait_leases(api.api)
        names = ("cache_hits_total", "leased_total")

        def mostly():
            before = [counter(api.api.url, name) for name in names]
            pause(0.5)
            hits, stood = (counter(api.api.url, n) - b for n, b in zip(names, before))
            return stood > hits / 2

        wait_for(mostly, 60, "what is sold elsewhere ends the leases")
        for n in range(1, 101):
            set_price(staff, product, f"{n}.50")
            assert [price(one, product) for one in (staff, shop)] == [f"{n}.50"] * 2


def test_most_reads_of_a_crowd_need_no_look_up_and_those_of_few_do(api, shop):
    product = api.product()
    for _ in range(50):
        price(shop, product)
    assert leased(api.api) == 0
    with crowd(api.api, shop, product):

        def mostly():
            names = ("leased_total", "lookups_total")
            before = [counter(api.api.url, name) for name in names]
            pause(0.5)
            more, looked = (counter(api.api.url, n) - b for n, b in zip(names, before))
            return more > 5 * looked

        wait_for(mostly, 60, "most are looked up")
    before = leased(api.api)
    for _ in range(50):
        price(shop, product)
    assert leased(api.api) == before


def test_what_others_write_is_seen_after_a_lease(api, shop, other):
    """By every read that begins a lease later, however long that read or this test takes."""
    product = api.product(price="1.00")
    with crowd(api.api, shop, product):
        wait_leases(api.api)
        for n in range(1, 31):
            api.query("UPDATE products SET name = %s", f"name {n}")
            written = time.monotonic()
            while True:
                is_late = time.monotonic() > written + LEASE_S
                seen = other.get(f"/api/products/{product}/").json()["name"]
                assert seen == f"name {n}" or not is_late
                if is_late:
                    break
        for n in range(1, 11):
            assert other.get(f"/api/products/{product}/").status_code == 200
            api.query("UPDATE users SET is_active = false WHERE email = %s", other.email)
            written = time.monotonic()
            while True:
                is_late = time.monotonic() > written + LEASE_S
                status = other.get(f"/api/products/{product}/").status_code
                assert status == 401 or not is_late
                if is_late:
                    break
            api.query("UPDATE users SET is_active = true WHERE email = %s", other.email)


def test_nothing_is_kept_when_nobody_wants_it(stack):
    api = stack()
    api.start_api(TILL_API_LOOKUP_MS=0)
    shop = api.shop().sign_up()
    product = api.product()
    with crowd(api.api, shop, product):
        before = counter(api.api.url, "lookups_total")
        wait_for(lambda: counter(api.api.url, "lookups_total") > before + 500, 60, "nobody looks up")
        shop.order((product, 1))
    assert (leased(api.api), counter(api.api.url, "lease_waits_total")) == (0, 0)


def test_two_processes_see_each_other(api, shop, staff):
    """From the first write of the second one on, which comes and goes while the first has leases."""
    product = api.product()
    number = 0
    with crowd(api.api, shop, product):
        for turn in range(3):
            wait_leases(api.api)
            second = api.start_api()
            there = at(staff, second)
            for n in range(1, 31):
                number += 1
                set_price(there, product, f"{number}.50")
                assert price(shop, product) == f"{number}.50"
                if n == 10:
                    wait_registered(api, there, product, 2)
                if n == 11:  # what was answered since then has waited for all leases
                    before = leased(api.api)
                if n == 12 and turn == 0:
                    pause(ALONE_S + 0.5)
            assert leased(api.api) == before, "it is not alone"
            second.term_and_wait()
    assert leased(api.api) > 0


def test_a_process_that_the_others_lost_sight_of_is_believed_all_the_same(stack):
    """Its session is ended behind its back, so that the first one finds itself alone and makes leases,
    of which it knows nothing before its next write."""
    api = stack(settings={"TILL_API_LOOKUP_MS": 20})
    api.start_api()
    shop, staff = api.shop().sign_up(), make_staff(api, api.shop().sign_up())
    product = api.product()
    with crowd(api.api, shop, product):
        wait_leases(api.api)
        own = holders(api)
        second = api.start_api()
        there = at(staff, second)
        for n in range(1, 6):
            wait_registered(api, there, product, 2)
            [pid] = holders(api) - own
            api.query("SELECT pg_terminate_backend(%s)", pid)
            wait_leases(api.api)
            assert price(shop, product) != f"{n}.50"
            began = time.monotonic()
            set_price(there, product, f"{n}.50")
            assert price(shop, product) == f"{n}.50"
            assert time.monotonic() - began >= WRITE_WAIT_S, "it registers again, and waits or is slow"


def test_it_goes_on_after_the_database_was_away(stack):
    api = stack(own_postgres=True)
    api.start_api()
    shop, staff = api.shop().sign_up(), make_staff(api, api.shop().sign_up())
    product = api.product()
    with crowd(api.api, shop, product):
        wait_leases(api.api)
        api.postgres.restart("immediate")
        path = f"/api/products/{product}/"
        wait_for(
            lambda: staff.call("PATCH", path, {"price": "2.00"}).status_code == 200,
            60, "no write gets through",
        )
        assert price(shop, product) == "2.00"
        wait_leases(api.api)
        for n in range(10):
            set_price(staff, product, f"3.{n}0")
            assert price(shop, product) == f"3.{n}0"

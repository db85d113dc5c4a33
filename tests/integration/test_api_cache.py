"""What is kept in memory and in Redis is never stale, and what a client has is not sent again."""

import concurrent.futures
import re
import threading
import time

import pytest
import requests

from harness.sales import sales
from harness.wait import wait_for


def kept(api):
    return [key for key in api.redis.keys("till:cache:*") if not key.endswith(":fill")]


def seen(shop, path):
    return shop.expect(200, shop.get(path))


def write_unseen(api, sql):
    """Changes rows in a way that no version tells of."""
    with api.postgres.connect(api.database) as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(sql)
        connection.commit()
    connection.close()


def test_answers_about_the_catalogue_are_kept(api, shop):
    product = api.product(name="Old")
    paths = [
        f"/api/products/{product}/", "/api/products/", "/api/products/?search=o&ordering=-price",
        "/api/categories/", f"/api/products/{product}/rating/",
    ]
    before = [seen(shop, path) for path in paths]
    assert len(kept(api)) == len(paths)
    write_unseen(api, "UPDATE products SET name = 'New'")
    other = api.shop().sign_up()
    assert [seen(other, path) for path in paths] == before, "the answers did not come from Redis"
    api.query("SELECT nextval('catalogue_version')")
    assert seen(shop, paths[0])["name"] == "New"


def test_errors_are_not_kept(api, shop):
    for path in ("/api/products/999/", "/api/products/?page=9", "/api/products/?category_id=x"):
        assert shop.get(path).status_code in (400, 404)
    assert kept(api) == []
    for shown in ("/api/orders/", "/api/shopping-carts/", "/api/users/", "/api/payments/"):
        seen(shop, shown)
    assert kept(api) == [], "what belongs to somebody is never kept"


@pytest.mark.parametrize("way", ["rest", "sql", "order", "review"])
def test_a_write_is_seen_at_once_whoever_makes_it(api, shop, staff, way):
    product = api.product(stock=1000, price="1.00")
    path = f"/api/products/{product}/"
    end = threading.Event()

    def read():
        mine = shop.another_session()
        while not end.is_set():
            seen(mine, path)
            seen(mine, "/api/products/")

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        try:
            for n in range(1, 31):
                if way == "rest":
                    staff.expect(200, staff.call("PATCH", path, {"price": f"{n}.50"}))
                    assert seen(shop, path)["price"] == f"{n}.50"
                    assert seen(shop, "/api/products/")["results"][0]["price"] == f"{n}.50"
                elif way == "sql":
                    api.query("UPDATE products SET name = %s", f"name {n}")
                    assert seen(shop, path)["name"] == f"name {n}"
                elif way == "order":
                    shop.order((product, 1))
                    assert seen(shop, path)["stock_quantity"] == 1000 - n
                else:
                    body = {"product_id": product, "rating": "5", "comment": "x"}
                    shop.expect(201, shop.post("/api/reviews/", body))
                    assert seen(shop, path + "rating/")["reviews"] == n
        finally:
            end.set()
        for reader in readers:
            reader.result()


def test_what_is_sold_of_one_product_leaves_what_is_kept_of_others(api, shop):
    sold, other = api.product(name="Sold", stock=1000000), api.product(name="Other")
    of_others = [
        f"/api/products/{other}/", "/api/products/?search=other", "/api/categories/",
        f"/api/products/{sold}/rating/",
    ]
    before = [seen(shop, path) for path in of_others]
    made = counter(api, "cache_misses_total")
    for n in range(1, 6):
        shop.order((sold, 1))
        assert [seen(shop, path) for path in of_others] == before
        assert seen(shop, f"/api/products/{sold}/")["stock_quantity"] == 1000000 - n
        listed = seen(shop, "/api/products/")["results"]
        assert [p["stock_quantity"] for p in listed] == [1000000 - n, before[0]["stock_quantity"]]
    assert counter(api, "cache_misses_total") <= made + 2 * 5, "those of others were made anew"
    assert counter(api, "cache_row_hits_total") >= len(of_others)


def test_nearly_all_reads_of_what_is_not_sold_are_kept_ones_while_others_are(api, shop):
    sold, other = api.product(name="Sold", stock=1000000), api.product(name="Other")
    paths = [f"/api/products/{other}/", "/api/products/?search=other", "/api/categories/"]
    with sales(api, sold):
        for path in paths:
            seen(shop, path)
        made = counter(api, "cache_misses_total")
        for _ in range(100):
            for path in paths:
                seen(shop, path)
        assert counter(api, "cache_misses_total") - made < 30


@pytest.mark.parametrize("with_redis", [True, False], ids=["redis", "no redis"])
def test_while_others_are_sold_every_write_is_seen_at_once_in_every_process(stack, with_redis):
    api = stack(own_redis=True)
    api.start_api()
    shop = api.shop().sign_up()
    sold, product = api.product(name="Sold", stock=1000000), api.product(name="Thing", stock=1000)
    second = type(shop)(api.start_api().url)
    second.token = shop.token
    if not with_redis:
        api.redis_server.stop()
    path = f"/api/products/{product}/"

    def both(path):
        """Twice: what one makes the other may have, and each may keep."""
        answers = [seen(one, path) for one in (shop, second, shop, second)]
        assert all(answer["id" if "id" in answer else "count"] for answer in answers)
        return answers

    def listed(search):
        return [[p["id"] for p in page["results"]] for page in both(f"/api/products/?search={search}")]

    with sales(api, sold):
        for n in range(1, 16):
            for there, quantity in ((shop, 2 * n - 1), (second, 2 * n)):
                there.order((product, 1))
                assert {p["stock_quantity"] for p in both(path)} == {1000 - quantity}
                lists = both("/api/products/?ordering=-id")
                assert {p["results"][0]["stock_quantity"] for p in lists} == {1000 - quantity}
            api.query("UPDATE products SET name = %s WHERE id = %s", f"thing {n}", product)
            assert {p["name"] for p in both(path)} == {f"thing {n}"}
            assert listed(f"thing%20{n}") == [[product]] * 4
            api.query("UPDATE products SET description = %s WHERE id = %s", f"new {n}", product)
            lists = both("/api/products/?search=thing")
            assert {p["results"][0]["description"] for p in lists} == {f"new {n}"}
            more = api.product(name="thing more")
            assert listed("thing") == [[product, more]] * 4
            api.query("DELETE FROM products WHERE id = %s", more)
            assert listed("thing") == [[product]] * 4
            assert shop.get(f"/api/products/{more}/").status_code == 404


def test_what_brings_products_into_lists_is_seen_after_its_commit_while_others_are_sold(api, shop):
    """A list that is read while they are on their way is not kept for when they have come."""
    sold = api.product(stock=1000000)
    path = "/api/products/?search=coming"
    connection = api.postgres.connect(api.database)
    connection.autocommit = False
    with sales(api, sold), connection.cursor() as cursor:
        for n in range(20):
            assert seen(shop, path)["count"] == n
            cursor.execute(
                "INSERT INTO products (name, price, category_id)"
                " SELECT 'coming', 1, min(id) FROM categories"
            )
            for _ in range(5):
                assert seen(shop, path)["count"] == n
            connection.commit()
            assert seen(shop, path)["count"] == n + 1
    connection.close()


def test_lists_of_what_is_in_stock_follow_what_is_sold(api, shop):
    sold, other = api.product(name="Sold", stock=1), api.product(name="Other", stock=0)
    path = "/api/products/?in_stock=true"
    assert [p["id"] for p in seen(shop, path)["results"]] == [sold]
    shop.order((sold, 1))
    assert seen(shop, path)["results"] == []
    api.query("UPDATE products SET stock_quantity = 1 WHERE id = %s", other)
    assert [p["id"] for p in seen(shop, path)["results"]] == [other]


def test_what_is_read_while_somebody_writes_is_not_kept(api, shop):
    product = api.product(name="Old")
    path = f"/api/products/{product}/"
    connection = api.postgres.connect(api.database)
    connection.autocommit = False
    with connection.cursor() as cursor:
        cursor.execute("UPDATE products SET name = 'New'")
        assert seen(shop, path)["name"] == "Old"
        assert kept(api) == []
        connection.commit()
    connection.close()
    assert seen(shop, path)["name"] == "New"
    assert len(kept(api)) == 1


def test_answers_are_kept_in_memory_before_redis(api, shop):
    product = api.product(name="Old")
    path = f"/api/products/{product}/"
    before = shop.get(path)
    write_unseen(api, "UPDATE products SET name = 'New'")
    assert api.redis.delete(*kept(api)) == 1
    again = shop.get(path)
    assert (again.content, again.headers["ETag"]) == (before.content, before.headers["ETag"])
    assert kept(api) == [], "the answer did not come from memory"
    assert shop.get(path, headers={"If-None-Match": before.headers["ETag"]}).status_code == 304
    assert seen(shop, path + "?x=1")["name"] == "New", "another query is another answer"
    api.query("SELECT nextval('catalogue_version')")
    assert seen(shop, path)["name"] == "New"


def test_what_another_process_has_made_comes_from_redis(api, shop):
    product = api.product(name="Old")
    path = f"/api/products/{product}/"
    host = {"Host": "shop.example"}
    assert shop.get(path, headers=host).json()["name"] == "Old"
    write_unseen(api, "UPDATE products SET name = 'New'")
    other = type(shop)(api.start_api().url)
    other.token = shop.token
    for _ in range(2):
        assert other.get(path, headers=host).json()["name"] == "Old"
        api.redis.flushdb()


def test_of_many_who_miss_one_asks_the_database(stack):
    """The others wait for whoever fills; one who dies over it holds nobody up for long."""
    api = stack()
    api.start_api(TILL_API_CACHE_MIB=0)
    shop = api.shop().sign_up()
    product = api.product()
    path = f"/api/products/{product}/"
    seen(shop, path)
    (key,) = kept(api)
    value = api.redis.get(key)
    api.redis.delete(key)
    api.redis.set(key + ":fill", 1, px=60000)
    write_unseen(api, "UPDATE products SET name = 'from the database'")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(seen, shop.another_session(), path) for _ in range(4)]
        api.redis.set(key, value)
        assert all(w.result()["name"] != "from the database" for w in waiting)
    api.redis.delete(key)
    began = time.monotonic()
    assert seen(shop, path)["name"] == "from the database"
    assert time.monotonic() - began < 15


def counter(api, name):
    text = requests.get(api.api.url + "/metrics").text
    return int(re.search(rf"^\w*{name} (\d+)$", text, re.MULTILINE)[1])


@pytest.mark.parametrize("with_redis", [True, False], ids=["redis", "no redis"])
def test_of_many_who_miss_a_slow_answer_one_asks_the_database(stack, with_redis):
    api = stack(own_redis=True)
    api.start_api()
    shop = api.shop().sign_up()
    product = api.product(name="Thing")
    if not with_redis:
        api.redis_server.stop()
    connection = api.postgres.connect(api.database)
    connection.autocommit = False
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND query LIKE '%%FROM products%%'"
    )
    with connection.cursor() as cursor, concurrent.futures.ThreadPoolExecutor(32) as pool:
        cursor.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
        readers = [pool.submit(seen, shop.another_session(), "/api/products/") for _ in range(32)]
        try:
            wait_for(lambda: counter(api, "requests_in_flight") > 32, 30, "not all have come")
            wait_for(lambda: api.value(waiting) > 0, 30, "nobody asks")
            until = time.monotonic() + 1
            while time.monotonic() < until:
                assert api.value(waiting) == 1
        finally:
            connection.rollback()
        assert {r.result()["results"][0]["id"] for r in readers} == {product}
    connection.close()
    assert counter(api, "cache_shared_total") == 31


def test_who_waits_for_an_answer_that_fails_makes_it_alone(stack):
    api = stack()
    api.start_api()
    shop = api.shop().sign_up()
    api.product(name="Thing")
    connection = api.postgres.connect(api.database)
    connection.autocommit = False
    with connection.cursor() as cursor, concurrent.futures.ThreadPoolExecutor(8) as pool:
        cursor.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
        path = "/api/products/999999/"
        readers = [pool.submit(shop.another_session().get, path) for _ in range(8)]
        try:
            wait_for(lambda: counter(api, "requests_in_flight") > 8, 30, "not all have come")
        finally:
            connection.rollback()
        assert [r.result().status_code for r in readers] == [404] * 8
    connection.close()
    assert counter(api, "cache_shared_total") == 0


def test_without_redis_the_catalogue_is_there(stack):
    api = stack(own_redis=True)
    api.start_api()
    shop = api.shop().sign_up()
    product = api.product(name="Thing")
    assert seen(shop, f"/api/products/{product}/")["name"] == "Thing"
    api.redis_server.stop()
    for n in range(5):
        api.query("UPDATE products SET name = %s", f"Thing {n}")
        assert seen(shop, f"/api/products/{product}/")["name"] == f"Thing {n}"
        assert seen(shop, "/api/products/")["results"][0]["name"] == f"Thing {n}"


def test_what_a_client_has_is_not_sent_again(api, shop):
    product = api.product()
    order = shop.order((product, 1))
    other = api.shop().sign_up()
    for path in (
        f"/api/products/{product}/", "/api/products/", "/api/categories/", "/api/orders/",
        f"/api/orders/{order['id']}/", "/payment/order/",
    ):
        first = shop.get(path)
        tag = first.headers["ETag"]
        assert shop.get(path).headers["ETag"] == tag
        for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            answer = shop.get(path, headers={"If-None-Match": known})
            assert (answer.status_code, answer.content) == (304, b""), (path, known)
            assert answer.headers["ETag"] == tag
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert shop.get(path, headers={"If-None-Match": '"x"'}).content == first.content
        assert shop.call("HEAD", path).headers["ETag"] == tag
    api.query("UPDATE orders SET order_status = 'cancelled'")
    changed = shop.get(f"/api/orders/{order['id']}/", headers={"If-None-Match": "x"})
    assert changed.json()["order_status"] == "cancelled"
    assert "ETag" not in other.get(f"/api/orders/{order['id']}/").headers
    foreign = other.get(f"/api/orders/{order['id']}/", headers={"If-None-Match": "*"})
    assert foreign.status_code == 404

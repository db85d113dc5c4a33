"""Categories, products, carts, wishlists, reviews, order items; cancelling and refunding."""

import concurrent.futures
import re

import pytest
import requests

from harness import openapi
from harness.wait import wait_for


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()


def changed(shop, path, **body):
    return shop.expect(200, shop.call("PATCH", path, body))


NOT_FOUND = {"detail": "Not found."}
FORBIDDEN = {"detail": "You do not have permission to perform this action."}
REQUIRED = ["This field is required."]
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")


def no_object(number):
    return [f'Invalid pk "{number}" - object does not exist.']


# ---- the catalogue ----


def test_staff_writes_categories(api, shop, staff):
    made = staff.post("/api/categories/", {"name": "Things"})
    top = staff.expect(201, made)
    assert made.headers["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert list(top) == ["id", "name", "created_at", "updated_at", "parent_id"]
    assert (top["name"], top["parent_id"]) == ("Things", None)
    assert TIME.match(top["created_at"]) and TIME.match(top["updated_at"])
    sub = staff.expect(201, staff.post("/api/categories/", {"name": "Sub", "parent_id": top["id"]}))
    path = f"/api/categories/{sub['id']}/"
    assert changed(staff, path, name="Sub 2")["parent_id"] == top["id"]
    assert staff.expect(200, staff.call("PUT", path, {"name": "Sub 3"}))["parent_id"] == top["id"]
    assert changed(staff, path, parent_id=None)["parent_id"] is None
    assert changed(staff, path, parent_id=top["id"])["name"] == "Sub 3"
    found = shop.expect(200, shop.get(f"/api/categories/?parent_id={top['id']}"))
    assert [c["id"] for c in found["results"]] == [sub["id"]]
    gone = staff.call("DELETE", path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert gone.headers["Allow"] == "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"
    assert error_of(staff.call("DELETE", path), 404) == NOT_FOUND
    for method, body in (("POST", {"name": "x"}), ("PUT", {"name": "x"}), ("PATCH", {}), ("DELETE", None)):
        target = "/api/categories/" if method == "POST" else f"/api/categories/{top['id']}/"
        assert error_of(shop.call(method, target, body), 403) == FORBIDDEN


def test_categories_tell_what_is_wrong(staff):
    assert error_of(staff.post("/api/categories/", {}), 400) == {"name": REQUIRED}
    assert error_of(staff.post("/api/categories/", {"name": "x" * 256, "parent_id": 999}), 400) == {
        "name": ["Ensure this field has no more than 255 characters."],
        "parent_id": no_object(999),
    }
    assert error_of(staff.post("/api/categories/", {"name": "x", "parent_id": 999}), 400) == {
        "parent_id": no_object(999)
    }
    assert error_of(staff.post("/api/categories/", [1]), 400) == {
        "non_field_errors": ["Invalid data. Expected a dictionary, but got list."]
    }


def test_categories_stay_a_tree(staff):
    ids = [staff.expect(201, staff.post("/api/categories/", {"name": n}))["id"] for n in "abc"]
    for child, parent in zip(ids[1:], ids):
        changed(staff, f"/api/categories/{child}/", parent_id=parent)
    below = {"parent_id": ["A category cannot stand below itself."]}
    for parent in ids:
        answer = staff.call("PATCH", f"/api/categories/{ids[0]}/", {"parent_id": parent})
        assert error_of(answer, 400) == below


def test_staff_writes_products(api, shop, staff):
    category = staff.expect(201, staff.post("/api/categories/", {"name": "Lamps"}))["id"]
    body = {"name": "Lamp", "price": "12000.99", "stock_quantity": 12, "category_id": category}
    made = staff.expect(201, staff.post("/api/products/", body))
    assert list(made) == [
        "id", "name", "description", "price", "stock_quantity", "created_at", "updated_at",
        "category_id",
    ]
    assert made["description"] == "No description"
    assert {name: made[name] for name in body} == body
    path = f"/api/products/{made['id']}/"
    assert changed(staff, path, price=5)["price"] == "5.00"
    assert changed(staff, path, description="")["description"] == ""
    assert error_of(staff.call("PUT", path, {"price": "5.5", "category_id": category}), 400) == {
        "name": REQUIRED
    }
    replaced = staff.expect(
        200, staff.call("PUT", path, {"name": "L", "price": " 07.5 ", "category_id": category})
    )
    assert (replaced["name"], replaced["price"], replaced["stock_quantity"]) == ("L", "7.50", 12)
    assert shop.expect(200, shop.get(path)) == replaced
    assert error_of(shop.call("PATCH", path, {"price": "1"}), 403) == FORBIDDEN
    assert staff.call("DELETE", f"/api/categories/{category}/").status_code == 409
    assert staff.call("DELETE", path).status_code == 204
    assert error_of(shop.get(path), 404) == NOT_FOUND


def test_numbers_and_texts_are_read_as_clients_of_such_a_shop_send_them(api, staff):
    """As Django REST framework reads them, by JSON and by form."""
    product, category = api.product(), api.value("SELECT id FROM categories")
    path = f"/api/products/{product}/"
    for sent, read in ((2.0, 2), ("3.0", 3), (" 4 ", 4), ("5.", 5), (-0.0, 0)):
        assert changed(staff, path, stock_quantity=sent)["stock_quantity"] == read, sent
    assert error_of(staff.call("PATCH", path, {"stock_quantity": 1.5}), 400) == {
        "stock_quantity": ["A valid integer is required."]
    }
    assert changed(staff, path, name="\u00a0\u2003A\u00a0B\u3000\n")["name"] == "A\u00a0B"
    assert error_of(staff.call("PATCH", path, {"name": "\u00a0"}), 400) == {"name": ["This field may not be blank."]}
    assert error_of(staff.call("PATCH", path, {"category_id": ""}), 400) == {
        "category_id": ["This field may not be null."]
    }
    assert error_of(staff.call("PATCH", path, {"price": "12345678901.25"}), 400) == {
        "price": ["Ensure that there are no more than 12 digits in total."]
    }
    form = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Bearer {staff.token}"}
    for sent, read in ((f"parent_id={category}", category), ("parent_id=", None)):
        answer = requests.post(api.api.url + "/api/categories/", f"name=Sub&{sent}", headers=form, timeout=30)
        assert staff.expect(201, answer)["parent_id"] == read
    answer = requests.post(
        api.api.url + "/api/categories/", "null", headers={**form, "Content-Type": "application/json"}, timeout=30
    )
    assert error_of(answer, 400) == {"non_field_errors": ["No data provided"]}


def test_a_product_that_was_ordered_stays(api, shop, staff):
    product = api.product()
    shop.order((product, 1))
    refused = error_of(staff.call("DELETE", f"/api/products/{product}/"), 409)
    assert refused == {"detail": "Other objects refer to this one: remove them first."}


@pytest.mark.parametrize(
    "body, errors",
    [
        ({}, {"name": REQUIRED, "price": REQUIRED, "category_id": REQUIRED}),
        (
            {"name": "", "price": "1.234", "stock_quantity": "x", "category_id": 999},
            {
                "name": ["This field may not be blank."],
                "price": ["Ensure that there are no more than 2 decimal places."],
                "stock_quantity": ["A valid integer is required."],
                "category_id": no_object(999),
            },
        ),
        (
            {"name": True, "price": "12345678901.5", "stock_quantity": 1.5, "category_id": "a",
             "description": None},
            {
                "name": ["Not a valid string."],
                "description": ["This field may not be null."],
                "price": ["Ensure that there are no more than 10 digits before the decimal point."],
                "stock_quantity": ["A valid integer is required."],
                "category_id": ["Incorrect type. Expected pk value, received str."],
            },
        ),
        (
            {"name": None, "price": "NaN", "stock_quantity": None, "category_id": None},
            {
                "name": ["This field may not be null."],
                "price": ["A valid number is required."],
                "stock_quantity": ["This field may not be null."],
                "category_id": ["This field may not be null."],
            },
        ),
        (
            {"name": "x", "price": 5.5, "stock_quantity": -1, "category_id": 0, "id": 7},
            {
                "price": ['Send a decimal as a string, such as "12.50".'],
                "stock_quantity": ["Ensure this value is greater than or equal to 0."],
                "category_id": no_object(0),
                "id": ["This field is not known."],
            },
        ),
        (
            {"name": "x", "price": "-0.01", "category_id": 1},
            {
                "price": ["Ensure this value is greater than or equal to 0."],
                "category_id": no_object(1),
            },
        ),
    ],
)
def test_products_tell_what_is_wrong(api, staff, body, errors):
    assert error_of(staff.post("/api/products/", body), 400) == errors
    assert api.value("SELECT count(*) FROM products") == 0


def test_products_are_filtered_and_ordered(api, shop):
    ids = [api.product(price=f"{n}.50", stock=n % 2, name=f"Thing {n:02}") for n in range(12)]
    lamp = api.product(price="3.00", name="Brass LAMP")
    category = api.value("INSERT INTO categories (name) VALUES ('Other') RETURNING id")
    api.query("UPDATE products SET category_id = %s WHERE id = %s", category, lamp)

    def found(query):
        page = shop.expect(200, shop.get("/api/products/?" + query))
        assert page["count"] == len(page["results"])
        return [p["id"] for p in page["results"]]

    assert found(f"category_id={category}") == [lamp]
    assert found("search=lamp") == found("search=s%20la") == [lamp]
    assert found("search=%25") == []
    assert found("price_min=3&price_max=4.50") == [ids[3], ids[4], lamp]
    assert found("in_stock=false") == found("in_stock=False") == ids[::2]
    assert found("in_stock=true") == found("in_stock=True")
    assert found("in_stock=true&price_min=9") == [ids[9], ids[11]]
    assert found("price_max=0.5&category_id=") == [ids[0]]
    assert found("ordering=-price&price_max=3.5") == [ids[3], lamp, *ids[2::-1]]
    assert found("ordering=name")[0] == lamp
    assert found("ordering=-created_at") == [lamp, *reversed(ids)]
    assert found("ordering=nonsense;drop") == [*ids, lamp]
    assert found("ordering=nonsense,-created_at,name") == [lamp, *reversed(ids)]
    for unreadable in ("search=%ff", "price_min=%00", "category_id=1%00", "search=lamp%c0%af"):
        refused = shop.get("/api/products/?" + unreadable)
        assert error_of(refused, 400) == {"detail": "The query is no UTF-8, holds a NUL, or has too many parameters."}
    wrong = shop.get("/api/products/?category_id=x&price_min=1.234&in_stock=maybe")
    assert error_of(wrong, 400) == {
        "category_id": ["Incorrect type. Expected pk value, received str."],
        "price_min": ["Ensure that there are no more than 2 decimal places."],
        "in_stock": ['"maybe" is not a valid choice.'],
    }
    first = shop.expect(200, shop.get("/api/products/?search=Thing&page_size=5&ordering=-name"))
    assert [p["id"] for p in first["results"]] == ids[:6:-1]
    assert first["next"].endswith("?search=Thing&page_size=5&ordering=-name&page=2")


# ---- changing only what one has read ----


def of_each_kind(api, staff):
    """(path, a change of it) for an object of each kind that can be changed."""
    product, category = api.product(), api.value("SELECT id FROM categories LIMIT 1")
    made = {}
    for kind, body in (("shopping-carts", {}), ("wishlists", {})):
        made[kind] = staff.expect(201, staff.post(f"/api/{kind}/", body))["id"]
    bodies = {
        "cart-items": {"cart_id": made["shopping-carts"], "product_id": product, "quantity": 1},
        "wishlist-items": {"wishlist_id": made["wishlists"], "product_id": product},
        "reviews": {"product_id": product, "rating": "4.00", "comment": "Good"},
    }
    for kind, body in bodies.items():
        made[kind] = staff.expect(201, staff.post(f"/api/{kind}/", body))["id"]
    changes = {
        "cart-items": {"quantity": 2}, "wishlist-items": {"product_id": api.product()},
        "reviews": {"comment": "Better"}, "wishlists": {}, "shopping-carts": {},
    }
    yield f"/api/categories/{category}/", {"name": "Other"}
    yield f"/api/products/{product}/", {"price": "11.00"}
    for kind, change in changes.items():
        yield f"/api/{kind}/{made[kind]}/", change


def test_with_if_match_only_what_one_has_read_is_changed(api, staff):
    for path, change in of_each_kind(api, staff):
        read = staff.get(path)
        tag = read.headers["ETag"]
        for known in ('"x"', tag[1:-1], tag[:-1], "", '"x", "y"', tag.upper()):
            refused = staff.call("PATCH", path, change, headers={"If-Match": known})
            assert "If-Match" in error_of(refused, 412)["detail"], (path, known)
            assert "If-Match" in error_of(staff.call("DELETE", path, headers={"If-Match": known}), 412)["detail"]
        assert staff.get(path).content == read.content, path
        for known in ("{}", '"x", {}', "W/{}", "*"):
            headers = {"If-Match": known.format(tag)}
            newer = staff.expect(200, staff.call("PATCH", path, change, headers=headers))
            assert staff.expect(200, staff.get(path)) == newer
            tag = staff.get(path).headers["ETag"]
        assert staff.call("PATCH", path, change).status_code == 200  # without it as ever


def test_of_two_who_have_read_the_same_one_changes_it(api, staff):
    """They begin while somebody holds the row, so both have asked before either has written."""
    path = f"/api/products/{api.product(price='10.00')}/"
    tag = staff.get(path).headers["ETag"]

    def change(price):
        return staff.another_session().call("PATCH", path, {"price": price}, headers={"If-Match": tag})

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        with api.postgres.connect(api.database) as holder:
            holder.autocommit = False
            holder.cursor().execute("SELECT FROM products FOR UPDATE")
            asked = [pool.submit(change, price) for price in ("11.00", "12.00")]
            asked.append(pool.submit(staff.another_session().call, "DELETE", path, headers={"If-Match": tag}))
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'till-api' AND wait_event_type = 'Lock'"
            )
            wait_for(lambda: api.value(waiting) == 3, 30, "the three never waited for the product")
            holder.rollback()
        holder.close()
        answers = [one.result() for one in asked]
    codes = sorted(answer.status_code for answer in answers)
    assert codes in ([200, 412, 412], [204, 404, 404]), codes


def test_if_match_tells_nobody_of_what_is_not_theirs(api, shop, staff):
    review = staff.expect(201, staff.post("/api/reviews/", {"product_id": api.product(), "rating": 1, "comment": "x"}))
    cart = staff.expect(201, staff.post("/api/shopping-carts/", {}))["id"]
    path = f"/api/reviews/{review['id']}/"
    for tag in ("*", '"x"', shop.get(path).headers["ETag"]):
        for method, body in (("PATCH", {"comment": "y"}), ("DELETE", None)):
            headers = {"If-Match": tag}
            assert error_of(shop.call(method, path, body, headers=headers), 403) == FORBIDDEN
            for other in (f"/api/shopping-carts/{cart}/", "/api/shopping-carts/999/"):
                assert error_of(shop.call(method, other, {}, headers=headers), 404) == NOT_FOUND
    assert staff.expect(200, staff.get(path)) == review


# ---- ordering a cart while it is changed ----


def full_cart(api, shop, *quantities):
    """A cart with that many of a product each: its id, and (id, product id) of its items."""
    cart = shop.expect(201, shop.post("/api/shopping-carts/", {}))["id"]
    items = []
    for quantity in quantities:
        body = {"cart_id": cart, "product_id": api.product(), "quantity": quantity}
        item = shop.expect(201, shop.post("/api/cart-items/", body))
        items.append((item["id"], item["product_id"]))
    return cart, items


def order_while_held(api, shop, cart, *statements):
    """The answer to an order of the cart that has begun between those statements and their commit."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'till-api' AND wait_event_type = 'Lock'"
    )
    first, *others = statements
    with concurrent.futures.ThreadPoolExecutor(1) as pool, api.postgres.connect(api.database) as holder:
        holder.autocommit = False
        holder.cursor().execute(first)
        asked = pool.submit(shop.post, "/api/orders/", {"cart_id": cart})
        wait_for(lambda: api.value(waiting) == 1, 30, "the order never waited")
        for statement in others:
            holder.cursor().execute(statement)
        holder.commit()
        answer = asked.result()
    holder.close()
    return answer


def lines_of(order):
    return [(item["product_id"], item["quantity"]) for item in order["items"]]


def test_a_change_of_a_cart_that_was_accepted_is_in_the_order_of_it(api, shop):
    """Its customer was told so, and nothing of it is left in the cart."""
    cart, ((changed, lamp), (kept, bulb)) = full_cart(api, shop, 1, 2)
    change = f"UPDATE cart_items SET quantity = 7 WHERE id = {changed}"
    order = shop.expect(201, order_while_held(api, shop, cart, change))
    assert lines_of(order) == [(lamp, 7), (bulb, 2)]
    assert order["total_amount"] == "90.00"
    assert shop.expect(200, shop.get(f"/api/cart-items/?cart_id={cart}"))["results"] == []
    for item in (changed, kept):
        assert error_of(shop.call("PATCH", f"/api/cart-items/{item}/", {"quantity": 3}), 404) == NOT_FOUND


def test_what_was_taken_out_of_a_cart_is_not_ordered_with_it(api, shop):
    cart, ((removed, lamp), (_, bulb)) = full_cart(api, shop, 1, 2)
    removal = f"DELETE FROM cart_items WHERE id = {removed}"
    order = shop.expect(201, order_while_held(api, shop, cart, removal))
    assert lines_of(order) == [(bulb, 2)]
    assert api.value("SELECT stock_quantity FROM products WHERE id = %s", lamp) == 1000


def test_a_product_is_removed_while_a_cart_with_it_is_ordered(api, shop):
    """The order waits for the product before it holds what the removal needs: no deadlock."""
    cart, ((_, lamp), (_, bulb)) = full_cart(api, shop, 1, 2)
    hold = f"SELECT FROM products WHERE id = {lamp} FOR UPDATE"
    order = shop.expect(201, order_while_held(api, shop, cart, hold, f"DELETE FROM products WHERE id = {lamp}"))
    assert lines_of(order) == [(bulb, 2)]


# ---- stock that comes back while it is taken ----


def test_goods_come_back_while_others_order_them(api, shop, other):
    """Somebody has changed the product while the cancelling waits for it, and somebody else, who only
    refers to it, goes on: PostgreSQL keeps those who wait in a line at the row before the change."""
    product = api.product(stock=10)
    order = shop.order((product, 3))["id"]
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'till-api' AND wait_event_type = 'Lock'"
    )
    referring, changing = (api.postgres.connect(api.database) for _ in range(2))
    for connection in (referring, changing):
        connection.autocommit = False
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        referring.cursor().execute(f"SELECT FROM products WHERE id = {product} FOR KEY SHARE")
        changing.cursor().execute(f"UPDATE products SET description = 'New' WHERE id = {product}")
        cancelled = pool.submit(shop.post, f"/api/orders/{order}/cancel/")
        wait_for(lambda: api.value(waiting) == 1, 30, "the cancelling never waited")
        ordered = pool.submit(other.post_order, (product, 4))
        wait_for(lambda: api.value(waiting) == 2, 30, "the order never waited")
        changing.commit()
        assert cancelled.result().status_code == 200
        assert ordered.result().status_code == 201
    for connection in (referring, changing):
        connection.close()
    assert api.value("SELECT stock_quantity FROM products WHERE id = %s", product) == 6


# ---- reviews ----


def add_two_of_each(api, shop):
    """Of everything that has a list, by somebody who may see all of it."""
    for number in range(2):
        category = shop.expect(201, shop.post("/api/categories/", {"name": f"Things {number}"}))["id"]
        body = {"name": f"Thing {number}", "price": f"{number + 1}.00", "stock_quantity": 9, "category_id": category}
        product = shop.expect(201, shop.post("/api/products/", body))["id"]
        for parent, items in (("shopping-cart", "cart"), ("wishlist", "wishlist")):
            made = shop.expect(201, shop.post(f"/api/{parent}s/", {}))["id"]
            item = {f"{items}_id": made, "product_id": product}
            shop.expect(201, shop.post(f"/api/{items}-items/", item))
        review = {"product_id": product, "rating": f"{number + 1}.00", "comment": "so so"}
        shop.expect(201, shop.post("/api/reviews/", review))
        shop.pay(shop.order((product, 1))["id"])
    api.shop().register()


def test_every_list_is_ordered_as_the_document_tells(api, staff):
    add_two_of_each(api, staff)
    lists = 0
    for path, item in openapi.document()["paths"].items():
        known = [p["schema"]["enum"] for p in item.get("get", {}).get("parameters", []) if p.get("name") == "ordering"]
        lists += len(known)
        for ordering in (name for names in known for name in names if not name.startswith("-")):
            assert "-" + ordering in known[0]
            up, down = (
                [row["id"] for row in staff.expect(200, staff.get(f"{path}?ordering={sign}{ordering}"))["results"]]
                for sign in ("", "-")
            )
            assert len(up) >= 2 and down == up[::-1], (path, ordering)
    assert lists == 11


def test_reviews_are_read_by_all_and_changed_by_their_author(api, shop, other):
    product = api.product()
    body = {"product_id": product, "rating": "4.50", "comment": "Good"}
    made = shop.expect(201, shop.post("/api/reviews/", body))
    assert list(made) == [
        "id", "rating", "comment", "created_at", "updated_at", "product_id", "user_id",
    ]
    path = f"/api/reviews/{made['id']}/"
    assert other.expect(200, other.get(path)) == made
    assert other.expect(200, other.get("/api/reviews/"))["results"] == [made]
    assert error_of(other.call("PATCH", path, {"comment": "x"}), 403) == FORBIDDEN
    for method, bad in (("PATCH", {"rating": "x"}), ("PATCH", {"product_id": 999}), ("PUT", {}), ("PUT", [])):
        assert error_of(other.call(method, path, bad), 403) == FORBIDDEN, (method, bad)
        assert shop.call(method, path, bad).status_code == 400
    assert error_of(other.call("DELETE", path), 403) == FORBIDDEN
    assert error_of(other.call("DELETE", "/api/reviews/999/"), 404) == NOT_FOUND
    assert error_of(other.call("PATCH", "/api/reviews/999/", {"comment": "x"}), 404) == NOT_FOUND
    assert changed(shop, path, comment="Better") == {
        **made, "comment": "Better", "updated_at": api.value(
            "SELECT to_char(updated_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM reviews"),
    }
    assert shop.call("DELETE", path).status_code == 204
    assert api.value("SELECT count(*) FROM reviews") == 0


def test_reviews_tell_what_is_wrong(shop):
    assert error_of(shop.post("/api/reviews/", {}), 400) == {
        "rating": REQUIRED, "comment": REQUIRED, "product_id": REQUIRED,
    }
    body = {"product_id": 999, "rating": "x", "comment": "x" * 256}
    assert error_of(shop.post("/api/reviews/", body), 400) == {
        "rating": ["A valid number is required."],
        "comment": ["Ensure this field has no more than 255 characters."],
        "product_id": no_object(999),
    }
    for rating, text in (("0.99", "greater than or equal to 1"), ("5.01", "less than or equal to 5")):
        body = {"product_id": 1, "rating": rating, "comment": "x", "user_id": 1}
        assert error_of(shop.post("/api/reviews/", body), 400) == {
            "rating": [f"Ensure this value is {text}."],
            "product_id": no_object(1),
            "user_id": ["This field is not known."],
        }


def test_a_product_has_the_rating_of_its_reviews(api, shop, other):
    product, bare = api.product(), api.product()
    for who, rating in ((shop, "5"), (shop, "4.00"), (other, 1)):
        body = {"product_id": product, "rating": rating, "comment": "x"}
        who.expect(201, who.post("/api/reviews/", body))
    assert shop.expect(200, shop.get(f"/api/products/{product}/rating/")) == {
        "product_id": product, "rating": "3.33", "reviews": 3,
    }
    assert shop.expect(200, shop.get(f"/api/products/{bare}/rating/")) == {
        "product_id": bare, "rating": None, "reviews": 0,
    }
    assert error_of(shop.get("/api/products/999/rating/"), 404) == NOT_FOUND
    best = shop.expect(200, shop.get("/api/products/?ordering=-rating"))["results"]
    assert [p["id"] for p in best] == [product, bare]
    mine = shop.expect(200, shop.get(f"/api/reviews/?product_id={product}&ordering=-rating&rating_min=2"))
    assert [r["rating"] for r in mine["results"]] == ["5.00", "4.00"]


# ---- carts and wishlists ----

PARENTS = ["shopping-carts", "wishlists"]


@pytest.mark.parametrize("kind", PARENTS)
def test_carts_and_wishlists_are_ones_own(api, shop, other, kind):
    made = shop.expect(201, shop.post(f"/api/{kind}/", {}))
    assert list(made) == ["id", "created_at", "updated_at", "user_id"]
    assert made["user_id"] == shop.expect(200, shop.get("/api/users/"))["results"][0]["id"]
    path = f"/api/{kind}/{made['id']}/"
    assert shop.expect(200, shop.get(path)) == made
    assert shop.expect(200, shop.get(f"/api/{kind}/"))["results"] == [made]
    for method in ("PUT", "PATCH"):
        assert shop.expect(200, shop.call(method, path, {}))["id"] == made["id"]
    assert error_of(shop.call("PATCH", path, {"user_id": 1}), 400) == {
        "user_id": ["This field is not known."]
    }
    assert other.expect(200, other.get(f"/api/{kind}/"))["count"] == 0
    for method, body in (("GET", None), ("PUT", {}), ("PATCH", {"x": 1}), ("DELETE", None)):
        foreign = other.call(method, path, body)
        missing = other.call(method, f"/api/{kind}/999999/", body)
        assert error_of(foreign, 404) == error_of(missing, 404) == NOT_FOUND
    assert shop.call("DELETE", path).status_code == 204
    assert error_of(shop.get(path), 404) == NOT_FOUND


@pytest.mark.parametrize(
    "kind, parents, parent, shown",
    [
        ("cart-items", "shopping-carts", "cart_id",
         ["id", "cart_id", "quantity", "created_at", "updated_at", "product_id"]),
        ("wishlist-items", "wishlists", "wishlist_id",
         ["id", "wishlist_id", "created_at", "product_id"]),
    ],
)
def test_items_belong_to_whom_their_parent_belongs(api, shop, other, kind, parents, parent, shown):
    products = [api.product(), api.product()]
    mine = shop.expect(201, shop.post(f"/api/{parents}/", {}))["id"]
    theirs = other.expect(201, other.post(f"/api/{parents}/", {}))["id"]
    made = shop.expect(201, shop.post(f"/api/{kind}/", {parent: mine, "product_id": products[0]}))
    assert list(made) == shown
    path = f"/api/{kind}/{made['id']}/"
    assert error_of(shop.post(f"/api/{kind}/", {}), 400) == {parent: REQUIRED, "product_id": REQUIRED}
    foreign = other.post(f"/api/{kind}/", {parent: mine, "product_id": products[0]})
    assert error_of(foreign, 400) == {parent: no_object(mine)}
    missing = other.post(f"/api/{kind}/", {parent: 999, "product_id": 999})
    assert error_of(missing, 400) == {parent: no_object(999), "product_id": no_object(999)}
    assert error_of(shop.call("PATCH", path, {parent: theirs}), 400) == {parent: no_object(theirs)}
    assert error_of(shop.call("PATCH", path, {"product_id": 999}), 400) == {
        "product_id": no_object(999)
    }
    assert changed(shop, path, product_id=products[1])["product_id"] == products[1]
    for method, body in (
        ("GET", None), ("PATCH", {"product_id": products[0]}), ("PATCH", {parent: theirs}),
        ("PUT", {parent: theirs, "product_id": products[0]}), ("PUT", {}), ("PATCH", []),
        ("DELETE", None),
    ):
        assert error_of(other.call(method, path, body), 404) == NOT_FOUND, (method, body)
    assert other.expect(200, other.get(f"/api/{kind}/"))["count"] == 0
    assert shop.expect(200, shop.get(f"/api/{kind}/?{parent}={mine}"))["count"] == 1
    assert shop.expect(200, shop.get(f"/api/{kind}/?{parent}={theirs}"))["count"] == 0
    assert shop.call("DELETE", path).status_code == 204


def test_cart_items_have_a_quantity(api, shop):
    cart = shop.expect(201, shop.post("/api/shopping-carts/", {}))["id"]
    body = {"cart_id": cart, "product_id": api.product()}
    item = shop.expect(201, shop.post("/api/cart-items/", body))
    assert item["quantity"] == 1
    assert changed(shop, f"/api/cart-items/{item['id']}/", quantity=3)["quantity"] == 3
    assert error_of(
        shop.post("/api/cart-items/", {"cart_id": 999, "product_id": "x", "quantity": "x"}), 400
    ) == {
        "cart_id": no_object(999),
        "quantity": ["A valid integer is required."],
        "product_id": ["Incorrect type. Expected pk value, received str."],
    }
    for wrong in (0, -1, 1000001, 2**63):
        assert shop.post("/api/cart-items/", {**body, "quantity": wrong}).status_code == 400


def test_a_product_stands_in_a_wishlist_once(api, shop):
    wishlist = shop.expect(201, shop.post("/api/wishlists/", {}))["id"]
    body = {"wishlist_id": wishlist, "product_id": api.product()}
    shop.expect(201, shop.post("/api/wishlist-items/", body))
    assert error_of(shop.post("/api/wishlist-items/", body), 400) == {
        "non_field_errors": ["The fields wishlist_id, product_id must make a unique set."]
    }


def fill_cart(shop, *items):
    cart = shop.expect(201, shop.post("/api/shopping-carts/", {}))["id"]
    for product, quantity in items:
        body = {"cart_id": cart, "product_id": product, "quantity": quantity}
        shop.expect(201, shop.post("/api/cart-items/", body))
    return cart


def test_a_cart_becomes_an_order_once(api, shop, other):
    one, two = api.product(stock=50, price="11.01"), api.product(stock=50, price="12.02")
    cart = fill_cart(shop, (one, 1), (two, 2), (one, 3))
    foreign = other.post("/api/orders/", {"cart_id": cart})
    assert error_of(foreign, 400) == {"cart_id": no_object(cart)}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda _: shop.another_session().post("/api/orders/", {"cart_id": cart}), range(8)
            )
        )
    assert sorted(a.status_code for a in answers) == [201] + [400] * 7
    order = next(a for a in answers if a.status_code == 201).json()
    assert [(i["product_id"], i["quantity"]) for i in order["items"]] == [(one, 4), (two, 2)]
    assert order["total_amount"] == "68.08"
    refused = next(a for a in answers if a.status_code == 400)
    assert refused.json() == {"cart_id": ["The cart is empty."]}
    assert shop.expect(200, shop.get(f"/api/cart-items/?cart_id={cart}"))["count"] == 0
    api.books(unpaid=True)


def test_a_cart_that_cannot_be_ordered_stays_as_it_is(api, shop):
    scarce = api.product(stock=1)
    cart = fill_cart(shop, (scarce, 2))
    assert error_of(shop.post("/api/orders/", {"cart_id": cart}), 400) == {
        "items": [f"Not enough stock for product {scarce}."]
    }
    assert shop.expect(200, shop.get("/api/cart-items/"))["count"] == 1
    assert error_of(shop.post("/api/orders/", {"cart_id": cart, "items": []}), 400)
    assert error_of(shop.post("/api/orders/", {"cart_id": "x"}), 400) == {
        "cart_id": ["Incorrect type. Expected pk value, received str."]
    }
    api.query("UPDATE cart_items SET quantity = 1000000")
    body = {"cart_id": cart, "product_id": scarce, "quantity": 1000000}
    shop.expect(201, shop.post("/api/cart-items/", body))
    assert error_of(shop.post("/api/orders/", {"cart_id": cart}), 400) == {
        "cart_id": ["The cart holds too much of a product."]
    }


# ---- order items ----


def test_an_item_is_added_to_an_order_that_nobody_pays(api, shop, other):
    one, two = api.product(stock=5, price="11.01"), api.product(stock=5, price="13.03")
    order = shop.order((one, 2))
    body = {"order_id": order["id"], "product_id": two, "quantity": 1}
    made = shop.expect(201, shop.post("/api/order-items/", body))
    assert list(made) == [
        "id", "order_id", "quantity", "price", "created_at", "updated_at", "product_id",
    ]
    assert made["price"] == "13.03"
    assert shop.expect(200, shop.get(f"/api/orders/{order['id']}/"))["total_amount"] == "35.05"
    assert error_of(shop.post("/api/order-items/", {}), 400) == {
        "order_id": REQUIRED, "quantity": REQUIRED, "product_id": REQUIRED,
    }
    assert error_of(other.post("/api/order-items/", body), 400) == {
        "order_id": no_object(order["id"])
    }
    assert error_of(shop.post("/api/order-items/", {**body, "product_id": 999}), 400) == {
        "product_id": no_object(999)
    }
    assert error_of(shop.post("/api/order-items/", {**body, "quantity": 99}), 400) == {
        "quantity": [f"Not enough stock for product {two}."]
    }
    assert error_of(
        shop.post("/api/order-items/", {"order_id": 999, "product_id": 999, "quantity": 0}), 400
    ) == {
        "order_id": no_object(999),
        "product_id": no_object(999),
        "quantity": ["Ensure this value is greater than or equal to 1."],
    }
    listed = shop.expect(200, shop.get(f"/api/order-items/?order_id={order['id']}"))
    assert [i["product_id"] for i in listed["results"]] == [one, two]
    assert other.expect(200, other.get("/api/order-items/"))["count"] == 0
    shop.pay(order["id"])
    assert error_of(shop.post("/api/order-items/", body), 400) == {
        "order_id": ["A payment for this order is already in progress."]
    }
    api.query("UPDATE orders SET order_status = 'cancelled'")
    assert error_of(shop.post("/api/order-items/", body), 400) == {
        "order_id": ["Order is paid or over."]
    }


def test_orders_are_filtered(api, shop):
    product = api.product(price="10.00")
    orders = [shop.order((product, n)) for n in (1, 2, 3)]
    shop.expect(200, shop.post(f"/api/orders/{orders[0]['id']}/cancel/", {}))

    def found(query):
        return [o["id"] for o in shop.expect(200, shop.get("/api/orders/?" + query))["results"]]

    ids = [order["id"] for order in orders]
    assert found("order_status=cancelled") == ids[:1]
    assert found("order_status=pending&ordering=-id") == [ids[2], ids[1]]
    assert found("total_min=20.00&total_max=20") == [ids[1]]
    assert error_of(shop.get("/api/orders/?order_status=lost"), 400) == {
        "order_status": ['"lost" is not a valid choice.']
    }


# ---- cancelling and refunding ----


def test_an_order_that_is_not_paid_is_cancelled_and_its_goods_return(api, shop, other):
    product = api.product(stock=5)
    order = shop.order((product, 2), (product, 1))
    path = f"/api/orders/{order['id']}/cancel/"
    assert error_of(other.post(path, {}), 404) == NOT_FOUND
    assert error_of(other.post("/api/orders/999/cancel/", {}), 404) == NOT_FOUND
    assert error_of(shop.post(path, {"x": 1}), 400) == {"x": ["This field is not known."]}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shop.another_session().post(path, {}), range(8)))
    assert sorted(a.status_code for a in answers) == [200] + [400] * 7
    done = next(a for a in answers if a.status_code == 200).json()
    assert (done["id"], done["order_status"]) == (order["id"], "cancelled")
    refused = next(a for a in answers if a.status_code == 400).json()
    assert refused == {"order_status": ["Order is already cancelled."]}
    assert api.value("SELECT stock_quantity FROM products") == 5
    assert error_of(shop.post_payment(order["id"]), 400) == {"order_id": ["Order is cancelled."]}


def test_an_order_cancelled_while_it_is_paid_is_paid_back(stack):
    api = stack().start()
    shop = api.shop().sign_up()
    order = shop.order((api.product(stock=5), 1))
    api.gateway.fault("hold_after")
    payment = shop.pay(order["id"])
    wait_for(api.gateway.held, 15, "the gateway was never asked")
    shop.expect(200, shop.post(f"/api/orders/{order['id']}/cancel/", {}))
    api.gateway.release()
    wait_for(lambda: shop.payment(payment["id"])["status"] == "refunded", 20, "not paid back")
    api.wait_settled()
    assert shop.order_status(order["id"]) == "cancelled"
    assert api.gateway.effective_charges() == []
    assert api.value("SELECT stock_quantity FROM products") == 5


def test_staff_pays_an_order_back(stack):
    api = stack().start()
    shop, staff = api.shop().sign_up(), api.shop().sign_up()
    api.query("UPDATE users SET is_staff = true WHERE email = %s", staff.email)
    order = shop.order((api.product(stock=5), 2))
    path = f"/api/orders/{order['id']}/refund/"
    assert error_of(shop.post(path, {}), 403) == FORBIDDEN
    assert error_of(staff.post("/api/orders/999/refund/", {}), 404) == NOT_FOUND
    assert error_of(staff.post(path, {}), 400) == {"order_status": ["Order is not paid."]}
    payment = shop.pay(order["id"])
    shop.wait_order(order["id"], "paid")
    assert error_of(shop.post(f"/api/orders/{order['id']}/cancel/", {}), 400) == {
        "order_status": ["Order is already paid."]
    }
    accepted = staff.expect(202, staff.post(path, {}))
    assert accepted["payment_id"] == payment["id"]
    api.wait_job(accepted["task_id"])
    assert shop.order_status(order["id"]) == "refunded"
    assert shop.payment(payment["id"])["status"] == "refunded"
    assert api.value("SELECT stock_quantity FROM products") == 5
    assert error_of(staff.post(path, {}), 400) == {"order_status": ["Order is already refunded."]}
    api.wait_settled()
    assert [charge["refunded"] for charge in api.gateway.charges()] == [True]


# ---- who waited for an order sees what was done to it meanwhile ----


def behind(api, order, statements, ask):
    """The answer to `ask`, which waits for the order while somebody who has it makes `statements`."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        holder = api.postgres.connect(api.database)
        holder.autocommit = False
        cursor = holder.cursor()
        cursor.execute("SELECT FROM orders WHERE id = %s FOR NO KEY UPDATE", [order["id"]])
        answer = pool.submit(ask)
        wait_for(
            lambda: api.value("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0, 15, "it never waited for the order"
        )
        for sql in statements:
            cursor.execute(sql, {"order": order["id"]})
        holder.commit()
        holder.close()
        return answer.result()


def test_a_refund_that_waits_for_the_payment_to_succeed_finds_it(api, shop, staff):
    order = shop.order((api.product(), 1))
    payment = shop.pay(order["id"])
    api.query("UPDATE payments SET status = 'processing', first_sent_at = now()")
    paid = (
        "UPDATE payments SET status = 'succeeded', gateway_reference = 'pi_1', paid_at = now() WHERE order_id = %(order)s",
        "UPDATE orders SET order_status = 'paid' WHERE id = %(order)s",
    )
    answer = behind(api, order, paid, lambda: staff.post(f"/api/orders/{order['id']}/refund/", {}))
    assert staff.expect(202, answer)["payment_id"] == payment["id"]


def test_an_order_gets_no_more_items_than_it_may_have_by_two_at_once(api, shop):
    product = api.product()
    order = shop.order(*[(product, 1)] * 99)
    last = (
        "INSERT INTO order_items (order_id, product_id, quantity, price)"
        " SELECT order_id, product_id, 1, 0 FROM order_items WHERE order_id = %(order)s LIMIT 1",
    )
    item = {"order_id": order["id"], "product_id": product, "quantity": 1}
    answer = behind(api, order, last, lambda: shop.post("/api/order-items/", item))
    assert error_of(answer, 400) == {"order_id": ["The order has as many items as it may have."]}
    assert api.value("SELECT count(*) FROM order_items") == 100


# ---- the way of /payment/ and /market/ ----


@pytest.mark.parametrize("under", ["payment", "market"])
def test_the_way_of_payment_in_json(api, shop, other, under):
    order = shop.order((api.product(price="10.00"), 1))
    assert shop.expect(200, shop.get(f"/{under}/order/")) == order
    assert error_of(shop.get(f"/{under}/order_success/"), 404) == NOT_FOUND
    body = {"payment_method": "paypal", "payment_token": "pm_card_visa"}
    assert error_of(other.post(f"/{under}/pay/{order['id']}/", body), 404) == NOT_FOUND
    assert error_of(shop.post(f"/{under}/pay/{order['id']}/", {}), 400) == {
        "payment_method": REQUIRED
    }
    paid = shop.http.post(
        f"{api.api.url}/{under}/pay/{order['id']}/", data=body,
        headers={"Authorization": f"Bearer {shop.token}", "Accept": "application/json"},
    )
    assert shop.expect(202, paid)["order_id"] == order["id"]
    assert shop.expect(200, shop.get(f"/{under}/order_success/"))["id"] == order["id"]
    assert error_of(other.get(f"/{under}/order_success/"), 404) == NOT_FOUND


def test_the_root_names_every_resource(api, shop):
    root = shop.expect(200, shop.get("/api/"))
    assert list(root) == [
        "users", "categories", "products", "orders", "order-items", "shopping-carts", "cart-items",
        "payments", "reviews", "wishlists", "wishlist-items",
    ]
    for url in root.values():
        answer = shop.get(url.replace(api.api.url, ""))
        assert shop.expect(200, answer)["count"] >= 0

"""The catalogue, orders, and lists in pages."""

import concurrent.futures
import re
import uuid


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()


NOT_FOUND = {"detail": "Not found."}
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")


def test_the_catalogue_looks_as_clients_know_it(api, shop):
    product = api.product(stock=5, price="11.01", name="Product 1")
    category = api.value("SELECT category_id FROM products")
    answer = shop.get(f"/api/products/{product}/")
    found = shop.expect(200, answer)
    assert answer.headers["Allow"] == "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"
    assert answer.headers["Vary"] == "Accept"
    assert TIME.match(found.pop("created_at")) and TIME.match(found.pop("updated_at"))
    assert found == {
        "id": product,
        "name": "Product 1",
        "description": "No description",
        "price": "11.01",
        "stock_quantity": 5,
        "category_id": category,
    }
    assert shop.expect(200, shop.get("/api/products/"))["results"][0]["id"] == product
    found = shop.expect(200, shop.get(f"/api/categories/{category}/"))
    assert list(found) == ["id", "name", "created_at", "updated_at", "parent_id"]
    assert found["parent_id"] is None
    assert shop.expect(200, shop.get("/api/categories/"))["count"] == 1


def test_what_is_no_id_is_not_found(api, shop):
    for kind in ("products", "categories", "orders", "payments", "users"):
        for wrong in ("999", "abc", "99999999999999999999", "-1", "0", str(uuid.uuid4())):
            assert error_of(shop.get(f"/api/{kind}/{wrong}/"), 404) == NOT_FOUND


def test_lists_come_in_pages(api, shop):
    ids = [api.product() for _ in range(45)]
    first = shop.expect(200, shop.get("/api/products/"))
    assert (first["count"], first["previous"]) == (45, None)
    assert [p["id"] for p in first["results"]] == ids[:20]
    assert first["next"] == api.api.url + "/api/products/?page=2"
    seen, next_page = [], "/api/products/?page_size=7&x=%20y"
    while next_page:
        page = shop.expect(200, shop.get(next_page.replace(api.api.url, "")))
        seen += [p["id"] for p in page["results"]]
        next_page = page["next"]
    assert seen == ids
    assert page["previous"] == api.api.url + "/api/products/?page_size=7&x=%20y&page=6"
    assert len(shop.expect(200, shop.get("/api/products/?page_size=1000"))["results"]) == 45
    last = shop.expect(200, shop.get("/api/products/?page_size=7&page=last"))
    assert [p["id"] for p in last["results"]] == ids[42:]
    assert (last["next"], last["previous"]) == (None, api.api.url + "/api/products/?page_size=7&page=6")
    assert shop.expect(200, shop.get("/api/products/?page=last&page_size=100"))["previous"] is None
    assert shop.expect(200, shop.get("/api/products/?page=")) == first
    assert shop.expect(200, shop.get("/api/products/?page=9&page=3"))["results"][-1]["id"] == ids[-1]
    for wrong in ("0", "4", "x", "-1", "99999999999999999999", "Last"):
        assert error_of(shop.get(f"/api/products/?page={wrong}"), 404) == {
            "detail": "Invalid page."
        }
    nothing = {"count": 0, "next": None, "previous": None, "results": []}
    for path in ("/api/orders/", "/api/payments/?page=last", "/api/orders/?page=last"):
        assert shop.expect(200, shop.get(path)) == nothing


def test_an_order_takes_stock_and_keeps_prices(api, shop):
    one, two = api.product(stock=5, price="11.01"), api.product(stock=5, price="12.02")
    answer = shop.post_order((one, 2), (two, 1), (one, 1))
    order = shop.expect(201, answer)
    assert answer.headers["Allow"] == "GET, POST, HEAD, OPTIONS"
    assert list(order) == [
        "id", "items", "order_status", "total_amount", "created_at", "updated_at", "user_id",
    ]
    assert [(i["product_id"], i["quantity"], i["price"]) for i in order["items"]] == [
        (one, 2, "11.01"), (two, 1, "12.02"), (one, 1, "11.01"),
    ]
    assert (order["order_status"], order["total_amount"]) == ("pending", "45.05")
    stock = dict((r["id"], r["stock_quantity"]) for r in api.query("SELECT * FROM products"))
    assert stock == {one: 2, two: 4}
    api.query("UPDATE products SET price = 99")
    assert shop.expect(200, shop.get(f"/api/orders/{order['id']}/")) == order
    assert shop.expect(200, shop.get("/api/orders/"))["results"] == [order]


def items_error(text):
    return {"items": {"non_field_errors": [text]}}


REQUIRED = "This field is required."


def test_an_order_that_cannot_be_changes_nothing(api, shop):
    one, scarce = api.product(stock=5), api.product(stock=3)
    dear = api.product(stock=10, price="9999999999.99")

    def order(items):
        return error_of(shop.post("/api/orders/", {"items": items}), 400)

    def line(product, quantity):
        return {"product_id": product, "quantity": quantity}

    assert error_of(shop.post("/api/orders/", {}), 400) == {"items": [REQUIRED]}
    assert order([]) == items_error("This list may not be empty.")
    assert order("x") == items_error('Expected a list of items but got type "str".')
    assert order([line(one, 1)] * 101) == items_error(
        "Ensure this field has no more than 100 elements."
    )
    assert order([line(999999, 1), line(one, 0), {"quantity": "x"}, 7]) == {
        "items": [
            {"product_id": ['Invalid pk "999999" - object does not exist.']},
            {"quantity": ["Ensure this value is greater than or equal to 1."]},
            {"product_id": [REQUIRED], "quantity": ["A valid integer is required."]},
            {"non_field_errors": ["Invalid data. Expected a dictionary, but got int."]},
        ]
    }
    assert order([line(one, 1), line(999999, 1)]) == {
        "items": [{}, {"product_id": ['Invalid pk "999999" - object does not exist.']}]
    }
    not_enough = {"items": [f"Not enough stock for product {scarce}."]}
    assert order([line(one, 1), line(scarce, 4)]) == not_enough
    assert order([line(scarce, 2), line(scarce, 2)]) == not_enough
    assert order([line(dear, 2)]) == {"items": ["The total of the order is too large."]}
    assert order([line(one, 1000001)]) == {
        "items": [{"quantity": ["Ensure this value is less than or equal to 1000000."]}]
    }
    assert order([{**line(one, 1), "price": "0.01"}]) == {
        "items": [{"price": ["This field is not known."]}]
    }
    assert order([{"product_id": True, "quantity": 1.5}]) == {
        "items": [
            {
                "product_id": ["Incorrect type. Expected pk value, received bool."],
                "quantity": ["A valid integer is required."],
            }
        ]
    }
    assert api.value("SELECT count(*) FROM orders") == 0
    assert api.value("SELECT sum(stock_quantity) FROM products") == 18


def test_a_hundred_items_are_one_order(api, shop):
    ids = [api.product(price=f"{n}.99") for n in range(100)]
    order = shop.order(*[(product, 3) for product in reversed(ids)])
    assert len(order["items"]) == 100
    assert [item["product_id"] for item in order["items"]] == ids[::-1]
    assert order["total_amount"] == f"{3 * (sum(range(100)) + 99)}.00"


def test_many_orders_at_once_never_sell_too_much(api, shop):
    products = [api.product(stock=20) for _ in range(4)]
    last = api.product(stock=1)

    def buy(number):
        mine = shop.another_session()
        lines = [(products[(number + i) % 4], 1) for i in range(3)]
        return mine.post_order(*lines).status_code, mine.post_order((last, 1)).status_code

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(buy, range(64)))
    made = sum(first == 201 for first, _ in answers)
    assert {first for first, _ in answers} <= {201, 400}
    assert sorted(second for _, second in answers) == [201] + [400] * 63
    assert api.value("SELECT min(stock_quantity) FROM products") == 0
    assert api.value("SELECT sum(stock_quantity) FROM products") == 80 - 3 * made
    api.books(unpaid=True)


def test_orders_belong_to_their_customer(api, shop):
    order = shop.order((api.product(), 1))
    other = api.shop().sign_up()
    assert error_of(other.get(f"/api/orders/{order['id']}/"), 404) == NOT_FOUND
    assert other.expect(200, other.get("/api/orders/"))["count"] == 0
    assert error_of(other.get("/payment/order/"), 404) == NOT_FOUND
    wrong = shop.call("PATCH", f"/api/orders/{order['id']}/", {"order_status": "paid"})
    assert error_of(wrong, 405) == {"detail": 'Method "PATCH" not allowed.'}
    assert wrong.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_the_current_order_is_the_newest_that_is_not_paid(api, shop):
    product = api.product()
    assert error_of(shop.get("/payment/order/"), 404) == NOT_FOUND
    old, new = shop.order((product, 1)), shop.order((product, 2))
    for path in ("/payment/order/", "/market/order/"):
        assert shop.expect(200, shop.get(path)) == new
    api.query("UPDATE orders SET order_status = 'cancelled' WHERE id = %s", new["id"])
    assert shop.expect(200, shop.get("/payment/order/"))["id"] == old["id"]

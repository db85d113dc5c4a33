"""Who may do what: every route, every verb, every kind of id, by everybody.

KINDS tells of each path whose its objects are; a route without a row fails the first test. What is
allowed is told by the table of routes and that row alone.
"""

import uuid

import pytest

from harness import openapi

ALL = "all"  # every user reads it, and writes what the scope of the route lets
OWN = "own"  # for anybody else it is not there
AUTHOR = "author"  # everybody reads it, its author writes
STAFF_SEES = "staff sees"  # as OWN, but staff is let in
NO_ID = "no id"  # a list, or an action without an object

# path: (whose, table of the id)
KINDS = {
    "/health": (NO_ID, None),
    "/healthz": (NO_ID, None),
    "/readyz": (NO_ID, None),
    "/metrics": (NO_ID, None),
    "/api/openapi.json": (NO_ID, None),
    "/api/": (NO_ID, None),
    "/api/auth/register/": (NO_ID, None),
    "/api/auth/login/": (NO_ID, None),
    "/api/auth/refresh/": (NO_ID, None),
    "/api/auth/logout/": (NO_ID, None),
    "/api/users/": (NO_ID, None),
    "/api/users/<id>/": (STAFF_SEES, "user"),
    "/api/categories/": (NO_ID, None),
    "/api/categories/<id>/": (ALL, "category"),
    "/api/products/": (NO_ID, None),
    "/api/products/<id>/": (ALL, "product"),
    "/api/products/<id>/rating/": (ALL, "product"),
    "/api/shopping-carts/": (NO_ID, None),
    "/api/shopping-carts/<id>/": (OWN, "cart"),
    "/api/cart-items/": (NO_ID, None),
    "/api/cart-items/<id>/": (OWN, "cart_item"),
    "/api/wishlists/": (NO_ID, None),
    "/api/wishlists/<id>/": (OWN, "wishlist"),
    "/api/wishlist-items/": (NO_ID, None),
    "/api/wishlist-items/<id>/": (OWN, "wishlist_item"),
    "/api/reviews/": (NO_ID, None),
    "/api/reviews/<id>/": (AUTHOR, "review"),
    "/api/orders/": (NO_ID, None),
    "/api/orders/<id>/": (OWN, "order"),
    "/api/orders/<id>/cancel/": (OWN, "order"),
    "/api/orders/<id>/refund/": (ALL, "order"),
    "/api/order-items/": (NO_ID, None),
    "/api/payments/": (NO_ID, None),
    "/api/payments/<id>/": (OWN, "payment"),
    "/payment/order/": (NO_ID, None),
    "/payment/pay/<id>/": (OWN, "order"),
    "/payment/order_success/": (NO_ID, None),
    "/market/order/": (NO_ID, None),
    "/market/pay/<id>/": (OWN, "order"),
    "/market/order_success/": (NO_ID, None),
    "/api/webhooks/stripe/": (NO_ID, None),
}
VERBS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
WHO = ["anonymous", "other", "staff", "owner"]  # the owner last: only his writes succeed
TABLES = [
    "users", "categories", "products", "shopping_carts", "cart_items", "wishlists",
    "wishlist_items", "reviews", "orders", "order_items", "payments", "jobs",
]


def scopes(pattern):
    return {method: scope for method, path, scope in openapi.routes() if path == pattern}


def test_every_path_has_its_row():
    assert set(KINDS) == {pattern for _, pattern, _ in openapi.routes()}
    for pattern, (whose, table) in KINDS.items():
        assert ("<" in pattern) == (whose != NO_ID) == (table is not None), pattern


class World:
    """One owner with an object of each kind, another user, and staff."""

    def __init__(self, api):
        self.api = api
        self.shops = {"anonymous": api.shop()}
        for who in WHO[1:]:
            self.shops[who] = api.shop().sign_up()
        api.query("UPDATE users SET is_staff = true WHERE email = %s", self.shops["staff"].email)
        self.owner = api.value("SELECT id FROM users WHERE email = %s", self.shops["owner"].email)

    def add(self, table, **columns):
        names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
        sql = f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING id"
        return self.api.value(sql, *columns.values())

    def objects(self):
        """A fresh object of each kind, all of the owner."""
        api, owner = self.api, self.owner
        ids = {"user": owner, "category": self.add("categories", name="Canary category")}
        ids["product"] = self.add(
            "products", name="Thing", price="1.00", stock_quantity=9, category_id=ids["category"]
        )
        ids["cart"] = self.add("shopping_carts", user_id=owner)
        ids["cart_item"] = self.add(
            "cart_items", cart_id=ids["cart"], product_id=ids["product"], quantity=1
        )
        ids["wishlist"] = self.add("wishlists", user_id=owner)
        ids["wishlist_item"] = self.add(
            "wishlist_items", wishlist_id=ids["wishlist"], product_id=ids["product"]
        )
        ids["review"] = self.add(
            "reviews", product_id=ids["product"], user_id=owner, rating=3, comment="x"
        )
        ids["order"] = api.value(
            "WITH o AS (INSERT INTO orders (user_id, total_amount) VALUES (%s, 1) RETURNING id)"
            " INSERT INTO order_items (order_id, product_id, quantity, price)"
            " SELECT id, %s, 1, 1 FROM o RETURNING order_id",
            owner, ids["product"],
        )
        ids["payment"] = self.add(
            "payments", id=str(uuid.uuid4()), order_id=ids["order"], payment_method="card",
            payment_token="pm_x", amount="1.00", idempotency_key=str(uuid.uuid4()),
            refund_key=str(uuid.uuid4()),
        )
        return ids

    def mark(self):
        """Changes when anything in the shop does."""
        rows = " UNION ALL ".join(f"SELECT hashtext(t::text)::bigint AS h FROM {t} t" for t in TABLES)
        return self.api.value(f"SELECT count(*) || ' ' || sum(h) FROM ({rows}) all_rows")


def body_of(pattern, ids):
    """A body that its owner may send."""
    fields = {
        "/api/categories/": {"name": "C"},
        "/api/products/": {"name": "P", "price": "2", "category_id": ids["category"]},
        "/api/cart-items/": {"cart_id": ids["cart"], "product_id": ids["product"]},
        "/api/wishlist-items/": {"wishlist_id": ids["wishlist"], "product_id": ids["product"]},
        "/api/reviews/": {"product_id": ids["product"], "rating": "4", "comment": "y"},
        "/api/order-items/": {
            "order_id": ids["order"], "product_id": ids["product"], "quantity": 1
        },
        "/api/payments/": {
            "order_id": ids["order"], "payment_method": "card", "payment_token": "pm_x"
        },
        "/payment/pay/": {"payment_method": "card", "payment_token": "pm_x"},
        "/market/pay/": {"payment_method": "card", "payment_token": "pm_x"},
    }
    if pattern == "/api/orders/":
        return {"items": [{"product_id": ids["product"], "quantity": 1}]}
    return fields.get(pattern.split("<")[0], {})


NO_OBJECT = ["999999", "0", "-1", "abc", "1.0", "99999999999999999999", "x" * 120, "%31%00", "1%2f"]


def paths_of(pattern, ids):
    """(path, whether it names the owner's object)"""
    whose, table = KINDS[pattern]
    if whose == NO_ID:
        yield pattern, None
        return
    for wrong in [*NO_OBJECT, str(uuid.uuid4())]:
        yield pattern.replace("<id>", wrong), False
    yield pattern.replace("<id>", str(ids[table])), True


REFUSED_OR_DONE = {200, 201, 202, 204, 400, 401, 404, 409, 422}


def expected(pattern, verb, who, is_there):
    """The statuses that this may have."""
    known = scopes(pattern)
    whose = KINDS[pattern][0]
    scope = known.get("GET" if verb == "HEAD" else verb)
    is_public = set(known.values()) <= {"PUBLIC", "SIGNED"}
    if who == "anonymous" and not is_public:
        return {401}
    if set(known.values()) == {"STAFF"} and who != "staff":
        return {403}
    if verb == "OPTIONS":
        return {200}
    if scope is None:
        return {405}
    if scope == "STAFF" and who != "staff":
        return {403}
    if whose == NO_ID:
        return REFUSED_OR_DONE - ({401} if not is_public else set())
    if not is_there:
        return {404}
    if who == "owner" or whose == ALL or (who == "staff" and whose == STAFF_SEES):
        return {200, 202, 204, 400, 409} if verb not in ("GET", "HEAD") else {200}
    if whose == AUTHOR:
        return {200} if verb in ("GET", "HEAD") else {403}
    return {404}


def check_answer(world, pattern, verb, who, path, is_there, ids):
    is_looked_at = verb not in ("HEAD", "OPTIONS")
    before = world.mark() if is_looked_at else None
    body = body_of(pattern, ids) if verb in ("POST", "PUT", "PATCH") else None
    answer = world.shops[who].call(verb, path, body)
    told = (verb, path, who, answer.status_code, answer.text[:200])
    wanted = expected(pattern, verb, who, is_there)
    if "%00" in path or "%2f" in path:
        wanted = {404, 400}
    assert answer.status_code in wanted, (told, wanted)
    if is_looked_at and (answer.status_code >= 400 or verb == "GET"):
        assert world.mark() == before, told
    if answer.status_code == 405:
        assert answer.headers["Allow"].split(", ")[:1] != [""], told
        assert verb not in answer.headers["Allow"].split(", "), told
    if who in ("anonymous", "other") and KINDS[pattern][0] in (OWN, STAFF_SEES, NO_ID):
        assert world.shops["owner"].email not in answer.text, told
        assert f'"user_id":{world.owner}' not in answer.text or "reviews" in path, told
    return answer


@pytest.fixture
def world(stack):
    api = stack({"GATEWAY_WEBHOOK_SECRET": "whsec_of_this_test"})
    api.start_api()
    return World(api)


@pytest.mark.slow
def test_everybody_gets_what_is_theirs_and_no_more(world):
    for pattern in KINDS:
        ids = world.objects()
        missing = {}
        for who in WHO:
            for verb in VERBS:
                for path, is_there in paths_of(pattern, ids):
                    if who == "owner" and verb == "DELETE" and is_there and "cate" in path:
                        continue
                    answer = check_answer(world, pattern, verb, who, path, is_there, ids)
                    key = (who, verb)
                    if is_there is False and "999999" in path and len(path) < 60:
                        missing.setdefault(key, answer.content)
                    if is_there and answer.status_code == 404:
                        assert answer.content == missing[key], (pattern, key)


def test_nobody_sets_what_is_not_theirs_to_set(world):
    ids = world.objects()
    more = {"user_id": 1, "id": 1, "is_superuser": True, "created_at": "2020-01-01T00:00:00Z"}
    before = world.mark()
    for method, pattern, scope in openapi.routes():
        if method not in ("POST", "PUT", "PATCH") or scope == "SIGNED":
            continue
        path = pattern.replace("<id>", str(ids.get(KINDS[pattern][1])))
        shop = world.shops["staff" if scope == "STAFF" else "owner"]
        body = {**body_of(pattern, ids), **more}
        answer = shop.call(method, path, body)
        assert answer.status_code == 400, (method, path, answer.text)
        for name in more:
            assert answer.json().get(name) == ["This field is not known."], (path, answer.text)
    assert world.mark() == before


def test_rights_that_were_taken_are_gone_at_once(world):
    staff = world.shops["staff"]
    made = staff.expect(201, staff.post("/api/categories/", {"name": "x"}))
    world.api.query("UPDATE users SET is_staff = false")
    path = f"/api/categories/{made['id']}/"
    for method in ("PUT", "PATCH", "DELETE"):
        assert staff.call(method, path, {"name": "y"}).status_code == 403

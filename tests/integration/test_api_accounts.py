"""Registering, logging in and out, tokens, and who may see whom."""

import base64
import concurrent.futures
import contextlib
import json

import pytest
import requests

from harness.shop import PASSWORD
from harness.wait import wait_for


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    return answer.json()


def register(shop, **body):
    return shop.post("/api/auth/register/", body)


def test_register_answers_the_user_without_the_password(api):
    answer = register(
        api.shop(), username="newuser", email="newuser@example.com", password="long-enough-9",
        first_name="New", last_name="User",
    )
    assert answer.status_code == 201
    assert answer.headers["Allow"] == "POST, OPTIONS"
    assert answer.json() == {
        "id": api.value("SELECT id FROM users WHERE username = 'newuser'"),
        "username": "newuser",
        "email": "newuser@example.com",
        "first_name": "New",
        "last_name": "User",
    }
    stored = api.value("SELECT password_hash FROM users WHERE username = 'newuser'")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_register_refuses_names_that_are_taken(api):
    body = {"username": "newuser", "email": "newuser@example.com", "password": "long-enough-9"}
    assert register(api.shop(), **body).status_code == 201
    body["email"] = "NewUser@Example.com"
    assert error_of(register(api.shop(), **body), 400) == {
        "username": ["custom user with this username already exists."],
        "email": ["custom user with this email already exists."],
    }


def test_a_name_is_the_same_in_every_form_of_unicode(api):
    """As Django stores it (NFKC). Two people could have names that nobody can tell apart."""
    composed, decomposed, wide = "Zo\u00eb", "Zoe\u0308", "\uff3ao\u00eb"
    body = {"username": decomposed, "email": "zoe@example.com", "password": "long-enough-9"}
    answer = register(api.shop(), **body)
    assert (answer.status_code, answer.json()["username"]) == (201, composed)
    assert api.value("SELECT username FROM users") == composed
    taken = {"username": ["custom user with this username already exists."]}
    for name in (composed, decomposed, wide):
        body = {"username": name, "email": "other@example.com", "password": "long-enough-9"}
        assert error_of(register(api.shop(), **body), 400) == taken
    made = api.till("user", "create", "--username", wide, "--email", "other@example.com", stdin="long-enough-9\n")
    assert made.returncode == 1 and "already exists" in made.stderr
    # An account from before keeps its name, which nobody else gets.
    api.query("UPDATE users SET username = %s", decomposed)
    for name in (composed, decomposed):
        assert error_of(register(api.shop(), **{**body, "username": name}), 400) == taken
    login = api.shop().post("/api/auth/login/", {"email": "zoe@example.com", "password": "long-enough-9"})
    assert login.status_code == 200
    # One character that is eighteen in that form.
    long = register(api.shop(), **{**body, "username": "\ufdfa" * 9})
    assert error_of(long, 400) == {"username": ["Ensure this field has no more than 150 characters."]}


def test_of_many_registrations_at_once_one_is_made(api):
    body = {"username": "racer", "email": "racer@example.com", "password": "long-enough-9"}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: register(api.shop(), **body), range(8)))
    assert sorted(a.status_code for a in answers) == [201] + [400] * 7
    assert api.value("SELECT count(*) FROM users") == 1


REQUIRED = ["This field is required."]


@pytest.mark.parametrize(
    "body, errors",
    [
        ({}, {"username": REQUIRED, "email": REQUIRED, "password": REQUIRED}),
        (
            {"username": "a b", "email": "nope", "password": "123"},
            {"email": ["Enter a valid email address."]},
        ),
        (
            {"username": "weak", "email": "weak@example.com", "password": "123"},
            {
                "password": [
                    "This password is too short. It must contain at least 8 characters.",
                    "This password is too common.",
                    "This password is entirely numeric.",
                ]
            },
        ),
        (
            {"username": "bluewhale77", "email": "bw@example.com", "password": "bluewhale77"},
            {"password": ["The password is too similar to the username."]},
        ),
        (
            {
                "username": "u" * 151,
                "email": "u@example.com",
                "password": "long-enough-9",
                "password2": "other",
                "is_staff": True,
            },
            {
                "username": ["Ensure this field has no more than 150 characters."],
                "password2": ["The two password fields didn't match."],
                "is_staff": ["This field is not known."],
            },
        ),
    ],
)
def test_register_tells_what_is_wrong(api, body, errors):
    assert error_of(register(api.shop(), **body), 400) == errors
    assert api.value("SELECT count(*) FROM users") == 0


def test_login_answers_a_pair_of_tokens(api):
    shop = api.shop()
    shop.register()
    tokens = shop.login()
    assert set(tokens) == {"refresh", "access"}
    claims = json.loads(base64.urlsafe_b64decode(tokens["access"].split(".")[1] + "=="))
    assert claims["token_type"] == "access"
    assert claims["exp"] - claims["iat"] == 15 * 60
    form = requests.post(
        api.api.url + "/api/auth/login/", data={"email": shop.email.upper(), "password": PASSWORD}
    )
    assert form.status_code == 200


NO_ACCOUNT = {"detail": "No active account found with the given credentials"}


def test_login_tells_nobody_which_accounts_exist(api):
    shop = api.shop()
    shop.register()
    wrong = shop.post("/api/auth/login/", {"email": shop.email, "password": "wrong"})
    unknown = shop.post("/api/auth/login/", {"email": "nobody@example.com", "password": "wrong"})
    api.query("UPDATE users SET is_active = false")
    inactive = shop.post("/api/auth/login/", {"email": shop.email, "password": PASSWORD})
    for answer in (wrong, unknown, inactive):
        assert error_of(answer, 401) == NO_ACCOUNT
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'


def login_raw(api, data, content_type):
    return requests.post(
        api.api.url + "/api/auth/login/", data=data, headers={"Content-Type": content_type}
    )


def test_login_tells_what_is_wrong_with_a_body(api):
    post = api.shop().post
    assert error_of(post("/api/auth/login/", {}), 400) == {"email": REQUIRED, "password": REQUIRED}
    assert error_of(post("/api/auth/login/", {"email": "", "password": None}), 400) == {
        "email": ["This field may not be blank."],
        "password": ["This field may not be null."],
    }
    assert error_of(post("/api/auth/login/", [1]), 400) == {
        "non_field_errors": ["Invalid data. Expected a dictionary, but got list."]
    }
    broken = error_of(login_raw(api, '{"email": ', "application/json"), 400)
    assert broken["detail"].startswith("JSON parse error - ")
    assert error_of(login_raw(api, "x", "text/plain"), 415) == {
        "detail": 'Unsupported media type "text/plain" in request.'
    }
    wrong = api.shop().get("/api/auth/login/")
    assert error_of(wrong, 405) == {"detail": 'Method "GET" not allowed.'}
    assert wrong.headers["Allow"] == "POST, OPTIONS"


NOT_VALID = {"detail": "Token is invalid or expired", "code": "token_not_valid"}


def refresh(shop, token):
    return shop.post("/api/auth/refresh/", {"refresh": token})


def refresh_at_once(api, token):
    """Eight times."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda _: refresh(api.shop(), token), range(8)))


def pass_grace(api):
    """As if ten seconds had passed since every use so far."""
    api.query("UPDATE refresh_tokens SET used_at = used_at - interval '10 seconds'")


def test_refresh_rotates_and_a_second_use_ends_the_family(api):
    shop = api.shop()
    shop.register()
    first = shop.login()
    second = shop.expect(200, shop.post("/api/auth/refresh/", {"refresh": first["refresh"]}))
    assert second["refresh"] != first["refresh"]
    pass_grace(api)
    again = shop.post("/api/auth/refresh/", {"refresh": first["refresh"]})
    assert error_of(again, 401) == NOT_VALID
    assert again.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert error_of(shop.post("/api/auth/refresh/", {"refresh": second["refresh"]}), 401)
    other = shop.login()
    shop.expect(200, shop.post("/api/auth/refresh/", {"refresh": other["refresh"]}))


def test_of_many_refreshes_at_once_none_ends_the_session(api):
    shop = api.shop()
    shop.register()
    first = shop.login()["refresh"]
    answers = refresh_at_once(api, first)
    assert [a.status_code for a in answers] == [200] * 8
    made = {a.json()["refresh"] for a in answers}
    assert len(made) == 8
    assert [refresh(shop, token).status_code for token in made] == [200] * 8


def test_a_refresh_whose_answer_was_lost_is_made_again(api):
    shop = api.shop()
    shop.register()
    first = shop.login()["refresh"]
    shop.expect(200, refresh(shop, first))
    second = shop.expect(200, refresh(shop, first))["refresh"]
    third = shop.expect(200, refresh(shop, second))["refresh"]
    pass_grace(api)
    fourth = shop.expect(200, refresh(shop, third))["refresh"]
    shop.expect(200, refresh(shop, third))
    assert error_of(refresh(shop, second), 401) == NOT_VALID, "ten seconds ago"
    assert error_of(refresh(shop, fourth), 401) == NOT_VALID


def test_who_uses_a_token_after_what_came_of_it_was_used_ends_the_family_at_once(api):
    shop = api.shop()
    shop.register()
    first = shop.login()["refresh"]
    second = shop.expect(200, refresh(shop, first))["refresh"]
    third = shop.expect(200, refresh(shop, second))["refresh"]
    assert error_of(refresh(shop, first), 401) == NOT_VALID
    assert error_of(refresh(shop, third), 401) == NOT_VALID


def test_of_many_late_uses_of_a_token_none_is_answered(api):
    shop = api.shop()
    shop.register()
    first = shop.login()["refresh"]
    second = shop.expect(200, refresh(shop, first))["refresh"]
    pass_grace(api)
    assert [a.status_code for a in refresh_at_once(api, first)] == [401] * 8
    assert error_of(refresh(shop, second), 401) == NOT_VALID


@contextlib.contextmanager
def refresh_held_up(api, shop, token):
    """Gives what waits for a refresh that has done all but to keep its new token."""
    api.query(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END';"
        " CREATE TRIGGER hold BEFORE INSERT ON refresh_tokens FOR EACH ROW EXECUTE FUNCTION hold()"
    )
    held = api.postgres.connect(api.database)
    held.autocommit = True
    with held.cursor() as cursor, concurrent.futures.ThreadPoolExecutor(2) as pool:
        cursor.execute("SELECT pg_advisory_lock(4711)")
        try:
            refreshed = pool.submit(refresh, shop.another_session(), token)
            wait_for(lambda: waiting(api) == 1, 30, "nobody refreshes")
            yield pool, refreshed
            wait_for(lambda: waiting(api) == 2, 30, "nobody waits for the refresh")
        finally:
            cursor.execute("SELECT pg_advisory_unlock_all()")
    held.close()


def waiting(api):
    return api.value(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )


@pytest.mark.parametrize("way", ["logout", "reuse", "reuse at once", "all"])
def test_a_session_that_ends_while_it_is_refreshed_leaves_no_token(stack, way):
    api = stack().start()
    shop = api.shop()
    user = shop.register()["id"]
    first = shop.login()["refresh"]
    second = shop.expect(200, refresh(shop, first))["refresh"]
    if way != "reuse at once":
        pass_grace(api)
    ends = {
        "logout": lambda: shop.post("/api/auth/logout/", {"refresh": second}).status_code == 200,
        "reuse": lambda: refresh(shop, first).status_code == 401,
        "reuse at once": lambda: refresh(shop, first).status_code == 401,
        "all": lambda: api.wait_job(api.enqueue("accounts.tasks.end_sessions", user))["state"] == "SUCCESS",
    }
    with refresh_held_up(api, shop, second) as (pool, refreshed):
        ended = pool.submit(ends[way])
    assert refreshed.result().status_code == 200
    assert ended.result()
    assert error_of(refresh(shop, refreshed.result().json()["refresh"]), 401) == NOT_VALID
    assert api.value("SELECT count(*) FROM refresh_tokens WHERE revoked_at IS NULL") == 0


def test_a_session_ends_thirty_days_after_its_login(api):
    shop = api.shop()
    shop.register()
    token = shop.login()["refresh"]
    api.query("UPDATE refresh_tokens SET began_at = now() - interval '29 days 23 hours'")
    token = shop.expect(200, refresh(shop, token))["refresh"]
    assert api.value("SELECT count(*) FROM refresh_tokens WHERE expires_at <= now() + interval '1 hour'") == 1
    token = shop.expect(200, refresh(shop, token))["refresh"]
    api.query("UPDATE refresh_tokens SET began_at = began_at - interval '2 hours'")
    assert error_of(refresh(shop, token), 401) == NOT_VALID


def test_logout_ends_the_family(api):
    shop = api.shop()
    shop.register()
    first = shop.login()["refresh"]
    second = shop.expect(200, shop.post("/api/auth/refresh/", {"refresh": first}))["refresh"]
    shop.expect(200, shop.post("/api/auth/logout/", {"refresh": second}))
    assert error_of(shop.post("/api/auth/refresh/", {"refresh": second}), 401) == NOT_VALID


def test_tokens_do_not_stand_for_each_other(api):
    shop = api.shop()
    shop.register()
    tokens = shop.login()
    assert error_of(shop.post("/api/auth/refresh/", {"refresh": "x"}), 401) == NOT_VALID
    swapped = error_of(shop.post("/api/auth/refresh/", {"refresh": tokens["access"]}), 401)
    assert swapped == {"detail": "Token has wrong type", "code": "token_not_valid"}
    shop.token = tokens["refresh"]
    assert error_of(shop.get("/api/products/"), 401) == {
        "detail": "Given token not valid for any token type",
        "code": "token_not_valid",
        "messages": [
            {
                "token_class": "AccessToken",
                "token_type": "access",
                "message": "Token has wrong type",
            }
        ],
    }


@pytest.mark.parametrize(
    "header, detail",
    [
        (None, "Authentication credentials were not provided."),
        ("Token abc", "Authentication credentials were not provided."),
        ("Bearer a b", "Authorization header must contain two space-delimited values"),
        ("Bearer", "Authorization header must contain two space-delimited values"),
        ("Bearer nonsense", "Given token not valid for any token type"),
    ],
)
def test_who_is_nobody_learns_why(api, header, detail):
    headers = {"Authorization": header} if header else {}
    answer = requests.get(api.api.url + "/api/products/", headers=headers)
    assert error_of(answer, 401)["detail"] == detail
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    wrong_method = requests.delete(api.api.url + "/api/orders/", headers=headers)
    assert wrong_method.status_code == 401


def test_rights_end_at_once(api):
    shop = api.shop().sign_up()
    api.query("UPDATE users SET is_active = false")
    assert error_of(shop.get("/api/products/"), 401)["code"] == "user_inactive"
    api.query("DELETE FROM users")
    assert error_of(shop.get("/api/products/"), 401)["code"] == "user_not_found"


def test_one_sees_oneself_and_staff_sees_all(api):
    shop = api.shop()
    me = shop.register()["id"]
    other = api.shop().register()["id"]
    shop.login()
    listed = shop.expect(200, shop.get("/api/users/"))
    assert [user["id"] for user in listed["results"]] == [me]
    assert list(listed["results"][0]) == [
        "id", "username", "email", "first_name", "last_name", "is_active", "is_staff",
        "created_at", "updated_at",
    ]
    assert error_of(shop.get(f"/api/users/{other}/"), 404) == {"detail": "Not found."}
    assert error_of(shop.post("/api/users/", {}), 405)
    api.query("UPDATE users SET is_staff = true WHERE id = %s", me)
    assert shop.expect(200, shop.get("/api/users/"))["count"] == 2
    assert shop.expect(200, shop.get(f"/api/users/{other}/"))["id"] == other


def test_staff_finds_users(api):
    shop = api.shop()
    me = shop.register(username="The.Boss", email="boss@example.com")["id"]
    ada = api.shop().register(username="ada_100%", email="ada@Example.org")["id"]
    bob = api.shop().register(username="bob", email="bob@example.org")["id"]
    shop.login()

    def found(query):
        page = shop.expect(200, shop.get("/api/users/?" + query))
        assert page["count"] == len(page["results"])
        return [user["id"] for user in page["results"]]

    assert found("search=bob") == [], "who is not staff finds oneself alone"
    assert found("search=BOSS") == [me]
    api.query("UPDATE users SET is_staff = true WHERE id = %s", me)
    assert found("") == [me, ada, bob]
    assert found("search=EXAMPLE.ORG") == [ada, bob]
    assert found("search=bo") == [me, bob]
    assert found("search=%25") == [ada], "no pattern"
    assert found("is_staff=true") == found("search=boss&is_staff=1") == [me]
    assert found("is_staff=false&search=example.com") == []
    assert error_of(shop.get("/api/users/?is_staff=maybe"), 400) == {
        "is_staff": ['"maybe" is not a valid choice.']
    }


def test_the_key_of_tokens_is_changed_without_logging_anybody_out(stack):
    old, new = "the-key-of-last-year-0123456789-0123", "the-key-of-this-year-0123456789-0123"
    api = stack()

    def restart(**keys):
        api.api.term_and_wait()
        api.start_api(**keys)

    api.start_api(JWT_SECRET=old)
    shop = api.shop().sign_up()
    tokens = shop.login()
    restart(JWT_SECRET=new, JWT_SECRET_PREVIOUS=old)
    shop.expect(200, shop.get("/api/products/"))
    newer = shop.expect(200, refresh(shop, tokens["refresh"]))
    restart(JWT_SECRET=new)
    assert error_of(shop.get("/api/products/"), 401)["code"] == "token_not_valid"
    shop.token = newer["access"]
    shop.expect(200, shop.get("/api/products/"))
    shop.expect(200, refresh(shop, newer["refresh"]))

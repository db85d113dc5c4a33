"""How often one may ask, guesses at passwords, and pages of other origins."""

import concurrent.futures
import itertools
import statistics
import time

import pytest
import requests

from harness.shop import PASSWORD
from harness.wait import wait_for

NO_ACCOUNT = {"detail": "No active account found with the given credentials"}


def login(api, email, password, address=None):
    return requests.post(
        api.api.url + "/api/auth/login/",
        json={"email": email, "password": password},
        headers={"X-Forwarded-For": address} if address else {},
        timeout=30,
    )


def throttled(answer):
    assert answer.status_code == 429, answer.text
    wait = int(answer.headers["Retry-After"])
    assert wait >= 1
    assert answer.json()["detail"].startswith("Request was throttled. Expected available in ")
    return wait


def keep_waiting(api):
    """The account that was guessed at has to wait for a minute, as after more guesses: the first waits are over
    before a busy machine has hashed another password. Gives how long it would have waited."""
    [account] = api.redis.keys("till:guesses:account:*")
    gate = account.replace(":account:", ":gate:")
    waits = api.redis.ttl(gate)
    api.redis.set(gate, 1, ex=60)
    return waits


def test_guesses_at_an_account_have_to_wait_and_the_right_one_still_works(api):
    shop = api.shop()
    shop.register()
    for _ in range(5):
        assert login(api, shop.email, "wrong").json() == NO_ACCOUNT
    assert login(api, shop.email.upper(), "wrong", "10.0.0.1").json() == NO_ACCOUNT
    assert keep_waiting(api) <= 2
    assert throttled(login(api, shop.email, PASSWORD, "10.0.0.2")) <= 60
    other = api.shop()
    other.register()
    assert login(api, other.email, PASSWORD).status_code == 200
    [gate] = api.redis.keys("till:guesses:gate:*")
    api.redis.pexpire(gate, 1)
    wait_for(lambda: not api.redis.exists(gate), 10, "the wait never ended")
    assert login(api, shop.email, PASSWORD).status_code == 200
    for _ in range(5):
        assert login(api, shop.email, "wrong").json() == NO_ACCOUNT


def test_many_guesses_at_once_get_no_further(api):
    shop = api.shop()
    shop.register()
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(
            pool.map(
                lambda n: login(api, shop.email, f"wrong{n}", f"10.0.{n % 200}.1").status_code,
                range(300),
            )
        )
    assert set(answers) == {401, 429}
    # Five are free, those that were under way by then, and one for each wait.
    assert answers.count(401) <= 5 + 16 + 8


def test_an_account_that_does_not_exist_is_throttled_alike(api):
    shop = api.shop()
    shop.register()
    for email in (shop.email, "nobody@example.com"):
        api.redis.flushall()
        given = [login(api, email, "wrong") for _ in range(6)]
        keep_waiting(api)
        given += [login(api, email, "wrong") for _ in range(2)]
        assert [a.status_code for a in given] == [401] * 6 + [429] * 2, email
        assert {a.text for a in given[:6]} == {given[0].text}


def test_one_address_cannot_try_every_account(api):
    answers = [login(api, f"nobody{n}@example.com", "x", "10.9.9.9") for n in range(22)]
    assert [a.status_code for a in answers] == [401] * 20 + [429] * 2
    assert throttled(answers[-1]) <= 60
    assert login(api, "nobody99@example.com", "x", "10.9.9.8").status_code == 401


def test_the_wait_outlives_the_program_and_needs_no_redis(stack):
    api = stack(own_redis=True)
    api.start_api()
    for _ in range(6):
        assert login(api, "a@example.com", "x").status_code == 401
    keep_waiting(api)
    api.api.term_and_wait()
    api.start_api()
    assert login(api, "a@example.com", "x").status_code == 429
    api.redis_server.stop()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda _: login(api, "b@example.com", "x").status_code, range(80))
        )
    assert set(answers) == {401, 429} and answers.count(401) >= 20


def test_time_tells_nobody_which_accounts_exist(api):
    shop = api.shop()
    shop.register()
    took = {shop.email: [], "nobody@example.com": []}
    for _ in range(30):
        for email, times in took.items():
            api.redis_server.flush()
            began = time.perf_counter()
            assert login(api, email, "wrong").status_code == 401
            times.append(time.perf_counter() - began)
    known, unknown = (statistics.median(times) for times in took.values())
    assert abs(known - unknown) < 0.3 * max(known, unknown), took


def test_a_name_that_is_taken_costs_as_long_as_a_free_one(api):
    shop = api.shop()
    shop.register()
    took = {201: [], 400: []}
    for n in range(15):
        for email, status in ((f"free{n}@example.com", 201), (shop.email, 400)):
            body = {"username": f"free{n}{status}", "email": email, "password": "long-enough-9"}
            began = time.perf_counter()
            shop.expect(status, shop.post("/api/auth/register/", body))
            took[status].append(time.perf_counter() - began)
    free, taken = (statistics.median(times) for times in took.values())
    assert taken > free / 2, took


def refused(ask):
    """The answer that says so: a token may have come since it did before, and is spent then."""
    return wait_for(lambda: [answer for answer in [ask()] if answer.status_code == 429], 30, "it is answered")[0]


def answered_until_refused(ask, size, per_minute):
    """Asks until it is told to wait, and gives the answers before. As many as the bucket holds, and those that it
    was filled up with meanwhile."""
    begun = time.monotonic()
    answers = []
    while (answer := ask()).status_code != 429:
        answers.append(answer.status_code)
        assert len(answers) <= size + 1 + (time.monotonic() - begun) * per_minute / 60
    throttled(answer)
    assert len(answers) >= size
    return set(answers)


@pytest.mark.parametrize(
    "method, path, status",
    [("GET", "/wp-login.php", 404), ("POST", "/api/nothing/", 404), ("GET", "/api/products", 301),
     ("DELETE", "/healthz", 405), ("GET", "/api/auth/login/", 405)],
)
def test_a_scanner_is_limited_and_a_probe_is_not(stack, method, path, status):
    api = stack({"TILL_RATE_ADDRESS": 60})
    api.start_api()
    nobody = api.shop()

    def ask(method, path, address="10.2.0.1"):
        return nobody.call(method, path, headers={"X-Forwarded-For": address}, allow_redirects=False)

    assert answered_until_refused(lambda: ask(method, path), 60, 60) == {status}
    assert throttled(refused(lambda: ask(method, path))) <= 60
    assert throttled(refused(lambda: ask("GET", "/api/products/"))) <= 60, "it is one limit"
    assert ask(method, path, "10.2.0.2").status_code == status
    for probe in ("/health", "/healthz", "/readyz", "/metrics", "/api/openapi.json"):
        assert ask("GET", probe).status_code == 200


def test_requests_of_one_address_and_of_one_user_are_limited(stack):
    api = stack({"TILL_RATE_ADDRESS": 120, "TILL_RATE_USER": 30})
    api.start_api()
    shop = api.shop().sign_up()
    assert all(shop.get("/api/").status_code == 200 for _ in range(200)), "this machine itself"

    def ask(address, who=shop):
        return who.get("/api/", headers={"X-Forwarded-For": address})

    addresses = (f"10.0.{n // 200}.{n % 200 + 1}" for n in itertools.count())
    assert answered_until_refused(lambda: ask(next(addresses)), 30, 30) == {200}
    other = api.shop().sign_up()
    assert ask("10.0.0.1", other).status_code == 200
    nobody = api.shop()
    assert answered_until_refused(lambda: ask("10.1.0.1", nobody), 120, 120) == {401}
    assert ask("10.1.0.1, 10.1.0.2", nobody).status_code == 401
    names = (f"n{n}@example.com" for n in itertools.count())
    logins = answered_until_refused(lambda: login(api, next(names), "x", "10.2.0.1"), 12, 12)
    assert logins == {401}, "logging in counts as ten"
    for path in ("/healthz", "/readyz"):
        answer = requests.get(api.api.url + path, headers={"X-Forwarded-For": "10.1.0.1"})
        assert answer.status_code == 200


def test_pages_of_listed_origins_may_read_answers(stack):
    listed = "https://shop.example"
    api = stack({"TILL_CORS_ORIGINS": f"https://other.example, {listed}"})
    api.start_api()
    shop = api.shop().sign_up()
    url = api.api.url + "/api/orders/"
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    preflight = requests.options(url, headers={"Origin": listed, **ask})
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == listed
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, POST, HEAD, OPTIONS"
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    for answer in (
        shop.get("/api/orders/", headers={"Origin": listed}),
        requests.get(url, headers={"Origin": listed}),
        requests.get(api.api.url + "/nothing/", headers={"Origin": listed}),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == listed
        assert answer.headers["Vary"] == "Accept, Origin"
        assert "Access-Control-Allow-Credentials" not in answer.headers
    for evil in ("https://evil.example", "null", "https://shop.example.evil.example",
                 "http://shop.example", "https://shop.example:444", "*"):
        for answer in (
            requests.options(url, headers={"Origin": evil, **ask}),
            shop.get("/api/orders/", headers={"Origin": evil}),
        ):
            assert not [h for h in answer.headers if h.startswith("Access-Control")], evil
            assert answer.headers["Vary"] == "Accept, Origin"
        assert requests.options(url, headers={"Origin": evil, **ask}).status_code == 401


def test_a_list_of_origins_that_is_none_refuses_to_start(stack):
    from harness import programs

    for wrong in ("*", "https://a.example/", "a.example"):
        done = programs.run("till-api", {**stack().settings, "TILL_CORS_ORIGINS": wrong})
        assert done.returncode == 2 and "TILL_CORS_ORIGINS" in done.stderr

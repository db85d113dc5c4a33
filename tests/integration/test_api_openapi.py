"""What the API says of itself is what it is."""

import collections

import jsonschema
import pytest
import requests

from harness import openapi


def test_every_route_is_told_of_and_no_other():
    told = openapi.documented()
    routes = {(method, pattern) for method, pattern, _ in openapi.routes()}
    assert told - routes == set()
    assert routes - told == set()


def test_who_may_is_told_of():
    for method, pattern, scope in openapi.routes():
        path = pattern.replace("<", "{").replace(">", "}")
        operation = openapi.document()["paths"][path][method.lower()]
        assert (operation.get("security") == []) == (scope in ("PUBLIC", "SIGNED")), pattern
        assert (operation.get("x-scope") == "staff") == (scope == "STAFF"), pattern
        assert ("401" in operation["responses"]) or scope in ("PUBLIC", "SIGNED"), pattern


def every(node, key):
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from every(item, key)


def test_the_document_holds_together():
    document = openapi.document()
    assert document["openapi"].startswith("3.1.")
    for reference in every(document, "$ref"):
        assert openapi.resolve({"$ref": reference}), reference
    for schema in every(document, "schema"):
        jsonschema.Draft202012Validator.check_schema(schema)
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for kind in ("schemas", "responses", "parameters"):
        for name in document["components"][kind]:
            reference = f"#/components/{kind}/{name}"
            assert reference in set(every(document, "$ref")), f"{reference} is used by nothing"
    for path, item in document["paths"].items():
        for operation in item.values():
            named = {openapi.resolve(p)["name"] for p in operation.get("parameters", [])}
            assert ("{id}" in path) == ("id" in named), path


def test_it_is_served_as_it_stands(stack):
    api = stack()
    api.start_api()
    answer = requests.get(api.api.url + "/api/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == openapi.document()


def test_every_answer_that_a_test_gets_is_held_against_it(api, monkeypatch):
    judged = []
    monkeypatch.setattr(openapi, "judge", lambda *answer: judged.append(answer[:3]))
    requests.get(api.api.url + "/healthz")
    requests.Session().post(api.api.url + "/api/auth/login/?x=1", json={})
    api.shop().get("/api/products/")
    openapi.check_raw(
        b"PUT /api/products/1/?x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}",
    )
    assert judged == [
        ("get", "/healthz", 200),
        ("post", "/api/auth/login/", 400),
        ("get", "/api/products/", 401),
        ("put", "/api/products/1/", 401),
    ]
    monkeypatch.undo()
    monkeypatch.setattr(openapi, "seen", collections.Counter())  # others may have asked often enough
    monkeypatch.setitem(openapi.document()["paths"]["/healthz"]["get"], "responses", {"503": {}})
    openapi.validator.cache_clear()
    with pytest.raises(AssertionError, match="is not said to answer 200"):
        requests.get(api.api.url + "/healthz")
    monkeypatch.undo()
    openapi.validator.cache_clear()

"""What the API says of itself, against what it answers and against its table of routes.

Every answer that a test gets through harness.shop is checked; the same kind of answer only so often
in one process, since some tests ask thousands of times.
"""

import collections
import functools
import json
import os
import re
from urllib.parse import urlsplit

import jsonschema

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OFTEN = 100
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
seen = collections.Counter()


@functools.lru_cache(maxsize=None)
def document():
    with open(os.path.join(ROOT, "api", "openapi.json"), encoding="utf-8") as file:
        return json.load(file)


@functools.lru_cache(maxsize=None)
def routes():
    """[(method, pattern, scope)] as api/routes.c has them."""
    with open(os.path.join(ROOT, "api", "routes.c"), encoding="utf-8") as file:
        text = file.read()
    found = re.findall(r'\{"([A-Z]+)",\s+"([^"]+)",\s+SCOPE_(\w+),\s+\w+\}', text)
    assert len(found) == len(re.findall(r'^    \{"', text, re.MULTILINE)), "a row is not understood"
    return found


def documented():
    """{(method, pattern)} of the document, in the form of the table."""
    return {
        (method.upper(), re.sub(r"\{(\w+)\}", r"<\1>", path))
        for path, item in document()["paths"].items()
        for method in item
    }


@functools.lru_cache(maxsize=None)
def patterns():
    """Paths with the most literal text first, as the router prefers them."""
    made = []
    for path in document()["paths"]:
        pieces = re.split(r"\{\w+\}", path)
        made.append((re.compile("[^/]+".join(map(re.escape, pieces))), path))
    return sorted(made, key=lambda pair: (len(re.findall(r"\{", pair[1])), -len(pair[1])))


def find_path(path):
    return next((name for pattern, name in patterns() if pattern.fullmatch(path)), None)


def resolve(node):
    while "$ref" in node:
        target = document()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


@functools.lru_cache(maxsize=None)
def validator(path, method, status):
    """Of the body, or None when there is to be none."""
    known = resolve(document()["paths"][path][method])["responses"]
    response = known.get(str(status)) or known.get(f"{status // 100}XX")
    assert response, f"{method} {path} is not said to answer {status}"
    content = resolve(response).get("content")
    if not content or "application/json" not in content:
        return None
    schema = {**content["application/json"]["schema"], "components": document()["components"]}
    return jsonschema.Draft202012Validator(schema)


def check(answer):
    """Asserts that an answer (of requests) is one that the document tells of."""
    path = find_path(urlsplit(answer.url).path)
    method = answer.request.method.lower()
    if path is None or answer.is_redirect or answer.history:
        return
    if method not in document()["paths"][path]:
        assert answer.status_code not in (200, 201, 202, 204) or method in ("head", "options"), (
            f"{method} {path} answers {answer.status_code} and is not told of"
        )
        return
    seen[path, method, answer.status_code] += 1
    if seen[path, method, answer.status_code] > OFTEN:
        return
    schema = validator(path, method, answer.status_code)
    if schema is None:
        assert not answer.content or path == "/metrics", f"{method} {path} {answer.status_code} has a body"
        return
    assert answer.headers["Content-Type"] == "application/json", answer.headers
    problem = jsonschema.exceptions.best_match(schema.iter_errors(answer.json()))
    assert problem is None, (
        f"{method} {path} {answer.status_code} is not as api/openapi.json tells: "
        f"{problem.json_path}: {problem.message[:300]}"
    )

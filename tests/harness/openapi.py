"""What the API says of itself, against what it answers and against its table of routes.

Every answer that a till-api gives a test is checked, whoever asks (watch()), those over a bare socket, too
(check_raw()); the same kind of answer only so often in one process, since some tests ask thousands of times.
"""

import collections
import functools
import json
import os
import re
from urllib.parse import urlsplit

import jsonschema
import requests

from . import programs

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
    if not answer.is_redirect:
        judge(answer.request.method.lower(), urlsplit(answer.url).path, answer.status_code, answer.headers,
              answer.content)


def judge(method, url_path, status, headers, body):
    path = find_path(url_path)
    if path is None:
        return
    if method not in document()["paths"][path]:
        assert status not in (200, 201, 202, 204) or method in ("head", "options"), (
            f"{method} {path} answers {status} and is not told of"
        )
        return
    seen[path, method, status] += 1
    if seen[path, method, status] > OFTEN:
        return
    schema = validator(path, method, status)
    if schema is None:
        assert not body or path == "/metrics", f"{method} {path} {status} has a body"
        return
    assert headers["Content-Type"] == "application/json", headers
    problem = jsonschema.exceptions.best_match(schema.iter_errors(json.loads(body)))
    assert problem is None, (
        f"{method} {path} {status} is not as api/openapi.json tells: "
        f"{problem.json_path}: {problem.message[:300]}"
    )


def check_raw(request, answer):
    """Of the bytes of one request and its whole answer; what is no request or no answer is passed over."""
    asked = re.match(rb"([A-Z]+) (/[^ ?]*)\S* HTTP/1\.[01]\r\n", request)
    told = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    head, end, body = answer.partition(b"\r\n\r\n")
    if not asked or not told or not end or 300 <= int(told[1]) < 304:
        return
    headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
    if len(body) == int(headers.get("Content-Length", 0)):
        judge(asked[1].decode().lower(), asked[2].decode(), int(told[1]), headers, body)


def watch():
    """From now on each answer of a till-api that this process started is checked."""
    send = requests.Session.send

    def send_and_check(session, request, **options):
        answer = send(session, request, **options)
        if not options.get("stream") and programs.is_api(urlsplit(answer.url).netloc):
            check(answer)
        return answer

    requests.Session.send = send_and_check

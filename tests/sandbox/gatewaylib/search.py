"""Stripe's search query language, for the fields that payment intents allow.

Owns: query text -> function (intent) -> bool. Clauses are `field:value`, `field~"part"`,
`field>1` and so on, `-` negates one, and they are joined by AND (or nothing) or by OR, never by
both: that is Stripe's rule, not a shortcut.
"""

import operator
import re

from .errors import bad_parameter

CLAUSE = re.compile(
    r"""\s*(?P<not>-)?
    (?:(?P<field>[a-z_]+)(?:\[\s*(?P<quote>["'])(?P<key>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\s*\])?)
    \s*(?P<op>>=|<=|:|~|>|<|=)\s*
    (?:"(?P<double>(?:\\.|[^"\\])*)"|'(?P<single>(?:\\.|[^'\\])*)'|(?P<bare>[^\s"']+))
    \s*""",
    re.VERBOSE,
)
JOIN = re.compile(r"(and|or)\b\s*", re.IGNORECASE)

NUMBERS = {"amount", "created"}
TOKENS = {"currency", "customer", "status"}
COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
COMPARE[":"] = COMPARE["="] = operator.eq
MAX_CLAUSES = 10


def compile_query(query):
    tests, joins, at = [], set(), 0
    while at < len(query):
        match = CLAUSE.match(query, at)
        if not match:
            raise refused(query)
        tests.append(clause(match, query))
        at = match.end()
        join = JOIN.match(query, at)
        if join:
            joins.add(join.group(1).upper())
            at = join.end()
            if at >= len(query):
                raise refused(query)
        elif at < len(query):
            joins.add("AND")
    if not tests:
        raise refused(query)
    if len(joins) > 1:
        raise refused(query, "AND and OR cannot be combined in one query.")
    if len(tests) > MAX_CLAUSES:
        raise refused(query, f"A query can have at most {MAX_CLAUSES} clauses.")
    together = any if joins == {"OR"} else all
    return lambda intent: together(test(intent) for test in tests)


def clause(match, query):
    field, key, sign = match["field"], match["key"], match["op"]
    value = next(v for v in (match["double"], match["single"], match["bare"]) if v is not None)
    quoted = match["bare"] is None
    value = re.sub(r"\\(.)", r"\1", value)
    if field == "metadata" and key is not None:
        test = metadata_test(re.sub(r"\\(.)", r"\1", key), sign, value, quoted, query)
    elif key is not None:
        raise refused(query, f"Field `{field}` does not take a key.")
    elif field in NUMBERS:
        test = number_test(field, sign, value, query)
    elif field in TOKENS:
        test = token_test(field, sign, value, quoted, query)
    else:
        raise refused(query, f"Field `{field}` is an unsupported search field.")
    return (lambda intent: not test(intent)) if match["not"] else test


def metadata_test(key, sign, value, quoted, query):
    if value == "null" and not quoted and sign == ":":
        return lambda intent: key not in intent["metadata"]
    if sign == ":":
        return lambda intent: intent["metadata"].get(key) == value
    if sign == "~":
        part = substring(value, query)
        return lambda intent: part in intent["metadata"].get(key, "").lower()
    raise refused(query, f"Operator `{sign}` is not supported for metadata.")


def number_test(field, sign, value, query):
    if sign not in COMPARE or not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise refused(query, f"Field `{field}` takes a numeric comparison.")
    compare, number = COMPARE[sign], int(value)
    return lambda intent: compare(intent[field], number)


def token_test(field, sign, value, quoted, query):
    if sign != ":":
        raise refused(query, f"Operator `{sign}` is not supported for field `{field}`.")
    if value == "null" and not quoted:
        return lambda intent: intent[field] is None
    wanted = value.lower()
    return lambda intent: (intent[field] or "").lower() == wanted


def substring(value, query):
    if len(value) < 3:
        raise refused(query, "A substring search needs at least 3 characters.")
    return value.lower()


def refused(query, why="We were unable to parse your search query."):
    return bad_parameter(f"{why} Query: {query[:200]}", param="query")

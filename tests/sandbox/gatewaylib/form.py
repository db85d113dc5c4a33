"""Form-encoded parameters with nested names, as Stripe's clients send them.

Owns: text -> tree of dicts and strings. `a[b]=1` nests, `a[]=1` and `a[0]=1` are list elements,
kept as a dict with the keys "0", "1", ... because only the schema (params.py) knows whether
`metadata[0]` is a list element or a key called 0. Does not judge names or values.
"""

import re
from urllib.parse import parse_qsl

from .errors import bad_parameter

NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
PART = re.compile(r"\[([^\[\]]*)\]")
MAX_FIELDS = 1000


def decode(text):
    """The tree of one query string or body; raises ApiError for text that is not a form."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise bad_parameter("Invalid request: the parameters could not be decoded.") from None
    tree = {}
    for name, value in pairs:
        insert(tree, name, value)
    return tree


def decode_lenient(text):
    """As decode(), but {} for what cannot be decoded: for looking at a request, not answering."""
    try:
        return decode(text)
    except Exception:
        return {}


def insert(tree, name, value):
    match = NAME.fullmatch(name)
    if not match:
        raise bad_parameter(f"Invalid parameter name: {name}", param=name)
    path = [match.group(1)] + PART.findall(match.group(2))
    node = tree
    for part, following in zip(path, path[1:] + [None]):
        key = part if part else str(len(node))
        if following is None:
            node[key] = value
            return
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            raise bad_parameter(f"Invalid hash: {child}", param=path[0])
        node = child

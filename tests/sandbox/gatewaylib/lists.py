"""Lists, search results and expand[]: how objects are selected and shown.

Owns: cursor pagination and the expansion of ids into objects. Does not change anything.
"""

import copy

from . import objects, params, search
from .errors import bad_parameter, missing_in_body

EXPANDABLE = {
    "latest_charge": "charge",
    "charge": "charge",
    "payment_intent": "payment_intent",
    "payment_method": "payment_method",
}
# Nothing of these is kept: they are made of the object that names them, or are null, which stays null.
MADE = {"balance_transaction": objects.balance_transaction, "customer": objects.customer}
NULL = ("application", "invoice", "on_behalf_of", "review", "source_transfer", "transfer_reversal")

PAGE = {
    "limit": params.integer(1, 100),
    "starting_after": params.needed_text,
    "ending_before": params.needed_text,
    "created": params.created_range,
    "expand": params.text_list,
}

SEARCH = {
    "query": params.needed_text,
    "limit": params.integer(1, 100),
    "page": params.needed_text,
    "expand": params.text_list,
}


def page(ledger, table, url, values, keep=None):
    """Newest first; `keep` says which objects belong to the list at all."""
    if "starting_after" in values and "ending_before" in values:
        raise bad_parameter("You cannot parameterize both starting_after and ending_before.")
    limit = values.get("limit", 10)
    bounds = values.get("created", {})
    rows = [
        row
        for row in reversed(ledger[table].values())
        if in_range(row["created"], bounds) and (keep is None or keep(row))
    ]
    if "starting_after" in values:
        start = position(ledger, table, rows, values["starting_after"], "starting_after") + 1
        chosen, more = rows[start : start + limit], len(rows) > start + limit
    elif "ending_before" in values:
        end = position(ledger, table, rows, values["ending_before"], "ending_before")
        chosen, more = rows[max(0, end - limit) : end], end - limit > 0
    else:
        chosen, more = rows[:limit], len(rows) > limit
    return {"object": "list", "data": chosen, "has_more": more, "url": url}


def position(ledger, table, rows, cursor, param):
    if cursor not in ledger[table]:
        raise missing_in_body(table, cursor, param)
    for index, row in enumerate(rows):
        if row["id"] == cursor:
            return index
    raise missing_in_body(table, cursor, param)


def in_range(created, bounds):
    return (
        created > bounds.get("gt", -1)
        and created >= bounds.get("gte", 0)
        and created < bounds.get("lt", created + 1)
        and created <= bounds.get("lte", created)
    )


def found(ledger, url, values, not_after):
    """Search sees only what was created up to `not_after`, because Stripe's lags behind too."""
    matches = search.compile_query(values["query"])
    rows = [
        row
        for row in reversed(ledger["payment_intent"].values())
        if row["created"] <= not_after and matches(row)
    ]
    limit = values.get("limit", 10)
    start = 0
    if "page" in values:
        if not values["page"].isdigit():
            raise bad_parameter("Invalid page token.", param="page")
        start = int(values["page"])
    more = len(rows) > start + limit
    return {
        "object": "search_result",
        "data": rows[start : start + limit],
        "has_more": more,
        "next_page": str(start + limit) if more else None,
        "url": url,
    }


def show(ledger, thing, expand):
    """A copy of `thing` with each path of `expand` turned from an id into its object."""
    if not expand:
        return thing
    shown = copy.deepcopy(thing)
    for path in expand:
        if path.count(".") > 3:
            message = "You cannot expand more than 4 levels of a property."
            raise bad_parameter(message, param="expand")
        expand_one(ledger, shown, path.split("."), path)
    return shown


def expand_one(ledger, node, parts, path):
    name, rest = parts[0], parts[1:]
    if name == "data" and node.get("object") in ("list", "search_result") and rest:
        for item in node["data"]:
            expand_one(ledger, item, rest, path)
        return
    if name == "refunds" and node.get("object") == "charge":
        node["refunds"] = refunds_of(ledger, node)
        return
    if name not in node or not (name in EXPANDABLE or name in MADE or name in NULL):
        raise bad_parameter(f"This property cannot be expanded ({path}).", param="expand")
    value = node[name]
    if isinstance(value, str) and name in MADE:
        value = node[name] = MADE[name](node)
    elif isinstance(value, str):
        value = node[name] = copy.deepcopy(ledger[EXPANDABLE[name]][value])
    if rest and value is not None:
        expand_one(ledger, value, rest, path)


def refunds_of(ledger, charge):
    rows = [row for row in reversed(ledger["refund"].values()) if row["charge"] == charge["id"]]
    url = f"/v1/charges/{charge['id']}/refunds"
    return {"object": "list", "data": rows, "has_more": False, "url": url}

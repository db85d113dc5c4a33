"""The interface under /_sandbox/: what a test reads from the gateway and scripts into it.

Owns: these routes, and nothing that they change. No authorization, but loopback only: whoever can
reach it can make the gateway say anything.
"""

import ipaddress
import json

from . import faults, intents, webhooks
from .errors import ApiError
from .stripe_api import Call


class BadRequest(Exception):
    pass


def answer(handler, method, path, body):
    """(status, what to send as JSON)"""
    if not is_loopback(handler.client_address[0]):
        return 403, {"error": "the sandbox interface answers on loopback only"}
    route = ROUTES.get((method, path))
    arguments = []
    if route is None and path.startswith(INTENTS) and path.endswith("/authenticate"):
        route, arguments = authenticate, [path[len(INTENTS) : -len("/authenticate")]]
    if route is None:
        return 404, {"error": f"no {method} {path}"}
    try:
        values = json.loads(body) if body.strip() else {}
        return 200, route(handler.gateway, values, *arguments)
    except (BadRequest, faults.Refused, ValueError) as refused:
        return 400, {"error": str(refused)}
    except ApiError as error:
        return error.status, error.body("none")


def is_loopback(address):
    parsed = ipaddress.ip_address(address)
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def options(values, **known):
    """`values` if it is an object with these names and types only."""
    if not isinstance(values, dict):
        raise BadRequest("expected a JSON object")
    for name, value in values.items():
        if name not in known:
            raise BadRequest(f"no option '{name}'; there are: {', '.join(known)}")
        kinds = known[name] if isinstance(known[name], tuple) else (known[name],)
        if type(value) not in kinds:
            raise BadRequest(f"option '{name}' cannot be {value!r}")
    return values


def ledger(gateway, values):
    charges = gateway.ledger.report()
    paid = [charge for charge in charges if charge["status"] == "succeeded"]
    total = sum(charge["amount_captured"] - captured_back(charge) for charge in paid)
    return {
        "charges": charges,
        "requests": gateway.log.total,
        "succeeded": len(paid),
        "amount": total,
    }


def captured_back(charge):
    """What was given back of the captured amount; a partial capture frees the rest, not this."""
    return max(0, charge["amount_refunded"] - (charge["amount"] - charge["amount_captured"]))


def requests(gateway, values):
    return {"requests": gateway.log.shown()}


def get_faults(gateway, values):
    return {"faults": gateway.faults.shown()}


def add_faults(gateway, values):
    return {"faults": gateway.faults.add(values)}


def clear_faults(gateway, values):
    gateway.faults.clear()
    return {"faults": []}


def held(gateway, values):
    entries = gateway.faults.held_now()
    return {"held": len(entries), "requests": entries}


def release(gateway, values):
    options(values, count=int, action=str)
    action = values.get("action", "continue")
    if action not in ("continue", "drop"):
        raise BadRequest("action is 'continue' or 'drop'")
    return {"released": gateway.faults.release(values.get("count"), action)}


def get_clock(gateway, values):
    clock = gateway.ledger.clock
    return {"now": clock.now(), "offset": clock.offset}


def advance_clock(gateway, values):
    options(values, advance=(int, float))
    gateway.ledger.clock.offset += values.get("advance", 0)
    return get_clock(gateway, values)


def reset(gateway, values):
    gateway.reset()
    return {}


def get_webhooks(gateway, values):
    return gateway.webhooks.settings()


def set_webhooks(gateway, values):
    options(
        values,
        url=(str, type(None)),
        secret=str,
        tries=int,
        backoff=(int, float),
        paused=bool,
    )
    gateway.webhooks.configure(values)
    return gateway.webhooks.settings()


def deliveries(gateway, values):
    with gateway.webhooks.changed:
        return {"deliveries": list(gateway.webhooks.deliveries)}


def send_webhooks(gateway, values):
    options(
        values,
        event=str,
        events=list,
        type=str,
        payment_intent=str,
        times=int,
        signature=str,
        timestamp_offset=(int, float),
        body=str,
        order=str,
        seed=int,
        together=bool,
    )
    how = values.get("signature", "good")
    if how not in webhooks.SIGNATURES:
        raise BadRequest(f"signature is one of: {', '.join(webhooks.SIGNATURES)}")
    events = webhooks.in_order(
        chosen_events(gateway, values), values.get("order", "given"), values.get("seed", 0)
    )
    sent = []
    for event in events:
        sent += gateway.webhooks.send(
            event,
            values.get("times", 1),
            how,
            values.get("timestamp_offset", 0),
            values.get("body"),
            values.get("together", False),
        )
    return {"deliveries": sent}


def chosen_events(gateway, values):
    """Named events, or those of a payment intent; a type that never happened is made up."""
    ids = list(values.get("events", []))
    if "event" in values:
        ids.append(values["event"])
    with gateway.ledger.lock:
        known = gateway.ledger["event"]
        if ids:
            for event_id in ids:
                if event_id not in known:
                    raise BadRequest(f"no event '{event_id}'")
            return [known[event_id] for event_id in ids]
        if "payment_intent" not in values:
            raise BadRequest("which event? give event, events, or payment_intent (and type)")
        intent_id = values["payment_intent"]
        intent = gateway.ledger["payment_intent"].get(intent_id)
        if intent is None:
            raise BadRequest(f"no payment intent '{intent_id}'")
        events = [
            event
            for event in known.values()
            if is_about(event["data"]["object"], intent_id)
            and values.get("type", event["type"]) == event["type"]
        ]
        if not events and "type" in values:
            events = [webhooks.record(Call(gateway, None, {}), values["type"], intent, 0)]
            gateway.ledger.commit()
        return events


def is_about(subject, intent_id):
    return intent_id in (subject["id"], subject.get("payment_intent"))


def authenticate(gateway, values, intent_id):
    options(values, success=bool)
    with gateway.ledger.lock:
        intent = gateway.ledger["payment_intent"].get(intent_id)
        if intent is None:
            raise BadRequest(f"no payment intent '{intent_id}'")
        call = Call(gateway, None, {})
        intents.authenticate(call, intent, values.get("success", True))
        gateway.ledger.commit()
        shown = dict(intent)
    gateway.webhooks.deliver(call.events)
    return shown


INTENTS = "/_sandbox/payment_intents/"
ROUTES = {
    ("GET", "/_sandbox/ledger"): ledger,
    ("GET", "/_sandbox/requests"): requests,
    ("GET", "/_sandbox/faults"): get_faults,
    ("POST", "/_sandbox/faults"): add_faults,
    ("DELETE", "/_sandbox/faults"): clear_faults,
    ("GET", "/_sandbox/held"): held,
    ("POST", "/_sandbox/release"): release,
    ("GET", "/_sandbox/clock"): get_clock,
    ("POST", "/_sandbox/clock"): advance_clock,
    ("POST", "/_sandbox/reset"): reset,
    ("GET", "/_sandbox/webhooks"): get_webhooks,
    ("POST", "/_sandbox/webhooks"): set_webhooks,
    ("GET", "/_sandbox/webhooks/deliveries"): deliveries,
    ("POST", "/_sandbox/webhooks/send"): send_webhooks,
}

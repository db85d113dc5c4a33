"""The API: who may ask, which function answers, and what is saved under the Idempotency-Key.

Owns: the route table and the order of a request's life: authorize, route, take the key, run under
the ledger's lock, save the answer, commit. Knows nothing of sockets; `stages` is how the faults
get in between (see faults.py).
"""

import base64
import hmac
import json
import re

from . import cards, form, intents, lists, objects, params, refunds, webhooks
from .errors import (
    ApiError,
    bad_parameter,
    doc_url,
    missing_in_body,
    missing_in_path,
    unauthorized,
    unknown_route,
)


# A date, since 2024-09-30 with the name of the release, and betas behind it.
VERSION = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(\.[a-z]+)?(; ?[a-z0-9_=; -]+)?$")


class Call:
    """One request being answered: what the functions of the API need to know about it."""

    def __init__(self, gateway, request, values):
        self.gateway = gateway
        self.ledger = gateway.ledger
        self.now = gateway.ledger.clock.seconds()
        self.base_url = gateway.base_url
        self.given = values
        self.is_public = request.is_public if request else False
        self.idempotency_key = request.idempotency_key if request else None
        self.request_id = request.request_id if request else None
        self.events = []

    def emit(self, kind, subject):
        pending = 1 if self.gateway.webhooks.url else 0
        event = webhooks.record(self, kind, subject, pending)
        self.events.append(event)


def publishable(gateway):
    """The key that a browser has: it reads and confirms what it knows the client_secret of."""
    return gateway.secret_key.replace("sk_", "pk_", 1) if gateway.secret_key[:3] == "sk_" else ""


class Answer:
    def __init__(self, status, body, headers=None, replayed=False):
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.replayed = replayed


class StripeApi:
    def __init__(self, gateway):
        self.gateway = gateway

    def answer(self, request, stages):
        """Answers one request; `stages` may wait, replace or observe at its three points."""
        try:
            self.authorize(request)
            route, arguments = find_route(request.method, request.path)
            if request.is_public and route not in PUBLIC:
                raise unauthorized(
                    "This API call cannot be made with a publishable API key. Please use a secret "
                    "API key. You can find a list of your API keys at "
                    "https://dashboard.stripe.com/account/apikeys."
                )
            values = form.decode(request.query if request.method == "GET" else request.body_text)
            if request.method == "POST" and request.idempotency_key is not None:
                return self.run_once(request, route, arguments, values, stages)
            return self.run(request, route, arguments, values, stages)
        except ApiError as error:
            return refusal(error, request)

    def authorize(self, request):
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        key = value.strip()
        if scheme.lower() == "basic":
            try:
                key = base64.b64decode(key, validate=True).decode().partition(":")[0]
            except ValueError:
                key = ""
        elif scheme.lower() != "bearer":
            key = ""
        if not key:
            raise unauthorized(
                "You did not provide an API key. You need to provide your API key in the "
                "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
                "YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, "
                "or we can help at https://support.stripe.com/."
            )
        request.is_public = hmac.compare_digest(key.encode(), publishable(self.gateway).encode())
        if not request.is_public and not hmac.compare_digest(
            key.encode(), self.gateway.secret_key.encode()
        ):
            hidden = key[:8] + "*" * max(4, len(key) - 12) + (key[-4:] if len(key) > 12 else "")
            raise unauthorized(f"Invalid API Key provided: {hidden}")
        version = request.headers.get("stripe-version", objects.API_VERSION)
        if not VERSION.match(version):
            raise bad_parameter(f"Invalid Stripe API version: {version}")

    def run_once(self, request, route, arguments, values, stages):
        gateway, key = self.gateway, request.idempotency_key
        with gateway.ledger.lock:
            saved = gateway.keys.begin(key, request.path, values)
            gateway.ledger.commit()
        if saved:
            headers = {"Idempotent-Replayed": "true", "Original-Request": saved["request_id"]}
            if saved["status"] >= 500:
                headers["Stripe-Should-Retry"] = "false"
            return Answer(saved["status"], saved["body"].encode(), headers, replayed=True)
        try:
            return self.run(request, route, arguments, values, stages)
        finally:
            with gateway.ledger.lock:
                gateway.keys.give_up(key)

    def run(self, request, route, arguments, values, stages):
        gateway = self.gateway
        stages.before_running()
        with gateway.ledger.lock:
            call = Call(gateway, request, values)
            answer, save = stages.instead_of_running(), True
            if answer is None:
                answer, save = self.result(call, request, route, arguments)
                answer, save = stages.instead_of_result(answer, save)
            if save and request.method == "POST" and request.idempotency_key is not None:
                gateway.keys.save(
                    request.idempotency_key,
                    request.path,
                    values,
                    answer.status,
                    answer.body.decode(),
                    request.request_id,
                )
                answer.headers["Original-Request"] = request.request_id
            gateway.ledger.commit()
        gateway.webhooks.deliver(call.events)
        return answer

    def result(self, call, request, route, arguments):
        try:
            thing = route(call, *arguments)
            return Answer(200, encode(thing)), True
        except ApiError as error:
            return refusal(error, request), error.saved


def refusal(error, request):
    return Answer(error.status, encode(error.body(request.request_id)), dict(error.headers))


def encode(thing):
    return json.dumps(thing, indent=None).encode() + b"\n"


def failure(status, request, code=None, message=None):
    """The error objects that Stripe's own trouble comes in, for scripted faults."""
    usual = {
        409: ("idempotency_error", "idempotency_key_in_use", "Another request is in progress."),
        429: (
            "invalid_request_error",
            "rate_limit",
            "Request rate limit exceeded. Learn more about rate limits here "
            "https://stripe.com/docs/rate-limits.",
        ),
    }
    kind, usual_code, usual_message = usual.get(
        status,
        (
            "api_error",
            None,
            "Sorry! There was an error while talking to Stripe. Please try again or contact us "
            "at https://support.stripe.com/.",
        ),
    )
    code = code or usual_code
    error = {"message": message or usual_message, "type": kind}
    if code:
        error.update(code=code, doc_url=doc_url(code))
    error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request.request_id}"
    return encode({"error": error})


def shown(call, thing, values):
    return lists.show(call.ledger, thing, values.get("expand"))


def stored(call, table, thing_id, param="id"):
    thing = call.ledger[table].get(thing_id)
    if thing is None:
        raise missing_in_path(table, thing_id, param)
    return thing


def check_expand(call, thing):
    """Runs after validation of the rest, so only the list itself has to be read again."""
    expand = call.given.get("expand")
    return shown(call, thing, {"expand": params.text_list(expand, "expand")} if expand else {})


def create_intent(call):
    return check_expand(call, intents.create(call, call.given))


def list_intents(call):
    values = params.check({**lists.PAGE, "customer": params.needed_text}, call.given)
    customer = values.get("customer")
    keep = (lambda intent: intent["customer"] == customer) if customer else None
    listed = lists.page(call.ledger, "payment_intent", "/v1/payment_intents", values, keep)
    return shown(call, listed, values)


def search_intents(call):
    values = params.check(lists.SEARCH, call.given, required=("query",))
    not_after = call.ledger.clock.now() - call.gateway.search_lag
    listed = lists.found(call.ledger, "/v1/payment_intents/search", values, not_after)
    return shown(call, listed, values)


def check_secret(call, intent):
    """Before anything is done: nobody confirms a payment by its id alone with a public key."""
    if call.is_public and "client_secret" not in call.given:
        message = "Missing required param: client_secret."
        raise bad_parameter(message, "parameter_missing", "client_secret")
    given = params.text()(call.given.get("client_secret", intent["client_secret"]), "client_secret")
    if not hmac.compare_digest(given.encode(), intent["client_secret"].encode()):
        raise bad_parameter(
            "The client_secret provided does not match the client_secret associated with the "
            "PaymentIntent.",
            "payment_intent_invalid_parameter",
            "client_secret",
        )


def get_intent(call, intent_id):
    intent = stored(call, "payment_intent", intent_id, "intent")
    values = params.check({"client_secret": params.text(), "expand": params.text_list}, call.given)
    check_secret(call, intent)
    return public(call, shown(call, intent, values))


def change_intent(change):
    def route(call, intent_id):
        intent = stored(call, "payment_intent", intent_id, "intent")
        return check_expand(call, change(call, intent, call.given))

    return route


def confirm_intent(call, intent_id):
    intent = stored(call, "payment_intent", intent_id, "intent")
    check_secret(call, intent)
    return public(call, check_expand(call, intents.confirm(call, intent, call.given)))


def public(call, intent):
    """As much of it as a browser may see."""
    return {name: intent[name] for name in SEEN if name in intent} if call.is_public else intent


def create_refund(call):
    return check_expand(call, refunds.create(call, call.given))


def change_refund(call, refund_id):
    refund = stored(call, "refund", refund_id)
    return check_expand(call, refunds.update(call, refund, call.given))


def list_refunds(call):
    schema = {**lists.PAGE, "charge": params.needed_text, "payment_intent": params.needed_text}
    values = params.check(schema, call.given)
    keep = same(values, "charge", "payment_intent")
    return shown(call, lists.page(call.ledger, "refund", "/v1/refunds", values, keep), values)


def list_charges(call):
    schema = {**lists.PAGE, "customer": params.needed_text, "payment_intent": params.needed_text}
    values = params.check(schema, call.given)
    keep = same(values, "customer", "payment_intent")
    return shown(call, lists.page(call.ledger, "charge", "/v1/charges", values, keep), values)


def list_events(call):
    schema = {**lists.PAGE, "type": params.needed_text, "types": params.text_list}
    schema["delivery_success"] = params.boolean
    values = params.check(schema, call.given)
    types = values.get("types", [values["type"]] if "type" in values else None)
    keep = (lambda event: event["type"] in types) if types else None
    return lists.page(call.ledger, "event", "/v1/events", values, keep)


def same(values, *names):
    wanted = {name: values[name] for name in names if name in values}
    return lambda row: all(row[name] == value for name, value in wanted.items())


def getter(table):
    def route(call, thing_id):
        thing = stored(call, table, thing_id)
        return shown(call, thing, params.check({"expand": params.text_list}, call.given))

    return route


def create_method(call):
    schema = {"type": params.one_of("card"), "card": params.anything, "metadata": params.metadata}
    schema.update(billing_details=params.anything, expand=params.text_list)
    values = params.check(schema, call.given, required=("type",))
    card = values.get("card")
    if not isinstance(card, dict):
        raise bad_parameter("Missing required param: card.", "parameter_missing", "card")
    if "number" in card:
        raise intents.raw_card("card[number]")
    if card.get("token") not in cards.CARD_TOKENS:
        raise missing_in_body("token", card.get("token"), "card[token]")
    method = intents.new_method(call, cards.CARD_TOKENS[card["token"]])
    method["metadata"] = values.get("metadata") or {}
    return method


def get_balance(call):
    params.check({"expand": params.text_list}, call.given)
    sums = {}
    for charge in call.ledger["charge"].values():
        if charge["captured"]:
            left = charge["amount"] - charge["amount_refunded"]
            sums[charge["currency"]] = sums.get(charge["currency"], 0) + left
    available = [
        {"amount": amount, "currency": currency, "source_types": {"card": amount}}
        for currency, amount in sorted(sums.items())
    ]
    return {"object": "balance", "available": available, "livemode": False, "pending": []}


SEEN = (
    "id object amount amount_details automatic_payment_methods canceled_at cancellation_reason "
    "capture_method client_secret confirmation_method created currency description "
    "last_payment_error livemode next_action payment_method payment_method_configuration_details "
    "payment_method_types processing receipt_email setup_future_usage shipping source status"
).split()
PUBLIC = (get_intent, confirm_intent, create_method)
INTENT = "/v1/payment_intents/"
ROUTES = {
    ("POST", "/v1/payment_intents"): create_intent,
    ("GET", "/v1/payment_intents"): list_intents,
    ("GET", "/v1/payment_intents/search"): search_intents,
    ("GET", "/v1/payment_intents/*"): get_intent,
    ("POST", "/v1/payment_intents/*"): change_intent(intents.update),
    ("POST", "/v1/payment_intents/*/confirm"): confirm_intent,
    ("POST", "/v1/payment_intents/*/capture"): change_intent(intents.capture),
    ("POST", "/v1/payment_intents/*/cancel"): change_intent(intents.cancel),
    ("POST", "/v1/payment_methods"): create_method,
    ("GET", "/v1/payment_methods/*"): getter("payment_method"),
    ("POST", "/v1/refunds"): create_refund,
    ("GET", "/v1/refunds"): list_refunds,
    ("GET", "/v1/refunds/*"): getter("refund"),
    ("POST", "/v1/refunds/*"): change_refund,
    ("GET", "/v1/charges"): list_charges,
    ("GET", "/v1/charges/*"): getter("charge"),
    ("GET", "/v1/events"): list_events,
    ("GET", "/v1/events/*"): getter("event"),
    ("GET", "/v1/balance"): get_balance,
}


def find_route(method, path):
    """The function for a path and the one segment that a `*` stands for."""
    if (method, path) in ROUTES:
        return ROUTES[method, path], []
    parts = path.split("/")
    if len(parts) >= 4 and parts[3]:
        parts[3], thing_id = "*", parts[3]
        route = ROUTES.get((method, "/".join(parts)))
        if route:
            return route, [thing_id]
    raise unknown_route(method, path)

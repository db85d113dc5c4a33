"""Payment intents: the status machine, and the charges it makes.

    requires_payment_method -> requires_confirmation -> requires_action -> processing
        -> requires_capture -> succeeded;  canceled;  a decline goes back to the first.

Owns: every move of that machine and the charge and events that belong to it. Each function runs
with the ledger's lock held and is handed `call`: who asks (gateway, request id, idempotency key).
"""

from . import cards, objects, params
from .errors import ApiError, bad_parameter, invalid_request, missing_in_body

CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)

SHARED = {
    "amount_details": params.anything,
    "application_fee_amount": params.integer(0),
    "customer": params.needed_text,
    "description": params.text(1000),
    "expand": params.text_list,
    "excluded_payment_method_types": params.text_list,
    "hooks": params.anything,
    "metadata": params.metadata,
    "payment_details": params.anything,
    "payment_method": params.needed_text,
    "payment_method_configuration": params.text(100),
    "payment_method_data": params.anything,
    "payment_method_options": params.anything,
    "payment_method_types": params.text_list,
    "receipt_email": params.text(800),
    "setup_future_usage": params.one_of("off_session", "on_session", ""),
    "shipping": params.anything,
    "statement_descriptor": params.text(22),
    "statement_descriptor_suffix": params.text(22),
    "transfer_data": params.anything,
    "transfer_group": params.text(),
}
CONFIRMING = {
    "confirmation_token": params.text(),
    "error_on_requires_action": params.boolean,
    "mandate": params.text(),
    "mandate_data": params.anything,
    "off_session": params.boolean_or_text,
    "radar_options": params.anything,
    "return_url": params.needed_text,
    "use_stripe_sdk": params.boolean,
}
CAPTURE_METHOD = params.one_of("automatic", "automatic_async", "manual")
CREATE = {
    **SHARED,
    **CONFIRMING,
    "amount": params.charge_amount,
    "automatic_payment_methods": params.group(
        {"enabled": params.boolean, "allow_redirects": params.one_of("always", "never")}
    ),
    "capture_method": CAPTURE_METHOD,
    "confirm": params.boolean,
    "confirmation_method": params.one_of("automatic", "manual"),
    "currency": params.currency,
    "on_behalf_of": params.text(),
}
UPDATE = {
    **SHARED,
    "amount": params.charge_amount,
    "capture_method": CAPTURE_METHOD,
    "currency": params.currency,
}
CONFIRM = {
    **SHARED,
    **CONFIRMING,
    "capture_method": CAPTURE_METHOD,
    "client_secret": params.text(),  # checked before (stripe_api.py)
}
CAPTURE = {
    "amount_to_capture": params.amount,
    "application_fee_amount": params.integer(0),
    "expand": params.text_list,
    "final_capture": params.boolean,
    "metadata": params.metadata,
    "statement_descriptor": params.text(22),
    "statement_descriptor_suffix": params.text(22),
    "transfer_data": params.anything,
}
CANCEL = {
    "cancellation_reason": params.one_of(
        "duplicate", "fraudulent", "requested_by_customer", "abandoned"
    ),
    "expand": params.text_list,
}

# Of a payment method that has paid and belongs to no customer.
SPENT = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, "
    "shared with a connected account without Customer attachment, or was detached from a Customer. It "
    "may not be used again. To use a PaymentMethod multiple times, you must attach it to a Customer first."
)
COPIED = (
    "amount",
    "capture_method",
    "currency",
    "customer",
    "description",
    "payment_method_types",
    "receipt_email",
    "setup_future_usage",
    "shipping",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)
ONLY_WITH_CONFIRM = ("error_on_requires_action", "mandate", "off_session", "return_url")


def create(call, given):
    values = params.check(CREATE, given, required=("amount", "currency"))
    refuse_card_numbers(values)
    for name in ONLY_WITH_CONFIRM:
        if name in values and not values.get("confirm"):
            message = f"You can only pass `{name}` when `confirm` is `true`."
            raise bad_parameter(message, param=name)
    if "automatic_payment_methods" in values and "payment_method_types" in values:
        raise bad_parameter(
            "You may only specify one of these parameters: automatic_payment_methods, "
            "payment_method_types.",
            param="automatic_payment_methods",
        )
    check_customer(values)
    automatic = values.get("automatic_payment_methods", {})
    if (
        values.get("confirm")
        and automatic.get("enabled")
        and automatic.get("allow_redirects") != "never"
        and "return_url" not in values
    ):
        raise bad_parameter(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. "
            "Because some of these payment methods might redirect your customer off of your page, "
            "you must provide a `return_url`. If you don't want to accept redirect-based payment "
            "methods, set `automatic_payment_methods[enabled]` to `true` and "
            "`automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents "
            "and Payment Intents.",
            param="return_url",
        )
    token = resolve(call, values["payment_method"]) if "payment_method" in values else None
    if values.get("confirm") and token is None:
        raise no_method(None)
    intent = objects.payment_intent(call.now, values)
    if token is not None:
        attach(call, intent, token, values["payment_method"])
    call.ledger.put("payment_intent", intent)
    call.emit("payment_intent.created", intent)
    if values.get("confirm"):
        attempt(call, intent, values)
    return intent


def update(call, intent, given):
    values = params.check(UPDATE, given)
    refuse_card_numbers(values)
    check_customer(values)
    if intent["status"] in ("succeeded", "canceled", "processing", "requires_capture"):
        allowed = {"description", "metadata", "receipt_email", "expand", "shipping"}
        for name in values:
            if name not in allowed:
                raise unexpected_state(
                    f"This PaymentIntent's {name} could not be updated because it has a status of "
                    f"{intent['status']}. You may only update the {name} of a PaymentIntent with "
                    "one of the following statuses: requires_payment_method, "
                    "requires_confirmation, requires_action.",
                    intent,
                )
    apply(call, intent, values)
    call.ledger.put("payment_intent", intent)
    return intent


def confirm(call, intent, given):
    values = params.check(CONFIRM, given)
    refuse_card_numbers(values)
    check_customer(values)
    if intent["status"] == "succeeded":
        raise unexpected_state(
            "You cannot confirm this PaymentIntent because it has already succeeded after being "
            "previously confirmed.",
            intent,
        )
    if intent["status"] not in CONFIRMABLE:
        raise unexpected_state(
            f"You cannot confirm this PaymentIntent because it has a status of "
            f"{intent['status']}. Only a PaymentIntent with one of the following statuses may be "
            f"confirmed: {', '.join(CONFIRMABLE)}.",
            intent,
        )
    apply(call, intent, values)
    if intent["payment_method"] is None:
        raise no_method(intent)
    attempt(call, intent, values)
    return intent


def capture(call, intent, given):
    values = params.check(CAPTURE, given)
    if intent["status"] != "requires_capture":
        why = (
            "because it has already been captured"
            if intent["status"] == "succeeded"
            else f"because it has a status of {intent['status']}. Only a PaymentIntent with one "
            "of the following statuses may be captured: requires_capture"
        )
        raise unexpected_state(f"This PaymentIntent could not be captured {why}.", intent)
    size = values.get("amount_to_capture", intent["amount"])
    if size > intent["amount_capturable"]:
        raise invalid_request(
            f"The payment could not be captured because the requested capture amount is greater "
            f"than the authorized amount ({size} > {intent['amount_capturable']}).",
            "amount_too_large",
            "amount_to_capture",
        )
    charge = call.ledger["charge"][intent["latest_charge"]]
    charge.update(captured=True, amount_captured=size)
    if size < charge["amount"]:
        charge["amount_refunded"] = charge["amount"] - size
    intent.update(status="succeeded", amount_received=size, amount_capturable=0)
    if "metadata" in values:
        intent["metadata"] = params.merge_metadata(intent["metadata"], values["metadata"])
    keep(call, intent, charge)
    call.emit("charge.captured", charge)
    call.emit("payment_intent.succeeded", intent)
    return intent


def cancel(call, intent, given):
    values = params.check(CANCEL, given)
    if intent["status"] not in CANCELABLE:
        raise unexpected_state(
            f"You cannot cancel this PaymentIntent because it has a status of "
            f"{intent['status']}. Only a PaymentIntent with one of the following statuses may be "
            f"canceled: {', '.join(CANCELABLE)}.",
            intent,
        )
    if intent["status"] in ("requires_capture", "processing"):
        charge = call.ledger["charge"][intent["latest_charge"]]
        charge.update(amount_refunded=charge["amount"], refunded=True)
        if charge["status"] == "pending":
            charge["status"] = "failed"
        call.ledger.put("charge", charge)
    intent.update(
        status="canceled",
        canceled_at=call.now,
        cancellation_reason=values.get("cancellation_reason"),
        amount_capturable=0,
        next_action=None,
    )
    call.ledger.put("payment_intent", intent)
    call.emit("payment_intent.canceled", intent)
    return intent


def authenticate(call, intent, success):
    """What the customer does in the browser when the bank asks; the admin interface plays it."""
    if intent["status"] != "requires_action":
        raise unexpected_state("This PaymentIntent does not wait for the customer.", intent)
    token = token_of(call, intent)
    intent["next_action"] = None
    if success:
        settle_paid(call, intent, token)
        return
    failed = cards.Token(
        cards.DECLINED,
        code="payment_intent_authentication_failure",
        message="We are unable to authenticate your payment method. Please choose a different "
        "payment method and try again.",
    )
    back_to_start(call, intent, failed, None, "invalid_request_error")


def settle(call, intent):
    """The end of a payment that was processing: the bank has answered."""
    token = token_of(call, intent)
    charge = call.ledger["charge"][intent["latest_charge"]]
    if token.outcome == cards.DELAYED:
        charge.update(
            status="succeeded",
            paid=True,
            captured=True,
            amount_captured=charge["amount"],
            balance_transaction=objects.new_id("txn"),
        )
        intent.update(status="succeeded", amount_received=intent["amount"])
        keep(call, intent, charge)
        call.emit("charge.succeeded", charge)
        call.emit("payment_intent.succeeded", intent)
        return
    charge.update(status="failed", failure_code=token.code, failure_message=token.message)
    charge["outcome"] = objects.outcome(True, token)
    call.ledger.put("charge", charge)
    call.emit("charge.failed", charge)
    back_to_start(call, intent, token, charge["id"])


def attempt(call, intent, values):
    """One try to pay with the attached method; raises the 402 of a decline."""
    token = token_of(call, intent)
    if call.ledger["method_token"][intent["payment_method"]].get("spent"):
        raise invalid_request(SPENT, param="payment_method")
    intent.update(last_payment_error=None, next_action=None)
    if token.kind not in intent["payment_method_types"] and not intent["automatic_payment_methods"]:
        raise invalid_request(
            f"The PaymentMethod provided ({token.kind}) is not allowed for this PaymentIntent. "
            "Please attach a payment method of one of these types: "
            f"{', '.join(intent['payment_method_types'])}.",
            param="payment_method",
        )
    if token.outcome == cards.ACTION:
        needs_action(call, intent, token, values)
    elif token.outcome == cards.DECLINED:
        charge = new_charge(call, intent, "failed", token)
        call.emit("charge.failed", charge)
        back_to_start(call, intent, token, charge["id"])
        raise decline(call, intent, token, charge["id"])
    elif token.outcome == cards.PAID:
        settle_paid(call, intent, token)
    else:
        charge = new_charge(call, intent, "pending", token)
        intent["status"] = "processing"
        keep(call, intent, charge)
        call.emit("payment_intent.processing", intent)
        call.emit("charge.pending", charge)
        if token.outcome != cards.PENDING:
            call.gateway.settlement.later(intent["id"])


def needs_action(call, intent, token, values):
    if values.get("off_session") or values.get("error_on_requires_action"):
        refused = cards.Token(
            cards.DECLINED,
            code="authentication_required",
            decline_code="authentication_required",
            message="Your card was declined. This transaction requires authentication.",
        )
        charge = new_charge(call, intent, "failed", refused)
        call.emit("charge.failed", charge)
        back_to_start(call, intent, refused, charge["id"])
        raise decline(call, intent, refused, charge["id"])
    intent["status"] = "requires_action"
    if values.get("return_url"):
        url = f"{call.base_url}/_sandbox/payment_intents/{intent['id']}/authenticate"
        redirect = {"return_url": values["return_url"], "url": url}
        intent["next_action"] = {"type": "redirect_to_url", "redirect_to_url": redirect}
    else:
        sdk = {"type": "three_d_secure_redirect", "source": objects.new_id("src")}
        intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": sdk}
    call.ledger.put("payment_intent", intent)
    call.emit("payment_intent.requires_action", intent)


def settle_paid(call, intent, token):
    charge = new_charge(call, intent, "succeeded", token)
    if not intent["customer"]:
        spent = {**call.ledger["method_token"][intent["payment_method"]], "spent": True}
        call.ledger.put("method_token", spent)
    if intent["capture_method"] == "manual":
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        keep(call, intent, charge)
        call.emit("charge.succeeded", charge)
        call.emit("payment_intent.amount_capturable_updated", intent)
        return
    charge.update(captured=True, amount_captured=charge["amount"])
    intent.update(status="succeeded", amount_received=intent["amount"])
    keep(call, intent, charge)
    call.emit("charge.succeeded", charge)
    call.emit("payment_intent.succeeded", intent)


def back_to_start(call, intent, token, charge_id, kind="card_error"):
    error = objects.payment_error(token, method_of(call, intent), charge_id)
    intent.update(
        status="requires_payment_method",
        payment_method=None,
        last_payment_error={**error, "type": kind},
    )
    call.ledger.put("payment_intent", intent)
    call.emit("payment_intent.payment_failed", intent)


def decline(call, intent, token, charge_id):
    method = intent["last_payment_error"]["payment_method"]
    more = {"charge": charge_id, "payment_intent": intent, "payment_method": method}
    if token.decline_code:
        more["decline_code"] = token.decline_code
    return ApiError(402, "card_error", token.message, token.code, **more)


def new_charge(call, intent, status, token):
    method = method_of(call, intent)
    charge = objects.charge(call.now, intent, method, status, token, call.base_url)
    intent["latest_charge"] = charge["id"]
    call.ledger.put("charge", charge)
    call.ledger.put("charge_key", {"id": charge["id"], "idempotency_key": call.idempotency_key})
    return charge


def keep(call, intent, charge):
    call.ledger.put("charge", charge)
    call.ledger.put("payment_intent", intent)


def apply(call, intent, values):
    token = resolve(call, values["payment_method"]) if "payment_method" in values else None
    for name in COPIED:
        if name in values:
            intent[name] = values[name] or None
    if "metadata" in values:
        intent["metadata"] = params.merge_metadata(intent["metadata"], values["metadata"])
    if token is not None:
        attach(call, intent, token, values["payment_method"])


def resolve(call, name):
    """The test token behind a token or the id of a payment method made from one."""
    if name in cards.TOKENS:
        return name
    if name in call.ledger["payment_method"]:
        return call.ledger["method_token"][name]["token"]
    raise missing_in_body("PaymentMethod", name, "payment_method")


def attach(call, intent, token, name):
    if name in call.ledger["payment_method"]:
        intent["payment_method"] = name
    else:
        intent["payment_method"] = new_method(call, token)["id"]
    if intent["status"] == "requires_payment_method":
        intent["status"] = "requires_confirmation"


def new_method(call, token):
    method = objects.payment_method(call.now, cards.TOKENS[token])
    call.ledger.put("payment_method", method)
    call.ledger.put("method_token", {"id": method["id"], "token": token})
    return method


def method_of(call, intent):
    return call.ledger["payment_method"][intent["payment_method"]]


def token_of(call, intent):
    return cards.TOKENS[call.ledger["method_token"][intent["payment_method"]]["token"]]


def check_customer(values):
    customer = values.get("customer")
    if customer is not None and not customer.startswith("cus_"):
        raise missing_in_body("customer", customer, "customer")


def refuse_card_numbers(values):
    data = values.get("payment_method_data")
    card = data.get("card") if isinstance(data, dict) else None
    if isinstance(card, dict) and "number" in card:
        raise raw_card("payment_method_data[card][number]")


def raw_card(param):
    return ApiError(
        402,
        "invalid_request_error",
        "Sending credit card numbers directly to the Stripe API is generally unsafe. We suggest "
        "you use test tokens that map to the test card you are using, see "
        "https://stripe.com/docs/testing. To enable testing raw card data APIs, see "
        "https://support.stripe.com/questions/enabling-access-to-raw-card-data-apis.",
        param=param,
        saved=False,
    )


def no_method(intent):
    message = (
        "You cannot confirm this PaymentIntent because it's missing a payment method. You can "
        "either update the PaymentIntent with a payment method and then confirm it again, or "
        "confirm it again directly with a payment method or ConfirmationToken."
    )
    if intent is None:
        return invalid_request(message, "payment_intent_unexpected_state")
    return unexpected_state(message, intent)


def unexpected_state(message, intent):
    return invalid_request(message, "payment_intent_unexpected_state", payment_intent=intent)

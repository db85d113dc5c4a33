"""Refunds of charges.

Owns: how much of a charge can be given back. Runs with the ledger's lock held.
"""

from . import objects, params
from .errors import ApiError, bad_parameter, invalid_request, missing_in_body

CREATE = {
    "amount": params.amount,
    "charge": params.needed_text,
    "expand": params.text_list,
    "instructions_email": params.text(),
    "metadata": params.metadata,
    "payment_intent": params.needed_text,
    "reason": params.one_of("duplicate", "fraudulent", "requested_by_customer"),
    "refund_application_fee": params.boolean,
    "reverse_transfer": params.boolean,
}


UPDATE = {"expand": params.text_list, "metadata": params.metadata}


def update(call, refund, given):
    values = params.check(UPDATE, given)
    if "metadata" in values:
        refund["metadata"] = params.merge_metadata(refund["metadata"], values["metadata"])
    call.ledger.put("refund", refund)
    call.emit("refund.updated", refund)
    call.emit("charge.refund.updated", refund)
    return refund


def create(call, given):
    values = params.check(CREATE, given)
    charge = charge_of(call, values)
    left = charge["amount"] - charge["amount_refunded"]
    if charge["refunded"]:
        message = f"Charge {charge['id']} has already been refunded."
        raise invalid_request(message, "charge_already_refunded")
    size = values.get("amount", left)
    if size > left:
        if charge["amount_refunded"]:
            what = f"unrefunded amount on charge (${left / 100:.2f})"
        else:
            what = f"charge amount (${left / 100:.2f})"
        message = f"Refund amount (${size / 100:.2f}) is greater than {what}"
        raise invalid_request(message, "amount_too_large", "amount")
    refund = objects.refund(call.now, charge, size, values)
    charge["amount_refunded"] += size
    charge["refunded"] = charge["amount_refunded"] >= charge["amount"]
    call.ledger.put("refund", refund)
    call.ledger.put("charge", charge)
    call.emit("charge.refunded", charge)
    call.emit("refund.created", refund)
    return refund


def charge_of(call, values):
    """The charge to give back from, named itself or through its payment intent."""
    if "charge" not in values and "payment_intent" not in values:
        raise bad_parameter(
            "One of the following params should be provided for this request: payment_intent or "
            "charge.",
            "parameter_missing",
        )
    if "charge" in values:
        charge = call.ledger["charge"].get(values["charge"])
        if charge is None:
            raise missing_in_body("charge", values["charge"], "charge")
    else:
        intent = call.ledger["payment_intent"].get(values["payment_intent"])
        if intent is None:
            raise missing_in_body("payment_intent", values["payment_intent"], "payment_intent")
        charge = call.ledger["charge"].get(intent["latest_charge"])
        if charge is None or charge["status"] != "succeeded":
            message = (
                f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
            )
            raise ApiError(400, "invalid_request_error", message, param="payment_intent")
    if charge["status"] != "succeeded" or not charge["captured"]:
        message = f"Charge {charge['id']} cannot be refunded: it was not captured."
        raise invalid_request(message, "charge_not_refundable", "charge")
    return charge

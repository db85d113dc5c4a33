"""Builds the JSON objects: ids and every field that Stripe's objects carry, at their first value.

Owns: the shape. What changes them later is intents.py and refunds.py, and they replace the values
inside an object, never change them in place: equal parts are shared, and events keep old states.
"""

import functools
import secrets
import string

from .errors import doc_url

ALPHABET = string.ascii_letters + string.digits
API_VERSION = "2024-06-20"


def random_text(length):
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_id(prefix):
    """Ids of payments carry a 3 and others a 1 first, as Stripe's do; nothing may rely on it."""
    lead = {"pi": "3", "ch": "3", "py": "3", "re": "3"}.get(prefix, "1")
    return f"{prefix}_{lead}{random_text(23)}"


def payment_intent(now, values):
    intent_id = new_id("pi")
    automatic = values.get("automatic_payment_methods") or {}
    if automatic.get("enabled"):
        automatic = {"allow_redirects": automatic.get("allow_redirects", "always"), "enabled": True}
    else:
        automatic = None
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": values["amount"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": automatic,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": values.get("capture_method", "automatic"),
        "client_secret": f"{intent_id}_secret_{random_text(25)}",
        "confirmation_method": values.get("confirmation_method", "automatic"),
        "created": now,
        "currency": values["currency"],
        "customer": values.get("customer") or None,
        "description": values.get("description") or None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": values.get("metadata") or {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": values.get("payment_method_types") or ["card", "us_bank_account"],
        "processing": None,
        "receipt_email": values.get("receipt_email") or None,
        "review": None,
        "setup_future_usage": values.get("setup_future_usage") or None,
        "shipping": values.get("shipping") or None,
        "source": None,
        "statement_descriptor": values.get("statement_descriptor") or None,
        "statement_descriptor_suffix": values.get("statement_descriptor_suffix") or None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": values.get("transfer_group") or None,
    }


@functools.cache
def billing_details():
    names = ("city", "country", "line1", "line2", "postal_code", "state")
    address = {name: None for name in names}
    return {"address": address, "email": None, "name": None, "phone": None, "tax_id": None}


def payment_method(now, token):
    made = {
        "id": new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": billing_details(),
        "created": now,
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": token.kind,
    }
    made[token.kind] = card_or_bank(token)
    return made


@functools.cache
def card_or_bank(token):
    if token.kind == "us_bank_account":
        return {
            "account_holder_type": "individual",
            "account_type": "checking",
            "bank_name": "STRIPE TEST BANK",
            "fingerprint": "bank" + token.last4,
            "last4": token.last4,
            "routing_number": "110000000",
        }
    return {
        "brand": token.brand,
        "checks": {
            "address_line1_check": None,
            "address_postal_code_check": None,
            "cvc_check": "fail" if token.code == "incorrect_cvc" else "pass",
        },
        "country": "US",
        "display_brand": token.brand,
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": "card" + token.brand + token.last4,
        "funding": token.funding,
        "generated_from": None,
        "last4": token.last4,
        "networks": {"available": [token.brand], "preferred": None},
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def charge(now, intent, method, status, token, receipt_host):
    charge_id = new_id("ch" if method["type"] == "card" else "py")
    failed = status == "failed"
    details = {"type": method["type"], method["type"]: method[method["type"]]}
    return {
        "id": charge_id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": new_id("txn") if status == "succeeded" else None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "TILL SANDBOX",
        "captured": False,
        "created": now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": token.code if failed else None,
        "failure_message": token.message if failed else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": outcome(failed, token),
        "paid": status == "succeeded",
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": details,
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": f"{receipt_host}/receipts/{charge_id}",
        "refunded": False,
        "review": None,
        "shipping": intent["shipping"],
        "source": None,
        "source_transfer": None,
        "statement_descriptor": intent["statement_descriptor"],
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": status,
        "transfer_data": None,
        "transfer_group": intent["transfer_group"],
    }


def outcome(failed, token):
    blocked = token.decline_code == "fraudulent"
    return {
        "network_status": ("not_sent_to_network" if blocked else "declined_by_network")
        if failed
        else "approved_by_network",
        "reason": (token.decline_code or token.code) if failed else None,
        "risk_level": "highest" if blocked else "normal",
        "risk_score": 90 if blocked else 20,
        "seller_message": "The bank did not return any further details with this decline."
        if failed
        else "Payment complete.",
        "type": ("blocked" if blocked else "issuer_declined") if failed else "authorized",
    }


def payment_error(token, method, charge_id):
    """The value of last_payment_error, and with more around it the error of a 402."""
    error = {
        "charge": charge_id,
        "code": token.code,
        "doc_url": doc_url(token.code),
        "message": token.message,
        "payment_method": method,
        "type": "card_error",
    }
    if token.decline_code:
        error["decline_code"] = token.decline_code
    return error


def refund(now, paid, size, values):
    return {
        "id": new_id("re"),
        "object": "refund",
        "amount": size,
        "balance_transaction": new_id("txn"),
        "charge": paid["id"],
        "created": now,
        "currency": paid["currency"],
        "destination_details": {
            "card": {"reference_status": "pending", "reference_type": "acquirer_reference_number"},
            "type": "card",
        },
        "metadata": values.get("metadata") or {},
        "payment_intent": paid["payment_intent"],
        "reason": values.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def event(now, kind, subject, request_id, idempotency_key, pending):
    return {
        "id": new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": now,
        "data": {"object": subject},
        "livemode": False,
        "pending_webhooks": pending,
        "request": {"id": request_id, "idempotency_key": idempotency_key},
        "type": kind,
    }


def balance_transaction(source):
    """Of a charge or a refund, which takes away what a charge gave."""
    is_refund = source["object"] == "refund"
    amount = -source["amount"] if is_refund else source["amount_captured"]
    return {
        "id": source["balance_transaction"],
        "object": "balance_transaction",
        "amount": amount,
        "available_on": source["created"],
        "created": source["created"],
        "currency": source["currency"],
        "description": source.get("description"),
        "exchange_rate": None,
        "fee": 0,
        "fee_details": [],
        "net": amount,
        "reporting_category": "refund" if is_refund else "charge",
        "source": source["id"],
        "status": "available",
        "type": "refund" if is_refund else "charge",
    }


def customer(owner):
    """Any cus_... is one, of whom nothing is known."""
    return {
        "id": owner["customer"],
        "object": "customer",
        "created": owner["created"],
        "description": None,
        "email": None,
        "livemode": False,
        "metadata": {},
        "name": None,
    }

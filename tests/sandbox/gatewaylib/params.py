"""Checks decoded parameters against a schema and turns them into values.

Owns: the kinds a parameter can have and Stripe's wording for each refusal. A schema is a dict
name -> kind, a kind is a function (value, name) -> value. Everything refused here is a validation
failure, which is never saved under an Idempotency-Key.
"""

import json
import re

from .errors import bad_parameter

CURRENCIES = frozenset(
    "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp "
    "byn bzd cad cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip "
    "gmd gnf gtq gyd hkd hnl hrk htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd "
    "kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok "
    "npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos "
    "srd std szl thb tjs tnd top try ttd twd tzs uah ugx uyu uzs vnd vuv wst xaf xcd xof xpf yer "
    "zar zmw".split()
)


def check(schema, given, required=()):
    """The values of `given`; raises ApiError for the first thing that is wrong with it."""
    unknown = [name for name in given if name not in schema]
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        message = f"Received unknown parameter{plural}: {', '.join(unknown)}"
        raise bad_parameter(message, "parameter_unknown", unknown[0])
    for name in required:
        if name not in given:
            raise bad_parameter(f"Missing required param: {name}.", "parameter_missing", name)
        if given[name] == "":
            raise empty(name)
    return {name: schema[name](value, name) for name, value in given.items()}


def empty(name):
    return bad_parameter(
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset "
        f"a field; however '{name}' cannot be unset. You should remove '{name}' from your request "
        "or supply a non-empty value.",
        "parameter_invalid_empty",
        name,
    )


def integer(low, high=None):
    def kind(value, name):
        if not isinstance(value, str) or not re.fullmatch(r"[+-]?[0-9]{1,18}", value):
            shown = value if isinstance(value, str) else json.dumps(value)
            raise bad_parameter(f"Invalid integer: {shown}", "parameter_invalid_integer", name)
        number = int(value)
        if number < low:
            message = f"This value must be greater than or equal to {low}."
            raise bad_parameter(message, "parameter_invalid_integer", name)
        if high is not None and number > high:
            message = f"This value must be less than or equal to {high}."
            raise bad_parameter(message, "parameter_invalid_integer", name)
        return number

    return kind


def amount(value, name):
    number = integer(1)(value, name)
    if number > 99_999_999:
        message = "Amount must be no more than $999,999.99"
        raise bad_parameter(message, "amount_too_large", name)
    return number


def charge_amount(value, name):
    number = amount(value, name)
    if number < 50:
        raise bad_parameter("Amount must be at least $0.50 usd", "amount_too_small", name)
    return number


def currency(value, name):
    code = text()(value, name).lower()
    if code not in CURRENCIES:
        supported = ", ".join(sorted(CURRENCIES))
        raise bad_parameter(
            f"Invalid currency: {code}. Stripe currently supports these currencies: {supported}",
            param=name,
        )
    return code


def text(longest=5000):
    def kind(value, name):
        if not isinstance(value, str):
            raise bad_parameter(f"Invalid string: {json.dumps(value)}", param=name)
        if len(value) > longest:
            message = f"Invalid string: {value[:20]}...; must be at most {longest} characters"
            raise bad_parameter(message, "parameter_invalid_string", name)
        return value

    return kind


def needed_text(value, name):
    if value == "":
        raise empty(name)
    return text()(value, name)


def boolean(value, name):
    if value not in ("true", "false"):
        raise bad_parameter(f"Invalid boolean: {value}", param=name)
    return value == "true"


def boolean_or_text(value, name):
    return value == "true" if value in ("true", "false") else text()(value, name)


def one_of(*choices):
    def kind(value, name):
        if value not in choices:
            listed = ", ".join(choices[:-1]) + (", or " if len(choices) > 1 else "") + choices[-1]
            raise bad_parameter(f"Invalid {name}: must be one of {listed}", param=name)
        return value

    return kind


def text_list(value, name):
    if isinstance(value, dict) and all(key.isdigit() for key in value):
        ordered = sorted(value.items(), key=lambda item: int(item[0]))
        return [text()(item, f"{name}[{key}]") for key, item in ordered]
    if value == "":
        return []
    raise bad_parameter("Invalid array", param=name)


def metadata(value, name):
    if value == "":
        return None
    if not isinstance(value, dict):
        raise bad_parameter("Invalid hash", param=name)
    if len(value) > 50:
        raise bad_parameter("Metadata can have at most 50 keys.", param=name)
    for key, item in value.items():
        if len(key) > 40:
            message = f"Metadata keys must be at most 40 characters: '{key[:40]}...' is too long."
            raise bad_parameter(message, param=name)
        if not isinstance(item, str):
            raise bad_parameter(f"Metadata values must be strings: '{key}' is not.", param=name)
        if len(item) > 500:
            message = f"Metadata values must be at most 500 characters: '{key}' is too long."
            raise bad_parameter(message, param=f"{name}[{key}]")
    return value


def merge_metadata(old, new):
    """Stripe's update rule: given keys replace, an empty value removes, an empty hash clears."""
    if new is None:
        return {}
    merged = {**old, **new}
    return {key: value for key, value in merged.items() if value != ""}


def group(schema):
    def kind(value, name):
        if not isinstance(value, dict):
            raise bad_parameter("Invalid hash", param=name)
        for key in value:
            if key not in schema:
                full = f"{name}[{key}]"
                message = f"Received unknown parameter: {full}"
                raise bad_parameter(message, "parameter_unknown", full)
        return {key: schema[key](item, f"{name}[{key}]") for key, item in value.items()}

    return kind


def created_range(value, name):
    if isinstance(value, str):
        exact = integer(0)(value, name)
        return {"gte": exact, "lte": exact}
    bound = integer(0)
    return group({"gt": bound, "gte": bound, "lt": bound, "lte": bound})(value, name)


def anything(value, name):
    """Accepted for the clients' sake; the sandbox has no use for it."""
    return value

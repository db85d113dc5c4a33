"""The test tokens and what happens to a payment made with each.

Owns: this table. Tokens are Stripe's own names, so a test written against the sandbox says the
same thing against Stripe's test mode.
"""

from dataclasses import dataclass

PAID = "paid"
DECLINED = "declined"
ACTION = "action"
DELAYED = "delayed"
DELAYED_FAILURE = "delayed_failure"
PENDING = "pending"

PLAIN = "Your card was declined."


@dataclass(frozen=True)
class Token:
    outcome: str = PAID
    brand: str = "visa"
    last4: str = "4242"
    funding: str = "credit"
    kind: str = "card"
    code: str = None
    decline_code: str = None
    message: str = None


def declined(last4, decline_code, message=PLAIN, code="card_declined"):
    return Token(DECLINED, "visa", last4, code=code, decline_code=decline_code, message=message)


def bank(outcome, last4="6789", code=None, message=None):
    return Token(outcome, None, last4, None, "us_bank_account", code, None, message)


PROCESSING_ERROR = "An error occurred while processing your card. Try again in a little bit."

TOKENS = {
    "pm_card_visa": Token(),
    "pm_card_visa_debit": Token(last4="5556", funding="debit"),
    "pm_card_mastercard": Token(brand="mastercard", last4="4444"),
    "pm_card_mastercard_debit": Token(brand="mastercard", last4="8210", funding="debit"),
    "pm_card_mastercard_prepaid": Token(brand="mastercard", last4="5100", funding="prepaid"),
    "pm_card_amex": Token(brand="amex", last4="8431"),
    "pm_card_discover": Token(brand="discover", last4="9424"),
    "pm_card_diners": Token(brand="diners", last4="0005"),
    "pm_card_jcb": Token(brand="jcb", last4="0505"),
    "pm_card_unionpay": Token(brand="unionpay", last4="0005"),
    "pm_card_chargeDeclined": declined("0002", "generic_decline"),
    "pm_card_visa_chargeDeclined": declined("0002", "generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": declined(
        "9995", "insufficient_funds", "Your card has insufficient funds."
    ),
    "pm_card_visa_chargeDeclinedInsufficientFunds": declined(
        "9995", "insufficient_funds", "Your card has insufficient funds."
    ),
    "pm_card_chargeDeclinedLostCard": declined("9987", "lost_card"),
    "pm_card_visa_chargeDeclinedLostCard": declined("9987", "lost_card"),
    "pm_card_chargeDeclinedStolenCard": declined("9979", "stolen_card"),
    "pm_card_visa_chargeDeclinedStolenCard": declined("9979", "stolen_card"),
    "pm_card_chargeDeclinedFraudulent": declined("0019", "fraudulent"),
    "pm_card_chargeDeclinedVelocityLimitExceeded": declined("6975", "card_velocity_exceeded"),
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": declined("6975", "card_velocity_exceeded"),
    "pm_card_chargeDeclinedExpiredCard": declined(
        "0069", "expired_card", "Your card has expired.", "expired_card"
    ),
    "pm_card_chargeDeclinedIncorrectCvc": declined(
        "0127", "incorrect_cvc", "Your card's security code is incorrect.", "incorrect_cvc"
    ),
    "pm_card_chargeDeclinedProcessingError": declined(
        "0119", "processing_error", PROCESSING_ERROR, "processing_error"
    ),
    "pm_card_authenticationRequired": Token(ACTION, last4="3184"),
    "pm_card_authenticationRequiredOnSetup": Token(ACTION, last4="3155"),
    "pm_card_threeDSecure2Required": Token(ACTION, last4="3220"),
    "pm_card_threeDSecureRequired": Token(ACTION, last4="3063"),
    "pm_usBankAccount_success": bank(DELAYED),
    "pm_usBankAccount_processing": bank(PENDING, "0000"),
    "pm_usBankAccount_accountClosed": bank(
        DELAYED_FAILURE, "1116", "account_closed", "The bank account has been closed."
    ),
    "pm_usBankAccount_insufficientFunds": bank(
        DELAYED_FAILURE, "2227", "insufficient_funds", "The account has insufficient funds."
    ),
}

# What a card form turns a card into: only for POST /v1/payment_methods with card[token].
CARD_TOKENS = {
    "tok_visa": "pm_card_visa",
    "tok_visa_debit": "pm_card_visa_debit",
    "tok_mastercard": "pm_card_mastercard",
    "tok_amex": "pm_card_amex",
    "tok_chargeDeclined": "pm_card_chargeDeclined",
    "tok_chargeDeclinedInsufficientFunds": "pm_card_chargeDeclinedInsufficientFunds",
    "tok_chargeDeclinedExpiredCard": "pm_card_chargeDeclinedExpiredCard",
}

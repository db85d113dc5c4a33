"""Stripe's error objects.

Owns: the one exception that every refusal travels in, its JSON, and makers for the common kinds.
`saved` says whether the answer is kept under the Idempotency-Key: what failed validation or never
began to run is not, what ran (a decline, a missing object, a wrong state) is.
"""


class ApiError(Exception):
    def __init__(self, status, kind, message, code=None, param=None, saved=True, **more):
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.code = code
        self.param = param
        self.saved = saved
        self.headers = more.pop("headers", {})
        self.more = more

    def body(self, request_id):
        error = dict(self.more)
        if self.code:
            error["code"] = self.code
            error["doc_url"] = doc_url(self.code)
        error["message"] = self.message
        if self.param:
            error["param"] = self.param
        error["request_log_url"] = f"https://dashboard.stripe.com/test/logs/{request_id}"
        error["type"] = self.kind
        return {"error": error}


def doc_url(code):
    return "https://stripe.com/docs/error-codes/" + code.replace("_", "-")


def bad_parameter(message, code=None, param=None):
    """Refused by validation: never saved under the key."""
    return ApiError(400, "invalid_request_error", message, code, param, saved=False)


def invalid_request(message, code=None, param=None, **more):
    """Refused while running."""
    return ApiError(400, "invalid_request_error", message, code, param, **more)


def missing_in_path(kind, object_id, param="id"):
    message = f"No such {kind}: '{object_id}'"
    return ApiError(404, "invalid_request_error", message, "resource_missing", param)


def missing_in_body(kind, object_id, param):
    return invalid_request(f"No such {kind}: '{object_id}'", "resource_missing", param)


def unauthorized(message):
    headers = {"WWW-Authenticate": 'Bearer realm="Stripe"'}
    return ApiError(401, "invalid_request_error", message, saved=False, headers=headers)


def unknown_route(method, path):
    message = (
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we "
        "can help at https://support.stripe.com/."
    )
    return ApiError(404, "invalid_request_error", message, saved=False)


def key_in_use(key):
    message = (
        "There is currently another in-progress request using this Idempotent Key (that probably "
        "means you submitted twice, and the other request is still going through): "
        f"{key}. Please try again later."
    )
    headers = {"Stripe-Should-Retry": "true"}
    return ApiError(
        409, "idempotency_error", message, "idempotency_key_in_use", saved=False, headers=headers
    )

"""Idempotency-Key: the first answer again, whatever it was.

Owns: which keys are running, which are finished, and when they are forgotten (24 h after their
first use, by the ledger's clock). Does not decide which answers are saved: stripe_api.py does.
Every method is called with the ledger's lock held.
"""

import hashlib
import json

from .errors import ApiError, bad_parameter, key_in_use

LIFETIME = 24 * 3600
LONGEST = 255


class Keys:
    def __init__(self, ledger):
        self.ledger = ledger
        self.running = set()

    def begin(self, key, path, params):
        """The saved answer {status, body, request_id}, or None: then the key is ours to run."""
        if not key or len(key) > LONGEST:
            raise bad_parameter(
                f"Idempotency keys must be between 1 and {LONGEST} characters long. "
                f"The provided key was {len(key)} characters long."
            )
        if key in self.running:
            raise key_in_use(key)
        saved = self.ledger["idempotency_key"].get(key)
        if saved and self.ledger.clock.now() - saved["created"] >= LIFETIME:
            self.ledger.remove("idempotency_key", key)
            saved = None
        if not saved:
            self.running.add(key)
            return None
        if saved["path"] != path:
            paths = f"('{path}' vs '{saved['path']}')"
            raise reused(key, f"for the same endpoint they were first used for {paths}")
        if saved["fingerprint"] != fingerprint(params):
            raise reused(key, "with the same parameters they were first used with")
        return saved

    def save(self, key, path, params, status, body, request_id):
        self.running.discard(key)
        entry = {
            "id": key,
            "created": self.ledger.clock.now(),
            "path": path,
            "fingerprint": fingerprint(params),
            "status": status,
            "body": body,
            "request_id": request_id,
        }
        self.ledger.put("idempotency_key", entry)

    def give_up(self, key):
        """The request ended without an answer worth keeping; the key is as good as unused."""
        self.running.discard(key)


def fingerprint(params):
    canonical = json.dumps(params, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def reused(key, how):
    message = (
        f"Keys for idempotent requests can only be used {how}. "
        f"Try using a key other than '{key}' if you meant to execute a different request."
    )
    return ApiError(400, "idempotency_error", message, saved=False)

"""Payments by bank debit: some time after the request, the bank answers.

Owns: which processing payments are waiting for that and when it comes, by the ledger's clock, so
that advancing the clock brings it at once. What the answer does is intents.settle().
"""

import threading

from . import intents
from .stripe_api import Call

POLL = 0.02


class Settlement:
    def __init__(self, gateway, seconds):
        self.gateway = gateway
        self.seconds = seconds
        self.waiting = {}
        self.changed = threading.Condition()

    def start(self):
        with self.gateway.ledger.lock:
            intents_left = [
                intent["id"]
                for intent in self.gateway.ledger["payment_intent"].values()
                if intent["status"] == "processing"
            ]
        for intent_id in intents_left:
            self.later(intent_id)
        threading.Thread(target=self.run, daemon=True).start()

    def later(self, intent_id):
        with self.changed:
            self.waiting[intent_id] = self.gateway.ledger.clock.now() + self.seconds
            self.changed.notify_all()

    def run(self):
        while True:
            for intent_id in self.next_due():
                self.settle(intent_id)

    def next_due(self):
        with self.changed:
            while True:
                now = self.gateway.ledger.clock.now()
                due = [intent_id for intent_id, at in self.waiting.items() if at <= now]
                for intent_id in due:
                    del self.waiting[intent_id]
                if due:
                    return due
                self.changed.wait(POLL if self.waiting else None)

    def settle(self, intent_id):
        ledger = self.gateway.ledger
        with ledger.lock:
            intent = ledger["payment_intent"].get(intent_id)
            if intent is None or intent["status"] != "processing":
                return
            call = Call(self.gateway, None, {})
            intents.settle(call, intent)
            ledger.commit()
        self.gateway.webhooks.deliver(call.events)

"""The memory of the gateway: its clock, its objects, who was charged, and the journal on disk.

Owns: the one lock under which anything changes. A change is made under the lock, marked by put(),
and written by commit() in a single append before the request is answered, so a charge and the
answer saved under its key are either both in the journal or both not. A torn last line, the
trace of a kill in the middle of a write, is dropped at the next start. There is no fsync: the
journal has to survive a kill of the gateway, not of the machine.
"""

import json
import os
import threading
import time

TABLES = (
    "payment_intent",
    "charge",
    "payment_method",
    "method_token",
    "refund",
    "event",
    "charge_key",
    "idempotency_key",
)


class Clock:
    """Wall time plus what a test has advanced it by."""

    def __init__(self):
        self.offset = 0.0

    def now(self):
        return time.time() + self.offset

    def seconds(self):
        return int(self.now())


class Ledger:
    def __init__(self, state_file=None):
        self.lock = threading.RLock()
        self.clock = Clock()
        self.state_file = state_file
        self.changed = {}
        self.tables = {name: {} for name in TABLES}
        self.file = None
        if state_file:
            self.load()
            self.file = os.open(state_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __getitem__(self, table):
        return self.tables[table]

    def put(self, table, thing):
        """Adds or marks as changed; the caller holds the lock."""
        self.tables[table][thing["id"]] = thing
        self.changed[table, thing["id"]] = thing

    def remove(self, table, thing_id):
        self.tables[table].pop(thing_id, None)
        self.changed[table, thing_id] = None

    def commit(self):
        """Writes what changed since the last commit; the caller holds the lock."""
        changed, self.changed = self.changed, {}
        if self.file is None or not changed:
            return
        lines = [
            json.dumps([table, thing_id, thing]) + "\n"
            for (table, thing_id), thing in changed.items()
        ]
        data = "".join(lines).encode()
        while data:
            data = data[os.write(self.file, data) :]

    def load(self):
        try:
            with open(self.state_file, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self.state_file, whole)
        for line in data[:whole].splitlines():
            table, thing_id, thing = json.loads(line)
            if thing is None:
                self.tables[table].pop(thing_id, None)
            else:
                self.tables[table][thing_id] = thing

    def clear(self):
        with self.lock:
            self.changed = {}
            for table in self.tables.values():
                table.clear()
            self.clock.offset = 0.0
            if self.file is not None:
                os.ftruncate(self.file, 0)

    def report(self):
        """The truth of who was charged: one entry for each charge that was ever tried."""
        with self.lock:
            keys = self.tables["charge_key"]
            charges = [
                {
                    "id": charge["id"],
                    "payment_intent": charge["payment_intent"],
                    "amount": charge["amount"],
                    "amount_captured": charge["amount_captured"],
                    "amount_refunded": charge["amount_refunded"],
                    "captured": charge["captured"],
                    "currency": charge["currency"],
                    "status": charge["status"],
                    "idempotency_key": keys[charge["id"]]["idempotency_key"],
                    "metadata": charge["metadata"],
                    "created": charge["created"],
                    "refunded": charge["refunded"],
                }
                for charge in self.tables["charge"].values()
            ]
        return charges

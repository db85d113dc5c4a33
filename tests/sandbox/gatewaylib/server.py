"""HTTP/1.1 on a socket: reads requests, sends answers, and keeps the list of what was seen.

Owns: framing, the headers on every answer, and the request log. One thread a connection. What is
answered comes from stripe_api.py or admin.py; what goes wrong on purpose from spoil.py.
"""

import http.server
import itertools
import json
import select
import socket
import socketserver
import threading
import time
from email.utils import formatdate
from http import HTTPStatus

from . import admin, form, objects, spoil

MAX_BODY = 1 << 20
LOGGED_HEADERS = (
    "connection",
    "content-type",
    "expect",
    "stripe-version",
    "traceparent",
    "tracestate",
    "user-agent",
)
MAX_LOG = 50_000


class RequestLog:
    """Each API request that arrived, in order; the oldest go once there are very many."""

    def __init__(self):
        self.lock = threading.Lock()
        self.clear()

    def clear(self):
        with self.lock:
            self.entries = []
            self.total = 0

    def add(self, entry):
        with self.lock:
            self.total += 1
            entry["n"] = self.total
            self.entries.append(entry)
            if len(self.entries) > MAX_LOG:
                del self.entries[: MAX_LOG // 2]

    def shown(self):
        with self.lock:
            return [dict(entry) for entry in self.entries]


class Request:
    def __init__(self, handler, body):
        self.method = handler.command
        self.path, _, self.query = handler.path.partition("?")
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body_text = body.decode("utf-8", "surrogateescape")
        self.request_id = "req_" + objects.random_text(14)
        self.idempotency_key = self.headers.get("idempotency-key")
        self.given = form.decode_lenient(self.query if self.method == "GET" else self.body_text)
        self.log = {
            "time": time.time(),
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "params": self.given,
            "idempotency_key": self.idempotency_key,
            "request_id": self.request_id,
            "connection": handler.connection_number,
            "request_on_connection": handler.requests_here,
            "headers": {
                name: value
                for name, value in ((name.lower(), value) for name, value in self.headers.items())
                if name in LOGGED_HEADERS or name.startswith("x-")
            },
            "fault": None,
            "status": None,
            "replayed": False,
            "outcome": "running",
        }


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 300

    def setup(self):
        super().setup()
        self.gateway = self.server.gateway
        self.connection_number = next(self.server.connection_numbers)
        self.requests_here = 0

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def log_message(self, *args):
        """Nothing on stderr: GET /_sandbox/requests is the log."""

    def serve(self):
        body = self.read_body()
        if body is None:
            return
        if self.path.startswith("/_sandbox"):
            self.serve_admin(body)
            return
        self.requests_here += 1
        request = Request(self, body)
        self.gateway.log.add(request.log)
        try:
            self.serve_api(request)
        except spoil.Dropped as dropped:
            request.log["outcome"] = str(dropped)
            self.close_connection = True
        except (ConnectionError, TimeoutError):
            request.log["outcome"] = "client gone"
            self.close_connection = True

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do_OPTIONS = serve

    def serve_api(self, request):
        fault = self.gateway.faults.pick(request)
        if fault:
            request.log["fault"] = {"id": fault.id, "action": fault.action}
            if fault.is_before():
                time.sleep(fault.delay())
                request.log["outcome"] = spoil.before(self, request, fault)
                return
        stages = spoil.Stages(self.gateway.faults, request, fault)
        answer = stages.after_answer(self.gateway.api.answer(request, stages))
        request.log["replayed"] = answer.replayed
        outcome = spoil.after(self, request, fault, answer) if fault else None
        if outcome is None:
            self.send_answer(request, answer)
            outcome = "answered"
        request.log["outcome"] = outcome

    def serve_admin(self, body):
        status, result = admin.answer(self, self.command, self.path.partition("?")[0], body)
        data = json.dumps(result).encode() + b"\n"
        self.send(status, {"Content-Type": "application/json"}, data)

    def read_body(self):
        """The whole body, or None when the request was refused for its framing."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit():
            return self.refuse(411, "This server needs a Content-Length.")
        if int(length) > MAX_BODY:
            return self.refuse(413, "The request is too large.")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        return body

    def refuse(self, status, message):
        self.close_connection = True
        error = {"error": {"message": message, "type": "invalid_request_error"}}
        self.send(status, {"Content-Type": "application/json"}, json.dumps(error).encode())

    def send_answer(self, request, answer):
        if self.client_is_gone():
            raise ConnectionResetError
        # Logged first: whoever has the answer may look at the log at once.
        request.log["status"] = answer.status
        request.log["outcome"] = "answered"
        self.connection.sendall(self.head(request, answer) + answer.body)

    def client_is_gone(self):
        """True once the client has closed, which a write alone would not notice in time."""
        readable = select.poll()
        readable.register(self.connection, select.POLLIN)
        return bool(readable.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)

    def head(self, request, answer):
        """The head of an answer, with the headers that Stripe puts on every one."""
        request.log["status"] = answer.status
        headers = {
            "Content-Type": "application/json",
            "Cache-Control": "no-cache, no-store",
            "Request-Id": request.request_id,
            "Stripe-Version": request.headers.get("stripe-version", objects.API_VERSION),
        }
        if request.idempotency_key is not None:
            headers["Idempotency-Key"] = request.idempotency_key
        headers.update(answer.headers)
        return self.head_bytes(answer.status, headers, len(answer.body))

    def send(self, status, headers, body):
        self.connection.sendall(self.head_bytes(status, headers, len(body)) + body)

    def head_bytes(self, status, headers, length):
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {status} {phrase}", "Server: nginx", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if "Content-Length" not in headers and "Transfer-Encoding" not in headers:
            lines.append(f"Content-Length: {length}")
        lines.append("Connection: " + ("close" if self.close_connection else "keep-alive"))
        return "\r\n".join(lines + ["", ""]).encode("latin-1", "replace")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def __init__(self, gateway, host, port):
        self.gateway = gateway
        self.connection_numbers = itertools.count(1)
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), Handler)

    def shutdown_request(self, request):
        """Without the shutdown() of the base class, which would spoil a deliberate reset."""
        self.close_request(request)

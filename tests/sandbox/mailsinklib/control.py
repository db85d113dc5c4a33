"""The control interface of the mail sink: HTTP and JSON on its own port.

Owns: its routes. What they read and change is in box.py and faults.py.
"""

import http.server
import json
import socketserver
import threading

from .faults import Refused


STOP_POLL = 0.05  # how long the end of the server may go unnoticed, in seconds


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        """Nothing on stderr."""

    def serve(self):
        length = self.headers.get("Content-Length", "0")
        body = self.rfile.read(int(length)) if length.isdigit() else b""
        path = self.path.partition("?")[0]
        try:
            values = json.loads(body) if body.strip() else {}
            status, result = self.route(path, values)
        except (Refused, ValueError) as refused:
            status, result = 400, {"error": str(refused)}
        if isinstance(result, bytes):
            self.reply(status, "message/rfc822", result)
        else:
            self.reply(status, "application/json", json.dumps(result).encode() + b"\n")

    do_GET = do_POST = do_DELETE = serve

    def route(self, path, values):
        box, faults = self.server.box, self.server.faults
        asked = (self.command, path)
        if asked == ("GET", "/mails"):
            mails = box.shown()
            return 200, {"count": len(mails), "mails": mails}
        if self.command == "GET" and path.startswith("/mails/after/") and path[13:].isdigit():
            mails = box.brief(int(path[13:]))
            return 200, {"count": len(mails), "mails": mails}
        if asked == ("DELETE", "/mails"):
            box.clear()
            return 200, {}
        if self.command == "GET" and path.startswith("/mails/") and path[7:].isdigit():
            raw = box.raw(int(path[7:]))
            return (200, raw) if raw is not None else (404, {"error": f"no mail {path[7:]}"})
        if asked == ("POST", "/faults"):
            faults.add(values)
            return 200, {"faults": faults.shown()}
        if asked == ("GET", "/faults"):
            return 200, {"faults": faults.shown()}
        if asked == ("DELETE", "/faults"):
            faults.clear()
            return 200, {"faults": []}
        if asked == ("GET", "/held"):
            mails = faults.held_now()
            return 200, {"held": len(mails), "mails": mails}
        if asked == ("POST", "/release"):
            return 200, {"released": release(faults, values)}
        return 404, {"error": f"no {self.command} {path}"}

    def reply(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def release(faults, values):
    if not isinstance(values, dict) or values.get("action", "continue") not in ("continue", "drop"):
        raise Refused("expected {'count': n, 'action': 'continue' or 'drop'}, both optional")
    return faults.release(values.get("count"), values.get("action", "continue"))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


def start_control(host, port, box, faults):
    server = Server((host, port), Handler)
    server.box = box
    server.faults = faults
    threading.Thread(target=server.serve_forever, args=(STOP_POLL,), daemon=True).start()
    return server

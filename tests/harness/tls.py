"""Servers behind real TLS that go wrong where TLS can: certificates of our own, a front of the gateway
and a front of the mail server.

    papers = Papers(folder)                              # an authority and what it has signed
    front = GatewayFront(papers, ("127.0.0.1", one.gateway.port))
    ... GATEWAY_URL=https://localhost:{front.port} GATEWAY_CA_FILE={papers.authority}
    front.mode = "expired"

| mode of both | what a client meets from then on |
|---|---|
| good | TLS with a valid certificate, and the server behind it |
| expired, wrong_name, stranger | a certificate that is over, of another host, of an unknown authority |
| old | TLS 1.1 at most |
| refused | the alert that ends a handshake before it began |
| reset | a reset in the middle of the handshake: half of what the server says in it has come |
| silent | the handshake is begun and never answered |
| clear | an answer without TLS where the handshake should be |

The gateway's also has `lost_answer`: the request arrives, the connection is reset in place of the
answer. The mail server's has `no_starttls`: it offers none; `refuses_starttls`: 454; `injected`: answers
in clear right behind the 220, for the time after the handshake; `wrong_password`: 535, and 530 to the mail.
"""

import base64
import os
import socket
import ssl
import struct
import subprocess
import threading

PIECE = 65536
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: closing resets
HANDSHAKE_FAILURE = bytes.fromhex("15030300020228")
CERTIFICATES = ("good", "expired", "wrong_name", "stranger")


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


class Papers:
    """`authority` is what a client shall trust; context(kind) is a server's side."""

    def __init__(self, folder):
        self.folder = folder
        self.authority = os.path.join(folder, "authority.pem")
        self.make_authority("authority", "/CN=Authority of this test")
        self.make_authority("other", "/CN=Nobody knows it")
        self.make("good", "localhost", "authority")
        self.make("expired", "localhost", "authority", days=-1)
        self.make("wrong_name", "elsewhere.example", "authority")
        self.make("stranger", "localhost", "other")

    def make_authority(self, name, subject):
        command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        openssl(self.folder, *command.split(), "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.pem")

    def make(self, name, host, authority, days=2):
        with open(os.path.join(self.folder, "names"), "w", encoding="ascii") as file:
            file.write(f"subjectAltName=DNS:{host}\n")
        command = f"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={host}"
        openssl(self.folder, *command.split(), "-keyout", f"{name}.key", "-out", "request")
        command = f"x509 -req -in request -CA {authority}.pem -CAkey {authority}.key -CAcreateserial"
        openssl(self.folder, *command.split(), "-days", str(days), "-extfile", "names", "-out", f"{name}.pem")

    def context(self, kind):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        name = kind if kind in CERTIFICATES else "good"
        made.load_cert_chain(os.path.join(self.folder, f"{name}.pem"), os.path.join(self.folder, f"{name}.key"))
        if kind == "old":
            made.set_ciphers("DEFAULT:@SECLEVEL=0")
            made.minimum_version = ssl.TLSVersion.TLSv1
            made.maximum_version = ssl.TLSVersion.TLSv1_1
        return made


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


def pump(source, sink):
    try:
        while data := source.recv(PIECE):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except (OSError, ValueError):
        pass


class Front:
    """Accepts on a port of its own; a thread for each connection. `target` is (host, port)."""

    def __init__(self, papers, target):
        self.papers = papers
        self.target = target
        self.mode = "good"
        self.met = []  # the mode of each connection that came
        self.open = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.ended = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.ended.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(60)
            threading.Thread(target=self.guard, args=(connection, self.mode), daemon=True).start()

    def guard(self, connection, mode):
        """The client may hang up at any step: that is what most modes are about."""
        self.open.add(connection)
        self.met.append(mode)
        try:
            self.serve(connection, mode)
        except (OSError, ValueError):
            pass
        finally:
            self.open.discard(connection)
            connection.close()

    def close(self):
        self.ended.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.open):
            connection.close()

    # ---- the handshake ----

    def handshake(self, connection, mode):
        """The connection within TLS, or None when the mode does not let it come to that."""
        if mode == "reset":
            return self.half_handshake(connection)
        if mode == "silent":
            self.ended.wait(60)
        elif mode == "refused":
            connection.recv(PIECE)
            connection.sendall(HANDSHAKE_FAILURE)
        elif mode == "clear":
            connection.recv(PIECE)
            connection.sendall(self.words_in_clear)
        else:
            return self.papers.context(mode).wrap_socket(connection, server_side=True)
        return None

    def half_handshake(self, connection):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = self.papers.context("good").wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(connection.recv(PIECE))
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            pass
        said = outgoing.read()
        connection.sendall(said[: len(said) // 2])
        reset(connection)

    def relay(self, connection, behind):
        back = threading.Thread(target=pump, args=(behind, connection), daemon=True)
        back.start()
        pump(connection, behind)
        back.join(60)


class GatewayFront(Front):
    words_in_clear = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"

    def serve(self, connection, mode):
        inside = self.handshake(connection, mode)
        if not inside:
            return
        with socket.create_connection(self.target, timeout=60) as behind:
            if mode == "lost_answer":
                behind.sendall(inside.recv(PIECE))
                behind.recv(PIECE)
                reset(inside)
            else:
                self.relay(inside, behind)


class MailFront(Front):
    """Speaks for the mail server until a mail begins. `clear`: what clients said without TLS,
    `passwords`: what they gave as user and password within it."""

    words_in_clear = b"500 5.5.1 Not a command\r\n"

    def __init__(self, papers, target):
        super().__init__(papers, target)
        self.clear = []
        self.passwords = []

    def serve(self, connection, mode):
        connection.sendall(b"220 mail.example ESMTP\r\n")
        lines = connection.makefile("rb", buffering=0)
        while line := lines.readline():
            self.clear.append(line)
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"EHLO":
                offers = b"" if mode == "no_starttls" else b"250-STARTTLS\r\n"
                connection.sendall(b"250-mail.example\r\n" + offers + b"250 AUTH PLAIN\r\n")
            elif verb == b"STARTTLS" and mode == "refuses_starttls":
                connection.sendall(b"454 4.7.0 TLS not available\r\n")
            elif verb == b"STARTTLS":
                more = b"250-mail.example\r\n250 AUTH PLAIN\r\n235 2.7.0 ok\r\n" if mode == "injected" else b""
                connection.sendall(b"220 2.0.0 go ahead\r\n" + more)
                inside = self.handshake(connection, mode)
                if inside:
                    self.serve_inside(inside, mode)
                return
            elif verb == b"QUIT":
                connection.sendall(b"221 2.0.0 bye\r\n")
                return
            else:  # a server that asks for nothing takes everything
                connection.sendall(b"235 2.7.0 ok\r\n" if verb == b"AUTH" else b"250 2.0.0 ok\r\n")

    def serve_inside(self, inside, mode):
        lines = inside.makefile("rb", buffering=0)
        while line := lines.readline():
            verb = line.split()[0].upper()
            if verb == b"EHLO":
                inside.sendall(b"250-mail.example\r\n250 AUTH PLAIN\r\n")
            elif verb == b"AUTH":
                _, _, *given = line.split()
                if not given:
                    inside.sendall(b"334 \r\n")
                    given = [lines.readline().strip()]
                self.passwords.append(base64.b64decode(given[0]).split(b"\0")[1:])
                right = mode != "wrong_password"
                inside.sendall(b"235 2.7.0 ok\r\n" if right else b"535 5.7.8 wrong user or password\r\n")
            elif verb == b"MAIL" and mode == "wrong_password":
                inside.sendall(b"530 5.7.0 authentication required\r\n")
            elif verb == b"MAIL":
                self.hand_over(inside, line)
                return
            else:
                inside.sendall(b"221 2.0.0 bye\r\n" if verb == b"QUIT" else b"250 2.0.0 ok\r\n")

    def hand_over(self, inside, line):
        """From here on the mail server itself speaks."""
        with socket.create_connection(self.target, timeout=60) as behind:
            answers = behind.makefile("rb", buffering=0)
            answers.readline()
            behind.sendall(b"EHLO front.example\r\n")
            while answers.readline()[3:4] == b"-":
                pass
            behind.sendall(line)
            self.relay(inside, behind)

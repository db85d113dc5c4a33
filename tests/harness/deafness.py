"""A proxy in front of Redis whose connections can go deaf: the commands that read streams are
answered with nothing, as by a server that was failed over behind somebody's back, while everything
else goes through. New connections hear."""

import os
import socket
import threading

from .wait import pause


class DeafProxy:
    def __init__(self, folder, target):
        self.path = os.path.join(folder, "deaf.sock")
        self.target = target
        self.connections = []
        self.swallowed = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        os.chmod(self.path, 0o777)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def url(self):
        return f"unix://{self.path}"

    def go_deaf(self):
        """From here on the connections that exist now hear no entries."""
        for connection in self.connections:
            connection.is_deaf = True

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(Connection(self, client))

    def stop(self):
        self.listener.close()
        for connection in self.connections:
            connection.close()


class Connection:
    def __init__(self, proxy, client):
        self.proxy = proxy
        self.is_deaf = False
        self.client = client
        self.server = socket.socket(socket.AF_UNIX)
        self.server.connect(proxy.target)
        self.rest = b""
        threading.Thread(target=self.forward, daemon=True).start()
        threading.Thread(target=self.answer, daemon=True).start()

    def close(self):
        for end in (self.client, self.server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def answer(self):
        try:
            while data := self.server.recv(65536):
                self.client.sendall(data)
        except OSError:
            pass
        self.close()

    def more(self):
        data = self.client.recv(65536)
        if not data:
            raise EOFError
        self.rest += data

    def line(self):
        while b"\r\n" not in self.rest:
            self.more()
        line, self.rest = self.rest.split(b"\r\n", 1)
        return line

    def word(self):
        size = int(self.line()[1:])
        while len(self.rest) < size + 2:
            self.more()
        word, self.rest = self.rest[:size], self.rest[size + 2 :]
        return word

    def forward(self):
        """One command after the other, each an array of words."""
        try:
            while True:
                words = [self.word() for _ in range(int(self.line()[1:]))]
                if self.is_deaf and words[0].upper() == b"XREADGROUP":
                    self.swallow(words)
                else:
                    parts = [b"*%d\r\n" % len(words)]
                    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
                    self.server.sendall(b"".join(parts))
        except (OSError, EOFError):
            pass
        self.close()

    def swallow(self, words):
        self.proxy.swallowed += 1
        if b"BLOCK" in words:
            pause(int(words[words.index(b"BLOCK") + 1]) / 1000)
        self.client.sendall(b"*-1\r\n")

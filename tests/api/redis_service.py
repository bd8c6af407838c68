# SPDX-License-Identifier: Apache-2.0
"""
Redis for the tests of the shared limiter: the real one is tests/services/redis.py; here is one that misbehaves.
"""
import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import services  # noqa: E402 (the path comes first)

Missing, Redis = services.Missing, services.Redis


class FakeRedis:
    """Speaks as much RESP as the limiter's link needs. answer(words) gives the bytes for one command; None leaves it,
    and all that follows on that connection, unanswered."""

    def __init__(self, answer=None):
        self.answer = answer or well_behaved
        self.seen = []
        self.lock = threading.Lock()
        self.connections = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept, daemon=True)]
        self.threads[0].start()

    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        stream = connection.makefile("rb")
        is_silent = False
        try:
            while head := stream.readline():
                words = []
                for _ in range(int(head[1:])):
                    size = int(stream.readline()[1:])
                    words.append(stream.read(size + 2)[:-2].decode("latin-1"))
                with self.lock:
                    self.seen.append(words)
                reply = None if is_silent else self.answer(words)
                is_silent = reply is None
                if not is_silent:
                    connection.sendall(reply)
        except (OSError, ValueError):
            pass

    def commands(self):
        """The first words of all commands so far."""
        with self.lock:
            return [words[0] for words in self.seen]

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for connection in self.connections:
                connection.close()


def well_behaved(words):
    """Lets everybody in and allows every attempt."""
    if words[0] == "SCRIPT":
        return b"$40\r\n" + b"0123456789" * 4 + b"\r\n"
    return b":1\r\n" if words[0] in ("EVALSHA", "EVAL") else b"+OK\r\n"


def is_probe(words):
    return words[0] == "EVALSHA" and "probe" in words[3]

# SPDX-License-Identifier: Apache-2.0
"""A private Redis server: keeps nothing on disk."""
import socket

from . import process

ANSWER_SECONDS = 30
ANSWER_BYTES_MAX = 1 << 20


def check():
    process.program("redis-server", "redis-server")


class Redis(process.Service):
    """password: what clients have to say first, None for nothing. A restart forgets everything."""
    name = "redis"

    def __init__(self, password=None, **settings):
        check()
        super().__init__()
        self.port = process.free_port()
        self.password = password
        self.settings = {"bind": "127.0.0.1", "port": self.port, "dir": self.directory, "save": "", **settings}
        if password is not None:
            self.settings["requirepass"] = password

    def command(self):
        return [process.program("redis-server", "redis-server"),
            *(word for name, value in self.settings.items() for word in ("--" + name.replace("_", "-"), value))]

    def url(self, database=0):
        who = f":{self.password}@" if self.password is not None else ""
        return f"redis://{who}{self.address}/{database}"

    def ask(self, *words):
        """One command; the raw answer."""
        commands = [["AUTH", self.password]] if self.password is not None else []
        commands.append(words)
        with socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS) as connection:
            for command in commands:
                parts = [str(word).encode() for word in command]
                connection.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
                answer = connection.recv(ANSWER_BYTES_MAX)
        return answer

    def is_ready(self):
        try:
            return self.ask("PING").startswith(b"+PONG")
        except OSError:
            return False

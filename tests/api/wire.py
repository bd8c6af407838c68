# SPDX-License-Identifier: Apache-2.0
"""
HTTP/1.1 on a raw socket, strict about what it reads and careless about what it sends, so that tests see exactly
the bytes of the server and can send any bytes at all. A reply that is not well formed raises WireError.
"""
import json
import re
import socket
import time


class WireError(AssertionError):
    """The server sent something that is not HTTP/1.1 as it should be."""


class Closed(Exception):
    """The server closed the connection before a whole reply had come; `partial` holds what did come."""

    def __init__(self, partial):
        super().__init__(f"closed by the server after {bytes(partial)[:200]!r}")
        self.partial = bytes(partial)


STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9])(?: ([\x20-\x7e]*))?")
HEADER_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*")


class Reply:
    """One reply: status, headers as [(lower-case name, value)], body as bytes (None after HEAD)."""

    def __init__(self, status, headers, body=None):
        self.status = status
        self.headers = headers
        self.body = body

    def all(self, name):
        return [value for key, value in self.headers if key == name.lower()]

    def header(self, name):
        values = self.all(name)
        assert len(values) <= 1, f"header {name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode("utf-8")

    def json(self):
        return json.loads(self.text)

    @property
    def data(self):
        """The data of a success envelope."""
        value = self.json()
        assert value["success"] is True and list(value) == ["success", "data"], self
        return value["data"]

    @property
    def code(self):
        """The error code of a failure envelope, None for a success."""
        value = self.json()
        return None if value["success"] else value["error"]["code"]

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body!r}>"


def parse_head(head):
    lines = head.split(b"\r\n")
    match = STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise WireError(f"not a status line: {lines[0]!r}")
    headers = []
    for line in lines[1:]:
        field = HEADER_LINE.fullmatch(line)
        if field is None or b"\n" in line or b"\r" in line:
            raise WireError(f"not a header line: {line!r}")
        headers.append((field[1].decode("ascii").lower(), field[2].decode("latin-1")))
    return Reply(int(match[1]), headers)


def build(method, target, headers=None, body=None, host="127.0.0.1"):
    """The bytes of a request. Headers: mapping or pairs, str or bytes. A body gets a Content-Length unless the
    headers say how long it is; a str body is UTF-8, anything else that is not bytes becomes JSON with its type."""
    pairs = list(headers.items() if hasattr(headers, "items") else headers or [])
    names = {as_bytes(name).lower() for name, _ in pairs}
    if body is not None and not isinstance(body, (bytes, str)):
        body = json.dumps(body)
        if b"content-type" not in names:
            pairs.append(("Content-Type", "application/json"))
    if isinstance(body, str):
        body = body.encode("utf-8")
    if body is not None and not names & {b"content-length", b"transfer-encoding"}:
        pairs.append(("Content-Length", str(len(body))))
    if host is not None:
        pairs.insert(0, ("Host", host))
    lines = [as_bytes(method) + b" " + as_bytes(target) + b" HTTP/1.1"]
    lines += [as_bytes(name) + b": " + as_bytes(value) for name, value in pairs]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def as_bytes(text):
    return text if isinstance(text, bytes) else str(text).encode("latin-1")


def chunked(*parts):
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


class Connection:
    """A connection to the server. Everything waits at most `limit` seconds."""

    def __init__(self, port, limit=30.0, receive_buffer=None):
        self.limit = limit
        self.buffer = bytearray()
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(limit)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_end(self):
        self.socket.shutdown(socket.SHUT_WR)

    def fill(self):
        """Reads more; False at the end of the stream."""
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        self.buffer += data
        return len(data) > 0

    def take(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise Closed(self.buffer)
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def take_until(self, mark):
        while (at := self.buffer.find(mark)) < 0:
            if not self.fill():
                raise Closed(self.buffer)
        data = bytes(self.buffer[:at])
        del self.buffer[:at + len(mark)]
        return data

    def read_head(self):
        return parse_head(self.take_until(b"\r\n\r\n"))

    def read_reply(self, is_head=False):
        reply = self.read_head()
        if is_head or reply.status in (204, 304):
            return reply
        if reply.header("transfer-encoding") is not None:
            if reply.header("content-length") is not None or reply.header("transfer-encoding") != "chunked":
                raise WireError(f"unclear length: {reply}")
            reply.body = b"".join(iter(self.read_chunk, b""))
        elif reply.header("content-length") is None:
            raise WireError(f"a reply without a length: {reply}")
        else:
            reply.body = self.take(int(reply.header("content-length")))
        return reply

    def read_chunk(self):
        """One chunk; b"" for the last one."""
        size = self.take_until(b"\r\n")
        if re.fullmatch(rb"[0-9a-fA-F]{1,8}", size) is None:
            raise WireError(f"not a chunk size: {size!r}")
        data = self.take(int(size, 16))
        if self.take(2) != b"\r\n":
            raise WireError("no CRLF after a chunk")
        return data

    def ask(self, method, target, headers=None, body=None):
        self.send(build(method, target, headers, body))
        return self.read_reply(is_head=method == "HEAD")

    def is_over(self):
        """Whether the server has closed it already."""
        self.socket.settimeout(0)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.socket.settimeout(self.limit)

    def is_closed(self, seconds=30.0):
        """Whether the server ends the stream within that time and sends nothing more before."""
        self.socket.settimeout(seconds)
        try:
            return not self.buffer and not self.fill()
        except socket.timeout:
            return False
        finally:
            self.socket.settimeout(self.limit)

    def read_to_end(self):
        while self.fill():
            pass
        data = bytes(self.buffer)
        self.buffer.clear()
        return data


def ask(port, method, target, headers=None, body=None):
    """One request on a connection of its own."""
    with Connection(port) as connection:
        return connection.ask(method, target, headers, body)


def wait_for(condition, what, seconds=30.0, pause=0.01):
    """Polls until the condition returns something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: still not so after {seconds} s (last: {value!r})")
        time.sleep(pause)  # pause: between two polls

# SPDX-License-Identifier: Apache-2.0
"""
An HTTP server that keeps what is posted to it and answers as a test says: at once, late, with an error, or by hanging
up. It can go away, as a killed one does, and come back on the same port.
"""
import contextlib
import json
import socket
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

from . import process


class Post:
    """What came: path, headers, body; `at` is when, in seconds of the monotonic clock."""

    def __init__(self, path, headers, body):
        self.path, self.headers, self.body = path, headers, body
        self.at = time.monotonic()

    def json(self):
        return json.loads(self.body)

    @property
    def key(self):
        """The Idempotency-Key, as it was before it was percent-encoded; None without one."""
        key = self.headers["Idempotency-Key"]
        return None if key is None else unquote(key)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        post = Post(self.path, self.headers, self.rfile.read(int(self.headers["Content-Length"])))
        receiver = self.server.receiver
        with receiver.changed:
            receiver.posts.append(post)
            receiver.changed.notify_all()
        self.reply(receiver.answer(post))

    def reply(self, answer):
        """A status, or a status and headers; None hangs up."""
        if answer is None:
            self.close_connection = True
            return
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0" if status == 204 else "2")
        self.end_headers()
        if status != 204:
            self.wfile.write(b"{}")

    def log_message(self, *unused):
        pass


class HttpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, receiver, port):
        self.receiver = receiver
        self.connections = set()
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)

    def process_request(self, request, client_address):
        with self.lock:
            self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        with self.lock:
            self.connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self):
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address):
        """Somebody has gone in the middle of a request or of its answer, which is what tests do."""


class Receiver:
    """`answer(post)` says what a POST gets: a status, a status and headers, or None to hang up; it may wait before.
    `posts` is what came, in order."""

    def __init__(self, answer=lambda post: 200, path="/hook"):
        self.port = process.free_port()
        self.path = path
        self.answer = answer
        self.changed = threading.Condition()
        self.posts = []
        self.server = self.thread = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{self.path}"

    def start(self):
        self.server = HttpServer(self, self.port)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return self

    def stop(self):
        """As if it was killed: nobody listens any more, and every connection ends, whatever is under way on it."""
        if self.server is not None:
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()
            self.server.cut_connections()
        self.server = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def received(self, matches=lambda post: True):
        with self.changed:
            return [post for post in self.posts if matches(post)]

    def wait_posts(self, count, what, matches=lambda post: True, seconds=60.0):
        """The posts that match, once there are so many."""
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                found = [post for post in self.posts if matches(post)]
                if len(found) >= count:
                    return found
                left = end - time.monotonic()
                assert left > 0, f"{len(found)} of {count} after {seconds} s: {what}"
                self.changed.wait(min(left, 0.5))

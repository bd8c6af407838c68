# SPDX-License-Identifier: Apache-2.0
"""
A TCP proxy that makes the network bad. Clients connect to `address`; it connects to `target`.

What comes at time t leaves at t + delay: a line of constant length, on which any number of chunks is under way, not
a pause after each. With is_watching it also sees where PostgreSQL's messages begin and end, so that cut_at can cut
the line at a message: before it, right after it, or when it has been answered.

One thread does it all; what other threads ask for is handed to it by TcpProxy.call.
"""
import collections
import ctypes
import functools
import os
import selectors
import socket
import struct
import threading
import time

from .postgres_wire import Conversation
from .process import free_port

CHUNK_BYTES = 256 * 1024
FLIGHT_BYTES_MAX = 64 << 20  # when so much is under way on one line, reading waits
SOCKET_BYTES = 1 << 20
CALL_SECONDS = 30
ABORT = struct.pack("ii", 1, 0)  # SO_LINGER: close by RST
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
END = b""


class Trap:
    """Made by TcpProxy.cut_at; wait() until a connection has been in it."""

    def __init__(self, needle, when, then, skip):
        self.needle, self.when, self.then, self.skip = needle, when, then, skip
        self.event = threading.Event()

    def wait(self, seconds=30):
        assert self.event.wait(seconds), f"nothing with {self.needle!r} came within {seconds} s"

    @property
    def has_sprung(self):
        return self.event.is_set()


class Pipe:
    """One direction of a connection: reads from `source`, and what has arrived goes to `sink`."""

    def __init__(self, link, direction, source, sink):
        self.link, self.direction, self.source, self.sink = link, direction, source, sink
        self.flight = collections.deque()  # (when it arrives, bytes); END comes last
        self.flight_bytes = 0
        self.is_read_out = False  # the source has said its last word
        self.is_done = False      # and the sink has heard it
        self.is_lossy = False     # bytes were lost here: nothing more can come after them
        self.is_blocked = False   # the sink takes no more for now

    def read(self):
        try:
            data = self.source.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        if data == END:
            self.is_read_out = True
            self.put(END)
        elif self.link.proxy.is_watching:
            self.link.inspect(self.direction, data)
        else:
            self.put(data)

    def put(self, data):
        self.flight.append((time.monotonic() + self.link.proxy.delay_s[self.direction], data))
        self.flight_bytes += len(data)

    def wants_read(self):
        return not self.is_read_out and self.flight_bytes < FLIGHT_BYTES_MAX

    def due(self):
        """When there is something to write next, None when there is nothing that time would bring."""
        is_held = self.direction in self.link.proxy.held
        return None if not self.flight or self.is_blocked or is_held else self.flight[0][0]

    def write(self, now):
        """Writes what has arrived, as far as the sink takes it."""
        proxy = self.link.proxy
        while self.flight and self.flight[0][0] <= now and self.direction not in proxy.held:
            due, data = self.flight.popleft()
            self.flight_bytes -= len(data)
            if data == END:
                self.finish()
                return
            self.is_lossy = self.is_lossy or self.direction in proxy.swallowed
            if self.is_lossy:
                continue
            sent = self.send(data)
            proxy.bytes[self.direction] += sent
            if sent < len(data):
                self.flight.appendleft((due, memoryview(data)[sent:]))
                self.flight_bytes += len(data) - sent
                self.is_blocked = True
                return

    def send(self, data):
        try:
            return self.sink.send(data)
        except BlockingIOError:
            return 0

    def finish(self):
        self.is_done = True
        if not self.is_lossy:
            self.sink.shutdown(socket.SHUT_WR)


class Link:
    """A client's connection and ours to the target."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.is_connected = False
        self.to_server = Pipe(self, "to_server", client, server)
        self.to_client = Pipe(self, "to_client", server, client)
        self.conversation = Conversation()
        self.trap = None          # the one that this connection is in
        self.trap_request = None  # which of its requests that was, once all of it is on its way

    def handle(self, end, mask):
        if not self.is_connected:
            error = self.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise ConnectionError(error, "the target cannot be reached")
            self.is_connected = True
        reads, writes = (self.to_server, self.to_client) if end is self.client else (self.to_client, self.to_server)
        if mask & READ and reads.wants_read():
            reads.read()
        if mask & WRITE:
            writes.is_blocked = False

    def advance(self, now):
        """Writes what is due."""
        if not self.is_connected:
            return
        for pipe in (self.to_server, self.to_client):
            if not pipe.is_blocked:
                pipe.write(now)
        if self.trap is not None and self.trap.when == "before" and not self.to_server.flight:
            self.spring()
        elif self.trap_request is not None and self.trap.when == "sent" and not self.to_server.flight:
            self.spring()
        # A client that has closed wants no answer; a half-open connection serves nobody here.
        if self.to_server.is_done or self.to_client.is_done:
            if not any(pipe.flight and not pipe.is_lossy for pipe in (self.to_server, self.to_client)):
                self.proxy.drop(self)

    def masks(self):
        """What to wait for on the client's and on the server's socket."""
        if not self.is_connected:
            return 0, WRITE
        there, back = self.to_server, self.to_client
        return ((READ if there.wants_read() else 0) | (WRITE if back.is_blocked else 0),
            (READ if back.wants_read() else 0) | (WRITE if there.is_blocked else 0))

    def inspect(self, direction, data):
        """What was read goes on its way, up to the message that springs a trap."""
        if direction == "to_server":
            for message, is_end in self.conversation.feed_to_server(data):
                self.inspect_request(message, is_end)
        else:
            for message, is_end in self.conversation.feed_to_client(data):
                self.inspect_answer(message, is_end)

    def inspect_request(self, message, is_end):
        is_over = self.trap is not None and (self.trap.when == "before" or self.trap_request is not None)
        if is_over:
            return
        if self.trap is None:
            self.trap = self.proxy.match(message)
            if self.trap is not None and self.trap.when == "before":
                return
        self.to_server.put(message)
        if self.trap is not None and is_end:
            self.trap_request = self.conversation.requests

    def inspect_answer(self, message, is_end):
        asked = self.trap_request
        answers = self.conversation.answers - is_end  # that were whole before this message
        if asked is None or answers < asked - 1:
            self.to_client.put(message)
        elif is_end and answers == asked - 1 and self.trap.when == "answered":
            self.spring()

    def spring(self):
        """The line is cut, or it is silent from now on."""
        trap = self.trap
        if trap.has_sprung:
            return
        if trap.then == "cut":
            self.proxy.drop(self, by_reset=True)
        else:
            self.to_server.is_lossy = self.to_client.is_lossy = True
        trap.event.set()


class Timer:
    """A descriptor that becomes readable at a time of time.monotonic(), exact to less than a millisecond."""

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self.libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def fileno(self):
        return self.descriptor

    def set(self, due):
        """None: never."""
        ns = 0 if due is None else max(int(due * 1e9), 1)
        value = struct.pack("qqqq", 0, 0, ns // 10**9, ns % 10**9)
        if self.libc.timerfd_settime(self.descriptor, 1, value, None) != 0:  # 1: an absolute time
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def clear(self):
        try:
            os.read(self.descriptor, 8)
        except BlockingIOError:
            pass

    def close(self):
        os.close(self.descriptor)


def on_loop(method):
    """Runs a method in the proxy's thread and waits for what it returns."""
    @functools.wraps(method)
    def call(self, *arguments, **how):
        return self.call(lambda: method(self, *arguments, **how))
    return call


class TcpProxy:
    """delay_ms: one number, or {"to_server": ms, "to_client": ms}. Also a context manager."""

    def __init__(self, target_port, target_host="127.0.0.1", delay_ms=0, is_watching=False):
        self.target = (target_host, target_port)
        self.is_watching = is_watching
        self.bytes = {"to_server": 0, "to_client": 0}
        self.connections = 0        # accepted so far
        self.held = set()           # directions in which nothing arrives for now
        self.swallowed = set()      # directions in which everything is lost
        self.traps, self.links, self.calls = [], {}, collections.deque()
        self.delay_s = {}
        self.assign_delay(delay_ms)
        self.selector, self.timer = selectors.DefaultSelector(), Timer()
        self.waker, self.wakes = socket.socketpair()
        self.listener, self.port = None, free_port()
        self.is_closing = False
        self.selector.register(self.timer, READ, None)
        self.selector.register(self.wakes, READ, None)
        self.listen()
        self.thread = threading.Thread(target=self.run, name="tcp-proxy", daemon=True)
        self.thread.start()

    # --- for tests, from any thread ---

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @on_loop
    def delay(self, ms):
        """For what is read from now on."""
        self.assign_delay(ms)

    @on_loop
    def cut(self):
        """Every connection is reset now, what was under way is lost; how many. New ones are welcome."""
        links = set(self.links.values())
        for link in links:
            self.drop(link, by_reset=True)
        return len(links)

    @on_loop
    def stall(self, *directions):
        """Nothing arrives any more ("to_server", "to_client", by default both) until heal(), which delivers it: a
        network that is down while TCP keeps trying. Connections can be opened, but nobody answers on them."""
        self.held |= set(directions or self.bytes)

    @on_loop
    def blackhole(self, *directions):
        """What is sent is lost, and nobody is told. Connections that have lost bytes stay dead after heal()."""
        self.swallowed |= set(directions or self.bytes)

    @on_loop
    def refuse(self):
        """Every connection is reset, and new ones are refused, until heal()."""
        for link in set(self.links.values()):
            self.drop(link, by_reset=True)
        if self.listener is not None:
            self.selector.unregister(self.listener)
            self.listener.close()
            self.listener = None

    @on_loop
    def heal(self):
        """A good network again, but for the delay."""
        self.held.clear()
        self.swallowed.clear()
        self.traps.clear()
        if self.listener is None:
            self.listen()

    @on_loop
    def point_at(self, port, host="127.0.0.1"):
        """Where new connections go."""
        self.target = (host, port)

    @on_loop
    def cut_at(self, needle, when, then="cut", skip=0):
        """A Trap for the next message to the server that contains the bytes `needle` (after `skip` others that do):
        "before": it does not reach the server, what was asked before does. "sent": the server gets it and the rest of
        its request, and the line is cut at once: it may or may not have been done when the client hears of it.
        "answered": the server has answered, the client never gets the answer. The connection is then "cut", or left
        to "hang" in silence."""
        assert self.is_watching, "a proxy that looks at messages is made with is_watching=True"
        assert when in ("before", "sent", "answered") and then in ("cut", "hang"), (when, then)
        self.traps.append(Trap(needle, when, then, skip))
        return self.traps[-1]

    def close(self):
        if not self.is_closing:
            self.is_closing = True
            self.waker.send(b"!")
            self.thread.join(CALL_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- the thread ---

    def call(self, work):
        done, box = threading.Event(), []

        def perform():
            try:
                box.append((work(), None))
            except BaseException as error:
                box.append((None, error))
            done.set()

        self.calls.append(perform)
        self.waker.send(b"!")
        assert done.wait(CALL_SECONDS), "the proxy's thread does not answer"
        result, error = box[0]
        if error is not None:
            raise error
        return result

    def assign_delay(self, ms):
        each = ms if isinstance(ms, dict) else {"to_server": ms, "to_client": ms}
        self.delay_s = {direction: each.get(direction, 0) / 1000 for direction in self.bytes}

    def listen(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self.listener.setblocking(False)
        self.selector.register(self.listener, READ, None)

    def match(self, message):
        """The trap that this message springs, if any."""
        for trap in list(self.traps):
            if trap.needle in message:
                if trap.skip == 0:
                    self.traps.remove(trap)
                    return trap
                trap.skip -= 1
        return None

    def run(self):
        while not self.is_closing:
            for key, mask in self.selector.select():
                self.handle(key.fileobj, mask)
            while self.calls:
                self.calls.popleft()()
            self.advance()
        for link in set(self.links.values()):
            self.drop(link, by_reset=True)
        for thing in (self.selector, self.timer, self.waker, self.wakes, self.listener):
            if thing is not None:
                thing.close()

    def handle(self, end, mask):
        if end is self.timer:
            self.timer.clear()
        elif end is self.wakes:
            self.wakes.recv(4096)
        elif end is self.listener:
            self.accept()
        elif end in self.links:
            link = self.links[end]
            self.guarded(link, lambda: link.handle(end, mask))

    def guarded(self, link, work):
        """A connection that fails on one side fails on the other."""
        try:
            work()
        except OSError:
            self.drop(link, by_reset=True)

    def accept(self):
        try:
            client, _ = self.listener.accept()
        except BlockingIOError:
            return
        server = socket.socket()
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        self.connections += 1
        link = Link(self, client, server)
        for end in (client, server):
            self.links[end] = link
        server.connect_ex(self.target)

    def advance(self):
        """Moves everything that is due, and sets the clock for what is not."""
        now = time.monotonic()
        for link in set(self.links.values()):
            self.guarded(link, lambda link=link: link.advance(now))
        dues = []
        for link in set(self.links.values()):
            dues += [due for pipe in (link.to_server, link.to_client) if (due := pipe.due()) is not None]
            for end, mask in zip((link.client, link.server), link.masks()):
                self.watch(end, mask)
        self.timer.set(min(dues, default=None))

    def watch(self, end, mask):
        known = self.selector.get_map().get(end.fileno())
        if known is None and mask:
            self.selector.register(end, mask, None)
        elif known is not None and not mask:
            self.selector.unregister(end)
        elif known is not None and known.events != mask:
            self.selector.modify(end, mask, None)

    def drop(self, link, by_reset=False):
        """Ends a connection. The server's side always gets to read what it was sent."""
        for end in (link.client, link.server):
            if self.links.pop(end, None) is None:
                continue
            self.watch(end, 0)
            if by_reset and end is link.client:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
            end.close()

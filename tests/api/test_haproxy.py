# SPDX-License-Identifier: Apache-2.0
"""
deploy/haproxy.cfg, as it is shipped, before real nodes and before one that tells what it was sent. Here each node has
a store of its own, so that it is seen which of them did what; nodes on one store are in test_nodes*.
"""
import re
import socket
import subprocess
import threading
import time

import pytest

import services
import wire
from machines import MACHINES, START_WORK
from outbox import figure
from server import binary
from services import haproxy
from shop import EVENTS, PRODUCTS, PURCHASES, SALES, UNAVAILABLE, UUID4, Shop, expect, new_sku, new_user

pytestmark = [pytest.mark.needs("haproxy"), pytest.mark.embedded]

UNKNOWN = ('{"success":false,"error":{"code":"OUTCOME_UNKNOWN","message":"It is not known whether this was stored. '
    'Repeat it with the same Idempotency-Key, or look it up."}}')
FAST = ("--purchase-interval", "0", "--net-threads", "2")


@pytest.fixture
def start_haproxy():
    """start_haproxy(*nodes): the balancer, once it has looked at all of them; gone at the end."""
    started = []

    def start(*nodes):
        started.append(services.Haproxy([node if isinstance(node, str) else node.port for node in nodes]))
        return started[-1].start()

    yield start
    for balancer in started:
        balancer.remove()


class Crowd:
    """Threads that ask through the balancer until they are stopped."""

    def __init__(self, port, count, request):
        self.port, self.request = port, request
        self.replies, self.problems, self.is_over = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self):
        connection = wire.Connection(self.port)
        while not self.is_over.is_set():
            try:
                self.replies.append(connection.ask(*self.request()))
            except (OSError, wire.Closed) as problem:
                self.problems.append(problem)
                connection.close()
                connection = wire.Connection(self.port)
        connection.close()

    def wait_more(self, count):
        """Until so many more have been answered."""
        wanted = len(self.replies) + count
        wire.wait_for(lambda: len(self.replies) >= wanted, f"{count} more replies")

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(30)
        return self.replies


@pytest.fixture
def crowd():
    """crowd(port, count, request): runs until the end of the test at the latest."""
    crowds = []

    def start(*arguments):
        crowds.append(Crowd(*arguments))
        return crowds[-1]

    yield start
    for each in crowds:
        each.stop()


class Recorder:
    """A node that is ready, counts what it is sent, and does with it what the test wants: `behave(connection)` after
    a request that is not for /readyz."""

    def __init__(self, behave):
        self.behave, self.heads, self.lock = behave, [], threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return  # closed by the test
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rb") as stream:
            try:
                while self.serve_one(connection, stream):
                    pass
            except OSError:
                pass  # the balancer has reset an idle connection

    def serve_one(self, connection, stream):
        """Does the connection go on?"""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return False
            head += line
        stream.read(int((re.search(rb"(?i)content-length: (\d+)", head) or [0, 0])[1]))
        if b" /readyz?" in head:
            return answer(connection)
        with self.lock:
            self.heads.append(head)
        return self.behave(connection)

    def close(self):
        if self.listener.fileno() >= 0:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()


@pytest.fixture
def recorders():
    """recorders(behave, count): nodes that tell what they were sent."""
    made = []

    def make(behave, count=3):
        made.extend(Recorder(behave) for _ in range(count))
        return made[-count:]

    yield make
    for recorder in made:
        recorder.close()


def answer(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    return True


def buy(port, sku="X-1", headers=None):
    return wire.ask(port, "POST", PURCHASES, {"X-User-Id": new_user(), **(headers or {})}, {"sku": sku})


def test_config_is_valid():
    """The file that is shipped is refused by haproxy, or it warns of it."""
    done = subprocess.run([haproxy.process.program("haproxy", "haproxy"), "-c", "-f", haproxy.CONFIG], timeout=30,
        capture_output=True, text=True)
    assert done.returncode == 0 and "WARNING" not in done.stderr + done.stdout, done


def test_requests_go_round(start_server, start_haproxy):
    """A node gets all, or none, although clients keep their connections."""
    nodes = [start_server(*FAST) for _ in range(3)]
    balancer = start_haproxy(*nodes)
    before = {name: node["stot"] for name, node in balancer.stats().items()}
    with wire.Connection(balancer.port) as connection:
        for _ in range(30):
            assert connection.ask("GET", f"{SALES}?sku=NONE-1").status == 200
    assert {name: node["stot"] - before[name] for name, node in balancer.stats().items()} == {
        "node1": 10, "node2": 10, "node3": 10}


def test_crowd_shares_connections(recorders, start_haproxy):
    """Every client costs a node a connection of its own."""
    nodes = recorders(answer)
    balancer = start_haproxy(*nodes)
    before = sum(node["connect"] for node in balancer.stats().values())
    for _ in range(60):
        assert buy(balancer.port).status == 200  # a connection of its own to the balancer each
    opened = sum(node["connect"] for node in balancer.stats().values()) - before
    assert opened <= 6, f"{opened} connections to the nodes for 60 requests one after the other"


def test_second_door_shares_connections_out(start_server, start_haproxy):
    """At the door for crowds a connection is spread over nodes, or all connections go to one, or one stays with a node
    that is down."""
    nodes = [start_server(*FAST) for _ in range(3)]
    balancer = start_haproxy(*nodes)

    def correlation():
        return {"X-Correlation-Id": new_sku("door")}

    connections = [wire.Connection(balancer.crowd_port) for _ in range(6)]
    for connection in connections:
        for _ in range(5):
            assert connection.ask("GET", f"{SALES}?sku=NONE-1", correlation()).status == 200
    counts = [int(line.rsplit(" ", 1)[1]) for node in nodes for line in wire.ask(node.port, "GET",
        "/metrics").text.splitlines() if line.startswith("http_requests_total") and '"/api/v1/sales"' in line]
    assert counts == [10, 10, 10], counts
    nodes[0].kill9()
    balancer.wait_nodes("node2", "node3")
    for connection in connections:
        connection.close()
    for _ in range(6):
        with wire.Connection(balancer.crowd_port) as connection:
            assert connection.ask("GET", f"{SALES}?sku=NONE-1").status == 200


def test_killed_node_costs_no_read(start_server, start_haproxy, crowd):
    """A read fails because the node that had it, or was to get it, is dead."""
    nodes = [start_server(*FAST) for _ in range(3)]
    balancer = start_haproxy(*nodes)
    readers = crowd(balancer.port, 8, lambda: ("GET", f"{SALES}?sku=NONE-1"))
    readers.wait_more(200)
    nodes[1].kill9()
    balancer.wait_nodes("node1", "node3")
    readers.wait_more(200)
    replies = readers.stop()
    assert {reply.status for reply in replies} == {200} and readers.problems == []


def test_node_that_leaves_costs_no_purchase(start_server, start_haproxy, crowd):
    """A node that is stopped as it should be makes a purchase fail: it was sent there after it had said no."""
    nodes = [start_server(*FAST) for _ in range(3)]
    balancer = start_haproxy(*nodes)
    buyers = crowd(balancer.port, 8, lambda: ("POST", PURCHASES, {"X-User-Id": new_user()}, {"sku": "NONE-1"}))
    buyers.wait_more(200)
    nodes[0].stop()
    balancer.wait_nodes("node2", "node3")
    buyers.wait_more(200)
    replies = buyers.stop()
    odd = [reply for reply in replies if reply.status != 200]
    assert odd == [] and buyers.problems == [], (len(replies), odd[:3], buyers.problems[:3])


def test_purchase_is_never_sent_twice(recorders, start_haproxy):
    """A purchase that a node has taken and not answered is sent to another one."""
    def vanish(connection):
        return False

    def stammer(connection):
        connection.sendall(b"HTTP/1.1 2")
        return False

    for behave in (vanish, stammer):
        nodes = recorders(behave)
        balancer = start_haproxy(*nodes)
        for method, target in (("POST", PURCHASES), ("POST", PRODUCTS), ("PUT", PRODUCTS + "/X-1"),
                ("PATCH", PRODUCTS + "/X-1"), ("DELETE", PRODUCTS + "/X-1")):
            seen = sum(len(node.heads) for node in nodes)
            body = None if method == "DELETE" else {"sku": "X-1"}
            reply = wire.ask(balancer.port, method, target, {"X-Correlation-Id": "abc"}, body)
            expect(reply, 502, UNKNOWN)
            assert reply.header("retry-after") == "1" and reply.header("x-correlation-id") == "abc", reply
            assert sum(len(node.heads) for node in nodes) - seen == 1, (method, behave.__name__)


def test_purchase_behind_an_old_connection_is_never_sent_twice(recorders, start_haproxy):
    """A purchase on a connection that has served others, and dies with it, is sent again."""
    served = []

    def once_well(connection):
        """Answers the first request of a connection only."""
        if connection in served:
            return False
        served.append(connection)
        return answer(connection)

    nodes = recorders(once_well)
    balancer = start_haproxy(*nodes)
    with wire.Connection(balancer.port) as connection:
        for _ in range(3):
            assert connection.ask("POST", PURCHASES, {"X-User-Id": "a"}, {"sku": "X-1"}).status == 200
        try:
            assert connection.ask("POST", PURCHASES, {"X-User-Id": "b"}, {"sku": "X-1"}).status == 502
        except wire.Closed as closed:
            assert closed.partial == b""
    assert sum(len(node.heads) for node in nodes) == 4


def test_reads_are_tried_elsewhere(recorders, start_haproxy):
    """A read that a dying node has taken is not asked of another one."""
    def vanish(connection):
        return False

    bad, good = recorders(vanish, 2), recorders(answer, 1)
    balancer = start_haproxy(*bad, *good)
    for _ in range(10):
        assert wire.ask(balancer.port, "GET", f"{SALES}?sku=X-1").status == 200


def test_purchase_that_reached_nobody_is_sent_to_another(recorders, start_haproxy):
    """A purchase for which no connection could be made is refused although other nodes are there."""
    nodes = recorders(answer)
    balancer = start_haproxy(*nodes)
    balancer.ask("set server nodes/node1 health up")
    balancer.ask("disable health nodes/node1")  # it is not noticed that it goes
    nodes[0].close()
    for _ in range(10):
        assert buy(balancer.port).status == 200
    assert balancer.stats()["node1"]["wredis"] >= 3


def test_without_a_node_it_is_503(start_haproxy):
    """While no node is ready, clients wait, or get an answer that is none of ours."""
    balancer = start_haproxy(haproxy.NOBODY)
    balancer.wait_nodes()
    for reply in (buy(balancer.port), wire.ask(balancer.port, "GET", f"{SALES}?sku=X-1")):
        expect(reply, 503, UNAVAILABLE)
        assert reply.header("retry-after") == "1" and UUID4.fullmatch(reply.header("x-correlation-id")), reply


def test_node_that_is_not_ready_gets_nothing(start_server, start_haproxy):
    """A node whose store cannot be written gets purchases, or does not come back when it can."""
    sick = start_server(*FAST, "--fault", "commit:1+:full,probe:1+:full")
    well = start_server(*FAST)
    balancer = start_haproxy(sick, well)
    shop = Shop(sick)
    reply = shop.create(shop.body(new_sku()))
    shop.close()
    assert reply.status == 503, reply
    balancer.wait_nodes("node2")
    before = balancer.stats()["node1"]["stot"]
    for _ in range(6):
        assert buy(balancer.port, "NONE-1").status == 200
    assert balancer.stats()["node1"]["stot"] == before


def test_event_stream_passes_at_once(start_server, start_haproxy, shop_of):
    """Events wait in a buffer of the balancer."""
    node = start_server(*FAST, "--sse-heartbeat", "200ms")
    balancer = start_haproxy(node)
    shop = shop_of(node)
    sku = shop.sale(stock=5)
    with wire.Connection(balancer.port) as connection:
        connection.send(wire.build("GET", f"{EVENTS}?sku={sku}"))
        head = connection.read_head()
        assert head.status == 200 and head.header("content-type").startswith("text/event-stream"), head
        start = time.monotonic()
        shop.buy_well(sku)
        connection.take_until(b'"stock":4')
        assert time.monotonic() - start < 20
        connection.take_until(b":")  # a heartbeat


@pytest.mark.parametrize("door", ["port", "crowd_port"])
def test_user_who_goes_away_behind_the_proxy_loses_his_place(start_server, start_haproxy, shop_of, door):
    """The balancer keeps to itself that a user who waits for a machine has gone: the next one is given to nobody."""
    node = start_server("--choose-timeout", "1h")
    balancer = start_haproxy(node)
    shop = shop_of(node)
    assert shop.ask("POST", MACHINES, shop.admin, {"name": "only"}).status == 201
    assert shop.ask("POST", START_WORK).status == 200
    with wire.Connection(getattr(balancer, door)) as connection:
        connection.send(wire.build("POST", START_WORK, {"Prefer": "wait=60"}))
        wire.wait_for(lambda: figure(node, "doorbuster_tickets_waiting") == 1, "he stands in the line")
    wire.wait_for(lambda: figure(node, "doorbuster_tickets_waiting") == 0, "he has left the line")
    assert figure(node, "doorbuster_vending_gone_total") == 1


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def test_proxy_waits_for_those_who_wait():
    """A user who waits in the line for a machine is cut off by the balancer, or a node closes a connection of the
    second door while a request is on its way to it."""
    text = subprocess.run([binary(), "help", "serve"], timeout=60, check=True, capture_output=True, text=True).stdout
    wait_s, idle_s = (seconds(re.search(rf"--{flag} TIME\b.*?Default: (\w+)", text, re.DOTALL)[1])
        for flag in ("wait-max", "idle-timeout"))
    timeouts = re.findall(r"^    timeout (?:server|client) (\w+)$", haproxy.CONFIG.read_text(encoding="utf-8"), re.M)
    assert len(timeouts) == 4 and all(wait_s + 5 <= seconds(timeout) < idle_s for timeout in timeouts), timeouts

# SPDX-License-Identifier: Apache-2.0
"""
The limiter that several nodes share through Redis: together they let a user in once an interval, and without Redis
each of them goes on by itself, at once and without refusing anybody for it.
"""
import signal
import threading
import time

import pytest

import wire
from redis_service import FakeRedis, Missing, Redis, is_probe, well_behaved
from shop import (BAD_REQUEST, LIMITED, NOT_ACTIVE, NO_USER, PURCHASES, expect, in_time, new_user)
from test_flash_sale_limiter import attempts

pytestmark = pytest.mark.embedded  # the limiter knows nothing of stores

PASSWORD = "s3cret:pass/word"
PATIENCE = 30.0  # seconds, for what a node does by itself within two or three
BURST_USERS = 20
BURST_SECONDS = 80.0  # of tries to find Redis in time throughout
WAIT_MAX = 1.0   # seconds; an attempt may wait 50 ms, the rest is for slow machines
HANG_MAX = 10.0  # seconds; once in a while a slow machine stands still
REDIS_MS = 50    # a Redis that takes longer has missed it: then the node goes on alone, as it should


@pytest.fixture
def start_redis():
    """start_redis(password=, **settings): a private Redis, gone at the end."""
    started = []

    def start(**how):
        try:
            redis = Redis(**how)
        except Missing as missing:
            pytest.skip(str(missing))
        started.append(redis)
        return redis.start()

    yield start
    for redis in started:
        redis.remove()


@pytest.fixture
def fake_redis():
    """fake_redis(answer): a Redis that answers like that, gone at the end."""
    fakes = []

    def start(answer=None):
        fakes.append(FakeRedis(answer))
        return fakes[-1]

    yield start
    for fake in fakes:
        fake.close()


@pytest.fixture
def start_nodes(start_server, shop_of):
    """start_nodes(url, *urls): a shop on a new server for each; they wait until they share when told to."""

    def start(*urls, is_shared=True, arguments=()):
        shops = [shop_of(start_server("--limits", url, "--net-threads", "2", *arguments)) for url in urls]
        if is_shared:
            for shop in shops:
                wait_limits(shop, "shared")
        return shops

    return start


def limits(shop):
    """(what the limiter is, why)"""
    reply = shop.ask("GET", "/readyz?verbose")
    assert reply.status == 200, reply
    told = reply.json()
    return told["limits"], told.get("limitsReason")


def wait_limits(shop, kind, words=""):
    return wire.wait_for(lambda: (now := limits(shop))[0] == kind and words in (now[1] or ""),
        f"limiter {kind} {words}: {limits(shop)}", PATIENCE)


def figure(shop, name):
    for line in shop.ask("GET", "/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"no {name}")


def fallbacks(shop):
    return figure(shop, "doorbuster_limits_fallback_total")


def told(shop, words):
    """How many lines of the log say so."""
    return sum(words in entry["message"] for entry in shop.server.logs() if entry["context"] == "limits")


def wait_told(shop, words, count, is_busy=False):
    """It is told so often, and not again for every purchase. is_busy: a machine under load may stand still, so that
    Redis is late, which is told as well."""
    wire.wait_for(lambda: told(shop, words) >= count, f"{count} lines with {words!r} in the log", PATIENCE)
    found = told(shop, words)
    late = told(shop, "has not answered within") if is_busy else 0
    assert count <= found <= count + late, shop.server.err.text()


# --- together ---

@in_time(REDIS_MS / 1000)
def test_nodes_share_the_limiter(start_redis, start_nodes):
    """A user gets an attempt on each node within one interval."""
    one, two = start_nodes(*[start_redis().url()] * 2)
    for first, second in ((one, two), (two, one)):
        user = new_user()
        expect(first.buy("NO-SUCH", user), 200, NOT_ACTIVE)
        expect(second.buy("NO-SUCH", user), 429, LIMITED)
        expect(first.buy("NO-SUCH", user), 429, LIMITED)
    assert figure(one, "doorbuster_limits_is_shared") == 1
    assert figure(one, "doorbuster_limits_shared_total") == 3
    assert figure(one, "doorbuster_limits_wait_seconds_total") > 0
    assert fallbacks(one) == fallbacks(two) == 0


@in_time(REDIS_MS / 1000)
def test_refused_attempts_on_other_nodes_count(start_redis, start_nodes):
    """The window that nodes share does not slide as the one of a single node."""
    nodes = start_nodes(*[start_redis().url()] * 2)
    statuses = attempts(nodes, (0, 0.3, 0.6, 1.25, 2.3))
    assert statuses == [200, 429, 429, 429, 200] and fallbacks(nodes[0]) == fallbacks(nodes[1]) == 0, statuses


@pytest.mark.seconds(180)
def test_one_of_a_burst_on_all_nodes_is_admitted(start_redis, start_nodes):
    """Of simultaneous requests of one user on several nodes none or several pass."""
    url, end, proven = start_redis().url(), time.monotonic() + BURST_SECONDS, 0
    while proven < BURST_USERS:
        # New nodes, of which none has decided alone yet; the interval is longer than any machine is slow.
        nodes = start_nodes(*[url] * 3, arguments=["--purchase-interval", "10m"])
        while proven < BURST_USERS:
            users = [new_user() for _ in range(5)]
            admitted = burst(nodes, users)
            if sum(fallbacks(node) for node in nodes) > 0:
                break
            assert sorted(admitted) == sorted(users)
            proven += len(users)
        for node in nodes:
            node.server.stop()
        if time.monotonic() > end:
            pytest.skip(f"Redis cannot answer within 50 ms here: {proven} of {BURST_USERS} bursts proven")


def burst(nodes, users):
    """Nine requests of each user at once, over all nodes; the users of those that passed."""
    connections = [(user, wire.Connection(nodes[n % 3].server.port)) for user in users for n in range(9)]
    try:
        for user, connection in connections:
            connection.send(wire.build("POST", PURCHASES, {"X-User-Id": user}, {"sku": "NO-SUCH"}))
        return [user for user, connection in connections if connection.read_reply().status == 200]
    finally:
        for _, connection in connections:
            connection.close()


@in_time(1.0)
def test_waiting_for_redis_keeps_pipelined_answers_in_order(start_redis, start_nodes):
    """Requests that wait for Redis are overtaken by others of the same connection, or lost."""
    shop, = start_nodes(start_redis().url())
    users = [new_user() for _ in range(50)]
    buy = [wire.build("POST", PURCHASES, {"X-User-Id": user}, {"sku": "NO-SUCH"}) for user in users]
    with wire.Connection(shop.server.port) as connection:
        connection.send(b"".join(request + wire.build("GET", "/livez") + request for request in buy))
        for user in users:
            expect(connection.read_reply(), 200, NOT_ACTIVE)
            assert connection.read_reply().json() == {"status": "live"}
            expect(connection.read_reply(), 429, LIMITED)


@in_time(REDIS_MS / 1000)
def test_order_of_checks_is_the_contracts(start_redis, start_nodes):
    """With Redis another check comes first than without: body syntax, limiter, user, body content, decision."""
    one, two = start_nodes(*[start_redis().url()] * 2)

    def post(shop, user, body):
        headers = {"Content-Type": "application/json", **({} if user is None else {"X-User-Id": user})}
        return shop.ask("POST", PURCHASES, headers, body)

    user = new_user()
    assert post(one, user, b"{no json").status == 400  # uses no slot
    expect(post(one, user, b'{"sku":7}'), 400, BAD_REQUEST)  # uses one
    expect(post(two, user, b'{"sku":"A"}'), 429, LIMITED)
    expect(post(two, user, b'{"sku":7}'), 429, LIMITED)
    asked = figure(one, "doorbuster_limits_shared_total")
    expect(post(one, None, b'{"sku":7}'), 400, NO_USER)
    assert figure(one, "doorbuster_limits_shared_total") == asked
    long = new_user() + "x" * 300
    assert post(one, long, b'{"sku":"A"}').status == 400
    expect(post(two, long, b'{"sku":"A"}'), 429, LIMITED)
    expect(post(one, new_user(), b'{ "sku" : "A" }'), 200, NOT_ACTIVE)


def test_a_sale_is_sold_exactly(start_redis, start_nodes):
    """A sale behind the shared limiter sells too much, too little, or loses an answer."""
    shop, = start_nodes(start_redis().url())
    sku = shop.sale(stock=40)
    users = [new_user() for _ in range(120)]
    connections = [wire.Connection(shop.server.port) for _ in users]
    try:
        for user, connection in zip(users, connections):
            connection.send(wire.build("POST", PURCHASES, {"X-User-Id": user}, {"sku": sku}))
        replies = [connection.read_reply() for connection in connections]
    finally:
        for connection in connections:
            connection.close()
    assert {reply.status for reply in replies} == {200}
    assert sum(reply.code is None for reply in replies) == 40


def test_redis_keeps_no_names_and_nothing_for_long(start_redis, start_nodes):
    """Redis holds the names of buyers, or attempts that no longer count."""
    redis = start_redis()
    shop, = start_nodes(redis.url(3))
    user = new_user("somebody")
    shop.buy("NO-SUCH", user)
    assert b"somebody" not in redis.ask("EVAL", "redis.call('SELECT', 3) return redis.call('KEYS', '*')", "0")
    wire.wait_for(lambda: redis.ask("EVAL", "redis.call('SELECT', 3) return redis.call('DBSIZE')", "0") == b":0\r\n",
        "an empty Redis")


# --- who is let in ---

@in_time(REDIS_MS / 1000)
def test_password_is_given(start_redis, start_nodes):
    """A Redis with a password cannot be used."""
    redis = start_redis(password=PASSWORD)
    one, two = start_nodes(*[f"redis://:s3cret%3apass%2Fword@127.0.0.1:{redis.port}/0"] * 2)
    user = new_user()
    expect(one.buy("NO-SUCH", user), 200, NOT_ACTIVE)
    expect(two.buy("NO-SUCH", user), 429, LIMITED)


@in_time(REDIS_MS / 1000)
def test_user_and_password_are_given(start_redis, start_nodes):
    """A Redis with users of its own cannot be used, or more rights are needed than the manual says."""
    redis = start_redis()
    assert redis.ask("ACL", "SETUSER", "till", "on", ">longpassword", "~doorbuster:limits:*", "+select", "+eval",
        "+evalsha", "+script|load", "+exists", "+set").startswith(b"+OK")
    shop, = start_nodes(f"redis://till:longpassword@127.0.0.1:{redis.port}")
    expect(shop.buy("NO-SUCH", user := new_user()), 200, NOT_ACTIVE)
    assert redis.ask("SCRIPT", "FLUSH").startswith(b"+OK")
    expect(shop.buy("NO-SUCH", user), 429, LIMITED)
    assert fallbacks(shop) == 0


@pytest.mark.parametrize("secret, server_password, words", [
    ("a-wrong-password", "the-right-one", "WRONGPASS"),
    ("a-needless-password", None, "AUTH"),
    (None, "the-right-one", "NOAUTH"),
])
@in_time(1.0)
def test_wrong_password_is_told_and_survived(start_redis, start_nodes, secret, server_password, words):
    """A password that Redis does not take stops the server, or sales, or is written into the log."""
    redis = start_redis(password=server_password)
    who = "" if secret is None else f":{secret}@"
    shop, = start_nodes(f"redis://{who}127.0.0.1:{redis.port}", is_shared=False)
    wait_limits(shop, "local", words)
    expect(shop.buy("NO-SUCH", user := new_user()), 200, NOT_ACTIVE)
    expect(shop.buy("NO-SUCH", user), 429, LIMITED)
    wait_told(shop, "local to this node", 1)
    if secret is not None:
        assert secret not in shop.server.err.text() + shop.server.out.text()
        assert secret not in shop.ask("GET", "/readyz?verbose").text


def test_password_comes_from_a_file(start_redis, start_server, shop_of, tmp_path):
    """--limits-file is not read."""
    redis = start_redis(password="the-right-one")
    path = tmp_path / "limits"
    path.write_text(redis.url() + "\n")
    wait_limits(shop_of(start_server("--limits-file", path)), "shared")


@in_time(REDIS_MS / 1000)
def test_every_address_of_a_name_is_tried(start_redis, start_nodes):
    """localhost is also ::1, where nobody listens; the link gives up there, and says so."""
    shop, = start_nodes(f"redis://localhost:{start_redis().port}")
    assert told(shop, "local to this node") == 0


# --- alone ---

@in_time(1.0)
def test_server_starts_without_redis_and_finds_it_later(start_redis, start_nodes):
    """Without Redis the server does not start, is not ready, refuses sales, or never looks again."""
    redis = start_redis()
    redis.kill9()
    shop, = start_nodes(redis.url(), is_shared=False)
    wait_limits(shop, "local", "refused")
    assert shop.ask("GET", "/readyz").status == 200
    check = shop.ask("GET", "/health")
    assert check.status == 200 and check.json()["data"]["checks"]["redis"]["status"] == "down"
    shop.buy_well(shop.sale(), user := new_user())
    expect(shop.buy("NO-SUCH", user), 429, LIMITED)
    assert fallbacks(shop) == 2 and figure(shop, "doorbuster_limits_is_shared") == 0
    redis.start()
    wait_limits(shop, "shared")
    wait_told(shop, "again shared", 1)
    assert shop.ask("GET", "/health").json()["data"]["checks"]["redis"]["status"] == "up"
    assert told(shop, "local to this node") == 1


def test_unknown_name_is_told_and_survived(start_nodes):
    """A host that does not exist stops the server or a sale."""
    shop, = start_nodes("redis://redis.invalid", is_shared=False)
    wait_limits(shop, "local", "cannot be resolved")
    shop.buy_well(shop.sale())


def expect_quick(times):
    """Nobody has waited for Redis; one in ten, and the first, may have waited for this machine."""
    times = sorted(times)
    assert times[len(times) * 9 // 10 - 1] < WAIT_MAX and times[-1] < HANG_MAX, times[-10:]


class Load:
    """Buyers who come one after the other on several connections, until stop(); `replies` are (status, seconds)."""

    def __init__(self, shops, sku):
        self.replies, self.errors, self.is_over = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(shop.server.port, sku)) for shop in shops * 3]
        for thread in self.threads:
            thread.start()

    def run(self, port, sku):
        try:
            with wire.Connection(port) as connection:
                while not self.is_over.is_set():
                    began = time.monotonic()
                    reply = connection.ask("POST", PURCHASES, {"X-User-Id": new_user("load")}, {"sku": sku})
                    self.replies.append((reply.status, reply.code, time.monotonic() - began))
        except Exception as error:  # told by stop()
            self.errors.append(error)

    def wait(self, count):
        goal = len(self.replies) + count
        wire.wait_for(lambda: self.errors or len(self.replies) >= goal, f"{goal} answers", 60)

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(60)
        assert not self.errors, self.errors
        return self.replies


def test_redis_is_killed_under_load_and_comes_back(start_redis, start_nodes):
    """While Redis is gone, or when it goes or comes, a purchase is refused, lost or late, or nobody is told."""
    redis = start_redis()
    nodes = start_nodes(*[redis.url()] * 2)
    load = Load(nodes, nodes[0].sale(stock=1_000_000, sku="LIMITS-LOAD"))
    try:
        nodes[1].sale(stock=1_000_000, sku="LIMITS-LOAD")
        for round_number in (1, 2):
            load.wait(100)
            redis.kill9()
            for node in nodes:
                wait_limits(node, "local")
            load.wait(100)
            for node in nodes:
                assert fallbacks(node) > 0
                assert figure(node, "doorbuster_limits_is_shared") == 0
                wait_told(node, "local to this node", round_number, is_busy=True)
            redis.start()
            for node in nodes:
                wait_limits(node, "shared")
                wait_told(node, "again shared", round_number, is_busy=True)
                expect(node.buy("NO-SUCH", new_user()), 200, NOT_ACTIVE)
            load.wait(50)
    finally:
        replies = load.stop()
    assert {status for status, _, _ in replies} == {200}
    assert {code for _, code, _ in replies} <= {None, "SALE_NOT_ACTIVE"}
    expect_quick([seconds for _, _, seconds in replies])

    @in_time(REDIS_MS / 1000)
    def is_shared():
        user = new_user()
        expect(nodes[0].buy("NO-SUCH", user), 200, NOT_ACTIVE)
        expect(nodes[1].buy("NO-SUCH", user), 429, LIMITED)

    is_shared()


def test_who_was_limited_stays_limited(start_redis, start_nodes):
    """When Redis goes or comes, this node forgets whom it has just let in."""
    redis = start_redis()
    shop, = start_nodes(redis.url(), arguments=["--purchase-interval", "10m"])
    users = [new_user() for _ in range(4)]
    for user in users[:2]:
        expect(shop.buy("NO-SUCH", user), 200, NOT_ACTIVE)
    redis.kill9()
    wait_limits(shop, "local")
    assert shop.buy("NO-SUCH", users[0]).status == 429
    assert shop.buy("NO-SUCH", users[2]).status == 200
    redis.start()
    wait_limits(shop, "shared")
    for user, status in zip(users, (429, 429, 429, 200)):
        assert shop.buy("NO-SUCH", user).status == status


@in_time(REDIS_MS / 1000)
def test_lost_script_is_given_again(start_redis, start_nodes):
    """After SCRIPT FLUSH nodes stop sharing, or fall back to themselves."""
    redis = start_redis()
    one, two = start_nodes(*[redis.url()] * 2)
    for _ in range(3):
        assert redis.ask("SCRIPT", "FLUSH").startswith(b"+OK")
        user = new_user()
        expect(one.buy("NO-SUCH", user), 200, NOT_ACTIVE)
        expect(two.buy("NO-SUCH", user), 429, LIMITED)
    assert fallbacks(one) == fallbacks(two) == 0
    assert told(one, "local to this node") == 0


@pytest.mark.parametrize("harm, repair, words", [
    (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "READONLY"),
    (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "OOM"),
], ids=["read-only replica", "out of memory"])
@in_time(1.0)
def test_redis_that_cannot_write(start_redis, start_nodes, harm, repair, words):
    """A Redis that answers and cannot write stops sales, or passes for a limiter."""
    redis = start_redis()
    shop, = start_nodes(redis.url())
    assert redis.ask(*harm).startswith(b"+OK")
    user = new_user()
    expect(shop.buy("NO-SUCH", user), 200, NOT_ACTIVE)
    expect(shop.buy("NO-SUCH", user), 429, LIMITED)
    wait_limits(shop, "local", words)
    wire.wait_for(lambda: fallbacks(shop) > 0, "a fallback")
    assert redis.ask(*repair).startswith(b"+OK")
    wait_limits(shop, "shared")
    wait_told(shop, "again shared", 1)


@pytest.mark.parametrize("answer, words", [
    (lambda words: None, "does not let in"),
    (lambda words: None if is_probe(words) else well_behaved(words), "not answered within"),
    (lambda words: b"HTTP/1.1 400 Bad Request\r\n\r\n", "Protocol error"),
    (lambda words: b"-MOVED 1 127.0.0.1:1\r\n" if words[0] == "EVALSHA" else well_behaved(words), "MOVED"),
    (lambda words: b"+OK\r\n", "what Redis would not"),
], ids=["silent", "silent later", "no Redis", "a cluster", "senseless"])
def test_what_is_no_limiter_is_never_used(fake_redis, start_nodes, answer, words):
    """Something that is not a working Redis passes for one, or delays a purchase."""
    shop, = start_nodes(fake_redis(answer).url(), is_shared=False)
    times = []

    @in_time(WAIT_MAX)
    def asks():
        began = time.monotonic()
        expect(shop.buy("NO-SUCH", user := new_user()), 200, NOT_ACTIVE)
        expect(shop.buy("NO-SUCH", user), 429, LIMITED)
        times.append(time.monotonic() - began)

    for _ in range(20):
        asks()
    expect_quick(times)
    wait_limits(shop, "local", words)
    wait_told(shop, "local to this node", 1)
    assert figure(shop, "doorbuster_limits_shared_total") == 0


def test_redis_that_falls_silent_delays_nobody(fake_redis, start_nodes):
    """A Redis that hangs makes buyers hang."""
    is_silent = threading.Event()
    fake = fake_redis(lambda words: None if is_silent.is_set() else well_behaved(words))
    shop, = start_nodes(fake.url())
    is_silent.set()
    times = []
    for _ in range(10):
        users = [new_user() for _ in range(30)]
        connections = [wire.Connection(shop.server.port) for _ in users]
        began = time.monotonic()
        for user, connection in zip(users, connections):
            connection.send(wire.build("POST", PURCHASES, {"X-User-Id": user}, {"sku": "NO-SUCH"}))
        assert {connection.read_reply().status for connection in connections} == {200}
        times.append(time.monotonic() - began)
        for connection in connections:
            connection.close()
    expect_quick(times)
    wait_limits(shop, "local")
    wait_told(shop, "local to this node", 1)
    assert fallbacks(shop) == 300
    is_silent.clear()
    wait_limits(shop, "shared")


@in_time(REDIS_MS / 1000)
def test_node_that_stood_still_does_not_blame_redis(fake_redis, start_nodes):
    """A node that was stopped while Redis answered takes its own delay for one of Redis."""
    node = []

    def answer(words):
        if node and words[0] == "EVALSHA":
            node[0].signal(signal.SIGSTOP)
            threading.Timer(0.2, node[0].signal, [signal.SIGCONT]).start()
        return well_behaved(words)

    shop, = start_nodes(fake_redis(answer).url())
    node.append(shop.server)
    for _ in range(5):
        expect(shop.buy("NO-SUCH", new_user()), 200, NOT_ACTIVE)
    node.clear()
    assert fallbacks(shop) == 0, limits(shop)
    assert told(shop, "local to this node") == 0


def test_clients_that_leave_while_they_wait(fake_redis, start_nodes):
    """A client that has gone while Redis was asked about it brings the server down."""
    gate = threading.Event()
    is_held = threading.Event()

    def answer(words):
        if is_held.is_set() and words[0] == "EVALSHA" and not is_probe(words):
            gate.wait(0.03)  # less than the node waits, so that answers come for those who have left
        return well_behaved(words)

    shop, = start_nodes(fake_redis(answer).url())
    is_held.set()
    for _ in range(10):
        connections = [wire.Connection(shop.server.port) for _ in range(20)]
        for number, connection in enumerate(connections):
            body = {"sku": "NO-SUCH", "more": number} if number % 2 else {"sku": "NO-SUCH"}
            connection.send(wire.build("POST", PURCHASES, {"X-User-Id": new_user()}, body))
        for connection in connections:
            connection.close()
    is_held.clear()
    gate.set()
    wait_limits(shop, "shared")
    expect(shop.buy("NO-SUCH", new_user()), 200, NOT_ACTIVE)
    wire.wait_for(lambda: figure(shop, "doorbuster_connections") <= 1, "the connections to be gone", 60)


@pytest.mark.parametrize("signals", [1, 2])
def test_stopping_while_purchases_wait(fake_redis, start_nodes, signals):
    """A shutdown forgets who waits for Redis, or waits for it."""
    is_silent = threading.Event()
    fake = fake_redis(lambda words: None if is_silent.is_set() else well_behaved(words))
    shop, = start_nodes(fake.url(), arguments=["--drain-delay", "0s"])
    is_silent.set()
    connections = [wire.Connection(shop.server.port) for _ in range(20)]
    for connection in connections:
        connection.send(wire.build("POST", PURCHASES, {"X-User-Id": new_user()}, {"sku": "NO-SUCH", "x": 1}))
    wire.wait_for(lambda: fake.commands().count("EVALSHA") > 2, "a question")
    for _ in range(signals):
        shop.server.signal()
    if signals == 1:
        assert {connection.read_reply().status for connection in connections} == {400}
    for connection in connections:
        connection.close()
    began = time.monotonic()
    assert shop.server.wait_exit() == 0
    assert time.monotonic() - began < 20


# --- settings ---

def test_no_interval_asks_nobody(fake_redis, start_server, shop_of):
    """--purchase-interval 0 still asks Redis, or limits."""
    fake = fake_redis()
    shop = shop_of(start_server("--limits", fake.url(), "--purchase-interval", "0"))
    user = new_user()
    for _ in range(5):
        expect(shop.buy("NO-SUCH", user), 200, NOT_ACTIVE)
    assert fake.commands() == [] and limits(shop) == ("memory", None)


def test_memory_is_the_default(server, shop):
    """Without --limits the node is said to share, or to have lost something."""
    assert limits(shop) == ("memory", None)
    assert figure(shop, "doorbuster_limits_is_shared") == fallbacks(shop) == 0


@pytest.mark.parametrize("value", ["memory2", "redis://", "redis://h:0", "redis://h:65536", "redis://h/x",
    "redis://h/0/1", "redis://fe80::1", "redis://[::1", "redis://:geheimnis@", "redis://geheimnis@h",
    "redis://:gehe%zzimnis@h", "redis://:geheimnis@h:x", "redis://:@host", "rediss://:geheimnis@h", "http://h",
    "redis://h?db=1"])
def test_nonsense_is_refused_at_the_start(start_server, value):
    """A --limits that means nothing is taken, or repeated with the password in it."""
    server = start_server.launch("--limits", value, "--admin-key", "dev-admin-key-12345678")
    assert server.wait_exit() == 2
    said = server.err.text()
    assert "--limits" in said and "redis://" in said and "geheimnis" not in said and len(said.splitlines()) == 1
    assert not server.store.path.exists()

# SPDX-License-Identifier: Apache-2.0
"""
Bad days of the disk: full, failing writes, failing flushes, a crash around the commit. Whatever happens, what was
acknowledged is there afterwards, nothing is there twice, and the server says what is wrong.
"""
import os
import subprocess
import time

import pytest

import wire
from server import Server
from shop import ALREADY, PURCHASED, SALES, Shop, UNAVAILABLE, expect, new_sku, new_user

TRIES_MAX = 60


def key_of(user):
    return {"Idempotency-Key": f'"key-{user}"'}


class Till:
    """Buys one unit after the other, with new names, and remembers what was said to whom."""

    def __init__(self, server, sku):
        self.sku, self.numbers, self.unsure = sku, {}, []
        self.move(server)

    def move(self, server):
        self.server, self.shop = server, Shop(server)

    def buy(self, user=None):
        """The reply, or None when the connection broke."""
        user = user or new_user("till")
        try:
            reply = self.shop.buy(self.sku, user, key_of(user))
        except (wire.Closed, OSError):
            self.shop.close()
            self.unsure.append(user)
            return None
        match = PURCHASED.fullmatch(reply.text)
        if reply.status == 200 and match:
            self.numbers[user] = match[1]
        else:
            self.unsure.append(user)
        return reply

    def until_trouble(self):
        """Buys until something else than a confirmation comes; that reply."""
        for _ in range(TRIES_MAX):
            reply = self.buy()
            if reply is None or reply.status != 200:
                return reply
            assert reply.code is None, reply
        raise AssertionError(f"no trouble in {TRIES_MAX} purchases")

    def check(self, store, unsure_may_be_there=True):
        """The store has every acknowledged purchase once, and of the others at most one each."""
        rows = store.purchases(self.sku)
        users = [user for _, user, _ in rows]
        assert len(users) == len(set(users))
        kept = {user: number for number, user, _ in rows}
        for user, number in self.numbers.items():
            assert kept.get(user) == number, (user, number, kept.get(user))
        strangers = set(kept) - set(self.numbers)
        assert strangers <= (set(self.unsure) if unsure_may_be_there else set()), strangers
        initial, left = store.stock(self.sku)
        assert left == initial - len(rows)
        return kept


def expect_unavailable(reply):
    expect(reply, 503, UNAVAILABLE)
    assert int(reply.header("retry-after")) >= 1, reply


def ready(server):
    return wire.ask(server.port, "GET", "/readyz?verbose")


def open_till(start_server, *arguments, **how):
    server = start_server("--purchase-interval", "0", *arguments, **how)
    shop = Shop(server)
    sku = shop.sale(stock=1000, sku=new_sku("DISK"))
    shop.close()
    return server, Till(server, sku)


# --- faults on request ---

@pytest.mark.parametrize("fault", ["full", "io"])
def test_failed_commit_is_refused_and_forgotten(start_server, fault):
    """A purchase whose write failed is confirmed, is in the store, or the server does not go on afterwards."""
    server, till = open_till(start_server, "--fault", f"commit:8:{fault}")
    expect_unavailable(till.until_trouble())
    lost = till.unsure[-1]
    counted = wire.ask(server.port, "GET", "/metrics").text
    assert 'purchase_outcomes_total{outcome="SERVICE_UNAVAILABLE"}' in counted, counted
    till.check(server.store, unsure_may_be_there=False)
    wire.wait_for(lambda: (reply := till.buy(lost)) is not None and reply.status == 200, "it sells again", 30, 0.05)
    for _ in range(5):
        assert till.buy().code is None
    assert wire.ask(server.port, "GET", "/readyz").status == 200
    server.wait_log(lambda entry: entry["level"] in ("warn", "error"), "trouble")
    kept = till.check(server.store, unsure_may_be_there=False)
    assert lost in kept
    data = till.shop.product(till.sku).data
    assert data["currentStock"] == 1000 - len(kept)
    server.stop()
    till.check(server.store, unsure_may_be_there=False)


@pytest.mark.parametrize("fault", ["full", "io"])
def test_every_commit_may_fail(start_server, fault):
    """There is a commit (of a product, of the sale clock, of a purchase) whose failure the server does not survive."""
    store = start_server.new_store()
    for n in range(1, 7):
        server = start_server("--purchase-interval", "0", "--fault", f"commit:{n}:{fault}", on=store)
        shop, sku = Shop(server), new_sku("DISK")
        reply = shop.create(shop.body(sku, stock=20))
        if reply.status == 503:
            assert shop.product(sku).status == 404
            wire.wait_for(lambda: shop.create(shop.body(sku, stock=20)).status == 201, "the product is made", 30, 0.05)
        shop.wait_state(sku, "ACTIVE")
        till = Till(server, sku)
        for _ in range(6):
            user = new_user("till")
            wire.wait_for(lambda: till.buy(user).status == 200, "the purchase is made", 30, 0.05)
        till.check(store, unsure_may_be_there=False)
        assert len(till.numbers) == 6
        shop.close()
        server.stop()


def test_disk_that_stays_full(start_server):
    """While nothing can be written, purchases are confirmed, or reads and refusals stop too, or nobody is told why."""
    server, till = open_till(start_server, "--fault", "commit:6+:full,probe:1+:full")
    expect_unavailable(till.until_trouble())
    for _ in range(3):
        expect_unavailable(till.buy())
    reply = wire.wait_for(lambda: (reply := ready(server)).status == 503 and reply, "not ready")
    assert reply.json()["status"] != "ready"
    assert "full" in reply.text.lower() or "space" in reply.text.lower(), reply
    health = wire.ask(server.port, "GET", "/health")
    assert health.status == 503 and health.json()["success"] is True, health
    assert health.json()["data"]["status"] == "degraded"
    assert [check["status"] for check in health.json()["data"]["checks"].values()].count("down") == 1
    assert wire.ask(server.port, "GET", "/livez").status == 200
    data = till.shop.status(till.sku).data
    assert data["stock"] == 1000 - len(till.numbers)
    user = next(iter(till.numbers), None)
    if user is not None:
        assert till.shop.purchase(till.sku, user).data["purchaseNo"] == till.numbers[user]
    server.wait_log(lambda entry: entry["level"] == "error" and ("full" in entry["message"] or "space" in
        entry["message"]), "the disk is full")
    server.stop()
    till.check(server.store, unsure_may_be_there=False)


@pytest.mark.embedded
@pytest.mark.parametrize("fault", ["unknown-lost", "unknown-kept"])
def test_failed_flush_stops_acceptance_until_restart(start_server, fault):
    """After a flush that failed the server goes on confirming, although nobody knows what is on disk."""
    server, till = open_till(start_server, "--fault", f"commit:8:{fault}")
    first = till.until_trouble()
    assert first.status == 503 and first.code == "OUTCOME_UNKNOWN", first
    assert int(first.header("retry-after")) >= 1, first
    unsure = till.unsure[-1]
    assert wire.ask(server.port, "GET", "/readyz").status == 503
    for _ in range(5):
        expect_unavailable(till.buy())
    time.sleep(0.3)  # pause: a recovery that came by itself would have come by now
    expect_unavailable(till.buy())
    assert wire.ask(server.port, "GET", "/readyz").status == 503
    assert wire.ask(server.port, "GET", f"{SALES}?sku={till.sku}").status == 200
    server.wait_log(lambda entry: entry["level"] == "error", "trouble")
    till.shop.close()
    server.signal()
    status = server.wait_exit()
    server.check_silence()
    assert status in (0, 3), status
    again = start_server("--purchase-interval", "0", on=server.store)
    till.move(again)
    kept = till.check(server.store)
    assert (unsure in kept) == (fault == "unknown-kept")
    assert set(kept) <= set(till.numbers) | {unsure}
    reply = till.buy(unsure)  # the same key resolves what nobody knew
    assert reply.code is None
    if unsure in kept:
        assert till.numbers[unsure] == kept[unsure]
    till.check(server.store, unsure_may_be_there=False)


@pytest.mark.parametrize("fault", ["crash-before", "crash-after"])
def test_crash_around_the_commit(start_server, fault):
    """A crash just before or after the commit loses an acknowledged purchase or doubles one that is asked for again."""
    server, till = open_till(start_server, "--fault", f"commit:8:{fault}")
    assert till.until_trouble() is None
    unsure = till.unsure[-1]
    assert server.wait_exit() == 9
    again = start_server("--purchase-interval", "0", on=server.store)
    till.move(again)
    kept = till.check(server.store)
    assert (unsure in kept) == (fault == "crash-after")
    reply = till.buy(unsure)
    assert reply.code is None
    if unsure in kept:
        assert till.numbers[unsure] == kept[unsure]
    till.check(server.store, unsure_may_be_there=False)
    expect(till.shop.buy(till.sku, unsure), 200, ALREADY)


@pytest.mark.parametrize("n", range(1, 8))
@pytest.mark.parametrize("fault", ["crash-before", "crash-after"])
def test_crash_at_every_commit(start_server, fault, n):
    """There is a commit at which a crash leaves half a sale."""
    server = start_server("--purchase-interval", "0", "--fault", f"commit:{n}:{fault}")
    shop, sku = Shop(server), new_sku("DISK")
    is_made = False
    till = Till(server, sku)
    try:
        is_made = shop.create(shop.body(sku, stock=20)).status == 201
        shop.wait_state(sku, "ACTIVE")
        for _ in range(n + 1):
            if till.buy() is None:
                break
    except (wire.Closed, OSError):
        pass
    shop.close()
    assert server.wait_exit() == 9
    again = start_server("--purchase-interval", "0", on=server.store)
    shop = Shop(again)
    if shop.product(sku).status == 404:
        assert not is_made, "a confirmed product is gone"
        assert shop.create(shop.body(sku, stock=20)).status == 201
    shop.wait_state(sku, "ACTIVE")
    till.move(again)
    till.check(server.store)
    for user in list(till.unsure):
        assert till.buy(user).code is None
    assert till.buy().code is None
    till.check(server.store, unsure_may_be_there=False)
    shop.close()


def test_failing_reads_are_503(start_server):
    """A read that fails is told as no purchase, or as success."""
    server, till = open_till(start_server, "--fault", "read:1-3:io")
    assert till.buy().code is None
    user = next(iter(till.numbers))
    replies = [till.shop.purchase(till.sku, user) for _ in range(5)]
    assert any(reply.status in (500, 503) for reply in replies), replies
    assert replies[-1].status == 200
    for reply in replies:
        assert reply.status in (200, 500, 503)


def test_failing_load_is_told(start_server):
    """A store that cannot be read at the start makes a server with an empty world."""
    server = Server(start_server.new_store(), ["--fault", "load:1:io"]).launch()
    assert server.wait_exit() == 3
    assert server.err.text().strip()
    server.check_silence()


# --- a disk that is really full ---

@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount the small file system that this test fills")
    place = tmp_path / "disk"
    place.mkdir()
    result = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "doorbuster-test", str(place)],
        capture_output=True, text=True)
    if result.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {result.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place):
    """Takes every byte that is left; the file that holds them."""
    filler = place / "filler"
    with open(filler, "ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return filler


@pytest.mark.embedded
def test_full_disk_is_told_and_survived(start_server, small_disk, store):
    """On a full disk a purchase is confirmed and lost, or the server dies, says nothing, or does not go on when
    there is room again."""
    kind = type(store())
    place = kind(small_disk / "shop")
    server, till = open_till(start_server, on=place)
    for _ in range(10):
        assert till.buy().code is None
    filler = fill(small_disk)
    reply = None
    for _ in range(3000):  # what is left in the log that is already allocated may take some
        reply = till.buy()
        if reply is None or reply.status != 200:
            break
    expect_unavailable(reply)
    told = wire.wait_for(lambda: (reply := ready(server)).status == 503 and reply, "not ready")
    assert "full" in told.text.lower() or "space" in told.text.lower(), told
    server.wait_log(lambda entry: entry["level"] == "error" and ("full" in entry["message"] or "space" in
        entry["message"]), "the disk is full")
    assert wire.ask(server.port, "GET", f"{SALES}?sku={till.sku}").status == 200
    till.check(place, unsure_may_be_there=False)
    filler.unlink()
    wire.wait_for(lambda: till.buy().status == 200, "it sells again", 30, 0.1)
    wire.wait_for(server.is_ready, "ready again")
    for _ in range(10):
        assert till.buy().code is None
    till.check(place, unsure_may_be_there=False)
    server.kill9()
    again = start_server("--purchase-interval", "0", on=place)
    till.move(again)
    till.check(place, unsure_may_be_there=False)
    assert till.buy().code is None
    till.shop.close()
    again.stop()


@pytest.mark.embedded
def test_kill_on_a_full_disk_loses_nothing(start_server, small_disk, store):
    """kill -9 while the disk is full loses what was confirmed before."""
    kind = type(store())
    place = kind(small_disk / "shop")
    server, till = open_till(start_server, on=place)
    for _ in range(10):
        assert till.buy().code is None
    filler = fill(small_disk)
    for _ in range(3000):
        reply = till.buy()
        if reply is None or reply.status != 200:
            break
    server.kill9()
    filler.unlink()
    again = start_server("--purchase-interval", "0", on=place)
    till.move(again)
    till.check(place, unsure_may_be_there=False)
    for user in till.unsure[:5]:
        assert till.buy(user).code is None
    till.shop.close()
    again.stop()


@pytest.mark.embedded
def test_start_on_a_full_disk_is_told(start_server, small_disk, store):
    """A server that cannot make its store because the disk is full starts, hangs or says nothing."""
    kind = type(store())
    place = kind(small_disk / "shop")
    fill(small_disk)
    server = Server(place).launch()
    assert server.wait_exit() == 3
    assert "full" in server.err.text() or "space" in server.err.text(), server.err.text()
    server.check_silence()

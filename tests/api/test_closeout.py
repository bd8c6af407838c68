# SPDX-License-Identifier: Apache-2.0
"""
The close-out of sales: after its end every sale is counted from its rows by one node, once, and the log and the
metrics say what came of it; also when the process that should have done it has died: another one has done it within
ten seconds.
"""
import contextlib
import re
import time

import pytest

from machines import Pool, expect
from nodes import NodeDatabase, postgres, start_nodes  # noqa: F401 (fixtures)
from services import wait_for
from shop import Shop, new_sku, new_user, now_ms

PROVEN = "doorbuster_sales_proven_total"
TAKEN_OVER_SECONDS = 10.0
LEASE_SECONDS = 5.0
IN_FLIGHT_MAX = 4  # of the close-out
MANY = 100


def metric(shop, name, **labels):
    wanted = name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "} "
    for line in shop.ask("GET", "/metrics").text.splitlines():
        if line.startswith(wanted):
            return float(line[len(wanted):])
    raise AssertionError(f"no metric {wanted}")


def wait_closeout(server, sku):
    """The log line about the sale, and there is no second one."""
    about = f"sale {sku} ended "
    server.wait_log(lambda entry: entry["message"].startswith(about), f"the close-out of {sku}")
    entries = [entry for entry in server.logs() if entry["message"].startswith(about)]
    assert len(entries) == 1, entries
    return entries[0]


def work_left(store):
    return store.rows("SELECT kind, subject, token FROM work WHERE kind = 'sale-closeout'")


def test_sold_out_sale_is_proven(start_server, shop_of):
    """A sell-out is not proven, is proven twice, or the sums are wrong."""
    server = start_server("--purchase-interval", "0")
    shop = shop_of(server)
    sku = shop.sale(stock=3, sku=new_sku("PROOF"))
    for _ in range(3):
        shop.buy_well(sku)
    entry = wait_closeout(server, sku)
    assert entry["level"] == "info"
    assert entry["message"] == (f"sale {sku} ended SOLD_OUT: 3 of 3 units sold to 3 buyers, 0 left, "
        "rows and stock agree")
    wait_for(lambda: work_left(server.store) == [], "the work is finished")
    assert metric(shop, PROVEN, verdict="agree") == 1
    assert metric(shop, PROVEN, verdict="differ") == 0
    for name in ("claimed", "finished"):
        wait_for(lambda: metric(shop, f"doorbuster_work_{name}_total", kind="sale-closeout") == 1, name)
    for name in ("postponed", "lost"):
        assert metric(shop, f"doorbuster_work_{name}_total", kind="sale-closeout") == 0


def test_units_sold_by_machines_are_proven(start_server):
    """What machines sell, again and again to whoever comes, is called wrong because no user may have so many."""
    server = start_server("--dispense-time", "0")
    pool = Pool(server)
    machine = pool.make()["id"]
    name = new_sku("PROOF")
    product = pool.add(stock=4, name=name)["id"]
    pool.buy_well(name)
    for count in (1, 2):
        pool.start_work()
        expect(pool.ask("POST", "/api/orchestrator/choose-product", body={"machine_id": machine,
            "product_id": product, "count": count, "coins": count}), 200)
    entry = wait_closeout(server, name)
    assert (entry["level"], entry["message"]) == ("info", f"sale {name} ended SOLD_OUT: 4 of 4 units sold to 1 buyers "
        "and 3 by who pays, 0 left, rows and stock agree")
    assert metric(pool, PROVEN, verdict="agree") == 1
    assert metric(pool, PROVEN, verdict="differ") == 0
    pool.close()


def test_expired_sale_is_proven(start_server, shop_of):
    """A sale that ended by the clock is not proven."""
    server = start_server("--purchase-interval", "0")
    shop = shop_of(server)
    sku = shop.short_sale(shop.buy_well, 1500, 5, "PROOF")
    message = wait_closeout(server, sku)["message"]
    assert message.endswith("ended TIME_EXPIRED: 1 of 5 units sold to 1 buyers, 4 left, rows and stock agree")


def test_sale_made_anew_is_not_alarming(start_server, shop_of):
    """A sale that was overwritten after its end, before anybody proved it, is called wrong."""
    server = start_server("--purchase-interval", "0")
    shop = shop_of(server)
    sku = new_sku("PROOF")
    for stock in (1, 2):
        shop.sale(stock=stock, sku=sku)
        for _ in range(stock):
            shop.buy_well(sku)
    wait_for(lambda: work_left(server.store) == [], "the work is finished")
    assert metric(shop, PROVEN, verdict="differ") == 0
    assert metric(shop, PROVEN, verdict="agree") >= 1


def test_closeout_after_a_crash(start_server, shop_of):
    """kill -9 right after the last unit: nobody proves the sale after the restart, or only when an operator helps."""
    server = start_server("--purchase-interval", "0")
    shop = shop_of(server)
    sku = shop.sale(stock=2, sku=new_sku("PROOF"))
    shop.buy_well(sku)
    shop.buy_well(sku)
    server.kill9()
    server.store.frozen(server.store.directory / "frozen")
    left = work_left(server.store)
    if left == []:  # the worker was quicker than the signal
        wait_closeout(server, sku)
        return
    assert [(kind, subject) for kind, subject, _ in left] == [("sale-closeout", sku)]
    again = start_server("--purchase-interval", "0", on=server.store)
    began = time.monotonic()
    assert "2 of 2 units sold to 2 buyers" in wait_closeout(again, sku)["message"]
    assert time.monotonic() - began < TAKEN_OVER_SECONDS
    wait_for(lambda: work_left(server.store) == [], "the work is finished")
    assert metric(shop_of(again), PROVEN, verdict="agree") == 1


def test_rows_that_were_changed_are_called_wrong(start_server, shop_of):
    """A purchase that is missing from the rows goes unnoticed."""
    server = start_server("--purchase-interval", "0", "--fault", "read:1+:io")
    shop = shop_of(server)
    sku = shop.sale(stock=2, sku=new_sku("PROOF"))
    shop.buy_well(sku)
    shop.buy_well(sku)
    server.wait_log(lambda entry: "is proven later" in entry["message"], "a reader that fails puts the proof off")
    server.stop()
    server.store.spoil("DELETE FROM purchase_log WHERE nth = 1 AND id ="
        " (SELECT max(id) FROM purchase_log)")
    again = start_server("--purchase-interval", "0", on=server.store)
    entry = wait_closeout(again, sku)
    assert entry["level"] == "error"
    assert entry["message"].endswith("1 of 2 units sold to 1 buyers, 0 left, rows and stock differ; "
        "run doorbuster verify")
    assert metric(shop_of(again), PROVEN, verdict="differ") == 1


# --- several nodes ---

@pytest.fixture
def database(postgres, tmp_path):
    database = NodeDatabase(postgres, tmp_path)
    database.rows(GATE)
    return database


def sales_that_end(node, count, seconds):
    """So many sales of two units, of which one is sold to somebody, that end by the clock at the same time."""
    shop = Shop(node)
    end = now_ms() + int(seconds * 1000)
    try:
        skus = []
        for _ in range(count):
            skus.append(new_sku("LATE"))
            body = {**shop.body(skus[-1], 2), "endTime": shop.body("X", end=end - now_ms())["endTime"]}
            assert shop.create(body).status == 201
        for sku in skus:
            shop.wait_state(sku, "ACTIVE")
            shop.buy_well(sku, new_user())
        return skus
    finally:
        shop.close()


GATE = """
CREATE TABLE gate (is_closed boolean);
CREATE TABLE gate_closes_at (work_left bigint);
CREATE FUNCTION close_gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO gate SELECT true FROM gate_closes_at
        WHERE work_left >= (SELECT count(*) FROM work WHERE kind = 'sale-closeout');
    RETURN NULL; END $$;
CREATE TRIGGER close_gate AFTER DELETE ON work FOR EACH STATEMENT EXECUTE FUNCTION close_gate();
CREATE FUNCTION pass_gate() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    WHILE EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP; RETURN true; END $$;
CREATE POLICY gate ON purchase_log USING (pass_gate()) WITH CHECK (true);
ALTER TABLE purchase_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
"""


@contextlib.contextmanager
def no_reading(database, work_left=None):
    """Whoever comes to a purchase waits there while it lasts, or once there is only so much work left: so a close-out
    that has begun does not end."""
    if work_left is None:
        database.rows("INSERT INTO gate VALUES (true)")
    else:
        database.rows("INSERT INTO gate_closes_at VALUES (%s)", work_left)
    try:
        yield
    finally:
        database.rows("DELETE FROM gate_closes_at")
        database.rows("DELETE FROM gate")


def claims(database):
    """{SKU: (token, end of the lease in seconds)} of the work that somebody has claimed."""
    return {sku: (token, float(due)) for sku, token, due in database.rows(
        "SELECT subject, token, extract(epoch FROM due_at) FROM work WHERE token > 0 AND kind = 'sale-closeout'")}


def proofs(node):
    """The SKUs that it has proven, in order."""
    lines = [re.match(r"sale (\S+) ended TIME_EXPIRED: 1 of 2 units sold to 1 buyers, 1 left, rows and stock agree$",
        entry["message"]) for entry in node.logs() if entry["message"].startswith("sale ")]
    assert all(lines), node.logs()
    return [line[1] for line in lines]


def wait_done(database, died):
    """Until there is no work left; seconds since then."""
    wait_for(lambda: database.rows("SELECT count(*) FROM work WHERE kind = 'sale-closeout'") == [(0,)],
        "no work is left", 3 * TAKEN_OVER_SECONDS)
    return time.monotonic() - died


def work_figure(node, name):
    shop = Shop(node)
    try:
        return metric(shop, f"doorbuster_work_{name}_total", kind="sale-closeout")
    finally:
        shop.close()


@pytest.mark.needs("postgres")
def test_node_that_lives_keeps_its_work(database, start_nodes):
    """A proof that takes longer than a lease is begun by a second node, or does not count in the end."""
    slow, = start_nodes(database)
    sku, = sales_that_end(slow, 1, 6)
    with no_reading(database):
        wait_for(lambda: claims(database), "the work is claimed", 20)
        _, first = claims(database)[sku]
        other, = start_nodes(database)
        wait_for(lambda: claims(database)[sku][1] > first + 1.5 * LEASE_SECONDS, "its lease is renewed", 30)
        assert claims(database)[sku][0] == 1, "a second node has claimed it"
    wait_done(database, time.monotonic())
    wait_for(lambda: work_figure(slow, "finished") == 1, "it is counted")
    assert (proofs(slow), proofs(other)) == ([sku], [])
    assert [work_figure(slow, name) for name in ("claimed", "lost", "postponed")] == [1, 0, 0]
    assert work_figure(other, "claimed") == 0


@pytest.mark.needs("postgres")
def test_work_of_a_killed_node_is_taken_over(database, start_nodes):
    """kill -9 of the node that counts: nobody else does it, or only after a long time, or it is done twice."""
    victim, = start_nodes(database)
    skus = sales_that_end(victim, 3, 7)
    with no_reading(database):
        wait_for(lambda: len(claims(database)) == len(skus), "all work is claimed", 20)
        other, = start_nodes(database)
        assert {token for token, _ in claims(database).values()} == {1}
        victim.kill9()
        died = time.monotonic()
    seconds = wait_done(database, died)
    print(f"the work of the killed node was done {seconds:.2f} s after its death")
    assert seconds < TAKEN_OVER_SECONDS
    assert proofs(victim) == []
    assert sorted(proofs(other)) == sorted(skus)
    wait_for(lambda: work_figure(other, "finished") == len(skus), "they are counted")


@pytest.mark.needs("postgres")
def test_node_killed_amid_many(database, start_nodes):
    """A hundred sales end at once and a node dies over them: one is not proven, or late, or by two that live."""
    victim, other = start_nodes(database, 2)
    skus = sales_that_end(victim, MANY, 15)
    with no_reading(database, MANY * 3 // 4):
        wait_for(lambda: len(claims(database)) == 2 * IN_FLIGHT_MAX, "both hold what they have claimed")
        victim.kill9()
        died = time.monotonic()
    seconds = wait_done(database, died)
    print(f"{len(proofs(victim))} proven by the killed node, {len(proofs(other))} by the other; "
        f"all {seconds:.2f} s after the death")
    assert seconds < TAKEN_OVER_SECONDS
    assert sorted({*proofs(victim), *proofs(other)}) == sorted(skus)
    assert len(set(proofs(victim))) == len(proofs(victim)) and len(set(proofs(other))) == len(proofs(other))
    # What the dead node had counted without living to say so is counted again.
    assert {*proofs(victim)} & {*proofs(other)} <= {*proofs(victim)[-IN_FLIGHT_MAX:]}


@pytest.mark.needs("postgres")
def test_stopped_node_gives_back_what_waits(database, start_nodes):
    """SIGTERM of a node that counts: what it has begun is lost, or what waits there waits for a lease."""
    first, = start_nodes(database)
    skus = sales_that_end(first, 3, 7)
    with no_reading(database):
        wait_for(lambda: len(claims(database)) == len(skus), "all work is claimed", 20)
        other, = start_nodes(database)
        first.signal()
        wait_for(lambda: len([1 for token, _ in claims(database).values() if token > 1]) == len(skus) - 1,
            "the other has what had not begun")
    assert first.wait_exit() == 0
    wait_done(database, time.monotonic())
    assert len(proofs(first)) == 1
    assert sorted(proofs(first) + proofs(other)) == sorted(skus)

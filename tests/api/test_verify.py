# SPDX-License-Identifier: Apache-2.0
"""
`doorbuster verify` as an operator uses it: beside a running server, after one that stopped or was killed, with the
journals of `doorbuster rush`, and for its exit status. What each invariant catches is in tests/unit/test_verify_*.
"""
import json
import sqlite3
import subprocess
from pathlib import Path

import pytest

from buyers import buying
from server import binary, clean_environment
from shop import Shop, new_sku, new_user

HOLDS, VIOLATED, USAGE, WORLD = 0, 1, 2, 3
NO_LIMIT = ["--purchase-interval", "0s"]


def run(*arguments, prefix=()):
    command = [*prefix, str(binary()), *(str(argument) for argument in arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=60)


def verify(store, *arguments, expect=HOLDS, prefix=()):
    result = run("verify", "--store", store.argument, *arguments, prefix=prefix)
    assert result.returncode == expect, f"exit status {result.returncode}\n{result.stdout}{result.stderr}"
    return result


def failed(result):
    """The names of the invariants that failed."""
    return [line.split()[1].rstrip(":") for line in result.stdout.splitlines() if line.startswith("  FAIL  ")]


def picture(store):
    """Every file of the store, to the byte."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in store.files()}


@pytest.fixture
def sold(start_server, shop_of):
    """A running server that has sold 3 of 5 units of one product and all 2 of another: (server, [sku, sku])."""
    server = start_server(*NO_LIMIT)
    shop = shop_of(server)
    skus = [shop.sale(5), shop.sale(2)]
    for sku, count in zip(skus, (3, 2)):
        for _ in range(count):
            shop.buy_well(sku)
    shop.upcoming()
    return server, skus


@pytest.mark.embedded
def test_running_stopped_and_killed_stores_pass(sold, start_server):
    """A store that is as it must be fails the audit in one of its three states."""
    server, skus = sold
    result = verify(server.store)
    assert "running, or killed" in result.stdout and "ALL INVARIANTS HOLD" in result.stdout, result.stdout
    for sku, count in zip(skus, (3, 2)):
        assert f"product {sku}: " in result.stdout and f", purchases {count}, unique users {count}" in result.stdout
    assert server.is_ready()
    server.kill9()
    before = picture(server.store)
    verify(server.store)
    assert picture(server.store) == before, "an audit after a crash changes the store's files"
    again = start_server(*NO_LIMIT, on=server.store)
    again.stop()
    before = picture(server.store)
    result = verify(server.store)
    assert "; stopped)" in result.stdout, result.stdout
    assert picture(server.store) == before, "an audit of a stopped store changes its files"


def test_overwritten_and_deleted_products_pass(sold, shop_of):
    """A product that was made anew or deleted after it had sold leaves something behind that fails the audit."""
    server, skus = sold
    shop = shop_of(server)
    assert shop.create(shop.body(skus[0], 4)).status == 201
    assert shop.delete(skus[1]).status == 200
    verify(server.store)
    shop.wait_state(skus[0], "ACTIVE")
    shop.buy_well(skus[0])
    assert shop.patch(skus[0], {"perUserLimit": 2}).status == 200
    verify(server.store)
    server.stop()
    verify(server.store)


def test_sales_of_every_end_pass(start_server, shop_of):
    """A sale that ended by its clock, never had a unit, or has several units a user fails the audit."""
    server = start_server(*NO_LIMIT)
    shop = shop_of(server)
    ended = shop.short_sale(shop.buy_well, 1500, 3)
    several = shop.sale(6)
    assert shop.patch(several, {"perUserLimit": 3}).status == 200
    user = new_user()
    for _ in range(3):
        shop.buy_well(several, user)
    shop.buy_well(several)
    shop.sale(0)
    shop.wait_state(ended, "ENDED")
    verify(server.store)


def test_audits_while_it_sells_see_one_moment(start_server, shop_of):
    """The audit of a store in use mixes two moments: stock and purchases do not fit, or it disturbs the server."""
    server = start_server(*NO_LIMIT)
    sku = shop_of(server).sale(1_000_000)
    with buying(server, sku) as sold:
        for _ in range(10):
            verify(server.store)
    assert sold[0] > 10


@pytest.mark.parametrize("scenario, users", [("purchase-load", 200), ("duplicate-user", 100)])
def test_a_rush_and_its_journal_agree_with_the_store(start_server, tmp_path, scenario, users):
    """What the crowd was told and what is in the store differ, or the two sides read the journal differently."""
    server = start_server()
    journal = tmp_path / "rush.journal"
    rush = run("rush", scenario, "--url", f"http://127.0.0.1:{server.port}", "--admin-key", "dev-admin-key-12345678",
        "--users", users, "--stock", 50, "--journal", journal)
    assert rush.returncode == HOLDS, rush.stdout + rush.stderr
    report = tmp_path / "report.json"
    verify(server.store, "--journal", journal, "--journal-complete", "--report", report)
    data = json.loads(report.read_text())
    names = {finding["invariant"] for product in data["products"] for finding in product["findings"]}
    assert {"acknowledged", "refused", "told-already", "complete"} <= names
    assert ("expected-users" in names) == (scenario == "duplicate-user")
    assert data["verdict"] == "PASS" and data["answers"] == users and data["acknowledged"] > 0
    server.stop()
    number, user = next((answer["purchaseNo"], answer["user"])
        for answer in map(json.loads, journal.read_text().splitlines()[1:]) if answer["outcome"] == "acknowledged")
    server.store.spoil(f"""DELETE FROM purchase_log WHERE id = (SELECT id FROM purchases
        WHERE purchase_no = '{number}'); UPDATE products SET stock = stock + 1, state = 'ACTIVE', end_reason = NULL""")
    result = verify(server.store, "--journal", journal, expect=VIOLATED)
    assert "acknowledged" in failed(result), result.stdout
    assert f'{number} of "{user}" is not in the store' in result.stdout


@pytest.mark.embedded
def test_violations_end_with_status_1_and_name_the_row(sold):
    """A spoilt store passes, or the report does not say where."""
    server, skus = sold
    server.stop()
    server.store.spoil(f"UPDATE products SET stock = stock + 1 WHERE sku = '{skus[0]}'")
    result = verify(server.store, expect=VIOLATED)
    assert failed(result) == ["stock-adds-up"], result.stdout
    assert f"{skus[0]} has stock 3 and should have 2" in result.stdout
    assert "INVARIANTS VIOLATED: 1 of " in result.stdout
    verify(server.store, "--sku", skus[1])
    quiet = verify(server.store, "--quiet", expect=VIOLATED)
    assert "PASS" not in quiet.stdout and skus[1] not in quiet.stdout and "FAIL  stock-adds-up" in quiet.stdout
    assert verify(server.store, "--quiet", "--sku", skus[1]).stdout == ""


def test_what_cannot_be_checked_does_not_pass(sold, tmp_path):
    """An audit that saw nothing ends with 0."""
    server, skus = sold
    journal = tmp_path / "rush.journal"
    result = verify(server.store, "--sku", new_sku(), expect=WORLD)
    assert "has no product" in result.stderr and result.stdout == ""
    assert "No such file" in run("verify", "--store", tmp_path / "none.db").stderr
    assert run("verify", "--store", tmp_path / "none.db").returncode == WORLD
    assert not (tmp_path / "none.db").exists(), "verify made a store"
    verify(server.store, "--journal", journal, expect=WORLD)
    journal.write_text('{"journal":1,"scenario":"purchase-load","sku":"%s","users":1}\n' % skus[0])
    assert "says nothing" in verify(server.store, "--journal", journal, expect=WORLD).stderr
    verify(server.store, "--journal-complete", expect=USAGE)
    verify(server.store, "--report", "report.pdf", expect=USAGE)
    verify(server.store, "--no-such-flag", expect=USAGE)
    verify(server.store, "--expect-users", "1", "--sku", skus[0], expect=VIOLATED)
    verify(server.store, "--expect-users", "3", "--sku", skus[0])


@pytest.mark.embedded
def test_a_store_on_read_only_media_can_be_audited(sold, tmp_path):
    """A backup on a read-only disk cannot be audited, because SQLite wants to make files beside it."""
    server, _ = sold
    place = server.store.directory
    read_only = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && '
        '! touch "$0/x" 2>/dev/null && exec "$@"', str(place)]
    probe = subprocess.run([*read_only, "true"], capture_output=True, text=True, timeout=30)
    if probe.returncode != 0:
        pytest.skip(f"needs the right to mount: {probe.stderr.strip()}")
    server.kill9()
    assert any(path.name.endswith("-wal") for path in server.store.files())
    assert "running, or killed" in verify(server.store, prefix=read_only).stdout
    copy = server.store.copy(Path(place) / "copy")
    assert "a copy with its log" in verify(copy, prefix=read_only).stdout
    sqlite3.connect(server.store.path).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    assert "; stopped)" in verify(server.store, prefix=read_only).stdout

# SPDX-License-Identifier: Apache-2.0
"""
The close-out of sales: after its end every sale is counted from its rows by one node, once, and the log and the
metrics say what came of it; also when the process that should have done it has died.
"""
from services import wait_for
from shop import new_sku

PROVEN = "doorbuster_sales_proven_total"


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
    return store.rows("SELECT kind, subject, token FROM work")


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


def test_expired_sale_is_proven(start_server, shop_of):
    """A sale that ended by the clock is not proven."""
    server = start_server("--purchase-interval", "0")
    shop = shop_of(server)
    sku = shop.sale(stock=5, sku=new_sku("PROOF"), end=1500)
    shop.buy_well(sku)
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
    """kill -9 right after the last unit: nobody proves the sale after the restart."""
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
    # A lease of the dead process would have to run out first; as if it had.
    server.store.spoil("UPDATE work SET due_at = created_at")
    again = start_server("--purchase-interval", "0", on=server.store)
    assert "2 of 2 units sold to 2 buyers" in wait_closeout(again, sku)["message"]
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
    server.store.spoil("UPDATE work SET due_at = created_at; DELETE FROM purchase_log WHERE nth = 1 AND id ="
        " (SELECT max(id) FROM purchase_log)")
    again = start_server("--purchase-interval", "0", on=server.store)
    entry = wait_closeout(again, sku)
    assert entry["level"] == "error"
    assert entry["message"].endswith("1 of 2 units sold to 1 buyers, 0 left, rows and stock differ; "
        "run doorbuster verify")
    assert metric(shop_of(again), PROVEN, verdict="differ") == 1

# SPDX-License-Identifier: Apache-2.0
"""More requests than the line takes: they are refused at once and completely, and those who come again are served."""
import time

import pytest

import wire
from shop import NOT_ACTIVE, PURCHASED, UNAVAILABLE, expect, new_sku, new_user
from test_flash_sale_status import rush


PATIENCE_SECONDS = 200


@pytest.mark.seconds(PATIENCE_SECONDS + 60)
@pytest.mark.parametrize("arguments", [("--line-depth-max", "1"), ("--line-depth-max", "3"),
    ("--answer-deadline", "10ms")], ids=" ".join)
def test_overload_is_refused_cleanly(start_server, shop_of, arguments):
    """Under overload a buyer gets something else than a confirmation or a 503 with Retry-After, a refused one is
    charged, or a confirmed one is not."""
    server = start_server("--purchase-interval", "0", *arguments)
    shop = shop_of(server)
    sku = new_sku("LINE")
    wire.wait_for(lambda: shop.create(shop.body(sku, stock=1000)).status == 201, "the product is made")
    shop.wait_state(sku, "ACTIVE")
    # A slow machine serves few of them at a time.
    sold, waiting, end = {}, [new_user("line") for _ in range(300)], time.monotonic() + PATIENCE_SECONDS
    while waiting and time.monotonic() < end:
        again = []
        for user, reply in zip(waiting, rush(server, sku, waiting)):
            match = PURCHASED.fullmatch(reply.text)
            if match:
                sold[user] = match[1]
            else:
                expect(reply, 503, UNAVAILABLE)
                assert int(reply.header("retry-after")) >= 1
                again.append(user)
        waiting = again
    assert not waiting, f"{len(waiting)} buyers were never served"
    assert {user: number for number, user, _ in server.store.purchases(sku)} == sold
    assert len(set(sold.values())) == 300 and shop.stock(sku) == 700
    wire.wait_for(server.is_ready, "ready")


def test_refusals_do_not_need_the_line(start_server, shop_of):
    """A crowd at a sold-out sale fills the line, and keeps buyers of another sale out."""
    server = start_server("--line-depth-max", "4")
    shop = shop_of(server)
    over, on = shop.sale(stock=1), shop.sale(stock=50)
    shop.buy_well(over)
    for reply in rush(server, over, [new_user("late") for _ in range(300)]):
        expect(reply, 200, NOT_ACTIVE)
    for _ in range(20):
        shop.buy_well(on)

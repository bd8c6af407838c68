# SPDX-License-Identifier: Apache-2.0
"""
kill -9 in the middle of a rush, again and again, on one store. After each restart everything that a buyer was told
is in the store exactly once, and at the end every buyer has exactly what he was told.

    DOORBUSTER_CRASH_ROUNDS  how many rounds (20); script/crash-test N sets it
    DOORBUSTER_SEED          repeats a run's choices (the printed number); the races stay the machine's
"""
import os
import random
import subprocess

import pytest

from crowd import Crowd
from server import Server, binary, clean_environment
from shop import Shop, new_sku
from test_http_hostile import seed

ROUNDS = int(os.environ.get("DOORBUSTER_CRASH_ROUNDS", "20"))
LANES = 200
BUYERS = 5 * LANES


def check_store(store, crowd, stock, where):
    """The store says what the buyers were told: every acknowledged purchase once, nobody twice, no unit too many."""
    rows = store.purchases(crowd.sku)
    users = [user for _, user, _ in rows]
    numbers = {user: number for number, user, _ in rows}
    assert len(users) == len(set(users)), f"{where}: somebody bought twice"
    assert len({number for number, _, _ in rows}) == len(rows), f"{where}: a number twice"
    assert len(rows) <= stock, f"{where}: {len(rows)} sold of {stock}"
    for user, number in crowd.acknowledged().items():
        assert numbers.get(user) == number, f"{where}: {user} was told {number}, the store has {numbers.get(user)}"
    initial, left = store.stock(crowd.sku)
    assert (initial, left) == (stock, stock - len(rows)), f"{where}: stock {left}, sold {len(rows)} of {initial}"
    for buyer in crowd.buyers:
        assert not (buyer.is_refused and buyer.user in numbers), f"{where}: {buyer.user} was refused and charged"
    return len(rows)


def check_wire(server, crowd, stock):
    """The same through the server's own eyes."""
    shop = Shop(server)
    try:
        data = shop.product(crowd.sku).data
        assert data["currentStock"] + data["totalPurchases"] == stock
        for buyer in crowd.buyers[::7]:
            reply = shop.purchase(crowd.sku, buyer.user)
            if buyer.number is not None:
                assert reply.status == 200 and reply.data["purchaseNo"] == buyer.number, (buyer.user, reply)
            else:
                assert reply.status == 404, (buyer.user, reply)
    finally:
        shop.close()


def has_verify():
    result = subprocess.run([str(binary()), "verify", "--help"], capture_output=True, timeout=30,
        env=clean_environment())
    return result.returncode == 0


def run_verify(store):
    result = subprocess.run([str(binary()), "verify", "--store", store.argument], capture_output=True, text=True,
        env=clean_environment(), timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.seconds(120 + 15 * ROUNDS)
def test_kill_in_the_middle_of_a_rush_loses_nothing(store):
    """After kill -9 and a restart an acknowledged purchase is gone, is there twice, or the stock does not fit.
    Repeat with DOORBUSTER_SEED=<the printed number>."""
    number = seed()
    print(f"DOORBUSTER_SEED={number}, {ROUNDS} rounds")
    dice = random.Random(number)
    place = store()
    past = []  # (crowd, stock) of the rounds before
    server = Server(place).start()
    try:
        for turn in range(1, ROUNDS + 1):
            where = f"round {turn}, seed {number}"
            stock = dice.choice((BUYERS * 2, BUYERS, BUYERS // 2, BUYERS // 10, BUYERS - 1))
            shop = Shop(server)
            crowd = Crowd(shop.sale(stock=stock, sku=new_sku("CRASH")), f"r{turn}", LANES, BUYERS // LANES)
            shop.close()
            answers, delay = dice.randrange(1, BUYERS * 4 // 5), dice.choice((0.0, dice.uniform(0, 0.01)))
            crowd.rush(server.port, server.kill9, answers, delay)
            told, unknown = len(crowd.acknowledged()), sum(not buyer.knows for buyer in crowd.buyers)
            frozen = place.frozen(place.directory / f"after-{turn}")
            check_store(frozen, crowd, stock, where + ", before the restart")
            server = Server(place).start()
            sold = check_store(place, crowd, stock, where + ", after the restart")
            crowd.settle(server.port)
            total = check_store(place, crowd, stock, where + ", after all have asked again")
            assert total == min(stock, BUYERS), f"{where}: {total} sold of {stock} to {BUYERS}"
            assert len(crowd.acknowledged()) == total, where
            check_wire(server, crowd, stock)
            past.append((crowd, stock))
            print(f"round {turn}: killed after {answers} answers, stock {stock}: {told} told, {unknown} unknown, "
                f"{sold} in the store, {total} at the end")
        numbers = [number for crowd, _ in past for number in crowd.acknowledged().values()]
        assert len(numbers) == len(set(numbers)), "a purchase number was given out twice"
        for crowd, stock in past:
            check_store(place, crowd, stock, "at the end")
        if has_verify():
            run_verify(place)
        else:
            print("doorbuster verify is not in this binary: the audit is this test's own alone")
        server.stop()
        place.check_left()
    finally:
        server.discard()


def test_kill_while_products_change(store):
    """kill -9 between or in admin requests leaves half a product, or forgets one that was confirmed."""
    number = seed()
    print(f"DOORBUSTER_SEED={number}")
    dice = random.Random(number)
    place = store()
    server = Server(place).start()
    try:
        for _ in range(3):
            shop, kept = Shop(server), {}
            for index in range(dice.randrange(3, 12)):
                sku = new_sku("CHANGE")
                assert shop.create(shop.body(sku, stock=index)).status == 201
                if dice.random() < 0.3:
                    assert shop.delete(sku).status == 200
                    kept[sku] = None
                else:
                    kept[sku] = index
            shop.close()
            server.kill9()
            server = Server(place).start()
            shop = Shop(server)
            for sku, stock in kept.items():
                reply = shop.product(sku)
                assert reply.status == 404 if stock is None else reply.data["currentStock"] == stock, reply
            shop.close()
        server.stop()
    finally:
        server.discard()

# SPDX-License-Identifier: Apache-2.0
"""Buyers who go on buying beside a test until it has seen enough."""
import threading
from contextlib import contextmanager

from shop import Shop


@contextmanager
def buying(server, sku, count=4):
    """`count` buyers at once, each purchase by a new user; every one must succeed. Gives a list that holds how many."""
    over, problems, sold = threading.Event(), [], [0]
    lock = threading.Lock()

    def buy_on():
        shop = Shop(server)
        try:
            while not over.is_set():
                shop.buy_well(sku)
                with lock:
                    sold[0] += 1
        except BaseException as problem:  # handed to the test below
            problems.append(problem)
        finally:
            shop.close()

    threads = [threading.Thread(target=buy_on) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield sold
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not problems, problems[0]

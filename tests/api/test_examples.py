# SPDX-License-Identifier: Apache-2.0
"""
What a customer copies from examples/: every program there buys for real, from a server as it is, and what README.md
says that it prints it prints. A customer who cannot buy is told why.
"""
import re
import subprocess
import sys

import pytest

import wire
from machines import Pool
from server import ROOT

SECONDS_MAX = 60
PRICE = 12.5
SHELL = ["/bin/sh", str(ROOT / "examples" / "buy.sh")]
PYTHON = [sys.executable, str(ROOT / "examples" / "buy.py")]


@pytest.fixture
def open_market(start_server):
    """open_market(stock, *arguments, price): a server with one featured product that is on sale."""
    pools = []

    def start(stock, *arguments, price=PRICE):
        server = start_server(*arguments)
        pools.append(Pool(server))
        pools[-1].add(stock, "Cola", price=price, category="drinks", featured=True)
        wire.wait_for(lambda: stock_of(server) == stock, "the product is on sale")
        return server

    yield start
    for pool in pools:
        pool.close()


def stock_of(server):
    return wire.ask(server.port, "GET", "/api/products/featured").json()["data"][0]["stock"]


def with_price(server, name):
    """Puts another product on sale."""
    pool = Pool(server)
    pool.add(3, name, price=PRICE, featured=True)
    pool.close()
    wire.wait_for(lambda: [row["stock"] for row in wire.ask(server.port, "GET", "/api/products/featured").json()["data"]
        if row["name"] == name] == [3], "the product is on sale")


def run(command, server, *arguments, cwd=None):
    return subprocess.run([*command, f"http://127.0.0.1:{server.port}", *arguments], stdin=subprocess.DEVNULL,
        text=True, capture_output=True, timeout=SECONDS_MAX, cwd=cwd)


def masked(text):
    """With a # for all that differs from run to run."""
    text = re.sub(r"customer-[0-9a-f]+@", "customer-#@", text)
    text = re.sub(r"PUR-\d{8}-\d{4}", "PUR-#", text)
    text = re.sub(r'"(id|nonce|product_id|public_key)":"[0-9a-f]+"', r'"\1":"#"', text)
    return re.sub(r'"timestamp":\d+', '"timestamp":#', re.sub(r"product \d+", "product #", text))


def told_in_readme():
    """What README.md says that examples/buy.sh prints."""
    found = re.search(r"^\$ examples/buy\.sh\n(.*?)(?:\n\n|```)", (ROOT / "README.md").read_text(), re.M | re.S)
    assert found, "README.md shows examples/buy.sh no more"
    return found[1].strip()


def test_with_curl_and_openssl_a_customer_buys_and_has_a_receipt(open_market, tmp_path):
    """examples/buy.sh does not buy, prints something else than README.md says, or makes a wallet anew each time."""
    server = open_market(3)
    first, second = (run(SHELL, server, cwd=tmp_path) for _ in range(2))
    for done in (first, second):
        assert (done.returncode, done.stderr) == (0, ""), done
    assert masked(first.stdout.strip()) == masked(told_in_readme())
    assert first.stdout.endswith("\nbalance: 87.5 MC\n") and second.stdout.endswith("\nbalance: 75 MC\n")
    assert "registered" not in second.stdout
    assert stock_of(server) == 1
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("wallet.pem", 0o600)]


def test_a_customer_who_cannot_buy_is_told_why(open_market, tmp_path):
    """examples/buy.sh goes on after a refusal, or hides what the server said."""
    server = open_market(1, "--opening-balance", "12.49")
    done = run(SHELL, server, str(tmp_path / "poor.pem"))
    assert done.returncode == 1
    assert "/api/wallet/transact: " in done.stderr and '"INSUFFICIENT_FUNDS"' in done.stderr, done
    said = "there is nothing to buy: no featured product has a price and is in stock\n"
    for stock, price in ((0, PRICE), (3, 0)):
        server = open_market(stock, price=price)
        done = run(SHELL, server, str(tmp_path / f"{stock}.pem"))
        assert (done.returncode, done.stderr) == (1, f"buy.sh: {said}"), done
        done = run(PYTHON, server)
        assert (done.returncode, done.stderr) == (1, f"buy.py: {said}"), done


def test_a_customer_with_python_is_told_why_too(open_market):
    """examples/buy.py shows its own lines, not what the server said."""
    server = open_market(1, "--opening-balance", "12.49")
    done = run(PYTHON, server)
    assert done.returncode == 1 and done.stderr.startswith("buy.py: /api/wallet/transact: 402 "), done
    assert '"INSUFFICIENT_FUNDS"' in done.stderr and "Traceback" not in done.stderr, done
    server.stop()
    done = run(PYTHON, server)
    assert done.returncode == 1 and "no answer from" in done.stderr and "Traceback" not in done.stderr, done


def test_what_has_no_price_is_passed_over(open_market, tmp_path):
    """A program tries to buy a product that nobody can pay for, though there is another."""
    server = open_market(3, price=0)
    with_price(server, "Tea")
    for command, words in ((SHELL, "for 12.5 MC"), (PYTHON, "bought Tea")):
        done = run(command, server, cwd=tmp_path)
        assert done.returncode == 0 and words in done.stdout, done


def test_a_key_that_the_server_does_not_know_is_registered(open_market, tmp_path):
    """Whose first registration failed, or who comes with the key of another shop, can never buy."""
    server = open_market(3)
    key = tmp_path / "wallet.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], check=True,
        stdin=subprocess.DEVNULL, timeout=SECONDS_MAX)
    for shop in (server, open_market(3)):
        done = run(SHELL, shop, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("registered: "), done
    assert "registered" not in run(SHELL, server, cwd=tmp_path).stdout


def test_with_python_a_customer_buys_and_has_a_receipt(open_market):
    """examples/buy.py does not buy, or does not look at the receipt's signature."""
    server = open_market(3)
    for number in (1, 2):
        done = run(PYTHON, server)
        assert (done.returncode, done.stderr) == (0, ""), done
        assert re.fullmatch(r"bought Cola, order PUR-\d{8}-\d{4}; 87\.5 MC left; the receipt is signed\n",
            done.stdout), done
        assert stock_of(server) == 3 - number

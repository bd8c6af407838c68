# SPDX-License-Identifier: Apache-2.0
"""Vending contract, "What a client relies on": the load test of the original's client against the real server."""
import json
from types import SimpleNamespace

import pytest

import wire
from server import ADMIN_KEY
from test_rush import journal_of
from test_rush_ladder import FOREVER, holds, ladder, levels, rush

MACHINES = 5
LEVELS = (10, 100, 300)


@pytest.fixture
def climb(start_server, tmp_path):
    """climb(dispense, ...): a ladder on a new server: (server, the rush, the lines of its journal)."""
    def start(dispense, *arguments):
        server = start_server("--net-threads", "2", "--dispense-time", dispense)
        journal = tmp_path / "rush.journal"
        door = SimpleNamespace(url=f"http://127.0.0.1:{server.port}")
        run = rush(door, tmp_path, "--journal", str(journal), *arguments)
        return server, run, journal_of(journal)[1]

    return start


def stock_of(server):
    return sum(product["stock"] for product in json.loads(wire.ask(server.port, "GET", "/api/products").body))


def test_five_machines_stand_ever_more_users(climb):
    """A user of the original's load test is lost, or the stock does not add up."""
    server, run, lines = climb(f"{FOREVER}s", "--levels", ",".join(map(str, LEVELS)))
    assert holds(run), run.out + run.err
    assert levels(run, "users", "startWork.ok", "startWork.conflict", "purchases", "stockLeft") == [
        (users, MACHINES, users - MACHINES, MACHINES, 2000 - MACHINES * number)
        for number, users in enumerate(LEVELS, 1)]
    assert stock_of(server) == ladder(run)["stockLeft"]
    leases = [line["lease"] for line in lines if line["request"] == "start-work" and line["outcome"] == "acknowledged"]
    assert len(set(leases)) == len(leases) == MACHINES * len(LEVELS)
    sold = {(line["machine"], line["lease"]) for line in lines if line["request"] == "choose-product"}
    assert {lease for _, lease in sold} == set(leases)


def test_everybody_in_the_line_gets_a_machine(climb):
    """With --wait somebody is turned away though there was time, or forgotten in the line."""
    server, run, lines = climb("20ms", "--levels", "60,20", "--wait", "60")
    assert holds(run), run.out + run.err
    assert levels(run, "startWork.ok", "purchases", "stockLeft") == [(60, 60, 1940), (20, 20, 1920)]
    assert stock_of(server) == 1920
    assert len({line["lease"] for line in lines}) == 80


def test_who_has_waited_in_vain_is_turned_away_in_time(climb):
    _, run, _ = climb(f"{FOREVER}s", "--levels", "20", "--wait", "1")
    assert holds(run), run.out + run.err
    assert levels(run, "startWork.ok", "startWork.conflict", "timeouts") == [(MACHINES, 15, 0)]


def test_what_no_run_has_made_is_not_deleted(start_server, tmp_path):
    """A rush deletes a shop's own products, with the purchases in them, without being told to."""
    server = start_server("--dispense-time", "0")
    door = SimpleNamespace(url=f"http://127.0.0.1:{server.port}")

    def send(method, path, value):
        return wire.ask(server.port, method, path, {"X-Admin-Key": ADMIN_KEY, "Content-Type": "application/json"},
            json.dumps(value).encode())

    assert send("POST", "/api/vending-machines", {"name": "Machine 1"}).status == 201
    assert send("POST", "/api/products", {"name": "Widget", "stock": 3}).status == 201
    refused = rush(door, tmp_path, "--levels", "10")
    assert refused.status == 2 and "/api/products/1, which no run has made" in refused.err
    assert stock_of(server) == 3 and len(json.loads(wire.ask(server.port, "GET", "/api/vending-machines").body)) == 1
    assert holds(rush(door, tmp_path, "--levels", "10", "--clear"))
    assert "Widget" not in wire.ask(server.port, "GET", "/api/products").text
    assert holds(rush(door, tmp_path, "--levels", "10"))  # what a run has made goes without a word

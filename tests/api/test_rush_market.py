# SPDX-License-Identifier: Apache-2.0
"""
The load scenarios of the marketplace against servers that are not ours: they sign as the contract says, pass the honest
servers, and fail each that breaks a promise, by the verdict that is there for it.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from test_rush import ATTEMPTS_MAX, journal_of, rush_once

FAKE = Path(__file__).resolve().parent / "fake_marketplace.py"
ADMIN_KEY = "a-key-of-the-test"
USERS = 30
LEVELS = "4,30"
SPEED = {f"p99 of every request at up to {users} users" for users in (10, 100, 1000)}  # a busy machine may fail these
BREAK_MS = 2000  # a p99 above that is a breaking point too

STEPS = ["register", "challenge", "verify", "featured", "transact"]
ERRORS = "no errors at up to 1000 users"
WALLETS = "every wallet has what it was opened with less what was acknowledged"
RECEIPTS = "every receipt is signed by the server's key and has numbers of its own"
STOCK = "stock left = supplied - purchases acknowledged"
RACE = f"{USERS} spends of 7.00 MC at once from a wallet with 100.00 MC"
REPEATS = f"one intent sent {USERS} times at once"
PAIRS = f"two intents of one nonce at once, {USERS // 2} times"
BOOKS = "every wallet has its opening balance, plus what came, less what was sent and spent"
SUM = "the sum stays"
ANSWERED = "every spend and transfer was answered in the end"
STRANGE = "errors"


class Fake:
    def __init__(self, mode):
        self.process = subprocess.Popen([sys.executable, str(FAKE), mode], stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def fake():
    fakes = []

    def start(mode):
        fakes.append(Fake(mode))
        return fakes[-1]

    yield start
    for each in fakes:
        each.stop()


def rush(server, tmp_path, scenario, *arguments):
    return again(lambda: rush_once(server.url, scenario, *arguments, report=tmp_path / "report.json"))


def again(ask):
    """A run whose generator was late says of itself that it is no result: then another one is taken."""
    for _ in range(ATTEMPTS_MAX):
        run = ask()
        if "INVALID: the generator was late" not in run.out:
            break
    return run


def market(server, tmp_path, *arguments):
    return rush(server, tmp_path, "marketplace", "--levels", LEVELS, *arguments)


def double_spend(server, tmp_path, *arguments):
    return rush(server, tmp_path, "double-spend", "--users", str(USERS), *arguments)


def failed(run):
    return run.failed() - SPEED


def levels(run, *names):
    return [tuple(level[name] for name in names) for level in run.run["marketplace"]["levels"]]


def breaks_at(run):
    """The users of the first level that lost requests, or that a busy machine has made too slow."""
    return next((level["users"] for level in run.run["marketplace"]["levels"]
        if level["failed"] > 0 or level["latency"]["percentilesMs"]["99"] > BREAK_MS), None)


def failed_check(run):
    """The one of the seven checks that failed, by the words of its name."""
    names = [each["invariant"] for each in run.run["invariants"] if not each["passed"]]
    return {name.split(":")[0].split(" (")[0] for name in names}


# ---- marketplace ----

@pytest.mark.parametrize("mode", ["honest", "spaced", "stale"])
def test_ever_more_users_buy(fake, tmp_path, mode):
    """Users get lost or are counted twice, sign something else than the contract says, or their coins do not add up."""
    run = market(fake(mode), tmp_path)
    assert not failed(run), run.out + run.err
    assert levels(run, "users", "requests", "failed", "purchases", "stockLeft") \
        == [(4, 24, 0, 4, 30), (30, 180, 0, 30, 0)]
    assert levels(run, "balancesWrong", "balancesNotTold", "receiptsWrong") == [(0, 0, 0)] * 2
    for level in run.run["marketplace"]["levels"]:
        assert [step["endpoint"] for step in level["steps"]] == STEPS
        assert all(step["latency"]["count"] == level["users"] for step in level["steps"])
        assert level["userLatency"]["count"] == level["users"] and level["latency"]["count"] == 5 * level["users"]
        assert level["userLatency"]["maxMs"] >= level["latency"]["maxMs"]
        assert level["signMicroseconds"] > 0
    assert levels(run, "p99LimitMs") == [(50,), (200,)]
    assert run.run["marketplace"]["breakingPoint"]["users"] == breaks_at(run)


def test_runs_of_one_server_do_not_meet(fake, tmp_path):
    run = market(fake("honest"), tmp_path, "--runs", "2", "--threads", "2", "--cooldown", "0s")
    assert [[level["purchases"] for level in each["marketplace"]["levels"]] for each in run.report["runs"]] \
        == [[4, 30]] * 2, run.out + run.err


@pytest.mark.parametrize("mode, expected, kinds", [
    ("twice", {WALLETS}, {}),
    ("forged", {RECEIPTS}, {}),
    ("altered", {RECEIPTS}, {}),
    ("numbered", {RECEIPTS}, {}),
    ("cheaper", {ERRORS, STOCK}, {"transact": "nonsense"}),
    ("invents", {STOCK}, {}),
    ("dumb", {STOCK}, {}),
    ("rounds", {WALLETS}, {}),
    ("bare", {ERRORS, WALLETS}, {"register": "nonsense"}),
    ("picky", {ERRORS}, {"register": "unavailable"}),
    ("denies", {ERRORS}, {"verify": "refused"}),
    ("hides", {ERRORS}, {"featured": "nonsense"}),
    ("stuck", {ERRORS}, {"featured": "server_error"}),
    ("closing", {ERRORS, STOCK}, {"transact": "connection_lost"}),
    ("busy", {ERRORS}, {"transact": "unavailable"}),
    ("unsure", {ERRORS, STOCK}, {"transact": "unsure"}),
])
def test_a_broken_promise_fails_the_marketplace(fake, tmp_path, mode, expected, kinds):
    run = market(fake(mode), tmp_path)
    assert failed(run) == expected, run.out + run.err
    assert run.status == 1
    told = {error["endpoint"]: error["kind"] for level in run.run["marketplace"]["levels"] for error in level["errors"]}
    assert told == kinds
    assert any(lost for lost, in levels(run, "failed")) == bool(kinds)
    assert run.run["marketplace"]["breakingPoint"]["users"] == breaks_at(run)


def test_a_slow_marketplace_fails_by_its_latency_alone(fake, tmp_path):
    run = market(fake("slow"), tmp_path, "--levels", "3")
    assert run.failed() == {"p99 of every request at up to 10 users"} and run.status == 1, run.out


def test_who_could_not_register_has_no_wallet_that_could_be_wrong(fake, tmp_path):
    """Users without a wallet are asked for their balance, or counted as wallets that do not add up."""
    run = market(fake("picky"), tmp_path, "--levels", "6,4")
    assert failed(run) == {ERRORS}, run.out + run.err
    assert levels(run, "users", "wallets", "purchases", "failed", "balancesNotTold") \
        == [(6, 4, 4, 2, 0), (4, 3, 3, 1, 0)], run.out
    assert f"{WALLETS}: 0 of 7 have not" in run.out, run.out
    run = market(fake("bare"), tmp_path, "--levels", "5")
    assert levels(run, "wallets", "requests", "failed") == [(0, 5, 5)], run.out
    assert f"FAIL  {WALLETS}: there is none" in run.out, run.out


def test_users_at_which_it_breaks_are_told(fake, tmp_path):
    """Every tenth list is refused: three users see none of it, eight do."""
    run = market(fake("stuck"), tmp_path, "--levels", "3,8,1")
    assert levels(run, "users", "failed") == [(3, 0), (8, 1), (1, 0)], run.out
    point = run.run["marketplace"]["breakingPoint"]
    assert point["users"] == breaks_at(run) in (3, 8), run.out
    words = "1 of " if point["users"] == 8 else "p99 "
    assert point["text"].startswith(f"It breaks at {point['users']} users at once: {words}"), run.out


def test_the_report_has_the_tables(fake, tmp_path):
    server, report = fake("honest"), tmp_path / "market.md"
    run = again(lambda: rush_once(server.url, "marketplace", "--levels", "3,5", "--report", str(report)))
    text = report.read_text()
    for part in ("### Every Request", "### The Whole Way of a User", "### Step by Step", "### Errors",
                 "| 5 | | none | 0 |", "### Breaking Point", "signing a challenge"):
        assert part in text, text
    slow = f"breaks at [35] users at once: p99 [0-9]+ ms is above {BREAK_MS} ms"  # no request was lost
    assert re.search(f"^> It (does not break: |{slow})", text, re.M), text
    assert "Step by Step" in run.out


# ---- the seven checks ----

def checks(server, tmp_path, *arguments):
    return rush(server, tmp_path, "marketplace-checks", "--users", str(USERS), "--seconds", "1", *arguments)


@pytest.mark.parametrize("mode", ["honest", "spaced"])
def test_the_seven_checks_pass(fake, tmp_path, mode):
    run = checks(fake(mode), tmp_path)
    assert run.status == 0, run.out + run.err
    for part in ("PASS  Concurrent registration (30 unique): 30/30;",
                 "PASS  Concurrent balance reads: 30/30 have 100 MC;",
                 "PASS  Concurrent product listings: 30/30; average ",
                 "PASS  Concurrent auth reads (90 req): 90/90;",
                 "PASS  Wallet balance consistency: 30/30 have 100 MC;",
                 "PASS  Duplicate registration race (30 at once): 1 success, 29 answered 409;",
                 "PASS  Sustained read load ("):
        assert part in run.out, run.out
    assert {"sustained reads", "product listings, average"} <= {each["figure"] for each in run.run["figures"]}
    assert len(run.run["invariants"]) == 7


@pytest.mark.parametrize("mode, expected", [
    ("doubles", {"Duplicate registration race"}),
    ("rounds", {"Concurrent balance reads", "Wallet balance consistency"}),
    ("hides", {"Concurrent product listings"}),
    ("stuck", {"Concurrent product listings"}),
])
def test_a_broken_promise_fails_its_check(fake, tmp_path, mode, expected):
    run = checks(fake(mode), tmp_path)
    assert run.status == 1 and failed_check(run) == expected, run.out


# ---- double-spend ----

@pytest.mark.parametrize("mode", ["honest", "spaced", "stale", "closing", "busy", "unsure"])
def test_coins_cannot_be_spent_twice(fake, tmp_path, mode):
    """Of a server that does not answer, too: the same intent is sent again until it does."""
    run = double_spend(fake(mode), tmp_path)
    assert run.status == 0, run.out + run.err
    assert "14 succeed and 16 are answered 402" in run.out
    assert f"{USERS} answered 200 with one and the same receipt" in run.out
    assert "were not answered, or told to come again" in run.out or mode in ("honest", "spaced", "stale")


def test_double_spend_with_several_threads(fake, tmp_path):
    run = double_spend(fake("honest"), tmp_path, "--threads", "2")
    assert run.status == 0, run.out + run.err


@pytest.mark.parametrize("mode, expected", [
    ("oversells", {RACE, BOOKS, SUM, STRANGE}),
    ("miser", {RACE}),
    ("twice", {RACE, BOOKS, SUM}),
    ("again", {BOOKS, SUM, STRANGE}),
    ("another", {REPEATS}),
    ("reuses", {PAIRS}),
    ("forged", {RECEIPTS}),
    ("altered", {RECEIPTS}),
    ("numbered", {RECEIPTS}),
    ("invents", {STOCK}),
    ("loses", {BOOKS, SUM}),
    ("creates", {BOOKS, SUM}),
    ("dumb", {STOCK}),
    ("cheaper", {STRANGE, RACE, REPEATS, PAIRS, BOOKS, SUM, STOCK, ANSWERED}),
])
def test_a_broken_promise_fails_double_spend(fake, tmp_path, mode, expected):
    run = double_spend(fake(mode), tmp_path, "--seconds", "1")
    assert run.status == 1 and run.failed() == expected, run.out + run.err


def test_a_server_that_is_not_there_is_told_of(fake):
    server = fake("honest")
    server.stop()
    run = rush_once(server.url, "double-spend", "--users", "4", "--seconds", "1")
    assert run.status == 3 and "cannot connect" in run.err, run.err


# ---- market-flow ----

def flow(server, tmp_path, *arguments):
    return rush(server, tmp_path, "market-flow", "--seconds", "1", "--connections", "4", "--prepared", "400",
                *arguments)


@pytest.mark.parametrize("op, outcome", [("spend", "spent"), ("transfer", "transferred"), ("balance", "balance_told"),
                                         ("featured", "listed")])
def test_one_request_again_and_again(fake, tmp_path, op, outcome):
    run = flow(fake("honest"), tmp_path, "--op", op)
    assert run.status == 0, run.out + run.err
    assert set(run.outcomes()) == {outcome} and run.run["requestsPerSecond"] > 0


@pytest.mark.parametrize("users", [1, 2, 3, 4])
def test_wallets_of_the_flow_count_alike(fake, tmp_path, users):
    """Wallets use nonces that no other uses, as clients never do, or one of them uses a nonce twice."""
    path = tmp_path / "journal"
    run = flow(fake("honest"), tmp_path, "--users", str(users), "--journal", str(path))
    assert run.status == 0, run.out + run.err
    nonces = {}
    for line in journal_of(path)[1]:
        if line["request"] == "spend":
            nonces.setdefault(line["key"], []).append(line["nonce"])
    assert len(nonces) == users and all(len(set(each)) == len(each) for each in nonces.values())
    assert len(set.intersection(*map(set, nonces.values()))) > 0
    assert all(nonce.rpartition("-")[2].isdigit() for each in nonces.values() for nonce in each)


def test_one_wallet_can_serve_all_connections(fake, tmp_path):
    run = flow(fake("honest"), tmp_path, "--users", "1")
    assert run.status == 0 and "spend; 1 wallet\n" in run.out, run.out + run.err


def test_what_is_signed_on_the_way_is_told(fake, tmp_path):
    """Without the note a figure would seem the server's that is the generator's."""
    run = flow(fake("honest"), tmp_path, "--prepared", "4")
    assert run.status == 0 and "intents were signed on the way" in run.out, run.out + run.err


@pytest.mark.parametrize("mode, part", [("twice", "every wallet has what was issued to it"), ("invents", "stock left"),
                                        ("forged", "receipts are signed by the server's key"), ("busy", "errors")])
def test_a_broken_promise_fails_the_flow(fake, tmp_path, mode, part):
    run = flow(fake(mode), tmp_path)
    assert run.status == 1 and any(name.startswith(part) for name in run.failed()), run.out + run.err


# ---- the journal ----

def is_signed(key, receipt):
    signature = bytes.fromhex(receipt["signature"])
    signed = {name: value for name, value in receipt.items() if name != "signature"}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":")).encode()
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, text)  # raises
    return True


def test_the_journal_of_the_marketplace_tells_every_answer(fake, tmp_path):
    """An auditor would miss wallets or purchases, or could not check a receipt."""
    path = tmp_path / "journal"
    market(fake("spaced"), tmp_path, "--levels", "20", "--journal", str(path), "--threads", "2")
    header, lines = journal_of(path)
    key = header.pop("receipt_key")
    assert header == {"journal": 1, "scenario": "marketplace", "face": "marketplace"}
    registered = [line for line in lines if line["request"] == "register"]
    spent = [line for line in lines if line["request"] == "spend"]
    assert len(registered) == len(spent) == 20 and len(lines) == 40
    assert all(set(line) == {"request", "outcome", "key", "email"} for line in registered)
    assert all(set(line) == {"request", "outcome", "key", "nonce", "receipt"} for line in spent)
    assert {line["key"] for line in registered} == {line["key"] for line in spent}
    assert all(is_signed(key, line["receipt"]) and line["receipt"]["nonce"] == line["nonce"] for line in spent)


def test_the_journal_of_double_spend_tells_refusals_and_doubts(fake, tmp_path):
    path = tmp_path / "journal"
    run = double_spend(fake("unsure"), tmp_path, "--journal", str(path))
    assert run.status == 0, run.out + run.err
    _, lines = journal_of(path)
    spent = [line for line in lines if line["request"] in ("spend", "transfer")]
    codes = {line["code"] for line in spent if line["outcome"] == "refused"}
    assert codes == {"INSUFFICIENT_FUNDS", "NONCE_REUSED"}
    assert {line["code"] for line in spent if line["outcome"] == "unknown"} == {"OUTCOME_UNKNOWN"}
    assert all(line["key"] and line["nonce"] for line in spent)
    assert len([line for line in lines if line["request"] == "register"]) == 2 + USERS
    unknown = {(line["key"], line["nonce"]) for line in spent if line["outcome"] == "unknown"}
    known = {(line["key"], line["nonce"]) for line in spent if line["outcome"] != "unknown"}
    assert unknown <= known


# ---- what is refused before anybody comes ----

@pytest.mark.parametrize("arguments, words", [
    (("marketplace", "--levels", "10,many"), "does not say how many users"),
    (("marketplace", "--users", "10"), "use --levels 10"),
    (("marketplace", "--rate", "10"), "has no --rate"),
    (("marketplace", "--levels", "10", "--stock", "3"), "3 units are too few for 10 users"),
    (("marketplace-checks", "--rate", "10"), "has no --rate"),
    (("double-spend", "--users", "1"), "expected 2 to 10000 --users"),
    (("market-flow", "--op", "purchase"), "expected spend, transfer, balance or featured"),
    (("market-flow", "--op", "transfer", "--users", "1"), "a wallet does not pay itself"),
    (("market-flow", "--users", "9", "--connections", "4"), "at most as many wallets (--users) as connections"),
    (("market-flow", "--connections", "100001"), "100001 connections are too many"),
])
def test_wrong_usage_of_the_marketplaces_scenarios_is_explained(arguments, words):
    run = rush_once("http://127.0.0.1:1", *arguments)
    assert run.status == 2 and words in run.err, run.err


def test_a_marketplace_that_wants_the_key_gets_it(fake, tmp_path):
    server = fake("keyed")
    denied = market(server, tmp_path)
    assert denied.status == 3 and "give the server's --admin-key" in denied.err, denied.err
    assert not failed(market(server, tmp_path, "--admin-key", ADMIN_KEY))
    assert flow(server, tmp_path, "--admin-key", ADMIN_KEY).status == 0


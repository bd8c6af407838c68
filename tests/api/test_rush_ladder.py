# SPDX-License-Identifier: Apache-2.0
"""
The load test of the vending machines against servers that are not ours: it asks as the original client does, counts
every answer once and as what it is, fails each server that breaks a promise, and says where a server breaks.
"""
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import wire
from server import binary
from test_rush import ATTEMPTS_MAX, environment, journal_of, rush_once

FAKE = Path(__file__).resolve().parent / "fake_vending.py"
FOREVER = "3600"  # so long a machine dispenses: it is free again after a reset only

STOCK_WRONG = "stock left = supplied - purchases acknowledged"
UNANSWERED = "everybody was answered"
STRANGE = "no answer from outside the contract"
NOT_RESET = "every machine could be reset between the levels"
SPEED = {"p99 at up to 1000 users", "p99 at up to 5000 users"}  # a busy machine may fail these


class Fake:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([sys.executable, str(FAKE), *arguments], stdout=subprocess.PIPE, text=True)
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def fake():
    fakes = []

    def start(*arguments):
        fakes.append(Fake(*arguments))
        return fakes[-1]

    yield start
    for each in fakes:
        each.stop()


def rush_new(start, tmp_path, *arguments):
    """A run whose generator was late says of itself that it is no result: then another one is taken, on another server,
    which start() makes."""
    for _ in range(ATTEMPTS_MAX):
        run = rush_once(start().url, "ladder", *arguments, report=tmp_path / "report.json")
        if "INVALID: the generator was late" not in run.out:
            break
    return run


def rush(server, tmp_path, *arguments):
    return rush_new(lambda: server, tmp_path, *arguments)


def ladder(run):
    return run.run["ladder"]


def levels(run, *names):
    """Of each level the members that are named, "a.b" for a member of a member."""
    def pick(level, name):
        for part in name.split("."):
            level = level[part]
        return level

    return [tuple(pick(level, name) for name in names) for level in ladder(run)["levels"]]


def failed(run):
    return run.failed() - SPEED


def holds(run):
    """It passed, but for what only says that this machine is busy."""
    return run.run["verdict"] in ("PASSED", "FAILED") and not failed(run)


# ---- honest servers pass ----

def test_ever_more_users_find_the_same_five_machines(fake, tmp_path):
    """Users get lost or are counted twice, machines are not reset between the levels, or the stock does not add up."""
    run = rush(fake("honest", FOREVER), tmp_path, "--levels", "3,25,100,50")
    assert holds(run), run.out + run.err
    assert levels(run, "users", "startWork.ok", "startWork.conflict", "chooseProduct.ok", "stockLeft", "requests") == [
        (3, 3, 0, 3, 1997, 6), (25, 5, 20, 5, 1992, 30), (100, 5, 95, 5, 1987, 105), (50, 5, 45, 5, 1982, 55)]
    assert run.outcomes() == {"machine_given": 18, "no_machine": 160, "sold": 18, "reset": 13, "was_idle": 7}
    assert {key: ladder(run)[key] for key in ("machines", "products", "stockSupplied", "stockExpected", "stockLeft")} \
        == {"machines": 5, "products": 10, "stockSupplied": 2000, "stockExpected": 1982, "stockLeft": 1982}
    for level in ladder(run)["levels"]:
        assert level["latency"]["count"] == level["users"] == level["startWorkLatency"]["count"]
        assert level["latency"]["maxMs"] >= level["startWorkLatency"]["maxMs"]
        assert level["errors"] == []


def test_a_second_run_begins_with_a_full_stock(fake, tmp_path):
    """What an earlier run left behind is not cleared away."""
    run = rush(fake("honest", FOREVER), tmp_path, "--levels", "7", "--runs", "2", "--stock", "3", "--machines", "2",
               "--threads", "2")
    told = [each["ladder"] for each in run.report["runs"]]
    assert [(each["machines"], each["stockSupplied"], each["stockLeft"]) for each in told] == [(2, 30, 28)] * 2, run.out


def test_machines_and_products_can_be_used_as_they_are(fake, tmp_path):
    server = fake("honest", FOREVER)
    rush(server, tmp_path, "--levels", "5", "--machines", "3")
    run = rush(server, tmp_path, "--levels", "5", "--keep-sale")
    assert holds(run), run.out + run.err
    assert (ladder(run)["machines"], ladder(run)["stockSupplied"], ladder(run)["stockLeft"]) == (3, 1997, 1994)


def test_without_stock_every_choice_is_refused(fake, tmp_path):
    """A refused choice is taken for a failure: 422 belongs to the contract."""
    run = rush(fake("sold_out", FOREVER), tmp_path, "--levels", "20")
    assert holds(run), run.out + run.err
    assert levels(run, "purchases", "chooseProduct.unprocessable", "stockLeft") == [(0, 5, 2000)]


# ---- the line ----

def test_everybody_in_the_line_is_served(fake, tmp_path):
    run = rush(fake("honest", "0.05"), tmp_path, "--levels", "30,10", "--wait", "60")
    assert holds(run), run.out + run.err
    assert levels(run, "users", "startWork.ok", "purchases", "stockLeft") == [(30, 30, 30, 1970), (10, 10, 10, 1960)]
    assert "Waiting Line" in run.out and not ladder(run)["growth"]["isJudged"]
    assert levels(run, "p99LimitMs") == [(None,), (None,)]  # who waits is not slow


def test_who_waits_in_vain_is_turned_away(fake, tmp_path):
    run = rush(fake("honest", FOREVER), tmp_path, "--levels", "12", "--wait", "1")
    assert holds(run), run.out + run.err
    assert levels(run, "startWork.ok", "startWork.conflict", "timeouts") == [(5, 7, 0)]
    assert levels(run, "startWorkLatency.maxMs")[0][0] > 900


def test_a_full_line_is_no_failure(fake, tmp_path):
    run = rush(fake("crowded", FOREVER), tmp_path, "--levels", "12", "--wait", "30")
    assert holds(run), run.out + run.err
    assert levels(run, "startWork.ok", "startWork.full", "others") == [(5, 7, 0)]


# ---- broken promises fail, by the right name ----

@pytest.mark.parametrize("mode, expected, kinds", [
    ("invents", {STOCK_WRONG}, {}),
    ("takes", {STOCK_WRONG}, {}),
    ("dumb", {STOCK_WRONG}, {}),
    ("hang", {UNANSWERED}, {"timeout": 4}),
    ("closing", {UNANSWERED}, {"connection_lost": 4}),
    ("error500", {STRANGE}, {"server_error": 4}),
    ("lost", {STRANGE}, {"other_status": 4}),
    ("nonsense", {STRANGE}, {"nonsense": 10}),
    ("another", {STRANGE, STOCK_WRONG}, {"nonsense": 10}),
    ("stuck", {NOT_RESET}, {}),
])
def test_a_broken_promise_fails_the_ladder(fake, tmp_path, mode, expected, kinds):
    run = rush_new(lambda: fake(mode, FOREVER), tmp_path, "--levels", "20,20", "--timeout",
                   "5s" if mode == "hang" else "30s")
    assert run.status == 1, run.out + run.err
    assert failed(run) == expected, run.out
    told = {}
    for level in ladder(run)["levels"]:
        for error in level["errors"]:
            told[error["kind"]] = told.get(error["kind"], 0) + error["count"]
    assert told.keys() == kinds.keys() and all(told[kind] >= kinds[kind] for kind in kinds)  # stalls add time-outs
    assert (ladder(run)["breakingPoint"]["users"] == 20) == bool(kinds)


def test_a_slow_server_fails_by_its_latency_alone(fake, tmp_path):
    run = rush(fake("slow", FOREVER), tmp_path, "--levels", "20")
    assert run.failed() == {"p99 at up to 1000 users"} and run.status == 1, run.out
    assert ladder(run)["breakingPoint"]["users"] == 20
    assert "is above 250 ms" in ladder(run)["breakingPoint"]["text"]


def test_where_it_breaks_is_told(fake, tmp_path):
    """A server that loses users from a level on is said to break there."""
    run = rush_new(lambda: fake("closing", FOREVER), tmp_path, "--levels", "5,3,30,1")
    point = ladder(run)["breakingPoint"]
    assert point["users"] == 30 and "3 connections failed" in point["text"], run.out
    assert run.status == 1


# ---- report and journal ----

def test_the_report_has_the_tables_of_the_original(fake, tmp_path):
    report = tmp_path / "ladder.md"
    run = rush_once(fake("honest", FOREVER).url, "ladder", "--levels", "10,100,250", "--report", str(report))
    text = report.read_text()
    for part in ("### Results Summary", "### Per-Endpoint Latency Detail", "### Error Breakdown",
                 "| 10 - 250 | *(no errors)* | 0 |", "### Latency Scaling", "### Breaking Point",
                 "### Concurrency Control", "| Actual remaining stock (after the test) | 1985 |"):
        assert part in text, text
    assert "Results Summary" in run.out


def test_the_journal_of_the_ladder_tells_every_answer(fake, tmp_path):
    """An auditor would miss leases or sales, or could not tell them apart."""
    path = tmp_path / "journal"
    rush(fake("lease", FOREVER), tmp_path, "--levels", "20,30", "--journal", str(path), "--threads", "2")
    header, lines = journal_of(path)
    assert header == {"journal": 1, "scenario": "ladder", "face": "vending"}
    given = [line for line in lines if line["request"] == "start-work" and line["outcome"] == "acknowledged"]
    sold = [line for line in lines if line["request"] == "choose-product"]
    refused = [line for line in lines if line["outcome"] == "refused"]
    assert (len(given), len(sold), len(refused)) == (10, 10, 40) and len(lines) == 60
    assert len({line["lease"] for line in given}) == 10
    assert all(set(line) == {"request", "outcome", "machine", "lease"} for line in given)
    assert all(set(line) == {"request", "outcome", "machine", "product", "count", "lease"} for line in sold)
    assert {(line["machine"], line["lease"]) for line in sold} == {(line["machine"], line["lease"]) for line in given}
    assert refused == [{"request": "start-work", "outcome": "refused", "code": "HTTP_409"}] * 40


def test_ctrl_c_ends_the_ladder_at_the_level_that_it_has_reached(fake, tmp_path):
    report, journal = tmp_path / "r.json", tmp_path / "journal"
    command = [str(binary()), "rush", "ladder", "--levels", "20,30", "--wait", "600", "--url",
               fake("honest", FOREVER).url, "--report", str(report), "--journal", str(journal)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    wire.wait_for(lambda: journal.exists() and journal.read_text().count("choose-product") == 5, "five have bought")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "INCOMPLETE" in out
    run = json.loads(report.read_text())["runs"][0]
    assert run["verdict"] == "INCOMPLETE"
    assert [(level["users"], level["purchases"]) for level in run["ladder"]["levels"]] == [(20, 5)]
    _, lines = journal_of(journal)
    assert sum(line.get("code") == "cut_short" for line in lines) == 15


# ---- what is refused before anybody comes ----

@pytest.mark.parametrize("arguments, words", [
    (("--levels", "10,many"), "does not say how many users"),
    (("--levels", "0"), "does not say how many users"),
    (("--levels", ",".join("1" * 25)), "up to 24 numbers"),
    (("--users", "10"), "use --levels 10"),
    (("--rate", "10"), "has no --rate"),
    (("--wait", "30", "--timeout", "30s"), "expected a longer --timeout"),
])
def test_wrong_usage_is_explained(fake, tmp_path, arguments, words):
    run = rush_once("http://127.0.0.1:1", "ladder", *arguments)
    assert run.status == 2 and words in run.err, run.err


def test_more_users_than_open_files_are_told_of(fake):
    """Users fail one by one where the process may not have so many connections."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    done = subprocess.run([str(binary()), "rush", "ladder", "--levels", "10,500", "--url", "http://127.0.0.1:1"],
                          capture_output=True, text=True, timeout=90, env=environment(), preexec_fn=limit)
    assert done.returncode == 2
    assert "564 open files are needed and 256 allowed; raise the limit (ulimit -n)" in done.stderr


def test_a_server_that_wants_the_key_gets_it(fake, tmp_path):
    server = fake("keyed", FOREVER)
    denied = rush(server, tmp_path, "--levels", "10")
    assert denied.status == 3 and "give the server's --admin-key" in denied.err, denied.err
    assert holds(rush(server, tmp_path, "--levels", "10", "--admin-key", "a-key-of-the-test"))


def test_a_server_without_machines_is_told_of(fake, tmp_path):
    run = rush(fake("honest", FOREVER), tmp_path, "--levels", "10", "--keep-sale")
    assert run.status == 3 and "0 machines and 0 products" in run.err, run.err

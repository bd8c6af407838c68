# SPDX-License-Identifier: Apache-2.0
"""
The scenarios of orders against servers that are not ours: they run on any server with that wire, count every answer
once and as what it is, and fail each server that breaks a promise by the threshold or invariant that is there for it.
"""
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server import binary
from test_rush import ATTEMPTS_MAX, environment, journal_of, rush_once

FAKE = Path(__file__).resolve().parent / "fake_orders.py"

# How long answers take says something about this machine too: what a busy one may fail is not what is tested here.
SPEED = {"order_duration"}


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
        fakes.append(Fake(*(str(each) for each in arguments)))
        return fakes[-1]

    yield start
    for each in fakes:
        each.stop()


def rush(fake, arguments, *more, report=None):
    """A run whose generator was late says of itself that it is no result: then another one is taken, on a new server
    that has counted nothing yet."""
    for _ in range(ATTEMPTS_MAX):
        run = rush_once(fake(*arguments).url, *more, report=report)
        if "INVALID: the generator was late" not in run.out:
            break
    return run


def order(fake, arguments, tmp_path, scenario, *more):
    """Short runs of few customers."""
    return rush(fake, arguments, scenario, "--users", "10", "--seconds", "2", *more, report=tmp_path / "report.json")


def patience(mode):
    """How long the customers of a server wait that never answers some; of others, whatever a busy machine takes."""
    return ("--timeout", "3s" if mode == "hang" else "30s")


def count(run):
    return sum(run.outcomes().values())


def figures(run):
    return {each["figure"]: each["here"] for each in run.run["figures"]}


def failed(run):
    return run.failed() - SPEED


def holds(run):
    """It passed, but for what only says that this machine is busy."""
    return failed(run) == set() and (run.status == 0 or run.run["verdict"] == "INVALID" or bool(run.failed()))


# ---- orders that are paid later ----

def test_async_orders_are_accepted_and_worked_off(fake, tmp_path):
    journal = tmp_path / "journal"
    run = order(fake, ["honest"], tmp_path, "async-flash", "--journal", str(journal))
    assert holds(run), run.out + run.err
    accepted = run.outcomes()["order_accepted"]
    assert run.outcomes() == {"order_accepted": accepted} and accepted > 10
    told = figures(run)
    assert told["accepted"] == told["completed"] == told["orders asked for"] == accepted
    assert told["still waiting at the end"] == told["failed"] == told["cancelled"] == 0
    header, lines = journal_of(journal)
    assert header == {"journal": 1, "scenario": "async-flash", "face": "orders"}
    assert len({line["order"] for line in lines}) == len(lines) == accepted
    assert {(line["outcome"], line["status"]) for line in lines} == {("acknowledged", "pending")}


def test_declined_payments_are_told_and_no_failure_of_the_server(fake, tmp_path):
    run = order(fake, ["declining"], tmp_path, "async-flash")
    assert holds(run), run.out + run.err
    told = figures(run)
    assert told["failed"] == run.outcomes()["order_accepted"] // 10
    assert told["completed"] == run.outcomes()["order_accepted"] - told["failed"]


def test_the_backlog_is_timed(fake, tmp_path):
    """One payment of 0.1 s at a time: ten customers order faster than that."""
    run = order(fake, ["honest", 0.1, 1], tmp_path, "async-flash", "--drain-max", "40s")
    assert holds(run), run.out + run.err
    told = figures(run)
    assert told["waiting when the rush was over"] > 0
    assert told["backlog worked off in"] >= (told["waiting when the rush was over"] - 1) * 0.1
    assert told["orders worked off per second"] * told["backlog worked off in"] == pytest.approx(
        told["waiting when the rush was over"])
    assert told["completed"] == run.outcomes()["order_accepted"]


@pytest.mark.parametrize("mode, failing, outcome, truth", [
    ("full", {"order_accepted"}, "order_refused", ("refused", "HTTP_503")),
    ("blunt", {"order_accepted"}, "order_refused_odd", ("refused", "HTTP_503")),
    ("dated", {"order_accepted"}, "order_refused_odd", ("refused", "HTTP_503")),
    ("gateway", {"order_accepted"}, "order_late", ("unknown", "HTTP_504")),
    ("hang", {"order_accepted"}, "timeout", ("unknown", "timeout")),
    ("closing", {"order_accepted"}, "connection_lost", ("unknown", "connection_lost")),
    ("error500", {"order_accepted"}, "order_server_error", ("unknown", "HTTP_500")),
    ("invalid", {"order_accepted"}, "order_other_status", ("refused", "HTTP_400")),
    ("another", {"order_accepted"}, "order_nonsense", ("unknown", "HTTP_202")),
    ("unpaid", {"order_accepted"}, "order_nonsense", ("unknown", "HTTP_202")),
])
def test_every_tenth_async_order_that_goes_wrong_is_counted(fake, tmp_path, mode, failing, outcome, truth):
    journal = tmp_path / "journal"
    run = order(fake, [mode], tmp_path, "async-flash", *patience(mode), "--journal", str(journal))
    assert run.status == 1, run.out + run.err
    assert failed(run) == failing, run.out
    assert run.outcomes()[outcome] == count(run) // 10
    assert run.outcomes()["order_accepted"] == count(run) - count(run) // 10
    _, lines = journal_of(journal)
    assert len({line["order"] for line in lines}) == len(lines) == count(run)
    odd = [line for line in lines if line["outcome"] != "acknowledged"]
    assert len(odd) == count(run) // 10 and {(line["outcome"], line["code"]) for line in odd} == {truth}


@pytest.mark.parametrize("mode, failing", [
    ("loses", {"orders stored = those acknowledged"}),
    ("twice", {"orders stored = those acknowledged", "the backlog drained within 1 s"}),
    ("stuck", {"the backlog drained within 1 s"}),
])
def test_what_the_answers_do_not_show_is_found_afterwards(fake, tmp_path, mode, failing):
    run = order(fake, [mode], tmp_path, "async-flash", "--drain-max", "1s")
    assert run.status == 1, run.out + run.err
    assert failed(run) == failing, run.out
    assert run.outcomes() == {"order_accepted": count(run)}


def test_nobody_waits_for_a_backlog_that_is_not_asked_for(fake, tmp_path):
    run = order(fake, ["stuck"], tmp_path, "async-flash", "--drain-max", "0")
    assert holds(run), run.out + run.err
    assert figures(run)["still waiting at the end"] == run.outcomes()["order_accepted"]


def test_two_runs_do_not_mix_up_their_orders(fake, tmp_path):
    """The fake server refuses a number that comes twice by breaking the connection."""
    run = order(fake, ["honest"], tmp_path, "async-flash", "--runs", "2", "--cooldown", "0")
    for each in run.report["runs"]:
        assert {row["outcome"] for row in each["outcomes"]} == {"order_accepted"}
        assert all(row["passed"] for row in each["invariants"])


def test_ctrl_c_ends_the_wait_for_the_backlog(fake):
    command = [str(binary()), "rush", "async-flash", "--users", "2", "--seconds", "1", "--drain-max", "10m", "--url",
               fake("stuck").url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    for line in process.stderr:
        if "draining" in line:
            break
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "FAIL  the backlog drained within 600 s" in out


# ---- orders whose customers wait ----

@pytest.mark.parametrize("scenario", ["sync-normal", "sync-flash"])
def test_customers_who_are_served_wait_for_the_payment(fake, tmp_path, scenario):
    journal = tmp_path / "journal"
    run = order(fake, ["honest", 0.2], tmp_path, scenario, "--journal", str(journal))
    assert holds(run), run.out + run.err
    assert run.outcomes() == {"order_completed": count(run)}
    assert figures(run)["completed: average"] >= 199
    assert figures(run)["success rate"] == 100 and figures(run)["refused: 99 %"] is None
    _, lines = journal_of(journal)
    assert len({line["order"] for line in lines}) == len(lines) == count(run)
    assert {(line["outcome"], line["status"]) for line in lines} == {("acknowledged", "completed")}


def test_honest_refusals_are_neither_orders_nor_failures(fake, tmp_path):
    journal = tmp_path / "journal"
    run = order(fake, ["choosy", 0.5, 2], tmp_path, "sync-flash", "--journal", str(journal))
    assert holds(run), run.out + run.err
    refused, completed = run.outcomes()["order_refused"], run.outcomes()["order_completed"]
    assert refused > 0 and completed > 0 and refused + completed == count(run)
    told = figures(run)
    assert told["refused at once, with Retry-After"] == refused and told["failed"] == 0
    assert told["failure rate"] == 0 and abs(told["success rate"] + told["refused at once, share"] - 100) < 0.001
    assert told["refused: Retry-After, average"] == told["refused: Retry-After, longest"] == 2
    # ten customers who think for half a second at most and were told to wait for two
    assert 0 < told["came again before it was over"] <= refused
    assert told["completed: average"] >= 500 > told["response time, shortest"]
    _, lines = journal_of(journal)
    assert [line.get("code") for line in lines].count("HTTP_503") == refused
    taken = min(1800, round(told["completed per second"] * 3600))
    assert any(f"at the same demand and the pace of this run: {taken:,} of 1,800 orders" in each
               for each in run.run["businessImpact"]), run.run["businessImpact"]
    assert any(f"of the {refused:,} lost in this run {refused:,} were refused at once" in each
               for each in run.run["businessImpact"])


def test_a_server_that_refuses_everybody_does_not_pass(fake, tmp_path):
    run = order(fake, ["choosy", 0.5, 0], tmp_path, "sync-flash")
    assert run.status == 1 and failed(run) == {"order_completed"}, run.out


def test_a_declined_payment_is_an_answer(fake, tmp_path):
    journal = tmp_path / "journal"
    run = order(fake, ["declining"], tmp_path, "sync-flash", "--journal", str(journal))
    assert holds(run), run.out + run.err
    declined = run.outcomes()["order_declined"]
    assert declined == count(run) // 10 == figures(run)["payment declined"]
    _, lines = journal_of(journal)
    assert [line.get("status") for line in lines].count("failed") == declined
    assert any("this server, at the same demand: 1,800 of 1,800 orders an hour taken, 0 lost" in each
               for each in run.run["businessImpact"])


@pytest.mark.parametrize("mode, failing, outcome", [
    ("gateway", {"order_timeouts"}, "order_late"),
    ("hang", {"order_timeouts"}, "timeout"),
    ("blunt", {"order_unexpected"}, "order_refused_odd"),
    ("dated", {"order_unexpected"}, "order_refused_odd"),
    ("closing", {"order_unexpected"}, "connection_lost"),
    ("error500", {"order_unexpected"}, "order_server_error"),
    ("invalid", {"order_unexpected"}, "order_other_status"),
    ("another", {"order_unexpected"}, "order_nonsense"),
    ("unpaid", {"order_unexpected"}, "order_nonsense"),
])
def test_every_tenth_sync_order_that_goes_wrong_is_counted(fake, tmp_path, mode, failing, outcome):
    run = order(fake, [mode], tmp_path, "sync-flash", *patience(mode))
    assert run.status == 1, run.out + run.err
    assert failed(run) == failing, run.out
    assert run.outcomes()[outcome] == count(run) // 10 == figures(run)["failed"]
    assert run.outcomes()["order_completed"] == count(run) - count(run) // 10
    lost = sum(each["failed"] for each in run.run["distribution"])
    assert lost == count(run) // 10


def test_the_customer_of_a_sync_order_waits_ten_seconds(fake, tmp_path):
    run = rush(fake, ["mute"], "sync-normal", "--users", "1", "--seconds", "1", report=tmp_path / "report.json")
    assert run.status == 1 and run.outcomes() == {"timeout": 1}, run.out + run.err
    assert failed(run) == {"order_completed", "order_timeouts"}
    assert run.run["distribution"] == [{"fromMs": 10000, "untilMs": None, "good": 0, "refused": 0, "failed": 1,
                                        "original": None}]


def test_the_business_reads_what_lost_orders_cost(fake, tmp_path):
    """A tenth of the orders fails: at 1,800 an hour that is some 180, at ten dollars each."""
    run = order(fake, ["error500"], tmp_path, "sync-flash", "--order-value", "10")
    lost = round(1800 * (count(run) // 10) / count(run))
    original, same, own = run.run["businessImpact"]
    assert "239 of 1,800 orders an hour taken, 1,561 lost; at $10 each that is $15,610 an hour" in original
    assert f"{1800 - lost:,} of 1,800 orders an hour taken, {lost:,} lost; at $10 each that is ${lost * 10:,}" in same
    assert own.startswith("this server, at the demand of this run")


@pytest.mark.parametrize("scenario", ["sync-normal", "sync-flash", "async-flash"])
def test_a_server_without_orders_is_status_3(fake, scenario):
    run = rush(fake, ["silent"], scenario)
    assert run.status == 3
    assert "GET /stats does not tell" in run.err and "404" in run.err


def test_the_reports_have_the_tables_of_the_original(fake, tmp_path):
    path = tmp_path / "report.md"
    run = rush(fake, ["honest"], "sync-flash", "--users", "5", "--seconds", "1", "--report", str(path))
    text = path.read_text()
    assert "| beside the original's report | original | expected | here |" in text
    assert re.search(r"^\| response time, average \| 9521 ms \| 5000 ms \| [0-9.]+ ms \|$", text, re.M)
    assert re.search(r"^ +0 ms - 1 s +█+ \(\d+ good\); original: 0$", text, re.M)
    assert re.search(r"^ +10 s - more +\(0\); original: 39$", text, re.M)
    assert "- the original, at its 1,800 orders an hour: 239 of 1,800 orders an hour taken" in text
    assert re.search(r"^response time, average +9521 ms +5000 ms +[0-9.]+ ms$", run.out, re.M)
    assert "sku" not in run.out and "SKU" not in text


# ---- the intake ----

def take_in(fake, arguments, tmp_path, *more):
    return rush(fake, arguments, "intake", "--seconds", "1", *more, report=tmp_path / "report.json")


def levels(run):
    return run.run["levels"]


def intake_outcomes(run):
    """Each outcome stands once a level."""
    outcomes = {}
    for each in run.run["outcomes"]:
        outcomes[each["outcome"]] = outcomes.get(each["outcome"], 0) + each["latency"]["count"]
    return outcomes


@pytest.mark.parametrize("mode", ["honest", "spaced"])
def test_the_intake_is_measured_level_by_level(fake, tmp_path, mode):
    journal = tmp_path / "journal"
    run = take_in(fake, [mode], tmp_path, "--journal", str(journal))
    assert holds(run), run.out + run.err
    assert [each["clients"] for each in levels(run)] == [1, 10, 40]
    assert [each["originalPerSecond"] for each in levels(run)] == [549, 2554, 2653]
    assert sum(each["orders"] for each in levels(run)) == run.run["requests"] == intake_outcomes(run)["order_queued"]
    for each in levels(run):
        assert each["errors"] == 0 and each["orders"] > 0 and each["latency"]["count"] == each["orders"]
        assert each["ordersPerSecond"] == each["orders"]  # in a second
        assert each["generatorBusy"] is None or 0 <= each["generatorBusy"] < 1.1
        assert each["ordersPerSecondAndClient"] == pytest.approx(each["ordersPerSecond"] / each["clients"])
    assert levels(run)[0]["predictedPerSecond"] is None
    assert levels(run)[2]["predictedPerSecond"] == pytest.approx(levels(run)[1]["ordersPerSecond"] * 4)
    assert "40; measured" in run.out and "(original: 10216 predicted, 2653 measured, 26 %)" in run.out
    assert run.run["generator"]["connect"]["count"] == 51, "one connection a client"
    header, lines = journal_of(journal)
    assert header == {"journal": 1, "scenario": "intake", "face": "intake"}
    assert len({line["order"] for line in lines}) == len(lines) == run.run["requests"]
    assert {(line["outcome"], line["status"]) for line in lines} == {("acknowledged", "QUEUED")}


def test_a_client_sends_one_order_at_a_time(fake, tmp_path):
    """The server thinks for 0.2 s: in a second a client can begin six orders, however fast this machine is."""
    run = take_in(fake, ["slow"], tmp_path, "--clients", "2,4")
    assert holds(run), run.out + run.err
    for each in levels(run):
        assert each["clients"] <= each["orders"] <= each["clients"] * 6
        assert each["latency"]["minMs"] >= 199 <= each["latency"]["meanMs"] and each["stdevMs"] >= 0


@pytest.mark.parametrize("mode, failing, outcome", [
    ("repeats", {"every order has a number of its own"}, "order_queued"),
    ("swaps", {"errors"}, "order_nonsense"),
    ("expired", {"errors"}, "order_unauthorized"),
])
def test_the_intake_notices_what_goes_wrong(fake, tmp_path, mode, failing, outcome):
    run = take_in(fake, [mode], tmp_path, "--clients", "1,3")
    assert run.status == 1, run.out + run.err
    assert failed(run) == failing, run.out
    wrong = run.run["requests"] // 10
    if mode == "repeats":
        assert f"every order has a number of its own: {wrong} have another's" in run.out
        return
    assert intake_outcomes(run)[outcome] == wrong == sum(each["errors"] for each in levels(run))
    assert sum(each["orders"] for each in levels(run)) == run.run["requests"] - wrong
    assert ("an access token is good for 15 minutes" in run.out) == (mode == "expired")


def test_a_journal_of_the_intake_names_no_order_that_it_does_not_know(fake, tmp_path):
    journal = tmp_path / "journal"
    run = take_in(fake, ["expired"], tmp_path, "--clients", "2", "--journal", str(journal))
    _, lines = journal_of(journal)
    assert len(lines) == run.run["requests"]
    assert [line for line in lines if line["outcome"] == "refused"] == \
        [{"outcome": "refused", "code": "HTTP_401"}] * (run.run["requests"] // 10)


def test_who_cannot_be_registered_cannot_order(fake):
    run = rush(fake, ["taken"], "intake")
    assert run.status == 3
    assert "POST /api/auth/register" in run.err and "409" in run.err


@pytest.mark.parametrize("arguments, said", [
    (["--clients", "0"], "does not say how many clients"),
    (["--clients", "1,,2"], "does not say how many clients"),
    (["--clients", "ten"], "does not say how many clients"),
    (["--clients", "1,2,3,4,5,6,7,8,9"], "does not say how many clients"),
    (["--clients", "10001"], "does not say how many clients"),
    (["--rate", "5"], "intake has no --rate"),
])
def test_what_makes_no_sense_for_the_intake_is_status_2(fake, arguments, said):
    run = rush(fake, ["honest"], "intake", *arguments)
    assert run.status == 2 and said in run.err

# SPDX-License-Identifier: Apache-2.0
"""
The scenarios machines and line against servers that are not ours: what they count is what was answered, and a server
that breaks a promise fails. How fast it goes says nothing here.
"""
import json

import pytest

from test_rush import journal_of, rush_once
from test_rush_ladder import fake  # noqa: F401  the fixture

LINE = ("line", "--machines", "2", "--users", "6", "--dispense-time", "200ms", "--seconds", "2")
IN_ORDER = "machines were given in the order of the line"
NONE_STARVED = "none starved"
STOCK = "stock left = supplied - purchases acknowledged"


def figures(run):
    return {each["figure"]: each["here"] for each in run.run["figures"]}


def failed(run):
    """The invariants that do not hold, each by what stands before its colon."""
    return {each["invariant"].partition(":")[0] for each in run.run["invariants"] if not each["passed"]}


def test_machines_count_sales_and_requests(fake, tmp_path):
    journal = tmp_path / "machines.journal"
    run = rush_once(fake("kept-honest", "0").url, "machines", "--users", "4", "--seconds", "1", "--journal",
                    str(journal), report=tmp_path / "report.json")
    assert run.run["verdict"] == "PASSED", run.out
    found = figures(run)
    assert found["machines"] == 4 and found["no machine"] == 0
    assert found["sales per second"] > 0
    counts = {each["endpoint"]: each["latency"]["count"] for each in run.run["endpoints"]}
    assert abs(counts["start-work"] - counts["choose-product"]) <= 4, "of each user at most one sale is under way"
    head, lines = journal_of(journal)
    assert head["scenario"] == "machines" and head["face"] == "vending"
    assert {line["outcome"] for line in lines} == {"acknowledged"}
    leases = [line["lease"] for line in lines if line["request"] == "start-work"]
    assert len(leases) == len(set(leases)) > 0


def test_machines_count_who_finds_none(fake, tmp_path):
    run = rush_once(fake("kept-honest", "3600").url, "machines", "--users", "4", "--machines", "1", "--seconds", "1",
                    report=tmp_path / "report.json")
    assert figures(run)["no machine"] > 0
    assert not failed(run), run.out


@pytest.mark.parametrize("mode", ["error500", "invents"])
def test_machines_fail_a_server_that_breaks_a_promise(fake, tmp_path, mode):
    run = rush_once(fake(f"kept-{mode}", "0").url, "machines", "--users", "4", "--seconds", "1",
                    report=tmp_path / "report.json")
    assert run.run["verdict"] == "FAILED", run.out


def test_line_is_kept(fake, tmp_path):
    run = rush_once(fake("kept-honest", "0.2").url, *LINE, report=tmp_path / "report.json")
    assert not failed(run) & {IN_ORDER, NONE_STARVED, STOCK}, run.out  # how many were sold depends on the machine
    found = figures(run)
    assert found["overtaken in the line"] == 0
    assert found["served, the one most often"] - found["served, the one least often"] <= 2
    assert "sold second by second:" in json.dumps(run.run["notes"])


def test_line_notices_who_is_overtaken_and_who_starves(fake, tmp_path):
    run = rush_once(fake("kept-unfair", "0.2").url, *LINE, report=tmp_path / "report.json")
    assert {IN_ORDER, NONE_STARVED} <= failed(run), run.out


def test_line_notices_machines_that_are_done_too_early(fake, tmp_path):
    run = rush_once(fake("kept-early", "0.2").url, *LINE, report=tmp_path / "report.json")
    assert any(text.startswith("2 machines that dispense for 200 ms") for text in failed(run)), run.out


@pytest.mark.parametrize("arguments, reason", [
    (("line", "--users", "5"), "more users than machines"),
    (("line", "--users", "100", "--wait", "10"), "expected fewer users, or a --wait longer than 10 s"),
    (("line", "--dispense-time", "0"), "nobody waits for machines that dispense in 0 ms"),
    (("line", "--rate", "5"), "line has no --rate"),
    (("machines", "--rate", "5"), "machines has no --rate"),
])
def test_options_that_make_no_sense_are_refused(fake, arguments, reason):
    run = rush_once(fake("kept-honest", "0").url, *arguments)
    assert run.status == 2 and reason in run.err

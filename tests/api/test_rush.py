# SPDX-License-Identifier: Apache-2.0
"""
doorbuster rush against servers that are not ours: it runs on any server with the wire of the flash sale, passes
the honest ones, and fails each that breaks a promise, by the threshold or invariant that is there for it.
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wire
from server import binary
from shop import in_time

FAKE = Path(__file__).resolve().parent / "fake_flash_sale.py"
USERS = 200
STOCK = 20


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


class Run:
    """What a finished rush said."""

    def __init__(self, status, out, err, report):
        self.status, self.out, self.err = status, out, err
        self.report = report

    @property
    def run(self):
        return self.report["runs"][0]

    def failed(self):
        """What failed, by the names of thresholds and the beginnings of invariants."""
        names = {each["name"] for each in self.run["thresholds"] if not each["passed"]}
        return names | {each["invariant"].split(":")[0] for each in self.run["invariants"] if not each["passed"]}

    def outcomes(self):
        return {each["outcome"]: each["latency"]["count"] for each in self.run["outcomes"]}


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith("DOORBUSTER_")}


ATTEMPTS_MAX = 6
TIMEOUT_S = 10  # longer than this machine stands still


def rush_once(url, *arguments, report=None):
    command = [str(binary()), "rush", *arguments, "--url", url]
    if report is not None:
        command += ["--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, env=environment())
    read = json.loads(report.read_text()) if report is not None and report.exists() else None
    return Run(done.returncode, done.stdout, done.stderr, read)


def rush(url, *arguments, report=None, may_be_slow=False):
    """A run whose generator was late says of itself that it is no result: then another one is taken. Also when answers
    came late, unless that is what the test is about."""
    run = rush_once(url, *arguments, report=report)
    for _ in range(ATTEMPTS_MAX - 1):
        is_late = not may_be_slow and "FAIL  http_req_duration" in run.out
        if not is_late and "INVALID: the generator was late" not in run.out:
            break
        time.sleep(1.1)  # pause: the limiter's window after the run before
        run = rush_once(url, *arguments, report=report)
    return run


def buy(url, tmp_path, *more, scenario="purchase-load", timeout=TIMEOUT_S, **how):
    return rush(url, scenario, "--users", str(USERS), "--stock", str(STOCK), "--timeout", f"{timeout}s", *more,
                report=tmp_path / "report.json", **how)


def timeout_of(mode):
    """A server that hangs is waited for; more than the 2 s that a run may take at the 95th percentile."""
    return 3 if mode == "hang" else TIMEOUT_S


# ---- honest servers pass ----

@pytest.mark.parametrize("mode", ["honest", "compact", "closes"])
def test_an_honest_server_passes(fake, tmp_path, mode):
    run = buy(fake(mode).url, tmp_path)
    assert run.status == 0, run.out + run.err
    assert run.run["verdict"] == "PASSED"
    assert run.failed() == set()
    assert run.outcomes() == {"purchase_success": STOCK, "purchase_rejected_not_active": USERS - STOCK}
    assert "PASS  purchase_success == 20  (20)" in run.out


def test_a_product_that_exists_is_deleted_and_made_again(fake, tmp_path):
    """The 409 itself is a failed request, as in the original: one of 1,206 is below the threshold, one of 206 not."""
    run = buy(fake("conflict").url, tmp_path, "--users", "1200")
    assert run.status == 0, run.out + run.err
    few = buy(fake("conflict").url, tmp_path)
    assert few.status == 1 and few.failed() == {"http_req_failed"}


def test_duplicate_user_passes_when_each_name_buys_once(fake, tmp_path):
    run = buy(fake("honest").url, tmp_path, "--dedup-users", "7", scenario="duplicate-user")
    assert run.status == 0, run.out + run.err
    assert run.outcomes() == {"purchase_success": 7, "purchase_rate_limited": USERS - 7}


@in_time(1.0)
def test_status_polling_passes_and_leaves_no_sale(fake, tmp_path):
    server = fake("honest")
    run = rush(server.url, "status-polling", "--pollers", "20", "--seconds", "4", report=tmp_path / "r.json")
    assert run.status == 0, run.out + run.err
    # 1.5 s up, 2 s full, 0.5 s down: 20 users for 3 s on average, one request a second each
    assert 50 <= run.outcomes()["poll_good"] <= 70
    gone = rush(server.url, "throughput", "--op", "status", "--keep-sale", "--sku", "STRESS-POLL-TEST")
    assert gone.status == 3 and "is not ACTIVE" in gone.err


@in_time(1.0)
def test_mixed_workload_passes(fake, tmp_path):
    run = buy(fake("honest").url, tmp_path, "--pollers", "20", "--seconds", "4", scenario="mixed-workload")
    assert run.status == 0, run.out + run.err
    assert run.outcomes() == {"purchase_success": STOCK, "purchase_rejected_not_active": USERS - STOCK,
                              "poll_good": 80}


@pytest.mark.parametrize("operation, outcome", [
    ("purchase", "purchase_success"), ("refused", "purchase_rejected_not_active"), ("status", "poll_good"),
    ("fixed", "fixed_good")])
@in_time(1.0)
def test_throughput_measures_one_kind_of_request(fake, tmp_path, operation, outcome):
    run = rush(fake("honest").url, "throughput", "--op", operation, "--connections", "8", "--seconds", "1",
               report=tmp_path / "r.json")
    assert run.status == 0, run.out + run.err
    assert list(run.outcomes()) == [outcome]
    assert run.run["seconds"] == pytest.approx(1)
    assert run.run["requestsPerSecond"] == pytest.approx(run.outcomes()[outcome])
    assert run.run["generator"]["cpuMicrosecondsPerRequest"] > 0


@pytest.mark.parametrize("threads", ["2", "5"])
def test_threads_share_the_crowd(fake, tmp_path, threads):
    run = buy(fake("honest").url, tmp_path, "--threads", threads, "--journal", str(tmp_path / "journal"))
    assert run.status == 0, run.out + run.err
    names = [json.loads(line)["user"] for line in (tmp_path / "journal").read_text().splitlines()[1:]]
    assert sorted(names) == [f"stress-user-{number:05}" for number in range(1, USERS + 1)]


# ---- broken promises fail, by the right name ----

@pytest.mark.parametrize("mode, failed, outcome", [
    ("oversell", {"purchase_success", "no oversell", "stock is never below zero"}, "purchase_success"),
    ("denied", {"purchase_success", "purchases = those acknowledged"}, "purchase_success"),
    ("lying", {"purchase_success", "purchases = those acknowledged"}, "purchase_success"),
    ("misser", {"purchase_success"}, "purchase_success"),
    ("code", {"purchase_error"}, "purchase_unknown_code"),
    ("nonsense", {"purchase_error"}, "purchase_nonsense"),
    ("error500", {"http_errors", "http_req_failed"}, "purchase_server_error"),
    ("busy", {"http_errors", "http_req_failed"}, "purchase_unavailable"),
    ("hang", {"http_errors", "http_req_failed", "http_req_duration"}, "timeout"),
    ("closing", {"http_errors", "http_req_failed"}, "connection_lost"),
    ("garbage", {"http_errors", "http_req_failed"}, "malformed_reply"),
    ("deaf", {"the product can be read afterwards", "http_req_failed"}, "purchase_success"),
])
def test_a_broken_promise_fails_the_run(fake, tmp_path, mode, failed, outcome):
    run = buy(fake(mode).url, tmp_path, timeout=timeout_of(mode), may_be_slow=mode == "hang")
    assert run.status == 1, run.out + run.err
    assert run.run["verdict"] == "FAILED"
    assert run.failed() == failed, run.out
    assert run.outcomes()[outcome] > 0
    assert run.out.rstrip().endswith("rush purchase-load: FAILED")


def test_a_name_that_buys_twice_fails_the_run(fake, tmp_path):
    run = buy(fake("twice").url, tmp_path, "--dedup-users", "5", "--stock", "100", scenario="duplicate-user")
    assert run.status == 1
    assert run.failed() == {"purchase_success", "nobody was sold twice", "purchases <= buyers"}


def test_a_429_without_its_body_is_told_but_no_error(fake, tmp_path):
    run = buy(fake("rude").url, tmp_path, scenario="duplicate-user")
    assert run.status == 0, run.out + run.err
    assert run.outcomes()["purchase_rate_limited_odd"] == USERS - 10


@pytest.mark.parametrize("mode, failed", [
    ("polls500", {"http_req_failed", "poll_error_rate", "checks"}), ("oddpolls", {"checks"})])
@in_time(1.0)
def test_bad_polls_fail_the_run(fake, tmp_path, mode, failed):
    run = rush(fake(mode).url, "status-polling", "--pollers", "50", "--seconds", "3", report=tmp_path / "r.json")
    assert run.status == 1, run.out + run.err
    assert run.failed() == failed


# ---- exit status, usage, what cannot be reached ----

def test_a_server_that_is_not_there_is_status_3():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        run = rush(f"http://127.0.0.1:{held.getsockname()[1]}", "purchase-load")
    assert run.status == 3
    assert "cannot connect to" in run.err and "is the server running there?" in run.err


def test_a_wrong_admin_key_is_status_3_and_named(fake):
    run = rush(fake("locked").url, "purchase-load")
    assert run.status == 3
    assert "401" in run.err and "--admin-key" in run.err


@pytest.mark.parametrize("arguments, said", [
    (["no-such-scenario"], "no scenario is called 'no-such-scenario'; there are purchase-load"),
    (["purchase-load", "--sku", "a_b"], "is no SKU"),
    (["purchase-load", "--user-prefix", "a b"], "cannot begin a buyer's name"),
    (["throughput", "--op", "steal"], "no --op of throughput"),
    (["purchase-load", "--report", "report.txt"], ".md or .json"),
    (["purchase-load", "--users", "9000000"], "open files"),
])
def test_what_makes_no_sense_is_status_2(fake, arguments, said):
    run = rush(fake("honest").url, *arguments)
    assert run.status == 2
    assert said in run.err


@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "http://127.0.0.1:0", "http://127.0.0.1:80/x", "127.0.0.1:80"])
def test_an_address_that_is_none_is_status_2(url):
    run = rush(url, "purchase-load")
    assert run.status == 2, run.err
    assert "expected http://HOST:PORT" in run.err


def test_a_journal_that_cannot_be_made_is_status_3(fake, tmp_path):
    run = rush(fake("honest").url, "purchase-load", "--journal", str(tmp_path / "none" / "journal"))
    assert run.status == 3
    assert "journal" in run.err


@pytest.mark.parametrize("mode, runs, status", [("honest", 3, 0), ("oversell", 2, 2)])
def test_the_exit_status_counts_failed_runs(fake, tmp_path, mode, runs, status):
    run = buy(fake(mode).url, tmp_path, "--runs", str(runs), "--cooldown", "0")
    assert run.status == status, run.out + run.err
    assert len(run.report["runs"]) == runs and run.report["failedRuns"] == status
    assert f"{runs} runs, {status} failed" in run.out


# ---- our own server, whose limiter remembers names for a second ----

SMALL = ["--users", "50", "--stock", "10"]


def verified(server, journal):
    done = subprocess.run([str(binary()), "verify", "--store", server.store.argument, "--journal", str(journal),
                           "--journal-complete"], capture_output=True, text=True, timeout=90, env=environment())
    return done.returncode == 0, done.stdout + done.stderr


def hints(run):
    return [note for note in run["notes"] if "a limiter refuses these buyers" in note]


@pytest.mark.parametrize("scenario, more, outcomes", [
    ("purchase-load", [], {"purchase_success": 10, "purchase_rejected_not_active": 40}),
    ("duplicate-user", ["--dedup-users", "5"], {"purchase_success": 5, "purchase_rate_limited": 45})])
@in_time(1.0)
def test_runs_with_the_same_names_wait_for_the_limiter(start_server, tmp_path, scenario, more, outcomes):
    """The second run comes before the limiter has forgotten the names of the first, and is refused for it."""
    server = start_server()
    journal = tmp_path / "journal"
    began = time.monotonic()
    run = rush(f"http://127.0.0.1:{server.port}", scenario, *SMALL, *more, "--runs", "3", "--journal",
               str(journal), report=tmp_path / "r.json")
    took = time.monotonic() - began
    assert run.status == 0, run.out + run.err
    for each in run.report["runs"]:
        assert each["verdict"] == "PASSED" and not hints(each)
        assert {row["outcome"]: row["latency"]["count"] for row in each["outcomes"]} == outcomes
    assert took >= 2 * 1.1, "two waits between three runs"
    holds, said = verified(server, journal)
    assert holds, said


@pytest.mark.parametrize("scenario", ["purchase-load", "duplicate-user"])
def test_a_crowd_that_the_limiter_remembers_is_told_so(start_server, tmp_path, scenario):
    """Two runs within a second: nearly all are refused, and the report does not say why."""
    url = f"http://127.0.0.1:{start_server('--purchase-interval', '1m').port}"  # however slow this machine is
    run = rush(url, scenario, *SMALL, "--runs", "2", "--cooldown", "0", report=tmp_path / "r.json")
    assert run.status == 1, run.out + run.err
    first, second = run.report["runs"]
    assert first["verdict"] == "PASSED" and not hints(first)
    assert second["verdict"] == "FAILED" and len(hints(second)) == 1
    assert "note: a limiter refuses these buyers" in run.out and "--user-prefix" in run.out
    others = rush(url, scenario, *SMALL, "--user-prefix", "late-", report=tmp_path / "r.json")
    assert others.status == 0 and not hints(others.run), others.out + others.err


def test_ctrl_c_ends_the_wait_between_two_runs(fake):
    """Ctrl-C does nothing until the cooldown is over, or the last run is waited after."""
    command = [str(binary()), "rush", "purchase-load", "--users", "20", "--stock", "5", "--runs", "2", "--cooldown",
               "10m", "--url", fake("honest").url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment())
    for line in process.stdout:
        if line.startswith("rush purchase-load: PASSED"):
            break
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1  # the run that was not made
    assert "1 runs, 0 failed" in out


def test_nobody_waits_after_the_last_run(fake, tmp_path):
    assert buy(fake("honest").url, tmp_path, "--cooldown", "10m").status == 0  # in time


# ---- reports and journal ----

def test_the_json_report_is_complete(fake, tmp_path):
    run = buy(fake("honest").url, tmp_path)
    assert run.report["report"] == 1 and run.report["scenario"] == "purchase-load"
    one = run.run
    assert one["requests"] == USERS and one["setupRequests"] >= 4 and one["unsent"] == 0
    assert sum(each["share"] for each in one["outcomes"]) == pytest.approx(1)
    every = one["endpoints"][-1]
    assert every["endpoint"] == "all"
    assert every["latency"]["count"] == every["duration"]["count"] == USERS + one["setupRequests"]
    for times in [every["latency"], one["generator"]["lag"], one["generator"]["connect"]]:
        percentiles = [times["percentilesMs"][name] for name in ["50", "75", "90", "95", "99", "99.9", "99.99"]]
        assert percentiles == sorted(percentiles)
        assert times["minMs"] <= percentiles[0] and percentiles[-1] <= times["maxMs"]
    # a request cannot have been sent before it was to start
    assert every["latency"]["meanMs"] >= every["duration"]["meanMs"]


def test_the_markdown_report_has_its_tables(fake, tmp_path):
    path = tmp_path / "report.md"
    run = rush(fake("honest").url, "purchase-load", "--users", "50", "--stock", "5", "--report", str(path))
    assert run.status == 0
    text = path.read_text()
    assert "## rush purchase-load: PASSED" in text
    assert re.search(r"^\| purchase_success \| 5 \| 10\.0 % \|", text, re.M)
    assert "- PASS  purchase_success == 5  (5)" in text


def journal_of(path):
    header, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    return header, lines


def test_the_journal_tells_every_answer(fake, tmp_path):
    path = tmp_path / "journal"
    run = buy(fake("honest").url, tmp_path, "--journal", str(path))
    assert run.status == 0
    header, lines = journal_of(path)
    assert header == {"journal": 1, "scenario": "purchase-load", "sku": "STRESS-LOAD-TEST", "users": USERS}
    assert sorted(line["user"] for line in lines) == [f"stress-user-{number:05}" for number in range(1, USERS + 1)]
    told = [line for line in lines if line["outcome"] == "acknowledged"]
    assert sorted(line["purchaseNo"] for line in told) == [f"PUR-20261120-{n:04}" for n in range(1, STOCK + 1)]
    refused = [line for line in lines if line["outcome"] == "refused"]
    assert len(told) + len(refused) == USERS
    assert {line["code"] for line in refused} == {"SALE_NOT_ACTIVE"}
    assert {line["sku"] for line in lines} == {"STRESS-LOAD-TEST"}


@pytest.mark.parametrize("mode, outcome, code", [
    ("hang", "unknown", "timeout"), ("closing", "unknown", "connection_lost"),
    ("garbage", "unknown", "malformed_reply"), ("error500", "unknown", "INTERNAL_ERROR"),
    ("nonsense", "unknown", "NONSENSE"), ("busy", "refused", "SERVICE_UNAVAILABLE")])
def test_the_journal_does_not_guess(fake, tmp_path, mode, outcome, code):
    path = tmp_path / "journal"
    buy(fake(mode).url, tmp_path, "--journal", str(path), timeout=timeout_of(mode), may_be_slow=True)
    _, lines = journal_of(path)
    assert len(lines) == USERS
    odd = [line for line in lines if line.get("code") == code]
    assert len(odd) == USERS // 10
    assert {line["outcome"] for line in odd} == {outcome}


def test_a_second_crowd_can_use_the_same_sale(fake, tmp_path):
    server = fake("honest")
    first = buy(server.url, tmp_path, "--users", "10")
    second = buy(server.url, tmp_path, "--users", "50", "--stock", "10", "--keep-sale", "--user-prefix", "late-")
    assert first.status == 1  # ten buyers do not buy twenty units
    assert second.status == 0, second.out + second.err
    assert second.run["setupRequests"] == 1


# ---- rates and stalls ----

@in_time(3.0)  # which it always takes: on a machine that stands still by itself a run says nothing
def test_a_stall_shows_in_the_corrected_latency_only(fake, tmp_path):
    """The server stands still for half of each second. One connection hides that: its requests wait, and while they
    wait no others are sent. Measured from when each should have started, a third of them is slow."""
    run = rush(fake("stall").url, "throughput", "--op", "status", "--connections", "1", "--rate", "200",
               "--seconds", "3", report=tmp_path / "r.json")
    every = next(each for each in run.run["endpoints"] if each["endpoint"] == "status")
    corrected, uncorrected = every["latency"]["percentilesMs"], every["duration"]["percentilesMs"]
    assert corrected["75"] > 100, run.out
    assert uncorrected["75"] < 50, run.out
    assert any("waited for a free connection" in note for note in run.run["notes"])


def test_a_rate_is_kept(fake, tmp_path):
    run = buy(fake("honest").url, tmp_path, "--rate", "200")
    assert run.failed() == set(), run.out + run.err
    # on a machine that is too busy for a generator the result is invalid, and says so
    assert run.run["verdict"] == "PASSED" or (run.status == 1 and "late" in run.run["reasons"][0])
    assert 0.8 * USERS / 200 <= run.run["seconds"] < TIMEOUT_S
    assert run.run["generator"]["lag"]["count"] == USERS


def test_ctrl_c_ends_early_with_a_report(fake, tmp_path):
    report = tmp_path / "r.json"
    journal = tmp_path / "journal"
    command = [str(binary()), "rush", "throughput", "--seconds", "40", "--connections", "4", "--url", fake("hang").url,
               "--timeout", "30s", "--report", str(report), "--journal", str(journal)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    deadline = time.monotonic() + 60
    while not (journal.exists() and len(journal.read_text().splitlines()) > 10):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)  # pause: between two looks at the condition
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "INCOMPLETE" in out
    run = json.loads(report.read_text())["runs"][0]
    assert run["verdict"] == "INCOMPLETE" and run["reasons"] == ["ended early on request"]
    _, lines = journal_of(journal)
    assert [line["outcome"] for line in lines if line.get("code") == "cut_short"].count("unknown") == 4


def hears_ctrl_c(process):
    """Whether it has got as far as to catch the signal."""
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{process.pid}/status").read_text(), re.M)
    return int(caught[1], 16) >> (signal.SIGINT - 1) & 1


def test_ctrl_c_ends_the_wait_for_a_sale_that_never_begins(fake):
    process = subprocess.Popen([str(binary()), "rush", "purchase-load", "--url", fake("asleep").url],
                               stderr=subprocess.PIPE, text=True, env=environment())
    wire.wait_for(lambda: hears_ctrl_c(process), "it has started")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)  # it waits
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "stopped while the sale STRESS-LOAD-TEST was being set up" in err

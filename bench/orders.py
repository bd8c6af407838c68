# SPDX-License-Identifier: Apache-2.0
"""
Orders: what the crowds do to us that broke the original (customers who wait for a payment of three seconds, and
customers who are told at once), and how many orders a second are taken in durably, as a share of what a server does
that only answers. Every crowd's journal is audited against the store.

Exit status: 0 when every target holds, 1 when one does not, 2 wrong usage, 3 when a run failed.
"""
import argparse
import json
import os
import pathlib
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile

import machine
import report
from report import Verdict
from servers import Doorbuster, Floor

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXIT_WORLD = 3
RUN_TIMEOUT_S = 900
CLIENTS = (1, 10, 40)
PAYMENT_S = 3
DRAIN_MAX = "10m"
# The targets.
FLOOR_SHARE_MIN = 0.35
INTAKE_P99_MS_MAX = 5
SYNC_MEAN_MS_MAX = 3300
REFUSAL_P99_MS_MAX = 50
SLOT_SHARE_MIN = 0.95
ASYNC_P99_MS_MAX = 50
FIGURES_HEAD = ["what", "original", "here"]
LEVELS_HEAD = ["clients", "orders/s", "lowest–highest", "mean", "stdev", "p50", "p99", "of the floor", "original"]


class Invalid(RuntimeError):
    """The run says nothing about the server; the text says why."""


class OrderServer(Doorbuster):
    def __init__(self, parent, build, *flags):
        super().__init__(parent, build)
        self.flags = flags

    def command(self):
        return [*super().command(), *self.flags]


class Crowds:
    def __init__(self, build, directory, seconds):
        self.build, self.directory, self.seconds = build, directory, seconds

    def _run(self, *command):
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=RUN_TIMEOUT_S)
        return done.returncode, done.stdout + done.stderr

    def rush(self, server, scenario, *flags):
        """The report of one run, which may have failed its thresholds but must be a result."""
        path = self.directory / f"{scenario}-{secrets.token_hex(4)}.json"
        _, said = self._run(self.build / "doorbuster", "rush", scenario, "--url", f"http://{server.address}",
                            "--report", path, *flags)
        if not path.exists():
            raise RuntimeError(f"rush {scenario} made no report:\n{said}")
        run = json.loads(path.read_text())["runs"][0]
        if run["verdict"] in ("INVALID", "INCOMPLETE"):
            raise Invalid(f"rush {scenario}: {run['verdict']}: {run['reasons']}")
        return run

    def audited(self, server, scenario, *flags):
        """The same; what the crowd was told must be in the store."""
        journal = self.directory / f"{scenario}-{secrets.token_hex(4)}.journal"
        run = self.rush(server, scenario, "--journal", journal, *flags)
        status, said = self._run(self.build / "doorbuster", "verify", "--store", server.store, "--journal", journal)
        journal.unlink()
        if status != 0:
            raise RuntimeError(f"the store does not hold what {scenario} was told:\n{said}")
        return run

    def crowd(self, scenario, *flags):
        print(f"{scenario} {' '.join(flags)}".rstrip(), flush=True)
        more = ("--drain-max", DRAIN_MAX) if scenario == "async-flash" else ()
        with OrderServer(self.directory, self.build, *flags) as server:
            return self.audited(server, scenario, *more)

    def floor(self):
        with Floor(self.directory, self.build) as server:
            return {clients: self.rush(server, "throughput", "--op", "fixed", "--connections", clients, "--seconds",
                                       self.seconds)["requestsPerSecond"] for clients in CLIENTS}

    def intake(self):
        with OrderServer(self.directory, self.build) as server:
            run = self.audited(server, "intake", "--clients", ",".join(map(str, CLIENTS)), "--seconds", self.seconds)
            return {level["clients"]: level for level in run["levels"]}


def figures(run):
    return {each["figure"]: each["here"] for each in run["figures"]}


def verdict(is_met, name, asked, found):
    return Verdict("PASS" if is_met else "FAIL", name, asked, found)


def judge_sync(free, serial):
    told, slot = figures(free), figures(serial)
    share = slot["completed per second"] * PAYMENT_S
    refusal_ms = slot["refused: 99 %"]
    return [
        verdict(told["failed"] == told["refused at once, with Retry-After"] == 0, "sync-flash: none fails", "0",
                f"{told['failed']:.0f}"),
        verdict(told["response time, average"] <= SYNC_MEAN_MS_MAX, "sync-flash: average", f"≤ {SYNC_MEAN_MS_MAX} ms",
                f"{told['response time, average']:.0f} ms"),
        verdict(slot["failed"] == 0, "one slot: no order is accepted and not completed", "0", f"{slot['failed']:.0f}"),
        verdict(refusal_ms is not None and refusal_ms < REFUSAL_P99_MS_MAX, "one slot: refused within, 99 %",
                f"< {REFUSAL_P99_MS_MAX} ms", "none was refused" if refusal_ms is None else f"{refusal_ms:.2f} ms"),
        verdict(share >= SLOT_SHARE_MIN, "one slot: completed, of what it allows", f"≥ {SLOT_SHARE_MIN}",
                f"{share:.2f}"),
    ]


def judge_async(run):
    told = figures(run)
    return [
        verdict(told["success rate"] == 100, "async-flash: accepted", "100 %", f"{told['success rate']:.2f} %"),
        verdict(told["response time, 99 %"] < ASYNC_P99_MS_MAX, "async-flash: 99 %", f"< {ASYNC_P99_MS_MAX} ms",
                f"{told['response time, 99 %']:.2f} ms"),
        verdict(told["still waiting at the end"] == 0, "async-flash: the backlog is worked off", "all",
                f"{told['still waiting at the end']:.0f} left, {told['orders worked off per second']:.1f}/s"),
    ]


def judge_intake(rounds):
    share = statistics.median(intake[40]["ordersPerSecond"] / floor[40] for floor, intake in rounds)
    p99_ms = statistics.median(intake[40]["latency"]["percentilesMs"]["99"] for _, intake in rounds)
    return [verdict(share >= FLOOR_SHARE_MIN, "intake at 40 clients / floor at 40 connections", f"≥ {FLOOR_SHARE_MIN}",
                    f"{share:.2f}"),
            verdict(p99_ms <= INTAKE_P99_MS_MAX, "intake at 40 clients: 99 %", f"≤ {INTAKE_P99_MS_MAX} ms",
                    f"{p99_ms:.2f} ms")]


def level_row(rounds, clients):
    levels = [intake[clients] for _, intake in rounds]
    rates = [level["ordersPerSecond"] for level in levels]

    def median(find):
        return statistics.median(find(level) for level in levels)
    share = statistics.median(intake[clients]["ordersPerSecond"] / floor[clients] for floor, intake in rounds)
    return [str(clients), f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f}–{max(rates):,.0f}",
            f"{median(lambda level: level['latency']['meanMs']):.2f} ms",
            f"{median(lambda level: level['stdevMs']):.2f} ms",
            f"{median(lambda level: level['latency']['percentilesMs']['50']):.2f} ms",
            f"{median(lambda level: level['latency']['percentilesMs']['99']):.2f} ms", f"{share:.2f}",
            f"{levels[0]['originalPerSecond']:,}"]


def figure_rows(name, run):
    def cell(value, unit):
        if value is None:
            return "–"
        return f"{value:,.0f}" if not unit else f"{value:,.2f}{unit if unit == '/s' else ' ' + unit}"
    return [[f"{name}: {each['figure']}", cell(each["original"], each["unit"]), cell(each["here"], each["unit"])]
            for each in run["figures"]]


def main():
    parser = argparse.ArgumentParser(prog="script/bench --orders", description=__doc__.strip().split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="rounds of the intake (3)")
    parser.add_argument("--seconds", type=int, default=5, help="length of a run of the intake (5)")
    parser.add_argument("--report", type=pathlib.Path, help="write the tables to this Markdown file")
    options = parser.parse_args()
    if options.runs < 1 or options.seconds < 1:
        parser.error("--runs and --seconds begin at 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_WORLD))
    os.environ["DOORBUSTER_ADMIN_KEY"] = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="bench-orders-", dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        directory = pathlib.Path(name)
        for fact in machine.describe(directory):
            print("{:12} {}".format(*fact))
        crowds = Crowds(ROOT / "build", directory, options.seconds)
        free = crowds.crowd("sync-flash")
        serial = crowds.crowd("sync-flash", "--payment-slots-min", "1", "--payment-slots-max", "1")
        later = crowds.crowd("async-flash")
        rounds = []
        for number in range(options.runs):
            print(f"intake, round {number + 1} of {options.runs}", flush=True)
            rounds.append((crowds.floor(), crowds.intake()))
    levels = [level_row(rounds, clients) for clients in CLIENTS]
    rows = [row for title, run in (("sync-flash", free), ("one slot", serial), ("async-flash", later))
            for row in figure_rows(title, run)]
    verdicts = [*judge_sync(free, serial), *judge_async(later), *judge_intake(rounds)]
    tables = [(LEVELS_HEAD, levels), (FIGURES_HEAD, rows),
              (report.VERDICT_HEAD, [report.verdict_row(each) for each in verdicts])]
    for table in tables:
        print("\n" + report.as_text(*table))
    if options.report:
        options.report.write_text("# Orders\n\n" + "\n\n".join(report.as_markdown(*table) for table in tables) + "\n")
    return 1 if any(each.word == "FAIL" for each in verdicts) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError, subprocess.SubprocessError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        sys.exit(EXIT_WORLD)

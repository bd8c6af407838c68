# SPDX-License-Identifier: Apache-2.0
"""
The benchmark: how fast the server sells, as a share of what this machine can do. Every figure of ours stands beside
one of the floor (floor.c), of Redis or of PostgreSQL that was taken in the same round, with the same requests from
the same client. docs/benchmarks.md says how to read it.

Exit status: 0 when every target holds, 1 when one does not, 2 wrong usage, 3 when a run failed, so that a target
could not be judged. What is not installed is skipped and changes nothing.
"""
import argparse
import datetime
import os
import pathlib
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile

import machine
import report
import rounds
from clients import Bench
from report import Verdict
from rounds import PURCHASE, REFUSED, STATUS, Rounds
from servers import Unavailable

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXIT_WORLD = 3
# The targets.
FLOOR_SHARE_MIN = {(PURCHASE, 1000): 0.75, (PURCHASE, 64): 0.50, (REFUSED, 1000): 0.90, (REFUSED, 64): 0.90,
                   (STATUS, 1000): 0.90, (STATUS, 64): 0.90}
REDIS_MIN = 1.5
POSTGRES_MIN = 25
FLUSHES_MAX = 3
CROWD_P99_MS_MAX = {1000: 100, 5000: 500}


class Judge:
    """Compares what the rounds found with the targets."""

    def __init__(self, taken):
        self.taken = taken
        self.verdicts = []

    def _find(self, problem_names, name, asked, find):
        """`find` returns (is met, found, source); it is asked only when everything it needs is there."""
        problems = [self.taken.problems[p] for p in problem_names if p in self.taken.problems]
        if problems:
            is_skip = isinstance(problems[0], Unavailable)
            reason = str(problems[0]).strip().split("\n")[0]
            self.verdicts.append(Verdict("SKIP" if is_skip else "FAIL", name, asked, "no figure", reason))
        else:
            is_met, found, source = find()
            self.verdicts.append(Verdict("PASS" if is_met else "FAIL", name, asked, found, source))

    def _ratio(self, ours, other, least):
        found = rounds.ratio(ours, other)
        source = (f"{ours.median('requests_per_s'):,.0f}/s of {other.median('requests_per_s'):,.0f}/s")
        return found >= least, f"{found:.3g} ×", source

    def judge(self):
        for (kind, connections), least in FLOOR_SHARE_MIN.items():
            self._floor(kind, connections, least)
        for connections in rounds.CONNECTIONS:
            self._find([PURCHASE.name, "Redis"], f"purchases / Redis, {connections:,} connections", f"≥ {REDIS_MIN} ×",
                       lambda: self._ratio(self.taken.get(PURCHASE.name, connections),
                                           self.taken.get("Redis", connections), REDIS_MIN))
        for connections in rounds.CONNECTIONS:
            self._find([PURCHASE.name, "PostgreSQL"], f"purchases / PostgreSQL, {connections:,} connections",
                       f"≥ {POSTGRES_MIN} ×", lambda: self._postgres(connections))
        self._find(["one client"], "one client alone, p50", f"≤ {FLUSHES_MAX} flushes", self._alone)
        for users, most_ms in CROWD_P99_MS_MAX.items():
            self._find([f"{users} at once"], f"{users:,} buyers at once, p99", f"≤ {most_ms} ms, all answered",
                       lambda: self._crowd(users, most_ms))
        return self.verdicts

    def _floor(self, kind, connections, least):
        self._find([kind.name], f"{kind.name} / floor, {connections:,} connections", f"≥ {least:.2f} ×",
                   lambda: self._ratio(self.taken.get(kind.name, connections),
                                       self.taken.get(rounds.floor_name(kind), connections), least))

    def _postgres(self, connections):
        pools = [self.taken.get("PostgreSQL", size) for size in rounds.POOL_SIZES]
        best = max(pools, key=lambda pool: pool.median("requests_per_s"))
        is_met, found, source = self._ratio(self.taken.get(PURCHASE.name, connections), best, POSTGRES_MIN)
        bound = rounds.ratio(self.taken.get(rounds.floor_name(PURCHASE), connections), best)
        return is_met, found, f"{source} with {best.connections} connections, its best; the floor: {bound:.3g} ×"

    def _alone(self):
        p50_us = self.taken.get("one client", 1).median("p50_us")
        append_us, overwrite_us = (statistics.median(flush[kind] for flush in self.taken.flushes)
                                   for kind in ("append", "overwrite"))
        flushes = p50_us / append_us
        return flushes <= FLUSHES_MAX, f"{flushes:.2f} flushes", (
            f"{p50_us:.0f} µs of {append_us:.0f} µs (a growing file; {overwrite_us:.0f} µs when overwriting)")

    def _crowd(self, users, most_ms):
        crowds = self.taken.crowds[users]
        p99_ms = statistics.median(crowd.p99_ms for crowd in crowds)
        unanswered = sum(crowd.unanswered for crowd in crowds)
        return p99_ms <= most_ms and unanswered == 0, f"{p99_ms:.0f} ms", (
            f"highest of {len(crowds)} runs {max(crowd.p99_ms for crowd in crowds):.0f} ms, {unanswered} unanswered")


def git_commit():
    described = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=ROOT, text=True,
                               capture_output=True)
    return described.stdout.strip() or "unknown"


def disturbances(taken):
    """A sentence when other programs used the processors meanwhile; empty when they did not."""
    others = [figure.others for series in taken.series.values() for figure in series.figures]
    disturbed = [used for used in others if used > rounds.OTHERS_MAX]
    if not disturbed:
        return ""
    return (f"{len(disturbed)} of {len(others)} runs stayed disturbed after {rounds.REPEATS_MAX} repeats: other "
            f"programs used up to {max(disturbed):.2f} of {machine.core_count()} cores.")


def facts(arguments, directory):
    return [("command", shlex.join(["script/bench", *arguments])),
            ("date", datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
            ("commit", git_commit()), *machine.describe(directory)]


def write_report(path, about, verdicts, series, note):
    parts = ["# Benchmark", "\n".join(f"- {name}: {value}" for name, value in about)]
    if note:
        parts.append(note)
    parts += ["## Targets", report.as_markdown(report.VERDICT_HEAD, [report.verdict_row(v) for v in verdicts]),
              "## Runs", "Medians over the rounds.",
              report.as_markdown(report.SERIES_HEAD, [report.series_row(s) for s in series])]
    path.write_text("\n\n".join(parts) + "\n")


def parse_arguments():
    parser = argparse.ArgumentParser(prog="script/bench", description="Measures the server against what this machine "
                                     "can do, and against Redis and PostgreSQL.")
    parser.add_argument("--runs", type=int, default=3, help="rounds; 3 without it, 1 with --quick")
    parser.add_argument("--seconds", type=int, default=3, help="length of a run; 3 without it, 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="one round of one-second runs, to see that it all works")
    parser.add_argument("--report", type=pathlib.Path, metavar="FILE.md", help="also write the tables to this file")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.runs = options.seconds = 1
    if options.runs < 1 or options.seconds < 1:
        parser.error("--runs and --seconds begin at 1")
    return options


def bench_directory(build):
    """The parent of all files of the run: TMPDIR when it is set, else the build directory."""
    directory = tempfile.gettempdir() if "TMPDIR" in os.environ else build
    kind, _ = machine.file_system(directory)
    if kind in machine.MEMORY_FILE_SYSTEMS:
        print(f"bench: {directory} is in memory ({kind}), where a flush costs nothing; set TMPDIR to a directory on a "
              f"disk", file=sys.stderr)
        sys.exit(EXIT_WORLD)
    return directory


def stop(*_):
    sys.exit(EXIT_WORLD)


def main():
    options = parse_arguments()
    signal.signal(signal.SIGTERM, stop)
    build = options.build.resolve()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=bench_directory(build)) as name:
        directory = pathlib.Path(name)
        directory.chmod(0o711)  # another account runs PostgreSQL, in here
        about = facts(sys.argv[1:], directory)
        for fact in about:
            print("{:12} {}".format(*fact))
        taken = Rounds(Bench(build, directory, options.seconds), directory, lambda text: print(text, flush=True))
        for number in range(options.runs):
            print(f"\nround {number + 1} of {options.runs}", flush=True)
            taken.take()
    series = [s for s in taken.series.values() if s.figures]
    verdicts = Judge(taken).judge()
    note = disturbances(taken)
    print("\n" + report.as_text(report.SERIES_HEAD, [report.series_row(s) for s in series]))
    print("\n" + report.as_text(report.VERDICT_HEAD, [report.verdict_row(v) for v in verdicts]))
    if note:
        print("\n" + note)
    if options.report:
        write_report(options.report, about, verdicts, series, note)
    failed = sum(v.word == "FAIL" for v in verdicts)
    print(f"\n{failed} of {len(verdicts)} targets missed" if failed else "\nevery target holds")
    if any(not isinstance(problem, Unavailable) for problem in taken.problems.values()):
        return EXIT_WORLD
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

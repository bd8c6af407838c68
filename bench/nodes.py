# SPDX-License-Identifier: Apache-2.0
"""
Several nodes on one PostgreSQL: how fast a hot sale of one product goes through one node directly, through one, two
and three nodes behind haproxy, and through a network that delays every message to and from the database; beside one
transaction a purchase on the same PostgreSQL in the same round (postgres_purchase.c). haproxy shares out connections,
which is what it does quickest, unless it says requests (deploy/haproxy.cfg has both doors). After each run the rows are
counted: nothing oversold, nobody twice.

Exit status: 0 when every target holds, 1 when one does not, 2 wrong usage, 3 when a run failed.
"""
import argparse
import contextlib
import json
import pathlib
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import urllib.request

import machine
import report
from report import Verdict

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from services.haproxy import Haproxy  # noqa: E402
from services.postgres import Postgres  # noqa: E402
from services.process import wait_for  # noqa: E402
from services.proxy import TcpProxy  # noqa: E402

CONNECTIONS = 1000
POOL_SIZES = (64, 10, 2)  # connections of one transaction a purchase; the first is what is asked for
NODE_COUNTS = (1, 2, 3)
DELAYS_MS = (0, 1, 5, 20)
SETTLE_S = 30
EXIT_WORLD = 3
# The targets.
DIRECT_MIN = 20
HAPROXY_MIN = 12
THREE_OF_ONE_MIN = 0.7
HEAD = ["what", "purchases/s", "lowest–highest", "p50", "p99", "commands a batch"]


def fetch(port, path):
    """The body of a GET; None when there is no 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=SETTLE_S) as reply:
            return reply.read().decode()
    except OSError:
        return None


class Node:
    """`doorbuster serve` on a database."""

    def __init__(self, build, url, key, directory, *flags):
        self.log = directory / f"node-{secrets.token_hex(4)}.log"
        self.port = machine.free_port()
        self.process = subprocess.Popen([build / "doorbuster", "serve", "--store", url, "--listen",
            f"127.0.0.1:{self.port}", "--admin-key", key, "--drain-delay", "0", *flags], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=open(self.log, "wb"), start_new_session=True)

    def figures(self):
        """(commands, batches) so far."""
        text = fetch(self.port, "/metrics")
        numbers = dict(line.split(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return float(numbers["doorbuster_commands_total"]), float(numbers["doorbuster_batches_total"])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Run:
    """One measured run."""

    def __init__(self, rate, p50_ms, p99_ms, batch):
        self.rate, self.p50_ms, self.p99_ms, self.batch = rate, p50_ms, p99_ms, batch


class Rounds:
    def __init__(self, build, directory, seconds):
        self.build, self.directory, self.seconds = build, directory, seconds
        self.key = secrets.token_hex(16)
        self.runs = {}

    def add(self, name, run):
        self.runs.setdefault(name, []).append(run)
        print(f"{name:44} {run.rate:10,.0f}/s  p50 {run.p50_ms:7.1f} ms  p99 {run.p99_ms:7.1f} ms", flush=True)

    def median(self, name):
        return statistics.median(run.rate for run in self.runs[name])

    def ratio(self, name, other):
        """The median of the rounds' ratios."""
        return statistics.median(a.rate / b.rate for a, b in zip(self.runs[name], self.runs[other]))

    def take(self, postgres):
        """One round of everything."""
        for size in POOL_SIZES:
            self.usual_way(postgres, size)
        self.sale(postgres, "1 node, directly", 1)
        for count in NODE_COUNTS:
            self.sale(postgres, through(count), count, door="crowd_port")
        for count in NODE_COUNTS:
            self.sale(postgres, by_request(count), count, door="port")
        for delay_ms in DELAYS_MS:
            self.sale(postgres, delayed(delay_ms), 1, delay_ms=delay_ms)

    def usual_way(self, postgres, size):
        database = postgres.create_database("usual")
        command = [self.build / "bench" / "postgres_purchase", postgres.url(database), str(size), str(self.seconds)]
        told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        if told["failures"]:
            raise RuntimeError(f"postgres_purchase: {told['failures']} purchases failed")
        self.add(usual(size), Run(told["requests_per_s"], told["p50_us"] / 1e3, told["p99_us"] / 1e3, 1))
        postgres.drop_database(database)

    def sale(self, postgres, name, node_count, door=None, delay_ms=None):
        """door: of haproxy, None: straight to the node."""
        database = postgres.create_database("sale")
        url = postgres.url(database)
        subprocess.run([self.build / "doorbuster", "migrate", "--store", url], check=True, stdout=subprocess.DEVNULL)
        with contextlib.ExitStack() as stack:
            if delay_ms is not None:
                proxy = stack.enter_context(TcpProxy(postgres.port, delay_ms=delay_ms))
                url = url.replace(f":{postgres.port}/", f":{proxy.port}/")
            nodes = [Node(self.build, url, self.key, self.directory) for _ in range(node_count)]
            for node in nodes:
                stack.callback(node.stop)
            for node in nodes:
                wait_for(lambda: fetch(node.port, "/readyz") is not None, "the node is ready", SETTLE_S)
            port = nodes[0].port
            if door is not None:
                port = getattr(stack.enter_context(Haproxy([node.port for node in nodes])), door)
                wait_for(lambda: fetch(port, "/readyz") is not None, "haproxy is ready", SETTLE_S)
            self.add(name, self.rush(port, nodes))
        self.count(postgres, database)
        postgres.drop_database(database)

    def rush(self, port, nodes):
        path = self.directory / "rush.json"
        command = [self.build / "doorbuster", "rush", "throughput", "--op", "purchase", "--url",
            f"http://127.0.0.1:{port}", "--connections", str(CONNECTIONS), "--seconds", str(self.seconds),
            "--admin-key", self.key, "--report", path]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"rush failed:\n{done.stdout}{done.stderr}")
        run = json.loads(path.read_text())["runs"][0]
        latency = next(e for e in run["endpoints"] if e["endpoint"] == "purchase")["latency"]["percentilesMs"]
        commands, batches = (sum(column) for column in zip(*(node.figures() for node in nodes)))
        return Run(run["requestsPerSecond"], latency["50"], latency["99"], commands / batches)

    @staticmethod
    def count(postgres, database):
        """What the rows say, whatever was answered."""
        (found,) = postgres.sql("SELECT initial_stock - stock, (SELECT count(*) FROM purchases),"
            " (SELECT count(DISTINCT user_id) FROM purchases), stock FROM products", database=database)
        sold, rows, buyers, left = found
        if not (sold == rows == buyers and left >= 0):
            raise RuntimeError(f"sold {sold}, rows {rows}, buyers {buyers}, left {left}: these must agree")


def usual(size):
    return f"one transaction a purchase, {size} connections"


def through(count):
    return f"{count} node{'s' if count > 1 else ''} behind haproxy"


def by_request(count):
    return f"{through(count)}, which shares out requests"


def delayed(delay_ms):
    return f"1 node, {delay_ms} ms to the database and back each"


def judge(taken):
    asked = usual(POOL_SIZES[0])

    def verdict(name, other, least):
        found = taken.ratio(name, other)
        return Verdict("PASS" if found >= least else "FAIL", f"{name} / {other}", f"≥ {least:g} ×", f"{found:.3g} ×",
            f"{taken.median(name):,.0f}/s of {taken.median(other):,.0f}/s")
    return [verdict("1 node, directly", asked, DIRECT_MIN), verdict(through(1), asked, HAPROXY_MIN),
        verdict(through(3), asked, HAPROXY_MIN), verdict(through(3), through(1), THREE_OF_ONE_MIN)]


def row(name, runs):
    rates = [run.rate for run in runs]

    def median(member):
        return statistics.median(getattr(run, member) for run in runs)
    return [name, f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f}–{max(rates):,.0f}",
        f"{median('p50_ms'):.1f} ms", f"{median('p99_ms'):.1f} ms", f"{median('batch'):,.0f}"]


def main():
    parser = argparse.ArgumentParser(prog="script/bench --nodes", description=__doc__.strip().split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="rounds (3)")
    parser.add_argument("--seconds", type=int, default=5, help="length of a run (5)")
    parser.add_argument("--report", type=pathlib.Path, help="write the tables to this Markdown file")
    options = parser.parse_args()
    if options.runs < 1 or options.seconds < 1:
        parser.error("--runs and --seconds begin at 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_WORLD))
    with tempfile.TemporaryDirectory(prefix="bench-nodes-") as name, Postgres(shared_buffers="256MB") as postgres:
        taken = Rounds(ROOT / "build", pathlib.Path(name), options.seconds)
        about = machine.describe(postgres.directory)
        for fact in about:
            print("{:12} {}".format(*fact))
        for number in range(options.runs):
            print(f"\nround {number + 1} of {options.runs}", flush=True)
            taken.take(postgres)
    rows = [row(name, runs) for name, runs in taken.runs.items()]
    verdicts = judge(taken)
    print("\n" + report.as_text(HEAD, rows))
    print("\n" + report.as_text(report.VERDICT_HEAD, [report.verdict_row(v) for v in verdicts]))
    if options.report:
        tables = [report.as_markdown(HEAD, rows),
            report.as_markdown(report.VERDICT_HEAD, [report.verdict_row(v) for v in verdicts])]
        options.report.write_text("# Nodes\n\n" + "\n\n".join(tables) + "\n")
    return 1 if any(v.word == "FAIL" for v in verdicts) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError, subprocess.CalledProcessError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        sys.exit(EXIT_WORLD)

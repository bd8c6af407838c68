# SPDX-License-Identifier: Apache-2.0
"""
Vending machines: the whole way to a product as a share of what a server does that only answers, what choosing one of
many machines costs, ever more users at once, a line that is kept second by second, and thousands who wait. Then the
same on PostgreSQL with two nodes. Every crowd's journal is audited against the store.

Exit status: 0 when every target holds, 1 when one does not, 2 wrong usage, 3 when a run failed.
"""
import argparse
import contextlib
import json
import os
import pathlib
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import machine
import report
import stores
from orders import Crowds, figures, verdict
from servers import Floor
from stores import NODE_COUNT, ROOT, SETTLE_S, EmbeddedStore, SharedStore, usage

from services.postgres import Postgres  # stores has shown the way there
from services.process import Missing, wait_for

EXIT_WORLD = 3
AT_ONCE = ("--dispense-time", "0")
FOR_EVER = ("--dispense-time", "1h", "--choose-timeout", "1h")
CONNECTIONS = 1000
POOLS = (10, 100, 1000, 10000)  # machines
POOL_USERS = 8
LEVELS = (10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)
LEVELS_BEYOND = (15000, 20000, 30000)
FEW_FILES = 2000
LEVELS_TOO_MANY = (1000, 3000, 5000)
LEVEL_AFTER = 1000
LEVELS_SHARED = LEVELS[:-1]
LINE_S = 60
LINE_MACHINES = 5
WAITING_USERS = 5000
WAITING_S = 10
# The targets.
FLOOR_SHARE_MIN = 0.30
POOL_COST_MAX = 2  # of what it costs with a thousandth of the machines; the logarithm has four times the steps
P99_MS_MAX = {1000: 250, 5000: 1000}
WAITING_MIB_MAX = 64
WAITING_CPU_MAX = 0.001  # of a core, above what the server takes with nobody there
HEADS = {
    "flow": ["store", "users", "machines", "requests/s", "lowest–highest", "sales/s", "start-work p50", "p99",
             "choose-product p50", "p99", "CPU a request"],
    "ladder": ["store", "users at once", "requests/s", "purchases", "200", "409", "time-outs", "connection errors",
               "p50", "p95", "p99", "longest", "original's p99"],
    "line": ["store", "sold", "in a second", "overtaken", "turns of a user", "longest wait"],
}


class FewFiles(EmbeddedStore):
    """A server that may not open many files, so that the crowd is more than it can take."""

    def command(self):
        return ["prlimit", f"--nofile={FEW_FILES}:{FEW_FILES}", *super().command()]


class Machines(Crowds):
    """The crowds at machines, on one store: server(*flags) starts one."""

    def __init__(self, build, directory, seconds, name, server):
        super().__init__(build, directory, seconds)
        self.name, self.server = name, server

    def flow(self, users, machines):
        """Start to work and choose, again and again; measured when the machines are made and the server is warm."""
        journals = [self.directory / f"machines-{secrets.token_hex(4)}.journal" for _ in range(2)]
        with self.server(*AT_ONCE) as server:
            self.rush(server, "machines", "--users", users, "--machines", machines, "--seconds", 1, "--journal",
                      journals[0])
            before = spent(server)
            run = self.rush(server, "machines", "--users", users, "--keep-sale", "--seconds", self.seconds, "--journal",
                            journals[1])
            run["cpuUs"] = cost_us(before, spent(server))
            status, said = self._run(self.build / "doorbuster", "verify", "--store", server.store,
                                     *(word for path in journals for word in ("--journal", path)))
        for path in journals:
            path.unlink()
        if run["verdict"] != "PASSED" or status != 0:
            raise RuntimeError(f"{users} users at {machines} machines, {self.name}: {run['invariants']}\n{said}")
        print(f"{self.name}: {users:,} users at {machines:,} machines: {run['requestsPerSecond']:,.0f} requests/s, "
              f"{run['cpuUs']:.1f} µs of the server's CPU each", flush=True)
        return run

    def ladder(self, levels, server=None):
        with (server or self.server)() as server:
            return self.audited(server, "ladder", "--levels", ",".join(map(str, levels)))

    def line(self):
        with self.server() as server:
            return self.audited(server, "line", "--machines", LINE_MACHINES, "--seconds", LINE_S)


# --- those who wait ---

def post(address, path, body=None):
    """(status, what the answer's body says); body is JSON's."""
    text = json.dumps(body).encode() if body is not None else b""
    headers = {"Content-Type": "application/json", "X-Admin-Key": os.environ["DOORBUSTER_ADMIN_KEY"]}
    request = urllib.request.Request(f"http://{address}{path}", text, headers, method="POST")
    with urllib.request.urlopen(request, timeout=SETTLE_S) as reply:
        return reply.status, json.loads(reply.read())


def spent(server):
    """(commands decided, CPU seconds used) by all nodes of the server so far."""
    commands = stores.counted(server, "doorbuster_commands_total ")
    return commands, sum(usage(process.pid)[1] for process, _ in server.processes())


def cost_us(before, after):
    return (after[1] - before[1]) * 1e6 / (after[0] - before[0])


def count_waiting(address):
    """How many stand in the line: a ticket's position, less itself."""
    _, ticket = post(address, "/api/orchestrator/queue")
    request = urllib.request.Request(f"http://{address}/api/orchestrator/queue/{ticket['ticket']}", method="DELETE")
    with urllib.request.urlopen(request, timeout=SETTLE_S):
        return ticket["position"] - 1


def wait_in_line(address, stack, users):
    host, port = address.split(":")
    request = (f"POST /api/orchestrator/start-work HTTP/1.1\r\nHost: {address}\r\nPrefer: wait=3600\r\n"
               "Content-Length: 0\r\n\r\n").encode()
    for _ in range(users):
        connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=SETTLE_S))
        connection.sendall(request)


def idle_cpu(pid):
    """CPU seconds that a process takes while nothing happens."""
    time.sleep(1)  # pause: what happened before is over
    _, first_s = usage(pid)
    time.sleep(WAITING_S)  # pause: the time that is measured
    return usage(pid)[1] - first_s


def waiting(build, directory):
    """(resident MiB, CPU seconds in which nothing happened) with nobody in the line, and with all of them."""
    flags = (*FOR_EVER, "--wait-max", "1h")
    with EmbeddedStore(directory, build, *flags) as server, contextlib.ExitStack() as stack:
        for number in range(LINE_MACHINES):
            post(server.address, "/api/vending-machines", {"name": f"Machine {number + 1}"})
            post(server.address, "/api/orchestrator/start-work")
        pid = server.process.pid
        alone = usage(pid)[0], idle_cpu(pid)
        wait_in_line(server.address, stack, WAITING_USERS)
        wait_for(lambda: count_waiting(server.address) == WAITING_USERS, "all stand in the line", SETTLE_S)
        crowded = usage(pid)[0], idle_cpu(pid)
        if count_waiting(server.address) != WAITING_USERS:
            raise RuntimeError("some did not wait until the end")
    return alone, crowded


# --- judging ---

def judge_flow(rounds):
    share = statistics.median(flow["requestsPerSecond"] / floor["requestsPerSecond"] for floor, flow in rounds)
    return verdict(share >= FLOOR_SHARE_MIN, f"start-work and choose-product / floor, {CONNECTIONS:,} connections",
                   f"≥ {FLOOR_SHARE_MIN:.2f}", f"{share:.2f}")


def judge_pools(rounds):
    ratio = statistics.median(pools[POOLS[-1]]["cpuUs"] / pools[POOLS[0]]["cpuUs"] for pools in rounds)
    return verdict(ratio <= POOL_COST_MAX, f"CPU of a request with {POOLS[-1]:,} machines / with {POOLS[0]}",
                   f"≤ {POOL_COST_MAX}", f"{ratio:.2f}")


def judge_ladder(name, run):
    levels = run["ladder"]["levels"]
    asked = [level for level in levels if level["users"] <= LEVELS[-1]]
    unanswered = sum(level["timeouts"] + level["connectionErrors"] + level["others"] for level in asked)
    most = max(level["users"] for level in asked)
    found = [verdict(unanswered == 0, f"{name}: ladder to {most:,} users: unanswered", "0", str(unanswered))]
    for users, most_ms in P99_MS_MAX.items():
        p99_ms = max(level["latency"]["percentilesMs"]["99"] for level in levels if level["users"] == users)
        found.append(verdict(p99_ms <= most_ms, f"{name}: {users:,} users at once, p99", f"≤ {most_ms} ms",
                             f"{p99_ms:.0f} ms"))
    found.append(verdict(run["ladder"]["growth"]["isLinear"], f"{name}: latency grows no faster than linearly", "yes",
                         run["ladder"]["growth"]["text"]))
    return found


def judge_line(name, run):
    found = figures(run)
    fewest, most = found["fewest in a second"], found["most in a second"]
    differ = found["served, the one most often"] - found["served, the one least often"]
    return [verdict(fewest == most == 1, f"{name}: five machines, 5 s each: sold in each of {LINE_S} seconds", "1",
                    f"{fewest:.0f} to {most:.0f}, {found['sales per second'] * LINE_S:.0f} in all"),
            verdict(found["overtaken in the line"] == 0, f"{name}: overtaken in the line", "0",
                    f"{found['overtaken in the line']:.0f}"),
            verdict(differ <= 1, f"{name}: turns of the users differ by", "≤ 1", f"{differ:.0f}")]


def judge_waiting(alone, crowded):
    share = (crowded[1] - alone[1]) / WAITING_S
    return [verdict(crowded[0] < WAITING_MIB_MAX, f"{WAITING_USERS:,} users waiting: memory of the server",
                    f"< {WAITING_MIB_MAX} MiB", f"{crowded[0]:.1f} MiB, {crowded[0] - alone[0]:.1f} of it theirs"),
            verdict(share <= WAITING_CPU_MAX, f"{WAITING_USERS:,} users waiting: CPU in {WAITING_S} s",
                    "none measurable", f"{crowded[1] * 1000:.1f} ms; with nobody {alone[1] * 1000:.1f} ms")]


# --- tables ---

def flow_row(name, users, machines, runs):
    rates = [run["requestsPerSecond"] for run in runs]
    found = [figures(run) for run in runs]

    def ms(figure):
        return f"{statistics.median(each[figure] for each in found):.2f} ms"
    return [name, f"{users:,}", f"{machines:,}", f"{statistics.median(rates):,.0f}",
            f"{min(rates):,.0f}–{max(rates):,.0f}",
            f"{statistics.median(each['sales per second'] for each in found):,.0f}", ms("start-work: 50 %"),
            ms("start-work: 99 %"), ms("choose-product: 50 %"), ms("choose-product: 99 %"),
            f"{statistics.median(run['cpuUs'] for run in runs):.1f} µs"]


def floor_row(floors):
    rates = [run["requestsPerSecond"] for run in floors]
    latency = [run["endpoints"][-1]["latency"]["percentilesMs"] for run in floors]
    return ["floor", f"{CONNECTIONS:,}", "–", f"{statistics.median(rates):,.0f}",
            f"{min(rates):,.0f}–{max(rates):,.0f}",
            "–", *(f"{statistics.median(each[percent] for each in latency):.2f} ms" for percent in ("50", "99")), "–",
            "–", "–"]


def ladder_rows(name, run):
    def row(level):
        times = level["latency"]["percentilesMs"]
        original = level["originalP99Ms"]
        return [name, f"{level['users']:,}", f"{level['requestsPerSecond']:,.0f}", str(level["purchases"]),
                f"{level['startWork']['ok']:,}", f"{level['startWork']['conflict']:,}", f"{level['timeouts']:,}",
                f"{level['connectionErrors']:,}", *(f"{times[percent]:.0f} ms" for percent in ("50", "95", "99")),
                f"{level['latency']['maxMs']:.0f} ms", "–" if original is None else f"{original:,.0f} ms"]
    return [row(level) for level in run["ladder"]["levels"]]


def line_row(name, run):
    found = figures(run)
    return [name, f"{found['sales per second'] * LINE_S:.0f} in {LINE_S} s",
            f"{found['fewest in a second']:.0f} to {found['most in a second']:.0f}",
            f"{found['overtaken in the line']:.0f}",
            f"{found['served, the one least often']:.0f} to {found['served, the one most often']:.0f}",
            f"{found['wait for a machine, longest'] / 1000:.2f} s"]


# --- the runs ---

def take_embedded(taken, crowds, runs):
    rounds, pools = [], []
    for number in range(runs):
        print(f"round {number + 1} of {runs}", flush=True)
        with Floor(crowds.directory, crowds.build) as server:
            floor = crowds.rush(server, "throughput", "--op", "fixed", "--connections", CONNECTIONS, "--seconds",
                                crowds.seconds)
        rounds.append((floor, crowds.flow(CONNECTIONS, CONNECTIONS)))
        pools.append({machines: crowds.flow(POOL_USERS, machines) for machines in POOLS})
    taken.rows["flow"] += [floor_row([floor for floor, _ in rounds]),
                           flow_row(crowds.name, CONNECTIONS, CONNECTIONS, [flow for _, flow in rounds]),
                           *(flow_row(crowds.name, POOL_USERS, machines, [each[machines] for each in pools])
                             for machines in POOLS)]
    taken.verdicts += [judge_flow(rounds), judge_pools(pools)]


def take_behaviour(taken, crowds, levels):
    """The ladder and the line."""
    print(f"{crowds.name}: ladder", flush=True)
    run = crowds.ladder(levels)
    taken.rows["ladder"] += ladder_rows(crowds.name, run)
    taken.verdicts += judge_ladder(crowds.name, run)
    print(f"{crowds.name}: line, {LINE_S} s", flush=True)
    run = crowds.line()
    taken.rows["line"].append(line_row(crowds.name, run))
    taken.verdicts += judge_line(crowds.name, run)


def take_beyond(taken, crowds, name, levels, server, said):
    """A ladder that may break, and 1,000 users once more behind it."""
    print(f"{crowds.name}: {name}", flush=True)
    run = crowds.ladder((*levels, LEVEL_AFTER), server)
    after = run["ladder"]["levels"][-1]
    taken.rows["ladder"] += ladder_rows(f"{crowds.name}, {name}", run)
    taken.sentences.append(f"{said}: {run['ladder']['breakingPoint']['text']}")
    taken.verdicts.append(verdict(not after["breaks"], f"{crowds.name}, {name}: {LEVEL_AFTER:,} users after that",
                                  "hold", f"p99 {after['latency']['percentilesMs']['99']:.0f} ms"))


def take_breaking(taken, crowds):
    """Where it breaks, and that it comes back."""
    beyond = stores.levels_beyond(LEVELS[-1], LEVELS_BEYOND)
    if beyond:
        take_beyond(taken, crowds, "beyond", beyond, None,
                    f"As many as a process may open files here ({stores.file_limit():,})")
    take_beyond(taken, crowds, "few files", LEVELS_TOO_MANY, lambda: FewFiles(crowds.directory, crowds.build),
                f"A server that may open {FEW_FILES:,} files")


def take_shared(taken, build, directory, seconds, runs):
    with Postgres(shared_buffers="256MB") as postgres:
        crowds = Machines(build, directory, seconds, f"PostgreSQL, {NODE_COUNT} nodes",
                          lambda *flags: SharedStore(build, directory, postgres, *flags))
        flows = [crowds.flow(CONNECTIONS, CONNECTIONS) for _ in range(runs)]
        taken.rows["flow"].append(flow_row(crowds.name, CONNECTIONS, CONNECTIONS, flows))
        take_behaviour(taken, crowds, LEVELS_SHARED)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="script/bench --machines", description=__doc__.strip().split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="rounds of what is compared with the floor (3)")
    parser.add_argument("--seconds", type=int, default=5, help="length of a run of these (5)")
    parser.add_argument("--report", type=pathlib.Path, help="write the tables to this Markdown file")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.runs < 1 or options.seconds < 1:
        parser.error("--runs and --seconds begin at 1")
    return options


def main():
    options = parse_arguments()
    build = options.build.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_WORLD))
    os.environ["DOORBUSTER_ADMIN_KEY"] = secrets.token_hex(16)
    stores.raise_file_limit()
    taken = stores.Taken(HEADS)
    with tempfile.TemporaryDirectory(prefix="bench-machines-", dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        directory = pathlib.Path(name)
        for fact in machine.describe(directory):
            print("{:12} {}".format(*fact))
        crowds = Machines(build, directory, options.seconds, "embedded",
                          lambda *flags: EmbeddedStore(directory, build, *flags))
        take_embedded(taken, crowds, options.runs)
        take_behaviour(taken, crowds, LEVELS)
        take_breaking(taken, crowds)
        print(f"{WAITING_USERS:,} users waiting", flush=True)
        taken.verdicts += judge_waiting(*waiting(build, directory))
        try:
            take_shared(taken, build, directory, options.seconds, options.runs)
        except Missing as problem:
            taken.verdicts.append(report.Verdict("SKIP", "the same on PostgreSQL", "", "no figure", str(problem)))
    taken.show("Vending machines", options.report)
    return taken.exit_status()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError, AssertionError, subprocess.SubprocessError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        sys.exit(EXIT_WORLD)

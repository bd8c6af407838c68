# SPDX-License-Identifier: Apache-2.0
"""
The marketplace: how many signed spends a second the server takes in, as a share of the signatures that this machine can
check at all (signatures.c), and what else a spend's CPU goes into; reads as a share of what a server does that only
answers; ever more users at once; coins that many try to spend twice; and what a transfer costs in memory. Then the same
on PostgreSQL with two nodes. Every crowd's journal is audited against the store.

A figure stands beside one of the yardstick taken right before it. docs/benchmarks.md says how to read it.

Exit status: 0 when every target holds, 1 when one does not, 2 wrong usage, 3 when a run failed.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import machine
import report
import stores
from clients import EDGE_S, WARM_UP_S
from orders import RUN_TIMEOUT_S, Crowds, Invalid, figures, verdict
from rounds import OTHERS_MAX
from servers import Floor
from stores import NODE_COUNT, ROOT, EmbeddedStore, SharedStore, counted, usage

from services.postgres import Postgres  # stores has shown the way there
from services.process import Missing, wait_for

EXIT_WORLD = 3
QUIET_TIMEOUT_S = 5
CONNECTIONS = (64, 1000)
SPENDS = 'http_requests_total{method="POST",route="/api/wallet/transact",status_code="200"}'
ROUTES = {"spend": SPENDS,
          "balance": 'http_requests_total{method="GET",route="/api/wallet/balance",status_code="200"}',
          "featured": 'http_requests_total{method="GET",route="/api/products/featured",status_code="200"}'}
READS = ("balance", "featured")
SIGNED_LATE_MAX = 0.01  # of the spends: more would be the generator's speed and not the server's
FLOW_START_S = 300  # a thousand wallets, and as many signatures as the machine can check meanwhile
LEVELS = (10, 100, 1000)
LEVELS_BEYOND = (2500, 5000, 10000, 15000)
LEVELS_SHARED_BEYOND = (2500, 5000)
LEVEL_AFTER = 1000
SPENDERS = (100, 1000)
MEMORY_COUNT = 200000
MEMORY_S = 10
# The targets.
VERIFY_SHARE_MIN = 0.65
FLOOR_SHARE_MIN = 0.80
P99_MS_MAX = {10: 50, 100: 200, 1000: 2000}
HEADS = {
    "signatures": ["all cores at once", "a second", "lowest–highest", "CPU of one"],
    "spends": ["store", "net threads", "connections", "spends/s", "lowest–highest", "p50", "p99",
               "of what can be checked", "the same by CPU", "at most"],
    "cpu": ["CPU of a spend", "connections", "checking its signature", "signing its receipt", "everything else",
            "server in all", "generator", "database and haproxy"],
    "reads": ["what", "connections", "requests/s", "lowest–highest", "p50", "p99", "of the floor", "CPU: server",
              "generator"],
    "levels": ["store", "users at once", "users/s", "errors", "p50", "p95", "p99", "longest", "whole way p50", "p99"],
    "double-spend": ["store", "connections", "what was tried", "holds"],
    "memory": ["spends", "resident before", "after", "each"],
}


@dataclasses.dataclass
class Flow:
    """One run of one kind of request."""
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    client_cpu_us: float  # processor time a request
    server_cpu_us: float = 0.0
    helpers_cpu_us: float = 0.0  # of database and haproxy
    others: float = 0.0  # processors that none of these used, 1 is one core
    yardstick: dict = dataclasses.field(default_factory=dict)  # what signatures.c said right before it

    @property
    def share(self):
        return self.requests_per_s / self.yardstick["verify"]["per_s"]

    @property
    def cpu_share(self):
        """What the share would be if nobody but server and generator used the cores."""
        return self.yardstick["verify"]["cpu_us"] / (self.server_cpu_us + self.helpers_cpu_us + self.client_cpu_us)

    @property
    def share_max(self):
        """The share of a server that did nothing but check and sign, for a generator that cost nothing."""
        return self.yardstick["verify"]["cpu_us"] / (self.yardstick["verify"]["cpu_us"] +
                                                     self.yardstick["sign"]["cpu_us"])

    @property
    def rest_us(self):
        return self.server_cpu_us - self.yardstick["verify"]["cpu_us"] - self.yardstick["sign"]["cpu_us"]


def read_flow(run):
    latency = next(each for each in run["endpoints"] if each["endpoint"] not in ("set-up", "all"))["latency"]
    return Flow(run["requestsPerSecond"], latency["percentilesMs"]["50"], latency["percentilesMs"]["99"],
                run["generator"]["cpuMicrosecondsPerRequest"])


class Market(Crowds):
    """The crowds of the marketplace on one store: server(*flags) starts one."""

    def __init__(self, build, directory, seconds, name, server):
        super().__init__(build, directory, seconds)
        self.name, self.server = name, server

    def signatures(self):
        """What this machine can check and make, right now."""
        machine.wait_until_quiet(OTHERS_MAX, QUIET_TIMEOUT_S)
        status, said = self._run(self.build / "bench" / "signatures", self.seconds)
        if status != 0:
            raise RuntimeError(f"bench/signatures: {said}")
        return json.loads(said)

    # --- one kind of request ---

    def spends(self, connections, *flags):
        """Signed spends of 0.01 MC, a wallet a connection; the yardstick is taken right before."""
        yardstick = self.signatures()
        with self.server(*flags) as server:
            flow = self._flow(server, "spend", connections, "--prepared", self._spends_max(yardstick))
        flow.yardstick = yardstick
        self._tell(f"spends{' ' if flags else ''}{' '.join(flags)}", connections, flow,
                   f"{flow.share:.2f} of {yardstick['verify']['per_s']:,.0f}/s; µs of CPU: checked in "
                   f"{yardstick['verify']['cpu_us']:.0f}, signed in {yardstick['sign']['cpu_us']:.0f}, server in all "
                   f"{flow.server_cpu_us:.0f}, generator {flow.client_cpu_us:.0f}")
        return flow

    def _spends_max(self, yardstick):
        """More than can be checked in a run, whoever else uses the cores now."""
        return int(yardstick["threads"] * 1e6 / yardstick["verify"]["cpu_us"] * (WARM_UP_S + self.seconds))

    def reads(self, operation, connections):
        with self.server() as server:
            flow = self._flow(server, operation, connections)
        self._tell(operation, connections, flow, f"{flow.server_cpu_us:.1f} µs of the server's CPU each")
        return flow

    def floor(self, connections):
        machine.wait_until_quiet(OTHERS_MAX, QUIET_TIMEOUT_S)
        with Floor(self.directory, self.build) as server:
            flow = read_flow(self.rush(server, "throughput", "--op", "status", "--keep-sale", "--connections",
                                       connections, "--seconds", self.seconds))
        self._tell("floor", connections, flow, "")
        return flow

    def _tell(self, what, connections, flow, more):
        print(f"{self.name}: {what}, {connections:,} connections: {flow.requests_per_s:,.0f}/s  {more}"
              f"{'' if flow.others <= OTHERS_MAX else f', disturbed: others used {flow.others:.2f} cores'}", flush=True)

    def _flow(self, server, operation, connections, *flags):
        """One run, audited; what the CPU went into is looked at while it lasts."""
        files = [self.directory / f"flow-{secrets.token_hex(4)}.{kind}" for kind in ("json", "journal", "log")]
        path, journal, log = files
        with open(log, "wb") as out:
            process = subprocess.Popen([str(word) for word in (
                self.build / "doorbuster", "rush", "market-flow", "--op", operation, "--url",
                f"http://{server.address}", "--connections", connections, "--seconds", self.seconds, "--report", path,
                "--journal", journal, *flags)], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True)
            try:
                used = self._watch(server, process, ROUTES[operation])
                status = process.wait(RUN_TIMEOUT_S)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        if status != 0 or used is None:
            raise RuntimeError(f"market-flow {operation}, exit status {status}:\n{log.read_text(errors='replace')}")
        run = json.loads(path.read_text())["runs"][0]
        late = figures(run).get("signed on the way", 0)
        if late > SIGNED_LATE_MAX * run["requests"]:
            raise RuntimeError(f"{late:.0f} of {run['requests']} were not signed before the clock started")
        self._audit(server, f"market-flow {operation}", journal)
        for file in files:
            file.unlink()
        return dataclasses.replace(read_flow(run), **used)

    def _watch(self, server, process, route):
        """CPU of server, helpers and others while the flow is measured; None: it never came to that. Requests of this
        route are the flow's alone."""
        wait_for(lambda: counted(server, route) > 0 or process.poll() is not None, "the flow begins", FLOW_START_S)
        time.sleep(WARM_UP_S + EDGE_S)  # pause: what is not measured
        servers = [each.pid for each, _ in server.processes()]
        helpers = server.helpers()
        leaders = [*servers, *helpers, process.pid]
        first, first_count = machine.snapshot(leaders), counted(server, route)
        time.sleep(self.seconds - 2 * EDGE_S)  # pause: the time that is measured
        last, last_count = machine.snapshot(leaders), counted(server, route)
        if process.poll() not in (None, 0) or last_count == first_count:
            return None
        used = machine.usage(first, last)
        each_us = (last.at_s - first.at_s) * 1e6 / (last_count - first_count)
        return {"server_cpu_us": sum(used.by_leader[pid] for pid in servers) * each_us,
                "helpers_cpu_us": sum(used.by_leader[pid] for pid in helpers) * each_us, "others": used.others}

    def _audit(self, server, what, *journals):
        status, said = self._run(self.build / "doorbuster", "verify", "--store", server.store,
                                 *(word for journal in journals for word in ("--journal", journal)))
        if status != 0:
            raise RuntimeError(f"the store does not hold what {what} was told:\n{said}")

    # --- crowds ---

    def levels(self, levels):
        with self.server() as server:
            return self.audited(server, "marketplace", "--levels", ",".join(map(str, levels)))

    def double_spend(self, connections):
        with self.server() as server:
            return self.audited(server, "double-spend", "--users", connections)

    def memory(self):
        """(resident MiB before, after, how many spends between)"""
        journals = []

        def run(server):
            journals.append(self.directory / f"memory-{secrets.token_hex(4)}.journal")
            self.rush(server, "market-flow", "--connections", CONNECTIONS[0], "--seconds", MEMORY_S, "--prepared", 1,
                      "--journal", journals[-1])  # speed is not what is asked for: signed on the way
        with self.server() as server:
            pid = server.process.pid
            run(server)  # buffers and threads' memory are there afterwards
            before, first = usage(pid)[0], counted(server, SPENDS)
            while counted(server, SPENDS) - first < MEMORY_COUNT:
                run(server)
            found = before, usage(pid)[0], counted(server, SPENDS) - first
            self._audit(server, "market-flow", *journals)
        for journal in journals:
            journal.unlink()
        return found


# --- judging ---

SHARES = (lambda flow: flow.share, lambda flow: flow.cpu_share, lambda flow: flow.share_max)


def median(flows, find):
    return statistics.median(find(flow) for flow in flows)


def judge_spends(flows, threads, connections):
    """The smaller of the two shares counts: where others use the cores too, a server with many threads gets more of
    them than the yardstick did, and what was reached says too much."""
    share, cpu_share, share_max = (median(flows, find) for find in SHARES)
    name = f"signed spends / signatures that all cores check, {connections:,} connections, --net-threads {threads}"
    return verdict(min(share, cpu_share) >= VERIFY_SHARE_MIN, name, f"≥ {VERIFY_SHARE_MIN:.2f}",
                   f"{share:.2f}; by CPU {cpu_share:.2f}; checking and signing alone would leave {share_max:.2f}")


def judge_reads(operation, connections, floors, flows):
    share = statistics.median(flow.requests_per_s / floor.requests_per_s for floor, flow in zip(floors, flows))
    return share, verdict(share >= FLOOR_SHARE_MIN, f"{operation} / floor, {connections:,} connections",
                          f"≥ {FLOOR_SHARE_MIN:.2f}", f"{share:.2f}")


def at_level(run, users):
    return next(level for level in run["marketplace"]["levels"] if level["users"] == users)


def judge_levels(name, runs):
    """The times are medians of the runs; errors and what the wallets hold, the worst of all."""
    found = []
    for users, most_ms in P99_MS_MAX.items():
        levels = [at_level(run, users) for run in runs]
        p99_ms = statistics.median(level["latency"]["percentilesMs"]["99"] for level in levels)
        failed = sum(level["failed"] for level in levels)
        found.append(verdict(p99_ms < most_ms and failed == 0, f"{name}: {users:,} users at once, p99 of every request",
                             f"< {most_ms} ms, 0 errors", f"{p99_ms:.0f} ms, {failed} errors"))
    wrong = sum(count_wrong(level) for run in runs for level in run["marketplace"]["levels"])
    found.append(verdict(wrong == 0, f"{name}: wallets, receipts and stock that are not as acknowledged", "0",
                         str(wrong)))
    return found


def count_wrong(level):
    """Where requests fail, a wallet need not tell and nobody knows the stock."""
    is_whole = level["failed"] == 0
    return (level["balancesWrong"] + level["receiptsWrong"] + is_whole * level["balancesNotTold"]
            + (is_whole and level["stockLeft"] != level["stockExpected"]))


def judge_double_spend(name, connections, runs):
    failed = [each["invariant"] for run in runs for each in run["invariants"] if not each["passed"]]
    is_met = not failed and all(run["verdict"] == "PASSED" for run in runs)
    return verdict(is_met, f"{name}: double-spend, {connections:,} connections", "exact",
                   failed[0] if failed else runs[-1]["invariants"][0]["invariant"].partition("; asked")[0])


# --- tables ---

def span(rates):
    return [f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f}–{max(rates):,.0f}"]


def signature_rows(yardsticks):
    return [[name, *span([each[kind]["per_s"] for each in yardsticks]),
             f"{statistics.median(each[kind]['cpu_us'] for each in yardsticks):.1f} µs"]
            for kind, name in (("verify", "signatures checked"), ("sign", "signatures made"))]


def times(flows):
    return [f"{median(flows, lambda flow: flow.p50_ms):.2f} ms", f"{median(flows, lambda flow: flow.p99_ms):.2f} ms"]


def spend_row(name, threads, connections, flows):
    return [name, threads, f"{connections:,}", *span([flow.requests_per_s for flow in flows]), *times(flows),
            *(f"{median(flows, find):.2f}" for find in SHARES)]


def cpu_row(name, threads, connections, flows):
    def us(find):
        return f"{median(flows, find):.1f} µs"
    return [f"{name}, net threads: {threads}", f"{connections:,}", us(lambda flow: flow.yardstick["verify"]["cpu_us"]),
            us(lambda flow: flow.yardstick["sign"]["cpu_us"]), us(lambda flow: flow.rest_us),
            us(lambda flow: flow.server_cpu_us), us(lambda flow: flow.client_cpu_us),
            us(lambda flow: flow.helpers_cpu_us)]


def read_row(what, connections, flows, share):
    return [what, f"{connections:,}", *span([flow.requests_per_s for flow in flows]), *times(flows), share,
            f"{median(flows, lambda flow: flow.server_cpu_us):.1f} µs" if share else "",
            f"{median(flows, lambda flow: flow.client_cpu_us):.1f} µs"]


def level_row(name, levels):
    """The same level of several runs: medians, but the errors are those of all."""
    def ms(find):
        return f"{statistics.median(find(level) for level in levels):,.0f} ms"

    def percentile(latency, percent):
        return ms(lambda level: level[latency]["percentilesMs"][percent])
    return [name, f"{levels[0]['users']:,}", f"{statistics.median(level['usersPerSecond'] for level in levels):,.0f}",
            f"{sum(level['failed'] for level in levels):,}",
            *(percentile("latency", percent) for percent in ("50", "95", "99")),
            ms(lambda level: level["latency"]["maxMs"]), *(percentile("userLatency", each) for each in ("50", "99"))]


# --- the runs ---

def take_round(taken, crowds, found):
    """One of each that is compared with a yardstick, right behind it."""
    cores = str(machine.core_count())
    for connections in CONNECTIONS:
        for threads, flags in ((cores, ("--net-threads", cores)), ("default", ())):
            found.setdefault((threads, connections), []).append(crowds.spends(connections, *flags))
        found.setdefault(("floor", connections), []).append(crowds.floor(connections))
        for operation in READS:
            found.setdefault((operation, connections), []).append(crowds.reads(operation, connections))
    take_crowds(crowds, found)


def take_crowds(crowds, found):
    print(f"{crowds.name}: {', '.join(map(str, LEVELS))} users at once; double-spend", flush=True)
    found.setdefault("levels", []).append(crowds.levels(LEVELS))
    for connections in SPENDERS:
        found.setdefault(("double-spend", connections), []).append(crowds.double_spend(connections))


def show_spends(taken, crowds, found, threads):
    for connections in CONNECTIONS:
        flows = found[(threads, connections)]
        taken.rows["spends"].append(spend_row(crowds.name, threads, connections, flows))
        taken.rows["cpu"].append(cpu_row(crowds.name, threads, connections, flows))


def show_crowds(taken, crowds, found):
    taken.rows["levels"] += [level_row(crowds.name, [at_level(run, users) for run in found["levels"]])
                             for users in LEVELS]
    taken.verdicts += judge_levels(crowds.name, found["levels"])
    for connections in SPENDERS:
        runs = found[("double-spend", connections)]
        taken.rows["double-spend"] += [
            [crowds.name, f"{connections:,}", each["invariant"].partition("; asked")[0],
             "yes" if all(run["invariants"][i]["passed"] for run in runs) else "NO"]
            for i, each in enumerate(runs[-1]["invariants"])]
        taken.verdicts.append(judge_double_spend(crowds.name, connections, runs))


def take_embedded(taken, crowds, runs):
    found = {}
    cores = str(machine.core_count())
    for number in range(runs):
        print(f"round {number + 1} of {runs}", flush=True)
        take_round(taken, crowds, found)
    flows = [flow for threads in (cores, "default") for connections in CONNECTIONS
             for flow in found[(threads, connections)]]
    taken.rows["signatures"] += signature_rows([flow.yardstick for flow in flows])
    for threads in (cores, "default"):
        show_spends(taken, crowds, found, threads)
    for connections in CONNECTIONS:
        taken.verdicts.append(judge_spends(found[(cores, connections)], cores, connections))
    for connections in CONNECTIONS:
        show_reads(taken, connections, found)
    show_crowds(taken, crowds, found)
    return flows


def show_reads(taken, connections, found):
    floors = found[("floor", connections)]
    taken.rows["reads"].append(read_row("floor", connections, floors, ""))
    for operation in READS:
        flows = found[(operation, connections)]
        share, judged = judge_reads(operation, connections, floors, flows)
        taken.rows["reads"].append(read_row(operation, connections, flows, f"{share:.2f}"))
        taken.verdicts.append(judged)


def climb(crowds, server, steps):
    """(levels up to the first that breaks, a sentence about it)"""
    levels, said = [], ""
    for users in steps:
        print(f"{crowds.name}: {users:,} users at once", flush=True)
        try:
            told = crowds.audited(server, "marketplace", "--levels", users)["marketplace"]
        except Invalid as problem:
            said += f"{' ' if said else ''}{users:,} users at once are more than the generator can be here: {problem}"
            break
        levels.append(told["levels"][0])
        said = told["breakingPoint"]["text"]
        if levels[-1]["breaks"]:
            break
    return levels, said


def take_breaking(taken, crowds, steps):
    """Where it breaks, and that it comes back."""
    with crowds.server() as server:
        levels, said = climb(crowds, server, steps)
        after = at_level(crowds.audited(server, "marketplace", "--levels", LEVEL_AFTER), LEVEL_AFTER)
    taken.rows["levels"] += [level_row(f"{crowds.name}, beyond", [level]) for level in levels]
    taken.rows["levels"].append(level_row(f"{crowds.name}, after that", [after]))
    taken.sentences.append(f"{crowds.name}: {said}")
    wrong = sum(map(count_wrong, levels))
    taken.verdicts.append(verdict(wrong == 0, f"{crowds.name}, beyond: wallets, receipts and stock that are not as "
                                  "acknowledged", "0", str(wrong)))
    taken.verdicts.append(verdict(not after["breaks"], f"{crowds.name}: {LEVEL_AFTER:,} users after that", "hold",
                                  f"p99 {after['latency']['percentilesMs']['99']:.0f} ms, {after['failed']} errors"))


def take_memory(taken, crowds):
    """What so many spends leave behind in the server's memory."""
    print(f"{crowds.name}: memory of {MEMORY_COUNT:,} spends", flush=True)
    before, after, count = crowds.memory()
    taken.rows["memory"].append([f"{count:,.0f}", f"{before:.1f} MiB", f"{after:.1f} MiB",
                                 f"{(after - before) * 2**20 / count:.0f} bytes"])


def take_shared(taken, build, directory, seconds, runs):
    with Postgres(shared_buffers="256MB") as postgres:
        crowds = Market(build, directory, seconds, f"PostgreSQL, {NODE_COUNT} nodes",
                        lambda *flags: SharedStore(build, directory, postgres, *flags))
        found = {}
        for _ in range(runs):
            for connections in CONNECTIONS:
                found.setdefault(("default", connections), []).append(crowds.spends(connections))
            take_crowds(crowds, found)
        show_spends(taken, crowds, found, "default")
        show_crowds(taken, crowds, found)
        take_breaking(taken, crowds, LEVELS_SHARED_BEYOND)
        return [flow for connections in CONNECTIONS for flow in found[("default", connections)]]


def disturbances(flows):
    """A sentence when other programs used the processors meanwhile."""
    disturbed = [flow.others for flow in flows if flow.others > OTHERS_MAX]
    if not disturbed:
        return "No run was disturbed by other programs."
    return (f"{len(disturbed)} of {len(flows)} runs of spends were disturbed: other programs used up to "
            f"{max(disturbed):.2f} of {machine.core_count()} cores.")


def parse_arguments():
    parser = argparse.ArgumentParser(prog="script/bench --market", description=__doc__.strip().split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="rounds (3)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a run beside a yardstick (3)")
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
    try:
        take(taken, build, options)
    finally:
        taken.show("Marketplace", options.report)  # also what there is of a run that fails late
    return taken.exit_status()


def take(taken, build, options):
    with tempfile.TemporaryDirectory(prefix="bench-market-", dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        directory = pathlib.Path(name)
        for fact in machine.describe(directory):
            print("{:12} {}".format(*fact))
        crowds = Market(build, directory, options.seconds, "embedded",
                        lambda *flags: EmbeddedStore(directory, build, *flags))
        flows = take_embedded(taken, crowds, options.runs)
        if stores.levels_beyond(LEVELS[-1], LEVELS_BEYOND):
            take_breaking(taken, crowds, stores.levels_beyond(LEVELS[-1], LEVELS_BEYOND))
        take_memory(taken, crowds)
        try:
            flows += take_shared(taken, build, directory, options.seconds, options.runs)
        except Missing as problem:
            taken.verdicts.append(report.Verdict("SKIP", "the same on PostgreSQL", "", "no figure", str(problem)))
    taken.sentences.append(disturbances(flows))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError, AssertionError, subprocess.SubprocessError) as problem:
        print(f"bench: {problem}", file=sys.stderr)
        sys.exit(EXIT_WORLD)

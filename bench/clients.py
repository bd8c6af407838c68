# SPDX-License-Identifier: Apache-2.0
"""
The clients that measure: `doorbuster rush` against whatever speaks HTTP, and our small ones for the other stores. A
client that met an error, or whose result is not valid, raises Failed; a figure is never made from such a run.
"""
import dataclasses
import json
import os
import secrets
import subprocess
import time

import machine
from servers import Unavailable

WARM_UP_S = 1  # of rush throughput and of load.c: not measured
TIMEOUT_S = 120
EDGE_S = 0.1


class Failed(Exception):
    """The run gave no figure; the text says why."""


@dataclasses.dataclass
class Figure:
    """One run."""
    requests_per_s: float
    p50_us: float
    p99_us: float
    server_cpu_us: float = 0.0  # processor time a request
    client_cpu_us: float = 0.0
    others: float = 0.0  # processors that neither of them used, 1 is one core


def _finish(process, command):
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise Failed(f"not finished after {TIMEOUT_S} s: {' '.join(map(str, command))}\n{output}") from None
    if process.returncode != 0:
        raise Failed(f"exit status {process.returncode}: {' '.join(map(str, command))}\n{output}")
    return output


@dataclasses.dataclass
class Crowd:
    """One run of many buyers at once."""
    p50_ms: float
    p99_ms: float
    unanswered: int


class Bench:
    """Where the programs are, and how long a run lasts."""

    def __init__(self, build, directory, seconds):
        self.build = build
        self.directory = directory
        self.seconds = seconds
        self.environment = {**os.environ, "DOORBUSTER_ADMIN_KEY": secrets.token_hex(16)}
        os.environ["DOORBUSTER_ADMIN_KEY"] = self.environment["DOORBUSTER_ADMIN_KEY"]

    def _start(self, command):
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, env=self.environment, start_new_session=True)

    def run(self, command):
        """Runs a client to its end and returns what it printed."""
        return _finish(self._start(command), command)

    def _run_measured(self, server, command):
        """The same, and the processors used in the part of the run that is measured."""
        process = self._start(command)
        try:
            time.sleep(WARM_UP_S + EDGE_S)
            first = machine.snapshot([server.process.pid, process.pid])
            time.sleep(self.seconds - 2 * EDGE_S)
            last = machine.snapshot([server.process.pid, process.pid])
            return _finish(process, command), machine.usage(first, last), process.pid
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _figure(self, server, command, read):
        output, used, pid = self._run_measured(server, command)
        figure = read(output)
        if figure.requests_per_s <= 0:
            raise Failed(f"no request was answered: {' '.join(map(str, command))}")
        figure.server_cpu_us = used.by_leader[server.process.pid] * 1e6 / figure.requests_per_s
        figure.client_cpu_us = used.by_leader[pid] * 1e6 / figure.requests_per_s
        figure.others = used.others
        return figure

    def _rush(self, server, scenario, *flags):
        """(command, function that reads its report)"""
        report = self.directory / "rush.json"
        command = [self.build / "doorbuster", "rush", scenario, "--url", f"http://{server.address}", "--report", report,
                   *map(str, flags)]

        def read(_):
            return json.loads(report.read_text())["runs"][0]
        return command, read

    def throughput(self, server, operation, connections, is_sale_kept=False):
        """One kind of request as fast as the answers come."""
        command, read_report = self._rush(server, "throughput", "--op", operation, "--connections", connections,
                                          "--seconds", self.seconds, *(["--keep-sale"] if is_sale_kept else []))

        def read(output):
            run = read_report(output)
            endpoint = next(e for e in run["endpoints"] if e["endpoint"] == ("status" if operation == "status"
                                                                            else "purchase"))
            percentiles = endpoint["latency"]["percentilesMs"]
            return Figure(run["requestsPerSecond"], percentiles["50"] * 1e3, percentiles["99"] * 1e3)
        return self._figure(server, command, read)

    def crowd(self, server, users):
        """So many buyers at once, each on a fresh connection."""
        command, read_report = self._rush(server, "purchase-load", "--users", users)
        run = read_report(self.run(command))
        purchases = next(e for e in run["endpoints"] if e["endpoint"] == "purchase")["latency"]
        unanswered = sum(row["latency"]["count"] for row in run["outcomes"]
                         if not row["outcome"].startswith("purchase_"))
        return Crowd(purchases["percentilesMs"]["50"], purchases["percentilesMs"]["99"], unanswered)

    def store_client(self, server, program, target, connections):
        """redis_purchase and postgres_purchase."""
        def read(output):
            told = json.loads(output)
            if told["failures"]:
                raise Failed(f"{program}: {told['failures']} purchases failed")
            return Figure(told["requests_per_s"], told["p50_us"], told["p99_us"])
        binary = self.build / "bench" / program
        if not binary.exists():
            raise Unavailable(f"{program} could not be built: its library's development package is missing")
        command = [binary, target, str(connections), str(self.seconds)]
        return self._figure(server, command, read)

    def flush(self):
        """{"append": ..., "overwrite": ...}: the median time of making 4 KiB safe, in µs."""
        told = json.loads(self.run([self.build / "bench" / "fsync", self.directory, str(max(1, self.seconds - 1))]))
        return {kind: told[kind]["p50"] for kind in ("append", "overwrite")}

# SPDX-License-Identifier: Apache-2.0
"""
Takes the runs, round after round: every run of ours right after one of the floor, on a fresh server and an empty
store, so that what drifts in the machine hits both.
"""
import dataclasses
import statistics

import machine
from clients import Failed
from servers import Doorbuster, Floor, Postgres, Redis, Unavailable

CONNECTIONS = (1000, 64)
# Connections that PostgreSQL is tried with; the best counts, as if a pool of that size stood before it.
POOL_SIZES = (2, 8, 32, 64)
CROWDS = (1000, 5000)  # buyers at once
# A run begins when other programs use no more cores than this, or after waiting so long; one during which they used
# more is repeated, at most so often.
OTHERS_MAX = 0.15
QUIET_TIMEOUT_S = 20
REPEATS_MAX = 2


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of request: which operation of `rush throughput` sends it to us, and which to the floor. A purchase that
    is refused is asked for with the same bytes as one that succeeds."""
    name: str
    operation: str
    floor_operation: str


PURCHASE = Kind("accepted purchases", "purchase", "purchase")
REFUSED = Kind("refused purchases", "refused", "purchase")
STATUS = Kind("status polling", "status", "status")


@dataclasses.dataclass
class Series:
    """All runs of one kind."""
    name: str
    connections: int
    figures: list = dataclasses.field(default_factory=list)

    def median(self, member):
        return statistics.median(getattr(figure, member) for figure in self.figures)


def floor_name(kind):
    return f"floor: {kind.name}"


def ratio(ours, other):
    """The median of the rounds' ratios."""
    return statistics.median(a.requests_per_s / b.requests_per_s for a, b in zip(ours.figures, other.figures))


class Rounds:
    """The figures so far. What failed once is not tried again and has a reason in `problems`."""

    def __init__(self, bench, directory, say):
        self.bench = bench
        self.directory = directory
        self.say = say
        self.series = {}
        self.flushes = []   # {"append": µs, "overwrite": µs}
        self.crowds = {users: [] for users in CROWDS}
        self.problems = {}  # name: the exception

    def get(self, name, connections):
        key = (name, connections)
        if key not in self.series:
            self.series[key] = Series(name, connections)
        return self.series[key]

    def take(self):
        """One round of everything."""
        for connections in CONNECTIONS:
            for kind in (PURCHASE, REFUSED, STATUS):
                self._attempt(kind.name, self._pair, kind, connections)
            self._attempt("Redis", self._redis, connections)
        self._attempt("PostgreSQL", self._postgres)
        self._attempt("one client", self._alone)
        for users in CROWDS:
            self._attempt(f"{users} at once", self._crowd, users)

    def _attempt(self, name, action, *arguments):
        if name in self.problems:
            return
        try:
            action(*arguments)
        except (Failed, Unavailable, RuntimeError, OSError) as problem:
            self.problems[name] = problem
            self.say(f"{name}: {'skipped' if isinstance(problem, Unavailable) else 'FAILED'}: {problem}")

    def _add(self, name, connections, measure):
        """One run, repeated when others disturbed it."""
        for _ in range(1 + REPEATS_MAX):
            machine.wait_until_quiet(OTHERS_MAX, QUIET_TIMEOUT_S)
            figure = measure()
            if figure.others <= OTHERS_MAX:
                break
        self.get(name, connections).figures.append(figure)
        self.say(f"{name}, {connections:,} connections: {figure.requests_per_s:,.0f}/s"
                 f"{'' if figure.others <= OTHERS_MAX else f', disturbed: others used {figure.others:.2f} cores'}")

    def _floor(self, kind, connections):
        with Floor(self.directory, self.bench.build) as server:
            return self.bench.throughput(server, kind.floor_operation, connections, is_sale_kept=True)

    def _doorbuster(self, kind, connections):
        with Doorbuster(self.directory, self.bench.build) as server:
            return self.bench.throughput(server, kind.operation, connections)

    def _pair(self, kind, connections):
        self._add(floor_name(kind), connections, lambda: self._floor(kind, connections))
        self._add(kind.name, connections, lambda: self._doorbuster(kind, connections))

    def _redis(self, connections):
        def measure():
            with Redis(self.directory) as server:
                return self.bench.store_client(server, "redis_purchase", server.address, connections)
        self._add("Redis", connections, measure)

    def _postgres(self):
        with Postgres(self.directory) as server:
            for size in POOL_SIZES:
                self._add("PostgreSQL", size,
                          lambda: self.bench.store_client(server, "postgres_purchase", server.conninfo(), size))

    def _alone(self):
        """One client, and what the disk takes by itself right before and after."""
        self.flushes.append(self.bench.flush())
        self._add("one client", 1, lambda: self._doorbuster(PURCHASE, 1))
        self.flushes.append(self.bench.flush())

    def _crowd(self, users):
        machine.wait_until_quiet(OTHERS_MAX, QUIET_TIMEOUT_S)
        with Doorbuster(self.directory, self.bench.build) as server:
            crowd = self.bench.crowd(server, users)
        self.crowds[users].append(crowd)
        self.say(f"{users:,} buyers at once: p50 {crowd.p50_ms:.1f} ms, p99 {crowd.p99_ms:.1f} ms")

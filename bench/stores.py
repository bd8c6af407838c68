# SPDX-License-Identifier: Apache-2.0
"""
The same server on both stores: a file of its own, and two nodes on one PostgreSQL behind haproxy. Both say which
processes serve, so that what a request costs can be told; and what all runs on them have in common.
"""
import contextlib
import os
import pathlib
import resource
import subprocess
import sys
import urllib.request

import nodes
import report
from orders import OrderServer

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from services.haproxy import Haproxy  # noqa: E402
from services.process import wait_for  # noqa: E402

NODE_COUNT = 2
SETTLE_S = 60
LEVEL_MAX = 50000  # users at once
FILES_SPARE = 500


class EmbeddedStore(OrderServer):
    def processes(self):
        """(process, address) of each that serves."""
        return [(self.process, self.address)]

    def helpers(self):
        """Process ids of those that it needs besides."""
        return []


class SharedStore:
    """`doorbuster serve` twice on a PostgreSQL database of their own, behind haproxy, which shares out connections."""

    def __init__(self, build, directory, postgres, *flags):
        self.build, self.directory, self.postgres, self.flags = build, directory, postgres, flags

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            database = self.postgres.create_database("bench")
            stack.callback(self.postgres.drop_database, database)
            self.store = self.postgres.url(database)
            subprocess.run([self.build / "doorbuster", "migrate", "--store", self.store], check=True,
                           stdout=subprocess.DEVNULL)
            key = os.environ["DOORBUSTER_ADMIN_KEY"]
            started = [nodes.Node(self.build, self.store, key, self.directory, *self.flags) for _ in range(NODE_COUNT)]
            for node in started:
                stack.callback(node.stop)
            for node in started:
                wait_for(lambda: nodes.fetch(node.port, "/readyz") is not None, "the node is ready", SETTLE_S)
            self.haproxy = stack.enter_context(Haproxy([node.port for node in started]))
            door = self.haproxy.crowd_port
            wait_for(lambda: nodes.fetch(door, "/readyz") is not None, "haproxy is ready", SETTLE_S)
            self.address = f"127.0.0.1:{door}"
            self.nodes = started
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def processes(self):
        return [(node.process, f"127.0.0.1:{node.port}") for node in self.nodes]

    def helpers(self):
        return [self.postgres.pid, self.haproxy.pid]


def usage(pid):
    """(resident MiB, CPU seconds) of a process; these to the nanosecond, of the threads that it has now."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    threads = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return resident / 1024, sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def counted(server, prefix):
    """The sum of all metrics of all nodes that begin with it."""
    lines = []
    for _, address in server.processes():
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=SETTLE_S) as reply:
            lines += reply.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(prefix))


def file_limit():
    """How many files a process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def raise_file_limit():
    """As far as it may be, for all that is started here."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (file_limit(), file_limit()))


def levels_beyond(last, steps):
    """Levels above the last one: those of the steps that the limit of open files leaves room for, at both ends, and
    as many users as that."""
    most = min(file_limit() - FILES_SPARE, LEVEL_MAX)
    return (*(users for users in steps if last < users < most), most) if most > last else ()


class Taken:
    """What was found so far: tables by name, of which `heads` has the heads, verdicts, sentences."""

    def __init__(self, heads):
        self.heads = heads
        self.rows = {name: [] for name in heads}
        self.verdicts = []
        self.sentences = []

    def tables(self):
        return [*((self.heads[name], rows) for name, rows in self.rows.items() if rows),
                (report.VERDICT_HEAD, [report.verdict_row(each) for each in self.verdicts])]

    def show(self, title, path):
        """Prints all of it, and writes it to a Markdown file when there is a path."""
        for table in self.tables():
            print("\n" + report.as_text(*table))
        print("\n" + "\n".join(self.sentences))
        if path:
            parts = [f"# {title}", *(report.as_markdown(*table) for table in self.tables()), *self.sentences]
            path.write_text("\n\n".join(parts) + "\n")

    def exit_status(self):
        return 1 if any(each.word == "FAIL" for each in self.verdicts) else 0

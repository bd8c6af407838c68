# SPDX-License-Identifier: Apache-2.0
"""The load balancer as it is deployed: deploy/haproxy.cfg, word for word, with other addresses."""
import csv
import io
import os
import resource
import socket
from pathlib import Path

from . import process

CONFIG = Path(__file__).resolve().parents[2] / "deploy" / "haproxy.cfg"
NODES_MAX = 3             # the config knows so many
NOBODY = "127.0.0.1:1"    # where no node is
CONNECTIONS_MAX = 40_000
ANSWER_SECONDS = 30


def check():
    process.program("haproxy", "haproxy")


class Haproxy(process.Service):
    """nodes: ports of this machine, or addresses; at most three."""
    name = "haproxy"

    def __init__(self, nodes):
        check()
        assert 1 <= len(nodes) <= NODES_MAX, nodes
        super().__init__()
        self.port = process.free_port()        # shares out requests
        self.crowd_port = process.free_port()  # shares out connections
        self.socket = self.directory / "admin"
        self.nodes = [node if isinstance(node, str) else f"127.0.0.1:{node}" for node in nodes]

    def command(self):
        return [process.program("haproxy", "haproxy"), "-db", "-f", CONFIG]

    def environment(self):
        # Two descriptors a connection, and some to spare, within what we are allowed.
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        connections = CONNECTIONS_MAX if limit == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, (limit - 200) // 2)
        addresses = self.nodes + [NOBODY] * (NODES_MAX - len(self.nodes))
        variables = {f"DOORBUSTER_NODE{number}": address for number, address in enumerate(addresses, 1)}
        return {**os.environ, **variables, "DOORBUSTER_PROXY_BIND": self.address,
            "DOORBUSTER_PROXY_CROWD_BIND": f"127.0.0.1:{self.crowd_port}", "DOORBUSTER_PROXY_LOG": "stdout",
            "DOORBUSTER_PROXY_SOCKET": str(self.socket), "DOORBUSTER_PROXY_CONNECTIONS": str(connections),
            **({} if os.geteuid() == 0 else {"DOORBUSTER_PROXY_UNPRIVILEGED": "1"})}

    def is_ready(self):
        """It listens and has looked at every node."""
        try:
            return super().is_ready() and all((node["status"], node["check_status"].lstrip("* ")) == ("UP", "L7OK")
                or node["status"] == "DOWN" for node in self.stats().values())
        except OSError:
            return False

    def ask(self, command):
        """What it answers on its administrator's socket, such as `set server nodes/node1 state drain`."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(self.socket))
            connection.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()

    def stats(self):
        """{node: its column of `show stat`}, numbers as numbers: stot (requests), wretr, wredis, status, ..."""
        rows = csv.DictReader(io.StringIO(self.ask("show stat").lstrip("# ")))
        return {row["svname"]: {name: int(value) if value and value.isdigit() else value or "" for name, value
            in row.items() if name} for row in rows
            if row["pxname"] == "nodes" and row["svname"] not in ("BACKEND", "FRONTEND")}

    def wait_nodes(self, *up, seconds=30):
        """Until exactly these (node1, ...) get requests; one that is "UP 1/2" still does."""
        process.wait_for(lambda: {name for name, node in self.stats().items() if node["status"].startswith("UP")}
            == set(up), f"nodes {up} are up", seconds)

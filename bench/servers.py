# SPDX-License-Identifier: Apache-2.0
"""
The servers that are measured, each private, on a free port, its files in a directory of its own: `with Floor(...) as
server:` starts it, waits until it serves, and stops and removes it. A server leads a session of its own, by
which the processor time of all its processes is found (machine.py).
"""
import contextlib
import glob
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import machine

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30
POLL_S = 0.02


class Unavailable(Exception):
    """This server cannot be had here; the text says why."""


class Server:
    """A server process; subclasses say how it is started and how one sees that it serves."""
    name = ""

    def __init__(self, parent):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=parent))
        self.log = self.directory / "log"
        self.process = None
        self.port = 0

    def command(self):
        raise NotImplementedError

    def is_ready(self):
        """Called again and again until it is true."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def user(self):
        """The account that it runs under; None: ours."""
        return None

    def prepare(self):
        """What must be there before it is started."""

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def _run_as(self):
        """Arguments for subprocess that make it another user's, when it is to be one."""
        return {} if self.user() is None else {"user": self.user(), "group": pwd.getpwnam(self.user()).pw_gid,
                                               "extra_groups": []}

    def __enter__(self):
        try:
            self.prepare()
            with open(self.log, "wb") as log:
                self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                                stderr=subprocess.STDOUT, cwd=self.directory, start_new_session=True,
                                                **self._run_as())
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_until_ready(self):
        until = time.monotonic() + START_TIMEOUT_S
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.name} does not serve; it said:\n{self.log.read_text(errors='replace')}")
            time.sleep(POLL_S)

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal())
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def stop_signal(self):
        return signal.SIGTERM


class Listening(Server):
    """A server of ours: it takes port 0 and says which one that became."""
    binary = pathlib.Path()

    def is_ready(self):
        match = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log.read_text(errors="replace"))
        self.port = int(match.group(1)) if match else 0
        return match is not None


class Floor(Listening):
    name = "floor"

    def __init__(self, parent, build):
        super().__init__(parent)
        self.binary = build / "bench" / "floor"

    def command(self):
        return [self.binary, "--listen", "127.0.0.1:0"]


class Doorbuster(Listening):
    name = "doorbuster"

    def __init__(self, parent, build):
        super().__init__(parent)
        self.binary = build / "doorbuster"
        self.store = self.directory / "bench.db"

    def command(self):
        # The admin key comes from the environment. Everything else is as it comes, but for the port and the store.
        return [self.binary, "serve", "--listen", "127.0.0.1:0", "--store", self.store, "--drain-delay", "0"]


class Redis(Server):
    """Durable before the answer: every write is in the append-only file and flushed first."""
    name = "redis"

    def prepare(self):
        if shutil.which("redis-server") is None:
            raise Unavailable("redis-server is not installed (script/bootstrap --all)")
        self.port = machine.free_port()

    def command(self):
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", self.directory, "--save", "",
                "--appendonly", "yes", "--appendfsync", "always"]

    def is_ready(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)) as probe:
            probe.settimeout(START_TIMEOUT_S)
            probe.sendall(b"PING\r\n")
            return probe.recv(64).startswith(b"+PONG")
        return False


class Postgres(Server):
    """As the distribution configures it, fsync and synchronous commit on, with more memory and rarer checkpoints."""
    name = "postgres"

    def __init__(self, parent):
        super().__init__(parent)
        self.data = self.directory / "data"
        self.programs = None

    def user(self):
        return "postgres" if os.geteuid() == 0 else None

    def prepare(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: float(path.split("/")[4]))
        initdb = found[-1] if found else shutil.which("initdb")
        if initdb is None:
            raise Unavailable("the PostgreSQL server is not installed (script/bootstrap --all)")
        self.programs = pathlib.Path(initdb).parent
        if self.user() is not None:
            self._hand_over()
        made = subprocess.run([initdb, "--pgdata", self.data, "--auth", "trust", "--username", "bench", "--no-sync"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/", **self._run_as())
        if made.returncode != 0:
            raise Unavailable(f"initdb failed: {made.stderr.strip()}")
        self.port = machine.free_port()

    def _hand_over(self):
        """It refuses to run as root; the account of the package runs it and must reach its files."""
        try:
            shutil.chown(self.directory, self.user(), pwd.getpwnam(self.user()).pw_gid)
        except (KeyError, LookupError):
            raise Unavailable("PostgreSQL does not run as root, and there is no user postgres") from None
        for parent in self.directory.parents:
            if not parent.stat().st_mode & 0o001:
                raise Unavailable(f"the user postgres cannot reach {parent}; set TMPDIR to a directory that it can")

    def command(self):
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", "fsync": "on",
                    "synchronous_commit": "on", "shared_buffers": "256MB", "max_wal_size": "8GB",
                    "max_connections": "200"}
        return [self.programs / "postgres", "-D", self.data,
                *(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))]

    def conninfo(self):
        return f"host=127.0.0.1 port={self.port} user=bench dbname=postgres"

    def is_ready(self):
        return "ready to accept connections" in self.log.read_text(errors="replace")

    def stop_signal(self):
        return signal.SIGINT  # do not wait for clients

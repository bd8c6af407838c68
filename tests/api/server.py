# SPDX-License-Identifier: Apache-2.0
"""
The server under test as a process: started on a port of the kernel's choice, watched through its log, stopped
politely or killed, and checked for what a sanitizer may have printed.
"""
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import wire

ROOT = Path(__file__).resolve().parents[2]
ADMIN_KEY = "dev-admin-key-12345678"
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|LeakSanitizer|runtime error:|doorbuster: bug:")


def binary():
    """The binary under test; absolute, because servers run in directories of their own."""
    return (ROOT / os.environ.get("DOORBUSTER_BIN", "build/doorbuster")).resolve()


def release_binary():
    return (ROOT / os.environ.get("DOORBUSTER_RELEASE_BIN", "build/doorbuster")).resolve()


def clean_environment(extra=None):
    """Ours without the variables that doorbuster would read."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DOORBUSTER_")}
    environment.pop("NOTIFY_SOCKET", None)
    environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    environment.update(extra or {})
    return environment


def frugal_environment():
    """For servers whose memory is measured: AddressSanitizer keeps freed blocks back (256 MiB of them), which are not
    the server's doing."""
    return {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"}


class Stream:
    """The lines a process writes, gathered by a thread."""

    def __init__(self, pipe):
        self.lines = []
        self.condition = threading.Condition()
        self.is_open = True
        self.thread = threading.Thread(target=self.gather, args=(pipe,), daemon=True)
        self.thread.start()

    def gather(self, pipe):
        with pipe:
            for line in pipe:
                with self.condition:
                    self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                    self.condition.notify_all()
        with self.condition:
            self.is_open = False
            self.condition.notify_all()

    def find(self, matches, seconds):
        """The first line for which matches(line) is true; waits for it."""
        end = time.monotonic() + seconds
        seen = 0
        with self.condition:
            while True:
                for line in self.lines[seen:]:
                    if matches(line):
                        return line
                seen = len(self.lines)
                left = end - time.monotonic()
                if not self.is_open or left <= 0:
                    return None
                self.condition.wait(left)

    def text(self):
        with self.condition:
            return "\n".join(self.lines)


class Server:
    """`doorbuster serve` with a store. start() waits until it is ready; whoever starts one stops it."""

    def __init__(self, store, arguments=(), environment=None, program=None, key=ADMIN_KEY, listen="127.0.0.1:0",
            prepare=None):
        self.store = store
        self.command = [str(program or binary()), "serve", "--store", store.argument]
        self.command += ["--listen", listen] if listen else []
        self.command += ["--admin-key", key] if key else []
        if not any(str(argument).startswith("--log-format") for argument in arguments):
            self.command += ["--log-format", "json"]
        self.command += [str(argument) for argument in arguments]
        self.environment = clean_environment(environment)
        self.prepare = prepare  # called in the new process before the program
        self.process = self.out = self.err = self.port = None

    def launch(self):
        """Starts the process and returns at once."""
        self.process = subprocess.Popen(self.command, env=self.environment, cwd=self.store.directory,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=self.prepare)
        self.out, self.err = Stream(self.process.stdout), Stream(self.process.stderr)
        return self

    def start(self, seconds=60.0):
        self.launch()
        return self.wait_ready(seconds)

    def wait_ready(self, seconds=60.0):
        line = self.err.find(lambda line: listening_port(line) is not None, seconds)
        if line is None:
            self.fail("it never said that it listens")
        self.port = listening_port(line)
        end = time.monotonic() + seconds
        while not self.is_ready():
            if time.monotonic() > end or self.process.poll() is not None:
                self.fail("it never became ready")
            time.sleep(0.01)  # pause: between two polls
        return self

    def is_ready(self):
        try:
            return wire.ask(self.port, "GET", "/readyz").status == 200
        except (OSError, wire.Closed):
            return False

    def fail(self, what):
        self.process.kill()
        self.wait_exit()
        raise AssertionError(f"{what}: {' '.join(self.command)}\nexit status {self.process.returncode}\n"
            f"standard error:\n{self.err.text()}")

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def logs(self):
        """What it logged as JSON; other lines on standard error are not among them."""
        return [entry for entry in map(log_entry, self.err.text().splitlines()) if entry is not None]

    def wait_log(self, matches, what, seconds=30.0):
        line = self.err.find(lambda line: (entry := log_entry(line)) is not None and matches(entry), seconds)
        assert line is not None, f"no log line: {what}\n{self.err.text()}"
        return log_entry(line)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait_exit(self, seconds=60.0):
        """The exit status (negative: the signal that ended it)."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still running {seconds} s after it should have ended\n{self.err.text()}") from None
        self.out.thread.join(10)
        self.err.thread.join(10)
        return status

    def check_silence(self):
        """No sanitizer and no broken invariant has spoken."""
        found = SANITIZER.search(self.err.text())
        assert found is None, f"{found[0]} from {' '.join(self.command)}\n{self.err.text()}"

    def stop(self, seconds=60.0):
        """SIGTERM; must end with status 0 and with nothing from a sanitizer."""
        if self.process is None:
            return
        if self.is_running():
            self.signal()
        status = self.wait_exit(seconds)
        self.check_silence()
        assert status == 0, f"exit status {status} after SIGTERM\n{self.err.text()}"

    def kill9(self):
        self.process.kill()
        status = self.wait_exit()
        self.check_silence()
        assert status == -signal.SIGKILL, f"it had ended by itself with {status}\n{self.err.text()}"

    def discard(self):
        """For clean-up: whatever its state, it is gone afterwards."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.wait_exit()

    def rss_bytes(self):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"process {self.pid} has no VmRSS")


def log_entry(line):
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def listening_port(line):
    entry = log_entry(line)
    if entry is None or entry.get("context") != "serve":
        return None
    found = re.match(r"listening on \S*:(\d+)\b", entry.get("message", ""))
    return int(found[1]) if found else None

# SPDX-License-Identifier: Apache-2.0
"""
A server from the distribution, run privately: in a temporary directory, on a free port of 127.0.0.1, as a user of its
own where it refuses to be root, gone when whoever started it is gone. Every wait is for a condition and has a limit.
"""
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 60


class Missing(Exception):
    """This service cannot be had here; the text says why and what to do."""


def program(name, package):
    """The path of a program of a package."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"{name} is not installed; script/bootstrap --all does it (package {package})")
    return found


def free_port():
    """A port that nobody uses. Not one of those that the kernel gives to clients: while the server is down, one of
    them could get it, or connect to itself."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        low = int(file.read().split()[0])
    ports = random.SystemRandom()
    for _ in range(1000):
        port = ports.randrange(10_000, max(low, 20_000))
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Missing("there is no free port")


def wait_for(condition, what, seconds=START_SECONDS):
    """What condition() returns as soon as that is true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)  # pause: between two looks


class Service:
    """Subclasses say how it is started and when it serves. start() and stop() may be repeated; remove() ends it for
    good. Also a context manager."""
    name = ""
    death_signal = "KILL"  # what it gets when the thread that started it ends without stopping it

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix=f"doorbuster-{self.name}-"))
        self.log = self.directory / "log"
        self.process = None
        self.port = 0
        if self.user() is not None:
            self.hand_over()

    # --- for subclasses ---

    def command(self):
        raise NotImplementedError

    def environment(self):
        return dict(os.environ)

    def is_ready(self):
        """Asked again and again until it is true."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def user(self):
        """The account that it runs under, None for ours."""
        return None

    # --- for everybody ---

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, seconds=START_SECONDS):
        """Starts it and waits until it serves."""
        self.launch()
        self.wait_ready(seconds)
        return self

    def launch(self):
        """Starts it without waiting."""
        assert not self.is_running(), f"{self.name} runs already"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*self.as_user(), *map(str, self.command())], stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, cwd=self.directory, env=self.environment(),
                start_new_session=True)

    def wait_ready(self, seconds=START_SECONDS):
        end = time.monotonic() + seconds
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{self.name} does not serve; it said:\n{self.said()}")
            time.sleep(0.01)  # pause: between two looks

    def said(self):
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def stop(self, number=signal.SIGTERM):
        """Asks it to end, and sees to it that it does."""
        if not self.is_running():
            return
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"{self.name} did not end within {STOP_SECONDS} s:\n{self.said()}") from None

    def kill9(self):
        if self.is_running():
            self.process.kill()
            self.process.wait()

    def restart(self):
        self.stop()
        return self.start()

    def remove(self):
        """Kills it where it stands and removes its files."""
        self.kill9()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        try:
            return self if self.is_running() else self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_):
        self.remove()

    # --- users ---

    def hand_over(self):
        """Gives the directory to the account that is to work in it."""
        account = pwd.getpwnam(self.user())
        for parent in self.directory.parents:
            if not parent.stat().st_mode & 0o001:
                raise Missing(f"the user {self.user()} cannot reach {parent}; set TMPDIR to a place that it can")
        os.chown(self.directory, account.pw_uid, account.pw_gid)

    def as_user(self):
        """What goes before a command line, so that it runs as that account and does not outlive us."""
        words = []
        if self.user() is not None:
            account = pwd.getpwnam(self.user())
            words = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        # The kernel means the thread that started it; another one may end long before the tests do.
        if threading.current_thread() is threading.main_thread():
            words.append(f"--pdeathsig={self.death_signal}")
        return ["setpriv", *words] if words else []

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""
Runs a command with servers of its own, which are gone when it ends; its exit status is ours.

usage: tests/with_services.py [--postgres] [--redis] COMMAND [ARGUMENT...]

    --postgres  DOORBUSTER_TEST_POSTGRES=postgres://... : a role that may create databases
    --redis     DOORBUSTER_TEST_REDIS=redis://...

Exit status 77 when a server cannot be had here (what to install is said), 3 when one does not start.
"""
import argparse
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import services

EXIT_MISSING = 77  # what test runners take for "skipped"
EXIT_WORLD_FAILED = 3


def start(stack, wanted):
    """Starts what is wanted, ended with the stack; the variables that tell where it is."""
    variables = {}
    if "postgres" in wanted:
        variables["DOORBUSTER_TEST_POSTGRES"] = stack.enter_context(services.Postgres()).url()
    if "redis" in wanted:
        variables["DOORBUSTER_TEST_REDIS"] = stack.enter_context(services.Redis()).url()
    return variables


def run(command, variables):
    """The exit status of the command; signals that ask us to end are for it."""
    process = subprocess.Popen(command, env={**os.environ, **variables})
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: process.send_signal(number))
    signal.signal(signal.SIGINT, lambda number, frame: None)  # a terminal tells the command as well
    status = process.wait()
    return 128 - status if status < 0 else status


def end(number, frame):
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser(description="Runs a command with servers of its own.")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--redis", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.command:
        parser.error("no COMMAND")
    signal.signal(signal.SIGTERM, end)
    with contextlib.ExitStack() as stack:
        try:
            variables = start(stack, [name for name in ("postgres", "redis") if getattr(options, name)])
        except services.Missing as missing:
            print(f"with_services: {missing}", file=sys.stderr)
            return EXIT_MISSING
        except (OSError, RuntimeError) as error:
            print(f"with_services: {error}", file=sys.stderr)
            return EXIT_WORLD_FAILED
        return run(options.command, variables)


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: Apache-2.0
"""
The machine under the benchmark: what it is, who uses its processors, and which file system is under a directory.
"""
import dataclasses
import os
import pathlib
import platform
import socket
import time

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
QUIET_SPAN_S = 0.3
# File systems that keep files in memory: a flush there costs nothing, and a figure would be a lie.
MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs", "devtmpfs"}


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def file_system(directory):
    """(type, device) of the file system that holds the directory."""
    wanted = os.stat(directory).st_dev
    found = ("unknown", "unknown")
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        major, minor = fields.split()[2].split(":")
        if os.makedev(int(major), int(minor)) == wanted:
            found = tuple(rest.split()[:2])
    return found


def describe(directory):
    """What the figures hold for, as (name, value) rows."""
    cpu = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in cpu.splitlines() if line.startswith("model name")),
                 platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kind, device = file_system(directory)
    return [
        ("machine", f"{os.cpu_count()} cores, {model}, {memory:.0f} GiB"
                    f"{', virtual machine' if ' hypervisor' in cpu else ''}"),
        ("kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("file system", f"{kind} on {device}"),
    ]


def _stat_fields(path):
    """The fields behind the name, which may itself hold blanks; field 3 of proc(5) comes first."""
    return pathlib.Path(path).read_text().rpartition(")")[2].split()


def _process_ticks(leader):
    """CPU ticks used so far by a process, its session and its children (those of PostgreSQL have sessions of their
    own); those that have ended and been waited for count too."""
    ticks = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = _stat_fields(f"/proc/{entry}/stat")
            except OSError:  # gone meanwhile
                continue
            if leader in (int(fields[1]), int(fields[3])):
                ticks += sum(int(field) for field in fields[11:15])
    return ticks


@dataclasses.dataclass
class Snapshot:
    """The processors at one moment."""
    at_s: float
    busy_ticks: int  # of the whole machine, what the host took away included
    ticks: dict      # leader's process id: what it and those it leads have used


def snapshot(leaders=()):
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[:8])
    return Snapshot(time.monotonic(), user + nice + system + irq + softirq + steal,
                    {leader: _process_ticks(leader) for leader in leaders})


@dataclasses.dataclass
class Usage:
    """Processors used between two snapshots; 1 is one core."""
    by_leader: dict
    others: float


def usage(first, last):
    span = (last.at_s - first.at_s) * TICKS_PER_S
    ours = {leader: (last.ticks[leader] - first.ticks[leader]) / span for leader in first.ticks}
    others = (last.busy_ticks - first.busy_ticks) / span - sum(ours.values())
    return Usage(ours, max(0.0, others))



def wait_until_quiet(cores_max, timeout_s):
    """Waits until others use no more than so many cores; True when that came to pass in time."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        first = snapshot()
        time.sleep(QUIET_SPAN_S)
        if usage(first, snapshot()).others <= cores_max:
            return True
    return False


def core_count():
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))

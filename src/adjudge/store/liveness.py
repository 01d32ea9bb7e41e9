"""Whether the process that began a run still lives, so that the claims of a killed one can be bought again."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

SILENT_AFTER_NS = 60 * 10**9


class Process(NamedTuple):
    """`host` is one kernel and process-number space: the same machine after a reboot, or another container on it, is
    another host. `started` tells two processes apart that had the same number, one after the other."""

    host: str
    pid: int
    started: str


class Sign(NamedTuple):
    """The last sign of life of a run, beside its process."""

    process: Process
    heartbeat_ns: int
    ended: bool


def this_process() -> Process:
    pid = os.getpid()
    return Process(_host(), pid, _started(pid) or "")


def is_alive(sign: Sign, now_ns: int) -> bool:
    """On this host: the process is there and is the same one. On another: it was heard of in the last 60 seconds."""
    if sign.ended:
        return False
    if sign.process.host == _host():
        return _started(sign.process.pid) == sign.process.started
    return now_ns - sign.heartbeat_ns <= SILENT_AFTER_NS


@cache
def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def _started(pid: int) -> str | None:
    """When the process began, in the system's own words; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _started_by_ps(pid)
    except (ProcessLookupError, PermissionError):
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the name before it may hold anything, brackets too
    return None if state in "ZX" else fields[18]


def _started_by_ps(pid: int) -> str | None:
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607 -- a number, and the system's own ps
    return answer.stdout.strip() or None

"""Tell whether a process is still the one that was started, and end it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

PROC = Path("/proc")


def started_at(pid: int) -> str | None:
    """When process `pid` started, in words only good for comparing; None where it does not run.

    A process id is used again sooner or later; the pair of id and start is not.
    """
    if PROC.joinpath("self", "stat").exists():
        try:
            stat = (PROC / str(pid) / "stat").read_text()
            boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
        state, ticks = fields[0], fields[19]
        return None if state in "ZX" else f"{boot}:{ticks}"
    done = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, start = done.stdout.strip().partition(" ")
    return start.strip() if state and not state.startswith("Z") else None


def is_running(pid: int, started: str) -> bool:
    """Whether process `pid` is the one that started at `started`."""
    return started_at(pid) == started


def end(pid: int, started: str, grace_s: float) -> None:
    """Ask the process to end (SIGTERM); kill it (SIGKILL) if it has not within `grace_s`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not is_running(pid, started):
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and is_running(pid, started):
            time.sleep(0.05)

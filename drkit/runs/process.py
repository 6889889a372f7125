"""Which process executes a run: a pid together with the time it started, so that a reused pid
is not mistaken for it."""

from __future__ import annotations

import os
from pathlib import Path


def started_mark(pid: int) -> str | None:
    """What tells this process from a later one with the same pid; None: there is no such process.

    Linux: boot id and start time in ticks (proc(5), /proc/PID/stat field 22).
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return None
    except OSError:
        return "unreadable"
    state, *rest = stat.rsplit(")", 1)[1].split()
    return None if state in ("Z", "X") else f"{boot[:8]}-{rest[18]}"


def lives(pid: int | None, mark: str | None) -> bool:
    """Whether the process that was recorded still runs."""
    return pid is not None and mark is not None and started_mark(pid) == mark


def own_mark() -> tuple[int, str | None]:
    pid = os.getpid()
    return pid, started_mark(pid)

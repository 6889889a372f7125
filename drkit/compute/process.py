"""Processes that are known by more than their number: a pid that was reused is never touched.

Reads proc(5): field 22 of /proc/PID/stat is the start time in clock ticks since boot.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process for all time: its number, when it started, and in which boot."""

    pid: int
    start_ticks: int
    boot_id: str

    @property
    def alive(self) -> bool:
        """It runs; a zombie does not, and another process of the same number is not it."""
        return process(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Signals this very process, and no other that took its pid; False if it is no more."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # The descriptor holds on to one process; only now is it known to be the right one.
            if not self.alive:
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def wait(self, timeout_s: float) -> bool:
        """True as soon as it has ended, False if it still runs after `timeout_s`."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if self.alive:
                select.select([descriptor], [], [], timeout_s)
        finally:
            os.close(descriptor)
        self._reap()
        return not self.alive

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):  # another's child, whose parent reaps it
            os.waitpid(self.pid, os.WNOHANG)


def process(pid: int) -> Process | None:
    """The process that has this number now, or None; zombies are none."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may itself hold spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return Process(pid, int(fields[19]), boot_id())


def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def processes_with(environment: Mapping[str, str]) -> Iterator[Process]:
    """This user's processes that were started with all of `environment`, but never this one."""
    wanted = {f"{name}={value}".encode() for name, value in environment.items()}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            found = process(int(entry.name))
            if found and wanted <= set((entry / "environ").read_bytes().split(b"\0")):
                yield found
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else


def end(processes: list[Process], *, grace_s: float) -> list[Process]:
    """Those that still run after SIGTERM, `grace_s` and SIGKILL: none, unless the kernel hangs."""
    for each in processes:
        each.send(signal.SIGTERM)
    stubborn = [each for each in processes if not each.wait(grace_s)]
    for each in stubborn:
        each.send(signal.SIGKILL)
    return [each for each in stubborn if not each.wait(grace_s)]

"""Runs contenders in turn and takes medians: wall time, CPU, memory, and what others used."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.case import Command, Contender, Measured

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class CommandFailed(Exception):
    """A measured command ended with another exit status than 0."""


@dataclass(slots=True)
class _Runs:
    walls_s: list[float] = field(default_factory=list)
    cpus_s: list[float] = field(default_factory=list)
    peaks_mb: list[float] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)
    extra: dict[str, list[float]] = field(default_factory=dict)


def measure(contenders: Sequence[Contender], rounds: int) -> dict[str, Measured]:
    """Medians by contender. In each round every contender runs once, the order rotated by one, so
    that what else happens on the machine meets all of them alike.
    """
    runs = {contender.name: _Runs() for contender in contenders}
    for number in range(rounds):
        turn = number % len(contenders)
        for contender in (*contenders[turn:], *contenders[:turn]):
            _run_once(contender, runs[contender.name])
    return {
        name: Measured(
            statistics.median(run.walls_s),
            statistics.median(run.cpus_s),
            statistics.median(run.peaks_mb),
            statistics.median(run.foreign),
            tuple(round(wall, 4) for wall in run.walls_s),
            {key: statistics.median(values) for key, values in run.extra.items()},
        )
        for name, run in runs.items()
    }


def _run_once(contender: Contender, run: _Runs) -> None:
    if contender.before:
        contender.before()
    wall_s = cpu_s = peak_mb = 0.0
    busy_s = _busy_s()
    for command in contender.commands:
        began_s = time.perf_counter()
        used_cpu_s, used_mb = _child(command)
        wall_s += time.perf_counter() - began_s
        cpu_s += used_cpu_s
        peak_mb = max(peak_mb, used_mb)
    foreign = max(0.0, _busy_s() - busy_s - cpu_s) / wall_s
    extra: Mapping[str, float] = (contender.after() if contender.after else None) or {}
    run.walls_s.append(wall_s)
    run.cpus_s.append(cpu_s)
    run.peaks_mb.append(peak_mb)
    run.foreign.append(foreign)
    for key, value in extra.items():
        run.extra.setdefault(key, []).append(value)


def _child(command: Command) -> tuple[float, float]:
    """CPU seconds and highest resident MB of the command. Raises `CommandFailed`.

    Linux counts the memory of the process that forks as the child's own until it has replaced its
    program, so this process must stay small: nothing heavy is imported, no data is kept.
    """
    process = subprocess.Popen(
        [str(part) for part in command.argv],
        env={**os.environ, **command.env},
        cwd=command.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode != 0:
        words = said.decode(errors="replace").strip()
        raise CommandFailed(f"{command.argv} ended with {process.returncode}: {words[-2000:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def _busy_s() -> float:
    """CPU seconds that all processes of this machine have used."""
    with open("/proc/stat") as file:
        fields = [int(value) for value in file.readline().split()[1:9]]
    idle, waiting = fields[3], fields[4]
    return (sum(fields) - idle - waiting) / _TICKS_PER_S

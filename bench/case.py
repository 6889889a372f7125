"""The shape of a benchmark: a case has contenders, which are measured beside each other, and bars.

To add one, write `bench/cases/<name>.py` with a `CASE`; nothing else is to be registered:

    CASE = Case(
        "restore_small",                        # the file's name
        "full restore of 20,000 text files",
        prepare,                                # Bench -> contenders, "drkit" among them
        bars=(Faster("restic", 1.3, stretch=2), AtMost("peak_mb", 400)),
        needs_bytes=3 << 30,                    # what `prepare` and the runs write in bench.root
    )

What `prepare` does is not measured. A contender's commands are child processes, one after the
other: their wall time, CPU time (user and system, theirs and that of the children they waited for)
and highest resident memory are. `before` and `after` are called around each run, unmeasured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Figure = Literal["wall_s", "cpu_s", "peak_mb"]
DRKIT = "drkit"


@dataclass(frozen=True, slots=True)
class Command:
    """One child process. `env` comes on top of this one's; its standard output is dropped."""

    argv: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    """What is measured under `name`. `before` puts its place in order; `after` raises when the
    result is wrong, and may return figures of its own (requests, bytes), which are reported.
    """

    name: str
    commands: Sequence[Command]
    before: Callable[[], None] | None = None
    after: Callable[[], Mapping[str, float] | None] | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """What a case is handed: an empty folder of its own (memory-backed when there is room) that
    is removed afterwards, a folder for data that cases share, and the peers that are here.

    `scale` shrinks the data for a trial; bars are judged at 1 only. `peers`: program by name.
    """

    root: Path
    shared: Path
    scale: float
    peers: Mapping[str, Path]

    def restic(self) -> Path | None:
        """The newest restic there is."""
        return self.peers.get("restic")


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians of one contender's runs, and what each run gave."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    foreign_cpus: float
    walls_s: tuple[float, ...]
    extra: Mapping[str, float]


Medians = Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`met` is None where the peer is not installed, or nothing was measured."""

    text: str
    value: float | None
    met: bool | None
    stretch_met: bool | None


@dataclass(frozen=True, slots=True)
class Faster:
    """`who` takes `times` less wall time than the contender `than`."""

    than: str
    times: float
    stretch: float | None = None
    who: str = DRKIT

    def judge(self, medians: Medians) -> Verdict:
        text = f"{self.who}: {self.times:g} times as fast as {self.than}"
        if self.than not in medians or self.who not in medians:
            return Verdict(text, None, None, None)
        value = medians[self.than].wall_s / medians[self.who].wall_s
        beyond = value >= self.stretch if self.stretch else None
        return Verdict(text, value, value >= self.times, beyond)


@dataclass(frozen=True, slots=True)
class AtMost:
    """`who`'s `figure` is at most `limit`, or `limit` times that of the contender `of`."""

    figure: Figure | str
    limit: float
    stretch: float | None = None
    who: str = DRKIT
    of: str | None = None

    def judge(self, medians: Medians) -> Verdict:
        unit = f" times that of {self.of}" if self.of else ""
        text = f"{self.who}: {self.figure} at most {self.limit:g}{unit}"
        value = _figure(medians, self.who, self.figure)
        if self.of and value is not None:
            other = _figure(medians, self.of, self.figure)
            value = value / other if other else None
        if value is None:
            return Verdict(text, None, None, None)
        beyond = value <= self.stretch if self.stretch else None
        return Verdict(text, value, value <= self.limit, beyond)


def _figure(medians: Medians, who: str, figure: str) -> float | None:
    if who not in medians:
        return None
    extra = medians[who].extra.get(figure)
    return extra if extra is not None else getattr(medians[who], figure, None)


@dataclass(frozen=True, slots=True)
class Case:
    """`rounds` overrides how often each contender runs (five); `needs_bytes` is at scale 1."""

    name: str
    title: str
    prepare: Callable[[Bench], Sequence[Contender]]
    bars: Sequence[Faster | AtMost] = ()
    needs_bytes: int = 0
    rounds: int | None = None

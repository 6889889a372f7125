"""When which packs are read: a pack's name gives its turn, so nothing has to be remembered. Pure.

With N turns, day d (counted from year 1) is the turn d mod N; who checks every day has read
everything once in N days. The log only makes up for days without a check; deleting it loses
nothing but the knowledge of what was read before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date


@dataclass(frozen=True, slots=True)
class ReadLog:
    """One store: the last day each of `of` turns was read whole, and since when this is noted."""

    of: int
    since: date
    read: Mapping[int, date] = field(default_factory=dict)

    @property
    def whole_since(self) -> date | None:
        """All packs were read on this day or later; None while some turn is still to come."""
        return min(self.read.values()) if len(self.read) == self.of else None


def due_turns(log: ReadLog, today: date) -> frozenset[int]:
    """The turn of today, and those of days since the log began that nobody read."""
    day = today.toordinal()
    first = max(log.since.toordinal(), day - log.of + 1)
    due = set()
    for each in range(first, day + 1):
        read = log.read.get(each % log.of)
        if read is None or read.toordinal() < each:
            due.add(each % log.of)
    return frozenset(due)


def after_reading(log: ReadLog, turns: frozenset[int], today: date) -> ReadLog:
    """The log with `turns` read whole today."""
    return replace(log, read={**log.read, **dict.fromkeys(turns, today)})


def log_of(former: ReadLog | None, of: int, today: date) -> ReadLog:
    """The log to go on with: a new one where there is none, or where the days were changed."""
    return former if former is not None and former.of == of else ReadLog(of, today)

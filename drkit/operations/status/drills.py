"""When the last real drill passed, and by when the next one has to (`drill_every`). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from drkit.units import format_duration


@dataclass(frozen=True, slots=True)
class DrillStanding:
    """`last_at`, `run_id`: the newest drill that passed; None: none did. `due_at`: by when the next
    one has to pass.
    """

    last_at: datetime | None
    run_id: str | None
    due_at: datetime
    every_s: float

    def overdue_s(self, now: datetime) -> float:
        """How long it has been due; 0 while it is not."""
        return max(0.0, (now - self.due_at).total_seconds())

    def words(self, now: datetime) -> str:
        """For people, in one line."""
        last = "no drill has passed yet"
        if self.last_at is not None:
            age = format_duration((now - self.last_at).total_seconds())
            last = f"the last drill that passed: {age} ago ({self.run_id})"
        if over_s := self.overdue_s(now):
            return f"{last}; the next is OVERDUE by {format_duration(over_s)}"
        return f"{last}; the next is due in {format_duration((self.due_at - now).total_seconds())}"

    def cause(self, now: datetime) -> str | None:
        """Why status is red; None: it is not for this."""
        if not self.overdue_s(now):
            return None
        last = "none has passed"
        if self.last_at is not None:
            last = f"the last passed {format_duration((now - self.last_at).total_seconds())} ago"
        every = format_duration(self.every_s)
        return f"DRILL OVERDUE: {last}, one every {every} is wanted; drkit run-drill"


def drill_standing(
    passed: Mapping[str, datetime], began: Iterable[datetime], every_s: float
) -> DrillStanding:
    """Counted from the newest drill in `passed` (by run id). While there is none, from the earliest
    time in `began` (at least one), so that who has just begun has time for the first.
    """
    run_id = max(passed, key=lambda each: passed[each], default=None)
    last_at = passed[run_id] if run_id else None
    counted_from = last_at or min(began)
    return DrillStanding(last_at, run_id, counted_from + timedelta(seconds=every_s), every_s)

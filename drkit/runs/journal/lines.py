"""Adding lines to journals, each with the time since its run was created."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from drkit.clock import Clock
from drkit.runs.journal.rows import entry_values
from drkit.runs.records import Entry, EntryKind
from drkit.state.schema import RUN_ENTRIES

_LAST = (
    select(RUN_ENTRIES)
    .where(RUN_ENTRIES.c.run_id == bindparam("run_id"))
    .order_by(RUN_ENTRIES.c.seq.desc())
    .limit(1)
)
_INSERT = RUN_ENTRIES.insert()


class Lines:
    """What one process adds. Time is counted on its steady clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._anchors: dict[str, tuple[float, float]] = {}

    def forget(self, run_id: str) -> None:
        """The run's lines are others now."""
        self._anchors.pop(run_id, None)

    def insert(
        self,
        connection: Connection,
        row: Row[Any],
        kind: EntryKind,
        step: str | None,
        attempt: int,
        text: str,
    ) -> Entry:
        last = connection.execute(_LAST, {"run_id": row.id}).first()
        now = self._clock.now()
        elapsed_s = self._elapsed_s(row, last, now)
        seq = last.seq + 1 if last else 1
        entry = Entry(seq, now, elapsed_s, step, attempt, kind, json.loads(text))
        connection.execute(_INSERT, entry_values(row.id, entry))
        return entry

    def _elapsed_s(self, row: Row[Any], last: Row[Any] | None, now: datetime) -> float:
        """Seconds since creation: counted on the steady clock within a process, and by the wall
        clock from the last entry of a former process to the first of this one; never backwards.
        """
        if row.id not in self._anchors:
            since = last.at if last else row.created_at
            before_s = last.elapsed_s if last else 0.0
            start_s = before_s + max(0.0, (now - since).total_seconds())
            self._anchors[row.id] = (start_s, self._clock.elapsed_s())
        start_s, mark_s = self._anchors[row.id]
        elapsed_s = start_s + self._clock.elapsed_s() - mark_s
        return max(elapsed_s, last.elapsed_s if last else 0.0)

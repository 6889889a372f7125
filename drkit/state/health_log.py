"""How a service fared: every change of its state, when, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from drkit.clock import Clock
from drkit.state.database import Database, again_on_conflict
from drkit.state.schema import HEALTH_CHANGES

_MOST_WHY = 2000


@dataclass(frozen=True, slots=True)
class HealthChange:
    at: datetime
    before: str
    after: str
    why: str


class HealthLog:
    """The changes of one service; they are only ever added."""

    def __init__(self, database: Database, service: str, clock: Clock) -> None:
        self._database = database
        self._service = service
        self._clock = clock

    @again_on_conflict
    def append(self, changes: Iterable[str]) -> None:
        """Adds changes in words, as the service's table gives them: "A -> B: why"."""
        now = self._clock.now()
        of_service = HEALTH_CHANGES.c.service == self._service
        with self._database.write() as connection:
            last = connection.execute(
                select(func.max(HEALTH_CHANGES.c.seq)).where(of_service)
            ).scalar()
            for seq, change in enumerate(changes, (last or 0) + 1):
                before, _, rest = change.partition(" -> ")
                after, _, why = rest.partition(": ")
                row = {"service": self._service, "seq": seq, "at": now}
                row |= {"before": before, "after": after, "why": why[:_MOST_WHY]}
                connection.execute(HEALTH_CHANGES.insert().values(row))

    def recent(self, most: int = 10) -> list[HealthChange]:
        """The last changes, the newest first."""
        query = (
            select(HEALTH_CHANGES)
            .where(HEALTH_CHANGES.c.service == self._service)
            .order_by(HEALTH_CHANGES.c.seq.desc())
            .limit(most)
        )
        with self._database.read() as connection:
            return [
                HealthChange(row.at, row.before, row.after, row.why)
                for row in connection.execute(query)
            ]

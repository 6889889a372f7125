"""Numbered changes of the database, applied in order, each in one transaction and recorded.

To add one: write `m<number>_<what>.py` with an `upgrade(connection)` that holds its own copy of
what it makes, add its line below, and bring `drkit/state/schema.py` to the same shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from drkit.state.migrations import m0001_runs, m0002_watch, m0003_operators


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    upgrade: Callable[[Connection], None]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(1, "runs, their journals, and what is remembered", m0001_runs.upgrade),
    Migration(2, "audit log, health changes, decisions", m0002_watch.upgrade),
    Migration(3, "operators' words and machines of a run", m0003_operators.upgrade),
)

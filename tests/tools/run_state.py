"""The state of a machine in the run world: the real statements on SQLite, in memory, and cheap.

All worlds use one SQLAlchemy engine, so that no statement is compiled twice, and each state is one
connection that stays open: processes use it in turn, and none of them gives its turn to another
while it reads or writes. That a write survives a power cut is tested elsewhere.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, NullPool, create_engine, event

from drkit.clock import Clock
from drkit.runs.book.plan import Plan
from drkit.runs.journal.reading import ReadableJournal
from drkit.runs.records import Entry, RunRecord
from drkit.state.database import Database

Seen = TypeVar("Seen")


def _engine() -> Engine:
    engine = create_engine(
        "sqlite://", poolclass=NullPool, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")

    return engine


ENGINE = _engine()


def content_of(path: Path) -> bytes:
    """A state on the disk, as `State` begins with it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        return connection.serialize()


class State(Database):
    """`content`: what it begins with."""

    def __init__(self, content: bytes, clock: Clock) -> None:
        super().__init__(ENGINE, clock)
        self._connection = ENGINE.connect()
        self._sqlite = self._connection.connection.driver_connection
        assert isinstance(self._sqlite, sqlite3.Connection)
        self._sqlite.deserialize(content)
        self._connection.begin()  # for SQLAlchemy; SQLite is told below
        self._user: int | None = None
        self.writes = 0

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with self._transaction("BEGIN IMMEDIATE"):
            yield self._connection
        self.writes += 1

    @contextmanager
    def read(self) -> Iterator[Connection]:
        if self._user is not None:  # within a write of the same thread
            assert self._user == threading.get_ident(), "somebody came between"
            yield self._connection
            return
        with self._transaction("BEGIN"):
            yield self._connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        assert self._user is None, "somebody came between"
        self._user = threading.get_ident()
        self._sqlite.execute(begin)
        end = "ROLLBACK"
        try:
            yield
            end = "COMMIT"
        finally:
            self._sqlite.execute(end)
            self._user = None

    def content(self) -> bytes:
        return self._sqlite.serialize()

    def close(self) -> None:
        self._connection.close()


class SeenJournal(ReadableJournal):
    """The journals of a state as judges read them: anew only after a write."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self._state = state
        self._seen: dict[tuple[str, ...], Any] = {}
        self._seen_at = -1

    def runs(self) -> list[RunRecord]:
        return self._once(("runs",), super().runs)

    def run(self, selector: str) -> RunRecord:
        return self._once(("run", selector), lambda: super(SeenJournal, self).run(selector))

    def plan(self, run_id: str) -> Plan:
        return self._once(("plan", run_id), lambda: super(SeenJournal, self).plan(run_id))

    def entries(self, run_id: str, after_seq: int = 0) -> list[Entry]:
        assert after_seq == 0
        return self._once(("entries", run_id), lambda: super(SeenJournal, self).entries(run_id))

    def _once(self, what: tuple[str, ...], read: Callable[[], Seen]) -> Seen:
        if self._seen_at != self._state.writes:
            self._seen.clear()
            self._seen_at = self._state.writes
        if what not in self._seen:
            self._seen[what] = read()
        return self._seen[what]

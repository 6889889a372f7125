"""What drkit remembers between commands: one SQLite file by default, PostgreSQL by URL.

A write that returned has reached the disk: SQLite runs with a write-ahead log and
`synchronous=FULL`, PostgreSQL with its own defaults and serialisable transactions. Deleting the
database loses no backup and no role.
"""

from __future__ import annotations

import functools
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, bindparam, create_engine, event, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from drkit.clock import Clock, SystemClock
from drkit.errors import ConfigError, PlaceError
from drkit.io_policy import STATE_RETRY, retrying
from drkit.state.migrations import MIGRATIONS, Migration
from drkit.state.schema import REMEMBERED

BUSY_TIMEOUT_S = 15.0
_WRITES = "drkit_writes"
_KEPT = select(REMEMBERED.c.value).where(REMEMBERED.c.name == bindparam("kept"))
_FORGET = REMEMBERED.delete().where(REMEMBERED.c.name == bindparam("kept"))
_MIGRATING = 0x64726B6974  # any number that nothing else locks
_CONFLICTS = {"40001", "40P01"}  # serialisation failure, deadlock


class StateUnavailable(PlaceError):
    """The database cannot be opened, read or written."""


class Conflict(StateUnavailable):
    """Another transaction came between; the same again may well succeed."""


Call = TypeVar("Call", bound=Callable[..., Any])


def again_on_conflict(method: Call) -> Call:
    """Of a method that is one transaction and nothing else: it is called again after a conflict."""

    @functools.wraps(method)
    def called(*arguments: Any, **named: Any) -> Any:
        return retrying(
            lambda: method(*arguments, **named),
            policy=STATE_RETRY,
            on=(Conflict,),
            clock=SystemClock(),
        )

    return cast("Call", called)


@dataclass
class Remembered:
    """A value that is being exchanged: None when there is none."""

    value: Any


class Database:
    """Transactions on the state. Safe to use from many threads and from several processes."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One serialisable transaction: committed durably at the end, or nothing of it happened.

        SQLite takes the write lock at once, so that what is read inside stays true until commit;
        PostgreSQL finds out afterwards, and this raises `Conflict`: see `again_on_conflict`.
        """
        try:
            with self._engine.connect().execution_options(**{_WRITES: True}) as connection:
                with connection.begin():
                    yield connection
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) in _CONFLICTS:
                raise _explained(error) from error
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view; nothing is written."""
        with self._engine.connect() as connection:
            with connection.begin():
                yield connection

    @again_on_conflict
    def remember(self, name: str, value: Any) -> None:
        """Keeps a JSON value under `name`, in place of the former one."""
        with self.write() as connection:
            connection.execute(_FORGET, {"kept": name})
            connection.execute(
                REMEMBERED.insert().values(
                    name=name, at=self._clock.now(), value=json.dumps(value, sort_keys=True)
                )
            )

    def recall(self, name: str) -> Any:
        """The JSON value kept under `name`, or None. Raises `StateUnavailable`."""
        try:
            with self.read() as connection:
                row = connection.execute(_KEPT, {"kept": name}).first()
        except SQLAlchemyError as error:
            raise _explained(error) from error
        return None if row is None else json.loads(row.value)

    @again_on_conflict
    def forget(self, name: str) -> None:
        """Keeps nothing under `name`; what is not there is no error."""
        with self.write() as connection:
            connection.execute(_FORGET, {"kept": name})

    def made_at(self) -> datetime:
        """When this state was made. Raises `StateUnavailable`."""
        try:
            with self.read() as connection:
                first = text("SELECT min(applied_at) FROM schema_migrations")
                return datetime.fromisoformat(connection.execute(first).scalar_one())
        except SQLAlchemyError as error:
            raise _explained(error) from error

    def server_now(self) -> datetime | None:
        """What the database's server takes the time for; None: it has no clock of its own.

        Raises `StateUnavailable`.
        """
        if self._engine.dialect.name != "postgresql":
            return None
        try:
            with self.read() as connection:
                said: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        except SQLAlchemyError as error:
            raise _explained(error) from error
        return said

    @contextmanager
    def exchange(self, name: str) -> Iterator[Remembered]:
        """What is kept under `name`, replaced by what the caller leaves in `value`, as one step:
        nobody else changes it meanwhile. Raises `Conflict`, or `StateUnavailable`.
        """
        try:
            with self.write() as connection:
                row = connection.execute(_KEPT.with_for_update(), {"kept": name}).first()
                before = None if row is None else json.loads(row.value)
                exchanged = Remembered(before)
                yield exchanged
                if exchanged.value != before:
                    values = {"at": self._clock.now(), "value": json.dumps(exchanged.value)}
                    if row is None:
                        connection.execute(REMEMBERED.insert().values(name=name, **values))
                    else:
                        changed = REMEMBERED.update().where(REMEMBERED.c.name == name)
                        connection.execute(changed.values(**values))
        except SQLAlchemyError as error:
            raise _explained(error) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process is in here meanwhile. SQLite needs no lock: one writes at a time."""
        if self._engine.dialect.name != "postgresql":
            yield
            return
        # A lock of its own connection: inside a serialisable transaction the snapshot would be
        # taken before the lock is granted.
        options = {"isolation_level": "AUTOCOMMIT"}
        with self._engine.connect().execution_options(**options) as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATING})
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATING})

    def close(self) -> None:
        """Releases the connections. May be called twice."""
        self._engine.dispose()


def open_database(url_or_path: str | Path, *, clock: Clock | None = None) -> Database:
    """The database, brought to this version's schema. A path is a SQLite file, made if absent.

    Raises `StateUnavailable`, or `ConfigError` when a newer drkit has written it.
    """
    clock = clock or SystemClock()
    path = None if "://" in str(url_or_path) else Path(url_or_path)
    url = str(url_or_path) if path is None else f"sqlite:///{path}"
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        engine = _engine(url)
        database = Database(engine, clock)
        with database.alone():
            migrate(database, clock)
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        shown = make_url(url).render_as_string(hide_password=True)
        why = str(getattr(error, "orig", None) or error).partition("\n")[0]
        raise StateUnavailable(
            f"the state database {shown} cannot be opened: {why}",
            hint="check that its folder is writable and its disk not full; a deleted state "
            "loses no backup",
        ) from error
    return database


def migrate(
    database: Database, clock: Clock, migrations: tuple[Migration, ...] = MIGRATIONS
) -> list[int]:
    """Numbers of the migrations that were applied now, in order; [] when it was up to date: then
    nothing is locked, so that a command which only reads never waits for one that writes.
    """
    if _is_up_to_date(database, migrations):
        return []
    with database.write() as connection:
        connection.execute(
            text(
                "CREATE TABLE IF NOT EXISTS schema_migrations ("
                "number INTEGER PRIMARY KEY, name VARCHAR(190) NOT NULL, "
                "applied_at VARCHAR(32) NOT NULL)"
            )
        )
    applied = []
    for migration in migrations:
        with database.write() as connection:
            known = _applied(connection)
            _refuse_newer(known, migrations)
            if migration.number in known:
                continue
            migration.upgrade(connection)
            connection.execute(
                text("INSERT INTO schema_migrations VALUES (:number, :name, :at)"),
                {"number": migration.number, "name": migration.name, "at": str(clock.now())},
            )
            applied.append(migration.number)
    return applied


def _is_up_to_date(database: Database, migrations: tuple[Migration, ...]) -> bool:
    with database.read() as connection:
        if not inspect(connection).has_table("schema_migrations"):
            return False
        known = _applied(connection)
    _refuse_newer(known, migrations)
    return known == {each.number for each in migrations}


def _refuse_newer(known: set[int], migrations: tuple[Migration, ...]) -> None:
    if newer := known - {each.number for each in migrations}:
        raise ConfigError(
            f"the state database has migration {max(newer):04d}, which this drkit lacks",
            hint="use the newer drkit that wrote it, or move the file away",
        )


def _explained(error: SQLAlchemyError) -> StateUnavailable:
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    conflicts = isinstance(error, IntegrityError) or state in _CONFLICTS
    kind = Conflict if conflicts else StateUnavailable
    return kind(
        f"the state database: {getattr(error, 'orig', None) or error}",
        hint="see that it runs, can be reached from here, and has room",
    )


def _applied(connection: Connection) -> set[int]:
    return set(connection.execute(text("SELECT number FROM schema_migrations")).scalars())


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        # SQLAlchemy's own default for PostgreSQL is a driver that is not installed here.
        url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)
        return create_engine(url, isolation_level="SERIALIZABLE", pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transaction handling is off: BEGIN is ours, see below.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switches to the write-ahead log; SQLite does not wait for others here, so this does."""
    end_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.02)

"""The tables as they are now. Migrations carry their own copies; a test holds the two together."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

if TYPE_CHECKING:
    from sqlalchemy import Dialect


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC as ISO 8601 text: the same in every database, and sorted as time is."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


METADATA = MetaData()

RUNS = Table(
    "runs",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("service", String(128), nullable=False),
    Column("namespace", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("runbook", String(128), nullable=False),
    Column("target", String(64), nullable=False),
    Column("state", String(32), nullable=False),
    Column("plan", Text, nullable=False),
    Column("plan_checksum", String(64), nullable=False),
    Column("epoch", Integer),
    Column("sandbox", Boolean, nullable=False),
    Column("local_only", Boolean, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("first_failed_probe_at", UtcTime),
    Column("point_cut_at", UtcTime),
    Column("pid", Integer),
    Column("pid_started", String(64)),
    Column("claim", Integer, nullable=False),
    Column("interrupted_by", String(64)),
    Column("drkit_version", String(32), nullable=False),
    Column("outcome", String(32)),
    Column("opened_by", String(190)),
    Column("unattended", Boolean, nullable=False, default=False),
    Column("asked", Text),
    Column("machine", String(190)),
    Column("generation", Integer, nullable=False, default=0),
)

# One open run per service and namespace (R4): the database refuses the second one, whoever asks.
ONE_OPEN_RUN = Index(
    "one_open_run",
    RUNS.c.service,
    RUNS.c.namespace,
    unique=True,
    sqlite_where=RUNS.c.ended_at.is_(None),
    postgresql_where=RUNS.c.ended_at.is_(None),
)

RUN_ENTRIES = Table(
    "run_entries",
    METADATA,
    Column("run_id", String(64), ForeignKey("runs.id"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("elapsed_s", Float, nullable=False),
    Column("step", String(64)),
    Column("attempt", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("payload", Text, nullable=False),
)

REMEMBERED = Table(
    "remembered",
    METADATA,
    Column("name", String(190), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("value", Text, nullable=False),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("who", String(190), nullable=False),
    Column("what", String(64), nullable=False),
    Column("subject", String(190), nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)

HEALTH_CHANGES = Table(
    "health_changes",
    METADATA,
    Column("service", String(128), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("before", String(32), nullable=False),
    Column("after", String(32), nullable=False),
    Column("why", Text, nullable=False),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("service", String(128), nullable=False),
    Column("state", String(32), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("by", String(190)),
    Column("asked_elapsed_s", Float),
    Column("run_id", String(64)),
    Column("opened_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),
)

# One open decision per service: what two watchers ask at once is asked once.
ONE_OPEN_DECISION = Index(
    "one_open_decision",
    DECISIONS.c.service,
    unique=True,
    sqlite_where=DECISIONS.c.ended_at.is_(None),
    postgresql_where=DECISIONS.c.ended_at.is_(None),
)

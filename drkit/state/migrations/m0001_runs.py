"""0001: runs, their journals, and what is remembered between commands."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

_METADATA = MetaData()

_RUNS = Table(
    "runs",
    _METADATA,
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
    Column("created_at", String(32), nullable=False),
    Column("started_at", String(32)),
    Column("ended_at", String(32)),
    Column("first_failed_probe_at", String(32)),
    Column("point_cut_at", String(32)),
    Column("pid", Integer),
    Column("pid_started", String(64)),
    Column("claim", Integer, nullable=False),
    Column("interrupted_by", String(64)),
    Column("drkit_version", String(32), nullable=False),
    Column("outcome", String(32)),
)

Index(
    "one_open_run",
    _RUNS.c.service,
    _RUNS.c.namespace,
    unique=True,
    sqlite_where=_RUNS.c.ended_at.is_(None),
    postgresql_where=_RUNS.c.ended_at.is_(None),
)

Table(
    "run_entries",
    _METADATA,
    Column("run_id", String(64), ForeignKey("runs.id"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", String(32), nullable=False),
    Column("elapsed_s", Float, nullable=False),
    Column("step", String(64)),
    Column("attempt", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("payload", Text, nullable=False),
)

Table(
    "remembered",
    _METADATA,
    Column("name", String(190), primary_key=True),
    Column("at", String(32), nullable=False),
    Column("value", Text, nullable=False),
)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection, checkfirst=False)

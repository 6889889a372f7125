"""0002: the audit log, how the service fared, and what was decided."""

from __future__ import annotations

from sqlalchemy import Column, Connection, Float, Index, Integer, MetaData, String, Table, Text

_METADATA = MetaData()

_AUDIT = Table(
    "audit",
    _METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("who", String(190), nullable=False),
    Column("what", String(64), nullable=False),
    Column("subject", String(190), nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
)

_HEALTH_CHANGES = Table(
    "health_changes",
    _METADATA,
    Column("service", String(128), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("before", String(32), nullable=False),
    Column("after", String(32), nullable=False),
    Column("why", Text, nullable=False),
)

_DECISIONS = Table(
    "decisions",
    _METADATA,
    Column("id", String(64), primary_key=True),
    Column("service", String(128), nullable=False),
    Column("state", String(32), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("by", String(190)),
    Column("asked_elapsed_s", Float),
    Column("run_id", String(64)),
    Column("opened_at", String(32), nullable=False),
    Column("ended_at", String(32)),
)

Index(
    "one_open_decision",
    _DECISIONS.c.service,
    unique=True,
    sqlite_where=_DECISIONS.c.ended_at.is_(None),
    postgresql_where=_DECISIONS.c.ended_at.is_(None),
)


def upgrade(connection: Connection) -> None:
    _METADATA.create_all(connection, checkfirst=False)

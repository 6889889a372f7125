"""0003: who opened a run and asked something of it, and which machine it belongs to."""

from __future__ import annotations

from sqlalchemy import Connection, text

_COLUMNS = (
    "opened_by VARCHAR(190)",
    "unattended BOOLEAN NOT NULL DEFAULT FALSE",
    "asked TEXT",
    "machine VARCHAR(190)",
    "generation INTEGER NOT NULL DEFAULT 0",
)


def upgrade(connection: Connection) -> None:
    for column in _COLUMNS:
        connection.execute(text(f"ALTER TABLE runs ADD COLUMN {column}"))

"""Snapshots: restic's record of one recovery point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from drkit.errors import DamagedData
from drkit.repository.tree import format_time, parse_time


@dataclass(frozen=True, slots=True)
class Snapshot:
    time: datetime
    tree: str
    paths: tuple[str, ...]
    hostname: str
    username: str
    tags: tuple[str, ...] = ()
    parent: str | None = None
    program_version: str = ""
    summary: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        entry: dict[str, Any] = {
            "time": format_time(int(self.time.timestamp() * 1_000_000) * 1000),
            "tree": self.tree,
            "paths": list(self.paths),
            "hostname": self.hostname,
            "username": self.username,
            "program_version": self.program_version,
        }
        if self.parent:
            entry["parent"] = self.parent
        if self.tags:
            entry["tags"] = list(self.tags)
        if self.summary:
            entry["summary"] = dict(self.summary)
        return orjson.dumps(entry)


def read_snapshot(content: bytes) -> Snapshot:
    """The snapshot in `content`. Raises `DamagedData` when it is none."""
    try:
        entry = orjson.loads(content)
        return Snapshot(
            time=datetime.fromtimestamp(parse_time(entry["time"]) / 1e9, UTC),
            tree=entry["tree"],
            paths=tuple(entry.get("paths") or ()),
            hostname=entry.get("hostname", ""),
            username=entry.get("username", ""),
            tags=tuple(entry.get("tags") or ()),
            parent=entry.get("parent"),
            program_version=entry.get("program_version", ""),
            summary=entry.get("summary") or {},
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedData(
            f"a snapshot cannot be read: {error!r}", hint="drkit check --read-data"
        ) from None

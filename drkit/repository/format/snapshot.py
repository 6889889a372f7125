"""Snapshots: restic's record of one recovery point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson

from drkit.errors import DamagedData
from drkit.repository.format.tree import format_time, parse_time

REPAIRED = "repaired"
"""The tag of a snapshot that drkit or restic wrote anew without what was lost."""


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
    original: str | None = None
    """The id that it had before its tags or trees were rewritten for the first time."""
    utc_offset_s: int = 0
    """Of the zone that `time` was written in; retention counts its days and hours."""

    @property
    def local_time(self) -> datetime:
        return self.time.astimezone(timezone(timedelta(seconds=self.utc_offset_s)))

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
        if self.original:
            entry["original"] = self.original
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
            original=entry.get("original"),
            utc_offset_s=_offset_s(entry["time"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedData(
            f"a snapshot cannot be read: {error!r}", hint="drkit check --read-data"
        ) from None


def rewritten(
    content: bytes, snapshot_id: str, *, tags: Sequence[str] | None = None, tree: str | None = None
) -> bytes:
    """The snapshot in `content` with other tags or another tree; all else stays, also fields that
    drkit does not know. `original` is the id that it had at first, as restic keeps it.
    """
    read_snapshot(content)  # raises when it is none
    entry: dict[str, Any] = orjson.loads(content)
    entry["original"] = entry.get("original") or snapshot_id
    if tags is not None:
        entry.pop("tags", None)
        if tags:
            entry["tags"] = list(tags)
    if tree is not None:
        entry["tree"] = tree
    return orjson.dumps(entry)


def _offset_s(text: str) -> int:
    """Seconds east of UTC of an RFC 3339 time that was parsed already."""
    if text.endswith("Z"):
        return 0
    sign = -1 if text[-6] == "-" else 1
    return sign * (int(text[-5:-3]) * 3600 + int(text[-2:]) * 60)

"""Folder stores with their troubles, under a clock that may skip days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from drkit.stores.folder import FolderStore
from drkit.stores.interface import ObjectInfo, StoreUnreachable

ROLES = {"gcs": "primary", "s3": "backup", "b2": "archive"}


class Clock:
    """The real time, and the days that the model skips."""

    def __init__(self) -> None:
        self.skipped = timedelta(0)
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + self.skipped

    def elapsed_s(self) -> float:
        return self._elapsed_s

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.skipped += timedelta(seconds=seconds)
        self._elapsed_s += seconds


class TroubledStore(FolderStore):
    """A folder that can be down, answer with an old listing, or belong to a process that died:
    after `writes_left` writes in all stores nothing is written any more.
    """

    writes_left: int | None = None

    def __init__(self, name: str, root: Path) -> None:
        super().__init__(name, root)
        self.down = False
        self.stale: list[ObjectInfo] | None = None

    def put(self, name: str, data: Any, *, size_bytes: int) -> None:
        self._write()
        super().put(name, data, size_bytes=size_bytes)

    def delete(self, name: str) -> None:
        self._write()
        super().delete(name)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self._answer()
        return super().get(name, offset=offset, length=length)

    def get_into(self, name: str, into: memoryview, *, offset: int) -> None:
        self._answer()
        super().get_into(name, into, offset=offset)

    def stat(self, name: str) -> ObjectInfo:
        self._answer()
        return super().stat(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._answer()
        if self.stale is not None:
            return iter([info for info in self.stale if info.name.startswith(prefix)])
        return super().list(prefix)

    def _answer(self) -> None:
        if self.down:
            raise StoreUnreachable(f"{self.name}: down", hint="the model says so")

    def _write(self) -> None:
        self._answer()
        if TroubledStore.writes_left is not None:
            if TroubledStore.writes_left <= 0:
                raise StoreUnreachable(f"{self.name}: dead", hint="the model says so")
            TroubledStore.writes_left -= 1

"""What the stores of a repository hold and were given, and whether the repository is sound."""

from __future__ import annotations

from typing import Any

from drkit.repository.check.check import check_repository
from drkit.repository.format.layout import DATA, INDEX, SNAPSHOTS
from drkit.stores.memory import MemoryStore


class Recorder(MemoryStore):
    """Remembers what was put, in order, and calls `before` first."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.puts: list[str] = []
        self.before: Any = lambda name: None

    def put(self, name: str, data: Any, *, size_bytes: int) -> None:
        self.before(name)
        super().put(name, data, size_bytes=size_bytes)
        self.puts.append(name)


def names(store: MemoryStore, *folders: str) -> dict[str, int]:
    wanted = folders or (DATA, INDEX, SNAPSHOTS)
    return {i.name: i.size_bytes for folder in wanted for i in store.list(folder)}


def content(store: MemoryStore) -> dict[str, bytes]:
    return {name: store.get(name) for name in names(store)}


def sound(kit: Any) -> bool:
    return check_repository(kit.open(), read_data=True, emit=kit.emit).sound

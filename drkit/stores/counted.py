"""A store that counts what it is asked: the requests and bytes that a provider would bill."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace

from drkit.stores.interface import Buffer, ObjectInfo, Store

PAGE = 1000
"""Objects that one list request answers with, in every S3-like API."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests by kind (`lists`: pages), and the bytes of objects sent and read."""

    puts: int = 0
    gets: int = 0
    lists: int = 0
    stats: int = 0
    deletes: int = 0
    sent_bytes: int = 0
    read_bytes: int = 0

    @property
    def requests(self) -> int:
        return self.puts + self.gets + self.lists + self.stats + self.deletes

    def times(self, count: float) -> Counts:
        return Counts(*(round(getattr(self, kind) * count) for kind in _KINDS))

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, kind) + getattr(other, kind) for kind in _KINDS))

    def __sub__(self, earlier: Counts) -> Counts:
        return Counts(*(getattr(self, kind) - getattr(earlier, kind) for kind in _KINDS))


_KINDS = tuple(field.name for field in fields(Counts))


class CountedStore:
    """`inner`, with `counts` of all that it was asked so far. Satisfies `Store`."""

    def __init__(self, inner: Store) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self.counts = Counts()

    @property
    def name(self) -> str:
        return self._inner.name

    def put(self, name: str, data: Buffer | Iterable[Buffer], *, size_bytes: int) -> None:
        self._inner.put(name, data, size_bytes=size_bytes)
        self._count(puts=1, sent_bytes=size_bytes)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self._count(gets=1)  # one that finds nothing is billed too
        data = self._inner.get(name, offset=offset, length=length)
        self._count(read_bytes=len(data))
        return data

    def stat(self, name: str) -> ObjectInfo:
        self._count(stats=1)
        return self._inner.stat(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._count(lists=1)
        for number, info in enumerate(self._inner.list(prefix), 1):
            if number % PAGE == 0:
                self._count(lists=1)
            yield info

    def delete(self, name: str) -> None:
        self._inner.delete(name)
        self._count(deletes=1)

    def close(self) -> None:
        self._inner.close()

    def _count(self, **more: int) -> None:
        with self._lock:
            added = {name: getattr(self.counts, name) + count for name, count in more.items()}
            self.counts = replace(self.counts, **added)

"""A store seen as if it lay below another prefix: for repositories that drkit did not lay out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from drkit.stores.interface import Buffer, ObjectInfo, ObjectMissing, Store


class MovedStore:
    """`inner`, whose every object `x` is called `prefix + x` here. Satisfies `Store`."""

    def __init__(self, inner: Store, prefix: str) -> None:
        self._inner = inner
        self._prefix = prefix

    @property
    def name(self) -> str:
        return self._inner.name

    def put(self, name: str, data: Buffer | Iterable[Buffer], *, size_bytes: int) -> None:
        self._inner.put(self._inside(name), data, size_bytes=size_bytes)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        return self._inner.get(self._inside(name), offset=offset, length=length)

    def stat(self, name: str) -> ObjectInfo:
        return ObjectInfo(name, self._inner.stat(self._inside(name)).size_bytes)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if not prefix.startswith(self._prefix):
            if not self._prefix.startswith(prefix):
                return
            inside = ""
        else:
            inside = prefix.removeprefix(self._prefix)
        for info in self._inner.list(inside):
            yield ObjectInfo(self._prefix + info.name, info.size_bytes)

    def delete(self, name: str) -> None:
        self._inner.delete(self._inside(name))

    def close(self) -> None:
        self._inner.close()

    def _inside(self, name: str) -> str:
        if not name.startswith(self._prefix):
            raise ObjectMissing(
                f"{self.name}: there is no {name}", hint=f"only what lies below {self._prefix} is"
            )
        return name.removeprefix(self._prefix)

"""A store in memory that passes the conformance suite and can be told to fail."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from drkit.stores.interface import (
    Buffer,
    ObjectInfo,
    ObjectMissing,
    StoreRefused,
    StoreUnreachable,
)
from drkit.stores.names import check_name


class MemoryStore:
    """Objects in a dict. `down` makes every call fail; `puts_left` lets so many puts succeed."""

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self.down = False
        self.puts_left: int | None = None

    @property
    def name(self) -> str:
        return self._name

    def put(self, name: str, data: Buffer | Iterable[Buffer], *, size_bytes: int) -> None:
        check_name(name)
        self._answer()
        whole = isinstance(data, bytes | bytearray | memoryview)
        content = bytes(data) if whole else b"".join(bytes(piece) for piece in data)
        if len(content) != size_bytes:
            raise StoreRefused(
                f"{self._name}: {name} was to be {size_bytes} bytes and is {len(content)}",
                hint="the object was not written; run the command again",
            )
        with self._lock:
            if self.puts_left is not None:
                if self.puts_left == 0:
                    raise StoreUnreachable(f"{self._name}: told to fail", hint="a test asked so")
                self.puts_left -= 1
            self._objects[name] = content

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        content = self._find(name)
        end = len(content) if length is None else offset + length
        if offset < 0 or end < offset or end > len(content):
            raise StoreUnreachable(
                f"{self._name}: {name} ends at {len(content)}, before {end}",
                hint="the object is shorter than it must be: drkit check",
            )
        return content[offset:end]

    def stat(self, name: str) -> ObjectInfo:
        return ObjectInfo(name, len(self._find(name)))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._answer()
        with self._lock:
            found = [(name, len(data)) for name, data in self._objects.items()]
        return (ObjectInfo(name, size) for name, size in found if name.startswith(prefix))

    def delete(self, name: str) -> None:
        check_name(name)
        self._answer()
        with self._lock:
            self._objects.pop(name, None)

    def close(self) -> None:
        """Memory holds no connection."""

    def damage(self, name: str, *, at: int, mask: int = 1) -> None:
        """Flips the bits of `mask` in byte `at`, as a failing disk would."""
        with self._lock:
            content = bytearray(self._objects[name])
            content[at] ^= mask
            self._objects[name] = bytes(content)

    def _find(self, name: str) -> bytes:
        check_name(name)
        self._answer()
        with self._lock:
            try:
                return self._objects[name]
            except KeyError:
                raise ObjectMissing(
                    f"{self._name}: no object {name}", hint="drkit check says what is lost"
                ) from None

    def _answer(self) -> None:
        if self.down:
            raise StoreUnreachable(f"{self._name}: told to be down", hint="a test asked so")

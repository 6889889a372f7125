"""A store in memory that passes the suite and can be told to fail: for tests and rehearsals."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator
from enum import Enum

from drkit.stores.interface import (
    Buffer,
    ObjectInfo,
    ObjectMissing,
    StoreRefused,
    StoreUnreachable,
    VersionChanged,
    Versioned,
)
from drkit.stores.names import check_name, check_prefix, is_safe_name

CALLS = ("put", "get", "stat", "list", "delete")


class Trouble(Enum):
    """What is wrong with the store while it is told to fail."""

    UNREACHABLE = "does not answer"
    REFUSES = "refuses"
    DAMAGES = "answers with a flipped bit"
    HANGS = "accepts the call and says nothing until it is mended or closed"
    CRAWLS = "takes one chunk, then says nothing until it is mended or closed"


class MemoryStore:
    """`Store` and `Conditional` in a dictionary. `objects` may be looked at and changed by a test.

    `down` makes every call fail and `puts_left` all puts after so many; `fail` tells more finely.
    """

    def __init__(self, name: str = "memory") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._trouble: Trouble | None = None
        self._calls: Collection[str] = ()
        self._after = 0
        self._mended = threading.Event()
        self.down = False
        self.puts_left: int | None = None
        self.objects: dict[str, bytes] = {}
        self._writings: dict[str, int] = {}
        self.calls: list[tuple[str, str]] = []

    @property
    def name(self) -> str:
        return self._name

    def fail(self, trouble: Trouble, *, calls: Collection[str] = CALLS, after: int = 0) -> None:
        """From now on, `calls` meet `trouble`, but for the first `after` of them."""
        with self._lock:
            self._trouble, self._calls, self._after = trouble, calls, after
            self._mended = threading.Event()

    def mend(self) -> None:
        """Ends the trouble; calls that hang come back as `StoreUnreachable`."""
        with self._lock:
            self._trouble = None
            self._mended.set()

    def damage(self, name: str, *, at: int = 0, mask: int = 1) -> None:
        """Flips the bits of `mask` in byte `at` of an object, for good."""
        with self._lock:
            damaged = bytearray(self.objects[name])
            damaged[at] ^= mask
            self.objects[name] = bytes(damaged)

    def put(self, name: str, data: Buffer | Iterable[Buffer], *, size_bytes: int) -> None:
        check_name(self._name, name)
        trouble = self._meet("put", name)
        chunks = (data,) if isinstance(data, bytes | bytearray | memoryview) else data
        whole = bytearray()
        for chunk in chunks:
            whole += chunk
            if trouble is Trouble.CRAWLS:
                self._hang()
            if len(whole) > size_bytes:
                break
        if len(whole) != size_bytes:
            raise StoreRefused(
                f"{self._name}: {name} is not {size_bytes} bytes long", hint="try again"
            )
        with self._lock:
            self._write(name, bytes(whole))

    def read_versioned(self, name: str) -> Versioned:
        check_name(self._name, name)
        self._meet("get", name)
        return Versioned(self._find(name), self._version(name))

    def put_if_absent(self, name: str, data: bytes) -> str:
        return self._put_if(name, data, None)

    def replace_if(self, name: str, data: bytes, version: str) -> str:
        return self._put_if(name, data, version)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        check_name(self._name, name)
        trouble = self._meet("get", name)
        whole = self._find(name)
        wanted = len(whole) - offset if length is None else length
        if offset < 0 or wanted < 0 or offset + wanted > len(whole):
            raise StoreUnreachable(
                f"{self._name}: {name} has {len(whole)} bytes, "
                f"too few to read {wanted} at {offset}",
                hint="read it from another store",
            )
        found = whole[offset : offset + wanted]
        if trouble is Trouble.DAMAGES and found:
            return bytes([found[0] ^ 1]) + found[1:]
        return found

    def stat(self, name: str) -> ObjectInfo:
        check_name(self._name, name)
        self._meet("stat", name)
        return ObjectInfo(name, len(self._find(name)))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(self._name, prefix)
        self._meet("list", prefix)
        with self._lock:
            found = [ObjectInfo(name, len(data)) for name, data in self.objects.items()]
        return (info for info in found if info.name.startswith(prefix) and is_safe_name(info.name))

    def delete(self, name: str) -> None:
        check_name(self._name, name)
        self._meet("delete", name)
        with self._lock:
            self.objects.pop(name, None)

    def close(self) -> None:
        self._mended.set()

    def _put_if(self, name: str, data: bytes, version: str | None) -> str:
        check_name(self._name, name)
        self._meet("put", name)
        with self._lock:
            found = self._version(name) if name in self.objects else None
            if found != version:
                raise VersionChanged(f"{self._name}: {name} was written by another", hint="again")
            self._write(name, data)
            return self._version(name)

    def _write(self, name: str, data: bytes) -> None:
        self.objects[name] = data
        self._writings[name] = self._writings.get(name, 0) + 1

    def _version(self, name: str) -> str:
        return str(self._writings.get(name, 0))

    def _find(self, name: str) -> bytes:
        with self._lock:
            found = self.objects.get(name)
        if found is None:
            raise ObjectMissing(f"{self._name}: there is no {name}", hint="read another store")
        return found

    def _meet(self, call: str, name: str) -> Trouble | None:
        """Notes the call; raises or hangs as told, or returns the trouble that is the data's."""
        with self._lock:
            self.calls.append((call, name))
            if self.down or (call == "put" and self.puts_left == 0):
                raise StoreUnreachable(f"{self._name}: does not answer", hint="mend the store")
            if call == "put" and self.puts_left is not None:
                self.puts_left -= 1
            if self._trouble is None or call not in self._calls:
                return None
            if self._after > 0:
                self._after -= 1
                return None
            trouble = self._trouble
        match trouble:
            case Trouble.UNREACHABLE:
                raise StoreUnreachable(f"{self._name}: does not answer", hint="mend the store")
            case Trouble.REFUSES:
                raise StoreRefused(f"{self._name}: refuses to {call}", hint="mend the store")
            case Trouble.HANGS:
                self._hang()
            case Trouble.DAMAGES | Trouble.CRAWLS:
                pass
        return trouble

    def _hang(self) -> None:
        self._mended.wait()
        raise StoreUnreachable(f"{self._name}: the call was given up", hint="mend the store")

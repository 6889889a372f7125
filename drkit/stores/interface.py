"""A store holds named, immutable blobs of bytes. It knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from drkit.errors import DrkitError, PlaceError

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    name: str
    size_bytes: int


class ObjectMissing(DrkitError):
    """There is no object of that name."""

    exit_status = 20


class StoreUnreachable(PlaceError):
    """The store did not answer in time or answered that it cannot; trying again may help."""


class StoreRefused(PlaceError):
    """The store refused: credentials, quota, retention, or a name it does not take."""


class Retained(StoreRefused):
    """The object may not be deleted or replaced yet; `until` where the store says so (S13)."""

    def __init__(self, message: str, *, hint: str, until: datetime | None) -> None:
        super().__init__(message, hint=hint)
        self.until = until


class Store(Protocol):
    """Where objects lie. Every method is thread-safe and may be called from many threads.

    Names are relative, `/`-separated, of printable ASCII, without `.`, `..` or empty parts; an
    adapter MUST refuse others (`StoreRefused`) going in, and skip them coming out of a list.
    """

    @property
    def name(self) -> str:
        """What the configuration calls this store."""
        ...

    def put(self, name: str, data: Buffer | Iterable[Buffer], *, size_bytes: int) -> None:
        """Writes the object whole or not at all, durably; an existing one is replaced atomically.

        MUST refuse (`StoreRefused`, leaving nothing behind) when `data` is not exactly
        `size_bytes` long. May be called twice with the same bytes.
        """
        ...

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `offset`, or all that follow. A range that ends past the end of
        the object is an error (`StoreUnreachable`: a short read), never fewer bytes.

        Raises `ObjectMissing`. The bytes are not verified: the caller checks its own hash.
        """
        ...

    def stat(self, name: str) -> ObjectInfo:
        """Size of the object. Raises `ObjectMissing`."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects whose name starts with `prefix` (a string, not a folder), in no order.

        Objects that come or go meanwhile may or may not be listed; half-written ones never are.
        """
        ...

    def delete(self, name: str) -> None:
        """Removes the object; one that is not there is no error. Raises `Retained`."""
        ...

    def close(self) -> None:
        """Releases connections. May be called twice."""
        ...


@runtime_checkable
class ReadsInto(Protocol):
    """A store that reads into memory which the caller keeps: nothing is allocated or copied."""

    def get_into(self, name: str, into: memoryview, *, offset: int) -> None:
        """As `Store.get` of as many bytes as `into` has. Whoever replaces that one in a class MUST
        replace this one too. After an error `into` may hold anything.
        """
        ...


class Presigner(Protocol):
    """A store that can let others read one object, for a while, without a credential."""

    def presign(self, name: str, expires_s: float) -> str:
        """A URL that reads the object until `expires_s` seconds from now. Nothing is asked of the
        store: the object may be missing. MUST refuse (`StoreRefused`) a name that `put` refuses.
        """
        ...


class VersionChanged(DrkitError):
    """Another writer came first: the object is there, gone, or of another version than expected."""

    exit_status = 20


@dataclass(frozen=True, slots=True)
class Versioned:
    """An object's bytes, and the store's own mark of this writing of it."""

    data: bytes
    version: str


@runtime_checkable
class Conditional(Protocol):
    """A store whose server compares before it writes: what an arbiter needs (R1).

    Believed only after `drkit.stores.conditional.prove` has seen it refuse. Objects are small.
    Where an answer was lost, the adapter MUST look who wrote before it answers: a write of its own
    that arrived is a success, never `VersionChanged`.
    """

    def read_versioned(self, name: str) -> Versioned:
        """The object with the version to which `replace_if` compares. Raises `ObjectMissing`."""
        ...

    def put_if_absent(self, name: str, data: bytes) -> str:
        """Writes a new object; returns its version. Raises `VersionChanged` if there is one."""
        ...

    def replace_if(self, name: str, data: bytes, version: str) -> str:
        """Replaces the object while it has `version`; returns the new one. Two writers that hold
        the same version: one succeeds. Raises `VersionChanged`.
        """
        ...


class Retaining(Protocol):
    """A store that can lock objects against deletion and replacement, for a while (S13)."""

    @property
    def retention(self) -> timedelta | None:
        """How long packs, indexes and snapshots are locked when they come; None: they are not."""
        ...

    def retained_until(self, name: str) -> datetime | None:
        """When the object's own lock ends; None without one. Raises `ObjectMissing`."""
        ...

    def retain(self, name: str, until: datetime) -> None:
        """Locks the object until then. MUST NOT shorten a lock. May be called twice."""
        ...


class Revealed(Protocol):
    def reveal(self) -> str: ...


class Credentials(Protocol):
    """What an opener needs of the secrets: look one up, or say where it was looked for."""

    def resolve(self, reference: tuple[str, ...]) -> Revealed: ...

    def missing(self, reference: tuple[str, ...]) -> str | None: ...

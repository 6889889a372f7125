"""One restic lock in one store: written, refreshed, looked at, and those of others read (S9)."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

import orjson

from drkit.clock import Clock
from drkit.errors import DamagedData, DrkitError, RepositoryLocked
from drkit.mounts import is_on_a_disk, read_mountinfo
from drkit.repository.copies.listing import Listing, take_listing
from drkit.repository.format.compression import decompress
from drkit.repository.format.keys import user_name
from drkit.repository.format.layout import LOCKS
from drkit.repository.format.sealing import MasterKey
from drkit.repository.format.tree import format_time, parse_time
from drkit.stores.interface import ObjectMissing, Store, StoreRefused, StoreUnreachable

LOST_AFTER_S = 22.5 * 60  # restic gives up at the same age; others call a lock stale at 30 min
STALE_AFTER = timedelta(minutes=30)
_SETTLE_S = 0.2  # restic waits as long between writing its lock and looking for others
_LOOKS = 4


class StoreLock:
    """A lock of this process in one store: shared, or exclusive as restic's prune and forget
    take it. `held()` asks the store, not the memory.
    """

    def __init__(
        self,
        store: Store,
        key: MasterKey,
        *,
        clock: Clock,
        hostname: str,
        exclusive: bool = False,
    ) -> None:
        self._store = store
        self._key = key
        self._clock = clock
        self._hostname = hostname
        self._exclusive = exclusive
        self._name: str | None = None
        self._guard = threading.Lock()
        self._written_s = 0.0

    def acquire(self) -> Listing:
        """Writes the lock, waits, looks; what the store lists of the repository under the lock.

        Raises `RepositoryLocked` when someone is exclusive, or anyone is there while this is.
        """
        if self._exclusive:  # a lock that others would have to yield to is not written in vain
            self._refuse_others(take_listing(self._store))
        self._name = self._write()
        try:
            self._clock.sleep(_settle_s(self._store))
            return self._refuse_others(self._fresh_listing())
        except BaseException:
            with suppress(DrkitError):
                self.release()
            raise

    def _fresh_listing(self) -> Listing:
        """What the store lists, the lock that was just written among it. One that does not show it
        is old: it may show what is gone, and hide who holds a lock (S3, S9).
        """
        assert self._name is not None
        own = self._name[len(LOCKS) :]
        for look in range(_LOOKS):
            listing = take_listing(self._store)
            if own in listing.locks:
                return listing
            self._clock.sleep(_SETTLE_S * 2**look)
        raise StoreUnreachable(
            f"{self._store.name}: its list does not show what was written a moment ago",
            hint="the list is old; the store is caught up when it is right again",
        )

    def _refuse_others(self, listing: Listing) -> Listing:
        """The newest listing. One whose lock went while it was to be read may just have refreshed
        it: what the store lists is asked for again.
        """
        for _ in range(_LOOKS):
            holder, has_gone = self._conflicting_holder(listing)
            if holder:
                raise RepositoryLocked(
                    f"{self._store.name}: locked {holder}",
                    hint="wait for it to end (--retry-lock 10m); if it is dead: drkit unlock",
                )
            if not has_gone:
                break
            listing = take_listing(self._store)
        return listing

    def refresh(self) -> None:
        """Writes a new lock object, then removes the old one; one that is too old to be trusted is
        left to `held`.
        """
        with self._guard:
            if self._name is not None and self._age_s() <= LOST_AFTER_S:
                self._replace()

    def held(self) -> bool:
        """Whether the store still has this lock, and nobody may think it stale.

        After a suspend it may be too old. Who wants the store exclusively must remove it first, so
        where it is there still, before and after a new one was written, nobody did (restic's rule).
        """
        with self._guard:
            if self._name is None or not self._is_there(self._name):
                return False
            if self._age_s() <= LOST_AFTER_S:
                return True
            old = self._name
            self._name = self._write()
            self._clock.sleep(_SETTLE_S)
            listing = take_listing(self._store)
            was_kept = listing.locks.pop(old[len(LOCKS) :], None) is not None
            self._forsake(old)
            try:
                self._refuse_others(listing)
            except RepositoryLocked:
                return False
            return was_kept

    def release(self) -> None:
        with self._guard:
            name, self._name = self._name, None
            if name is not None:
                self._store.delete(name)

    def _replace(self) -> None:
        old = self._name
        self._name = self._write()
        if old is not None:
            self._forsake(old)

    def _forsake(self, name: str) -> None:
        with suppress(DrkitError):  # it grows stale, which hurts nobody: the new one counts
            self._store.delete(name)

    def _age_s(self) -> float:
        return self._clock.elapsed_s() - self._written_s

    def _is_there(self, name: str) -> bool:
        try:
            self._store.stat(name)
        except ObjectMissing:
            return False
        return True

    def _write(self) -> str:
        content = orjson.dumps(
            {
                "time": format_time(int(self._clock.now().timestamp() * 1_000_000) * 1000),
                "exclusive": self._exclusive,
                "hostname": self._hostname,
                "username": user_name(),
                "pid": os.getpid(),
            }
        )
        sealed = self._key.seal(content)
        name = LOCKS + hashlib.sha256(sealed).hexdigest()
        self._store.put(name, sealed, size_bytes=len(sealed))
        self._written_s = self._clock.elapsed_s()
        return name

    def _conflicting_holder(self, listing: Listing) -> tuple[str | None, bool]:
        """Who stands in the way, and whether a lock went before it could be read. Locks of dead
        processes of this machine are removed.
        """
        others = [LOCKS + each for each in listing.locks if LOCKS + each != self._name]
        found, gone = read_locks(self._store, self._key, others)
        for lock in found:
            if lock.is_stale(self._clock.now(), self._hostname):
                with suppress(StoreRefused):  # a credential that cannot delete is not stopped by it
                    self._store.delete(lock.name)
                    listing.locks.pop(lock.name[len(LOCKS) :], None)
            elif lock.exclusive or self._exclusive:
                return f"{'exclusively ' if lock.exclusive else ''}by {lock.holder}", bool(gone)
        return None, bool(gone)


@runtime_checkable
class _InFolder(Protocol):
    @property
    def root(self) -> Path: ...


def _settle_s(store: Store) -> float:
    """How long a lock is given to show. None on a disk of this machine: of two who write and then
    list, one sees the other there, restic too.
    """
    if isinstance(store, _InFolder) and is_on_a_disk(store.root, read_mountinfo()):
        return 0.0
    return _SETTLE_S


@dataclass(frozen=True, slots=True)
class FoundLock:
    """A lock that some process, drkit's or restic's, holds or left behind."""

    name: str
    hostname: str
    pid: int
    exclusive: bool
    written_at: datetime

    @property
    def holder(self) -> str:
        return f"{self.hostname or '?'} (pid {self.pid or '?'})"

    def is_stale(self, now: datetime, hostname: str) -> bool:
        """Too old for a live process to have left it so, or of a dead one of this machine."""
        if now - self.written_at > STALE_AFTER:
            return True
        if self.hostname != hostname or self.pid <= 0:
            return False
        try:
            os.kill(self.pid, 0)  # asks, sends nothing
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


def read_locks(
    store: Store, key: MasterKey, names: Iterable[str]
) -> tuple[list[FoundLock], list[str]]:
    """The locks `names` that can be read, and the names of those that went meanwhile."""
    found, gone = [], []
    for name in names:
        try:
            lock = orjson.loads(_plain(key.open(store.get(name))))
            found.append(
                FoundLock(
                    name,
                    str(lock.get("hostname", "")),
                    lock["pid"] if isinstance(lock.get("pid"), int) else 0,
                    bool(lock["exclusive"]),
                    datetime.fromtimestamp(parse_time(lock["time"]) / 1e9, UTC),
                )
            )
        except ObjectMissing:
            gone.append(name)
        except (DamagedData, ValueError, KeyError, TypeError):
            continue
    return found, gone


def _plain(content: bytes) -> bytes:
    """restic's later versions compress locks too."""
    return decompress(memoryview(content)[1:]) if content[:1] == b"\x02" else content

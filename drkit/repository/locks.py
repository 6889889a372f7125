"""restic's locks: advisory objects that a concurrent restic or drkit sees and respects (S9)."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson

from drkit.clock import Clock
from drkit.errors import DamagedData, DrkitError, RepositoryLocked
from drkit.events import Emit, Note
from drkit.repository.compression import decompress
from drkit.repository.keys import user_name
from drkit.repository.layout import LOCKS
from drkit.repository.listing import Listing, take_listing
from drkit.repository.reading import ask_each
from drkit.repository.sealing import MasterKey
from drkit.repository.tree import format_time, parse_time
from drkit.stores.interface import ObjectMissing, Store, StoreRefused

if TYPE_CHECKING:
    from drkit.repository.repository import Repository

REFRESH_EVERY_S = 300.0
LOST_AFTER_S = 22.5 * 60  # restic gives up at the same age; others call a lock stale at 30 min
STALE_AFTER = timedelta(minutes=30)
_RELEASE_PATIENCE_S = 1.0
_SETTLE_S = 0.2  # restic waits as long between writing its lock and looking for others


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
            self._clock.sleep(_SETTLE_S)
            listing = take_listing(self._store)
            self._refuse_others(listing)
        except BaseException:
            self.release()
            raise
        return listing

    def _refuse_others(self, listing: Listing) -> None:
        if holder := self._conflicting_holder(listing):
            raise RepositoryLocked(
                f"{self._store.name}: locked {holder}",
                hint="wait for it to end; if it is dead: drkit unlock",
            )

    def refresh(self) -> None:
        """Writes a new lock object, then removes the old one."""
        with self._guard:
            if self._name is None:
                return
            old, self._name = self._name, self._write()
            self._store.delete(old)

    def held(self) -> bool:
        """Whether the store still has this lock, and nobody may think it stale."""
        with self._guard:
            age_s = self._clock.elapsed_s() - self._written_s
            if self._name is None or age_s > LOST_AFTER_S:
                return False
            try:
                self._store.stat(self._name)
            except ObjectMissing:
                return False
            return True

    def release(self) -> None:
        with self._guard:
            if self._name is not None:
                self._store.delete(self._name)
                self._name = None

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

    def _conflicting_holder(self, listing: Listing) -> str | None:
        """Who stands in the way. Locks of dead processes of this machine are removed."""
        others = [LOCKS + each for each in listing.locks if LOCKS + each != self._name]
        for lock in read_locks(self._store, self._key, others):
            if lock.is_stale(self._clock.now(), self._hostname):
                with suppress(StoreRefused):  # a credential that cannot delete is not stopped by it
                    self._store.delete(lock.name)
                    listing.locks.pop(lock.name[len(LOCKS) :], None)
            elif lock.exclusive or self._exclusive:
                return f"{'exclusively ' if lock.exclusive else ''}by {lock.holder}"
        return None


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


def read_locks(store: Store, key: MasterKey, names: Iterable[str]) -> list[FoundLock]:
    """The locks `names` that can be read; one that went meanwhile is none."""
    found = []
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
        except (ObjectMissing, DamagedData, ValueError, KeyError, TypeError):
            continue
    return found


def _plain(content: bytes) -> bytes:
    """restic's later versions compress locks too."""
    return decompress(memoryview(content)[1:]) if content[:1] == b"\x02" else content


class Locks:
    """The locks of one run in several stores, refreshed until they are released."""

    def __init__(self, locks: Mapping[Store, StoreLock], listings: Mapping[Store, Listing]) -> None:
        self.by_store = dict(locks)
        self.listings = dict(listings)
        self._stop = threading.Event()
        self._lost: dict[Store, str] = {}
        threading.Thread(target=self._refresh, name="lock refresh", daemon=True).start()

    def lost(self, stores: Collection[Store] | None = None) -> dict[Store, str]:
        """Those of `stores` whose lock is not to be trusted any more, with the reason; each is
        asked. None: of all.
        """
        found = dict(self._lost)
        asked = [
            store
            for store in self.by_store
            if store not in found and (stores is None or store in stores)
        ]
        held = ask_each(asked, lambda store: self.by_store[store].held()) if asked else {}
        for store, answer in held.items():
            if isinstance(answer, DrkitError):
                found[store] = f"its lock cannot be seen: {answer.message}"
            elif not answer:
                found[store] = "its lock was lost"
        return found

    def release(self, emit: Emit) -> None:
        """Removes them; a store that hangs is not waited for, and its lock grows stale."""
        self._stop.set()
        if not self.by_store:
            return
        released = ask_each(
            tuple(self.by_store),
            lambda store: self.by_store[store].release(),
            patience_s=_RELEASE_PATIENCE_S,
        )
        for store, answer in released.items():
            if isinstance(answer, DrkitError):
                emit(Note("warning", store.name, f"its lock stays: {answer.message}"))

    def _refresh(self) -> None:
        while not self._stop.wait(REFRESH_EVERY_S):
            for store, lock in self.by_store.items():
                try:
                    lock.refresh()
                except DrkitError as error:
                    self._lost[store] = f"its lock could not be refreshed: {error.message}"


def take_locks(repository: Repository, *, exclusive: bool, need_all: bool, emit: Emit) -> Locks:
    """A lock in each store that gives one, taken at the same time: each waits a moment. A store
    that hangs while others answer gives none (S10).

    Raises what the first refusing store said when none gives one, or one of them with `need_all`.
    """

    def acquire(store: Store) -> tuple[StoreLock, Listing]:
        lock = StoreLock(
            store,
            repository.key,
            clock=repository.clock,
            hostname=repository.hostname,
            exclusive=exclusive,
        )
        listing = lock.acquire()
        with closing:
            late = store in given_up
        if late:
            lock.release()
        return lock, listing

    closing, given_up = threading.Lock(), set[Store]()
    taken: dict[Store, tuple[StoreLock, Listing]] = {}
    problem: DrkitError | None = None
    for store, answer in ask_each(repository.stores, acquire).items():
        if isinstance(answer, DrkitError):
            with closing:
                given_up.add(store)  # a lock that comes yet is removed by who wrote it
            problem = problem or answer
            emit(Note("warning", store.name, answer.message))
        else:
            taken[store] = answer
    locks = Locks(
        {store: lock for store, (lock, _) in taken.items()},
        {store: listing for store, (_, listing) in taken.items()},
    )
    if not taken or (problem and need_all):
        locks.release(emit)
        raise problem or RepositoryLocked("no store could be locked", hint="drkit status")
    return locks


def unlock(repository: Repository, *, remove_all: bool, emit: Emit) -> dict[str, int]:
    """Removes stale locks, or all of them, in every store; how many went, by store."""
    removed: dict[str, int] = {}
    for store in repository.stores:
        try:
            names = [LOCKS + lock_id for lock_id in take_listing(store).locks]
            if not remove_all:
                now, here = repository.clock.now(), repository.hostname
                found = read_locks(store, repository.key, names)
                names = [lock.name for lock in found if lock.is_stale(now, here)]
            for name in names:
                store.delete(name)
            removed[store.name] = len(names)
        except DrkitError as error:
            emit(Note("error", store.name, error.message))
    return removed

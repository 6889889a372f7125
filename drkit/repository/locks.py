"""restic's locks: advisory objects that a concurrent restic or drkit sees and respects (S9)."""

from __future__ import annotations

import getpass
import hashlib
import os
import threading
from datetime import timedelta

import orjson

from drkit.clock import Clock
from drkit.errors import DamagedData, RepositoryLocked
from drkit.repository.layout import LOCKS
from drkit.repository.sealing import MasterKey
from drkit.repository.tree import format_time, parse_time
from drkit.stores.interface import ObjectMissing, Store

REFRESH_EVERY_S = 300.0
STALE_AFTER = timedelta(minutes=30)
_SETTLE_S = 0.2  # restic waits as long between writing its lock and looking for others


class StoreLock:
    """A shared lock of this process in one store. `held()` asks the store, not the memory."""

    def __init__(self, store: Store, key: MasterKey, *, clock: Clock, hostname: str) -> None:
        self._store = store
        self._key = key
        self._clock = clock
        self._hostname = hostname
        self._name: str | None = None
        self._guard = threading.Lock()

    def acquire(self) -> None:
        """Writes the lock, waits, looks. Raises `RepositoryLocked` when someone is exclusive."""
        self._name = self._write()
        self._clock.sleep(_SETTLE_S)
        if holder := self._exclusive_holder():
            self.release()
            raise RepositoryLocked(
                f"{self._store.name}: locked exclusively by {holder}",
                hint="wait for it to end; if it is dead: restic unlock",
            )

    def refresh(self) -> None:
        """Writes a new lock object, then removes the old one."""
        with self._guard:
            if self._name is None:
                return
            old, self._name = self._name, self._write()
            self._store.delete(old)

    def held(self) -> bool:
        """Whether the store still lists this lock."""
        with self._guard:
            if self._name is None:
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
                "exclusive": False,
                "hostname": self._hostname,
                "username": getpass.getuser(),
                "pid": os.getpid(),
            }
        )
        sealed = self._key.seal(content)
        name = LOCKS + hashlib.sha256(sealed).hexdigest()
        self._store.put(name, sealed, size_bytes=len(sealed))
        return name

    def _exclusive_holder(self) -> str | None:
        for info in self._store.list(LOCKS):
            try:
                lock = orjson.loads(self._key.open(self._store.get(info.name)))
                written_s = parse_time(lock["time"]) / 1e9
                age = timedelta(seconds=self._clock.now().timestamp() - written_s)
                if lock["exclusive"] and age < STALE_AFTER:
                    return f"{lock.get('hostname', '?')} (pid {lock.get('pid', '?')})"
            except (ObjectMissing, DamagedData, ValueError, KeyError):
                continue
        return None

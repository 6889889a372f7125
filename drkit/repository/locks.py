"""restic's locks: advisory objects that a concurrent restic or drkit sees and respects (S9)."""

from __future__ import annotations

import hashlib
import os
import threading
from datetime import timedelta

import orjson

from drkit.clock import Clock
from drkit.errors import DamagedData, RepositoryLocked
from drkit.repository.keys import user_name
from drkit.repository.layout import LOCKS
from drkit.repository.sealing import MasterKey
from drkit.repository.tree import format_time, parse_time
from drkit.stores.interface import ObjectMissing, Store

REFRESH_EVERY_S = 300.0
LOST_AFTER_S = 22.5 * 60  # restic gives up at the same age; others call a lock stale at 30 min
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
        self._written_s = 0.0

    def acquire(self) -> None:
        """Writes the lock, waits, looks. Raises `RepositoryLocked` when someone is exclusive."""
        self._name = self._write()
        try:
            self._clock.sleep(_SETTLE_S)
            holder = self._exclusive_holder()
        except BaseException:
            self.release()
            raise
        if holder:
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
                "exclusive": False,
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

    def _exclusive_holder(self) -> str | None:
        """Who holds an exclusive lock. Locks of dead processes of this machine are removed."""
        for info in self._store.list(LOCKS):
            if info.name == self._name:
                continue
            try:
                lock = orjson.loads(self._key.open(self._store.get(info.name)))
                written_s = parse_time(lock["time"]) / 1e9
                age = timedelta(seconds=self._clock.now().timestamp() - written_s)
                if age > STALE_AFTER or self._is_dead(lock):
                    self._store.delete(info.name)
                elif lock["exclusive"]:
                    return f"{lock.get('hostname', '?')} (pid {lock.get('pid', '?')})"
            except (ObjectMissing, DamagedData, ValueError, KeyError):
                continue
        return None

    def _is_dead(self, lock: dict[str, object]) -> bool:
        pid = lock.get("pid")
        if lock.get("hostname") != self._hostname or not isinstance(pid, int) or pid <= 0:
            return False
        try:
            os.kill(pid, 0)  # asks, sends nothing
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

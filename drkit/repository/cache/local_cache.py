"""A disposable copy of small sealed objects on this machine, so that stores are not asked again.

Files lie as they lie in the stores: sealed. Nothing here is trusted: whoever reads one checks its
hash, and drops it when it is wrong. Files are renamed into place and not synced, so that a kill
leaves a temporary file that is swept later, and a power cut at worst a file that is dropped when it
is read. Deleting the folder, or any part of it at any time, costs requests and nothing else.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path

from drkit.events import Emit, Note

MOST_BYTES = 1 << 30
_NAME = re.compile(r"[0-9a-f]{64}(?:-[0-9]{1,6})?")
_ABANDONED_AFTER_S = 3600.0
_TOUCHED_EVERY_S = 86400.0
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LocalCache:
    """Bytes by kind ("index", "trees", ...) and name (64 hex digits, perhaps `-` and a number).

    Every method may be called from many threads and processes; none raises for a disk that fails.
    """

    def __init__(self, root: Path, emit: Emit, *, most_bytes: int = MOST_BYTES) -> None:
        self._root = root
        self._emit = emit
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._room_bytes: int | None = None  # until the folder is measured again
        self._broken = False

    def get(self, kind: str, name: str) -> bytes | None:
        """What was kept, unchecked, or None."""
        try:
            handle = os.open(self._path(kind, name), _READ)
        except OSError:
            return None
        try:
            found = os.fstat(handle)
            if found.st_size > self._most_bytes:
                return None
            if time.time() - found.st_mtime > _TOUCHED_EVERY_S:
                os.utime(handle)  # what is used is removed last
            with os.fdopen(os.dup(handle), "rb", buffering=0) as file:
                return file.read()
        except OSError:
            return None
        finally:
            os.close(handle)

    def put(self, kind: str, name: str, *pieces: bytes | memoryview) -> None:
        """Keeps `pieces`, or does not: a full or broken disk is told once and is no error."""
        size_bytes = sum(map(len, pieces))
        if self._broken or size_bytes > self._most_bytes // 4:
            return
        path = self._path(kind, name)
        temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
        try:
            self._make_room(size_bytes)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(temporary, flags, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.writelines(pieces)
                temporary.replace(path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
        except OSError as error:
            self._broken = True
            self._emit(Note("info", str(self._root), f"nothing is cached: {error.strerror}"))

    def drop(self, kind: str, name: str) -> None:
        """Forgets what was kept under that name; nothing there is no error."""
        with suppress(OSError):
            self._path(kind, name).unlink()

    def keep_only(self, kind: str, names: frozenset[str]) -> None:
        """Drops all of `kind` but `names`: what the stores no longer hold."""
        for name in self.names(kind):
            if name not in names:
                self.drop(kind, name)

    def _path(self, kind: str, name: str) -> Path:
        assert _NAME.fullmatch(name), name
        return self._root / kind / name[:2] / name

    def names(self, kind: str) -> list[str]:
        """What is kept of `kind`."""
        return [path.name for path in self._files(self._root / kind)]

    def _make_room(self, size_bytes: int) -> None:
        """Measures the folder now and then, and removes what was used longest ago."""
        with self._lock:
            if self._room_bytes is not None and self._room_bytes >= size_bytes:
                self._room_bytes -= size_bytes
                return
            held = []
            for path in self._files(self._root):
                with suppress(OSError):
                    status = path.lstat()
                    held.append((status.st_mtime, status.st_size, path))
            total = sum(size for _, size, _ in held)
            if total + size_bytes > self._most_bytes:
                held.sort()
                for _, size, path in held:
                    if total + size_bytes <= self._most_bytes * 3 // 4:
                        break
                    with suppress(OSError):
                        path.unlink()
                        total -= size
            # other processes write too: measured again before all of the room is used up
            self._room_bytes = max(0, (self._most_bytes - total) // 4 - size_bytes)

    def _files(self, folder: Path) -> list[Path]:
        """What this class wrote below `folder`; foreign files are not seen. Sweeps as it goes."""
        found = []
        for parent, _, names in os.walk(folder):
            for name in names:
                path = Path(parent, name)
                if name.startswith(".") and name.endswith(".tmp"):
                    with suppress(OSError):
                        if time.time() - path.lstat().st_mtime > _ABANDONED_AFTER_S:
                            path.unlink()
                elif _NAME.fullmatch(name) and path.parent.name == name[:2]:
                    found.append(path)
        return found

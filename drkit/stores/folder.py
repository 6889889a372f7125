"""A store in a folder of this machine or of a mounted disk.

An object is the file of its name. It is written under `.drkit-partial/`, synced, and renamed into
place; so it is there whole or not at all, after a crash too. A writer holds a lock on its partial
file, by which the next writer knows what a killed one left behind. Where another kind of store
holds both `a` and `a/b`, a folder cannot: the second one is refused.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from drkit.stores.durable import make_folders, sync_folder, write_all
from drkit.stores.interface import (
    Buffer,
    ObjectInfo,
    ObjectMissing,
    StoreRefused,
    StoreUnreachable,
)
from drkit.stores.names import check_name, check_prefix, is_safe_name

if TYPE_CHECKING:
    from drkit.stores.inspection import Inspection

PARTIAL = ".drkit-partial"

_REFUSALS = {
    errno.EACCES: "may this user write there?",
    errno.EPERM: "may this user write there?",
    errno.EROFS: "the disk is mounted read-only",
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "raise the quota or make room",
    errno.EFBIG: "a limit on file sizes is in force (ulimit -f)",
    errno.ENAMETOOLONG: "the file system does not take names this long",
    errno.EEXIST: "an object has the name of a folder that is needed",
    errno.ENOTDIR: "an object has the name of a folder that is needed",
    errno.EISDIR: "a folder has the name of the object",
    errno.ELOOP: "a symbolic link lies in the store; objects are plain files",
}


class FolderStore:
    """`Store` and `Presigner` on the folder `root`, which is made when something is put."""

    def __init__(self, name: str, root: Path) -> None:
        self._name = name
        self._root = root.expanduser().absolute()
        self._swept = False
        self._sweeping = threading.Lock()

    @property
    def name(self) -> str:
        return self._name

    @property
    def root(self) -> Path:
        return self._root

    def put(self, name: str, data: Buffer | Iterable[Buffer], *, size_bytes: int) -> None:
        path = self._path(name)
        with self._explained("write", name):
            self._sweep_once()
            partial, handle = self._open_partial()
            try:
                try:
                    self._fill(handle, name, data, size_bytes)
                    os.fsync(handle)
                    make_folders(path.parent)
                    partial.replace(path)
                finally:
                    os.close(handle)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
            sync_folder(path.parent)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        with self._explained("read", name), self._opened(name) as (handle, size_bytes):
            wanted = size_bytes - offset if length is None else length
            if offset < 0 or wanted < 0 or offset + wanted > size_bytes:
                raise self._short(name, offset, wanted, size_bytes)
            parts = []
            at = offset
            while at < offset + wanted:
                part = os.pread(handle, offset + wanted - at, at)
                if not part:
                    raise self._short(name, offset, wanted, at)
                parts.append(part)
                at += len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def get_into(self, name: str, into: memoryview, *, offset: int) -> None:
        with self._explained("read", name), self._opened(name) as (handle, size_bytes):
            if offset < 0 or offset + len(into) > size_bytes:
                raise self._short(name, offset, len(into), size_bytes)
            done = 0
            while done < len(into):
                count = os.preadv(handle, [into[done:]], offset + done)
                if not count:
                    raise self._short(name, offset, len(into), offset + done)
                done += count

    def stat(self, name: str) -> ObjectInfo:
        with self._explained("read", name), self._opened(name) as (_handle, size_bytes):
            return ObjectInfo(name, size_bytes)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(self._name, prefix)
        folder, _, start = prefix.rpartition("/")
        if folder.split("/")[0] == PARTIAL:
            return iter(())
        return self._walk(f"{folder}/" if folder else "", start)

    def delete(self, name: str) -> None:
        path = self._path(name)
        with self._explained("delete", name), suppress(ObjectMissing), self._missing(name):
            if not stat.S_ISDIR(path.lstat().st_mode):
                path.unlink()
                sync_folder(path.parent)

    def close(self) -> None:
        """Nothing is kept open."""

    def presign(self, name: str, expires_s: float) -> str:
        """A file URI; it expires with the file only."""
        return self._path(name).as_uri()

    def inspect(self) -> Inspection:
        """What the disk and the folder's mode say."""
        from drkit.stores.inspection import Inspection

        with self._explained("look at", "."):
            place = next(folder for folder in (self._root, *self._root.parents) if folder.is_dir())
            disk = os.statvfs(place)
            mode = place.stat().st_mode
        shared = place == self._root and mode & stat.S_IWOTH
        return Inspection(
            place=str(self._root),
            free_bytes=disk.f_bavail * disk.f_frsize,
            excess=("any user of this machine may write there",) if shared else (),
        )

    def _path(self, name: str) -> Path:
        check_name(self._name, name)
        parts = name.split("/")
        if parts[0] == PARTIAL:
            raise StoreRefused(
                f"{self._name}: {name!r} lies where unfinished uploads are kept",
                hint=f"choose a name that does not start with {PARTIAL}/",
            )
        # A link in the way would lead reads and writes out of the store.
        folder = self._root
        for part in parts[:-1]:
            folder = folder / part
            if folder.is_symlink():
                raise StoreRefused(
                    f"{self._name}: {folder} is a symbolic link",
                    hint="a store holds folders and plain files; replace the link by its target",
                )
        return folder / parts[-1]

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[int, int]]:
        """A handle on the object, and its size in bytes."""
        path = self._path(name)
        with self._missing(name):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise _missing_object(self._name, name)
            yield handle, found.st_size
        finally:
            os.close(handle)

    @contextmanager
    def _missing(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _missing_object(self._name, name) from error

    @contextmanager
    def _explained(self, verb: str, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = f"{self._name}: cannot {verb} {name} in {self._root}: {error.strerror or error}"
            advice = _REFUSALS.get(error.errno or 0)
            if advice is not None:
                raise StoreRefused(what, hint=advice) from error
            raise StoreUnreachable(what, hint="is the disk mounted and healthy?") from error

    def _short(self, name: str, offset: int, length: int, size_bytes: int) -> StoreUnreachable:
        return StoreUnreachable(
            f"{self._name}: {name} has {size_bytes} bytes, too few to read {length} at {offset}",
            hint="the object is truncated here; read it from another store",
        )

    def _fill(
        self, handle: int, name: str, data: Buffer | Iterable[Buffer], size_bytes: int
    ) -> None:
        written = 0
        chunks = (data,) if isinstance(data, bytes | bytearray | memoryview) else data
        for chunk in chunks:
            written += write_all(handle, chunk)
            if written > size_bytes:
                break
        if written != size_bytes:
            raise StoreRefused(
                f"{self._name}: {name} was announced with {size_bytes} bytes and is "
                f"{'longer' if written > size_bytes else f'{written} bytes long'}",
                hint="did the file change while it was read? Try again",
            )

    def _open_partial(self) -> tuple[Path, int]:
        """A new, locked file; one that a sweeper took before it was locked is let go."""
        folder = self._root / PARTIAL
        make_folders(folder)
        while True:
            path = folder / secrets.token_hex(12)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(path, flags, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return path, handle
            os.close(handle)

    def _sweep_once(self) -> None:
        with self._sweeping:
            if not self._swept:
                remove_abandoned(self._root / PARTIAL)
                self._swept = True

    def _walk(self, folder: str, start: str) -> Iterator[ObjectInfo]:
        """Objects below `folder` ("" or "a/b/") whose next part starts with `start`."""
        try:
            with os.scandir(self._root / folder) as entries:
                found = [entry for entry in entries if entry.name.startswith(start)]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            with self._explained("list", folder or "."):
                raise error
        for entry in found:
            name = folder + entry.name
            if not is_safe_name(name) or name == PARTIAL:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(f"{name}/", "")
            elif entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    yield ObjectInfo(name, entry.stat(follow_symlinks=False).st_size)


def remove_abandoned(folder: Path) -> None:
    """Removes partial files whose writer is gone; those being written are locked, and stay."""
    for path in _files_of(folder):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(handle)


def _files_of(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _missing_object(store: str, name: str) -> ObjectMissing:
    return ObjectMissing(f"{store}: there is no {name}", hint="read it from another store")

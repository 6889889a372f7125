"""A store in a folder: each object one file, written whole or not at all, and durable."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from drkit.stores.interface import (
    Buffer,
    ObjectInfo,
    ObjectMissing,
    StoreRefused,
    StoreUnreachable,
)
from drkit.stores.names import check_name, is_safe_name

_PARTIAL = ".drkit-partial-"


class FolderStore:
    """Objects below `root`. A file appears under its name only after its bytes are on disk."""

    def __init__(self, name: str, root: Path) -> None:
        self._name = name
        self._root = root

    @property
    def name(self) -> str:
        return self._name

    def put(self, name: str, data: Buffer | Iterable[Buffer], *, size_bytes: int) -> None:
        target = self._path(name)
        partial = target.with_name(_PARTIAL + secrets.token_hex(8))
        try:
            self._make_folder(target.parent)
            with partial.open("xb", buffering=0) as file:
                written = _write_all(file.fileno(), data)
                if written != size_bytes:
                    raise StoreRefused(
                        f"{self._name}: {name} was to be {size_bytes} bytes and is {written}",
                        hint="the object was not written; run the command again",
                    )
                os.fsync(file.fileno())
            partial.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            raise self._unreachable(f"writing {name}", error) from error
        finally:
            partial.unlink(missing_ok=True)

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        try:
            with self._path(name).open("rb", buffering=0) as file:
                size_bytes = os.fstat(file.fileno()).st_size
                wanted = size_bytes - offset if length is None else length
                if offset < 0 or wanted < 0 or offset + wanted > size_bytes:
                    raise StoreUnreachable(
                        f"{self._name}: {name} ends at {size_bytes}, "
                        f"before {offset}+{length if length is not None else 'rest'}",
                        hint="the object is shorter than it must be: drkit check",
                    )
                return _read_exactly(file.fileno(), offset, wanted, self._name, name)
        except FileNotFoundError as error:
            raise self._missing(name) from error
        except OSError as error:
            raise self._unreachable(f"reading {name}", error) from error

    def stat(self, name: str) -> ObjectInfo:
        try:
            return ObjectInfo(name, self._path(name).stat().st_size)
        except FileNotFoundError as error:
            raise self._missing(name) from error
        except OSError as error:
            raise self._unreachable(f"looking at {name}", error) from error

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = self._root / prefix.rpartition("/")[0]
        try:
            yield from self._walk(folder, prefix)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unreachable(f"listing {prefix!r}", error) from error

    def delete(self, name: str) -> None:
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                _sync_folder(path.parent)
        except OSError as error:
            raise self._unreachable(f"deleting {name}", error) from error

    def close(self) -> None:
        """A folder holds no connection."""

    def presign(self, name: str, expires_s: float) -> str:
        """A file URI; it does not expire, since whoever can read it can read the folder."""
        return self._path(name).resolve().as_uri()

    def _walk(self, folder: Path, prefix: str) -> Iterator[ObjectInfo]:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = Path(entry.path).relative_to(self._root).as_posix()
                if entry.is_dir(follow_symlinks=False):
                    if f"{name}/".startswith(prefix) or prefix.startswith(f"{name}/"):
                        try:
                            yield from self._walk(Path(entry.path), prefix)
                        except FileNotFoundError:
                            continue
                elif name.startswith(prefix) and is_safe_name(name) and _PARTIAL not in name:
                    try:
                        yield ObjectInfo(name, entry.stat().st_size)
                    except FileNotFoundError:
                        continue

    def _path(self, name: str) -> Path:
        return self._root / check_name(name)

    def _make_folder(self, folder: Path) -> None:
        """Makes `folder`, and syncs each parent that gained one, so that it survives a crash."""
        missing = []
        while not folder.is_dir():
            missing.append(folder)
            folder = folder.parent
        for made in reversed(missing):
            made.mkdir(exist_ok=True)
            _sync_folder(made.parent)

    def _missing(self, name: str) -> ObjectMissing:
        return ObjectMissing(
            f"{self._name}: no object {name}", hint="drkit check says what is lost"
        )

    def _unreachable(self, what: str, error: OSError) -> StoreUnreachable:
        return StoreUnreachable(
            f"{self._name}: {what}: {error.strerror or error}",
            hint=f"check the folder {self._root}: is it mounted, writable, not full?",
        )


def _write_all(descriptor: int, data: Buffer | Iterable[Buffer]) -> int:
    written = 0
    pieces = (data,) if isinstance(data, bytes | bytearray | memoryview) else data
    for piece in pieces:
        view = memoryview(piece).cast("B")
        while view:
            count = os.write(descriptor, view)
            written += count
            view = view[count:]
    return written


def _read_exactly(descriptor: int, offset: int, length: int, store: str, name: str) -> bytes:
    pieces = []
    while length:
        piece = os.pread(descriptor, length, offset)
        if not piece:
            raise StoreUnreachable(
                f"{store}: {name} became shorter while it was read", hint="run the command again"
            )
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

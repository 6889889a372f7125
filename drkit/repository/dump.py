"""One file of a snapshot as bytes, or a folder as a tar archive, in one stream."""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

from drkit.errors import ConfigError, DamagedData
from drkit.repository.browse import Entry, entries, find_entry
from drkit.repository.repository import Repository
from drkit.repository.tree import Node

_AHEAD = 4
_TAR_TYPES = {
    "dir": tarfile.DIRTYPE,
    "file": tarfile.REGTYPE,
    "symlink": tarfile.SYMTYPE,
    "fifo": tarfile.FIFOTYPE,
    "dev": tarfile.BLKTYPE,
    "chardev": tarfile.CHRTYPE,
}


def dump(repository: Repository, tree_id: str, path: str, out: IO[bytes]) -> None:
    """Writes what lies at `path` below the tree: a file as it was, a folder as tar.

    Raises ConfigError for what is neither, `DamagedData` when a part of it is lost everywhere;
    what was written until then is no whole copy.
    """
    entry = find_entry(repository, tree_id, path)
    if entry.node.type == "file":
        for content in contents(repository, entry.node):
            out.write(content)
        return
    if entry.node.subtree is None:
        raise ConfigError(
            f"{entry.path} is a {entry.node.type}", hint="dump gives files and folders"
        )
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for below in entries(repository, entry.node.subtree, entry.path):
            if below.node.type in _TAR_TYPES:
                _add(repository, archive, below)


def contents(repository: Repository, node: Node) -> Iterator[bytes]:
    """The file's content, a blob at a time, a few of them read ahead."""
    with ThreadPoolExecutor(_AHEAD, "dump") as pool:
        coming: deque[Future[bytes]] = deque()
        for blob in node.content:
            coming.append(pool.submit(repository.load_blob, blob))
            if len(coming) > _AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


class _Stream(io.RawIOBase):
    """What tarfile reads a file's content from."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _add(repository: Repository, archive: tarfile.TarFile, entry: Entry) -> None:
    node = entry.node
    info = tarfile.TarInfo(posixpath.relpath(entry.path, "/"))
    info.type = _TAR_TYPES[node.type]
    info.mode = node.permissions
    info.uid, info.gid, info.uname, info.gname = node.uid, node.gid, node.user, node.group
    info.mtime = node.mtime_ns // 1_000_000_000
    seconds, nanoseconds = divmod(node.mtime_ns, 1_000_000_000)
    info.pax_headers = {"mtime": f"{seconds}.{nanoseconds:09d}"} if nanoseconds else {}
    for name, value in node.xattrs:
        info.pax_headers[f"SCHILY.xattr.{name}"] = value.decode("utf-8", "surrogateescape")
    if node.type == "symlink":
        info.linkname = node.link_target.decode("utf-8", "surrogateescape")
    elif node.type in ("dev", "chardev"):
        info.devmajor, info.devminor = os.major(node.device), os.minor(node.device)
    if node.type != "file":
        archive.addfile(info)
        return
    held = sum(place.content_bytes for place in map(repository.index.find, node.content) if place)
    if held != node.size:  # the archive would be out of step from here on
        raise DamagedData(
            f"{entry.path}: the snapshot says {node.size} bytes, its blobs hold {held}",
            hint="drkit check names what is lost; an older snapshot may hold the file",
        )
    info.size = node.size
    archive.addfile(info, io.BufferedReader(_Stream(contents(repository, node)), 1 << 20))

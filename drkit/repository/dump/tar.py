"""Entries of a snapshot as a tar archive, with all metadata that one can hold."""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from collections.abc import Iterable
from typing import IO

from drkit.repository.dump.content import contents, refuse_short
from drkit.repository.repository import Repository
from drkit.repository.trees.walk import Entry

_TAR_TYPES = {
    "dir": tarfile.DIRTYPE,
    "file": tarfile.REGTYPE,
    "symlink": tarfile.SYMTYPE,
    "fifo": tarfile.FIFOTYPE,
    "dev": tarfile.BLKTYPE,
    "chardev": tarfile.CHRTYPE,
}


def write_tar(repository: Repository, found: Iterable[Entry], out: IO[bytes]) -> None:
    """Streams `found` to `out`; sockets are left out, as by tar itself."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for entry in found:
            if entry.node.type in _TAR_TYPES:
                _add(repository, archive, entry)


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
    refuse_short(repository, entry)
    info.size = node.size
    archive.addfile(info, io.BufferedReader(_Stream(contents(repository, node)), 1 << 20))

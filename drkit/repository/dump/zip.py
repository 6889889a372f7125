"""Entries of a snapshot as a zip archive: names, modes, seconds of change, links (APPNOTE 6.3)."""

from __future__ import annotations

import posixpath
import stat
import struct
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import IO

from drkit.repository.dump.content import contents, refuse_short
from drkit.repository.format.tree import Node
from drkit.repository.repository import Repository
from drkit.repository.trees.walk import Entry

_KINDS = {
    "dir": stat.S_IFDIR,
    "file": stat.S_IFREG,
    "symlink": stat.S_IFLNK,
    "fifo": stat.S_IFIFO,
    "dev": stat.S_IFBLK,
    "chardev": stat.S_IFCHR,
}
_UNIX = 3
_IS_FOLDER = 0x10
_TIME = struct.Struct("<HHBi")  # "extended timestamp": id, bytes that follow, flags, seconds
_FIRST, _LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)
_LARGE_BYTES = 1 << 31


def write_zip(repository: Repository, found: Iterable[Entry], out: IO[bytes]) -> None:
    """Streams `found` to `out`, which need not be seekable. As in restic's, links hold where they
    point, and owners and attributes are left out. Bytes of a name that are no UTF-8 become `\\xNN`.
    """
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in found:
            if entry.node.type in _KINDS:
                _add(repository, archive, entry)


def _add(repository: Repository, archive: zipfile.ZipFile, entry: Entry) -> None:
    node = entry.node
    info = _info(entry)
    if node.type != "file":
        archive.writestr(info, node.link_target)
        return
    refuse_short(repository, entry)
    with archive.open(info, "w", force_zip64=node.size >= _LARGE_BYTES) as file:
        for content in contents(repository, node):
            file.write(content)


def _info(entry: Entry) -> zipfile.ZipInfo:
    node = entry.node
    name = posixpath.relpath(entry.path, "/").encode("utf-8", "surrogateescape")
    shown = name.decode("utf-8", "backslashreplace") + ("/" if node.type == "dir" else "")
    seconds = node.mtime_ns // 1_000_000_000
    info = zipfile.ZipInfo(shown, _dos_time(seconds))
    info.create_system = _UNIX
    info.external_attr = (_KINDS[node.type] | node.permissions) << 16
    info.external_attr |= _IS_FOLDER if node.type == "dir" else 0
    info.compress_type = _compression(node)
    info.file_size = node.size
    if -(1 << 31) <= seconds < 1 << 31:
        info.extra = _TIME.pack(0x5455, 5, 1, seconds)
    return info


def _compression(node: Node) -> int:
    return zipfile.ZIP_DEFLATED if node.type == "file" and node.size else zipfile.ZIP_STORED


def _dos_time(seconds: int) -> tuple[int, int, int, int, int, int]:
    """In UTC; a zip knows the years from 1980 to 2107 only."""
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return _LAST if seconds > 0 else _FIRST
    told = (at.year, at.month, at.day, at.hour, at.minute, at.second)
    return min(max(told, _FIRST), _LAST)

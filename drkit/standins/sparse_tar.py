"""Writes a folder as a GNU tar in which holes stay holes, as a Qdrant server streams its shards.

Preallocated files are mostly holes: a small shard is 131 MiB long and 1 MiB on disk. Python's
`tarfile` reads sparse members but writes none, so their headers are made here ("Old GNU Format",
GNU tar manual, "Storing Sparse Files").
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 512
IN_HEADER, IN_EXTENSION = 4, 21  # how many extents fit into a header, and into each block after it
TYPE, CHECKSUM, SPARSE, IS_EXTENDED, REAL_SIZE = 156, 148, 386, 482, 483
COPY_BYTES = 1 << 20

Extent = tuple[int, int]


def write_tar(target: Path, members: Iterable[tuple[Path, str]]) -> None:
    """Writes `members` (file or folder, name in the archive) to `target`."""
    with target.open("wb") as output:
        for path, name in members:
            info = tarfile.TarInfo(name)
            status = path.stat()
            info.mode, info.mtime = status.st_mode & 0o777, int(status.st_mtime)
            if path.is_dir():
                info.type = tarfile.DIRTYPE
                output.write(info.tobuf(tarfile.GNU_FORMAT))
                continue
            with path.open("rb") as file:
                extents = _extents(file.fileno(), status.st_size)
                info.size = sum(length for _, length in extents)
                header = info.tobuf(tarfile.GNU_FORMAT)
                if info.size != status.st_size:
                    header = _sparse(header, extents, status.st_size)
                output.write(header)
                for offset, length in extents:
                    _copy(file.fileno(), offset, length, output)
                output.write(bytes(-info.size % BLOCK))
        output.write(bytes(2 * BLOCK))


def _extents(descriptor: int, size: int) -> list[Extent]:
    """Where there is data, as (offset, length); what lies between are holes."""
    extents: list[Extent] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole follows
            break
        at = os.lseek(descriptor, start, os.SEEK_HOLE)
        extents.append((start, at - start))
    return extents


def _copy(source: int, offset: int, length: int, output: BinaryIO) -> None:
    while length:
        part = os.pread(source, min(length, COPY_BYTES), offset)
        if not part:
            raise OSError("a file became shorter while it was archived")
        output.write(part)
        offset, length = offset + len(part), length - len(part)


def _sparse(header: bytes, extents: list[Extent], real_size: int) -> bytes:
    """The same header (a long name's blocks stay in front) as that of a sparse member."""
    if not extents or sum(extents[-1]) < real_size:
        extents = [*extents, (real_size, 0)]  # a hole at the end is marked by an empty extent
    front, block = header[:-BLOCK], bytearray(header[-BLOCK:])
    block[TYPE : TYPE + 1] = tarfile.GNUTYPE_SPARSE
    _put(block, SPARSE, extents[:IN_HEADER])
    block[REAL_SIZE : REAL_SIZE + 12] = _octal(real_size)
    rest = extents[IN_HEADER:]
    block[IS_EXTENDED] = bool(rest)
    block[CHECKSUM : CHECKSUM + 8] = b" " * 8
    block[CHECKSUM : CHECKSUM + 8] = b"%06o\0 " % sum(block)
    return bytes(front) + bytes(block) + b"".join(_extensions(rest))


def _extensions(extents: list[Extent]) -> Iterator[bytes]:
    while extents:
        block = bytearray(BLOCK)
        _put(block, 0, extents[:IN_EXTENSION])
        extents = extents[IN_EXTENSION:]
        block[IN_EXTENSION * 24] = bool(extents)
        yield bytes(block)


def _put(block: bytearray, at: int, extents: list[Extent]) -> None:
    for offset, length in extents:
        block[at : at + 24] = _octal(offset) + _octal(length)
        at += 24


def _octal(number: int) -> bytes:
    return b"%011o\0" % number

"""Packs: sealed blobs back to back, a sealed header that lists them, its length (format v2)."""

from __future__ import annotations

import hashlib
import mmap
import struct
from dataclasses import dataclass, field
from enum import Enum

from drkit.errors import DamagedData
from drkit.repository.format.sealing import OVERHEAD_BYTES, MasterKey
from drkit.stores.interface import Buffer

_PLAIN = struct.Struct("<BI32s")
_COMPRESSED = struct.Struct("<BII32s")
_MAX_HEADER_BYTES = 16 << 20

PACK_BYTES = 16 << 20
BUFFER_BYTES = PACK_BYTES + (10 << 20)
"""A full pack, one more of the largest chunks, and a header."""


class BlobKind(Enum):
    DATA = "data"
    TREE = "tree"


PackBuffer = mmap.mmap | bytearray


def new_buffer(size_bytes: int = BUFFER_BYTES) -> PackBuffer:
    """Memory for a pack: pages that are never written are never there."""
    return mmap.mmap(-1, size_bytes)


@dataclass(frozen=True, slots=True)
class PackedBlob:
    """Where a blob lies in its pack. `raw_bytes` is 0 for a blob that is not compressed."""

    id: bytes
    kind: BlobKind
    offset: int
    length: int
    raw_bytes: int


@dataclass(frozen=True, slots=True)
class SealedPack:
    """A finished pack: the same bytes go to every store (S1), from the one `buffer`."""

    id: str
    blobs: tuple[PackedBlob, ...]
    pieces: tuple[Buffer, ...]
    size_bytes: int
    buffer: PackBuffer | None = field(default=None, repr=False)


class PackBuilder:
    """Gathers sealed blobs of one kind; data and tree blobs never share a pack.

    They are sealed straight into one buffer, which may come from an earlier pack.
    """

    def __init__(self, kind: BlobKind, buffer: PackBuffer | None = None) -> None:
        self._kind = kind
        self._buffer = new_buffer() if buffer is None else buffer
        self._view = memoryview(self._buffer)
        self._blobs: list[PackedBlob] = []
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._blobs)

    def has_room(self, content_bytes: int) -> bool:
        """Whether a blob of so many bytes, and then the header, still fit."""
        header = (len(self._blobs) + 1) * _COMPRESSED.size + OVERHEAD_BYTES + 4
        return self.size_bytes + content_bytes + OVERHEAD_BYTES + header <= len(self._buffer)

    def seal(
        self, key: MasterKey, blob_id: bytes, content: bytes | memoryview, raw_bytes: int
    ) -> None:
        """Adds a blob: `content` as it is (`raw_bytes` 0), or the frame of so many bytes."""
        length = key.seal_into(content, self._view[self.size_bytes :])
        self._note(blob_id, length, raw_bytes)

    def add(self, blob_id: bytes, sealed: bytes | memoryview, raw_bytes: int) -> None:
        """Adds a blob that is sealed already."""
        self._view[self.size_bytes : self.size_bytes + len(sealed)] = sealed
        self._note(blob_id, len(sealed), raw_bytes)

    def absorb(self, other: PackBuilder) -> None:
        """Adds all blobs of `other`, which must fit."""
        for blob in other._blobs:
            sealed = other._view[blob.offset : blob.offset + blob.length]
            self.add(blob.id, sealed, blob.raw_bytes)

    def finish(self, key: MasterKey) -> SealedPack:
        at = self.size_bytes
        at += key.seal_into(b"".join(map(_entry, self._blobs)), self._view[at:])
        self._view[at : at + 4] = struct.pack("<I", at - self.size_bytes)
        whole = self._view[: at + 4]
        digest = hashlib.sha256(whole).hexdigest()
        return SealedPack(digest, tuple(self._blobs), (whole,), at + 4, self._buffer)

    def _note(self, blob_id: bytes, length: int, raw_bytes: int) -> None:
        self._blobs.append(PackedBlob(blob_id, self._kind, self.size_bytes, length, raw_bytes))
        self.size_bytes += length


def pack_size(blob_bytes: int, plain: int, compressed: int) -> int:
    """Exact size of a pack with so many sealed bytes, plain blobs and compressed blobs."""
    return blob_bytes + plain * _PLAIN.size + compressed * _COMPRESSED.size + OVERHEAD_BYTES + 4


def read_header(pack: bytes, key: MasterKey, *, skipped: int = 0) -> tuple[PackedBlob, ...]:
    """The blobs of a whole pack, or of its end when `skipped` bytes before it were not read.

    Raises `DamagedData` when header and size do not agree.
    """
    if len(pack) < 4:
        raise _damaged("it is shorter than a header")
    (length,) = struct.unpack("<I", pack[-4:])
    if not OVERHEAD_BYTES <= length <= min(_MAX_HEADER_BYTES, len(pack) - 4):
        raise _damaged("its header does not fit")
    header = key.open(memoryview(pack)[-4 - length : -4])
    blobs, offset, at = [], 0, 0
    while at < len(header):
        form = header[at]
        if form > 3:
            raise _damaged(f"its header has an entry of type {form}")
        kind = BlobKind.TREE if form & 1 else BlobKind.DATA
        entry = _COMPRESSED if form & 2 else _PLAIN
        if at + entry.size > len(header):
            raise _damaged("its header ends in the middle of an entry")
        fields = entry.unpack_from(header, at)
        raw_bytes = fields[2] if form & 2 else 0
        blobs.append(PackedBlob(fields[-1], kind, offset, fields[1], raw_bytes))
        offset += fields[1]
        at += entry.size
    if offset != skipped + len(pack) - 4 - length:
        raise _damaged("its blobs do not fill it")
    return tuple(blobs)


def _entry(blob: PackedBlob) -> bytes:
    form = 1 if blob.kind is BlobKind.TREE else 0
    if blob.raw_bytes:
        return _COMPRESSED.pack(form | 2, blob.length, blob.raw_bytes, blob.id)
    return _PLAIN.pack(form, blob.length, blob.id)


def _damaged(why: str) -> DamagedData:
    return DamagedData(f"the pack is damaged: {why}", hint="drkit check --read-data")

"""Stores blobs: hashed, deduplicated, compressed, sealed, packed and sent to all stores.

Calls may come from many threads. Each thread fills packs of its own, so that no lock is held
while bytes are hashed or encrypted, and neighbours in a pack tell little about one file. What is
left at the end is put together, so that a small run sends one pack of each kind.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import deque
from collections.abc import Sequence
from functools import partial

from drkit.clock import Clock
from drkit.repository.copies.upload import FanOut
from drkit.repository.format.compression import compress, compress_all
from drkit.repository.format.layout import INDEX, pack_name
from drkit.repository.format.pack import (
    BUFFER_BYTES,
    PACK_BYTES,
    BlobKind,
    PackBuffer,
    PackBuilder,
    SealedPack,
    new_buffer,
)
from drkit.repository.format.sealing import MasterKey
from drkit.repository.index.blobs import Index, index_content

_INDEX_EVERY_BLOBS = 50_000
_INDEX_EVERY_S = 240.0  # what a crash can cost: packs that no index lists are stored again
_MAX_BLOBS_PER_PACK = 20_000
_SPARE_BUFFERS = 8
_Builders = dict[BlobKind, PackBuilder]
_Frame = bytes | memoryview


class BlobWriter:
    """`dense_bytes` of the `raw_bytes` of new data blobs were stored as they are: zstd does not
    shrink them. What is compressed or encrypted already is dense; text is not.
    """

    def __init__(self, index: Index, key: MasterKey, fan_out: FanOut, clock: Clock) -> None:
        self.index = index
        self._key = key
        self._fan_out = fan_out
        self._local = threading.local()
        self._open: list[_Builders] = []
        self._spare: deque[PackBuffer] = deque()
        self._unlisted: list[SealedPack] = []
        self._unlisted_blobs = 0
        self._lock = threading.Lock()
        self._clock = clock
        self._listed_s = clock.elapsed_s()
        self.bytes_added = 0
        self.raw_bytes = 0
        self.dense_bytes = 0

    def save(self, kind: BlobKind, content: bytes | memoryview) -> bytes:
        """The blob's id; it is stored unless the repository has it or it is on its way."""
        blob_id = hashlib.sha256(content).digest()
        if self.index.claim(blob_id):
            frame = compress(content)
            self._store(kind, blob_id, content, frame)
            self._count(kind, len(content), 0 if frame else len(content))
        return blob_id

    def save_all(self, contents: Sequence[bytes]) -> list[bytes]:
        """The ids of many small data blobs, as `save` gives them, in few calls."""
        ids = [hashlib.sha256(content).digest() for content in contents]
        self.store_all(BlobKind.DATA, list(zip(ids, contents, strict=True)))
        return ids

    def store_all(self, kind: BlobKind, blobs: Sequence[tuple[bytes, bytes]]) -> None:
        """Stores what of many small blobs is new, each given with its id, which is its hash."""
        new = [pair for pair in blobs if self.index.claim(pair[0])]
        frames = compress_all([content for _, content in new])
        raw_bytes = dense_bytes = 0
        for (blob_id, content), frame in zip(new, frames, strict=True):
            self._store(kind, blob_id, content, frame)
            raw_bytes += len(content)
            dense_bytes += 0 if frame else len(content)
        if new:
            self._count(kind, raw_bytes, dense_bytes)

    def flush(self) -> None:
        """Sends every open pack, then the index of what is not listed yet. Saving has ended."""
        for kind in BlobKind:
            left = [builders.pop(kind) for builders in self._open if kind in builders]
            left.sort(key=lambda builder: builder.size_bytes, reverse=True)
            while left:
                builder = left.pop(0)
                while left and builder.size_bytes + left[-1].size_bytes <= PACK_BYTES:
                    builder.absorb(left.pop())
                self._send(builder)
        with self._lock:
            self._send_index()

    def abandon(self) -> None:
        """Sends nothing more: whoever saves meets an error."""
        self._fan_out.abandon("the run failed")

    def send_unpacked(self, folder: str, content: bytes) -> str:
        """Seals and sends an index or snapshot, which waits for all that was sent; its id."""
        frame = compress(content)
        sealed = self._key.seal(content if frame is None else b"\x02" + frame)
        name = hashlib.sha256(sealed).hexdigest()
        self._fan_out.send(folder + name, (sealed,), len(sealed), after_all=True)
        return name

    def _store(
        self, kind: BlobKind, blob_id: bytes, content: bytes | memoryview, frame: _Frame | None
    ) -> None:
        plain = content if frame is None else frame
        builders = self._builders()
        builder = builders.get(kind)
        if builder is not None and not builder.has_room(len(plain)):
            self._send(builders.pop(kind))
            builder = None
        if builder is None:
            builder = builders[kind] = PackBuilder(kind, self._buffer(len(plain)))
        builder.seal(self._key, blob_id, plain, 0 if frame is None else len(content))
        if builder.size_bytes >= PACK_BYTES or len(builder) >= _MAX_BLOBS_PER_PACK:
            self._send(builders.pop(kind))

    def _builders(self) -> _Builders:
        if not hasattr(self._local, "builders"):
            self._local.builders = {}
            with self._lock:
                self._open.append(self._local.builders)
        builders: _Builders = self._local.builders
        return builders

    def _buffer(self, content_bytes: int) -> PackBuffer:
        wanted = max(BUFFER_BYTES, content_bytes + (1 << 20))
        if wanted == BUFFER_BYTES:
            with contextlib.suppress(IndexError):
                return self._spare.pop()
        return new_buffer(wanted)

    def _give_back(self, buffer: PackBuffer | None) -> None:
        """Called by upload threads, so it takes no lock that a waiting sender may hold."""
        if buffer is not None and len(buffer) == BUFFER_BYTES and len(self._spare) < _SPARE_BUFFERS:
            self._spare.append(buffer)

    def _send(self, builder: PackBuilder) -> None:
        pack = builder.finish(self._key)
        done = partial(self._give_back, pack.buffer)
        self._fan_out.send(pack_name(pack.id), pack.pieces, pack.size_bytes, done=done)
        with self._lock:  # the pack is queued: an index that names it comes after it
            self.bytes_added += pack.size_bytes
            # the index needs no bytes of the pack: they are given back when they are sent
            self._unlisted.append(SealedPack(pack.id, pack.blobs, (), pack.size_bytes))
            self._unlisted_blobs += len(pack.blobs)
            self.index.add(pack)
            age_s = self._clock.elapsed_s() - self._listed_s
            if self._unlisted_blobs >= _INDEX_EVERY_BLOBS or age_s >= _INDEX_EVERY_S:
                self._send_index()

    def _send_index(self) -> None:
        self._listed_s = self._clock.elapsed_s()
        if self._unlisted:
            self.send_unpacked(INDEX, index_content(self._unlisted))
            self._unlisted, self._unlisted_blobs = [], 0

    def _count(self, kind: BlobKind, raw_bytes: int, dense_bytes: int) -> None:
        if kind is BlobKind.DATA:
            with self._lock:
                self.raw_bytes += raw_bytes
                self.dense_bytes += dense_bytes

"""Stores blobs: hashed, deduplicated, compressed, sealed, packed and sent to all stores.

Calls may come from many threads. Each thread fills packs of its own, so that no lock is held
while bytes are hashed or encrypted, and neighbours in a pack tell little about one file.
"""

from __future__ import annotations

import hashlib
import threading

from drkit.clock import Clock
from drkit.repository.compression import compress
from drkit.repository.index import Index, index_content
from drkit.repository.layout import INDEX, pack_name
from drkit.repository.pack import BlobKind, PackBuilder, SealedPack
from drkit.repository.sealing import MasterKey
from drkit.repository.upload import FanOut

PACK_BYTES = 16 << 20
_INDEX_EVERY_BLOBS = 50_000
_INDEX_EVERY_S = 240.0  # what a crash can cost: packs that no index lists are stored again
_MAX_BLOBS_PER_PACK = 20_000


class BlobWriter:
    def __init__(self, index: Index, key: MasterKey, fan_out: FanOut, clock: Clock) -> None:
        self.index = index
        self._key = key
        self._fan_out = fan_out
        self._local = threading.local()
        self._open: list[dict[BlobKind, PackBuilder]] = []
        self._unlisted: list[SealedPack] = []
        self._lock = threading.Lock()
        self._clock = clock
        self._listed_s = clock.elapsed_s()
        self.bytes_added = 0

    def save(self, kind: BlobKind, content: bytes | memoryview) -> bytes:
        """The blob's id; it is stored unless the repository has it or it is on its way."""
        blob_id = hashlib.sha256(content).digest()
        if self.index.claim(blob_id):
            frame = compress(content)
            sealed = self._key.seal(content if frame is None else frame)
            builder = self._builder(kind)
            builder.add(blob_id, sealed, 0 if frame is None else len(content))
            if builder.size_bytes >= PACK_BYTES or len(builder) >= _MAX_BLOBS_PER_PACK:
                self._finish_pack(self._builders(), kind)
        return blob_id

    def flush(self) -> None:
        """Sends every open pack, then the index of what is not listed yet. Saving has ended."""
        for builders in self._open:
            for kind in list(builders):
                self._finish_pack(builders, kind)
        with self._lock:
            self._send_index()

    def send_unpacked(self, folder: str, content: bytes) -> str:
        """Seals and sends an index or snapshot; its id."""
        frame = compress(content)
        sealed = self._key.seal(content if frame is None else b"\x02" + frame)
        name = hashlib.sha256(sealed).hexdigest()
        self._fan_out.send(folder + name, (sealed,), len(sealed))
        return name

    def _builders(self) -> dict[BlobKind, PackBuilder]:
        if not hasattr(self._local, "builders"):
            self._local.builders = {}
            with self._lock:
                self._open.append(self._local.builders)
        builders: dict[BlobKind, PackBuilder] = self._local.builders
        return builders

    def _builder(self, kind: BlobKind) -> PackBuilder:
        return self._builders().setdefault(kind, PackBuilder(kind))

    def _finish_pack(self, builders: dict[BlobKind, PackBuilder], kind: BlobKind) -> None:
        builder = builders.pop(kind)
        if not len(builder):
            return
        pack = builder.finish(self._key)
        with self._lock:  # a pack is queued before any index that names it
            self._fan_out.send(pack_name(pack.id), pack.pieces, pack.size_bytes)
            self.bytes_added += pack.size_bytes
            # the index needs no bytes of the pack: they are given back when they are sent
            self._unlisted.append(SealedPack(pack.id, pack.blobs, (), pack.size_bytes))
            self.index.add(pack)
            blobs = sum(len(unlisted.blobs) for unlisted in self._unlisted)
            age_s = self._clock.elapsed_s() - self._listed_s
            if blobs >= _INDEX_EVERY_BLOBS or age_s >= _INDEX_EVERY_S:
                self._send_index()

    def _send_index(self) -> None:
        self._listed_s = self._clock.elapsed_s()
        if self._unlisted:
            self.send_unpacked(INDEX, index_content(self._unlisted))
            self._unlisted = []

"""Packs of saved or new blobs, the same in every store, and the indexes that name them."""

from __future__ import annotations

from collections.abc import Mapping

from drkit.repository.copies.listing import Listing
from drkit.repository.format.compression import compress
from drkit.repository.format.layout import pack_name
from drkit.repository.format.pack import BUFFER_BYTES, PACK_BYTES, BlobKind, PackBuilder, SealedPack
from drkit.repository.levels.coverage import put_indexes
from drkit.repository.repository import Repository
from drkit.stores.interface import Store


class PackSink:
    """Takes blobs and writes them to the stores of `listings`; nothing at all for no stores."""

    def __init__(self, repository: Repository, listings: Mapping[Store, Listing]) -> None:
        self._repository = repository
        self._listings = listings
        self._builders: dict[BlobKind, PackBuilder] = {}
        self._finished: list[SealedPack] = []
        self._known: set[bytes] = set()

    def add(self, kind: BlobKind, blob_id: bytes, content: bytes) -> None:
        if blob_id in self._known:
            return
        self._known.add(blob_id)
        frame = compress(content)
        stored = content if frame is None else frame
        builder = self._builders.get(kind)
        if builder is not None and (
            builder.size_bytes >= PACK_BYTES or not builder.has_room(len(stored))
        ):
            self._write(kind)
            builder = None
        if builder is None:
            # another program's blob may be larger than any of ours
            room = bytearray(max(BUFFER_BYTES, len(stored) + (1 << 20)))
            builder = self._builders[kind] = PackBuilder(kind, room)
        builder.seal(self._repository.key, blob_id, stored, 0 if frame is None else len(content))

    def finish(self) -> None:
        """Writes what is left, then the indexes that name the new packs (S3)."""
        for kind in list(self._builders):
            self._write(kind)
        if self._finished and self._listings:
            stores = list(self._listings)
            put_indexes(self._repository, stores, self._listings, self._finished)

    def _write(self, kind: BlobKind) -> None:
        pack = self._builders.pop(kind).finish(self._repository.key)
        for store, listing in self._listings.items():
            store.put(pack_name(pack.id), pack.pieces, size_bytes=pack.size_bytes)
            listing.packs[pack.id] = pack.size_bytes
        self._finished.append(SealedPack(pack.id, pack.blobs, (), pack.size_bytes))

"""Writes the used blobs of marked packs into new ones, in every store, before anything goes.

Blobs keep their sealed bytes: each is opened and hashed first, so nothing damaged is carried on
(S11), and nothing is encrypted again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor

from drkit.errors import DamagedData, DrkitError
from drkit.events import Emit, Progress
from drkit.repository.copies.copying import good_copy
from drkit.repository.copies.listing import Listing
from drkit.repository.format.compression import decompress
from drkit.repository.format.layout import pack_name
from drkit.repository.format.pack import (
    BUFFER_BYTES,
    PACK_BYTES,
    BlobKind,
    PackBuilder,
    PackedBlob,
    SealedPack,
)
from drkit.repository.format.sealing import MasterKey
from drkit.repository.index.blobs import Location
from drkit.stores.interface import ObjectMissing, Store

Places = Callable[[bytes], Iterable[Location]]
"""Everywhere that an index says a blob lies."""


def repack(
    key: MasterKey,
    packs: Mapping[str, Sequence[PackedBlob]],
    needed: Set[bytes],
    listings: Mapping[Store, Listing],
    places: Places,
    emit: Emit,
) -> list[SealedPack]:
    """The new packs (without their bytes), which every store holds when this returns.

    Each blob of `needed` is taken once. A pack of which no copy is good is read blob by blob, from
    whichever store has each one, in this pack or in another; `DamagedData` when a needed blob is
    nowhere, or what a store raised that may have it.
    """
    stores = tuple(listings)
    builders: dict[BlobKind, PackBuilder] = {}
    finished: list[SealedPack] = []
    left = set(needed)

    def finish(kind: BlobKind) -> None:
        pack = builders.pop(kind).finish(key)
        with ThreadPoolExecutor(max(1, len(stores)), "repack") as pool:
            puts = [
                pool.submit(s.put, pack_name(pack.id), pack.pieces, size_bytes=pack.size_bytes)
                for s in stores
            ]
        for put in puts:
            put.result()
        for listing in listings.values():
            listing.packs[pack.id] = pack.size_bytes
        finished.append(SealedPack(pack.id, pack.blobs, (), pack.size_bytes))

    for done, (pack_id, blobs) in enumerate(packs.items()):
        emit(Progress("repack", done, len(packs), "packs", pack_id[:8]))
        wanted = [blob for blob in blobs if blob.id in left]
        for blob, sealed in _read(key, pack_id, wanted, stores, places):
            if blob.id not in left:
                continue
            left.discard(blob.id)
            builder = builders.get(blob.kind)
            if builder is not None and not builder.has_room(len(sealed)):
                finish(blob.kind)
                builder = None
            if builder is None:
                # another program's blob may be larger than any of ours
                room = bytearray(max(BUFFER_BYTES, len(sealed) + (1 << 20)))
                builder = builders[blob.kind] = PackBuilder(blob.kind, room)
            builder.add(blob.id, sealed, blob.raw_bytes)
            if builder.size_bytes >= PACK_BYTES:
                finish(blob.kind)
    for kind in list(builders):
        finish(kind)
    return finished


def _read(
    key: MasterKey,
    pack_id: str,
    wanted: Sequence[PackedBlob],
    stores: Sequence[Store],
    places: Places,
) -> list[tuple[PackedBlob, bytes]]:
    """The `wanted` blobs with their sealed bytes, each proved."""
    if not wanted:
        return []
    try:
        whole = memoryview(good_copy(pack_name(pack_id), stores))
    except DrkitError:
        whole = memoryview(b"")
    found = [(blob, bytes(whole[blob.offset : blob.offset + blob.length])) for blob in wanted]
    if all(_is_sound(key, blob, sealed) for blob, sealed in found):
        return found
    return [_read_blob(key, pack_id, blob, stores, places) for blob in wanted]


def _read_blob(
    key: MasterKey, pack_id: str, wanted: PackedBlob, stores: Sequence[Store], places: Places
) -> tuple[PackedBlob, bytes]:
    """The blob as the first sound copy has it; a copy in another pack may be of another length."""
    copies = [(pack_id, wanted)]
    for place in places(wanted.id):
        if place.pack_id != pack_id:
            at = PackedBlob(wanted.id, place.kind, place.offset, place.length, place.raw_bytes)
            copies.append((place.pack_id, at))
    unasked: DrkitError | None = None
    for pack, blob in copies:
        for store in stores:
            try:
                sealed = store.get(pack_name(pack), offset=blob.offset, length=blob.length)
            except ObjectMissing:
                continue
            except DrkitError as error:
                unasked = unasked or error
                continue
            if _is_sound(key, blob, sealed):
                return blob, sealed
    if unasked is not None:  # its copy may be good: nothing is given up for lost
        raise unasked
    raise DamagedData(
        f"blob {wanted.id.hex()[:8]} is damaged or missing in every store",
        hint="drkit check --read-data, then drkit repair; nothing was deleted",
    )


def _is_sound(key: MasterKey, blob: PackedBlob, sealed: bytes) -> bool:
    try:
        content = key.open(sealed)
        if blob.raw_bytes:
            content = decompress(content, max_raw_bytes=blob.raw_bytes)
    except DamagedData:
        return False
    return hashlib.sha256(content).digest() == blob.id

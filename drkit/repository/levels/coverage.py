"""Gives a store index files until they name every pack that it holds and should name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from drkit.errors import DamagedData, PlaceError
from drkit.repository.copies.copying import copy_object
from drkit.repository.copies.listing import Listing
from drkit.repository.format.layout import INDEX
from drkit.repository.format.pack import SealedPack
from drkit.repository.format.unpacked import seal_unpacked
from drkit.repository.index.blobs import index_content
from drkit.repository.levels.index_files import load_index_files
from drkit.stores.interface import Store

if TYPE_CHECKING:
    from drkit.repository.repository import Repository


def cover_packs(
    repository: Repository,
    store: Store,
    listings: Mapping[Store, Listing],
    trusted: Mapping[str, int],
) -> int:
    """Makes the indexes of `store` name all `trusted` packs, which it holds; how many were put.

    An index file is copied when it names trusted packs only, and none that is named there already
    (restic calls a pack in two index files damage). What is left is written as a new one. Raises
    `PlaceError` when no index file can be read that says what is in some of them.
    """
    own = listings[store]
    every = {name for listing in listings.values() for name in listing.indexes}
    contents = load_index_files(repository, every)
    covered = {pack for name in own.indexes for pack in contents.get(name, {})}
    put = 0
    for name in sorted(every - own.indexes.keys()):
        packs = contents.get(name, {}).keys()
        if not packs or not packs <= trusted.keys() or packs & covered:
            continue
        sources = [s for s, listing in listings.items() if name in listing.indexes]
        try:
            own.indexes[name] = copy_object(INDEX + name, store, sources)
        except DamagedData:
            continue
        covered |= packs
        put += 1
    if rest := trusted.keys() - covered:
        blobs = {pack: found for packs in contents.values() for pack, found in packs.items()}
        if unread := rest - blobs.keys():  # read a moment ago; without them a snapshot hangs (S3)
            raise PlaceError(
                f"the index files that name {len(unread)} packs cannot be read any more",
                hint="run it again; if it stays so: drkit check",
            )
        sealed_packs = [
            SealedPack(p, blobs[p], (), trusted[p]) for p in sorted(rest & blobs.keys())
        ]
        put += len(put_indexes(repository, [store], listings, sealed_packs))
    return put


def put_indexes(
    repository: Repository,
    stores: Sequence[Store],
    listings: Mapping[Store, Listing],
    packs: Sequence[SealedPack],
) -> list[str]:
    """Writes new index files that name `packs`, the same bytes to every one of `stores`; ids."""
    names = []
    for group in _grouped(packs):
        name, sealed = seal_unpacked(repository.key, index_content(group))
        for store in stores:
            store.put(INDEX + name, sealed, size_bytes=len(sealed))
            listings[store].indexes[name] = len(sealed)
        names.append(name)
    return names


_BLOBS_PER_INDEX = 50_000


def _grouped(packs: Sequence[SealedPack]) -> list[list[SealedPack]]:
    groups: list[list[SealedPack]] = []
    blobs = _BLOBS_PER_INDEX
    for pack in packs:
        if blobs >= _BLOBS_PER_INDEX:
            groups.append([])
            blobs = 0
        groups[-1].append(pack)
        blobs += len(pack.blobs)
    return groups

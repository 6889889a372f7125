"""Is one store sound by itself: do its own indexes name all that its snapshots reach?

The check after each deletion of a prune. It reads the store's index files and snapshots from that
store alone; tree blobs, which are proved by their hash, from whichever store has them.
"""

from __future__ import annotations

import hashlib

from drkit.errors import DamagedData, DrkitError
from drkit.repository.copies.listing import take_listing
from drkit.repository.format.compression import decompress
from drkit.repository.format.layout import INDEX, SNAPSHOTS
from drkit.repository.format.snapshot import read_snapshot
from drkit.repository.levels.index_files import read_index_file, size_of
from drkit.repository.repository import Repository
from drkit.repository.trees.reach import reachable
from drkit.stores.interface import Store

_NAMED = 20


def check_structure(repository: Repository, store: Store) -> tuple[str, ...]:
    """What is wrong in `store`, at most a few of each kind; nothing when it is sound."""
    listing = take_listing(store)
    problems: list[str] = []
    blobs: set[bytes] = set()
    for index_id in listing.indexes:
        try:
            packs = read_index_file(_read(repository, store, INDEX + index_id))
        except DrkitError as error:
            problems.append(f"index {index_id[:8]}: {error.message}")
            continue
        for pack, entries in packs.items():
            if listing.packs.get(pack) != size_of(entries):
                size = listing.packs.get(pack)
                problems.append(f"pack {pack[:8]} has {size} bytes, not {size_of(entries)}")
                continue
            blobs.update(blob.id for blob in entries)
    walked: set[bytes] = set()
    for snapshot_id in listing.snapshots:
        try:
            snapshot = read_snapshot(_read(repository, store, SNAPSHOTS + snapshot_id))
            reachable([snapshot.tree], repository.load_tree, walked)
        except DrkitError as error:
            problems.append(f"snapshot {snapshot_id[:8]}: {error.message}")
    if missing := walked - blobs:
        some = ", ".join(sorted(blob.hex()[:8] for blob in missing)[:5])
        problems.append(f"its indexes lack {len(missing)} blobs that its snapshots reach ({some})")
    return tuple(problems[:_NAMED])


def _read(repository: Repository, store: Store, name: str) -> bytes:
    sealed = store.get(name)
    if hashlib.sha256(sealed).hexdigest() != name.rpartition("/")[2]:
        raise DamagedData("its bytes do not match its name", hint="drkit check --repair")
    plain = repository.key.open(sealed)
    return decompress(memoryview(plain)[1:]) if plain[:1] == b"\x02" else plain

"""Many index files into few, in every store at once, so that a repository opens with few requests.

No data goes: what an index file says stands in the packs' own headers too. The new ones are in
every store, and in its ledger, before an old one is deleted anywhere; so a store that a crash
leaves with both is sound, and none looks as if another program had been at it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from drkit.errors import GuardRefused
from drkit.events import Emit, Note
from drkit.repository.format.layout import INDEX
from drkit.repository.format.pack import PackedBlob, SealedPack
from drkit.repository.levels.catch_up import Levelled, write_ledgers
from drkit.repository.levels.coverage import put_indexes
from drkit.repository.levels.index_files import load_index_files
from drkit.stores.interface import Store, StoreRefused

if TYPE_CHECKING:
    from drkit.repository.repository import Repository

PackBlobs = Mapping[str, tuple[PackedBlob, ...]]
MANY_INDEXES = 8
_BLOBS_PER_FILE = 25_000


def tidy_indexes(repository: Repository, level: Levelled, emit: Emit) -> None:
    """Removes index files that say nothing new, then writes few for many where there are many."""
    contents = read_all(repository, level)
    redundant = {store: _redundant(level, store, contents) for store in level.stores}
    _delete(repository, level, redundant, emit)
    blobs = sum(len(b) for pack, b in packs_of(contents).items() if pack in level.trusted)
    names = [
        frozenset(level.listings[store].indexes) - level.plan.retired for store in level.stores
    ]
    many = max(map(len, names), default=0) > MANY_INDEXES + blobs // _BLOBS_PER_FILE
    short = any(
        not level.trusted.keys() <= {pack for name in found for pack in contents.get(name, {})}
        for found in names
    )
    mixed = any(  # such a file must not outlive the packs
        not level.plan.marked.keys().isdisjoint(contents.get(name, {}))
        for found in names
        for name in found
    )
    if many or short or mixed:
        kept = {p: found for p, found in packs_of(contents).items() if p in level.trusted}
        keep = put_consolidated(repository, level, kept)
        drop_indexes(repository, level, keep | level.plan.retired, emit)


def read_all(repository: Repository, level: Levelled) -> dict[str, PackBlobs]:
    """What each index file of the level stores names. Raises `GuardRefused` when one cannot be
    read, now or when the index was loaded: what it names would be taken for nobody's.
    """
    every = {name for store in level.stores for name in level.listings[store].indexes}
    found: dict[str, PackBlobs] = {**load_index_files(repository, every)}
    if unread := sorted(every - found.keys()):
        raise _unread(f"index {unread[0][:8]}")
    refuse_partial_index(repository)
    return found


def refuse_partial_index(repository: Repository) -> None:
    """`GuardRefused` when an index file could not be read: what it names would seem lost."""
    if not repository.index_is_whole:
        raise _unread("an index file")


def _unread(which: str) -> GuardRefused:
    return GuardRefused(
        f"{which} could not be read; nothing was deleted",
        hint="run it again; if it stays so: drkit repair index makes it anew from the packs",
    )


def packs_of(contents: Mapping[str, PackBlobs]) -> dict[str, tuple[PackedBlob, ...]]:
    """All packs that the files name, with their blobs."""
    return {pack: blobs for packs in contents.values() for pack, blobs in packs.items()}


def put_consolidated(repository: Repository, level: Levelled, packs: PackBlobs) -> frozenset[str]:
    """Index files that name exactly `packs`, put into every level store; their ids."""
    sealed_packs = [SealedPack(pack, packs[pack], (), 0) for pack in sorted(packs)]
    return frozenset(put_indexes(repository, level.stores, level.listings, sealed_packs))


def drop_indexes(repository: Repository, level: Levelled, keep: frozenset[str], emit: Emit) -> None:
    """Deletes every index file but `keep` in every level store; its ledger forgets them first."""
    doomed = {store: frozenset(level.listings[store].indexes) - keep for store in level.stores}
    _delete(repository, level, doomed, emit)


def _delete(
    repository: Repository,
    level: Levelled,
    doomed: Mapping[Store, frozenset[str]],
    emit: Emit,
) -> None:
    if not any(doomed.values()):
        return
    sizes = {
        (store, name): level.listings[store].indexes.pop(name)
        for store, names in doomed.items()
        for name in names
    }
    # an old index that is still there when this dies is one that the store "never had": harmless.
    # The other way round it would look as if another program had taken it
    write_ledgers(repository, level, {s.name for s in level.stores}, (), emit, must=True)
    for store, names in doomed.items():
        for name in sorted(names):
            if not delete_index(store, name, emit):
                level.listings[store].indexes[name] = sizes[store, name]
    repository.forget_index()


def delete_index(store: Store, name: str, emit: Emit) -> bool:
    """Whether the index file is gone; False: the store refuses, and keeps it (S13)."""
    try:
        store.delete(INDEX + name)
    except StoreRefused as error:
        emit(Note("info", store.name, f"index {name[:8]} is retained: {error.message}"))
        return False
    return True


def _redundant(level: Levelled, store: Store, contents: Mapping[str, PackBlobs]) -> frozenset[str]:
    """Files all of whose packs other files of the store name too, the smallest first."""
    retired = level.plan.retired  # what these name counts for marked packs only: they will go
    indexes = level.listings[store].indexes
    named = Counter(
        pack
        for name in indexes
        for pack in contents.get(name, {})
        if name not in retired or pack not in level.trusted
    )
    found: set[str] = set()
    for name in sorted(indexes, key=lambda name: (len(contents.get(name, {})), name)):
        packs = contents.get(name)
        if packs is None or name in retired or any(named[pack] < 2 for pack in packs):
            continue
        named.subtract(list(packs))
        found.add(name)
    return frozenset(found)

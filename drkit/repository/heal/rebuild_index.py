"""Indexes made anew from the headers of packs: every pack that is there is named, no other is.

New index files are written before old ones go; what dies in between leaves packs that two files
name, which readers allow and the next run ends.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from drkit.errors import DamagedData, DrkitError
from drkit.events import Emit, Note, Progress
from drkit.repository.copies.listing import Listing
from drkit.repository.format.layout import INDEX, pack_name
from drkit.repository.format.pack import PackedBlob, SealedPack, read_header
from drkit.repository.format.sealing import MasterKey
from drkit.repository.index.objects import open_unpacked
from drkit.repository.levels.coverage import put_indexes
from drkit.repository.levels.index_files import read_index_file, size_of
from drkit.repository.locks.locks import take_locks
from drkit.repository.records.ledger import Ledger, read_ledger, try_write_ledger
from drkit.repository.records.prune_plan import read_plan
from drkit.repository.repository import Repository
from drkit.stores.interface import Store

_TAIL_BYTES = 64 << 10
_AT_ONCE = 4

Packs = dict[str, tuple[PackedBlob, ...]]


@dataclass(slots=True)
class IndexPlan:
    """What one store's indexes lack and have too much.

    `added`: packs that no index named. `dropped`: packs that are named and not there, or not
    whole. `bad_indexes` cannot be read. `bad_packs`: packs whose header cannot be read, with why.
    `replaced`: index files that go once the new ones are there.
    """

    added: Packs = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    bad_indexes: dict[str, str] = field(default_factory=dict)
    bad_packs: dict[str, str] = field(default_factory=dict)
    kept: Packs = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()

    @property
    def changes(self) -> bool:
        return bool(self.added or self.dropped or self.bad_indexes or self.replaced)


@dataclass(frozen=True, slots=True)
class _LeftOut:
    damaged: frozenset[str]
    marked: frozenset[str]


def read_pack_header(store: Store, key: MasterKey, pack: str, size: int) -> tuple[PackedBlob, ...]:
    """The blobs of a pack of `size` bytes from its end alone. Raises `DamagedData`."""
    length = min(size, _TAIL_BYTES)
    tail = store.get(pack_name(pack), offset=size - length, length=length)
    if len(tail) < 4:
        raise DamagedData("it is shorter than a header", hint="drkit check --repair")
    (header,) = struct.unpack("<I", tail[-4:])
    if header + 4 > length and header + 4 <= size:
        length = header + 4
        tail = store.get(pack_name(pack), offset=size - length, length=length)
    return read_header(tail, key, skipped=size - length)


def repair_index(
    repository: Repository,
    emit: Emit,
    *,
    read_all_packs: bool = False,
    without: frozenset[str] = frozenset(),
    only: frozenset[str] = frozenset(),
    dry_run: bool = False,
) -> dict[str, IndexPlan]:
    """What each store's indexes needed, by store; done, unless it is a `dry_run`.

    `read_all_packs` believes no index; `without` are packs that are to be named no more. A pack
    that another store holds in full stays named: `heal` copies it.
    """
    locks = take_locks(repository, exclusive=True, need_all=False, emit=emit)
    try:
        marked = frozenset(read_plan(repository.key, locks.listings, emit).marked)
        left_out = _LeftOut(without, marked)
        plans = {
            store: _plan(repository, store, locks.listings, read_all_packs, left_out, emit)
            for store in locks.listings
            if not only or store.name in only
        }
        if not dry_run:
            for store, plan in plans.items():
                if plan.changes:
                    _apply(repository, store, locks.listings, plan, emit)
    finally:
        locks.release(emit)
        repository.forget_index()
    return {store.name: plan for store, plan in plans.items()}


def _plan(
    repository: Repository,
    store: Store,
    listings: Mapping[Store, Listing],
    read_all_packs: bool,
    left_out: _LeftOut,
    emit: Emit,
) -> IndexPlan:
    plan, listing = IndexPlan(), listings[store]
    staying: set[str] = set()
    moved: Packs = {}
    replaced = set()
    for index_id in sorted(listing.indexes):
        try:
            sealed = store.get(INDEX + index_id)
            packs = read_index_file(open_unpacked(repository.key, INDEX + index_id, sealed))
        except DamagedData as error:
            plan.bad_indexes[index_id] = error.message
            continue
        wrong = {
            pack: _wrong(pack, size_of(blobs), store, listings, left_out.damaged)
            for pack, blobs in packs.items()
        }
        plan.dropped.update({pack: why for pack, why in wrong.items() if why})
        twice = any(pack in staying or pack in moved for pack in packs)
        if any(wrong.values()) or twice or read_all_packs:
            replaced.add(index_id)
            moved.update({pack: blobs for pack, blobs in packs.items() if not wrong[pack]})
        else:
            staying |= packs.keys()
    # what a prune is about to delete is named by no index on purpose
    unnamed = [
        pack
        for pack in sorted(listing.packs.keys() - left_out.damaged - left_out.marked)
        if read_all_packs or not (pack in staying or pack in moved)
    ]
    headers = _read_headers(repository, store, listing, unnamed, plan, emit)
    plan.added = {pack: blobs for pack, blobs in headers.items() if moved.get(pack) != blobs}
    if read_all_packs:
        plan.kept = {pack: blobs for pack, blobs in headers.items() if pack not in plan.added}
        for pack in plan.bad_packs.keys() & moved.keys():
            plan.dropped[pack] = plan.bad_packs[pack]
        if not (plan.added or plan.dropped or plan.bad_indexes):
            replaced.clear()
    else:
        plan.kept = {pack: blobs for pack, blobs in moved.items() if pack not in staying}
    # a pack that one index names wrongly and another one rightly is not lost
    for pack in plan.dropped.keys() & (staying | plan.kept.keys() | plan.added.keys()):
        del plan.dropped[pack]
    plan.replaced = frozenset(replaced)
    return plan


def _wrong(
    pack: str, size: int, store: Store, listings: Mapping[Store, Listing], damaged: frozenset[str]
) -> str:
    """Why the store's indexes may name the pack no more; "" also for one that another store can
    give it back.
    """
    if pack in damaged:
        return "it is damaged"
    if any(listing.packs.get(pack) == size for listing in listings.values()):
        return ""
    held = listings[store].packs.get(pack)
    return "it is not there" if held is None else f"it has {held} bytes, not {size}"


def _read_headers(
    repository: Repository,
    store: Store,
    listing: Listing,
    packs: list[str],
    plan: IndexPlan,
    emit: Emit,
) -> Packs:
    found: Packs = {}

    def read(pack: str) -> tuple[PackedBlob, ...] | DrkitError:
        try:
            return read_pack_header(store, repository.key, pack, listing.packs[pack])
        except DrkitError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE, f"headers {store.name}") as pool:
        for done, (pack, blobs) in enumerate(zip(packs, pool.map(read, packs), strict=True)):
            emit(Progress(f"headers of {store.name}", done, len(packs), "packs", pack[:8]))
            if isinstance(blobs, DamagedData):
                plan.bad_packs[pack] = blobs.message
            elif isinstance(blobs, DrkitError):
                raise blobs  # what could not be asked is not taken for gone
            else:
                found[pack] = blobs
    return found


def _apply(
    repository: Repository,
    store: Store,
    listings: Mapping[Store, Listing],
    plan: IndexPlan,
    emit: Emit,
) -> None:
    listing = listings[store]
    written = [
        SealedPack(pack, blobs, (), size_of(blobs))
        for pack, blobs in sorted({**plan.kept, **plan.added}.items())
        if blobs
    ]
    put_indexes(repository, [store], listings, written)
    gone = plan.replaced | plan.bad_indexes.keys()
    # first noted, then deleted: a store whose noted indexes are gone counts as repacked by another
    # program
    before = read_ledger(store, repository.key, emit) if listing.has_ledger else Ledger()
    staying = frozenset(listing.indexes) - gone
    ledger = Ledger(before.generation, before.snapshots, staying)
    try_write_ledger(store, repository.key, ledger, emit)
    for index_id in sorted(gone):
        store.delete(INDEX + index_id)
        listing.indexes.pop(index_id, None)
    text = f"indexes were made anew: {len(written)} packs in new files"
    emit(Note("info", store.name, text))

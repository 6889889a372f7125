"""Makes a diverged store one of the others again, by a plan that is shown first (S7).

What its snapshots reach and the others lack goes to them; then it gets the packs and indexes that
the others agree on. Packs that only another program's repacking made stay until the next prune.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from drkit.errors import ConfigError, GuardRefused
from drkit.events import Emit
from drkit.repository.copies.copying import copy_object
from drkit.repository.copies.listing import Listing
from drkit.repository.forget.forget import refuse_unreadable
from drkit.repository.format.layout import INDEX, SNAPSHOTS, pack_name
from drkit.repository.format.snapshot import read_snapshot
from drkit.repository.levels.catch_up import catch_up, delete_snapshot, trust, write_ledgers
from drkit.repository.levels.coverage import cover_packs
from drkit.repository.levels.index_files import load_index_files, size_of
from drkit.repository.levels.levelling import AWAY
from drkit.repository.levels.survey import Survey, list_stores, survey
from drkit.repository.locks.locks import take_locks
from drkit.repository.records.ledger import Ledger, write_ledger
from drkit.repository.records.tombstones import Deletion, record_deletions
from drkit.repository.repository import Repository
from drkit.repository.trees.reach import reachable
from drkit.stores.interface import Store

Own = Literal["spread", "remove"]


@dataclass(frozen=True, slots=True)
class ReconcilePlan:
    """What would be done to `store`, and why it stands apart.

    `bring_back`: snapshots that another program removed there. `own`: snapshots that only it has,
    which are spread or removed. Packs by id with sizes in bytes: `to_store` are copied to it,
    `to_others` are what its own snapshots need; `left_over` are for the next prune.
    """

    store: str
    reason: str
    bring_back: frozenset[str]
    own: frozenset[str]
    own_is: Own | None
    to_store: Mapping[str, int]
    to_others: Mapping[str, int]
    left_over: Mapping[str, int]


def plan_reconcile(repository: Repository, name: str, own: Own | None, emit: Emit) -> ReconcilePlan:
    """The plan, from fresh listings; nothing is changed."""
    return _plan(repository, name, own, survey(repository, list_stores(repository, emit), emit))


def reconcile(repository: Repository, name: str, own: Own | None, emit: Emit) -> ReconcilePlan:
    """Does what `plan_reconcile` says, under exclusive locks of all stores that answer."""
    locks = take_locks(repository, exclusive=True, need_all=True, emit=emit)
    try:
        seen = survey(repository, locks.listings, emit)
        refuse_unreadable(seen)
        plan = _plan(repository, name, own, seen)
        if plan.own and plan.own_is is None:
            raise GuardRefused(
                f"{len(plan.own)} snapshots are in {name} alone, and may be deleted ones",
                hint="say what is to become of them: --own spread, or --own remove",
            )
        _apply(repository, plan, seen, emit)
        return plan
    finally:
        repository.forget_index()
        locks.release(emit)


def _plan(repository: Repository, name: str, own: Own | None, seen: Survey) -> ReconcilePlan:
    store = _store(seen, name)
    standing = seen.standings[name]
    good = _good(seen, store)
    if not good:
        others = [n for n, found in seen.standings.items() if found.diverged and n != name]
        raise GuardRefused(
            f"no other store is sound to reconcile {name} with",
            hint=f"first reconcile {', '.join(others)}" if others else "bring another store back",
        )
    listing = seen.listings[store]
    elsewhere = {s for found in good.values() for s in found.snapshots}
    only_here = frozenset(
        s for s in listing.snapshots if s not in elsewhere and s not in standing.pending
    )
    own_is: Own | None = own or (None if standing.diverged == AWAY else "spread")
    repository.forget_index()
    trusted, _ = trust(repository, good, seen.plan, None)
    repository.forget_index()
    theirs = _own_packs(repository, listing, trusted, seen.plan.marked)
    needed = _needed(repository, only_here, trusted, theirs) if own_is != "remove" else frozenset()
    return ReconcilePlan(
        name,
        standing.diverged or ("lost snapshots" if standing.lost else ""),
        standing.lost,
        only_here,
        own_is,
        {pack: size for pack, size in trusted.items() if listing.packs.get(pack) != size},
        {pack: theirs[pack] for pack in needed},
        {pack: size for pack, size in theirs.items() if pack not in needed},
    )


def _apply(repository: Repository, plan: ReconcilePlan, seen: Survey, emit: Emit) -> None:
    store = _store(seen, plan.store)
    listing = seen.listings[store]
    good = _good(seen, store)
    tombstones = seen.tombstones
    if plan.own and plan.own_is == "remove":
        doomed = [Deletion("snapshot", snapshot, None) for snapshot in sorted(plan.own)]
        tombstones = record_deletions(
            repository.key, tombstones, good, doomed, at=repository.clock.now(), emit=emit
        )
    for snapshot in sorted(tombstones.pending(listing, plan.store)):
        delete_snapshot(store, snapshot, emit)
        del listing.snapshots[snapshot]
    for pack in sorted(plan.to_others):
        for other, held in good.items():
            held.packs[pack] = copy_object(pack_name(pack), other, [store])
    repository.forget_index()
    both = {**good, store: listing}
    trusted, _ = trust(repository, good, seen.plan, None)
    for pack, size in trusted.items():
        if listing.packs.get(pack) != size:
            sources = [s for s, found in good.items() if found.packs.get(pack) == size]
            listing.packs[pack] = copy_object(pack_name(pack), store, sources)
    for other in good:
        cover_packs(repository, other, both, trusted)
    _replace_indexes(repository, store, both, trusted, tombstones.generation)
    if plan.store in tombstones.evicted:
        tombstones = record_deletions(
            repository.key,
            tombstones,
            both,
            (),
            at=repository.clock.now(),
            emit=emit,
            evicted=tombstones.evicted - {plan.store},
        )
    repository.forget_index()
    level = catch_up(repository, both, emit)
    write_ledgers(repository, level, {s.name for s in level.stores}, (), emit)
    if store not in level.stores:
        raise GuardRefused(f"{plan.store} is not level yet", hint="run it again: it goes on")


def _replace_indexes(
    repository: Repository,
    store: Store,
    both: Mapping[Store, Listing],
    trusted: Mapping[str, int],
    generation: int,
) -> None:
    """None of the store's own indexes counts: it gets those of the others, before its own go."""
    listing = both[store]
    before = dict(listing.indexes)
    listing.indexes.clear()
    cover_packs(repository, store, both, trusted)
    # from here on it had what it lists now: neither lost nor repacked
    now = Ledger(generation, frozenset(listing.snapshots), frozenset(listing.indexes))
    write_ledger(store, repository.key, now)
    for index in before:
        if index not in listing.indexes:
            store.delete(INDEX + index)


def _needed(
    repository: Repository,
    snapshots: frozenset[str],
    trusted: Mapping[str, int],
    theirs: Mapping[str, int],
) -> frozenset[str]:
    """Packs of the store that its own snapshots need and the others lack."""
    trees = [
        read_snapshot(repository.load_unpacked(SNAPSHOTS + snapshot)).tree
        for snapshot in sorted(snapshots)
    ]
    needed: set[str] = set()
    for blob in reachable(trees, repository.load_tree):
        packs = [place.pack_id for place in repository.index.find_all(blob)]
        if not any(pack in trusted or pack in needed for pack in packs):
            needed.update([pack for pack in packs if pack in theirs][:1])
    return frozenset(needed)


def _own_packs(
    repository: Repository,
    listing: Listing,
    trusted: Mapping[str, int],
    marked: Mapping[str, int],
) -> dict[str, int]:
    """Packs that the store's indexes name, it holds whole, and the others do not agree on."""
    contents = load_index_files(repository, listing.indexes)
    return {
        pack: size
        for packs in contents.values()
        for pack, blobs in packs.items()
        if pack not in trusted
        and pack not in marked
        and listing.packs.get(pack) == (size := size_of(blobs))
    }


def _good(seen: Survey, store: Store) -> dict[Store, Listing]:
    return {
        other: listing
        for other, listing in seen.listings.items()
        if other is not store and not seen.standings[other.name].diverged
    }


def _store(seen: Survey, name: str) -> Store:
    for store in seen.listings:
        if store.name == name:
            return store
    raise ConfigError(
        f"{name!r} does not answer, or is no store",
        hint=f"there are {', '.join(s.name for s in seen.listings)}",
    )

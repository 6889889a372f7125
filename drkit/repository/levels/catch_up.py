"""Brings lagging stores level by copying sealed objects from another one: nothing is re-encrypted.

What a store lacks is derived from listings (S3), never from what some run remembers. Deletions are
applied first (S5); then copies go packs, indexes, snapshots, so that a store never names what it
does not hold. What copies is imported when a store lacks something, which is seldom.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from drkit.errors import DamagedData, DrkitError
from drkit.events import Emit, Note, Progress, StoreLagging
from drkit.repository.copies.listing import Listing
from drkit.repository.format.layout import SNAPSHOTS, pack_name
from drkit.repository.levels.levelling import Standing
from drkit.repository.levels.survey import survey
from drkit.repository.records.ledger import Ledger, try_write_ledger, write_ledger
from drkit.repository.records.prune_plan import KnownPlan, spread_plan
from drkit.repository.records.tombstones import Tombstones, spread_records
from drkit.repository.repository import Repository
from drkit.stores.interface import Store, StoreRefused

_COPIES_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Levelled:
    """`stores` hold everything that any good store lists (S4); `trusted` are the packs, with
    sizes, that new snapshots may lean on; `lost` counts those that no store holds in full. The rest
    is what was found.
    """

    stores: tuple[Store, ...]
    listings: Mapping[Store, Listing]
    trusted: Mapping[str, int]
    tombstones: Tombstones
    plan: KnownPlan
    ledgers: Mapping[str, Ledger]
    standings: Mapping[str, Standing]
    lost: int = 0


def catch_up(repository: Repository, listings: Mapping[Store, Listing], emit: Emit) -> Levelled:
    """Levels the stores of `listings`, which were taken under this run's locks.

    Packs that an index names and no store holds in full, and packs that a prune has marked, are
    forgotten: what was in them is stored anew when a source still has it.
    """
    repository.use_listings(listings)
    seen = survey(repository, listings, emit)
    _tell(seen.standings, emit)
    plan = seen.plan
    applied = apply_deletions(listings, seen.tombstones, plan, emit)
    good = {s: found for s, found in applied.items() if not seen.standings[s.name].diverged}
    if seen.tombstones.unreadable:
        emit(Note("error", "repository", "a deletion record is damaged: no snapshot is copied"))
    told = False
    while True:
        trusted, forgotten = trust(repository, good, plan, None if told else emit)
        told = True
        wanted = {
            store: _lacking_snapshots(good, store, seen.standings, seen.tombstones)
            for store in good
        }
        _drop_erased(repository, wanted, seen.tombstones, emit)
        broken: frozenset[str] = frozenset()
        unsure = forgotten or plan.marked or not repository.index_is_whole
        if unsure and any(wanted.values()):
            from drkit.repository.levels.rescue import reach_of, unmark

            every = {snapshot for names in wanted.values() for snapshot in names}
            reach = reach_of(repository, sorted(every), trusted, plan.marked)
            repository.forget_index()
            repository.use_listings(listings)
            if reach.marked:
                plan = unmark(repository, plan, reach.marked, good, emit)
                continue
            broken = reach.broken
            trusted, _ = trust(repository, good, plan, None)
        level, damaged = _copy_all(repository, good, trusted, wanted, broken, plan, emit)
        if not damaged:
            break
        repository.forget_index()
        repository.use_listings(listings)
        for listing in good.values():  # no copy of these is good: as if no store had them
            for pack in damaged:
                listing.packs.pop(pack, None)
    return Levelled(
        tuple(level), good, trusted, seen.tombstones, plan, seen.ledgers, seen.standings, forgotten
    )


def write_ledgers(
    repository: Repository,
    levelled: Levelled,
    stores: Collection[str],
    added: Collection[str],
    emit: Emit,
    *,
    must: bool = False,
) -> None:
    """Notes in each level store of `stores` what it holds now, with the snapshots `added`.

    A store that does not take it is told, or raises with `must`.
    """
    for store in levelled.stores:
        if store.name not in stores:
            continue
        listing = levelled.listings[store]
        before = levelled.ledgers.get(store.name, Ledger())
        held = {*before.snapshots, *listing.snapshots, *added}
        covers = levelled.tombstones.covers
        ledger = Ledger(
            levelled.tombstones.generation,
            frozenset(s for s in held if not covers("snapshot", s, store.name)),
            frozenset(listing.indexes),
        )
        if must:
            write_ledger(store, repository.key, ledger)
        else:
            try_write_ledger(store, repository.key, ledger, emit)


def trust(
    repository: Repository,
    listings: Mapping[Store, Listing],
    plan: KnownPlan,
    emit: Emit | None,
) -> tuple[dict[str, int], int]:
    """The packs that some good store holds in full and no prune has marked, with their sizes, and
    how many others an index names. The repository's index forgets those.
    """
    sizes = repository.index.pack_sizes()
    held = {
        pack: size
        for pack, size in sizes.items()
        if any(listing.packs.get(pack) == size for listing in listings.values())
    }
    lost = [pack for pack in sizes if pack not in held and pack not in plan.marked]
    trusted = {pack: size for pack, size in held.items() if pack not in plan.marked}
    if lost and emit is not None:
        names = ", ".join(pack[:8] for pack in lost[:5])
        emit(
            Note(
                "error",
                "repository",
                f"no store holds {len(lost)} of {len(sizes)} packs in full ({names}); "
                "what sources still have of them is stored anew: drkit check",
            )
        )
    if len(trusted) < len(sizes):
        repository.index.keep_packs(trusted)
    return trusted, len(lost)


def _tell(found: Mapping[str, Standing], emit: Emit) -> None:
    for name, standing in found.items():
        if standing.diverged:
            emit(StoreLagging(name, f"{standing.diverged}: drkit repair reconcile {name}"))
        if standing.lost:
            ids = ", ".join(sorted(s[:8] for s in standing.lost)[:5])
            emit(
                Note(
                    "warning",
                    name,
                    f"{len(standing.lost)} snapshots were removed there by another program "
                    f"({ids}); they are neither brought back nor removed elsewhere: "
                    f"drkit repair reconcile {name}, or drkit forget",
                )
            )


def apply_deletions(
    listings: Mapping[Store, Listing], tombstones: Tombstones, plan: KnownPlan, emit: Emit
) -> dict[Store, Listing]:
    """The stores that know every deletion and have applied it (S5); the others lag, or are
    evicted and left as they are.
    """
    applied = {}
    for store, listing in listings.items():
        if store.name in tombstones.evicted:
            continue
        try:
            spread_records(store, listing, tombstones)
            spread_plan(store, listing, plan)
            for snapshot in tombstones.pending(listing, store.name):
                delete_snapshot(store, snapshot, emit)
                listing.snapshots.pop(snapshot, None)
        except DrkitError as error:
            emit(StoreLagging(store.name, error.message))
            continue
        applied[store] = listing
    return applied


def delete_snapshot(store: Store, snapshot: str, emit: Emit) -> bool:
    """Whether the snapshot is gone from the store; False: it refuses, and keeps it (S13)."""
    try:
        store.delete(SNAPSHOTS + snapshot)
    except StoreRefused as error:
        emit(Note("warning", store.name, f"snapshot {snapshot[:8]} is retained: {error.message}"))
        return False
    return True


def _lacking_snapshots(
    listings: Mapping[Store, Listing],
    store: Store,
    found: Mapping[str, Standing],
    tombstones: Tombstones,
) -> list[str]:
    """Snapshots to copy to `store`: never what was deleted there, by whomever."""
    if tombstones.unreadable:
        return []
    sizes: dict[str, int] = {}
    for listing in listings.values():
        for snapshot, size in listing.snapshots.items():
            sizes[snapshot] = max(sizes.get(snapshot, 0), size)
    return sorted(
        snapshot
        for snapshot, size in sizes.items()
        if listings[store].snapshots.get(snapshot) != size
        and not tombstones.covers("snapshot", snapshot, store.name)
        and (snapshot not in found[store.name].lost)
    )


def _drop_erased(
    repository: Repository,
    wanted: Mapping[Store, list[str]],
    tombstones: Tombstones,
    emit: Emit,
) -> None:
    """Takes out of `wanted` the snapshots that show what was erased since (S5, K6): another store
    was away, or another program wrote them.
    """
    if not tombstones.erased_paths or not any(wanted.values()):
        return
    from drkit.repository.records.erased import holding_erased

    every = {snapshot for snapshots in wanted.values() for snapshot in snapshots}
    for snapshot in sorted(holding_erased(repository, sorted(every), tombstones)):
        text = f"snapshot {snapshot[:8]} holds what was erased and is copied nowhere: drkit erase"
        emit(Note("error", "repository", text))
        for snapshots in wanted.values():
            if snapshot in snapshots:
                snapshots.remove(snapshot)


def _copy_all(
    repository: Repository,
    listings: dict[Store, Listing],
    trusted: Mapping[str, int],
    wanted: Mapping[Store, list[str]],
    broken: frozenset[str],
    plan: KnownPlan,
    emit: Emit,
) -> tuple[list[Store], frozenset[str]]:
    """The stores that are level now, and packs of which every copy turned out to be damaged."""
    level = []
    sizes: dict[str, int] = {}
    for listing in listings.values():
        for name, size in listing.indexes.items():
            sizes[name] = max(sizes.get(name, 0), size)
    for store, listing in listings.items():
        packs = [pack for pack, size in trusted.items() if listing.packs.get(pack) != size]
        try:
            if packs and (damaged := _copy_packs(store, packs, listings, trusted, emit)):
                return [], damaged
            copied = len(packs)
            short = [name for name, size in listing.indexes.items() if size < sizes[name]]
            for name in short:  # cut short here, whole elsewhere
                del listing.indexes[name]
            if packs or not sizes.keys() - plan.retired <= listing.indexes.keys():
                from drkit.repository.levels.coverage import cover_packs

                copied += cover_packs(repository, store, listings, trusted)
            if wanted[store]:
                copied += _copy_snapshots(store, wanted[store], listings, broken, emit)
        except DrkitError as error:
            emit(StoreLagging(store.name, error.message))
            continue
        if copied:
            emit(Note("info", store.name, f"caught up: {copied} objects were copied to it"))
        level.append(store)
    return level, frozenset()


def _copy_packs(
    to: Store,
    packs: Collection[str],
    listings: Mapping[Store, Listing],
    sizes: Mapping[str, int],
    emit: Emit,
) -> frozenset[str]:
    """Copies `packs` to the store, several at once; those of which no good copy was found."""
    from drkit.repository.copies.copying import copy_object

    def copy(pack: str) -> str | None:
        sources = [s for s, listing in listings.items() if listing.packs.get(pack) == sizes[pack]]
        try:
            listings[to].packs[pack] = copy_object(pack_name(pack), to, sources)
        except DamagedData:
            return pack
        return None

    damaged = set()
    with ThreadPoolExecutor(_COPIES_AT_ONCE, f"catch up {to.name}") as pool:
        for done, lost in enumerate(pool.map(copy, packs)):
            emit(Progress(f"catch up {to.name}", done, len(packs), "packs"))
            damaged |= {lost} if lost else set()
    return frozenset(damaged)


def _copy_snapshots(
    to: Store,
    snapshots: Collection[str],
    listings: Mapping[Store, Listing],
    broken: frozenset[str],
    emit: Emit,
) -> int:
    """Copies `snapshots` to the store, but those that are `broken`; how many were copied."""
    from drkit.repository.copies.copying import copy_object

    copied = 0
    for snapshot in snapshots:
        if snapshot in broken:
            text = f"snapshot {snapshot[:8]} is not copied: no store has all it reaches"
            emit(Note("error", to.name, text))
            continue
        sources = [s for s in listings if snapshot in listings[s].snapshots]
        try:
            listings[to].snapshots[snapshot] = copy_object(SNAPSHOTS + snapshot, to, sources)
        except DamagedData as error:  # of which no copy is good, for whatever reason
            emit(Note("error", to.name, f"snapshot {snapshot[:8]} is not copied: {error.message}"))
            continue
        copied += 1
    return copied

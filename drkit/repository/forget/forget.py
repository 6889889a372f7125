"""Removes snapshots from stores, for good: recorded everywhere first, then deleted (S5).

No data is deleted with them: what no snapshot reaches any more is `prune`'s to take.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drkit.errors import DrkitError, GuardRefused
from drkit.events import Emit, Note
from drkit.repository.copies.listing import Listing, take_listing
from drkit.repository.levels.catch_up import delete_snapshot
from drkit.repository.levels.survey import Survey, survey
from drkit.repository.locks.locks import take_locks
from drkit.repository.records.prune_plan import spread_plan
from drkit.repository.records.tombstones import (
    Deletion,
    Tombstones,
    record_deletions,
    spread_records,
)
from drkit.repository.repository import Repository
from drkit.stores.interface import Store

REMEMBERED = 1000
"""Deletions that are kept on record even when every store has applied them."""


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """By store name. `pending`: stores that were away, locked or failed; they apply it later."""

    removed: Mapping[str, frozenset[str]]
    retained: Mapping[str, frozenset[str]]
    pending: Mapping[str, str]


def forget_snapshots(
    repository: Repository, doomed: Mapping[str, frozenset[str] | None], emit: Emit
) -> ForgetReport:
    """Removes each snapshot of `doomed` from the stores it names (None: from all, for good).

    Once this returns, the deletion is in at least one store and outlives whatever comes; a store
    that could not be reached applies it before it takes part again.
    """
    locks = take_locks(repository, exclusive=True, need_all=False, emit=emit)
    try:
        seen, absent = look_around(repository, locks.listings, emit)
        refuse_unreadable(seen)
        tombstones = _record(repository, seen, doomed, emit)
        removed: dict[str, frozenset[str]] = {}
        retained: dict[str, frozenset[str]] = {}
        lost = locks.lost()
        for store, listing in locks.listings.items():
            if store.name in seen.tombstones.evicted:
                continue
            if store in lost:
                absent[store.name] = lost[store]
                continue
            try:
                spread_records(store, listing, tombstones)
                spread_plan(store, listing, seen.plan)
                gone: set[str] = set()
                kept: set[str] = set()
                for snapshot in sorted(tombstones.pending(listing, store.name)):
                    (gone if delete_snapshot(store, snapshot, emit) else kept).add(snapshot)
                removed[store.name], retained[store.name] = frozenset(gone), frozenset(kept)
            except DrkitError as error:
                absent[store.name] = error.message
                emit(Note("warning", store.name, f"deletions are pending there: {error.message}"))
        return ForgetReport(removed, retained, absent)
    finally:
        locks.release(emit)


def _record(
    repository: Repository,
    seen: Survey,
    doomed: Mapping[str, frozenset[str] | None],
    emit: Emit,
) -> Tombstones:
    """What is deleted, `doomed` with it: recorded in every store that answers, unless it was."""
    added = [
        Deletion("snapshot", snapshot, stores)
        for snapshot, stores in doomed.items()
        if not _is_recorded(seen.tombstones, snapshot, stores)
    ]
    if not added:
        return seen.tombstones
    evicted = seen.tombstones.evicted
    return record_deletions(
        repository.key,
        seen.tombstones,
        {s: found for s, found in seen.listings.items() if s.name not in evicted},
        added,
        at=repository.clock.now(),
        emit=emit,
        settled=settled_deletions(repository, seen),
    )


def _is_recorded(known: Tombstones, snapshot: str, stores: frozenset[str] | None) -> bool:
    found = known.deletions.get(("snapshot", snapshot))
    if found is None:
        return False
    return found.stores is None or (stores is not None and stores <= found.stores)


def look_around(
    repository: Repository, locked: Mapping[Store, Listing], emit: Emit
) -> tuple[Survey, dict[str, str]]:
    """A survey of the locked stores and of those that only answer, and why others are absent."""
    absent = dict(repository.unreachable)
    listings = dict(locked)
    for store in repository.stores:
        if store in locked:
            continue
        try:
            listings[store] = take_listing(store)
            absent[store.name] = "it could not be locked"
        except DrkitError as error:
            absent[store.name] = error.message
    return survey(repository, listings, emit), absent


def settled_deletions(repository: Repository, seen: Survey) -> frozenset[tuple[str, str]]:
    """Old deletions that need not be remembered: every store of the deployment answers, and none
    lists what was deleted. The newest stay, whatever is listed: a listing may be stale.
    """
    configured = len(repository.stores) + len(repository.unreachable)
    if len(seen.listings) < configured or seen.tombstones.evicted:
        return frozenset()
    listed = {("snapshot", s) for listing in seen.listings.values() for s in listing.snapshots}
    listed |= {("pack", pack) for listing in seen.listings.values() for pack in listing.packs}
    known = {at: d for at, d in seen.tombstones.deletions.items() if at[0] in ("snapshot", "pack")}
    oldest_first = sorted(known, key=lambda at: known[at].generation)
    old = oldest_first[: max(0, len(known) - REMEMBERED)]
    return frozenset(at for at in old if at not in listed)


def refuse_unreadable(seen: Survey) -> None:
    """`GuardRefused` while some record cannot be read: it may say what was deleted, or marked."""
    if damaged := seen.tombstones.unreadable | seen.plan.unreadable:
        raise GuardRefused(
            f"{len(damaged)} of drkit's records are damaged in every store that has them",
            hint="bring back a store that has a good copy; else remove them from "
            "repository-drkit/ by hand, then run drkit status",
        )

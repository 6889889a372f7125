"""Deletions that outlive the deleting (S5): which snapshots are gone on purpose, and from where;
which paths were erased from all of them, and the packs that held what was erased (K6).

A record of them lies in every store, outside restic's folder. It is written before anything is
deleted, so a run that dies in between leaves a deletion that the next one finishes, and a store
that was away finds it when it is back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from drkit.errors import DamagedData, DrkitError
from drkit.events import Emit, Note
from drkit.repository.copies.listing import Listing
from drkit.repository.format.layout import DELETIONS
from drkit.repository.format.sealing import MasterKey
from drkit.repository.records.sealed import read_records, seal_record
from drkit.stores.interface import Store, StoreRefused

Kind = Literal["snapshot", "key", "path", "pack", "gone"]


@dataclass(frozen=True, slots=True)
class Deletion:
    """One thing that is gone from `stores` (None: from all, for good).

    A path is known by its keyed hash, and erased from the points of before `at`. "gone" says of the
    store `id` when packs with something erased were deleted there last. Others have no moment.
    """

    kind: Kind
    id: str
    stores: frozenset[str] | None
    generation: int = 0
    at: datetime | None = None

    def covers(self, store: str) -> bool:
        return self.stores is None or store in self.stores


@dataclass(frozen=True, slots=True)
class Tombstones:
    """All deletions that any store knows of.

    `floor`: deletions up to this generation may have been dropped, because every store had
    applied them. `evicted` stores are no source and get nothing until they are reconciled.
    """

    generation: int = 0
    floor: int = 0
    deletions: Mapping[tuple[str, str], Deletion] = field(default_factory=dict)
    evicted: frozenset[str] = frozenset()
    records: Mapping[str, bytes] = field(default_factory=dict)
    superseded: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()

    def covers(self, kind: Kind, identity: str, store: str) -> bool:
        found = self.deletions.get((kind, identity))
        return found is not None and found.covers(store)

    @property
    def erased_paths(self) -> dict[str, datetime]:
        """Hashes of erased paths, and up to when a point may still hold them."""
        found = [one for one in self.deletions.values() if one.kind == "path" and one.at]
        return {one.id: one.at for one in found if one.at}

    @property
    def erased_packs(self) -> frozenset[str]:
        """Packs that hold what was erased: the next prune writes anew what else is in them."""
        return frozenset(one.id for one in self.deletions.values() if one.kind == "pack")

    @property
    def gone_at(self) -> dict[str, datetime]:
        """When each store last deleted packs that held what was erased."""
        found = [one for one in self.deletions.values() if one.kind == "gone"]
        return {one.id: one.at for one in found if one.at}

    def pending(self, listing: Listing, store: str) -> frozenset[str]:
        """Snapshots that are deleted and that the store still lists."""
        return frozenset(s for s in listing.snapshots if self.covers("snapshot", s, store))


def read_tombstones(key: MasterKey, listings: Mapping[Store, Listing], emit: Emit) -> Tombstones:
    """The union of what all the stores know."""
    listed = {store: listing.deletions for store, listing in listings.items()}
    records = read_records(key, DELETIONS, listed, emit)
    return replace(merge(records.found), unreadable=records.unreadable)


def merge(records: Mapping[str, tuple[bytes, Mapping[str, Any]]]) -> Tombstones:
    """What `records` (bytes and values by name) say together."""
    deletions: dict[tuple[str, str], Deletion] = {}
    generation = floor = 0
    evicted: frozenset[str] = frozenset()
    superseded: set[str] = set()
    try:
        for name in sorted(records):
            values = records[name][1]
            evicted = frozenset(values["evicted"]) | (
                evicted if values["generation"] == generation else frozenset()
            )
            generation = max(generation, values["generation"])
            floor = max(floor, values["floor"])
            superseded.update(values["supersedes"])
            for entry in values["deletions"]:
                one = Deletion(
                    entry["kind"],
                    entry["id"],
                    None if entry["stores"] is None else frozenset(entry["stores"]),
                    entry["generation"],
                    datetime.fromisoformat(entry["at"]) if entry.get("at") else None,
                )
                _add(deletions, one)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedData(
            f"a deletion record cannot be read: {error!r}", hint="drkit check"
        ) from None
    return Tombstones(
        generation,
        floor,
        deletions,
        evicted,
        {name: sealed for name, (sealed, _) in records.items()},
        frozenset(superseded),
    )


def record_deletions(
    key: MasterKey,
    known: Tombstones,
    listings: Mapping[Store, Listing],
    added: Iterable[Deletion],
    *,
    at: datetime,
    emit: Emit,
    evicted: frozenset[str] | None = None,
    settled: frozenset[tuple[str, str]] = frozenset(),
) -> Tombstones:
    """`known` with `added`, written to every store of `listings` before this returns.

    `settled` deletions are dropped: every configured store has applied them and lists nothing of
    them. Raises when no store took the record; one that did not is told and gets it later.
    """
    generation = known.generation + 1
    deletions = {k: d for k, d in known.deletions.items() if k not in settled}
    for one in added:
        _add(deletions, replace(one, generation=generation))
    dropped = [known.deletions[k].generation for k in settled if k in known.deletions]
    # the record that a record supersedes must still be known as such by a store that is away
    superseded = sorted({*known.records, *known.superseded})[-_SUPERSEDED_NAMED:]
    values = {
        "at": at.isoformat(),
        "floor": max([known.floor, *dropped]),
        "evicted": sorted(known.evicted if evicted is None else evicted),
        "supersedes": superseded,
        "deletions": [
            {
                "kind": one.kind,
                "id": one.id,
                "stores": None if one.stores is None else sorted(one.stores),
                "generation": one.generation,
                **({"at": one.at.isoformat()} if one.at else {}),
            }
            for one in deletions.values()
        ],
    }
    name, sealed = seal_record(key, generation, values)
    problem: DrkitError | None = None
    written = 0
    for store, listing in listings.items():
        try:
            store.put(DELETIONS + name, sealed, size_bytes=len(sealed))
        except DrkitError as error:
            problem = error
            emit(Note("warning", store.name, f"the deletion is not recorded: {error.message}"))
            continue
        written += 1
        listing.deletions[name] = len(sealed)
    if problem and not written:
        raise problem
    return merge({name: (sealed, {**values, "generation": generation})})


def spread_records(store: Store, listing: Listing, tombstones: Tombstones) -> None:
    """Gives `store` the records that it lacks, then removes what they supersede."""
    for name, sealed in tombstones.records.items():
        if name not in listing.deletions:
            store.put(DELETIONS + name, sealed, size_bytes=len(sealed))
            listing.deletions[name] = len(sealed)
    with suppress(StoreRefused):  # what is superseded says nothing any more, wherever it lies
        for name in [n for n in listing.deletions if n in tombstones.superseded]:
            store.delete(DELETIONS + name)
            del listing.deletions[name]


_SUPERSEDED_NAMED = 1000


def _add(deletions: dict[tuple[str, str], Deletion], one: Deletion) -> None:
    before = deletions.get((one.kind, one.id))
    if before is not None:
        stores = None if before.stores is None or one.stores is None else before.stores | one.stores
        moments = [each.at for each in (before, one) if each.at]
        generation = max(before.generation, one.generation)
        one = Deletion(one.kind, one.id, stores, generation, max(moments, default=None))
    deletions[one.kind, one.id] = one

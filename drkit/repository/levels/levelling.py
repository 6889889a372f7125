"""How stores stand to each other, from what they list and what they held before. Pure.

*Lagging*: it never had an object that another one has; it is copied. *Lost*: it had a snapshot
that nobody of drkit's deleted, so another program did; it is neither brought back nor is the
deletion spread. *Diverged*: its indexes were replaced by another program (`restic prune`), so its
packs are its own; it is read from, and written to again by a shown plan only (S7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drkit.repository.copies.listing import Listing
from drkit.repository.records.ledger import Ledger
from drkit.repository.records.prune_plan import KnownPlan
from drkit.repository.records.tombstones import Tombstones

EVICTED = "was evicted"
AWAY = "was away while deletions were forgotten"
REPACKED = "was repacked by another program"


@dataclass(frozen=True, slots=True)
class Standing:
    """`pending`: deleted snapshots that the store still lists. `lost`: ones that another program
    removed there. `diverged`: why it gives and gets nothing, or "". `lacks`: what it never had.
    """

    pending: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    diverged: str = ""
    lacks: int = 0


def needs_ledger(
    listings: Mapping[str, Listing], plan: KnownPlan, *, all_answer: bool
) -> frozenset[str]:
    """The stores whose ledger says more than the listings do: none while all list the same."""
    if not all_answer:
        return frozenset(listings)
    snapshots = frozenset(s for listing in listings.values() for s in listing.snapshots)
    indexes = frozenset(i for listing in listings.values() for i in listing.indexes)
    return frozenset(
        name
        for name, listing in listings.items()
        if listing.snapshots.keys() != snapshots
        or not indexes - plan.retired <= listing.indexes.keys()
    )


def standings(
    listings: Mapping[str, Listing],
    ledgers: Mapping[str, Ledger],
    tombstones: Tombstones,
    plan: KnownPlan,
    *,
    alone: bool,
) -> dict[str, Standing]:
    """Every listed store, in order. `alone`: it is the only one of the deployment, and right."""
    found = {
        name: _standing(name, listings, ledgers.get(name, Ledger()), tombstones, plan)
        for name in listings
    }
    if alone or (found and all(standing.diverged for standing in found.values())):
        # someone has to be right: the first that is not evicted
        for name, standing in found.items():
            if name not in tombstones.evicted:
                found[name] = Standing(standing.pending, standing.lost, "", standing.lacks)
                break
    return found


def _standing(
    name: str,
    listings: Mapping[str, Listing],
    ledger: Ledger,
    tombstones: Tombstones,
    plan: KnownPlan,
) -> Standing:
    listing = listings[name]
    others = [
        other for at, other in listings.items() if at != name and at not in tombstones.evicted
    ]
    elsewhere = frozenset(s for other in others for s in other.snapshots)
    missing = frozenset(
        s
        for s in elsewhere - listing.snapshots.keys()
        if not tombstones.covers("snapshot", s, name)
    )
    lost = missing & ledger.snapshots
    their_indexes = frozenset(i for other in others for i in other.indexes)
    gone = ledger.indexes - listing.indexes.keys() - plan.retired
    own = listing.indexes.keys() - their_indexes - plan.retired
    only_here = listing.snapshots.keys() - elsewhere
    diverged = ""
    if name in tombstones.evicted:
        diverged = EVICTED
    elif ledger.generation < tombstones.floor and only_here:
        diverged = AWAY
    elif gone and own and others:
        diverged = REPACKED
    lacks = their_indexes - plan.retired - listing.indexes.keys()
    return Standing(
        tombstones.pending(listing, name), lost, diverged, len(missing - lost) + len(lacks)
    )

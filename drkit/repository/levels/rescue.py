"""Snapshots that reach what a prune has marked: their packs are taken off the plan in time.

drkit trusts no marked pack. Another program may: it writes a snapshot that names a blob in one, in
a store where the pack still lies.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drkit.errors import DamagedData
from drkit.events import Emit, Note
from drkit.repository.copies.listing import Listing
from drkit.repository.format.layout import SNAPSHOTS
from drkit.repository.format.snapshot import read_snapshot
from drkit.repository.records.prune_plan import KnownPlan, write_plan
from drkit.repository.trees.reach import reachable
from drkit.stores.interface import Store

if TYPE_CHECKING:
    from drkit.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class Reach:
    """`marked`: packs that some of the snapshots need and a prune has marked. `broken`: snapshots
    that reach what no store has.
    """

    marked: frozenset[str]
    broken: frozenset[str]


def reach_of(
    repository: Repository,
    snapshots: Iterable[str],
    trusted: Container[str],
    marked: Container[str],
) -> Reach:
    """What the snapshots need beyond the `trusted` packs. Leaves the whole index loaded."""
    repository.forget_index()
    needed: set[str] = set()
    broken: set[str] = set()
    for snapshot_id in snapshots:
        try:
            snapshot = read_snapshot(repository.load_unpacked(SNAPSHOTS + snapshot_id))
            blobs = reachable([snapshot.tree], repository.load_tree)
        except DamagedData:
            broken.add(snapshot_id)
            continue
        for blob in blobs:
            packs = [place.pack_id for place in repository.index.find_all(blob)]
            if any(pack in trusted for pack in packs):
                continue
            if saving := [pack for pack in packs if pack in marked]:
                needed.add(saving[0])
            else:
                broken.add(snapshot_id)
    return Reach(frozenset(needed), frozenset(broken))


def unmark(
    repository: Repository,
    known: KnownPlan,
    packs: frozenset[str],
    listings: Mapping[Store, Listing],
    emit: Emit,
) -> KnownPlan:
    """The plan without `packs`, written before anything trusts them again."""
    assert known.plan is not None
    emit(Note("info", "prune", f"{len(packs)} marked packs are in use again and stay"))
    remove = {pack: size for pack, size in known.plan.remove.items() if pack not in packs}
    return write_plan(
        repository.key,
        known,
        replace(known.plan, remove=remove),
        listings,
        need_all=False,
        emit=emit,
    )

"""One store while it is checked: what it lists, what was found, and what it can give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from drkit.errors import DrkitError
from drkit.repository.check.objects import Known
from drkit.repository.check.packs import PackTable
from drkit.repository.check.reach import Forest, any_copy
from drkit.repository.check.values import Finding, Kind, StoreCheck
from drkit.repository.copies.listing import Listing
from drkit.repository.format.layout import INDEX, SNAPSHOTS, pack_name
from drkit.repository.index.arrays import np
from drkit.repository.index.columns import Columns
from drkit.repository.records.tombstones import Tombstones
from drkit.repository.repository import ListedSnapshot
from drkit.stores.interface import ObjectMissing, Store


def _none() -> Columns:
    return np.zeros(0, np.bool_)


@dataclass(slots=True)
class Side:
    """`named` and `present` have a flag for each pack: its own indexes name it; it is there in
    full. `bad` has one for each row of the index: it was read here and is damaged.
    """

    store: Store
    listing: Listing
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    named: Columns = field(default_factory=_none)
    present: Columns = field(default_factory=_none)
    bad: Columns = field(default_factory=_none)
    read: set[str] = field(default_factory=set)
    asked: frozenset[str] = frozenset()
    bytes_read: int = 0

    def found(self, name: str, kind: Kind, what: str) -> None:
        """Notes what is wrong with an object, once."""
        if not any(each.name == name for each in self.findings):
            self.findings.append(Finding(self.store.name, name, kind, what))

    def mark_bad(self, table: PackTable, pack: str, blobs: Iterable[bytes]) -> None:
        wrong = set(blobs)
        for row, blob in zip(table.rows(pack).tolist(), table.blobs(pack), strict=True):
            if blob.id in wrong:
                self.bad[row] = True

    def own_snapshots(self, tombstones: Tombstones) -> list[str]:
        """Those that it lists and that nobody has deleted."""
        name = self.store.name
        return [s for s in self.listing.snapshots if not tombstones.covers("snapshot", s, name)]


def check_presence(side: Side, known: Known, table: PackTable, sizes: Mapping[str, int]) -> None:
    """Every pack that the store's own indexes name is there, with exactly its size."""
    count = len(table.packs)
    side.named, side.present = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    side.bad = np.zeros(len(table.number_of), np.bool_)
    twice = 0
    for index_id in sorted(side.listing.indexes):
        for pack in known.packs_of.get(index_id, ()):
            twice += bool(side.named[table.numbers[pack]])
            side.named[table.numbers[pack]] = True
    if twice:
        side.notes.append(f"{twice} packs are named by two indexes: drkit repair index")
    listed = side.listing.packs
    for pack, number in table.numbers.items():
        if pack not in sizes or listed.get(pack) == sizes[pack]:
            side.present[number] = True
        elif side.named[number]:
            # a pack that was written after the listing is there now
            side.present[number] = _is_there(side, pack, sizes[pack])


def _is_there(side: Side, pack: str, size_bytes: int) -> bool:
    name = pack_name(pack)
    try:
        held = side.store.stat(name).size_bytes
    except ObjectMissing:
        side.found(name, "missing", "missing, though an index names it")
        return False
    except DrkitError as error:
        side.found(name, "unread", error.message)
        return False
    if held != size_bytes:
        side.found(name, "wrong", f"has {held} bytes, not {size_bytes}")
    return held == size_bytes


def judge(
    side: Side,
    snapshots: Sequence[ListedSnapshot],
    tombstones: Tombstones,
    table: PackTable,
    forest: Forest,
    groups: Columns,
    sides: Sequence[Side],
) -> StoreCheck:
    """What the store can give of its own snapshots, and what it lacks of the others' (S7: by
    blobs, not by the names of packs and indexes).
    """
    name = side.store.name
    own = [one for one in snapshots if name in one.stores]
    deleted = {one.id for one in snapshots if tombstones.covers("snapshot", one.id, name)}
    wanted = [] if name in tombstones.evicted else [o for o in snapshots if o.id not in deleted]
    named = side.named[table.number_of]
    present = side.present[table.number_of]
    reached, unknown = forest.reach(one.snapshot.tree for one in own)
    unnamed = reached & ~any_copy(groups, named)
    if unnamed.any():
        here = int((unnamed & any_copy(groups, present)).sum())
        away = int(unnamed.sum()) - here
        if here:
            side.found(
                INDEX, "unnamed", f"{here} blobs of its snapshots are in packs it does not name"
            )
        if away:
            side.found(SNAPSHOTS, "reach", f"its snapshots need {away} blobs that it lacks")
    if unknown:
        side.found(SNAPSHOTS, "reach", f"its snapshots need {unknown} blobs that no index names")
    needed, _ = forest.reach(one.snapshot.tree for one in wanted)
    short = needed & ~any_copy(groups, named & present)
    lacks = len(wanted) - sum(name in one.stores for one in wanted)
    lacks += len(tombstones.records.keys() - side.listing.deletions.keys())
    if short.any():
        lacks += len(set(table.number_of[short & ~any_copy(groups, present)].tolist()))
        theirs = {index_id for other in sides for index_id in other.listing.indexes}
        lacks += len(theirs - side.listing.indexes.keys())
    named_packs = {table.packs[number] for number in np.flatnonzero(side.named)}
    spare = {pack: size for pack, size in side.listing.packs.items() if pack not in named_packs}
    return StoreCheck(
        packs=len(side.listing.packs),
        packs_read=len(side.read),
        bytes_read=side.bytes_read,
        findings=tuple(sorted(side.findings, key=lambda finding: finding.name)),
        lacks=lacks,
        spare_packs=len(spare),
        spare_bytes=sum(spare.values()),
        notes=tuple(side.notes),
    )

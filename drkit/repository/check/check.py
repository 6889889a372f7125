"""Is the repository sound, in each store by itself and over all of them?

The structure is always checked: config, keys, every index and snapshot, every tree, every pack's
presence and exact size, a sample of headers. What packs hold is read as far as it is asked for.
Nothing that this machine has cached is believed, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

from drkit.errors import DrkitError
from drkit.events import Emit
from drkit.repository.check.objects import (
    Known,
    check_identity,
    check_notes,
    check_small_objects,
)
from drkit.repository.check.packs import PackTable, PackVerdict, check_headers, read_packs
from drkit.repository.check.reach import Forest, any_copy, lost_files, same_blob_groups
from drkit.repository.check.reading_choice import ReadAll, Reading, ReadNothing, chosen
from drkit.repository.check.sides import Side, check_presence, judge
from drkit.repository.check.values import CheckReport, Finding, Kind, StoreCheck
from drkit.repository.copies.listing import take_listing
from drkit.repository.format.layout import KEYS, pack_name
from drkit.repository.format.notes import NOTES
from drkit.repository.index.arrays import np
from drkit.repository.index.blobs import Index
from drkit.repository.index.columns import Columns
from drkit.repository.records.tombstones import Tombstones, read_tombstones
from drkit.repository.repository import ListedSnapshot, Repository
from drkit.stores.interface import ObjectMissing, Store

_HEADERS_SAMPLED = 16


def check_repository(
    repository: Repository,
    *,
    read_data: bool = False,
    reading: Reading | None = None,
    cheapest: Sequence[str] = (),
    only: Sequence[str] = (),
    random: Random | None = None,
    emit: Emit,
) -> CheckReport:
    """What is wrong, by store, and what is lost in all of them (or in all of `only`).

    `reading` says which packs are read whole in each store (`read_data`: every one). Trees are
    read from the stores named in `cheapest` first.
    """
    rng = random or Random()
    wanted = reading or (ReadAll() if read_data else ReadNothing())
    checks = {
        name: _unreachable(name, why)
        for name, why in repository.unreachable.items()
        if not only or name in only
    }
    stores = [store for store in repository.stores if not only or store.name in only]
    sides: list[Side] = []
    for store in _in_order(stores, cheapest):
        try:
            sides.append(Side(store, take_listing(store)))
        except DrkitError as error:
            checks[store.name] = _unreachable(store.name, error.message)
    tombstones = read_tombstones(repository.key, {s.store: s.listing for s in sides}, emit)
    known = Known()
    _check_small(repository, sides, known, tombstones)
    _check_notes(repository, sides)
    index = _index_of(known)
    table = PackTable(index)
    sizes = index.pack_sizes()
    for side in sides:
        check_presence(side, known, table, sizes)
    forest = Forest(index)
    _read_trees(repository, table, forest, sides, emit)
    for side in sides:
        _read_data(repository, side, table, sizes, wanted, rng, emit)
    groups = same_blob_groups(index)
    lost = _lost_rows(index, table, forest, groups, sides)
    snapshots = _snapshots(known, sides, tombstones)
    for side in sides:
        checks[side.store.name] = judge(side, snapshots, tombstones, table, forest, groups, sides)
    reached, unknown = forest.reach(one.snapshot.tree for one in snapshots)
    any_lost = unknown or bool((lost & reached).any())
    return CheckReport(
        {store.name: checks.pop(store.name) for store in stores} | checks,
        lost_files(repository, index, forest, snapshots, lost) if any_lost else (),
        _lost_snapshots(sides, known, tombstones),
    )


def _check_small(
    repository: Repository, sides: list[Side], known: Known, tombstones: Tombstones
) -> None:
    """Config, keys, indexes, snapshots and records of all stores, each asked by itself."""
    keys: set[str] = set()
    for side in sides:
        try:
            keys |= {info.name for info in side.store.list(KEYS)}
        except DrkitError as error:
            side.found(KEYS, "unread", error.message)

    def check(side: Side) -> None:
        store = side.store
        wanted = {
            name
            for name in keys
            if not tombstones.covers("key", name.removeprefix(KEYS), store.name)
        }
        try:
            side.findings += check_identity(store, repository.key, repository.id, wanted)
        except DrkitError as error:
            side.found(KEYS, "unread", error.message)
        side.findings += check_small_objects(store, repository.key, side.listing, known)

    with ThreadPoolExecutor(max(1, len(sides)), "check") as pool:
        list(pool.map(check, sides))


def _check_notes(repository: Repository, sides: list[Side]) -> None:
    copies: dict[Store, dict[str, bytes]] = {}
    for side in sides:
        copies[side.store] = {}
        for name in NOTES:
            try:
                copies[side.store][name] = side.store.get(name)
            except ObjectMissing:
                continue
            except DrkitError as error:
                side.found(name, "unread", error.message)
                del copies[side.store]
                break
    by_name = {side.store.name: side for side in sides}
    for finding in check_notes(copies, repository.id):
        by_name[finding.store].found(finding.name, finding.kind, finding.what)


def _index_of(known: Known) -> Index:
    """All blobs that some store's right index names; the parts are used up."""
    index = Index()
    for index_id in sorted(known.parts):
        part = known.parts.pop(index_id)
        known.packs_of[index_id] = tuple(part.packs)
        index.add_part(part)
    index.sort()
    return index


def _read_trees(
    repository: Repository, table: PackTable, forest: Forest, sides: list[Side], emit: Emit
) -> None:
    """Decodes every tree, each from the first store whose copy of it is right."""
    for side in sides:
        wanted = [
            pack
            for pack in table.tree_packs
            if side.present[table.numbers[pack]] and forest.lacks_tree_of(table.rows(pack))
        ]
        task = f"trees of {side.store.name}"
        for verdict in read_packs(
            side.store, repository.key, table, wanted, emit, task=task, keep=True
        ):
            _note(side, table, verdict)
            for tree_id, content in verdict.trees:
                forest.add(tree_id, content)


def _read_data(
    repository: Repository,
    side: Side,
    table: PackTable,
    sizes: dict[str, int],
    reading: Reading,
    random: Random,
    emit: Emit,
) -> None:
    here = {pack: sizes[pack] for pack in sizes if side.present[table.numbers[pack]]}
    packs = chosen(reading, side.store.name, here, random)
    task = f"check {side.store.name}"
    todo = packs - side.read
    for verdict in read_packs(side.store, repository.key, table, todo, emit, task=task):
        _note(side, table, verdict)
    side.asked = packs
    unread = sorted(here.keys() - side.read)
    sample = random.sample(unread, min(_HEADERS_SAMPLED, len(unread)))
    for pack, why in check_headers(side.store, repository.key, table, sizes, sample):
        side.found(pack_name(pack), "wrong", why)


def _note(side: Side, table: PackTable, verdict: PackVerdict) -> None:
    side.read.add(verdict.pack)
    side.bytes_read += verdict.size_bytes
    if not verdict.why:
        return
    kind: Kind = "missing" if verdict.missing else "wrong" if verdict.size_bytes else "unread"
    side.found(pack_name(verdict.pack), kind, verdict.why)
    side.mark_bad(table, verdict.pack, verdict.bad)


def _lost_rows(
    index: Index, table: PackTable, forest: Forest, groups: Columns, sides: Iterable[Side]
) -> Columns:
    """A flag for each row whose blob no store can give."""
    good = np.zeros(index.rows, np.bool_)
    for side in sides:
        good |= side.present[table.number_of] & ~side.bad
    good[list(forest.problems)] = False
    return ~any_copy(groups, good)


def _snapshots(known: Known, sides: Iterable[Side], tombstones: Tombstones) -> list[ListedSnapshot]:
    """Every snapshot that can be read and is not deleted, with the stores that list it."""
    holders: dict[str, set[str]] = {}
    for side in sides:
        for snapshot in side.own_snapshots(tombstones):
            holders.setdefault(snapshot, set()).add(side.store.name)
    found = [
        ListedSnapshot(snapshot, known.snapshots[snapshot], frozenset(stores))
        for snapshot, stores in holders.items()
        if snapshot in known.snapshots
    ]
    return sorted(found, key=lambda listed: listed.order)


def _lost_snapshots(sides: Iterable[Side], known: Known, tombstones: Tombstones) -> tuple[str, ...]:
    """Snapshots that stores list and none can give."""
    listed = {snapshot for side in sides for snapshot in side.own_snapshots(tombstones)}
    return tuple(sorted(listed - known.snapshots.keys()))


def _in_order(stores: Sequence[Store], cheapest: Sequence[str]) -> list[Store]:
    rank = {name: place for place, name in enumerate(cheapest)}
    return sorted(stores, key=lambda store: rank.get(store.name, len(rank)))


def _unreachable(name: str, why: str) -> StoreCheck:
    return StoreCheck(0, findings=(Finding(name, "", "unread", why),))

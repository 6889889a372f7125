"""Erases paths and whole points from every store, by a plan that is shown first (K6).

The paths go into the ledger before anything else, so that no restore shows them from then on. Then
each point that holds one is written anew without it, as restic's `rewrite` does, the old one is
deleted with a record, and the packs that held what was erased are recorded for the prune, which
writes anew what else is in them. A run that dies anywhere is finished by the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import orjson

from drkit.errors import ConfigError, DrkitError, GuardRefused
from drkit.events import Emit, Progress
from drkit.repository.backup.pack_sink import PackSink
from drkit.repository.forget.forget import refuse_unreadable
from drkit.repository.forget.tagging import replace_snapshot
from drkit.repository.format.pack import BlobKind
from drkit.repository.format.tree import Node
from drkit.repository.levels.catch_up import Levelled, catch_up, delete_snapshot, write_ledgers
from drkit.repository.levels.survey import survey
from drkit.repository.locks.locks import Locks, take_locks
from drkit.repository.records.erased import PathHasher, erased_before, known_tombstones, less
from drkit.repository.records.tombstones import (
    Deletion,
    Tombstones,
    record_deletions,
    spread_records,
)
from drkit.repository.repository import ListedSnapshot, Repository
from drkit.repository.trees.reach import reachable
from drkit.repository.trees.rewriting import Rewriter
from drkit.repository.trees.walk import entries
from drkit.stores.interface import Store

MOST_PATHS = 10_000
Match = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class ErasePlan:
    """`paths`: the topmost that go, with all below them, from the snapshots `rewritten`; `removed`
    snapshots go whole. Of the paths, `files` are the names that go, `bytes` those of every version.
    """

    paths: tuple[str, ...]
    rewritten: tuple[str, ...]
    removed: tuple[str, ...]
    files: int
    bytes: int

    @property
    def empty(self) -> bool:
        return not (self.rewritten or self.removed)

    @property
    def checksum(self) -> str:
        """What to name to have exactly this done."""
        said = [sorted(self.paths), sorted(self.rewritten), sorted(self.removed)]
        return hashlib.sha256(orjson.dumps(said)).hexdigest()[:12]


def plan_erase(
    repository: Repository,
    match: Match,
    points: Sequence[str],
    tombstones: Tombstones | None = None,
) -> ErasePlan:
    """What would go. `match` is asked from the top down, for every path of every snapshot; `points`
    are the ids of those that go whole. Raises `DamagedData` for a snapshot that cannot be read.
    """
    found = _Found(repository, match)
    known = tombstones or known_tombstones(repository)
    snapshots = [one for one in repository.snapshots() if not _is_gone(known, one.id)]
    rest = [listed for listed in snapshots if listed.id not in points]
    rewriter = Rewriter(repository, found.change, by_path=True)
    rewritten = [
        listed.id
        for listed in rest
        if rewriter.rewrite(listed.snapshot.tree) != listed.snapshot.tree
    ]
    if len(found.paths) > MOST_PATHS:
        raise ConfigError(
            f"{len(found.paths)} paths match, more than {MOST_PATHS}",
            hint="name the folder that holds them, or erase them in parts",
        )
    removed = tuple(listed.id for listed in snapshots if listed.id in points)
    paths = tuple(sorted(found.paths))
    return ErasePlan(paths, tuple(rewritten), removed, found.files, found.bytes)


class _Found:
    """What a match finds on the way through the trees; each place of a tree is seen once."""

    def __init__(self, repository: Repository, match: Match) -> None:
        self._repository = repository
        self._match = match
        self.paths: set[str] = set()
        self._versions: dict[tuple[str, tuple[bytes, ...]], int] = {}

    def change(self, path: str, node: Node) -> Node | None:
        if not self._match(path):
            return node
        self.paths.add(path)
        self._note(path, node)
        if node.subtree:
            for entry in entries(self._repository, node.subtree, path):
                self._note(entry.path, entry.node)
        return None

    def _note(self, path: str, node: Node) -> None:
        if node.type == "file":
            self._versions[path, node.content] = node.size

    @property
    def files(self) -> int:
        return len({path for path, _ in self._versions})

    @property
    def bytes(self) -> int:
        return sum(self._versions.values())


@dataclass(frozen=True, slots=True)
class Erased:
    """New ids of the snapshots that were written anew, by their old ones; how many packs held what
    was erased. `behind`: stores that apply it when they catch up, with why.
    """

    rewritten: Mapping[str, str]
    removed: tuple[str, ...]
    packs: int
    behind: Mapping[str, str]


def erase(
    repository: Repository,
    match: Match,
    points: Sequence[str],
    emit: Emit,
    *,
    checksum: str | None = None,
) -> Erased:
    """Does what `plan_erase` says, if its checksum is still that; and what earlier erasures left to
    do: None, with nothing matched, does that alone.

    Raises `GuardRefused`, with nothing changed, when the plan is another one by now.
    """
    repository.refuse_format_1()
    locks = take_locks(repository, exclusive=True, need_all=False, emit=emit)
    try:
        refuse_unreadable(survey(repository, locks.listings, emit))
        level = catch_up(repository, locks.listings, emit)
        repository.forget_index()
        run = _Run(repository, locks, level, emit)
        if checksum is not None:
            plan = plan_erase(repository, match, points, level.tombstones)
            if plan.checksum != checksum:
                raise GuardRefused(
                    f"the plan is {plan.checksum} by now, not {checksum}; nothing was done",
                    hint="look at it again: the same command without --apply",
                )
            run.record_paths(plan.paths)
        return run.apply(points)
    finally:
        locks.release(emit)
        repository.forget_index()


class _Run:
    """One erasure under exclusive locks of the stores that are level."""

    def __init__(self, repository: Repository, locks: Locks, level: Levelled, emit: Emit) -> None:
        self._repository = repository
        self._locks = locks
        self._emit = emit
        self._level = level
        self._listings = {store: level.listings[store] for store in level.stores}
        self._tombstones = level.tombstones

    def record_paths(self, paths: Iterable[str]) -> None:
        """Writes the ledger: from here on no restore of a point of before now shows them."""
        hasher, now = PathHasher(self._repository.key), self._repository.clock.now()
        self._record(Deletion("path", hasher(path), None, at=now) for path in paths)

    def apply(self, points: Sequence[str]) -> Erased:
        """Brings every snapshot in line with the ledger, and removes `points`."""
        listed = self._repository.snapshots()
        listed = [
            one
            for one in listed
            if self._is_listed(one.id) and not _is_gone(self._tombstones, one.id)
        ]
        removed = [one for one in listed if one.id in points]
        rest = [one for one in listed if one.id not in points]
        rewritten, trees = self._rewrite(rest)
        doomed = [*removed, *(one for one in rest if one.id in rewritten)]
        if not doomed:
            return Erased({}, (), 0, self._behind())
        packs = self._packs_of(doomed, rest, trees)
        if lost := self._locks.lost(self._listings):
            store, why = next(iter(lost.items()))
            raise GuardRefused(f"{store.name}: {why}", hint="run it again: it goes on")
        self._record(
            [
                *(Deletion("snapshot", one.id, None) for one in doomed),
                *(Deletion("pack", pack, None) for pack in sorted(packs)),
            ]
        )
        behind = self._behind()
        for store in self._listings:
            try:
                self._delete(store, [one.id for one in doomed])
            except DrkitError as error:  # it is recorded: the next run applies it
                behind[store.name] = error.message
        self._repository.drop_cached()
        level = replace(self._level, tombstones=self._tombstones)
        names = {store.name for store in self._listings} - behind.keys()
        # the new ones stand in the listings of the stores that took them, and in no other's ledger
        write_ledgers(self._repository, level, names, (), self._emit)
        return Erased(rewritten, tuple(one.id for one in removed), len(packs), behind)

    def _delete(self, store: Store, snapshots: Iterable[str]) -> None:
        listing = self._listings[store]
        spread_records(store, listing, self._tombstones)
        for snapshot in snapshots:
            if snapshot in listing.snapshots and delete_snapshot(store, snapshot, self._emit):
                del listing.snapshots[snapshot]

    def _rewrite(self, snapshots: Sequence[ListedSnapshot]) -> tuple[dict[str, str], list[str]]:
        """New ids by old ones of those that hold something erased, and all roots that stay."""
        hasher = PathHasher(self._repository.key)
        rewriters: dict[frozenset[str], Rewriter] = {}
        changed: list[tuple[ListedSnapshot, str]] = []
        roots = []
        for done, listed in enumerate(snapshots):
            self._emit(Progress("erase", done, len(snapshots), "snapshots", listed.id[:8]))
            erased = erased_before(self._tombstones, listed.snapshot.time)
            if erased and erased not in rewriters:
                rewriters[erased] = Rewriter(
                    self._repository,
                    less(hasher, erased),
                    by_path=True,
                    trusted=self._level.trusted,
                )
            old = listed.snapshot.tree
            tree = rewriters[erased].rewrite(old) if erased else old
            roots.append(tree)
            if tree != old:
                changed.append((listed, tree))
        sink = PackSink(self._repository, self._listings)
        for rewriter in rewriters.values():
            for tree_id, content in rewriter.new_trees.items():
                sink.add(BlobKind.TREE, tree_id, content)
        sink.finish()
        self._repository.forget_index()
        return {
            listed.id: replace_snapshot(self._repository, listed, self._listings, tree=tree)
            for listed, tree in changed
        }, roots

    def _packs_of(
        self,
        doomed: Sequence[ListedSnapshot],
        rest: Sequence[ListedSnapshot],
        roots: Sequence[str],
    ) -> set[str]:
        """The packs that hold a blob which only `doomed` snapshots reach."""
        load = self._repository.load_tree
        stays = reachable(roots, load)
        gone = reachable([one.snapshot.tree for one in doomed], load) - stays
        index = self._repository.index
        return {place.pack_id for blob in gone for place in index.find_all(blob)}

    def _record(self, deletions: Iterable[Deletion]) -> None:
        self._tombstones = record_deletions(
            self._repository.key,
            self._tombstones,
            self._listings,
            deletions,
            at=self._repository.clock.now(),
            emit=self._emit,
        )

    def _is_listed(self, snapshot: str) -> bool:
        return any(snapshot in listing.snapshots for listing in self._listings.values())

    def _behind(self) -> dict[str, str]:
        behind = dict(self._repository.unreachable)
        for store in self._repository.stores:
            if store not in self._listings:
                behind[store.name] = "it is not locked or not level"
        return behind


def _is_gone(tombstones: Tombstones, snapshot: str) -> bool:
    """Deleted already, by whoever; a store may have to keep it for a while (S13)."""
    found = tombstones.deletions.get(("snapshot", snapshot))
    return found is not None and found.stores is None

"""Frees what no snapshot of any store reaches: marked first, deleted later, store after store (S6).

Each run does what is due and no more: it levels the stores, marks (repacking what is partly used)
or deletes in the one store whose turn it is, has that store checked, and keeps the indexes few.
A run that dies at any point leaves work that the next one finds by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from drkit.errors import DamagedData, GuardRefused, RepositoryLocked
from drkit.events import Emit, Note, Progress, unnamed
from drkit.repository.copies.listing import Listing, take_listing
from drkit.repository.forget.forget import refuse_unreadable
from drkit.repository.format.layout import PRUNES, SNAPSHOTS, pack_name
from drkit.repository.format.snapshot import read_snapshot
from drkit.repository.levels.catch_up import Levelled, catch_up, trust, write_ledgers
from drkit.repository.levels.index_files import load_index_files
from drkit.repository.levels.rescue import reach_of, unmark
from drkit.repository.levels.survey import survey
from drkit.repository.locks.locks import Locks, take_locks
from drkit.repository.prune.consolidate import (
    delete_index,
    drop_indexes,
    packs_of,
    put_consolidated,
    read_all,
    refuse_partial_index,
    tidy_indexes,
)
from drkit.repository.prune.decision import PruneDecision, PruneLimits, decide
from drkit.repository.prune.repack import repack
from drkit.repository.prune.turns import HOLD, next_turn
from drkit.repository.records.prune_plan import PrunePlan, Turn, write_plan
from drkit.repository.records.tombstones import Deletion, record_deletions
from drkit.repository.repository import Repository
from drkit.repository.trees.reach import reachable
from drkit.stores.interface import Retained, Store, StoreRefused

CheckStore = Callable[[Repository, Store], tuple[str, tuple[str, ...]]]
"""Looks at a store after a deletion: who looked, and what is wrong."""


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """`roles` of all configured stores, in order. `hold`: between marking and the first deletion;
    never less than nothing between two stores.
    """

    roles: Mapping[str, str]
    check: CheckStore
    limits: PruneLimits = field(default_factory=PruneLimits)
    hold: timedelta = HOLD


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What this run did. `next_turn`: the store that is next, and not before when."""

    decision: PruneDecision | None = None
    marked_bytes: int = 0
    deleted: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    next_turn: tuple[str, datetime] | None = None


def prune(repository: Repository, options: PruneOptions, emit: Emit) -> PruneReport:
    """Does what is due now. Raises `GuardRefused`, with nothing deleted, unless every store that
    was not evicted is there, locked, level and not diverged (S6).
    """
    locks = take_locks(repository, exclusive=True, need_all=False, emit=emit)
    try:
        evicted = refuse_absent(repository, locks, emit)
        listings = {s: found for s, found in locks.listings.items() if s.name not in evicted}
        repository.forget_index()
        level = catch_up(repository, listings, emit)
        if behind := [s.name for s in listings if s not in level.stores]:
            raise GuardRefused(
                f"{', '.join(behind)} could not be brought level; nothing was deleted",
                hint="drkit status says why; bring it back, or drkit prune --evict NAME",
            )
        roles = {name: role for name, role in options.roles.items() if name not in evicted}
        run = _Run(repository, locks, level, replace(options, roles=roles), emit)
        return run.go_on() if run.level.plan.plan else run.mark()
    finally:
        repository.forget_index()
        locks.release(emit)


def refuse_absent(repository: Repository, locks: Locks, emit: Emit) -> frozenset[str]:
    """The evicted stores. Raises when any other one is not locked, damaged or diverged."""
    seen = survey(repository, locks.listings, emit)
    refuse_unreadable(seen)
    evicted = seen.tombstones.evicted
    refused = {name: why for name, why in locks.refused.items() if name not in evicted}
    if busy := [name for name, why in refused.items() if isinstance(why, RepositoryLocked)]:
        raise RepositoryLocked(
            f"{', '.join(busy)} could not be locked; nothing was deleted",
            hint="wait for the other program (--retry-lock 10m); if it is dead: drkit unlock",
        )
    reasons = {name: why.message for name, why in refused.items()} | dict(repository.unreachable)
    reasons |= {
        name: f"it {found.diverged}; drkit repair reconcile {name}"
        for name, found in seen.standings.items()
        if found.diverged
    }
    if missing := {name: why for name, why in reasons.items() if name not in evicted}:
        words = "; ".join(f"{name}: {unnamed(name, why)}" for name, why in missing.items())
        raise GuardRefused(
            f"nothing is deleted anywhere while a store is missing ({words})",
            hint="bring it back, or say that it will not be: drkit prune --evict NAME",
        )
    return evicted


def evict(repository: Repository, name: str, emit: Emit) -> None:
    """Says that the store `name` will not be back: the others are pruned without it, and it gets
    and gives nothing until it is reconciled.
    """
    locks = take_locks(repository, exclusive=True, need_all=False, emit=emit)
    try:
        others = {s: found for s, found in locks.listings.items() if s.name != name}
        if not others:
            raise GuardRefused(
                f"{name} is the only store that answers", hint="bring another one back first"
            )
        seen = survey(repository, others, emit)
        refuse_unreadable(seen)
        record_deletions(
            repository.key,
            seen.tombstones,
            others,
            (),
            at=repository.clock.now(),
            emit=emit,
            evicted=seen.tombstones.evicted | {name},
        )
    finally:
        locks.release(emit)


class _Run:
    """One run under exclusive locks of all stores, which are level."""

    def __init__(
        self,
        repository: Repository,
        locks: Locks,
        level: Levelled,
        options: PruneOptions,
        emit: Emit,
    ) -> None:
        self.repository = repository
        self.locks = locks
        self.level = level
        self.options = options
        self.emit = emit

    def mark(self) -> PruneReport:
        """Decides, repacks, and leaves the plan in every store; nothing is deleted but indexes.

        What an earlier plan has marked stays so, and every store gets a new turn.
        """
        repository, level = self.repository, self.level
        earlier = level.plan.plan or PrunePlan(0, repository.clock.now(), "", {})
        trust(repository, level.listings, level.plan, None)
        refuse_partial_index(repository)
        erased = level.tombstones.erased_packs
        decision = decide(repository.index.packs, self._used(), self.options.limits, erased)
        if decision.missing:
            raise GuardRefused(
                f"{decision.missing} blobs that snapshots reach are in no store",
                hint="drkit check, then drkit repair; nothing is deleted before that",
            )
        named = packs_of(read_all(repository, level))
        listed = {p: n for found in level.listings.values() for p, n in found.packs.items()}
        orphans = {pack: size for pack, size in listed.items() if pack not in named}
        marked = {**earlier.remove, **orphans, **decision.marked}
        if not marked:
            tidy_indexes(repository, level, self.emit)
            return PruneReport(decision)
        repacked = {pack: named[pack] for pack in decision.repack}
        places = repository.index.find_all
        new = repack(repository.key, repacked, decision.needed, level.listings, places, self.emit)
        kept = {p: found for p, found in named.items() if p in level.trusted and p not in marked}
        kept |= {pack.id: pack.blobs for pack in new}
        doomed = {p: found for p, found in named.items() if p in level.trusted and p in marked}
        keep = put_consolidated(repository, level, kept)
        retired = put_consolidated(repository, level, doomed) | earlier.indexes
        self._refuse_lost_locks()
        sizes = {**level.trusted, **{pack.id: pack.size_bytes for pack in new}}
        plan = PrunePlan(0, repository.clock.now(), repository.hostname, marked, retired)
        self._write_plan(plan, need_all=True)
        self.level = replace(self.level, trusted={pack: sizes[pack] for pack in kept})
        drop_indexes(repository, self.level, keep | retired, self.emit)
        report = PruneReport(decision, sum(marked.values()), next_turn=self._next_turn())
        return self._delete_due(report)

    def go_on(self) -> PruneReport:
        """Keeps the indexes few, then the turn that is due, if one is."""
        tidy_indexes(self.repository, self.level, self.emit)
        if self._plan.halted and not self._is_mended():
            return PruneReport(problems=self._plan.halted)
        if self._erased_since():
            self._spare_what_is_used()
            return self.mark()
        return self._delete_due(PruneReport())

    def _erased_since(self) -> bool:
        """Whether something was erased that the plan does not know yet."""
        listed = {pack for found in self.level.listings.values() for pack in found.packs}
        return bool(self.level.tombstones.erased_packs & listed - self._plan.remove.keys())

    def _delete_due(self, report: PruneReport) -> PruneReport:
        deleted: dict[str, int] = {}
        if store := self._due():
            self._spare_what_is_used()
            deleted[store.name] = self._turn(store)
        problems, turn = self._plan.halted, self._next_turn()
        if turn is None and not problems:
            self._close()
        return replace(report, deleted=deleted, problems=problems, next_turn=turn)

    def _spare_what_is_used(self) -> None:
        """Unmarks what a snapshot reaches that came after the marking (another program's)."""
        repository, level = self.repository, self.level
        every = {s for listing in level.listings.values() for s in listing.snapshots}
        reach = reach_of(repository, sorted(every), level.trusted, level.plan.marked)
        repository.forget_index()
        if reach.broken:
            raise GuardRefused(
                f"{len(reach.broken)} snapshots reach what no store has; nothing was deleted",
                hint="drkit check names them; drkit repair, or forget them",
            )
        if reach.marked:
            unmark(repository, level.plan, reach.marked, level.listings, self.emit)
            self.level = catch_up(repository, level.listings, self.emit)
            if set(self.level.stores) != set(level.stores):
                raise GuardRefused("a store fell behind; nothing was deleted", hint="run it again")
            tidy_indexes(repository, self.level, self.emit)

    def _turn(self, store: Store) -> int:
        """Deletes what is marked from `store`, indexes first, and has it checked; bytes freed."""
        listing = self.level.listings[store]
        self._refuse_lost_locks()
        if take_listing(store).indexes.keys() - listing.indexes.keys():
            raise GuardRefused(
                f"{store.name} lists other indexes than a moment ago; nothing was deleted",
                hint="run it again",
            )
        for name in sorted(self._plan.indexes | self._naming_marked(listing)):
            if not delete_index(store, name, self.emit):  # what it names must stay as long
                text = "it refuses to delete: no other store has its turn before it does"
                self.emit(Note("warning", store.name, text))
                return 0
            listing.indexes.pop(name, None)
        doomed = [pack for pack in self._plan.remove if pack in listing.packs]
        retained: dict[str, str] = {}
        freed = 0
        for done, pack in enumerate(doomed):
            self.emit(Progress(f"prune {store.name}", done, len(doomed), "packs", pack[:8]))
            try:
                store.delete(pack_name(pack))
            except StoreRefused as error:
                until = error.until if isinstance(error, Retained) else None
                retained[pack] = until.isoformat() if until else "unknown"
                continue
            freed += listing.packs.pop(pack)
        if retained:
            text = (
                f"{len(retained)} packs are retained, at the latest until {max(retained.values())}"
            )
            self.emit(Note("info", store.name, text))
        if self.level.tombstones.erased_packs & set(doomed) - retained.keys():
            self._note_gone(store)
        write_ledgers(self.repository, self.level, {store.name}, (), self.emit)
        checked_by, problems = self.options.check(self.repository, store)
        turn = Turn(self.repository.clock.now(), checked_by, problems, retained)
        self._write_plan(replace(self._plan, turns={**self._plan.turns, store.name: turn}))
        return freed

    def _note_gone(self, store: Store) -> None:
        """Records when the erased was deleted: a store may keep what was deleted for some time."""
        now = self.repository.clock.now()
        gone = Deletion("gone", store.name, frozenset({store.name}), at=now)
        level = self.level
        tombstones = record_deletions(
            self.repository.key, level.tombstones, level.listings, [gone], at=now, emit=self.emit
        )
        self.level = replace(level, tombstones=tombstones)

    def _naming_marked(self, listing: Listing) -> frozenset[str]:
        """Index files of a store that name a marked pack: it kept them so far, under a lock."""
        contents = load_index_files(self.repository, listing.indexes)
        marked = self._plan.remove.keys()
        return frozenset(name for name, packs in contents.items() if not marked.isdisjoint(packs))

    def _is_mended(self) -> bool:
        """Whether what a check found is no more: the stores that had problems are checked anew."""
        turns = dict(self._plan.turns)
        for store in self.level.stores:
            if (turn := turns.get(store.name)) and turn.problems:
                checked_by, problems = self.options.check(self.repository, store)
                turns[store.name] = replace(turn, checked_by=checked_by, problems=problems)
        self._write_plan(replace(self._plan, turns=turns))
        return not self._plan.halted

    def _close(self) -> None:
        """All turns are done: the plan goes. One that a crash leaves is closed by the next run."""
        for store, listing in self.level.listings.items():
            for name in list(listing.prunes):
                store.delete(PRUNES + name)
                del listing.prunes[name]

    @property
    def _plan(self) -> PrunePlan:
        plan = self.level.plan.plan
        assert plan is not None
        return plan

    def _write_plan(self, plan: PrunePlan, *, need_all: bool = False) -> None:
        known = write_plan(
            self.repository.key,
            self.level.plan,
            plan,
            self.level.listings,
            need_all=need_all,
            emit=self.emit,
        )
        self.level = replace(self.level, plan=known)

    def _next_turn(self) -> tuple[str, datetime] | None:
        return next_turn(self._plan, self.options.roles, hold=self.options.hold)

    def _due(self) -> Store | None:
        turn = self._next_turn()
        if turn is None or self.repository.clock.now() < turn[1]:
            return None
        return next(store for store in self.level.stores if store.name == turn[0])

    def _used(self) -> set[bytes]:
        """What the snapshots of all stores reach, by their fresh lists (S6)."""
        listings = self.level.listings
        every = {s for listing in listings.values() for s in listing.snapshots}
        content = []
        for snapshot in sorted(every):
            try:
                content.append(self.repository.load_unpacked(SNAPSHOTS + snapshot))
            except DamagedData:
                holders = [s.name for s, found in listings.items() if snapshot in found.snapshots]
                raise GuardRefused(
                    f"snapshot {snapshot[:8]} cannot be read in any store; nothing was deleted",
                    hint="bring back a store that has a good copy; else remove it by hand: "
                    f"{SNAPSHOTS}{snapshot} in {', '.join(holders)}",
                ) from None
        return reachable([read_snapshot(one).tree for one in content], self.repository.load_tree)

    def _refuse_lost_locks(self) -> None:
        if lost := self.locks.lost():
            words = "; ".join(f"{store.name}: {reason}" for store, reason in lost.items())
            raise GuardRefused(f"{words}; nothing was deleted", hint="run it again")

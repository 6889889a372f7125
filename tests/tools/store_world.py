"""Three folder stores with their troubles, drkit and a stock restic at work on them, and a memory
of what must be true: the world of the store model.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import repository_kit
from stock_restic import Restic
from troubled_stores import ROLES, Clock, TroubledStore

from drkit.errors import DrkitError
from drkit.repository.check.structure import check_structure
from drkit.repository.copies.listing import take_listing
from drkit.repository.copy import copy_snapshots
from drkit.repository.erase.erase import erase, plan_erase
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.format.layout import LOCKS, SNAPSHOTS
from drkit.repository.format.snapshot import Snapshot, read_snapshot
from drkit.repository.heal.reconcile import reconcile
from drkit.repository.index.objects import open_unpacked
from drkit.repository.levels.survey import list_stores, survey
from drkit.repository.prune.decision import PruneLimits
from drkit.repository.prune.prune import PruneOptions, prune
from drkit.repository.records.erased import PathHasher
from drkit.repository.records.ledger import read_ledger
from drkit.repository.records.tombstones import Tombstones, read_tombstones
from drkit.repository.restore.restore import restore_tree
from drkit.stores.folder import FolderStore


class World:
    """Does things, whatever comes of them, and asserts what must hold after each."""

    def __init__(self, root: Path, restic: Path, seed: int) -> None:
        TroubledStore.writes_left = None
        self.root = root
        self.rng = random.Random(seed)
        self.restic = restic
        self.stores = [TroubledStore(name, root / name) for name in ROLES]
        self.clock = Clock()
        self.kit = repository_kit.Kit(self.stores, self.clock).init()
        self.key = self.kit.open().key
        self.source = root / "source"
        self.source.mkdir()
        self.content: dict[str, dict[str, bytes]] = {}
        self.paths: dict[str, str] = {}
        self.deleted: set[str] = set()
        self.removed_there: set[tuple[str, str]] = set()
        self.erased: list[tuple[str, str, datetime]] = []
        """Folder, name, and the moment up to which points must not show it."""
        self.times: dict[str, datetime] = {}
        self.log: list[str] = []
        self.steps = 0
        self.change()

    def change(self) -> None:
        """Other content for the next backup: something new, something old, something gone."""
        for number in self.rng.sample(range(6), 2):
            size = self.rng.choice((0, 10, 3000, 60_000))
            (self.source / f"{number}.bin").write_bytes(
                random.Random(size * 7 + number % 3).randbytes(size)
            )
        gone = self.source / f"{self.rng.randrange(6)}.bin"
        if len(list(self.source.iterdir())) > 2:
            gone.unlink(missing_ok=True)

    def backup(self, *, must: bool = False) -> None:
        self.change()
        before = self.everywhere()
        now = self.tree_of_source()
        complete: set[str] = set()
        try:
            report = self.kit.backup(self.source, min_copies=1)
            complete = {result.store for result in report.stores if result.complete}
        except DrkitError:
            if must:
                raise
        self.learn(before, now, f"/{repository_kit.SOURCE}")
        if must:
            assert complete == set(ROLES), self.kit.warnings[-5:]
        level = [s for s in self.stores if s.name in complete and s.stale is None]
        alive = set().union(*map(self.raw, level))
        told = self.told()
        for store in level:  # all that took part hold the same, but for what was removed there
            held = self.raw(store)
            assert not held & told, f"{store.name}: resurrected {held & told}"
            lacks = {s for s in alive - held if (store.name, s) not in self.removed_there}
            lacks = {s for s in lacks if not self.shows_erased(s)}  # `drkit erase` is not through
            assert not lacks, f"{store.name} lacks {lacks}"
            back = {s for s in held if (store.name, s) in self.removed_there}
            assert not back, f"{store.name}: brought back {back}"

    def forget(self, pick: int) -> None:
        """Removes one snapshot everywhere, as an operator would."""
        alive = sorted(self.everywhere() - self.deleted)
        if len(alive) < 2:
            return
        snapshot = alive[pick % len(alive)]
        with suppress(DrkitError):
            forget_snapshots(self.kit.open(), {snapshot: None}, self.kit.emit)
        self.learn_deletions()

    def prune(self, *, now: bool) -> None:
        options = PruneOptions(
            ROLES,
            lambda repository, store: ("own", check_structure(repository, store)),
            PruneLimits(max_unused=0.0, merge_from=self.rng.choice((3, 50))),
            hold=timedelta(0) if now else timedelta(hours=23),
        )
        with suppress(DrkitError):
            report = prune(self.kit.open(), options, self.kit.emit)
            lied_to = any(store.stale is not None for store in self.stores)  # it is asked again
            assert lied_to or not report.problems, report.problems
        self.clock.advance(timedelta(days=self.rng.choice((1, 1, 7))).total_seconds())

    def erase(self, pick: int) -> None:
        """Takes one path out of all that is there, as far as it comes."""
        alive = self.everywhere() - self.deleted
        paths = sorted({(self.paths[s], name) for s in alive for name in self.content.get(s, {})})
        if not paths:
            return
        folder, name = paths[pick % len(paths)]
        with suppress(DrkitError):
            path = f"{folder}/{name}"
            plan = plan_erase(self.kit.open(), path.__eq__, ())
            self.run_erase(path, plan.checksum)
        self.learn_erasures(folder, name)

    def run_erase(self, path: str, checksum: str | None) -> None:
        """Those that are named, or (without a checksum) what is left to do of earlier ones."""
        before = self.everywhere()
        try:
            erase(self.kit.open(), path.__eq__, (), self.kit.emit, checksum=checksum)
        finally:
            self.learn_rewritten(before, path)

    def copy(self, pick: int) -> None:
        """From one store, as a repository of its own, into all of them."""
        up = [store for store in self.stores if not store.down]
        before = self.everywhere()
        if not up:
            return
        with suppress(DrkitError):
            source = self.kit.open([up[pick % len(up)]])
            found = source.snapshots()
            if found:
                one = found[pick % len(found)]
                wanted, path = self.content[one.id], self.paths[one.id]
                copy_snapshots(source, self.kit.open(), [one], min_copies=1, emit=self.kit.emit)
                self.learn(before, wanted, path)

    def foreign_backup(self, store: TroubledStore) -> None:
        folder = self.root / "foreign"
        folder.mkdir(exist_ok=True)
        (folder / "f.bin").write_bytes(self.rng.randbytes(2000))
        known = sorted(self.source.iterdir())
        if known and self.rng.random() < 0.5:  # something that drkit has stored too
            shutil.copy(known[0], folder / "same.bin")
        before = self.everywhere()
        self.run_restic(store, "backup", str(folder), "--host", "elsewhere")
        now = {p.name: p.read_bytes() for p in folder.iterdir()}
        self.learn(before, now, str(folder))

    def foreign_forget(self, store: TroubledStore, pick: int) -> None:
        held = sorted(self.raw(store))
        if len(held) < 2:
            return
        snapshot = held[pick % len(held)]
        raw = FolderStore(store.name, store.root)  # another program does not know it as down
        knew = snapshot in read_ledger(raw, self.key, self.kit.emit).snapshots
        self.run_restic(store, "forget", snapshot)
        if snapshot not in self.everywhere():
            self.content.pop(snapshot, None)  # it was nowhere else: that is what they wanted
        elif knew:
            self.removed_there.add((store.name, snapshot))

    def foreign_prune(self, store: TroubledStore) -> None:
        self.run_restic(store, "prune", "--max-unused", "0")

    def die_during(self, work: str, writes: int, pick: int) -> None:
        TroubledStore.writes_left = writes
        try:
            {
                "backup": self.backup,
                "forget": lambda: self.forget(pick),
                "erase": lambda: self.erase(pick),
            }.get(work, lambda: self.prune(now=True))()
        finally:
            TroubledStore.writes_left = None
            for store in self.stores:  # as of a dead process of this machine: the next one does it
                shutil.rmtree(store.root / LOCKS, ignore_errors=True)
                (store.root / LOCKS).mkdir()
        self.learn_deletions()

    def heal(self) -> None:
        """All is well again, and what stood apart is reconciled as an operator would."""
        for store in self.stores:
            store.down, store.stale = False, None
        for wanted in ("diverged", "lost"):  # one that only lost snapshots is who the others follow
            repository = self.kit.open()
            found = survey(repository, list_stores(repository, self.kit.emit), self.kit.emit)
            for name, standing in found.standings.items():
                if getattr(standing, wanted):
                    reconcile(self.kit.open(), name, "spread", self.kit.emit)
        self.removed_there.clear()
        if self.erased:
            self.run_erase("", None)
            self.learn_deletions()
        self.backup(must=True)

    def learn(self, before: set[str], now: dict[str, bytes], path: str) -> None:
        """Whatever snapshot came into being, wherever, holds what was there to be saved."""
        for snapshot in self.everywhere() - before:
            self.content[snapshot] = now
            self.paths[snapshot] = path
            self.times[snapshot] = self.read(snapshot).time

    def learn_rewritten(self, before: set[str], path: str) -> None:
        """Points that were written anew are the old ones without what was erased."""
        with self.all_up():
            known = self.known_tombstones()
        for snapshot in sorted(self.everywhere() - before):
            new = self.read(snapshot)
            olds = [
                old
                for old, time in self.times.items()
                if time == new.time and old in self.content and old in before
            ]
            assert olds, f"{snapshot} was written anew from nothing"
            folder = self.paths[olds[0]]
            gone = {name for at, name, until in self.erased if at == folder and new.time <= until}
            if known.erased_paths and path.startswith(f"{folder}/"):
                gone.add(path[len(folder) + 1 :])
            held = self.content[olds[0]]
            self.content[snapshot] = {n: c for n, c in held.items() if n not in gone}
            self.paths[snapshot], self.times[snapshot] = folder, new.time

    def learn_erasures(self, folder: str, name: str) -> None:
        """An erasure is what some store has on record, and nothing else is."""
        with self.all_up():
            known = self.known_tombstones()
        at = known.erased_paths.get(PathHasher(self.key)(f"{folder}/{name}"))
        if at is not None:
            self.erased.append((folder, name, at))
        self.deleted |= {identity for kind, identity in known.deletions if kind == "snapshot"}

    def shows_erased(self, snapshot: str) -> bool:
        return any(
            self.paths[snapshot] == folder
            and name in self.content[snapshot]
            and self.times[snapshot] <= at
            for folder, name, at in self.erased
        )

    def read(self, snapshot: str) -> Snapshot:
        """The snapshot as it lies in some store, whatever is down."""
        for store in self.stores:
            raw = FolderStore(store.name, store.root)
            if snapshot in self.raw(store):
                return read_snapshot(open_unpacked(self.key, *self.sealed(raw, snapshot)))
        raise AssertionError(f"{snapshot} is nowhere")

    def sealed(self, store: FolderStore, snapshot: str) -> tuple[str, bytes]:
        return SNAPSHOTS + snapshot, store.get(SNAPSHOTS + snapshot)

    def learn_deletions(self) -> None:
        """A deletion is what some store has on record, and nothing else is."""
        with self.all_up():
            known = self.known_tombstones()
        self.deleted |= {identity for kind, identity in known.deletions if kind == "snapshot"}

    def told(self) -> set[str]:
        """Snapshots whose deletion is on record where it can be read now: what only a store knows
        that is away, the others may hold as yet.
        """
        listings = {s: take_listing(s) for s in self.stores if not s.down and s.stale is None}
        known = read_tombstones(self.key, listings, self.kit.emit)
        return {identity for kind, identity in known.deletions if kind == "snapshot"}

    def known_tombstones(self) -> Tombstones:
        repository = self.kit.open()
        listings = list_stores(repository, self.kit.emit)
        return read_tombstones(repository.key, listings, self.kit.emit)

    @contextmanager
    def all_up(self) -> Iterator[None]:
        """Meanwhile every store answers, with what it has."""
        down = [(store, store.down, store.stale) for store in self.stores]
        left, TroubledStore.writes_left = TroubledStore.writes_left, None
        for store in self.stores:
            store.down, store.stale = False, None
        yield
        TroubledStore.writes_left = left
        for store, was_down, stale in down:
            store.down, store.stale = was_down, stale

    def check(self, *, with_restic: bool) -> None:
        """What must hold after every step, with whatever is down or half done."""
        alive = set(self.content) - self.deleted
        assert alive <= self.everywhere(), f"lost: {alive - self.everywhere()}"
        for store in self.stores:
            raw = FolderStore(store.name, store.root)
            assert check_structure(self.kit.open([raw]), raw) == ()
            if with_restic:
                self.run_restic(store, "check", "--no-lock")

    def check_all(self) -> None:
        """The end of a sequence: every byte, by stock restic, in every store; every snapshot."""
        alive = {s: found for s, found in self.content.items() if s not in self.deleted}
        for store in self.stores:
            said = self.run_restic(store, "check", "--read-data", "--no-lock")
            assert "no errors were found" in said, said
            listed = {
                one["id"] for one in json.loads(self.run_restic(store, "snapshots", "--json"))
            }
            assert listed == set(alive), (store.name, listed ^ set(alive))
        for number, (snapshot, wanted) in enumerate(sorted(alive.items())):
            alone = self.kit.open([self.stores[number % 3]])
            found = next(one for one in alone.snapshots() if one.id == snapshot)
            target = self.root / "out" / snapshot
            node = alone.find_node(found.snapshot, self.paths[snapshot])
            restore_tree(alone, node, target, self.kit.emit)
            assert {p.name: p.read_bytes() for p in target.iterdir()} == wanted
            shutil.rmtree(target)
        assert not any(map(self.shows_erased, alive)), "what was erased is shown"

    def tree_of_source(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.source.iterdir()}

    def raw(self, store: TroubledStore) -> set[str]:
        """The snapshots that really lie there."""
        folder = store.root / SNAPSHOTS
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

    def everywhere(self) -> set[str]:
        return set().union(*map(self.raw, self.stores))

    def run_restic(self, store: TroubledStore, *arguments: str) -> str:
        return Restic(self.restic, store.root, repository_kit.PASSWORD)(*arguments)

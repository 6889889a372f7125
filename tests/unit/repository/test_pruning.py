"""Prune: marked first, deleted later, one store after the other, and never what is still used."""

from __future__ import annotations

import hashlib
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

from drkit.errors import DamagedData, DrkitError, GuardRefused, RepositoryLocked
from drkit.repository import consolidate, prune_plan
from drkit.repository.compression import decompress
from drkit.repository.forget import forget_snapshots
from drkit.repository.layout import DATA, INDEX, LOCKS, PRUNES, SNAPSHOTS
from drkit.repository.pack import PackedBlob
from drkit.repository.prune import PruneOptions, PruneReport, evict, prune
from drkit.repository.prune_decision import PruneLimits
from drkit.repository.retaining import renew_locks
from drkit.repository.structure import check_structure
from drkit.repository.survey import list_stores, survey
from drkit.stores.interface import Retained, StoreUnreachable
from drkit.stores.memory import MemoryStore

ROLES = {"gcs": "primary", "s3": "backup", "b2": "archive"}
DAY = timedelta(days=1)


@pytest.fixture
def three(kit: ModuleType) -> Any:
    return kit.Kit([MemoryStore(name) for name in ROLES]).init()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def options(**changes: Any) -> PruneOptions:
    return PruneOptions(
        **{
            "roles": ROLES,
            "check": lambda repository, store: ("own", check_structure(repository, store)),
            "limits": PruneLimits(merge_from=4),
            **changes,
        }
    )


def run_prune(kit: Any, **changes: Any) -> PruneReport:
    return prune(kit.open(), options(**changes), kit.emit)


def churn(kit: Any, source: Path, *, points: int = 4, seed: int = 1) -> list[str]:
    """Points whose large file is other noise each time; their ids."""
    rng = random.Random(seed)
    made = []
    for number in range(points):
        (source / "noise.bin").write_bytes(rng.randbytes(40_000))
        (source / f"note-{number}.md").write_text(f"note {number} " * 200)
        made.append(kit.backup(source, min_copies=len(kit.stores)).snapshot_id)
    return made


def forget_all_but_last(kit: Any, made: list[str]) -> None:
    forget_snapshots(kit.open(), dict.fromkeys(made[:-1]), kit.emit)


def packs(store: MemoryStore) -> set[str]:
    return {info.name.rpartition("/")[2] for info in store.list(DATA)}


def indexes(store: MemoryStore) -> set[str]:
    return {info.name for info in store.list(INDEX)}


def sound(kit: Any, stores: Any = None) -> bool:
    """Each store for itself holds what its snapshots reach, and every object is what it says."""
    repository = kit.open()
    for store in stores or kit.stores:
        assert check_structure(repository, store) == ()
        for name, content in store.objects.items():
            if name.startswith((DATA, INDEX, SNAPSHOTS)):
                assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]
    return True


def test_a_prune_walks_from_store_to_store_and_leaves_each_sound(
    three: Any, source: Path, tmp_path: Path
) -> None:
    made = churn(three, source)
    forget_all_but_last(three, made)
    before = packs(three.stores[0])
    marked = run_prune(three)
    assert marked.marked_bytes > 100_000
    assert all(before <= packs(store) for store in three.stores), "nothing is deleted yet"
    deleted: dict[str, datetime] = {}
    while any(list(store.list(PRUNES)) for store in three.stores):
        three.clock.advance(DAY.total_seconds())
        for store in run_prune(three).deleted:
            deleted[store] = three.clock.now()
            assert sound(three, [s for s in three.stores if s.name == store])
        three.backup(source, min_copies=3)
        assert len(deleted) <= 3
    assert list(deleted) == ["gcs", "s3", "b2"]
    assert deleted["s3"] - deleted["gcs"] >= timedelta(hours=23)
    assert deleted["b2"] - deleted["gcs"] >= timedelta(days=7)
    assert not any(packs(store) & set(marked.decision.remove) for store in three.stores)
    assert packs(three.stores[0]) == packs(three.stores[1]) == packs(three.stores[2])
    assert sound(three)
    assert three.restore(tmp_path / "out").files == 5


def test_S6_nothing_is_deleted_anywhere_while_a_store_is_missing(three: Any, source: Path) -> None:
    made = churn(three, source)
    forget_all_but_last(three, made)
    three.stores[2].down = True
    with pytest.raises(GuardRefused, match=r"missing.*b2"):
        run_prune(three)
    three.stores[2].down = False
    run_prune(three)
    three.clock.advance(DAY.total_seconds())
    three.stores[1].down = True
    before = packs(three.stores[0])
    with pytest.raises(GuardRefused, match=r"missing.*s3"):
        run_prune(three)
    assert packs(three.stores[0]) == before
    three.stores[1].down = False
    assert run_prune(three).deleted.keys() == {"gcs"}


def test_S6_a_snapshot_that_only_one_store_lists_keeps_its_packs_everywhere(
    three: Any, source: Path
) -> None:
    made = churn(three, source)
    for snapshot in made[:-1]:
        forget_snapshots(three.open(), {snapshot: frozenset({"gcs", "s3"})}, three.emit)
    report = run_prune(three, limits=PruneLimits(merge_from=99))
    assert report.marked_bytes == 0
    assert sound(three, [three.stores[2]])


def test_S6_an_evicted_store_is_left_alone_and_the_others_go_on(three: Any, source: Path) -> None:
    made = churn(three, source)
    forget_all_but_last(three, made)
    three.stores[2].down = True
    evict(three.open(), "b2", three.emit)
    run_prune(three)
    three.clock.advance(DAY.total_seconds())
    assert run_prune(three).deleted.keys() == {"gcs"}
    three.stores[2].down = False
    held = dict(three.stores[2].objects)
    report = three.backup(source, min_copies=2)
    assert {r.store for r in report.stores if r.complete} == {"gcs", "s3"}
    assert {n: d for n, d in three.stores[2].objects.items() if not n.startswith(LOCKS)} == held
    assert made[0] not in {info.name[-64:] for info in three.stores[0].list(SNAPSHOTS)}


def test_S6_a_store_that_is_not_sound_after_its_turn_stops_all_others(
    three: Any, source: Path
) -> None:
    made = churn(three, source)
    forget_all_but_last(three, made)
    run_prune(three)
    three.clock.advance(DAY.total_seconds())
    wrong = options(check=lambda repository, store: ("own", ("a pack is gone",)))
    assert prune(three.open(), wrong, three.emit).problems == ("gcs: a pack is gone",)
    before = packs(three.stores[1])
    three.clock.advance(10 * DAY.total_seconds())
    report = prune(three.open(), wrong, three.emit)
    assert (report.deleted, report.problems) == ({}, ("gcs: a pack is gone",))
    assert packs(three.stores[1]) == before
    assert run_prune(three).deleted.keys() == {"s3"}, "it was mended"


def test_S6_what_another_program_uses_after_the_marking_is_spared(
    three: Any, source: Path, kit: ModuleType
) -> None:
    made = churn(three, source)
    forgotten = three.stores[1].objects[SNAPSHOTS + made[1]]
    forget_all_but_last(three, made)
    run_prune(three)
    # restic, on s3 alone, deduplicates against the packs that still lie there
    name = SNAPSHOTS + foreign(three, forgotten)
    three.stores[1].objects[name] = three.foreign_bytes
    three.clock.advance(DAY.total_seconds())
    assert run_prune(three).deleted.keys() == {"gcs"}
    assert sound(three)
    assert all(name in store.objects for store in three.stores)


def foreign(kit: Any, sealed: bytes) -> str:
    """The same snapshot with another time, as another program would write it."""
    key = kit.open().key
    plain = key.open(sealed)
    values = orjson.loads(decompress(plain[1:]) if plain[:1] == b"\x02" else plain)
    values["hostname"] = "elsewhere"
    kit.foreign_bytes = key.seal(orjson.dumps(values))
    return hashlib.sha256(kit.foreign_bytes).hexdigest()


def test_S6_a_store_that_already_deleted_gets_back_what_is_used_again(
    three: Any, source: Path
) -> None:
    made = churn(three, source)
    forgotten = three.stores[1].objects[SNAPSHOTS + made[1]]
    forget_all_but_last(three, made)
    run_prune(three)
    three.clock.advance(DAY.total_seconds())
    assert run_prune(three).deleted.keys() == {"gcs"}
    name = SNAPSHOTS + foreign(three, forgotten)
    three.stores[1].objects[name] = three.foreign_bytes
    three.backup(source, min_copies=3)
    assert name in three.stores[0].objects
    assert sound(three)
    for _ in range(12):
        three.clock.advance(DAY.total_seconds())
        run_prune(three)
    assert sound(three)


def test_S6_in_a_lone_store_too_what_is_used_again_is_spared(kit: ModuleType, source: Path) -> None:
    alone = kit.Kit([MemoryStore("gcs")]).init()
    made = churn(alone, source)
    forgotten = alone.stores[0].objects[SNAPSHOTS + made[1]]
    forget_all_but_last(alone, made)
    run_prune(alone, roles={"gcs": "primary"})
    name = SNAPSHOTS + foreign(alone, forgotten)
    alone.stores[0].objects[name] = alone.foreign_bytes
    alone.clock.advance(DAY.total_seconds())
    assert run_prune(alone, roles={"gcs": "primary"}).deleted["gcs"] > 0
    assert sound(alone)


def half_used(kit: Any, source: Path) -> tuple[str, PackedBlob, PackedBlob]:
    """A pack of which one blob is needed and one is not."""
    noise = random.Random(3)
    (source / "stays.bin").write_bytes(noise.randbytes(20_000))
    (source / "goes.bin").write_bytes(noise.randbytes(30_000))
    first = kit.backup(source, min_copies=3).snapshot_id
    (source / "goes.bin").unlink()
    made = [first, kit.backup(source, min_copies=3).snapshot_id]
    repository = kit.open()
    blobs = {}
    for name, length in (("stays", 20_000), ("goes", 30_000)):
        node = repository.find_node(repository.snapshots()[0].snapshot, f"/sncp/{name}.bin")
        place = repository.index.find(node.content[0])
        blobs[name] = PackedBlob(node.content[0], place.kind, place.offset, place.length, 0)
        assert place.length >= length
    forget_all_but_last(kit, made)
    return place.pack_id, blobs["stays"], blobs["goes"]


def test_S11_a_needed_blob_that_is_damaged_everywhere_stops_the_prune(
    three: Any, source: Path
) -> None:
    pack, needed, _ = half_used(three, source)
    for store in three.stores:
        store.damage(f"{DATA}{pack[:2]}/{pack}", at=needed.offset + 100)
    before = packs(three.stores[0])
    with pytest.raises(DamagedData, match="damaged or missing in every store"):
        run_prune(three, limits=PruneLimits(max_unused=0.0))
    assert before <= packs(three.stores[0])
    assert not list(three.stores[0].list(PRUNES))


def test_S11_damage_that_nobody_needs_is_left_behind(
    three: Any, source: Path, tmp_path: Path
) -> None:
    pack, _, unused = half_used(three, source)
    for store in three.stores:
        store.damage(f"{DATA}{pack[:2]}/{pack}", at=unused.offset + 100)
    run_prune(three, limits=PruneLimits(max_unused=0.0))
    for _ in range(10):
        three.clock.advance(DAY.total_seconds())
        run_prune(three, limits=PruneLimits(max_unused=0.0))
    assert pack not in packs(three.stores[0])
    assert sound(three)
    assert three.restore(tmp_path / "out").files == 1


def test_S9_prune_waits_for_a_backup_and_a_backup_for_it(three: Any, source: Path) -> None:
    from drkit.repository.locks import take_locks

    churn(three, source, points=1)
    locks = take_locks(three.open(), exclusive=False, need_all=True, emit=three.emit)
    with pytest.raises(RepositoryLocked):
        run_prune(three)
    locks.release(three.emit)
    locks = take_locks(three.open(), exclusive=True, need_all=True, emit=three.emit)
    with pytest.raises(RepositoryLocked):
        three.backup(source)
    locks.release(three.emit)


def test_marked_packs_are_not_trusted_by_the_next_backup(three: Any, source: Path) -> None:
    (source / "old.bin").write_bytes(random.Random(5).randbytes(50_000))
    first = three.backup(source, min_copies=3).snapshot_id
    (source / "old.bin").unlink()
    made = [first, *churn(three, source, points=1)]
    forget_all_but_last(three, made)
    run_prune(three)
    (source / "old.bin").write_bytes(random.Random(5).randbytes(50_000))
    assert three.backup(source, min_copies=3).bytes_added > 50_000, "it is stored anew"
    for _ in range(12):
        three.clock.advance(DAY.total_seconds())
        run_prune(three)
    assert sound(three)


def test_S13_packs_that_may_not_be_deleted_are_retained_and_go_later(
    kit: ModuleType, source: Path
) -> None:
    stores = [MemoryStore("gcs"), Locked("s3")]
    two = kit.Kit(stores).init()
    made = churn(two, source)
    forget_all_but_last(two, made)
    roles = {"gcs": "primary", "s3": "backup"}
    run_prune(two, roles=roles)
    stores[1].locked = set(stores[1].objects)
    for _ in range(3):
        two.clock.advance(DAY.total_seconds())
        run_prune(two, roles=roles)
    assert packs(stores[1]) > packs(stores[0])
    assert any("retained" in event.text for event in two.events if hasattr(event, "text"))
    stores[1].locked = set()
    for _ in range(6):
        two.clock.advance(DAY.total_seconds())
        run_prune(two, roles=roles)
    assert packs(stores[1]) == packs(stores[0])
    assert sound(two)


def test_S13_the_lock_of_a_marked_pack_is_not_renewed(kit: ModuleType, source: Path) -> None:
    store = Retained30("gcs")
    alone = kit.Kit([store]).init()
    forget_all_but_last(alone, churn(alone, source))
    run_prune(alone, roles={"gcs": "primary"})
    repository = alone.open()
    marked = survey(repository, list_stores(repository, alone.emit), alone.emit).plan.marked
    renew_locks(repository, now=alone.clock.now(), emit=alone.emit)
    renewed = {name.rpartition("/")[2] for name in store.renewed if name.startswith(DATA)}
    assert marked
    assert renewed == packs(store) - marked.keys()


def test_small_packs_and_many_indexes_become_few(
    three: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consolidate, "MANY_INDEXES", 3)
    churn(three, source, points=9)
    assert len(indexes(three.stores[0])) == 9
    run_prune(three)
    assert len(indexes(three.stores[0])) <= 3
    for _ in range(12):
        three.clock.advance(DAY.total_seconds())
        run_prune(three)
    assert len(packs(three.stores[0])) == 2, "one of trees, one of data"
    assert len(indexes(three.stores[0])) == 1
    assert indexes(three.stores[0]) == indexes(three.stores[1]) == indexes(three.stores[2])
    assert sound(three)


def test_indexes_are_kept_few_while_a_plan_waits(
    three: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consolidate, "MANY_INDEXES", 3)
    forget_all_but_last(three, churn(three, source))
    run_prune(three)
    churn(three, source, points=6, seed=2)
    assert len(indexes(three.stores[2])) > 6
    run_prune(three)
    assert len(indexes(three.stores[2])) <= 3
    assert sound(three)


def test_what_a_killed_backup_left_is_taken_away(three: Any, source: Path) -> None:
    churn(three, source, points=1)
    orphan = "ab" * 32
    three.stores[0].put(f"{DATA}ab/{orphan}", b"x" * 1000, size_bytes=1000)
    run_prune(three)
    three.clock.advance(DAY.total_seconds())
    assert run_prune(three).deleted["gcs"] == 1000
    assert orphan not in packs(three.stores[0])


@pytest.mark.parametrize("seed", range(6))
def test_a_prune_that_dies_after_any_write_is_finished_by_the_next_runs(
    kit: ModuleType, source: Path, seed: int, tmp_path: Path
) -> None:
    """Dies again and again, each time a few writes later, until it gets through."""
    Mortal.left = None
    stores = [Mortal(name) for name in ROLES]
    three = kit.Kit(stores).init()
    forget_all_but_last(three, churn(three, source))
    rng = random.Random(seed)
    deaths = 0
    for _ in range(9):
        Mortal.left, Mortal.dead = rng.randint(3, 40), False
        with suppress(DrkitError):
            run_prune(three)
        deaths += Mortal.dead
        Mortal.left = None
        for store in stores:
            for info in list(store.list(LOCKS)):
                store.delete(info.name)  # as those of a dead process are
        assert sound(three)
        three.backup(source, min_copies=3)
        three.clock.advance(DAY.total_seconds())
    while (report := run_prune(three)).next_turn:
        three.clock.advance((report.next_turn[1] - three.clock.now()).total_seconds())
    assert deaths
    assert sound(three)
    assert three.restore(tmp_path / "out").files == 5
    assert packs(stores[0]) == packs(stores[1]) == packs(stores[2])
    assert not any("another program" in warning for warning in three.warnings)


class Mortal(MemoryStore):
    """After `left` writes in all stores nothing is written any more: as if the process was killed
    there, for all that the stores ever see.
    """

    left: int | None = None
    dead = False

    def put(self, name: str, data: Any, *, size_bytes: int) -> None:
        self._count()
        super().put(name, data, size_bytes=size_bytes)

    def delete(self, name: str) -> None:
        self._count()
        super().delete(name)

    def _count(self) -> None:
        if Mortal.left is not None:
            if Mortal.left <= 0:
                Mortal.dead = True
                raise StoreUnreachable(f"{self.name}: dead", hint="a test asked so")
            Mortal.left -= 1


class Retained30(MemoryStore):
    """Locks objects for thirty days."""

    retention = timedelta(days=30)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.renewed: set[str] = set()

    def retained_until(self, name: str) -> datetime | None:
        return None

    def retain(self, name: str, until: datetime) -> None:
        self.renewed.add(name)


class Locked(MemoryStore):
    """Objects in `locked` are under retention."""

    locked: set[str] = set()

    def delete(self, name: str) -> None:
        if name in self.locked and name.startswith(DATA):
            until = datetime(2026, 12, 31, tzinfo=UTC)
            raise Retained(f"{self.name}: {name} is retained", hint="wait", until=until)
        super().delete(name)


def test_a_plan_that_cannot_be_read_is_no_plan_and_stops_deleting(three: Any, source: Path) -> None:
    forget_all_but_last(three, churn(three, source))
    run_prune(three)
    for store in three.stores:
        for info in list(store.list(prune_plan.PRUNES)):
            store.damage(info.name, at=30)
    with pytest.raises(GuardRefused, match="damaged"):
        run_prune(three)
    assert sound(three)

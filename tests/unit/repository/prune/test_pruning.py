"""Prune: marked first, deleted later, one store after the other, and never what is still used."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prune_world import (
    ROLES,
    Locked,
    Mortal,
    Retained30,
    churn,
    forget_all_but_last,
    indexes,
    options,
    packs,
    run_prune,
    sound,
)
from stores_seen import Recorder, names

from drkit.errors import DamagedData, DrkitError, GuardRefused, RepositoryLocked
from drkit.repository.forget.retaining import renew_locks
from drkit.repository.format.layout import DATA, LOCKS, PRUNES
from drkit.repository.format.pack import PackedBlob
from drkit.repository.levels.survey import list_stores, survey
from drkit.repository.prune import consolidate
from drkit.repository.prune.decision import PruneLimits
from drkit.repository.prune.prune import prune
from drkit.repository.records import prune_plan
from drkit.stores.interface import StoreRefused, StoreUnreachable
from drkit.stores.memory import MemoryStore

DAY = timedelta(days=1)


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
    from drkit.repository.locks.locks import take_locks

    churn(three, source, points=1)
    locks = take_locks(three.open(), exclusive=False, need_all=True, emit=three.emit)
    with pytest.raises(RepositoryLocked):
        run_prune(three)
    locks.release(three.emit)
    locks = take_locks(three.open(), exclusive=True, need_all=True, emit=three.emit)
    with pytest.raises(RepositoryLocked):
        three.backup(source)
    locks.release(three.emit)


def test_S9_what_was_written_since_the_index_was_read_is_known_to_the_prune(
    three: Any, source: Path
) -> None:
    made = churn(three, source, points=2)
    repository = three.open()
    assert any(repository.index.packs())
    made += churn(three, source, points=2, seed=2)
    forget_all_but_last(three, made)
    assert prune(repository, options(), three.emit).marked_bytes > 0
    assert sound(three)


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


def test_a_plan_that_cannot_be_read_is_no_plan_and_stops_deleting(three: Any, source: Path) -> None:
    forget_all_but_last(three, churn(three, source))
    run_prune(three)
    for store in three.stores:
        for info in list(store.list(prune_plan.PRUNES)):
            store.damage(info.name, at=30)
    with pytest.raises(GuardRefused, match="damaged"):
        run_prune(three)
    assert sound(three)


def test_a_plan_that_a_store_refused_reaches_it_with_the_next_run(
    kit: ModuleType, source: Path
) -> None:
    stores = [MemoryStore("gcs"), Recorder("s3")]
    roles = {"gcs": "primary", "s3": "backup"}
    two = kit.Kit(stores).init()
    forget_all_but_last(two, churn(two, source))
    run_prune(two, roles=roles)
    two.clock.advance(DAY.total_seconds())

    def refuse(name: str) -> None:
        if name.startswith(PRUNES):
            raise StoreRefused("no", hint="wait")

    stores[1].before = refuse
    assert run_prune(two, roles=roles).deleted.keys() == {"gcs"}
    stores[1].before = lambda name: None
    newest = max(names(stores[0], PRUNES))
    assert newest not in names(stores[1], PRUNES)
    assert not run_prune(two, roles=roles).deleted
    assert names(stores[0], PRUNES).keys() == names(stores[1], PRUNES).keys() == {newest}


def test_a_plan_that_no_store_takes_is_none(three: Any) -> None:
    repository = three.open()
    listings = list_stores(repository, three.emit)
    plan = prune_plan.PrunePlan(0, three.clock.now(), "host", {"ab" * 32: 1})

    def write(need_all: bool) -> prune_plan.KnownPlan:
        known = prune_plan.KnownPlan()
        return prune_plan.write_plan(
            repository.key, known, plan, listings, need_all=need_all, emit=three.emit
        )

    three.stores[0].down = True
    with pytest.raises(StoreUnreachable):
        write(need_all=True)
    assert write(need_all=False).marked == plan.remove
    three.stores[1].down = three.stores[2].down = True
    with pytest.raises(StoreUnreachable):
        write(need_all=False)

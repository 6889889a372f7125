"""A store that another program pruned stands apart until an operator has seen the plan (S7)."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.errors import GuardRefused
from drkit.repository.check.structure import check_structure
from drkit.repository.forget import forget as forgetting
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.format.layout import BESIDE, DATA, SNAPSHOTS
from drkit.repository.heal.reconcile import plan_reconcile, reconcile
from drkit.repository.levels.survey import list_stores, survey
from drkit.repository.prune.decision import PruneLimits
from drkit.repository.prune.prune import PruneOptions, evict, prune
from drkit.stores.memory import MemoryStore


def backup(kit: Any, source: Path, *, stores: int = 3) -> str:
    (source / "noise.bin").write_bytes(random.randbytes(30_000))
    snapshot: str = kit.backup(source, min_copies=stores).snapshot_id
    return snapshot


def repacked_by_another(kit: Any, store: MemoryStore, *forgotten: str) -> None:
    """What `restic forget --prune` does to one store: it knows nothing of drkit's notes."""
    beside = {n: d for n, d in store.objects.items() if n.startswith(BESIDE)}
    for name in beside:
        del store.objects[name]
    for snapshot in forgotten:
        del store.objects[SNAPSHOTS + snapshot]
    limits = PruneLimits(max_unused=0, merge_from=2)
    options = PruneOptions({store.name: "primary"}, lambda *_: ("", ()), limits, hold=timedelta(0))
    prune(kit.open([store]), options, kit.emit)
    for name in [n for n in store.objects if n.startswith(BESIDE)]:
        del store.objects[name]
    store.objects |= beside


def standings(kit: Any) -> dict[str, Any]:
    repository = kit.open()
    return dict(survey(repository, list_stores(repository, kit.emit), kit.emit).standings)


def snapshots(store: MemoryStore) -> set[str]:
    return {name.removeprefix(SNAPSHOTS) for name in store.objects if name.startswith(SNAPSHOTS)}


def packs(store: MemoryStore) -> set[str]:
    return {name for name in store.objects if name.startswith(DATA)}


def all_sound(kit: Any) -> bool:
    repository = kit.open()
    return not any(check_structure(repository, store) for store in kit.stores)


def test_S7_a_repacked_store_is_read_but_not_written(
    three: Any, source: Path, tmp_path: Path
) -> None:
    made = [backup(three, source) for _ in range(3)]
    repacked_by_another(three, three.stores[1], made[0])
    assert standings(three)["s3"].diverged
    held = packs(three.stores[1])
    assert three.restore(tmp_path / "out", [three.stores[1]]).files == 1
    last = backup(three, source, stores=2)
    assert packs(three.stores[1]) == held
    assert [last in snapshots(store) for store in three.stores] == [True, False, True]
    assert not held & packs(three.stores[0]) - packs(three.stores[2]), "nothing of it is spread"
    assert all_sound(three)


def test_S7_stores_with_other_packs_are_equal_when_they_reach_the_same(
    three: Any, source: Path
) -> None:
    from drkit.repository.trees.reach import reachable

    for _ in range(3):
        backup(three, source)
    repacked_by_another(three, three.stores[1])
    assert packs(three.stores[1]) != packs(three.stores[0])
    reached = []
    for store in three.stores[:2]:
        alone = three.open([store])
        trees = [listed.snapshot.tree for listed in alone.snapshots()]
        reached.append(reachable(trees, alone.load_tree))
        assert all(blob in alone.index for blob in reached[-1])
    assert reached[0] == reached[1]


def test_S7_a_plan_is_shown_and_reconciling_makes_it_one_of_the_others(
    three: Any, source: Path
) -> None:
    made = [backup(three, source) for _ in range(3)]
    repacked_by_another(three, three.stores[1], made[0])
    made.append(backup(three, source, stores=2))
    before = dict(three.stores[1].objects)
    plan = plan_reconcile(three.open(), "s3", None, three.emit)
    assert dict(three.stores[1].objects) == before, "a plan changes nothing"
    assert plan.bring_back == {made[0]}
    assert plan.to_store
    assert plan.left_over
    reconcile(three.open(), "s3", None, three.emit)
    assert snapshots(three.stores[1]) == set(made)
    assert not any(found.diverged or found.lost for found in standings(three).values())
    backup(three, source, stores=3)
    assert all_sound(three)
    assert packs(three.stores[0]) == packs(three.stores[1]) - plan_packs(plan)


def plan_packs(plan: Any) -> set[str]:
    return {f"{DATA}{pack[:2]}/{pack}" for pack in plan.left_over}


def test_S7_what_only_the_repacked_store_has_goes_to_the_others(three: Any, source: Path) -> None:
    made = [backup(three, source) for _ in range(3)]
    away = [dict(store.objects) for store in (three.stores[0], three.stores[2])]
    own = backup(three, source)  # a point that two stores lose, as if restic had written it
    three.stores[0].objects, three.stores[2].objects = away
    repacked_by_another(three, three.stores[1], made[0])
    plan = reconcile(three.open(), "s3", None, three.emit)
    assert plan.own == {own}
    assert plan.to_others
    assert all(snapshots(store) == {*made, own} for store in three.stores)
    assert all_sound(three)


def test_S7_a_lone_store_is_right_by_itself(kit: ModuleType, source: Path) -> None:
    alone = kit.Kit([MemoryStore("gcs")]).init()
    made = [backup(alone, source, stores=1) for _ in range(3)]
    repacked_by_another(alone, alone.stores[0], made[0])
    assert backup(alone, source, stores=1) in snapshots(alone.stores[0])
    assert all_sound(alone)


def test_S7_an_evicted_store_comes_back_without_what_was_deleted_meanwhile(
    three: Any, source: Path
) -> None:
    made = [backup(three, source) for _ in range(3)]
    three.stores[2].down = True
    evict(three.open(), "b2", three.emit)
    forget_snapshots(three.open(), {made[0]: None}, three.emit)
    three.stores[2].down = False
    backup(three, source, stores=2)
    assert made[0] in snapshots(three.stores[2])
    reconcile(three.open(), "b2", None, three.emit)
    assert all(made[0] not in snapshots(store) for store in three.stores)
    backup(three, source, stores=3)
    assert all_sound(three)


def test_S7_snapshots_that_may_have_been_deleted_need_a_decision(
    three: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "REMEMBERED", 0)
    made = [backup(three, source) for _ in range(3)]
    image = dict(three.stores[2].objects)
    for snapshot in made[:2]:
        forget_snapshots(three.open(), {snapshot: None}, three.emit)
    three.stores[2].objects = image
    with pytest.raises(GuardRefused, match="may be deleted ones"):
        reconcile(three.open(), "b2", None, three.emit)
    reconcile(three.open(), "b2", "remove", three.emit)
    assert all(snapshots(store) == {made[2]} for store in three.stores)
    assert all_sound(three)


def test_S5_a_snapshot_that_another_program_removed_can_be_brought_back(
    three: Any, source: Path
) -> None:
    made = [backup(three, source) for _ in range(2)]
    del three.stores[1].objects[SNAPSHOTS + made[0]]
    backup(three, source)
    assert made[0] not in snapshots(three.stores[1])
    reconcile(three.open(), "s3", None, three.emit)
    assert made[0] in snapshots(three.stores[1])
    assert not any(found.lost for found in standings(three).values())

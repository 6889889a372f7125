"""Deletions are recorded before they are done, reach stores that were away, and never come back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from prune_world import Mortal
from stores_seen import Recorder

from drkit.errors import DrkitError, GuardRefused, RepositoryLocked
from drkit.repository.forget import forget as forgetting
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.format.layout import BESIDE, DELETIONS, LEDGER, LOCKS, SNAPSHOTS
from drkit.repository.levels.survey import list_stores, survey
from drkit.repository.locks.locks import take_locks
from drkit.repository.prune.prune import evict
from drkit.repository.records.tombstones import Deletion, merge
from drkit.repository.repository import join_store
from drkit.stores.interface import StoreRefused
from drkit.stores.memory import MemoryStore, Trouble


@pytest.fixture
def source(kit: ModuleType, tmp_path: Path) -> Path:
    return kit.make_plain_tree(tmp_path / "source", files=2)


def held(store: MemoryStore) -> set[str]:
    return {info.name.removeprefix(SNAPSHOTS) for info in store.list(SNAPSHOTS)}


def forget(kit: Any, snapshot: str, stores: frozenset[str] | None = None) -> Any:
    return forget_snapshots(kit.open(), {snapshot: stores}, kit.emit)


def standing(kit: Any, store: str) -> Any:
    repository = kit.open()
    return survey(repository, list_stores(repository, kit.emit), kit.emit).standings[store]


def test_a_forgotten_snapshot_is_gone_from_every_store_and_recorded(
    three: Any, source: Path
) -> None:
    first = three.backup(source, min_copies=3).snapshot_id
    second = three.backup(source, min_copies=3).snapshot_id
    report = forget(three, first)
    assert report.removed == {name: frozenset({first}) for name in ("gcs", "s3", "b2")}
    assert [held(store) for store in three.stores] == [{second}] * 3
    assert all(list(store.list(DELETIONS)) for store in three.stores)
    assert not any(list(store.list(LOCKS)) for store in three.stores)


def test_S5_a_store_that_was_away_brings_nothing_back(three: Any, source: Path) -> None:
    first = three.backup(source, min_copies=3).snapshot_id
    three.backup(source, min_copies=3)
    three.stores[2].down = True
    assert forget(three, first).pending == {"b2": "b2: does not answer"}
    three.stores[2].down = False
    assert first in held(three.stores[2])
    report = three.backup(source, min_copies=3)
    assert all(first not in held(store) for store in three.stores)
    assert all(report.snapshot_id in held(store) for store in three.stores)
    names = [{info.name for info in store.list(DELETIONS)} for store in three.stores]
    assert names[0] == names[1] == names[2], "it knows of the deletion itself now"


def test_S5_a_deletion_known_to_one_store_only_is_enough(three: Any, source: Path) -> None:
    first = three.backup(source, min_copies=3).snapshot_id
    three.backup(source, min_copies=3)
    for store in three.stores[1:]:
        store.fail(Trouble.UNREACHABLE, calls=("put", "delete"))
    assert set(forget(three, first).pending) == {"s3", "b2"}
    for store in three.stores[1:]:
        store.mend()
    assert first not in held(three.stores[0])
    assert first in held(three.stores[1])
    three.backup(source, min_copies=3)
    assert all(first not in held(store) for store in three.stores)


def test_S5_a_store_that_never_heard_of_it_is_no_source(three: Any, source: Path) -> None:
    first = three.backup(source, min_copies=3).snapshot_id
    three.stores[2].down = True
    second = three.backup(source, min_copies=2).snapshot_id
    forget(three, first)
    three.stores[2].down = False
    three.stores[2].fail(Trouble.UNREACHABLE, calls=("delete",))  # it cannot apply the deletion
    report = three.backup(source, min_copies=2)
    assert {r.store for r in report.stores if r.complete} == {"gcs", "s3"}
    assert first not in held(three.stores[0]) | held(three.stores[1])
    assert second not in held(three.stores[2])


@pytest.mark.parametrize("writes", range(1, 9))
def test_S5_a_forget_that_dies_after_any_write_is_finished_by_the_next_run(
    kit: ModuleType, source: Path, writes: int
) -> None:
    stores = [Mortal(name) for name in ("gcs", "s3", "b2")]
    three = kit.Kit(stores).init()
    first = three.backup(source, min_copies=3).snapshot_id
    three.backup(source, min_copies=3)
    Mortal.left = writes + 3  # after its locks
    Mortal.dead = False
    with suppress(DrkitError):
        forget(three, first)
    assert Mortal.dead
    Mortal.left = None
    for store in stores:
        for info in list(store.list(LOCKS)):
            store.delete(info.name)  # as those of a dead process are
    recorded = any(list(store.list(DELETIONS)) for store in stores)
    three.backup(source, min_copies=3)
    there = [first in held(store) for store in stores]
    assert there == [not recorded] * 3, "whole or not at all"


def test_S5_expiry_in_one_store_is_not_undone_from_another(three: Any, source: Path) -> None:
    first = three.backup(source, min_copies=3).snapshot_id
    forget(three, first, frozenset({"gcs"}))
    three.backup(source, min_copies=3)
    assert [first in held(store) for store in three.stores] == [False, True, True]
    forget(three, first)
    three.backup(source, min_copies=3)
    assert not any(first in held(store) for store in three.stores)


def test_S5_what_another_program_removed_is_neither_brought_back_nor_spread(
    three: Any, source: Path
) -> None:
    first = three.backup(source, min_copies=3).snapshot_id
    three.backup(source, min_copies=3)
    three.stores[1].delete(SNAPSHOTS + first)  # restic forget
    for _ in range(2):
        report = three.backup(source, min_copies=3)
        assert all(result.complete for result in report.stores)
        assert [first in held(store) for store in three.stores] == [True, False, True]
        assert standing(three, "s3").lost == {first}
    assert any("removed there by another program" in warning for warning in three.warnings)


def test_S5_a_foreign_deletion_is_remembered_while_the_others_are_away(
    three: Any, source: Path
) -> None:
    first = three.backup(source, min_copies=3).snapshot_id
    three.backup(source, min_copies=3)
    for store in three.stores[:2]:
        store.delete(SNAPSHOTS + first)
    three.stores[2].down = True  # the one that still has it
    three.backup(source, min_copies=2)
    three.stores[2].down = False
    three.backup(source, min_copies=3)
    assert [first in held(store) for store in three.stores] == [False, False, True]


def test_S5_a_store_that_never_had_it_is_given_it(three: Any, source: Path) -> None:
    three.stores[1].down = True
    first = three.backup(source, min_copies=2).snapshot_id
    three.stores[1].down = False
    assert standing(three, "s3").lacks > 0
    three.backup(source, min_copies=3)
    assert first in held(three.stores[1])
    assert standing(three, "s3").lacks == 0


def test_S5_old_deletions_are_forgotten_and_who_was_away_meanwhile_is_told_apart(
    three: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "REMEMBERED", 0)
    first = three.backup(source, min_copies=3).snapshot_id
    second = three.backup(source, min_copies=3).snapshot_id
    third = three.backup(source, min_copies=3).snapshot_id
    away = three.stores[2].objects.copy()
    forget(three, first)
    forget(three, second)  # every store answers and has applied the first one: it is dropped
    three.stores[2].objects = away  # restored from an old image
    report = three.backup(source, min_copies=2)
    assert not (held(three.stores[0]) & {first, second})
    assert {r.store for r in report.stores if r.complete} == {"gcs", "s3"}
    assert "away while deletions" in standing(three, "b2").diverged
    assert third in held(three.stores[0])


def test_S13_a_store_that_refuses_to_delete_keeps_it_and_no_other_gets_it(
    kit: ModuleType, source: Path
) -> None:
    three = kit.Kit([MemoryStore("gcs"), MemoryStore("s3"), ObjectLocked("b2")]).init()
    first = three.backup(source, min_copies=3).snapshot_id
    three.backup(source, min_copies=3)
    three.stores[2].locked = True
    assert forget(three, first).retained["b2"] == {first}
    report = three.backup(source, min_copies=3)
    assert all(result.complete for result in report.stores)
    assert [first in held(store) for store in three.stores] == [False, False, True]


def test_S9_forget_waits_for_a_backup(three: Any, source: Path) -> None:
    first = three.backup(source, min_copies=3).snapshot_id
    locks = take_locks(three.open(), exclusive=False, need_all=True, emit=three.emit)
    with pytest.raises(RepositoryLocked, match="locked"):
        forget(three, first)
    locks.release(three.emit)
    assert all(first in held(store) for store in three.stores)


def test_damaged_records_stop_forget_and_bring_nothing_back(three: Any, source: Path) -> None:
    first = three.backup(source, min_copies=3).snapshot_id
    second = three.backup(source, min_copies=3).snapshot_id
    three.stores[2].down = True
    forget(three, first)
    three.stores[2].down = False
    for store in three.stores[:2]:
        for info in list(store.list(DELETIONS)):
            store.damage(info.name, at=20)
    three.backup(source, min_copies=3)
    assert first not in held(three.stores[0])
    with pytest.raises(GuardRefused, match="damaged"):
        forget(three, second)


def test_S12_a_store_that_is_emptied_and_joined_again_gets_everything(
    kit: ModuleType, three: Any, source: Path
) -> None:
    made = {three.backup(source, min_copies=3).snapshot_id for _ in range(2)}
    notes = {n: d for n, d in three.stores[2].objects.items() if n.startswith(BESIDE)}
    assert LEDGER in notes
    three.stores[2].objects = notes  # only repository/ was removed: its ledger speaks of the past
    join_store(three.stores, three.stores[2], kit.PASSWORD)
    made.add(three.backup(source, min_copies=3).snapshot_id)
    assert held(three.stores[2]) == made


def test_S12_a_new_repository_is_not_begun_beside_the_notes_of_another(
    kit: ModuleType, three: Any, source: Path
) -> None:
    three.backup(source, min_copies=3)
    for store in three.stores:
        store.objects = {n: d for n, d in store.objects.items() if n.startswith(BESIDE)}
    with pytest.raises(GuardRefused, match="repository-drkit"):
        three.init()


def test_a_ledger_that_is_damaged_starts_anew(three: Any, source: Path) -> None:
    three.backup(source, min_copies=3)
    three.stores[1].damage(LEDGER, at=20)
    three.stores[2].down = True
    three.backup(source, min_copies=2)
    assert any("ledger cannot be read" in warning for warning in three.warnings)


def test_a_credential_that_cannot_delete_backs_up_all_the_same(
    kit: ModuleType, source: Path
) -> None:
    """Its locks stay until they are stale; what was forgotten goes when somebody else prunes."""
    stores = [MemoryStore("gcs"), AppendOnly("b2")]
    two = kit.Kit(stores).init()
    first = two.backup(source, min_copies=2).snapshot_id
    two.backup(source, min_copies=2)
    two.clock.advance(3600)
    assert forget(two, first).retained["b2"] == {first}
    two.clock.advance(3600)
    two.backup(source, min_copies=2)
    two.clock.advance(3600)
    forget(two, two.backup(source, min_copies=2).snapshot_id)
    two.clock.advance(3600)
    report = two.backup(source, min_copies=2)
    assert all(result.complete for result in report.stores)
    assert [first in held(store) for store in stores] == [False, True]


class AppendOnly(MemoryStore):
    """Nothing can be deleted with this credential."""

    def delete(self, name: str) -> None:
        raise StoreRefused(f"{self.name}: may not delete {name}", hint="on purpose")


class ObjectLocked(MemoryStore):
    """Once `locked`, snapshots cannot be deleted."""

    locked = False

    def delete(self, name: str) -> None:
        if self.locked and name.startswith(SNAPSHOTS):
            raise StoreRefused("b2: retained until 2026-12-31", hint="wait")
        super().delete(name)


def test_S6_who_is_evicted_is_said_by_the_newest_records_alone() -> None:
    """Those that were written at the same time, by two that did not see each other, all count."""

    def record(generation: int, *evicted: str) -> tuple[bytes, dict[str, Any]]:
        values = {"floor": 0, "evicted": evicted, "supersedes": [], "deletions": []}
        return b"", {**values, "generation": generation}

    known = merge({"1-a": record(1, "b2"), "2-a": record(2, "s3"), "2-b": record(2, "gcs")})
    assert known.evicted == {"gcs", "s3"}


def test_S6_a_forget_leaves_an_evicted_store_as_it_is(three: Any, source: Path) -> None:
    first = three.backup(source, min_copies=3).snapshot_id
    second = three.backup(source, min_copies=3).snapshot_id
    evict(three.open(), "b2", three.emit)
    assert forget(three, first).removed.keys() == {"gcs", "s3"}
    assert [held(store) for store in three.stores] == [{second}, {second}, {first, second}]


def test_S9_nothing_is_deleted_from_a_store_whose_lock_is_lost(
    kit: ModuleType, source: Path
) -> None:
    stores = [MemoryStore("gcs"), Recorder("s3")]
    two = kit.Kit(stores).init()
    first = two.backup(source, min_copies=2).snapshot_id
    two.backup(source, min_copies=2)

    def unlock(name: str) -> None:
        if name.startswith(DELETIONS):
            for lock in list(stores[1].list(LOCKS)):
                stores[1].delete(lock.name)

    stores[1].before = unlock
    report = forget(two, first)
    assert report.pending == {"s3": "its lock was lost"}
    assert [first in held(store) for store in stores] == [False, True]


def test_K6_an_erased_pack_is_remembered_while_some_store_lists_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forgetting, "REMEMBERED", 0)
    kept, gone = ("pack", "ab" * 32), ("pack", "cd" * 32)
    deletions = {at: Deletion("pack", at[1], None) for at in (kept, gone)}
    listing: Any = SimpleNamespace(snapshots={}, packs={kept[1]: 1})
    seen: Any = SimpleNamespace(
        listings={"gcs": listing},
        tombstones=SimpleNamespace(evicted=frozenset(), deletions=deletions),
    )
    repository: Any = SimpleNamespace(stores=["gcs"], unreachable={})
    assert forgetting.settled_deletions(repository, seen) == {gone}

"""K6: what is erased is gone from every store, or retained until a date; no restore shows it."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from erase_world import (
    DAY_S,
    ROLES,
    SECRET,
    USER,
    LockingStore,
    do_erase,
    holds,
    run_prune,
    shown,
    standing,
    under,
    write_points,
)

from drkit.errors import DamagedData, GuardRefused
from drkit.repository.check.check import check_repository
from drkit.repository.copy import copy_snapshots
from drkit.repository.erase.erase import erase, plan_erase
from drkit.repository.erase.standing import erasure_standing
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.format.layout import DATA, LOCKS, SNAPSHOTS
from drkit.repository.restore.compare import compare_tree
from drkit.repository.restore.lawful import erased_in, without_erased
from drkit.repository.restore.restore import RestoreOptions, restore_tree
from drkit.repository.restore.walk import Wanted
from drkit.stores.interface import StoreUnreachable
from drkit.stores.memory import MemoryStore


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for user in (41, 42):
        (root / "users" / str(user) / "deep").mkdir(parents=True)
        (root / "users" / str(user) / "deep" / "a.md").write_text(f"words of {user}")
    (root / "users" / "42" / "diary.md").write_bytes(SECRET)
    (root / "noise.bin").write_bytes(random.Random(1).randbytes(20_000))
    return root


@pytest.fixture
def three(kit: ModuleType, source: Path) -> Any:
    made = kit.Kit([MemoryStore(name) for name in ROLES]).init()
    write_points(made, source)
    return made


def test_K6_an_erasure_ends_removed_in_every_store(three: Any, tmp_path: Path) -> None:
    before = {path for paths in shown(three).values() for path in paths}
    plan = plan_erase(three.open(), USER, ())
    assert plan.paths == ("/sncp/users/42",)
    assert (len(plan.rewritten), plan.removed) == (3, ())
    assert plan.files == 2 + 3
    report = do_erase(three)
    assert set(report.rewritten) == set(plan.rewritten)
    assert report.behind == {}
    gone = {path for path in before if path.startswith("/sncp/users/42")}
    for paths in shown(three).values():
        assert not paths & gone
        assert {"/sncp/users/41/deep/a.md", "/sncp/noise.bin"} <= paths
    assert standing(three) == dict.fromkeys(ROLES, "retained"), "the blobs are there yet"
    assert all(holds(three, store, SECRET) for store in three.stores)
    turns = []
    for _ in range(9):
        turns += list(run_prune(three).deleted)
        three.clock.advance(DAY_S)
    assert turns == list(ROLES)
    assert standing(three) == dict.fromkeys(ROLES, "removed")
    for store in three.stores:
        assert not holds(three, store, SECRET)
        assert holds(three, store, b"words of 41")
    report = check_repository(three.open(), read_data=True, emit=three.emit)
    assert report.sound
    assert three.restore(tmp_path / "out").files == 1 + 1 + 3


def test_K6_each_store_says_until_when_it_retains(three: Any) -> None:
    do_erase(three)
    run_prune(three)
    found = erasure_standing(three.open(), ROLES, three.emit, hold=timedelta(0))
    now = three.clock.now()
    assert found["gcs"].state == "removed"
    assert found["s3"].until is not None and found["b2"].until is not None
    assert timedelta(hours=22) < found["s3"].until - now < timedelta(hours=24)
    assert found["b2"].until - now >= timedelta(days=6, hours=23)
    assert "retained until 2026-01-" in str(found["b2"])


def test_K6_object_lock_retains_and_the_ledger_keeps_it_from_restores(
    kit: ModuleType, source: Path, tmp_path: Path
) -> None:
    stores: list[MemoryStore] = [MemoryStore("gcs")]
    two = kit.Kit(stores)
    locking = LockingStore("s3", two.clock)
    stores.append(locking)
    two.init()
    write_points(two, source)
    old = two.open().snapshots()[0]
    do_erase(two)
    for _ in range(3):
        run_prune(two)
        two.clock.advance(DAY_S)
    found = erasure_standing(two.open(), {"gcs": "primary", "s3": "backup"}, two.emit)
    assert found["gcs"].state == "removed"
    assert found["s3"].state == "retained"
    assert found["s3"].until is not None
    assert two.clock.now() < found["s3"].until <= max(locking.until.values())
    assert "object lock" in found["s3"].why
    # the old point is there, with all that it held; whoever restores it gets none of that
    alone = two.open([locking])
    assert old.id in {one.id for one in alone.snapshots()}
    node = alone.find_node(old.snapshot, "/sncp")
    wanted = without_erased(alone, old.snapshot, "/sncp", Wanted("/sncp"))
    report = restore_tree(alone, node, tmp_path / "out", two.emit, RestoreOptions(wanted=wanted))
    assert report.files == 1 + 1 + 1
    assert not (tmp_path / "out" / "users" / "42").exists()
    assert (tmp_path / "out" / "users" / "41" / "deep" / "a.md").is_file()
    gone = erased_in(alone, old.snapshot, "/sncp")
    assert compare_tree(alone, node.subtree, tmp_path / "out", two.emit, gone) == ()
    missing = {each.path for each in compare_tree(alone, node.subtree, tmp_path / "out", two.emit)}
    assert missing
    assert all(path.startswith("users/42") for path in missing)
    two.clock.advance(31 * DAY_S)
    for _ in range(3):
        run_prune(two)
        two.clock.advance(DAY_S)
    assert not holds(two, locking, SECRET)


def test_K6_what_comes_later_under_the_same_name_is_kept(
    three: Any, source: Path, tmp_path: Path
) -> None:
    do_erase(three)
    three.clock.advance(3600)
    three.backup(source, min_copies=3)
    repository = three.open()
    last = repository.snapshots()[-1]
    assert without_erased(repository, last.snapshot, "/sncp", Wanted("/sncp")).exclude == ()
    assert "/sncp/users/42/diary.md" in shown(three)[last.id]


def test_K6_a_restore_of_an_erased_folder_itself_is_empty(three: Any, tmp_path: Path) -> None:
    old = three.open().snapshots()[0]
    do_erase(three)
    repository = three.open()
    for place in ("/sncp/users/42", "/sncp/users/42/deep"):
        wanted = without_erased(repository, old.snapshot, place, Wanted("/"))
        assert any(matcher.match("/anything") for matcher in wanted.exclude)
    beside = without_erased(repository, old.snapshot, "/sncp/users", Wanted("/"))
    assert [beside.exclude[0].match(path) for path in ("/42", "/41", "/41/42")] == [
        True,
        False,
        False,
    ]


def test_K6_whole_points_go_with_all_that_only_they_held(three: Any, source: Path) -> None:
    (source / "users" / "42" / "only-once.md").write_bytes(b"said once, regretted")
    point = three.backup(source, min_copies=3).snapshot_id
    (source / "users" / "42" / "only-once.md").unlink()
    three.backup(source, min_copies=3)
    report = do_erase(three, under(), (point,))
    assert report.removed == (point,)
    assert report.rewritten == {}
    assert point not in shown(three)
    for _ in range(9):
        run_prune(three)
        three.clock.advance(DAY_S)
    assert not any(holds(three, store, b"said once") for store in three.stores)
    assert all(holds(three, store, SECRET) for store in three.stores)


def test_K6_a_prune_that_is_under_way_takes_the_erased_in(three: Any, source: Path) -> None:
    first = three.open().snapshots()[0].id
    forget_snapshots(three.open(), {first: None}, three.emit)
    run_prune(three, hold=timedelta(hours=23))
    three.clock.advance(DAY_S)
    assert list(run_prune(three, hold=timedelta(hours=23)).deleted) == ["gcs"]
    do_erase(three)
    assert list(run_prune(three).deleted) == ["gcs"], "it has another turn"
    for _ in range(9):
        three.clock.advance(DAY_S)
        run_prune(three)
    assert standing(three) == dict.fromkeys(ROLES, "removed")
    assert not any(holds(three, store, SECRET) for store in three.stores)


def test_S5_a_store_that_was_away_brings_nothing_erased_back(
    three: Any, source: Path, kit: ModuleType
) -> None:
    away = three.stores[2]
    three.stores = three.stores[:2]
    do_erase(three)
    three.stores = [*three.stores, away]
    assert standing(three)["b2"] == "retained"
    three.clock.advance(3600)
    (source / "users" / "42" / "diary.md").unlink()
    for number in range(3):
        (source / "users" / "42" / f"{number}.md").unlink()
    three.backup(source, min_copies=3)
    for store in three.stores:
        for paths in shown(three, [store]).values():
            assert "/sncp/users/42/diary.md" not in paths


def test_S5_a_point_that_only_the_store_that_was_away_knows_is_copied_nowhere(
    three: Any, source: Path
) -> None:
    away = three.stores[2]
    only_there = dict(away.objects)
    three.stores, rest = [away], three.stores[:2]
    late = three.backup(source, min_copies=1).snapshot_id
    assert late not in only_there
    three.stores = rest
    three.clock.advance(3600)
    do_erase(three)
    three.stores = [*rest, away]
    three.clock.advance(3600)
    (source / "users" / "42" / "diary.md").unlink()
    three.backup(source, min_copies=3)
    assert late not in shown(three, rest)
    assert any("holds what was erased" in warning for warning in three.warnings)
    erase(three.open(), under(), (), three.emit)
    assert all("/sncp/users/42/diary.md" not in paths for paths in shown(three).values())
    three.backup(source, min_copies=3)
    held = [set(shown(three, [store])) for store in three.stores]
    assert held[0] == held[1] == held[2], "what was written anew goes to all"


@pytest.mark.parametrize("writes", range(0, 60, 7))
def test_K6_an_erasure_that_died_is_finished_by_the_next(
    kit: ModuleType, source: Path, writes: int
) -> None:
    class Dying(MemoryStore):
        left = 10**9

        def put(self, name: str, data: Any, *, size_bytes: int) -> None:
            self.count()
            super().put(name, data, size_bytes=size_bytes)

        def delete(self, name: str) -> None:
            self.count()
            super().delete(name)

        def count(self) -> None:
            if Dying.left <= 0:
                raise StoreUnreachable("dead", hint="")
            Dying.left -= 1

    two = kit.Kit([Dying("gcs"), Dying("s3")]).init()
    write_points(two, source)
    repository = two.open()
    checksum = plan_erase(repository, USER, ()).checksum
    Dying.left = writes
    with suppress(Exception):  # dead, in whatever words
        erase(two.open(), USER, (), two.emit, checksum=checksum)
    Dying.left = 10**9
    for store in two.stores:
        for name in [name for name in store.objects if name.startswith(LOCKS)]:
            del store.objects[name]
    plan = plan_erase(two.open(), USER, ())
    erase(two.open(), USER, (), two.emit, checksum=plan.checksum)
    found = shown(two)
    assert len(found) == 3
    assert not any("/sncp/users/42" in paths for paths in found.values())
    for _ in range(3):
        run_prune(two)
        two.clock.advance(DAY_S)
    assert not any(holds(two, store, SECRET) for store in two.stores)
    assert check_repository(two.open(), read_data=True, emit=two.emit).sound


def test_K6_exactly_the_plan_that_was_shown_is_done(three: Any, source: Path) -> None:
    plan = plan_erase(three.open(), USER, ())
    three.backup(source, min_copies=3)
    before = [dict(store.objects) for store in three.stores]
    with pytest.raises(GuardRefused, match="nothing was done"):
        erase(three.open(), USER, (), three.emit, checksum=plan.checksum)
    for store, held in zip(three.stores, before, strict=True):
        assert {n: c for n, c in store.objects.items() if not n.startswith(LOCKS)} == held


def test_K6_the_ledger_says_nothing_without_the_key(three: Any) -> None:
    do_erase(three)
    for store in three.stores:
        for name, content in store.objects.items():
            assert b"users" not in content and "users" not in name


def test_a_point_that_cannot_be_read_whole_stops_an_erasure_before_it_begins(three: Any) -> None:
    repository = three.open()
    tree = repository.find_node(repository.snapshots()[0].snapshot, "/sncp/users").subtree
    place = repository.index.find(bytes.fromhex(tree))
    for store in three.stores:
        store.damage(f"{DATA}{place.pack_id[:2]}/{place.pack_id}", at=place.offset + 3)
    with pytest.raises(DamagedData):
        plan_erase(three.open(), USER, ())


def test_K6_a_copy_from_another_repository_brings_nothing_erased_back(
    kit: ModuleType, three: Any
) -> None:
    other = kit.Kit([MemoryStore("other")])
    other.stores[0].objects = dict(three.stores[0].objects)
    do_erase(three)
    theirs = other.open()
    with pytest.raises(GuardRefused, match="hold what was erased here"):
        copy_snapshots(theirs, three.open(), theirs.snapshots(), min_copies=3, emit=three.emit)
    assert not any("/sncp/users/42" in paths for paths in shown(three).values())


def test_nothing_that_matches_is_no_plan(three: Any) -> None:
    assert plan_erase(three.open(), under("/sncp/users/43"), ()).empty
    snapshots = {name for name in three.stores[0].objects if name.startswith(SNAPSHOTS)}
    assert erase(three.open(), under(), (), three.emit).rewritten == {}
    assert {name for name in three.stores[0].objects if name.startswith(SNAPSHOTS)} == snapshots

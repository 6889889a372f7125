"""Damage in every store: exactly the files that are lost are named, and what is left is saved in a
form that the real restic finds no error in. Nothing of the original is deleted on the way.
"""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stock_restic import prove_sound

from drkit.errors import GuardRefused
from drkit.repository.check.check import check_repository
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.format.layout import DATA, INDEX, SNAPSHOTS, pack_name
from drkit.repository.format.snapshot import REPAIRED
from drkit.repository.heal.heal import heal
from drkit.repository.heal.rebuild_index import repair_index
from drkit.repository.heal.salvage import damaged_packs, repair_packs, repair_snapshots
from drkit.repository.prune.prune import PruneOptions, prune
from drkit.stores.memory import MemoryStore

NAMES = ("gcs", "s3")


@pytest.fixture
def two(kit: ModuleType, tmp_path: Path) -> Any:
    """Two points of a dozen files; one file is new in the second, one is gone."""
    source = kit.make_plain_tree(tmp_path / "source")
    two = kit.Kit([MemoryStore(name) for name in NAMES]).init()
    two.backup(source, min_copies=2)
    (source / "later.md").write_text("only in the second point")
    (source / "notes" / "011.md").unlink()
    two.backup(source, min_copies=2)
    two.clock.sleep(3600)
    return two


def check(two: Any) -> Any:
    return check_repository(two.open(), read_data=True, random=random.Random(1), emit=two.emit)


def damage_file(two: Any, path: str, *, snapshot: int = -1) -> None:
    """Flips one byte of the file's last blob in every store."""
    repository = two.open()
    node = repository.find_node(repository.snapshots()[snapshot].snapshot, path)
    place = repository.index.find(node.content[-1])
    for store in two.stores:
        store.damage(pack_name(place.pack_id), at=place.offset + place.length // 2)


def test_exactly_the_files_that_are_lost_are_named_with_their_snapshots(two: Any) -> None:
    first, second = two.open().snapshots()
    damage_file(two, "/sncp/notes/003.md")
    damage_file(two, "/sncp/later.md")
    damage_file(two, "/sncp/notes/011.md", snapshot=0)
    lost = {each.path: each.snapshots for each in check(two).lost}
    assert lost == {
        "/sncp/notes/003.md": (first.id, second.id),
        "/sncp/later.md": (second.id,),
        "/sncp/notes/011.md": (first.id,),
    }


def test_a_folder_whose_own_list_is_lost_stands_for_all_below_it(two: Any) -> None:
    repository = two.open()
    node = repository.find_node(repository.snapshots()[-1].snapshot, "/sncp/notes/deep")
    place = repository.index.find(bytes.fromhex(node.subtree))
    for store in two.stores:
        store.damage(pack_name(place.pack_id), at=place.offset + 20)
    lost = check(two).lost
    assert [each.path for each in lost] == ["/sncp/notes/deep"]
    assert len(lost[0].snapshots) == 2
    assert "all below it" in lost[0].what


def test_what_a_point_only_carried_over_is_checked_as_well(two: Any, tmp_path: Path) -> None:
    two.backup(tmp_path / "source", min_copies=2, keep=True)
    two.clock.sleep(3600)
    damage_file(two, "/sncp/later.md")
    (lost,) = check(two).lost
    assert lost.path == "/sncp/later.md"
    assert lost.snapshots == tuple(one.id for one in two.open().snapshots()[1:])


def test_copies_that_are_damaged_in_different_places_make_one_whole_again(two: Any) -> None:
    store, other = two.stores
    before = dict(store.objects)
    for name in sorted(n for n in before if n.startswith(DATA)):
        size = len(before[name])
        store.damage(name, at=3)
        other.damage(name, at=size - 3)
    report = check(two)
    assert not report.lost
    healed = heal(two.open(), report, two.emit)
    assert not healed.failed
    assert {n: c for n, c in store.objects.items() if n.startswith(DATA)} == {
        n: c for n, c in before.items() if n.startswith(DATA)
    }
    assert check(two).sound


def test_a_snapshot_that_no_store_can_read_is_named(two: Any) -> None:
    first, second = two.open().snapshots()
    for store in two.stores:
        store.damage(SNAPSHOTS + first.id, at=30)
    report = check(two)
    assert report.lost_snapshots == (first.id,)
    assert not report.lost
    assert report.damaged
    assert [listed.id for listed in two.open().snapshots()] == [second.id]


@pytest.mark.parametrize("what", ["deleted", "damaged"])
def test_indexes_are_made_anew_from_the_packs_alone(
    restic: Path, kit: ModuleType, two: Any, tmp_path: Path, what: str
) -> None:
    for store in two.stores:
        for name in [n for n in store.objects if n.startswith(INDEX)]:
            if what == "deleted":
                del store.objects[name]
            else:
                store.damage(name, at=40)
    assert check(two).lost, "without an index nothing can be found"
    packs = {n for n in two.stores[0].objects if n.startswith(DATA)}
    before = [dict(store.objects) for store in two.stores]
    planned = repair_index(two.open(), two.emit, dry_run=True)
    assert {len(plan.added) for plan in planned.values()} == {len(packs)}
    assert [store.objects for store in two.stores] == before, "a dry run writes nothing"
    repair_index(two.open(), two.emit)
    assert check(two).sound
    two.restore(tmp_path / "out")
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")
    assert not any(plan.changes for plan in repair_index(two.open(), two.emit).values())
    report = two.backup(tmp_path / "source", min_copies=2)
    assert report.bytes_added < 100_000, "all that the packs hold is known again"
    prove_sound(restic, kit.PASSWORD, two.stores[1], tmp_path / "s3")


def test_an_index_is_believed_no_more_when_all_packs_are_read(two: Any) -> None:
    plans = repair_index(two.open(), two.emit, read_all_packs=True)
    assert not any(plan.changes for plan in plans.values())
    name = next(n for n in two.stores[0].objects if n.startswith(DATA))
    for store in two.stores:
        del store.objects[name]
    plans = repair_index(two.open(), two.emit)
    pack = name.rpartition("/")[2]
    assert all(plan.dropped == {pack: "it is not there"} for plan in plans.values())
    assert pack not in two.open().index.pack_sizes()


def test_a_pack_that_another_store_has_stays_in_the_index_and_is_copied(two: Any) -> None:
    name = next(n for n in two.stores[0].objects if n.startswith(DATA))
    del two.stores[0].objects[name]
    assert not any(plan.changes for plan in repair_index(two.open(), two.emit).values())
    heal(two.open(), check(two), two.emit)
    assert check(two).sound


def test_what_is_left_is_saved_and_restic_finds_no_error(
    restic: Path, kit: ModuleType, two: Any, tmp_path: Path
) -> None:
    first, second = two.open().snapshots()
    damage_file(two, "/sncp/large.bin")
    damage_file(two, "/sncp/notes/003.md")
    report = check(two)
    lost = {each.path for each in report.lost}
    assert lost == {"/sncp/large.bin", "/sncp/notes/003.md"}
    assert heal(two.open(), report, two.emit).failed

    damaged = damaged_packs(two.open(), report)
    held = {n for n in two.stores[0].objects if n.startswith(DATA)}
    tried = repair_packs(two.open(), damaged, two.emit, dry_run=True)
    assert {n for n in two.stores[0].objects if n.startswith(DATA)} == held
    done = repair_packs(two.open(), damaged, two.emit)
    assert done == tried
    assert sum(len(each.lost) for each in done) == 2
    assert sum(each.saved for each in done) > 10
    assert held <= two.stores[0].objects.keys(), "the damaged packs are kept"

    assert repair_snapshots(two.open(), two.open().snapshots(), two.emit, dry_run=True) == {
        first.id: "",
        second.id: "",
    }
    new_ids = repair_snapshots(two.open(), two.open().snapshots(), two.emit)
    assert new_ids.keys() == {first.id, second.id}
    listed = {one.id: one for one in two.open().snapshots()}
    assert listed.keys() == {first.id, second.id, *new_ids.values()}, "the originals are kept"
    assert listed[new_ids[second.id]].snapshot.original == second.id
    assert REPAIRED in listed[new_ids[second.id]].snapshot.tags
    assert repair_snapshots(two.open(), [listed[new_ids[second.id]]], two.emit) == {}

    forget_snapshots(two.open(), {first.id: None, second.id: None}, two.emit)
    again = check(two)
    assert again.sound, again.findings
    for store in two.stores:
        prove_sound(restic, kit.PASSWORD, store, tmp_path / store.name)
    two.restore(tmp_path / "out")
    source, out = kit.listing(tmp_path / "source"), kit.listing(tmp_path / "out")
    assert source.keys() == out.keys()
    changed = {path for path in source if source[path] != out[path]}
    assert changed == {b"large.bin", b"notes/003.md"}
    content = (tmp_path / "source" / "large.bin").read_bytes()
    assert content.startswith((tmp_path / "out" / "large.bin").read_bytes())


def test_a_snapshot_that_one_store_has_and_nobody_can_read_keeps_no_store_from_the_next_point(
    two: Any, tmp_path: Path
) -> None:
    junk = SNAPSHOTS + "cd" * 32
    two.stores[0].objects[junk] = b"junk"
    before = len(two.open().snapshots())
    two.backup(tmp_path / "source", min_copies=2)
    assert len(two.open().snapshots()) == before + 1
    assert junk not in two.stores[1].objects
    options = PruneOptions(dict.fromkeys(NAMES, "primary"), lambda *_: ("nobody", ()))
    with pytest.raises(GuardRefused, match="cdcdcdcd cannot be read") as refused:
        prune(two.open(), options, two.emit)
    assert f"{junk} in {NAMES[0]}" in refused.value.hint

"""What a check says of one store and of all: by what each can give, never by what is cached."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

from drkit.errors import GuardRefused
from drkit.repository.backup import blob_writer
from drkit.repository.check.check import check_repository
from drkit.repository.check.reading_choice import ReadNothing
from drkit.repository.format.layout import CONFIG, DATA, INDEX, KEYS, SNAPSHOTS, pack_name
from drkit.repository.format.unpacked import seal_unpacked
from drkit.repository.heal.heal import heal
from drkit.repository.heal.rebuild_index import repair_index
from drkit.repository.heal.repair_config import repair_config
from drkit.repository.key_ring import add_key, remove_key
from drkit.stores.memory import MemoryStore, Trouble


@pytest.fixture
def three(kit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(blob_writer, "PACK_BYTES", 200_000)
    three = kit.Kit([MemoryStore(name) for name in ("gcs", "s3", "b2")]).init()
    three.backup(kit.make_plain_tree(tmp_path / "source", files=4), min_copies=3)
    return three


def check(three: Any, **options: Any) -> Any:
    return check_repository(three.open(), random=random.Random(1), emit=three.emit, **options)


def findings(report: Any, store: str) -> list[tuple[str, str]]:
    return [(each.kind, each.name) for each in report.stores[store].findings]


def names(store: MemoryStore, folder: str) -> list[str]:
    return sorted(name for name in store.objects if name.startswith(folder))


def test_the_structure_reads_no_file_content(three: Any) -> None:
    for store in three.stores:
        store.calls.clear()
    report = check(three, reading=ReadNothing())
    assert report.sound
    packs = len(names(three.stores[0], DATA))
    assert [each.packs for each in report.stores.values()] == [packs] * 3
    trees = report.stores["gcs"].packs_read
    assert 0 < trees < packs
    assert [each.packs_read for each in report.stores.values()] == [trees, 0, 0]
    assert report.stores["gcs"].bytes_read < 10_000


def test_trees_are_read_where_it_is_cheapest(three: Any) -> None:
    report = check(three, cheapest=["b2", "gcs", "s3"])
    assert report.stores["b2"].packs_read
    assert not report.stores["gcs"].packs_read
    assert list(report.stores) == ["gcs", "s3", "b2"], "told in the order of the file"


def test_S11_the_same_content_sealed_again_is_still_not_what_the_name_says(three: Any) -> None:
    repository = three.open()
    node = repository.find_node(three.latest(repository).snapshot, "/sncp/large.bin")
    place = repository.index.find(node.content[0])
    name = pack_name(place.pack_id)
    whole = bytearray(three.stores[0].objects[name])
    sealed = bytes(whole[place.offset : place.offset + place.length])
    again = repository.key.seal(repository.key.open(sealed))
    whole[place.offset : place.offset + place.length] = again
    three.stores[0].objects[name] = bytes(whole)
    report = check(three, read_data=True)
    assert findings(report, "gcs") == [("wrong", name)]
    assert not report.lost


def test_a_store_without_an_index_that_others_have_cannot_give_what_it_holds(three: Any) -> None:
    (index,) = names(three.stores[1], INDEX)
    del three.stores[1].objects[index]
    report = check(three)
    assert findings(report, "s3") == [("unnamed", INDEX)]
    assert not report.lost
    assert report.stores["s3"].spare_packs == len(names(three.stores[1], DATA))
    heal(three.open(), report, three.emit)
    assert names(three.stores[1], INDEX) == [index]
    assert check(three).sound


def test_S7_a_store_whose_packs_have_other_names_lacks_nothing(kit: ModuleType, three: Any) -> None:
    """The same blobs in packs of its own, as a foreign prune leaves them."""
    from drkit.repository.copies.listing import take_listing
    from drkit.repository.format.pack import PackBuilder
    from drkit.repository.levels.coverage import put_indexes

    repository, store = three.open(), three.stores[2]
    listing = {store: take_listing(store)}
    repacked = []
    for pack, blobs in repository.index.packs():
        builder = PackBuilder(blobs[0].kind)
        for blob in reversed(blobs):
            sealed = store.objects[pack_name(pack)][blob.offset : blob.offset + blob.length]
            builder.add(blob.id, sealed, blob.raw_bytes)
        new = builder.finish(repository.key)
        store.put(pack_name(new.id), new.pieces, size_bytes=new.size_bytes)
        repacked.append(new)
    put_indexes(repository, [store], listing, repacked)
    for name in names(three.stores[0], INDEX) + names(three.stores[0], DATA):
        store.objects.pop(name, None)
    report = check(three, read_data=True)
    assert report.stores["b2"].sound, report.stores["b2"]
    assert report.stores["b2"].lacks == 0


def test_a_store_that_was_away_lags_and_is_not_damaged(
    kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    three.stores[1].down = True
    (tmp_path / "source" / "new.md").write_text("written while a store was away")
    three.backup(tmp_path / "source", min_copies=2)
    three.stores[1].down = False
    report = check(three, read_data=True)
    assert not report.sound
    assert not report.damaged
    assert report.stores["s3"].lacks >= 3, "packs, an index and a snapshot"
    assert findings(report, "s3") == []


def test_a_store_that_does_not_answer_is_no_damage_either(three: Any) -> None:
    three.stores[0].down = True
    report = check(three, read_data=True)
    assert not report.sound
    assert not report.damaged
    assert not report.stores["gcs"].read_whole
    assert report.stores["s3"].sound


def test_a_store_that_fails_in_mid_check_is_told_and_the_others_are_checked(three: Any) -> None:
    repository = three.open()
    three.stores[0].fail(Trouble.UNREACHABLE, calls=("get",), after=6)
    report = check_repository(repository, read_data=True, random=random.Random(1), emit=three.emit)
    three.stores[0].mend()
    assert not report.stores["gcs"].read_whole
    assert report.stores["s3"].sound
    assert not report.damaged
    assert not report.lost


def test_packs_of_a_run_that_died_are_counted_and_are_no_problem(three: Any) -> None:
    three.stores[0].objects[pack_name("ab" * 32)] = b"whatever a dead run left"
    report = check(three, read_data=True)
    assert report.sound
    assert (report.stores["gcs"].spare_packs, report.stores["gcs"].spare_bytes) == (1, 24)


def test_S5_what_was_deleted_is_not_put_back(three: Any, tmp_path: Path) -> None:
    from drkit.repository.forget.forget import forget_snapshots

    three.backup(tmp_path / "source", min_copies=3)
    old = three.open().snapshots()[0]
    three.stores[1].down = True
    forget_snapshots(three.open(), {old.id: None}, three.emit)
    three.stores[1].down = False
    report = check(three)
    assert report.stores["gcs"].lacks == 0
    assert report.stores["s3"].lacks == 1, "the record of the deletion, and nothing else"
    assert not report.damaged
    heal(three.open(), report, three.emit)
    assert not [s for s in three.stores if SNAPSHOTS + old.id in s.objects]
    assert check(three).sound


def test_S5_what_one_stores_rules_removed_is_no_lack_of_it(three: Any, tmp_path: Path) -> None:
    from drkit.repository.forget.forget import forget_snapshots

    three.backup(tmp_path / "source", min_copies=3)
    old = three.open().snapshots()[0]
    forget_snapshots(three.open(), {old.id: frozenset({"gcs"})}, three.emit)
    report = check(three)
    assert report.sound, report
    heal(three.open(), report, three.emit)
    held = [SNAPSHOTS + old.id in store.objects for store in three.stores]
    assert held == [False, True, True]


def test_S8_config_and_keys_come_back_only_for_the_store_that_is_named(
    kit: ModuleType, three: Any
) -> None:
    store = three.stores[0]
    before = dict(store.objects)
    del store.objects[CONFIG]
    key = names(store, KEYS)[0]
    store.damage(key, at=5)
    heal(three.open(), check(three, read_data=True), three.emit)
    assert CONFIG not in store.objects
    assert store.objects[key] != before[key]
    planned = repair_config(three.open(), store, three.emit, dry_run=True)
    assert set(planned) == {CONFIG, key}
    assert CONFIG not in store.objects
    assert repair_config(three.open(), store, three.emit) == planned
    assert (store.objects[CONFIG], store.objects[key]) == (before[CONFIG], before[key])
    assert repair_config(three.open(), store, three.emit) == ()


def test_S5_S8_a_removed_key_is_not_brought_back_by_name_either(
    kit: ModuleType, three: Any
) -> None:
    key = add_key(three.open(), "another", cost=kit.CHEAP)
    three.stores[2].fail(Trouble.REFUSES, calls=("delete",))
    repository = three.open()
    with pytest.raises(GuardRefused, match="still opens"):
        remove_key(repository, key, kit.PASSWORD)
    three.stores[2].mend()
    assert KEYS + key in three.stores[2].objects
    assert repair_config(three.open(), three.stores[0], three.emit) == ()
    assert KEYS + key not in three.stores[0].objects


def test_S12_a_store_with_another_repository_is_not_given_this_ones_config(
    kit: ModuleType, three: Any
) -> None:
    stranger = kit.Kit([MemoryStore("b2")]).init().stores[0]
    before = dict(stranger.objects)
    repository = three.open(three.stores[:2])
    with pytest.raises(GuardRefused, match=r"holds the (keys of another|repository)"):
        repair_config(repository, stranger, three.emit)
    with pytest.raises(GuardRefused, match="is empty"):
        repair_config(repository, MemoryStore("b2"), three.emit)
    assert stranger.objects == before


def test_S11_an_index_that_says_other_things_than_the_headers_is_found_without_reading_all(
    three: Any,
) -> None:
    repository = three.open()
    (name,) = names(three.stores[0], INDEX)
    entry = orjson.loads(repository.load_unpacked(name))
    blobs = max((pack["blobs"] for pack in entry["packs"]), key=len)
    blobs[0]["id"], blobs[1]["id"] = blobs[1]["id"], blobs[0]["id"]
    index_id, sealed = seal_unpacked(repository.key, orjson.dumps(entry))
    for store in three.stores:
        del store.objects[name]
        store.objects[INDEX + index_id] = sealed
    report = check(three)
    whats = {finding.what for finding in report.findings}
    assert "its header and the index differ" in whats
    plans = repair_index(three.open(), three.emit)
    assert not any(plan.changes for plan in plans.values()), "this index is believed"
    plans = repair_index(three.open(), three.emit, read_all_packs=True)
    assert all(len(plan.added) == 1 for plan in plans.values())
    assert check(three, read_data=True).sound


def test_a_pack_that_two_indexes_name_is_noted_and_named_once_again(three: Any) -> None:
    repository = three.open()
    (name,) = names(three.stores[0], INDEX)
    again = repository.key.seal(repository.load_unpacked(name))
    second = INDEX + hashlib.sha256(again).hexdigest()
    for store in three.stores:
        store.objects[second] = again
    report = check(three)
    assert report.sound
    assert "named by two indexes" in report.stores["gcs"].notes[0]
    repair_index(three.open(), three.emit)
    report = check(three, read_data=True)
    assert report.sound
    assert report.stores["gcs"].notes == ()

"""Damaged weights are fetched by range from another store, proved whole, or left as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drkit.events import discard
from drkit.mirror.manifest import MANIFEST, Manifest
from drkit.mirror.repair import WeightsRepair, check_mirror
from drkit.mirror.write import mirror_weights
from drkit.stores.memory import MemoryStore, Trouble

SHARD = "model-00001-of-00002.safetensors"


class Mirrored:
    def __init__(self, model: Path, cache: Path) -> None:
        self.stores = [MemoryStore(name) for name in ("gcs", "s3", "b2")]
        self.manifest: Manifest = mirror_weights(
            model, model="m", revision="r", stores=self.stores, cache=cache, emit=discard
        ).manifest
        self.good = dict(self.stores[0].objects)
        self.events: list[Any] = []

    def name(self, path: str) -> str:
        return self.manifest.folder + path

    def damage(self, store: int, path: str, at: int) -> None:
        self.stores[store].damage(self.name(path), at=at)

    def begin(self, tensor: int) -> int:
        entry = next(file for file in self.manifest.files if file.path == SHARD)
        return entry.tensors[tensor].begin

    def repair(self, **options: Any) -> tuple[WeightsRepair, ...]:
        checks = [
            check_mirror(self.manifest, store, self.stores, self.events.append, **options)
            for store in self.stores
        ]
        return tuple(repair for check in checks for repair in check.repairs)


@pytest.fixture
def mirrored(model: Path, tmp_path: Path) -> Mirrored:
    return Mirrored(model, tmp_path / "cache.json")


def test_a_sound_mirror_needs_nothing(mirrored: Mirrored) -> None:
    for store in mirrored.stores:
        store.calls.clear()
    assert mirrored.repair() == ()
    assert not [call for store in mirrored.stores for call, _ in store.calls if call == "put"]


def test_only_the_damaged_tensor_crosses_from_the_other_store(mirrored: Mirrored) -> None:
    mirrored.damage(0, SHARD, mirrored.begin(1) + 5)
    mirrored.stores[1].calls.clear()
    (repair,) = mirrored.repair()
    assert (repair.store, repair.path, repair.healed_from) == ("gcs", SHARD, "s3")
    assert "layer.1" in repair.what
    assert repair.bytes_fetched == 3017
    assert mirrored.stores[0].objects == mirrored.good
    assert any("layer.1" in event.text for event in mirrored.events if hasattr(event, "text"))


@pytest.mark.parametrize("at", [3, 20], ids=["length of the header", "header"])
def test_damage_outside_the_tensors_is_mended(mirrored: Mirrored, at: int) -> None:
    mirrored.damage(1, SHARD, at)
    (repair,) = mirrored.repair()
    assert repair.healed_from == "gcs"
    assert repair.bytes_fetched == mirrored.begin(0)
    assert mirrored.stores[1].objects == mirrored.good


def test_damage_in_tensor_and_header_is_mended(mirrored: Mirrored) -> None:
    mirrored.damage(2, SHARD, 20)
    mirrored.damage(2, SHARD, mirrored.begin(0))
    (repair,) = mirrored.repair()
    assert repair.bytes_fetched == mirrored.begin(0) + 3000
    assert mirrored.stores[2].objects == mirrored.good


@pytest.mark.parametrize("path", ["config.json", SHARD, "empty.txt"])
def test_a_missing_file_comes_from_another_store(mirrored: Mirrored, path: str) -> None:
    mirrored.stores[0].delete(mirrored.name(path))
    (repair,) = mirrored.repair()
    assert (repair.path, repair.what, repair.healed_from) == (path, "is missing", "s3")
    assert mirrored.stores[0].objects == mirrored.good


def test_a_file_of_another_length_comes_whole(mirrored: Mirrored) -> None:
    name = mirrored.name(SHARD)
    mirrored.stores[0].objects[name] = mirrored.good[name][:-9]
    (repair,) = mirrored.repair()
    assert repair.bytes_fetched == len(mirrored.good[name])
    assert mirrored.stores[0].objects == mirrored.good


def test_a_damaged_donor_is_passed_over(mirrored: Mirrored) -> None:
    mirrored.damage(0, SHARD, mirrored.begin(1))
    mirrored.damage(1, SHARD, mirrored.begin(1) + 1)
    repairs = mirrored.repair()
    assert {(repair.store, repair.healed_from) for repair in repairs} == {
        ("gcs", "b2"),
        ("s3", "gcs"),
    }
    assert all(store.objects == mirrored.good for store in mirrored.stores)


def test_two_stores_with_different_damage_mend_each_other(mirrored: Mirrored) -> None:
    mirrored.stores = mirrored.stores[:2]
    mirrored.damage(0, SHARD, mirrored.begin(0))
    mirrored.damage(1, SHARD, mirrored.begin(1))
    assert {repair.healed_from for repair in mirrored.repair()} == {"gcs", "s3"}
    assert all(store.objects == mirrored.good for store in mirrored.stores)


def test_damage_everywhere_changes_nothing_and_is_told(mirrored: Mirrored) -> None:
    for store in range(3):
        mirrored.damage(store, SHARD, mirrored.begin(1) + store)
    before = [dict(store.objects) for store in mirrored.stores]
    repairs = mirrored.repair()
    assert {repair.store for repair in repairs} == {"gcs", "s3", "b2"}
    assert all(not repair.healed_from and "damaged too" in repair.why for repair in repairs)
    assert [store.objects for store in mirrored.stores] == before


def test_a_dry_run_tells_and_changes_nothing(mirrored: Mirrored) -> None:
    mirrored.damage(0, SHARD, mirrored.begin(1))
    mirrored.stores[1].delete(mirrored.name(MANIFEST))
    before = [dict(store.objects) for store in mirrored.stores]
    assert [repair.path for repair in mirrored.repair(dry_run=True)] == [SHARD, MANIFEST]
    assert [store.objects for store in mirrored.stores] == before


@pytest.mark.parametrize("damage", [True, False])
def test_a_manifest_is_put_back_after_its_files(mirrored: Mirrored, damage: bool) -> None:
    store = mirrored.stores[1]
    if damage:
        mirrored.damage(1, MANIFEST, 0)
    else:
        store.delete(mirrored.name(MANIFEST))
    store.delete(mirrored.name("config.json"))
    store.calls.clear()
    assert [repair.path for repair in mirrored.repair()] == ["config.json", MANIFEST]
    puts = [name for call, name in store.calls if call == "put"]
    assert puts[-1] == mirrored.name(MANIFEST)
    assert store.objects == mirrored.good


def test_another_manifest_is_left_alone(mirrored: Mirrored) -> None:
    other = Manifest("m", "r", mirrored.manifest.files[1:])
    content = other.to_bytes()
    mirrored.stores[2].put(mirrored.name(MANIFEST), content, size_bytes=len(content))
    mirrored.damage(2, SHARD, 100)
    before = dict(mirrored.stores[2].objects)
    (repair,) = mirrored.repair()
    assert "another manifest" in repair.why
    assert mirrored.stores[2].objects == before


def test_a_store_that_does_not_answer_or_refuses_is_told(mirrored: Mirrored) -> None:
    mirrored.damage(0, SHARD, mirrored.begin(1))
    mirrored.stores[0].fail(Trouble.REFUSES, calls=["put"])
    mirrored.stores[2].down = True
    repairs = mirrored.repair()
    assert [(repair.store, bool(repair.why)) for repair in repairs] == [("gcs", True), ("b2", True)]
    mirrored.stores[0].mend()
    mirrored.stores[2].down = False
    assert [repair.healed_from for repair in mirrored.repair()] == ["s3"]
    assert mirrored.repair() == ()
    assert all(store.objects == mirrored.good for store in mirrored.stores)

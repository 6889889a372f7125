"""A mirror is found where it is whole, and every wrong byte of a copy is named by its file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from drkit.events import discard
from drkit.mirror.manifest import Manifest
from drkit.mirror.read import NoMirror, find_manifest, verify_directory
from drkit.mirror.repair import check_mirror
from drkit.mirror.write import mirror_weights
from drkit.stores.memory import MemoryStore

PREFIX = "weights/tiny/r1/"


def mirrored(model: Path, *names: str) -> tuple[Manifest, list[MemoryStore]]:
    stores = [MemoryStore(name) for name in names]
    report = mirror_weights(
        model,
        model="tiny",
        revision="r1",
        stores=stores,
        cache=model.parent / f"cache-{'-'.join(names)}.json",
        emit=discard,
    )
    return report.manifest, stores


def wrong(manifest: Manifest, root: Path) -> dict[str, str]:
    return {found.path: found.what for found in verify_directory(manifest, root, discard)}


def wrong_in(manifest: Manifest, store: MemoryStore) -> dict[str, str]:
    check = check_mirror(manifest, store, [store], discard, dry_run=True)
    return {found.path: found.what for found in check.repairs}


def test_only_stores_that_list_every_file_with_its_size_are_found(model: Path) -> None:
    manifest, stores = mirrored(model, "a", "b", "c", "d", "e")
    del stores[0].objects[PREFIX + "config.json"]
    stores[1].objects[PREFIX + "config.json"] += b"x"
    del stores[2].objects[PREFIX + "manifest.json"]
    stores[3].down = True
    assert find_manifest(stores, "tiny", "r1") == (manifest, (stores[4],))


def test_without_a_whole_store_each_ones_lack_is_named(model: Path) -> None:
    _, stores = mirrored(model, "a", "b")
    del stores[0].objects[PREFIX + "config.json"]
    stores[1].down = True
    with pytest.raises(NoMirror) as caught:
        find_manifest(stores, "tiny", "r1")
    assert "a lacks config.json" in caught.value.message
    assert "b: does not answer" in caught.value.message
    with pytest.raises(NoMirror):
        find_manifest(stores, "tiny", "r2")


def test_the_manifest_of_a_point_is_found_though_most_stores_hold_another(model: Path) -> None:
    former, old = mirrored(model, "old")
    (model / "README.md").write_text("new")
    newer, new = mirrored(model, "new1", "new2")
    stores = [*old, *new]
    assert find_manifest(stores, "tiny", "r1") == (newer, tuple(new))
    assert find_manifest(stores, "tiny", "r1", digest=former.digest) == (former, tuple(old))
    with pytest.raises(NoMirror, match="another manifest"):
        find_manifest(new, "tiny", "r1", digest=former.digest)


def test_a_manifest_of_another_model_is_none(model: Path) -> None:
    _, stores = mirrored(model, "a")
    for name, data in list(stores[0].objects.items()):
        stores[0].objects[name.replace("tiny", "other")] = data
    with pytest.raises(NoMirror):
        find_manifest(stores, "other", "r1")


def test_an_equal_copy_has_no_difference(model: Path, tmp_path: Path) -> None:
    manifest, stores = mirrored(model, "a")
    shutil.copytree(model, tmp_path / "copy")
    assert wrong(manifest, tmp_path / "copy") == {}
    assert wrong_in(manifest, stores[0]) == {}


def test_a_flipped_bit_is_named_by_file_and_tensor(model: Path, tmp_path: Path) -> None:
    manifest, stores = mirrored(model, "a")
    copy = shutil.copytree(model, tmp_path / "copy")
    shard = manifest.files[-1]
    tensor = shard.tensors[1]
    data = bytearray((copy / shard.path).read_bytes())
    data[tensor.end - 1] ^= 0x40
    (copy / shard.path).write_bytes(data)
    assert list(wrong(manifest, copy)) == [shard.path]
    assert tensor.name in wrong(manifest, copy)[shard.path]
    assert shard.tensors[0].name not in wrong(manifest, copy)[shard.path]
    stores[0].objects[PREFIX + shard.path] = bytes(data)
    assert wrong_in(manifest, stores[0]) == wrong(manifest, copy)


def test_a_flipped_bit_in_the_header_is_said_to_lie_outside_the_tensors(
    model: Path, tmp_path: Path
) -> None:
    manifest, _ = mirrored(model, "a")
    copy = shutil.copytree(model, tmp_path / "copy")
    shard = copy / manifest.files[-1].path
    data = bytearray(shard.read_bytes())
    data[9] ^= 1
    shard.write_bytes(data)
    assert "outside its tensors" in wrong(manifest, copy)[shard.name]


def test_missing_extra_short_and_changed_files_are_all_named(model: Path, tmp_path: Path) -> None:
    manifest, _ = mirrored(model, "a")
    copy = shutil.copytree(model, tmp_path / "copy")
    (copy / "config.json").unlink()
    (copy / "surplus").touch()
    (copy / "extra" / "notes.txt").write_text("abo")
    (copy / "empty.txt").write_text("x")
    found = wrong(manifest, copy)
    assert list(found) == ["config.json", "empty.txt", "extra/notes.txt", "surplus"]
    assert "missing" in found["config.json"]
    assert "not in the manifest" in found["surplus"]
    assert "3 bytes, not 5" in found["extra/notes.txt"]


def test_no_directory_is_a_difference_and_no_crash(model: Path, tmp_path: Path) -> None:
    manifest, stores = mirrored(model, "a")
    assert "nowhere" in wrong(manifest, tmp_path / "nowhere")["."]
    stores[0].objects.clear()
    assert wrong_in(manifest, stores[0]) == {entry.path: "is missing" for entry in manifest.files}

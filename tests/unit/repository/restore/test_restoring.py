"""Restoring: only where it may write, whole, resumed where it stopped, and damage named by path."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from restore_world import back, patch_writing

from drkit.errors import DamagedData, PlaceError
from drkit.operations.points.restore_snapshot import Patterned, prove
from drkit.repository.format.layout import DATA, pack_name
from drkit.repository.format.pack import BlobKind
from drkit.repository.format.tree import Node, encode_tree
from drkit.repository.restore import restore
from drkit.repository.restore.restore import RestoreOptions, restore_tree
from drkit.stores.memory import MemoryStore, Trouble


@pytest.fixture
def three(three: Any, kit: ModuleType, tmp_path: Path) -> Any:
    three.backup(kit.make_odd_tree(tmp_path / "source"), min_copies=3)
    return three


def places_of(three: Any, path: str) -> list[tuple[str, int]]:
    """Object and offset of each blob of the file at `path`."""
    repository = three.open()
    node = repository.find_node(three.latest(repository).snapshot, path)
    places = [repository.index.find(blob) for blob in node.content]
    return [(pack_name(place.pack_id), place.offset) for place in places]


def put_tree(three: Any, nodes: list[Node]) -> Node:
    """A folder with these nodes, stored as an attacker with the key would."""

    from drkit.repository.format.layout import INDEX
    from drkit.repository.format.pack import PackBuilder
    from drkit.repository.format.unpacked import seal_unpacked
    from drkit.repository.index.blobs import index_content

    repository = three.open()
    content = encode_tree(nodes)
    blob_id = hashlib.sha256(content).digest()
    builder = PackBuilder(BlobKind.TREE, bytearray(1 << 16))
    builder.seal(repository.key, blob_id, content, 0)
    pack = builder.finish(repository.key)
    for store in three.stores:
        store.put(pack_name(pack.id), pack.pieces, size_bytes=pack.size_bytes)
        name, sealed = seal_unpacked(repository.key, index_content([pack]))
        store.put(INDEX + name, sealed, size_bytes=len(sealed))
    return Node(b"x", "dir", 0o700 | 1 << 31, 0, subtree=blob_id.hex())


def test_S11_packs_damaged_in_one_store_are_healed_from_another_and_named(
    kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    asked = threading.Event()

    class First(MemoryStore):
        def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
            if length and length > 100_000:
                asked.set()
            return super().get(name, offset=offset, length=length)

    class Second(MemoryStore):  # gives no file's bytes before the damaged one was asked for some
        def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
            if length and length > 100_000:
                assert asked.wait(20)
            return super().get(name, offset=offset, length=length)

    first, second = First("gcs"), Second("s3")
    second.objects = three.stores[1].objects
    for name, content in three.stores[0].objects.items():
        damaged = bytearray(content)
        if name.startswith(DATA):
            damaged[:: 1 << 16] = bytes(255 - byte for byte in damaged[:: 1 << 16])
        first.objects[name] = bytes(damaged)
    three.restore(tmp_path / "out", [first, second])
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")
    told = [warning for warning in three.warnings if "reading another copy" in warning]
    assert told
    for warning in told:
        assert warning.startswith("gcs: repository/data/"), warning


def test_S11_damage_everywhere_names_the_path_and_everything_else_comes_back(
    kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    name, offset = places_of(three, "/sncp/large.bin")[1]
    for store in three.stores:
        store.damage(name, at=offset + 100)
    with pytest.raises(DamagedData) as failure:
        back(three, tmp_path / "out")
    for part in ("large.bin", "blob", name.rpartition("/")[2][:8], "gcs", "s3", "b2"):
        assert part in failure.value.message
    expected = kit.listing(tmp_path / "source")
    found = kit.listing(tmp_path / "out")
    assert b"large.bin" not in found, "no file is better than a wrong one"
    for path in expected.keys() - {b"large.bin", b"."}:
        assert found[path] == expected[path], path


def test_a_restore_that_met_damage_is_finished_when_a_store_has_it_again(
    kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    name, offset = places_of(three, "/sncp/large.bin")[0]
    good = three.stores[2].objects[name]
    for store in three.stores:
        store.damage(name, at=offset + 100)
    with pytest.raises(DamagedData):
        back(three, tmp_path / "out")
    three.stores[2].objects[name] = good
    report = back(three, tmp_path / "out")
    assert report.bytes_reused > 0
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")


def test_a_folder_whose_tree_is_lost_is_named_and_the_others_come_back(
    kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    repository = three.open()
    node = repository.find_node(three.latest(repository).snapshot, "/sncp/notes/deep")
    place = repository.index.find(bytes.fromhex(node.subtree))
    for store in three.stores:
        store.damage(pack_name(place.pack_id), at=place.offset + 40)
    with pytest.raises(DamagedData, match="notes/deep"):
        back(three, tmp_path / "out")
    assert (tmp_path / "out" / "large.bin").exists()


def test_S10_one_store_of_three_that_hangs_holds_nothing_up(
    kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    repository = three.open()
    node = repository.find_node(three.latest(repository).snapshot, "/sncp")
    three.stores[0].fail(Trouble.HANGS, calls=["get"])
    restore_tree(repository, node, tmp_path / "out", three.emit)
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")
    three.stores[0].mend()


def test_blobs_that_lie_together_are_read_in_one_request(three: Any, tmp_path: Path) -> None:
    for store in three.stores:
        store.calls.clear()
    back(three, tmp_path / "out")
    reads = [name for s in three.stores for call, name in s.calls if call == "get"]
    blobs = three.open().index.rows
    data = [name for name in reads if name.startswith(DATA)]
    assert len(data) < blobs / 2, (len(data), blobs)


def test_a_dry_run_counts_and_writes_nothing(three: Any, tmp_path: Path) -> None:
    counted = back(three, tmp_path / "out", RestoreOptions(dry_run=True))
    assert not (tmp_path / "out").exists()
    done = back(three, tmp_path / "out")
    assert (counted.files, counted.folders, counted.bytes) == (
        done.files,
        done.folders,
        done.bytes,
    )


@pytest.mark.parametrize(
    ("patterns", "wanted", "unwanted"),
    [
        (Patterned(include=["*.md"]), ["notes/001.md"], ["large.bin", "kinds", "notes/deep"]),
        (Patterned(include=["/sncp/notes/deep"]), ["notes/deep/noise.bin"], ["notes/001.md"]),
        (Patterned(iinclude=["NOTES"]), ["notes/deep/noise.bin"], ["large.bin"]),
        (Patterned(exclude=["/sncp/notes"]), ["large.bin", "odd"], ["notes"]),
        (Patterned(exclude=["*.MD"]), ["notes/001.md"], []),
        (Patterned(iexclude=["*.MD"]), ["notes/deep"], ["notes/001.md"]),
        (Patterned(include=["notes"], exclude=["0*"]), ["notes/deep"], ["notes/001.md"]),
    ],
)
def test_patterns_choose_what_comes_back(
    three: Any, tmp_path: Path, patterns: Patterned, wanted: list[str], unwanted: list[str]
) -> None:
    options = RestoreOptions(wanted=patterns.wanted("/sncp"))
    back(three, tmp_path / "out", options)
    for path in wanted:
        assert (tmp_path / "out" / path).exists(), path
    for path in unwanted:
        assert not os.path.lexists(tmp_path / "out" / path), path
    repository = three.open()
    tree = repository.find_node(three.latest(repository).snapshot, "/sncp").subtree
    assert prove(repository, tree, tmp_path / "out", options, three.emit).passed
    for path in wanted:
        if (tmp_path / "out" / path).is_file():
            (tmp_path / "out" / path).write_text("changed")
            assert not prove(repository, tree, tmp_path / "out", options, three.emit).passed


def test_a_name_that_leads_out_of_the_place_is_refused_and_nothing_is_written_there(
    three: Any, tmp_path: Path
) -> None:
    for name in (b"..", b"a/b", b"."):
        hostile = Node(name, "file", 0o644, 0, size=0)
        folder = put_tree(three, [hostile])
        repository = three.open()
        with pytest.raises(DamagedData, match="hostile"):
            restore_tree(repository, folder, tmp_path / "deep" / name.hex(), three.emit)
    left = [path for path in (tmp_path / "deep").rglob("*") if "unfinished" not in path.name]
    assert sorted(path.name for path in left) == ["2e", "2e2e", "612f62"]


def test_a_size_that_is_not_that_of_the_blobs_is_damage(three: Any, tmp_path: Path) -> None:
    repository = three.open()
    node = repository.find_node(three.latest(repository).snapshot, "/sncp/large.bin")
    folder = put_tree(three, [Node(b"f", "file", 0o644, 0, size=7, content=node.content)])
    with pytest.raises(DamagedData, match="says 7 bytes"):
        restore_tree(three.open(), folder, tmp_path / "out", three.emit)


def test_a_full_disk_ends_the_restore_and_says_so(
    three: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patch_writing(patched, full)
        with pytest.raises(PlaceError, match="No space left"):
            back(three, tmp_path / "out")
    assert back(three, tmp_path / "out").files > 0, "it goes on when there is room"


@pytest.mark.parametrize("sparse", [True, False])
def test_long_runs_of_zeros_become_holes_when_asked_for(
    kit: ModuleType, tmp_path: Path, sparse: bool
) -> None:
    alone = kit.Kit([MemoryStore("gcs")]).init()
    source = tmp_path / "source"
    source.mkdir()
    content = b"head" + bytes(9 << 20) + b"tail" + bytes(1 << 20)
    (source / "disk").write_bytes(content)
    alone.backup(source)
    back(alone, tmp_path / "out", RestoreOptions(sparse=sparse))
    found = tmp_path / "out" / "disk"
    assert found.read_bytes() == content
    assert (found.stat().st_blocks * 512 < len(content) / 4) == sparse


def test_windows_follow_each_other(
    kit: ModuleType, three: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "_WINDOW_FILES", 2)
    monkeypatch.setattr(restore, "_WINDOW_BLOBS", 3)
    back(three, tmp_path / "out")
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")


def test_very_deep_folders_come_back(kit: ModuleType, tmp_path: Path) -> None:
    alone = kit.Kit([MemoryStore("gcs")]).init()
    folder = put_tree(alone, [Node(b"end", "symlink", 1 << 27 | 0o777, 0, link_target=b"x")])
    for _ in range(60):
        below = Node(b"d", "dir", 0o755 | 1 << 31, 5, subtree=folder.subtree)
        folder = put_tree(alone, [below])
    restore_tree(alone.open(), folder, tmp_path / "out", alone.emit)
    assert len(list((tmp_path / "out").rglob("d"))) == 60

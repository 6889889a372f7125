"""Nothing is used before its hash was checked; damaged copies are passed over, losses are named."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.errors import DamagedData, GuardRefused, NoRepository, WrongKey
from drkit.repository.check.check import check_repository
from drkit.repository.format.layout import DATA, INDEX, KEYS, SNAPSHOTS, pack_name
from drkit.repository.format.tree import Node, encode_tree
from drkit.repository.repository import open_repository
from drkit.repository.restore.compare import compare_tree
from drkit.repository.restore.restore import restore_tree
from drkit.stores.memory import MemoryStore


@pytest.fixture
def three(three: Any, kit: ModuleType, tmp_path: Path) -> Any:
    three.backup(kit.make_plain_tree(tmp_path / "source"), min_copies=3)
    return three


def place_of(kit: Any, path: str) -> tuple[str, int]:
    """Object name and offset of the first blob of the file at `path`."""
    repository = kit.open()
    node = repository.find_node(kit.latest(repository).snapshot, path)
    place = repository.index.find(node.content[0])
    return pack_name(place.pack_id), place.offset


def test_S11_a_bit_flipped_in_one_store_is_read_from_another(
    kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    name, offset = place_of(three, "/sncp/large.bin")
    three.stores[0].damage(name, at=offset + 1000)
    three.restore(tmp_path / "out")
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")
    repository = three.open()
    snapshot = three.latest(repository).snapshot
    assert repository.read_file(snapshot, "/sncp/large.bin") == (
        (tmp_path / "source" / "large.bin").read_bytes()
    )
    assert any(name in warning and warning.startswith("gcs") for warning in three.warnings)


def test_S11_damage_in_every_store_names_file_blob_pack_and_stores(
    three: Any, tmp_path: Path
) -> None:
    name, offset = place_of(three, "/sncp/notes/003.md")
    for store in three.stores:
        store.damage(name, at=offset + 20)
    with pytest.raises(DamagedData) as failure:
        three.restore(tmp_path / "out")
    message = failure.value.message
    for part in ("notes/003.md", name.rpartition("/")[2][:8], "blob", "gcs", "s3", "b2"):
        assert part in message
    report = check_repository(three.open(), read_data=True, emit=three.emit)
    assert not report.sound
    assert [lost.path for lost in report.lost] == ["/sncp/notes/003.md"]


def test_S11_bytes_under_a_valid_seal_are_still_hashed(three: Any) -> None:
    repository = three.open()
    node = repository.find_node(three.latest(repository).snapshot, "/sncp/notes/deep/noise.bin")
    place = repository.index.find(node.content[0])
    name = pack_name(place.pack_id)
    forged = repository.key.seal(b"x" * (place.length - 32))
    for store in three.stores[:1]:
        whole = bytearray(store.get(name))
        whole[place.offset : place.offset + place.length] = forged
        store.put(name, bytes(whole), size_bytes=len(whole))
    content = repository.load_blob(node.content[0])
    assert content == (
        repository.read_file(three.latest(repository).snapshot, "/sncp/notes/deep/noise.bin")
    )
    assert any(warning.startswith("gcs") for warning in three.warnings)


@pytest.mark.parametrize("folder", [SNAPSHOTS, INDEX, KEYS])
def test_S11_one_damaged_object_of_each_kind_stops_nothing(
    kit: ModuleType, three: Any, tmp_path: Path, folder: str
) -> None:
    for info in list(three.stores[0].list(folder)):
        three.stores[0].damage(info.name, at=info.size_bytes // 2)
    three.restore(tmp_path / "out")
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")


def test_any_one_store_restores_alone(kit: ModuleType, three: Any, tmp_path: Path) -> None:
    for store in three.stores:
        three.restore(tmp_path / store.name, [store])
        assert kit.listing(tmp_path / store.name) == kit.listing(tmp_path / "source")


def test_stores_that_are_down_or_gone_stop_no_restore(
    kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    three.stores[0].down = True
    repository = three.open([three.stores[0], MemoryStore("s3"), three.stores[2]])
    assert set(repository.unreachable) == {"gcs", "s3"}
    three.restore(tmp_path / "out", [three.stores[0], MemoryStore("s3"), three.stores[2]])
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")


def test_a_store_that_goes_down_in_mid_restore_is_passed_over(three: Any, tmp_path: Path) -> None:
    repository = three.open()
    node = repository.find_node(three.latest(repository).snapshot, "/sncp")
    three.stores[0].down = True
    assert restore_tree(repository, node, tmp_path / "out", three.emit).files == 15
    assert repository.snapshots()


def test_a_wrong_password_and_no_repository_have_their_own_errors(three: Any) -> None:
    with pytest.raises(WrongKey):
        open_repository(three.stores, "wrong", clock=three.clock, emit=three.emit, hostname="h")
    with pytest.raises(NoRepository):
        three.open([MemoryStore("gcs")])


def test_R7_a_place_that_is_not_empty_is_refused_and_left_alone(three: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(GuardRefused):
        three.restore(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GuardRefused):
        three.restore(tmp_path / "link")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", [b"..", b".", b"", b"a/b", b"/etc", b"a\0b"])
def test_a_hostile_name_in_a_tree_is_refused(name: bytes) -> None:
    from drkit.repository.format.tree import decode_tree

    with pytest.raises(DamagedData, match="hostile"):
        decode_tree(encode_tree([Node(name, "file", 0o644, 0)]))


def test_a_tree_with_one_name_twice_is_refused() -> None:
    from drkit.repository.format.tree import decode_tree

    link = Node(b"a", "symlink", 1 << 27, 0, link_target=b"/etc")
    with pytest.raises(DamagedData, match="twice"):
        decode_tree(encode_tree([link, Node(b"a", "dir", 1 << 31, 0, subtree="00" * 32)]))


def test_every_kind_of_change_is_a_difference(kit: ModuleType, three: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    three.restore(out)
    repository = three.open()
    tree = repository.find_node(three.latest(repository).snapshot, "/sncp").subtree

    def differences() -> dict[str, str]:
        return {d.path: d.what for d in compare_tree(repository, tree, out, three.emit)}

    assert differences() == {}
    import os

    times = (out / "large.bin").stat()
    with (out / "large.bin").open("r+b") as file:
        file.seek(3_000_000)
        byte = file.read(1)
        file.seek(3_000_000)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(out / "large.bin", ns=(times.st_atime_ns, times.st_mtime_ns))
    (out / "notes" / "001.md").chmod(0o440)  # which no umask gives
    os.utime(out / "notes" / "002.md", ns=(0, 0))
    (out / "notes" / "003.md").unlink()
    (out / "empty").unlink()
    (out / "empty").symlink_to("large.bin")
    (out / "extra").write_text("x")
    found = differences()
    assert found["large.bin"] == "has other content"
    assert "mode" in found["notes/001.md"]
    assert "time" in found["notes/002.md"]
    assert found["notes/003.md"] == "is missing"
    assert "symlink" in found["empty"]
    assert "not in the point" in found["extra"]


def test_check_tells_stores_apart(three: Any) -> None:
    name, offset = place_of(three, "/sncp/large.bin")
    three.stores[0].damage(name, at=offset + 5)
    three.stores[1].delete(name)
    shallow = check_repository(three.open(), read_data=False, emit=three.emit)
    assert [check.sound for check in shallow.stores.values()] == [True, False, True]
    deep = check_repository(three.open(), read_data=True, emit=three.emit)
    assert [check.sound for check in deep.stores.values()] == [False, False, True]
    assert name in deep.stores["gcs"].problems[0]
    assert deep.stores["s3"].lacks == 1
    assert deep.lost == ()
    assert len({info.name for info in three.stores[2].list(DATA)}) == deep.stores["b2"].packs

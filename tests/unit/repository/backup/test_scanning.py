"""What a scan takes, leaves out, reads again and does not read."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.repository.restore.compare import compare_tree
from drkit.stores.memory import MemoryStore


@pytest.fixture
def alone(kit: ModuleType) -> Any:
    return kit.Kit([MemoryStore("gcs")]).init()


def test_an_odd_tree_comes_back_whole(kit: ModuleType, alone: Any, tmp_path: Path) -> None:
    source = kit.make_odd_tree(tmp_path / "source")
    (source / "raw").symlink_to(os.fsdecode(b"\xff\xfe"))
    report = alone.backup(source)
    assert report.roots["sncp"].unreadable == ()
    alone.restore(tmp_path / "out")
    assert kit.listing(tmp_path / "out") == kit.listing(source)
    repository = alone.open()
    tree = repository.find_node(alone.latest(repository).snapshot, "/sncp").subtree
    assert compare_tree(repository, tree, tmp_path / "out", alone.emit) == ()
    sparse = (tmp_path / "out" / "kinds" / "sparse").stat()
    assert sparse.st_blocks * 512 < sparse.st_size / 2


def test_an_unchanged_tree_is_not_read_and_adds_next_to_nothing(
    kit: ModuleType, alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = kit.make_odd_tree(tmp_path / "source")
    first = alone.backup(source)
    opened: list[bytes] = []
    real_open = os.open

    def watched(path: Any, *arguments: Any, **options: Any) -> int:
        opened.append(path)
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", watched)
    second = alone.backup(source)
    below = [path for path in opened if os.fsencode(source) in os.fsencode(path)]
    assert [path for path in below if not os.path.isdir(path)] == [], "folders alone are opened"
    assert (second.files_new, second.files_changed) == (0, 0)
    assert second.files_unmodified == first.files_new
    assert second.bytes_added < 2000
    assert second.roots["sncp"].tree_id == first.roots["sncp"].tree_id


@pytest.mark.parametrize("kept", ["size and mtime", "nothing"])
def test_a_changed_file_is_read_even_with_its_old_time_and_size(
    kit: ModuleType, alone: Any, tmp_path: Path, kept: str
) -> None:
    source = kit.make_plain_tree(tmp_path / "source")
    alone.backup(source)
    target = source / "notes" / "000.md"
    status = target.stat()
    target.write_bytes(b"X" * status.st_size)
    if kept == "size and mtime":
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert alone.backup(source).files_changed == 1
    alone.restore(tmp_path / "out")
    assert (tmp_path / "out" / "notes" / "000.md").read_bytes() == b"X" * status.st_size


def test_an_edit_in_a_large_file_costs_a_chunk_or_two(
    kit: ModuleType, alone: Any, tmp_path: Path
) -> None:
    import random

    source = tmp_path / "source"
    source.mkdir()
    data = random.Random(3).randbytes(40 << 20)
    (source / "big").write_bytes(data)
    alone.backup(source)
    (source / "big").write_bytes(data[: 9 << 20] + b"inserted" + data[9 << 20 :])
    assert alone.backup(source).bytes_added < 6 << 20
    alone.restore(tmp_path / "out")
    assert (tmp_path / "out" / "big").read_bytes() == (source / "big").read_bytes()


def test_excluded_paths_stay_out(kit: ModuleType, alone: Any, tmp_path: Path) -> None:
    source = kit.make_plain_tree(tmp_path / "source")
    alone.backup(source, exclude=("*.bin", "notes/deep"))
    alone.restore(tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").rglob("*")}
    assert "large.bin" not in names
    assert "deep" not in names
    assert "003.md" in names


def test_a_file_that_vanishes_is_named_and_the_run_goes_on(
    kit: ModuleType, alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = kit.make_plain_tree(tmp_path / "source")
    real_open = os.open

    def vanishing(path: Any, *arguments: Any, **options: Any) -> int:
        if os.fsencode(path).endswith(b"/003.md"):
            raise PermissionError(13, "Permission denied", path)
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", vanishing)
    report = alone.backup(source)
    ((path, why),) = report.roots["sncp"].unreadable
    assert path.endswith("notes/003.md")
    assert "ermission" in why
    monkeypatch.undo()
    alone.restore(tmp_path / "out")
    assert (tmp_path / "out" / "notes" / "004.md").exists()
    assert not (tmp_path / "out" / "notes" / "003.md").exists()


def test_a_root_that_is_gone_keeps_its_former_tree(
    kit: ModuleType, alone: Any, tmp_path: Path
) -> None:
    source = kit.make_plain_tree(tmp_path / "source")
    first = alone.backup(source)
    source.rename(tmp_path / "moved")
    report = alone.backup(source)
    assert report.roots["sncp"].error
    assert report.roots["sncp"].tree_id == first.roots["sncp"].tree_id
    assert alone.restore(tmp_path / "out").files == 15


def test_a_former_tree_is_kept_unread(kit: ModuleType, alone: Any, tmp_path: Path) -> None:
    source = kit.make_plain_tree(tmp_path / "source")
    first = alone.backup(source)
    (source / "later").write_text("later")
    report = alone.backup(source, keep=True)
    assert report.roots["sncp"].tree_id == first.roots["sncp"].tree_id
    assert report.bytes_scanned == 0


def test_a_root_that_is_a_link_is_followed_but_no_link_below_it(
    kit: ModuleType, alone: Any, tmp_path: Path
) -> None:
    real = kit.make_plain_tree(tmp_path / "real")
    (real / "notes" / "inner").symlink_to(tmp_path)
    (tmp_path / "source").symlink_to(real)
    alone.backup(tmp_path / "source")
    alone.restore(tmp_path / "out")
    assert (tmp_path / "out" / "notes" / "inner").is_symlink()
    assert kit.listing(tmp_path / "out") == kit.listing(real)


def test_chunks_are_cut_as_the_repository_pins_them(
    kit: ModuleType, alone: Any, tmp_path: Path
) -> None:
    import random

    import orjson

    from drkit.repository.format.layout import DRKIT

    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(random.Random(5).randbytes(6 << 20))
    pinned = orjson.loads(alone.stores[0].get(DRKIT))
    assert pinned["chunker"]["avg_bytes"] == 1 << 20
    pinned["chunker"].update(min_bytes=64 << 10, avg_bytes=128 << 10, max_bytes=512 << 10)
    content = orjson.dumps(pinned)
    alone.stores[0].put(DRKIT, content, size_bytes=len(content))
    alone.backup(source)
    repository = alone.open()
    node = repository.find_node(alone.latest(repository).snapshot, "/sncp/large")
    sizes = [repository.index.find(blob).content_bytes for blob in node.content]
    assert len(sizes) > 15
    assert max(sizes) <= 512 << 10
    assert alone.warnings == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"chunker": {"algorithm": "rabin", "min_bytes": 1, "avg_bytes": 1, "max_bytes": 1}}',
        b'{"chunker": {"algorithm": "fastcdc-2020", "min_bytes": 1, "avg_bytes": 2, '
        b'"max_bytes": 3}}',
        b'{"chunker": {"algorithm": "fastcdc-2020", "min_bytes": 524288, "avg_bytes": 1048576, '
        b'"max_bytes": 1099511627776}}',
        b'{"chunker": {"algorithm": "fastcdc-2020", "min_bytes": "many", "avg_bytes": [], '
        b'"max_bytes": null}}',
        b" " * 100_000,
    ],
)
def test_settings_that_nobody_could_have_pinned_are_told_and_not_used(
    kit: ModuleType, alone: Any, tmp_path: Path, content: bytes
) -> None:
    from drkit.repository.format.layout import DRKIT

    source = kit.make_plain_tree(tmp_path / "source")
    alone.stores[0].put(DRKIT, content, size_bytes=len(content))
    alone.backup(source)
    assert any("cut as in a new repository" in text for text in alone.warnings)
    alone.restore(tmp_path / "out")
    assert kit.listing(tmp_path / "out") == kit.listing(source)


def test_a_file_on_a_window_s_edge_comes_back_whole(
    kit: ModuleType, alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import random

    from drkit.repository.backup import file_reader

    monkeypatch.setattr(file_reader, "WINDOW_BYTES", 9 << 20)
    source = tmp_path / "source"
    source.mkdir()
    for size in ((512 << 10) - 1, 512 << 10, (9 << 20) - 1, 9 << 20, (9 << 20) + 1, 19 << 20):
        (source / str(size)).write_bytes(random.Random(size).randbytes(size))
    (source / "zeros").write_bytes(bytes(20 << 20))
    assert alone.backup(source).roots["sncp"].whole
    alone.restore(tmp_path / "out")
    assert kit.listing(tmp_path / "out") == kit.listing(source)


def test_where_chunks_end_does_not_depend_on_how_a_file_is_read(
    kit: ModuleType, alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import random

    from drkit.repository.backup import file_reader

    source = tmp_path / "source"
    source.mkdir()
    (source / "one").write_bytes(random.Random(9).randbytes(30 << 20))
    alone.backup(source)
    monkeypatch.setattr(file_reader, "WINDOW_BYTES", 9 << 20)
    (source / "two").write_bytes((source / "one").read_bytes())
    report = alone.backup(source)
    assert report.files_new == 1
    assert report.bytes_added < 10_000, "every chunk of it was there"

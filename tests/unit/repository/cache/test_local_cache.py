"""The cache on this machine: never trusted, never in the way, deleted without loss (S11)."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.repository.cache.local_cache import LocalCache
from drkit.repository.format.layout import DATA, INDEX, SNAPSHOTS
from drkit.repository.repository import Repository, open_repository
from drkit.stores.memory import MemoryStore

NAME = "ab" * 32
OTHER = "cd" * 32


@pytest.fixture
def notes() -> list[Any]:
    return []


@pytest.fixture
def cache(tmp_path: Path, notes: list[Any]) -> LocalCache:
    return LocalCache(tmp_path / "cache", notes.append, most_bytes=100_000)


@pytest.fixture(scope="module")
def prepared(kit: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The objects of a store with so many index files that the index is kept as it is."""
    alone = kit.Kit([MemoryStore("gcs")]).init()
    source = tmp_path_factory.mktemp("prepared") / "source"
    (source / "notes").mkdir(parents=True)
    for number in range(9):
        (source / "notes" / "new.md").write_text(str(number))
        alone.backup(source)
    return dict(alone.stores[0].objects)


@pytest.fixture
def alone(kit: ModuleType, prepared: dict[str, bytes]) -> Any:
    store = MemoryStore("gcs")
    store.objects.update(prepared)
    return kit.Kit([store])


def opened(kit: ModuleType, alone: Any, folder: Path) -> Repository:
    return open_repository(
        alone.stores,
        kit.PASSWORD,
        clock=alone.clock,
        emit=alone.emit,
        hostname="h",
        cache_dir=folder,
    )


def read_all(kit: ModuleType, repository: Repository) -> dict[str, bytes]:
    """Everything that is read by way of the cache, with the whole index."""
    found = {}
    for listed in repository.snapshots():
        found[listed.id] = repository.read_file(listed.snapshot, "/.drkit/point.json")
        for node in repository.load_tree(listed.snapshot.tree):
            found[f"{listed.id}{node.name!r}"] = repr(repository.load_tree(node.subtree)).encode()
    found["index"] = repr(sorted(repository.index.packs(), key=str)).encode()
    return found


def reads(store: MemoryStore, folder: str) -> int:
    return sum(call == "get" and name.startswith(folder) for call, name in store.calls)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_read_once_is_not_asked_for_again(
    kit: ModuleType, alone: Any, tmp_path: Path
) -> None:
    first = read_all(kit, opened(kit, alone, tmp_path / "cache"))
    alone.stores[0].calls.clear()
    assert read_all(kit, opened(kit, alone, tmp_path / "cache")) == first
    assert [reads(alone.stores[0], folder) for folder in (INDEX, SNAPSHOTS, DATA)] == [0, 0, 0]


def test_nothing_in_the_cache_is_plain(kit: ModuleType, alone: Any, tmp_path: Path) -> None:
    read_all(kit, opened(kit, alone, tmp_path / "cache"))
    held = files(tmp_path / "cache")
    kinds = {path.relative_to(tmp_path / "cache").parts[1:2] for path in held}
    assert kinds == {(kind,) for kind in ("snapshots", "trees", "blobs", "columns")} | {()}
    for path in held:
        assert path.stat().st_mode & 0o077 == 0 or path.name == "key-file"
        content = path.read_bytes()
        assert b"notes" not in content
        assert b"packs" not in content
        assert b"nodes" not in content


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty_it(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")


def link_elsewhere(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "damage", [flip, empty_it, cut, lengthen, link_elsewhere, make_folder, make_pipe, Path.unlink]
)
def test_S11_whatever_is_wrong_in_the_cache_is_read_from_the_store(
    kit: ModuleType, alone: Any, tmp_path: Path, damage: Any
) -> None:
    first = read_all(kit, opened(kit, alone, tmp_path / "cache"))
    for path in files(tmp_path / "cache"):
        damage(path)
    alone.stores[0].calls.clear()
    assert read_all(kit, opened(kit, alone, tmp_path / "cache")) == first
    if damage is not lengthen:  # of a page, what follows a blob is not read
        assert reads(alone.stores[0], DATA) > 0
    assert reads(alone.stores[0], SNAPSHOTS) == 9
    assert not alone.warnings


def test_S11_the_files_of_another_repository_are_not_believed(
    kit: ModuleType, alone: Any, tmp_path: Path
) -> None:
    first = read_all(kit, opened(kit, alone, tmp_path / "cache"))
    stranger = kit.Kit([MemoryStore("s3")]).init()
    for number in range(9):
        (tmp_path / "source").mkdir(exist_ok=True)
        (tmp_path / "source" / "other").write_text(str(number))
        stranger.backup(tmp_path / "source")
    read_all(kit, opened(kit, stranger, tmp_path / "cache"))
    folders = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    mine, theirs = sorted(folders, key=lambda path: path.stat().st_mtime)
    held = {path.relative_to(mine).parts[0]: path for path in files(mine)}
    for path in files(theirs):
        kind = path.relative_to(theirs).parts[0]
        held[kind].write_bytes(path.read_bytes())
    assert read_all(kit, opened(kit, alone, tmp_path / "cache")) == first


def test_foreign_files_are_left_alone(cache: LocalCache, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "trees" / "ab"
    folder.mkdir(parents=True)
    foreign = [folder / "README", folder / ("ef" * 32), tmp_path / "cache" / "notes.txt"]
    for path in foreign:
        path.write_bytes(b"x" * 200_000)
    for number in range(20):
        cache.put("trees", f"{number:064x}", b"y" * 20_000)
    assert all(path.exists() for path in foreign)


def test_it_stays_within_its_bound_and_keeps_what_was_used_last(
    cache: LocalCache, tmp_path: Path
) -> None:
    for number in range(30):
        cache.put("trees", f"{number:064x}", b"y" * 10_000)
        os.utime(tmp_path / "cache" / "trees" / "00" / f"{number:064x}", (number, number))
        assert sum(path.stat().st_size for path in files(tmp_path / "cache")) <= 100_000
    assert cache.get("trees", f"{29:064x}") is not None
    assert cache.get("trees", f"{0:064x}") is None


def test_what_is_larger_than_a_quarter_of_it_is_not_kept(cache: LocalCache) -> None:
    cache.put("trees", NAME, b"x" * 30_000)
    assert cache.get("trees", NAME) is None


def test_what_a_killed_writer_left_is_swept(cache: LocalCache, tmp_path: Path) -> None:
    cache.put("trees", NAME, b"1")
    left = tmp_path / "cache" / "trees" / "ab" / ".0123.tmp"
    fresh = tmp_path / "cache" / "trees" / "ab" / ".4567.tmp"
    for path in (left, fresh):
        path.write_bytes(b"half")
    os.utime(left, (time.time() - 4000,) * 2)
    LocalCache(tmp_path / "cache", lambda _event: None).put("trees", OTHER, b"2")
    assert not left.exists()
    assert fresh.exists(), "its writer may be at work"


def test_a_full_disk_is_said_once_and_stops_nothing(
    kit: ModuleType, alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = read_all(kit, alone.open())

    def full(_self: Path, _target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        assert read_all(kit, opened(kit, alone, tmp_path / "cache")) == plain
    told = [event.text for event in alone.events if getattr(event, "level", "") == "info"]
    assert [text for text in told if "No space left" in text] == [told[-1]]
    assert [path.name for path in files(tmp_path / "cache")] == ["key-file"]


def test_a_place_that_can_be_no_folder_stops_nothing(
    kit: ModuleType, alone: Any, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    assert read_all(kit, opened(kit, alone, tmp_path / "cache")) == read_all(kit, alone.open())


def test_it_may_be_deleted_while_it_is_used(kit: ModuleType, alone: Any, tmp_path: Path) -> None:
    import shutil

    repository = opened(kit, alone, tmp_path / "cache")
    repository.index
    shutil.rmtree(tmp_path / "cache")
    assert read_all(kit, repository) == read_all(kit, alone.open())


WRITER = """
import sys
from pathlib import Path
from drkit.repository.cache.local_cache import LocalCache
cache = LocalCache(Path(sys.argv[1]), lambda event: print(event), most_bytes=200_000)
for turn in range(60):
    for number in range(10):
        name = f"{number:064x}"
        cache.put("trees", name, name.encode() * 100)
        found = cache.get("trees", name)
        assert found in (None, name.encode() * 100), found
        if turn % 7 == number:
            cache.drop("trees", name)
"""


def test_four_processes_write_and_drop_the_same_files(tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "cache")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for _ in range(4)
    ]
    assert [process.communicate()[0] for process in running] == [b""] * 4
    assert [process.returncode for process in running] == [0] * 4
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_index_files_that_are_gone_are_forgotten(
    kit: ModuleType, alone: Any, tmp_path: Path
) -> None:
    repository = opened(kit, alone, tmp_path / "cache")
    before = repository.index.rows
    name = next(info.name for info in alone.stores[0].list(INDEX))
    alone.stores[0].delete(name)
    again = opened(kit, alone, tmp_path / "cache")
    assert again.index.rows < before
    assert dict(again.index.packs()) == dict(alone.open().index.packs())

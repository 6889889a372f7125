"""Walking, finding and dumping where things are odd: deep, damaged, or not what was asked for."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.errors import ConfigError, DamagedData
from drkit.repository.dump.dump import dump
from drkit.repository.format.layout import pack_name
from drkit.repository.format.tree import Node, encode_tree
from drkit.repository.trees.diff import Diff
from drkit.repository.trees.find import Wanted, find_blobs, find_paths, read_moment
from drkit.repository.trees.stats import count
from drkit.repository.trees.walk import Damages, entries, find_entry, find_folder, listing
from drkit.stores.memory import MemoryStore


@pytest.fixture
def two(kit: ModuleType, tmp_path: Path) -> Any:
    two = kit.Kit([MemoryStore(name) for name in ("gcs", "s3")]).init()
    two.backup(kit.make_plain_tree(tmp_path / "source", files=3), min_copies=2)
    return two


def root(two: Any, repository: Any) -> str:
    return str(two.latest(repository).snapshot.tree)


def damage(two: Any, blob: bytes) -> None:
    place = two.open().index.find(blob)
    for store in two.stores:
        store.damage(pack_name(place.pack_id), at=place.offset + 20)


def test_a_damaged_folder_is_told_and_the_rest_is_walked(two: Any) -> None:
    tree = root(two, two.open())
    damage(two, bytes.fromhex(find_entry(two.open(), tree, "/sncp/notes/deep").node.subtree))
    damages = Damages(two.emit)
    paths = [entry.path for entry in entries(two.open(), tree, on_damage=damages)]
    assert "/sncp/notes/deep" in paths
    assert "/sncp/notes/deep/noise.bin" not in paths
    assert "/sncp/notes/002.md" in paths
    assert list(damages.paths) == ["/sncp/notes/deep"]
    with pytest.raises(DamagedData, match="/sncp/notes/deep"):
        list(entries(two.open(), tree))
    with pytest.raises(DamagedData, match="/sncp/notes/deep"):
        count(two.open(), two.open().snapshots(), "restore-size")


def test_a_tree_as_deep_as_any_path_is_walked() -> None:
    class Deep:
        def load_tree(self, tree: str) -> tuple[Node, ...]:
            level = int(tree)
            below = str(level + 1) if level < 4000 else None
            return (Node(b"d", "dir", 1 << 31, 0, subtree=below),)

    repository: Any = Deep()
    assert sum(1 for _ in entries(repository, "0")) == 4001


def test_a_listing_stays_on_its_level_unless_it_is_told_otherwise(two: Any) -> None:
    repository = two.open()
    damages = Damages(two.emit)

    def listed(path: str, recursive: bool) -> list[str]:
        tree = root(two, repository)
        found = listing(repository, tree, path, recursive=recursive, on_damage=damages)
        return [entry.path for entry in found]

    assert listed("/sncp/notes", False) == [
        "/sncp/notes",
        *(f"/sncp/notes/00{number}.md" for number in range(3)),
        "/sncp/notes/deep",
    ]
    assert "/sncp/notes/deep/noise.bin" in listed("sncp/notes/", True)
    assert listed("/sncp/empty", False) == ["/sncp/empty"]


@pytest.mark.parametrize("path", ["/nowhere", "/sncp/empty/below", "/sncp/../sncp/none"])
def test_a_path_that_is_not_there_is_refused_with_where_it_ends(two: Any, path: str) -> None:
    repository = two.open()
    with pytest.raises(ConfigError, match="has no"):
        find_entry(repository, root(two, repository), path)
    with pytest.raises(ConfigError, match="no folder"):
        find_folder(repository, root(two, repository), "/sncp/empty")


def test_files_are_found_by_case_and_time(two: Any) -> None:
    repository = two.open()
    damages = Damages(two.emit)

    def found(*patterns: str, **options: Any) -> set[str]:
        wanted = Wanted(patterns, **options)
        tree = root(two, repository)
        return {entry.path for entry in find_paths(repository, tree, wanted, damages)}

    assert found("LARGE.*") == set()
    assert found("LARGE.*", ignore_case=True) == {"/sncp/large.bin"}
    assert found("[!0-9]*.bin", "00[0-1].md") == {
        "/sncp/large.bin",
        "/sncp/notes/deep/noise.bin",
        "/sncp/notes/000.md",
        "/sncp/notes/001.md",
    }
    when = find_entry(repository, root(two, repository), "/sncp/large.bin").node.mtime_ns
    assert found("large.bin", oldest_ns=when, newest_ns=when) == {"/sncp/large.bin"}
    assert found("large.bin", oldest_ns=when + 1) == set()
    assert found("large.bin", newest_ns=when - 1) == set()


def test_times_are_read_with_their_zone_and_ids_only_when_they_are_some() -> None:
    assert read_moment("1970-01-01T00:00:01+00:00") == 1_000_000_000
    assert read_moment("1970-01-01T02:00:00+02:00") == 0
    with pytest.raises(ConfigError, match="no time"):
        read_moment("yesterday")


@pytest.mark.parametrize("prefix", ["", "a", "xyz", "ab" * 33, "AB"])
def test_the_start_of_an_id_that_is_none_is_refused(two: Any, prefix: str) -> None:
    repository = two.open()
    with pytest.raises(ConfigError, match="no start of an id"):
        list(
            find_blobs(
                repository,
                two.latest(repository),
                [prefix],
                kind="blob",
                on_damage=Damages(two.emit),
            )
        )


def test_a_file_of_which_a_part_is_lost_is_never_dumped_as_if_it_were_whole(two: Any) -> None:
    node = find_entry(two.open(), root(two, two.open()), "/sncp/large.bin").node
    damage(two, node.content[-1])
    repository = two.open()
    with pytest.raises(DamagedData):
        dump(repository, root(two, repository), "/sncp/large.bin", io.BytesIO())
    with pytest.raises(DamagedData):
        dump(repository, root(two, repository), "/sncp", io.BytesIO())
    with pytest.raises(DamagedData):
        dump(repository, root(two, repository), "/sncp", io.BytesIO(), "zip")


def test_a_zip_takes_names_and_times_that_zips_do_not_know(kit: Any, tmp_path: Path) -> None:
    source = tmp_path / "odd"
    source.mkdir()
    (source / os.fsdecode(b"\xff name")).write_bytes(b"one")
    (source / "years").write_bytes(b"two")
    (source / "empty").mkdir()
    os.utime(source / "years", (-(10**9), -(10**9)))
    of = kit.Kit([MemoryStore("gcs")]).init()
    of.backup(source)
    out = io.BytesIO()
    dump(of.open(), of.latest(of.open()).snapshot.tree, "/sncp", out, "zip")
    with zipfile.ZipFile(out) as archive:
        held = {each.filename: archive.read(each) for each in archive.infolist()}
    assert held == {"sncp/\\xff name": b"one", "sncp/years": b"two", "sncp/empty/": b""}


def test_bitrot_shows_as_other_content_under_the_same_metadata(two: Any, tmp_path: Path) -> None:
    """The same size, times and inode, and one bit is another: nobody wrote that file."""
    repository = two.open()
    before = two.latest(repository)
    node = find_entry(repository, before.snapshot.tree, "/sncp/notes/000.md").node
    other = find_entry(repository, before.snapshot.tree, "/sncp/notes/001.md").node
    from dataclasses import replace

    trees = {
        "11" * 32: encode_tree([node]),
        "22" * 32: encode_tree([replace(node, content=other.content)]),
        "33" * 32: encode_tree([replace(node, content=other.content, mtime_ns=1)]),
        "44" * 32: encode_tree([replace(node, mtime_ns=1)]),
    }
    from drkit.repository.format.tree import decode_tree

    class Edited:
        index = repository.index

        def load_tree(self, tree: str) -> tuple[Node, ...]:
            return decode_tree(trees[tree])

    edited: Any = Edited()

    def modifiers(right: str, *, metadata: bool = False) -> list[str]:
        diff = Diff(edited, "11" * 32, right * 32, metadata=metadata)
        return [change.modifier for change in diff.changes()]

    assert modifiers("22") == ["M?"]
    assert modifiers("33") == ["M"]
    assert modifiers("44") == []
    assert modifiers("44", metadata=True) == ["U"]

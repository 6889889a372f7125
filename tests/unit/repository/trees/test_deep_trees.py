"""Folders as deep as a path may go are no trouble; deeper ones, which somebody forged, are told."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from drkit.errors import DamagedData
from drkit.repository.backup.pack_sink import PackSink
from drkit.repository.check.check import check_repository
from drkit.repository.format.layout import pack_name
from drkit.repository.format.pack import BlobKind
from drkit.repository.format.tree import MOST_LEVELS, Node, encode_tree
from drkit.repository.heal.salvage import damaged_packs, losses, repair_packs, repair_snapshots
from drkit.repository.levels.survey import list_stores
from drkit.repository.restore.compare import compare_tree
from drkit.repository.trees.diff import Diff
from drkit.repository.trees.reach import reachable
from drkit.repository.trees.rewriting import Rewriter
from drkit.repository.trees.walk import entries
from drkit.stores.memory import MemoryStore

LEVELS = 1200  # deeper than Python calls itself, also when it removes a folder
FILE = Node(b"leaf", "file", 0o644, 0)
FOLDER = Node(b"d", "dir", 0o755 | 1 << 31, 0)


@pytest.fixture(scope="module")
def deep(kit: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two points of a folder that is deeper than Python's own limit; its last file changed."""
    top = tmp_path_factory.mktemp("deep")
    assert sys.getrecursionlimit() <= LEVELS
    source = top / "source"
    folder = source / "/".join("d" * LEVELS)
    for number in range(1, LEVELS + 1, 100):
        os.makedirs(source / "/".join("d" * number), exist_ok=True)
    os.makedirs(folder, exist_ok=True)
    alone = kit.Kit([MemoryStore("gcs")]).init()
    for text in ("one", "two"):
        (folder / "leaf").write_text(text * 50)
        alone.backup(source)
    alone.source, alone.out = source, top / "out"
    yield alone
    subprocess.run(["rm", "-rf", str(source), str(alone.out)], check=True)


def test_diff_and_restore_and_compare(deep: Any) -> None:
    repository = deep.open()
    first, second = repository.snapshots()
    changes = list(Diff(repository, first.snapshot.tree, second.snapshot.tree).changes())
    leaf = "/sncp/" + "d/" * LEVELS + "leaf"
    assert [change.modifier for change in changes if change.path == leaf] == ["M"]
    assert deep.restore(deep.out).files == 1
    tree = repository.find_node(second.snapshot, "/sncp").subtree
    assert compare_tree(repository, tree, deep.out, deep.emit) == ()
    assert compare_tree(repository, tree, deep.source, deep.emit) == ()


def test_what_is_lost_far_down_is_named_and_repaired(deep: Any) -> None:
    hurt = type(deep)([MemoryStore("gcs")], deep.clock)
    hurt.stores[0].objects = dict(deep.stores[0].objects)
    repository = hurt.open()
    leaf = "/sncp/" + "d/" * LEVELS + "leaf"
    second = repository.snapshots()[-1]
    place = repository.index.find(repository.find_node(second.snapshot, leaf).content[0])
    hurt.stores[0].damage(pack_name(place.pack_id), at=place.offset + 5)
    hurt.clock.sleep(3600)
    report = check_repository(hurt.open(), read_data=True, emit=hurt.emit)
    repair_packs(hurt.open(), damaged_packs(hurt.open(), report), hurt.emit)
    lost = losses(hurt.open(), hurt.open().snapshots())
    assert [(one.path, one.snapshots) for one in lost] == [(leaf, (second.id,))]
    new = repair_snapshots(hurt.open(), hurt.open().snapshots(), hurt.emit)
    assert list(new) == [second.id]
    repaired = next(s for s in hurt.open().snapshots() if s.id == new[second.id])
    assert losses(hurt.open(), [repaired]) == ()


@pytest.fixture(scope="module")
def forged(kit: ModuleType) -> tuple[Any, str, str]:
    """A repository that holds two chains of folders, deeper than any path."""
    alone = kit.Kit([MemoryStore("gcs")]).init()
    repository = alone.open()
    sink = PackSink(repository, list_stores(repository, alone.emit))
    roots = []
    for name in (b"one", b"two"):
        content = encode_tree([replace(FILE, name=name)])
        for _ in range(MOST_LEVELS + 5):
            tree = hashlib.sha256(content).digest()
            sink.add(BlobKind.TREE, tree, content)
            content = encode_tree([replace(FOLDER, subtree=tree.hex())])
        roots.append(tree.hex())
    sink.finish()
    return alone, roots[0], roots[1]


def test_a_tree_deeper_than_any_path_is_refused_by_name(forged: tuple[Any, str, str]) -> None:
    alone, one, two = forged
    repository = alone.open()
    with pytest.raises(DamagedData, match="levels deep"):
        list(entries(repository, one))
    told: list[str] = []
    found = list(entries(repository, one, on_damage=lambda at, error: told.append(error.message)))
    assert len(found) == MOST_LEVELS
    assert "levels deep" in told[0]
    with pytest.raises(DamagedData, match="levels deep"):
        list(Diff(repository, one, two).changes())
    with pytest.raises(DamagedData, match="levels deep"):
        Rewriter(repository, lambda path, node: node, by_path=True).rewrite(one)
    assert len(reachable([one], repository.load_tree)) == MOST_LEVELS + 5

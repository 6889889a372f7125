"""Every repository that a released version wrote is read back, byte for byte and mode for mode."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from drkit.clock import SystemClock
from drkit.events import discard
from drkit.repository.check.check import check_repository
from drkit.repository.repository import open_repository
from drkit.repository.restore.restore import restore_tree
from drkit.stores.folder import FolderStore

HERE = Path(__file__).parent
GOLDEN = sorted(HERE.glob("repository-*"))


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_repository", HERE / "make_repository.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_is_a_golden_repository() -> None:
    assert GOLDEN


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_a_golden_repository_comes_back_as_it_was(
    tool: ModuleType, golden: Path, tmp_path: Path
) -> None:
    shutil.copytree(golden / "store", tmp_path / "store")
    repository = open_repository(
        [FolderStore("golden", tmp_path / "store")],
        tool.PASSWORD,
        clock=SystemClock(),
        emit=discard,
        hostname="reader",
    )
    (listed,) = repository.snapshots()
    assert listed.snapshot.paths == ("/sncp", "/.drkit")
    assert listed.snapshot.tags == ("drkit", "epoch=1")
    assert repository.read_file(listed.snapshot, "/.drkit/point.json") == b"{}"
    node = repository.find_node(listed.snapshot, "/sncp")
    restore_tree(repository, node, tmp_path / "out", discard)
    assert tool.describe(tmp_path / "out") == json.loads((golden / "expected.json").read_text())
    assert check_repository(repository, read_data=True, emit=discard).sound


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_a_golden_repository_says_how_to_do_without_drkit(golden: Path) -> None:
    text = (golden / "store" / "RESTORE.txt").read_text()
    assert "restic -r STORE/repository restore latest" in text

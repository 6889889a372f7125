"""What a run made is taken away, however deep, and nothing beside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from drkit.runs.actions.removal import remove_own

LEVELS = 1200  # deeper than Python calls itself


def test_a_tree_that_is_deeper_than_python_calls_itself_goes_whole(tmp_path: Path) -> None:
    assert sys.getrecursionlimit() <= LEVELS
    top = tmp_path / "restored"
    for number in range(1, LEVELS + 1, 100):
        os.makedirs(top / "/".join("d" * number), exist_ok=True)
    deepest = top / "/".join("d" * LEVELS)
    os.makedirs(deepest)
    (deepest / "leaf").write_text("leaf")
    (top / "beside").mkdir()
    remove_own(top)
    assert list(tmp_path.iterdir()) == []


def test_links_go_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("kept")
    top = tmp_path / "restored"
    top.mkdir()
    (top / "folder").symlink_to(tmp_path / "kept")
    (top / "nothing").symlink_to(tmp_path / "gone")
    remove_own(top)
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove_own(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert (tmp_path / "kept" / "file").read_text() == "kept"


@pytest.mark.parametrize("what", ["a file", "nothing"])
def test_a_file_goes_and_nothing_is_no_trouble(tmp_path: Path, what: str) -> None:
    if what == "a file":
        (tmp_path / "place").write_text("x")
    remove_own(tmp_path / "place")
    assert not (tmp_path / "place").exists()

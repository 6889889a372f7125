"""What `drkit config validate` warns of though the file is right."""

from __future__ import annotations

from pathlib import Path

import pytest
from two_folders import STORES, type_in, write_deployment


def warned(place: Path, path: str, exclude: str = "") -> list[str]:
    more = f", exclude: [{exclude}]" if exclude else ""
    write_deployment(place, f"{STORES}sources:\n  notes: {{kind: tree, path: {path}{more}}}\n")
    done = type_in(place, "config", "validate")
    assert done.exit_code == 0, done.output
    return done.stderr.splitlines()


def test_a_tree_that_holds_its_own_stores_and_state_is_named(tmp_path: Path) -> None:
    lines = warned(tmp_path, ".")
    assert [line.partition(": each")[0] for line in lines] == [
        "warning: sources.notes: holds the store disk",
        "warning: sources.notes: holds the store copy",
        "warning: sources.notes: holds the state",
    ]
    for line, name in zip(lines, ("disk", "copy", ".drkit"), strict=True):
        assert line.endswith(f"add to its `exclude`: {tmp_path / name}")


@pytest.mark.parametrize("exclude", ["disk, copy, .drkit", "/**/disk, copy, .dr*"])
def test_what_is_left_out_is_not_kept_again(tmp_path: Path, exclude: str) -> None:
    assert warned(tmp_path, ".", exclude) == []


def test_a_tree_beside_them_is_right(tmp_path: Path) -> None:
    assert warned(tmp_path, "notes") == []

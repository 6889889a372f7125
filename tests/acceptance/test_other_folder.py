"""The deployment lies in one folder and the command is typed in another: all paths hold."""

from pathlib import Path
from typing import Any

import pytest

CONFIG = """\
drkit: 1
stores:
  disk: {kind: folder, role: primary, path: copies}
repository: {password: "file:password"}
sources:
  notes: {kind: tree, path: notes}
  dump: {kind: command, argv: [./dump, "42"]}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "other" / "place"
    (place / "notes").mkdir(parents=True)
    (place / "notes" / "a").write_text("content")
    (place / "password").write_text("correct horse")
    (place / "dump").write_text("#!/bin/sh\necho $1\n")
    (place / "dump").chmod(0o700)
    (place / "schedules.yaml").write_text(CONFIG)
    return place


def test_relative_paths_lie_below_the_folder_of_the_configuration(
    drkit: Any, place: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    for command in (["init"], ["backup"], ["status"], ["restore", "--target", "back"]):
        done = drkit(*command, "--config", str(place / "schedules.yaml"), cwd=elsewhere)
        assert done.returncode == 0, done.stderr

    assert (place / "copies" / "repository" / "config").is_file()
    assert {path.name for path in place.iterdir()} == {
        *("notes", "password", "dump", "schedules.yaml", "copies", ".drkit")
    }
    assert [path.name for path in elsewhere.iterdir()] == ["back"]  # --target is the shell's
    assert (elsewhere / "back/notes/a").read_text() == "content"
    assert (elsewhere / "back/dump/output").read_text() == "42\n"

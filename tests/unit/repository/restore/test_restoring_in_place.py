"""Restoring where something is already: only what was named is touched, and the old stays until
the new is whole."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from restore_world import back, patch_writing

from drkit.errors import GuardRefused
from drkit.operations.points.restore_snapshot import may_be_written
from drkit.repository.format.tree import Node
from drkit.repository.restore import files as restore_files
from drkit.repository.restore.place import (
    Overwrite,
    Place,
    claim_place,
    keeps,
    look_at_place,
    release_place,
)
from drkit.repository.restore.restore import RestoreOptions

IN_PLACE = RestoreOptions(in_place=True)


@pytest.fixture
def three(three: Any, kit: ModuleType, tmp_path: Path) -> Any:
    three.backup(kit.make_odd_tree(tmp_path / "source"), min_copies=3)
    return three


@pytest.mark.parametrize("stop_after", [0, 1, 5, 9])
def test_a_restore_that_was_cut_short_goes_on_where_it_stopped(
    kit: ModuleType,
    three: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_after: int,
) -> None:
    left = [stop_after]
    write = restore_files.write_piece

    def dies(handle: int, content: Any, at: int, *, sparse: bool) -> None:
        if left[0] <= 0:
            os.pwrite(handle, bytes(content[: len(content) // 2]), at)
            raise KeyboardInterrupt
        left[0] -= any(content)  # a hole leaves nothing that could be used again
        write(handle, content, at, sparse=sparse)

    with monkeypatch.context() as patched:
        patch_writing(patched, dies)
        with pytest.raises(KeyboardInterrupt):
            back(three, tmp_path / "out")
    report = back(three, tmp_path / "out")
    assert kit.listing(tmp_path / "out") == kit.listing(tmp_path / "source")
    assert not list((tmp_path / "out").glob(".drkit*"))
    assert report.bytes == back(three, tmp_path / "afresh").bytes
    if stop_after:
        assert report.bytes_reused > 0
    with pytest.raises(GuardRefused):  # it is whole: in use from now on (R7)
        back(three, tmp_path / "out")


def test_R7_an_unfinished_restore_of_another_point_is_refused(
    kit: ModuleType, three: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patch_writing(patched, dies)
        with pytest.raises(KeyboardInterrupt):
            back(three, tmp_path / "out")
    (tmp_path / "source" / "later").write_text("x")
    three.backup(tmp_path / "source")
    before = sorted((tmp_path / "out").rglob("*"))
    with pytest.raises(GuardRefused, match="something else"):
        back(three, tmp_path / "out")
    assert sorted((tmp_path / "out").rglob("*")) == before


def changed_place(three: Any, place: Path) -> None:
    """A place in use: files edited, older and newer, one gone, one extra, a link in the way."""
    back(three, place)
    (place / "notes" / "001.md").write_text("edited, and older")
    os.utime(place / "notes" / "001.md", (1, 1))
    (place / "notes" / "002.md").write_text("edited, and newer")
    os.utime(place / "notes" / "002.md", (9e9, 9e9))
    (place / "notes" / "003.md").unlink()
    (place / "extra").write_text("mine")
    (place.parent / "outside").mkdir()
    (place.parent / "outside" / "target").write_text("not to be written to")
    (place / "notes" / "004.md").unlink()
    (place / "notes" / "004.md").symlink_to(place.parent / "outside" / "target")


@pytest.mark.parametrize(
    ("overwrite", "edited_older", "edited_newer"),
    [
        (Overwrite.ALWAYS, False, False),
        (Overwrite.IF_CHANGED, False, False),
        (Overwrite.IF_NEWER, False, True),
        (Overwrite.NEVER, True, True),
    ],
)
def test_R7_a_place_in_use_is_overwritten_as_told_and_nothing_else_is_touched(
    three: Any, tmp_path: Path, overwrite: Overwrite, edited_older: bool, edited_newer: bool
) -> None:
    place = tmp_path / "out"
    changed_place(three, place)
    report = back(three, place, RestoreOptions(in_place=True, overwrite=overwrite))
    notes = place / "notes"
    assert ("edited" in (notes / "001.md").read_text()) == edited_older
    assert ("edited" in (notes / "002.md").read_text()) == edited_newer
    original = tmp_path / "source" / "notes" / "003.md"
    assert (notes / "003.md").read_text() == original.read_text()
    assert (place / "extra").read_text() == "mine"
    assert (place.parent / "outside" / "target").read_text() == "not to be written to"
    newer_link_stays = overwrite in (Overwrite.NEVER, Overwrite.IF_NEWER)
    assert (notes / "004.md").is_symlink() == newer_link_stays
    assert (report.kept > 0) == (overwrite is not Overwrite.ALWAYS)
    assert not [path for path in place.rglob(".*") if "drkit" in path.name]


def test_in_place_the_old_file_stays_until_the_new_one_is_whole(
    three: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "out"
    changed_place(three, place)

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patch_writing(patched, dies)
        with pytest.raises(KeyboardInterrupt):
            back(three, place, IN_PLACE)
    assert (place / "notes" / "001.md").read_text() == "edited, and older"
    assert (place / "notes" / "002.md").read_text() == "edited, and newer"
    back(three, place, IN_PLACE)
    assert not [path for path in place.rglob(".*") if "drkit" in path.name]


@pytest.mark.parametrize("overwrite", list(Overwrite))
def test_in_place_what_a_killed_restore_left_of_a_new_file_is_not_taken_for_it(
    three: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: Overwrite
) -> None:
    place = tmp_path / "out"
    changed_place(three, place)
    options = RestoreOptions(in_place=True, overwrite=overwrite)

    def half(handle: int, content: Any, at: int, *, sparse: bool) -> None:
        os.pwrite(handle, bytes(content[: len(content) // 2]), at)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patch_writing(patched, half)
        with pytest.raises(KeyboardInterrupt):
            back(three, place, options)
    back(three, place, options)
    original = tmp_path / "source" / "notes" / "003.md"
    assert (place / "notes" / "003.md").read_text() == original.read_text()


def test_R7_a_folder_is_never_removed_for_a_file(three: Any, tmp_path: Path) -> None:
    place = tmp_path / "out"
    back(three, place)
    (place / "large.bin").unlink()
    (place / "large.bin").mkdir()
    (place / "large.bin" / "mine").write_text("mine")
    report = back(three, place, IN_PLACE)
    assert (place / "large.bin" / "mine").read_text() == "mine"
    assert any("large.bin" in path for path, _ in report.skipped)
    assert report.not_made == 1


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EFBIG, errno.EINVAL])
@pytest.mark.parametrize("large", [False, True])
def test_in_place_a_file_that_cannot_be_written_is_counted_and_leaves_nothing_beside_the_old_one(
    three: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, large: bool
) -> None:
    place = tmp_path / "out"
    whole = back(three, place)
    file = place / ("large.bin" if large else "notes/003.md")
    file.write_text("the old one")
    real = restore_files.set_metadata

    def refuse(target: str | int, wanted: Any, path: str, on_failure: Any) -> None:
        if path == str(file):
            raise OSError(code, os.strerror(code))
        real(target, wanted, path, on_failure)

    monkeypatch.setattr(restore_files, "set_metadata", refuse)
    report = back(three, place, dataclasses.replace(IN_PLACE, workers=0))
    assert (report.not_made, report.files) == (1, whole.files - 1)
    assert [path for path, _ in report.skipped] == [str(file)]
    assert file.read_text() == "the old one"
    assert not [path for path in place.rglob(".*") if "drkit" in path.name]


def test_R7_a_place_in_use_must_be_named(three: Any, tmp_path: Path) -> None:
    place = tmp_path / "out"
    place.mkdir()
    (place / "mine").write_text("mine")
    tree = "ab" * 32
    with pytest.raises(GuardRefused):
        may_be_written(place, tree, RestoreOptions(), ["out"])
    with pytest.raises(GuardRefused):
        may_be_written(place, tree, IN_PLACE, ["another"])
    may_be_written(place, tree, IN_PLACE, ["out"])


TREE, OTHER = "ab" * 32, "cd" * 32


def test_R7_a_place_is_written_to_that_is_empty_or_holds_its_own_unfinished_restore(
    tmp_path: Path,
) -> None:
    for into in (tmp_path / "not" / "there", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert look_at_place(into, TREE, in_place=False) is Place.EMPTY
        claim_place(into, TREE, Place.EMPTY)
        assert into.stat().st_mode & 0o777 == 0o700
        (into / "half").write_text("half")
        assert look_at_place(into, TREE, in_place=False) is Place.UNFINISHED
        with pytest.raises(GuardRefused, match="something else"):
            look_at_place(into, OTHER, in_place=False)
        release_place(into, TREE)
        with pytest.raises(GuardRefused, match="not empty"):
            look_at_place(into, TREE, in_place=False)
        assert look_at_place(into, TREE, in_place=True) is Place.IN_USE
        claim_place(into, TREE, Place.IN_USE)
        assert os.listdir(into) == ["half"]


@pytest.mark.parametrize("in_place", [True, False])
def test_R7_a_file_and_a_link_to_a_folder_are_no_place(tmp_path: Path, in_place: bool) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for name in ("file", "link"):
        with pytest.raises(GuardRefused, match="is no folder"):
            look_at_place(tmp_path / name, TREE, in_place=in_place)


def test_what_changed_is_told_by_kind_time_and_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("as it is")
    found, folder = (tmp_path / "file").lstat(), tmp_path.lstat()

    def stays(found: os.stat_result, **fields: Any) -> bool:
        return keeps(found, Node(b"file", mode=0o600, **fields), Overwrite.IF_CHANGED)

    time_ns = found.st_mtime_ns
    assert stays(found, type="file", mtime_ns=time_ns, size=found.st_size)
    assert not stays(found, type="file", mtime_ns=time_ns, size=found.st_size + 1)
    assert not stays(found, type="file", mtime_ns=time_ns + 1, size=found.st_size)
    assert not stays(found, type="dir", mtime_ns=time_ns, size=found.st_size)
    assert stays(folder, type="dir", mtime_ns=folder.st_mtime_ns, size=0)

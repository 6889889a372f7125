"""The files of a model directory: links of a download cache are followed, oddities refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drkit.mirror.files import weight_files
from drkit.sources.interface import SourceUnreadable


def paths(root: Path) -> list[str]:
    return [file.path for file in weight_files(root)]


def test_files_are_sorted_and_leftovers_of_downloaders_skipped(model: Path) -> None:
    (model / ".cache" / "huggingface").mkdir(parents=True)
    (model / ".cache" / "huggingface" / "x.lock").touch()
    (model / ".gitattributes").write_text("x")
    assert paths(model) == [
        ".gitattributes",
        "config.json",
        "empty.txt",
        "extra/notes.txt",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]


def test_links_as_in_a_download_cache_are_followed_to_their_files(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "0123").write_bytes(b"weights")
    (snapshot / "model.bin").symlink_to("../../blobs/0123")
    (snapshot / "sub").symlink_to(tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("x")
    (tmp_path / "ref").symlink_to(snapshot)
    files = weight_files(tmp_path / "ref")
    assert [(file.path, file.stamp.size_bytes) for file in files] == [
        ("model.bin", 7),
        ("sub/x", 1),
    ]
    assert files[0].stamp.inode == (blobs / "0123").stat().st_ino


@pytest.mark.parametrize("name", ["caf\u00e9", "new\nline", "back\\slash", "manifest.json"])
def test_names_that_cannot_be_mirrored_are_named(model: Path, name: str) -> None:
    (model / name).touch()
    with pytest.raises(SourceUnreadable) as caught:
        weight_files(model)
    assert name in caught.value.message


def test_what_is_no_file_is_named(model: Path) -> None:
    os.mkfifo(model / "pipe")
    with pytest.raises(SourceUnreadable, match="pipe"):
        weight_files(model)


def test_a_dangling_link_is_named(model: Path) -> None:
    (model / "gone").symlink_to("nowhere")
    with pytest.raises(SourceUnreadable, match="gone"):
        weight_files(model)


def test_a_link_to_a_folder_above_does_not_turn_in_circles(model: Path) -> None:
    (model / "extra" / "up").symlink_to("..")
    with pytest.raises(SourceUnreadable, match="up is a link to a folder that it lies in"):
        weight_files(model)


def test_no_directory_and_no_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="nowhere"):
        weight_files(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(SourceUnreadable, match="no files"):
        weight_files(tmp_path / "bare")

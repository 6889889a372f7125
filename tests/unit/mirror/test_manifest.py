"""A manifest is canonical, and what a store says is bounded and checked."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from drkit.errors import DamagedData
from drkit.mirror.manifest import FileEntry, Manifest, TensorRange

SHA = hashlib.sha256(b"x").hexdigest()


def manifest() -> Manifest:
    tensor = TensorRange("layer.0", 100, 200, SHA)
    return Manifest(
        "Qwen/Qwen3-4B",
        "abc",
        (FileEntry("a/b.safetensors", 200, SHA, (tensor,)), FileEntry("config.json", 3, SHA)),
    )


def test_bytes_are_canonical_and_read_back_the_same() -> None:
    made = manifest()
    again = Manifest.from_bytes(made.to_bytes(), found_in="here")
    assert again == made
    assert again.to_bytes() == made.to_bytes()
    assert made.digest == hashlib.sha256(made.to_bytes()).hexdigest()
    assert made.total_bytes == 203
    assert made.folder == "weights/Qwen/Qwen3-4B/abc/"


def test_a_file_that_is_a_folder_of_another_is_refused() -> None:
    with pytest.raises(ValueError, match="a file and a folder"):
        Manifest("m", "r", (FileEntry("a", 1, SHA), FileEntry("a/b/c", 1, SHA)))


def changed(*path: str | int, to: object) -> bytes:
    value: Any = json.loads(manifest().to_bytes())
    at = value
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        changed("drkit", to=2),
        changed("model", to="../evil"),
        changed("model", to=7),
        changed("revision", to=""),
        changed("files", 0, "path", to="../../etc/passwd"),
        changed("files", 0, "path", to="/etc/passwd"),
        changed("files", 0, "path", to="a\\..\\b"),
        changed("files", 0, "path", to="config.json"),
        changed("files", 0, "path", to="config.json/below"),
        changed("files", 0, "path", to="z"),
        changed("files", 1, "path", to="manifest.json"),
        changed("files", 0, "size", to=-1),
        changed("files", 0, "size", to=199),
        changed("files", 0, "size", to="200"),
        changed("files", 0, "size", to=True),
        changed("files", 0, "sha256", to="0" * 63),
        changed("files", 0, "sha256", to=SHA.upper()),
        changed("files", 0, "tensors", to=[["a", -1, 2, SHA]]),
        changed("files", 0, "tensors", to=[["a", 3, 2, SHA]]),
        changed("files", 0, "tensors", to=[["a", 0, 2]]),
        changed("files", 0, "tensors", to=None),
        changed("files", to={}) + b"x",
    ],
)
def test_what_is_no_manifest_is_refused_naming_where_it_was_found(data: bytes) -> None:
    with pytest.raises(DamagedData, match="store-7"):
        Manifest.from_bytes(data, found_in="store-7")

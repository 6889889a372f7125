"""What a mirrored model consists of: every file's size and SHA-256, and every tensor's.

The manifest is `weights/<model>/<revision>/manifest.json`, written after all it names. Its digest
is the SHA-256 of its bytes, which are canonical, so that a recovery point can bind it by 64
characters. What is read from a store is not believed: it is bounded, and every path is checked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from drkit.errors import DamagedData
from drkit.stores.names import is_safe_name

MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 64 * 1024 * 1024
MOST_FILES = 100_000

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class TensorRange:
    """Bytes `begin` to `end` of the file hold the tensor; `sha256` is theirs, in hex."""

    name: str
    begin: int
    end: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the model. ValueError where it could not be one."""

    path: str
    size_bytes: int
    sha256: str
    tensors: tuple[TensorRange, ...] = ()

    def __post_init__(self) -> None:
        if not is_safe_name(self.path) or self.path == MANIFEST:
            raise ValueError(f"{self.path[:200]!r} is no path of a model's file")
        if self.size_bytes < 0 or not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.path}: no size and SHA-256")
        for tensor in self.tensors:
            inside = 0 <= tensor.begin <= tensor.end <= self.size_bytes
            if not inside or not _SHA256.fullmatch(tensor.sha256):
                raise ValueError(f"{self.path}: the range of {tensor.name[:200]!r} is wrong")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one revision of one model, sorted by path."""

    model: str
    revision: str
    files: tuple[FileEntry, ...]

    def __post_init__(self) -> None:
        if not is_safe_name(f"{self.model}/{self.revision}"):
            raise ValueError(f"{self.model[:200]!r} at {self.revision[:200]!r} is no model")
        paths = [file.path for file in self.files]
        if paths != sorted(set(paths)) or len(paths) > MOST_FILES:
            raise ValueError("the files are not sorted, named twice, or too many")
        folders = {path[: at.start()] for path in paths for at in re.finditer("/", path)}
        if both := folders.intersection(paths):
            raise ValueError(f"{min(both)} is a file and a folder")

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def total_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def folder(self) -> str:
        """Where the files lie in a store, with a slash at the end."""
        return mirror_folder(self.model, self.revision)

    def to_bytes(self) -> bytes:
        """Canonical JSON: the same files give the same bytes."""
        return orjson.dumps(
            {
                "drkit": 1,
                "model": self.model,
                "revision": self.revision,
                "files": [
                    {
                        "path": file.path,
                        "size": file.size_bytes,
                        "sha256": file.sha256,
                        "tensors": [[t.name, t.begin, t.end, t.sha256] for t in file.tensors],
                    }
                    for file in self.files
                ],
            },
            option=orjson.OPT_SORT_KEYS,
        )

    @classmethod
    def from_bytes(cls, data: bytes, *, found_in: str) -> Manifest:
        """The manifest in `data`; `found_in` names the place in the error (`DamagedData`)."""
        try:
            if len(data) > MOST_MANIFEST_BYTES:
                raise ValueError(f"{len(data)} bytes are too many")
            return _parse(orjson.loads(data))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedData(
                f"{found_in}: the weights manifest cannot be read: {error}",
                hint="mirror the weights again: drkit backup; other stores may hold it whole",
            ) from error


def mirror_folder(model: str, revision: str) -> str:
    """ "weights/<model>/<revision>/": the prefix of a mirrored model in every store."""
    return f"weights/{model}/{revision}/"


def _parse(value: Mapping[str, Any]) -> Manifest:
    if value["drkit"] != 1:
        raise ValueError(f"version {value['drkit']!r} is not known")
    return Manifest(
        _text(value["model"]),
        _text(value["revision"]),
        tuple(
            FileEntry(
                _text(file["path"]),
                _count(file["size"]),
                _text(file["sha256"]),
                tuple(
                    TensorRange(_text(name), _count(begin), _count(end), _text(sha256))
                    for name, begin, end, sha256 in file["tensors"]
                ),
            )
            for file in value["files"]
        ),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where text must be")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{type(value).__name__} where a number must be")
    return value

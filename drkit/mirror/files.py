"""The files of a model directory, links followed, as they are on disk now."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from drkit.mirror.manifest import MANIFEST, MOST_FILES
from drkit.sources.interface import SourceUnreadable
from drkit.stores.names import is_safe_name

SKIPPED_FOLDERS = frozenset({".cache", ".git"})
"""What downloaders and version control leave in a model directory; no part of the model."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells, without reading it, that a file is the one that was read before."""

    size_bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


@dataclass(frozen=True, slots=True)
class WeightFile:
    """`path` is relative to the model directory; `location` may be a link to the file."""

    path: str
    location: Path
    stamp: Stamp


def weight_files(root: Path) -> list[WeightFile]:
    """Every file of the model, sorted by path. Links (as in a Hugging Face cache) are followed.

    Raises `SourceUnreadable` for what cannot be mirrored: a dangling link, a pipe, a name that no
    store takes.
    """
    try:
        files = sorted(_walk(root, "", frozenset()), key=lambda file: file.path)
    except OSError as error:
        raise SourceUnreadable(
            f"{error.filename or root}: {error.strerror or error}",
            hint="see that the model directory is there, is whole, and may be read",
        ) from error
    if not files or len(files) > MOST_FILES:
        raise SourceUnreadable(
            f"{root} holds {len(files) or 'no'} files", hint="name the folder of one model"
        )
    return files


def _walk(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[WeightFile]:
    here = folder.stat()
    inside = above | {(here.st_dev, here.st_ino)}
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        path = prefix + entry.name
        status = entry.stat(follow_symlinks=True)
        if stat.S_ISDIR(status.st_mode):
            if entry.name in SKIPPED_FOLDERS:
                continue
            if (status.st_dev, status.st_ino) in inside:
                raise _cannot(entry.path, "is a link to a folder that it lies in")
            yield from _walk(Path(entry.path), f"{path}/", inside)
        elif not stat.S_ISREG(status.st_mode):
            raise _cannot(entry.path, "is no regular file")
        elif not is_safe_name(path):
            raise _cannot(entry.path, "has a name that not every store takes (printable ASCII)")
        elif path == MANIFEST:
            raise _cannot(entry.path, "has the name of the mirror's own manifest")
        else:
            yield WeightFile(path, Path(entry.path), Stamp.of(status))


def _cannot(path: str, why: str) -> SourceUnreadable:
    return SourceUnreadable(
        f"{path} {why}", hint="move it out of the model directory, or rename it"
    )

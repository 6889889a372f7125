"""Where a restore may write (R7): an empty place, one that an earlier restore of the same tree left
unfinished, or, named twice, a place in use.

An unfinished place holds a marker whose name tells the tree; it is removed when all is there.
"""

from __future__ import annotations

import os
import stat
from enum import Enum
from pathlib import Path

from drkit.errors import ConfigError, GuardRefused
from drkit.repository.format.tree import Node

_MARKER = ".drkit-unfinished-"


class Overwrite(Enum):
    """What becomes of a file that is there already; restic's words."""

    ALWAYS = "always"
    IF_CHANGED = "if-changed"
    IF_NEWER = "if-newer"
    NEVER = "never"


def read_overwrite(text: str) -> Overwrite:
    """What was typed. ConfigError says what is accepted."""
    try:
        return Overwrite(text)
    except ValueError:
        words = ", ".join(known.value for known in Overwrite)
        raise ConfigError(f"--overwrite {text!r} is unknown", hint=f"one of {words}") from None


class Place(Enum):
    """What a restore finds at its target."""

    EMPTY = "empty"
    UNFINISHED = "unfinished"
    IN_USE = "in use"


def look_at_place(into: Path, tree_id: str, *, in_place: bool) -> Place:
    """What `into` is. Raises `GuardRefused` for what must not be written to; writes nothing."""
    if into.is_symlink() or (into.exists() and not into.is_dir()):
        raise GuardRefused(
            f"{into} is no folder", hint="name an empty folder; nothing was overwritten"
        )
    if not into.exists():
        return Place.EMPTY
    if marker_of(into, tree_id).exists():
        return Place.UNFINISHED
    names = os.listdir(into)
    if not names:
        return Place.EMPTY
    if in_place:
        return Place.IN_USE
    if any(name.startswith(_MARKER) for name in names):
        raise GuardRefused(
            f"{into} holds an unfinished restore of something else",
            hint="finish that one, or remove the folder; nothing was overwritten",
        )
    raise GuardRefused(
        f"{into} is not empty",
        hint="restore into an empty folder; nothing was overwritten. "
        f"To restore over it: --in-place --i-know {into.name}",
    )


def claim_place(into: Path, tree_id: str, place: Place) -> None:
    """Makes the folder, and marks it as unfinished; a place in use gets no marker. ConfigError
    where nothing can be made.
    """
    if place is Place.IN_USE:
        return
    try:
        into.mkdir(parents=True, exist_ok=True)
        into.chmod(0o700)
        marker_of(into, tree_id).touch(mode=0o600)
    except OSError as error:
        raise ConfigError(
            f"nothing can be restored into {into}: {error.strerror}",
            hint="name a folder that is empty, or not there yet, and that this user may write to",
        ) from error


def release_place(into: Path, tree_id: str) -> None:
    """Says that all is there."""
    marker_of(into, tree_id).unlink(missing_ok=True)


def marker_of(into: Path, tree_id: str) -> Path:
    # no entry of the tree can have this name: it would have to hold its own hash
    return into / f"{_MARKER}{tree_id[:16]}"


def keeps(found: os.stat_result, node: Node, overwrite: Overwrite) -> bool:
    """Whether what is there (`found`, of lstat) stays as it is."""
    match overwrite:
        case Overwrite.ALWAYS:
            return False
        case Overwrite.NEVER:
            return True
        case Overwrite.IF_NEWER:
            return node.mtime_ns <= found.st_mtime_ns
        case Overwrite.IF_CHANGED:
            is_file = stat.S_ISREG(found.st_mode)
            same_size = not is_file or found.st_size == node.size
            same_kind = is_file == (node.type == "file")
            return same_kind and same_size and found.st_mtime_ns == node.mtime_ns

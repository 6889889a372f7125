"""What a restore does to the file system: files in pieces, special files, and metadata last.

Only what a worker needs too is imported here: each of them is a process of its own (crew.py).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from drkit.errors import DrkitError, PlaceError

if TYPE_CHECKING:
    from drkit.repository.format.tree import Node

_HOLE_BYTES = 64 * 1024
_ZEROS = bytes(_HOLE_BYTES)
_TEMPORARY = ".drkit-restore"
_MOST_NAME_BYTES = 255
_NOTHING_MORE_FITS = {
    errno.ENOSPC: "make room there, and run the restore again: it goes on where it stopped",
    errno.EDQUOT: "raise the quota or make room, and run the restore again: it goes on",
    errno.EROFS: "mount it for writing, or name another target",
    errno.EIO: "the disk fails; name a target on another one",
}

_THERE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = _THERE | os.O_CREAT | os.O_EXCL
_IS_ROOT = os.geteuid() == 0

OnFailure = Callable[[str, str], None]


class Metadata(NamedTuple):
    """What a file is given once it is whole. A link has no mode of its own."""

    uid: int
    gid: int
    permissions: int | None
    atime_ns: int
    mtime_ns: int
    xattrs: tuple[tuple[str, bytes], ...]


def metadata_of(node: Node) -> Metadata:
    mode = None if node.type == "symlink" else node.permissions
    return Metadata(node.uid, node.gid, mode, node.atime_ns, node.mtime_ns, node.xattrs)


@dataclass(slots=True, eq=False)
class TargetFile:
    """One file that is being written. `left`: blobs that are still to come; `has`: those of its
    content, by number, that lie there already, `has_bytes` long. With `replaces`, the old file
    stays until the new one is whole.
    """

    path: str
    node: Node
    left: int = 0
    has: frozenset[int] = frozenset()
    has_bytes: int = 0
    replaces: bool = False
    may_exist: bool = False
    is_lost: bool = False

    @property
    def written_as(self) -> str:
        """Where its bytes go until it is whole."""
        return temporary_of(self.path) if self.replaces else self.path

    @property
    def is_new_and_of_one_blob(self) -> bool:
        return len(self.node.content) == 1 and not self.may_exist and not self.replaces


def temporary_of(path: str) -> str:
    """The name beside `path` under which its successor is written: always the same, so that a
    restore that is run again replaces what a killed one left.
    """
    folder, name = os.path.split(path)
    short = os.fsdecode(os.fsencode(name)[: _MOST_NAME_BYTES - len(_TEMPORARY) - 1])
    return os.path.join(folder, f".{short}{_TEMPORARY}")


def make_file(file: TargetFile) -> None:
    """Makes the file, empty, or finds the one that may exist; nobody else's is opened."""
    if file.replaces:  # what a killed restore left under that name is ours
        with suppress(FileNotFoundError):
            os.unlink(file.written_as)
    flags = _NEW & ~os.O_EXCL if file.may_exist and not file.replaces else _NEW
    os.close(os.open(file.written_as, flags, 0o600))


def write_whole(
    path: str,
    content: bytes | memoryview,
    metadata: Metadata,
    *,
    sparse: bool,
    on_failure: OnFailure,
) -> None:
    """A new file of one blob, in one go: most files are."""
    handle = os.open(path, _NEW, 0o600)
    try:
        write_piece(handle, content, 0, sparse=sparse)
        if sparse and len(content) >= _HOLE_BYTES:
            os.ftruncate(handle, len(content))  # its end may be a hole
        set_metadata(handle, metadata, path, on_failure)
    finally:
        os.close(handle)


def write_at(path: str, content: bytes | memoryview, at: int, *, sparse: bool) -> None:
    """A piece of a file that was made before."""
    handle = os.open(path, _THERE)
    try:
        write_piece(handle, content, at, sparse=sparse)
    finally:
        os.close(handle)


def write_piece(handle: int, content: bytes | memoryview, at: int, *, sparse: bool) -> None:
    """Writes `content` at `at`; with `sparse`, whole 64 KiB of zeros become holes."""
    view = memoryview(content)
    starts = range(0, len(view), _HOLE_BYTES) if sparse and len(view) >= _HOLE_BYTES else ()
    filled = [start for start in starts if view[start] or not _is_hole(view, start)]
    if len(filled) == len(starts):
        _write_all(handle, view, at)
        return
    for start in filled:
        _write_all(handle, view[start : start + _HOLE_BYTES], at + start)


def _is_hole(view: memoryview, start: int) -> bool:
    # as bytes: a memoryview is compared one element at a time
    return bytes(view[start : start + _HOLE_BYTES]) == _ZEROS


def finish_file(file: TargetFile, on_failure: OnFailure) -> None:
    """Gives a file whose bytes are all written its size, metadata and place."""
    handle = os.open(file.written_as, _THERE)
    try:
        os.ftruncate(handle, file.node.size)
        set_metadata(handle, metadata_of(file.node), file.path, on_failure)
    finally:
        os.close(handle)
    if file.replaces:
        os.replace(file.written_as, file.path)


def drop_file(file: TargetFile) -> None:
    """Removes a file that cannot become whole: none is better than a wrong one."""
    with suppress(OSError):
        os.unlink(file.written_as)


def make_special(path: str, node: Node, on_failure: OnFailure, on_not_made: OnFailure) -> None:
    """Makes a link, pipe or device. A socket is made by its program, and not restored; a device by
    root alone.
    """
    try:
        if node.type == "symlink":
            os.symlink(node.link_target, os.fsencode(path))
        elif node.type == "fifo":
            os.mkfifo(path, 0o600)
        elif node.type in ("dev", "chardev"):
            kind = stat.S_IFBLK if node.type == "dev" else stat.S_IFCHR
            os.mknod(path, kind | 0o600, node.device)
        else:
            on_failure(path, f"a {node.type} is made by its program, not restored")
            return
    except OSError as error:
        is_roots = error.errno == errno.EPERM and node.type in ("dev", "chardev")
        (on_failure if is_roots else on_not_made)(path, f"{node.type}: {error.strerror}")
        return
    set_metadata(path, metadata_of(node), path, on_failure)


def set_metadata(target: str | int, wanted: Metadata, path: str, on_failure: OnFailure) -> None:
    """Owner (as root), attributes, mode and times of `target`, a path or a handle; times last.

    What this machine or user cannot set is told and leaves the rest.
    """
    follow = isinstance(target, int)  # a handle is what it is; a path may be a link
    step = "owner"
    try:
        if _IS_ROOT:  # first: a change of owner clears setuid and capabilities
            os.chown(target, wanted.uid, wanted.gid, follow_symlinks=follow)
    except (OSError, OverflowError) as error:
        on_failure(path, f"{step}: {error}")
    for name, value in wanted.xattrs:
        try:
            os.setxattr(target, name, value, follow_symlinks=follow)
        except OSError as error:
            on_failure(path, f"attribute {name}: {error.strerror}")
    try:
        if wanted.permissions is not None:
            step = "mode"
            os.chmod(target, wanted.permissions)
        step = "times"
        os.utime(target, ns=(wanted.atime_ns, wanted.mtime_ns), follow_symlinks=follow)
    except (OSError, OverflowError) as error:
        on_failure(path, f"{step}: {error}")


def refused(path: str, error: OSError) -> DrkitError | None:
    """The error that ends the restore, if `error` is one that the next file would meet too."""
    hint = _NOTHING_MORE_FITS.get(error.errno or 0)
    if hint is None:
        return None
    return PlaceError(f"{path} cannot be written: {error.strerror}", hint=hint)


def _write_all(handle: int, view: memoryview, at: int) -> None:
    written = os.pwrite(handle, view, at)
    while written < len(view):
        written += os.pwrite(handle, view[written:], at + written)

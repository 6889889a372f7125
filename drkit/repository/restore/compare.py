"""Is a folder what a tree says? Every file is read again and hashed blob by blob."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from drkit.events import Emit, Progress
from drkit.repository.format.tree import go_mode
from drkit.repository.repository import Repository
from drkit.repository.restore.restore import WalkedNode, walk


@dataclass(frozen=True, slots=True)
class Difference:
    """One path, relative to the compared folder, and what about it is not as recorded."""

    path: str
    what: str


def nothing(_path: str) -> bool:
    return False


def compare_tree(
    repository: Repository,
    tree_id: str,
    root: Path,
    emit: Emit,
    left_out: Callable[[str], bool] = nothing,
) -> tuple[Difference, ...]:
    """All differences of `root` from the tree, extra files included; none means it is the same.
    What is `left_out`, by its path from `/` at the root, was not to come back, nor what is below.

    Content is proved against the blobs' SHA-256 without reading the repository's data. Owners are
    compared when root asks: nobody else can restore them.
    """
    expected = {item.path: item for item in _kept(walk(repository, tree_id, root), root, left_out)}
    differences = []
    with ThreadPoolExecutor(max(2, os.cpu_count() or 2), "compare") as pool:
        found = pool.map(lambda item: (item, _difference(repository, item)), expected.values())
        for done, (item, what) in enumerate(found, 1):
            emit(Progress("verify", done, len(expected), "files", str(item.path)))
            if what:
                differences.append(Difference(str(item.path.relative_to(root)), what))
    differences += _broken_links(expected.values(), root)
    for path in _everything_in(root):
        if path not in expected:
            differences.append(Difference(str(path.relative_to(root)), "is not in the point"))
    return tuple(differences)


def _kept(
    items: Iterable[WalkedNode], root: Path, left_out: Callable[[str], bool]
) -> Iterator[WalkedNode]:
    """Those that are not left out. `items` come with folders before what they hold."""
    gone: set[Path] = set()
    for item in items:
        if item.path.parent in gone or left_out(f"/{item.path.relative_to(root)}"):
            gone.add(item.path)
        else:
            yield item


def _everything_in(root: Path) -> Iterator[Path]:
    """What lies below `root`, however deep; a folder that cannot be read holds nothing."""
    folders = [root]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as found:
            for entry in found:
                yield Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))


def _difference(repository: Repository, item: WalkedNode) -> str | None:
    node = item.node
    try:
        status = item.path.lstat()
        kind, mode = go_mode(status.st_mode)
        if kind != node.type:
            return f"is a {kind}, was a {node.type}"
        if kind != "symlink" and mode != node.mode:
            return f"has mode {stat.filemode(status.st_mode)}"
        if status.st_mtime_ns != node.mtime_ns:
            return "has another modification time"
        if os.geteuid() == 0 and (status.st_uid, status.st_gid) != (node.uid, node.gid):
            return f"belongs to {status.st_uid}:{status.st_gid}, not to {node.uid}:{node.gid}"
        if what := _attribute_difference(item):
            return what
        if kind == "symlink" and os.fsencode(item.path.readlink()) != node.link_target:
            return "points elsewhere"
        if kind == "file":
            return _content_difference(repository, item, status.st_size)
    except FileNotFoundError:
        return None if node.type == "socket" else "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def _attribute_difference(item: WalkedNode) -> str | None:
    """What an extended attribute is that differs; of those that who asks may set."""
    wanted = {name: value for name, value in item.node.xattrs if _is_compared(name)}
    try:
        names = [
            name for name in os.listxattr(item.path, follow_symlinks=False) if _is_compared(name)
        ]
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        names = []
    found = {name: os.getxattr(item.path, name, follow_symlinks=False) for name in names}
    if different := sorted(wanted.items() ^ found.items()):
        return f"differs in the extended attribute {different[0][0]}"
    return None


def _is_compared(name: str) -> bool:
    # a label that the system gives by its own policy says nothing of the data
    return name != "security.selinux" and (os.geteuid() == 0 or name.startswith("user."))


def _broken_links(expected: Iterable[WalkedNode], root: Path) -> list[Difference]:
    """Files that were one file by several names and are not any more."""
    groups: dict[tuple[int, int], list[Path]] = {}
    for item in expected:
        if item.node.type == "file" and item.node.links > 1 and item.node.inode:
            groups.setdefault((item.node.device_id, item.node.inode), []).append(item.path)
    broken = []
    for first, *others in groups.values():
        for path in others:
            with contextlib.suppress(OSError):  # that it is missing is told already
                if not path.samefile(first):
                    what = f"is no hard link to {first.relative_to(root)}"
                    broken.append(Difference(str(path.relative_to(root)), what))
    return broken


def _content_difference(repository: Repository, item: WalkedNode, size: int) -> str | None:
    if size != item.node.size:
        return f"has {size} bytes, had {item.node.size}"
    with item.path.open("rb", buffering=0) as file:
        for blob_id in item.node.content:
            place = repository.index.find(blob_id)
            if place is None:
                return f"cannot be proved: blob {blob_id.hex()[:8]} is in no index"
            if hashlib.sha256(file.read(place.content_bytes)).digest() != blob_id:
                return "has other content"
    return None

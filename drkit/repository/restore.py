"""Brings a tree back into an empty place, whole: content, modes, times, links, attributes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drkit.errors import DamagedData, GuardRefused
from drkit.events import Emit, Note, Progress
from drkit.repository.repository import Repository
from drkit.repository.tree import Node

_HOLE_BYTES = 64 * 1024
_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What came back. `skipped`: metadata that this machine or user could not set, by path."""

    files: int
    folders: int
    bytes: int
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class WalkedNode:
    path: Path
    node: Node


def walk(repository: Repository, tree_id: str, root: Path) -> Iterator[WalkedNode]:
    """Every node below `tree_id`, folders before what they hold."""
    for node in repository.load_tree(tree_id):
        path = root / os.fsdecode(node.name)
        yield WalkedNode(path, node)
        if node.type == "dir" and node.subtree:
            yield from walk(repository, node.subtree, path)


def restore_tree(repository: Repository, node: Node, into: Path, emit: Emit) -> RestoreReport:
    """Restores the folder `node` as `into`, which must be absent or empty (R7: `GuardRefused`).

    Raises `DamagedData`, naming the file, when a blob of it is lost in every store; what was
    written until then stays, and `into` is then no whole copy.
    """
    if node.subtree is None:
        raise DamagedData(f"{into.name} is no folder in the point", hint="drkit points")
    if into.is_symlink() or (into.exists() and (not into.is_dir() or any(into.iterdir()))):
        raise GuardRefused(
            f"{into} is not empty", hint="restore into an empty folder; nothing was overwritten"
        )
    into.mkdir(parents=True, exist_ok=True)
    into.chmod(0o700)
    walked = list(walk(repository, node.subtree, into))
    total = sum(item.node.size for item in walked)
    skipped: list[tuple[str, str]] = []
    linked: dict[tuple[int, int], Path] = {}
    files: list[WalkedNode] = []
    links: list[tuple[Path, Path]] = []
    for item in walked:
        if item.node.type == "dir":
            item.path.mkdir()
        elif item.node.type == "file":
            identity = (item.node.device_id, item.node.inode)
            if item.node.links > 1 and identity in linked:
                links.append((linked[identity], item.path))
                continue
            if item.node.links > 1:
                linked[identity] = item.path
            files.append(item)
        else:
            _make_special(item, skipped)
    done = 0
    with ThreadPoolExecutor(max(2, os.cpu_count() or 2), "restore") as pool:
        for item in pool.map(lambda file: _restore_file(repository, file), files):
            done += item.node.size
            emit(Progress("restore", done, total, "bytes", str(item.path)))
    for original, path in links:
        path.hardlink_to(original)
    for item in reversed(walked):
        _set_metadata(item.path, item.node, skipped)
    _set_metadata(into, node, skipped)
    for skipped_path, why in skipped:
        emit(Note("warning", skipped_path, why))
    folders = sum(item.node.type == "dir" for item in walked)
    return RestoreReport(len(files) + len(links), folders, done, tuple(skipped))


def _restore_file(repository: Repository, item: WalkedNode) -> WalkedNode:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(item.path, flags, 0o600)
    try:
        at = 0
        for blob_id in item.node.content:
            try:
                content = repository.load_blob(blob_id)
            except DamagedData as error:
                raise DamagedData(f"{item.path}: {error.message}", hint=error.hint) from None
            _write_sparsely(descriptor, content, at)
            at += len(content)
        os.ftruncate(descriptor, at)
        if at != item.node.size:
            raise DamagedData(
                f"{item.path}: the point says {item.node.size} bytes, its blobs hold {at}",
                hint="an older point may hold the file: drkit points",
            )
    finally:
        os.close(descriptor)
    return item


def _write_sparsely(descriptor: int, content: bytes, at: int) -> None:
    """Writes `content` at `at`; long runs of zeros become holes."""
    if len(content) < _HOLE_BYTES or content.count(0) < _HOLE_BYTES:
        _write_all(descriptor, memoryview(content), at)
        return
    zeros = bytes(_HOLE_BYTES)
    for start in range(0, len(content), _HOLE_BYTES):
        piece = memoryview(content)[start : start + _HOLE_BYTES]
        if piece != zeros[: len(piece)]:
            _write_all(descriptor, piece, at + start)


def _write_all(descriptor: int, view: memoryview, at: int) -> None:
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def _make_special(item: WalkedNode, skipped: list[tuple[str, str]]) -> None:
    kind = item.node.type
    try:
        if kind == "symlink":
            os.symlink(item.node.link_target, os.fsencode(item.path))  # noqa: PTH211  (bytes)
        elif kind == "fifo":
            os.mkfifo(item.path)
        elif kind in ("dev", "chardev"):
            mode = 0o060000 if kind == "dev" else 0o020000
            os.mknod(item.path, mode | 0o600, item.node.device)
        else:
            skipped.append((str(item.path), "a socket is made by its program, not restored"))
    except OSError as error:
        skipped.append((str(item.path), f"{kind}: {error.strerror}"))


def _set_metadata(path: Path, node: Node, skipped: list[tuple[str, str]]) -> None:
    if not os.path.lexists(path):
        return
    steps: list[tuple[str, Callable[[], None]]] = []
    if os.geteuid() == 0:  # first: a change of owner clears setuid and capabilities
        steps.append(("owner", lambda: os.chown(path, node.uid, node.gid, follow_symlinks=False)))
    steps += [
        (name, partial(os.setxattr, path, name, value, follow_symlinks=False))
        for name, value in node.xattrs
    ]
    if node.type != "symlink":
        steps.append(("mode", lambda: path.chmod(node.permissions)))
    times = (node.atime_ns, node.mtime_ns)
    steps.append(("times", lambda: os.utime(path, ns=times, follow_symlinks=False)))
    for what, step in steps:
        try:
            step()
        except (OSError, OverflowError) as error:
            skipped.append((str(path), f"{what}: {error}"))

"""Reads a directory tree into blobs: names in order, metadata whole, unchanged files not read."""

from __future__ import annotations

import fnmatch
import grp
import os
import pwd
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from drkit.errors import DamagedData
from drkit.events import Emit, Progress
from drkit.repository.blob_writer import BlobWriter
from drkit.repository.chunker import WINDOW_BYTES, Chunker
from drkit.repository.pack import BlobKind
from drkit.repository.tree import Node, encode_tree, go_mode

_BATCH = 64
_BATCH_BYTES = 4 << 20
_PENDING_FOLDERS = 512
LoadTree = Callable[[str], tuple[Node, ...]]
_Seen = tuple[bytes, bytes, os.stat_result]


@dataclass
class ScanCount:
    """What a scan saw; `unreadable` are paths with the reason why they are not in the point."""

    files: int = 0
    folders: int = 0
    bytes: int = 0
    new: int = 0
    changed: int = 0
    unmodified: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class _Folder:
    path: bytes
    name: bytes
    status: os.stat_result
    parent: _Folder | None
    nodes: list[Node] = field(default_factory=list)
    batches: list[Future[list[Node]]] = field(default_factory=list)


class Scanner:
    """Scans trees with a pool of threads that read, hash, compress and seal."""

    def __init__(
        self,
        writer: BlobWriter,
        chunker: Chunker,
        pool: ThreadPoolExecutor,
        savers: ThreadPoolExecutor,
        emit: Emit,
    ) -> None:
        """`pool` reads files; `savers` take the chunks of large ones, and never wait for others."""
        self._writer = writer
        self._chunker = chunker
        self._pool = pool
        self._savers = savers
        self._emit = emit
        self._lock = threading.Lock()

    def scan(
        self, root: Path, *, exclude: tuple[str, ...], former: str | None, load_tree: LoadTree
    ) -> tuple[Node, ScanCount]:
        """The node of `root` with its subtree stored, and what was seen.

        `former` is the tree of an earlier scan: files whose size, times and inode are as they
        were there keep their blobs unread. Raises OSError only when `root` itself is unreadable.
        """
        count = ScanCount()
        resolved = os.fsencode(root.resolve(strict=True))
        top = _Folder(resolved, os.fsencode(root.name), os.stat(resolved), None)  # noqa: PTH116  (bytes: names need not be text)
        os.scandir(resolved).close()
        pending: deque[_Folder] = deque()
        stack: list[tuple[_Folder, str | None, bool]] = [(top, former, False)]
        node: Node | None = None
        while stack:
            folder, former_tree, seen = stack.pop()
            if not seen:
                stack.append((folder, None, True))
                stack += self._read_folder(folder, former_tree, exclude, resolved, count, load_tree)
                continue
            pending.append(folder)  # after all folders below it
            while len(pending) > _PENDING_FOLDERS:
                node = self._close(pending.popleft(), count)
        while pending:
            node = self._close(pending.popleft(), count)
        assert node is not None
        return node, count

    def _read_folder(
        self,
        folder: _Folder,
        former_tree: str | None,
        exclude: tuple[str, ...],
        root: bytes,
        count: ScanCount,
        load_tree: LoadTree,
    ) -> list[tuple[_Folder, str | None, bool]]:
        former = _former_nodes(former_tree, load_tree)
        below: list[tuple[_Folder, str | None, bool]] = []
        files: list[_Seen] = []
        try:
            with os.scandir(folder.path) as entries:
                for entry in entries:
                    if exclude and _excluded(entry.path[len(root) :], exclude):
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError as error:
                        count.unreadable.append((_text(entry.path), str(error.strerror)))
                        continue
                    if stat.S_ISDIR(status.st_mode):
                        child = _Folder(entry.path, entry.name, status, folder)
                        earlier = former.get(entry.name)
                        below.append((child, earlier.subtree if earlier else None, False))
                    else:
                        files.append((entry.path, entry.name, status))
        except OSError as error:
            count.unreadable.append((_text(folder.path), str(error.strerror)))
        for batch in _batches(files):
            folder.batches.append(self._pool.submit(self._read_batch, batch, former, count))
        return below

    def _close(self, folder: _Folder, count: ScanCount) -> Node:
        for batch in folder.batches:
            folder.nodes += batch.result()
        tree = self._writer.save(BlobKind.TREE, encode_tree(folder.nodes))
        node = _node(folder.path, folder.name, folder.status, subtree=tree.hex())
        count.folders += 1
        if folder.parent:
            folder.parent.nodes.append(node)
        self._emit(Progress("scan", count.bytes, None, "bytes", _text(folder.path)))
        return node

    def _read_batch(
        self,
        files: list[_Seen],
        former: dict[bytes, Node],
        count: ScanCount,
    ) -> list[Node]:
        nodes, new, changed, unmodified, size = [], 0, 0, 0, 0
        for path, name, status in files:
            earlier = former.get(name)
            try:
                if not stat.S_ISREG(status.st_mode):
                    nodes.append(_node(path, name, status))
                    continue
                if earlier and _is_unmodified(earlier, status) and self._has_all(earlier):
                    content, unmodified = earlier.content, unmodified + 1
                else:
                    content, status = self._read_file(path)
                    new, changed = new + (earlier is None), changed + (earlier is not None)
                nodes.append(_node(path, name, status, content=content))
                size += status.st_size
            except (OSError, ValueError) as error:
                with self._lock:
                    count.unreadable.append((_text(path), str(error)))
        with self._lock:
            count.files += new + changed + unmodified
            count.new += new
            count.changed += changed
            count.unmodified += unmodified
            count.bytes += size
        return nodes

    def _has_all(self, node: Node) -> bool:
        """Whether the repository still has every blob of `node`; else the file is read again."""
        return all(blob_id in self._writer.index for blob_id in node.content)

    def _read_file(self, path: bytes) -> tuple[tuple[bytes, ...], os.stat_result]:
        """The file's blobs and its metadata as of before it was read."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it changed its kind while it was read")
            if status.st_size < self._chunker.min_bytes:
                content = _read_up_to(descriptor, self._chunker.min_bytes)
                if len(content) < self._chunker.min_bytes:
                    blobs = (self._writer.save(BlobKind.DATA, content),) if content else ()
                    return blobs, _with_size(status, len(content))
                os.lseek(descriptor, 0, os.SEEK_SET)
            return self._read_chunks(descriptor, status)
        finally:
            os.close(descriptor)

    def _read_chunks(
        self, descriptor: int, status: os.stat_result
    ) -> tuple[tuple[bytes, ...], os.stat_result]:
        if status.st_size < WINDOW_BYTES:
            whole = memoryview(_read_up_to(descriptor, status.st_size + 1))
            if len(whole) <= status.st_size:
                chunks = self._chunker.cut(whole, is_last=True)
                blobs = tuple(self._writer.save(BlobKind.DATA, chunk) for chunk in chunks)
                return blobs, _with_size(status, len(whole))
            os.lseek(descriptor, 0, os.SEEK_SET)  # it grows: read it as one of unknown size
        return self._read_windows(descriptor, status)

    def _read_windows(
        self, descriptor: int, status: os.stat_result
    ) -> tuple[tuple[bytes, ...], os.stat_result]:
        """Reads into one buffer while the chunks of the other one are hashed and sealed."""
        blobs: list[bytes] = []
        buffers = (bytearray(WINDOW_BYTES), bytearray(WINDOW_BYTES))
        earlier: list[Future[bytes]] = []
        turn, filled, total, at_end = 0, 0, 0, False
        while not at_end:
            view = memoryview(buffers[turn])
            while filled < len(view) and not at_end:
                read = os.readv(descriptor, [view[filled:]])
                filled, at_end = filled + read, read == 0
            chunks = list(self._chunker.cut(view[:filled], is_last=at_end))
            saving = [self._savers.submit(self._writer.save, BlobKind.DATA, c) for c in chunks]
            used = sum(map(len, chunks))
            total += used
            blobs += [future.result() for future in earlier]  # the other buffer is free from here
            earlier, turn = saving, 1 - turn
            buffers[turn][: filled - used] = view[used:filled]
            filled -= used
        blobs += [future.result() for future in earlier]
        return tuple(blobs), _with_size(status, total)


def _batches(files: list[_Seen]) -> Iterator[list[_Seen]]:
    """Files in groups that are worth a task: many small ones, or a single large one."""
    batch: list[_Seen] = []
    size = 0
    for file in files:
        batch.append(file)
        size += file[2].st_size
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _former_nodes(tree_id: str | None, load_tree: LoadTree) -> dict[bytes, Node]:
    if tree_id is None:
        return {}
    try:
        return {node.name: node for node in load_tree(tree_id)}
    except DamagedData:
        return {}  # what cannot be compared is read again


def _is_unmodified(earlier: Node, status: os.stat_result) -> bool:
    return (
        earlier.type == "file"
        and earlier.size == status.st_size
        and earlier.mtime_ns == status.st_mtime_ns
        and earlier.ctime_ns == status.st_ctime_ns
        and earlier.inode == status.st_ino
    )


def _excluded(below_root: bytes, exclude: tuple[str, ...]) -> bool:
    path = _text(below_root).strip("/")
    name = path.rpartition("/")[2]
    return any(
        fnmatch.fnmatchcase(path if "/" in pattern else name, pattern.strip("/"))
        for pattern in exclude
    )


def _read_up_to(descriptor: int, limit: int) -> bytes:
    pieces, left = [], limit
    while left and (piece := os.read(descriptor, left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _with_size(status: os.stat_result, size: int) -> os.stat_result:
    """`status` with the size that was really read: a file may grow meanwhile."""
    if status.st_size == size:
        return status
    fields = list(status)
    fields[stat.ST_SIZE] = size
    extra = {
        name: getattr(status, name)
        for name in ("st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_rdev")
    }
    return os.stat_result(fields, extra)


def _node(
    path: bytes,
    name: bytes,
    status: os.stat_result,
    *,
    content: tuple[bytes, ...] = (),
    subtree: str | None = None,
) -> Node:
    kind, mode = go_mode(status.st_mode)
    return Node(
        name=name,
        type=kind,
        mode=mode,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        atime_ns=status.st_mtime_ns,  # reading must not make a tree differ from the last one
        uid=status.st_uid,
        gid=status.st_gid,
        user=_user(status.st_uid),
        group=_group(status.st_gid),
        inode=status.st_ino,
        device_id=status.st_dev if status.st_nlink > 1 and kind != "dir" else 0,
        size=status.st_size if kind == "file" else 0,
        links=status.st_nlink if kind != "dir" else 0,
        link_target=os.readlink(path) if kind == "symlink" else b"",  # noqa: PTH115
        device=status.st_rdev if kind in ("dev", "chardev") else 0,
        xattrs=_xattrs(path),
        content=content,
        subtree=subtree,
    )


def _xattrs(path: bytes) -> tuple[tuple[str, bytes], ...]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return tuple(
            (name, os.getxattr(path, os.fsencode(name), follow_symlinks=False))
            for name in sorted(names)
        )
    except OSError:  # a file system without them
        return ()


@lru_cache(maxsize=1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@lru_cache(maxsize=1024)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


def _text(path: bytes) -> str:
    return os.fsdecode(path)

"""Reads a directory tree into blobs: names in order, metadata whole, unchanged files not read.

One thread walks and compares; a pool reads what is new. A folder in which nothing changed keeps its
former tree without being encoded again.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from drkit.errors import DamagedData
from drkit.events import Emit, Progress
from drkit.repository.blob_writer import BlobWriter
from drkit.repository.excludes import Rules
from drkit.repository.file_reader import FileReader, ReadFiles, SeenFile
from drkit.repository.metadata import Entry, describes, entry_of, is_unchanged
from drkit.repository.pack import BlobKind
from drkit.repository.quoting import quote
from drkit.repository.tree import Node, decode_node, encode_entries
from drkit.sources.interface import NOTHING_EXCLUDED, Excludes
from drkit.sources.patterns import BadPattern

_BATCH = 128
_BATCH_BYTES = 4 << 20
_PENDING_FOLDERS = 512
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LoadBlob = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Compare:
    """How a file is found to be as it was: by size, times and inode, as restic does."""

    ignore_inode: bool = False
    ignore_ctime: bool = False
    force: bool = False


BY_ALL = Compare()


@dataclass
class ScanCount:
    """What a scan saw. `unreadable` is not in the point, `changing` as it was read; with why."""

    files: int = 0
    folders: int = 0
    bytes: int = 0
    new: int = 0
    changed: int = 0
    unmodified: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    changing: list[tuple[str, str]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Folder:
    """A folder on its way: `former` is its entry in the former tree, `kept` whether all that was
    found so far is what `former` holds, of which there are `held`.
    """

    path: bytes
    name: bytes
    status: os.stat_result
    parent: _Folder | None
    rules: Rules
    former: Entry | None
    entries: list[tuple[bytes, Entry]] = field(default_factory=list)
    batches: list[Future[ReadFiles]] = field(default_factory=list)
    kept: bool = False
    held: int = 0
    readable: bool = True

    def add(self, name: bytes, entry: Entry, former: Entry | None) -> None:
        self.entries.append((name, entry))
        self.kept = self.kept and entry is former


class Scanner:
    """Scans trees with a pool of threads that read, hash, compress and seal."""

    def __init__(
        self,
        writer: BlobWriter,
        reader: FileReader,
        pool: ThreadPoolExecutor,
        load_blob: LoadBlob,
        emit: Emit,
        compare: Compare = BY_ALL,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._pool = pool
        self._load_blob = load_blob
        self._emit = emit
        self._compare = compare
        self._count = ScanCount()

    def scan(
        self, root: Path, *, excludes: Excludes = NOTHING_EXCLUDED, former: str | None
    ) -> tuple[Node, ScanCount]:
        """The node of `root` with its subtree stored, and what was seen.

        `former` is the tree of an earlier scan: files whose size, times and inode are as they
        were there keep their blobs unread. Raises OSError only when `root` itself is unreadable.
        """
        self._count = ScanCount()
        resolved = os.fsencode(root.resolve(strict=True))
        status = os.stat(resolved)  # noqa: PTH116  (bytes: names need not be text)
        shown = excludes.shown or os.path.abspath(root)  # noqa: PTH100  (links are not followed)
        rules = Rules(excludes, shown, status.st_dev)
        entry: Entry = {"type": "dir", "subtree": former} if former else {}
        top = _Folder(resolved, os.fsencode(root.name), status, None, rules, entry or None)
        os.scandir(resolved).close()
        pending: deque[_Folder] = deque()
        stack: list[tuple[_Folder, bool]] = [(top, False)]
        while stack:
            folder, is_read = stack.pop()
            if not is_read:
                stack.append((folder, True))
                stack += [(child, False) for child in self._read_folder(folder, shown, resolved)]
                continue
            pending.append(folder)  # after all folders below it
            while pending and (len(pending) > _PENDING_FOLDERS or _is_done(pending[0])):
                entry = self._close(pending.popleft())
        while pending:
            entry = self._close(pending.popleft())
        return decode_node(entry), self._count

    def _read_folder(self, folder: _Folder, shown: str, resolved: bytes) -> list[_Folder]:
        """Compares what is in the folder and sends off what must be read; the folders in it."""
        former = self._former_entries(folder)
        folder.kept, folder.held = bool(folder.former), len(former)
        below: list[_Folder] = []
        unknown: list[SeenFile] = []
        same: list[tuple[bytes, Entry, bool, os.stat_result]] = []
        names = self._names(folder, shown, resolved)
        for name, status in names.items():
            earlier = former.get(quote(name))
            path = folder.path + b"/" + name
            if stat.S_ISDIR(status.st_mode):
                below.append(_Folder(path, name, status, folder, folder.rules, earlier))
            elif stat.S_ISSOCK(status.st_mode):
                continue  # as restic: a socket is nothing without its program
            elif not stat.S_ISREG(status.st_mode):
                self._add_special(folder, path, name, status, earlier)
            elif earlier is None or self._compare.force:
                unknown.append(SeenFile(path, name, status.st_size, earlier is not None))
            elif _describes(earlier, status) and isinstance(earlier.get("content"), list):
                same.append((name, earlier, True, status))
            elif self._is_unchanged(earlier, status):
                same.append((name, earlier, False, status))
            else:
                unknown.append(SeenFile(path, name, status.st_size, earlier is not None))
        unknown += self._keep(folder, same)
        folder.kept = folder.kept and not unknown
        for batch in _batches(unknown):
            folder.batches.append(self._pool.submit(self._reader.read, batch))
        return below

    def _names(self, folder: _Folder, shown: str, resolved: bytes) -> dict[bytes, os.stat_result]:
        """What the folder holds and is not left out."""
        found: dict[bytes, os.stat_result] = {}
        if folder.parent and not folder.rules.enters(folder.status):
            return found
        try:
            handle = os.open(folder.path, _FOLDER)
        except OSError as error:
            folder.readable = False
            self._unreadable(folder.path, error)
            return found
        try:
            with os.scandir(handle) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    try:
                        found[name] = entry.stat(follow_symlinks=False)
                    except OSError as error:
                        self._unreadable(folder.path + b"/" + name, error)
            path = shown + os.fsdecode(folder.path[len(resolved) :])
            try:
                folder.rules = folder.rules.inside(handle, path, found)
            except (OSError, BadPattern) as error:
                self._unreadable(folder.path + b"/.drkitignore", error)
            return folder.rules.kept(handle, path, found)
        except OSError as error:
            self._unreadable(folder.path, error)
            return found
        finally:
            os.close(handle)

    def _keep(
        self, folder: _Folder, same: list[tuple[bytes, Entry, bool, os.stat_result]]
    ) -> list[SeenFile]:
        """Takes over entries of files that are `same`, as they are or with other metadata; files
        with a blob that the repository has lost are read again.
        """
        lost: list[SeenFile] = []
        has_all = self._has_all([blob for _, entry, _, _ in same for blob in entry["content"]])
        size = 0
        for name, earlier, as_it_is, status in same:
            if not has_all and not self._has_all(earlier["content"]):
                path = folder.path + b"/" + name
                lost.append(SeenFile(path, name, status.st_size, True))
                continue
            size += status.st_size
            if as_it_is:
                folder.entries.append((name, earlier))
                continue
            path = folder.path + b"/" + name
            entry = entry_of(path, name, status, content=earlier["content"])
            folder.add(name, entry, earlier)
        kept = len(same) - len(lost)
        self._count.files += kept
        self._count.unmodified += kept
        self._count.bytes += size
        return lost

    def _add_special(
        self,
        folder: _Folder,
        path: bytes,
        name: bytes,
        status: os.stat_result,
        former: Entry | None,
    ) -> None:
        try:
            if former is not None and _describes(former, status):
                folder.add(name, former, former)
            else:
                folder.add(name, entry_of(path, name, status), former)
        except (OSError, ValueError) as error:
            self._unreadable(path, error)

    def _close(self, folder: _Folder) -> Entry:
        """The folder's entry, its tree stored; added to the folder that holds it."""
        count = self._count
        for batch in folder.batches:
            read = batch.result()
            folder.entries += read.entries
            count.files += read.new + read.changed
            count.new += read.new
            count.changed += read.changed
            count.bytes += read.bytes
            count.unreadable += [(os.fsdecode(path), why) for path, why in read.unreadable]
            count.changing += [(os.fsdecode(path), why) for path, why in read.changing]
        if not folder.readable:
            return {}
        former = folder.former or {}
        if folder.kept and folder.held == len(folder.entries):
            tree = former["subtree"]
        else:
            tree = self._writer.save(BlobKind.TREE, encode_entries(folder.entries)).hex()
        if folder.parent is None or not former or not _describes(former, folder.status):
            entry = entry_of(folder.path, folder.name, folder.status, subtree=tree)
        elif former.get("subtree") == tree:
            entry = former
        else:
            entry = {**former, "subtree": tree}
        count.folders += 1
        if folder.parent:
            folder.parent.add(folder.name, entry, folder.former)
        self._emit(Progress("scan", count.bytes, None, "bytes", os.fsdecode(folder.path)))
        return entry

    def _former_entries(self, folder: _Folder) -> dict[str, Entry]:
        """The former entries by their quoted names; what cannot be compared is read again."""
        former = folder.former
        if former is None or former.get("type") != "dir" or not former.get("subtree"):
            folder.former = None
            return {}
        try:
            nodes = orjson.loads(self._load_blob(bytes.fromhex(former["subtree"])))["nodes"]
            return {node["name"]: node for node in nodes}
        except (DamagedData, ValueError, KeyError, TypeError):
            folder.former = None
            return {}

    def _is_unchanged(self, entry: Entry, status: os.stat_result) -> bool:
        compare = self._compare
        try:
            return isinstance(entry.get("content"), list) and is_unchanged(
                entry,
                status,
                ignore_inode=compare.ignore_inode,
                ignore_ctime=compare.ignore_ctime,
            )
        except (KeyError, TypeError, ValueError):  # a tree that is none of ours
            return False

    def _has_all(self, blobs: list[str]) -> bool:
        """Whether the repository still has every one of `blobs`."""
        index = self._writer.index
        try:
            ids = bytes.fromhex("".join(blobs))
            found = index.find_many(ids)
        except (ValueError, TypeError):
            return False
        missing = (found.rows < 0).nonzero()[0].tolist()
        return all(ids[at * 32 : at * 32 + 32] in index for at in missing)

    def _unreadable(self, path: bytes, error: Exception) -> None:
        self._count.unreadable.append(
            (os.fsdecode(path), getattr(error, "strerror", None) or str(error))
        )


def _describes(entry: Entry, status: os.stat_result) -> bool:
    try:
        return describes(entry, status)
    except (KeyError, TypeError, ValueError):
        return False


def _is_done(folder: _Folder) -> bool:
    return all(batch.done() for batch in folder.batches)


def _batches(files: list[SeenFile]) -> Iterator[list[SeenFile]]:
    """Files in groups that are worth a task: many small ones, or a single large one."""
    batch: list[SeenFile] = []
    size = 0
    for file in files:
        batch.append(file)
        size += file.size_bytes
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch

"""Reads a directory tree into blobs: names in order, metadata whole, unchanged files not read.

One thread walks and compares; a pool reads what is new. A folder in which nothing changed keeps its
former tree without being encoded again.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from drkit.errors import DamagedData
from drkit.events import Emit, Progress
from drkit.repository.backup.ahead import Ahead
from drkit.repository.backup.batches import Batches, Reading
from drkit.repository.backup.blob_writer import BlobWriter
from drkit.repository.backup.excludes import Rules
from drkit.repository.backup.file_reader import FileReader, SeenFile
from drkit.repository.backup.look import BY_ALL as BY_ALL
from drkit.repository.backup.look import Compare as Compare
from drkit.repository.backup.look import LoadBlob, Looked, Looker, is_described
from drkit.repository.backup.pieces import Pieces, pieces_of, tree_with
from drkit.repository.backup.tree_writer import TreeWriter
from drkit.repository.cache.resting import NOTHING, Resting, RestingMemory, RestingTrees
from drkit.repository.format.metadata import Entry, entry_of
from drkit.repository.format.tree import Node, decode_node, encode_entries
from drkit.sources.interface import NOTHING_EXCLUDED, Excludes

_PENDING_FOLDERS = 512
_LOOKED_UP_BYTES = 2 << 20  # ids at once


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
    found so far is what `former` holds, of which there are `held`. What is `resting` in it is not
    among the `entries` and not counted: all but its folders, or what `pieces` of the former tree
    say. `digest` and `marks`: of all that was seen in it, as long as that is what the entries say.
    """

    path: bytes
    name: bytes
    status: os.stat_result
    parent: _Folder | None
    rules: Rules
    former: Entry | None
    entries: list[tuple[bytes, Entry]] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    kept: bool = False
    held: int = 0
    readable: bool = True
    digest: bytes | None = None
    marks: bytes | memoryview = b""
    resting: Resting | None = None
    pieces: Pieces | None = None

    @property
    def is_kept(self) -> bool:
        """Whether its tree is the former one."""
        return self.kept and self.held == len(self.entries)

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
        memory: RestingMemory | None = None,
    ) -> None:
        """`memory`: where is kept which folders rest, if it is."""
        self._memory = memory
        self._resting: dict[str, Resting] = {}
        self._sound: frozenset[str] = frozenset()
        self._writer = writer
        self._trees = TreeWriter(writer, pool)
        self._batches = Batches(reader, pool)
        self._load_blob = load_blob
        self._emit = emit
        self._compare = compare
        self._count = ScanCount()
        self._seen: dict[tuple[bytes, str], Looked] = {}

    def scan(
        self,
        root: Path,
        *,
        excludes: Excludes = NOTHING_EXCLUDED,
        former: str | None,
        ahead: Ahead | None = None,
    ) -> tuple[Node, ScanCount]:
        """The node of `root` with its subtree stored, and what was seen.

        `former` is the tree of an earlier scan: files whose size, times and inode are as they
        were there keep their blobs unread; `ahead` was seen of them before. Raises OSError only
        when `root` itself is unreadable.
        """
        self._count = ScanCount()
        self._seen = ahead.folders if ahead and ahead.fits(excludes, self._compare) else {}
        resolved = os.fsencode(root.resolve(strict=True))
        shown = excludes.shown or os.path.abspath(root)  # noqa: PTH100  (links are not followed)
        load, compare = self._load_blob, self._compare
        memory = None if self._compare.force else self._memory
        known = memory.load(resolved) if memory else None
        looker = Looker(resolved, excludes, shown, load_blob=load, compare=compare, resting=known)
        self._resting = {}
        self._sound = frozenset(self._sound_among(known or {}))
        entry: Entry = {"type": "dir", "subtree": former} if former else {}
        name = os.fsencode(root.name)
        top = _Folder(resolved, name, looker.status, None, looker.rules, entry or None)
        os.scandir(resolved).close()
        pending: deque[_Folder] = deque()
        stack: list[tuple[_Folder, bool]] = [(top, False)]
        while stack:
            folder, is_read = stack.pop()
            if not is_read:
                stack.append((folder, True))
                stack += [(child, False) for child in self._read_folder(folder, looker)]
                continue
            pending.append(folder)  # after all folders below it
            while pending and (len(pending) > _PENDING_FOLDERS or _is_done(pending[0])):
                entry = self._close(pending.popleft(), looker)
        while pending:
            entry = self._close(pending.popleft(), looker)
        self._trees.finish()
        if memory and self._resting != known:
            memory.keep(resolved, self._resting)
        return decode_node(entry), self._count

    def _read_folder(self, folder: _Folder, looker: Looker) -> list[_Folder]:
        """Compares what is in the folder and sends off what must be read; the folders in it."""
        former = folder.former
        looked = self._seen.pop((folder.path, former.get("subtree", "")), None) if former else None
        if looked is None:
            looked = looker.look(folder.path, folder.status, folder.rules, former)
        if looked.resting and (not former or former["subtree"] not in self._sound):
            looked = looker.look(
                folder.path, folder.status, folder.rules, former, compared_anew=True
            )
        folder.rules, folder.readable = looked.rules, looked.readable
        if not looked.former:
            folder.former = None
        folder.resting, folder.pieces = looked.resting, looked.pieces
        folder.kept, folder.held = looked.former and looked.pieces is None, looked.held
        for path, error in looked.unreadable:
            self._unreadable(path, error)
        self._take(folder, looked)
        return [
            _Folder(folder.path + b"/" + name, name, status, folder, folder.rules, earlier)
            for name, status, earlier in looked.folders
        ]

    def _take(self, folder: _Folder, looked: Looked) -> None:
        """Takes over what is as it was, and sends off what must be read."""
        folder.digest = None if looked.unreadable else looked.digest
        folder.marks = looked.marks
        for name, status, earlier in looked.special:
            self._add_special(folder, folder.path + b"/" + name, name, status, earlier)
        unknown = looked.unknown + self._keep(folder, looked.same)
        folder.kept = folder.kept and not unknown
        folder.readings += self._batches.add(unknown)

    def _wake(self, folder: _Folder, looker: Looker) -> None:
        """Something in a folder below one that rests has changed: its tree is made anew, for which
        its files are looked at.
        """
        looked = looker.look(
            folder.path, folder.status, folder.rules, folder.former, compared_anew=True
        )
        folder.resting, folder.kept = None, False
        folder.readable = looked.readable
        for path, error in looked.unreadable:
            self._unreadable(path, error)
        done = {name for name, _ in folder.entries}  # a folder that has become a file meanwhile
        looked.special = [one for one in looked.special if one[0] not in done]
        looked.same = [one for one in looked.same if one[0] not in done]
        looked.unknown = [file for file in looked.unknown if file.name not in done]
        self._take(folder, looked)

    def _keep(
        self, folder: _Folder, same: list[tuple[bytes, Entry, bool, os.stat_result]]
    ) -> list[SeenFile]:
        """Takes over entries of files that are `same`, as they are or with other metadata; files
        with a blob that the repository has lost are read again.
        """
        if not same:
            return []
        lost: list[SeenFile] = []
        has_all = self._has_all([blob for _, entry, _, _ in same for blob in entry["content"]])
        size = 0
        for name, earlier, as_it_is, status in same:
            if not has_all and not self._has_all(earlier["content"]):
                path = folder.path + b"/" + name
                lost.append(SeenFile(path, name, status, True))
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
            if former is not None and is_described(former, status):
                folder.add(name, former, former)
            else:
                folder.add(name, entry_of(path, name, status), former)
        except (OSError, ValueError) as error:
            folder.digest = None
            self._unreadable(path, error)

    def _close(self, folder: _Folder, looker: Looker) -> Entry:
        """The folder's entry, its tree stored; added to the folder that holds it."""
        count = self._count
        if folder.resting and folder.pieces is None and not folder.is_kept:
            folder.pieces = self._pieces(folder)  # its tree is made anew
            if folder.pieces is None:
                self._wake(folder, looker)
        if folder.resting:
            count.files += folder.resting.files
            count.unmodified += folder.resting.files
            count.bytes += folder.resting.size_bytes
        for reading in folder.readings:
            read = reading.result()
            folder.entries += read.entries
            count.files += read.new + read.changed
            count.new += read.new
            count.changed += read.changed
            count.bytes += read.bytes
            if not read.as_seen or read.unreadable or read.changing:
                folder.digest = None
            count.unreadable += [(os.fsdecode(path), why) for path, why in read.unreadable]
            count.changing += [(os.fsdecode(path), why) for path, why in read.changing]
        if not folder.readable:
            return {}
        former = folder.former or {}
        tree = former.get("subtree", "")
        if folder.pieces is not None:
            tree = self._trees.save(tree_with(folder.pieces, folder.entries))
        elif not folder.is_kept or not (folder.resting or self._has_ids(bytes.fromhex(tree))):
            tree = self._trees.save(encode_entries(folder.entries))
        self._note_rest(folder, tree)
        if folder.parent is None or not former or not is_described(former, folder.status):
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

    def _note_rest(self, folder: _Folder, tree: str) -> None:
        """Keeps what the next scan needs in order not to read `tree`."""
        resting = folder.resting
        if resting is None or folder.pieces is not None:
            if folder.digest is None:
                return
            entries = [entry for _, entry in folder.entries]
            try:
                resting = (resting or NOTHING).with_entries(entries, folder.digest, folder.marks)
            except (KeyError, TypeError, ValueError):  # former entries that are none of ours
                return
        self._resting[tree] = resting

    def _pieces(self, folder: _Folder) -> Pieces | None:
        """What rests in a folder that rested as a whole, without the folders in it; None when its
        tree must be read.
        """
        assert folder.former and folder.resting
        try:
            pieces = pieces_of(self._load_blob(bytes.fromhex(folder.former["subtree"])))
        except DamagedData:
            return None
        if pieces is not None:
            for entry in folder.resting.folders:
                pieces.pop(entry["name"].encode(), None)
        return pieces

    def _sound_among(self, known: RestingTrees) -> Iterator[str]:
        """Those of `known` trees that the repository has, with all that their files hold."""
        group: list[tuple[str, bytes]] = []
        size_bytes = 0
        for tree, resting in known.items():
            group.append((tree, bytes.fromhex(tree) + bytes(resting.blobs)))
            size_bytes += len(group[-1][1])
            if size_bytes >= _LOOKED_UP_BYTES:
                yield from self._sound_in(group)
                group, size_bytes = [], 0
        yield from self._sound_in(group)

    def _sound_in(self, group: list[tuple[str, bytes]]) -> list[str]:
        if self._has_ids(b"".join(ids for _, ids in group)):
            return [tree for tree, _ in group]
        return [tree for tree, ids in group if self._has_ids(ids)]

    def _has_all(self, blobs: list[str]) -> bool:
        """Whether the repository still has every one of `blobs`."""
        try:
            return self._has_ids(bytes.fromhex("".join(blobs)))
        except (ValueError, TypeError):
            return False

    def _has_ids(self, ids: bytes) -> bool:
        index = self._writer.index
        found = index.find_many(ids)
        missing = (found.rows < 0).nonzero()[0].tolist()
        return all(ids[at * 32 : at * 32 + 32] in index for at in missing)

    def _unreadable(self, path: bytes, error: Exception) -> None:
        self._count.unreadable.append(
            (os.fsdecode(path), getattr(error, "strerror", None) or str(error))
        )


def _is_done(folder: _Folder) -> bool:
    return all(reading.is_done for reading in folder.readings)

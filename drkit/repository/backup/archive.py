"""Writes one recovery point: every root into trees, the trees into one snapshot, in all stores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import drkit
from drkit.errors import DamagedData, GuardRefused, TooFewCopies
from drkit.events import Emit, Note
from drkit.repository.backup.ahead import Ahead
from drkit.repository.backup.anomaly import INCOMPLETE_TAG
from drkit.repository.backup.blob_writer import BlobWriter
from drkit.repository.backup.file_reader import FileReader
from drkit.repository.backup.scan import BY_ALL, Compare, Scanner
from drkit.repository.copies.upload import FanOut, StoreResult
from drkit.repository.format.keys import user_name
from drkit.repository.format.layout import SNAPSHOTS
from drkit.repository.format.pack import BlobKind
from drkit.repository.format.snapshot import Snapshot
from drkit.repository.format.tree import Node, encode_tree
from drkit.repository.levels.catch_up import catch_up, write_ledgers
from drkit.repository.locks.locks import Locks, take_locks
from drkit.repository.repository import ListedSnapshot, Repository
from drkit.sources.interface import NOTHING_EXCLUDED, Excludes
from drkit.sources.patterns import BadPattern

OWN_FOLDER = ".drkit"


@dataclass(frozen=True, slots=True)
class FreshTree:
    """A folder that is scanned now; `former` (a node of an earlier point) spares what is unchanged
    and is kept as it is when the folder cannot be read. `ahead`: what was seen of it before.
    """

    root: Path
    exclude: Excludes = NOTHING_EXCLUDED
    former: Node | None = None
    ahead: Ahead | None = None


@dataclass(frozen=True, slots=True)
class FormerTree:
    """A subtree of an earlier point that is kept as it is; `of`: that point's snapshot, where it
    is another one than the parent.
    """

    node: Node
    of: str | None = None


@dataclass(frozen=True, slots=True)
class RootReport:
    """What became of one root. `error`: it could not be read, and its former tree was kept.

    `unreadable` paths are not in the point, `changing` ones as they were read; each with why. Of
    the `new_bytes` that were stored anew, `dense_bytes` do not shrink: compressed or encrypted.
    """

    tree_id: str | None
    files: int = 0
    folders: int = 0
    bytes: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    error: str | None = None
    changing: tuple[tuple[str, str], ...] = ()
    new_bytes: int = 0
    dense_bytes: int = 0

    @property
    def whole(self) -> bool:
        return not (self.unreadable or self.error or self.changing)


@dataclass(frozen=True, slots=True)
class WriteReport:
    snapshot_id: str
    stores: tuple[StoreResult, ...]
    roots: Mapping[str, RootReport]
    files_new: int
    files_changed: int
    files_unmodified: int
    bytes_scanned: int
    bytes_added: int


Flags = Callable[[Mapping[str, RootReport]], tuple[str, ...]]


def no_flags(_reports: Mapping[str, RootReport]) -> tuple[str, ...]:
    return ()


def write_point(
    repository: Repository,
    roots: Mapping[str, FreshTree | FormerTree],
    *,
    finish: Callable[[Mapping[str, RootReport]], Mapping[str, bytes]],
    tags: tuple[str, ...],
    time: datetime,
    parent: ListedSnapshot | None,
    min_copies: int,
    emit: Emit,
    flags: Flags = no_flags,
    compare: Compare = BY_ALL,
    locks: Locks | None = None,
) -> WriteReport:
    """The point that was written. `finish` gives the files of `/.drkit` once all roots are stored,
    `flags` then more tags; a point of which something could not be read is tagged `incomplete`.
    `locks` that were taken before are released here.

    Raises `TooFewCopies` when fewer than `min_copies` stores hold all of it (S2), and
    `RepositoryLocked` when no store could be locked.
    """
    repository.refuse_format_1()
    locks = locks or take_locks(
        repository, exclusive=False, need_all=False, emit=emit, needed=min_copies
    )
    fan_out: FanOut | None = None
    try:
        repository.forget_index()  # loaded under the lock: no prune can run from here on
        listed = {store: set(found.snapshots) for store, found in locks.listings.items()}
        level = catch_up(repository, locks.listings, emit)
        leant_on = {parent.id} if parent else set[str]()
        leant_on |= {root.of for root in roots.values() if isinstance(root, FormerTree) and root.of}
        if vanished := leant_on.difference(*(listed[store] for store in level.listings)):
            _refuse_vanished(repository, min(vanished), roots.values())
        fan_out = FanOut(level.stores, emit, needed=min_copies, seen=repository.keep_sent)
        writer = BlobWriter(repository.index, repository.key, fan_out, repository.clock)
        broken = _broken_roots(repository, roots, emit) if level.lost else {}
        nodes, reports, counts = _scan(repository, roots, writer, compare, emit)
        reports |= {name: replace(reports[name], error=why) for name, why in broken.items()}
        files = finish(reports)
        tags += flags(reports)
        if not all(report.whole for report in reports.values()):
            tags += (INCOMPLETE_TAG,)
        nodes.append(_own_folder(writer, files, time))
        tree = writer.save(BlobKind.TREE, encode_tree(nodes)).hex()
        writer.flush()
        fan_out.drain()  # the locks are looked at when only the snapshot is left to send
        _drop_unlocked(locks, fan_out)
        snapshot = _snapshot(repository.hostname, nodes, tree, counts, time, tags, parent)
        snapshot_id = writer.send_unpacked(SNAPSHOTS, snapshot.to_bytes())
        results = _results(repository, fan_out.finish())
        whole = {result.store for result in results if result.complete}
        write_ledgers(repository, level, whole, [snapshot_id], emit)
    except BaseException:
        if fan_out is not None:
            fan_out.abandon("the run failed")
        raise
    finally:
        repository.use_listings({})
        locks.release(emit)
    _refuse_too_few(results, min_copies)
    return WriteReport(snapshot_id, results, reports, *counts, writer.bytes_added)


_Counts = tuple[int, int, int, int]
"""Files that are new, changed and unmodified, and the bytes of all."""

_Scanned = tuple[list[Node], dict[str, RootReport], _Counts]


def _scan(
    repository: Repository,
    roots: Mapping[str, FreshTree | FormerTree],
    writer: BlobWriter,
    compare: Compare,
    emit: Emit,
) -> _Scanned:
    threads = max(2, os.cpu_count() or 2)
    pool = ThreadPoolExecutor(threads, "files")
    savers = ThreadPoolExecutor(threads, "chunks")
    try:
        reader = FileReader(writer, lambda: repository.chunker, savers)
        scanner = Scanner(
            writer, reader, pool, repository.load_blob, emit, compare, repository.resting
        )
        return _write_roots(writer, roots, scanner, emit)
    except BaseException:
        writer.abandon()  # what is under way waits for no store any more
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        savers.shutdown(cancel_futures=True)


def _write_roots(
    writer: BlobWriter,
    roots: Mapping[str, FreshTree | FormerTree],
    scanner: Scanner,
    emit: Emit,
) -> _Scanned:
    nodes: list[Node] = []
    reports: dict[str, RootReport] = {}
    new = changed = unmodified = size = 0
    for name, root in roots.items():
        if isinstance(root, FormerTree):
            nodes.append(root.node)
            reports[name] = RootReport(root.node.subtree)
            continue
        former = root.former.subtree if root.former else None
        stored = writer.raw_bytes, writer.dense_bytes
        try:
            node, count = scanner.scan(
                root.root, excludes=root.exclude, former=former, ahead=root.ahead
            )
        except (OSError, BadPattern) as error:
            what = f"{root.root}: {getattr(error, 'strerror', None) or error}"
            emit(Note("error", name, what))
            if root.former:
                nodes.append(root.former)
            reports[name] = RootReport(former, error=what)
            continue
        nodes.append(replace(node, name=name.encode()))
        reports[name] = RootReport(
            node.subtree,
            count.files,
            count.folders,
            count.bytes,
            tuple(count.unreadable),
            changing=tuple(count.changing),
            new_bytes=writer.raw_bytes - stored[0],
            dense_bytes=writer.dense_bytes - stored[1],
        )
        new, changed = new + count.new, changed + count.changed
        unmodified, size = unmodified + count.unmodified, size + count.bytes
    return nodes, reports, (new, changed, unmodified, size)


def _own_folder(writer: BlobWriter, files: Mapping[str, bytes], time: datetime) -> Node:
    time_ns = int(time.timestamp()) * 1_000_000_000
    nodes = [
        Node(
            name=name.encode(),
            type="file",
            mode=0o600,
            mtime_ns=time_ns,
            size=len(content),
            links=1,
            content=(writer.save(BlobKind.DATA, content),),
        )
        for name, content in files.items()
    ]
    tree = writer.save(BlobKind.TREE, encode_tree(nodes)).hex()
    return Node(
        name=OWN_FOLDER.encode(), type="dir", mode=0o700 | 1 << 31, mtime_ns=time_ns, subtree=tree
    )


def _refuse_vanished(
    repository: Repository, snapshot_id: str, roots: Iterable[FreshTree | FormerTree]
) -> None:
    """What is kept of a point that no store lists any more must be in use by another snapshot: a
    prune may have come between.
    """
    from drkit.repository.trees.reach import reachable

    nodes = [root.node if isinstance(root, FormerTree) else root.former for root in roots]
    trees = [node.subtree for node in nodes if node is not None and node.subtree]
    try:
        gone = any(b not in repository.index for b in reachable(trees, repository.load_tree))
    except DamagedData:
        gone = True
    if gone:
        raise GuardRefused(
            f"the point {snapshot_id[:8]}, on which this one builds, was forgotten meanwhile",
            hint="run the backup again; nothing was written",
        )


def _broken_roots(
    repository: Repository, roots: Mapping[str, FreshTree | FormerTree], emit: Emit
) -> dict[str, str]:
    """The roots that are kept as they are and reach what no store holds any more, and why."""
    from drkit.repository.trees.reach import reachable

    broken = {}
    for name, root in roots.items():
        if not isinstance(root, FormerTree) or root.node.subtree is None:
            continue
        try:
            reach = reachable([root.node.subtree], repository.load_tree)
            gone = sum(blob not in repository.index for blob in reach)
            why = f"{gone} of its parts are in no store" if gone else ""
        except DamagedData as error:
            why = error.message
        if why:
            broken[name] = f"what was kept of it is damaged: {why}"
            emit(Note("error", name, f"{broken[name]}; drkit backup --source {name}, drkit check"))
    return broken


def _snapshot(
    hostname: str,
    nodes: Sequence[Node],
    tree: str,
    counts: _Counts,
    time: datetime,
    tags: tuple[str, ...],
    parent: ListedSnapshot | None,
) -> Snapshot:
    new, changed, unmodified, _ = counts
    return Snapshot(
        time=time,
        tree=tree,
        paths=tuple(f"/{os.fsdecode(node.name)}" for node in nodes),
        hostname=hostname,
        username=user_name(),
        tags=tags,
        parent=parent.id if parent else None,
        program_version=f"drkit {drkit.__version__}",
        summary={"files_new": new, "files_changed": changed, "files_unmodified": unmodified},
    )


def _drop_unlocked(locks: Locks, fan_out: FanOut) -> None:
    """Stores whose lock is gone get no snapshot: a prune may have run there meanwhile (S9)."""
    for store, reason in locks.lost(fan_out.alive).items():
        fan_out.drop(store.name, f"{reason} while the point was written")


def _results(repository: Repository, sent: tuple[StoreResult, ...]) -> tuple[StoreResult, ...]:
    """What was sent, and the stores that took no part in the run."""
    names = {result.store for result in sent}
    absent = {store.name: "it was not locked or not caught up" for store in repository.stores}
    return sent + tuple(
        StoreResult(name, False, reason, 0)
        for name, reason in {**absent, **repository.unreachable}.items()
        if name not in names
    )


def _refuse_too_few(results: Sequence[StoreResult], min_copies: int) -> None:
    """`TooFewCopies` unless enough stores hold every pack, the index and the snapshot (S2)."""
    copies = sum(result.complete for result in results)
    if copies < min_copies:
        reasons = "; ".join(f"{r.store}: {r.reason}" for r in results if not r.complete)
        raise TooFewCopies(
            f"the point is whole in {copies} of {min_copies} stores ({reasons})",
            hint="bring a store back and run the backup again; nothing older was touched",
        )

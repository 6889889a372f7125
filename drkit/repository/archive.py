"""Writes one recovery point: every root into trees, the trees into one snapshot, in all stores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import drkit
from drkit.errors import DrkitError, RepositoryLocked, TooFewCopies
from drkit.events import Emit, Note
from drkit.repository.blob_writer import BlobWriter
from drkit.repository.catch_up import catch_up
from drkit.repository.keys import user_name
from drkit.repository.layout import SNAPSHOTS
from drkit.repository.locks import REFRESH_EVERY_S, StoreLock
from drkit.repository.pack import BlobKind
from drkit.repository.repository import ListedSnapshot, Repository
from drkit.repository.scan import Scanner
from drkit.repository.snapshot import Snapshot
from drkit.repository.tree import Node, encode_tree
from drkit.repository.upload import FanOut, StoreResult
from drkit.stores.interface import Store

OWN_FOLDER = ".drkit"


@dataclass(frozen=True, slots=True)
class FreshTree:
    """A folder that is scanned now; `former` (a node of an earlier point) spares what is unchanged
    and is kept as it is when the folder cannot be read.
    """

    root: Path
    exclude: tuple[str, ...] = ()
    former: Node | None = None


@dataclass(frozen=True, slots=True)
class FormerTree:
    """A subtree of an earlier point that is kept as it is."""

    node: Node


@dataclass(frozen=True, slots=True)
class RootReport:
    """What became of one root. `error`: it could not be read, and its former tree was kept."""

    tree_id: str | None
    files: int = 0
    folders: int = 0
    bytes: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    error: str | None = None


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
) -> WriteReport:
    """The point that was written. `finish` gives the files of `/.drkit` once all roots are stored.

    Raises `TooFewCopies` when fewer than `min_copies` stores hold all of it (S2), and
    `RepositoryLocked` when no store could be locked.
    """
    repository.refuse_format_1()
    locks = _lock_all(repository, emit)
    stop = threading.Event()
    fan_out: FanOut | None = None
    try:
        repository.forget_index()  # loaded under the lock: no prune can run from here on
        up_to_date = catch_up(repository, tuple(locks), emit)
        fan_out = FanOut(up_to_date, emit)
        threading.Thread(
            target=_refresh, args=(locks, fan_out, stop), name="lock refresh", daemon=True
        ).start()
        writer = BlobWriter(repository.index, repository.key, fan_out, repository.clock)
        threads = max(2, os.cpu_count() or 2)
        with (
            ThreadPoolExecutor(threads, "chunks") as savers,
            ThreadPoolExecutor(threads, "files") as pool,
        ):
            scanner = Scanner(writer, repository.chunker, pool, savers, emit)
            nodes, reports, counts = _write_roots(repository, roots, scanner, emit)
        files = finish(reports)
        nodes.append(_own_folder(writer, files, time))
        tree = writer.save(BlobKind.TREE, encode_tree(nodes)).hex()
        writer.flush()
        fan_out.drain()  # the locks are looked at when only the snapshot is left to send
        _drop_unlocked(locks, fan_out)
        summary = {
            "files_new": counts[0],
            "files_changed": counts[1],
            "files_unmodified": counts[2],
        }
        snapshot = Snapshot(
            time=time,
            tree=tree,
            paths=tuple(f"/{os.fsdecode(node.name)}" for node in nodes),
            hostname=repository.hostname,
            username=user_name(),
            tags=tags,
            parent=parent.id if parent else None,
            program_version=f"drkit {drkit.__version__}",
            summary=summary,
        )
        snapshot_id = writer.send_unpacked(SNAPSHOTS, snapshot.to_bytes())
        results = _results(repository, fan_out.finish())
    except BaseException:
        if fan_out is not None:
            fan_out.abandon("the run failed")
        raise
    finally:
        stop.set()
        for store, lock in locks.items():
            _release(store, lock, emit)
    complete = [result.store for result in results if result.complete]
    if len(complete) < min_copies:
        reasons = "; ".join(f"{r.store}: {r.reason}" for r in results if not r.complete)
        raise TooFewCopies(
            f"the point is whole in {len(complete)} of {min_copies} stores ({reasons})",
            hint="bring a store back and run the backup again; nothing older was touched",
        )
    return WriteReport(snapshot_id, results, reports, *counts, writer.bytes_added)


def _write_roots(
    repository: Repository,
    roots: Mapping[str, FreshTree | FormerTree],
    scanner: Scanner,
    emit: Emit,
) -> tuple[list[Node], dict[str, RootReport], tuple[int, int, int, int]]:
    nodes: list[Node] = []
    reports: dict[str, RootReport] = {}
    new = changed = unmodified = size = 0
    for name, root in roots.items():
        if isinstance(root, FormerTree):
            nodes.append(root.node)
            reports[name] = RootReport(root.node.subtree)
            continue
        try:
            node, count = scanner.scan(
                root.root,
                exclude=root.exclude,
                former=root.former.subtree if root.former else None,
                load_tree=repository.load_tree,
            )
        except OSError as error:
            emit(Note("error", name, f"{root.root}: {error.strerror}"))
            if root.former:
                nodes.append(root.former)
            reports[name] = RootReport(
                root.former.subtree if root.former else None, error=f"{root.root}: {error.strerror}"
            )
            continue
        nodes.append(_renamed(node, name))
        reports[name] = RootReport(
            node.subtree, count.files, count.folders, count.bytes, tuple(count.unreadable)
        )
        new, changed = new + count.new, changed + count.changed
        unmodified, size = unmodified + count.unmodified, size + count.bytes
    return nodes, reports, (new, changed, unmodified, size)


def _renamed(node: Node, name: str) -> Node:
    from dataclasses import replace

    return replace(node, name=name.encode())


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


def _lock_all(repository: Repository, emit: Emit) -> dict[Store, StoreLock]:
    """A lock in each store that gives one, taken at the same time: each waits a moment."""
    locks: dict[Store, StoreLock] = {}
    problem: DrkitError | None = None

    def acquire(store: Store) -> StoreLock:
        lock = StoreLock(
            store, repository.key, clock=repository.clock, hostname=repository.hostname
        )
        lock.acquire()
        return lock

    with ThreadPoolExecutor(max(1, len(repository.stores)), "lock") as pool:
        asked = {store: pool.submit(acquire, store) for store in repository.stores}
    for store, answer in asked.items():
        try:
            locks[store] = answer.result()
        except DrkitError as error:
            problem = error
            emit(Note("warning", store.name, error.message))
    if not locks:
        raise problem or RepositoryLocked("no store could be locked", hint="drkit status")
    return locks


def _refresh(locks: dict[Store, StoreLock], fan_out: FanOut, stop: threading.Event) -> None:
    while not stop.wait(REFRESH_EVERY_S):
        for store, lock in locks.items():
            try:
                lock.refresh()
            except DrkitError as error:
                fan_out.drop(store.name, f"its lock could not be refreshed: {error.message}")


def _drop_unlocked(locks: dict[Store, StoreLock], fan_out: FanOut) -> None:
    """Stores whose lock is gone get no snapshot: a prune may have run there meanwhile (S9)."""
    for store, lock in locks.items():
        try:
            held = lock.held()
        except DrkitError as error:
            fan_out.drop(store.name, f"its lock cannot be seen: {error.message}")
            continue
        if not held:
            fan_out.drop(store.name, "its lock was lost while the point was written")


def _release(store: Store, lock: StoreLock, emit: Emit) -> None:
    try:
        lock.release()
    except DrkitError as error:
        emit(Note("warning", store.name, f"its lock stays: {error.message}"))


def _results(repository: Repository, sent: tuple[StoreResult, ...]) -> tuple[StoreResult, ...]:
    """What was sent, and the stores that took no part in the run."""
    names = {result.store for result in sent}
    absent = {store.name: "it was not locked or not caught up" for store in repository.stores}
    return sent + tuple(
        StoreResult(name, False, reason, 0)
        for name, reason in {**absent, **repository.unreachable}.items()
        if name not in names
    )

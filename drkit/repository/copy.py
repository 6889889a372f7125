"""Copies snapshots from one repository into another: opened, proved, and sealed with its key.

A snapshot that was copied before is not copied again: it is known by where it came from, as
restic's `copy` knows it (its `original` id, or the same time, tree, host and paths).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from drkit.errors import DamagedData, GuardRefused, TooFewCopies
from drkit.events import Emit, Progress
from drkit.repository.backup.blob_writer import BlobWriter
from drkit.repository.copies.upload import FanOut
from drkit.repository.format.layout import SNAPSHOTS
from drkit.repository.format.pack import BlobKind
from drkit.repository.format.snapshot import Snapshot
from drkit.repository.levels.catch_up import catch_up, write_ledgers
from drkit.repository.locks.locks import take_locks
from drkit.repository.records.erased import holding_erased
from drkit.repository.records.tombstones import Tombstones
from drkit.repository.repository import ListedSnapshot, Repository


@dataclass(frozen=True, slots=True)
class CopyReport:
    """New ids by the ids they were copied from, and those that were there already."""

    copied: dict[str, str]
    already: tuple[str, ...]
    bytes_added: int


def copy_snapshots(
    source: Repository,
    target: Repository,
    snapshots: Sequence[ListedSnapshot],
    *,
    min_copies: int,
    emit: Emit,
) -> CopyReport:
    """Copies `snapshots` of `source` with all that they reach into every store of `target`.

    Raises `GuardRefused` for snapshots that hold what was erased here (K6), `TooFewCopies` when
    fewer than `min_copies` stores hold all of it (S2), `DamagedData` when the source cannot give a
    blob; what was copied before that stays.
    """
    target.refuse_format_1()
    locks = take_locks(target, exclusive=False, need_all=False, emit=emit, needed=min_copies)
    fan_out: FanOut | None = None
    try:
        target.forget_index()
        level = catch_up(target, locks.listings, emit)
        new = _not_there(target, snapshots)
        _refuse_erased(source, target, new, level.tombstones)
        fan_out = FanOut(level.stores, emit, needed=min_copies, seen=target.keep_sent)
        writer = BlobWriter(target.index, target.key, fan_out, target.clock)
        seen: set[bytes] = set()
        for done, listed in enumerate(new):
            emit(Progress("copy", done, len(new), "snapshots", listed.id[:8]))
            _copy_tree(source, writer, listed.snapshot.tree, seen)
        writer.flush()
        fan_out.drain()
        for store, reason in locks.lost().items():
            fan_out.drop(store.name, reason)
        copied = {listed.id: _send_copy(writer, listed) for listed in new}
        results = fan_out.finish()
        whole = {result.store for result in results if result.complete}
        write_ledgers(target, level, whole, list(copied.values()), emit)
    except BaseException:
        if fan_out is not None:
            fan_out.abandon("the copy failed")
        raise
    finally:
        target.use_listings({})
        locks.release(emit)
    if new and len(whole) < min_copies:
        raise TooFewCopies(
            f"the copies are whole in {len(whole)} of {min_copies} stores",
            hint="bring a store back and run it again; what is there is not sent again",
        )
    already = tuple(listed.id for listed in snapshots if listed.id not in copied)
    return CopyReport(copied, already, writer.bytes_added)


def _not_there(
    target: Repository, snapshots: Sequence[ListedSnapshot]
) -> tuple[ListedSnapshot, ...]:
    """Those of `snapshots` that `target` holds neither themselves nor as copies."""
    there = {_identity(each.snapshot, each.id) for each in target.snapshots()}
    known = {each.id for each in target.snapshots()}
    return tuple(
        each
        for each in snapshots
        if each.id not in known and _identity(each.snapshot, each.id) not in there
    )


def _refuse_erased(
    source: Repository,
    target: Repository,
    new: Sequence[ListedSnapshot],
    tombstones: Tombstones,
) -> None:
    """`GuardRefused` for what the ledger of `target` knows as erased (K6)."""
    if shown := holding_erased(source, [each.id for each in new], tombstones, target.key):
        raise GuardRefused(
            f"{len(shown)} snapshots hold what was erased here ({min(shown)[:8]}, ...)",
            hint="name the others; nothing was copied",
        )


def _send_copy(writer: BlobWriter, listed: ListedSnapshot) -> str:
    """The id of the copy, which says what it was copied from."""
    origin = listed.snapshot.original or listed.id
    copy = replace(listed.snapshot, original=origin, parent=None)
    return writer.send_unpacked(SNAPSHOTS, copy.to_bytes())


def _copy_tree(source: Repository, writer: BlobWriter, tree: str, seen: set[bytes]) -> None:
    """Every blob below `tree` that the target lacks; trees last, so that a death leaves none that
    reaches nothing.
    """
    waiting = [bytes.fromhex(tree)]
    trees: list[bytes] = []
    while waiting:
        tree_id = waiting.pop()
        if tree_id in seen:
            continue
        seen.add(tree_id)
        trees.append(tree_id)
        for node in source.load_tree(tree_id.hex()):
            if node.type == "dir" and node.subtree:
                waiting.append(bytes.fromhex(node.subtree))
            for blob in node.content if node.type == "file" else ():
                if blob not in seen:
                    seen.add(blob)
                    _copy_blob(source, writer, BlobKind.DATA, blob)
    for tree_id in reversed(trees):
        _copy_blob(source, writer, BlobKind.TREE, tree_id)


def _copy_blob(source: Repository, writer: BlobWriter, kind: BlobKind, blob: bytes) -> None:
    if blob in writer.index:
        return
    content = source.load_blob(blob)
    if hashlib.sha256(content).digest() != blob or writer.save(kind, content) != blob:
        raise DamagedData(f"blob {blob.hex()[:8]} came out wrong", hint="drkit check --read-data")


def _identity(snapshot: Snapshot, snapshot_id: str) -> tuple[object, ...]:
    """What two copies of one snapshot share, whatever repository they are in."""
    return (snapshot.time, snapshot.tree, snapshot.hostname, snapshot.paths)

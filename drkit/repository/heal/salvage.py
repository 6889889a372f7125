"""What is left when no store has a whole copy: sound blobs of damaged packs go into new packs, and
snapshots are written anew without what is lost, as restic's `repair` does. Originals are kept.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from drkit.errors import ConfigError, DamagedData, DrkitError
from drkit.events import Emit, Progress
from drkit.repository.backup.pack_sink import PackSink
from drkit.repository.check.values import CheckReport, LostFile
from drkit.repository.forget.tagging import replace_snapshot
from drkit.repository.format.blob import open_blob
from drkit.repository.format.layout import DATA, pack_name
from drkit.repository.format.pack import BlobKind, PackedBlob
from drkit.repository.format.snapshot import REPAIRED
from drkit.repository.format.tree import MOST_LEVELS, Node, too_deep
from drkit.repository.heal.heal import splice_pack
from drkit.repository.heal.rebuild_index import repair_index
from drkit.repository.levels.catch_up import catch_up
from drkit.repository.locks.locks import take_locks
from drkit.repository.repository import ListedSnapshot, Repository
from drkit.repository.trees.rewriting import Rewriter


@dataclass(frozen=True, slots=True)
class Salvage:
    """One pack that is whole in no store: how many of its blobs were saved, and which are lost."""

    pack: str
    saved: int
    lost: tuple[bytes, ...]


def damaged_packs(repository: Repository, report: CheckReport) -> dict[str, list[PackedBlob]]:
    """The packs that `report` found wrong or missing and that no store, nor all together, can
    give whole; with what the indexes say of them.
    """
    names = {f.name for f in report.findings if f.name.startswith(DATA) and f.kind != "unread"}
    wanted = {name.rpartition("/")[2] for name in names}
    found = {}
    for pack, blobs in repository.index.packs():
        if pack in wanted and not _is_whole_somewhere(repository, pack, blobs):
            found[pack] = blobs
    return found


def named_packs(repository: Repository, prefixes: Sequence[str]) -> dict[str, list[PackedBlob]]:
    """The packs whose ids start with one of `prefixes`; ConfigError for one that names none."""
    starts = tuple(prefix.lower() for prefix in prefixes)
    found = {pack: blobs for pack, blobs in repository.index.packs() if pack.startswith(starts)}
    for start in starts:
        if not any(start and pack.startswith(start) for pack in found):
            raise ConfigError(
                f"no index names a pack {start!r}", hint="drkit check --read-data names the damaged"
            )
    return found


def losses(repository: Repository, snapshots: Sequence[ListedSnapshot]) -> tuple[LostFile, ...]:
    """The files and folders of `snapshots` of which something is named by no index any more."""
    found: dict[tuple[str, str], list[str]] = {}
    whole: set[str] = set()
    for listed in snapshots:
        stack = [_Visit(listed.snapshot.tree, "/")]
        while stack:
            folder = stack[-1]
            if folder.left is None:
                folder.left = _nodes_left(repository, folder, listed.id, found)
            node = next(folder.left, None)
            if node is None:
                stack.pop()
                if folder.is_whole:
                    whole.add(folder.tree)
                elif stack:
                    stack[-1].is_whole = False
                continue
            path = posixpath.join(folder.path, os.fsdecode(node.name))
            gone = sum(blob not in repository.index for blob in node.content)
            if gone:
                what = f"{gone} of its {len(node.content)} parts are lost"
                found.setdefault((path, what), []).append(listed.id)
                folder.is_whole = False
            elif node.subtree and node.subtree not in whole:
                if len(stack) >= MOST_LEVELS:
                    raise too_deep(path)
                stack.append(_Visit(node.subtree, path))
    return tuple(LostFile(path, what, tuple(ids)) for (path, what), ids in sorted(found.items()))


@dataclass(slots=True)
class _Visit:
    """A folder that is looked through for losses; None: its list was not read yet."""

    tree: str
    path: str
    left: Iterator[Node] | None = None
    is_whole: bool = True


def _nodes_left(
    repository: Repository,
    folder: _Visit,
    snapshot: str,
    found: dict[tuple[str, str], list[str]],
) -> Iterator[Node]:
    try:
        return iter(repository.load_tree(folder.tree))
    except DamagedData as error:
        found.setdefault((folder.path, error.message), []).append(snapshot)
        folder.is_whole = False
        return iter(())


def repair_packs(
    repository: Repository,
    damaged: Mapping[str, Sequence[PackedBlob]],
    emit: Emit,
    *,
    dry_run: bool = False,
) -> tuple[Salvage, ...]:
    """Saves the sound blobs of `damaged` packs into new ones, in every store that can be locked,
    and makes no index name the old ones any more. The old packs stay until a prune takes them.
    """
    if not damaged:
        return ()
    repository.refuse_format_1()
    results = []
    locks = take_locks(repository, exclusive=True, need_all=False, emit=emit)
    try:
        sink = PackSink(repository, {} if dry_run else locks.listings)
        for done, (pack, blobs) in enumerate(damaged.items()):
            emit(Progress("repair packs", done, len(damaged), "packs", pack[:8]))
            lost = []
            for blob in blobs:
                content = _content(repository, pack, blob)
                if content is None:
                    lost.append(blob.id)
                else:
                    sink.add(blob.kind, blob.id, content)
            results.append(Salvage(pack, len(blobs) - len(lost), tuple(lost)))
        sink.finish()
    finally:
        locks.release(emit)
    if not dry_run:
        repair_index(repository, emit, without=frozenset(damaged))
    return tuple(results)


def repair_snapshots(
    repository: Repository,
    snapshots: Sequence[ListedSnapshot],
    emit: Emit,
    *,
    dry_run: bool = False,
) -> dict[str, str]:
    """New ids of those of `snapshots` that reach what is lost, by their old ids; "" in a dry run.

    A file keeps the parts that are left and is that much shorter; a folder whose list is lost is
    empty. The new snapshot is tagged `repaired`, names the old one as its original, and is in
    every store that listed it. The old one stays: it is for an operator to forget.
    """
    repository.refuse_format_1()
    if dry_run:
        rewritten = _rewrite_all(_rewriter(repository), snapshots, emit)
        return {listed.id: "" for listed, _ in rewritten}
    locks = take_locks(repository, exclusive=True, need_all=False, emit=emit)
    try:
        # level first: what only one store's index names, as after a repair that died, is no tree
        # that the others have (S3)
        levelled = catch_up(repository, locks.listings, emit)
        listings = {store: levelled.listings[store] for store in levelled.stores}
        repository.forget_index()
        listed_now = {snapshot for listing in listings.values() for snapshot in listing.snapshots}
        rewriter = _rewriter(repository, levelled.trusted)
        there = [one for one in snapshots if one.id in listed_now]
        changed = _rewrite_all(rewriter, there, emit)
        sink = PackSink(repository, listings)
        for tree_id, content in rewriter.new_trees.items():
            sink.add(BlobKind.TREE, tree_id, content)
        sink.finish()
        new_ids = {}
        for listed, tree in changed:
            tags = dict.fromkeys((*listed.snapshot.tags, REPAIRED))
            new_ids[listed.id] = replace_snapshot(
                repository, listed, listings, tags=list(tags), tree=tree
            )
        return new_ids
    finally:
        locks.release(emit)
        repository.forget_index()


def _rewriter(repository: Repository, trusted: Collection[str] | None = None) -> Rewriter:
    """Keeps of each file the parts that are left, and makes a folder empty whose list is lost."""

    def change(path: str, node: Node) -> Node:
        places = [repository.index.find(blob) for blob in node.content]
        if all(places):
            return node
        left = [(blob, place) for blob, place in zip(node.content, places, strict=True) if place]
        return replace(
            node,
            content=tuple(blob for blob, _ in left),
            size=sum(place.content_bytes for _, place in left),
        )

    return Rewriter(repository, change, by_path=False, bears_loss=True, trusted=trusted)


def _rewrite_all(
    rewriter: Rewriter, snapshots: Sequence[ListedSnapshot], emit: Emit
) -> list[tuple[ListedSnapshot, str]]:
    """Those of `snapshots` that reach something lost, with their new root trees."""
    changed = []
    for done, listed in enumerate(snapshots):
        emit(Progress("repair snapshots", done, len(snapshots), "snapshots", listed.id[:8]))
        tree = rewriter.rewrite(listed.snapshot.tree)
        if tree != listed.snapshot.tree:
            changed.append((listed, tree))
    return changed


def _is_whole_somewhere(repository: Repository, pack: str, blobs: Sequence[PackedBlob]) -> bool:
    name = pack_name(pack)
    for store in repository.stores:
        try:
            if hashlib.sha256(store.get(name)).hexdigest() == pack:
                return True
        except DrkitError:
            continue
    return splice_pack(repository.key, name, blobs, repository.stores) is not None


def _content(repository: Repository, pack: str, blob: PackedBlob) -> bytes | None:
    """The blob from whichever copy of the pack has it right, or from this machine's own cache."""
    for store in repository.stores:
        try:
            sealed = store.get(pack_name(pack), offset=blob.offset, length=blob.length)
            return open_blob(repository.key, sealed, blob.raw_bytes, blob.id)
        except DrkitError:
            continue
    try:
        return repository.load_blob(blob.id)
    except DamagedData:
        return None

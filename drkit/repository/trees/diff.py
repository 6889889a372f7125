"""What changed between two snapshots: trees that are equal are not read for it."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal

from drkit.repository.format.pack import BlobKind
from drkit.repository.format.tree import MOST_LEVELS, Node, too_deep
from drkit.repository.index.blob_set import BlobSet
from drkit.repository.repository import Repository
from drkit.repository.trees.walk import Entry, entries


@dataclass(frozen=True, slots=True)
class Change:
    """One path and restic's letters for what became of it.

    `+` is new, `-` is gone, `T` is of another kind, `M` has other content (`M?`: though all its
    metadata is the same, as after a flipped bit), `U` has other metadata.
    """

    path: str
    modifier: str


@dataclass(slots=True)
class Side:
    """What one snapshot has and the other has not. `bytes` are those of the blobs' content."""

    files: int = 0
    dirs: int = 0
    others: int = 0
    data_blobs: int = 0
    tree_blobs: int = 0
    bytes: int = 0

    def count(self, node: Node) -> None:
        if node.type == "file":
            self.files += 1
        elif node.type == "dir":
            self.dirs += 1
        else:
            self.others += 1


@dataclass(slots=True)
class DiffTotals:
    changed_files: int = 0
    added: Side = field(default_factory=Side)
    removed: Side = field(default_factory=Side)


class Diff:
    """The changes from tree `left` to tree `right`; `totals` are whole once all were taken."""

    def __init__(
        self, repository: Repository, left: str, right: str, *, metadata: bool = False
    ) -> None:
        self._repository = repository
        self._metadata = metadata
        self._before = BlobSet(repository.index)
        self._after = BlobSet(repository.index)
        self._common = BlobSet(repository.index)
        self._trees = (left, right)
        self.totals = DiffTotals()

    def changes(self) -> Iterator[Change]:
        left, right = self._trees
        self._before.add(bytes.fromhex(left))
        self._after.add(bytes.fromhex(right))
        if left == right:
            self._collect(left)
        else:
            yield from self._compare(left, right)
        self._sum(self._before, self._after, self.totals.removed)
        self._sum(self._after, self._before, self.totals.added)

    def _compare(self, left: str, right: str) -> Iterator[Change]:
        waiting = [("/", self._pairs(left, right))]
        while waiting:
            at, pairs = waiting[-1]
            before, after = next(pairs, (None, None))
            if before is None and after is None:
                waiting.pop()
            elif before is None:
                assert after is not None
                yield from self._one_sided(at, after, "+")
            elif after is None:
                yield from self._one_sided(at, before, "-")
            else:
                path = _path(at, after)
                if modifier := self._both(before, after):
                    yield Change(path, modifier)
                if before.type == after.type == "dir" and before.subtree and after.subtree:
                    if before.subtree == after.subtree:
                        self._collect(before.subtree)
                    elif len(waiting) >= MOST_LEVELS:
                        raise too_deep(path)
                    else:
                        waiting.append((path, self._pairs(before.subtree, after.subtree)))

    def _pairs(self, left: str, right: str) -> Iterator[tuple[Node | None, Node | None]]:
        return _pairs(self._repository.load_tree(left), self._repository.load_tree(right))

    def _both(self, before: Node, after: Node) -> str:
        """restic's letters for what is at one place in both; its blobs are noted."""
        _add(self._before, before)
        _add(self._after, after)
        return self._modifier(before, after)

    def _modifier(self, before: Node, after: Node) -> str:
        modifier = "T" if before.type != after.type else ""
        if before.type == after.type == "file" and before.content != after.content:
            self.totals.changed_files += 1
            same = replace(before, content=()) == replace(after, content=())
            return modifier + ("M?" if same else "M")
        if self._metadata and replace(before, subtree=None) != replace(after, subtree=None):
            return modifier + "U"
        return modifier

    def _one_sided(self, at: str, node: Node, sign: Literal["+", "-"]) -> Iterator[Change]:
        side = self.totals.added if sign == "+" else self.totals.removed
        blobs = self._after if sign == "+" else self._before
        path = posixpath.join(at, os.fsdecode(node.name))
        below = entries(self._repository, node.subtree, path) if node.subtree else ()
        for entry in chain([Entry(path, node)], below):
            side.count(entry.node)
            _add(blobs, entry.node)
            yield Change(entry.path + ("/" if entry.node.type == "dir" else ""), sign)

    def _collect(self, tree_id: str) -> None:
        """What lies in both needs no line, but its blobs are neither added nor removed."""
        if not self._common.add(bytes.fromhex(tree_id)):
            return

        def first_time(entry: Entry) -> bool:
            return self._common.add(bytes.fromhex(entry.node.subtree or ""))

        for entry in entries(self._repository, tree_id, enter=first_time):
            for blob in entry.node.content:
                self._common.add(blob)

    def _sum(self, blobs: BlobSet, other: BlobSet, side: Side) -> None:
        for blob_id, place in blobs.known():
            if blob_id in other or blob_id in self._common:
                continue
            if place.kind is BlobKind.TREE:
                side.tree_blobs += 1
            else:
                side.data_blobs += 1
            side.bytes += place.content_bytes


def _pairs(
    left: Iterable[Node], right: Iterable[Node]
) -> Iterator[tuple[Node | None, Node | None]]:
    """Nodes of both folders by name, in the order of their bytes."""
    before = {node.name: node for node in left}
    after = {node.name: node for node in right}
    for name in sorted(before.keys() | after.keys()):
        yield before.get(name), after.get(name)


def _path(at: str, node: Node) -> str:
    path = posixpath.join(at, os.fsdecode(node.name))
    return path + "/" if node.type == "dir" else path


def _add(blobs: BlobSet, node: Node) -> None:
    for blob in node.content:
        blobs.add(blob)
    if node.subtree:
        blobs.add(bytes.fromhex(node.subtree))

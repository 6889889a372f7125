"""Trees written anew with some entries changed or left out; what is equal keeps its tree.

No call goes deeper with the tree: it may have as many levels as a system's paths.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace

from drkit.errors import DamagedData
from drkit.repository.format.tree import MOST_LEVELS, Node, encode_tree, too_deep
from drkit.repository.repository import Repository

Change = Callable[[str, Node], Node | None]
"""What becomes of the entry at a path; None: it is left out. A folder is entered afterwards."""


@dataclass(slots=True)
class _Open:
    """A folder on its way: `left` are the entries that were not looked at, `new` the others."""

    path: str
    tree: str
    before: tuple[Node, ...]
    left: Iterator[Node]
    new: list[Node] = field(default_factory=list)
    entered: Node | None = None


class Rewriter:
    """Rewrites trees by one `change`. `new_trees` are those that the repository lacks yet.

    `by_path`: the change depends on where an entry lies, so that a tree is rewritten once for each
    place; else once. `enter`: folders that it refuses stay as they are. `bears_loss`: a folder
    whose list is lost becomes an empty one; else `DamagedData` is raised. `trusted`: the packs that
    count as held (S4); default: all that an index names.
    """

    def __init__(
        self,
        repository: Repository,
        change: Change,
        *,
        by_path: bool,
        enter: Callable[[str], bool] = lambda path: True,
        bears_loss: bool = False,
        trusted: Collection[str] | None = None,
    ) -> None:
        self._repository = repository
        self._change = change
        self._by_path = by_path
        self._enter = enter
        self._bears_loss = bears_loss
        self._trusted = trusted
        self._done: dict[tuple[str, str], str] = {}
        self.new_trees: dict[bytes, bytes] = {}

    def rewrite(self, tree: str, at: str = "/") -> str:
        """The id of the tree after the change; the same one when nothing in it changes."""
        if (known := self._known(tree, at)) is not None:
            return known
        stack = [self._open(tree, at)]
        while True:
            folder = stack[-1]
            node = next(folder.left, None)
            if node is not None:
                below = self._step(folder, node)
                if below is not None:
                    if len(stack) >= MOST_LEVELS:
                        raise too_deep(below.path)
                    stack.append(below)
                continue
            stack.pop()
            done = folder.tree if tuple(folder.new) == folder.before else self._keep(folder.new)
            self._done[folder.tree, folder.path if self._by_path else ""] = done
            if not stack:
                return done
            holder = stack[-1]
            assert holder.entered is not None
            holder.new.append(_with_tree(holder.entered, done))

    def _step(self, folder: _Open, node: Node) -> _Open | None:
        """Takes one entry into `folder.new`, or returns the folder that must be done before."""
        path = posixpath.join(folder.path, os.fsdecode(node.name))
        changed = self._change(path, node)
        if changed is None:
            return None
        if changed.type != "dir" or not self._enter(path):
            folder.new.append(changed)
        elif changed.subtree is None:
            folder.new.append(replace(changed, subtree=self._keep([])))
        elif (known := self._known(changed.subtree, path)) is not None:
            folder.new.append(_with_tree(changed, known))
        else:
            folder.entered = changed
            return self._open(changed.subtree, path)
        return None

    def _known(self, tree: str, path: str) -> str | None:
        return self._done.get((tree, path if self._by_path else ""))

    def _open(self, tree: str, path: str) -> _Open:
        try:
            nodes = self._repository.load_tree(tree)
        except DamagedData:
            if not self._bears_loss:
                raise
            nodes = ()
            # what is lost is never what an empty folder would be: it is written as one
            return _Open(path, tree, (_LOST,), iter(nodes))
        return _Open(path, tree, nodes, iter(nodes))

    def _keep(self, nodes: list[Node]) -> str:
        content = encode_tree(nodes)
        tree = hashlib.sha256(content).digest()
        if not self._holds(tree):
            self.new_trees[tree] = content
        return tree.hex()

    def _holds(self, tree: bytes) -> bool:
        index = self._repository.index
        if self._trusted is None:
            return tree in index
        return any(place.pack_id in self._trusted for place in index.find_all(tree))


_LOST = Node(b"", "irregular", 0, 0)


def _with_tree(node: Node, tree: str) -> Node:
    return node if node.subtree == tree else replace(node, subtree=tree)

"""Which blobs snapshots reach: trees and file contents, each tree read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from drkit.repository.format.tree import Node

LoadTree = Callable[[str], tuple[Node, ...]]


def reachable(
    trees: Iterable[str], load_tree: LoadTree, known: set[bytes] | None = None
) -> set[bytes]:
    """Ids of all blobs below `trees`, and of the trees. `known` ones are not walked again, and
    are in the answer. Raises `DamagedData` for a tree that no store can give.
    """
    found = known if known is not None else set()
    waiting = [bytes.fromhex(tree) for tree in trees]
    while waiting:
        tree = waiting.pop()
        if tree in found:
            continue
        for node in load_tree(tree.hex()):
            if node.type == "dir" and node.subtree:
                waiting.append(bytes.fromhex(node.subtree))
            elif node.type == "file":
                found.update(node.content)
        found.add(tree)
    return found

"""What snapshots reach, as numbers: each tree is decoded once, names are read for losses only.

A tree's children are rows of the index in one flat array, so a million files take a few megabytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from drkit.errors import DamagedData
from drkit.repository.check.values import LostFile
from drkit.repository.format.tree import decode_tree
from drkit.repository.index.arrays import np
from drkit.repository.index.blobs import Index
from drkit.repository.index.columns import IS_TREE, Columns
from drkit.repository.repository import ListedSnapshot, Repository
from drkit.repository.trees.walk import Entry, entries

_UNKNOWN = -1
_LOST_FOLDER = "the folder's own list is in no store, and with it all below it"


class Forest:
    """Every tree of the repository that could be read, with the blobs it names.

    `problems` are trees that are no trees, though their bytes are right, by row.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._spans: dict[int, tuple[int, int]] = {}
        self._children = array("q")
        self.problems: dict[int, str] = {}

    def add(self, tree_id: bytes, content: bytes) -> None:
        """Takes one tree's plaintext, which has the right hash."""
        row = self._index.row(tree_id)
        if row is None or row in self._spans:
            return
        try:
            nodes = decode_tree(content)
        except DamagedData as error:
            self.problems[row] = error.message
            return
        ids = bytearray()
        for node in nodes:
            ids += b"".join(node.content)
            if node.type == "dir":
                if node.subtree is None:
                    name = node.name.decode("utf-8", "backslashreplace")
                    self.problems[row] = f"the folder {name!r} in it has no tree"
                    continue
                ids += bytes.fromhex(node.subtree)
        start = len(self._children)
        self._children.extend(self._index.find_many(bytes(ids)).rows.tolist())
        self._spans[row] = (start, len(self._children))

    def lacks_tree_of(self, rows: Columns) -> bool:
        """Whether some tree in these rows of the index was not read yet."""
        part = self._index.parts()
        trees = rows[part.places[rows, IS_TREE] > 0]
        firsts = self._index.find_many(part.ids[trees].tobytes()).rows
        return any(row not in self._spans for row in firsts.tolist())

    def children(self, row: int) -> array[int]:
        start, end = self._spans[row]
        return self._children[start:end]

    def reach(self, trees: Iterable[str]) -> tuple[Columns, int]:
        """A flag for each row of the index that the root `trees` reach, and how many blobs below
        them are in no index. Trees that could not be read are reached; what is below them is not.
        """
        flags = np.zeros(self._index.rows, np.bool_)
        unknown = 0
        waiting = []
        for tree in set(trees):
            row = self._index.row(bytes.fromhex(tree))
            if row is None:
                unknown += 1
            elif not flags[row]:
                flags[row] = True
                waiting.append(row)
        edges = np.frombuffer(self._children, np.int64) if self._children else np.zeros(0, np.int64)
        while waiting:
            row = waiting.pop()
            if row not in self._spans:
                continue
            start, end = self._spans[row]
            below = edges[start:end]
            unknown += int((below == _UNKNOWN).sum())
            below = below[below != _UNKNOWN]
            new = np.unique(below[~flags[below]])
            flags[new] = True
            waiting += [child for child in new.tolist() if child in self._spans]
        return flags, unknown

    def tainted(self, lost: Columns) -> Columns:
        """A flag for each tree that is lost, or has something lost or unknown below it."""
        flags = np.zeros(self._index.rows, np.bool_)
        state: dict[int, bool] = {}
        for start in self._spans:
            stack = [start]
            while stack:
                row = stack[-1]
                if row in state:
                    stack.pop()
                    continue
                open_ = [
                    child
                    for child in self.children(row)
                    if child != _UNKNOWN and child in self._spans and child not in state
                ]
                if open_:
                    stack += open_
                    continue
                state[row] = any(
                    child == _UNKNOWN or bool(lost[child]) or state.get(child, False)
                    for child in self.children(row)
                )
                stack.pop()
        for row, is_tainted in state.items():
            flags[row] = is_tainted or bool(lost[row])
        flags |= lost
        return flags


def same_blob_groups(index: Index) -> Columns:
    """For each row the number of its blob: rows of one blob, which may lie twice, follow each
    other in the index.
    """
    ids = index.parts().ids
    if not len(ids):
        return np.zeros(0, np.int64)
    new = np.ones(len(ids), np.bool_)
    new[1:] = (ids[1:] != ids[:-1]).any(axis=1)
    return np.cumsum(new) - 1


def any_copy(groups: Columns, good: Columns) -> Columns:
    """For each row whether any row of the same blob is `good`."""
    if not len(groups):
        return good
    per_blob = np.zeros(int(groups[-1]) + 1, np.bool_)
    per_blob[groups[good]] = True
    found: Columns = per_blob[groups]
    return found


def lost_files(
    repository: Repository,
    index: Index,
    forest: Forest,
    snapshots: Sequence[ListedSnapshot],
    lost: Columns,
) -> tuple[LostFile, ...]:
    """Exactly the files that no store can give whole, and the snapshots that hold them.

    Only trees on the way to a loss are read again, for their names. A folder whose own tree is
    lost stands for all that was below it.
    """
    tainted = forest.tainted(lost)
    by_root: dict[str, list[str]] = {}
    for listed in snapshots:
        by_root.setdefault(listed.snapshot.tree, []).append(listed.id)
    found: dict[tuple[str, str], list[str]] = {}

    def is_lost(blob: bytes) -> bool:
        row = index.row(blob)
        return row is None or bool(lost[row])

    def lost_tree(tree: str) -> bool:
        return is_lost(bytes.fromhex(tree))

    def on_the_way(entry: Entry) -> bool:
        tree = entry.node.subtree or ""
        return not lost_tree(tree) and bool(tainted[index.row(bytes.fromhex(tree)) or 0])

    def note(path: str, what: str, ids: list[str]) -> None:
        found.setdefault((path, what), []).extend(ids)

    for root, ids in by_root.items():
        if lost_tree(root):
            note("/", _LOST_FOLDER, ids)
            continue
        if not tainted[index.row(bytes.fromhex(root)) or 0]:
            continue
        for entry in entries(repository, root, enter=on_the_way):
            node = entry.node
            if gone := sum(map(is_lost, node.content)):
                note(entry.path, f"{gone} of its {len(node.content)} parts are in no store", ids)
            elif node.type == "dir" and (node.subtree is None or lost_tree(node.subtree)):
                note(entry.path, _LOST_FOLDER, ids)
    return tuple(
        LostFile(path, what, tuple(dict.fromkeys(of))) for (path, what), of in sorted(found.items())
    )

"""Looks at a tree before the stores are locked: each lock is given a moment to show others, in
which names and metadata of thousands of files are compared with what this machine kept of the last
point.

Nothing is written or decided here. A scan takes what was seen where it compares with the same
former tree; what turns out to have been compared with another one is looked at again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from drkit.repository.backup.look import Compare, Looked, Looker
from drkit.repository.format.metadata import Entry
from drkit.repository.repository import Repository
from drkit.sources.interface import Excludes

_MOST_FILES = 50_000  # some 2 KB each


@dataclass(eq=False, slots=True)
class Ahead:
    """Folders by their path and the id of the former tree that they were compared with."""

    excludes: Excludes
    compare: Compare
    folders: dict[tuple[bytes, str], Looked] = field(default_factory=dict)

    def fits(self, excludes: Excludes, compare: Compare) -> bool:
        """Whether it was looked for the same."""
        return (self.excludes, self.compare) == (excludes, compare)


class _NotKept(Exception):
    """A former tree would have to be asked of a store."""


def look_ahead(
    repository: Repository,
    root: Path,
    *,
    excludes: Excludes,
    compare: Compare,
    former: str,
    go_on: Callable[[], bool],
) -> Ahead:
    """What is seen of `root`, in the order of a scan, as long as `go_on` says so.

    `former` is the tree of an earlier scan, as the repository `expected` it. Raises nothing: what
    cannot be looked at is the scan's to tell.
    """

    def load(blob_id: bytes) -> bytes:
        content = repository.kept_blob(blob_id)
        if content is None:
            raise _NotKept
        return content

    ahead = Ahead(excludes, compare)
    try:
        resolved = os.fsencode(root.resolve(strict=True))
        shown = excludes.shown or os.path.abspath(root)  # noqa: PTH100  (links are not followed)
        known = repository.resting.load(resolved) if repository.resting else None
        looker = Looker(resolved, excludes, shown, load_blob=load, compare=compare, resting=known)
        top: Entry = {"type": "dir", "subtree": former}
        left = [(resolved, looker.status, looker.rules, top)]
        files = 0
        while left and files < _MOST_FILES and go_on():
            path, status, rules, entry = left.pop()
            looked = looker.look(path, status, rules, entry)
            if not looked.former:
                continue
            ahead.folders[path, entry["subtree"]] = looked
            files += len(looked.same) + len(looked.unknown) + len(looked.folders)
            left += [
                (path + b"/" + name, about, looked.rules, earlier)
                for name, about, earlier in looked.folders
                if earlier is not None
            ]
    except (_NotKept, OSError, ValueError):
        pass
    return ahead

"""The erasure ledger: paths that are gone for good, by keyed hash, in every store (K6).

It lies in the deletion records. A point that was cut before a path was erased may still hold it,
in a store that retains objects or was away: so every restore asks here, and leaves such paths out.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import posixpath
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from drkit.errors import DamagedData, DrkitError
from drkit.events import Note
from drkit.io_policy import READS
from drkit.repository.layout import SNAPSHOTS
from drkit.repository.listing import list_deletions
from drkit.repository.reading import ask_each
from drkit.repository.restore_walk import Wanted
from drkit.repository.rewriting import Change, Rewriter
from drkit.repository.sealing import MasterKey
from drkit.repository.snapshot import Snapshot, read_snapshot
from drkit.repository.tombstones import Tombstones, read_tombstones
from drkit.repository.tree import Node

if TYPE_CHECKING:
    from drkit.repository.repository import Repository
    from drkit.repository.restore import RestoreOptions


class PathHasher:
    """Hashes of paths that say nothing to who has not the repository's key."""

    def __init__(self, key: MasterKey) -> None:
        self._secret = key.derive("erasure ledger")

    def __call__(self, path: str) -> str:
        """The hash of an absolute path in a snapshot ("/sncp/users/42"), in hex."""
        return hmac.digest(self._secret, os.fsencode(path), hashlib.sha256).hex()


def erased_before(tombstones: Tombstones, time: datetime) -> frozenset[str]:
    """The hashes of paths that a snapshot of `time` must not show any more."""
    return frozenset(path for path, at in tombstones.erased_paths.items() if time <= at)


def known_tombstones(repository: Repository) -> Tombstones:
    """All deletions that any store which answers knows of; one request or two for each."""

    patience_s = READS.restore_patience_s
    answers = ask_each(repository.stores, list_deletions, patience_s=patience_s)
    listed = {s: found for s, found in answers.items() if not isinstance(found, DrkitError)}
    found = read_tombstones(repository.key, listed, repository.emit)
    if found.unreadable:
        text = "a deletion record is damaged: what was erased may come back"
        repository.emit(Note("error", "erasures", text))
    return found


@dataclass(frozen=True, slots=True)
class ErasedPaths:
    """A matcher of erased paths, asked from the top down. What is asked for lies below `shown`,
    which is `place` in the snapshot. `everything`: the place itself was erased.
    """

    hasher: PathHasher
    erased: Set[str]
    place: str
    shown: str = "/"
    everything: bool = False

    def match(self, path: str) -> bool:
        if self.everything:
            return True
        below = posixpath.relpath(path, self.shown)
        return self.hasher(posixpath.normpath(posixpath.join(self.place, below))) in self.erased


def without_erased(
    repository: Repository, snapshot: Snapshot, place: str, wanted: Wanted
) -> Wanted:
    """`wanted` of the folder at `place` in the snapshot, less what was erased since it was cut."""
    erased = erased_before(known_tombstones(repository), snapshot.time)
    if not erased:
        return wanted
    hasher = PathHasher(repository.key)
    inside = any(hasher(path) in erased for path in _with_parents(place))
    matcher = ErasedPaths(hasher, erased, place, wanted.at, everything=inside)
    return replace(wanted, exclude=(*wanted.exclude, matcher))


def lawful(
    repository: Repository, snapshot: Snapshot, place: str, options: RestoreOptions | None = None
) -> RestoreOptions:
    """`options` (default: everything) for a restore of the folder at `place`, less what was erased
    since the snapshot was cut. Every restore goes through here.
    """
    from drkit.repository.restore import RestoreOptions

    asked = options or RestoreOptions(wanted=Wanted(place))
    return replace(asked, wanted=without_erased(repository, snapshot, place, asked.wanted))


def erased_in(repository: Repository, snapshot: Snapshot, place: str) -> Callable[[str], bool]:
    """Whether a path below the folder at `place` was erased since the snapshot was cut; to be asked
    from the top down.
    """
    matchers = without_erased(repository, snapshot, place, Wanted("/")).exclude
    return lambda path: any(matcher.match(path) for matcher in matchers)


def _with_parents(path: str) -> Iterable[str]:
    while path not in ("", "/"):
        yield path
        path = posixpath.dirname(path)


def holding_erased(
    repository: Repository,
    snapshots: Iterable[str],
    tombstones: Tombstones,
    key: MasterKey | None = None,
) -> frozenset[str]:
    """Those of `snapshots` that still hold a path which was erased after they were cut (S5). `key`:
    of the repository whose `tombstones` these are, where it is another one.
    """
    if not tombstones.erased_paths:
        return frozenset()
    hasher = PathHasher(key or repository.key)
    rewriters: dict[frozenset[str], Rewriter] = {}
    found = set()
    for snapshot_id in snapshots:
        try:
            snapshot = read_snapshot(repository.load_unpacked(SNAPSHOTS + snapshot_id))
            erased = erased_before(tombstones, snapshot.time)
            if not erased:
                continue
            if erased not in rewriters:
                rewriters[erased] = Rewriter(repository, less(hasher, erased), by_path=True)
            if rewriters[erased].rewrite(snapshot.tree) != snapshot.tree:
                found.add(snapshot_id)
        except DamagedData:
            continue  # whoever copies it finds that out
    return frozenset(found)


def less(hasher: PathHasher, erased: Set[str]) -> Change:
    """Leaves out what was erased."""

    def change(path: str, node: Node) -> Node | None:
        return None if hasher(path) in erased else node

    return change

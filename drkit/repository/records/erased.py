"""The erasure ledger: paths that are gone for good, by keyed hash, in every store (K6).

It lies in the deletion records. A point that was cut before a path was erased may still hold it,
in a store that retains objects or was away: so every restore asks here (restore/lawful.py).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Set
from datetime import datetime
from typing import TYPE_CHECKING

from drkit.errors import DamagedData, DrkitError
from drkit.events import Note
from drkit.io_policy import READS
from drkit.repository.copies.listing import list_deletions
from drkit.repository.copies.reading import ask_each
from drkit.repository.format.layout import SNAPSHOTS
from drkit.repository.format.sealing import MasterKey
from drkit.repository.format.snapshot import read_snapshot
from drkit.repository.format.tree import Node
from drkit.repository.records.tombstones import Tombstones, read_tombstones
from drkit.repository.trees.rewriting import Change, Rewriter

if TYPE_CHECKING:
    from drkit.repository.repository import Repository


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

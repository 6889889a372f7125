"""What a restore leaves out: paths that were erased since the snapshot was cut (K6)."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, replace

from drkit.repository.format.snapshot import Snapshot
from drkit.repository.records.erased import PathHasher, erased_before, known_tombstones
from drkit.repository.repository import Repository
from drkit.repository.restore.restore import RestoreOptions
from drkit.repository.restore.walk import Wanted


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

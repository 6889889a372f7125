"""Other tags for snapshots. A snapshot is never changed: it is written anew and the old one goes.

The new one is in every store that held the old one before the deletion of that is recorded; a run
that dies in between leaves both, and the next run with the same words finishes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drkit.errors import ConfigError, DamagedData, DrkitError, GuardRefused, PlaceError
from drkit.events import Emit
from drkit.repository.copies.listing import Listing
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.format.layout import SNAPSHOTS
from drkit.repository.format.snapshot import read_snapshot, rewritten
from drkit.repository.locks.locks import take_locks
from drkit.repository.repository import ListedSnapshot, Repository
from drkit.stores.interface import Store


@dataclass(frozen=True, slots=True)
class TagChange:
    """What becomes of a snapshot's tags: `replace` sets them, else some are added and removed."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    replace: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.replace is not None and (self.add or self.remove):
            raise ConfigError("--set leaves nothing to add or remove", hint="give one or the other")
        if self.replace is None and not (self.add or self.remove):
            raise ConfigError("no tags were given", hint="give --set, --add or --remove")

    def apply(self, tags: Sequence[str]) -> tuple[str, ...]:
        """The tags after the change, each once, in their order."""
        if self.replace is not None:
            return tuple(dict.fromkeys(self.replace))
        kept = [tag for tag in dict.fromkeys((*tags, *self.add)) if tag not in self.remove]
        return tuple(kept)


@dataclass(frozen=True, slots=True)
class Retagged:
    """One snapshot under its new id, with its new tags."""

    old_id: str
    new_id: str
    tags: tuple[str, ...]


def plan_tags(
    snapshots: Sequence[ListedSnapshot], change: TagChange
) -> list[tuple[ListedSnapshot, tuple[str, ...]]]:
    """Those whose tags the change makes other ones, with these."""
    planned = [(listed, change.apply(listed.snapshot.tags)) for listed in snapshots]
    return [(listed, tags) for listed, tags in planned if tags != listed.snapshot.tags]


def retag(
    repository: Repository, snapshots: Sequence[ListedSnapshot], change: TagChange, emit: Emit
) -> tuple[Retagged, ...]:
    """Gives `snapshots` their new tags, in all stores; those that would stay as they are, stay.

    Raises `PlaceError` when a store does not take a new one: then no old one was removed. A store
    that is away or locked gets new and deletion when it catches up.
    """
    planned = plan_tags(snapshots, change)
    if not planned:
        return ()
    locks = take_locks(repository, exclusive=True, need_all=False, emit=emit)
    try:
        done = [
            replace_snapshot(repository, listed, locks.listings, tags=tags)
            for listed, tags in planned
        ]
        if lost := locks.lost():
            name, why = next((store.name, why) for store, why in lost.items())
            raise GuardRefused(f"{name}: {why}", hint="run it again; nothing was removed")
    finally:
        locks.release(emit)
    forget_snapshots(repository, {listed.id: None for listed, _ in planned}, emit)
    return tuple(
        Retagged(listed.id, new_id, tags)
        for (listed, tags), new_id in zip(planned, done, strict=True)
    )


def replace_snapshot(
    repository: Repository,
    listed: ListedSnapshot,
    listings: Mapping[Store, Listing],
    *,
    tags: Sequence[str] | None = None,
    tree: str | None = None,
) -> str:
    """Writes `listed` with other tags or another tree to every store that lists it; the new id.

    One that an earlier run had written already is taken instead of a second one.
    """
    content = rewritten(
        repository.load_unpacked(SNAPSHOTS + listed.id), listed.id, tags=tags, tree=tree
    )
    sealed = _written_before(repository, content) or repository.key.seal(content)
    new_id = hashlib.sha256(sealed).hexdigest()
    problems = []
    for store, listing in listings.items():
        if listed.id not in listing.snapshots or new_id in listing.snapshots:
            continue
        try:
            store.put(SNAPSHOTS + new_id, sealed, size_bytes=len(sealed))
            listing.snapshots[new_id] = len(sealed)
        except DrkitError as error:
            problems.append(f"{store.name}: {error.message}")
    if problems:
        raise PlaceError(
            f"snapshot {listed.id[:8]} could not be written anew ({'; '.join(problems)})",
            hint="mend the store and run it again; the old one is there as before",
        )
    return new_id


def _written_before(repository: Repository, content: bytes) -> bytes | None:
    wanted = read_snapshot(content)
    for other in repository.snapshots():
        if other.snapshot != wanted:
            continue
        for store in repository.stores:
            try:
                sealed = store.get(SNAPSHOTS + other.id)
            except (DamagedData, DrkitError):
                continue
            if hashlib.sha256(sealed).hexdigest() == other.id:
                return sealed
    return None

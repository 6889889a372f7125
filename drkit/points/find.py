"""Finding points in a repository, and choosing the one to restore."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from drkit.errors import ConfigError, DrkitError, GuardRefused, NoRepository
from drkit.events import Note
from drkit.points.point import POINT_FILE, Point, read_point
from drkit.repository.backup.archive import OWN_FOLDER
from drkit.repository.format.snapshot import REPAIRED
from drkit.repository.repository import ListedSnapshot, Repository

if TYPE_CHECKING:
    from drkit.coordination.interface import RoleRecord

TAG = "drkit"
CLOCKS_DIFFER = timedelta(minutes=5)
"""A point that is later than that is to come: some clock is, or was, wrong (T1)."""
_LOOKED_BACK = 32


@dataclass(frozen=True, slots=True)
class FoundPoint:
    """A point and where its snapshot is listed."""

    listed: ListedSnapshot
    point: Point

    @property
    def id(self) -> str:
        return self.listed.id


def list_points(repository: Repository) -> list[FoundPoint]:
    """All points, oldest first. Snapshots that are none of drkit's are left out."""
    found = (_read(repository, listed) for listed in repository.snapshots())
    return [point for point in found if point is not None]


def newest_point(
    repository: Repository, now: datetime | None = None, role: RoleRecord | None = None
) -> FoundPoint | None:
    """The last of `list_points`, without reading the others. With `now` and `role` the last one
    that is not to come, and that may be restored (S14), where there is one.
    """
    last = None
    for listed in reversed(repository.snapshots()):
        if (found := _read(repository, listed)) is not None:
            if not (now and is_to_come(found, now)) and choosable(found, role):
                return found
            last = last or found
    return last


def is_to_come(found: FoundPoint, now: datetime) -> bool:
    return found.point.created_at > now + CLOCKS_DIFFER


def newest_cuts(
    repository: Repository,
    names: Collection[str],
    newest: FoundPoint,
    now: datetime,
    role: RoleRecord | None = None,
) -> dict[str, FoundPoint]:
    """For each source the point with its newest cut: that is not always the `newest` point, because
    one that was written beside it cut the source meanwhile. Those that the newest does not hold are
    left out, as are points of other epochs, and what may not be restored (S14); no more than the
    last few are read.
    """
    best = {name: newest for name in names if name in newest.point.sources}
    for listed in list(reversed(repository.snapshots()))[:_LOOKED_BACK]:
        oldest = min((found.point.sources[n].cut_at for n, found in best.items()), default=None)
        if oldest is None or listed.snapshot.time <= oldest:
            break
        found = newest if listed.id == newest.id else _read(repository, listed)
        if found is None or is_to_come(found, now) or not choosable(found, role):
            continue
        if found.point.epoch != newest.point.epoch:
            continue
        for name in best:
            part, known = found.point.sources.get(name), best[name].point.sources[name]
            if part is not None and part.cut_at > known.cut_at:
                best[name] = found
    return best


def _read(repository: Repository, listed: ListedSnapshot) -> FoundPoint | None:
    """The point that the snapshot is, if it is one; one that cannot be read is told."""
    if TAG not in listed.snapshot.tags:
        return None
    try:
        content = repository.read_file(listed.snapshot, f"/{OWN_FOLDER}/{POINT_FILE}")
        point = read_point(content)
    except DrkitError as error:
        repository.emit(Note("error", f"point {listed.id[:8]}", error.message))
        return None
    if REPAIRED in listed.snapshot.tags:  # something was lost and left out
        point = point.model_copy(update={"complete": False})
    return FoundPoint(listed, point)


def choosable(found: FoundPoint, role: RoleRecord | None) -> bool:
    """Whether the point may be restored: not written by an older epoch after it was over (S14)."""
    if role is None or found.point.epoch >= role.epoch:
        return True
    # with other tags it is the same point under another id
    return not {found.id, found.listed.snapshot.original}.isdisjoint(role.snapshots)


def listed_ids(repository: Repository) -> tuple[str, ...]:
    """What a role record notes of the snapshots of epochs that are over: their ids, and those that
    they had before their tags were changed (S14).
    """
    snapshots = repository.snapshots()
    originals = [one.snapshot.original for one in snapshots if one.snapshot.original]
    return tuple(dict.fromkeys([*(one.id for one in snapshots), *originals]))


def choose_point(
    points: Sequence[FoundPoint], selector: str = "latest", *, role: RoleRecord | None = None
) -> FoundPoint:
    """The newest complete point, or the one whose id starts with `selector`.

    Raises `NoRepository` when there is none, `ConfigError` when `selector` names none or several,
    and `GuardRefused` when it names one that S14 forbids.
    """
    allowed = [found for found in points if choosable(found, role)]
    if selector == "latest":
        whole = [found for found in allowed if found.point.complete]
        if not whole:
            raise NoRepository(
                f"no complete point among {len(points)}", hint="make one: drkit backup"
            )
        return max(whole, key=lambda found: (found.point.created_at, found.listed.order))
    matching = [found for found in allowed if found.id.startswith(selector)]
    if not matching and role is not None:
        for found in points:
            if found.id.startswith(selector):
                raise GuardRefused(
                    f"point {found.id[:8]} was written in epoch {found.point.epoch}, after "
                    f"{role.site} had begun to serve in epoch {role.epoch}",
                    hint="it holds what the fenced side wrote alone; drkit points lists the others",
                )
    if len(matching) != 1:
        raise ConfigError(
            f"{selector!r} names {len(matching)} points", hint="drkit points lists their ids"
        )
    return matching[0]

"""Are we safe? How much would be lost now, and how old is the last proof, read from the stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from drkit.errors import DrkitError
from drkit.points.find import FoundPoint
from drkit.points.point import age_s
from drkit.repository.backup.anomaly import unacknowledged
from drkit.repository.format.sealing import MasterKey
from drkit.repository.repository import Repository
from drkit.stores.interface import Store


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Seconds of a source that would be lost if only this store were left; None: all of it."""

    source: str
    store: str
    lost_s: float | None
    limit_s: float | None

    @property
    def broken(self) -> bool:
        return self.limit_s is not None and (self.lost_s is None or self.lost_s > self.limit_s)


@dataclass(frozen=True, slots=True)
class Status:
    """`proof_age_s`: since a point was last proved by a drill; None: never. `unacknowledged`: ids
    of points that look like an accident, at which no operator has looked yet.
    """

    sources: tuple[SourceStatus, ...]
    points: int
    newest_point: str | None
    proof_age_s: Mapping[str, float | None]
    unreachable: Mapping[str, str]
    unacknowledged: tuple[str, ...] = ()

    @property
    def rpo_broken(self) -> tuple[str, ...]:
        """The sources that are, in every store, older than their limit."""
        best: dict[str, bool] = {}
        for status in self.sources:
            best[status.source] = best.get(status.source, True) and status.broken
        return tuple(name for name, broken in best.items() if broken)


def status_of(
    repository: Repository,
    points: Sequence[FoundPoint],
    limits_s: Mapping[str, float | None],
    now: datetime,
    *,
    mirrors: Mapping[str, Collection[str]] | None = None,
) -> Status:
    """How safe each source is in each store, from what the stores list.

    `mirrors`: the stores that are to hold a weights source; the others say nothing of it.
    """
    meant = mirrors or {}
    rows = []
    for store in repository.stores:
        listed = [p for p in points if store.name in p.listed.stores and p.point.complete]
        newest = max(listed, key=lambda found: found.point.created_at, default=None)
        for source, limit_s in limits_s.items():
            if store.name not in meant.get(source, (store.name,)):
                continue
            lost = age_s(newest.point, source, now) if newest else None
            part = newest.point.weights.get(source) if newest else None
            if part is not None and store.name in part.stores:
                lost = (now - part.cut_at).total_seconds()
            rows.append(SourceStatus(source, store.name, lost, limit_s))
    for name in repository.unreachable:
        rows += [
            SourceStatus(source, name, None, limit)
            for source, limit in limits_s.items()
            if name in meant.get(source, (name,))
        ]
    return Status(
        tuple(rows),
        len(points),
        points[-1].id if points else None,
        {store.name: _proof_age_s(store, repository.key, now) for store in repository.stores},
        repository.unreachable,
        tuple(held.id for held in unacknowledged(repository, [p.listed for p in points])),
    )


def proof_name(run_id: str) -> str:
    return f"runs/{run_id}/proof"


def proof_content(run_id: str, point_id: str, *, at: datetime) -> bytes:
    """What a proof says, before it is sealed."""
    return orjson.dumps({"run": run_id, "point": point_id, "at": at.isoformat()})


def _proof_age_s(store: Store, key: MasterKey, now: datetime) -> float | None:
    ages = []
    try:
        for info in store.list("runs/"):
            if info.name.endswith("/proof"):
                proof = orjson.loads(key.open(store.get(info.name)))
                ages.append((now - datetime.fromisoformat(proof["at"])).total_seconds())
    except (DrkitError, ValueError, KeyError):
        return min(ages, default=None)
    return min(ages, default=None)

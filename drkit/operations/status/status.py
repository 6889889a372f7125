"""Are we safe? How much would be lost now, and how old is the last proof, read from the stores."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from drkit.errors import DrkitError
from drkit.events import Note
from drkit.points.find import CLOCKS_DIFFER, FoundPoint, is_to_come
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
class Proof:
    """What a run that succeeded left in a store. `service`: whose point it proved."""

    run_id: str
    service: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """`proof_age_s`: since a point was last proved by a drill; None: never. `unacknowledged`: ids
    of points that look like an accident, at which no operator has looked yet. `proofs`: of all
    stores, by run. `first_point_at`: when the oldest point that is kept was made.
    """

    sources: tuple[SourceStatus, ...]
    points: int
    newest_point: str | None
    proof_age_s: Mapping[str, float | None]
    unreachable: Mapping[str, str]
    unacknowledged: tuple[str, ...] = ()
    proofs: Mapping[str, Proof] = field(default_factory=dict)
    first_point_at: datetime | None = None

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
    """How safe each source is in each store, from what the stores list. A point or proof that is to
    come says nothing of what would be lost: some clock is, or was, wrong.

    `mirrors`: the stores that are to hold a weights source; the others say nothing of it.
    """
    meant = mirrors or {}
    counted = [found for found in points if not is_to_come(found, now)]
    if len(counted) < len(points):
        ahead = ", ".join(found.id[:8] for found in points if is_to_come(found, now))
        repository.emit(Note("warning", "clock", f"points are to come, and do not count: {ahead}"))
    rows = []
    for store in repository.stores:
        listed = [p for p in counted if store.name in p.listed.stores and p.point.complete]
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
    proofs = {
        store.name: [one for one in _proofs(store, repository.key) if one.at <= now + CLOCKS_DIFFER]
        for store in repository.stores
    }
    return Status(
        tuple(rows),
        len(points),
        points[-1].id if points else None,
        {
            name: min(((now - proof.at).total_seconds() for proof in left), default=None)
            for name, left in proofs.items()
        },
        repository.unreachable,
        tuple(held.id for held in unacknowledged(repository, [p.listed for p in points])),
        {proof.run_id: proof for left in proofs.values() for proof in left},
        min((found.point.created_at for found in points), default=None),
    )


def proof_name(run_id: str) -> str:
    return f"runs/{run_id}/proof"


def proof_content(run_id: str, point_id: str, *, service: str, at: datetime) -> bytes:
    """What a proof says, before it is sealed."""
    return orjson.dumps(
        {"run": run_id, "point": point_id, "service": service, "at": at.isoformat()}
    )


def _proofs(store: Store, key: MasterKey) -> list[Proof]:
    """What can be read of them, up to the first that cannot."""
    found = []
    try:
        for info in store.list("runs/"):
            if info.name.endswith("/proof"):
                said = orjson.loads(key.open(store.get(info.name)))
                at = datetime.fromisoformat(said["at"])
                found.append(Proof(str(said["run"]), said.get("service"), at))
    except (DrkitError, ValueError, KeyError):
        return found
    return found

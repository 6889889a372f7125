"""Locks of what is still in use are renewed before they end (S13).

A pack lives for as long as some snapshot needs it, which may be years; the lock that it got when it
came ends after days. From then on whoever has the key could delete it under the newest snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

from drkit.errors import DrkitError
from drkit.events import Emit, Note
from drkit.repository.format.layout import INDEX, SNAPSHOTS, pack_name
from drkit.repository.levels.survey import list_stores, survey
from drkit.repository.repository import Repository
from drkit.stores.interface import ObjectMissing, Retaining, Store

_CALLS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Renewed:
    """One store's locks: how many were renewed, of how many in use, and what failed by name."""

    renewed: int
    in_use: int
    failed: Mapping[str, str] = field(default_factory=dict)


def renew_locks(repository: Repository, *, now: datetime, emit: Emit) -> dict[str, Renewed]:
    """For each store that locks objects: each one in use that is locked for less than half of the
    store's retention, or not at all, is locked for the whole of it again.

    In use are the packs that an index names, no prune has marked and nothing was erased from, the
    indexes and the snapshots. A failure stops nothing: it is told, and the next run tries again.
    """
    seen = survey(repository, list_stores(repository, emit), emit)
    plan, going = seen.plan, seen.tombstones.erased_packs
    sizes = repository.index.pack_sizes()
    packs = [pack_name(p) for p in sizes if p not in plan.marked and p not in going]
    found = {}
    for store in repository.stores:
        period = getattr(store, "retention", None)
        if isinstance(period, timedelta):
            listed = [
                info.name
                for folder in (INDEX, SNAPSHOTS)
                for info in store.list(folder)
                if info.name.removeprefix(INDEX) not in plan.retired
            ]
            found[store.name] = _renew(store, [*packs, *listed], period, now, emit)
    return found


def _renew(
    store: Store, names: Sequence[str], period: timedelta, now: datetime, emit: Emit
) -> Renewed:
    locking = cast(Retaining, store)

    def renew(name: str) -> bool | str:
        try:
            until = locking.retained_until(name)
            if until is not None and until - now >= period / 2:
                return False
            locking.retain(name, now + period)
        except ObjectMissing:
            return False  # it lags there, or has just gone; that is for others to tell
        except DrkitError as error:
            return error.message
        return True

    with ThreadPoolExecutor(_CALLS_AT_ONCE, "retain") as pool:
        outcomes = dict(zip(names, pool.map(renew, names), strict=True))
    failed = {name: why for name, why in outcomes.items() if isinstance(why, str)}
    if failed:
        why = next(iter(failed.values()))
        text = f"{len(failed)} of {len(names)} locks were not renewed: {why}"
        emit(Note("warning", store.name, text))
    renewed = _count(outcome is True for outcome in outcomes.values())
    return Renewed(renewed, len(names), failed)


def _count(outcomes: Iterable[bool]) -> int:
    return sum(outcomes)

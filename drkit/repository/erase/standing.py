"""How far each store is with what was erased: removed, or retained until when (K6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, cast

from drkit.errors import DrkitError
from drkit.events import Emit
from drkit.repository.copies.listing import Listing
from drkit.repository.erase.remains import remains
from drkit.repository.format.layout import INDEX, SNAPSHOTS, pack_name
from drkit.repository.levels.survey import Survey, list_stores, survey
from drkit.repository.prune.turns import HOLD, next_turn
from drkit.repository.records.prune_plan import PrunePlan, Turn
from drkit.repository.repository import Repository
from drkit.stores.interface import Retaining, Store

State = Literal["removed", "retained", "away"]


@dataclass(frozen=True, slots=True)
class ErasureStanding:
    """One store. `until`: the moment from which nothing stands against the removal, where it is
    known; `why`: what stands against it now. `left`: how many objects are there still.
    """

    state: State
    until: datetime | None = None
    why: str = ""
    left: int = 0

    def __str__(self) -> str:
        if self.state == "removed":
            return "removed"
        if self.state == "away":
            return f"away: {self.why}"
        until = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"retained{until}: {self.why}"


def erasure_standing(
    repository: Repository,
    roles: Mapping[str, str],
    emit: Emit,
    *,
    hold: timedelta = HOLD,
) -> dict[str, ErasureStanding]:
    """Every store of the deployment by name, from fresh listings. Nothing is changed. A store that
    lists nothing erased any more is asked whether it keeps what was deleted.
    """
    seen = survey(repository, list_stores(repository, emit), emit)
    answering = {store.name: store for store in seen.listings}
    evicted = seen.tombstones.evicted
    absent = [name for name in roles if name not in answering and name not in evicted]
    present = {name: role for name, role in roles.items() if name not in evicted}
    turns = _turns(seen.plan.plan, present, repository.clock.now(), hold)
    found = {}
    for name in roles:
        store = answering.get(name)
        if store is None:
            why = repository.unreachable.get(name, "it does not answer")
            found[name] = ErasureStanding("away", None, why)
        else:
            listing = seen.listings[store]
            found[name] = _standing(store, listing, seen, turns.get(name), absent)
            gone_at = seen.tombstones.gone_at.get(name)
            if found[name].state == "removed" and gone_at is not None:
                found[name] = _deleted(store, gone_at, repository.clock.now())
    return found


def removed_standing(
    store: Store | None,
    left: int,
    why: str,
    *,
    until: datetime | None = None,
    now: datetime | None = None,
) -> ErasureStanding:
    """The standing of one store after objects were deleted in it at `now`: `left` of them are there
    still, for `why`. None: it could not be asked.
    """
    if store is None or now is None or (why and not left):
        return ErasureStanding("away", None, why)
    if left:
        return ErasureStanding("retained", until, why, left)
    return _deleted(store, now, now)


def _deleted(store: Store, gone_at: datetime, now: datetime) -> ErasureStanding:
    """The standing of a store from which all was deleted, at `gone_at`."""
    left = remains(store)
    if left is None:
        return ErasureStanding("removed")
    if left.keeps_for is None:
        return ErasureStanding("retained", None, left.why)
    until = gone_at + left.keeps_for
    return (
        ErasureStanding("retained", until, left.why) if now < until else ErasureStanding("removed")
    )


def _standing(
    store: Store,
    listing: Listing,
    seen: Survey,
    turn: datetime | None,
    absent: list[str],
) -> ErasureStanding:
    packs = sorted(seen.tombstones.erased_packs & listing.packs.keys())
    left = [*map(pack_name, packs)]
    left += [SNAPSHOTS + one for one in sorted(seen.tombstones.pending(listing, store.name))]
    if not left:
        return ErasureStanding("removed")
    # a pack stays as long as the index files that name it
    asked = [*left, *(INDEX + name for name in sorted(seen.plan.retired & listing.indexes.keys()))]
    locked = max(filter(None, (_locked_until(store, name) for name in asked)), default=None)
    if locked is not None and (turn is None or locked > turn):
        return ErasureStanding("retained", locked, "object lock", len(left))
    if packs and turn is None:
        why = f"nothing is deleted while {', '.join(absent)} is missing (S6)"
        return ErasureStanding(
            "retained", None, why if absent else "the next drkit prune marks it", len(left)
        )
    return ErasureStanding("retained", turn, "its turn of drkit prune", len(left))


def _locked_until(store: Store, name: str) -> datetime | None:
    """When the object's lock ends; None without one, or where it cannot be asked."""
    if getattr(store, "retention", None) is None:
        return None
    try:
        return cast(Retaining, store).retained_until(name)
    except DrkitError:
        return None


def _turns(
    plan: PrunePlan | None, roles: Mapping[str, str], now: datetime, hold: timedelta
) -> dict[str, datetime]:
    """When each store has its turn that had none yet, if the prune runs whenever one is due."""
    found: dict[str, datetime] = {}
    while plan is not None and (turn := next_turn(plan, roles, hold=hold)) is not None:
        name, due = turn[0], max(turn[1], now)
        found[name] = due
        plan = replace(plan, turns={**plan.turns, name: Turn(due, "")})
    return found

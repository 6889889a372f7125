"""How each store stands to the others: level, lagging, diverged, with what waits to be deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from drkit.repository.levels.levelling import EVICTED
from drkit.repository.levels.survey import list_stores, survey
from drkit.repository.prune.turns import HOLD, next_turn
from drkit.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class StoreStanding:
    """`state`: level, lagging, diverged, evicted or unreachable; `why` in words. `pending`:
    deletions that are not applied there yet; `lost`: snapshots that another program removed.
    """

    store: str
    state: str
    why: str
    pending: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Standings:
    """`prune_next`: whose turn is next and not before when; `prune_halted`: why nothing is."""

    stores: tuple[StoreStanding, ...]
    marked_bytes: int = 0
    prune_next: tuple[str, datetime] | None = None
    prune_halted: tuple[str, ...] = ()


def standings_of(
    repository: Repository, roles: Mapping[str, str], *, hold: timedelta = HOLD
) -> Standings:
    """From fresh listings; nothing is changed."""
    seen = survey(repository, list_stores(repository, repository.emit), repository.emit)
    rows = []
    packs = {p: n for listing in seen.listings.values() for p, n in listing.packs.items()}
    for store, listing in seen.listings.items():
        found = seen.standings[store.name]
        lacks = found.lacks
        if not found.diverged:
            wanted = packs.keys() - seen.plan.marked.keys() if found.lacks else ()
            lacks += sum(1 for pack in wanted if pack not in listing.packs)
        state, why = "level", ""
        if found.diverged == EVICTED:
            state, why = "evicted", f"drkit repair reconcile {store.name}"
        elif found.diverged:
            state, why = "diverged", f"{found.diverged}: drkit repair reconcile {store.name}"
        elif lacks:
            state, why = "lagging", f"lacks {lacks} objects; the next backup copies them"
        if found.lost:
            why += f"{'; ' * bool(why)}another program removed {len(found.lost)} snapshots there"
        if found.pending:
            why += f"{'; ' * bool(why)}{len(found.pending)} deletions are not applied yet"
        rows.append(StoreStanding(store.name, state, why, len(found.pending), len(found.lost)))
    absent = {
        store.name: "did not answer" for store in repository.stores if store not in seen.listings
    }
    for name, why in {**repository.unreachable, **absent}.items():
        rows.append(StoreStanding(name, "unreachable", why))
    plan = seen.plan.plan
    if plan is None:
        return Standings(tuple(rows))
    active = {n: role for n, role in roles.items() if n not in seen.tombstones.evicted}
    return Standings(
        tuple(rows), sum(plan.remove.values()), next_turn(plan, active, hold=hold), plan.halted
    )

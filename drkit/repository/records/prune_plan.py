"""The plan of a prune: what is marked for deletion, and how far each store has come. A record.

Marked packs hold nothing that a snapshot reaches. Writers count their blobs as absent from the
moment the plan is in a store; they are deleted later, store after store (S6).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from drkit.errors import DamagedData, DrkitError
from drkit.events import Emit, Note
from drkit.repository.copies.listing import Listing
from drkit.repository.format.layout import PRUNES
from drkit.repository.format.sealing import MasterKey
from drkit.repository.records.sealed import Values, read_records, seal_record
from drkit.stores.interface import Store, StoreRefused


@dataclass(frozen=True, slots=True)
class Turn:
    """One store's deletion. `checked_by` says who looked afterwards, `problems` what was found.

    `retained`: packs that the store refused to delete, with until when (S13).
    """

    at: datetime
    checked_by: str
    problems: tuple[str, ...] = ()
    retained: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """`remove`: marked packs with their sizes. `indexes`: the index files that name them and
    nothing else; a store loses them in its turn, before the packs.
    """

    generation: int
    marked_at: datetime
    owner: str
    remove: Mapping[str, int]
    indexes: frozenset[str] = frozenset()
    turns: Mapping[str, Turn] = field(default_factory=dict)
    closed: bool = False

    @property
    def halted(self) -> tuple[str, ...]:
        """What a check after a deletion found: nothing more is deleted until it is mended."""
        return tuple(
            f"{store}: {problem}" for store, turn in self.turns.items() for problem in turn.problems
        )


@dataclass(frozen=True, slots=True)
class KnownPlan:
    """The newest plan and the records that say it. `unreadable`: there may be another."""

    plan: PrunePlan | None = None
    records: Mapping[str, bytes] = field(default_factory=dict)
    stale: frozenset[str] = frozenset()
    unreadable: frozenset[str] = frozenset()

    @property
    def retired(self) -> frozenset[str]:
        """Index files of marked packs: no store needs them."""
        return self.plan.indexes if self.plan else frozenset()

    @property
    def marked(self) -> Mapping[str, int]:
        return self.plan.remove if self.plan and not self.plan.closed else {}


def read_plan(key: MasterKey, listings: Mapping[Store, Listing], emit: Emit) -> KnownPlan:
    """The plan of the highest generation that some store holds."""
    listed = {store: listing.prunes for store, listing in listings.items()}
    records = read_records(key, PRUNES, listed, emit)
    all_names = {name for names in listed.values() for name in names}
    if not records.found:
        return KnownPlan(unreadable=records.unreadable)
    newest = max(records.found)
    sealed, values = records.found[newest]
    return KnownPlan(
        _plan_of(values),
        {newest: sealed},
        frozenset(name for name in all_names if name < newest),
        frozenset(name for name in records.unreadable if name > newest),
    )


def write_plan(
    key: MasterKey,
    known: KnownPlan,
    plan: PrunePlan,
    listings: Mapping[Store, Listing],
    *,
    need_all: bool,
    emit: Emit,
) -> KnownPlan:
    """`plan` as the newest one, in every store (`need_all`) or at least in one of them."""
    earlier = [known.plan.generation] if known.plan else []
    named = {n for listing in listings.values() for n in listing.prunes}
    generation = max([*earlier, *(int(name[:10]) for name in named)], default=0) + 1
    plan = replace(plan, generation=generation)
    name, sealed = seal_record(key, generation, {"supersedes": [], **_values_of(plan)})
    written = 0
    problem: DrkitError | None = None
    for store, listing in listings.items():
        try:
            store.put(PRUNES + name, sealed, size_bytes=len(sealed))
        except DrkitError as error:
            if need_all:
                raise
            problem = error
            emit(Note("warning", store.name, f"the prune plan is not there yet: {error.message}"))
            continue
        written += 1
        listing.prunes[name] = len(sealed)
    if problem and not written:
        raise problem
    return KnownPlan(plan, {name: sealed}, frozenset(named))


def spread_plan(store: Store, listing: Listing, known: KnownPlan) -> None:
    """Gives `store` the newest plan, then removes earlier ones; a closed one goes from it too."""
    for name, sealed in known.records.items():
        if name not in listing.prunes:
            store.put(PRUNES + name, sealed, size_bytes=len(sealed))
            listing.prunes[name] = len(sealed)
    with suppress(StoreRefused):  # the newest one counts
        for name in [n for n in listing.prunes if n in known.stale]:
            store.delete(PRUNES + name)
            del listing.prunes[name]


def _values_of(plan: PrunePlan) -> Values:
    return {
        "marked_at": plan.marked_at.isoformat(),
        "owner": plan.owner,
        "remove": dict(plan.remove),
        "indexes": sorted(plan.indexes),
        "closed": plan.closed,
        "turns": {
            store: {
                "at": turn.at.isoformat(),
                "checked_by": turn.checked_by,
                "problems": list(turn.problems),
                "retained": dict(turn.retained),
            }
            for store, turn in plan.turns.items()
        },
    }


def _plan_of(values: Values) -> PrunePlan:
    try:
        return PrunePlan(
            generation=values["generation"],
            marked_at=datetime.fromisoformat(values["marked_at"]),
            owner=values["owner"],
            remove=dict(values["remove"]),
            indexes=frozenset(values["indexes"]),
            closed=bool(values["closed"]),
            turns={
                store: Turn(
                    datetime.fromisoformat(turn["at"]),
                    turn["checked_by"],
                    tuple(turn["problems"]),
                    dict(turn["retained"]),
                )
                for store, turn in values["turns"].items()
            },
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedData(f"a prune plan cannot be read: {error!r}", hint="drkit check") from None

"""What all stores together say of deletions, prunes and each other. Read only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drkit.errors import DrkitError
from drkit.events import Emit, Note
from drkit.repository.copies.listing import Listing, take_listing
from drkit.repository.copies.reading import ask_each
from drkit.repository.levels.levelling import Standing, needs_ledger, standings
from drkit.repository.records.ledger import Ledger, read_ledger
from drkit.repository.records.prune_plan import KnownPlan, read_plan
from drkit.repository.records.tombstones import Tombstones, read_tombstones
from drkit.stores.interface import Store

if TYPE_CHECKING:
    from drkit.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class Survey:
    """By store what it lists, and by store name what its ledger says (where it was needed)."""

    listings: Mapping[Store, Listing]
    tombstones: Tombstones
    plan: KnownPlan
    ledgers: Mapping[str, Ledger]
    standings: Mapping[str, Standing]


def list_stores(repository: Repository, emit: Emit) -> dict[Store, Listing]:
    """A listing of every store that answers."""
    found = {}
    for store, answer in ask_each(
        repository.stores, take_listing, needed=repository.needed
    ).items():
        if isinstance(answer, Listing):
            found[store] = answer
        else:
            emit(Note("warning", store.name, answer.message))
    return found


def survey(repository: Repository, listings: Mapping[Store, Listing], emit: Emit) -> Survey:
    """How the listed stores stand. Ledgers are read only where the listings differ."""
    key = repository.key
    tombstones = read_tombstones(key, listings, emit)
    plan = read_plan(key, listings, emit)
    by_name = {store.name: listing for store, listing in listings.items()}
    configured = len(repository.stores) + len(repository.unreachable)
    wanted = needs_ledger(by_name, plan, all_answer=len(by_name) == configured)
    ledgers: dict[str, Ledger] = {}
    for store, listing in listings.items():
        if store.name in wanted and listing.has_ledger:
            try:
                ledgers[store.name] = read_ledger(store, key, emit)
            except DrkitError as error:
                emit(Note("warning", store.name, error.message))
    found = standings(by_name, ledgers, tombstones, plan, alone=configured == 1)
    return Survey(listings, tombstones, plan, ledgers, found)

"""What a store held when it was last level: so "never had it" is told from "had it and lost it".

One sealed object per store, replaced whole after each run that left the store level. It speaks of
that store alone and is never copied to another.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from drkit.errors import DamagedData, DrkitError
from drkit.events import Emit, Note
from drkit.repository.format.layout import LEDGER
from drkit.repository.format.sealing import MasterKey
from drkit.stores.interface import ObjectMissing, Store


@dataclass(frozen=True, slots=True)
class Ledger:
    """`generation`: of the deletions that the store had applied."""

    generation: int = 0
    snapshots: frozenset[str] = frozenset()
    indexes: frozenset[str] = frozenset()


def read_ledger(store: Store, key: MasterKey, emit: Emit) -> Ledger:
    """The store's ledger; an empty one where there is none or where it is damaged."""
    try:
        values = orjson.loads(key.open(store.get(LEDGER)))
        return Ledger(
            int(values["generation"]),
            frozenset(map(str, values["snapshots"])),
            frozenset(map(str, values["indexes"])),
        )
    except ObjectMissing:
        return Ledger()
    except (DamagedData, ValueError, KeyError, TypeError) as error:
        emit(Note("warning", store.name, f"its ledger cannot be read ({error}); it starts anew"))
        return Ledger()


def write_ledger(store: Store, key: MasterKey, ledger: Ledger) -> None:
    sealed = key.seal(
        orjson.dumps(
            {
                "drkit": 1,
                "generation": ledger.generation,
                "snapshots": sorted(ledger.snapshots),
                "indexes": sorted(ledger.indexes),
            }
        )
    )
    store.put(LEDGER, sealed, size_bytes=len(sealed))


def try_write_ledger(store: Store, key: MasterKey, ledger: Ledger, emit: Emit) -> None:
    """`write_ledger`; a failure is told only: the next run writes it from the listing."""
    try:
        write_ledger(store, key, ledger)
    except DrkitError as error:
        emit(Note("warning", store.name, f"its ledger was not written: {error.message}"))

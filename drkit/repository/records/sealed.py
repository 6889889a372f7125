"""Small sealed notes beside the repository, the same in every store: deletions and prune plans.

A record is named `<generation>-<SHA-256 of its bytes>` and never changed; a later one says which
ones it `supersedes`. What several records say together is their union, so it does not matter in
which store a crash left which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from drkit.errors import DamagedData, DrkitError
from drkit.events import Emit, Note
from drkit.repository.format.sealing import MasterKey
from drkit.stores.interface import Store

Values = Mapping[str, Any]
_VERSION = 1


def seal_record(key: MasterKey, generation: int, values: Values) -> tuple[str, bytes]:
    """Name (without its folder) and bytes of a new record."""
    sealed = key.seal(orjson.dumps({"drkit": _VERSION, "generation": generation, **values}))
    return f"{generation:010d}-{hashlib.sha256(sealed).hexdigest()}", sealed


def read_record(key: MasterKey, name: str, sealed: bytes) -> dict[str, Any]:
    """What the record says. Raises `DamagedData` when it is not what its name says (S11)."""
    if hashlib.sha256(sealed).hexdigest() != name[11:]:
        raise DamagedData(f"record {name[:19]}: wrong bytes", hint="another store has it too")
    values = orjson.loads(key.open(sealed))
    if not isinstance(values, dict) or values.get("generation") != int(name[:10]):
        raise DamagedData(f"record {name[:19]} is none of drkit's", hint="drkit check")
    if values.get("drkit") != _VERSION:
        raise DamagedData(
            f"record {name[:19]} is of a later drkit", hint="use that version: it knows more"
        )
    return values


@dataclass(frozen=True, slots=True)
class Records:
    """Bytes and values by name of what no other record supersedes. What an `unreadable` one says
    is unknown: nothing may be resurrected or deleted as if it said nothing.
    """

    found: Mapping[str, tuple[bytes, Values]]
    unreadable: frozenset[str]


def read_records(
    key: MasterKey, folder: str, listed: Mapping[Store, Mapping[str, int]], emit: Emit
) -> Records:
    """Every record that some store lists, read once, from the first store with a good copy."""
    found: dict[str, tuple[bytes, dict[str, Any]]] = {}
    holders: dict[str, list[Store]] = {}
    for store, names in listed.items():
        for name in names:
            holders.setdefault(name, []).append(store)
    superseded: set[str] = set()
    unreadable: set[str] = set()
    for name in sorted(holders, reverse=True):  # the latest generation first: it spares others
        if name in superseded:
            continue
        record = _read_any(key, folder, name, holders[name], emit)
        if record is None:
            unreadable.add(name)
            continue
        found[name] = record
        superseded.update(record[1].get("supersedes", ()))
    return Records(
        {name: record for name, record in found.items() if name not in superseded},
        frozenset(unreadable - superseded),
    )


def _read_any(
    key: MasterKey, folder: str, name: str, holders: list[Store], emit: Emit
) -> tuple[bytes, dict[str, Any]] | None:
    for store in holders:
        try:
            sealed = store.get(folder + name)
            return sealed, read_record(key, name, sealed)
        except DrkitError as error:
            emit(Note("warning", store.name, f"{folder}{name[:19]}: {error.message}"))
    return None

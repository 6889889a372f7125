"""Points that look like an accident or an attack: kept, told, and nothing expires until `ack`.

A point of which a source shrank by more than its share, or turned incompressible, carries the tag
`anomaly`. An operator who has looked leaves an acknowledgement, sealed, in every store; while one
is missing, forget removes nothing at all (an attacker's good-looking points must not push the
last good one out).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import orjson

from drkit.errors import DamagedData, DrkitError
from drkit.events import Emit, Note
from drkit.repository.format.sealing import MasterKey
from drkit.repository.repository import ListedSnapshot, Repository
from drkit.stores.interface import Store

ANOMALY_TAG = "anomaly"
INCOMPLETE_TAG = "incomplete"
ACKS = "acks/"
_MAX_BYTES = 64 << 10


def unacknowledged(
    repository: Repository, snapshots: Iterable[ListedSnapshot]
) -> tuple[ListedSnapshot, ...]:
    """Those of `snapshots` that carry the tag and no operator has acknowledged; mostly none.

    While there is one, expiry is held. Stores are asked only when some snapshot carries the tag;
    an acknowledgement in one store is enough.
    """
    tagged = [listed for listed in snapshots if ANOMALY_TAG in listed.snapshot.tags]
    if not tagged:
        return ()
    known = _acknowledged(repository)
    return tuple(listed for listed in tagged if not {listed.id, listed.snapshot.original} & known)


def acknowledge(
    stores: Sequence[Store], key: MasterKey, snapshot_id: str, *, who: str, at: datetime, emit: Emit
) -> tuple[str, ...]:
    """Names of the stores that now hold the acknowledgement. Raises when none took it."""
    sealed = key.seal(orjson.dumps({"snapshot": snapshot_id, "who": who, "at": at.isoformat()}))
    took: list[str] = []
    problem: DrkitError | None = None
    for store in stores:
        try:
            store.put(f"{ACKS}{snapshot_id}", sealed, size_bytes=len(sealed))
            took.append(store.name)
        except DrkitError as error:
            problem = error
            emit(Note("warning", store.name, f"the acknowledgement is not there: {error.message}"))
    if problem and not took:
        raise problem
    return tuple(took)


def _acknowledged(repository: Repository) -> frozenset[str]:
    """Ids of snapshots with an acknowledgement that this repository's key sealed."""
    found: set[str] = set()
    for store in repository.stores:
        try:
            names = [i.name for i in store.list(ACKS) if i.size_bytes <= _MAX_BYTES]
            for name in names:
                wanted = name.removeprefix(ACKS)
                if wanted not in found and _is_sound(repository.key, store.get(name), wanted):
                    found.add(wanted)
        except DrkitError as error:
            repository.emit(Note("warning", store.name, error.message))
    return frozenset(found)


def _is_sound(key: MasterKey, sealed: bytes, snapshot_id: str) -> bool:
    try:
        entry = orjson.loads(key.open(sealed))
        return bool(entry["snapshot"] == snapshot_id)
    except (DamagedData, ValueError, KeyError, TypeError):
        return False

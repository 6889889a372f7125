"""Making the repository: in all stores at once, or in one that joins the others later (S8, S12)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from drkit.clock import Clock
from drkit.errors import DrkitError, GuardRefused
from drkit.repository.format.chunker import ChunkerSettings
from drkit.repository.format.identity import (
    exists,
    identity,
    no_repository,
    open_key,
    refuse_leftovers,
)
from drkit.repository.format.keys import ScryptCost, make_key_file, open_key_file
from drkit.repository.format.layout import (
    BESIDE,
    CONFIG,
    DATA,
    DRKIT,
    EVERYTHING,
    INDEX,
    KEYS,
    RESTORE_TXT,
    ROOT,
    SNAPSHOTS,
    restore_text,
)
from drkit.repository.format.polynomial import random_polynomial
from drkit.repository.format.sealing import MasterKey
from drkit.stores.interface import ObjectMissing, Store


@dataclass(frozen=True, slots=True)
class InitReport:
    """Where the repository was made and where it was. `finished`: an earlier `init` was cut short,
    and this one did the rest.
    """

    repository_id: str
    created: tuple[str, ...]
    already: tuple[str, ...]
    finished: bool = False


def init_repository(
    stores: Sequence[Store],
    password: str,
    *,
    clock: Clock,
    hostname: str,
    cost: ScryptCost | None = None,
) -> InitReport:
    """Creates one repository in all `stores`, or says that it is there. Never rewrites one (S8).

    What an `init` left that was killed is finished, as long as nothing was ever written into the
    repository. Raises `GuardRefused` when some hold it and others do not: one that came back empty
    is joined by name.
    """
    present = [store for store in stores if exists(store)]
    if present:
        return _complete(stores, present, password)
    key, key_file = _left_key(stores, password) or (MasterKey.generate(), b"")
    finished = bool(key_file)
    if not key_file:
        for store in stores:
            refuse_leftovers(store, EVERYTHING)
        key_file = make_key_file(
            key, password, cost=cost or ScryptCost(), clock=clock, hostname=hostname
        )
    repository_id = hashlib.sha256(key.derive("repository id")).hexdigest()
    config = orjson.dumps(
        {"version": 2, "id": repository_id, "chunker_polynomial": f"{random_polynomial():x}"}
    )
    objects = {
        RESTORE_TXT: restore_text(repository_id),
        KEYS + hashlib.sha256(key_file).hexdigest(): key_file,
        DRKIT: orjson.dumps({"drkit": 1, "chunker": ChunkerSettings().to_json()}),
        CONFIG: key.seal(config),  # last: a store without it holds no repository yet
    }
    _write(stores, objects)
    return InitReport(repository_id, tuple(store.name for store in stores), (), finished)


def is_unfinished(stores: Sequence[Store]) -> bool:
    """Whether `init_repository` has something to do that needs no operator: some store has no
    repository yet, and nothing was ever written into another's.
    """
    present = [store for store in stores if exists(store)]
    return len(present) < len(stores) and not any(map(_holds_data, present))


def join_store(stores: Sequence[Store], newcomer: Store, password: str) -> bool:
    """Gives the empty `newcomer` the repository's config and keys; it catches up later (S12). False
    where it held them already: nothing was done.
    """
    holders = [store for store in stores if store is not newcomer and exists(store)]
    if not holders:
        raise no_repository(stores)
    if exists(newcomer):
        key = open_key(holders, password)
        if identity(newcomer, key) == identity(holders[0], key):
            return False
    objects = _foundation(holders[0])
    _refuse_others(newcomer, objects)
    for note in list(newcomer.list(BESIDE)):
        newcomer.delete(note.name)  # of a former life: what it held then, it does not hold now
    _write([newcomer], objects)
    return True


def _complete(stores: Sequence[Store], present: list[Store], password: str) -> InitReport:
    key = open_key(present, password)
    ids = {store.name: identity(store, key) for store in present}
    if len(set(ids.values())) > 1:
        raise GuardRefused(
            f"the stores hold different repositories: {ids}",
            hint="name the right buckets or prefixes in schedules.yaml",
        )
    repository_id = next(iter(ids.values()))
    missing = [store for store in stores if store not in present]
    if not missing:
        return InitReport(repository_id, (), tuple(ids))
    if any(_holds_data(store) for store in present):
        empty = ", ".join(store.name for store in missing)
        raise GuardRefused(
            f"{empty} is empty, while {present[0].name} holds a repository",
            hint=f"join it by name: drkit init --store {missing[0].name}",
        )
    # nothing was ever backed up: this is an init that died between two stores, not a lost store
    objects = _foundation(present[0])
    for store in missing:
        _refuse_others(store, objects)
    _write(missing, objects)
    return InitReport(repository_id, tuple(store.name for store in missing), tuple(ids), True)


def _left_key(stores: Sequence[Store], password: str) -> tuple[MasterKey, bytes] | None:
    """The one key that a killed `init` left, where nothing but its own files lies in any store."""
    left = {info.name: store for store in stores for info in store.list(ROOT)}
    keys = [name for name in left if name.startswith(KEYS)]
    if len(keys) != 1 or set(left) - {keys[0], DRKIT}:
        return None
    content = left[keys[0]].get(keys[0])
    if KEYS + hashlib.sha256(content).hexdigest() != keys[0]:
        return None
    try:
        return open_key_file(content, password), content
    except DrkitError:
        return None  # another password's: refused as what it may be, a repository that lost config


def _foundation(holder: Store) -> dict[str, bytes]:
    """What makes a store hold the repository of `holder`, in the order in which it is written."""
    names = [info.name for info in holder.list(KEYS)]
    found = {}
    for name in (RESTORE_TXT, *names, DRKIT, CONFIG):
        try:
            found[name] = holder.get(name)
        except ObjectMissing:  # restic alone made it: nothing of drkit's lies there
            if name not in (RESTORE_TXT, DRKIT):
                raise
    return found


def _holds_data(store: Store) -> bool:
    return any(True for folder in (SNAPSHOTS, INDEX, DATA) for _ in store.list(folder))


def _refuse_others(store: Store, objects: Mapping[str, bytes]) -> None:
    """`GuardRefused` when `store` holds more than what an interrupted copy of `objects` leaves."""
    if not {info.name for info in store.list(ROOT)} <= objects.keys() - {CONFIG}:
        refuse_leftovers(store)


def _write(stores: Iterable[Store], objects: Mapping[str, bytes]) -> None:
    for store in stores:
        for name, content in objects.items():
            store.put(name, content, size_bytes=len(content))

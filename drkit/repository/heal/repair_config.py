"""Config and keys of one store that the operator names, from the others (S8: never by itself)."""

from __future__ import annotations

import hashlib

from drkit.errors import DamagedData, DrkitError, GuardRefused, PlaceError
from drkit.events import Emit
from drkit.repository.copies.listing import take_listing
from drkit.repository.format.identity import read_config
from drkit.repository.format.layout import CONFIG, KEYS, ROOT
from drkit.repository.format.notes import NOTES, right_note
from drkit.repository.records.tombstones import read_tombstones
from drkit.repository.repository import Repository
from drkit.stores.interface import ObjectMissing, Store


def repair_config(
    repository: Repository, target: Store, emit: Emit, *, dry_run: bool = False
) -> tuple[str, ...]:
    """Copies config, keys and drkit's notes to `target` where they are missing or wrong there;
    the names of those. Keys that were removed are not brought back (S5).

    Raises `GuardRefused`, with nothing written, when `target` holds another repository (S12) or
    nothing at all.
    """
    sources = [store for store in repository.stores if store.name != target.name]
    if not sources:
        raise GuardRefused(
            f"no other store has a config to copy to {target.name}",
            hint="with one store alone only your own copy of config and keys helps",
        )
    _refuse_other(repository, target)
    listings = {store: take_listing(store) for store in sources}
    tombstones = read_tombstones(repository.key, listings, emit)
    wanted: dict[str, bytes] = {}
    for source in sources:
        for info in source.list(KEYS):
            key_id = info.name.removeprefix(KEYS)
            if info.name in wanted or tombstones.covers("key", key_id, target.name):
                continue
            content = source.get(info.name)
            if hashlib.sha256(content).hexdigest() == key_id:
                wanted[info.name] = content
    for name in NOTES:
        copies = [copy for store in repository.stores if (copy := _read(store, name)) is not None]
        if (note := right_note(name, copies, repository.id)) is not None:
            wanted[name] = note
    wanted[CONFIG] = sources[0].get(CONFIG)  # last: before it there is no repository
    put = [name for name, content in wanted.items() if _differs(repository, target, name, content)]
    if not dry_run:
        for name in put:
            target.put(name, wanted[name], size_bytes=len(wanted[name]))
            if target.get(name) != wanted[name]:
                raise PlaceError(
                    f"{target.name} gave back another {name} than it was just given",
                    hint="its disk or network damages data: mend that first",
                )
    return tuple(put)


def _read(store: Store, name: str) -> bytes | None:
    try:
        return store.get(name)
    except DrkitError:
        return None


def _refuse_other(repository: Repository, target: Store) -> None:
    if not any(True for _ in target.list(ROOT)):
        raise GuardRefused(
            f"{target.name} is empty", hint=f"join it: drkit init --store {target.name}"
        )
    try:
        found = read_config(target, repository.key)[0]
    except (DamagedData, ObjectMissing, ValueError, KeyError):
        own = {info.name for info in target.list(KEYS)}
        theirs = {info.name for store in repository.stores for info in store.list(KEYS)}
        if own and not own & theirs:
            raise GuardRefused(
                f"{target.name} holds the keys of another repository",
                hint="name the right bucket or prefix for it in schedules.yaml",
            ) from None
        return
    if found != repository.id:
        raise GuardRefused(
            f"{target.name} holds the repository {found[:8]}, others {repository.id[:8]}",
            hint="name the right bucket or prefix for it in schedules.yaml",
        )


def _differs(repository: Repository, target: Store, name: str, content: bytes) -> bool:
    """Whether `target` lacks it or has it wrong. A config that opens with the id is right,
    however it is sealed.
    """
    try:
        if name == CONFIG:
            return read_config(target, repository.key)[0] != repository.id
        return target.get(name) != content
    except (DrkitError, ValueError, KeyError):
        return True

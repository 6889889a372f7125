"""Brings lagging stores level by copying sealed objects from another one: nothing is re-encrypted.

What a store lacks is derived from listings (S3), never from what some run remembers. Copies go
packs, indexes, snapshots, so that a store never names what it does not hold.
"""

from __future__ import annotations

import hashlib

from drkit.errors import DrkitError
from drkit.events import Emit, Note, Progress, StoreLagging
from drkit.repository.layout import DATA, INDEX, SNAPSHOTS, pack_name
from drkit.repository.repository import Repository
from drkit.stores.interface import Store


def catch_up(repository: Repository, stores: tuple[Store, ...], emit: Emit) -> tuple[Store, ...]:
    """Those of `stores` that now hold everything any of them lists; the others are lagging (S4).

    Packs that an index names and no store holds in full are forgotten: what was in them is
    stored anew when a source still has it.
    """
    held: dict[Store, dict[str, int]] = {}
    for store in stores:
        try:
            held[store] = {
                info.name: info.size_bytes
                for folder in (DATA, INDEX, SNAPSHOTS)
                for info in store.list(folder)
            }
        except DrkitError as error:
            emit(StoreLagging(store.name, error.message))
    _forget_lost_packs(repository, held, emit)
    wanted = _wanted(repository, held)
    level = []
    for store, names in held.items():
        missing = [name for name in wanted if names.get(name) != wanted[name]]
        try:
            for done, name in enumerate(missing):
                emit(Progress(f"catch up {store.name}", done, len(missing), "packs", name))
                _copy(name, store, held)
        except DrkitError as error:
            emit(StoreLagging(store.name, error.message))
            continue
        if missing:
            emit(Note("info", store.name, f"caught up: {len(missing)} objects were copied to it"))
        level.append(store)
    return tuple(level)


def _forget_lost_packs(
    repository: Repository, held: dict[Store, dict[str, int]], emit: Emit
) -> None:
    sizes = repository.index.pack_sizes()
    found = {
        pack_id
        for pack_id, size_bytes in sizes.items()
        if any(names.get(pack_name(pack_id)) == size_bytes for names in held.values())
    }
    if lost := repository.index.keep_packs(found):
        names = ", ".join(pack_id[:8] for pack_id in lost[:5])
        emit(
            Note(
                "error",
                "repository",
                f"no store holds {len(lost)} of {len(sizes)} packs in full ({names}); "
                "what sources still have of them is stored anew: drkit check",
            )
        )


def _wanted(repository: Repository, held: dict[Store, dict[str, int]]) -> dict[str, int]:
    """Name and size of what every store must hold, in the order in which it is copied."""
    packs = {
        pack_name(pack_id): size_bytes
        for pack_id, size_bytes in repository.index.pack_sizes().items()
    }
    wanted: dict[str, int] = {}
    for folder in (DATA, INDEX, SNAPSHOTS):
        for names in held.values():
            for name, size_bytes in names.items():
                if not name.startswith(folder):
                    continue
                if folder != DATA:
                    # a truncated copy is shorter: the longest is the one to copy
                    wanted[name] = max(wanted.get(name, 0), size_bytes)
                elif packs.get(name) == size_bytes:
                    wanted[name] = size_bytes
    return wanted


def _copy(name: str, to: Store, held: dict[Store, dict[str, int]]) -> None:
    problem: DrkitError | None = None
    for store, names in held.items():
        if store is to or name not in names:
            continue
        try:
            content = store.get(name)
        except DrkitError as error:
            problem = error
            continue
        if hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]:
            to.put(name, content, size_bytes=len(content))
            return
    raise problem or DrkitError(f"{name} is damaged in every other store", hint="drkit check")

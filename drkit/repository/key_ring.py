"""The passwords of a repository. A change of keys is one operation over all stores (S8).

A key file is the master key, sealed by one password. It is added everywhere and proved by reading
it back before anything is removed, so that the repository can be opened whenever a change stops.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from drkit.errors import DamagedData, DrkitError, GuardRefused, WrongKey
from drkit.repository.copies.listing import Listing
from drkit.repository.format.keys import ScryptCost, make_key_file, open_key_file
from drkit.repository.format.layout import KEYS
from drkit.repository.locks.locks import Locks, take_locks
from drkit.repository.records.tombstones import Deletion, read_tombstones, record_deletions
from drkit.repository.repository import Repository
from drkit.stores.interface import Store


@dataclass(frozen=True, slots=True)
class FoundKey:
    """One key file. `stores` hold it whole; `damaged` hold something else under its name."""

    id: str
    current: bool
    username: str
    hostname: str
    created: str
    stores: frozenset[str]
    damaged: frozenset[str]


def list_keys(repository: Repository, password: str) -> list[FoundKey]:
    """All keys, the oldest first. `current` ones are those that `password` opens."""
    found = []
    for name, copies in _copies(repository.stores).items():
        key_id = name.removeprefix(KEYS)
        whole = {store: content for store, content in copies.items() if _is_whole(name, content)}
        content = next(iter(whole.values()), None)
        values = _values(content)
        found.append(
            FoundKey(
                key_id,
                content is not None and _opens(content, password, repository),
                str(values.get("username", "")),
                str(values.get("hostname", "")),
                str(values.get("created", "")),
                frozenset(store.name for store in whole),
                frozenset(store.name for store in copies if store not in whole),
            )
        )
    return sorted(found, key=lambda key: (key.created, key.id))


def add_key(
    repository: Repository, new_password: str, *, cost: ScryptCost, hostname: str | None = None
) -> str:
    """The id of a new key that `new_password` opens, in every store; or in none.

    Raises `GuardRefused` before anything is written unless all stores answer and can be locked.
    """
    _refuse_empty(new_password)
    with _Exclusive(repository) as held:
        return _add(repository, held.locks, new_password, cost, hostname)


def remove_key(repository: Repository, prefix: str, password: str) -> str:
    """Removes the key whose id starts with `prefix` from every store; its id.

    Raises `GuardRefused`, with nothing removed, for the last key that `password` opens: who
    removes that one could not come back in.
    """
    with _Exclusive(repository) as held:
        keys = list_keys(repository, password)
        matching = [key for key in keys if prefix and key.id.startswith(prefix)]
        if len(matching) != 1:
            raise GuardRefused(
                f"{prefix!r} names {len(matching) or 'no'} keys",
                hint="drkit key list shows their ids",
            )
        _remove(repository, held.locks, [matching[0]], keys)
        return matching[0].id


def change_password(
    repository: Repository, password: str, new_password: str, *, cost: ScryptCost
) -> tuple[str, tuple[str, ...]]:
    """The id of the new key and those of the removed ones: all that `password` opened.

    The new key is in every store, read back and opened, before the first old one goes; a run that
    dies in between leaves both passwords valid.
    """
    _refuse_empty(new_password)
    if new_password == password:
        raise GuardRefused("the new password is the old one", hint="choose another one")
    with _Exclusive(repository) as held:
        old = [key for key in list_keys(repository, password) if key.current]
        added = _add(repository, held.locks, new_password, cost, None)
        keys = list_keys(repository, new_password)
        _remove(repository, held.locks, old, keys)
        return added, tuple(key.id for key in old)


class _Exclusive:
    """Exclusive locks in all configured stores, and the key deletions that were left undone."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        if repository.unreachable:
            name, why = next(iter(repository.unreachable.items()))
            raise GuardRefused(
                f"keys change in all stores or in none, and {name} is missing: {why}",
                hint="bring the store back, or take it out of schedules.yaml; nothing was changed",
            )
        self.locks = take_locks(repository, exclusive=True, need_all=True, emit=repository.emit)

    def __enter__(self) -> _Exclusive:
        try:
            finish_removals(self._repository, self.locks.listings)
        except BaseException:
            self.locks.release(self._repository.emit)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.locks.release(self._repository.emit)


def finish_removals(repository: Repository, listings: Mapping[Store, Listing]) -> None:
    """Deletes what a removal that died had recorded and not done, wherever it is still listed."""
    tombstones = read_tombstones(repository.key, listings, repository.emit)
    for store in listings:
        for info in list(store.list(KEYS)):
            if tombstones.covers("key", info.name.removeprefix(KEYS), store.name):
                store.delete(info.name)


def _add(
    repository: Repository, locks: Locks, password: str, cost: ScryptCost, hostname: str | None
) -> str:
    content = make_key_file(
        repository.key,
        password,
        cost=cost,
        clock=repository.clock,
        hostname=hostname or repository.hostname,
    )
    name = KEYS + hashlib.sha256(content).hexdigest()
    written: list[Store] = []
    try:
        for store in locks.by_store:
            written.append(store)
            store.put(name, content, size_bytes=len(content))
            _prove(repository, store, name, password)
        _refuse_lost(locks)
    except BaseException:
        for store in written:
            _take_back(repository, store, name)
        raise
    return name.removeprefix(KEYS)


def _remove(
    repository: Repository, locks: Locks, doomed: Iterable[FoundKey], keys: list[FoundKey]
) -> None:
    ids = {key.id for key in doomed}
    names = {store.name for store in locks.by_store}
    staying = [key for key in keys if key.current and key.id not in ids]
    if not any(key.stores >= names for key in staying):
        raise GuardRefused(
            "no other key that the password opens is in every store",
            hint="drkit key add first, or drkit key passwd, which does both; nothing was removed",
        )
    _refuse_lost(locks)
    tombstones = read_tombstones(repository.key, locks.listings, repository.emit)
    record_deletions(
        repository.key,
        tombstones,
        locks.listings,
        [Deletion("key", key_id, None) for key_id in ids],
        at=repository.clock.now(),
        emit=repository.emit,
    )
    problems = []
    for store in locks.by_store:
        for key_id in sorted(ids):
            try:
                store.delete(KEYS + key_id)
            except DrkitError as error:
                problems.append(f"{store.name}: {error.message}")
    if problems:
        raise GuardRefused(
            f"the key is gone elsewhere, and still opens: {'; '.join(problems)}",
            hint="mend that store, then the next change of keys finishes this one",
        )


def _copies(stores: Iterable[Store]) -> dict[str, dict[Store, bytes]]:
    """Every key file by name, with what each store holds under that name."""
    found: dict[str, dict[Store, bytes]] = {}
    for store in stores:
        for info in list(store.list(KEYS)):
            found.setdefault(info.name, {})[store] = store.get(info.name)
    return found


def _is_whole(name: str, content: bytes) -> bool:
    return hashlib.sha256(content).hexdigest() == name.removeprefix(KEYS)


def _values(content: bytes | None) -> dict[str, Any]:
    try:
        values = orjson.loads(content or b"{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _opens(content: bytes, password: str, repository: Repository) -> bool:
    """Whether `password` opens it, and finds this repository's master key in it."""
    try:
        return open_key_file(content, password) == repository.key
    except WrongKey:
        return False


def _prove(repository: Repository, store: Store, name: str, password: str) -> None:
    content = store.get(name)
    if not (_is_whole(name, content) and _opens(content, password, repository)):
        raise DamagedData(
            f"{store.name}: the new key is not what was written",
            hint="the old password stays; look at that store: drkit check",
        )


def _take_back(repository: Repository, store: Store, name: str) -> None:
    from drkit.events import Note

    try:
        store.delete(name)
    except DrkitError as error:
        text = f"a key that was not completed stays: drkit key remove {name[len(KEYS) :][:8]}"
        repository.emit(Note("warning", store.name, f"{text} ({error.message})"))


def _refuse_lost(locks: Locks) -> None:
    if lost := locks.lost():
        store, why = next(iter(lost.items()))
        raise GuardRefused(f"{store.name}: {why}", hint="run it again; nothing was removed")


def _refuse_empty(password: str) -> None:
    if not password:
        raise GuardRefused("the new password is empty", hint="choose one; nothing was changed")

"""Whose repository lies in a store: its config, its keys, and what must not be overwritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import orjson

from drkit.errors import DamagedData, DrkitError, GuardRefused, NoRepository
from drkit.events import Emit, Note
from drkit.repository.format.keys import open_key_file
from drkit.repository.format.layout import CONFIG, KEYS, ROOT
from drkit.repository.format.sealing import MasterKey
from drkit.stores.interface import ObjectMissing, Store


def exists(store: Store) -> bool:
    try:
        store.stat(CONFIG)
    except ObjectMissing:
        return False
    return True


def refuse_leftovers(store: Store, prefix: str = ROOT) -> None:
    for info in store.list(prefix):
        raise GuardRefused(
            f"{store.name} holds {info.name}, but no repository config",
            hint="put the config of another store there, or name an empty prefix for it",
        )


def open_key(stores: Sequence[Store], password: str) -> MasterKey:
    """The master key from whichever store's key files `password` opens."""
    return find_key(stores, password)[0]


def find_key(
    stores: Sequence[Store], password: str, likely: str | None = None
) -> tuple[MasterKey, str]:
    """The master key and the name of the key file that `password` opened.

    The file named `likely` is asked for first: where it is there, no listing is needed.
    """
    error: DrkitError | None = None
    for store in stores:
        if likely is not None:
            with suppress(DrkitError):
                return open_key_file(store.get(KEYS + likely), password), likely
        try:
            names = [info.name for info in store.list(KEYS)]
        except DrkitError as failed:
            error = failed
            continue
        for name in names:
            try:
                return open_key_file(store.get(name), password), name.removeprefix(KEYS)
            except DrkitError as failed:
                error = failed
    raise error or no_repository(stores)


def read_config(store: Store, key: MasterKey) -> tuple[str, int]:
    """Id and format version in the store's config. `DamagedData` when `key` did not seal it."""
    return parse_config(store.get(CONFIG), store.name, key)


def parse_config(content: bytes, where: str, key: MasterKey) -> tuple[str, int]:
    """Id and format version of a config that was read from the store `where`.

    Raises `DamagedData` for what the key did not seal, or sealed as something else.
    """
    try:
        config = orjson.loads(key.open(content))
        repository_id, version = str(config["id"]), int(config["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedData(
            f"{where}: its config is another object: {error!r}",
            hint=f"drkit repair config {where}",
        ) from None
    if version not in (1, 2):
        raise NoRepository(
            f"{where} holds a repository of format {version}",
            hint="this version reads restic's formats 1 and 2",
        )
    return repository_id, version


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the configs of several stores agree on. `stores` have a sound one, in their order;
    `damaged`, by name, say why not. Without a sound one there is no id.
    """

    repository_id: str
    version: int
    stores: tuple[Store, ...]
    damaged: Mapping[str, str]


def agreed_identity(configs: Mapping[Store, bytes], key: MasterKey, emit: Emit) -> Agreed:
    """The one repository that these configs are of. `GuardRefused` for a store that holds another,
    or one that this key does not open (S12).
    """
    repository_id, version = "", 2
    stores: list[Store] = []
    damaged: dict[str, str] = {}
    for store, config in configs.items():
        try:
            found, version = parse_config(config, store.name, key)
        except DamagedData:
            refuse_stranger(store, tuple(configs))
            damaged[store.name] = "its config is damaged; copy another store's there (S8)"
            emit(Note("error", store.name, damaged[store.name]))
            continue
        if repository_id and found != repository_id:
            raise GuardRefused(
                f"{store.name} holds the repository {found[:8]}, others {repository_id[:8]}",
                hint="name the right bucket or prefix for it in schedules.yaml",
            )
        repository_id = found
        stores.append(store)
    return Agreed(repository_id, version, tuple(stores), damaged)


def identity(store: Store, key: MasterKey) -> str:
    try:
        return read_config(store, key)[0]
    except DamagedData:
        return f"another ({store.name})"


def refuse_stranger(store: Store, others: Sequence[Store]) -> None:
    """`GuardRefused` unless `store` shares a key file with another: then it is a damaged copy."""
    own = {info.name for info in store.list(KEYS)}
    shared = any(
        own & {info.name for info in other.list(KEYS)} for other in others if other is not store
    )
    if not shared:
        raise GuardRefused(
            f"{store.name} holds another repository",
            hint="name the right bucket or prefix for it in schedules.yaml",
        )


def no_repository(stores: Sequence[Store]) -> NoRepository:
    return NoRepository(
        f"no repository in {', '.join(store.name for store in stores)}", hint="make it: drkit init"
    )

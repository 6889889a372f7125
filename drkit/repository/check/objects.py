"""Config, keys, indexes and snapshots of one store: present, with the right bytes, readable."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from drkit.errors import DamagedData, DrkitError
from drkit.repository.check.values import Finding
from drkit.repository.copies.listing import Listing
from drkit.repository.format.identity import read_config
from drkit.repository.format.layout import BESIDE, CONFIG, DELETIONS, INDEX, KEYS, PRUNES, SNAPSHOTS
from drkit.repository.format.notes import NOTES, right_note
from drkit.repository.format.sealing import MasterKey
from drkit.repository.format.snapshot import Snapshot, read_snapshot
from drkit.repository.index.columns import IndexPart, read_columns
from drkit.repository.index.objects import open_unpacked
from drkit.repository.records.sealed import read_record
from drkit.stores.interface import ObjectMissing, Store

_AT_ONCE = 8  # requests are small: what they cost is the way there and back


@dataclass(slots=True)
class Known:
    """What was read of small objects, by id; each is decoded once, whichever store gave it."""

    parts: dict[str, IndexPart] = field(default_factory=dict)
    packs_of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)


def check_identity(
    store: Store, key: MasterKey, repository_id: str, key_files: Collection[str]
) -> list[Finding]:
    """Problems with config and keys; `key_files` are those of all stores. Never repaired by itself
    (S8), so each says who must do what.
    """
    found = []
    try:
        if read_config(store, key)[0] != repository_id:
            found.append(_wrong(store, CONFIG, "it is another repository's"))
    except ObjectMissing:
        found.append(Finding(store.name, CONFIG, "missing", "missing" + _BY_HAND))
    except (DrkitError, ValueError, KeyError, TypeError):
        found.append(_wrong(store, CONFIG, "it cannot be opened" + _BY_HAND))
    held = {info.name: info.size_bytes for info in store.list(KEYS)}
    for name in sorted(key_files):
        if name not in held:
            found.append(Finding(store.name, name, "missing", "missing" + _BY_HAND))
            continue
        try:
            content = store.get(name)
        except DrkitError as error:
            found.append(Finding(store.name, name, "unread", error.message))
            continue
        if hashlib.sha256(content).hexdigest() != name.removeprefix(KEYS):
            found.append(_wrong(store, name, "its bytes do not match its name" + _BY_HAND))
    return found


_BY_HAND = "; config and keys are never repaired by themselves: drkit repair config STORE"


def check_notes(
    copies: Mapping[Store, Mapping[str, bytes]], repository_id: str
) -> Iterator[Finding]:
    """Problems with drkit.json and RESTORE.txt, by comparing the stores' `copies`."""
    for name in NOTES:
        held = {store: notes[name] for store, notes in copies.items() if name in notes}
        right = right_note(name, held.values(), repository_id)
        for store in copies if held else ():
            if store not in held:
                yield Finding(store.name, name, "missing", f"missing{_BY_NAME}")
            elif right is not None and held[store] != right:
                yield _wrong(store, name, f"it is not what other stores have{_BY_NAME}")


_BY_NAME = "; put it back: drkit repair config STORE"


def check_small_objects(
    store: Store, key: MasterKey, listing: Listing, known: Known
) -> list[Finding]:
    """Reads and decodes every index, snapshot and record of the store; what is right of the first
    two goes to `known`.
    """

    def read(name: str) -> tuple[str, bytes | DrkitError]:
        try:
            sealed = store.get(name)
            if name.startswith(BESIDE):
                read_record(key, name.rpartition("/")[2], sealed)
                return name, b""
            return name, open_unpacked(key, name, sealed)
        except DrkitError as error:
            return name, error

    found = []
    names = [DELETIONS + record for record in listing.deletions]
    names += [PRUNES + record for record in listing.prunes]
    names += [INDEX + index_id for index_id in listing.indexes]
    names += [SNAPSHOTS + snapshot_id for snapshot_id in listing.snapshots]
    with ThreadPoolExecutor(_AT_ONCE, f"check {store.name}") as pool:
        for name, content in pool.map(read, sorted(names)):
            if isinstance(content, bytes) and not name.startswith(BESIDE):
                content = _decode(name, content, known) or b""
            if isinstance(content, ObjectMissing):
                continue  # removed since it was listed: by another run, not by damage
            if isinstance(content, DamagedData):
                found.append(_wrong(store, name, content.message))
            elif isinstance(content, DrkitError):
                found.append(Finding(store.name, name, "unread", content.message))
    return found


def _decode(name: str, content: bytes, known: Known) -> DamagedData | None:
    object_id = name.rpartition("/")[2]
    try:
        if name.startswith(INDEX):
            if object_id not in known.parts:
                known.parts[object_id] = read_columns(content)
        elif object_id not in known.snapshots:
            known.snapshots[object_id] = read_snapshot(content)
    except DamagedData as error:
        return error
    return None


def _wrong(store: Store, name: str, what: str) -> Finding:
    return Finding(store.name, name, "wrong", what)

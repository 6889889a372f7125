"""What the stores say of the chunker: the first sound drkit.json counts."""

from __future__ import annotations

from collections.abc import Sequence

from drkit.errors import DamagedData
from drkit.events import Emit, Note
from drkit.repository.copies.reading import NoStoreCould, first_good
from drkit.repository.format.chunker import ChunkerSettings
from drkit.repository.format.layout import DRKIT
from drkit.stores.interface import ObjectMissing, Store

_MAX_FILE_BYTES = 64 << 10
_HINT = "copy it from another store; without it large files are stored once more"


def read_settings(stores: Sequence[Store], emit: Emit) -> ChunkerSettings:
    """What the first store with a sound drkit.json pins; without one, those of new repositories."""

    def read(store: Store) -> ChunkerSettings:
        if store.stat(DRKIT).size_bytes > _MAX_FILE_BYTES:
            raise DamagedData(f"{store.name}: {DRKIT} is too large", hint=_HINT)
        try:
            return ChunkerSettings.from_json(store.get(DRKIT))
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedData(f"{store.name}: {DRKIT}: {error}", hint=_HINT) from None

    try:
        return first_good(stores, read)[1]
    except NoStoreCould as error:
        if not all(isinstance(why, ObjectMissing) for why in error.reasons.values()):
            emit(Note("warning", DRKIT, f"{error.message}; files are cut as in a new repository"))
        return ChunkerSettings()

"""The index as it is in memory, kept in the local cache: read at once, where JSON takes seconds.

A kept index is one file, sealed in slices. Its head, sealed too, lists the index files that it was
made of and the hash of each slice, so that a slice that was changed or exchanged is seen; then the
index is read from its files again.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import orjson

from drkit.errors import DamagedData
from drkit.repository.cache.local_cache import LocalCache
from drkit.repository.format.sealing import MasterKey
from drkit.repository.index.arrays import np
from drkit.repository.index.blobs import Index
from drkit.repository.index.part import Columns, IndexPart

KIND = "columns"
_FORMAT = 1
_SLICE_ROWS = 1 << 16
_NEWEST = hashlib.sha256(b"newest").hexdigest()
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class KeptIndex:
    """An index and the names of the index files that it holds."""

    index: Index
    names: frozenset[str]


def keep_index(cache: LocalCache, key: MasterKey, index: Index, names: Collection[str]) -> None:
    """Keeps `index`, which was made of the index files `names` and of nothing else."""
    parts = index.parts()
    sealed = [key.seal(piece) for column in (parts.ids, parts.places) for piece in _slices(column)]
    head = key.seal(
        orjson.dumps(
            {
                "drkit": _FORMAT,
                "names": sorted(names),
                "packs": parts.packs,
                "rows": len(parts.ids),
                "slices": [[len(piece), hashlib.sha256(piece).hexdigest()] for piece in sealed],
            }
        )
    )
    cache.put(KIND, _NEWEST, _LENGTH.pack(len(head)), head, *sealed)


def kept_index(cache: LocalCache, key: MasterKey) -> KeptIndex | None:
    """The index that was kept last, if it is whole."""
    content = cache.get(KIND, _NEWEST)
    if content is None:
        return None
    try:
        return _read(memoryview(content), key)
    except (DamagedData, KeyError, TypeError, ValueError, struct.error):
        cache.drop(KIND, _NEWEST)
        return None


def _read(content: memoryview, key: MasterKey) -> KeptIndex:
    (length,) = _LENGTH.unpack_from(content)
    at = _LENGTH.size + length
    head = orjson.loads(key.open(content[_LENGTH.size : at]))
    if head["drkit"] != _FORMAT:
        raise ValueError("written by another version")
    rows = head["rows"]
    columns = bytearray(rows * 52)
    filled = 0
    for length, wanted in head["slices"]:
        piece = content[at : at + length]
        if hashlib.sha256(piece).hexdigest() != wanted:
            raise ValueError("a slice was changed")
        plain = key.open(piece)
        columns[filled : filled + len(plain)] = plain
        at, filled = at + length, filled + len(plain)
    if filled != rows * 52 or len(columns) != filled:
        raise ValueError("too short")
    ids = np.frombuffer(columns, np.uint8, rows * 32).reshape(rows, 32)
    places = np.frombuffer(columns, np.uint32, rows * 5, rows * 32).reshape(rows, 5)
    index = Index.of_sorted(IndexPart(head["packs"], ids, places))
    return KeptIndex(index, frozenset(head["names"]))


def _slices(column: Columns) -> Iterator[bytes]:
    return (column[at : at + _SLICE_ROWS].tobytes() for at in range(0, len(column), _SLICE_ROWS))

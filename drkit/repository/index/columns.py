"""The blobs of an index file, however it is written, as columns of numbers."""

from __future__ import annotations

from operator import itemgetter

import orjson

from drkit.errors import DamagedData
from drkit.repository.index.arrays import np
from drkit.repository.index.part import (
    IS_TREE,
    LENGTH,
    OFFSET,
    PACK,
    RAW_BYTES,
    Columns,
    IndexPart,
)
from drkit.repository.index.text import read_usual

__all__ = [
    "IS_TREE",
    "LENGTH",
    "OFFSET",
    "PACK",
    "RAW_BYTES",
    "Columns",
    "IndexPart",
    "read_columns",
]


_SMALL_BYTES = 64 << 10


def read_columns(content: bytes) -> IndexPart:
    """The blobs of an index file. Raises `DamagedData` when it is not one.

    restic's first index files are the bare list; what one `supersedes` is deleted by its writer and
    says nothing about blobs.
    """
    usual = read_usual(content) if len(content) > _SMALL_BYTES else None
    return usual or _read_any(content)


def _read_any(content: bytes) -> IndexPart:
    try:
        found = orjson.loads(content)
        packs = found if isinstance(found, list) else found["packs"]
        blobs = [blob for pack in packs for blob in pack["blobs"]]
        ids = bytes.fromhex("".join(map(itemgetter("id"), blobs)))
        places = np.empty((len(blobs), 5), np.uint32)
        places[:, PACK] = np.repeat(np.arange(len(packs)), [len(pack["blobs"]) for pack in packs])
        places[:, OFFSET] = [blob["offset"] for blob in blobs]
        places[:, LENGTH] = [blob["length"] for blob in blobs]
        places[:, RAW_BYTES] = [blob.get("uncompressed_length", 0) for blob in blobs]
        places[:, IS_TREE] = [blob["type"] == "tree" for blob in blobs]
        return IndexPart(
            [_pack_id(pack["id"]) for pack in packs],
            np.frombuffer(ids, np.uint8).reshape(len(blobs), 32),
            places,
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DamagedData(
            f"an index file cannot be read: {error!r}", hint="drkit repair index rebuilds it"
        ) from None


def _pack_id(text: str) -> str:
    if len(text) != 64:
        raise ValueError(f"{text[:80]!r} is no pack")
    return text

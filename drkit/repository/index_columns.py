"""The blobs of an index file as columns of numbers: 60 bytes a blob, whatever its JSON took."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import orjson

from drkit.errors import DamagedData

Columns = np.ndarray[Any, Any]

PACK, OFFSET, LENGTH, RAW_BYTES, IS_TREE = range(5)
"""The columns of `places`, all of 32 bits."""


@dataclass(frozen=True, slots=True)
class IndexPart:
    """Blobs in the order of the file: `ids` is (n, 32) bytes; `places` (n, 5) numbers, of which the
    first is the row of the blob's pack in `packs`.
    """

    packs: list[str]
    ids: Columns
    places: Columns


def read_columns(content: bytes) -> IndexPart:
    """The blobs of an index file. Raises `DamagedData` when it is not one.

    restic's first index files are the bare list; what one `supersedes` is deleted by its writer and
    says nothing about blobs.
    """
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


def prefixes_of(ids: Columns) -> Columns:
    """The first eight bytes of each id, as numbers in the order of the ids."""
    return ids[:, :8].copy().view(">u8").reshape(-1).astype(np.uint64)


def _pack_id(text: str) -> str:
    if len(text) != 64:
        raise ValueError(f"{text[:80]!r} is no pack")
    return text

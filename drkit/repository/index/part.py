"""Blobs as columns of numbers: 52 bytes a blob, whatever their JSON took; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drkit.repository.index.arrays import np

Columns = np.ndarray[Any, Any]

PACK, OFFSET, LENGTH, RAW_BYTES, IS_TREE = range(5)
"""The columns of `places`, all of 32 bits."""


@dataclass(frozen=True, slots=True)
class IndexPart:
    """Blobs in any order: `ids` is (n, 32) bytes; `places` (n, 5) numbers, of which the first is
    the row of the blob's pack in `packs`.
    """

    packs: list[str]
    ids: Columns
    places: Columns


def prefixes_of(ids: Columns) -> Columns:
    """The first eight bytes of each id, as numbers in the order of the ids."""
    return ids[:, :8].copy().view(">u8").reshape(-1).astype(np.uint64)

"""Keeps what a run sends, where the next run will look for it, so that no store is asked again.

Only what is small and surely read next time: indexes, snapshots, trees, and the point's own files.
"""

from __future__ import annotations

from collections.abc import Sequence

from drkit.errors import DamagedData
from drkit.repository.cache.local_cache import LocalCache
from drkit.repository.format.layout import DATA, INDEX, SNAPSHOTS
from drkit.repository.format.pack import BlobKind, read_header
from drkit.repository.format.sealing import MasterKey
from drkit.stores.interface import Buffer

_TREES_BYTES = 4 << 20  # one page, as trees are read (objects.py)
_FILES_BYTES = 64 << 10


def keep_sent(cache: LocalCache, key: MasterKey, name: str, pieces: Sequence[Buffer]) -> None:
    """Keeps the object `name` in the form in which it would be kept after reading."""
    size_bytes = sum(map(len, pieces))
    object_id = name.rpartition("/")[2]
    if name.startswith((INDEX, SNAPSHOTS)):
        kind = "index" if name.startswith(INDEX) else "snapshots"
        cache.put(kind, object_id, b"".join(pieces))
        return
    if not name.startswith(DATA) or size_bytes > _TREES_BYTES:
        return
    whole = b"".join(pieces)
    try:
        blobs = read_header(whole, key)
    except DamagedData:
        return  # what is damaged is found by whoever reads it
    if blobs and blobs[0].kind is BlobKind.TREE:
        cache.put("trees", f"{object_id}-0", whole[: blobs[-1].offset + blobs[-1].length])
    elif size_bytes <= _FILES_BYTES:
        for blob in blobs:
            cache.put("blobs", blob.id.hex(), whole[blob.offset : blob.offset + blob.length])

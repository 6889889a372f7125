"""Objects that are no packs (indexes, snapshots): sealed, compressed where it helps, named by hash.

Format: the plaintext is JSON, or byte 2 and a zstd frame of it (repository format 2).
"""

from __future__ import annotations

import hashlib

from drkit.repository.format.compression import compress
from drkit.repository.format.sealing import MasterKey


def seal_unpacked(key: MasterKey, content: bytes) -> tuple[str, bytes]:
    """Id and bytes of the object that holds `content`."""
    frame = compress(content)
    sealed = key.seal(content if frame is None else b"\x02" + frame)
    return hashlib.sha256(sealed).hexdigest(), sealed

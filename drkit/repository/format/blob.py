"""A sealed blob, opened and proved: nothing of it is used before its hash was found right (S11)."""

from __future__ import annotations

import hashlib
import threading

from drkit.errors import DamagedData
from drkit.repository.format.compression import decompress
from drkit.repository.format.sealing import MasterKey

_SCRATCH_BYTES = 4 << 20


def open_blob(key: MasterKey, sealed: bytes | memoryview, raw_bytes: int, blob_id: bytes) -> bytes:
    """A blob's content. `DamagedData` unless its hash is `blob_id`."""
    content = key.open(sealed)
    if raw_bytes:
        content = decompress(content, max_raw_bytes=raw_bytes)
    _prove(content, blob_id)
    return content


def borrow_blob(
    key: MasterKey, sealed: bytes | memoryview, raw_bytes: int, blob_id: bytes
) -> bytes | memoryview:
    """As `open_blob`, but what it returns may be overwritten by this thread's next call."""
    if len(_scratch.buffer) < len(sealed):
        _scratch.buffer = bytearray(max(len(sealed), _SCRATCH_BYTES))
    content: bytes | memoryview = key.open_into(sealed, _scratch.buffer)
    if raw_bytes:
        content = decompress(content, max_raw_bytes=raw_bytes)
    _prove(content, blob_id)
    return content


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.buffer = bytearray()


_scratch = _Scratch()


def _prove(content: bytes | memoryview, blob_id: bytes) -> None:
    if hashlib.sha256(content).digest() != blob_id:
        raise DamagedData("wrong bytes under a valid seal", hint="drkit check --read-data")

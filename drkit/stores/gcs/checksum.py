"""CRC32C, in the instruction that processors have for it."""

from __future__ import annotations

import base64

from drkit.google_cloud import crc32c
from drkit.stores.interface import Buffer

_SLICE_BYTES = 1024 * 1024


class Crc32c:
    """A running CRC32C."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, piece: Buffer) -> Crc32c:
        if isinstance(piece, bytes):
            self._value = crc32c(piece, after=self._value)
            return self
        view = memoryview(piece).cast("B")  # the library takes nothing but bytes
        for start in range(0, len(view), _SLICE_BYTES):
            part = bytes(view[start : start + _SLICE_BYTES])
            self._value = crc32c(part, after=self._value)
        return self

    def written(self) -> str:
        """As Google's APIs write it: base64 of four bytes, the highest first."""
        return base64.b64encode(self._value.to_bytes(4, "big")).decode()

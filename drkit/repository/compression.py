"""zstd where it helps. What was compressed is decoded and compared before it is trusted."""

from __future__ import annotations

import threading

import zstandard

from drkit.errors import DamagedData, DrkitError

_SAMPLE_BYTES = 64 * 1024
_MAX_RAW_BYTES = 1 << 30
_local = threading.local()


def compress(data: bytes | memoryview) -> bytes | None:
    """The zstd frame of `data`, or None where a sample of it does not shrink.

    The frame is decoded again and compared: compression libraries have corrupted data before.
    """
    if len(data) > _SAMPLE_BYTES:
        sample = memoryview(data)[:_SAMPLE_BYTES]
        if len(_compressor().compress(sample)) > len(sample) * 0.97:
            return None
    frame = _compressor().compress(data)
    if len(frame) >= len(data):
        return None
    if _decompressor().decompress(frame) != data:
        raise DrkitError(
            "zstd did not give back what it was given",
            hint="nothing was written; check this machine's memory, then report a bug",
        )
    return frame


def decompress(frame: bytes | memoryview, *, max_raw_bytes: int = _MAX_RAW_BYTES) -> bytes:
    """What `frame` holds. Raises `DamagedData`, also for a frame that claims to be outsized."""
    try:
        size = zstandard.frame_content_size(frame)
        if size > max_raw_bytes:
            raise zstandard.ZstdError(f"claims {size} bytes")
        return _decompressor().decompress(frame, max_output_size=max_raw_bytes if size < 0 else 0)
    except zstandard.ZstdError as error:
        raise DamagedData(
            f"a compressed blob cannot be decoded: {error}", hint="drkit check --read-data"
        ) from None


def _compressor() -> zstandard.ZstdCompressor:
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=3)
    compressor: zstandard.ZstdCompressor = _local.compressor
    return compressor


def _decompressor() -> zstandard.ZstdDecompressor:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    decompressor: zstandard.ZstdDecompressor = _local.decompressor
    return decompressor

"""Digests of a file and, where it is a safetensors file, of each of its tensors, in one pass.

The format: 8 bytes with the header's length (little endian), the header (JSON: name to dtype,
shape and data_offsets), then the data, with no hole and no overlap. The header is not trusted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import orjson

from drkit.mirror.manifest import TensorRange

MOST_HEADER_BYTES = 32 * 1024 * 1024
SUFFIX = ".safetensors"

Span = tuple[str, int, int]
"""Name of a tensor, and where its bytes begin and end in the file."""


def read_spans(header: bytes, size_bytes: int) -> list[Span]:
    """The tensors of a file of `size_bytes`, in the order of their bytes.

    `header` is the JSON alone. ValueError where a loader would refuse the file too: a hole, an
    overlap, bytes left over or missing.
    """
    value = orjson.loads(header)
    if not isinstance(value, dict):
        raise ValueError("the header is no JSON object")
    start = 8 + len(header)
    spans = []
    for name, tensor in value.items():
        if name == "__metadata__":
            continue
        begin, end = _offsets(tensor)
        spans.append((name, start + begin, start + end))
    spans.sort(key=lambda span: span[1:])
    at = start
    for name, begin, end in spans:
        if begin != at or end < begin:
            raise ValueError(f"tensor {name[:200]!r} does not begin where the one before it ends")
        at = end
    if at != size_bytes:
        raise ValueError(f"the tensors end at byte {at} of {size_bytes}")
    return spans


def _offsets(tensor: object) -> tuple[int, int]:
    match tensor:
        case {"data_offsets": [int(begin), int(end)]}:
            return begin, end
    raise ValueError("a tensor has no data_offsets")


@dataclass(frozen=True, slots=True)
class Digests:
    """`problem`: why a safetensors file has no tensor digests, in words."""

    sha256: str
    tensors: tuple[TensorRange, ...] = ()
    problem: str | None = None


class FileHasher:
    """Takes a file's bytes in order, in pieces of any size; `finish` tells the digests."""

    def __init__(self, path: str, size_bytes: int) -> None:
        self._whole = hashlib.sha256()
        self._tensors = _TensorHasher(size_bytes) if path.endswith(SUFFIX) else None

    def update(self, chunk: bytes) -> None:
        self._whole.update(chunk)
        if self._tensors is not None:
            self._tensors.update(chunk)

    def finish(self) -> Digests:
        if self._tensors is None:
            return Digests(self._whole.hexdigest())
        tensors, problem = self._tensors.finish()
        return Digests(self._whole.hexdigest(), tensors, problem)


class _TensorHasher:
    """Collects the header, then hashes each span as its bytes come by."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._head = bytearray()
        self._spans: list[Span] | None = None
        self._problem: str | None = None
        self._at = 0
        self._done: list[TensorRange] = []
        self._current = hashlib.sha256()

    def update(self, chunk: bytes) -> None:
        if self._problem is not None:
            return
        view = memoryview(chunk)
        if self._spans is None:
            taken = self._read_header(view)
            self._at += taken
            view = view[taken:]
            if self._spans is None:
                return
        self._hash(view, self._spans)

    def finish(self) -> tuple[tuple[TensorRange, ...], str | None]:
        if self._problem is None and self._spans is None:
            self._problem = "the file ends before its header does"
        if self._problem is not None or self._spans is None:
            return (), self._problem
        self._close_finished(self._spans)
        if len(self._done) < len(self._spans):
            return (), "the file ends before its tensors do"
        return tuple(self._done), None

    def _read_header(self, view: memoryview) -> int:
        """Takes what belongs to the header; returns how many bytes that was."""
        taken = self._take(view, 8)
        if len(self._head) < 8:
            return taken
        length = int.from_bytes(self._head[:8], "little")
        if length > min(MOST_HEADER_BYTES, self._size_bytes - 8):
            self._problem = f"a header of {length} bytes is not possible"
            return taken
        taken += self._take(view[taken:], 8 + length)
        if len(self._head) == 8 + length:
            try:
                self._spans = read_spans(bytes(self._head[8:]), self._size_bytes)
            except ValueError as error:
                self._problem = str(error)
        return taken

    def _take(self, view: memoryview, wanted: int) -> int:
        part = view[: max(0, wanted - len(self._head))]
        self._head += part
        return len(part)

    def _hash(self, view: memoryview, spans: list[Span]) -> None:
        while view:
            self._close_finished(spans)
            if len(self._done) == len(spans):
                return
            part = view[: spans[len(self._done)][2] - self._at]
            self._current.update(part)
            self._at += len(part)
            view = view[len(part) :]

    def _close_finished(self, spans: list[Span]) -> None:
        while len(self._done) < len(spans) and spans[len(self._done)][2] == self._at:
            name, begin, end = spans[len(self._done)]
            self._done.append(TensorRange(name, begin, end, self._current.hexdigest()))
            self._current = hashlib.sha256()

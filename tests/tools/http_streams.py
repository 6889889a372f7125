"""HTTP as it lies on the wire: heads, and bodies in slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

SLICE_BYTES = 64 * 1024
_MOST_HEAD_BYTES = 64 * 1024


@dataclass
class Asked:
    """One request's head."""

    method: str
    target: str
    headers: dict[str, str]
    raw: bytes

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", 0))

    @property
    def is_list(self) -> bool:
        """A list of objects, of S3 (a bucket's URL) or of Cloud Storage (`.../o?`)."""
        parts = urlsplit(self.target)
        query = parse_qs(parts.query)
        if self.method != "GET" or "alt" in query:
            return False
        return parts.path.endswith("/o") or "list-type" in query


@dataclass
class Head:
    raw: bytes
    headers: dict[str, str]

    @property
    def method_status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def keeps(self) -> bool:
        return self.raw.startswith(b"HTTP/1.1") and "content-length" in self.headers


class Memory:
    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    def read(self, size: int) -> bytes:
        piece, self._body = self._body[:size], self._body[size:]
        return bytes(piece)


def read_head(reader: object) -> Asked | None:
    """The next head: of a request, or (with the same fields) of an answer."""
    lines: list[bytes] = []
    while True:
        line = reader.readline(_MOST_HEAD_BYTES)  # type: ignore[attr-defined]
        if not line:
            return None
        lines.append(line)
        if line in (b"\r\n", b"\n"):
            break
    pairs = (line.decode("latin-1").partition(":") for line in lines[1:-1])
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    raw = b"".join(lines)
    if lines[0].startswith(b"HTTP/"):
        return Head(raw, headers)  # type: ignore[return-value]
    method, target, _ = lines[0].decode("latin-1").split(" ", 2)
    return Asked(method, target, headers, raw)


def body_length(asked: Asked, head: Head) -> int:
    if asked.method == "HEAD" or head.method_status in (204, 304):
        return 0
    return int(head.headers.get("content-length", -1))


def pieces(reader: object, length: int) -> Iterator[bytes]:
    """`length` bytes in slices, or with -1 all until the end."""
    while length:
        wanted = SLICE_BYTES if length < 0 else min(length, SLICE_BYTES)
        read = getattr(reader, "read1", None) or reader.read  # type: ignore[attr-defined]
        piece = read(wanted)
        if not piece:
            if length < 0:
                return
            raise EOFError
        length -= len(piece) if length > 0 else 0
        yield piece


def drain(reader: object, length: int) -> None:
    for _ in pieces(reader, length):
        pass

"""One file out of a multipart/form-data upload, straight to disk, however large (RFC 7578)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from email.message import Message
from pathlib import Path

LONGEST_PART_HEADER = 16 * 1024


class NotMultipart(ValueError):
    """The body is not what its content type says, or lacks the field."""


async def receive_file(
    content_type: str, chunks: AsyncIterator[bytes], field: str, into: Path
) -> str:
    """Writes the file of `field` to `into`; its SHA-256 in hex. Memory stays small.

    Other fields are skipped. Raises `NotMultipart` for a body that ends too early.
    """
    boundary = b"\r\n--" + _boundary(content_type)
    buffer = bytearray(b"\r\n")  # so that the first boundary looks like all others
    digest = hashlib.sha256()
    inside: str | None = None  # the name of the part that is being read
    found = False
    with into.open("wb") as output:
        async for chunk in chunks:
            buffer += chunk
            while True:
                if inside is None:
                    header = _take_header(buffer, boundary)
                    if header is None:
                        break
                    inside = _field_name(header)
                    found = found or inside == field
                end = buffer.find(boundary)
                part = bytes(buffer[: end if end >= 0 else max(0, len(buffer) - len(boundary))])
                del buffer[: len(part)]
                if inside == field:
                    output.write(part)
                    digest.update(part)
                if end < 0:
                    break
                inside = None
    if inside is not None or not buffer.startswith(boundary + b"--"):
        raise NotMultipart("the body ends in the middle of a part")
    if not found:
        raise NotMultipart(f"the form has no field {field!r}")
    return digest.hexdigest()


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_param("boundary")
    if message.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
        raise NotMultipart("send multipart/form-data with a boundary")
    return boundary.encode("latin-1")


def _take_header(buffer: bytearray, boundary: bytes) -> bytes | None:
    """The header of the part that starts at the boundary, cut off the buffer; None: not yet."""
    if len(buffer) < len(boundary) + 2 or buffer.startswith(boundary + b"--"):
        return None
    if not buffer.startswith(boundary + b"\r\n"):
        raise NotMultipart("a boundary was expected")
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > LONGEST_PART_HEADER:
            raise NotMultipart("the header of a part is too long")
        return None
    header = bytes(buffer[len(boundary) + 2 : end])
    del buffer[: end + 4]
    return header


def _field_name(header: bytes) -> str:
    message = Message()
    for line in header.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        message[name.strip()] = value.strip()
    return str(message.get_param("name", "", "content-disposition"))

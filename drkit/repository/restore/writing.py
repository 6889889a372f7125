"""What comes of a range of a pack: its blobs, opened, proved and written to files.

It is asked and answered in plain tuples, because they travel between processes (crew.py).
"""

from __future__ import annotations

from typing import NamedTuple

from drkit.errors import DamagedData
from drkit.repository.format.blob import borrow_blob
from drkit.repository.format.sealing import MasterKey
from drkit.repository.restore.files import Metadata, write_at, write_whole

Values = tuple[int, int, int | None, int, int, tuple[tuple[str, bytes], ...]]
"""Those of `Metadata`."""
Spot = tuple[str, int, Values | None]
"""A file, an offset in it in bytes, and what a new file becomes that this one blob makes whole."""
Sealed = tuple[bytes, int, int, int, list[Spot]]
"""A blob's id, its offset in the range, length and raw bytes, and where it is written."""


class Written(NamedTuple):
    """What was done with a range. `wrong`: blobs by number, with why; `unwritable`: blob and spot
    by number, with the system's error; `unset`: metadata that could not be set, by path.
    """

    bytes: int
    wrong: list[tuple[int, str]]
    unwritable: list[tuple[int, int, int]]
    unset: list[tuple[str, str]]


def write_range(
    key: MasterKey, data: bytes | memoryview, pieces: list[Sealed], *, sparse: bool
) -> Written:
    """Writes what is right of a range. Safe to repeat, but for files that it made whole."""
    view = memoryview(data)
    written = Written(0, [], [], [])
    count_bytes = 0
    for number, (blob_id, offset, length, raw_bytes, spots) in enumerate(pieces):
        try:
            content = borrow_blob(key, view[offset : offset + length], raw_bytes, blob_id)
        except DamagedData as error:
            written.wrong.append((number, error.message))
            continue
        write_content(content, number, spots, written, sparse=sparse)
        count_bytes += len(content) * len(spots)
    return written._replace(bytes=count_bytes)


def write_content(
    content: bytes | memoryview, number: int, spots: list[Spot], written: Written, *, sparse: bool
) -> None:
    """Writes a blob that was proved to all its spots; what fails is told in `written`."""

    def unset(path: str, why: str) -> None:
        written.unset.append((path, why))

    for spot, (path, at, values) in enumerate(spots):
        try:
            if values is not None:
                metadata = Metadata(*values)
                write_whole(path, content, metadata, sparse=sparse, on_failure=unset)
            else:
                write_at(path, content, at, sparse=sparse)
        except OSError as error:
            written.unwritable.append((number, spot, error.errno or 0))

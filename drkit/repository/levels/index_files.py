"""Single index files: which packs each one names. The whole of them is `Index`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import orjson

from drkit.errors import DamagedData
from drkit.events import Note
from drkit.repository.format.layout import INDEX
from drkit.repository.format.pack import BlobKind, PackedBlob, pack_size

if TYPE_CHECKING:
    from drkit.repository.repository import Repository

PackBlobs = Mapping[str, tuple[PackedBlob, ...]]


def read_index_file(content: bytes) -> dict[str, tuple[PackedBlob, ...]]:
    """The blobs of each pack that the file names. Raises `DamagedData` when it is none."""
    try:
        found = orjson.loads(content)
        return {
            pack["id"]: tuple(
                PackedBlob(
                    bytes.fromhex(blob["id"]),
                    BlobKind(blob["type"]),
                    blob["offset"],
                    blob["length"],
                    blob.get("uncompressed_length", 0),
                )
                for blob in pack["blobs"]
            )
            for pack in (found if isinstance(found, list) else found["packs"])
        }
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedData(
            f"an index file cannot be read: {error!r}", hint="drkit repair index rebuilds it"
        ) from None


def load_index_files(
    repository: Repository, ids: Iterable[str]
) -> dict[str, dict[str, tuple[PackedBlob, ...]]]:
    """The packs of each index file, by its id. One that no store can give is told and left out."""
    found = {}
    for index_id in sorted(set(ids)):
        try:
            found[index_id] = read_index_file(repository.load_unpacked(INDEX + index_id))
        except DamagedData as error:
            repository.emit(Note("error", f"index {index_id[:8]}", error.message))
    return found


def size_of(blobs: Iterable[PackedBlob]) -> int:
    """The exact size in bytes of the pack that holds `blobs`."""
    blobs = tuple(blobs)
    compressed = sum(1 for blob in blobs if blob.raw_bytes)
    return pack_size(sum(blob.length for blob in blobs), len(blobs) - compressed, compressed)

"""Which blob lies where: sorted arrays for what was loaded, a dict for what this run adds."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from drkit.errors import DamagedData
from drkit.repository.pack import BlobKind, PackedBlob, SealedPack

_ROW = np.dtype(
    [
        ("id", "S32"),
        ("pack", "u4"),
        ("offset", "u4"),
        ("length", "u4"),
        ("raw", "u4"),
        ("tree", "?"),
    ]
)


@dataclass(frozen=True, slots=True)
class Location:
    """A blob in its pack. `raw_bytes` is 0 for a blob that is not compressed."""

    pack_id: str
    kind: BlobKind
    offset: int
    length: int
    raw_bytes: int

    @property
    def content_bytes(self) -> int:
        """Size of the blob's content, without having read it."""
        return self.raw_bytes or self.length - 32


class Index:
    """All blobs of a repository. Look-ups and claims may come from many threads."""

    def __init__(self) -> None:
        self._packs: list[str] = []
        self._pack_bytes: list[int] = []
        self._rows: Any = np.empty(0, _ROW)
        self._chunks: list[Any] = []
        self._claimed: set[bytes] = set()
        self._added: dict[bytes, Location] = {}
        self._lock = threading.Lock()

    def load(self, content: bytes) -> None:
        """Adds one index file's blobs. Raises `DamagedData` when it is not one."""
        try:
            packs = orjson.loads(content)["packs"]
            for pack in packs:
                number = len(self._packs)
                self._packs.append(pack["id"])
                self._pack_bytes.append(sum(blob["length"] for blob in pack["blobs"]))
                self._chunks.append(
                    np.array(
                        [
                            (
                                bytes.fromhex(blob["id"]),
                                number,
                                blob["offset"],
                                blob["length"],
                                blob.get("uncompressed_length", 0),
                                blob["type"] == "tree",
                            )
                            for blob in pack["blobs"]
                        ],
                        _ROW,
                    )
                )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DamagedData(
                f"an index file cannot be read: {error!r}", hint="restic repair index rebuilds it"
            ) from None

    def sort(self) -> None:
        """Makes what was loaded findable; called once after the last `load`."""
        rows = np.concatenate([self._rows, *self._chunks])
        # numpy strips trailing zero bytes of S32 in comparisons only, so order stays total.
        self._rows = rows[np.argsort(rows["id"], kind="stable")]
        self._chunks = []

    def __len__(self) -> int:
        return len(self._rows) + len(self._added)

    def find(self, blob_id: bytes) -> Location | None:
        """Where the blob lies (one of the places, if several)."""
        if added := self._added.get(blob_id):
            return added
        at = int(np.searchsorted(self._rows["id"], np.bytes_(blob_id)))
        if at == len(self._rows) or self._rows["id"][at].ljust(32, b"\0") != blob_id:
            return None
        return self._location(self._rows[at])

    def find_all(self, blob_id: bytes) -> Iterator[Location]:
        """Every place of the blob: a repository may hold one twice."""
        if added := self._added.get(blob_id):
            yield added
        at = int(np.searchsorted(self._rows["id"], np.bytes_(blob_id)))
        while at < len(self._rows) and self._rows["id"][at].ljust(32, b"\0") == blob_id:
            yield self._location(self._rows[at])
            at += 1

    def claim(self, blob_id: bytes) -> bool:
        """True for the one caller that must store the blob; False if it is there or coming."""
        with self._lock:
            if blob_id in self._claimed or self.find(blob_id) is not None:
                return False
            self._claimed.add(blob_id)
            return True

    def add(self, pack: SealedPack) -> None:
        """Makes the blobs of a pack of this run findable."""
        with self._lock:
            for blob in pack.blobs:
                self._added[blob.id] = Location(
                    pack.id, blob.kind, blob.offset, blob.length, blob.raw_bytes
                )

    def packs(self) -> Iterator[str]:
        """Ids of the packs that were loaded."""
        return iter(self._packs)

    def blobs_by_pack(self) -> dict[str, list[PackedBlob]]:
        """Every loaded pack with its blobs in order of offset."""
        found: dict[str, list[PackedBlob]] = {pack_id: [] for pack_id in self._packs}
        for row in self._rows:
            place = self._location(row)
            found[place.pack_id].append(
                PackedBlob(
                    bytes(row["id"]).ljust(32, b"\0"),
                    place.kind,
                    place.offset,
                    place.length,
                    place.raw_bytes,
                )
            )
        for blobs in found.values():
            blobs.sort(key=lambda blob: blob.offset)
        return found

    def _location(self, row: Any) -> Location:
        return Location(
            self._packs[row["pack"]],
            BlobKind.TREE if row["tree"] else BlobKind.DATA,
            int(row["offset"]),
            int(row["length"]),
            int(row["raw"]),
        )


def index_content(packs: Iterable[SealedPack]) -> bytes:
    """The plaintext of an index file that lists `packs`."""
    return orjson.dumps(
        {"packs": [{"id": p.id, "blobs": [_blob(b) for b in p.blobs]} for p in packs]}
    )


def _blob(blob: PackedBlob) -> dict[str, object]:
    entry: dict[str, object] = {
        "id": blob.id.hex(),
        "type": blob.kind.value,
        "offset": blob.offset,
        "length": blob.length,
    }
    if blob.raw_bytes:
        entry["uncompressed_length"] = blob.raw_bytes
    return entry

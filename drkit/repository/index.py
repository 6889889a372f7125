"""Which blob lies where: sorted columns for what was loaded, a dict for what this run adds."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from drkit.errors import DamagedData
from drkit.repository.pack import BlobKind, PackedBlob, SealedPack, pack_size

_Columns = np.ndarray[Any, Any]


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
    """All blobs of a repository. Look-ups and claims may come from many threads.

    What was loaded lies in columns sorted by id: 63 bytes a blob, found by bisection over the
    first eight bytes of the id, which a hash spreads evenly.
    """

    def __init__(self) -> None:
        self._packs: list[str] = []
        self._pack_bytes: list[int] = []
        self._loaded: list[tuple[_Columns, ...]] = []
        self._prefixes: _Columns = np.empty(0, np.uint64)
        self._ids: _Columns = np.empty((0, 32), np.uint8)
        self._places: _Columns = np.empty((0, 5), np.uint32)
        self._claimed: set[bytes] = set()
        self._added: dict[bytes, Location] = {}
        self._lock = threading.Lock()

    def load(self, content: bytes) -> None:
        """Adds one index file's blobs. Raises `DamagedData` when it is not one."""
        try:
            found = orjson.loads(content)
            # restic's first index files are the bare list; what one `supersedes` is deleted by
            # its writer and says nothing about blobs
            for pack in found if isinstance(found, list) else found["packs"]:
                blobs = pack["blobs"]
                ids = bytes.fromhex("".join([blob["id"] for blob in blobs]))
                places = np.zeros((len(blobs), 5), np.uint32)
                places[:, 0] = len(self._packs)
                places[:, 1] = [blob["offset"] for blob in blobs]
                places[:, 2] = [blob["length"] for blob in blobs]
                places[:, 3] = [blob.get("uncompressed_length", 0) for blob in blobs]
                places[:, 4] = [blob["type"] == "tree" for blob in blobs]
                self._loaded.append((np.frombuffer(ids, np.uint8).reshape(-1, 32), places))
                self._packs.append(pack["id"])
                self._pack_bytes.append(_pack_size(places))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DamagedData(
                f"an index file cannot be read: {error!r}", hint="restic repair index rebuilds it"
            ) from None

    def sort(self) -> None:
        """Makes what was loaded findable; called once after the last `load`."""
        ids = np.concatenate([self._ids, *(ids for ids, _ in self._loaded)])
        places = np.concatenate([self._places, *(places for _, places in self._loaded)])
        prefixes = ids[:, :8].copy().view(">u8").reshape(-1).astype(np.uint64)
        order = np.argsort(prefixes, kind="stable")
        self._prefixes, self._ids, self._places = prefixes[order], ids[order], places[order]
        self._loaded = []

    def keep_packs(self, sound: Container[str]) -> tuple[str, ...]:
        """Forgets every loaded pack that is not `sound`; their ids. Their blobs count as absent,
        so that nothing new is built on bytes that no store has.
        """
        lost = [number for number, pack_id in enumerate(self._packs) if pack_id not in sound]
        if lost:
            keep = ~np.isin(self._places[:, 0], lost)
            self._prefixes = self._prefixes[keep]
            self._ids = self._ids[keep]
            self._places = self._places[keep]
        return tuple(self._packs[number] for number in lost)

    def __len__(self) -> int:
        return len(self._prefixes) + len(self._added)

    def __contains__(self, blob_id: bytes) -> bool:
        return self.find(blob_id) is not None

    def find(self, blob_id: bytes) -> Location | None:
        """Where the blob lies (one of the places, if several)."""
        return next(self.find_all(blob_id), None)

    def find_all(self, blob_id: bytes) -> Iterator[Location]:
        """Every place of the blob: a repository may hold one twice."""
        if added := self._added.get(blob_id):
            yield added
        for at in self._rows(blob_id):
            yield self._location(at)

    def row(self, blob_id: bytes) -> int | None:
        """The number of the blob's first place among those loaded, below `rows`; None: none."""
        return next(self._rows(blob_id), None)

    @property
    def rows(self) -> int:
        """How many places were loaded; `place` tells of each."""
        return len(self._prefixes)

    def place(self, row: int) -> tuple[bytes, Location]:
        """Id and location of the blob in `row`."""
        return self._ids[row].tobytes(), self._location(row)

    def _rows(self, blob_id: bytes) -> Iterator[int]:
        prefix = np.uint64(int.from_bytes(blob_id[:8], "big"))
        at = int(self._prefixes.searchsorted(prefix))
        while at < len(self._prefixes) and self._prefixes[at] == prefix:
            if self._ids[at].tobytes() == blob_id:
                yield at
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

    def pack_sizes(self) -> dict[str, int]:
        """Ids of the packs that were loaded, with the exact size that each must have."""
        return dict(zip(self._packs, self._pack_bytes, strict=True))

    def blobs_by_pack(self) -> dict[str, list[PackedBlob]]:
        """Every loaded pack with its blobs in order of offset."""
        found: dict[str, list[PackedBlob]] = {pack_id: [] for pack_id in self._packs}
        for at in range(len(self._prefixes)):
            place = self._location(at)
            found[place.pack_id].append(
                PackedBlob(
                    self._ids[at].tobytes(),
                    place.kind,
                    place.offset,
                    place.length,
                    place.raw_bytes,
                )
            )
        for blobs in found.values():
            blobs.sort(key=lambda blob: blob.offset)
        return found

    def _location(self, at: int) -> Location:
        pack, offset, length, raw_bytes, is_tree = self._places[at].tolist()
        kind = BlobKind.TREE if is_tree else BlobKind.DATA
        return Location(self._packs[pack], kind, offset, length, raw_bytes)


def _pack_size(places: _Columns) -> int:
    compressed = int(np.count_nonzero(places[:, 3]))
    return pack_size(int(places[:, 2].sum(dtype=np.uint64)), len(places) - compressed, compressed)


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

"""Which blob lies where: sorted columns for what was loaded, a dict for what this run adds."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from drkit.repository.format.pack import BlobKind, PackedBlob, SealedPack, pack_size
from drkit.repository.index.arrays import np
from drkit.repository.index.columns import read_columns
from drkit.repository.index.part import (
    LENGTH,
    OFFSET,
    PACK,
    RAW_BYTES,
    Columns,
    IndexPart,
    prefixes_of,
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


@dataclass(frozen=True, slots=True)
class Found:
    """Many blobs at once, each by its row among those loaded (-1: not there), and where it lies.

    `places` has a row for each, as `index_columns` describes; `packs` are the ids they refer to.
    """

    rows: Columns
    places: Columns
    packs: Sequence[str]


class Index:
    """All blobs of a repository. Look-ups and claims may come from many threads.

    What was loaded lies in columns sorted by id: 60 bytes a blob, found by bisection over the
    first eight bytes of the id, which a hash spreads evenly.
    """

    def __init__(self) -> None:
        self._packs: list[str] = []
        self._pack_numbers: dict[str, int] = {}
        self._loaded: list[IndexPart] = []
        self._repeated = False
        self._prefixes: Columns = np.empty(0, np.uint64)
        self._ids: Columns = np.empty((0, 32), np.uint8)
        self._places: Columns = np.empty((0, 5), np.uint32)
        self._ends: Columns | None = None
        self._claimed: set[bytes] = set()
        self._forgot = False
        self._added: dict[bytes, Location] = {}
        self._lock = threading.Lock()

    def load(self, content: bytes) -> None:
        """Adds one index file's blobs. Raises `DamagedData` when it is not one."""
        self.add_part(read_columns(content))

    def add_part(self, part: IndexPart) -> None:
        """Adds the blobs of one index file; `sort` makes them findable. `part` is used up."""
        numbers = []
        for pack_id in part.packs:
            number = self._pack_numbers.setdefault(pack_id, len(self._packs))
            if number == len(self._packs):
                self._packs.append(pack_id)
            else:  # stores may name one pack in index files of their own
                self._repeated = True
            numbers.append(number)
        part.places[:, PACK] = np.array(numbers, np.uint32)[part.places[:, PACK]]
        self._loaded.append(part)

    def sort(self) -> None:
        """Makes what was loaded findable; called once after the last `load`."""
        if not self._loaded:
            return
        loaded, self._loaded = self._loaded, []
        ids = np.concatenate([self._ids, *(part.ids for part in loaded)])
        places = np.concatenate([self._places, *(part.places for part in loaded)])
        del loaded
        prefixes = prefixes_of(ids)
        if self._repeated:
            order = np.lexsort((places[:, OFFSET], places[:, PACK], prefixes))
        else:
            order = np.argsort(prefixes, kind="stable")
        self._prefixes = prefixes[order]
        self._ids = ids[order]
        del ids, prefixes
        self._places = places[order]
        if self._repeated:
            self._keep(_first_of_each(self._ids, self._places))
            self._repeated = False

    def parts(self) -> IndexPart:
        """All that was loaded, sorted, as it is in memory: for reading only."""
        return IndexPart(self._packs, self._ids, self._places)

    @classmethod
    def of_sorted(cls, part: IndexPart) -> Index:
        """The index of which `part` are the `parts`; ValueError when it is not sorted."""
        index = cls()
        index._packs = list(part.packs)
        index._pack_numbers = {pack_id: row for row, pack_id in enumerate(part.packs)}
        index._prefixes, index._ids, index._places = prefixes_of(part.ids), part.ids, part.places
        if (index._prefixes[1:] < index._prefixes[:-1]).any():
            raise ValueError("not sorted")
        if len(part.places) and int(part.places[:, PACK].max()) >= len(part.packs):
            raise ValueError("a blob in no pack")
        return index

    def keep_packs(self, sound: Container[str]) -> tuple[str, ...]:
        """Forgets every loaded pack that is not `sound`; their ids. Their blobs count as absent,
        so that nothing new is built on bytes that no store has.
        """
        lost = [number for number, pack_id in enumerate(self._packs) if pack_id not in sound]
        if lost:
            self._forgot = True
            self._keep(~np.isin(self._places[:, PACK], lost))
        return tuple(self._packs[number] for number in lost)

    @property
    def is_as_loaded(self) -> bool:
        """Nothing was added to it, and nothing forgotten."""
        return not (self._forgot or self._claimed or self._added)

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

    def find_many(self, blob_ids: bytes) -> Found:
        """Where the blobs lie whose ids (32 bytes each) follow each other in `blob_ids`; one of the
        places, if several. Blobs that this run adds are not found here.
        """
        wanted = np.frombuffer(blob_ids, np.uint8).reshape(-1, 32)
        rows = np.full(len(wanted), -1, np.int64)
        if len(self._prefixes):
            prefixes = prefixes_of(wanted)
            at = self._prefixes.searchsorted(prefixes)
            open_ = np.arange(len(wanted))
            while len(open_):  # again only for ids that share their first eight bytes
                at_open = at[open_]
                inside = at_open < len(self._prefixes)
                inside[inside] = self._prefixes[at_open[inside]] == prefixes[open_[inside]]
                open_ = open_[inside]
                same = (self._ids[at[open_]] == wanted[open_]).all(axis=1)
                rows[open_[same]] = at[open_[same]]
                open_ = open_[~same]
                at[open_] += 1
        places = self._places[rows] if len(self._places) else np.zeros((len(rows), 5), np.uint32)
        return Found(rows, places, self._packs)

    def pack_sizes(self) -> dict[str, int]:
        """Ids of the packs that were loaded, with the exact size that each must have."""
        count = len(self._packs)
        number = self._places[:, PACK]
        sealed = np.bincount(number, self._places[:, LENGTH], count)  # exact below 2**53
        blobs = np.bincount(number, minlength=count)
        shrunk = np.bincount(number, self._places[:, RAW_BYTES] > 0, count)
        return {
            pack_id: pack_size(int(sealed[row]), int(blobs[row] - shrunk[row]), int(shrunk[row]))
            for row, pack_id in enumerate(self._packs)
            if blobs[row]
        }

    def pack_end(self, pack_id: str) -> int | None:
        """Where the last blob of a loaded pack ends; None for a pack that was not loaded."""
        number = self._pack_numbers.get(pack_id)
        if number is None:
            return None
        if self._ends is None:
            ends = np.zeros(len(self._packs), np.int64)
            blob_ends = self._places[:, OFFSET].astype(np.int64) + self._places[:, LENGTH]
            np.maximum.at(ends, self._places[:, PACK], blob_ends)
            self._ends = ends
        return int(self._ends[number])

    def packs(self) -> Iterator[tuple[str, list[PackedBlob]]]:
        """One pack after the other with its blobs in order of offset; packs without are left out.
        No more than one pack's blobs are in memory.
        """
        order = np.lexsort((self._places[:, OFFSET], self._places[:, PACK]))
        numbers = self._places[order, PACK]
        starts: list[int] = np.flatnonzero(np.diff(numbers.astype(np.int64), prepend=-1)).tolist()
        for start, end in zip(starts, [*starts, len(order)][1:], strict=True):
            rows = order[start:end]
            blobs = [
                PackedBlob(blob.tobytes(), _kind(is_tree), offset, length, raw_bytes)
                for blob, (_, offset, length, raw_bytes, is_tree) in zip(
                    self._ids[rows], self._places[rows].tolist(), strict=True
                )
            ]
            yield self._packs[numbers[start]], blobs

    def _keep(self, rows: Columns) -> None:
        self._prefixes = self._prefixes[rows]
        self._ids = self._ids[rows]
        self._places = self._places[rows]

    def _location(self, at: int) -> Location:
        pack, offset, length, raw_bytes, is_tree = self._places[at].tolist()
        return Location(self._packs[pack], _kind(is_tree), offset, length, raw_bytes)


def _kind(is_tree: int) -> BlobKind:
    return BlobKind.TREE if is_tree else BlobKind.DATA


def _first_of_each(ids: Columns, places: Columns) -> Columns:
    """A mask without the rows that repeat the row before them."""
    keep = np.ones(len(ids), np.bool_)
    same = (ids[1:] == ids[:-1]).all(axis=1)
    same &= places[1:, PACK] == places[:-1, PACK]
    keep[1:] = ~(same & (places[1:, OFFSET] == places[:-1, OFFSET]))
    return keep


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

"""Packs of one store against what the indexes say of them: size, header, and every blob."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from drkit.errors import DamagedData, DrkitError
from drkit.events import Emit, Progress
from drkit.repository.format.blob import open_blob
from drkit.repository.format.layout import pack_name
from drkit.repository.format.pack import BlobKind, PackedBlob, read_header
from drkit.repository.format.sealing import MasterKey
from drkit.repository.index.arrays import np
from drkit.repository.index.blobs import Index
from drkit.repository.index.columns import IS_TREE, OFFSET, PACK, Columns
from drkit.stores.interface import ObjectMissing, Store


class PackTable:
    """The rows of an index by pack: 8 bytes a blob, so that one pack's blobs are found at once."""

    def __init__(self, index: Index) -> None:
        self._index = index
        part = index.parts()
        self.packs = part.packs
        self.number_of = part.places[:, PACK]
        self._order = np.lexsort((part.places[:, OFFSET], self.number_of))
        ordered = self.number_of[self._order]
        numbers = np.arange(len(self.packs))
        self._starts = np.searchsorted(ordered, numbers, "left")
        self._ends = np.searchsorted(ordered, numbers, "right")
        self.numbers = {pack: number for number, pack in enumerate(self.packs)}
        has_tree = np.zeros(len(self.packs), np.bool_)
        has_tree[self.number_of[part.places[:, IS_TREE] > 0]] = True
        self.tree_packs = [self.packs[number] for number in np.flatnonzero(has_tree)]

    def rows(self, pack: str) -> Columns:
        """The rows of the pack's blobs, in order of offset."""
        number = self.numbers[pack]
        return self._order[self._starts[number] : self._ends[number]]

    def blobs(self, pack: str) -> list[PackedBlob]:
        found = []
        for row in self.rows(pack).tolist():
            blob_id, place = self._index.place(row)
            found.append(
                PackedBlob(blob_id, place.kind, place.offset, place.length, place.raw_bytes)
            )
        return found


@dataclass(frozen=True, slots=True)
class PackVerdict:
    """What reading a pack whole said. `why` is "" when all is well; `bad` are its damaged blobs,
    and all of them when nothing could be read. `trees` are kept only where they were asked for.
    """

    pack: str
    why: str
    bad: tuple[bytes, ...]
    size_bytes: int
    missing: bool = False
    trees: tuple[tuple[bytes, bytes], ...] = ()


def read_packs(
    store: Store,
    key: MasterKey,
    table: PackTable,
    packs: Collection[str],
    emit: Emit,
    *,
    task: str,
    keep: bool = False,
) -> Iterator[PackVerdict]:
    """Reads each pack whole and says what is wrong with it; a few are in memory at a time."""
    workers = max(2, os.cpu_count() or 2)
    waiting = iter(sorted(packs))
    coming: deque[Future[PackVerdict]] = deque()
    done = 0
    with ThreadPoolExecutor(workers, f"check {store.name}") as pool:
        try:
            while True:
                while len(coming) <= workers and (pack := next(waiting, None)):
                    blobs = table.blobs(pack)
                    coming.append(pool.submit(judge_pack, store, key, pack, blobs, keep))
                if not coming:
                    return
                verdict = coming.popleft().result()
                done += 1
                emit(Progress(task, done, len(packs), "packs", verdict.pack[:8]))
                yield verdict
        finally:
            for future in coming:
                future.cancel()


def judge_pack(
    store: Store, key: MasterKey, pack: str, blobs: list[PackedBlob], keep: bool
) -> PackVerdict:
    try:
        content = store.get(pack_name(pack))
    except DrkitError as error:
        gone = isinstance(error, ObjectMissing)
        return PackVerdict(pack, error.message, tuple(blob.id for blob in blobs), 0, gone)
    bad, trees = [], []
    for blob in blobs:
        sealed = memoryview(content)[blob.offset : blob.offset + blob.length]
        try:
            plain = open_blob(key, sealed, blob.raw_bytes, blob.id)
        except DamagedData:
            bad.append(blob.id)
            continue
        if keep and blob.kind is BlobKind.TREE:
            trees.append((blob.id, plain))
    why = ""
    if hashlib.sha256(content).hexdigest() != pack:
        why = "its bytes do not match its name"
        if bad:
            why += f"; {len(bad)} of {len(blobs)} blobs are damaged"
    elif bad:
        why = f"blob {bad[0].hex()[:8]} has other content"
    else:
        why = _header_problem(key, content, blobs)
    return PackVerdict(pack, why, tuple(bad), len(content), trees=tuple(trees))


def check_headers(
    store: Store, key: MasterKey, table: PackTable, sizes: Mapping[str, int], sample: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Reads the headers alone of the sampled packs; (pack, why) where one and the index differ."""
    for pack in sample:
        blobs = table.blobs(pack)
        end = blobs[-1].offset + blobs[-1].length if blobs else 0
        try:
            # the header lies behind the last blob; the blobs before it are not read
            tail = store.get(pack_name(pack), offset=end, length=sizes[pack] - end)
            why = _header_problem(key, tail, blobs, skipped=end)
        except DrkitError as error:
            why = error.message
        if why:
            yield pack, why


def _header_problem(
    key: MasterKey, content: bytes, blobs: list[PackedBlob], skipped: int = 0
) -> str:
    try:
        found = read_header(content, key, skipped=skipped)
    except DamagedData as error:
        return error.message
    return "" if list(found) == blobs else "its header and the index differ"

"""Which ranges of which packs hold the blobs of some files: neighbours are read in one request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drkit.io_policy import ReadPolicy
from drkit.repository.copies.fetch import Request
from drkit.repository.format.layout import pack_name
from drkit.repository.format.sealing import OVERHEAD_BYTES
from drkit.repository.restore.files import TargetFile, metadata_of
from drkit.repository.restore.writing import Sealed
from drkit.repository.restore.writing import Spot as WrittenSpot

if TYPE_CHECKING:
    from drkit.repository.index.blobs import Index

Spot = tuple[TargetFile, int]
"""A file, and an offset in it in bytes."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A blob, where it lies in the range that is read for it, and where it is written."""

    blob_id: bytes
    offset: int
    length: int
    raw_bytes: int
    spots: tuple[Spot, ...]

    def sealed(self) -> Sealed:
        """What whoever writes it must know."""
        spots = [_spot(file, at) for file, at in self.spots]
        return self.blob_id, self.offset, self.length, self.raw_bytes, spots


@dataclass(frozen=True, slots=True)
class Batch:
    """The pieces of one range, and the window of the restore that they belong to."""

    window: int
    pieces: tuple[Piece, ...]


Range = Request[Batch]


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What to read for some files; and those that cannot be whole, with why."""

    ranges: list[Range]
    lost: dict[TargetFile, str]


_Wanted = tuple[str, int, int, int, bytes]
"""Pack, offset, length, raw bytes, id of a blob."""


def plan_ranges(
    index: Index, files: Sequence[TargetFile], window: int, policy: ReadPolicy
) -> RestorePlan:
    """Every blob that `files` lack, once, in ranges of packs in the order of their first use.

    Sets `left` of each file to the number of its spots.
    """
    found = index.find_many(b"".join(blob for file in files for blob in file.node.content))
    rows, places, packs = found.rows.tolist(), found.places.tolist(), found.packs
    wanted: dict[bytes, _Wanted] = {}
    spots: dict[bytes, list[Spot]] = {}
    lost: dict[TargetFile, str] = {}
    number = -1
    for file in files:
        at = file.left = 0
        for position, blob_id in enumerate(file.node.content):
            number += 1
            if rows[number] >= 0:
                pack, offset, length, raw_bytes, _ = places[number]
                pack_id = packs[pack]
            elif added := index.find(blob_id):  # by this very run
                pack_id, offset, length = added.pack_id, added.offset, added.length
                raw_bytes = added.raw_bytes
            else:
                lost[file] = f"blob {blob_id.hex()[:8]} is lost: no index names it"
                continue
            if position not in file.has:
                wanted[blob_id] = (pack_id, offset, length, raw_bytes, blob_id)
                spots.setdefault(blob_id, []).append((file, at))
                file.left += 1
            at += raw_bytes or length - OVERHEAD_BYTES
        if file not in lost and at != file.node.size:
            lost[file] = f"the point says {file.node.size} bytes, its blobs hold {at}"
    return RestorePlan(_ranges(wanted, spots, window, policy), lost)


def single(piece: Piece, request: Range, store: str, why: str) -> Range:
    """The request for one piece of a range, to be asked of other stores than `store`."""
    alone = Piece(piece.blob_id, 0, piece.length, piece.raw_bytes, piece.spots)
    offset = request.offset + piece.offset
    what = Batch(request.what.window, (alone,))
    return Request(request.name, what, offset, piece.length, reasons={store: why})


def _ranges(
    wanted: dict[bytes, _Wanted], spots: dict[bytes, list[Spot]], window: int, policy: ReadPolicy
) -> list[Range]:
    turn: dict[str, int] = {}
    for pack_id, *_ in wanted.values():
        turn.setdefault(pack_id, len(turn))
    ranges: list[Range] = []
    run: list[_Wanted] = []
    for blob in sorted(wanted.values(), key=lambda blob: (turn[blob[0]], blob[1])):
        if run and not _belongs(run, blob, policy):
            ranges.append(_request(run, spots, window))
            run = []
        run.append(blob)
    if run:
        ranges.append(_request(run, spots, window))
    return ranges


def _belongs(run: list[_Wanted], blob: _Wanted, policy: ReadPolicy) -> bool:
    pack_id, start, *_ = run[0]
    _, last, length, *_ = run[-1]
    return (
        pack_id == blob[0]
        and blob[1] - (last + length) <= policy.gap_bytes
        and blob[1] + blob[2] - start <= policy.range_bytes
    )


def _request(run: list[_Wanted], spots: dict[bytes, list[Spot]], window: int) -> Range:
    pack_id, start, *_ = run[0]
    pieces = tuple(
        Piece(blob_id, offset - start, length, raw_bytes, tuple(spots[blob_id]))
        for _, offset, length, raw_bytes, blob_id in run
    )
    length = run[-1][1] + run[-1][2] - start
    return Request(pack_name(pack_id), Batch(window, pieces), start, length)


def _spot(file: TargetFile, at: int) -> WrittenSpot:
    if file.is_new_and_of_one_blob:
        uid, gid, permissions, atime_ns, mtime_ns, xattrs = metadata_of(file.node)
        return file.path, at, (uid, gid, permissions, atime_ns, mtime_ns, xattrs)
    return file.written_as, at, None

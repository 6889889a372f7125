"""Index files as restic and drkit write them, read in columns: no value is made for each blob.

Both write the same fields in the same order without spaces, so that all that varies is ids, numbers
and whether there is an uncompressed length. Every byte is accounted for; a file that is written in
any other way is left to a JSON parser, which takes twice the time and six times the memory.
"""

from __future__ import annotations

import binascii

from drkit.repository.index.arrays import np
from drkit.repository.index.part import (
    IS_TREE,
    LENGTH,
    OFFSET,
    PACK,
    RAW_BYTES,
    Columns,
    IndexPart,
)

_FILE = b'{"packs":[{"id":"'
_NEXT_PACK = b']},{"id":"'
_BLOBS = b'","blobs":['
_BLOB = b'{"id":"'
_TYPE = b'","type":"'
_OFFSET = b'","offset":'
_LENGTH = b',"length":'
_RAW = b',"uncompressed_length":'
_END = b"]}]}"
_ID = 64
_BEFORE_Y = len(_BLOB) + _ID + len(_TYPE) - len(b'ype":"')
_HEAD = len(_BLOB) + _ID + len(_TYPE) + len(b"data") + len(_OFFSET)
_BETWEEN = len(_NEXT_PACK) + _ID + len(_BLOBS)
_PADDING = bytes(256)


class _Unusual(Exception):
    """The file is not written as expected, which says nothing about what it holds."""


def read_usual(content: bytes) -> IndexPart | None:
    """The blobs of an index file that is written as usual; None for any other."""
    text = np.frombuffer(content + _PADDING, np.uint8)
    starts = np.flatnonzero(text == ord("y")) - _BEFORE_Y  # of "type", and in nothing else
    if not len(starts) or starts[0] != len(_FILE) + _ID + len(_BLOBS):
        return None
    try:
        return _read(content, text, starts)
    except _Unusual:
        return None


def _read(content: bytes, text: Columns, starts: Columns) -> IndexPart:
    heads = np.lib.stride_tricks.sliding_window_view(text, _HEAD)[starts]
    at = 0
    places = np.zeros((len(starts), 5), np.uint32)
    _expect(heads[:, at : (at := at + len(_BLOB))], _BLOB)
    ids = _bytes_of(heads[:, at : (at := at + _ID)])
    _expect(heads[:, at : (at := at + len(_TYPE))], _TYPE)
    kinds = heads[:, at : (at := at + 4)]
    trees = kinds[:, 0] == ord("t")
    _expect(kinds[trees], b"tree")
    _expect(kinds[~trees], b"data")
    _expect(heads[:, at:], _OFFSET)
    places[:, IS_TREE] = trees
    ends = starts + _HEAD
    places[:, OFFSET], ends = _numbers(text, ends)
    places[:, LENGTH], ends = _numbers(text, _after(text, ends, _LENGTH))
    shrunk = np.flatnonzero(text[ends] == ord(","))
    places[shrunk, RAW_BYTES], ends[shrunk] = _numbers(text, _after(text, ends[shrunk], _RAW))
    ends = _after(text, ends, b"}")
    gaps = starts[1:] - ends[:-1]
    firsts = np.flatnonzero(gaps != 1)  # the blob behind is the first of a pack
    _after(text, ends[:-1][gaps == 1], b",")
    if (gaps[firsts] != _BETWEEN).any() or content[ends[-1] :].rstrip() != _END:
        raise _Unusual
    ids_of_packs = _after(text, ends[firsts], _NEXT_PACK)
    _after(text, ids_of_packs + _ID, _BLOBS)
    if not content.startswith(_FILE) or content[starts[0] - len(_BLOBS) : starts[0]] != _BLOBS:
        raise _Unusual
    places[1:, PACK] = np.cumsum(gaps != 1)
    packs = [content[first : first + _ID] for first in (len(_FILE), *ids_of_packs.tolist())]
    _bytes_of(np.frombuffer(b"".join(packs), np.uint8).reshape(-1, _ID))
    return IndexPart([pack.decode() for pack in packs], ids, places)


def _expect(found: Columns, text: bytes) -> None:
    if not (found == np.frombuffer(text, np.uint8)).all():
        raise _Unusual


def _after(text: Columns, at: Columns, expected: bytes) -> Columns:
    """The positions behind `expected`, which must stand at each of `at`."""
    for offset, byte in enumerate(expected):
        if not (text[at + offset] == byte).all():
            raise _Unusual
    return at + len(expected)


def _bytes_of(digits: Columns) -> Columns:
    """The bytes of hexadecimal digits."""
    try:
        found = binascii.unhexlify(digits.tobytes())
    except binascii.Error:
        raise _Unusual from None
    return np.frombuffer(found, np.uint8).reshape(len(digits), -1)


def _numbers(text: Columns, at: Columns) -> tuple[Columns, Columns]:
    """The numbers of at most 32 bits that stand at each of `at`, and the positions behind them."""
    values = np.zeros(len(at), np.uint64)
    ends = at.copy()
    for _ in range(11):
        digits = text[ends] - np.uint8(ord("0"))
        more = digits < 10
        if not more.any():
            break
        values = np.where(more, values * np.uint64(10) + digits, values)
        ends += more
    padded = (text[at] == ord("0")) & (ends > at + 1)
    if (ends == at).any() or padded.any() or (len(at) and int(values.max()) >= 1 << 32):
        raise _Unusual
    return values.astype(np.uint32), ends

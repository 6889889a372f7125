"""The index in columns: found one by one and many at once, each place once, whoever lists it."""

from __future__ import annotations

import random

import orjson
import pytest

from drkit.errors import DamagedData
from drkit.repository.format.pack import BlobKind, PackedBlob, SealedPack
from drkit.repository.index.blobs import Index, index_content
from drkit.repository.index.columns import _read_any, read_columns
from drkit.repository.index.part import RAW_BYTES, IndexPart
from drkit.repository.index.text import read_usual

_rng = random.Random(7)


def pack(blobs: int, *, kind: BlobKind = BlobKind.DATA) -> SealedPack:
    found, offset = [], 0
    for number in range(blobs):
        length = _rng.randrange(33, 5000)
        found.append(PackedBlob(_rng.randbytes(32), kind, offset, length, number % 3 * 1000))
        offset += length
    return SealedPack(_rng.randbytes(32).hex(), tuple(found), (), offset)


def loaded(*files: list[SealedPack]) -> Index:
    index = Index()
    for packs in files:
        index.load(index_content(packs))
    index.sort()
    return index


def test_many_blobs_are_found_as_each_one_is() -> None:
    files = [[pack(50), pack(1, kind=BlobKind.TREE)], [pack(200)], [pack(3)]]
    index = loaded(*files)
    blobs = [blob for packs in files for one in packs for blob in one.blobs]
    wanted = [blob.id for blob in blobs] + [b"\0" * 32, b"\xff" * 32]
    # same first eight bytes as a known one, and another blob behind them
    wanted.append(blobs[0].id[:8] + b"\0" * 24)
    _rng.shuffle(wanted)
    found = index.find_many(b"".join(wanted))
    for blob_id, row, place in zip(wanted, found.rows, found.places, strict=True):
        one = index.find(blob_id)
        assert (row < 0) == (one is None)
        if one:
            assert index.place(int(row)) == (blob_id, one)
            assert found.packs[place[0]] == one.pack_id
            assert place[RAW_BYTES] == one.raw_bytes


def test_blobs_that_share_eight_bytes_are_told_apart() -> None:
    ids = [b"12345678" + bytes([number]) * 24 for number in range(20)]
    blobs = tuple(PackedBlob(blob, BlobKind.DATA, at * 40, 40, 0) for at, blob in enumerate(ids))
    index = loaded([SealedPack("ab" * 32, blobs, (), 800)])
    assert list(index.find_many(b"".join(ids)).places[:, 1]) == [at * 40 for at in range(20)]
    assert [index.find(blob).offset for blob in ids] == [at * 40 for at in range(20)]


def test_nothing_is_found_in_an_empty_index() -> None:
    assert list(Index().find_many(b"a" * 64).rows) == [-1, -1]
    assert list(loaded([]).packs()) == []
    assert loaded([]).pack_sizes() == {}


def test_a_pack_that_two_index_files_list_counts_once() -> None:
    one, other = pack(30), pack(5)
    index = loaded([one, other], [one])
    assert index.rows == 35
    assert dict(index.packs()) == {one.id: list(one.blobs), other.id: list(other.blobs)}
    assert index.pack_sizes() == loaded([one, other]).pack_sizes()


def test_a_blob_in_two_packs_has_two_places() -> None:
    one = pack(3)
    copy = SealedPack("cd" * 32, one.blobs[:1], (), 0)
    index = loaded([one], [copy])
    places = {place.pack_id for place in index.find_all(one.blobs[0].id)}
    assert places == {one.id, copy.id}


def test_a_sorted_index_is_made_again_from_its_parts() -> None:
    packs = [pack(40), pack(7)]
    index = loaded(packs)
    again = Index.of_sorted(index.parts())
    parts = index.parts()
    assert list(again.parts().packs) == list(parts.packs)
    assert list(again.packs()) == list(index.packs())
    with pytest.raises(ValueError):
        Index.of_sorted(IndexPart(parts.packs, parts.ids[::-1], parts.places[::-1]))
    with pytest.raises(ValueError):
        Index.of_sorted(IndexPart(parts.packs[:1], parts.ids, parts.places))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b'{"packs": null}',
        b'{"packs": [{"id": "ab"}]}',
        b'{"packs": [{"id": "' + b"a" * 64 + b'", "blobs": [{}]}]}',
        orjson.dumps({"packs": [{"id": "short", "blobs": []}]}),
        index_content([pack(1)]).replace(b'"offset":0', b'"offset":99999999999'),
        index_content([pack(1)]).replace(b'"offset":0', b'"offset":-1'),
    ],
)
def test_what_is_no_index_file_is_damage(content: bytes) -> None:
    with pytest.raises(DamagedData):
        Index().load(content)


def usual(*, raw: bool = True) -> bytes:
    content = index_content([pack(30), pack(1, kind=BlobKind.TREE), pack(200)])
    return content if raw else content.replace(b',"uncompressed_length":1000', b"")


def same(left: IndexPart, right: IndexPart) -> bool:
    return (
        left.packs == right.packs
        and (left.ids == right.ids).all()
        and (left.places == right.places).all()
    )


@pytest.mark.parametrize("raw", [True, False])
def test_index_files_as_they_are_usually_written_are_read_in_columns(raw: bool) -> None:
    content = usual(raw=raw)
    read = read_usual(content)
    assert read is not None
    assert same(read, _read_any(content))
    assert same(read_usual(content + b"\n"), read)


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        (b'"packs"', b'"supersedes":[],"packs"'),
        (b',"type"', b', "type"'),
        (b'"type":"data","offset"', b'"offset":1,"type":"data","was"'),
        (b"]}]}", b']}],"more":1}'),
        (b',"length":', b',"length": '),
        (b'{"packs":', b'{"pack_":1,"packs":'),
        (b'"blobs":[{', b'"tray":"my","blobs":[{'),
    ],
)
def test_others_are_left_to_a_parser(what: bytes, instead: bytes) -> None:
    content = usual().replace(what, instead)
    assert read_usual(content) is None
    if b'"was"' not in content:
        assert len(read_columns(content).ids) == 231


def test_no_change_of_a_byte_is_read_as_something_else() -> None:
    content = index_content([pack(3), pack(2)])
    for at in range(len(content)):
        changed = content[:at] + bytes([content[at] ^ 1 << at % 7]) + content[at + 1 :]
        read = read_usual(changed)
        if read is not None:
            assert same(read, _read_any(changed)), changed


def test_numbers_beyond_32_bits_are_no_numbers() -> None:
    for number in (1 << 32, 10**11, 10**30):
        content = index_content([pack(1)]).replace(b'"offset":0', b'"offset":%d' % number)
        assert read_usual(content) is None
    content = index_content([pack(1)]).replace(b'"offset":0', b'"offset":4294967295')
    assert read_usual(content).places[0, 1] == 4294967295

"""Blobs are written anew from whichever copy is right: another store's, or another pack's."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest

from drkit.errors import DamagedData, PlaceError
from drkit.repository.copies.copying import good_copy
from drkit.repository.copies.listing import take_listing
from drkit.repository.format.layout import pack_name
from drkit.repository.format.pack import BlobKind, PackBuilder, SealedPack
from drkit.repository.format.sealing import MasterKey
from drkit.repository.index.blobs import Location
from drkit.repository.prune.repack import repack
from drkit.stores.interface import ObjectMissing
from drkit.stores.memory import MemoryStore, Trouble

KEY = MasterKey.generate()


def blob(number: int) -> tuple[bytes, bytes]:
    content = random.Random(number).randbytes(3000 + number)
    return hashlib.sha256(content).digest(), content


def make_pack(*numbers: int) -> SealedPack:
    builder = PackBuilder(BlobKind.DATA, bytearray(1 << 20))
    for number in numbers:
        blob_id, content = blob(number)
        builder.seal(KEY, blob_id, content, 0)
    return builder.finish(KEY)


def hold(store: MemoryStore, pack: SealedPack) -> None:
    store.objects[pack_name(pack.id)] = b"".join(map(bytes, pack.pieces))


@pytest.fixture
def two() -> tuple[MemoryStore, MemoryStore]:
    return MemoryStore("gcs"), MemoryStore("s3")


def run(stores: Any, pack: SealedPack, *others: SealedPack) -> list[SealedPack]:
    def places(blob_id: bytes) -> list[Location]:
        return [
            Location(one.id, each.kind, each.offset, each.length, each.raw_bytes)
            for one in (pack, *others)
            for each in one.blobs
            if each.id == blob_id
        ]

    needed = {each.id for each in pack.blobs}
    listings = {store: take_listing(store) for store in stores}
    return repack(KEY, {pack.id: pack.blobs}, needed, listings, places, lambda event: None)


def test_a_pack_that_one_store_lacks_and_another_has_damaged_is_read_blob_by_blob(
    two: tuple[MemoryStore, MemoryStore],
) -> None:
    first, second = make_pack(1, 2), make_pack(2, 3)
    hold(two[1], first)
    hold(two[0], second)
    two[1].damage(pack_name(first.id), at=first.blobs[1].offset + 40)
    made = run(two, first, second)
    assert {each.id for pack in made for each in pack.blobs} == {blob(1)[0], blob(2)[0]}
    assert all(pack_name(pack.id) in store.objects for pack in made for store in two)


def test_a_store_that_fails_is_passed_by_where_another_has_the_blob(
    two: tuple[MemoryStore, MemoryStore],
) -> None:
    pack = make_pack(1, 2)
    for store in two:
        hold(store, pack)
    two[1].damage(pack_name(pack.id), at=len(two[1].objects[pack_name(pack.id)]) - 1)
    two[0].fail(Trouble.UNREACHABLE, calls=("get",))
    made = run(two, pack)
    assert {each.id for one in made for each in one.blobs} == {blob(1)[0], blob(2)[0]}


def test_S11_a_blob_is_lost_only_when_every_store_was_asked(
    two: tuple[MemoryStore, MemoryStore],
) -> None:
    pack = make_pack(1)
    for store in two:
        hold(store, pack)
    two[1].damage(pack_name(pack.id), at=50)
    two[0].fail(Trouble.UNREACHABLE, calls=("get",))
    with pytest.raises(PlaceError):
        run(two, pack)
    two[0].mend()
    del two[0].objects[pack_name(pack.id)]
    with pytest.raises(DamagedData, match="damaged or missing in every store"):
        run(two, pack)
    assert {name for store in two for name in store.objects} == {pack_name(pack.id)}


def test_an_object_that_no_store_has_is_lost_and_no_store_is_to_blame() -> None:
    name = pack_name("a" * 64)
    stores = [MemoryStore("gcs"), MemoryStore("s3")]
    with pytest.raises(DamagedData, match="has no good copy"):
        good_copy(name, stores)
    stores[0].fail(Trouble.UNREACHABLE)
    with pytest.raises(PlaceError) as raised:
        good_copy(name, stores)
    assert not isinstance(raised.value, ObjectMissing)

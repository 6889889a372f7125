"""What `Store` promises, executed on every adapter. To add one: its row in `STORES`."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import gcs_server
import pytest
from live_stores import clear, live_stores
from s3_servers import b2_proxy_store, moto_store, rclone_store

from drkit.stores.counted import CountedStore
from drkit.stores.folder import FolderStore
from drkit.stores.interface import (
    Buffer,
    ObjectInfo,
    ObjectMissing,
    Store,
    StoreRefused,
    StoreUnreachable,
)
from drkit.stores.memory import MemoryStore

STORES: dict[str, Callable[[Path], Store]] = {
    "b2-proxy": lambda _folder: b2_proxy_store(),
    "s3-moto": lambda _folder: moto_store(),
    "s3-rclone": lambda _folder: rclone_store(),
    "memory": lambda _folder: MemoryStore(),
    "counted": lambda _folder: CountedStore(MemoryStore()),
    "folder": lambda folder: FolderStore("folder", folder / "store"),
    "gcs": lambda folder: gcs_server.shared().store(prefix=folder.name),
    **live_stores(),
}

HOSTILE = [
    "",
    "/etc/passwd",
    "../outside",
    "a/../b",
    "a/./b",
    "./a",
    "a//b",
    "a/",
    "..",
    "a\nb",
    "a\x00b",
    "a\\..\\b",
    "caf\u00e9",
    "a/\u202e/b",
    "x" * 1000,
]


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = STORES[request.param](tmp_path)
    yield opened
    if request.param.startswith("live-"):
        clear(opened)
    opened.close()


def listed(store: Store, prefix: str = "") -> dict[str, int]:
    return {info.name: info.size_bytes for info in store.list(prefix)}


def test_what_was_put_is_read_back(store: Store) -> None:
    data = random.Random(1).randbytes(100_000)
    store.put("a/b/c", data, size_bytes=len(data))
    assert store.get("a/b/c") == data
    assert store.stat("a/b/c") == ObjectInfo("a/b/c", len(data))


def test_data_may_come_in_pieces_of_any_buffer_type(store: Store) -> None:
    pieces: list[Buffer] = [b"one", bytearray(b"two"), memoryview(b"three"), b""]
    store.put("a", iter(pieces), size_bytes=11)
    assert store.get("a") == b"onetwothree"
    store.put("b", memoryview(b"whole"), size_bytes=5)
    assert store.get("b") == b"whole"


def test_a_generator_may_use_its_buffer_again(store: Store) -> None:
    def reusing() -> Iterator[Buffer]:
        buffer = bytearray(4)
        for piece in (b"one!", b"two!", b"last"):
            buffer[:] = piece
            yield memoryview(buffer)

    store.put("a", reusing(), size_bytes=12)
    assert store.get("a") == b"one!two!last"


def test_an_empty_object_is_an_object(store: Store) -> None:
    store.put("empty", b"", size_bytes=0)
    assert store.get("empty") == b""
    assert listed(store) == {"empty": 0}


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [(0, 3, b"abc"), (3, None, b"defgh"), (7, 1, b"h"), (2, 0, b""), (8, None, b""), (8, 0, b"")],
)
def test_a_range_is_exactly_what_was_asked_for(
    store: Store, offset: int, length: int | None, expected: bytes
) -> None:
    store.put("a", b"abcdefgh", size_bytes=8)
    assert store.get("a", offset=offset, length=length) == expected


@pytest.mark.parametrize(("offset", "length"), [(0, 9), (5, 4), (8, 1), (9, None), (9, 0), (-1, 2)])
def test_a_range_past_the_end_is_an_error_and_never_fewer_bytes(
    store: Store, offset: int, length: int | None
) -> None:
    store.put("a", b"abcdefgh", size_bytes=8)
    with pytest.raises(StoreUnreachable):
        store.get("a", offset=offset, length=length)


@pytest.mark.parametrize("announced", [0, 4, 6, 1000])
def test_an_upload_of_another_size_is_refused_and_leaves_nothing(
    store: Store, announced: int
) -> None:
    with pytest.raises(StoreRefused):
        store.put("a/b", [b"12", b"345"], size_bytes=announced)
    assert listed(store) == {}
    with pytest.raises(ObjectMissing):
        store.get("a/b")


def test_a_refused_upload_leaves_the_old_object_as_it_was(store: Store) -> None:
    store.put("a", b"old", size_bytes=3)
    with pytest.raises(StoreRefused):
        store.put("a", b"newer", size_bytes=3)
    assert store.get("a") == b"old"


def test_an_upload_whose_data_fails_leaves_nothing(store: Store) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"12"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.put("a", breaking(), size_bytes=4)
    assert listed(store) == {}


def test_an_object_is_not_there_before_it_is_whole(store: Store) -> None:
    seen: list[dict[str, int]] = []

    def watching() -> Iterator[bytes]:
        yield b"12"
        seen.append(listed(store))
        yield b"34"

    store.put("a/b", watching(), size_bytes=4)
    assert seen == [{}]
    assert listed(store) == {"a/b": 4}


def test_putting_twice_is_no_error_and_the_last_one_stays(store: Store) -> None:
    store.put("a", b"same", size_bytes=4)
    store.put("a", b"same", size_bytes=4)
    assert store.get("a") == b"same"
    store.put("a", b"other!", size_bytes=6)
    assert store.get("a") == b"other!"
    assert listed(store) == {"a": 6}


def test_what_is_not_there_is_missing(store: Store) -> None:
    store.put("a/b", b"x", size_bytes=1)
    for name in ("b", "a", "a/b/c", "a/bb"):
        with pytest.raises(ObjectMissing):
            store.get(name)
        with pytest.raises(ObjectMissing):
            store.stat(name)


def test_a_prefix_is_a_string_and_not_a_folder(store: Store) -> None:
    for name in ("data/ab/1", "data/ab/2", "data/ac/1", "database", "index/1"):
        store.put(name, b"x", size_bytes=1)
    assert set(listed(store, "data")) == {"data/ab/1", "data/ab/2", "data/ac/1", "database"}
    assert set(listed(store, "data/")) == {"data/ab/1", "data/ab/2", "data/ac/1"}
    assert set(listed(store, "data/ab/")) == {"data/ab/1", "data/ab/2"}
    assert set(listed(store, "data/ab/2")) == {"data/ab/2"}
    assert listed(store, "nothing/") == {}
    assert len(listed(store)) == 5


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert listed(store) == {}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_refused_going_in(store: Store, name: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreRefused):
        store.put(name, b"x", size_bytes=1)
    with pytest.raises(StoreRefused):
        store.get(name)
    with pytest.raises(StoreRefused):
        store.stat(name)
    with pytest.raises(StoreRefused):
        store.delete(name)
    assert sorted(tmp_path.rglob("*")) == before
    assert listed(store) == {}


@pytest.mark.parametrize("prefix", ["../", "/", "a/../", "a//", "\n"])
def test_hostile_prefixes_are_refused(store: Store, prefix: str) -> None:
    with pytest.raises(StoreRefused):
        list(store.list(prefix))


@pytest.mark.parametrize("name", ["a b", ".gitattributes", "x/.hidden/y", "a+b=c,d@e%20", "-", "~"])
def test_odd_but_honest_names_are_taken(store: Store, name: str) -> None:
    store.put(name, b"x", size_bytes=1)
    assert store.get(name) == b"x"
    assert listed(store) == {name: 1}


def test_deleting_removes_and_twice_is_no_error(store: Store) -> None:
    store.put("a/b", b"x", size_bytes=1)
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/was")
    assert listed(store) == {}
    with pytest.raises(ObjectMissing):
        store.get("a/b")


def test_a_list_goes_on_while_objects_vanish_and_appear(store: Store) -> None:
    names = [f"d{number % 7}/{number}" for number in range(70)]
    for name in names:
        store.put(name, b"x", size_bytes=1)
    seen = set()
    for count, info in enumerate(store.list("")):
        seen.add(info.name)
        if count == 0:
            for name in names[::2]:
                store.delete(name)
            store.put("d0/new", b"x", size_bytes=1)
    assert set(names[1::2]) <= seen <= {*names, "d0/new"}
    assert set(listed(store)) == {*names[1::2], "d0/new"}


def test_two_writers_at_a_barrier_leave_one_whole_object(store: Store) -> None:
    versions = [bytes([value]) * 50_000 for value in (1, 2, 3, 4)]
    barrier = threading.Barrier(len(versions))
    failed: list[Exception] = []

    def write(data: bytes) -> None:
        def pieces() -> Iterator[bytes]:
            yield data[:10]
            barrier.wait(timeout=20)
            yield data[10:]

        try:
            store.put("shared/name", pieces(), size_bytes=len(data))
        except Exception as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(data,)) for data in versions]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=30)
    assert failed == []
    assert store.get("shared/name") in versions
    assert listed(store) == {"shared/name": 50_000}


def test_many_threads_may_read_and_write_at_once(store: Store) -> None:
    failed: list[str] = []

    def work(number: int) -> None:
        for turn in range(10):
            name = f"t{turn % 3}/{number}-{turn}"
            data = f"{number}:{turn}".encode() * 100
            store.put(name, data, size_bytes=len(data))
            if store.get(name) != data:
                failed.append(name)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert failed == []
    assert len(listed(store)) == 60


def test_closing_twice_is_no_error(store: Store) -> None:
    store.close()
    store.close()

"""The contract of drkit.stores.interface.Store, made executable. A store joins by one line."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from drkit.stores.folder import FolderStore
from drkit.stores.interface import ObjectMissing, Store, StoreRefused, StoreUnreachable
from drkit.stores.memory import MemoryStore

JOIN: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "folder": lambda folder: FolderStore("folder", folder / "store"),
}


@pytest.fixture(params=JOIN, ids=list(JOIN))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return JOIN[request.param](tmp_path)


def put(store: Store, name: str, data: bytes) -> None:
    store.put(name, data, size_bytes=len(data))


def names(store: Store, prefix: str = "") -> list[str]:
    return sorted(info.name for info in store.list(prefix))


def test_what_was_put_is_got_back_whole_and_by_range(store: Store) -> None:
    put(store, "a/b", b"0123456789")
    assert store.get("a/b") == b"0123456789"
    assert store.get("a/b", offset=3, length=4) == b"3456"
    assert store.get("a/b", offset=7) == b"789"
    assert store.stat("a/b").size_bytes == 10


def test_an_empty_object_is_an_object(store: Store) -> None:
    put(store, "empty", b"")
    assert store.get("empty") == b""
    assert names(store) == ["empty"]


def test_pieces_are_joined(store: Store) -> None:
    store.put("pieces", iter([b"ab", bytearray(b"cd"), memoryview(b"ef")]), size_bytes=6)
    assert store.get("pieces") == b"abcdef"


@pytest.mark.parametrize("claimed", [0, 2, 4])
def test_a_wrong_size_is_refused_and_leaves_nothing_behind(store: Store, claimed: int) -> None:
    with pytest.raises(StoreRefused):
        store.put("x", b"abc", size_bytes=claimed)
    assert names(store) == []
    with pytest.raises(ObjectMissing):
        store.get("x")


def test_a_refused_put_keeps_the_old_object(store: Store) -> None:
    put(store, "x", b"old")
    with pytest.raises(StoreRefused):
        store.put("x", b"newer", size_bytes=3)
    assert store.get("x") == b"old"


def test_a_source_that_fails_in_the_middle_leaves_nothing_behind(store: Store) -> None:
    def failing():
        yield b"abc"
        raise RuntimeError("the reader died")

    with pytest.raises(RuntimeError):
        store.put("x", failing(), size_bytes=6)
    assert names(store) == []


@pytest.mark.parametrize(("offset", "length"), [(0, 4), (3, 1), (4, None), (-1, 1)])
def test_a_range_beyond_the_end_is_an_error_and_never_fewer_bytes(store, offset, length) -> None:
    put(store, "x", b"abc")
    with pytest.raises(StoreUnreachable):
        store.get("x", offset=offset, length=length)


def test_an_object_is_replaced_whole(store: Store) -> None:
    put(store, "x", b"long old content")
    put(store, "x", b"new")
    assert store.get("x") == b"new"


def test_a_missing_object_is_missing_and_its_deletion_no_error(store: Store) -> None:
    for ask in (store.get, store.stat):
        with pytest.raises(ObjectMissing):
            ask("no/such")
    store.delete("no/such")


def test_a_prefix_is_a_string_and_no_folder(store: Store) -> None:
    for name in ("data/aa/1", "data/ab/2", "data2", "index/3"):
        put(store, name, b"x")
    assert names(store, "data") == ["data/aa/1", "data/ab/2", "data2"]
    assert names(store, "data/a") == ["data/aa/1", "data/ab/2"]
    assert names(store, "data/ab/") == ["data/ab/2"]
    assert names(store, "nothing/here") == []


@pytest.mark.parametrize(
    "name",
    ["", "/x", "x/", "a//b", ".", "..", "../x", "a/../b", "a/./b", "a b", "a\nb", "é", "a\0"],
)
def test_a_hostile_name_is_refused_and_touches_nothing(store: Store, name: str) -> None:
    put(store, "kept", b"kept")
    with pytest.raises(StoreRefused):
        put(store, name, b"x")
    with pytest.raises(StoreRefused):
        store.get(name)
    with pytest.raises(StoreRefused):
        store.delete(name)
    assert names(store) == ["kept"]


def test_objects_may_vanish_while_they_are_listed(store: Store) -> None:
    for number in range(50):
        put(store, f"d/{number:02}", b"x")
    listing = store.list("d/")
    first = next(listing)
    for number in range(50):
        store.delete(f"d/{number:02}")
    assert {info.name for info in listing} <= {f"d/{number:02}" for number in range(50)}
    assert first.name.startswith("d/")
    assert names(store) == []


def test_two_writers_of_one_name_leave_one_whole_object(store: Store) -> None:
    barrier = threading.Barrier(4)
    bodies = [bytes([letter]) * 300_000 for letter in b"abcd"]

    def write(body: bytes) -> None:
        barrier.wait()
        for _ in range(5):
            put(store, "same", body)

    writers = [threading.Thread(target=write, args=(body,)) for body in bodies]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert store.get("same") in bodies
    assert names(store) == ["same"]


def test_a_store_may_be_closed_twice(store: Store) -> None:
    store.close()
    store.close()

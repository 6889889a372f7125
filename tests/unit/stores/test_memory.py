"""The store in memory fails as it is told to."""

from __future__ import annotations

import threading

import pytest

from drkit.stores.interface import StoreRefused, StoreUnreachable
from drkit.stores.memory import MemoryStore, Trouble


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore("memory")
    made.put("a", b"abc", size_bytes=3)
    return made


@pytest.mark.parametrize(
    ("trouble", "error"),
    [(Trouble.UNREACHABLE, StoreUnreachable), (Trouble.REFUSES, StoreRefused)],
)
def test_every_call_fails_and_nothing_changes(
    store: MemoryStore, trouble: Trouble, error: type[Exception]
) -> None:
    store.fail(trouble)
    for call in (
        lambda: store.put("b", b"x", size_bytes=1),
        lambda: store.get("a"),
        lambda: store.stat("a"),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
    ):
        with pytest.raises(error):
            call()
    store.mend()
    assert [info.name for info in store.list("")] == ["a"]


def test_only_the_named_calls_fail_and_only_after_so_many(store: MemoryStore) -> None:
    store.fail(Trouble.UNREACHABLE, calls={"put"}, after=1)
    store.put("b", b"x", size_bytes=1)
    with pytest.raises(StoreUnreachable):
        store.put("c", b"x", size_bytes=1)
    assert store.get("b") == b"x"


def test_damage_on_the_way_leaves_the_object_whole_and_damage_in_place_does_not(
    store: MemoryStore,
) -> None:
    store.fail(Trouble.DAMAGES)
    assert store.get("a") != b"abc"
    store.mend()
    assert store.get("a") == b"abc"
    store.damage("a", at=2)
    assert store.get("a") == b"abb"


@pytest.mark.parametrize("trouble", [Trouble.HANGS, Trouble.CRAWLS])
def test_a_hanging_call_comes_back_as_an_error_when_mended(
    store: MemoryStore, trouble: Trouble
) -> None:
    store.fail(trouble)
    came_back: list[Exception] = []

    def call() -> None:
        try:
            store.put("b", [b"x"], size_bytes=1)
        except StoreUnreachable as error:
            came_back.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    while ("put", "b") not in store.calls:
        assert caller.is_alive()
    caller.join(timeout=0.1)
    assert caller.is_alive()
    store.mend()
    caller.join(timeout=10)
    assert len(came_back) == 1
    assert "b" not in store.objects


def test_hostile_names_that_lie_in_the_store_are_not_listed(store: MemoryStore) -> None:
    store.objects["../evil"] = b"x"
    assert [info.name for info in store.list("")] == ["a"]

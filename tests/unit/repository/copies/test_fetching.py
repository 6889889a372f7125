"""Many reads from all stores: what one does not give, another does; one may hang."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from drkit.errors import DamagedData, DrkitError
from drkit.io_policy import READS
from drkit.repository.copies.fetch import Failed, Fetcher, Got, Request
from drkit.repository.copies.reading import NoStoreCould, ask_each, first_good
from drkit.stores.interface import StoreRefused, StoreUnreachable
from drkit.stores.memory import MemoryStore, Trouble

HASTY = replace(READS, hedge_least_s=0.02, hedge_first_s=0.05, bytes_in_flight=500)


@pytest.fixture
def stores() -> Iterator[list[MemoryStore]]:
    stores = [MemoryStore(name) for name in ("gcs", "s3", "b2")]
    for store in stores:
        for number in range(30):
            store.put(str(number), b"%02d" % number * 50, size_bytes=100)
    yield stores
    for store in stores:
        store.mend()


def check(request: Request[int], _store: Any, data: bytes) -> bytes:
    if data != b"%02d" % request.what * 50:
        raise DamagedData("wrong bytes", hint="")
    return data


def fetch(
    stores: list[MemoryStore], count: int = 30, use: Any = check
) -> tuple[dict[int, Any], list[tuple[str, str, str]]]:
    """What became of each request, and the trouble that was told."""
    found: dict[int, Any] = {}
    trouble: list[tuple[str, str, str]] = []
    waiting = [Request(str(number), number, 0, 100) for number in range(count)]
    with Fetcher[int, bytes](
        stores, use, on_trouble=lambda *told: trouble.append(told), policy=HASTY
    ) as fetcher:
        while waiting or not fetcher.is_idle:
            while waiting and fetcher.has_room:
                fetcher.add(waiting.pop())
            for outcome in fetcher.outcomes():
                assert outcome.request.what not in found, "told of twice"
                found[outcome.request.what] = outcome
    return found, trouble


def test_every_store_does_its_share(stores: list[MemoryStore]) -> None:
    barrier = threading.Barrier(3, timeout=10)

    class Meeting(MemoryStore):
        def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
            if name == "0":
                return super().get(name, offset=offset, length=length)
            barrier.wait()  # passes only when all three read at the same time
            return super().get(name, offset=offset, length=length)

    meeting = [Meeting(store.name) for store in stores]
    for mine, theirs in zip(meeting, stores, strict=True):
        mine.objects = theirs.objects
    policy = replace(HASTY, connections=1, hedge_first_s=60.0)
    with Fetcher[int, bytes](meeting, check, on_trouble=lambda *_: None, policy=policy) as fetcher:
        for number in (1, 2, 3):
            fetcher.add(Request(str(number), number, 0, 100))
        got: list[Any] = []
        while not fetcher.is_idle:
            got += fetcher.outcomes()
    assert len(got) == 3


@pytest.mark.parametrize("trouble", [Trouble.UNREACHABLE, Trouble.REFUSES, Trouble.DAMAGES])
def test_S11_what_a_store_does_not_give_right_another_gives(
    stores: list[MemoryStore], trouble: Trouble
) -> None:
    for store in stores[:2]:
        store.fail(trouble, calls=["get"])
    found, told = fetch(stores)
    assert {number: outcome.result for number, outcome in found.items()} == {
        number: b"%02d" % number * 50 for number in range(30)
    }
    assert {name for name, _, _ in told} <= {"gcs", "s3"}


def test_S10_a_store_that_hangs_is_not_waited_for(stores: list[MemoryStore]) -> None:
    stores[0].fail(Trouble.HANGS, calls=["get"])
    found, told = fetch(stores)
    assert all(isinstance(outcome, Got) for outcome in found.values())
    assert len(found) == 30
    assert told == []
    hung = sum(call == "get" for call, _ in stores[0].calls)
    assert hung <= READS.connections


def test_an_object_that_one_store_lacks_is_no_reason_to_give_it_up(
    stores: list[MemoryStore],
) -> None:
    for number in range(30):
        stores[0].delete(str(number))
    stores[1].down = True
    stores[2].delete("7")
    found, _ = fetch(stores[:1] + stores[2:])
    assert {number for number, outcome in found.items() if isinstance(outcome, Failed)} == {7}
    assert set(found[7].request.reasons) == {"gcs", "b2"}


def test_a_store_that_fails_again_and_again_is_asked_no_more(stores: list[MemoryStore]) -> None:
    stores[0].down = True
    fetch(stores)
    assert sum(call == "get" for call, _ in stores[0].calls) <= 3 + READS.connections


def test_when_no_store_is_left_every_request_is_told(stores: list[MemoryStore]) -> None:
    for store in stores:
        store.down = True
    found, told = fetch(stores)
    assert len(found) == 30
    assert all(isinstance(outcome, Failed) for outcome in found.values())
    assert {name for name, _, _ in told} == {"gcs", "s3", "b2"}


def test_bytes_in_flight_are_bounded(stores: list[MemoryStore]) -> None:
    with Fetcher[int, bytes](stores, check, on_trouble=lambda *_: None, policy=HASTY) as fetcher:
        stores[0].fail(Trouble.HANGS)
        stores[1].fail(Trouble.HANGS)
        stores[2].fail(Trouble.HANGS)
        asked = 0
        while fetcher.has_room:
            fetcher.add(Request(str(asked), asked, 0, 100))
            asked += 1
        assert asked == 5


def test_a_bug_in_the_use_of_bytes_ends_it(stores: list[MemoryStore]) -> None:
    def broken(_request: Request[int], _store: Any, _data: bytes) -> bytes:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fetch(stores, use=broken)


def test_a_short_answer_is_wrong(stores: list[MemoryStore]) -> None:
    class Short(MemoryStore):
        def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
            return super().get(name, offset=offset, length=length)[:-1]

    short = Short("gcs")
    short.objects = stores[0].objects
    found, told = fetch([short, stores[1]], use=lambda request, store, data: data)
    assert {len(outcome.result) for outcome in found.values()} == {100}
    assert all(name == "gcs" for name, _, _ in told)


def test_the_first_good_answer_counts_and_failures_are_told(stores: list[MemoryStore]) -> None:
    stores[0].down = True
    stores[1].fail(Trouble.DAMAGES, calls=["get"])
    failed: list[str] = []

    def attempt(store: Any) -> bytes:
        return check(Request("3", 3), store, store.get("3"))

    store, data = first_good(
        stores, attempt, on_failure=lambda store, _error: failed.append(store.name)
    )
    assert (store.name, data) == ("b2", b"03" * 50)
    assert sorted(failed) == ["gcs", "s3"]
    stores[2].down = True
    with pytest.raises(NoStoreCould) as error:
        first_good(stores, attempt)
    assert set(error.value.reasons) == {"gcs", "s3", "b2"}


def test_S10_an_answer_that_does_not_come_is_asked_of_the_next(
    stores: list[MemoryStore],
) -> None:
    stores[0].fail(Trouble.HANGS, calls=["get"])
    store, _ = first_good(stores, lambda store: store.get("3"), hedge_s=0.02)
    assert store.name in ("s3", "b2")


def test_S10_stores_that_say_nothing_have_a_little_time_after_the_first(
    stores: list[MemoryStore],
) -> None:
    stores[1].fail(Trouble.HANGS, calls=["get"])
    stores[2].fail(Trouble.REFUSES, calls=["get"])
    answers = ask_each(stores, lambda store: store.get("3"), patience_s=0.5)
    assert list(answers) == stores
    assert answers[stores[0]] == b"03" * 50
    assert isinstance(answers[stores[1]], StoreUnreachable)
    assert "did not answer" in answers[stores[1]].message
    assert isinstance(answers[stores[2]], StoreRefused)


def test_an_adapters_bug_is_an_answer_too(stores: list[MemoryStore]) -> None:
    def broken(_store: Any) -> bytes:
        raise KeyError("surprise")

    answers = ask_each(stores, broken)
    assert all("surprise" in error.message for error in answers.values())
    assert all(isinstance(error, DrkitError) for error in answers.values())

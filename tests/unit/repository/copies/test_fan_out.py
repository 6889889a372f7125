"""The lanes to the stores: what goes when, who is cut off and when, and whose memory it is."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from drkit.clock import ManualClock
from drkit.errors import TooFewCopies
from drkit.events import Event, StoreLagging, discard
from drkit.io_policy import FanOutPolicy
from drkit.repository.copies.upload import FanOut
from drkit.stores.interface import StoreUnreachable
from drkit.stores.memory import MemoryStore

QUICK = FanOutPolicy(silence_s=0.1, least_bytes_per_s=1 << 40, crawl_s=3600)


class Gate(MemoryStore):
    """Says `entered`, then holds what `shut` tells of until `opened`; `takes` reads the bytes."""

    def __init__(self, name: str, shut: Callable[[str], bool] = lambda _name: False) -> None:
        super().__init__(name)
        self.shut = shut
        self.opened = threading.Event()
        self.entered = threading.Semaphore(0)
        self.order: list[str] = []
        self.under_way: set[str] = set()
        self.most_under_way = 0
        self._guard = threading.Lock()

    def put(self, name: str, data: Any, *, size_bytes: int) -> None:
        with self._guard:
            self.under_way.add(name)
            self.most_under_way = max(self.most_under_way, len(self.under_way))
        self.entered.release()
        if self.shut(name):
            assert self.opened.wait(20)
        super().put(name, data, size_bytes=size_bytes)
        with self._guard:
            self.under_way.discard(name)
            self.order.append(name)


@pytest.fixture
def gates() -> Iterator[list[Gate]]:
    made: list[Gate] = []
    yield made
    for gate in made:
        gate.opened.set()


def send(fan_out: FanOut, *names: str, **options: Any) -> None:
    for name in names:
        fan_out.send(name, (name.encode(),), len(name), **options)


def test_S3_an_index_waits_for_every_pack_before_it_on_each_of_several_connections(
    gates: list[Gate],
) -> None:
    gates.append(Gate("s3", shut=lambda name: name == "data/slow"))
    fan_out = FanOut(gates, discard)
    send(fan_out, "data/first")
    assert gates[0].entered.acquire(timeout=10)
    fan_out.drain()
    send(fan_out, "data/slow", "data/quick")
    send(fan_out, "index/one", after_all=True)
    send(fan_out, "data/later")
    for _ in range(2):
        assert gates[0].entered.acquire(timeout=10)
    assert gates[0].under_way >= {"data/slow"}
    assert "index/one" not in gates[0].under_way | set(gates[0].order)
    gates[0].opened.set()
    (result,) = fan_out.finish()
    assert result.complete
    assert gates[0].most_under_way > 1, "packs go side by side"
    order = gates[0].order
    assert order.index("index/one") > order.index("data/slow")
    assert order.index("index/one") > order.index("data/quick")


def test_the_first_object_goes_alone_and_tells_whether_the_store_works(gates: list[Gate]) -> None:
    gates.append(Gate("s3", shut=lambda _name: True))
    fan_out = FanOut(gates, discard)
    send(fan_out, *(f"data/{number}" for number in range(5)))
    assert gates[0].entered.acquire(timeout=10)
    assert not gates[0].entered.acquire(timeout=0.1)
    gates[0].opened.set()
    fan_out.finish()
    assert len(gates[0].order) == 5


def test_S10_a_store_that_hangs_is_cut_off_and_the_others_get_everything(gates: list[Gate]) -> None:
    events: list[Event] = []
    gates += [Gate("gcs"), Gate("s3", shut=lambda _name: True), Gate("b2")]
    fan_out = FanOut(gates, events.append, needed=2, policy=replace(QUICK, silence_s=1))
    send(fan_out, *(f"data/{number}" for number in range(8)))
    results = {result.store: result for result in fan_out.finish()}
    assert {name for name, result in results.items() if result.complete} == {"gcs", "b2"}
    assert "hangs" in results["s3"].reason
    assert [e.store for e in events if isinstance(e, StoreLagging)] == ["s3"]
    assert len(gates[0].order) == len(gates[2].order) == 8


def test_S10_bytes_in_flight_are_bounded_and_a_hung_store_gives_its_own_back(
    gates: list[Gate],
) -> None:
    gates += [Gate("gcs"), Gate("s3", shut=lambda _name: True)]
    fan_out = FanOut(gates, discard, policy=FanOutPolicy(bytes_in_flight=100, silence_s=3600))
    sent: list[int] = []

    def write() -> None:
        for number in range(10):
            fan_out.send(f"data/{number}", (bytes(30),), 30)
            sent.append(number)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(0.3)
    assert writer.is_alive()
    assert len(sent) <= 4, "30 bytes each, 100 in flight"
    fan_out.drop("s3", "its lock was lost")
    writer.join(10)
    assert not writer.is_alive()
    assert len(sent) == 10
    assert [result.complete for result in fan_out.finish()] == [True, False]


def test_S1_a_buffer_that_a_cut_off_store_may_still_read_is_not_used_again(
    gates: list[Gate],
) -> None:
    gates += [Gate("gcs"), Gate("s3", shut=lambda _name: True)]
    given_back: queue.Queue[str] = queue.Queue()
    fan_out = FanOut(gates, discard, policy=FanOutPolicy(silence_s=3600))
    for name in ("data/sending", "data/queued"):
        content = bytearray(name.encode())
        fan_out.send(name, (content,), len(content), done=partial(given_back.put, name))
    for gate in (gates[0], gates[0], gates[1]):
        assert gate.entered.acquire(timeout=10)
    assert given_back.empty(), "s3 still needs both"
    fan_out.drop("s3", "test")
    assert given_back.get(timeout=10) == "data/queued"
    fan_out.drain()
    assert given_back.empty()
    gates[1].opened.set()


def test_S2_no_store_is_cut_off_that_the_point_needs(gates: list[Gate]) -> None:
    gates += [Gate("gcs"), Gate("s3", shut=lambda _name: True)]
    fan_out = FanOut(gates, discard, needed=2, policy=QUICK)
    send(fan_out, "data/one")
    waiting = threading.Thread(target=fan_out.drain, daemon=True)
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive(), "it is waited for, however slow"
    gates[1].opened.set()
    waiting.join(10)
    assert all(result.complete for result in fan_out.finish())


def test_S10_a_store_that_crawls_is_cut_off_by_its_rate(gates: list[Gate]) -> None:
    clock = ManualClock()
    policy = FanOutPolicy(least_bytes_per_s=100, crawl_s=20, silence_s=1e9)
    gates += [Gate("gcs"), Gate("s3", shut=lambda name: name == "data/2")]
    fan_out = FanOut(gates, discard, clock=clock, policy=policy)
    send(fan_out, "data/1", "data/2")
    for _ in range(2):
        assert gates[1].entered.acquire(timeout=10)
    clock.advance(19)
    assert set(fan_out.alive) == set(gates)
    waiting = threading.Thread(target=fan_out.drain, daemon=True)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive(), "slow for less than 20 s"
    clock.advance(2)
    waiting.join(10)
    results = {result.store: result for result in fan_out.finish()}
    assert results["gcs"].complete
    assert "crawls: 6 bytes in 21 s" in results["s3"].reason


def test_with_no_store_left_the_writer_is_told_at_once() -> None:
    class Broken(MemoryStore):
        def put(self, name: str, data: Any, *, size_bytes: int) -> None:
            raise StoreUnreachable("the disk is full", hint="make room")

    fan_out = FanOut([Broken("gcs")], discard)
    send(fan_out, "data/1")
    fan_out.drain()
    with pytest.raises(TooFewCopies, match="the disk is full"):
        send(fan_out, "data/2")


@pytest.mark.parametrize(
    ("own", "others", "seconds"),
    [(0, 0, 4 + 80), (16 << 20, 0, 4 + 1.25), (0, 4 << 20, 4 + 20), (0, 1 << 40, 4 + 5)],
)
def test_patience_grows_with_the_bytes_and_with_how_slow_stores_are(
    own: float, others: float, seconds: float
) -> None:
    assert FanOutPolicy().patience_s(16 << 20, own, others) == pytest.approx(seconds)

"""Each store has its own pace within a bound; who fails gives its chunks back."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest

from drkit.mirror import tee
from drkit.mirror.tee import StoreWriter, offer_all
from drkit.stores.interface import Buffer
from drkit.stores.memory import MemoryStore, Trouble

CHUNK = b"x" * 1000


class SlowStore(MemoryStore):
    """Takes each chunk, but only after a while."""

    def put(self, name: str, data: Buffer | Iterable[Buffer], *, size_bytes: int) -> None:
        assert not isinstance(data, bytes | bytearray | memoryview)

        def slowly() -> Iterable[Buffer]:
            for chunk in data:
                time.sleep(0.25)
                yield chunk

        super().put(name, slowly(), size_bytes=size_bytes)


def test_what_is_aborted_becomes_no_object_and_the_next_one_does() -> None:
    store = MemoryStore()
    writer = StoreWriter(store)
    writer.begin("a", "m/a", 1000)
    writer.offer(CHUNK)
    writer.end(aborted=True)
    writer.begin("b", "m/b", 1000)
    writer.offer(CHUNK)
    writer.end()
    writer.finish()
    assert writer.failure is None
    assert store.objects == {"m/b": CHUNK}
    assert (writer.stored, writer.bytes_sent) == (["b"], 1000)


def test_S10_a_store_that_slows_the_others_down_beyond_the_bound_drops_out() -> None:
    fast, slow = MemoryStore("fast"), SlowStore("slow")
    writers = [StoreWriter(store, patience_s=0.6) for store in (fast, slow)]
    count = 0
    for writer in writers:
        writer.begin("a", "a", 1000 * 200)
    while count < 200:
        offer_all(writers, CHUNK)
        count += 1
        if writers[1].failure is None:
            assert count < 100, "the slow store was never dropped"
    for writer in writers:
        writer.end()
        writer.finish()
    assert writers[0].failure is None
    assert fast.objects == {"a": CHUNK * 200}
    assert slow.objects == {}


def test_S10_a_slow_store_that_is_alone_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tee, "_HELD_UP_SHARE", 0)
    slow = SlowStore("slow")
    writer = StoreWriter(slow, patience_s=1)
    writer.begin("a", "a", 12_000)
    for _ in range(12):
        offer_all([writer], CHUNK)
    writer.end()
    writer.finish()
    assert writer.failure is None
    assert slow.objects == {"a": CHUNK * 12}


@pytest.mark.parametrize("trouble", [Trouble.REFUSES, Trouble.HANGS])
def test_S10_a_store_that_failed_gives_its_chunks_back_and_takes_no_more(
    trouble: Trouble,
) -> None:
    store = MemoryStore()
    store.fail(trouble)
    writer = StoreWriter(store, patience_s=0.2)
    writer.begin("a", "a", 100_000)
    for _ in range(100):
        writer.offer(CHUNK)
    writer.end()
    writer.finish()
    store.mend()
    assert writer.failure
    assert not any(isinstance(item, bytes) for item in list(writer._queue.queue))
    assert store.objects == {}

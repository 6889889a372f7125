"""One read, many stores: each store has a thread and a bounded queue of chunks.

A store that fails drops out. So does one that takes nothing for as long as a request may last, or
that makes the others wait (S10): a store that is three times slower may stay, one that crawls may
not. Its chunks are let go at once. Waits are counted in slices, so that a machine that was
suspended meanwhile blames no store.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drkit.errors import DrkitError
from drkit.io_policy import STORE_REQUEST
from drkit.stores.interface import Store

CHUNK_BYTES = 4 * 1024 * 1024
QUEUED_CHUNKS = 4
PATIENCE_S = STORE_REQUEST.for_bytes(CHUNK_BYTES)
_MOST_SLICE_S = 0.1
_HELD_UP_SHARE = 2 / 3


@dataclass(frozen=True, slots=True)
class _Begin:
    path: str
    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _End:
    """The object's bytes are complete, or (`aborted`) must not become an object."""

    aborted: bool = False


class _Stop:
    """Nothing follows."""


_Item = _Begin | bytes | _End | _Stop


class _Aborted(Exception):
    """Raised out of the data, so that `put` leaves nothing behind."""


class StoreWriter:
    """Puts what it is offered into one store, in order, in a thread of its own."""

    def __init__(self, store: Store, *, patience_s: float = PATIENCE_S) -> None:
        self.store = store
        self.failure: str | None = None
        self.bytes_sent = 0
        self.stored: list[str] = []
        self._patience_s = patience_s
        self._slice_s = min(_MOST_SLICE_S, patience_s / 10)
        self._held_up_s = 0.0
        self._started_s = time.monotonic()
        self._progress = 0
        self._queue: queue.Queue[_Item] = queue.Queue(QUEUED_CHUNKS)
        self._thread = threading.Thread(target=self._run, name=store.name, daemon=True)
        self._thread.start()

    @property
    def starving(self) -> bool:
        """Whether it could take more at once."""
        return self.failure is None and self._queue.empty()

    def begin(self, path: str, name: str, size_bytes: int) -> None:
        self.offer(_Begin(path, name, size_bytes))

    def end(self, *, aborted: bool = False) -> None:
        self.offer(_End(aborted))

    def offer(self, item: _Item, others: Sequence[StoreWriter] = ()) -> None:
        """Queues `item`, waiting while the queue is full; a store that takes too long fails."""
        seen, waited_s = self._progress, 0.0
        while self.failure is None:
            try:
                self._queue.put(item, timeout=self._slice_s)
            except queue.Full:
                if self._progress != seen:
                    seen, waited_s = self._progress, 0.0
                waited_s += self._slice_s
                if any(other.starving for other in others):
                    self._held_up_s += self._slice_s
                if waited_s >= self._patience_s:
                    self.give_up(f"took nothing for {waited_s:.0f} s")
                elif self._held_up_s >= self._may_hold_up_s():
                    self.give_up(f"held up the other stores for {self._held_up_s:.0f} s")
            else:
                self._let_go_if_failed()
                return

    def finish(self) -> None:
        """Waits until all that was offered is stored, or the store has failed."""
        self.offer(_Stop())
        seen, waited_s = self._progress, 0.0
        while self.failure is None and self._thread.is_alive():
            self._thread.join(self._slice_s)
            waited_s += self._slice_s
            if self._progress != seen:
                seen, waited_s = self._progress, 0.0
            if waited_s >= self._patience_s:
                self.give_up(f"did not finish for {waited_s:.0f} s")

    def _may_hold_up_s(self) -> float:
        return self._patience_s + _HELD_UP_SHARE * (time.monotonic() - self._started_s)

    def give_up(self, why: str) -> None:
        """Drops the store: what is queued is let go, and what is half-written is not finished."""
        if self.failure is None:
            self.failure = f"{self.store.name}: {why}"
        self._let_go()
        self._queue.put(_End(aborted=True))
        self._queue.put(_Stop())

    def _let_go_if_failed(self) -> None:
        """For what was queued while the thread was ending."""
        if self.failure is not None:
            self._let_go()

    def _let_go(self) -> None:
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                return

    def _run(self) -> None:
        while self.failure is None:
            match self._queue.get():
                case _Begin() as begin:
                    self._put(begin)
                case _Stop():
                    return
                case _:
                    continue

    def _put(self, begin: _Begin) -> None:
        chunks = self._chunks()
        try:
            self.store.put(begin.name, chunks, size_bytes=begin.size_bytes)
            # A store may stop asking once it has all; the end still has to be taken.
            for _ in chunks:
                pass
        except _Aborted:
            pass
        except DrkitError as error:
            self._fail(error.message)
        except Exception as error:
            self._fail(f"{self.store.name}: {type(error).__name__}: {error}")
        else:
            if self.failure is None:
                self.bytes_sent += begin.size_bytes
                self.stored.append(begin.path)
                self._progress += 1

    def _chunks(self) -> Iterator[bytes]:
        while True:
            item = self._queue.get()
            self._progress += 1
            match item:
                case bytes():
                    yield item
                case _End(aborted=False):
                    return
                case _:
                    raise _Aborted

    def _fail(self, why: str) -> None:
        if self.failure is None:
            self.failure = why
        self._let_go()


def offer_all(writers: Sequence[StoreWriter], chunk: bytes) -> None:
    """Queues `chunk` for every store that has not failed."""
    for writer in writers:
        writer.offer(chunk, writers)

"""One stream of objects to every store at once; a store that fails drops out, the others go on.

Each store has a queue and a thread of its own, in order: so an index never overtakes the packs it
names, nor a snapshot its index (S3). What a store missed is copied to it at the next run.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from drkit.errors import DrkitError
from drkit.events import Emit, StoreLagging
from drkit.stores.interface import Buffer, Store

_PACKS_IN_FLIGHT = 4
_CRAWLS_AFTER_S = 120.0
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What one store got in this run. `complete`: every object of it, snapshot included."""

    store: str
    complete: bool
    reason: str
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class _Object:
    name: str
    pieces: Sequence[Buffer]
    size_bytes: int


class _Lane:
    """One store's queue and thread."""

    def __init__(self, store: Store, emit: Emit) -> None:
        self.store = store
        self.failure: str | None = None
        self.bytes_sent = 0
        self._emit = emit
        self._queue: queue.Queue[_Object | threading.Event | None] = queue.Queue(_PACKS_IN_FLIGHT)
        self._thread = threading.Thread(target=self._run, name=f"upload {store.name}", daemon=True)
        self._thread.start()

    def put(self, item: _Object | threading.Event | None) -> None:
        try:
            self._queue.put(item, timeout=_GRACE_S if self.failure else _CRAWLS_AFTER_S)
        except queue.Full:
            self.fail(f"took no object for {_CRAWLS_AFTER_S:.0f} s")
            self._empty()

    def fail(self, reason: str) -> None:
        if self.failure is None:
            self.failure = reason
            self._emit(StoreLagging(self.store.name, reason))

    def drain(self) -> None:
        """Waits until all that was queued is in the store, or the store has failed."""
        sent = threading.Event()
        if self.failure is None:
            self.put(sent)
        if self.failure is None and not sent.wait(_CRAWLS_AFTER_S):
            self.fail(f"did not finish within {_CRAWLS_AFTER_S:.0f} s")

    def finish(self) -> None:
        self.put(None)
        self._thread.join(_CRAWLS_AFTER_S if self.failure is None else _GRACE_S)
        if self._thread.is_alive():
            self.fail(f"did not finish within {_CRAWLS_AFTER_S:.0f} s")

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            elif self.failure is None:
                try:
                    self.store.put(item.name, item.pieces, size_bytes=item.size_bytes)
                    self.bytes_sent += item.size_bytes
                except DrkitError as error:
                    self.fail(error.message)
                except Exception as error:  # an adapter's bug must not look like a complete store
                    self.fail(repr(error))
            del item  # the buffer is given back before the next one is waited for

    def _empty(self) -> None:
        """Gives the buffers back that a hung store would hold (S10)."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()


class FanOut:
    """Sends every object to every store that has not failed."""

    def __init__(self, stores: Sequence[Store], emit: Emit) -> None:
        self._lanes = [_Lane(store, emit) for store in stores]

    def send(self, name: str, pieces: Sequence[Buffer], size_bytes: int) -> None:
        """Queues the object everywhere; waits while the queues are full."""
        item = _Object(name, pieces, size_bytes)
        for lane in self._lanes:
            if lane.failure is None:
                lane.put(item)

    def drop(self, store: str, reason: str) -> None:
        """Makes `store` lag: nothing more is sent to it in this run."""
        for lane in self._lanes:
            if lane.store.name == store:
                lane.fail(reason)

    @property
    def alive(self) -> tuple[Store, ...]:
        return tuple(lane.store for lane in self._lanes if lane.failure is None)

    def drain(self) -> None:
        """Waits until every store that has not failed holds all that was sent so far."""
        for lane in self._lanes:
            lane.drain()

    def abandon(self, reason: str) -> None:
        """Sends nothing more to any store: the run has failed, its locks are about to go."""
        for lane in self._lanes:
            lane.failure = lane.failure or reason
            lane.finish()

    def finish(self) -> tuple[StoreResult, ...]:
        """Waits until every store has what it was sent, or has failed."""
        for lane in self._lanes:
            lane.finish()
        return tuple(
            StoreResult(lane.store.name, lane.failure is None, lane.failure or "", lane.bytes_sent)
            for lane in self._lanes
        )

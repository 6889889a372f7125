"""One stream of objects to every store at once; a store that fails, hangs or crawls drops out.

Each store has a lane: a few connections, so that latency does not add up, and an order, so that
an index never overtakes the packs it names, nor a snapshot its index (S3). Bytes in flight are
bounded: the run waits for its stores, but for a store that does not move only as long as
`patience_s` says (S10). What a store missed is copied to it at the next run.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from drkit.clock import Clock, SystemClock
from drkit.errors import DrkitError, TooFewCopies
from drkit.events import Emit, StoreLagging
from drkit.io_policy import FAN_OUT, FanOutPolicy
from drkit.stores.interface import Buffer, Store

_LOOK_EVERY_S = 0.1
_SLICE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class StoreResult:
    """What one store got in this run. `complete`: every object of it, snapshot included."""

    store: str
    complete: bool
    reason: str
    bytes_sent: int


@dataclass(eq=False, slots=True)
class _Object:
    """`left`: lanes that still need its bytes. `kept`: a lane gave up while it was sending them,
    so that they may yet be read and the buffer must not be used again.
    """

    name: str
    pieces: Sequence[Buffer]
    size_bytes: int
    after_all: bool
    done: Callable[[], None] | None
    left: int = 0
    kept: bool = False


@dataclass(eq=False, slots=True)
class _Lane:
    """One store: what is queued and being sent, when a byte last moved, and for how long it was
    busy before `busy_since_s`. `bytes_sent` counts whole objects, `moved_bytes` what was taken;
    `rate` is that of whole objects, in bytes a second, as of the last one.
    """

    store: Store
    queue: deque[_Object] = field(default_factory=deque)
    sending: set[_Object] = field(default_factory=set)
    threads: int = 0
    failure: str | None = None
    bytes_sent: int = 0
    moved_bytes: int = 0
    moved_s: float = 0.0
    rate: float = 0.0
    busy_s: float = 0.0
    busy_since_s: float = 0.0

    @property
    def idle(self) -> bool:
        return not self.queue and not self.sending

    def busy_for_s(self, now_s: float) -> float:
        return self.busy_s + (now_s - self.busy_since_s if self.sending else 0.0)

    def next(self) -> _Object | None:
        """What may be sent now: in order, an index or snapshot only when all before it is there."""
        if self.queue and not (self.queue[0].after_all and self.sending):
            return self.queue.popleft()
        return None


class _Watched(Sequence[Buffer]):
    """An object's bytes in slices, as often as they are asked for. Each one that is taken says
    that the store moves.
    """

    def __init__(self, lane: _Lane, pieces: Sequence[Buffer], clock: Clock) -> None:
        self._lane = lane
        self._clock = clock
        self._slices = [
            memoryview(piece)[at : at + _SLICE_BYTES]
            for piece in pieces
            for at in range(0, len(piece), _SLICE_BYTES)
        ]

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, at: Any) -> Any:
        return self._slices[at]

    def __iter__(self) -> Iterator[Buffer]:
        for part in self._slices:
            yield part
            self._lane.moved_bytes += len(part)
            self._lane.moved_s = self._clock.elapsed_s()


class FanOut:
    """Sends every object to every store that has not failed."""

    def __init__(
        self,
        stores: Sequence[Store],
        emit: Emit,
        *,
        needed: int = 1,
        clock: Clock | None = None,
        policy: FanOutPolicy | None = None,
        seen: Callable[[str, Sequence[Buffer]], None] | None = None,
    ) -> None:
        """No store is cut off, however slow, where fewer than `needed` others would be left.

        `seen` is shown every object that is sent; it must not keep the pieces.
        """
        self._seen = seen
        self._emit = emit
        self._needed = needed
        self._clock = clock or SystemClock()
        self._policy = policy or FAN_OUT
        self._lanes = [_Lane(store) for store in stores]
        self._changed = threading.Condition()
        self._in_flight_bytes = 0
        self._closed = False

    def send(
        self,
        name: str,
        pieces: Sequence[Buffer],
        size_bytes: int,
        *,
        after_all: bool = False,
        done: Callable[[], None] | None = None,
    ) -> None:
        """Queues the object everywhere; waits while too many bytes are in flight.

        `after_all`: each store gets it when it has everything that was sent before. `done` is
        called when no store needs the bytes any more; not at all when one was cut off with them.
        Raises `TooFewCopies` when no store is left.
        """
        if self._seen is not None:
            self._seen(name, pieces)
        item = _Object(name, pieces, size_bytes, after_all, done)
        with self._changed:
            self._wait_until(self._has_room)
            if all(lane.failure for lane in self._lanes):
                reasons = "; ".join(f"{lane.store.name}: {lane.failure}" for lane in self._lanes)
                raise TooFewCopies(
                    f"no store takes anything ({reasons})",
                    hint="bring a store back and run the backup again; nothing older was touched",
                )
            self._in_flight_bytes += size_bytes
            item.left = 1  # this call's own, until it is queued everywhere
            for lane in self._lanes:
                if lane.failure is None:
                    item.left += 1
                    lane.queue.append(item)
                    self._staff(lane)
            self._changed.notify_all()
        self._let_go(item)

    def drop(self, store: str, reason: str) -> None:
        """Makes `store` lag: nothing more is sent to it in this run."""
        for lane in self._lanes:
            if lane.store.name == store:
                self._fail(lane, reason)

    @property
    def alive(self) -> tuple[Store, ...]:
        return tuple(lane.store for lane in self._lanes if lane.failure is None)

    def drain(self) -> None:
        """Waits until every store that has not failed holds all that was sent so far."""
        with self._changed:
            self._wait_until(lambda: all(lane.failure or lane.idle for lane in self._lanes))

    def abandon(self, reason: str) -> None:
        """Sends nothing more to any store: the run has failed, its locks are about to go."""
        for lane in self._lanes:
            self._fail(lane, reason, told=True)
        self._close()

    def finish(self) -> tuple[StoreResult, ...]:
        """Waits until every store has what it was sent, or has failed."""
        self.drain()
        self._close()
        return tuple(
            StoreResult(lane.store.name, lane.failure is None, lane.failure or "", lane.bytes_sent)
            for lane in self._lanes
        )

    def _has_room(self) -> bool:
        return self._in_flight_bytes < self._policy.bytes_in_flight

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits, under the lock, and meanwhile cuts off stores that do not move."""
        while not condition():
            self._changed.wait(_LOOK_EVERY_S)
            self._cut_off_stuck()

    def _cut_off_stuck(self) -> None:
        """Fails lanes that hang or crawl, as long as enough stores that move are left."""
        now_s = self._clock.elapsed_s()
        for lane in self._lanes:
            others = [other for other in self._lanes if other is not lane and not other.failure]
            if lane.failure or not lane.sending or len(others) < max(self._needed, 1):
                continue
            sending_bytes = sum(item.size_bytes for item in lane.sending)
            rates = [other.rate for other in others if other.rate]
            patience_s = self._policy.patience_s(sending_bytes, lane.rate, min(rates, default=0.0))
            silent_s = now_s - lane.moved_s
            busy_s = lane.busy_for_s(now_s)
            if silent_s > patience_s and all(
                other.idle or now_s - other.moved_s < patience_s / 2 for other in others
            ):
                self._fail(
                    lane, f"hangs: no byte of {sending_bytes} was taken for {silent_s:.0f} s"
                )
            elif (
                busy_s > self._policy.crawl_s
                and lane.moved_bytes < self._policy.least_bytes_per_s * busy_s
            ):
                self._fail(lane, f"crawls: {lane.moved_bytes} bytes in {busy_s:.0f} s")

    def _staff(self, lane: _Lane) -> None:
        """One more connection where something waits for one, the first object alone until it is
        there: it tells whether the store works, and how fast. Under the lock.
        """
        if lane.threads < (self._policy.connections if lane.bytes_sent else 1):
            lane.threads += 1
            name = f"upload {lane.store.name}"
            threading.Thread(target=self._serve, args=(lane,), name=name, daemon=True).start()

    def _serve(self, lane: _Lane) -> None:
        while True:
            with self._changed:
                while (item := lane.next()) is None:
                    if self._closed or lane.failure:
                        return
                    self._changed.wait()
                if not lane.sending:
                    lane.busy_since_s = lane.moved_s = self._clock.elapsed_s()
                lane.sending.add(item)
            content = _Watched(lane, item.pieces, self._clock)
            try:
                lane.store.put(item.name, content, size_bytes=item.size_bytes)
            except DrkitError as error:
                self._fail(lane, error.message)
            except BaseException as error:  # a thread that ends must not pass for one at work
                self._fail(lane, repr(error))
            with self._changed:
                if item not in lane.sending:
                    return  # cut off meanwhile: what came of it is the next run's to see
                lane.sending.remove(item)
                lane.moved_s = self._clock.elapsed_s()
                lane.bytes_sent += item.size_bytes
                busy_s = lane.busy_s + lane.moved_s - lane.busy_since_s
                lane.rate = lane.bytes_sent / max(busy_s, 0.001)
                if not lane.sending:
                    lane.busy_s = busy_s
                if lane.queue:
                    self._staff(lane)
                self._changed.notify_all()
            self._let_go(item)
            del item, content  # the buffer is given back before the next one is waited for

    def _fail(self, lane: _Lane, reason: str, *, told: bool = False) -> None:
        """Drops the lane and gives back every buffer that it holds (S10)."""
        with self._changed:
            if lane.failure is not None:
                return
            lane.failure = reason
            for item in lane.sending:
                item.kept = True
            held = [*lane.queue, *lane.sending]
            lane.queue.clear()
            lane.sending.clear()
            self._changed.notify_all()
        for item in held:
            self._let_go(item)
        if not told:
            self._emit(StoreLagging(lane.store.name, reason))

    def _let_go(self, item: _Object) -> None:
        with self._changed:
            item.left -= 1
            if item.left:
                return
            self._in_flight_bytes -= item.size_bytes
            self._changed.notify_all()
        if item.done and not item.kept:
            item.done()

    def _close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

"""Many objects, or ranges of them, from all stores in parallel, each at its own speed (S10, S11).

Each store has a few threads that take the next request. What a store fails to give, or gives wrong,
is asked of another; what takes much longer than others took is asked of a second one too, and the
first answer counts. So a store that hangs or crawls costs its share of the work and nothing else.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, NamedTuple, TypeVar

from drkit.errors import DamagedData, DrkitError, PlaceError
from drkit.io_policy import READS, ReadPolicy
from drkit.stores.interface import ReadsInto, Store

T = TypeVar("T")
R = TypeVar("R")
_OUT_AFTER = 3


@dataclass(slots=True, eq=False)
class Request(Generic[T]):
    """The object `name`, or a range of it; `what` is for whoever uses it. `size_bytes` is an
    estimate where `length` is None. Stores in `reasons` are not asked (again). `room`: the number
    of the room that its bytes lie in, while they are used.
    """

    name: str
    what: T
    offset: int = 0
    length: int | None = None
    size_bytes: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    since_s: float = 0.0
    is_taken: bool = False
    given_by: str = ""
    room: int | None = None


class Room(NamedTuple):
    """Memory to read into, which whoever uses what was read knows by its number."""

    number: int
    view: memoryview


@dataclass(frozen=True, slots=True)
class Got(Generic[T, R]):
    request: Request[T]
    result: R


@dataclass(frozen=True, slots=True)
class Failed(Generic[T]):
    """No store could give the request; `request.reasons` says why, by store."""

    request: Request[T]


Outcome = Got[T, R] | Failed[T]
Data = bytes | memoryview
Use = Callable[[Request[T], Store, Data], R]


class Fetcher(Generic[T, R]):
    """Runs `use` once for each request, in threads, with bytes that have the right length.

    `use` raises `DamagedData` for wrong bytes: then another store is asked. `on_trouble` hears of
    every failure, from those threads. A context: at its end no `use` runs any more, and nobody
    waits for a store that hangs. With `rooms`, one for each thread, ranges that fit are read there.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        use: Use[T, R],
        *,
        on_trouble: Callable[[str, str, str], None],
        policy: ReadPolicy = READS,
        rooms: Sequence[Room] = (),
    ) -> None:
        self._use = use
        self._on_trouble = on_trouble
        self._policy = policy
        self._guard = threading.Lock()
        self._work = threading.Condition(self._guard)  # something to read, for the threads
        self._told = threading.Condition(self._guard)  # something has finished, for the caller
        self._is_one = len(stores) == 1
        self._waiting: deque[Request[T]] = deque()
        self._running: list[Request[T]] = []
        self._finished: deque[Outcome[T, R] | BaseException] = deque()
        self._open = 0
        self._open_bytes = 0
        self._durations_s: deque[float] = deque(maxlen=32)
        self._failures = dict.fromkeys((store.name for store in stores), 0)
        self._stopped = False
        self._using = 0
        # hashing and decoding use whole cores: more threads at it would only hold memory
        self._cores = threading.Semaphore(max(2, os.cpu_count() or 2))
        left = list(rooms)
        for store in stores:
            for _ in range(policy.connections):
                room = left.pop() if left else None
                threading.Thread(
                    target=self._serve, args=(store, room), name=f"fetch {store.name}", daemon=True
                ).start()

    def __enter__(self) -> Fetcher[T, R]:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        with self._guard:
            self._stopped = True
            self._waiting.clear()
            self._work.notify_all()
            while self._using:  # what they write must not come after what the caller does next
                self._told.wait()

    @property
    def has_room(self) -> bool:
        """Whether more requests should be added: enough bytes are asked for otherwise."""
        with self._guard:
            return self._open == 0 or self._open_bytes < self._policy.bytes_in_flight

    @property
    def is_idle(self) -> bool:
        """Whether every request that was added has been told of."""
        with self._guard:
            return self._open == 0

    def add(self, request: Request[T]) -> None:
        with self._guard:
            self._open += 1
            self._open_bytes += request.length or request.size_bytes
            self._waiting.append(request)
            self._give_up_what_nobody_gives()
            # all threads of one store are alike; of several, not each may take it
            self._work.notify(1 if self._is_one else len(self._failures) * self._policy.connections)

    def outcomes(self) -> list[Outcome[T, R]]:
        """What has finished since; waits for one when something is open. Raises what `use` raised
        beside `DamagedData`.
        """
        with self._guard:
            while self._open and not self._finished:
                self._told.wait()
            found: list[Outcome[T, R]] = []
            while self._finished:
                outcome = self._finished.popleft()
                if isinstance(outcome, BaseException):
                    raise outcome
                self._open -= 1
                self._open_bytes -= outcome.request.length or outcome.request.size_bytes
                found.append(outcome)
            return found

    def _serve(self, store: Store, room: Room | None) -> None:
        while (request := self._next(store)) is not None:
            started_s = time.monotonic()
            try:
                fits = room is not None and (request.length or sys.maxsize) <= len(room.view)
                data = _read(store, request, room if fits else None)
            except DrkitError as error:
                self._failed(request, store, error.message, counts=isinstance(error, PlaceError))
                continue
            except Exception as error:  # an adapter's bug must not stop the others
                self._failed(request, store, repr(error), counts=True)
                continue
            if not self._take(request, store, time.monotonic() - started_s):
                continue
            request.room = room.number if room is not None and fits else None
            try:
                with self._cores:
                    result = self._use(request, store, data)
            except DamagedData as error:
                self._failed(request, store, error.message, counts=False, was_taken=True)
            except BaseException as error:
                self._finish(error)
            else:
                self._finish(Got(request, result))
            del data

    def _next(self, store: Store) -> Request[T] | None:
        """What `store` is to read now; waits. None: nothing more, for this store."""
        with self._guard:
            while not self._stopped and self._failures[store.name] < _OUT_AFTER:
                request = self._waiting_for(store) or self._overdue_for(store)
                if request is not None:
                    request.asked.add(store.name)
                    return request
                self._work.wait(self._hedge_look_s())
        return None

    def _hedge_look_s(self) -> float | None:
        """When to look for what others have had for too long; None: no other store could help."""
        return None if self._is_one or not self._running else self._policy.hedge_least_s / 2

    def _waiting_for(self, store: Store) -> Request[T] | None:
        for request in self._waiting:
            if store.name not in request.reasons:
                self._waiting.remove(request)
                self._run(request)
                return request
        return None

    def _run(self, request: Request[T]) -> None:
        request.since_s = time.monotonic()
        self._running.append(request)

    def _overdue_for(self, store: Store) -> Request[T] | None:
        """A request that others have had for too long."""
        policy = self._policy
        limit_s = policy.hedge_first_s
        if self._durations_s:
            durations_s = sorted(self._durations_s)
            limit_s = policy.hedge_times * durations_s[len(durations_s) // 2]
        limit_s = max(limit_s, policy.hedge_least_s)
        now_s = time.monotonic()
        for request in self._running:
            if store.name in request.asked or store.name in request.reasons:
                continue
            if now_s - request.since_s > limit_s * len(request.asked):
                return request
        return None

    def _take(self, request: Request[T], store: Store, spent_s: float) -> bool:
        """True for the first that has the bytes; what others bring later is dropped."""
        with self._guard:
            self._durations_s.append(spent_s)
            self._failures[store.name] = 0
            request.asked.discard(store.name)
            if request.is_taken or self._stopped:
                return False
            request.is_taken = True
            request.given_by = store.name
            self._running.remove(request)
            self._using += 1
            return True

    def _failed(
        self, request: Request[T], store: Store, why: str, *, counts: bool, was_taken: bool = False
    ) -> None:
        """Leaves the request to another store, or tells that none is left."""
        with self._guard:
            request.asked.discard(store.name)
            if counts:
                self._failures[store.name] += 1
            if request.is_taken and not was_taken:
                return  # another store gave it meanwhile
            request.reasons[store.name] = why
            if was_taken:
                self._using -= 1
                request.is_taken = False
                self._run(request)
            if not request.asked:
                self._running.remove(request)
                self._waiting.appendleft(request)
            self._give_up_what_nobody_gives()
            self._work.notify_all()
            self._told.notify_all()
        self._on_trouble(store.name, request.name, why)

    def _give_up_what_nobody_gives(self) -> None:
        alive = [name for name, failures in self._failures.items() if failures < _OUT_AFTER]
        for request in tuple(self._waiting):
            if all(name in request.reasons for name in alive):
                self._waiting.remove(request)
                self._finished.append(Failed(request))

    def _finish(self, outcome: Outcome[T, R] | BaseException) -> None:
        with self._guard:
            self._using -= 1
            self._finished.append(outcome)
            self._told.notify_all()


def _read(store: Store, request: Request[T], room: Room | None) -> Data:
    """What `store` has of the request, in the room if there is one."""
    length = request.length
    if room is not None and length is not None and isinstance(store, ReadsInto):
        store.get_into(request.name, room.view[:length], offset=request.offset)
        return room.view[:length]
    data = store.get(request.name, offset=request.offset, length=length)
    if length is not None and len(data) != length:
        raise DamagedData(f"gave {len(data)} of {length} bytes", hint="")
    if room is None:
        return data
    room.view[: len(data)] = data
    return room.view[: len(data)]

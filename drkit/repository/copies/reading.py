"""Questions to several stores at once, so that one which hangs or crawls holds nobody up (S10).

A call that is given up goes on in a thread of its own until its deadline; nobody waits for it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from drkit.errors import DrkitError, PlaceError
from drkit.io_policy import READS
from drkit.stores.interface import Store, StoreUnreachable

T = TypeVar("T")
_IDLE_S = 30.0
_SLICE_S = 0.1


class _Threads:
    """Daemon threads that are used again: an interpreter that ends does not wait for them."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def start(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
                self._work.put(work)
                return
        threading.Thread(target=self._run, args=(work,), name="read", daemon=True).start()

    def _run(self, work: Callable[[], None]) -> None:
        while True:
            work()
            del work
            with self._lock:
                self._idle += 1
            try:
                work = self._work.get(timeout=_IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._idle > 0:
                        self._idle -= 1
                        return
                work = self._work.get()  # promised to this thread just now


_threads = _Threads()


class NoStoreCould(DrkitError):
    """No store gave what was asked for. `reasons`: why, by store."""

    exit_status = 22

    def __init__(self, reasons: Mapping[str, DrkitError]) -> None:
        words = "; ".join(f"{name}: {error.message}" for name, error in reasons.items())
        super().__init__(words or "no store is there", hint="drkit check names what is lost")
        self.reasons = reasons


def ask_each(
    stores: Sequence[Store],
    question: Callable[[Store], T],
    *,
    patience_s: float = READS.open_patience_s,
    needed: int = 1,
) -> dict[Store, T | DrkitError]:
    """What each store answered, or why it did not, in the order of `stores`.

    Once `needed` of them have given an answer that is no `PlaceError`, the others have `patience_s`
    left; then they are `StoreUnreachable`. Those that are needed are waited for longer. Time in
    which this process stood still is not counted: its stores could not be heard either.
    """
    if len(stores) == 1:
        return {stores[0]: _met(_answer(question, stores[0]))}
    answers: queue.SimpleQueue[tuple[Store, T | DrkitError]] = queue.SimpleQueue()
    for store in stores:
        _threads.start(lambda store=store: answers.put((store, _answer(question, store))))  # type: ignore[misc]
    found: dict[Store, T | DrkitError] = {}
    good, enough_s = 0, patience_s
    while len(found) < len(stores):
        try:
            enough_s = patience_s if good >= needed else READS.needed_patience_s
            store, answer = _next(answers, enough_s) if good else answers.get()
        except queue.Empty:
            break
        found[store] = answer
        good += not isinstance(answer, PlaceError)
    for answer in found.values():
        _met(answer)  # an interrupt: once the others, too, have come to rest
    return {store: found[store] if store in found else _silent(store, enough_s) for store in stores}


def _next(answers: queue.SimpleQueue[T], patience_s: float) -> T:
    """What comes next. Raises `queue.Empty` after so many seconds of waiting, counted in slices."""
    left_s = patience_s
    while left_s > _SLICE_S:
        left_s -= _SLICE_S
        with suppress(queue.Empty):
            return answers.get(timeout=_SLICE_S)
    return answers.get(timeout=max(left_s, 0.0))


def first_good(
    stores: Sequence[Store],
    attempt: Callable[[Store], T],
    *,
    hedge_s: float = READS.hedge_least_s,
    on_failure: Callable[[Store, DrkitError], None] = lambda store, error: None,
) -> tuple[Store, T]:
    """The first store, in the order of `stores`, whose `attempt` did not raise, and its result.

    The next one is asked when one fails, or has said nothing for `hedge_s`. Raises `NoStoreCould`.
    `on_failure` hears, in this thread, of each that failed while it was waited for.
    """
    failed: dict[str, DrkitError] = {}
    if len(stores) == 1:
        answer = _met(_answer(attempt, stores[0]))
        if not isinstance(answer, DrkitError):
            return stores[0], answer
        on_failure(stores[0], answer)
        raise NoStoreCould({stores[0].name: answer})
    answers: queue.SimpleQueue[tuple[Store, T | DrkitError]] = queue.SimpleQueue()
    asked = 0
    while len(failed) < len(stores):
        if asked < len(stores):
            store = stores[asked]
            _threads.start(lambda store=store: answers.put((store, _answer(attempt, store))))  # type: ignore[misc]
            asked += 1
        try:
            store, answer = answers.get(timeout=hedge_s if asked < len(stores) else None)
        except queue.Empty:
            continue
        answer = _met(answer)
        if not isinstance(answer, DrkitError):
            return store, answer
        failed[store.name] = answer
        on_failure(store, answer)
    raise NoStoreCould(failed)


def _answer(question: Callable[[Store], T], store: Store) -> T | DrkitError:
    try:
        return question(store)
    except DrkitError as error:
        return error
    except Exception as error:  # an adapter's bug must not pass for silence
        return StoreUnreachable(f"{store.name}: {error!r}", hint="report this as a bug of drkit")
    except BaseException as error:  # an interrupt is the asker's to meet, not a silence
        return _Ended(error)


class _Ended(DrkitError):
    def __init__(self, cause: BaseException) -> None:
        super().__init__(repr(cause), hint="it was interrupted")
        self.cause = cause


def _met(answer: T | DrkitError) -> T | DrkitError:
    if isinstance(answer, _Ended):
        raise answer.cause
    return answer


def _silent(store: Store, patience_s: float) -> StoreUnreachable:
    return StoreUnreachable(
        f"{store.name}: did not answer within {patience_s:g} s of the others",
        hint="it is left out of this run and caught up later; drkit status shows how far it is",
    )

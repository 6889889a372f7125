"""The locks of one run in several stores: taken at once, kept fresh, looked at before a snapshot is
written (S9).
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from drkit.errors import DrkitError, RepositoryLocked
from drkit.events import Emit, Note
from drkit.repository.copies.listing import Listing, take_listing
from drkit.repository.copies.reading import ask_each
from drkit.repository.format.layout import LOCKS
from drkit.repository.locks.files import StoreLock, read_locks
from drkit.stores.interface import Store

if TYPE_CHECKING:
    from drkit.repository.repository import Repository

REFRESH_EVERY_S = 300.0
REFRESH_AGAIN_S = 30.0
_RELEASE_PATIENCE_S = 1.0
_RETRY_FIRST_S, _RETRY_MOST_S = 5.0, 60.0  # as restic asks a locked repository again


class Locks:
    """The locks of one run in several stores, refreshed until they are released. `refused`: why the
    other stores gave none, by name.
    """

    def __init__(
        self,
        locks: Mapping[Store, StoreLock],
        listings: Mapping[Store, Listing],
        *,
        refused: Mapping[str, DrkitError],
        needed: int = 1,
    ) -> None:
        self.refused = dict(refused)
        self.by_store = dict(locks)
        self.listings = dict(listings)
        self._needed = needed
        self._stop = threading.Event()
        threading.Thread(target=self._refresh, name="lock refresh", daemon=True).start()

    def lost(self, stores: Collection[Store] | None = None) -> dict[Store, str]:
        """Those of `stores` whose lock is not to be trusted any more, with the reason; each is
        asked. None: of all.
        """
        found = {}
        asked = [store for store in self.by_store if stores is None or store in stores]
        held = (
            ask_each(asked, lambda store: self.by_store[store].held(), needed=self._needed)
            if asked
            else {}
        )
        for store, answer in held.items():
            if isinstance(answer, DrkitError):
                found[store] = f"its lock cannot be seen: {answer.message}"
            elif not answer:
                found[store] = "its lock was lost"
        return found

    def release(self, emit: Emit) -> None:
        """Removes them; a store that hangs is not waited for, and its lock grows stale."""
        self._stop.set()
        if not self.by_store:
            return
        released = ask_each(
            tuple(self.by_store),
            lambda store: self.by_store[store].release(),
            patience_s=_RELEASE_PATIENCE_S,
        )
        for store, answer in released.items():
            if isinstance(answer, DrkitError):
                emit(Note("warning", store.name, f"its lock stays: {answer.message}"))

    def _refresh(self) -> None:
        """Until the end. What fails is tried again soon: a lock is good for longer than that, and
        `lost` sees one that was not to be refreshed.
        """
        pause_s = REFRESH_EVERY_S
        while not self._stop.wait(pause_s):
            answers = ask_each(tuple(self.by_store), lambda store: self.by_store[store].refresh())
            failed = any(isinstance(answer, DrkitError) for answer in answers.values())
            pause_s = REFRESH_AGAIN_S if failed else REFRESH_EVERY_S


def take_locks(
    repository: Repository,
    *,
    exclusive: bool,
    need_all: bool,
    emit: Emit,
    needed: int | None = None,
) -> Locks:
    """A lock in each store that gives one, taken at the same time: each waits a moment. A store
    that hangs gives none, once `needed` others have answered (S10; default: the repository's).
    Where somebody else holds one, it is tried again for the repository's `retry_lock_s`.

    Raises what the first refusing store said when none gives one, or one of them with `need_all`.
    """
    clock = repository.clock
    needed = needed or repository.needed
    ends_s = clock.elapsed_s() + repository.retry_lock_s
    pause_s = _RETRY_FIRST_S
    while True:
        taken, problems = _try_locks(repository, exclusive, needed)
        locks = Locks(
            {store: lock for store, (lock, _) in taken.items()},
            {store: listing for store, (_, listing) in taken.items()},
            refused={store.name: problem for store, problem in problems.items()},
            needed=needed,
        )
        busy = any(isinstance(problem, RepositoryLocked) for problem in problems.values())
        left_s = ends_s - clock.elapsed_s()
        if not busy or left_s <= 0:
            break
        locks.release(emit)  # two that wait for each other hold nothing meanwhile
        first = next(iter(problems.values()))
        emit(Note("info", "locks", f"{first.message}; trying again for {left_s:.0f} s"))
        clock.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 2, _RETRY_MOST_S)
    for store, problem in problems.items():
        emit(Note("warning", store.name, problem.message))
    if not taken or (problems and need_all):
        locks.release(emit)
        raise next(
            iter(problems.values()),
            RepositoryLocked("no store could be locked", hint="drkit status"),
        )
    return locks


_Taken = dict[Store, tuple[StoreLock, Listing]]


def _try_locks(
    repository: Repository, exclusive: bool, needed: int
) -> tuple[_Taken, dict[Store, DrkitError]]:
    """The locks, and why other stores gave none; one that comes too late is removed again."""
    closing, written, given_up = threading.Lock(), dict[Store, StoreLock](), set[Store]()

    def acquire(store: Store) -> tuple[StoreLock, Listing]:
        lock = StoreLock(
            store,
            repository.key,
            clock=repository.clock,
            hostname=repository.hostname,
            exclusive=exclusive,
        )
        listing = lock.acquire()
        with closing:
            late = store in given_up
            written[store] = lock
        if late:
            lock.release()
        return lock, listing

    taken: _Taken = {}
    problems: dict[Store, DrkitError] = {}
    for store, answer in ask_each(repository.stores, acquire, needed=needed).items():
        if not isinstance(answer, DrkitError):
            taken[store] = answer
            continue
        problems[store] = answer
        with closing:
            given_up.add(store)
            late_lock = written.get(store)
        if late_lock is not None:  # it came between the end of the wait and now
            with suppress(DrkitError):
                late_lock.release()
    return taken, problems


def unlock(repository: Repository, *, remove_all: bool, emit: Emit) -> dict[str, int]:
    """Removes stale locks, or all of them, in every store; how many went, by store."""
    removed: dict[str, int] = {}
    for store in repository.stores:
        try:
            names = [LOCKS + lock_id for lock_id in take_listing(store).locks]
            if not remove_all:
                now, here = repository.clock.now(), repository.hostname
                found, _ = read_locks(store, repository.key, names)
                names = [lock.name for lock in found if lock.is_stale(now, here)]
            for name in names:
                store.delete(name)
            removed[store.name] = len(names)
        except DrkitError as error:
            emit(Note("error", store.name, error.message))
    return removed

"""One lock in one store: kept fresh, never missed while it is renewed, waited for where told to."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.clock import ManualClock
from drkit.errors import PlaceError, RepositoryLocked
from drkit.repository.copies import reading
from drkit.repository.copies.reading import ask_each
from drkit.repository.format.layout import LOCKS
from drkit.repository.format.sealing import MasterKey
from drkit.repository.locks.files import LOST_AFTER_S, StoreLock
from drkit.repository.locks.locks import take_locks
from drkit.repository.repository import open_repository
from drkit.stores.interface import ObjectInfo, StoreUnreachable
from drkit.stores.memory import MemoryStore, Trouble

KEY = MasterKey.generate()


def lock_in(store: MemoryStore, clock: Any, *, exclusive: bool = False, host: str = "h") -> Any:
    return StoreLock(store, KEY, clock=clock, hostname=host, exclusive=exclusive)


def test_S9_a_lock_that_is_renewed_while_another_looks_is_seen_all_the_same() -> None:
    store, clock = MemoryStore("gcs"), ManualClock()
    shared = lock_in(store, clock, host="elsewhere")
    shared.acquire()
    first = next(iter(store.objects))

    class Renewing(MemoryStore):
        """Shows the old lock in its list, which is renewed before it can be read."""

        def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
            if name == first and first in self.objects:
                shared.refresh()
            return super().get(name, offset=offset, length=length)

    store.__class__ = Renewing
    with pytest.raises(RepositoryLocked, match="elsewhere"):
        lock_in(store, clock, exclusive=True).acquire()
    assert first not in store.objects
    assert len(store.objects) == 1, "only the shared one is left"


def test_a_credential_that_cannot_delete_keeps_its_lock_fresh() -> None:
    store, clock = MemoryStore("gcs"), ManualClock()
    lock = lock_in(store, clock)
    lock.acquire()
    store.fail(Trouble.REFUSES, calls=("delete",))
    for _ in range(10):
        clock.advance(LOST_AFTER_S / 2)
        lock.refresh()
    assert lock.held()


def test_a_refresh_that_failed_is_made_good_by_the_next() -> None:
    store, clock = MemoryStore("gcs"), ManualClock()
    lock = lock_in(store, clock)
    lock.acquire()
    clock.advance(LOST_AFTER_S / 2)
    store.down = True
    with pytest.raises(StoreUnreachable):
        lock.refresh()
    store.down = False
    assert lock.held(), "the old one is good for longer"
    lock.refresh()
    clock.advance(LOST_AFTER_S * 0.9)
    assert lock.held()
    assert len(store.objects) == 1


@pytest.mark.parametrize("taken_by", ["nobody", "remover", "exclusive"])
def test_S9_after_a_suspend_a_lock_counts_only_if_nobody_wanted_it_gone(taken_by: str) -> None:
    store, clock = MemoryStore("gcs"), ManualClock()
    lock = lock_in(store, clock)
    lock.acquire()
    clock.advance(LOST_AFTER_S + 60)
    if taken_by == "remover":
        store.objects.clear()
    elif taken_by == "exclusive":
        kept = dict(store.objects)
        store.objects.clear()
        lock_in(store, clock, exclusive=True, host="elsewhere").acquire()
        store.objects.update(kept)  # it has listed, and has not deleted yet
    assert lock.held() == (taken_by == "nobody")


class Waiting(ManualClock):
    """A clock on which somebody else's lock goes after a while."""

    def __init__(self, store: MemoryStore, goes_after_s: float) -> None:
        super().__init__(datetime(2026, 1, 1, tzinfo=UTC))
        self.store, self.goes_after_s = store, goes_after_s
        self.theirs: set[str] = set()
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if seconds >= 1:
            self.pauses.append(seconds)
        if self.elapsed_s() >= self.goes_after_s:
            for name in self.theirs:
                self.store.objects.pop(name, None)


def locked(kit: ModuleType, goes_after_s: float, retry_lock_s: float) -> tuple[Any, Any]:
    store = MemoryStore("gcs")
    clock = Waiting(store, goes_after_s)
    alone = kit.Kit([store, MemoryStore("s3")], clock).init()
    repository = alone.open()
    repository.retry_lock_s = retry_lock_s
    other = StoreLock(store, repository.key, clock=clock, hostname="elsewhere", exclusive=True)
    other.acquire()
    clock.theirs = {name for name in store.objects if name.startswith(LOCKS)}
    return alone, repository


def test_a_lock_is_waited_for_with_pauses_that_grow_as_restic_does(kit: ModuleType) -> None:
    alone, repository = locked(kit, goes_after_s=100, retry_lock_s=300)
    locks = take_locks(repository, exclusive=False, need_all=True, emit=alone.emit)
    assert len(locks.by_store) == 2
    assert alone.clock.pauses == [5, 10, 20, 40, 60]
    locks.release(alone.emit)
    assert not any(name.startswith(LOCKS) for store in alone.stores for name in store.objects)


@pytest.mark.parametrize("retry_lock_s", [0, 50])
def test_whose_time_is_up_is_told_who_holds_it_and_leaves_no_lock(
    kit: ModuleType, retry_lock_s: float
) -> None:
    alone, repository = locked(kit, goes_after_s=100, retry_lock_s=retry_lock_s)
    with pytest.raises(RepositoryLocked, match="elsewhere"):
        take_locks(repository, exclusive=True, need_all=True, emit=alone.emit)
    assert sum(alone.clock.pauses) == pytest.approx(retry_lock_s, abs=2)
    left = [name for store in alone.stores for name in store.objects if name.startswith(LOCKS)]
    assert set(left) == alone.clock.theirs


def test_S10_stores_that_are_needed_are_waited_for_and_others_are_not() -> None:
    stores = [MemoryStore(name) for name in ("gcs", "s3", "b2")]
    released = threading.Event()

    def question(store: MemoryStore) -> str:
        if store.name != "gcs":
            assert released.wait(30)
        return store.name

    hasty = ask_each(stores[:2], question, patience_s=0.5)
    assert hasty[stores[0]] == "gcs"
    assert isinstance(hasty[stores[1]], PlaceError)
    timer = threading.Timer(0.3, released.set)
    timer.start()
    patient = ask_each(stores[:2], question, patience_s=0.05, needed=2)
    assert [patient[store] for store in stores[:2]] == ["gcs", "s3"]
    timer.join()


def test_S10_not_even_a_store_that_is_needed_is_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stores = [MemoryStore(name) for name in ("gcs", "s3")]
    never = threading.Event()
    policy = dataclasses.replace(reading.READS, needed_patience_s=0.5)
    monkeypatch.setattr(reading, "READS", policy)

    def question(store: MemoryStore) -> str:
        if store.name == "s3":
            never.wait(30)
        return store.name

    answers = ask_each(stores, question, patience_s=0.1, needed=2)
    never.set()
    assert answers[stores[0]] == "gcs"
    assert isinstance(answers[stores[1]], PlaceError)


class Starved(MemoryStore):
    """A store whose answers come late, as where this machine has no time for its thread."""

    def _meet(self, call: str, name: str) -> Trouble | None:
        time.sleep(0.15)
        return super()._meet(call, name)


def test_S2_a_machine_that_is_busy_does_not_cost_the_copy_that_is_needed(
    kit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ask_each.__kwdefaults__, "patience_s", 0.02)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("some words")
    two = kit.Kit([MemoryStore("gcs"), MemoryStore("s3")]).init()
    two.stores[1].__class__ = Starved
    repository = open_repository(
        two.stores, kit.PASSWORD, clock=two.clock, emit=two.emit, hostname="h", needed=2
    )
    report = two.backup(tmp_path / "source", repository=repository, min_copies=2)
    assert [result.complete for result in report.stores] == [True, True]


class Forgetful(MemoryStore):
    """A store that answers with an old list, for so many times."""

    old_answers = 10**9

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.frozen: list[ObjectInfo] | None = None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        if self.frozen is None or self.old_answers <= 0:
            return super().list(prefix)
        self.old_answers -= 1
        return (info for info in self.frozen if info.name.startswith(prefix))


@pytest.mark.parametrize("old_answers", [2, 10**9])
def test_S9_a_store_whose_list_is_old_takes_no_part_until_it_is_right(
    kit: ModuleType, tmp_path: Path, old_answers: int
) -> None:
    (tmp_path / "source").mkdir()
    two = kit.Kit([MemoryStore("gcs"), Forgetful("s3")]).init()
    two.backup(tmp_path / "source", min_copies=2)
    two.stores[1].frozen = list(two.stores[1].list(""))
    two.stores[1].old_answers = old_answers
    (tmp_path / "source" / "file").write_text("some words")
    report = two.backup(tmp_path / "source", min_copies=1)
    taken = [result.store for result in report.stores if result.complete]
    assert taken == (["gcs", "s3"] if old_answers == 2 else ["gcs"])
    locks = [name for store in two.stores for name in store.objects if name.startswith(LOCKS)]
    assert locks == []
    two.stores[1].frozen = None
    assert all(result.complete for result in two.backup(tmp_path / "source").stores)

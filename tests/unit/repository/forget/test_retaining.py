"""Locks of what is in use are renewed in time, and nothing else is touched (S13)."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from drkit.clock import ManualClock
from drkit.repository.forget.retaining import renew_locks
from drkit.stores.interface import ObjectMissing, StoreRefused
from drkit.stores.memory import MemoryStore

PERIOD = timedelta(days=30)


class Locking(MemoryStore):
    """A memory store that remembers locks, and renews them as told."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__("locking")
        self.retention: timedelta | None = PERIOD
        self.locks: dict[str, datetime] = {}
        self.refused = ""
        self._clock = clock

    def retained_until(self, name: str) -> datetime | None:
        if name not in self.objects:
            raise ObjectMissing(name, hint="")
        return self.locks.get(name)

    def retain(self, name: str, until: datetime) -> None:
        if name == self.refused:
            raise StoreRefused("not allowed to retain", hint="grant it")
        assert until >= self.locks.get(name, until)
        self.locks[name] = until


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def in_use(store: MemoryStore) -> set[str]:
    return {
        name
        for name in store.objects
        if name.startswith(("repository/data/", "repository/index/", "repository/snapshots/"))
    }


def test_S13_a_lock_is_renewed_when_less_than_half_of_it_is_left(
    kit: ModuleType, clock: ManualClock, tmp_path: Path
) -> None:
    store = Locking(clock)
    world = kit.Kit([store], clock).init()
    world.backup(kit.make_plain_tree(tmp_path / "source"))
    repository = world.open()

    (first,) = renew_locks(repository, now=clock.now(), emit=world.emit).values()
    assert first.renewed == first.in_use == len(in_use(store))
    assert set(store.locks) == in_use(store)

    clock.advance(timedelta(days=14).total_seconds())
    (early,) = renew_locks(repository, now=clock.now(), emit=world.emit).values()
    assert early.renewed == 0

    clock.advance(timedelta(days=2).total_seconds())
    (due,) = renew_locks(repository, now=clock.now(), emit=world.emit).values()
    assert due.renewed == due.in_use
    assert {until - clock.now() for until in store.locks.values()} == {PERIOD}


def test_S13_what_must_stay_deletable_gets_no_lock(
    kit: ModuleType, clock: ManualClock, tmp_path: Path
) -> None:
    store = Locking(clock)
    world = kit.Kit([store], clock).init()
    world.backup(kit.make_plain_tree(tmp_path / "source"))
    store.put("repository/data/aa/" + "a" * 64, b"unreferenced", size_bytes=12)
    renew_locks(world.open(), now=clock.now(), emit=world.emit)
    assert "repository/data/aa/" + "a" * 64 not in store.locks
    assert not [name for name in store.locks if "/locks/" in name or "/keys/" in name]


def test_S13_a_store_without_locks_is_left_alone_and_a_refusal_is_told(
    kit: ModuleType, clock: ManualClock, tmp_path: Path
) -> None:
    store, plain = Locking(clock), MemoryStore("plain")
    world = kit.Kit([store, plain], clock).init()
    world.backup(kit.make_plain_tree(tmp_path / "source"))
    store.refused = sorted(in_use(store))[0]
    found = renew_locks(world.open(), now=clock.now(), emit=world.emit)
    assert set(found) == {"locking"}
    assert list(found["locking"].failed) == [store.refused]
    assert found["locking"].renewed == found["locking"].in_use - 1
    assert any("1 of" in warning and "not allowed" in warning for warning in world.warnings)

"""Locks of stores in one pass, and stores that come back empty or as another repository."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stores_seen import Recorder, content, names, sound

from drkit.errors import GuardRefused, RepositoryLocked, TooFewCopies
from drkit.repository.format.layout import DATA, INDEX, LOCKS, SNAPSHOTS
from drkit.repository.locks import files as lock_files
from drkit.repository.locks.locks import Locks, take_locks
from drkit.repository.repository import init_repository, join_store
from drkit.stores.folder import FolderStore
from drkit.stores.interface import Buffer
from drkit.stores.memory import MemoryStore


def test_S9_an_exclusive_lock_keeps_that_store_out(
    kit: ModuleType, three: Any, source: Path
) -> None:
    exclusive(three, 1)
    report = three.backup(source)
    assert {r.store for r in report.stores if r.complete} == {"gcs", "b2"}
    assert not names(three.stores[1], DATA)


def test_S9_locked_everywhere_is_said_so(three: Any, source: Path) -> None:
    for number in range(3):
        exclusive(three, number)
    with pytest.raises(RepositoryLocked, match="other-host"):
        three.backup(source)


def test_S9_a_store_whose_lock_is_lost_gets_no_snapshot(kit: ModuleType, source: Path) -> None:
    stores = [Recorder("gcs"), Recorder("s3")]
    two = kit.Kit(stores).init()

    def unlock(name: str) -> None:
        if name.startswith(INDEX):
            for lock in names(stores[1], LOCKS):
                stores[1].delete(lock)

    stores[1].before = unlock
    report = two.backup(source)
    assert [result.complete for result in report.stores] == [True, False]
    assert "lock was lost" in report.stores[1].reason
    assert not names(stores[1], SNAPSHOTS)


def test_S9_a_lock_too_old_to_be_trusted_that_another_replaced_is_no_lock(
    kit: ModuleType, source: Path
) -> None:
    store = Recorder("gcs")
    alone = kit.Kit([store]).init()

    def sleep_while_another_prunes(name: str) -> None:
        if name.startswith(INDEX):
            alone.clock.advance(lock_files.LOST_AFTER_S)
            exclusive(alone, 0)

    store.before = sleep_while_another_prunes
    with pytest.raises(TooFewCopies, match="lock was lost"):
        alone.backup(source)
    assert not names(store, SNAPSHOTS)


def test_S9_a_machine_that_slept_goes_on_where_nobody_took_its_locks(
    kit: ModuleType, source: Path
) -> None:
    store = Recorder("gcs")
    alone = kit.Kit([store]).init()
    store.before = lambda name: alone.clock.advance(
        lock_files.LOST_AFTER_S if name.startswith(INDEX) else 0
    )
    assert alone.backup(source).stores[0].complete
    assert not names(store, LOCKS)


def test_S9_an_index_that_was_read_before_is_read_again_where_the_lock_shows_another(
    kit: ModuleType, source: Path
) -> None:
    seen: list[bool] = []

    class Watched(Recorder):
        def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
            if name.startswith(INDEX):
                seen.append(bool(names(self, LOCKS)))
            found: bytes = super().get(name, offset=offset, length=length)
            return found

    store = Watched("gcs")
    alone = kit.Kit([store]).init()
    alone.backup(source)
    repository = alone.open()
    before = len(repository.index)
    assert seen == [False]
    left = [1]

    def another_process_is_first(name: str) -> None:
        if name.startswith(LOCKS) and left:
            left.clear()
            (source / "by another process").write_text("and another run")
            alone.backup(source)
            seen.clear()

    store.before = another_process_is_first
    alone.backup(source, repository=repository)
    assert len(repository.index) > before
    assert seen == [True, True]
    assert not names(store, LOCKS)


@pytest.mark.parametrize(
    ("table", "waits"),
    [
        ("1 0 8:1 / / rw - ext4 /dev/sda1 rw", False),
        ("1 0 8:1 / / rw - nfs4 server:/export rw", True),
        ("1 0 8:1 / / rw - 9p host rw", True),
        ("", True),
    ],
)
def test_S9_a_lock_is_given_a_moment_to_show_but_on_a_disk_of_this_machine(
    kit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, waits: bool
) -> None:
    monkeypatch.setattr(lock_files, "read_mountinfo", lambda: table)
    alone = kit.Kit([FolderStore("gcs", tmp_path / "store")]).init()
    repository = alone.open()
    before_s = alone.clock.elapsed_s()
    take_locks(repository, exclusive=False, need_all=True, emit=alone.emit).release(alone.emit)
    assert (alone.clock.elapsed_s() > before_s) == waits
    in_memory = kit.Kit([MemoryStore("gcs")]).init()
    before_s = in_memory.clock.elapsed_s()
    take_locks(in_memory.open(), exclusive=False, need_all=True, emit=alone.emit).release(
        alone.emit
    )
    assert in_memory.clock.elapsed_s() > before_s


def test_S9_of_two_that_race_on_a_disk_at_most_one_is_let_in(
    kit: ModuleType, tmp_path: Path
) -> None:
    store = FolderStore("gcs", tmp_path / "store")
    alone = kit.Kit([store]).init()
    repositories = [alone.open(), alone.open()]
    for _ in range(8):
        barrier = threading.Barrier(2)

        def race(number: int, barrier: threading.Barrier = barrier) -> Locks | None:
            barrier.wait()
            try:
                return take_locks(
                    repositories[number], exclusive=number == 0, need_all=True, emit=alone.emit
                )
            except RepositoryLocked:
                return None

        with ThreadPoolExecutor(2) as pool:
            taken = [locks for locks in pool.map(race, range(2)) if locks]
        assert len(taken) <= 1
        for locks in taken:
            locks.release(alone.emit)
        assert not list(store.list(LOCKS))


def test_S9_a_lock_that_a_dead_process_left_is_removed(three: Any, source: Path) -> None:
    beyond_any_pid = 2**22 + 7
    write_lock(three, 0, pid=beyond_any_pid, hostname="test-host", exclusive=True)
    assert three.backup(source).stores[0].complete
    assert not names(three.stores[0], LOCKS)


def test_S12_an_empty_store_is_left_alone_until_it_is_joined(
    kit: ModuleType, three: Any, source: Path
) -> None:
    three.backup(source)
    newcomer = MemoryStore("b2")
    three.stores = [*three.stores[:2], newcomer]
    report = three.backup(source)
    assert {r.store: r.complete for r in report.stores} == {"gcs": True, "s3": True, "b2": False}
    assert not names(newcomer, "")
    with pytest.raises(GuardRefused, match="b2 is empty"):
        init_repository(three.stores, kit.PASSWORD, clock=three.clock, hostname="h")
    assert not names(newcomer, "")
    join_store(three.stores, newcomer, kit.PASSWORD)
    assert all(result.complete for result in three.backup(source).stores)
    assert content(newcomer) == content(three.stores[0])
    assert sound(three)


def test_S12_another_repository_is_refused_and_untouched(
    kit: ModuleType, three: Any, source: Path
) -> None:
    other = kit.Kit([MemoryStore("b2")]).init()
    before = names(other.stores[0], "")
    three.stores = [*three.stores[:2], other.stores[0]]
    for attempt in (
        three.open,
        lambda: init_repository(three.stores, kit.PASSWORD, clock=three.clock, hostname="h"),
        lambda: join_store(three.stores, other.stores[0], kit.PASSWORD),
    ):
        with pytest.raises(GuardRefused):
            attempt()
    assert names(other.stores[0], "") == before


def test_S12_a_folder_with_other_things_in_it_is_not_joined(kit: ModuleType, three: Any) -> None:
    newcomer = MemoryStore("b2")
    newcomer.put("repository/data/00/someone", b"x", size_bytes=1)
    with pytest.raises(GuardRefused):
        join_store(three.stores, newcomer, kit.PASSWORD)
    assert names(newcomer, "") == {"repository/data/00/someone": 1}


def exclusive(kit: Any, number: int) -> None:
    write_lock(kit, number, pid=1, hostname="other-host", exclusive=True)


def write_lock(kit: Any, number: int, **fields: object) -> None:
    import orjson

    from drkit.repository.format.tree import format_time

    now_ns = int(kit.clock.now().timestamp()) * 1_000_000_000
    sealed: Buffer = kit.open().key.seal(orjson.dumps({"time": format_time(now_ns), **fields}))
    name = LOCKS + hashlib.sha256(sealed).hexdigest()
    kit.stores[number].put(name, sealed, size_bytes=len(sealed))

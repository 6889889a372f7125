"""Prune walks from store to store, and stops for whatever is missing, unsound or used again."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from prune_world import churn, forget_all_but_last, options, packs, run_prune, sound

from drkit.errors import GuardRefused, RepositoryLocked
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.format.compression import decompress
from drkit.repository.format.layout import LOCKS, PRUNES, SNAPSHOTS
from drkit.repository.locks.files import StoreLock
from drkit.repository.prune.decision import PruneLimits
from drkit.repository.prune.prune import evict, prune
from drkit.stores.interface import StoreRefused
from drkit.stores.memory import MemoryStore

DAY = timedelta(days=1)


def test_a_prune_walks_from_store_to_store_and_leaves_each_sound(
    three: Any, source: Path, tmp_path: Path
) -> None:
    made = churn(three, source)
    forget_all_but_last(three, made)
    before = packs(three.stores[0])
    marked = run_prune(three)
    assert marked.marked_bytes > 100_000
    assert all(before <= packs(store) for store in three.stores), "nothing is deleted yet"
    deleted: dict[str, datetime] = {}
    while any(list(store.list(PRUNES)) for store in three.stores):
        three.clock.advance(DAY.total_seconds())
        for store in run_prune(three).deleted:
            deleted[store] = three.clock.now()
            assert sound(three, [s for s in three.stores if s.name == store])
        three.backup(source, min_copies=3)
        assert len(deleted) <= 3
    assert list(deleted) == ["gcs", "s3", "b2"]
    assert deleted["s3"] - deleted["gcs"] >= timedelta(hours=23)
    assert deleted["b2"] - deleted["gcs"] >= timedelta(days=7)
    assert not any(packs(store) & set(marked.decision.remove) for store in three.stores)
    assert packs(three.stores[0]) == packs(three.stores[1]) == packs(three.stores[2])
    assert sound(three)
    assert three.restore(tmp_path / "out").files == 5


def test_S6_nothing_is_deleted_anywhere_while_a_store_is_missing(three: Any, source: Path) -> None:
    made = churn(three, source)
    forget_all_but_last(three, made)
    three.stores[2].down = True
    with pytest.raises(GuardRefused, match=r"missing.*b2"):
        run_prune(three)
    three.stores[2].down = False
    run_prune(three)
    three.clock.advance(DAY.total_seconds())
    three.stores[1].down = True
    before = packs(three.stores[0])
    with pytest.raises(GuardRefused, match=r"missing.*s3"):
        run_prune(three)
    assert packs(three.stores[0]) == before
    three.stores[1].down = False
    assert run_prune(three).deleted.keys() == {"gcs"}


def test_S6_a_snapshot_that_only_one_store_lists_keeps_its_packs_everywhere(
    three: Any, source: Path
) -> None:
    made = churn(three, source)
    for snapshot in made[:-1]:
        forget_snapshots(three.open(), {snapshot: frozenset({"gcs", "s3"})}, three.emit)
    report = run_prune(three, limits=PruneLimits(merge_from=99))
    assert report.marked_bytes == 0
    assert sound(three, [three.stores[2]])


def test_S6_an_evicted_store_is_left_alone_and_the_others_go_on(three: Any, source: Path) -> None:
    made = churn(three, source)
    forget_all_but_last(three, made)
    three.stores[2].down = True
    evict(three.open(), "b2", three.emit)
    run_prune(three)
    three.clock.advance(DAY.total_seconds())
    assert run_prune(three).deleted.keys() == {"gcs"}
    three.stores[2].down = False
    held = dict(three.stores[2].objects)
    report = three.backup(source, min_copies=2)
    assert {r.store for r in report.stores if r.complete} == {"gcs", "s3"}
    assert {n: d for n, d in three.stores[2].objects.items() if not n.startswith(LOCKS)} == held
    assert made[0] not in {info.name[-64:] for info in three.stores[0].list(SNAPSHOTS)}


def test_S6_nothing_is_deleted_anywhere_while_a_store_cannot_be_locked(
    three: Any, source: Path
) -> None:
    forget_all_but_last(three, churn(three, source))
    repository = three.open()
    other = StoreLock(
        three.stores[1], repository.key, clock=three.clock, hostname="other-host", exclusive=False
    )
    other.acquire()
    before = [dict(store.objects) for store in three.stores]
    with pytest.raises(RepositoryLocked, match="s3 could not be locked"):
        run_prune(three)
    assert [dict(store.objects) for store in three.stores] == before
    other.release()
    assert run_prune(three).marked_bytes > 0


def test_S6_a_store_that_takes_no_lock_is_told_with_its_own_reason(
    three: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(name: str, *_: Any, **__: Any) -> None:
        raise StoreRefused(f"gcs: {name}: read-only", hint="mount it anew")

    forget_all_but_last(three, churn(three, source))
    before = [dict(store.objects) for store in three.stores]
    monkeypatch.setattr(three.stores[0], "put", read_only)
    with pytest.raises(GuardRefused, match=r"a store is missing .*read-only"):
        run_prune(three)
    assert [dict(store.objects) for store in three.stores] == before


def test_S6_a_store_whose_lock_is_lost_has_no_turn(kit: ModuleType, source: Path) -> None:
    class Unlocking(MemoryStore):
        """Once told to, it loses its locks when it is asked for the plan."""

        forgets = False

        def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
            if self.forgets and name.startswith(PRUNES):
                for lock in list(self.list(LOCKS)):
                    self.delete(lock.name)
            return super().get(name, offset=offset, length=length)

    store = Unlocking("gcs")
    alone = kit.Kit([store]).init()
    forget_all_but_last(alone, churn(alone, source))
    run_prune(alone, roles={"gcs": "primary"})
    alone.clock.advance(DAY.total_seconds())
    before, store.forgets = packs(store), True
    with pytest.raises(GuardRefused, match="its lock was lost"):
        run_prune(alone, roles={"gcs": "primary"})
    assert packs(store) == before
    store.forgets = False
    assert run_prune(alone, roles={"gcs": "primary"}).deleted["gcs"] > 0


def test_S6_the_only_store_that_answers_is_not_evicted_and_one_that_is_gets_nothing(
    three: Any, source: Path
) -> None:
    churn(three, source, points=1)
    held = dict(three.stores[2].objects)
    evict(three.open(), "b2", three.emit)
    assert {n: d for n, d in three.stores[2].objects.items() if not n.startswith(LOCKS)} == held
    for store in three.stores[1:]:
        store.down = True
    with pytest.raises(GuardRefused, match="the only store"):
        evict(three.open(), "gcs", three.emit)


def test_S6_the_last_store_that_is_not_sound_after_its_turn_is_not_forgotten(
    kit: ModuleType, source: Path
) -> None:
    alone = kit.Kit([MemoryStore("gcs")]).init()
    forget_all_but_last(alone, churn(alone, source))
    only = {"gcs": "primary"}
    run_prune(alone, roles=only)
    alone.clock.advance(DAY.total_seconds())
    wrong = options(roles=only, check=lambda repository, store: ("own", ("a pack is gone",)))
    for _ in range(2):
        assert prune(alone.open(), wrong, alone.emit).problems == ("gcs: a pack is gone",)
    assert run_prune(alone, roles=only).problems == ()


def test_S6_a_store_that_is_not_sound_after_its_turn_stops_all_others(
    three: Any, source: Path
) -> None:
    made = churn(three, source)
    forget_all_but_last(three, made)
    run_prune(three)
    three.clock.advance(DAY.total_seconds())
    wrong = options(check=lambda repository, store: ("own", ("a pack is gone",)))
    assert prune(three.open(), wrong, three.emit).problems == ("gcs: a pack is gone",)
    before = packs(three.stores[1])
    three.clock.advance(10 * DAY.total_seconds())
    report = prune(three.open(), wrong, three.emit)
    assert (report.deleted, report.problems) == ({}, ("gcs: a pack is gone",))
    assert packs(three.stores[1]) == before
    assert run_prune(three).deleted.keys() == {"s3"}, "it was mended"


def test_S6_what_another_program_uses_after_the_marking_is_spared(
    three: Any, source: Path, kit: ModuleType
) -> None:
    made = churn(three, source)
    forgotten = three.stores[1].objects[SNAPSHOTS + made[1]]
    forget_all_but_last(three, made)
    run_prune(three)
    # restic, on s3 alone, deduplicates against the packs that still lie there
    name = SNAPSHOTS + foreign(three, forgotten)
    three.stores[1].objects[name] = three.foreign_bytes
    three.clock.advance(DAY.total_seconds())
    assert run_prune(three).deleted.keys() == {"gcs"}
    assert sound(three)
    assert all(name in store.objects for store in three.stores)


def foreign(kit: Any, sealed: bytes) -> str:
    """The same snapshot with another time, as another program would write it."""
    key = kit.open().key
    plain = key.open(sealed)
    values = orjson.loads(decompress(plain[1:]) if plain[:1] == b"\x02" else plain)
    values["hostname"] = "elsewhere"
    kit.foreign_bytes = key.seal(orjson.dumps(values))
    return hashlib.sha256(kit.foreign_bytes).hexdigest()


def test_S6_a_store_that_already_deleted_gets_back_what_is_used_again(
    three: Any, source: Path
) -> None:
    made = churn(three, source)
    forgotten = three.stores[1].objects[SNAPSHOTS + made[1]]
    forget_all_but_last(three, made)
    run_prune(three)
    three.clock.advance(DAY.total_seconds())
    assert run_prune(three).deleted.keys() == {"gcs"}
    name = SNAPSHOTS + foreign(three, forgotten)
    three.stores[1].objects[name] = three.foreign_bytes
    three.backup(source, min_copies=3)
    assert name in three.stores[0].objects
    assert sound(three)
    for _ in range(12):
        three.clock.advance(DAY.total_seconds())
        run_prune(three)
    assert sound(three)


def test_S6_in_a_lone_store_too_what_is_used_again_is_spared(kit: ModuleType, source: Path) -> None:
    alone = kit.Kit([MemoryStore("gcs")]).init()
    made = churn(alone, source)
    forgotten = alone.stores[0].objects[SNAPSHOTS + made[1]]
    forget_all_but_last(alone, made)
    run_prune(alone, roles={"gcs": "primary"})
    name = SNAPSHOTS + foreign(alone, forgotten)
    alone.stores[0].objects[name] = alone.foreign_bytes
    alone.clock.advance(DAY.total_seconds())
    assert run_prune(alone, roles={"gcs": "primary"}).deleted["gcs"] > 0
    assert sound(alone)

"""An init that dies anywhere is finished by the next one; a store that lost its data is not."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from drkit.errors import GuardRefused
from drkit.repository.create import InitReport, init_repository, is_unfinished, join_store
from drkit.repository.format.layout import CONFIG, KEYS, SNAPSHOTS
from drkit.stores.interface import StoreUnreachable
from drkit.stores.memory import MemoryStore

NAMES = ("gcs", "s3", "b2")


class Doomed(MemoryStore):
    """Stands for a process that dies at a put: nothing is written any more, in no store."""

    left = 0

    def put(self, name: str, data: Any, *, size_bytes: int) -> None:
        if Doomed.left == 0:
            raise StoreUnreachable("the process is gone", hint="")
        Doomed.left -= 1
        super().put(name, data, size_bytes=size_bytes)


def init(kit: ModuleType, clock: Any, stores: list[MemoryStore]) -> InitReport:
    return init_repository(stores, kit.PASSWORD, clock=clock, hostname="h", cost=kit.CHEAP)


@pytest.mark.parametrize("moment", range(1, 12))
def test_an_init_that_died_is_finished_by_the_next(kit: ModuleType, moment: int) -> None:
    stores = [Doomed(name) for name in NAMES]
    kit_of = kit.Kit(stores)
    Doomed.left = moment
    with pytest.raises(StoreUnreachable):
        init(kit, kit_of.clock, stores)
    Doomed.left = 1000
    before = [dict(store.objects) for store in stores]
    report = init(kit, kit_of.clock, stores)
    assert set(report.created) | set(report.already) == set(NAMES)
    assert report.finished == any("repository/" in name for held in before for name in held)
    for store, held in zip(stores, before, strict=True):
        kept = {name: data for name, data in held.items() if name.startswith("repository/")}
        assert kept.items() <= store.objects.items(), "what was there is as it was (S8)"
    keys = {name for store in stores for name in store.objects if name.startswith(KEYS)}
    assert len(keys) == 1, "one repository, one key"
    assert kit_of.open().unreachable == {}
    assert init(kit, kit_of.clock, stores) == InitReport(report.repository_id, (), NAMES)


@pytest.mark.parametrize("moment", range(11))
def test_what_needs_no_operator_is_told_from_what_does(kit: ModuleType, moment: int) -> None:
    stores = [Doomed(name) for name in NAMES]
    kit_of = kit.Kit(stores)
    Doomed.left = moment
    with pytest.raises(StoreUnreachable):
        init(kit, kit_of.clock, stores)
    Doomed.left = 1000
    assert is_unfinished(stores)
    init(kit, kit_of.clock, stores)
    assert not is_unfinished(stores)
    stores[1].objects.clear()
    assert is_unfinished(stores), "nothing was ever written: it may be an init that died"
    stores[0].objects[f"{SNAPSHOTS}{'a' * 64}"] = b"a point"
    assert not is_unfinished(stores), "a store that lost its data is for an operator (S12)"


def test_S12_a_store_that_came_back_empty_is_refused_once_there_are_points(
    kit: ModuleType, tmp_path: Any
) -> None:
    three = kit.Kit([MemoryStore(name) for name in NAMES]).init()
    (tmp_path / "source").mkdir()
    three.backup(tmp_path / "source")
    three.stores[1].objects.clear()
    with pytest.raises(GuardRefused, match="s3 is empty"):
        init(kit, three.clock, three.stores)
    assert three.stores[1].objects == {}


def test_S8_leftovers_under_another_password_are_refused(kit: ModuleType) -> None:
    stores = [MemoryStore(name) for name in NAMES]
    kit.Kit(stores).init()
    for store in stores:
        store.delete(CONFIG)
    before = [dict(store.objects) for store in stores]
    with pytest.raises(GuardRefused, match="no repository config"):
        init_repository(
            stores, "another", clock=kit.Kit(stores).clock, hostname="h", cost=kit.CHEAP
        )
    assert [store.objects for store in stores] == before


def test_S8_a_repository_that_lost_its_config_gets_no_new_one(
    kit: ModuleType, tmp_path: Any
) -> None:
    alone = kit.Kit([MemoryStore("gcs")]).init()
    (tmp_path / "source").mkdir()
    alone.backup(tmp_path / "source")
    alone.stores[0].delete(CONFIG)
    with pytest.raises(GuardRefused):
        init(kit, alone.clock, alone.stores)
    assert CONFIG not in alone.stores[0].objects


def test_a_join_that_died_is_finished_by_the_next(kit: ModuleType) -> None:
    first = kit.Kit([MemoryStore("gcs")]).init()
    for moment in range(1, 4):
        newcomer = Doomed("b2")
        Doomed.left = moment
        with pytest.raises(StoreUnreachable):
            join_store([*first.stores, newcomer], newcomer, kit.PASSWORD)
        assert CONFIG not in newcomer.objects
        Doomed.left = 1000
        join_store([*first.stores, newcomer], newcomer, kit.PASSWORD)
        assert newcomer.objects == first.stores[0].objects

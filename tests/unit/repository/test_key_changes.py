"""S8: keys change in all stores or in none, and nobody locks himself out, wherever it dies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stock_restic import DyingStore

from drkit.errors import DrkitError, GuardRefused, RepositoryLocked, WrongKey
from drkit.repository.format.layout import KEYS
from drkit.repository.key_ring import add_key, change_password, list_keys, remove_key
from drkit.repository.locks.locks import take_locks
from drkit.repository.repository import Repository, open_repository
from drkit.stores.memory import MemoryStore, Trouble

NEW = "another password"


@pytest.fixture
def three(kit: ModuleType) -> Any:
    DyingStore.left = 10**9
    return kit.Kit([DyingStore(name) for name in ("gcs", "s3", "b2")]).init()


def opened(kit_of: Any, password: str, stores: Any = None) -> Repository:
    return open_repository(
        stores or kit_of.stores, password, clock=kit_of.clock, emit=kit_of.emit, hostname="h"
    )


def opens_each(kit_of: Any, password: str) -> list[bool]:
    """Whether the password opens each store alone."""
    answers = []
    for store in kit_of.stores:
        try:
            opened(kit_of, password, [store])
            answers.append(True)
        except WrongKey:
            answers.append(False)
    return answers


def names(store: MemoryStore) -> set[str]:
    return {name for name in store.objects if name.startswith(KEYS)}


def test_S8_an_added_password_opens_every_store_alone(kit: ModuleType, three: Any) -> None:
    key_id = add_key(three.open(), NEW, cost=kit.CHEAP, hostname="laptop")
    assert opens_each(three, NEW) == opens_each(three, kit.PASSWORD) == [True] * 3
    first, second = list_keys(three.open(), NEW)
    assert (first.current, second.current) == (False, True)
    assert (second.id, second.hostname) == (key_id, "laptop")
    assert second.stores == {"gcs", "s3", "b2"}


@pytest.mark.parametrize("trouble", [Trouble.UNREACHABLE, Trouble.REFUSES])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_S8_a_store_that_takes_no_key_leaves_none_with_it(
    kit: ModuleType, three: Any, trouble: Trouble, which: int
) -> None:
    repository = three.open()
    before = [names(store) for store in three.stores]
    three.stores[which].fail(trouble, calls=("put",), after=1)  # the lock is still written
    with pytest.raises(DrkitError):
        add_key(repository, NEW, cost=kit.CHEAP)
    three.stores[which].mend()
    assert [names(store) for store in three.stores] == before


def test_S8_a_store_that_is_away_stops_every_change(kit: ModuleType, three: Any) -> None:
    three.stores[1].down = True
    repository = three.open()
    before = [names(store) for store in three.stores]
    changes: list[Callable[[], object]] = [
        lambda: add_key(repository, NEW, cost=kit.CHEAP),
        lambda: change_password(repository, kit.PASSWORD, NEW, cost=kit.CHEAP),
        lambda: remove_key(repository, "0", kit.PASSWORD),
    ]
    for change in changes:
        with pytest.raises(GuardRefused, match="s3 is missing"):
            change()
    assert [names(store) for store in three.stores] == before


def test_S8_a_new_password_replaces_the_old_one_everywhere(kit: ModuleType, three: Any) -> None:
    added, removed = change_password(three.open(), kit.PASSWORD, NEW, cost=kit.CHEAP)
    assert opens_each(three, NEW) == [True] * 3
    assert opens_each(three, kit.PASSWORD) == [False] * 3
    assert {KEYS + added} == names(three.stores[0])
    assert len(removed) == 1


def test_S8_the_last_key_that_the_password_opens_stays(kit: ModuleType, three: Any) -> None:
    repository = three.open()
    (only,) = list_keys(repository, kit.PASSWORD)
    with pytest.raises(GuardRefused, match="no other key"):
        remove_key(repository, only.id[:8], kit.PASSWORD)
    add_key(repository, NEW, cost=kit.CHEAP)
    with pytest.raises(GuardRefused, match="no other key"):
        remove_key(repository, only.id[:8], kit.PASSWORD)
    assert opens_each(three, kit.PASSWORD) == [True] * 3


def test_S8_a_key_that_one_store_lacks_does_not_count_as_the_way_back(
    kit: ModuleType, three: Any
) -> None:
    repository = three.open()
    second = add_key(repository, kit.PASSWORD, cost=kit.CHEAP)
    del three.stores[2].objects[KEYS + second]
    first = next(key for key in list_keys(repository, kit.PASSWORD) if key.id != second)
    with pytest.raises(GuardRefused, match="in every store"):
        remove_key(repository, first.id, kit.PASSWORD)
    assert remove_key(repository, second[:10], kit.PASSWORD) == second
    assert opens_each(three, kit.PASSWORD) == [True] * 3


def test_S8_wherever_a_change_of_password_dies_each_store_opens_with_one_of_both(
    kit: ModuleType, three: Any
) -> None:
    before = [dict(store.objects) for store in three.stores]
    moments = 0
    for moment in range(200):
        for store, objects in zip(three.stores, before, strict=True):
            store.objects = dict(objects)
        DyingStore.left = moment
        try:
            change_password(three.open(), kit.PASSWORD, NEW, cost=kit.CHEAP)
        except SystemExit:
            moments += 1
        else:
            break
        finally:
            DyingStore.left = 10**9
        three.clock.advance(3600)  # the dead process's locks are stale by then
        old, new = opens_each(three, kit.PASSWORD), opens_each(three, NEW)
        assert all(old) or all(new), f"after {moment} writes no one password opens every store"
        # and the same change, run again, ends as if nothing had happened
        if any(old):
            with_password = kit.PASSWORD if all(old) else NEW
            change_password(opened(three, with_password), with_password, "third", cost=kit.CHEAP)
            assert opens_each(three, "third") == [True] * 3
            assert opens_each(three, with_password) == [False] * 3
    assert moments > 12, "it was not killed at each of its writes"


def test_S8_a_removal_that_died_is_finished_by_the_next_change(kit: ModuleType, three: Any) -> None:
    removed = add_key(three.open(), NEW, cost=kit.CHEAP)
    repository = three.open()
    three.stores[2].fail(Trouble.REFUSES, calls=("delete",))
    with pytest.raises(GuardRefused, match="b2"):
        remove_key(repository, removed, kit.PASSWORD)
    three.stores[2].mend()
    assert opens_each(three, NEW) == [False, False, True]
    three.clock.advance(3600)
    add_key(three.open(), "third", cost=kit.CHEAP)
    assert opens_each(three, NEW) == [False] * 3
    assert opens_each(three, "third") == [True] * 3


def test_S8_nobody_changes_keys_while_another_works_in_a_store(kit: ModuleType, three: Any) -> None:
    repository = three.open()
    locks = take_locks(repository, exclusive=False, need_all=True, emit=three.emit)
    try:
        with pytest.raises(RepositoryLocked):
            add_key(repository, NEW, cost=kit.CHEAP)
    finally:
        locks.release(three.emit)
    assert opens_each(three, NEW) == [False] * 3


def test_S8_a_damaged_key_is_told_and_left_alone(
    kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    (name,) = names(three.stores[0])
    three.stores[0].damage(name, at=50)
    damaged = three.stores[0].objects[name]
    (key,) = list_keys(three.open(), kit.PASSWORD)
    assert (key.stores, key.damaged) == ({"s3", "b2"}, {"gcs"})
    three.backup(kit.make_plain_tree(tmp_path / "source"), min_copies=3)
    assert three.stores[0].objects[name] == damaged


def test_an_empty_or_unchanged_password_is_refused(kit: ModuleType, three: Any) -> None:
    with pytest.raises(GuardRefused, match="empty"):
        add_key(three.open(), "", cost=kit.CHEAP)
    with pytest.raises(GuardRefused, match="old one"):
        change_password(three.open(), kit.PASSWORD, kit.PASSWORD, cost=kit.CHEAP)

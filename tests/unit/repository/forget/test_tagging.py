"""Tags change in all stores; the snapshot keeps its first id as `original`; nothing comes back."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.errors import ConfigError, DrkitError
from drkit.repository.forget.tagging import TagChange, plan_tags, retag
from drkit.repository.format.layout import SNAPSHOTS
from drkit.stores.memory import MemoryStore, Trouble


@pytest.fixture
def three(kit: ModuleType, tmp_path: Path) -> Any:
    three = kit.Kit([MemoryStore(name) for name in ("gcs", "s3", "b2")]).init()
    three.backup(kit.make_plain_tree(tmp_path / "source", files=2), min_copies=3)
    return three


def ids(store: MemoryStore) -> set[str]:
    return {name[len(SNAPSHOTS) :] for name in store.objects if name.startswith(SNAPSHOTS)}


def test_a_tag_is_added_in_every_store_and_the_first_id_is_kept(three: Any) -> None:
    (old,) = three.open().snapshots()
    (first,) = retag(three.open(), [old], TagChange(add=("pinned", "drkit")), three.emit)
    (listed,) = three.open().snapshots()
    assert listed.snapshot.tags == ("drkit", "pinned")
    assert (listed.id, listed.snapshot.original) == (first.new_id, old.id)
    assert listed.stores == {"gcs", "s3", "b2"}
    (second,) = retag(three.open(), [listed], TagChange(replace=("a", "b", "a")), three.emit)
    (listed,) = three.open().snapshots()
    assert (listed.snapshot.tags, listed.snapshot.original) == (("a", "b"), old.id)
    assert listed.snapshot.tree == old.snapshot.tree
    assert listed.snapshot.time == old.snapshot.time
    assert all(ids(store) == {second.new_id} for store in three.stores)


def test_what_has_the_tags_already_is_left_as_it_is(three: Any) -> None:
    (old,) = three.open().snapshots()
    assert retag(three.open(), [old], TagChange(add=("drkit",)), three.emit) == ()
    assert retag(three.open(), [old], TagChange(remove=("none",)), three.emit) == ()
    assert plan_tags([old], TagChange(remove=("drkit",))) == [(old, ())]
    assert [one.id for one in three.open().snapshots()] == [old.id]


def test_S5_a_store_that_was_away_does_not_bring_the_old_tags_back(
    kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    (old,) = three.open().snapshots()
    three.stores[1].down = True
    (changed,) = retag(three.open(), [old], TagChange(add=("pinned",)), three.emit)
    three.stores[1].down = False
    assert ids(three.stores[1]) == {old.id}
    three.backup(tmp_path / "source", min_copies=3)
    for store in three.stores:
        assert old.id not in ids(store)
        assert changed.new_id in ids(store)


def test_a_store_that_takes_no_snapshot_leaves_every_old_one(three: Any) -> None:
    (old,) = three.open().snapshots()
    repository = three.open()
    three.stores[2].fail(Trouble.REFUSES, calls=("put",), after=1)  # its lock is still written
    with pytest.raises(DrkitError, match="b2"):
        retag(repository, [old], TagChange(add=("pinned",)), three.emit)
    three.stores[2].mend()
    assert all(old.id in ids(store) for store in three.stores)
    # the next run with the same words makes one snapshot of it, not two
    three.clock.advance(3600)
    (changed,) = retag(three.open(), [old], TagChange(add=("pinned",)), three.emit)
    assert all(ids(store) == {changed.new_id} for store in three.stores)


@pytest.mark.parametrize(("add", "remove", "replace"), [((), (), None), (("a",), (), ("b",))])
def test_tags_that_contradict_are_refused(add: Any, remove: Any, replace: Any) -> None:
    with pytest.raises(ConfigError):
        TagChange(add, remove, replace)

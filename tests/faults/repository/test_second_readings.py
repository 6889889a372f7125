"""An index file that could be read a moment ago, and cannot now: nothing is decided without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest
from prune_world import churn, forget_all_but_last, indexes, options, packs, run_prune, sound

from drkit.errors import DrkitError, GuardRefused
from drkit.repository.heal.rebuild_index import repair_index
from drkit.repository.prune import consolidate
from drkit.repository.prune.preview import preview
from drkit.stores.interface import StoreUnreachable
from drkit.stores.memory import MemoryStore

DAY_S = timedelta(days=1).total_seconds()


class Fickle(MemoryStore):
    """Gives the object `fails`, but not when it is asked for it the `nth` time, or from then on:
    as a network that comes and goes.
    """

    fails: ClassVar[str] = ""
    nth: ClassVar[int] = 0
    comes_back: ClassVar[bool] = True
    asked: ClassVar[int] = 0

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        if name == Fickle.fails:
            Fickle.asked += 1
            if Fickle.asked == Fickle.nth or (Fickle.asked > Fickle.nth and not self.comes_back):
                raise StoreUnreachable(f"{self.name}: no answer", hint="a test asked so")
        return super().get(name, offset=offset, length=length)

    @staticmethod
    def away(name: str, nth: int, *, comes_back: bool) -> None:
        Fickle.fails, Fickle.nth, Fickle.comes_back, Fickle.asked = name, nth, comes_back, 0


@pytest.fixture(autouse=True)
def _all_there() -> Iterator[None]:
    yield
    Fickle.fails = ""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


WHEN = [(nth, comes_back) for nth in range(1, 8) for comes_back in (True, False)]


@pytest.mark.parametrize(("nth", "comes_back"), WHEN)
def test_a_prune_drops_no_index_file_that_it_could_not_read(
    kit: ModuleType,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    nth: int,
    comes_back: bool,
) -> None:
    """Whichever file it is, and wherever in the marking, the tidying or a turn it fails."""
    monkeypatch.setattr(consolidate, "MANY_INDEXES", 2)
    of = kit.Kit([Fickle("gcs")]).init()
    (store,) = of.stores
    roles = {"gcs": "primary"}
    forget_all_but_last(of, churn(of, source, points=3))
    start = dict(store.objects)
    for begun in (False, True):
        store.objects = dict(start)
        if begun:  # a plan waits for its turn, and more index files came
            run_prune(of, roles=roles)
            churn(of, source, points=2, seed=2)
            of.clock.advance(DAY_S)
        now = dict(store.objects)
        for name in sorted(indexes(store)):
            store.objects = dict(now)
            Fickle.away(name, nth, comes_back=comes_back)
            with suppress(DrkitError):
                run_prune(of, roles=roles)
            Fickle.fails = ""
            assert sound(of)
            for _ in range(3):
                of.clock.advance(DAY_S)
                assert run_prune(of, roles=roles).problems == ()
            assert sound(of)
            assert of.restore(tmp_path / f"{begun}-{name[-8:]}").files > 3


def test_an_index_file_that_is_damaged_in_every_store_stops_prunes_until_it_is_made_anew(
    kit: ModuleType, source: Path, tmp_path: Path
) -> None:
    two = kit.Kit([MemoryStore("gcs"), MemoryStore("s3")]).init()
    roles = {"gcs": "primary", "s3": "backup"}
    forget_all_but_last(two, churn(two, source, points=3))
    name = sorted(indexes(two.stores[0]))[0]
    for store in two.stores:
        store.damage(name, at=50)
    before = [packs(store) for store in two.stores]
    for _ in range(2):
        with pytest.raises(GuardRefused, match="could not be read"):
            run_prune(two, roles=roles)
        with pytest.raises(GuardRefused, match="could not be read"):
            preview(two.open(), options(roles=roles), two.emit)
        assert all(name in store.objects for store in two.stores)
    assert [packs(store) for store in two.stores] == before
    repair_index(two.open(), two.emit)
    for _ in range(4):
        run_prune(two, roles=roles)
        two.clock.advance(DAY_S)
    assert sound(two)
    assert two.restore(tmp_path / "out").files > 3


@pytest.mark.parametrize(("nth", "comes_back"), WHEN)
def test_S3_a_store_that_catches_up_gets_no_snapshot_without_the_index_of_it(
    kit: ModuleType, source: Path, nth: int, comes_back: bool
) -> None:
    two = kit.Kit([Fickle("gcs"), Fickle("s3")]).init()
    churn(two, source, points=1)
    two.stores[1].down = True
    for text in ("later", "last"):
        (source / "later.md").write_text(text)
        two.backup(source)
    two.stores[1].down = False
    new = indexes(two.stores[0]) - indexes(two.stores[1])
    assert len(new) == 2 and packs(two.stores[0]) > packs(two.stores[1])
    now = [dict(store.objects) for store in two.stores]
    for name in sorted(new):
        for store, objects in zip(two.stores, now, strict=True):
            store.objects = dict(objects)
        Fickle.away(name, nth, comes_back=comes_back)
        with suppress(DrkitError):
            two.backup(source)
        Fickle.fails = ""
        assert sound(two, [two.stores[1]]), name
        two.backup(source, min_copies=2)
        assert sound(two)

"""One scan to every store: who fails lags, who lags catches up, no store ever names too much."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stores_seen import Recorder, content, names

from drkit.errors import TooFewCopies
from drkit.events import StoreLagging
from drkit.io_policy import FanOutPolicy
from drkit.repository.check.check import check_repository
from drkit.repository.format.layout import CONFIG, DATA, INDEX, LOCKS, SNAPSHOTS
from drkit.repository.repository import init_repository
from drkit.stores.interface import StoreUnreachable
from drkit.stores.memory import MemoryStore


@pytest.fixture
def source(kit: ModuleType, tmp_path: Path) -> Path:
    return kit.make_plain_tree(tmp_path / "source")


def test_S1_every_store_gets_the_same_bytes(three: Any, source: Path) -> None:
    three.backup(source, min_copies=3)
    first, *others = map(content, three.stores)
    assert len(first) > 3
    assert all(other == first for other in others)
    for name, data in first.items():
        assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]


def test_S1_a_retried_copy_is_not_sealed_again(three: Any, source: Path) -> None:
    three.stores[2].down = True
    three.backup(source)
    three.stores[2].down = False
    three.backup(source)
    assert content(three.stores[2]) == content(three.stores[0])


def test_S2_too_few_whole_copies_fail_loudly(three: Any, source: Path) -> None:
    three.stores[0].puts_left = three.stores[1].puts_left = 2
    with pytest.raises(TooFewCopies) as failure:
        three.backup(source, min_copies=2)
    assert "gcs" in failure.value.message
    assert "whole in 1 of 2" in failure.value.message
    assert not names(three.stores[0], SNAPSHOTS), "a store that missed a pack names no point"


def test_S2_a_store_counts_only_with_the_snapshot(kit: ModuleType, source: Path) -> None:
    stores = [Recorder("gcs"), Recorder("s3")]
    two = kit.Kit(stores).init()

    def refuse_snapshots(name: str) -> None:
        if name.startswith(SNAPSHOTS):
            raise StoreUnreachable("told to fail", hint="a test asked so")

    stores[1].before = refuse_snapshots
    report = two.backup(source)
    assert [result.complete for result in report.stores] == [True, False]


def test_S2_an_upload_thread_that_dies_of_a_bug_is_no_copy(kit: ModuleType, source: Path) -> None:
    stores = [Recorder("gcs"), Recorder("s3")]
    two = kit.Kit(stores).init()

    def crash(name: str) -> None:
        if name.startswith(SNAPSHOTS):
            raise RuntimeError("a bug in an adapter")

    stores[1].before = crash
    report = two.backup(source)
    assert [result.complete for result in report.stores] == [True, False]
    assert "a bug in an adapter" in report.stores[1].reason


def test_S3_each_store_gets_packs_then_index_then_snapshot(kit: ModuleType, source: Path) -> None:
    store = Recorder("gcs")
    alone = kit.Kit([store]).init()
    alone.backup(source)
    order = [
        "pack" if name.startswith(DATA) else name.split("/")[1]
        for name in store.puts
        if name.startswith((DATA, INDEX, SNAPSHOTS))
    ]
    assert order == sorted(order, key=["pack", "index", "snapshots"].index)
    assert order[-2:] == ["index", "snapshots"]


@pytest.mark.parametrize("puts_left", [1, 2, 3, 4, 5])
def test_S3_a_store_that_stops_at_any_put_names_nothing_that_it_lacks(
    kit: ModuleType, three: Any, source: Path, puts_left: int
) -> None:
    three.stores[1].puts_left = puts_left
    three.backup(source)
    three.stores[1].puts_left = None
    alone = kit.Kit([three.stores[1]])
    report = check_repository(alone.open(), read_data=True, emit=alone.emit)
    assert report.sound, report
    three.backup(source)
    assert content(three.stores[1]) == content(three.stores[0])


def test_S3_lag_is_read_from_the_listing_not_remembered(three: Any, source: Path) -> None:
    three.backup(source, min_copies=3)
    for name in names(three.stores[1], DATA):
        three.stores[1].delete(name)
    report = three.backup(source)
    assert all(result.complete for result in report.stores)
    assert content(three.stores[1]) == content(three.stores[0])


def test_S3_a_pack_cut_short_is_copied_again(three: Any, source: Path) -> None:
    three.backup(source)
    name, size = max(names(three.stores[1], DATA).items(), key=lambda item: item[1])
    three.stores[1].put(name, b"x" * (size - 1), size_bytes=size - 1)
    three.backup(source)
    assert content(three.stores[1]) == content(three.stores[0])


def test_S4_what_no_store_holds_is_stored_anew(three: Any, source: Path, tmp_path: Path) -> None:
    three.backup(source)
    victim = max(names(three.stores[0], DATA).items(), key=lambda item: item[1])[0]
    for store in three.stores:
        store.delete(victim)
    report = three.backup(source)
    assert report.files_changed > 0
    assert any("no store holds" in warning for warning in three.warnings)
    restored = three.restore(tmp_path / "out")
    assert restored.files == 15


def test_S4_a_lagging_store_is_served_before_anything_new_is_sent(
    kit: ModuleType, source: Path
) -> None:
    stores = [MemoryStore("gcs"), Recorder("s3")]
    two = kit.Kit(stores).init()
    stores[1].down = True
    two.backup(source)
    missed = set(names(stores[0]))
    stores[1].down = False
    stores[1].puts.clear()
    (source / "new.md").write_text("new")
    two.backup(source)
    sent = [name for name in stores[1].puts if not name.startswith(LOCKS)]
    assert set(sent[: len(missed)]) == missed
    assert len(sent) > len(missed)


def test_S4_a_store_that_cannot_catch_up_gets_no_new_point(three: Any, source: Path) -> None:
    three.stores[1].down = True
    three.backup(source)
    three.stores[1].down = False
    three.stores[1].puts_left = 2  # its lock and one object
    report = three.backup(source)
    assert {r.store for r in report.stores if r.complete} == {"gcs", "b2"}
    assert not names(three.stores[1], SNAPSHOTS)
    assert any(isinstance(e, StoreLagging) and e.store == "s3" for e in three.events)


def test_S1_a_damaged_copy_is_never_copied_on(three: Any, source: Path, tmp_path: Path) -> None:
    three.stores[2].down = True
    three.backup(source)
    three.stores[2].down = False
    name = max(names(three.stores[0], DATA).items(), key=lambda item: item[1])[0]
    three.stores[0].damage(name, at=1000)
    three.backup(source)
    assert three.stores[2].get(name) == three.stores[1].get(name)
    for store in (three.stores[1], three.stores[2]):
        store.delete(name)
    report = three.backup(source)
    assert name not in names(three.stores[1])
    assert [result.complete for result in report.stores] == [True, True, True]
    assert three.restore(tmp_path / "out", [three.stores[1]]).files == 15, "it was stored anew"


def test_S3_one_refused_pack_keeps_the_snapshot_out_though_the_store_recovers(
    kit: ModuleType, source: Path
) -> None:
    stores = [MemoryStore("gcs"), Recorder("s3")]
    two = kit.Kit(stores).init()
    refuse_once(stores[1])
    report = two.backup(source)
    assert [result.complete for result in report.stores] == [True, False]
    assert not names(stores[1], INDEX, SNAPSHOTS)


def test_S4_a_store_that_failed_while_catching_up_gets_nothing_new(
    kit: ModuleType, source: Path
) -> None:
    stores = [MemoryStore("gcs"), Recorder("s3")]
    two = kit.Kit(stores).init()
    stores[1].down = True
    two.backup(source)
    stores[1].down = False
    refuse_once(stores[1])
    report = two.backup(source)
    assert [result.complete for result in report.stores] == [True, False]
    assert not names(stores[1], INDEX, SNAPSHOTS)


def refuse_once(store: Recorder) -> None:
    """The next pack is refused, with the index already queued; all that follows is taken."""

    def refuse(name: str) -> None:
        if name.startswith(DATA):
            store.before = lambda name: None
            threading.Event().wait(0.3)
            raise StoreUnreachable("told to fail once", hint="a test asked so")

    store.before = refuse


def test_S8_init_never_rewrites_and_says_who_has_it(
    kit: ModuleType, three: Any, source: Path
) -> None:
    before = {store.name: names(store, "") for store in three.stores}
    report = init_repository(
        three.stores, kit.PASSWORD, clock=three.clock, hostname="h", cost=kit.CHEAP
    )
    assert report.created == ()
    assert report.already == ("gcs", "s3", "b2")
    assert {store.name: names(store, "") for store in three.stores} == before


def test_S8_a_config_damaged_in_one_store_stops_no_restore(
    three: Any, source: Path, tmp_path: Path
) -> None:
    three.backup(source)
    three.stores[0].damage(CONFIG, at=20)
    assert three.restore(tmp_path / "out").files == 15
    assert any("gcs: its config is damaged" in warning for warning in three.warnings)


def test_S10_a_hung_store_does_not_hold_up_the_others(
    kit: ModuleType, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drkit.repository.copies import upload

    impatient = FanOutPolicy(silence_s=1, least_bytes_per_s=1 << 30)
    monkeypatch.setattr(upload, "FAN_OUT", impatient)
    release = threading.Event()
    stores = [Recorder("gcs"), Recorder("s3")]
    two = kit.Kit(stores).init()
    stores[1].before = lambda name: release.wait(30) if name.startswith(DATA) else None
    try:
        report = two.backup(source)
    finally:
        release.set()
    assert [result.complete for result in report.stores] == [True, False]
    assert "hangs" in report.stores[1].reason
    assert not names(stores[1], SNAPSHOTS)

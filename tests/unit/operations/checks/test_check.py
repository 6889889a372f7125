"""The scheduled check: reads what is due, where it is cheapest, and says what was read when."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.operations.checks.check import run_check, run_due_check
from drkit.operations.checks.reading_log import read_logs
from drkit.repository.backup import blob_writer
from drkit.repository.check.reading_choice import ReadAll, ReadNothing
from drkit.repository.format.layout import CONFIG, DATA, KEYS
from drkit.repository.locks.locks import take_locks
from drkit.stores.memory import MemoryStore, Trouble

DAYS = {"b2": 10}
ORDER = ("b2", "gcs")


class Watched(MemoryStore):
    """Counts the packs that are read whole; of others a check reads the header alone."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.whole: Counter[str] = Counter()

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        if name.startswith(DATA) and not offset and length is None:
            self.whole[name] += 1
        return super().get(name, offset=offset, length=length)


@pytest.fixture
def two(kit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(blob_writer, "PACK_BYTES", 100_000)
    two = kit.Kit([Watched(name) for name in ("gcs", "b2")]).init()
    two.backup(kit.make_plain_tree(tmp_path / "source"), min_copies=2)
    return two


def packs(store: MemoryStore) -> set[str]:
    return {name for name in store.objects if name.startswith(DATA)}


def test_all_is_read_once_in_so_many_days_from_the_cheapest_store(two: Any, tmp_path: Path) -> None:
    gcs, b2 = two.stores
    read: Counter[str] = Counter()
    for day in range(10):
        gcs.whole.clear()
        b2.whole.clear()
        outcome = run_due_check(two.open(), DAYS, tmp_path, cheapest=ORDER, emit=two.emit)
        assert outcome.report.sound
        assert not gcs.whole, "what can be had in the cheap store is not read in the dear one"
        read += b2.whole
        assert (outcome.logs["b2"].whole_since is None) == (day < 9)
        two.clock.advance(86400)
    assert read.keys() == packs(b2)
    trees = {name for name, count in read.items() if count > 1}
    assert len(trees) < len(read) / 2, "all but the trees, which every check reads, is read once"
    assert sorted(read_logs(tmp_path / "check" / "reads.json")["b2"].read) == list(range(10))


def test_what_a_turn_reads_is_damaged_and_found_in_time(two: Any, tmp_path: Path) -> None:
    b2 = two.stores[1]
    name = sorted(packs(b2))[3]
    b2.damage(name, at=40)
    days = []
    for day in range(20):
        outcome = run_due_check(two.open(), DAYS, tmp_path, cheapest=ORDER, emit=two.emit)
        days += [day] if any(f.name == name for f in outcome.report.findings) else []
        two.clock.advance(86400)
    assert days[0] < 10, "within the ten days it was read, and found"
    assert days == list(range(days[0], 20)), "and told every day, as long as nobody mends it"
    run_due_check(two.open(), DAYS, tmp_path, repair=True, cheapest=ORDER, emit=two.emit)
    two.clock.advance(86400)
    outcome = run_due_check(two.open(), DAYS, tmp_path, cheapest=ORDER, emit=two.emit)
    assert outcome.found.sound


def test_a_store_that_was_away_on_its_day_is_read_on_the_next(two: Any, tmp_path: Path) -> None:
    run_due_check(two.open(), DAYS, tmp_path, emit=two.emit)
    two.clock.advance(86400)
    two.stores[1].down = True
    away = run_due_check(two.open(), DAYS, tmp_path, emit=two.emit)
    assert len(away.logs["b2"].read) == 1
    two.stores[1].down = False
    two.clock.advance(86400)
    back = run_due_check(two.open(), DAYS, tmp_path, emit=two.emit)
    assert len(back.logs["b2"].read) == 3


def test_a_log_that_is_gone_or_broken_is_begun_anew(two: Any, tmp_path: Path) -> None:
    path = tmp_path / "check" / "reads.json"
    run_due_check(two.open(), DAYS, tmp_path, emit=two.emit)
    for content in (b"", b"[]", b'{"stores": {"b2": {"of": 10}}}', b"\xff"):
        path.write_bytes(content)
        assert read_logs(path) == {}
        outcome = run_due_check(two.open(), DAYS, tmp_path, emit=two.emit)
        assert outcome.report.sound
        assert len(outcome.logs["b2"].read) == 1


def test_repair_puts_back_and_says_what_it_left_alone_S8(two: Any) -> None:
    gcs = two.stores[0]
    before = dict(gcs.objects)
    pack = sorted(packs(gcs))[0]
    key = next(name for name in gcs.objects if name.startswith(KEYS))
    gcs.damage(pack, at=7)
    gcs.damage(key, at=7)
    damaged_key = gcs.objects[key]
    outcome = run_check(two.open(), ReadAll(), repair=True, emit=two.emit)
    assert outcome.healed is not None
    assert outcome.healed.restored == (("gcs", pack),)
    assert [finding.name for finding in outcome.healed.by_hand] == [key]
    assert gcs.objects[pack] == before[pack]
    assert gcs.objects[key] == damaged_key
    assert not outcome.report.sound
    assert [finding.name for finding in outcome.report.findings] == [key]


def test_what_cannot_be_put_back_stays_in_the_report(two: Any) -> None:
    gcs = two.stores[0]
    pack = sorted(packs(gcs))[0]
    gcs.damage(pack, at=7)
    repository = two.open()
    gcs.fail(Trouble.REFUSES, calls=("put",), after=2)  # both checks' and the repair's locks
    outcome = run_check(repository, ReadAll(), repair=True, emit=two.emit)
    gcs.mend()
    assert [finding.name for finding in outcome.report.findings] == [pack]
    assert outcome.report.damaged


def test_a_check_changes_nothing_and_leaves_no_lock(two: Any) -> None:
    before = [dict(store.objects) for store in two.stores]
    two.stores[0].damage(CONFIG, at=50)
    damaged = dict(two.stores[0].objects)
    run_check(two.open(), ReadAll(), emit=two.emit)
    assert two.stores[0].objects == damaged
    assert two.stores[1].objects == before[1]


def test_a_credential_that_only_reads_is_enough_to_check(two: Any) -> None:
    for store in two.stores:
        store.fail(Trouble.REFUSES, calls=("put", "delete"))
    outcome = run_check(two.open(), ReadNothing(), emit=two.emit)
    assert outcome.report.sound
    assert any("no lock" in warning for warning in two.warnings)


def test_nobody_checks_while_another_prunes(two: Any) -> None:
    from drkit.errors import RepositoryLocked

    repository = two.open()
    locks = take_locks(repository, exclusive=True, need_all=True, emit=two.emit)
    try:
        with pytest.raises(RepositoryLocked):
            run_check(two.open(), ReadNothing(), emit=two.emit)
    finally:
        locks.release(two.emit)


def test_one_store_can_be_checked_by_itself(two: Any) -> None:
    two.stores[1].damage(sorted(packs(two.stores[1]))[0], at=9)
    alone = run_check(two.open(), ReadAll(), only=["gcs"], emit=two.emit)
    assert alone.report.sound
    assert list(alone.report.stores) == ["gcs"]

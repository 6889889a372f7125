"""Weights are read back, all or by turns, and mended from the other mirror when asked to."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from drkit.clock import ManualClock
from drkit.config.checks import Checks
from drkit.config.sources import WeightsSource
from drkit.events import Note, discard
from drkit.mirror.manifest import MANIFEST
from drkit.mirror.write import mirror_weights
from drkit.operations.checks.check_weights import WeightsCheck, check_due_weights, check_weights
from drkit.operations.checks.reading_log import read_logs, weights_log
from drkit.stores.memory import MemoryStore

SOURCE = WeightsSource(kind="weights", path="/m", model="m", revision="r", stores=("gcs", "s3"))
FOLDER = "weights/m/r/"
FILES = 12
WITHIN = Checks(read_all_within="10d", elsewhere_within="20d")


class Watched(MemoryStore):
    """Counts the bytes of model files that are read."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.read: Counter[str] = Counter()

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        found = super().get(name, offset=offset, length=length)
        if not name.endswith(MANIFEST):
            self.read[name.removeprefix(FOLDER)] += len(found)
        return found


class Deployment:
    """A model of twelve files on two of three stores; s3 is the cheapest to read from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.stores = [Watched(name) for name in ("gcs", "s3", "b2")]
        self.mirror("r", seed=1)

    def mirror(self, revision: str, *, seed: int) -> None:
        model, rng = self.folder / revision, random.Random(seed)
        model.mkdir()
        for number in range(FILES):
            (model / f"part-{number}.bin").write_bytes(rng.randbytes(1000 + number))
        mirror_weights(
            model,
            model="m",
            revision=revision,
            stores=self.stores[:2],
            cache=self.folder / "cache.json",
            emit=discard,
        )

    def due(self, source: WeightsSource = SOURCE, **options: Any) -> dict[str, WeightsCheck]:
        found = check_due_weights(
            {"w": source},
            self.stores,
            options.pop("within", WITHIN),
            cheapest=("b2", "s3", "gcs"),
            today=self.clock.now().date(),
            state_dir=self.folder / "state",
            repair=options.pop("repair", False),
            emit=options.pop("emit", discard),
        )
        assert not options
        self.clock.sleep(86400)
        return {check.mirror.store: check for check in found}


@pytest.fixture
def deployed(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path)


def test_damage_is_found_without_repair_and_mended_with_it(deployed: Deployment) -> None:
    stores = deployed.stores
    stores[0].damage(FOLDER + "part-1.bin", at=500)
    gcs, s3 = check_weights({"w": SOURCE}, stores, read=True, repair=False, emit=discard)
    (found,) = gcs.mirror.repairs
    assert (found.store, found.path, found.healed_from) == ("gcs", "part-1.bin", "")
    assert gcs.damaged and not s3.damaged
    gcs, _ = check_weights({"w": SOURCE}, stores, read=True, repair=True, emit=discard)
    assert gcs.mirror.repairs[0].healed_from == "s3" and not gcs.damaged
    for check in check_weights({"w": SOURCE}, stores, read=True, repair=False, emit=discard):
        assert check.mirror.repairs == ()
        assert check.mirror.files_read == FILES


def test_what_is_not_listed_with_its_size_is_found_without_reading_any_file(
    deployed: Deployment,
) -> None:
    gcs, s3, _ = deployed.stores
    gcs.delete(FOLDER + "part-0.bin")
    gcs.objects[FOLDER + "part-1.bin"] = gcs.objects[FOLDER + "part-1.bin"][:7]
    s3.delete(FOLDER + MANIFEST)
    gcs.read.clear()
    found = {
        (wrong.store, wrong.path)
        for check in check_weights({"w": SOURCE}, [gcs, s3], read=False, repair=False, emit=discard)
        for wrong in check.mirror.repairs
        if check.damaged
    }
    assert found == {("gcs", "part-0.bin"), ("gcs", "part-1.bin"), ("s3", MANIFEST)}
    assert not gcs.read and not s3.read
    check_weights({"w": SOURCE}, [gcs, s3], read=False, repair=True, emit=discard)
    for check in check_weights({"w": SOURCE}, [gcs, s3], read=True, repair=False, emit=discard):
        assert check.mirror.repairs == ()


def test_stores_that_are_not_meant_to_hold_them_are_left_alone(deployed: Deployment) -> None:
    b2 = deployed.stores[2]
    assert check_weights({"w": SOURCE}, [b2], read=True, repair=True, emit=discard) == ()
    deployed.due()
    assert b2.calls == []


def test_weights_that_are_nowhere_are_told() -> None:
    told: list[Any] = []
    empty = [MemoryStore("gcs"), MemoryStore("s3")]
    assert check_weights({"w": SOURCE}, empty, read=True, repair=True, emit=told.append) == ()
    assert any(isinstance(event, Note) and "not checked" in event.text for event in told)


def test_two_mirrors_that_each_lack_a_file_mend_each_other(deployed: Deployment) -> None:
    gcs, s3, _ = deployed.stores
    before = dict(gcs.objects)
    gcs.delete(FOLDER + "part-0.bin")
    s3.delete(FOLDER + "part-1.bin")
    checks = deployed.due(repair=True)
    assert {name: check.mirror.repairs[0].healed_from for name, check in checks.items()} == {
        "gcs": "s3",
        "s3": "gcs",
    }
    assert gcs.objects == s3.objects == before


def test_each_file_is_read_once_in_so_many_days_and_more_often_where_it_is_cheapest(
    deployed: Deployment,
) -> None:
    gcs, s3, _ = deployed.stores
    sizes = {f"part-{number}.bin": 1000 + number for number in range(FILES)}
    for store in (gcs, s3):
        store.read.clear()
    for day in range(20):
        found = deployed.due()
        whole = {name: check.log.whole_since for name, check in found.items() if check.log}
        assert (whole["s3"] is None) == (day < 9)
        assert (whole["gcs"] is None) == (day < 19)
    assert gcs.read == sizes
    assert s3.read == {name: 2 * size for name, size in sizes.items()}


def test_damage_is_found_within_those_days_and_mended_from_the_other_cloud(
    deployed: Deployment,
) -> None:
    gcs, s3, _ = deployed.stores
    good = dict(gcs.objects)
    for store, path in ((gcs, "part-3.bin"), (s3, "part-7.bin")):
        store.damage(FOLDER + path, at=40)
    mended = [
        (repair.store, repair.path, repair.healed_from)
        for _ in range(20)
        for check in deployed.due(repair=True).values()
        for repair in check.mirror.repairs
    ]
    assert sorted(mended) == [("gcs", "part-3.bin", "s3"), ("s3", "part-7.bin", "gcs")]
    assert gcs.objects == s3.objects == good


def test_damage_that_nobody_mends_is_told_every_day(deployed: Deployment) -> None:
    deployed.stores[1].damage(FOLDER + "part-7.bin", at=40)
    told = [deployed.due()["s3"].damaged for _ in range(20)]
    first = told.index(True)
    assert first < 10 and all(told[first:])
    assert deployed.due(repair=True)["s3"].mirror.repairs[0].healed_from == "gcs"
    assert not deployed.due()["s3"].damaged


def test_a_file_that_is_gone_or_short_is_found_the_same_day(deployed: Deployment) -> None:
    gcs = deployed.stores[0]
    deployed.due()
    gcs.delete(FOLDER + "part-4.bin")
    gcs.objects[FOLDER + "part-5.bin"] = b"short"
    found = deployed.due(within=Checks(read_all_within="10d", elsewhere_within=None))["gcs"]
    assert [repair.path for repair in found.mirror.repairs] == ["part-4.bin", "part-5.bin"]
    assert found.log is None  # nothing there has a turn


def test_a_store_that_was_away_on_its_day_is_read_on_the_next(deployed: Deployment) -> None:
    s3 = deployed.stores[1]
    deployed.due()
    s3.down = True
    away = deployed.due()["s3"]
    assert not away.mirror.answered and not away.damaged
    assert away.log is not None and len(away.log.read) == 1
    s3.down = False
    back = deployed.due()["s3"]
    assert back.log is not None and len(back.log.read) == 3


def test_another_revision_begins_a_log_of_its_own(deployed: Deployment) -> None:
    for _ in range(10):
        deployed.due()
    path = weights_log(deployed.folder / "state", "w")
    assert read_logs(path)["s3"].whole_since is not None
    deployed.mirror("next", seed=2)
    found = deployed.due(SOURCE.model_copy(update={"revision": "next"}))["s3"]
    assert found.log is not None and len(found.log.read) == 1
    path.write_bytes(b'{"of": 3}')
    assert deployed.due()["s3"].mirror.answered  # a log that cannot be read is begun anew


def test_days_that_nobody_checked_are_made_up_for(deployed: Deployment) -> None:
    s3 = deployed.stores[1]
    deployed.due()
    deployed.clock.advance(timedelta(days=30).total_seconds())
    s3.read.clear()
    deployed.due()
    assert len(s3.read) == FILES

"""A point that looks like an accident is kept and flagged; expiry waits for an operator."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.clock import ManualClock
from drkit.coordination.memory import MemoryArbiter
from drkit.errors import PlaceError
from drkit.events import Note
from drkit.operations.points.backup import BackupReport, back_up
from drkit.operations.points.cutting import Due
from drkit.operations.status.status import status_of
from drkit.points.find import list_points
from drkit.repository.backup.anomaly import ACKS, ANOMALY_TAG, acknowledge, unacknowledged
from drkit.sources.interface import Excludes
from drkit.sources.tree import TreeFolder
from drkit.stores.memory import MemoryStore

TEXT = "the assistant remembers what was said, and by whom, and when; "


class Deployment:
    def __init__(self, kit: ModuleType, folder: Path) -> None:
        self.clock = ManualClock()
        self.kit: Any = kit.Kit([MemoryStore("gcs"), MemoryStore("s3")], self.clock).init()
        self.folder = folder
        self.root = folder / "sncp"
        self.root.mkdir()
        for number in range(20):
            (self.root / f"{number:02}.md").write_text(f"{number} {TEXT * 200}")

    def back_up(self, percent: float | None = 50) -> BackupReport:
        self.clock.advance(600)
        source = TreeFolder("sncp", str(self.root), exclude=Excludes(), clock=self.clock)
        return back_up(
            self.kit.open(),
            Due({"sncp": source}, {}, ("sncp",), (), percent={"sncp": percent}),
            service=None,
            arbiter=MemoryArbiter(self.clock),
            stores=self.kit.stores,
            min_copies=2,
            own_files={},
            record_golden=None,
            work_dir=self.folder / "work",
            clock=self.clock,
            emit=self.kit.emit,
        )

    def held(self) -> list[str]:
        repository = self.kit.open()
        return [listed.id for listed in unacknowledged(repository, repository.snapshots())]

    def ack(self, snapshot_id: str) -> tuple[str, ...]:
        repository = self.kit.open()
        return acknowledge(
            repository.stores,
            repository.key,
            snapshot_id,
            who="operator",
            at=self.clock.now(),
            emit=self.kit.emit,
        )


@pytest.fixture
def deployment(kit: ModuleType, tmp_path: Path) -> Deployment:
    made = Deployment(kit, tmp_path)
    assert made.back_up().anomalies == ()
    return made


def test_ordinary_changes_are_no_anomaly(deployment: Deployment) -> None:
    for number in range(9):
        (deployment.root / f"{number:02}.md").unlink()
    (deployment.root / "new.bin").write_bytes(random.Random(1).randbytes(20_000))
    assert deployment.back_up().anomalies == ()
    assert deployment.held() == []


def test_files_that_vanish_flag_the_point_which_is_kept(deployment: Deployment) -> None:
    for number in range(11):
        (deployment.root / f"{number:02}.md").unlink()
    report = deployment.back_up()
    assert any("20 files became 9" in what for what in report.anomalies)
    assert all(result.complete for result in report.write.stores)
    point = list_points(deployment.kit.open())[-1]
    assert ANOMALY_TAG in point.listed.snapshot.tags
    assert point.point.sources["sncp"].files == 9
    assert deployment.held() == [report.write.snapshot_id]
    assert any(isinstance(e, Note) and "drkit ack" in e.text for e in deployment.kit.events)


def test_files_that_an_attacker_encrypts_flag_the_point(deployment: Deployment) -> None:
    rng = random.Random(2)
    for path in sorted(deployment.root.iterdir())[:15]:
        path.write_bytes(rng.randbytes(path.stat().st_size))
    (what,) = deployment.back_up().anomalies
    assert "cannot be compressed" in what


def test_a_limit_of_none_flags_nothing(deployment: Deployment) -> None:
    for path in deployment.root.iterdir():
        path.unlink()
    assert deployment.back_up(percent=None).anomalies == ()


def test_the_hold_outlasts_good_points_and_ends_with_the_acknowledgement(
    deployment: Deployment,
) -> None:
    kept = {path: path.read_bytes() for path in deployment.root.iterdir()}
    for path in kept:
        path.unlink()
    flagged = deployment.back_up().write.snapshot_id
    for path, content in kept.items():
        path.write_bytes(content)
    assert deployment.back_up().anomalies == ()
    assert deployment.held() == [flagged]
    status = status_of(
        deployment.kit.open(), list_points(deployment.kit.open()), {}, deployment.clock.now()
    )
    assert status.unacknowledged == (flagged,)
    deployment.kit.stores[1].down = True
    assert deployment.ack(flagged) == ("gcs",)
    deployment.kit.stores[1].down = False
    assert deployment.held() == [], "one store that knows is enough"


def test_an_acknowledgement_that_nobody_sealed_does_not_count(deployment: Deployment) -> None:
    for path in deployment.root.iterdir():
        path.unlink()
    flagged = deployment.back_up().write.snapshot_id
    for content in (b"", b"{}", bytes(200)):
        deployment.kit.stores[0].put(f"{ACKS}{flagged}", content, size_bytes=len(content))
        assert deployment.held() == [flagged]
    other = deployment.kit.open().key.seal(b'{"snapshot": "' + b"0" * 64 + b'"}')
    deployment.kit.stores[0].put(f"{ACKS}{flagged}", other, size_bytes=len(other))
    assert deployment.held() == [flagged], "it was given for another point"


def test_an_acknowledgement_that_no_store_took_is_an_error(deployment: Deployment) -> None:
    repository = deployment.kit.open()
    for store in deployment.kit.stores:
        store.down = True
    with pytest.raises(PlaceError):
        acknowledge(
            repository.stores,
            repository.key,
            "0" * 64,
            who="operator",
            at=deployment.clock.now(),
            emit=deployment.kit.emit,
        )

"""After drkit's forget, prune, copy and reconcile, stock restic reads every byte of every store."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stock_restic import run

from drkit.clock import SystemClock
from drkit.operations.deletion.prune import checker
from drkit.repository.copy import copy_snapshots
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.heal.reconcile import reconcile
from drkit.repository.levels.survey import list_stores, survey
from drkit.repository.prune.decision import PruneLimits
from drkit.repository.prune.prune import PruneOptions, PruneReport, prune
from drkit.stores.folder import FolderStore

ROLES = {"gcs": "primary", "s3": "backup", "b2": "archive"}


class SkippingClock(SystemClock):
    def __init__(self) -> None:
        self.skipped = timedelta(0)

    def now(self) -> Any:
        return super().now() + self.skipped


@pytest.fixture
def three(kit: ModuleType, tmp_path: Path) -> Any:
    stores = [FolderStore(name, tmp_path / name) for name in ROLES]
    return kit.Kit(stores, SkippingClock()).init()


def all_sound(restic: Path, kit: ModuleType, root: Path) -> bool:
    for name in ROLES:
        said = run(restic, kit, root / name, "check", "--read-data")
        assert "no errors were found" in said
        assert "contained in several indexes" not in said
    return True


def churn(kit: Any, source: Path, points: int) -> list[str]:
    rng = random.Random(points)
    made = []
    for _ in range(points):
        (source / "noise.bin").write_bytes(rng.randbytes(200_000))
        made.append(kit.backup(source, min_copies=3).snapshot_id)
    return made


def due(kit: Any, check: Any) -> PruneReport:
    options = PruneOptions(ROLES, check, PruneLimits(max_unused=0.0, merge_from=3))
    report = prune(kit.open(), options, kit.emit)
    if report.next_turn:
        kit.clock.skipped += max(timedelta(0), report.next_turn[1] - kit.clock.now())
    return report


def test_a_prune_leaves_every_store_whole_at_each_of_its_turns(
    restic: Path, kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    source = kit.make_plain_tree(tmp_path / "source", files=2)
    (source / "large.bin").unlink()
    made = churn(three, source, 5)
    forget_snapshots(three.open(), dict.fromkeys(made[:-1]), three.emit)
    check = checker(kit.PASSWORD, tmp_path / "work", restic=str(restic))
    seen: list[str] = []
    while not seen or report.next_turn:  # noqa: F821  (set below, before it is looked at)
        report = due(three, check)
        seen += report.deleted or ["marked"]
        assert report.problems == ()
        for name in report.deleted:
            assert "no errors" in run(restic, kit, tmp_path / name, "check", "--read-data")
        if len(seen) == 3:
            churn(three, source, 1)
    assert seen == ["marked", "gcs", "s3", "b2"]
    assert all_sound(restic, kit, tmp_path)
    assert three.restore(tmp_path / "out").files == 5


def test_the_record_says_which_restic_looked(
    restic: Path, kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    source = kit.make_plain_tree(tmp_path / "source", files=2)
    three.backup(source)
    check = checker(kit.PASSWORD, tmp_path / "work", restic=str(restic))
    who, problems = check(three.open(), three.stores[0])
    assert who.startswith("restic 0.")
    assert problems == ()
    victim = next(iter(three.stores[0].list("repository/data/")))
    three.stores[0].delete(victim.name)
    who, problems = check(three.open(), three.stores[0])
    assert who == "drkit", "its own look is enough to stop"
    assert problems


def test_restic_prunes_one_store_and_drkit_goes_on_after_a_plan(
    restic: Path, kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    source = kit.make_plain_tree(tmp_path / "source", files=2)
    made = churn(three, source, 4)
    run(restic, kit, tmp_path / "s3", "forget", made[0], made[1], "--prune", "--max-unused", "0")
    report = three.backup(source, min_copies=2)
    assert {r.store for r in report.stores if r.complete} == {"gcs", "b2"}
    assert "no errors were found" in run(restic, kit, tmp_path / "s3", "check", "--read-data")
    repository = three.open()
    found = survey(repository, list_stores(repository, three.emit), three.emit).standings["s3"]
    assert (found.diverged, found.lost) == ("was repacked by another program", {made[0], made[1]})
    reconcile(three.open(), "s3", None, three.emit)
    three.backup(source, min_copies=3)
    assert all_sound(restic, kit, tmp_path)


def test_what_is_copied_out_of_a_restic_repository_is_whole(
    restic: Path, kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    source = kit.make_odd_tree(tmp_path / "source")
    other = tmp_path / "other"
    run(restic, kit, other, "init")
    run(restic, kit, other, "backup", str(source), "--tag", "theirs", "--host", "elsewhere")
    theirs = kit.Kit([FolderStore("other", other)], SystemClock())
    foreign = theirs.open()
    report = copy_snapshots(
        foreign, three.open(), foreign.snapshots(), min_copies=3, emit=three.emit
    )
    assert len(report.copied) == 1
    assert all_sound(restic, kit, tmp_path)
    run(restic, kit, tmp_path / "b2", "restore", "latest", "--target", str(tmp_path / "out"))
    assert kit.listing(tmp_path / "out" / str(source).lstrip("/")) == kit.listing(source)
    again = copy_snapshots(
        foreign, three.open(), foreign.snapshots(), min_copies=3, emit=three.emit
    )
    assert (again.copied, len(again.already), again.bytes_added) == ({}, 1, 0)

"""`restic copy` and `restic prune` by the real binary on drkit's stores, and drkit after them."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.clock import SystemClock
from drkit.repository.check.check import check_repository
from drkit.repository.heal.reconcile import reconcile
from drkit.stores.folder import FolderStore

NAMES = ("gcs", "s3")


class Quick(SystemClock):
    def sleep(self, seconds: float) -> None:
        """Nobody else is at work on these folders."""


@pytest.fixture
def two(kit: ModuleType, tmp_path: Path) -> Any:
    return kit.Kit([FolderStore(name, tmp_path / name) for name in NAMES], Quick()).init()


def run(restic: Path, kit: ModuleType, store: Path, *words: str, of: Path | None = None) -> str:
    """What restic said, working on the store; `of`: the one that it copies from."""
    words = (*words, "--from-repo", str(of / "repository")) if of else words
    done = subprocess.run(
        [str(restic), "-r", str(store / "repository"), "--no-cache", *words],
        env={
            **os.environ,
            "RESTIC_PASSWORD": kit.PASSWORD,
            "RESTIC_FROM_PASSWORD": kit.PASSWORD,
        },
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def change(source: Path, number: int) -> None:
    (source / "noise.bin").write_bytes(random.Random(number).randbytes(200_000))


def test_restic_copies_into_one_store_and_drkit_brings_it_to_the_others(
    restic: Path, kit: ModuleType, two: Any, tmp_path: Path
) -> None:
    source = kit.make_odd_tree(tmp_path / "source")
    two.backup(source, min_copies=2)
    other = tmp_path / "other"
    run(restic, kit, other, "init")
    run(restic, kit, other, "backup", str(source), "--host", "elsewhere")
    run(restic, kit, tmp_path / "s3", "copy", "latest", of=other)
    change(source, 1)
    report = two.backup(source, min_copies=2)
    assert all(result.complete for result in report.stores)
    for name in NAMES:
        said = run(restic, kit, tmp_path / name, "check", "--read-data")
        assert "no errors were found" in said
        run(restic, kit, tmp_path / name, "restore", "latest", "--host", "elsewhere",
            "--target", str(tmp_path / f"out-{name}"))  # fmt: skip
        back = tmp_path / f"out-{name}" / str(source).lstrip("/")
        assert (back / "large.bin").read_bytes() == (source / "large.bin").read_bytes()
    held = [{one.id for one in two.open([store]).snapshots()} for store in two.stores]
    assert held[0] == held[1]
    assert len(held[0]) == 3


def test_restic_copies_out_of_a_store_and_drkit_reads_the_copy(
    restic: Path, kit: ModuleType, two: Any, tmp_path: Path
) -> None:
    source = kit.make_odd_tree(tmp_path / "source")
    two.backup(source, min_copies=2)
    other = tmp_path / "other"
    run(restic, kit, other, "init")
    run(restic, kit, other, "copy", of=tmp_path / "gcs")
    assert "no errors were found" in run(restic, kit, other, "check", "--read-data")
    theirs = kit.Kit([FolderStore("other", other)], Quick())
    theirs.restore(tmp_path / "out")
    assert kit.listing(tmp_path / "out") == kit.listing(source)


def test_restic_prunes_a_store_between_points_and_drkit_goes_on(
    restic: Path, kit: ModuleType, two: Any, tmp_path: Path
) -> None:
    source = kit.make_plain_tree(tmp_path / "source", files=3)
    made = []
    for number in range(4):
        change(source, number)
        made.append(two.backup(source, min_copies=2).snapshot_id)
    run(restic, kit, tmp_path / "gcs", "forget", made[0], made[2])
    run(restic, kit, tmp_path / "gcs", "prune", "--max-unused", "0")
    change(source, 9)
    report = two.backup(source, min_copies=1)
    assert [r.store for r in report.stores if r.complete] == ["s3"], "gcs waits for a plan"
    two.restore(tmp_path / "meanwhile")
    assert kit.listing(tmp_path / "meanwhile") == kit.listing(source)
    reconcile(two.open(), "gcs", None, two.emit)
    assert all(result.complete for result in two.backup(source, min_copies=2).stores)
    assert check_repository(two.open(), read_data=True, emit=two.emit).sound
    for name in NAMES:
        assert "no errors were found" in run(restic, kit, tmp_path / name, "check", "--read-data")
    held = [{one.id for one in two.open([store]).snapshots()} for store in two.stores]
    assert held[0] == held[1] >= set(made)

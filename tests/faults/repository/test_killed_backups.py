"""kill -9, and power cuts, at drawn system calls of a backup: the next one needs no hand.

Seeded: 30 moments in CI, 300 in `make soak`.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
from killed_works import opened
from killing import Killer

from drkit.repository.check.check import check_repository
from drkit.repository.format.layout import LOCKS, SNAPSHOTS

IN_CI, IN_SOAK = 30, 300
RESTIC_EVERY = 5


@pytest.fixture(scope="module")
def prepared(kit: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores with one point, and a source that has changed since."""
    root = tmp_path_factory.mktemp("prepared")
    source = kit.make_plain_tree(root / "source")
    opened(kit, root / "stores").init().backup(source)
    rng = random.Random(11)
    (source / "large.bin").write_bytes(rng.randbytes(3 << 20))
    for number in range(6):
        (source / f"new-{number}").write_bytes(rng.randbytes(200_000))
    return root


def test_the_next_backup_needs_no_hand_wherever_one_was_killed(
    kit: ModuleType,
    prepared: Path,
    killer: Killer,
    tmp_path: Path,
    any_restic: Path | None,
) -> None:
    kill_many(kit, prepared, killer, tmp_path, any_restic, seed=1, rounds=IN_CI)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_next_backup_needs_no_hand_wherever_one_was_killed_for_long(
    kit: ModuleType,
    prepared: Path,
    killer: Killer,
    tmp_path: Path,
    any_restic: Path | None,
) -> None:
    kill_many(kit, prepared, killer, tmp_path, any_restic, seed=2, rounds=IN_SOAK)


@pytest.fixture
def any_restic() -> Path | None:
    found = shutil.which("restic")
    return Path(found) if found else None


def kill_many(
    kit: ModuleType,
    prepared: Path,
    killer: Killer,
    work: Path,
    restic: Path | None,
    *,
    seed: int,
    rounds: int,
) -> None:
    rng = random.Random(seed)
    calls = killer(copied(prepared, work / "whole"), prepared / "source", "backup", 0)
    assert calls > 40
    killed = 0
    for number in range(rounds):
        root = copied(prepared, work / str(number))
        # calls of several threads are counted together: the last few may not be reached
        moment, power_cut = rng.randint(1, calls - 5), bool(number % 2)
        told = f"round {number}: call {moment} of {calls}, power cut: {power_cut}"
        source = prepared / "source"
        killed += killer(root, source, "backup", moment, power_cut=power_cut) == 0
        check_all(kit, prepared, root, restic if number % RESTIC_EVERY == 0 else None, told)
        shutil.rmtree(root)
    assert killed >= rounds * 0.9


def copied(prepared: Path, root: Path) -> Path:
    shutil.copytree(prepared / "stores", root)
    return root


def check_all(kit: ModuleType, prepared: Path, root: Path, restic: Path | None, told: str) -> None:
    """The next backup is whole in both stores, by drkit's and restic's check."""
    left = opened(kit, root)
    for store in left.stores:
        assert left.open([store]).snapshots(), told
    report = left.backup(prepared / "source", min_copies=2)
    assert all(result.complete for result in report.stores), told
    sound = check_repository(left.open(), read_data=True, emit=left.emit)
    assert sound.sound, (told, sound)
    for store in left.stores:
        assert not list(store.list(LOCKS)), f"{told}: the dead writer's lock is gone too"
    held = [{info.name for info in store.list(SNAPSHOTS)} for store in left.stores]
    assert held[0] == held[1], told
    left.restore(root / "restored", [left.stores[1]])
    assert kit.listing(root / "restored") == kit.listing(prepared / "source"), told
    if restic:
        done = subprocess.run(
            [str(restic), "-r", str(root / "gcs/repository"), "--no-cache", "check", "--read-data"],
            env={**os.environ, "RESTIC_PASSWORD": kit.PASSWORD},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, told + done.stdout + done.stderr
        assert "no errors were found" in done.stdout, told

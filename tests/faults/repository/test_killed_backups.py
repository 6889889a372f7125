"""kill -9, and power cuts, at drawn system calls of a backup: the next one needs no hand.

Seeded: 30 moments in CI, 300 in `make soak`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.clock import SystemClock
from drkit.repository.check import check_repository
from drkit.repository.layout import LOCKS, SNAPSHOTS
from drkit.stores.folder import FolderStore

NAMES = ("gcs", "s3")
IN_CI, IN_SOAK = 30, 300
RESTIC_EVERY = 5


@pytest.fixture(scope="module")
def prepared(kit: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores with one point, and a source that has changed since."""
    root = tmp_path_factory.mktemp("prepared")
    source = kit.make_plain_tree(root / "source")
    stores = [FolderStore(name, root / "stores" / name) for name in NAMES]
    kit.Kit(stores, SystemClock()).init().backup(source)
    rng = random.Random(11)
    (source / "large.bin").write_bytes(rng.randbytes(3 << 20))
    for number in range(6):
        (source / f"new-{number}").write_bytes(rng.randbytes(200_000))
    return root


@pytest.fixture(scope="module")
def killer(kit: ModuleType) -> Iterator[subprocess.Popen[str]]:
    script = Path(__file__).with_name("backup_killer.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(kit.__file__)],
        cwd=Path(__file__).parents[3],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def ask(killer: subprocess.Popen[str], root: Path, source: Path, moment: int, cut: bool) -> int:
    assert killer.stdin is not None
    assert killer.stdout is not None
    order = {"root": str(root), "source": str(source), "moment": moment, "power_cut": cut}
    killer.stdin.write(json.dumps(order) + "\n")
    killer.stdin.flush()
    return int(killer.stdout.readline())


def test_the_next_backup_needs_no_hand_wherever_one_was_killed(
    kit: ModuleType,
    prepared: Path,
    killer: subprocess.Popen[str],
    tmp_path: Path,
    any_restic: Path | None,
) -> None:
    kill_many(kit, prepared, killer, tmp_path, any_restic, seed=1, rounds=IN_CI)


@pytest.mark.soak
def test_the_next_backup_needs_no_hand_wherever_one_was_killed_for_long(
    kit: ModuleType,
    prepared: Path,
    killer: subprocess.Popen[str],
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
    killer: subprocess.Popen[str],
    work: Path,
    restic: Path | None,
    *,
    seed: int,
    rounds: int,
) -> None:
    rng = random.Random(seed)
    calls = ask(killer, copied(prepared, work / "whole"), prepared / "source", 0, False)
    assert calls > 40
    killed = 0
    for number in range(rounds):
        root = copied(prepared, work / str(number))
        # calls of several threads are counted together: the last few may not be reached
        moment, power_cut = rng.randint(1, calls - 5), bool(number % 2)
        told = f"round {number}: call {moment} of {calls}, power cut: {power_cut}"
        ended = ask(killer, root, prepared / "source", moment, power_cut)
        assert ended >= 0, told
        killed += ended == 0
        check_all(kit, prepared, root, restic if number % RESTIC_EVERY == 0 else None, told)
        shutil.rmtree(root)
    assert killed >= rounds * 0.9


def copied(prepared: Path, root: Path) -> Path:
    shutil.copytree(prepared / "stores", root)
    return root


def check_all(kit: ModuleType, prepared: Path, root: Path, restic: Path | None, told: str) -> None:
    """The next backup is whole in both stores, by drkit's and restic's check."""
    left: Any = kit.Kit([FolderStore(name, root / name) for name in NAMES], SystemClock())
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

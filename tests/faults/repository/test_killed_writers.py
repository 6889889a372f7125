"""kill -9 at any point of a write: the next run needs no hand, stock restic finds no error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from doomed_stores import environment
from stock_restic import run

from drkit.clock import SystemClock
from drkit.repository.format.layout import DATA, INDEX, LOCKS, SNAPSHOTS
from drkit.stores.folder import FolderStore

NAMES = ("gcs", "s3")

WRITER = """
import sys
from pathlib import Path

from doomed_stores import DoomedStore, Fuse
from repository_kit import Kit

from drkit.clock import SystemClock
from drkit.repository.backup import blob_writer

root, source = map(Path, sys.argv[1:3])
folder, when, nth = sys.argv[3:]
blob_writer.PACK_BYTES = 1 << 20
doom = {"fuse": Fuse(int(nth)), "below": folder, "before": when == "before"}
stores = [DoomedStore(name, root / name, **doom) for name in ("gcs", "s3")]
Kit(stores, SystemClock()).backup(source)
print("survived")
"""

MOMENTS = [
    (LOCKS, "after", 1),
    (DATA, "before", 1),
    (DATA, "after", 1),
    (DATA, "after", 4),
    (DATA, "before", 6),
    (INDEX, "before", 1),
    (INDEX, "after", 1),
    (SNAPSHOTS, "before", 1),
    (SNAPSHOTS, "after", 1),
    (SNAPSHOTS, "before", 2),
]


@pytest.fixture(scope="module")
def prepared(kit: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores with one point, and a source that has changed since."""
    root = tmp_path_factory.mktemp("prepared")
    source = kit.make_plain_tree(root / "source")
    stores = [FolderStore(name, root / name) for name in NAMES]
    kit.Kit(stores, SystemClock()).init().backup(source)
    (source / "large.bin").write_bytes(os.urandom(6 << 20))
    return root


@pytest.mark.parametrize(("folder", "when", "nth"), MOMENTS)
def test_the_next_run_needs_no_hand(
    kit: ModuleType, prepared: Path, tmp_path: Path, folder: str, when: str, nth: int
) -> None:
    for name in NAMES:
        shutil.copytree(prepared / name, tmp_path / name)
    killed(prepared, tmp_path, folder, when, nth)
    left = kit.Kit([FolderStore(name, tmp_path / name) for name in NAMES], SystemClock())
    for store in left.stores:
        assert left.restore(tmp_path / f"old-{store.name}", [store]).files == 15
    report = left.backup(prepared / "source", min_copies=2)
    assert all(result.complete for result in report.stores)
    for store in left.stores:
        left.restore(tmp_path / f"new-{store.name}", [store])
        assert kit.listing(tmp_path / f"new-{store.name}") == kit.listing(prepared / "source")
        assert not list(store.list(LOCKS)), "the dead writer's lock is gone too"
    held = [{info.name for info in store.list(SNAPSHOTS)} for store in left.stores]
    assert held[0] == held[1]


@pytest.mark.parametrize(("folder", "when", "nth"), [MOMENTS[3], MOMENTS[6], MOMENTS[8]])
def test_restic_finds_no_error_after_unlock(
    restic: Path,
    kit: ModuleType,
    prepared: Path,
    tmp_path: Path,
    folder: str,
    when: str,
    nth: int,
) -> None:
    for name in NAMES:
        shutil.copytree(prepared / name, tmp_path / name)
    killed(prepared, tmp_path, folder, when, nth)
    for name in NAMES:
        run(restic, kit, tmp_path / name, "unlock", "--remove-all")
        assert "no errors were found" in run(restic, kit, tmp_path / name, "check", "--read-data")


def killed(prepared: Path, root: Path, folder: str, when: str, nth: int) -> None:
    arguments: list[Any] = [root, prepared / "source", folder, when, nth]
    writer = subprocess.run(
        [sys.executable, "-c", WRITER, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert writer.returncode == -9, writer.stdout + writer.stderr

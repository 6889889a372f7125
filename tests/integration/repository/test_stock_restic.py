"""What drkit writes, a stock restic reads, and the other way round; proven with the real binary."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stock_restic import run

from drkit.clock import SystemClock
from drkit.repository.check.check import check_repository
from drkit.repository.restore.compare import compare_tree
from drkit.repository.restore.restore import restore_tree
from drkit.stores.folder import FolderStore

NAMES = ("gcs", "s3", "b2")


@pytest.fixture
def three(kit: ModuleType, tmp_path: Path) -> Any:
    stores = [FolderStore(name, tmp_path / name) for name in NAMES]
    return kit.Kit(stores, SystemClock()).init()


def test_restic_finds_no_error_in_any_store_and_restores_the_very_tree(
    restic: Path, kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    source = kit.make_odd_tree(tmp_path / "source")
    three.backup(source, min_copies=3)
    for name in NAMES:
        assert "no errors were found" in run(restic, kit, tmp_path / name, "check", "--read-data")
    run(restic, kit, tmp_path / "b2", "restore", "latest", "--target", str(tmp_path / "out"))
    restored = tmp_path / "out" / "sncp"
    difference = subprocess.run(
        ["diff", "-r", "--no-dereference", "-x", "fifo", str(source), str(restored)],
        capture_output=True,
    )
    assert difference.stdout == b""
    assert kit.listing(restored) == kit.listing(source)
    assert b"files" in (tmp_path / "out" / ".drkit" / "point.json").read_bytes()


def test_what_restic_backs_up_comes_back_through_drkit(
    restic: Path, kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    source = kit.make_odd_tree(tmp_path / "source")
    run(restic, kit, tmp_path / "gcs", "backup", str(source))
    repository = three.open()
    node = repository.find_node(three.latest(repository).snapshot, str(source))
    restore_tree(repository, node, tmp_path / "out", three.emit)
    assert kit.listing(tmp_path / "out") == kit.listing(source)
    assert compare_tree(repository, node.subtree, tmp_path / "out", three.emit) == ()


def test_restic_backs_up_on_top_of_a_point_and_drkit_on_top_of_that(
    restic: Path, kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    source = kit.make_plain_tree(tmp_path / "source")
    three.backup(source)
    run(restic, kit, tmp_path / "gcs", "backup", str(source), "--tag", "by-hand")
    (source / "later.md").write_text("written after both")
    report = three.backup(source, min_copies=3)
    assert report.files_unmodified == 0, "its parent was restic's snapshot, which has no /sncp"
    assert report.bytes_added < 200_000, "every blob but the new file was there already"
    for name in NAMES:
        assert "no errors were found" in run(restic, kit, tmp_path / name, "check", "--read-data")
    assert run(restic, kit, tmp_path / "s3", "snapshots", "--compact").count("by-hand") == 1


def test_restic_takes_a_point_as_parent_and_reads_nothing_again(
    restic: Path, kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    source = kit.make_plain_tree(tmp_path / "sncp")
    three.backup(source)
    snapshot = three.latest(three.open()).id
    done = subprocess.run(
        [str(restic), "-r", "gcs/repository", "--no-cache", "backup", "sncp", "--parent", snapshot],
        env={**os.environ, "RESTIC_PASSWORD": kit.PASSWORD},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "0 new,     0 changed,    15 unmodified" in done.stdout, done.stdout + done.stderr


def test_restic_forgets_and_prunes_and_drkit_goes_on(
    restic: Path, kit: ModuleType, tmp_path: Path
) -> None:
    alone = kit.Kit([FolderStore("gcs", tmp_path / "gcs")], SystemClock()).init()
    source = kit.make_plain_tree(tmp_path / "source")
    alone.backup(source)
    (source / "large.bin").unlink()
    alone.backup(source)
    run(restic, kit, tmp_path / "gcs", "forget", "--keep-last", "1", "--prune", "--group-by", "")
    alone.backup(source)
    assert "no errors were found" in run(restic, kit, tmp_path / "gcs", "check", "--read-data")
    report = check_repository(alone.open(), read_data=True, emit=alone.emit)
    assert report.sound, report


def test_a_password_that_restic_added_opens_the_repository(
    restic: Path, kit: ModuleType, three: Any, tmp_path: Path
) -> None:
    (tmp_path / "new").write_text("second password")
    run(restic, kit, tmp_path / "gcs", "key", "add", "--new-password-file", str(tmp_path / "new"))
    from drkit.repository.repository import open_repository

    repository = open_repository(
        three.stores, "second password", clock=SystemClock(), emit=three.emit, hostname="h"
    )
    assert repository.id == three.open().id

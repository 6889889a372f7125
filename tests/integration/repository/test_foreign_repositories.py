"""Repositories that restic alone made and wrote, format 1 and 2, are read whole."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.clock import SystemClock
from drkit.errors import GuardRefused
from drkit.repository.check import check_repository
from drkit.repository.compare import compare_tree
from drkit.repository.layout import DATA, DRKIT, INDEX, SNAPSHOTS
from drkit.repository.pack import read_header
from drkit.repository.restore import restore_tree
from drkit.repository.select import choose, read_filter
from drkit.stores.folder import FolderStore

FORMATS = ("1", "2")


class Restic:
    """One stock restic on one repository."""

    def __init__(self, binary: Path, store: Path, password: str) -> None:
        self._binary = binary
        self._store = store
        self._environment = {**os.environ, "RESTIC_PASSWORD": password}

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._binary), "-r", str(self._store / "repository"), "--no-cache", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.parametrize("number", FORMATS)
def test_what_restic_alone_wrote_is_read_to_the_last_header_and_attribute(
    restic: Path, kit: ModuleType, tmp_path: Path, number: str
) -> None:
    run = Restic(restic, tmp_path / "gcs", kit.PASSWORD)
    run("init", "--repository-version", number)
    source = kit.make_odd_tree(tmp_path / "source")
    large = source / "rabin.bin"
    large.write_bytes(random.Random(7).randbytes(9 << 20))
    run("backup", str(source), "--host", "there", "--tag", "first,by-hand")
    with large.open("r+b") as file:
        file.seek(4 << 20)
        file.write(b"a change in the middle of a file that restic cut into chunks of its own")
    (source / "notes" / "000.md").unlink()
    run("backup", str(source), "--host", "there", "--tag", "second")
    run("tag", "--add", "later", "--tag", "second")

    foreign = kit.Kit([FolderStore("gcs", tmp_path / "gcs")], SystemClock())
    repository = foreign.open()
    store = repository.stores[0]
    assert list(store.list(DRKIT)) == [], "nothing of drkit is needed"
    assert len(list(store.list(INDEX))) >= 2
    assert repository.version == int(number)

    chosen = choose(repository.snapshots(), "latest", read_filter(tags=["second,later"])).listed
    assert chosen.snapshot.original, "restic tag keeps the id that the snapshot had"
    node = repository.find_node(chosen.snapshot, str(source))
    restore_tree(repository, node, tmp_path / "out", foreign.emit)
    assert kit.listing(tmp_path / "out") == kit.listing(source)
    assert compare_tree(repository, node.subtree, tmp_path / "out", foreign.emit) == ()
    first = choose(repository.snapshots(), "latest", read_filter(tags=["first"])).listed
    assert repository.read_file(first.snapshot, f"{source}/notes/000.md").endswith(b"0")

    listed = {info.name.rpartition("/")[2]: info.name for info in store.list(DATA)}
    assert set(repository.index.pack_sizes()) == set(listed)
    headers = [read_header(store.get(name), repository.key) for name in listed.values()]
    assert {bool(blob.raw_bytes) for blobs in headers for blob in blobs} == (
        {False} if number == "1" else {True}
    )
    report = check_repository(repository, read_data=True, emit=foreign.emit)
    assert report.sound, report
    assert len(list(store.list(SNAPSHOTS))) == len(repository.snapshots()) == 2
    assert foreign.warnings == []
    if number == "1":
        with pytest.raises(GuardRefused, match="format 1"):
            foreign.backup(source)


def test_a_repository_that_restic_upgraded_and_pruned_holds_blobs_of_both_forms(
    restic: Path, kit: ModuleType, tmp_path: Path
) -> None:
    run = Restic(restic, tmp_path / "gcs", kit.PASSWORD)
    run("init", "--repository-version", "1")
    source = kit.make_plain_tree(tmp_path / "source")
    run("backup", str(source))
    run("migrate", "upgrade_repo_v2")
    (source / "more.md").write_text("more " * 5000)
    run("backup", str(source))
    (source / "large.bin").unlink()
    run("backup", str(source))
    run("forget", "--keep-last", "1", "--group-by", "", "--prune", "--max-unused", "unlimited")
    kit_of = kit.Kit([FolderStore("gcs", tmp_path / "gcs")], SystemClock())
    repository = kit_of.open()
    assert repository.version == 2
    raw = {bool(blob.raw_bytes) for blobs in _all_blobs(repository) for blob in blobs}
    assert raw == {True, False}
    latest = kit_of.latest(repository)
    node = repository.find_node(latest.snapshot, str(source))
    restore_tree(repository, node, tmp_path / "out", kit_of.emit)
    assert kit.listing(tmp_path / "out") == kit.listing(source)
    kit_of.backup(source)
    assert "no errors" in run("check", "--read-data")


def _all_blobs(repository: Any) -> list[list[Any]]:
    return list(repository.index.blobs_by_pack().values())

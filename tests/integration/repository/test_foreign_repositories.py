"""Repositories that restic alone made and wrote, format 1 and 2, are read whole."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from stock_restic import Restic

from drkit.clock import SystemClock
from drkit.errors import GuardRefused
from drkit.events import discard
from drkit.repository.check.check import check_repository
from drkit.repository.format.layout import DATA, DRKIT, INDEX, SNAPSHOTS
from drkit.repository.format.pack import read_header
from drkit.repository.key_ring import change_password
from drkit.repository.repository import open_repository
from drkit.repository.restore.compare import compare_tree
from drkit.repository.restore.restore import restore_tree
from drkit.repository.trees.select import choose, read_filter
from drkit.stores.folder import FolderStore

FORMATS = ("1", "2")


def started(restic: Path, kit: ModuleType, root: Path, number: str) -> Restic:
    """A repository by `restic init`. drkit opens it by restic's own key, and puts one in its place
    that costs less: restic's takes each command half a second.
    """
    run = Restic(restic, root / "gcs", kit.PASSWORD)
    run("init", "--repository-version", number)
    repository = kit.Kit([FolderStore("gcs", root / "gcs")], SystemClock()).open()
    change_password(repository, kit.PASSWORD, "for a moment", cost=kit.CHEAP)
    again = open_repository(
        repository.stores, "for a moment", clock=SystemClock(), emit=discard, hostname="h"
    )
    change_password(again, "for a moment", kit.PASSWORD, cost=kit.CHEAP)
    return run


@pytest.mark.parametrize("number", FORMATS)
def test_what_restic_alone_wrote_is_read_to_the_last_header_and_attribute(
    restic: Path, kit: ModuleType, tmp_path: Path, number: str
) -> None:
    run = started(restic, kit, tmp_path, number)
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
    run = started(restic, kit, tmp_path, "1")
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
    return [blobs for _, blobs in repository.index.packs()]

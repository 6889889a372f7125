"""kill -9 in mid forget, prune and copy: the next run needs no hand; four writers with a prune."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from doomed_stores import environment
from stock_restic import run

from drkit.clock import SystemClock
from drkit.errors import DrkitError
from drkit.repository.check.check import check_repository
from drkit.repository.check.structure import check_structure
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.format.layout import LOCKS, PRUNES, SNAPSHOTS
from drkit.repository.prune import turns as prune_turns
from drkit.repository.prune.decision import PruneLimits
from drkit.repository.prune.prune import PruneOptions, prune
from drkit.repository.trees.walk import entries
from drkit.stores.folder import FolderStore

ROLES = {"gcs": "primary", "s3": "backup"}

WORKER = """
import os, random, sys
from datetime import timedelta
from pathlib import Path

from doomed_stores import DoomedStore, Fuse
from repository_kit import Kit

from drkit.clock import SystemClock
from drkit.errors import DrkitError, RepositoryLocked
from drkit.repository.copy import copy_snapshots
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.prune.prune import PruneOptions, prune
from drkit.repository.prune.decision import PruneLimits
from drkit.repository.check.structure import check_structure
from drkit.stores.folder import FolderStore

root, source, work = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
fuse, days, rest = Fuse(int(sys.argv[4])), int(sys.argv[5]), sys.argv[6:]

class Skipping(SystemClock):
    def now(self):
        return super().now() + timedelta(days=days)

stores = [DoomedStore(name, root / name, fuse) for name in ("gcs", "s3")]
kit = Kit(stores, Skipping())
if work == "forget":
    forget_snapshots(kit.open(), dict.fromkeys(rest), kit.emit)
elif work == "copy":
    other = Kit([FolderStore("other", source)], Skipping()).open()
    copy_snapshots(other, kit.open(), other.snapshots(), min_copies=2, emit=kit.emit)
elif work == "prune":
    check = lambda repository, store: ("own", check_structure(repository, store))
    limits = PruneLimits(max_unused=0.0, merge_from=3)
    prune(kit.open(), PruneOptions({"gcs": "primary", "s3": "backup"}, check, limits), kit.emit)
else:  # a writer: points until it has made enough, whatever stands in the way
    made, number = 0, 0
    while made < int(rest[0]):
        number += 1
        (source / f"{work}-{number}.bin").write_bytes(os.urandom(20_000))
        # what was forgotten, and is being pruned
        (source / "old.bin").write_bytes(random.Random(number % 4).randbytes(50_000))
        try:
            kit.backup(source, min_copies=2)
            made += 1
        except RepositoryLocked:
            pass
        except DrkitError as error:
            if "of 2 stores" not in str(error) and "forgotten meanwhile" not in str(error):
                raise
print("survived")
"""


@pytest.fixture(scope="module")
def prepared(kit: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Two stores with five points, four of them forgotten in `forgotten`."""
    root = tmp_path_factory.mktemp("prepared")
    (root / "source").mkdir()
    made = two(kit, root).init()
    ids = []
    for number in range(5):
        (root / "source" / "noise.bin").write_bytes(random.Random(number).randbytes(50_000))
        ids.append(made.backup(root / "source", min_copies=2).snapshot_id)
    shutil.copytree(root, root / "forgotten", ignore=lambda *_: ["forgotten"])
    forget_snapshots(two(kit, root / "forgotten").open(), dict.fromkeys(ids[:-1]), made.emit)
    return root, ids


def two(kit: ModuleType, root: Path, clock: Any = None) -> Any:
    return kit.Kit([FolderStore(name, root / name) for name in ROLES], clock or SystemClock())


def start(root: Path, source: Path, work: str, nth: int, days: int, *rest: str) -> Any:
    arguments = [root, source, work, nth, days, *rest]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, *map(str, arguments)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def killed(root: Path, source: Path, work: str, nth: int, days: int = 0, *rest: str) -> None:
    worker = start(root, source, work, nth, days, *rest)
    said, _ = worker.communicate(timeout=60)
    assert worker.returncode == -9, said


def lay_out(prepared: Path, root: Path) -> None:
    for name in ROLES:
        shutil.copytree(prepared / name, root / name)


class Skipping(SystemClock):
    days = 0

    def now(self) -> Any:
        return super().now() + timedelta(days=self.days)


def prune_to_the_end(kit: ModuleType, root: Path) -> None:
    clock = Skipping()
    check = lambda repository, store: ("own", check_structure(repository, store))  # noqa: E731
    limits = PruneLimits(max_unused=0.0, merge_from=3)
    for clock.days in (1, 2, 3, 4):
        made = two(kit, root, clock)
        report = prune(made.open(), PruneOptions(ROLES, check, limits), made.emit)
        assert report.problems == ()
    assert not any(list(store.list(PRUNES)) for store in made.stores)


def snapshots(root: Path, name: str) -> set[str]:
    return {path.name for path in (root / name / SNAPSHOTS).iterdir()}


def sound(kit: ModuleType, root: Path) -> bool:
    made = two(kit, root)
    return not any(check_structure(made.open(), store) for store in made.stores)


@pytest.mark.parametrize("nth", [4, 6, 8])
def test_a_killed_forget_is_finished_or_has_not_begun(
    kit: ModuleType, prepared: tuple[Path, list[str]], tmp_path: Path, nth: int
) -> None:
    root, ids = prepared
    lay_out(root, tmp_path)
    killed(tmp_path, root / "source", "forget", nth, 0, *ids[:-1])
    assert sound(kit, tmp_path)
    report = two(kit, tmp_path).backup(root / "source", min_copies=2)
    left = snapshots(tmp_path, "gcs")
    assert left == snapshots(tmp_path, "s3")
    assert left in ({*ids, report.snapshot_id}, {ids[-1], report.snapshot_id})
    assert not any(list(FolderStore(n, tmp_path / n).list(LOCKS)) for n in ROLES)


@pytest.mark.parametrize(
    ("days", "nth"), [(0, n) for n in (3, 6, 8, 10, 12, 15)] + [(1, 5), (1, 7)]
)
def test_a_killed_prune_is_finished_by_the_next_ones(
    kit: ModuleType, prepared: tuple[Path, list[str]], tmp_path: Path, days: int, nth: int
) -> None:
    root, ids = prepared
    lay_out(root / "forgotten", tmp_path)
    if days:
        start(tmp_path, root / "source", "prune", 0, 0).communicate(timeout=60)
    killed(tmp_path, root / "source", "prune", nth, days)
    assert sound(kit, tmp_path)
    two(kit, tmp_path).backup(root / "source", min_copies=2)
    prune_to_the_end(kit, tmp_path)
    assert sound(kit, tmp_path)
    assert ids[-1] in snapshots(tmp_path, "gcs")
    packs = [
        {info.name for info in FolderStore(n, tmp_path / n).list("repository/data/")} for n in ROLES
    ]
    assert packs[0] == packs[1]


@pytest.mark.parametrize("nth", [4, 8])
def test_a_killed_copy_goes_on(
    kit: ModuleType, prepared: tuple[Path, list[str]], tmp_path: Path, nth: int
) -> None:
    root, ids = prepared
    two(kit, tmp_path).init()
    other = root / "gcs"
    killed(tmp_path, other, "copy", nth)
    assert sound(kit, tmp_path)
    said, _ = start(tmp_path, other, "copy", 0, 0).communicate(timeout=60)
    assert "survived" in said, said
    assert len(snapshots(tmp_path, "gcs")) == len(ids)
    assert snapshots(tmp_path, "gcs") == snapshots(tmp_path, "s3")
    assert sound(kit, tmp_path)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_dozens_of_deaths_in_forget_and_prune(
    kit: ModuleType, prepared: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """Each world dies again and again, and a prune walks through it all the same."""
    root, ids = prepared
    rng = random.Random(5)
    deaths = 0
    for world in range(8):
        here = tmp_path / str(world)
        here.mkdir()
        lay_out(root, here)
        for day in range(12):
            rest = ids[:-1] if day == 0 else ()
            work = "forget" if day == 0 else "prune"
            worker = start(here, root / "source", work, rng.randint(3, 30), day, *rest)
            worker.communicate(timeout=60)
            deaths += worker.returncode == -9
            assert sound(kit, here)
        two(kit, here).backup(root / "source", min_copies=2)
        assert snapshots(here, "gcs") == snapshots(here, "s3")
        assert ids[-1] in snapshots(here, "gcs")
    assert deaths >= 40


def test_restic_agrees_after_a_death_in_each_phase(
    restic: Path, kit: ModuleType, prepared: tuple[Path, list[str]], tmp_path: Path
) -> None:
    root, _ = prepared
    lay_out(root / "forgotten", tmp_path)
    for days, nth in ((0, 9), (0, 14), (1, 6)):
        worker = start(tmp_path, root / "source", "prune", nth, days)
        worker.communicate(timeout=60)
        for name in ROLES:
            run(restic, kit, tmp_path / name, "unlock", "--remove-all")
            said = run(restic, kit, tmp_path / name, "check", "--read-data")
            assert "no errors were found" in said


def test_four_writers_in_four_processes_with_prunes_between_lose_nothing(
    kit: ModuleType,
    prepared: tuple[Path, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever prunes find to delete or to merge goes from both stores while the writers write, and
    these write again what was forgotten.
    """
    monkeypatch.setattr(prune_turns, "BETWEEN", timedelta(0))
    root, _ = prepared
    lay_out(root / "forgotten", tmp_path)
    writers = []
    for number in range(4):
        source = tmp_path / f"source-{number}"
        source.mkdir()
        writers.append(start(tmp_path, source, f"writer-{number}", 0, 0, "3"))
    check = lambda repository, store: ("own", check_structure(repository, store))  # noqa: E731
    deleted: list[str] = []
    while any(writer.poll() is None for writer in writers):
        with suppress(DrkitError):  # locked by a writer: try again
            made = two(kit, tmp_path)
            written = len(snapshots(tmp_path, "gcs")) > 1
            limits = PruneLimits(max_unused=0.0, merge_from=3)
            options = PruneOptions(ROLES, check, limits, timedelta(0))
            report = prune(made.open(), options, made.emit)
            assert report.problems == ()
            deleted += [store for store in report.deleted if written]
    for writer in writers:
        said, _ = writer.communicate(timeout=90)
        assert "survived" in said, said
    assert set(deleted) == set(ROLES), "no prune came between: this has shown nothing"
    made = two(kit, tmp_path)
    made.backup(tmp_path / "source-0", min_copies=2)
    assert snapshots(tmp_path, "gcs") == snapshots(tmp_path, "s3")
    assert len(snapshots(tmp_path, "gcs")) >= 1 + 4 * 3 + 1
    assert check_repository(made.open(), read_data=True, emit=made.emit).sound
    every_point_holds_what_its_writer_had(made, tmp_path)


def every_point_holds_what_its_writer_had(made: Any, root: Path) -> None:
    """Each file of a point, out of each store alone, is as its writer left it."""
    seen = 0
    for store in made.stores:
        alone = made.open([store])
        for listed in alone.snapshots():
            tree = alone.find_node(listed.snapshot, "/sncp").subtree
            for entry in entries(alone, tree):
                writer = entry.path[1:].removeprefix("writer-").partition("-")[0]
                source = root / f"source-{writer}" / entry.path[1:]
                if entry.path.startswith("/writer-"):
                    content = b"".join(map(alone.load_blob, entry.node.content))
                    assert content == source.read_bytes(), (store.name, listed.id, entry.path)
                    seen += 1
    assert seen >= 2 * 4 * 3

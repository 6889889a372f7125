"""K6: whatever restores, from whichever old point, shows nothing that was erased since."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from drkit.clock import ManualClock
from drkit.errors import GuardRefused
from drkit.operations.points.restore import restore_point
from drkit.operations.points.restore_snapshot import restore_snapshot
from drkit.points.find import FoundPoint
from drkit.points.point import Point, SourcePart
from drkit.repository.dump.dump import dump
from drkit.repository.erase.erase import erase, plan_erase
from drkit.repository.format.layout import SNAPSHOTS
from drkit.repository.repository import ListedSnapshot
from drkit.repository.restore.lawful import erased_in
from drkit.repository.restore.restore import RestoreOptions
from drkit.repository.trees.select import Selected
from drkit.repository.trees.walk import find_folder
from drkit.runs.actions import restore as restore_action
from drkit.stores.interface import Retained
from drkit.stores.memory import MemoryStore


class Keeping(MemoryStore):
    """A store that gives no snapshot away, as under object lock."""

    def delete(self, name: str) -> None:
        if name.startswith(SNAPSHOTS):
            raise Retained(f"{name} is locked", hint="wait", until=datetime(2027, 1, 1, tzinfo=UTC))
        super().delete(name)


@pytest.fixture
def erased(kit: ModuleType, tmp_path: Path) -> tuple[Any, ListedSnapshot]:
    """A store from which a path was erased, and the point that it retains."""
    source = tmp_path / "source"
    (source / "users" / "42").mkdir(parents=True)
    (source / "users" / "42" / "diary.md").write_text("secret")
    (source / "users" / "41.md").write_text("fine")
    alone = kit.Kit([Keeping("s3")]).init()
    alone.backup(source)
    old = alone.open().snapshots()[0]
    plan = plan_erase(alone.open(), "/sncp/users/42".__eq__, ())
    erase(alone.open(), "/sncp/users/42".__eq__, (), alone.emit, checksum=plan.checksum)
    assert old.id in {one.id for one in alone.open().snapshots()}
    return alone, old


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def part() -> SourcePart:
    return SourcePart(kind="tree", path="/sncp", cut_at=datetime(2026, 1, 1, tzinfo=UTC), files=2,
                      bytes=10)  # fmt: skip


def found(old: ListedSnapshot) -> FoundPoint:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=1)
    point = Point(service=None, epoch=0, created_at=at, complete=True, sources={"sncp": part()})
    return FoundPoint(old, point)


def test_K6_restore_of_a_point(erased: tuple[Any, ListedSnapshot], tmp_path: Path) -> None:
    alone, old = erased
    restored = restore_point(
        alone.open(),
        found(old),
        tmp_path / "out",
        verify=True,
        stores=alone.stores,
        clock=ManualClock(),
        emit=alone.emit,
    )
    assert files(tmp_path / "out") == {"sncp/users/41.md"}
    assert [proof.passed for proof in restored.proofs] == [True], "what was erased is not missed"


@pytest.mark.parametrize(
    ("subfolder", "left"),
    [
        ("/", {"sncp/users/41.md", ".drkit/point.json"}),
        ("/sncp/users", {"41.md"}),
        ("/sncp/users/42", set()),
    ],
)
def test_K6_restore_of_a_snapshot_or_a_folder_of_it(
    erased: tuple[Any, ListedSnapshot], tmp_path: Path, subfolder: str, left: set[str]
) -> None:
    alone, old = erased
    _, proofs = restore_snapshot(
        alone.open(),
        Selected(old, subfolder),
        tmp_path / "out",
        alone.emit,
        options=RestoreOptions(),
        verify=True,
    )
    assert files(tmp_path / "out") == left
    assert [proof.passed for proof in proofs] == [True]


def test_K6_restore_in_a_run(erased: tuple[Any, ListedSnapshot], tmp_path: Path) -> None:
    alone, old = erased
    context: Any = SimpleNamespace(
        work_dir=tmp_path / "run", repository=alone.open, emit=alone.emit, clock=ManualClock()
    )
    (tmp_path / "run" / "restore").mkdir(parents=True)
    call: Any = SimpleNamespace()
    restore_action._restore(call, context, found(old), "sncp")
    assert files(tmp_path / "run" / "restore") == {"sncp/users/41.md"}


def test_K6_dump_gives_nothing_that_was_erased(erased: tuple[Any, ListedSnapshot]) -> None:
    alone, old = erased
    repository = alone.open()
    for subfolder, inside in (("/", "/sncp/users/"), ("/sncp", "/users/")):
        tree = find_folder(repository, old.snapshot.tree, subfolder)
        left_out = erased_in(repository, old.snapshot, subfolder)
        for path in (f"{inside}42", f"{inside}42/diary.md"):
            with pytest.raises(GuardRefused, match="was erased"):
                dump(repository, tree, path, io.BytesIO(), left_out=left_out)
        for archive in ("tar", "zip"):
            out = io.BytesIO()
            dump(repository, tree, inside, out, archive, left_out=left_out)
            assert b"41.md" in out.getvalue()
            assert b"diary" not in out.getvalue()

"""What is seen of a tree before the stores are locked is used where it is what a scan would see."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.repository.backup.ahead import Ahead, look_ahead
from drkit.repository.backup.archive import WriteReport
from drkit.repository.backup.look import BY_ALL, Compare, Looker
from drkit.repository.format.tree import decode_tree
from drkit.repository.repository import Repository
from drkit.sources.interface import NOTHING_EXCLUDED, Excludes
from drkit.stores.interface import StoreUnreachable
from drkit.stores.memory import MemoryStore


class Far(MemoryStore):
    """Counts what it is asked."""

    asked = 0

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        self.asked += 1
        return super().get(name, offset=offset, length=length)

    def list(self, prefix: str) -> Any:
        self.asked += 1
        return super().list(prefix)


class Machine:
    """One that keeps a cache and backs up one tree."""

    def __init__(self, kit: ModuleType, folder: Path) -> None:
        self.store = Far("gcs")
        self.kit = kit.Kit([self.store], cache_dir=folder / "cache").init()
        self.source = kit.make_plain_tree(folder / "source")

    def open(self) -> Repository:
        return self.kit.open()

    def look(
        self, repository: Repository, *, excludes: Excludes = NOTHING_EXCLUDED, folders: int = 99
    ) -> Ahead:
        snapshot = repository.expected()[-1]
        top = repository.kept_blob(bytes.fromhex(snapshot.tree))
        assert top
        former = next(node for node in decode_tree(top) if node.name == b"sncp")
        assert former.subtree
        left = iter(range(folders))
        return look_ahead(
            repository,
            self.source,
            excludes=excludes,
            compare=BY_ALL,
            former=former.subtree,
            go_on=lambda: next(left, None) is not None,
        )

    def back_up(self, repository: Repository, ahead: Ahead | None = None) -> WriteReport:
        return self.kit.backup(self.source, repository=repository, ahead=ahead)


@pytest.fixture
def machine(kit: ModuleType, tmp_path: Path) -> Machine:
    made = Machine(kit, tmp_path)
    made.back_up(made.open())
    return made


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The folders that a scan looks at itself."""
    found: list[bytes] = []
    real = Looker.look

    def look(self: Any, path: bytes, *rest: Any, **options: Any) -> Any:
        found.append(path)
        return real(self, path, *rest, **options)

    monkeypatch.setattr(Looker, "look", look)
    return found


def test_a_scan_takes_what_was_seen_and_no_store_is_asked_for_it(
    machine: Machine, looks: list[bytes]
) -> None:
    first = machine.back_up(machine.open())
    (machine.source / "notes" / "003.md").write_text("written anew")
    repository = machine.open()
    asked = machine.store.asked
    ahead = machine.look(repository)
    assert machine.store.asked == asked
    assert len(ahead.folders) == 3
    looks.clear()
    report = machine.back_up(repository, ahead)
    assert looks in ([], [str(machine.source).encode()]), "but one above what has changed"
    assert (report.files_changed, report.files_new) == (1, 0)
    assert report.files_unmodified == first.files_unmodified - 1
    machine.kit.restore(machine.source.parent / "out")
    assert machine.kit.warnings == []
    text = (machine.source.parent / "out" / "notes" / "003.md").read_text()
    assert text == "written anew"


def test_what_was_not_reached_is_looked_at_by_the_scan(
    machine: Machine, looks: list[bytes]
) -> None:
    repository = machine.open()
    ahead = machine.look(repository, folders=1)
    assert len(ahead.folders) == 1
    looks.clear()
    before = machine.back_up(machine.open()).roots["sncp"].tree_id
    assert machine.back_up(repository, ahead).roots["sncp"].tree_id == before


def test_what_was_compared_with_another_tree_is_looked_at_again(
    machine: Machine, looks: list[bytes]
) -> None:
    repository = machine.open()
    ahead = machine.look(repository)
    (machine.source / "notes" / "deep" / "late").write_text("seen by another run only")
    other = machine.back_up(machine.open())
    looks.clear()
    report = machine.back_up(repository, ahead)
    assert len(looks) == 3, "every folder's former tree is another one"
    assert report.roots["sncp"].tree_id == other.roots["sncp"].tree_id


@pytest.mark.parametrize("other", [Compare(force=True), Compare(ignore_ctime=True)])
def test_what_was_looked_for_otherwise_is_not_used(machine: Machine, other: Compare) -> None:
    ahead = machine.look(machine.open(), excludes=Excludes(("*.md",)))
    assert not ahead.fits(NOTHING_EXCLUDED, BY_ALL)
    assert not machine.look(machine.open()).fits(NOTHING_EXCLUDED, other)


def test_a_snapshot_that_is_gone_is_expected_once(machine: Machine) -> None:
    machine.back_up(machine.open())
    first = machine.open().snapshots()[0]
    assert len(machine.open().expected()) == 2
    machine.store.delete(f"repository/snapshots/{first.id}")
    repository = machine.open()
    assert len(repository.expected()) == 2
    assert [found.id for found in repository.snapshots()] != [first.id]
    assert len(machine.open().expected()) == 1


def test_a_tree_that_this_machine_does_not_have_is_left_to_the_scan(machine: Machine) -> None:
    for path in (machine.kit.cache_dir / machine.open().id[:16] / "trees").rglob("*-*"):
        path.unlink()
    repository = machine.open()
    snapshot = repository.expected()[-1]
    asked = machine.store.asked
    ahead = look_ahead(
        repository,
        machine.source,
        excludes=NOTHING_EXCLUDED,
        compare=BY_ALL,
        former=snapshot.tree,
        go_on=lambda: True,
    )
    assert ahead.folders == {}
    assert machine.store.asked == asked


def test_without_a_cache_nothing_is_expected(machine: Machine) -> None:
    machine.kit.cache_dir /= "new"
    assert machine.open().expected() == ()
    with pytest.raises(IndexError):
        machine.look(machine.open())


def test_an_unreachable_store_changes_nothing_of_what_is_expected(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = machine.open()

    def gone(*_: Any, **__: Any) -> Any:
        raise StoreUnreachable("gone", hint="")

    monkeypatch.setattr(machine.store, "get", gone)
    monkeypatch.setattr(machine.store, "list", gone)
    assert len(repository.expected()) == 1

"""Folders that rest are neither read nor compared; whatever changes in one of them is seen.

The oracle is a scan that remembers nothing: both must write the same tree.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.repository.backup.archive import WriteReport
from drkit.repository.backup.look import Compare, Looker
from drkit.repository.cache.resting import facts_of
from drkit.sources.interface import Excludes
from drkit.stores.memory import MemoryStore


class Machine:
    """One store, and a source that is backed up with and without a memory."""

    def __init__(self, kit: ModuleType, folder: Path) -> None:
        self.store = MemoryStore("gcs")
        self.kit = kit.Kit([self.store], cache_dir=folder / "cache").init()
        self.source = kit.make_odd_tree(folder / "source")

    def back_up(self, *, remembers: bool = True, **options: Any) -> WriteReport:
        repository = self.kit.open(remembers=remembers)
        return self.kit.backup(self.source, repository=repository, **options)


@pytest.fixture
def machine(kit: ModuleType, tmp_path: Path) -> Machine:
    """Everything rests: it was stored, then found to be the same."""
    made = Machine(kit, tmp_path)
    made.back_up()
    made.back_up()
    return made


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The former trees that are read."""
    found: list[Any] = []
    real = Looker._former_entries

    def watched(self: Looker, former: Any, looked: Any) -> Any:
        found.append(former)
        return real(self, former, looked)

    monkeypatch.setattr(Looker, "_former_entries", watched)
    return found


def test_what_rests_is_not_compared_and_counts(machine: Machine, compared: list[Any]) -> None:
    plain = machine.back_up(remembers=False)
    assert compared
    compared.clear()
    report = machine.back_up()
    assert compared == []
    assert report.roots["sncp"] == plain.roots["sncp"]
    assert (report.files_unmodified, report.files_new, report.files_changed) == (
        plain.files_unmodified,
        0,
        0,
    )
    assert machine.kit.warnings == []


def test_a_folder_rests_as_soon_as_it_is_stored(
    kit: ModuleType, tmp_path: Path, compared: list[Any]
) -> None:
    machine = Machine(kit, tmp_path)
    machine.back_up()
    compared.clear()
    assert machine.back_up().files_new == 0
    assert compared == []
    (machine.source / "notes" / "003.md").write_text("new")
    assert machine.back_up().files_changed == 1
    compared.clear()
    machine.back_up()
    assert compared == []


def test_a_folder_whose_files_changed_before_they_were_read_does_not_rest(
    machine: Machine, compared: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = machine.source / "notes" / "003.md"
    target.write_text("new")
    real = Looker.look

    def look(self: Looker, path: bytes, *rest: Any, **options: Any) -> Any:
        found = real(self, path, *rest, **options)
        if path.endswith(b"/notes"):
            target.chmod(0o640)
            target.chmod(0o600)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Looker, "look", look)
        machine.back_up()
    repository = machine.kit.open()
    snapshot = repository.snapshots()[-1].snapshot
    assert repository.resting
    kept = repository.resting.load(os.fsencode(machine.source.resolve()))
    assert repository.find_node(snapshot, "/sncp/notes").subtree not in kept
    assert repository.find_node(snapshot, "/sncp/notes/deep").subtree in kept
    compared.clear()
    report = machine.back_up()
    assert [former["name"] for former in compared if former.get("name")] == ["notes"]
    again = machine.back_up(remembers=False)
    assert report.roots["sncp"].tree_id == again.roots["sncp"].tree_id


def test_of_a_folder_in_which_little_changed_only_that_is_compared(
    machine: Machine, compared: list[Any]
) -> None:
    notes = machine.source / "notes"
    before = machine.back_up().roots["sncp"]
    (notes / "003.md").write_text("new")
    (notes / "added").write_text("added")
    (notes / "001.md").unlink()
    (notes / "deep" / "one more").mkdir()
    compared.clear()
    report = machine.back_up()
    assert not any(compared)  # the new folder has no former tree
    assert (report.files_new, report.files_changed) == (1, 1)
    assert report.files_unmodified == before.files - 2
    again = machine.back_up(remembers=False)
    assert report.roots["sncp"].tree_id == again.roots["sncp"].tree_id
    assert report.roots["sncp"].bytes == again.roots["sncp"].bytes


def test_a_folder_with_names_that_are_escaped_is_compared_whole(
    machine: Machine, compared: list[Any]
) -> None:
    (machine.source / "notes" / 'a "name"').write_text("odd")
    machine.back_up()
    (machine.source / "notes" / "003.md").write_text("new")
    compared.clear()
    report = machine.back_up()
    assert [former["name"] for former in compared] == ["notes"]
    again = machine.back_up(remembers=False)
    assert report.roots["sncp"].tree_id == again.roots["sncp"].tree_id


def kept_blobs(machine: Machine, path: str) -> list[str]:
    """What the memory says that the files of a folder hold."""
    repository = machine.kit.open()
    node = repository.find_node(repository.snapshots()[-1].snapshot, path)
    kept = repository.resting.load(os.fsencode(machine.source.resolve()))[node.subtree]
    ids = bytes(kept.blobs).hex()
    return sorted(ids[at : at + 64] for at in range(0, len(ids), 64))


def test_what_is_remembered_of_blobs_is_what_the_tree_holds_whatever_came_and_went(
    machine: Machine,
) -> None:
    twins = machine.source / "twins"
    twins.mkdir()
    for name in ("a", "b", "c", "empty"):
        (twins / name).write_text("" if name == "empty" else "the same")
    machine.back_up()
    for change in (
        lambda: (twins / "a").write_text("another"),
        lambda: (twins / "b").unlink(),
        lambda: (twins / "d").write_text("the same"),
        lambda: (twins / "empty").write_text("no more"),
        lambda: (twins / "c").chmod(0o640),
    ):
        change()
        machine.back_up()
        repository = machine.kit.open()
        node = repository.find_node(repository.snapshots()[-1].snapshot, "/sncp/twins")
        held = [blob.hex() for file in repository.load_tree(node.subtree) for blob in file.content]
        assert kept_blobs(machine, "/sncp/twins") == sorted(held)


def test_what_was_lost_is_read_again_in_a_folder_in_which_something_else_changed(
    machine: Machine,
) -> None:
    (machine.source / "notes" / "003.md").write_text("new")
    packs = [info.name for info in machine.store.list("repository/data/")]
    largest = max(packs, key=lambda name: machine.store.stat(name).size_bytes)
    machine.store.delete(largest)
    report = machine.back_up()
    assert report.files_changed > 1
    again = machine.back_up(remembers=False)
    assert again.files_changed == 0
    assert report.roots["sncp"].tree_id == again.roots["sncp"].tree_id


def test_a_folder_that_cannot_be_read_any_more_is_not_kept_in_one_that_rests(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Looker._names

    def names(self: Looker, path: bytes, status: os.stat_result, found: Any) -> Any:
        if path.endswith(b"/deep"):
            found.readable = False
            found.unreadable.append((path, PermissionError(13, "Permission denied")))
            return {}
        return real(self, path, status, found)

    with monkeypatch.context() as patched:
        patched.setattr(Looker, "_names", names)
        report = machine.back_up()
        again = machine.back_up(remembers=False)
    assert [path.rpartition("/")[2] for path, _ in report.roots["sncp"].unreadable] == ["deep"]
    assert report.roots["sncp"].tree_id == again.roots["sncp"].tree_id
    repository = machine.kit.open()
    node = repository.find_node(repository.snapshots()[-1].snapshot, "/sncp/notes")
    assert b"deep" not in {entry.name for entry in repository.load_tree(node.subtree)}
    assert not machine.back_up().roots["sncp"].unreadable


def rewrite(path: Path) -> None:
    """Other content of the same size, with the old times."""
    status = path.stat()
    path.write_bytes(b"X" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def moved_aside(path: Path) -> None:
    path.rename(path.with_name("moved"))


def relinked(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


CHANGES: dict[str, Callable[[Path], object]] = {
    "content alone": lambda root: rewrite(root / "notes" / "003.md"),
    "content in a folder below": lambda root: rewrite(root / "notes" / "deep" / "noise.bin"),
    "mode": lambda root: (root / "notes" / "003.md").chmod(0o640),
    "times": lambda root: os.utime(root / "notes" / "003.md", ns=(1, 1)),
    "a new file": lambda root: (root / "notes" / "new").write_text("new"),
    "a new empty folder": lambda root: (root / "notes" / "new").mkdir(),
    "a file is gone": lambda root: (root / "notes" / "003.md").unlink(),
    "a folder is gone": lambda root: shutil.rmtree(root / "notes" / "deep"),
    "another name": lambda root: moved_aside(root / "notes" / "003.md"),
    "another name of a folder": lambda root: moved_aside(root / "notes" / "deep"),
    "a file is a folder now": lambda root: replaced_by_folder(root / "notes" / "003.md"),
    "a link is another one": lambda root: relinked(root / "notes" / "003.md"),
    "a second link": lambda root: os.link(root / "notes" / "003.md", root / "second"),
    "an attribute": lambda root: os.setxattr(root / "notes" / "003.md", "user.a", b"b"),
    "the folder's own mode": lambda root: (root / "notes").chmod(0o710),
    "the folder's own time": lambda root: os.utime(root / "notes", ns=(1, 1)),
    "a pipe": lambda root: os.mkfifo(root / "notes" / "pipe"),
    "nothing": lambda root: None,
}


@pytest.mark.parametrize("what", CHANGES)
def test_whatever_changes_in_a_folder_that_rests_is_seen(machine: Machine, what: str) -> None:
    before = machine.back_up().roots["sncp"].tree_id
    try:
        CHANGES[what](machine.source)
    except OSError as error:
        pytest.skip(f"not on this file system: {error.strerror}")
    found = machine.back_up().roots["sncp"]
    assert (found.tree_id == before) == (what == "nothing")
    again = machine.back_up(remembers=False).roots["sncp"]
    assert (found.tree_id, found.files, found.bytes) == (again.tree_id, again.files, again.bytes)
    assert machine.back_up().roots["sncp"].tree_id == found.tree_id


def test_in_random_sequences_a_scan_with_a_memory_writes_the_same_trees(machine: Machine) -> None:
    rng = random.Random(7)
    for number in range(25):
        for _ in range(rng.randrange(3)):
            files = sorted(path for path in machine.source.rglob("*.md") if path.is_file())
            target = rng.choice(files)
            choice = rng.randrange(4)
            if choice == 0:
                rewrite(target)
            elif choice == 1:
                target.with_name(f"{number}.md").write_text(f"made in {number}")
            elif choice == 2 and len(files) > 3:
                target.unlink()
            else:
                target.chmod(rng.choice((0o600, 0o644, 0o640)))
        found = machine.back_up().roots["sncp"]
        again = machine.back_up(remembers=False).roots["sncp"]
        assert (found.tree_id, found.files, found.bytes) == (
            again.tree_id,
            again.files,
            again.bytes,
        ), number
    assert machine.kit.warnings == []


def test_what_the_repository_has_lost_is_read_again(machine: Machine) -> None:
    packs = [info.name for info in machine.store.list("repository/data/")]
    largest = max(packs, key=lambda name: machine.store.stat(name).size_bytes)
    machine.store.delete(largest)
    report = machine.back_up()
    assert report.files_changed > 0
    assert report.bytes_added > 100_000
    again = machine.back_up(remembers=False)
    assert report.roots["sncp"].tree_id == again.roots["sncp"].tree_id


def test_what_rests_is_forgotten_with_what_folders_held(machine: Machine) -> None:
    assert [path for path in machine.kit.cache_dir.rglob("resting/*/*") if path.is_file()]
    machine.kit.open().drop_cached()
    assert not [path for path in machine.kit.cache_dir.rglob("resting/*/*") if path.is_file()]


def test_force_reads_every_file_though_all_rests(machine: Machine) -> None:
    assert machine.back_up(compare=Compare(force=True)).files_unmodified == 0


def test_an_exclude_that_is_new_takes_out_what_rests(machine: Machine) -> None:
    whole = machine.back_up().roots["sncp"].files
    report = machine.back_up(excludes=Excludes(("003.md",))).roots["sncp"]
    assert report.files == whole - 1
    assert machine.back_up().roots["sncp"].files == whole


@pytest.mark.parametrize("damage", ["cut short", "a flipped bit", "another root's"])
def test_a_memory_that_is_damaged_is_as_none(
    machine: Machine, compared: list[Any], damage: str
) -> None:
    (kept,) = [path for path in machine.kit.cache_dir.rglob("resting/*/*") if path.is_file()]
    content = bytearray(kept.read_bytes())
    if damage == "another root's":
        moved = machine.source.with_name("elsewhere")
        machine.source.rename(moved)
        machine.source = moved
    elif damage == "cut short":
        kept.write_bytes(content[:-1])
    else:
        content[len(content) // 2] ^= 1
        kept.write_bytes(content)
    compared.clear()
    report = machine.back_up()
    assert compared
    again = machine.back_up(remembers=False)
    assert report.roots["sncp"].tree_id == again.roots["sncp"].tree_id


def test_the_digest_tells_names_apart_from_what_follows_them(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_text("")
    about = {name: os.lstat(tmp_path / name) for name in ("a", "b")}
    folder, file = about["a"], about["b"]

    def digest_of(names: dict[bytes, os.stat_result]) -> bytes:
        found = facts_of(names)
        assert found
        return found.digest()

    seen = [
        digest_of({b"a": folder, b"b": file}),
        digest_of({b"a": file, b"b": folder}),
        digest_of({b"a": folder}),
        digest_of({b"b": file}),
        digest_of({b"a/": folder, b"b": file}),
        digest_of({}),
    ]
    assert len(set(seen)) == len(seen)
    assert digest_of({b"b": file, b"a": folder}) == seen[0]

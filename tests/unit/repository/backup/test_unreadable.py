"""Files that cannot be read, change or vanish: the rest is kept, and they are named."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.repository.backup.scan import Compare
from drkit.sources.interface import Excludes
from drkit.stores.memory import MemoryStore


@pytest.fixture
def alone(kit: ModuleType) -> Any:
    return kit.Kit([MemoryStore("gcs")]).init()


@pytest.fixture
def source(kit: ModuleType, tmp_path: Path) -> Path:
    return kit.make_plain_tree(tmp_path / "source")


def tags(kit: Any) -> tuple[str, ...]:
    repository = kit.open()
    return kit.latest(repository).snapshot.tags


def restored(kit: Any, into: Path) -> set[str]:
    kit.restore(into)
    return {str(path.relative_to(into)) for path in into.rglob("*")}


def on_read(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[Path], None]) -> list[int]:
    """Calls `act` each time a file of this name was opened for reading; how often is counted."""
    real_open, calls = os.open, [0]

    def opened(path: Any, *arguments: Any, **options: Any) -> int:
        handle = real_open(path, *arguments, **options)
        if os.fsencode(path).endswith(b"/" + name.encode()):
            calls[0] += 1
            monkeypatch.setattr(os, "open", real_open)
            act(Path(os.fsdecode(path)))
            monkeypatch.setattr(os, "open", opened)
        return handle

    monkeypatch.setattr(os, "open", opened)
    return calls


def test_a_file_that_vanishes_before_it_is_read_is_named(
    alone: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def opened(path: Any, *arguments: Any, **options: Any) -> int:
        if os.fsencode(path).endswith(b"/003.md"):
            (source / "notes" / "003.md").unlink()
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", opened)
    report = alone.backup(source)
    ((path, why),) = report.roots["sncp"].unreadable
    assert path.endswith("notes/003.md")
    assert "No such file" in why
    monkeypatch.undo()
    assert "incomplete" in tags(alone)
    names = restored(alone, tmp_path / "out")
    assert "notes/003.md" not in names
    assert "notes/004.md" in names


def test_a_whole_point_is_not_tagged_incomplete(alone: Any, source: Path) -> None:
    report = alone.backup(source)
    assert report.roots["sncp"].whole
    assert tags(alone) == ("drkit",)


def test_a_folder_that_cannot_be_listed_is_named_and_left_out(
    alone: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def refused(path: Any, *arguments: Any, **options: Any) -> int:
        if os.fsencode(path).endswith(b"/deep"):
            raise PermissionError(13, "Permission denied", path)
        return real_open(path, *arguments, **options)

    alone.backup(source)
    monkeypatch.setattr(os, "open", refused)
    report = alone.backup(source)
    monkeypatch.undo()
    assert [path for path, _ in report.roots["sncp"].unreadable] == [str(source / "notes" / "deep")]
    assert not any("deep" in name for name in restored(alone, tmp_path / "out"))


def test_a_log_that_grows_while_it_is_read_is_kept_as_it_was_and_named(
    alone: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "app.log").write_bytes(b"one line\n" * 100)
    real_pread = os.pread

    def growing(handle: int, *arguments: Any) -> bytes:
        content = real_pread(handle, *arguments)
        if os.readlink(f"/proc/self/fd/{handle}").endswith("/app.log"):
            with (source / "app.log").open("ab") as file:
                file.write(b"another line\n")
        return content

    monkeypatch.setattr(os, "pread", growing)
    report = alone.backup(source)
    monkeypatch.undo()
    root = report.roots["sncp"]
    assert root.unreadable == ()
    ((path, why),) = root.changing
    assert path == str(source / "app.log")
    assert "changed while it was read" in why
    assert "incomplete" in tags(alone)
    alone.restore(tmp_path / "out")
    kept = (tmp_path / "out" / "app.log").read_bytes()
    assert kept
    assert (source / "app.log").read_bytes().startswith(kept)
    again = alone.backup(source)
    assert again.files_changed == 1, "the times of before make the next backup read it again"
    assert again.roots["sncp"].whole


def test_a_file_that_rests_at_the_second_look_is_whole(
    alone: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "note").write_bytes(b"old")

    def rewrite(path: Path) -> None:
        path.write_bytes(b"longer than before")

    calls = on_read(monkeypatch, "note", rewrite)
    report = alone.backup(source)
    monkeypatch.undo()
    assert calls == [1]
    assert report.roots["sncp"].whole
    alone.restore(tmp_path / "out")
    assert (tmp_path / "out" / "note").read_bytes() == b"longer than before"


def test_a_large_file_that_shrinks_while_it_is_read_is_named(
    alone: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_preadv = os.preadv

    def shrinking(handle: int, *arguments: Any) -> int:
        if os.readlink(f"/proc/self/fd/{handle}").endswith("/large.bin"):
            os.truncate(source / "large.bin", 1 << 20)
        return real_preadv(handle, *arguments)

    monkeypatch.setattr(os, "preadv", shrinking)
    ((path, _why),) = alone.backup(source).roots["sncp"].changing
    assert path == str(source / "large.bin")


def test_a_file_that_became_a_pipe_is_not_waited_for(
    alone: Any, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def swapped(path: Any, *arguments: Any, **options: Any) -> int:
        if os.fsencode(path).endswith(b"/003.md"):
            (source / "notes" / "003.md").unlink()
            os.mkfifo(source / "notes" / "003.md")
        return real_open(path, *arguments, **options)

    monkeypatch.setattr(os, "open", swapped)
    ((path, why),) = alone.backup(source).roots["sncp"].unreadable
    assert path.endswith("003.md")
    assert "kind" in why


def test_what_the_system_refuses_is_named_and_the_rest_is_kept(alone: Any, source: Path) -> None:
    (source / "notes" / "003.md").chmod(0)
    (source / "notes" / "deep").chmod(0)
    reader, writer = os.pipe()
    child = os.fork()  # root reads everything, so a child gives up what lets it
    if not child:
        status = 1
        try:
            give_up_capabilities()
            report = alone.backup(source)
            found = sorted(path for path, _ in report.roots["sncp"].unreadable)
            os.write(writer, "\n".join([str(report.files_new), *found]).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as answer:
        files, *found = answer.read().splitlines()
    assert os.waitpid(child, 0)[1] == 0
    (source / "notes" / "deep").chmod(0o700)
    assert found == [str(source / "notes" / "003.md"), str(source / "notes" / "deep")]
    assert int(files) == 13


def give_up_capabilities() -> None:
    """capset(2) with nothing in it: what a file's mode forbids is forbidden to root, too."""
    header = struct.pack("Ii", 0x20080522, 0)
    ctypes.CDLL(None, use_errno=True).capset(header, struct.pack("6I", 0, 0, 0, 0, 0, 0))


def test_a_drkitignore_rules_its_own_folder_and_below(
    alone: Any, source: Path, tmp_path: Path
) -> None:
    (source / "notes" / ".drkitignore").write_text("# drafts\n*.bin\n/000.md\n*1.md\n!001.md\n")
    (source / "notes" / "deep" / "000.md").write_text("kept: the pattern begins at notes")
    report = alone.backup(source, excludes=Excludes(ignore_files=True))
    assert report.roots["sncp"].whole
    names = restored(alone, tmp_path / "out")
    assert "notes/deep/noise.bin" not in names
    assert "notes/000.md" not in names
    assert "notes/011.md" not in names
    assert {"notes/.drkitignore", "notes/deep/000.md", "large.bin", "notes/001.md"} <= names


@pytest.mark.parametrize("text", ["[a-", "a\\"])
def test_a_drkitignore_that_is_wrong_is_named_and_nothing_is_left_out(
    alone: Any, source: Path, tmp_path: Path, text: str
) -> None:
    (source / "notes" / ".drkitignore").write_text(f"*.md\n{text}\n")
    report = alone.backup(source, excludes=Excludes(ignore_files=True))
    ((path, _why),) = report.roots["sncp"].unreadable
    assert path == str(source / "notes" / ".drkitignore")
    assert "notes/001.md" in restored(alone, tmp_path / "out")


def test_another_file_system_stays_an_empty_folder(
    alone: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drkit.repository.backup.excludes import Rules

    inner = (source / "notes" / "deep").stat().st_ino
    monkeypatch.setattr(Rules, "enters", lambda self, status: status.st_ino != inner)
    alone.backup(source, excludes=Excludes(one_file_system=True))
    assert {name for name in restored(alone, tmp_path / "out") if "deep" in name} == {"notes/deep"}


@pytest.mark.parametrize(
    ("compare", "read_again"),
    [
        (Compare(), 1),
        (Compare(ignore_ctime=True), 0),
        (Compare(ignore_ctime=True, force=True), 15),
    ],
)
def test_what_counts_as_unchanged_is_told_as_restic_is_told(
    alone: Any, source: Path, compare: Compare, read_again: int
) -> None:
    alone.backup(source)
    target = source / "notes" / "003.md"
    target.chmod(0o600 if target.stat().st_mode & 0o077 else 0o640)
    report = alone.backup(source, compare=compare)
    assert report.files_changed == read_again
    assert report.files_new == 0


def test_another_inode_is_a_change_unless_it_is_told_not_to_be(alone: Any, source: Path) -> None:
    alone.backup(source)
    target = source / "notes" / "003.md"
    status = target.stat()
    copy = source / "notes" / "copy"
    copy.write_bytes(target.read_bytes())
    copy.replace(target)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    ignoring = Compare(ignore_inode=True, ignore_ctime=True)
    assert alone.backup(source, compare=ignoring).files_changed == 0
    copy.write_bytes(target.read_bytes())
    copy.replace(target)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert alone.backup(source).files_changed == 1

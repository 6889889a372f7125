"""Owners, times, links, attributes and special files: what restic restores and compares of them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.clock import SystemClock
from drkit.repository.restore.compare import compare_tree
from drkit.repository.restore.restore import restore_tree
from drkit.stores.folder import FolderStore

Run = Callable[..., str]
# name, kind, mode, owner, links, size, time of change of content, target of a link, device
PRINTED = r"%P|%y|%m|%U:%G|%n|%s|%T@|%l\n"


@pytest.fixture
def alone(kit: ModuleType, tmp_path: Path) -> Any:
    return kit.Kit([FolderStore("gcs", tmp_path / "gcs")], SystemClock()).init()


@pytest.fixture
def run(restic: Path, kit: ModuleType, tmp_path: Path) -> Run:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [str(restic), "-r", str(tmp_path / "gcs" / "repository"), "--no-cache", *arguments],
            env={**os.environ, "RESTIC_PASSWORD": kit.PASSWORD},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def odd(kit: ModuleType, tmp_path: Path) -> Path:
    """The odd tree, with what only root can make where root runs this."""
    source: Path = kit.make_odd_tree(tmp_path / "source")
    kinds = source / "kinds"
    (kinds / "three").hardlink_to(kinds / "one")
    (source / "notes" / "again").hardlink_to(kinds / "one")
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.open(kinds, os.O_RDONLY)  # a socket's path must be short
        try:
            sock.bind(f"/proc/self/fd/{here}/sock")
        finally:
            os.close(here)
    if os.geteuid() == 0:
        os.chown(kinds / "two", 12345, 54321)
        os.chown(kinds / "link", 1, 2, follow_symlinks=False)
        os.chown(source / "notes", 33, 33)
        os.mknod(kinds / "null", 0o020666, os.makedev(1, 3))
        os.mknod(kinds / "loop", 0o060660, os.makedev(7, 200))
        os.chmod(kinds / "setuid", 0o4755)
    for path in (kinds / "one", source / "notes", source / "large.bin"):
        os.setxattr(path, "user.drkit.bytes", bytes(range(256)))
        os.setxattr(path, "user.drkit.empty", b"")
    os.utime(kinds / "sticky", ns=(1, 4_102_444_800_123_456_789))
    os.utime(kinds / "fifo", ns=(5, -1_000_000_001))
    return source


def printed(root: Path) -> set[str]:
    found = subprocess.run(["find", str(root), "-printf", PRINTED], capture_output=True, check=True)
    # a folder's size and links are the file system's affair
    lines = (os.fsdecode(line) for line in found.stdout.split(b"\n") if line)
    return {re.sub(r"\|d\|(.*?)\|\d+\|\d+\|", r"|d|\1|", line) for line in lines}


def attributes(root: Path) -> dict[str, dict[str, bytes]]:
    return {
        str(path.relative_to(root)): {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        }
        for path in (root, *root.rglob("*"))
    }


def test_restic_restores_everything_that_find_prints(
    run: Run, kit: ModuleType, alone: Any, odd: Path, tmp_path: Path
) -> None:
    alone.backup(odd)
    run("restore", "latest", "--target", str(tmp_path / "out"))
    restored = tmp_path / "out" / "sncp"
    before = (odd / "kinds").stat()
    (odd / "kinds" / "sock").unlink()  # what restic leaves out, too
    os.utime(odd / "kinds", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert printed(restored) == printed(odd)
    assert attributes(restored) == attributes(odd)
    assert kit.listing(restored) == kit.listing(odd)
    names = ("kinds/one", "kinds/two", "kinds/three", "notes/again")
    assert len({(restored / name).stat().st_ino for name in names}) == 1, "one file by four names"
    sparse = restored / "kinds" / "sparse"
    assert sparse.stat().st_size == (3 << 20) + 3


def test_restic_and_drkit_write_the_same_node_of_everything(
    run: Run, kit: ModuleType, alone: Any, odd: Path
) -> None:
    alone.backup(odd)
    repository = alone.open()
    ours = nodes(repository, repository.find_node(alone.latest(repository).snapshot, "/sncp"))
    run("backup", str(odd))
    repository = alone.open()
    theirs = nodes(repository, repository.find_node(alone.latest(repository).snapshot, str(odd)))
    assert ours.keys() == theirs.keys()
    for path, node in ours.items():
        assert node == theirs[path], path


def nodes(repository: Any, top: Any, path: str = "") -> dict[str, tuple[object, ...]]:
    """What restic's own backup says of each path, but for content's chunks and device ids."""
    found: dict[str, tuple[object, ...]] = {}
    for node in repository.load_tree(top.subtree):
        name = f"{path}/{os.fsdecode(node.name)}"
        found[name] = (
            *(node.type, node.mode, node.mtime_ns, node.atime_ns, node.ctime_ns),
            *(node.uid, node.gid, node.user, node.group, node.inode, node.links, node.size),
            *(node.link_target, node.device, sorted(node.xattrs)),
        )
        if node.subtree:
            found.update(nodes(repository, node, name))
    return found


def test_restic_diff_of_two_points_names_what_changed_and_nothing_else(
    run: Run, kit: ModuleType, alone: Any, odd: Path
) -> None:
    alone.backup(odd)
    (odd / "notes" / "003.md").write_text("changed")
    (odd / "notes" / "new").write_text("new")
    (odd / "notes" / "004.md").unlink()
    alone.backup(odd)
    first, second = (listed.id for listed in alone.open().snapshots())
    lines = run("diff", first, second).splitlines()
    told = {line for line in lines if line[:1] in "+-MUTC?" and "/sncp" in line}
    assert {re.sub(r"\s+", " ", line) for line in told} == {
        "M /sncp/notes/003.md",
        "+ /sncp/notes/new",
        "- /sncp/notes/004.md",
    }


def test_a_comparison_sees_owners_attributes_and_links_that_are_not_as_they_were(
    kit: ModuleType, alone: Any, odd: Path, tmp_path: Path
) -> None:
    alone.backup(odd)
    repository = alone.open()
    node = repository.find_node(alone.latest(repository).snapshot, "/sncp")
    out = tmp_path / "out"
    restore_tree(repository, node, out, alone.emit)
    assert compare_tree(repository, node.subtree, out, alone.emit) == ()
    os.setxattr(out / "large.bin", "user.drkit.bytes", b"other")
    content = (out / "kinds" / "three").read_bytes()
    status = (out / "kinds" / "three").stat()
    (out / "kinds" / "three").unlink()
    (out / "kinds" / "three").write_bytes(content)
    (out / "kinds" / "three").chmod(status.st_mode & 0o7777)
    for name, value in (("user.drkit.bytes", bytes(range(256))), ("user.drkit.empty", b"")):
        os.setxattr(out / "kinds" / "three", name, value)
    os.setxattr(out / "kinds" / "three", "user.drkit.test", b"\x00value\xff")
    expected = {"large.bin": "attribute user.drkit.bytes", "kinds/three": "no hard link"}
    if os.geteuid() == 0:
        os.chown(out / "kinds" / "three", status.st_uid, status.st_gid)
        os.chown(out / "notes" / "001.md", 7, 7)
        expected["notes/001.md"] = "belongs to 7:7"
    os.utime(out / "kinds" / "three", ns=(status.st_atime_ns, status.st_mtime_ns))
    folder = (odd / "kinds").stat()
    os.utime(out / "kinds", ns=(folder.st_atime_ns, folder.st_mtime_ns))
    found = {
        each.path: each.what for each in compare_tree(repository, node.subtree, out, alone.emit)
    }
    assert found.keys() == expected.keys()
    assert all(words in found[path] for path, words in expected.items())

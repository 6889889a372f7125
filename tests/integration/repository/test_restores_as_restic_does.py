"""The same snapshot restored by stock restic and by drkit gives the same tree, to the last bit."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drkit.clock import SystemClock
from drkit.operations.points.restore_snapshot import Patterned, restore_snapshot
from drkit.repository.restore.restore import RestoreOptions
from drkit.repository.trees.select import choose
from drkit.stores.folder import FolderStore

EVERYTHING = "%P %y %m %U %G %s %T@ %n %l\\n"


@pytest.fixture
def source(kit: ModuleType, tmp_path: Path) -> Path:
    """What a careless restore loses: owners, devices, attributes, links between folders."""
    source = kit.make_odd_tree(tmp_path / "source")
    more = source / "more"
    (more / "deep" / "deeper").mkdir(parents=True)
    (more / "deep" / "linked").hardlink_to(source / "kinds" / "one")
    (more / "deep" / "deeper" / "linked too").hardlink_to(source / "kinds" / "one")
    if os.geteuid() == 0:
        owned = more / "owned"
        owned.write_bytes(b"x" * 1000)
        os.chown(owned, 12345, 54321)
        os.chmod(owned, 0o4750)
        (more / "link").symlink_to("owned")
        os.chown(more / "link", 77, 88, follow_symlinks=False)
        os.chown(more / "deep", 99, 99)
        with contextlib.suppress(PermissionError):
            os.mknod(more / "null", stat.S_IFCHR | 0o640, os.makedev(1, 3))
            os.mknod(more / "disk", stat.S_IFBLK | 0o600, os.makedev(7, 200))
    for path in (more, more / "deep", source / "large.bin"):
        with contextlib.suppress(OSError):
            os.setxattr(path, "user.drkit", os.urandom(40))
            os.setxattr(path, "user.empty", b"")
    os.utime(more / "deep", ns=(5, 1_234_567_890_123_456_789))
    os.utime(more, ns=(7, 999_999_999))
    return source


def restic_restore(restic: Path, kit: ModuleType, store: Path, *arguments: str) -> None:
    subprocess.run(
        [str(restic), "-r", str(store / "repository"), "--no-cache", "--no-lock", *arguments],
        env={**os.environ, "RESTIC_PASSWORD": kit.PASSWORD},
        check=True,
        capture_output=True,
    )


def told(root: Path) -> list[str]:
    """Every path with kind, mode, owners, size, time of change, links and target."""
    found = subprocess.run(
        ["find", ".", "-mindepth", "1", "-not", "-type", "d", "-printf", EVERYTHING],
        cwd=root,
        capture_output=True,
        check=True,
    ).stdout
    folders = subprocess.run(
        ["find", ".", "-type", "d", "-printf", "%P %m %U %G %T@\\n"],
        cwd=root,
        capture_output=True,
        check=True,
    ).stdout
    return sorted((found + folders).decode(errors="surrogateescape").split("\n"))


def attributes(root: Path) -> dict[str, dict[str, bytes]]:
    return {
        str(path.relative_to(root)): {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        }
        for path in [root, *root.rglob("*")]
    }


@pytest.mark.parametrize("writer", ["restic", "drkit"])
def test_restic_and_drkit_bring_back_the_same(
    restic: Path, kit: ModuleType, source: Path, tmp_path: Path, writer: str
) -> None:
    alone = kit.Kit([FolderStore("gcs", tmp_path / "gcs")], SystemClock()).init()
    folder = str(source)
    if writer == "drkit":
        alone.backup(source)
        folder = "/sncp"
    else:
        restic_restore(restic, kit, tmp_path / "gcs", "backup", str(source))
    restic_restore(
        restic, kit, tmp_path / "gcs", "restore", "latest", "--target", str(tmp_path / "by-restic")
    )
    repository = alone.open()
    selected = choose(repository.snapshots(), f"latest:{folder}")
    _, (proof,) = restore_snapshot(
        repository,
        selected,
        tmp_path / "by-drkit",
        alone.emit,
        options=RestoreOptions(),
        verify=True,
    )
    assert proof.passed, proof
    by_restic = tmp_path / "by-restic" / folder.strip("/")
    assert told(tmp_path / "by-drkit") == told(by_restic) == told(source)
    assert attributes(tmp_path / "by-drkit") == attributes(by_restic) == attributes(source)
    difference = subprocess.run(
        [
            *("diff", "-r", "--no-dereference", "-x", "fifo", "-x", "null", "-x", "disk"),
            *(str(source), str(tmp_path / "by-drkit")),
        ],
        capture_output=True,
    )
    assert (difference.returncode, difference.stdout) == (0, b"")
    assert kit.listing(tmp_path / "by-drkit") == kit.listing(source)


@pytest.mark.parametrize(
    "arguments",
    [
        {"include": ["*.md"]},
        {"include": ["/notes/deep"]},
        {"exclude": ["odd", "*.bin"]},
        {"exclude": ["/notes/**/noise*"]},
        {"iinclude": ["NOTES"]},
        {"iexclude": ["*.MD"]},
    ],
    ids=str,
)
def test_patterns_choose_what_they_choose_for_restic(
    restic: Path, kit: ModuleType, tmp_path: Path, arguments: dict[str, list[str]]
) -> None:
    if "0.14" in subprocess.run([restic, "version"], capture_output=True, text=True).stdout:
        folder, wanted = (
            "",
            {  # it knows no SNAPSHOT:FOLDER; patterns begin at the root there
                key: [p.replace("/notes", "/sncp/notes") for p in patterns]
                for key, patterns in arguments.items()
            },
        )
    else:
        folder, wanted = ":/sncp", arguments
    alone = kit.Kit([FolderStore("gcs", tmp_path / "gcs")], SystemClock()).init()
    alone.backup(kit.make_odd_tree(tmp_path / "source"))
    options = [f"--{key}={pattern}" for key, patterns in wanted.items() for pattern in patterns]
    restic_restore(
        restic,
        kit,
        tmp_path / "gcs",
        *("restore", f"latest{folder}", "--target", str(tmp_path / "by-restic"), *options),
    )
    repository = alone.open()
    restore_snapshot(
        repository,
        choose(repository.snapshots(), "latest:/sncp"),
        tmp_path / "by-drkit",
        alone.emit,
        options=RestoreOptions(),
        patterns=Patterned(**arguments),
    )

    def files(root: Path) -> set[Any]:
        return {path.relative_to(root) for path in root.rglob("*") if not path.is_dir()}

    by_restic = tmp_path / "by-restic" / ("" if folder else "sncp")
    assert files(tmp_path / "by-drkit") == files(by_restic)

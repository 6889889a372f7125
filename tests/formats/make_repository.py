"""Makes the golden repository of this version; run once per release, what it made is committed.

    python tests/formats/make_repository.py

The store lands in tests/formats/repository-<version>/store; what it must give back beside it.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import tempfile
from pathlib import Path

import drkit
from drkit.clock import SystemClock
from drkit.events import discard
from drkit.repository.backup.archive import FreshTree, write_point
from drkit.repository.format.keys import ScryptCost
from drkit.repository.repository import init_repository, open_repository
from drkit.stores.folder import FolderStore

PASSWORD = "golden"


def make_source(root: Path) -> None:
    rng = random.Random(20260101)
    (root / "notes").mkdir(parents=True)
    (root / "notes" / "one.md").write_text("# One\n" + "remember this\n" * 200)
    (root / "notes" / "noise.bin").write_bytes(rng.randbytes(3000))
    (root / "notes" / "empty").touch()
    (root / "notes" / 'quote" and \\ and \n').write_text("odd")
    Path(os.fsdecode(os.fsencode(root) + b"/notes/\xff raw")).write_text("not UTF-8")
    (root / "link").symlink_to("notes/one.md")
    (root / "twin").hardlink_to(root / "notes" / "one.md")
    (root / "runs").write_text("#!/bin/sh\n")
    (root / "runs").chmod(0o4750)
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 1_750_000_000_123_456_789 + number), follow_symlinks=False)


def describe(root: Path) -> dict[str, list[object]]:
    """Mode, time in ns, link target and SHA-256 of every path, as JSON can hold them."""
    found: dict[str, list[object]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        digest = None
        if path.is_file() and not path.is_symlink():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        target = os.fsdecode(path.readlink()) if path.is_symlink() else None
        name = ascii(os.fsencode(path.relative_to(root)))
        found[name] = [status.st_mode, status.st_mtime_ns, status.st_nlink, target, digest]
    return found


def main() -> None:
    golden = Path(__file__).parent / f"repository-{drkit.__version__}"
    golden.mkdir()
    stores = [FolderStore("golden", golden / "store")]
    clock = SystemClock()
    cost = ScryptCost(n=16)
    init_repository(stores, PASSWORD, clock=clock, hostname="golden", cost=cost)
    with tempfile.TemporaryDirectory(dir=golden) as folder:
        source = Path(folder) / "source"
        make_source(source)
        repository = open_repository(stores, PASSWORD, clock=clock, emit=discard, hostname="golden")
        write_point(
            repository,
            {"sncp": FreshTree(source)},
            finish=lambda _reports: {"point.json": b"{}"},
            tags=("drkit", "epoch=1"),
            time=clock.now(),
            parent=None,
            min_copies=1,
            emit=discard,
        )
        tree = json.dumps(describe(source), indent=1)
    (golden / "expected.json").write_text(tree + "\n")


if __name__ == "__main__":
    main()

"""A repository for tests: cheap keys, every event kept, points written and read in one line."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drkit.clock import Clock, ManualClock
from drkit.events import Event, Note, Progress
from drkit.repository.backup.ahead import Ahead
from drkit.repository.backup.archive import FormerTree, FreshTree, WriteReport, write_point
from drkit.repository.backup.scan import BY_ALL, Compare
from drkit.repository.format.keys import ScryptCost
from drkit.repository.repository import (
    ListedSnapshot,
    Repository,
    init_repository,
    open_repository,
)
from drkit.repository.restore.restore import RestoreReport, restore_tree
from drkit.sources.interface import Excludes
from drkit.stores.interface import Store

PASSWORD = "a password of tests"
HOSTNAME = "test-host"
CHEAP = ScryptCost(n=16, r=8, p=1)
SOURCE = "sncp"


@dataclass
class Kit:
    """Stores and what is done to them. `events` holds all that was emitted but progress."""

    stores: Sequence[Store]
    clock: Clock = field(default_factory=ManualClock)
    events: list[Event] = field(default_factory=list)
    cache_dir: Path | None = None

    def emit(self, event: Event) -> None:
        if not isinstance(event, Progress):
            self.events.append(event)

    @property
    def warnings(self) -> list[str]:
        return [
            f"{event.subject}: {event.text}"
            for event in self.events
            if isinstance(event, Note) and event.level != "info"
        ]

    def init(self) -> Kit:
        init_repository(self.stores, PASSWORD, clock=self.clock, hostname=HOSTNAME, cost=CHEAP)
        return self

    def open(self, stores: Sequence[Store] | None = None, *, remembers: bool = True) -> Repository:
        return open_repository(
            self.stores if stores is None else stores,
            PASSWORD,
            clock=self.clock,
            emit=self.emit,
            hostname=HOSTNAME,
            cache_dir=self.cache_dir if remembers else None,
        )

    def latest(self, repository: Repository) -> ListedSnapshot:
        return repository.snapshots()[-1]

    def backup(
        self,
        source: Path,
        *,
        repository: Repository | None = None,
        exclude: tuple[str, ...] = (),
        excludes: Excludes | None = None,
        compare: Compare = BY_ALL,
        min_copies: int = 1,
        keep: bool = False,
        ahead: Ahead | None = None,
    ) -> WriteReport:
        """Writes a point with `source` as /sncp, on top of the last one (`keep`: its tree)."""
        opened = repository or self.open()
        snapshots = opened.snapshots()
        parent = snapshots[-1] if snapshots else None
        former = None
        if parent and f"/{SOURCE}" in parent.snapshot.paths:
            former = opened.find_node(parent.snapshot, f"/{SOURCE}")
        root = (
            FormerTree(former)
            if keep and former
            else FreshTree(source, excludes or Excludes(exclude), former, ahead)
        )
        self.clock.sleep(1)
        return write_point(
            opened,
            {SOURCE: root},
            finish=lambda reports: {"point.json": b'{"files": %d}' % reports[SOURCE].files},
            tags=("drkit",),
            time=self.clock.now(),
            parent=parent,
            min_copies=min_copies,
            emit=self.emit,
            compare=compare,
        )

    def restore(self, into: Path, stores: Sequence[Store] | None = None) -> RestoreReport:
        repository = self.open(stores)
        node = repository.find_node(self.latest(repository).snapshot, f"/{SOURCE}")
        return restore_tree(repository, node, into, self.emit)


def make_plain_tree(root: Path, *, files: int = 12, seed: int = 1) -> Path:
    """Text that shrinks, noise that does not, one file of several chunks, an empty one."""
    rng = random.Random(seed)
    (root / "notes" / "deep").mkdir(parents=True)
    for number in range(files):
        text = " ".join(rng.choices(("memory", "vector", "shard", "epoch"), k=400))
        (root / "notes" / f"{number:03}.md").write_text(text + str(number))
    (root / "notes" / "deep" / "noise.bin").write_bytes(rng.randbytes(70_000))
    (root / "large.bin").write_bytes(rng.randbytes(5 << 20))
    (root / "empty").write_bytes(b"")
    return root


def make_odd_tree(root: Path) -> Path:
    """Names, kinds, modes and times that a careless tool loses."""
    make_plain_tree(root)
    odd = os.fsencode(root / "odd")
    os.mkdir(odd)
    names = (
        b"quote\"s and 'such'",
        b"back\\slash",
        b"new\nline\ttab",
        b"\xff\xfe not utf-8 \x80",
        "żółć 日本語 \U0001f600 \u00a0 \u200b".encode(),
        b"-dash",
        b"<html>&amp;",
        b"\x01\x7f control",
        b"trailing space ",
    )
    for number, name in enumerate(names):
        path = os.path.join(odd, name)
        Path(os.fsdecode(path)).write_bytes(b"%d" % number)
        os.utime(path, ns=(1_600_000_000_123_456_789 + number, 1_500_000_000_000_000_001 + number))
    kinds = root / "kinds"
    kinds.mkdir()
    (kinds / "link").symlink_to("../large.bin")
    (kinds / "dangling").symlink_to('no/such \n"file é')
    (kinds / "one").write_bytes(b"the same file")
    (kinds / "two").hardlink_to(kinds / "one")
    os.mkfifo(kinds / "fifo", 0o640)
    with (kinds / "sparse").open("wb") as file:
        file.seek(3 << 20)
        file.write(b"end")
    (kinds / "setuid").write_bytes(b"#!/bin/false\n")
    (kinds / "setuid").chmod(0o6755)
    (kinds / "sticky").mkdir()
    (kinds / "sticky").chmod(0o1777)
    (kinds / "closed").mkdir()
    (kinds / "closed" / "file").write_bytes(b"x")
    (kinds / "closed").chmod(0o500)
    (kinds / "nobody").write_bytes(b"")
    # What nobody may read, root reads; for anyone else it is one that nobody may write.
    (kinds / "nobody").chmod(0 if os.geteuid() == 0 else 0o400)
    with contextlib.suppress(OSError):  # a file system without them
        os.setxattr(kinds / "one", "user.drkit.test", b"\x00value\xff")
    os.utime(kinds, ns=(0, 1))
    return root


def listing(root: Path) -> dict[bytes, tuple[object, ...]]:
    """What a restored tree must share with its source, by path: all metadata, all content."""
    found: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(root)
    inodes: dict[int, bytes] = {}
    for folder, folders, files in os.walk(top):
        folders.sort()  # or which of several hard links is the first depends on the file system
        for name in sorted((*folders, *files)):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            relative = os.path.relpath(path, top)
            is_file = os.path.isfile(path) and not os.path.islink(path)
            first = inodes.setdefault(status.st_ino, relative) if is_file else relative
            found[relative] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                os.readlink(path) if os.path.islink(path) else None,
                Path(os.fsdecode(path)).read_bytes() if is_file else None,
                first,
                {
                    name: os.getxattr(path, name, follow_symlinks=False)
                    for name in os.listxattr(path, follow_symlinks=False)
                },
            )
    status = os.stat(top)
    found[b"."] = (status.st_mode, status.st_mtime_ns)
    return found

"""Points that hold what is to be erased, and stores that say how long they retain it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from drkit.repository.check.structure import check_structure
from drkit.repository.erase.erase import erase, plan_erase
from drkit.repository.erase.standing import erasure_standing
from drkit.repository.format.blob import open_blob
from drkit.repository.format.layout import DATA
from drkit.repository.format.pack import read_header
from drkit.repository.prune.prune import PruneOptions, prune
from drkit.repository.trees.walk import entries
from drkit.stores.interface import Retained
from drkit.stores.memory import MemoryStore

ROLES = {"gcs": "primary", "s3": "backup", "b2": "archive"}


DAY_S = 86400.0


SECRET = b"the diary of user 42 " * 3


class LockingStore(MemoryStore):
    """A store with object lock: what comes is retained for a while, locks are not."""

    retention = timedelta(days=30)

    def __init__(self, name: str, clock: Any) -> None:
        super().__init__(name)
        self.clock = clock
        self.until: dict[str, datetime] = {}

    def put(self, name: str, data: Any, *, size_bytes: int) -> None:
        super().put(name, data, size_bytes=size_bytes)
        if name.startswith(("repository/data", "repository/index", "repository/snapshots")):
            self.until[name] = self.clock.now() + self.retention

    def retained_until(self, name: str) -> datetime | None:
        return self.until.get(name)

    def retain(self, name: str, until: datetime) -> None:
        self.until[name] = until

    def delete(self, name: str) -> None:
        until = self.until.get(name)
        if until is not None and until > self.clock.now():
            raise Retained(f"{name} is locked", hint="wait", until=until)
        super().delete(name)


def write_points(kit: Any, source: Path) -> None:
    for number in range(3):
        (source / "users" / "41" / f"{number}.md").write_text(f"more {number}")
        (source / "users" / "42" / f"{number}.md").write_bytes(SECRET + b"%d" % number)
        kit.backup(source, min_copies=len(kit.stores))
        kit.clock.advance(3600)


def under(*paths: str) -> Callable[[str], bool]:
    return lambda path: path in paths


USER = under("/sncp/users/42")


def do_erase(kit: Any, match: Callable[[str], bool] = USER, points: tuple[str, ...] = ()) -> Any:
    checksum = plan_erase(kit.open(), match, points).checksum
    return erase(kit.open(), match, points, kit.emit, checksum=checksum)


def run_prune(kit: Any, hold: timedelta = timedelta(0)) -> Any:
    options = PruneOptions(
        {name: role for name, role in ROLES.items() if name in {s.name for s in kit.stores}},
        lambda repository, store: ("own", check_structure(repository, store)),
        hold=hold,
    )
    return prune(kit.open(), options, kit.emit)


def standing(kit: Any) -> dict[str, str]:
    found = erasure_standing(kit.open(), ROLES, kit.emit, hold=timedelta(0))
    return {name: one.state for name, one in found.items()}


def shown(kit: Any, stores: Any = None) -> dict[str, set[str]]:
    """The paths of every snapshot, by id."""
    repository = kit.open(stores)
    return {
        one.id: {entry.path for entry in entries(repository, one.snapshot.tree)}
        for one in repository.snapshots()
    }


def holds(kit: Any, store: MemoryStore, content: bytes) -> bool:
    """Whether a blob of any pack of the store has `content`, read with the key as a thief would."""
    key = kit.open().key
    for name, held in list(store.objects.items()):
        if name.startswith(DATA):
            for blob in read_header(held, key):
                sealed = held[blob.offset : blob.offset + blob.length]
                if content in open_blob(key, sealed, blob.raw_bytes, blob.id):
                    return True
    return False

"""What tests of prune share: stores that die, lock and refuse, and points that leave rubbish."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from drkit.repository.check.structure import check_structure
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.format.layout import DATA, INDEX, SNAPSHOTS
from drkit.repository.prune.decision import PruneLimits
from drkit.repository.prune.prune import PruneOptions, PruneReport, prune
from drkit.stores.interface import Retained, StoreUnreachable
from drkit.stores.memory import MemoryStore

ROLES = {"gcs": "primary", "s3": "backup", "b2": "archive"}


def options(**changes: Any) -> PruneOptions:
    return PruneOptions(
        **{
            "roles": ROLES,
            "check": lambda repository, store: ("own", check_structure(repository, store)),
            "limits": PruneLimits(merge_from=4),
            **changes,
        }
    )


def run_prune(kit: Any, **changes: Any) -> PruneReport:
    return prune(kit.open(), options(**changes), kit.emit)


def churn(kit: Any, source: Path, *, points: int = 4, seed: int = 1) -> list[str]:
    """Points whose large file is other noise each time; their ids."""
    rng = random.Random(seed)
    made = []
    for number in range(points):
        (source / "noise.bin").write_bytes(rng.randbytes(40_000))
        (source / f"note-{number}.md").write_text(f"note {number} " * 200)
        made.append(kit.backup(source, min_copies=len(kit.stores)).snapshot_id)
    return made


def forget_all_but_last(kit: Any, made: list[str]) -> None:
    forget_snapshots(kit.open(), dict.fromkeys(made[:-1]), kit.emit)


def packs(store: MemoryStore) -> set[str]:
    return {info.name.rpartition("/")[2] for info in store.list(DATA)}


def indexes(store: MemoryStore) -> set[str]:
    return {info.name for info in store.list(INDEX)}


def sound(kit: Any, stores: Any = None) -> bool:
    """Each store for itself holds what its snapshots reach, and every object is what it says."""
    repository = kit.open()
    for store in stores or kit.stores:
        assert check_structure(repository, store) == ()
        for name, content in store.objects.items():
            if name.startswith((DATA, INDEX, SNAPSHOTS)):
                assert hashlib.sha256(content).hexdigest() == name.rpartition("/")[2]
    return True


class Mortal(MemoryStore):
    """After `left` writes in all stores nothing is written any more: as if the process was killed
    there, for all that the stores ever see.
    """

    left: int | None = None
    dead = False

    def put(self, name: str, data: Any, *, size_bytes: int) -> None:
        self._count()
        super().put(name, data, size_bytes=size_bytes)

    def delete(self, name: str) -> None:
        self._count()
        super().delete(name)

    def _count(self) -> None:
        if Mortal.left is not None:
            if Mortal.left <= 0:
                Mortal.dead = True
                raise StoreUnreachable(f"{self.name}: dead", hint="a test asked so")
            Mortal.left -= 1


class Retained30(MemoryStore):
    """Locks objects for thirty days."""

    retention = timedelta(days=30)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.renewed: set[str] = set()

    def retained_until(self, name: str) -> datetime | None:
        return None

    def retain(self, name: str, until: datetime) -> None:
        self.renewed.add(name)


class Locked(MemoryStore):
    """Objects in `locked` are under retention."""

    locked: set[str] = set()

    def delete(self, name: str) -> None:
        if name in self.locked and name.startswith(DATA):
            until = datetime(2026, 12, 31, tzinfo=UTC)
            raise Retained(f"{self.name}: {name} is retained", hint="wait", until=until)
        super().delete(name)

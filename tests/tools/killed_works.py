"""What the killer runs: the work of each verb that changes stores, on two folders."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from drkit.clock import SystemClock
from drkit.repository.check.check import check_repository
from drkit.repository.check.structure import check_structure
from drkit.repository.copy import copy_snapshots
from drkit.repository.erase.erase import erase, plan_erase
from drkit.repository.forget.forget import forget_snapshots
from drkit.repository.format.snapshot import REPAIRED
from drkit.repository.heal.rebuild_index import repair_index
from drkit.repository.heal.repair_config import repair_config
from drkit.repository.heal.salvage import damaged_packs, repair_packs, repair_snapshots
from drkit.repository.prune.decision import PruneLimits
from drkit.repository.prune.prune import PruneOptions, prune
from drkit.stores.folder import FolderStore

ROLES = {"gcs": "primary", "s3": "backup"}
ERASED = "/sncp/notes/2.md"


class Later(SystemClock):
    """The real time, some days on."""

    def __init__(self, days: int) -> None:
        self._days = timedelta(days=days)

    def now(self) -> datetime:
        return super().now() + self._days

    def sleep(self, seconds: float) -> None:
        """Nobody else is at work on these folders: no lock has to settle."""


def opened(kit: Any, root: Path, days: int = 0) -> Any:
    """The two stores below `root`."""
    return kit.Kit([FolderStore(name, root / name) for name in ROLES], Later(days))


def _back_up(kit: Any, two: Any, source: Path, ids: list[str]) -> None:
    two.backup(source)


def _forget(kit: Any, two: Any, source: Path, ids: list[str]) -> None:
    forget_snapshots(two.open(), dict.fromkeys(ids), two.emit)


def _prune(kit: Any, two: Any, source: Path, ids: list[str]) -> None:
    report = prune(
        two.open(),
        PruneOptions(
            ROLES,
            lambda repository, store: ("own", check_structure(repository, store)),
            PruneLimits(max_unused=0.0, merge_from=3),
        ),
        two.emit,
    )
    assert report.problems == ()


def _copy(kit: Any, two: Any, source: Path, ids: list[str]) -> None:
    other = kit.Kit([FolderStore("other", source)], two.clock).open()
    copy_snapshots(other, two.open(), other.snapshots(), min_copies=2, emit=two.emit)


def _erase(kit: Any, two: Any, source: Path, ids: list[str]) -> None:
    match = ERASED.__eq__
    plan = plan_erase(two.open(), match, ())
    erase(two.open(), match, (), two.emit, checksum=None if plan.empty else plan.checksum)
    _prune(kit, two, source, ids)


def _repair_index(kit: Any, two: Any, source: Path, ids: list[str]) -> None:
    repair_index(two.open(), two.emit)


def _repair_packs(kit: Any, two: Any, source: Path, ids: list[str]) -> None:
    seeded = random.Random(1)
    report = check_repository(two.open(), read_data=True, random=seeded, emit=two.emit)
    repair_packs(two.open(), damaged_packs(two.open(), report), two.emit)


def _repair_snapshots(kit: Any, two: Any, source: Path, ids: list[str]) -> None:
    old = [one for one in two.open().snapshots() if REPAIRED not in one.snapshot.tags]
    new_ids = repair_snapshots(two.open(), old, two.emit)
    forget_snapshots(two.open(), dict.fromkeys(new_ids), two.emit)


def _repair_config(kit: Any, two: Any, source: Path, ids: list[str]) -> None:
    repair_config(two.open(), two.stores[0], two.emit)


Work = Callable[[Any, Any, Path, list[str]], None]
WORKS: Mapping[str, Work] = {
    "backup": _back_up,
    "forget": _forget,
    "prune": _prune,
    "copy": _copy,
    "erase": _erase,
    "repair index": _repair_index,
    "repair packs": _repair_packs,
    "repair snapshots": _repair_snapshots,
    "repair config": _repair_config,
}
"""Each is given the kit, the two stores as one, a folder, and ids of snapshots."""

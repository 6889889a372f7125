"""No other change comes between reading a state and writing it, whatever the place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drkit.coordination.arbiter import Place
from drkit.coordination.folder import FolderPlace
from drkit.coordination.interface import Lease
from drkit.coordination.memory import MemoryPlace
from drkit.coordination.rules import ServiceState

PLACES: dict[str, Callable[[Path], Place]] = {
    "memory": lambda _folder: MemoryPlace(),
    "folder": FolderPlace,
}


@pytest.mark.parametrize("kind", sorted(PLACES))
def test_R1_changes_come_one_after_another_and_none_is_lost(kind: str, tmp_path: Path) -> None:
    place: Place = PLACES[kind](tmp_path)

    def count_up(state: ServiceState) -> ServiceState:
        lease = state.lease or Lease("chat", "a", 60, "0")
        time.sleep(0.002)
        return ServiceState(replace(lease, token=str(int(lease.token) + 1)))

    workers = [
        threading.Thread(target=lambda: [place.change("chat", count_up) for _ in range(5)])
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    lease = place.read("chat").lease
    assert lease is not None
    assert lease.token == "20"

"""What every run world has in common and none changes: a deployment, its point, an empty state."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from kept_sources import Tree, configured
from run_state import content_of
from simulated_threads import START

from drkit.clock import ManualClock
from drkit.config.load import load_config
from drkit.config.models import Config
from drkit.config.sources import TreeSource
from drkit.coordination.memory import MemoryArbiter
from drkit.operations.points.backup import back_up
from drkit.operations.points.cutting import Due
from drkit.repository.format.keys import ScryptCost
from drkit.repository.repository import Repository, init_repository, open_repository
from drkit.runs.book.schema import Runbook, load_runbook
from drkit.state.database import open_database
from drkit.stores.folder import FolderStore

PROJECT = Path(__file__).parents[2]
SERVICE = "assistant"
STANDBY = "http://192.0.2.250:8000"
GATEWAY, DRILL_GATEWAY = "http://127.0.0.1:8080", "http://127.0.0.1:8081"


class Stack:
    """What every world has in common and none changes: a deployment, its point, an empty state."""

    def __init__(self, folder: Path) -> None:
        clock = ManualClock(START - timedelta(minutes=5))
        self.stores = tuple(FolderStore(name, folder / "stores" / name) for name in ("gcs", "s3"))
        for name in ("sncp", "history"):
            (folder / name).mkdir(parents=True)
            (folder / name / f"{name}.md").write_text(f"the words of {name}\n" * 9)
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text("{}")
        trees, weights = configured(folder)
        config = load_config(PROJECT / "schedules.yaml")
        drill_gateway = config.switch["gateway"].model_copy(update={"drill_url": DRILL_GATEWAY})
        self.config = config.model_copy(
            update={
                "sources": {**trees, "weights": weights},
                "switch": {**config.switch, "gateway": drill_gateway},
            }
        )
        init_repository(self.stores, "pw", clock=clock, hostname="h", cost=ScryptCost(1024, 8, 1))
        back_up(
            self._open(clock),
            Due(
                {name: Tree(name, folder / name, clock) for name in trees},
                {"weights": weights},
                tuple(trees),
                ("weights",),
            ),
            service=SERVICE,
            arbiter=MemoryArbiter(clock),
            stores=self.stores,
            min_copies=2,
            own_files={},
            record_golden=None,
            work_dir=folder / "backup",
            clock=clock,
            emit=lambda _event: None,
        )
        self.repository = self._open(clock)
        (listed,) = self.repository.snapshots()
        self.snapshot = listed.id
        self.runbooks: dict[str, Runbook] = {
            path.stem: load_runbook(path) for path in sorted((PROJECT / "runbooks").glob("*.yaml"))
        }
        open_database(folder / "state.sqlite", clock=clock).close()
        self.state = content_of(folder / "state.sqlite")

    def config_of(self, home: Path, mode: str = "approve") -> Config:
        """The deployment with trees of its own in `home`, which are made there."""
        decide = self.config.decide.model_copy(update={"mode": mode, "to": "coreweave"})
        sources = dict(self.config.sources)
        for name, source in self.config.sources.items():
            if isinstance(source, TreeSource):
                shutil.copytree(source.path, home / name)
                sources[name] = source.model_copy(update={"path": str(home / name)})
        config = self.config.model_copy(update={"sources": sources, "decide": decide})
        return self.warmed(config) if mode == "auto" else config

    def warmed(self, config: Config) -> Config:
        """The same deployment with a warm standby."""
        target = config.targets["coreweave"]
        standby = target.model_copy(update={"standby": True, "endpoint": STANDBY})
        return config.model_copy(update={"targets": {**config.targets, "coreweave": standby}})

    def _open(self, clock: ManualClock) -> Repository:
        emit: Callable[[Any], None] = lambda _event: None  # noqa: E731
        return open_repository(self.stores, "pw", clock=clock, emit=emit, hostname="h")

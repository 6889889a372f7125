"""A service that failed over, was written to there, and is to go home."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dead_runs import unhurried

from drkit.compute.interface import LaunchSpec, Offer
from drkit.config.sources import TreeSource
from drkit.coordination.interface import RoleRecord
from drkit.operations.points.backup import back_up
from drkit.operations.points.cutting import Due
from drkit.repository.format.keys import ScryptCost
from drkit.repository.repository import Repository, init_repository, open_repository
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import Plan, Serving, make_plan
from drkit.runs.book.schema import load_runbook
from drkit.runs.engine import execute
from drkit.runs.records import EXTERNAL, RunRecord
from drkit.sources.interface import Cut
from drkit.stores.folder import FolderStore
from drkit.traffic.interface import Setting

if TYPE_CHECKING:
    from conftest import World

ROOT = Path(__file__).parents[2]


BOOK = load_runbook(ROOT / "runbooks" / "failback.yaml")


PRIMARY, TARGET, MODEL = "http://203.0.113.10:8000", "http://192.0.2.1:8000", "Qwen3-4B"
EARLIER = "failover-20260101t000000-abcdef"


POINTS = ("before-intent", "after-intent", "after-effect", "after-record")


@dataclass
class Tree:
    """A source in a folder, wherever it is now."""

    root: Path
    world: World
    name: str = "sncp"
    kind: str = "tree"

    def cut(self, _spool: Path, _emit: object) -> Cut:
        return Cut(self.root, self.world.clock.now())


class Away:
    """A world that failed over to coreweave, where `sncp` was brought and written to since."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.home, self.away = world.tmp_path / "home" / "sncp", world.tmp_path / "away" / "sncp"
        self.stores = (FolderStore("gcs", world.tmp_path / "stores" / "gcs"),)
        cost = ScryptCost(1024, 8, 1)
        init_repository(self.stores, "pw", clock=world.clock, hostname="h", cost=cost)
        for place in (self.home, self.away):
            place.mkdir(parents=True)
            (place / "a.md").write_text("as it was\n")
            (place / "b.md").write_text("as it was too\n")
        self._same_times()
        source = TreeSource(kind="tree", path=str(self.home), lives_on="vm", rpo_min=60)
        world.config = world.config.model_copy(update={"sources": {"sncp": source}})
        world.runbook = BOOK
        world.real = tuple(step.action for step in BOOK.steps)
        self.snapshot = self.back_up({"sncp": {"into": str(self.home)}})
        self._serve_at_target()
        (self.away / "a.md").write_text("written at the target\n")
        (self.away / "new.md").write_text("new at the target\n")
        world.prober.set(PRIMARY, MODEL)
        world.prober.set(TARGET, MODEL)
        world.clock.advance(60)

    def _same_times(self) -> None:
        for place in (self.home, self.away):
            for path in (*place.iterdir(), place):
                os.utime(path, ns=(10**18, 10**18))

    def _serve_at_target(self) -> None:
        world = self.world
        tags = {"drkit-service": "assistant", "drkit-run": EARLIER, "drkit-step": "acquire"}
        spec = LaunchSpec(MODEL, "image", (), 8000, "", {})
        self.machine = world.compute.create(Offer("L40", "ORD1", 1.5), spec, tags)
        lease = world.arbiter.acquire("assistant", "here", ttl_s=60)
        role = RoleRecord(
            "assistant", 3, "coreweave", TARGET, world.clock.now(), EARLIER, (self.snapshot,)
        )
        world.arbiter.record_role(lease, role)
        world.arbiter.release(lease)
        for switch in world.switches:
            switch.set_by_another(Setting(False, TARGET))

    def open(self) -> Repository:
        world = self.world
        return open_repository(
            self.stores, "pw", clock=world.clock, emit=world.events.append, hostname="h"
        )

    def back_up(self, brought: Mapping[str, Mapping[str, Any]]) -> str:
        world = self.world
        report = back_up(
            self.open(),
            Due({"sncp": Tree(Path(brought["sncp"]["into"]), world)}, {}, ("sncp",), ()),
            service="assistant",
            arbiter=world.arbiter,
            stores=self.stores,
            min_copies=1,
            own_files={},
            record_golden=None,
            work_dir=world.tmp_path / "backup",
            clock=world.clock,
            emit=world.events.append,
        )
        return report.write.snapshot_id

    def plan(self, *, brought: bool = True, site: str = "coreweave") -> Plan:
        serving = Serving(site)
        if site != EXTERNAL:
            places = {"sncp": {"into": str(self.away)}} if brought else {}
            serving = Serving(site, TARGET, EARLIER, self.machine.id, self.snapshot, places)
        plan = make_plan(
            BOOK,
            config=self.world.config,
            kind="failback",
            target=site,
            actions=ACTIONS,
            serving=serving,
        )
        return unhurried(plan)

    def changes(self, **changes: Any) -> dict[str, Any]:
        repository = self.open()
        return {
            "repository": lambda: repository,
            "stores": self.stores,
            "back_up": self.back_up,
            "gateway_url": "http://127.0.0.1:8080",
            "settle_s": 1.0,
            **changes,
        }

    def start(self, plan: Plan | None = None, **changes: Any) -> RunRecord:
        journal, plan = self.world.journal(), plan or self.plan()
        run = journal.open_run(plan, sandbox=False)
        context = self.world.context(plan, **self.changes(**changes))
        return execute(journal, run.id, self.world.fakes, context)

    def resume(self, run: RunRecord) -> RunRecord:
        return self.world.resume(run.id, **self.changes())

    def output(self, run: RunRecord, step: str) -> Mapping[str, Any]:
        (entry,) = [
            e for e in self.world.journal().entries(run.id) if (e.step, e.kind) == (step, "done")
        ]
        return entry.payload["output"]  # type: ignore[return-value]

    @property
    def beside(self) -> list[Path]:
        return [path for path in self.home.parent.iterdir() if path != self.home]

    @property
    def role(self) -> RoleRecord:
        role = self.world.arbiter.read_role("assistant")
        assert role is not None
        return role


def files(place: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in place.iterdir()}


WRITTEN = {
    "a.md": "written at the target\n",
    "b.md": "as it was too\n",
    "new.md": "new at the target\n",
}


FORMER = {"a.md": "as it was\n", "b.md": "as it was too\n"}

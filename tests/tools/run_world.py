"""A world for runs: the real engine, journal, arbiter and actions; time, providers and switches of
our own. Several drkits on two machines act in it, die in it, and are judged by `run_rules`.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from run_places import (
    Done,
    ProcessCompute,
    ProcessPlace,
    ProcessProber,
    ProcessSwitch,
    Provider,
)
from run_rules import Rules
from simulated_threads import (
    START,
    Dead,
    Machine,
    MachineClock,
    Process,
    Simulation,
    Task,
    simulated_queue,
    simulated_threading,
)
from sqlalchemy import Connection, event

from drkit.clock import ManualClock
from drkit.compute.interface import Endpoint
from drkit.compute.memory import MemoryCompute
from drkit.compute.none import NoCompute
from drkit.config.load import load_config
from drkit.config.models import Config
from drkit.config.sources import TreeSource as TreeConfig
from drkit.config.sources import WeightsSource
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.memory import MemoryArbiter, MemoryPlace
from drkit.coordination.sightings import MemorySightings
from drkit.operations.backup import Due, back_up
from drkit.repository.keys import ScryptCost
from drkit.repository.repository import Repository, init_repository, open_repository
from drkit.runs import engine, guard, lease, stepper, walk
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.actions.interface import Context
from drkit.runs.journal import Journal
from drkit.runs.plan import Plan, make_plan
from drkit.runs.records import EXTERNAL, RunRecord
from drkit.runs.schema import Runbook, load_runbook
from drkit.runs.signals import StopRequest
from drkit.sources.interface import Cut
from drkit.state.database import Database, open_database
from drkit.stores.folder import FolderStore
from drkit.traffic.interface import Setting
from drkit.traffic.memory import MemorySwitch
from drkit.verify import model as asked_model  # imported late by actions, and stood in for here

PROJECT = Path(__file__).parents[2]
MODEL = "Qwen3-4B"
PRIMARY = Endpoint("http", "203.0.113.10", 8000)
AT_HOME = Setting(False, PRIMARY.url)
SERVICE = "assistant"
GATEWAY, DRILL_GATEWAY = "http://127.0.0.1:8080", "http://127.0.0.1:8081"


@dataclass(frozen=True, slots=True)
class _Tree:
    name: str
    root: Path
    clock: ManualClock
    kind: str = "tree"

    def cut(self, spool: Path, emit: Any) -> Cut:
        return Cut(self.root, self.clock.now())


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
        trees = {
            name: TreeConfig(kind="tree", path=str(folder / name), lives_on="vm", rpo_min=60)
            for name in ("sncp", "history")
        }
        weights = WeightsSource(
            kind="weights",
            path=str(folder / "model"),
            model=MODEL,
            revision="r1",
            lives_on="lambda",
            stores=("gcs", "s3"),
        )
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
                {name: _Tree(name, folder / name, clock) for name in trees},
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
        self.runbooks: dict[str, Runbook] = {
            path.stem: load_runbook(path) for path in sorted((PROJECT / "runbooks").glob("*.yaml"))
        }
        self.state = folder / "state.sqlite"
        open_database(self.state, clock=clock).close()

    def plan(self, runbook: str, kind: str | None = None, target: str = "coreweave") -> Plan:
        book = self.runbooks[runbook]
        return make_plan(
            book,
            config=self.config,
            kind=kind or book.kind,  # type: ignore[arg-type]
            target=target if any(step.action == "acquire" for step in book.steps) else EXTERNAL,
            actions=ACTIONS,
        )

    def _open(self, clock: ManualClock) -> Repository:
        emit: Callable[[Any], None] = lambda _event: None  # noqa: E731
        return open_repository(self.stores, "pw", clock=clock, emit=emit, hostname="h")


@dataclass(eq=False)
class Drkit(Process):
    """A process that executes a run. It dies before its `dies_before_write`-th write to the
    journal, or at the breakpoint (step, point).
    """

    run_id: str = ""
    dies_at: tuple[str, str] | None = None
    dies_before_write: int | None = None
    writes: int = 0
    task: Task | None = None

    @property
    def error(self) -> BaseException | None:
        return self.task.error if self.task is not None else None


class World:
    """One story. Everything random in it comes from `seed`."""

    def __init__(self, stack: Stack, folder: Path, seed: int = 0) -> None:
        self.stack = stack
        self.folder = folder
        self.config: Config = stack.config
        self.sim = Simulation(seed)
        self.random = random.Random(seed + 1)
        self.machines = {name: Machine(name) for name in ("one", "two")}
        self._sightings = {name: MemorySightings() for name in self.machines}
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stack.state, folder / "state.sqlite")
        self.database = _fast(open_database(folder / "state.sqlite", clock=self.true_clock))
        self.place = MemoryPlace()
        self.provider = Provider(MemoryCompute(self.true_clock))
        self.switches = (
            MemorySwitch("dns", "llm.example.org", carries_external=False, setting=AT_HOME),
            MemorySwitch("gateway", GATEWAY, setting=AT_HOME),
        )
        self.drill_switches = (
            MemorySwitch("drill-dns", "drill-llm.example.org", carries_external=False),
            MemorySwitch("drill-gateway", DRILL_GATEWAY),
        )
        self.primary_up = False
        self.arbiter_down = False
        self.arbiter_mute = 0
        self.cut_off: set[str] = set()
        self.switches_down: set[str] = set()
        self.slow_switches: dict[str, float] = {}
        self.copies: dict[str, bytes] = {}
        self.copies_work = True
        self.done: list[Done] = []
        self.drkits: list[Drkit] = []
        self.rules = Rules(self)
        self._acting: Drkit | None = None

    @property
    def true_clock(self) -> MachineClock:
        return MachineClock(self.sim, Machine("nobody's"))

    def clock_of(self, machine: Machine) -> MachineClock:
        return MachineClock(self.sim, machine)

    service = SERVICE
    primary_url = PRIMARY.url

    def destroyed(self) -> set[str]:
        """Ids of the instances that drkit destroyed."""
        return {each.what for each in self.done if each.kind == "destroy"}

    def acts(self, drkit: Drkit, kind: str, what: str) -> None:
        self.done.append(Done(self.sim.now_s, drkit.mark, drkit.run_id, kind, what))

    def answers(self, url: str) -> bool:
        """Whether the server at `url` gives tokens now."""
        if url == PRIMARY.url:
            return self.primary_up
        return any(
            each.endpoint is not None and each.endpoint.url == url
            for each in self.provider.alive()
            if each.id not in self.provider.dumb
        )

    def ask_gateway(self, url: str, model: str, _api_key: str | None) -> str | None:
        """The model that answers through the gateway, which may not fall back."""
        gateway = next(s for s in (*self.switches, *self.drill_switches) if s.record == url)
        now = gateway.history[-1]
        return model if not now.held and now.value and self.answers(now.value) else None

    def ask_as_user(self, url: str, model: str, api_key: str | None) -> str | None:
        """The model that answers a user: the external one where the own one does not."""
        service = self.config.service
        assert service is not None and service.external is not None
        return self.ask_gateway(url, model, api_key) or service.external.model

    def journal(self, drkit: Drkit | None = None) -> Journal:
        """The journal as `drkit` opens it; without one, as the judge reads it."""
        if drkit is None:
            return Journal(self.database, self.true_clock, lambda _name, _content: True)

        def copy(name: str, content: bytes) -> bool:
            if self.copies_work:
                self.copies[name] = content
            return self.copies_work

        clock = self.clock_of(drkit.machine)
        return Journal(_ProcessDatabase(self, drkit, clock), clock, copy)

    def open_run(self, plan: Plan, machine: str = "one", **settings: Any) -> RunRecord:
        """Opens a run as a command on that machine does. Raises what it raises."""
        drkit = self._new_drkit(machine)
        self._acting = drkit
        try:
            return self.journal(drkit).open_run(plan, sandbox=False, **settings)
        finally:
            self._acting = None

    def execute(
        self,
        run_id: str,
        machine: str = "one",
        *,
        dies_at: tuple[str, str] | None = None,
        dies_before_write: int | None = None,
    ) -> Drkit:
        """A process that takes the run up; it acts when the simulation runs."""
        drkit = self._new_drkit(machine)
        drkit.run_id, drkit.dies_at, drkit.dies_before_write = run_id, dies_at, dies_before_write
        journal = self.journal(drkit)

        def main() -> RunRecord:
            plan = journal.plan(run_id)
            return engine.execute(journal, run_id, ACTIONS, self.context(drkit, plan))

        drkit.task = self.sim.start(drkit, main)
        return drkit

    def finish(self, drkit: Drkit) -> Drkit:
        """Runs the simulation until the process is over."""
        self.sim.run(lambda: drkit.over)
        if not drkit.over:
            raise AssertionError(f"{drkit.mark} waits for ever")
        return drkit

    def run(self, run_id: str) -> RunRecord:
        return self.journal().run(run_id)

    def context(self, drkit: Drkit, plan: Plan) -> Context:
        machine, drill = drkit.machine, plan.namespace == "drill"
        clock = self.clock_of(machine)
        place = ProcessPlace(self, drkit, self.place)
        known: dict[str, Any] = {
            "plan": plan,
            "config": self.config,
            "clock": clock,
            "emit": lambda _event: None,
            "work_dir": self.folder / drkit.run_id,
            "namespace": plan.namespace,
            "compute": NoCompute() if plan.target == EXTERNAL else ProcessCompute(self, drkit),
            "switches": tuple(
                ProcessSwitch(self, drkit, switch)
                for switch in (self.drill_switches if drill else self.switches)
            ),
            "arbiter": PlacedArbiter(place, self._sightings[machine.name], clock),
            "holder": f"{machine.name}/{drkit.run_id}",
            "prober": ProcessProber(self, drkit),
            "repository": lambda: self.stack.repository,
            "stores": self.stack.stores,
            "api_key": lambda: None,
            "primary": PRIMARY,
            "gateway_url": (self.drill_switches if drill else self.switches)[1].record,
            "public_record": "llm.example.org",
            "restore_qdrant_to": lambda _name: None,
            "time_scale": 1.0,
            "observe_s": 30.0,
            "settle_s": 30.0,
            "breakpoint": lambda step, point: self._breakpoint(drkit, step, point),
            "write_evidence": dict,
        }
        names = {each.name for each in fields(Context)}
        return Context(**{name: value for name, value in known.items() if name in names})

    def heal(self) -> None:
        """Whatever did not work works again, and stopped processes go on."""
        self.arbiter_down, self.arbiter_mute, self.copies_work = False, 0, True
        self.provider.down = False
        self.provider.answers.clear()
        for each in (self.cut_off, self.switches_down, self.slow_switches):
            each.clear()
        for switch in (*self.switches, *self.drill_switches):
            switch.down = switch.deaf = False
        for machine in self.machines.values():
            machine.skew_s = 0.0
        for drkit in self.drkits:
            drkit.stopped = False

    def end(self) -> None:
        self.sim.end()
        self.database.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def own_mark(self) -> tuple[int, str]:
        drkit = self.sim.current.process if self.sim.current is not None else self._acting
        assert drkit is not None
        return drkit.pid, drkit.mark

    def lives(self, pid: int | None, mark: str | None) -> bool:
        """Whether that process lives, as one on its machine sees it; others cannot see it."""
        _, own = self.own_mark()
        here = own.rsplit("-", 1)[0]
        return any(
            each.mark == mark and each.machine.name == here and not each.dead and not each.over
            for each in self.drkits
        )

    def _new_drkit(self, machine: str) -> Drkit:
        drkit = Drkit(self.machines[machine], self.sim.new_pid())
        self.drkits.append(drkit)
        return drkit

    def _breakpoint(self, drkit: Drkit, step: str, point: str) -> None:
        self.sim.switch()
        if drkit.dies_at == (step, point):
            self.sim.kill(drkit)
        if drkit.dead:
            raise Dead


class _ProcessDatabase(Database):
    """The state in the hands of one process, which may die before any of its writes."""

    def __init__(self, world: World, drkit: Drkit, clock: MachineClock) -> None:
        super().__init__(world.database._engine, clock)
        self._world = world
        self._drkit = drkit

    @contextmanager
    def write(self) -> Iterator[Connection]:
        drkit = self._drkit
        if drkit.dies_before_write == drkit.writes:
            self._world.sim.kill(drkit)
        if drkit.dead:
            raise Dead
        with super().write() as connection:
            yield connection
        drkit.writes += 1

    @contextmanager
    def read(self) -> Iterator[Connection]:
        if self._drkit.dead:
            raise Dead
        with super().read() as connection:
            yield connection


def _fast(database: Database) -> Database:
    """No test here cuts the power."""
    database.close()
    event.listen(
        database._engine,
        "connect",
        lambda connection, _record: connection.execute("PRAGMA synchronous = OFF"),
    )
    return database


@contextmanager
def inhabited(world: World) -> Iterator[World]:
    """While it is entered, drkit's own threads, chance and processes are the world's."""
    sim = world.sim
    threads, results = simulated_threading(sim), simulated_queue(sim)

    def make_walk(*arguments: Any, **named: Any) -> walk.Walk:
        return walk.Walk(*arguments, **named, _results=results.Queue())

    chance = SimpleNamespace(Random=lambda *_seed: world.random)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "threading", threads)
        patch.setattr(walk, "monotonic", lambda: sim.now_s)
        patch.setattr(lease, "threading", threads)
        patch.setattr(guard, "_SLICE_S", 10.0)  # who is told to stop in mid-pause notices later
        patch.setattr(engine, "Walk", make_walk)
        patch.setattr(engine, "stop_requests", lambda: _no_signals(world))
        patch.setattr(stepper, "random", chance)
        for module in [each for name, each in sys.modules.items() if name.startswith("drkit.")]:
            for name, stand_in in _stand_ins(world).items():
                if hasattr(module, name):
                    patch.setattr(module, name, stand_in(getattr(module, name)))
        try:
            yield world
        finally:
            world.end()


@contextmanager
def _no_signals(world: World) -> Iterator[StopRequest]:
    assert world.sim.current is not None
    process = world.sim.current.process

    class Asked(StopRequest):
        @property
        def name(self) -> str | None:
            return process.told

        @name.setter
        def name(self, value: str | None) -> None:
            """Whoever asks sets `told`."""

    yield Asked()


def _stand_ins(world: World) -> Mapping[str, Callable[[Any], Any]]:
    """Names that any module of drkit may have imported, and what stands for them."""

    def proved(prove_target: Any) -> Any:
        def prove(call: Any, context: Any) -> Any:
            endpoint, proofs = prove_target(call, context)
            world.rules.proved(endpoint.url)
            return endpoint, proofs

        return prove

    return {
        "own_mark": lambda _real: world.own_mark,
        "lives": lambda _real: world.lives,
        "prove_target": proved,
        "ask_gateway": lambda _real: world.ask_gateway,
        "ask_as_user": lambda _real: world.ask_as_user,
    }


__all__ = ["AT_HOME", "PRIMARY", "Drkit", "Stack", "World", "asked_model", "inhabited"]

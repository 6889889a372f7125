"""A world of fakes for runs: a clock turned by hand, memory adapters, and actions that leave marks.

`World` is what survives a crash: the database, the providers, the switches. `Crash` stands for
kill -9: it passes through the engine as the death of the process does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dead_runs import unhurried, wait_for_steps
from failback_world import Away
from lint_world import quiet_deployment, shipped_runbook
from sqlalchemy import Connection, event

from drkit.clock import ManualClock
from drkit.compute.interface import Endpoint
from drkit.compute.memory import MemoryCompute
from drkit.config.load import load_config
from drkit.config.models import Config
from drkit.coordination.arbiter import Step
from drkit.coordination.memory import MemoryArbiter, MemoryPlace
from drkit.coordination.rules import ServiceState
from drkit.events import Event
from drkit.health.memory import MemoryProber
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.actions.interface import Action, Context, Done, Effect, StepCall
from drkit.runs.book.plan import Plan, make_plan
from drkit.runs.book.schema import Runbook, load_runbook
from drkit.runs.engine import execute
from drkit.runs.journal.journal import Journal
from drkit.runs.journal.sealed import SealedRun, sealed_run
from drkit.runs.lease import KeptLease
from drkit.runs.records import JSON, RunRecord
from drkit.runs.states import StepProgress, replay
from drkit.state.database import Database, open_database
from drkit.stores.memory import MemoryStore
from drkit.traffic.interface import Setting
from drkit.traffic.memory import MemorySwitch

ROOT = Path(__file__).parents[3]
EFFECTS = {
    "hold": Effect.TRAFFIC,
    "acquire": Effect.PAID,
    "deploy": Effect.WRITE,
    "fence": Effect.FENCE,
    "restore": Effect.WRITE,
    "cutover": Effect.TRAFFIC,
    "commit": Effect.WRITE,
}
OUTPUT: dict[str, JSON] = {"instance_id": "i-1", "snapshot_id": "s-1"}


class Crash(BaseException):
    """The process dies here."""


@dataclass
class Marks:
    """What fake actions did to the world: how often, in which order, what is there now."""

    count: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)
    there: set[str] = field(default_factory=set)
    undone: list[str] = field(default_factory=list)
    fail: dict[str, list[Exception]] = field(default_factory=dict)
    undo_fail: dict[str, list[Exception]] = field(default_factory=dict)
    during: dict[str, Callable[[StepCall, Context], None]] = field(default_factory=dict)

    def action(self, name: str) -> Action:
        effect = EFFECTS.get(name, Effect.READ)

        def run(call: StepCall, context: Context) -> Done:
            if name in self.during:
                self.during[name](call, context)
            if self.fail.get(name):
                raise self.fail[name].pop(0)
            call.guard.check()
            self.count[name] += 1
            self.order.append(name)
            self.there.add(name)
            return Done(
                f"{name} is done", {**OUTPUT, "verified_at": context.clock.now().isoformat()}
            )

        def look(_call: StepCall, _context: Context) -> Done | None:
            return Done(f"{name} was there", OUTPUT) if name in self.there else None

        def undo(_call: StepCall, _done: Done | None, _context: Context) -> str:
            if self.undo_fail.get(name):
                raise self.undo_fail[name].pop(0)
            self.undone.append(name)
            self.there.discard(name)
            return f"{name} is gone"

        undoable = effect in (Effect.TRAFFIC, Effect.PAID) or name == "restore"
        return Action(
            name,
            1,
            effect,
            run,
            look if effect.must_look else None,
            undo if undoable else None,
            own=name in ("acquire", "restore"),
        )


@dataclass
class Mortal:
    """When the process dies: before its write of that number, to the state or to the arbiter. From
    then on nothing that it still has running can write.
    """

    writes: int = 0
    dies_before: int | None = None

    def write(self) -> None:
        if self.dies_before is not None and self.writes >= self.dies_before:
            raise Crash(f"before write {self.dies_before}")
        self.writes += 1


class MortalDatabase(Database):
    def __init__(self, database: Database, mortal: Mortal) -> None:
        without_waiting_for_the_disk(database)
        super().__init__(database._engine, database._clock)
        self._mortal = mortal

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self._mortal.write()
        with super().write() as connection:
            yield connection


class MortalPlace(MemoryPlace):
    def __init__(self, mortal: Mortal) -> None:
        super().__init__()
        self._mortal = mortal

    def change(self, service: str, step: Step) -> ServiceState:
        self._mortal.write()
        return super().change(service, step)


@dataclass
class World:
    """Everything outside the process."""

    tmp_path: Path
    config: Config
    runbook: Runbook
    clock: ManualClock
    state: str | Path
    database: Database
    compute: MemoryCompute
    arbiter: MemoryArbiter
    prober: MemoryProber
    switches: tuple[MemorySwitch, ...]
    mortal: Mortal = field(default_factory=Mortal)
    marks: Marks = field(default_factory=Marks)
    events: list[Event] = field(default_factory=list)
    copied: dict[str, bytes] = field(default_factory=dict)
    copies_work: bool = True
    reports: int = 0
    machine: str = "here"
    holds_first: bool = True  # before anything is verified, as where that takes minutes
    real: tuple[str, ...] = ()

    @property
    def fakes(self) -> dict[str, Action]:
        """An action for every step: a fake one, or the real one for those named in `real`."""
        return {
            step.action: ACTIONS[step.action]
            if step.action in self.real
            else self.marks.action(step.action)
            for step in self.runbook.steps
        }

    def journal(self) -> Journal:
        """A journal as a new process would open it."""

        def copy(name: str, content: bytes) -> bool:
            if self.copies_work:
                self.copied[name] = content
            return self.copies_work

        return Journal(self.database, self.clock, copy, machine=self.machine)

    def elsewhere(self, machine: str) -> World:
        """The same world as another machine sees it, with a state of its own."""
        state = self.tmp_path / f"{machine}.sqlite"
        database = MortalDatabase(open_database(state, clock=self.clock), self.mortal)
        arbiter = MemoryArbiter(self.clock, self.arbiter.place)
        return replace(self, machine=machine, state=state, database=database, arbiter=arbiter)

    def sealed(self, run_id: str) -> SealedRun | None:
        """The run as the store knows it."""
        store = MemoryStore()
        store.objects = dict(self.copied)
        return sealed_run([store], bytes, run_id)

    def steps(self, run_id: str) -> Mapping[str, StepProgress]:
        journal = self.journal()
        return replay(journal.entries(run_id), [s.id for s in journal.plan(run_id).steps])

    def plan(
        self,
        kind: str = "failover",
        actions: Mapping[str, Action] | None = None,
        target: str = "coreweave",
    ) -> Plan:
        plan = make_plan(
            self.runbook,
            config=self.config,
            kind=kind,  # type: ignore[arg-type]
            target=target,
            actions=actions or self.fakes,
        )
        return unhurried(plan)

    def context(self, plan: Plan, **changes: Any) -> Context:
        def report() -> dict[str, str]:
            self.reports += 1
            return {"json": "evidence.json"}

        context = Context(
            plan=plan,
            config=self.config,
            clock=self.clock,
            emit=self.events.append,
            work_dir=self.tmp_path / "work",
            namespace=plan.namespace,
            compute=self.compute,
            switches=self.switches,
            arbiter=self.arbiter,
            holder=self.machine,
            prober=self.prober,
            repository=lambda: SimpleNamespace(  # type: ignore[arg-type,return-value]
                snapshots=lambda: [
                    SimpleNamespace(id="s-1", snapshot=SimpleNamespace(original=None))
                ],
                unreachable={},
                key=SimpleNamespace(derive=lambda purpose, length=32: bytes(length)),
            ),
            stores=(),
            api_key=lambda: None,
            primary=Endpoint("http", "203.0.113.10", 8000),
            gateway_url=None,
            public_record="llm.example.org",
            restore_qdrant_to=lambda _name: None,
            time_scale=1.0,
            observe_s=60.0,
            settle_s=10.0,
            breakpoint=lambda _step, _point: None,
            write_evidence=report,
        )
        context = replace(context, **changes)
        breaks = context.breakpoint

        def breakpoint(step: str, point: str) -> None:
            if self.holds_first and step in ("verify", "standby") and point == "before-intent":
                wait_for_steps("hold")
            breaks(step, point)

        return replace(context, breakpoint=breakpoint)

    def lease_of(self, run_id: str) -> KeptLease:
        """The service's lease, as a command on this machine takes it for the run."""
        return KeptLease(self.arbiter, "assistant", self.machine, self.clock, run_id=run_id)

    def start(self, kind: str = "failover", **changes: Any) -> RunRecord:
        """Opens a run and executes it with the fake actions."""
        plan = self.plan(kind)
        journal = self.journal()
        run = journal.open_run(plan, sandbox=False)
        return execute(journal, run.id, self.fakes, self.context(plan, **changes))

    def resume(self, run_id: str, *, one_step: bool = False, **changes: Any) -> RunRecord:
        """Takes the run up as a new process does, once the old one's threads are dead too; one that
        was led elsewhere goes on there.
        """
        wait_for_steps()
        self.mortal.dies_before = None
        journal = self.journal()
        while True:
            plan = journal.plan(run_id)
            context = self.context(plan, **changes)
            run = execute(journal, run_id, self.fakes, context, one_step=one_step)
            if run.plan_checksum == plan.checksum:
                return run

    def crash_at(self, step: str, point: str) -> Callable[[str, str], None]:
        def breakpoint(at_step: str, at_point: str) -> None:
            if (at_step, at_point) == (step, point):
                raise Crash(f"{step} {point}")

        return breakpoint


def without_waiting_for_the_disk(database: Database) -> Database:
    """No test here cuts the power; what must be on the disk is tested in tests/unit/state."""
    if database._engine.dialect.name != "sqlite":
        return database
    database.close()
    event.listen(
        database._engine,
        "connect",
        lambda connection, _record: connection.execute("PRAGMA synchronous = OFF"),
    )
    return database


@pytest.fixture(scope="session")
def deployment() -> tuple[Config, Runbook]:
    """The repository's own deployment and runbook, read once."""
    return (
        load_config(ROOT / "schedules.yaml"),
        load_runbook(ROOT / "runbooks" / "primary-gpu-down.yaml"),
    )


@pytest.fixture
def state(tmp_path: Path) -> str | Path:
    """Where the state lies: a file, or a database's URL."""
    return tmp_path / "state.sqlite"


@pytest.fixture
def world(tmp_path: Path, deployment: tuple[Config, Runbook], state: str | Path) -> Iterator[World]:
    clock = ManualClock()
    config, runbook = deployment
    mortal = Mortal()
    gateway = config.switch["gateway"].model_copy(update={"drill_url": "http://127.0.0.1:8081"})
    made = World(
        tmp_path=tmp_path,
        config=config.model_copy(update={"switch": {**config.switch, "gateway": gateway}}),
        runbook=runbook,
        clock=clock,
        state=state,
        database=MortalDatabase(open_database(state, clock=clock), mortal),
        compute=MemoryCompute(clock),
        arbiter=MemoryArbiter(clock, MortalPlace(mortal)),
        mortal=mortal,
        prober=MemoryProber(clock),
        switches=(
            MemorySwitch(
                "dns",
                "llm.example.org",
                carries_external=False,
                setting=Setting(False, "http://203.0.113.10:8000"),
            ),
            MemorySwitch(
                "gateway",
                "http://127.0.0.1:8080",
                setting=Setting(False, "http://203.0.113.10:8000"),
            ),
        ),
    )
    yield made
    wait_for_steps()
    made.database.close()


@pytest.fixture
def there(world: World) -> World:
    """The same world, as another machine sees it."""
    return world.elsewhere("there")


@pytest.fixture
def crash() -> type[Crash]:
    return Crash


@pytest.fixture
def away(world: World, monkeypatch: pytest.MonkeyPatch) -> Away:
    """The service serves from where it failed over to, and answers through the gateway."""
    from drkit.verify import model

    monkeypatch.setattr(model, "ask_gateway", lambda *_: "Qwen3-4B")
    return Away(world)


@pytest.fixture(scope="module")
def config() -> Config:
    return quiet_deployment()


@pytest.fixture
def shipped() -> Runbook:
    return shipped_runbook()

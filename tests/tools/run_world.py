"""A world for runs: the real engine, journal, arbiter and actions; time, providers and switches of
our own. Several drkits on two machines act in it, die in it, and are judged by `run_rules`.

Each machine has a database of its own (a run that another one takes over goes by the store), or
both use one, as with PostgreSQL.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from run_context import context_of
from run_drkit import Drkit, JudgedJournal, ProcessDatabase
from run_places import (
    Done,
    ProcessPlace,
    Provider,
)
from run_probe import Watching
from run_rules import Rules
from run_stack import DRILL_GATEWAY, GATEWAY, SERVICE, STANDBY, Stack
from run_state import SeenJournal, State
from simulated_threads import Dead, Machine, MachineClock, Simulation

from drkit.compute.interface import Endpoint
from drkit.config.models import Config
from drkit.coordination.arbiter import PlacedArbiter
from drkit.coordination.memory import MemoryPlace
from drkit.coordination.sightings import MemorySightings
from drkit.errors import ConfigError, DrkitError
from drkit.runs import engine
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.actions.interface import Context
from drkit.runs.book.plan import Plan, Serving, make_plan
from drkit.runs.journal.journal import Journal
from drkit.runs.journal.reading import ReadableJournal
from drkit.runs.journal.sealed import sealed_run, sealed_runs
from drkit.runs.lease import owner_key
from drkit.runs.records import EXTERNAL, Ask, Entry, RunRecord
from drkit.runs.steering.takeover import take_over
from drkit.stores.memory import MemoryStore
from drkit.traffic.interface import Setting
from drkit.traffic.memory import MemorySwitch
from drkit.wiring.failback import serving_now

PRIMARY = Endpoint("http", "203.0.113.10", 8000)
AT_HOME = Setting(False, PRIMARY.url)


@dataclass(frozen=True, slots=True)
class Known:
    """A run as one database has it."""

    run: RunRecord
    plan: Plan
    entries: list[Entry]


class World:
    """One story. Everything random in it comes from `seed`."""

    def __init__(
        self,
        stack: Stack,
        folder: Path,
        seed: int = 0,
        *,
        shared: bool = False,
        mode: str = "approve",
        like: World | None = None,
    ) -> None:
        self.stack = stack
        self.folder = folder
        self.like = like
        self.config: Config = stack.config_of(folder / "home", mode)
        self.service = SERVICE
        self.sim = Simulation(seed)
        self.random = random.Random(seed + 1)
        self.machines = {name: Machine(name) for name in ("one", "two")}
        self._sightings = {name: MemorySightings() for name in self.machines}
        self.shared = shared
        self.databases = self._open_databases()
        databases = {id(each): (name, each) for name, each in self.databases.items()}
        self._seen = [(name, SeenJournal(each)) for name, each in databases.values()]
        self.journals = MemoryStore("journals")
        self.place = MemoryPlace()
        self.provider = Provider(self.true_clock, tuple(self.config.targets))
        self.switches = (
            MemorySwitch("dns", "llm.example.org", carries_external=False, setting=AT_HOME),
            MemorySwitch("gateway", GATEWAY, setting=AT_HOME),
        )
        self.drill_switches = (
            MemorySwitch("drill-dns", "drill-llm.example.org", carries_external=False),
            MemorySwitch("drill-gateway", DRILL_GATEWAY),
        )
        self.lost: tuple[str, ...] = ("lambda",)
        self.primary_up = False
        self.primary = PRIMARY
        self.primary_url = PRIMARY.url
        self.standby_up = False
        self.arbiter_down = False
        self.arbiter_mute = 0
        self.cut_off: set[str] = set()
        self.switches_down: set[str] = set()
        self.slow_switches: dict[str, float] = {}
        self.stops_at_read = ""
        self.done: list[Done] = []
        self.drkits: list[Drkit] = []
        self.rules = Rules(self)
        self.watching = Watching(self)
        self._acting: Drkit | None = None
        self.frozen = False
        self.left: dict[str, bytes] = {}
        if like is not None:
            self._begin_like(like)

    @property
    def true_clock(self) -> MachineClock:
        return MachineClock(self.sim, Machine("nobody's"))

    def clock_of(self, machine: Machine) -> MachineClock:
        return MachineClock(self.sim, machine)

    # What is there

    def answers(self, url: str) -> bool:
        """Whether the server at `url` gives tokens now."""
        if url == PRIMARY.url:
            return self.primary_up
        return self.standby_up if url == STANDBY else self.provider.answers_at(url)

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

    def known(self, run_id: str, machine: str | None = None) -> Known:
        """The run as that machine knows it; without one, as the machine that owns it does."""
        found = []
        for name, journal in self.readable():
            if self.shared or machine in (None, name):
                with suppress(ConfigError):
                    found.append((journal.run(run_id), journal))
        run, journal = max(found, key=lambda each: each[0].generation)
        return Known(run, journal.plan(run_id), journal.entries(run_id))

    def readable(self) -> list[tuple[str, SeenJournal]]:
        """The journals, one for each database."""
        return self._seen

    def run(self, run_id: str) -> RunRecord:
        return self.known(run_id).run

    def runs(self) -> list[RunRecord]:
        """All runs, each as its owner knows it, the oldest first."""
        ids: dict[str, RunRecord] = {}
        for _, journal in self.readable():
            for run in journal.runs():
                if run.id not in ids or ids[run.id].generation < run.generation:
                    ids[run.id] = run
        return sorted(ids.values(), key=lambda run: (run.created_at, run.id))

    def sealed(self) -> list[RunRecord]:
        """The runs that the stores know."""
        return sealed_runs([self.journals], lambda data: data)

    def lives(self, pid: int | None, mark: str | None) -> bool:
        """Whether that process lives, as one on its machine sees it; others cannot see it."""
        here = self.own_mark()[1].rsplit("-", 1)[0]
        return any(
            each.mark == mark and each.machine.name == here and not each.dead and not each.over
            for each in self.drkits
        )

    def own_mark(self) -> tuple[int, str]:
        drkit = self.current()
        return drkit.pid, drkit.mark

    def current(self) -> Drkit:
        drkit = self.sim.current.process if self.sim.current is not None else self._acting
        assert isinstance(drkit, Drkit)
        return drkit

    # What operators do

    def warm(self) -> None:
        """The first target is a warm standby, and runs."""
        self.config = self.stack.warmed(self.config)
        self.standby_up = True

    def plan(
        self,
        runbook: str,
        kind: str | None = None,
        target: str = "coreweave",
        on: str = "one",
    ) -> Plan:
        """The plan as an operator gets it now on that machine. A failback leaves who serves."""
        book = self.stack.runbooks[runbook]
        serving = self._serving(on) if book.kind == "failback" else None
        machine = any(step.action in ("acquire", "standby") for step in book.steps)
        return make_plan(
            book.model_copy(update={"lost": self.lost}) if book.lost else book,
            config=self.config,
            kind=kind or book.kind,  # type: ignore[arg-type]
            target=serving.site if serving else target if machine else EXTERNAL,
            actions=ACTIONS,
            serving=serving,
        )

    def _serving(self, machine: str) -> Serving:
        drkit = self.new_drkit(machine)
        app: Any = SimpleNamespace(
            config=self.config,
            arbiter=self.arbiter(drkit),
            switches=lambda _namespace: self.switches,
            stores=(self.journals,),
            repository=SimpleNamespace(key=SimpleNamespace(open=lambda data: data)),
        )
        return serving_now(app, self.journal(drkit))

    def command(self, machine: str, do: Callable[[Journal], Any]) -> Any:
        """What `do` returns, done by a short command on that machine."""
        self._acting = drkit = self.new_drkit(machine)
        try:
            return do(self.journal(drkit))
        finally:
            self._acting = None

    def open_run(self, plan: Plan, machine: str = "one", **settings: Any) -> RunRecord:
        run = self.command(machine, lambda j: j.open_run(plan, sandbox=False, **settings))
        assert isinstance(run, RunRecord)
        return run

    def ask(self, run_id: str, ask: Ask, machine: str = "one") -> None:
        self.command(machine, lambda journal: journal.ask(run_id, ask, who="somebody"))

    def execute(self, run_id: str, machine: str = "one", **dies: Any) -> Drkit:
        """A process that takes the run up; it acts when the simulation runs. A run of another
        machine is taken over first.
        """
        drkit = self.new_drkit(machine)
        drkit.run_id = run_id
        for name, value in dies.items():
            setattr(drkit, name, value)
        drkit.task = self.sim.start(drkit, lambda: self._main(drkit))
        return drkit

    def finish(self, drkit: Drkit) -> Drkit:
        """Runs the simulation until the process is over."""
        self.sim.run(lambda: drkit.over)
        assert drkit.over, f"{drkit.mark} waits for ever"
        return drkit

    def heal(self) -> None:
        """Whatever did not work works again, and stopped processes go on."""
        self.arbiter_down, self.arbiter_mute, self.journals.down = False, 0, False
        self.provider.down = False
        self.watching.blind.clear()
        self.provider.answers.clear()
        for each in (self.cut_off, self.switches_down, self.slow_switches):
            each.clear()
        for machine in self.machines.values():
            machine.skew_s = 0.0
        for drkit in self.drkits:
            drkit.stopped = False

    def end(self) -> None:
        if self.frozen:
            return
        self.sim.end()
        for database in self.databases.values():
            database.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # What processes are given

    def acts(self, drkit: Drkit, kind: str, what: str) -> None:
        self.done.append(Done(self.sim.now_s, drkit.mark, drkit.run_id, kind, what))

    def destroyed(self) -> set[str]:
        """Ids of the instances that drkit destroyed."""
        return {each.what for each in self.done if each.kind == "destroy"}

    def journal(self, drkit: Drkit) -> Journal:
        """The journal as `drkit` opens it."""

        def copy(name: str, content: bytes) -> bool:
            try:
                self.journals.put(name, content, size_bytes=len(content))
            except DrkitError:
                return False
            return True

        clock = self.clock_of(drkit.machine)
        database = ProcessDatabase(self, drkit, clock)
        return JudgedJournal(self, drkit, database, clock, copy)

    def arbiter(self, drkit: Drkit) -> PlacedArbiter:
        place = ProcessPlace(self, drkit, self.place)
        sightings = self._sightings[drkit.machine.name]
        return PlacedArbiter(place, sightings, self.clock_of(drkit.machine))

    def context(self, drkit: Drkit, plan: Plan) -> Context:
        return context_of(self, drkit, plan)

    def _main(self, drkit: Drkit) -> RunRecord:
        """As the command does: taken over where it has to be, and executed, also elsewhere."""
        journal, run_id = self.journal(drkit), drkit.run_id
        if not self._owns(drkit):
            take_over(
                journal,
                lambda: sealed_run([self.journals], lambda data: data, run_id),
                arbiter=self.arbiter(drkit),
                holder=drkit.holder,
                clock=self.clock_of(drkit.machine),
                who="somebody",
            )
        while True:
            before = journal.run(run_id)
            context = self.context(drkit, journal.plan(run_id))
            run = engine.execute(journal, run_id, ACTIONS, context)
            if run.plan_checksum == before.plan_checksum:
                return run

    def _owns(self, drkit: Drkit) -> bool:
        """Whether an operator sees no need to take the run over to this machine."""
        owner = self.place.read(owner_key(drkit.run_id)).role
        known = any(run.id == drkit.run_id for run in self._readable(drkit.machine.name).runs())
        return known and (owner is None or owner.site == drkit.holder)

    def _readable(self, machine: str) -> ReadableJournal:
        return ReadableJournal(self.databases[machine])

    def freeze(self) -> None:
        """Nothing happens here any more, and others may begin like it."""
        self.sim.end()
        self.frozen = True
        self.left = {name: database.content() for name, database in self.databases.items()}
        for database in self.databases.values():
            database.close()

    def _begin_like(self, other: World) -> None:
        self.sim.now_s, self.primary_up, self.lost = other.sim.now_s, other.primary_up, other.lost
        self.provider.begin_like(other.provider)
        self.place._states = dict(other.place._states)
        self.journals.objects = dict(other.journals.objects)
        for own, others in zip(
            (*self.switches, *self.drill_switches),
            (*other.switches, *other.drill_switches),
            strict=True,
        ):
            own.history = list(others.history)

    def new_drkit(self, machine: str) -> Drkit:
        drkit = Drkit(self.machines[machine], self.sim.new_pid())
        self.drkits.append(drkit)
        return drkit

    def breakpoint(self, drkit: Drkit, step: str, point: str) -> None:
        self.sim.switch()
        if drkit.stops_at == (step, point):
            drkit.stops_at, drkit.stopped = None, True
            self.sim.switch()
            self.sim.wait(None, 60.0)  # this thread is the last to go on
        if drkit.dies_at == (step, point):
            self.sim.kill(drkit)
        if drkit.dead:
            raise Dead

    def _open_databases(self) -> dict[str, State]:
        self.folder.mkdir(parents=True, exist_ok=True)
        opened: dict[str, State] = {}
        for name in self.machines:
            if self.shared and opened:
                opened[name] = next(iter(opened.values()))
                continue
            content = self.stack.state if self.like is None else self.like.left[name]
            opened[name] = State(content, self.true_clock)
        return opened

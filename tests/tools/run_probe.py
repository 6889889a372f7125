"""`drkit probe`, `approve`, `pause` and `ack` in the run world: the real round of the watch, and
what follows from it: users are held and led back, a decision is weighed, a run is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from run_drkit import Drkit, ProcessDatabase
from run_places import ProcessProber, ProcessSwitch

from drkit.cli.watch import after_round
from drkit.health.interface import REFERENCE, ProbeResult, Verdict
from drkit.health.witness.asking import Heard, Voice
from drkit.operations.watch.decide import acknowledge, decided_runbook, end_pause, pause
from drkit.runs.journal.opening import Opener, Right
from drkit.wiring import watch as wiring_watch

if TYPE_CHECKING:
    from run_world import World


class Watching:
    """What the watch of both machines does, and what may be asked of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.blind: set[str] = set()
        self.witness = Voice.SILENT
        self.said: list[str] = []

    def probe(self, machine: str, rounds: int = 1) -> Drkit:
        """A process that makes rounds, with a pause between."""
        drkit = self._world.new_drkit(machine)
        every_s = self._world.config.probe.suspect_every

        def main() -> None:
            app = self._app(drkit)
            for _ in range(rounds):
                role, watched = wiring_watch.make_round(app)
                after_round.follow(SimpleNamespace(config_path=Path("x")), app, watched, role)  # type: ignore[arg-type]
                app.clock.sleep(every_s)

        drkit.task = self._world.sim.start(drkit, main)
        return drkit

    def approve(self, machine: str) -> Drkit:
        """As the command does; the run's own process follows."""
        drkit = self._world.new_drkit(machine)

        def main() -> None:
            world, app = self._world, self._app(drkit)
            plan = world.plan(decided_runbook(app.config), "failover", on=machine)
            reachable = wiring_watch.role_now(app).unconfirmed is None
            health = wiring_watch.seen_health(app)
            facts = wiring_watch.read_facts(app, health, leads=True, arbiter_reachable=reachable)
            settings = app.config.decide
            approved = wiring_watch.open_decisions(app).approve(facts, settings, by="somebody")
            opener = Opener("somebody", Right.APPROVED, settings, approved.id)
            run = world.journal(drkit).open_run(plan, sandbox=False, opener=opener)
            world.execute(run.id, machine)

        drkit.task = self._world.sim.start(drkit, main)
        return drkit

    def pause(self, machine: str, minutes: float) -> None:
        world = self._world
        now = world.clock_of(world.machines[machine]).now()
        until = now + timedelta(minutes=minutes)
        database = world.databases[machine]
        pause(database, world.service, until=until, now=now, by="somebody", why="work")

    def end_pause(self, machine: str) -> None:
        end_pause(self._world.databases[machine], self._world.service)

    def acknowledge(self, machine: str) -> None:
        world = self._world
        now = world.clock_of(world.machines[machine]).now()
        acknowledge(world.databases[machine], world.service, now)

    # What stands for places that are asked over the network

    def reach(self, _hosts: Sequence[str]) -> ProbeResult:
        drkit = self._world.current()
        blind = drkit.machine.name in self.blind
        drkit.saw_nothing = blind
        return ProbeResult(REFERENCE, Verdict.FAILED if blind else Verdict.PASSED, "told so")

    def hear(self, _app: Any, _site: str) -> tuple[Heard, ...]:
        drkit = self._world.current()
        drkit.heard = self.witness
        return (Heard("witness", self.witness, "told so"),)

    def _app(self, drkit: Drkit) -> Any:
        world, clock = self._world, self._world.clock_of(drkit.machine)
        return SimpleNamespace(
            drkit=drkit,
            config=world.config,
            arbiter=world.arbiter(drkit),
            clock=clock,
            database=ProcessDatabase(world, drkit, clock),
            machine=drkit.machine.name,
            emit=lambda event: self.said.append(f"{drkit.mark}: {event}"),
            switches=lambda _namespace: tuple(
                ProcessSwitch(world, drkit, switch) for switch in world.switches
            ),
            prober=ProcessProber(world, drkit),
            state_dir=world.folder / drkit.machine.name / "state",
            api_key=lambda: None,
            primary=world.primary,
            sandbox=False,
        )

"""What operators, processes and the world do in one random life of the run world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from run_drkit import Drkit
from run_inhabited import inhabited
from run_stack import Stack
from run_world import World

from drkit.errors import DrkitError
from drkit.health.witness.asking import Voice
from drkit.runs.journal.journal import Journal
from drkit.runs.lease import LEASE_TTL_S
from drkit.runs.records import Ask, RunRecord, RunState, StepState
from drkit.runs.states import replay
from drkit.runs.steering.retarget import may_retarget
from drkit.runs.steering.skip import skip_step
from drkit.traffic.interface import Setting

WORDS = ("approve", "pause", "end the pause", "acknowledge")
WEATHER = (
    *("primary up", "primary down", "primary down", "standby up", "standby down"),
    *("target hangs", "target dies"),
    *(voice.value for voice in Voice),
)
TROUBLES: tuple[tuple[str, str | float], ...] = (
    *(("create", answer) for answer in ("lost", "late", "never", "OUT_OF_CAPACITY", "TRANSIENT")),
    *(("lag", lag_s) for lag_s in (0.0, 5.0, 29.0)),
    *(("slow", name) for name in ("dns", "gateway")),
    *(("clock", skew_s) for skew_s in (-200.0, 20.0, 200.0, 400.0)),
    *(("away", what) for what in ("provider", "arbiter", "the arbiter's answer", "store")),
    *(("away", what) for what in ("arbiter from here", "network", "dns", "gateway")),
)
MODES = ("approve", "auto", "auto", "observe")
RUNS = {
    "failover": ("primary-gpu-down", "failover", "coreweave"),
    "failover elsewhere": ("primary-gpu-down", "failover", "runpod"),
    "drill": ("primary-gpu-down", "drill", "coreweave"),
    "hold": ("emergency-rollback", "switchover", ""),
    "failback": ("failback", "failback", ""),
}
MOST_RESUMES = 6


class Life:
    def __init__(self, stack: Stack, folder: Path, seed: int) -> None:
        self._entered = inhabited(
            World(stack, folder, seed, shared=seed % 3 == 0, mode=MODES[seed % len(MODES)])
        )
        self.world = self._entered.__enter__()
        self.log: list[str] = []

    def open_run(self, what: str, machine: str, *, starts: bool = True) -> None:
        """A command on that machine; it starts the process that executes the run, or dies before
        it could: then the run waits for whoever takes it up.
        """
        world = self.world
        runbook, kind, target = RUNS[what]

        def opened() -> None:
            plan = world.plan(runbook, kind, target, machine)
            run = world.open_run(plan, machine)
            if starts:
                world.execute(run.id, machine)

        self._try(f"{what} on {machine}", opened)

    def ask(self, what: str) -> None:
        """An operator says something to the oldest open run, where it belongs, and takes it up."""
        world = self.world
        for run in self.open_runs()[:1]:
            machine = run.machine or "one"

            def asked(run: RunRecord = run, machine: str = machine) -> None:
                world.command(machine, lambda journal: self._said(journal, run, what))

            self._try(f"{what} of {run.id}", asked)

    def _said(self, journal: Journal, run: RunRecord, what: str) -> None:
        plan = journal.plan(run.id)
        steps = replay(journal.entries(run.id), [step.id for step in plan.steps])
        if what == "skip":
            for step in plan.steps:
                if steps[step.id].state in (StepState.FAILED, StepState.PENDING):
                    why = {"reason": "it hurts", "who": "somebody"}
                    skip_step(journal, run.id, step.id, self._leased, **why)
                    return
        elif what == "retarget":
            target = "coreweave" if run.target == "runpod" else "runpod"
            new = self.world.plan(run.runbook, run.kind, target)
            may_retarget(run, plan, steps, new)
            journal.ask(run.id, Ask("retarget", "somebody", new.to_json()), who="somebody")
        else:
            journal.ask(run.id, Ask(what, "somebody"), who="somebody")  # type: ignore[arg-type]

    @contextmanager
    def _leased(self, run_id: str) -> Iterator[Any]:
        """The service's lease, for as short as no simulated thread needs to keep it."""
        drkit = self.world.current()
        arbiter, holder = self.world.arbiter(drkit), f"{drkit.machine.name}/{run_id}"
        lease = arbiter.acquire(self.world.service, holder, ttl_s=LEASE_TTL_S)
        yield SimpleNamespace(wait_s=lambda: LEASE_TTL_S if lease.taken_over else 0.0)
        if not lease.taken_over:
            arbiter.release(lease)

    def _try(self, what: str, do: Callable[[], object]) -> None:
        try:
            do()
        except DrkitError as error:
            self.log.append(f"{what}: {type(error).__name__}: {error.message}")

    def resume(self, machine: str) -> None:
        """As the command does: what was asked to stop is withdrawn."""
        for run in self.open_runs():
            if run.asked is not None and run.asked.what in ("stop", "abort"):
                self.world.command(
                    run.machine or "one", lambda j, run=run: j.ask(run.id, None, who="somebody")
                )
            self.world.execute(run.id, machine)

    def probe(self, machine: str, rounds: int) -> None:
        self.world.watching.probe(machine, rounds)

    def work(self, turns: int) -> None:
        self.world.sim.run(turns=turns)

    def time_passes(self, seconds: float) -> None:
        self.world.sim.run(ends_s=self.world.sim.now_s + seconds)

    def signal(self, which: int, how: str) -> None:
        living = self.living()
        if not living:
            return
        drkit = living[which % len(living)]
        match how:
            case "kill":
                self.world.sim.kill(drkit)
            case "stop":
                drkit.stopped = True
            case "go on":
                drkit.stopped = False
            case _:
                drkit.told = "SIGTERM"

    def overtaken(self, which: int, turns: int) -> None:
        """One is stopped for so long that its run is taken up elsewhere, and goes on one day."""
        living = [each for each in self.living() if each.run_id]
        if not living:
            return
        drkit = living[which % len(living)]
        drkit.stopped = True
        self.time_passes(100.0)
        self.world.execute(drkit.run_id, "two" if drkit.machine.name == "one" else "one")
        self.work(turns)
        drkit.stopped = False

    def dies_soon(self, writes: int) -> None:
        """One that lives dies before one of its next writes."""
        if living := self.living():
            living[-1].dies_before_write = living[-1].writes + writes

    def say(self, machine: str, word: str) -> None:
        """What an operator says to the watch of that machine."""
        watching = self.world.watching
        match word:
            case "approve":
                watching.approve(machine)
            case "pause":
                watching.pause(machine, 10.0)
            case "end the pause":
                watching.end_pause(machine)
            case "acknowledge":
                watching.acknowledge(machine)

    def weather(self, what: str) -> None:
        """What becomes of the servers, and who says so."""
        world = self.world
        match what:
            case "primary up" | "primary down":
                world.primary_up = what == "primary up"
            case "standby up" | "standby down":
                world.standby_up = what == "standby up"
            case "target hangs":
                world.provider.dumb |= {each.id for each in world.provider.alive()}
            case "target dies":
                for each in world.provider.alive():
                    world.provider.dies(each.id)
            case voice:
                world.watching.witness = Voice(voice)

    def trouble(self, machine: str, kind: str, what: str | float) -> None:
        """Something does not work from now on, or will not when it is asked next."""
        world = self.world
        match kind, what:
            case "create", str():
                world.provider.answers.append(what)
            case "lag", float():
                world.provider.lag_s = what
            case "slow", str():
                world.slow_switches[what] = 9.0
            case "clock", float():
                world.machines[machine].skew_s = what
            case "away", "provider":
                world.provider.down = True
            case "away", "arbiter":
                world.arbiter_down = True
            case "away", "the arbiter's answer":
                world.arbiter_mute = 1
            case "away", "store":
                world.journals.down = True
            case "away", "arbiter from here":
                world.cut_off.add(machine)
            case "away", "network":
                world.watching.blind.add(machine)
            case "away", str():
                world.switches_down.add(what)

    def look(self) -> None:
        self.world.rules.always()
        self._must_be_sound()

    def conclude(self) -> None:
        """All is mended, who lives ends, and operators bring every open run to its end."""
        world = self.world
        world.heal()
        world.sim.run(lambda: not self.living())
        for number in range(MOST_RESUMES):
            if not (runs := self.open_runs()):
                break
            for run in runs:
                machine = run.machine or "one"
                if run.state is RunState.ROLLBACK_FAILED:
                    self._led_home_by_hand(run)
                if number == MOST_RESUMES - 2:  # what cannot go on is taken back
                    world.ask(run.id, Ask("rollback", "somebody"), machine)
                elif run.asked is not None and run.asked.what in ("stop", "abort"):
                    world.command(machine, lambda j, run=run: j.ask(run.id, None, who="somebody"))
                world.finish(world.execute(run.id, machine))
            self.time_passes(120.0)  # a lease that another machine left behind runs out
        world.rules.at_the_end()
        self._must_be_sound()

    def _led_home_by_hand(self, run: RunRecord) -> None:
        """As the run asks: names lead away from a machine of it that is kept because of them."""
        world = self.world
        kept = [e for e in world.provider.alive() if e.tags.get("drkit-run") == run.id]
        urls = {each.endpoint.url for each in kept if each.endpoint is not None}
        for switch in world.switches:
            now = switch.history[-1]
            if now.value in urls and not now.held:
                switch.set_by_another(Setting(False, world.primary_url))

    def over(self) -> None:
        self._entered.__exit__(None, None, None)

    def open_runs(self) -> list[RunRecord]:
        return [run for run in self.world.runs() if run.ended_at is None]

    def living(self) -> list[Drkit]:
        return [drkit for drkit in self.world.drkits if not drkit.over and not drkit.dead]

    def _must_be_sound(self) -> None:
        world = self.world
        bugs = [
            f"{drkit.mark}: {drkit.error!r}"
            for drkit in world.drkits
            if drkit.error is not None
            and not isinstance(drkit.error, DrkitError)
            and not drkit.dead
        ]
        assert not world.rules.broken + bugs, "\n".join([*world.rules.broken, *bugs, self.story()])

    def story(self) -> str:
        done = [f"{d.at_s:8.1f} {d.process} {d.run_id} {d.kind} {d.what}" for d in self.world.done]
        entries = [
            f"{e.seq:3d} {e.elapsed_s:7.1f} {e.step} {e.kind} {str(e.payload)[:160]}"
            for run in self.world.runs()
            for e in self.world.known(run.id).entries
        ]
        return "\n".join([*self.log, *self.world.watching.said, *done, *entries])

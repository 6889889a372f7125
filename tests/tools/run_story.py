"""One run of one runbook in the run world, from what comes before it to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from run_inhabited import inhabited
from run_stack import PROJECT, Stack
from run_world import Drkit, World

from drkit.runs.book.plan import Plan, kinds_of, leads_to_standby
from drkit.runs.book.schema import load_runbook
from drkit.runs.records import Ask, RunKind, RunRecord, RunState

POINTS = ("before-intent", "after-intent", "after-effect", "after-record")
MOST_RESUMES = 4


def kinds(runbook: str) -> tuple[RunKind, ...]:
    return kinds_of(load_runbook(PROJECT / "runbooks" / f"{runbook}.yaml"))


def at_the_target(stack: Stack, folder: Path) -> World:
    """A world in which the service lives at its target, with data; others may begin like it."""
    with inhabited(World(stack, folder)) as world:
        world.lost = ("lambda", "vm")
        story = Story(world, "primary-gpu-down", "failover")
        assert story.execute().error is None
        assert world.run(story.run_id).state is RunState.COMMITTED
        world.primary_up = True
        world.freeze()
    return world


class Story:
    """The world as such a run finds it, and the run."""

    def __init__(self, world: World, runbook: str, kind: str) -> None:
        self.world = world
        if leads_to_standby(world.stack.runbooks[runbook]):
            world.warm()
        self.plan: Plan = world.plan(runbook, kind)
        self.run_id = world.open_run(self.plan).id

    def points(self) -> list[tuple[str, str]]:
        """Every (step, point) of the steps that such a run executes."""
        steps = [step.id for step in self.plan.steps if step.skip is None]
        return [(step, point) for step in steps for point in POINTS]

    def execute(self, **how: Any) -> Drkit:
        """A process takes the run up, and lives until it is over."""
        return self.world.finish(self.world.execute(self.run_id, **how))

    def end(self, ending: str, machine: str = "one") -> RunRecord:
        """The run as it ends: resumed, or (an operator says so) rolled back."""
        world = self.world
        if ending == "rolled back":
            world.ask(self.run_id, Ask("rollback", "somebody"))
        for _ in range(MOST_RESUMES):
            if world.run(self.run_id).state.ended:
                break
            self.execute(machine=machine)
            if not world.run(self.run_id).state.ended:
                world.sim.run(ends_s=world.sim.now_s + 100.0)  # somebody's lease runs out
        return world.run(self.run_id)


def told(world: World, run: RunRecord, ending: str | None, at: object) -> list[str]:
    """What is wrong with how the story ended, in words. `ending` None: it only has to."""
    world.rules.at_the_end()
    wanted = {
        "resumed": (RunState.COMMITTED, RunState.DONE),
        "rolled back": (RunState.ROLLED_BACK, RunState.INTERRUPTED),
    }
    broken = list(world.rules.broken)
    if ending is not None and run.state not in wanted[ending]:
        broken.append(f"it ended {run.state.value}: {reason(world, run)}")
    return [f"{at}: {each}" for each in broken]


def reason(world: World, run: RunRecord) -> str:
    said = [e.payload["reason"] for e in world.known(run.id).entries if "reason" in e.payload]
    errors = [str(drkit.error) for drkit in world.drkits if drkit.error is not None]
    return "; ".join([*map(str, said), *errors])

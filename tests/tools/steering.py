"""What an operator asks of a run of a test, and where that leaves it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from drkit.errors import NeedsOperator, PlaceError
from drkit.runs.records import Ask, RunRecord, RunState

if TYPE_CHECKING:
    from conftest import World

WHO = "ada@desk"


def asks_during(world: World, step: str, what: str) -> None:
    """While `step` is executed, an operator asks for `what`, once."""

    def during(call, _context):
        journal = world.journal()
        if not any("asked" in e.payload for e in journal.entries(call.run_id)):
            journal.ask(call.run_id, Ask(what, WHO), who=WHO)  # type: ignore[arg-type]
        for _ in range(0 if what == "stop" else 2000):
            call.guard.pause(0.01)  # raises once the step is told to stop
            time.sleep(0.005)

    world.marks.during[step] = during


def last_state(world: World, run: RunRecord) -> dict:
    states = [e for e in world.journal().entries(run.id) if e.kind == "state"]
    return dict(states[-1].payload)


def waiting_at_verify(world: World) -> RunRecord:
    """A run whose machine and data are there, and which needs an operator."""
    world.marks.fail["verify"] = [NeedsOperator("odd", hint="look")]
    run = world.start()
    assert run.state is RunState.NEEDS_OPERATOR
    return run


def with_approval(world: World, *names: str) -> None:
    steps = tuple(
        step.model_copy(update={"approval": "operator"}) if step.id in names else step
        for step in world.runbook.steps
    )
    world.runbook = world.runbook.model_copy(update={"steps": steps})


GONE = PlaceError("the provider does not answer", hint="wait")

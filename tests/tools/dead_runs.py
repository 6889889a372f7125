"""Runs whose machine died, and another machine that takes them over."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from drkit.runs.book.plan import Plan
from drkit.runs.records import RunRecord
from drkit.runs.steering.takeover import take_over

if TYPE_CHECKING:
    from conftest import World


def unhurried(plan: Plan) -> Plan:
    """Steps that may take long by a clock that is turned by hand: where one step waits by it, it
    jumps for those that run beside it, too.
    """
    steps = tuple(replace(step, timeout_s=20 * step.timeout_s) for step in plan.steps)
    return replace(plan, steps=steps)


def wait_for_steps(named: str = "") -> None:
    """What a killed process still had running is dead, too; or: that step is over."""
    for thread in threading.enumerate():
        if thread.name.startswith(f"step {named}"):
            thread.join(timeout=60)
            assert not thread.is_alive(), thread.name


def died(world: World, crash: type[BaseException], step: str, point: str) -> RunRecord:
    """A run whose machine died there."""
    with pytest.raises(crash):
        world.start(breakpoint=world.crash_at(step, point))
    wait_for_steps()
    return world.journal().run("latest")


def died_before_it_spent(world: World, crash: type[BaseException]) -> RunRecord:
    """Neither `acquire` nor `fence`, which begin together, has begun."""

    def dies(step: str, point: str) -> None:
        if step in ("acquire", "fence"):
            raise crash(point)

    with pytest.raises(crash):
        world.start(breakpoint=dies)
    wait_for_steps()
    return world.journal().run("latest")


def died_and_taken_over(
    world: World, there: World, crash: type[BaseException], step: str, point: str
) -> RunRecord:
    """A run whose machine died there, as the machine that took it over has it."""
    return taken_over(there, died(world, crash, step, point).id)


def first_acts(world: World, *steps: str) -> dict[str, float]:
    """When each of these steps acts first from now on, in seconds of the world's clock."""
    first: dict[str, float] = {}
    for step in steps:
        world.marks.during[step] = lambda call, _context: first.setdefault(
            call.step_id, world.clock.elapsed_s()
        )
    return first


def taken_over(world: World, run_id: str) -> RunRecord:
    return take_over(
        world.journal(),
        lambda: world.sealed(run_id),
        arbiter=world.arbiter,
        holder=world.machine,
        clock=world.clock,
        who="ada@laptop",
    )

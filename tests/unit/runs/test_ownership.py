"""Who may act for a run: who has its claim and its lease, asked again before each effect."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from dead_runs import first_acts

from drkit.coordination.interface import LeaseHeld
from drkit.coordination.memory import MemoryArbiter
from drkit.io_policy import LONGEST_EFFECT_S
from drkit.runs.engine import execute
from drkit.runs.journal.journal import ClaimLost
from drkit.runs.lease import LEASE_TTL_S
from drkit.runs.records import RunState

if TYPE_CHECKING:
    from conftest import World


def test_R5_an_attempt_that_lost_its_claim_sends_nothing(world: World) -> None:
    def taken_over(call, _context):
        world.journal().claim(call.run_id)

    world.marks.during["acquire"] = taken_over
    plan = world.plan()
    journal = world.journal()
    run = journal.open_run(plan, sandbox=False)
    with pytest.raises(ClaimLost):
        execute(journal, run.id, world.fakes, world.context(plan))
    assert world.marks.count["acquire"] == 0


def test_R5_who_loses_the_run_while_it_looks_does_not_act_on_what_it_saw(world: World) -> None:
    acted: list[str] = []
    world.marks.during["acquire"] = lambda call, _context: acted.append(call.step_id)
    plan, actions = world.plan(), world.fakes

    def looks_until_another_has_it(call, _context):
        world.journal().claim(call.run_id)

    actions["acquire"] = replace(actions["acquire"], look=looks_until_another_has_it)
    run = world.journal().open_run(plan, sandbox=False)
    with pytest.raises(ClaimLost):
        execute(world.journal(), run.id, actions, world.context(plan))
    assert acted == []


def test_R5_a_run_whose_next_step_another_process_began_is_that_one_s(world: World) -> None:
    journal, plan = world.journal(), world.plan()
    run = journal.open_run(plan, sandbox=False)

    def overtaken(step: str, point: str) -> None:
        if (step, point) == ("verify", "after-record"):
            elsewhere = world.journal()
            elsewhere.claim(run.id)
            elsewhere.append(run.id, "intent", step="cutover", payload={})

    with pytest.raises(ClaimLost):
        execute(journal, run.id, world.fakes, world.context(plan, breakpoint=overtaken))
    assert world.marks.count["cutover"] == 0


def test_R5_a_machine_that_does_not_get_the_lease_does_not_get_the_run_either(
    world: World,
) -> None:
    def tried_elsewhere(call, context):
        arbiter = MemoryArbiter(world.clock, world.arbiter.place)
        there = replace(context, arbiter=arbiter, holder="there")
        with pytest.raises(LeaseHeld):
            execute(world.journal(), call.run_id, world.fakes, there)

    world.marks.during["acquire"] = tried_elsewhere
    assert world.start().state is RunState.COMMITTED


def test_a_lease_that_another_holds_lets_nothing_begin(world: World) -> None:
    from drkit.coordination.interface import LeaseHeld

    world.arbiter.acquire("assistant", "somebody else", ttl_s=60)
    with pytest.raises(LeaseHeld):
        world.start()
    assert not world.marks.count


def test_T3_after_a_takeover_no_effect_comes_before_the_former_holders_last_one(
    world: World,
) -> None:
    with suppress(LeaseHeld):
        world.arbiter.acquire("assistant", "a machine that died", ttl_s=LEASE_TTL_S)
    with pytest.raises(LeaseHeld):
        world.start()
    world.clock.advance(LEASE_TTL_S + 1)
    taken_s = world.clock.elapsed_s()
    first = first_acts(world, "hold", "acquire", "fence", "cutover")
    (run,) = world.journal().runs()
    world.resume(run.id)
    free_s = taken_s + LEASE_TTL_S + LONGEST_EFFECT_S
    for effect in ("hold", "acquire", "fence", "cutover"):
        assert first[effect] >= free_s, effect
    said = [e.payload.get("text", "") for e in world.journal().entries(run.id)]
    assert any("another process sent" in str(text) for text in said)


def test_a_lease_taken_over_stops_the_run_before_its_next_effect(world: World) -> None:
    from drkit.coordination.interface import LeaseLost

    def taken(_call, _context):
        while True:  # the lease may be renewed by its keeper at this very moment
            world.clock.advance(1000)
            with suppress(LeaseHeld):
                world.arbiter.acquire("assistant", "somebody else", ttl_s=10_000)
                return

    world.marks.during["acquire"] = taken
    with pytest.raises(LeaseLost):
        world.start()
    assert world.marks.count["acquire"] == 0
    assert world.marks.undone == []

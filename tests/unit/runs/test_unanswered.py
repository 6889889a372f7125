"""R5: a switch or an arbiter that gave no answer may have done it, or may do it later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from drkit.coordination.interface import ArbiterUnreachable
from drkit.errors import GuardRefused, VerificationFailed
from drkit.io_policy import LONGEST_EFFECT_S
from drkit.runs.records import RunState, StepState
from drkit.runs.states import unanswered
from drkit.runs.steering.skip import skip_step

if TYPE_CHECKING:
    from conftest import World

PRIMARY, TARGET = "http://203.0.113.10:8000", "http://192.0.2.1:8000"
MODEL = "Qwen3-4B"


@pytest.fixture(autouse=True)
def _real(world: World) -> None:
    world.real = ("hold", "acquire", "cutover", "observe", "commit", "fence")
    world.prober.set(TARGET, MODEL)


def _kinds(world: World, run_id: str, step: str) -> list[str]:
    entries = [e for e in world.journal().entries(run_id) if e.step == step]
    return ["unknown" if "effect_unknown" in e.payload else e.kind for e in entries]


def _step(world: World, name: str, **changes: object) -> None:
    steps = [
        each.model_copy(update=changes) if each.id == name else each for each in world.runbook.steps
    ]
    world.runbook = world.runbook.model_copy(update={"steps": tuple(steps)})


def _arrives_late(world: World, number: int) -> None:
    """What that switch gave no answer to takes effect just before nothing can arrive any more."""
    switch = world.switches[number]
    read, lands_s = switch.read, [0.0]

    def reading():
        now_s = world.clock.elapsed_s()
        if switch.late and not lands_s[0]:
            lands_s[0] = now_s + LONGEST_EFFECT_S - 1
        if switch.late and now_s >= lands_s[0]:
            switch.arrive()
        return read()

    switch.read = reading  # type: ignore[method-assign]


@pytest.mark.parametrize("number", [0, 1])
def test_R5_what_came_without_an_answer_is_found_and_not_sent_again(
    world: World, number: int
) -> None:
    switch = world.switches[number]
    switch.mute = 1

    def arrives(step: str, point: str) -> None:
        if point == "before-intent":
            switch.arrive()

    run = world.start(breakpoint=arrives)
    assert run.state is RunState.COMMITTED
    step = "cutover" if number == 0 else "hold"
    kinds = _kinds(world, run.id, step)
    assert "failed" not in kinds
    assert kinds.index("unknown") < kinds.index("done")
    after = [each for each in switch.history if each.value == TARGET or each.held]
    assert len(after) == (1 if number == 0 else 2)  # each of them once


def test_R5_what_never_came_is_asked_for_again_and_nobody_waits_for_it(world: World) -> None:
    world.switches[1].mute = 1
    run = world.start()
    assert run.state is RunState.COMMITTED
    of_hold = [e for e in world.journal().entries(run.id) if e.step == "hold"]
    assert [e.kind for e in of_hold] == ["intent", "note", "intent", "done"]
    assert not any("outwaited" in e.payload for e in of_hold)  # users would have waited


def test_T3_traffic_is_led_back_only_when_nothing_can_lead_it_away_again(world: World) -> None:
    dns = world.switches[0]
    dns.mute = 99
    _arrives_late(world, 0)
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    assert "failed" not in _kinds(world, run.id, "cutover")
    world.clock.advance(LONGEST_EFFECT_S)
    assert dns.read().value != TARGET
    assert world.compute.find({}) == []


def test_T3_a_process_that_comes_later_waits_for_it_too(world: World, crash) -> None:
    dns = world.switches[0]
    dns.mute = 1
    _arrives_late(world, 0)

    def dies(step: str, point: str) -> None:
        cutovers = _kinds(world, world.journal().runs()[0].id, "cutover")
        if step == "cutover" and point == "before-intent" and "unknown" in cutovers:
            raise crash("after the request that got no answer")

    with pytest.raises(crash):
        world.start(breakpoint=dies)
    (run,) = world.journal().runs()
    assert unanswered(world.journal().entries(run.id)) == {"cutover"}
    world.marks.fail["verify_public"] = [VerificationFailed("another model", hint="look")]
    assert world.resume(run.id).state is RunState.ROLLED_BACK
    world.clock.advance(LONGEST_EFFECT_S)
    assert dns.read().value != TARGET
    assert not unanswered(world.journal().entries(run.id))


def test_a_hold_without_an_answer_keeps_no_failover_from_going_on(world: World) -> None:
    gateway = world.switches[1]
    gateway.mute = 1
    _step(world, "hold", retries=0)
    _arrives_late(world, 1)
    run = world.start()
    assert run.state is RunState.COMMITTED
    assert world.steps(run.id)["hold"].state is StepState.EFFECT_UNKNOWN
    world.clock.advance(LONGEST_EFFECT_S)
    assert (gateway.read().held, gateway.read().value) == (False, TARGET)


def test_R5_a_step_without_an_answer_is_not_skipped(world: World) -> None:
    _step(world, "hold", on_failure="ask")
    world.switches[1].mute = 99
    run = world.start()
    assert run.state is RunState.NEEDS_OPERATOR
    with pytest.raises(GuardRefused, match="not known whether hold took effect"):
        skip_step(world.journal(), run.id, "hold", world.lease_of, reason="in a hurry", who="ada")


def test_R5_a_role_whose_record_got_no_answer_is_read_before_it_is_recorded_again(
    world: World,
) -> None:
    place, lost = world.arbiter.place, []
    change = place.change

    def without_an_answer(service, step):
        before = place.read(service).role
        after = change(service, step)
        if after.role != before and not lost:
            lost.append(after.role)
            raise ArbiterUnreachable("the answer was lost", hint="wait")
        return after

    place.change = without_an_answer  # type: ignore[method-assign]
    run = world.start()
    assert run.state is RunState.COMMITTED
    kinds = _kinds(world, run.id, "cutover")
    assert ("failed" in kinds, "unknown" in kinds) == (False, True)
    role = world.arbiter.read_role("assistant")
    assert role is not None
    assert role == replace(lost[0], since=role.since)


def test_R5_an_undoing_without_an_answer_is_waited_for_before_the_next_one(world: World) -> None:
    world.marks.fail["verify_public"] = [VerificationFailed("another model", hint="look")]
    gateway = world.switches[1]

    def mute(step: str, point: str) -> None:
        if (step, point) == ("cutover", "after-record"):
            gateway.mute = 1

    run = world.start(breakpoint=mute)
    assert run.state is RunState.ROLLBACK_FAILED
    assert world.resume(run.id).state is RunState.ROLLED_BACK
    of_cutover = [e for e in world.journal().entries(run.id) if e.step == "cutover"]
    (asked,) = [e for e in of_cutover if e.payload.get("unanswered")]
    (undone,) = [e for e in of_cutover if e.kind == "undone"]
    assert undone.elapsed_s - asked.elapsed_s >= LONGEST_EFFECT_S
    assert gateway.read().held

"""Drills on the engine: torn down by it, proved, and out of the way of a failover."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from drkit.errors import PlaceError, VerificationFailed
from drkit.runs.records import RunState

if TYPE_CHECKING:
    from conftest import World


def test_R11_a_drill_is_torn_down_by_the_engine_and_proved(world: World) -> None:
    run = world.start("drill")
    assert (run.state, run.outcome, run.namespace) == (RunState.DONE, "passed", "drill")
    assert world.marks.there.isdisjoint({"acquire", "hold", "restore", "cutover"})
    states = [e.payload["to"] for e in world.journal().entries(run.id) if e.kind == "state"]
    assert states[-3:] == ["EVIDENCE", "TEARDOWN", "DONE"]
    assert world.arbiter.read_role("assistant") is None


def test_R11_a_drill_that_fails_verify_moves_no_switch_and_destroys_its_instance(
    world: World,
) -> None:
    world.marks.fail["verify"] = [VerificationFailed("model-1.safetensors", hint="look")]
    run = world.start("drill")
    assert (run.state, run.outcome) == (RunState.DONE, "failed")
    assert world.marks.count["cutover"] == 0
    assert "acquire" in world.marks.undone
    reasons = [e.payload.get("reason") for e in world.journal().entries(run.id)]
    assert "model-1.safetensors" in reasons


def test_R11_a_teardown_that_fails_keeps_the_drill_open_until_it_is_done(world: World) -> None:
    world.marks.undo_fail["acquire"] = [PlaceError("no answer", hint="wait")]
    run = world.start("drill")
    assert (run.state, run.ended_at) == (RunState.NEEDS_OPERATOR, None)
    run = world.resume(run.id)
    assert (run.state, run.outcome) == (RunState.DONE, "passed")
    assert "acquire" not in world.marks.there


def test_a_drill_without_names_of_its_own_skips_what_needs_one_and_says_so(world: World) -> None:
    gateway = world.config.switch["gateway"].model_copy(update={"drill_url": None})
    world.config = world.config.model_copy(update={"switch": {"gateway": gateway}})
    run = world.start("drill")
    assert (run.state, run.outcome) == (RunState.DONE, "passed")
    skipped = {e.step: e.payload for e in world.journal().entries(run.id) if e.kind == "skipped"}
    assert set(skipped) == {"hold", "cutover", "verify_public"}
    assert all("drill_record" in str(payload["reason"]) for payload in skipped.values())


def test_R4_a_failover_interrupts_the_drill_of_its_service(world: World) -> None:
    def failover_begins(_call, _context):
        if world.journal().open_run_of("assistant", "production") is None:
            world.journal().open_run(world.plan("failover"), sandbox=False)
        # Whatever the engine starts after this is too late.

    world.marks.during["deploy"] = failover_begins
    run = world.start("drill")
    assert (run.state, run.outcome) == (RunState.INTERRUPTED, "interrupted")
    assert run.interrupted_by is not None
    assert world.marks.count["verify"] == 0
    assert "acquire" not in world.marks.there


def test_R4_a_failover_goes_its_way_beside_a_drill_that_nobody_executes(
    world: World, crash: type[BaseException]
) -> None:
    with pytest.raises(crash):
        world.start("drill", breakpoint=world.crash_at("deploy", "after-effect"))
    drill = world.journal().open_run_of("assistant", "drill")
    assert drill is not None
    real = world.start("failover")
    assert real.state is RunState.COMMITTED
    assert world.journal().run(drill.id).interrupted_by == real.id
    world.marks.undone.clear()
    ended = world.resume(drill.id)
    assert (ended.state, ended.outcome) == (RunState.INTERRUPTED, "interrupted")
    assert "acquire" in world.marks.undone
    assert world.journal().run(real.id).state is RunState.COMMITTED

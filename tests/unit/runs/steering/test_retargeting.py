"""A run that is led elsewhere, and one whose machine cannot be given back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from steering import GONE, WHO, last_state, waiting_at_verify, with_approval

from drkit.errors import GuardRefused, NeedsOperator, PlaceError
from drkit.runs.engine import execute
from drkit.runs.records import Ask, RunRecord, RunState
from drkit.runs.steering.retarget import begin_anew, may_retarget

if TYPE_CHECKING:
    from conftest import World


def retarget(world: World, run: RunRecord, target: str = "runpod") -> RunRecord:
    """Asks for it as the command does, and has it executed."""
    ask_retarget(world, run, target)
    return world.resume(run.id)


def ask_retarget(world: World, run: RunRecord, target: str = "runpod") -> None:
    journal = world.journal()
    new = world.plan(target=target)
    may_retarget(run, journal.plan(run.id), world.steps(run.id), new)
    journal.ask(run.id, Ask("retarget", WHO, new.to_json()), who=WHO)


def test_a_run_that_is_led_elsewhere_keeps_what_was_restored(world: World) -> None:
    run = waiting_at_verify(world)
    ended = retarget(world, run)
    assert (ended.state, ended.target, ended.id) == (RunState.COMMITTED, "runpod", run.id)
    assert ended.plan_checksum == world.plan(target="runpod").checksum != run.plan_checksum
    counts = world.marks.count
    assert {name: counts[name] for name in ("hold", "fence", "point", "restore")} == dict.fromkeys(
        ("hold", "fence", "point", "restore"), 1
    )
    assert {name: counts[name] for name in ("preflight", "acquire", "deploy", "cutover")} == {
        "preflight": 2,
        "acquire": 2,
        "deploy": 2,
        "cutover": 1,
    }
    assert world.marks.undone == ["acquire"]
    (line,) = [e for e in world.journal().entries(run.id) if e.kind == "replanned"]
    assert line.payload["from"] == run.plan_checksum
    assert line.payload["to"] == ended.plan_checksum
    assert (line.payload["who"], line.payload["target"]) == (WHO, "runpod")
    assert set(line.payload["kept"]) == {"hold", "fence", "point", "restore"}


def test_the_old_machine_is_given_back_before_the_new_plan_holds(world: World) -> None:
    run = waiting_at_verify(world)
    world.marks.undo_fail["acquire"] = [PlaceError("no answer", hint="wait")]
    stuck = retarget(world, run)
    assert (stuck.state, stuck.target) == (RunState.NEEDS_OPERATOR, "coreweave")
    assert stuck.plan_checksum == run.plan_checksum
    assert stuck.asked is not None
    assert world.marks.count["acquire"] == 1, "nothing new may be asked for before"
    ended = world.resume(run.id)
    assert (ended.state, ended.target) == (RunState.COMMITTED, "runpod")


def test_attempts_are_counted_on_so_that_nothing_is_mistaken_for_an_earlier_one(
    world: World,
) -> None:
    run = waiting_at_verify(world)
    retarget(world, run)
    attempts = [
        e.attempt
        for e in world.journal().entries(run.id)
        if e.step == "acquire" and e.kind == "intent" and not e.payload.get("undo")
    ]
    assert attempts == [1, 2]


def test_an_approval_was_for_the_plan_as_it_was(world: World) -> None:
    with_approval(world, "acquire", "deploy")
    run = world.start()
    for step in ("acquire", "deploy"):
        world.journal().approve(run.id, step, who=WHO)
    world.marks.fail["verify"] = [NeedsOperator("odd", hint="look")]
    run = world.resume(run.id)
    assert world.marks.count["deploy"] == 1
    run = retarget(world, run)
    for step in ("acquire", "deploy"):
        assert run.state is RunState.NEEDS_OPERATOR
        assert f"waits for approval of step {step}" in last_state(world, run)["reason"]
        assert world.marks.count[step] == 1
        world.journal().approve(run.id, step, who=WHO)
        run = world.resume(run.id)
    assert run.state is RunState.COMMITTED


def test_a_run_that_is_led_elsewhere_can_still_be_rolled_back_whole(world: World) -> None:
    run = waiting_at_verify(world)
    world.marks.fail["verify"] = [NeedsOperator("odd again", hint="look")]
    run = retarget(world, run)
    assert run.state is RunState.NEEDS_OPERATOR
    world.journal().ask(run.id, Ask("rollback", WHO), who=WHO)
    assert world.resume(run.id).state is RunState.ROLLED_BACK
    assert world.marks.undone == ["acquire", "acquire", "restore", "hold"]
    assert world.marks.there.isdisjoint({"acquire", "restore", "hold"})


def test_R8_a_run_that_began_to_move_traffic_is_rolled_back_and_not_led_elsewhere(
    world: World,
) -> None:
    world.marks.fail["cutover"] = [NeedsOperator("odd", hint="look")]
    run = world.start()
    plan, steps = world.journal().plan(run.id), world.steps(run.id)
    with pytest.raises(GuardRefused, match="began to move traffic"):
        may_retarget(run, plan, steps, world.plan(target="runpod"))


def test_where_it_leads_already_and_a_runbook_that_changed_are_refused(world: World) -> None:
    run = waiting_at_verify(world)
    plan, steps = world.journal().plan(run.id), world.steps(run.id)
    with pytest.raises(GuardRefused, match="leads to coreweave already"):
        may_retarget(run, plan, steps, plan)
    new = world.plan(target="runpod")
    other = replace(new, steps=tuple(step for step in new.steps if step.id != "restore"))
    with pytest.raises(GuardRefused, match="restore of run"):
        may_retarget(run, plan, steps, other)
    assert "restore" not in begin_anew(plan, steps)


def test_a_signal_to_go_on_by_the_old_plan_does_not_outlive_the_new_one(world: World) -> None:
    """Executed in the old context once more, the run sends nothing: its plan is another one."""
    run = waiting_at_verify(world)
    journal = world.journal()
    old = journal.plan(run.id)
    ask_retarget(world, run)
    journal = world.journal()
    returned = execute(journal, run.id, world.fakes, world.context(old))
    assert returned.plan_checksum != old.checksum
    assert world.marks.count["acquire"] == 1


def test_R12_what_cannot_be_undone_ends_no_run_by_itself(world: World) -> None:
    run = waiting_at_verify(world)
    world.marks.undo_fail["acquire"] = [GONE] * 9
    world.journal().ask(run.id, Ask("rollback", WHO), who=WHO)
    for _ in range(2):
        assert world.resume(run.id).state is RunState.ROLLBACK_FAILED
    assert "--leave-behind" in last_state(world, run)["hint"]


def test_R12_an_operator_may_leave_behind_what_cannot_be_undone_and_it_is_named(
    world: World,
) -> None:
    run = waiting_at_verify(world)
    world.marks.undo_fail["acquire"] = [GONE] * 9
    for leave in (None, "coreweave is away"):
        world.journal().ask(run.id, Ask("rollback", WHO, leave=leave), who=WHO)
        run = world.resume(run.id)
    assert (run.state, run.outcome, run.asked) == (RunState.ROLLED_BACK, "rolled back", None)
    (line,) = [e for e in world.journal().entries(run.id) if "left_behind" in e.payload]
    assert line.payload["left_behind"] == ["acquire: the provider does not answer"]
    assert (line.payload["who"], line.payload["reason"]) == (WHO, "coreweave is away")
    assert world.marks.there.isdisjoint({"restore", "hold"}), "the rest was undone"
    assert "acquire" in world.marks.there
    assert world.journal().open_run(world.plan(target="runpod"), sandbox=False)


def test_R12_nothing_is_left_behind_that_can_be_undone(world: World) -> None:
    run = waiting_at_verify(world)
    world.journal().ask(run.id, Ask("rollback", WHO, leave="in a hurry"), who=WHO)
    run = world.resume(run.id)
    assert run.state is RunState.ROLLED_BACK
    assert not any("left_behind" in e.payload for e in world.journal().entries(run.id))
    assert world.marks.there.isdisjoint({"restore", "hold", "acquire"})


def test_R11_a_drill_whose_provider_is_gone_can_be_ended_and_what_is_left_is_named(
    world: World,
) -> None:
    world.marks.undo_fail["acquire"] = [GONE] * 9
    run = world.start("drill")
    assert (run.state, run.outcome) == (RunState.NEEDS_OPERATOR, "passed")
    assert world.resume(run.id).state is RunState.NEEDS_OPERATOR
    world.journal().ask(run.id, Ask("rollback", WHO, leave="it is gone"), who=WHO)
    run = world.resume(run.id)
    assert (run.state, run.asked) == (RunState.DONE, None)
    assert any("left_behind" in e.payload for e in world.journal().entries(run.id))


def test_a_word_to_leave_something_behind_outlives_the_process_that_was_to_obey(
    world: World, crash: type[BaseException]
) -> None:
    run = waiting_at_verify(world)
    world.marks.undo_fail["acquire"] = [crash("in the undo"), *[GONE] * 9]  # type: ignore[list-item]
    world.journal().ask(run.id, Ask("rollback", WHO, leave="it is gone"), who=WHO)
    with pytest.raises(crash):
        world.resume(run.id)
    assert world.resume(run.id).state is RunState.ROLLED_BACK

"""The engine on fakes: order, retries, failures, rollback, signals."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from dead_runs import wait_for_steps

from drkit.compute.interface import EffectUnknown
from drkit.errors import Interrupted, PlaceError, VerificationFailed
from drkit.io_policy import LONGEST_EFFECT_S
from drkit.runs import walk
from drkit.runs.engine import execute
from drkit.runs.lease import LEASE_TTL_S
from drkit.runs.records import RunState, StepState
from drkit.runs.states import replay
from drkit.runs.walk import TICK_S

if TYPE_CHECKING:
    from conftest import World


def _steps(world: World, run_id: str):
    journal = world.journal()
    return replay(journal.entries(run_id), [step.id for step in journal.plan(run_id).steps])


def test_the_order_of_the_journal_follows_the_graph(world: World) -> None:
    run = world.start()
    assert (run.state, run.outcome) == (RunState.COMMITTED, "committed")
    journal = world.journal()
    seq = {(entry.step, entry.kind): entry.seq for entry in journal.entries(run.id)}
    for step in journal.plan(run.id).steps:
        for need in step.needs:
            assert seq[need, "done"] < seq[step.id, "intent"], (need, step.id)
    states = [e.payload["to"] for e in journal.entries(run.id) if e.kind == "state"]
    assert states == [
        "PLANNED",
        "PREFLIGHT",
        "RUNNING",
        "VERIFIED",
        "CUTOVER",
        "OBSERVING",
        "COMMITTED",
    ]
    assert all(count == 1 for count in world.marks.count.values())
    assert world.reports == 1


def _not_meanwhile(world: World, name: str) -> Callable[[], None]:
    """Gives that step ample time to begin, and fails where it does."""
    began = threading.Event()
    world.marks.during[name] = lambda _call, _context: began.set()

    def look() -> None:
        assert not began.wait(5 * TICK_S), name

    return look


def test_what_needs_a_step_begins_once_that_has_come_back(world: World) -> None:
    look = _not_meanwhile(world, "cutover")

    def lingers(step: str, point: str) -> None:
        if (step, point) == ("verify", "after-record"):
            look()

    assert world.start(breakpoint=lingers).state is RunState.COMMITTED
    assert world.marks.count["cutover"] == 1


def test_what_may_fail_and_is_tried_again_moves_no_traffic_after_cutover(world: World) -> None:
    look = _not_meanwhile(world, "cutover")
    world.holds_first = False
    world.marks.fail["hold"] = [PlaceError("no answer", hint="wait")]
    verified = threading.Event()

    def between_attempts(step: str, point: str) -> None:
        if (step, point) == ("verify", "after-record"):
            verified.set()
        if (step, point) == ("hold", "before-intent") and not world.marks.fail["hold"]:
            assert verified.wait(timeout=60)
            look()

    assert world.start(breakpoint=between_attempts).state is RunState.COMMITTED
    assert world.marks.order.index("hold") < world.marks.order.index("cutover")


def test_each_effect_happens_between_its_intent_and_its_result(world: World) -> None:
    seen = {}

    def notice(name):
        def during(call, _context):
            entries = world.journal().entries(call.run_id)
            kinds = [entry.kind for entry in entries if entry.step == call.step_id]
            seen[name] = kinds

        return during

    world.marks.during = {name: notice(name) for name in world.fakes}
    world.start()
    assert set(seen) == set(world.fakes)
    assert all(kinds == ["intent"] for kinds in seen.values()), seen


def test_a_place_that_fails_once_is_tried_again_and_each_try_is_in_the_journal(
    world: World,
) -> None:
    world.marks.fail["cutover"] = [PlaceError("no answer", hint="wait")]
    run = world.start()
    assert run.state is RunState.COMMITTED
    entries = [e for e in world.journal().entries(run.id) if e.step == "cutover"]
    assert [e.kind for e in entries] == ["intent", "failed", "intent", "done"]
    assert [e.attempt for e in entries] == [1, 1, 2, 2]
    assert entries[1].elapsed_s < entries[2].elapsed_s, "the place is given some time"


def test_a_wrong_proof_is_not_tried_again_and_rolls_the_run_back(world: World) -> None:
    world.marks.fail["verify"] = [VerificationFailed("a bit flipped", hint="look")]
    run = world.start()
    assert (run.state, run.outcome) == (RunState.ROLLED_BACK, "rolled back")
    assert _steps(world, run.id)["verify"].attempt == 1
    assert world.marks.count["cutover"] == 0
    assert world.marks.there.isdisjoint({"acquire", "hold", "restore"})


def test_R12_rollback_undoes_exactly_what_began_in_reverse(world: World) -> None:
    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    run = world.start()
    entries = world.journal().entries(run.id)
    began = [e.step for e in entries if e.kind == "intent" and not e.payload.get("undo")]
    undoable = [step for step in began if world.fakes[step].undo is not None]
    assert world.marks.undone == list(reversed(undoable))
    assert "cutover" not in world.marks.undone
    undo_intents = [e.step for e in entries if e.kind == "intent" and e.payload.get("undo")]
    assert undo_intents == world.marks.undone


def test_R12_one_undo_that_fails_does_not_stop_the_others_and_resume_finishes_it(
    world: World,
) -> None:
    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    world.marks.undo_fail["acquire"] = [PlaceError("no answer", hint="wait")]
    run = world.start()
    assert run.state is RunState.ROLLBACK_FAILED
    assert not run.state.ended
    assert {"restore", "hold"} <= set(world.marks.undone)
    assert "acquire" in world.marks.there
    before = list(world.marks.undone)
    run = world.resume(run.id)
    assert run.state is RunState.ROLLED_BACK
    assert world.marks.undone == [*before, "acquire"]


def test_a_step_that_may_fail_does_not_stop_the_run_and_stays_failed(world: World) -> None:
    world.marks.fail["hold"] = [PlaceError("down", hint="wait")] * 3
    run = world.start()
    assert run.state is RunState.COMMITTED
    assert _steps(world, run.id)["hold"].state is StepState.FAILED


def test_a_failed_preflight_waits_for_an_operator_and_resume_tries_it_again(world: World) -> None:
    world.marks.fail["preflight"] = [VerificationFailed("no mirror", hint="mirror it")]
    run = world.start()
    assert (run.state, run.ended_at, run.outcome) == (RunState.NEEDS_OPERATOR, None, None)
    assert world.marks.undone == []
    assert world.marks.count["acquire"] == 0
    run = world.resume(run.id)
    assert run.state is RunState.COMMITTED
    assert world.marks.count["hold"] == 1


def test_R5_a_step_that_does_not_return_is_unknown_and_never_failed(world: World) -> None:
    def hang(call, _context):
        call.guard.pause(10**9)  # nothing else runs then, whose time could be over, too

    world.marks.during["verify"] = hang
    run = world.start()
    assert run.state is RunState.ROLLED_BACK
    kinds = [e.kind for e in world.journal().entries(run.id) if e.step == "verify"]
    assert kinds == ["intent", "note"]
    assert _steps(world, run.id)["verify"].state is StepState.EFFECT_UNKNOWN


def test_R5_a_call_without_an_answer_is_looked_at_and_not_sent_again(world: World) -> None:
    marks = world.marks

    def made_but_no_answer(_call, _context):
        if not marks.there & {"acquire"}:
            marks.there.add("acquire")
            marks.count["acquire"] += 1
            raise EffectUnknown("no answer", hint="look")

    marks.during["acquire"] = made_but_no_answer
    run = world.start()
    assert run.state is RunState.COMMITTED
    assert marks.count["acquire"] == 1
    entries = [e for e in world.journal().entries(run.id) if e.step == "acquire"]
    assert [entry.kind for entry in entries] == ["intent", "note", "intent", "done"]
    assert entries[-1].payload["adopted"] is True


def test_T3_a_step_that_does_not_stop_is_waited_for_no_longer_and_its_effect_is_unknown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "GRACE_S", 0.05)
    began, released = threading.Event(), threading.Event()

    def hangs(_call, _context):
        began.set()
        assert released.wait(60)

    def fails(_call, _context):
        assert began.wait(60)
        wait_for_steps("hold")
        raise VerificationFailed("wrong", hint="look")

    world.marks.during = {"restore": hangs, "acquire": fails}
    try:
        run = world.start()
    finally:
        released.set()
    assert run.state is RunState.ROLLED_BACK
    entries = world.journal().entries(run.id)
    (left,) = [e for e in entries if e.step == "restore" and "effect_unknown" in e.payload]
    (released_users,) = [e for e in entries if e.step == "hold" and e.kind == "undone"]
    assert left.payload["former_holder"] is True
    assert released_users.elapsed_s - left.elapsed_s > LEASE_TTL_S + LONGEST_EFFECT_S - 1
    wait_for_steps()
    assert world.marks.count["restore"] == 0


def test_R6_the_plan_is_frozen_and_a_changed_one_is_refused(world: World) -> None:
    world.marks.fail["preflight"] = [VerificationFailed("no", hint="mend")]
    run = world.start()
    with world.database.write() as connection:
        from drkit.state.schema import RUNS

        text = world.journal().plan(run.id).to_json()
        connection.execute(RUNS.update().values(plan=text.replace('"lambda"', '"other"')))
    from drkit.errors import DamagedData

    with pytest.raises(DamagedData, match="frozen plan"):
        world.journal().plan(run.id)
    before = dict(world.marks.count)
    journal = world.journal()
    with pytest.raises(DamagedData):
        execute(journal, run.id, world.fakes, world.context(world.plan()))
    assert dict(world.marks.count) == before


def test_R6_an_action_of_another_version_needs_an_operator(world: World) -> None:

    plan = world.plan()
    journal = world.journal()
    run = journal.open_run(plan, sandbox=False)
    newer = {**world.fakes, "restore": replace(world.fakes["restore"], version=2)}
    run = execute(journal, run.id, newer, world.context(plan))
    assert run.state is RunState.NEEDS_OPERATOR
    assert not world.marks.count
    assert world.resume(run.id).state is RunState.COMMITTED


def test_a_signal_leaves_a_run_that_resume_continues(world: World) -> None:
    def asked_to_stop(call, _context):
        if call.attempt == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            call.guard.pause(10)

    world.marks.during["deploy"] = asked_to_stop
    former = signal.getsignal(signal.SIGTERM)
    plan = world.plan()
    journal = world.journal()
    run = journal.open_run(plan, sandbox=False)

    with pytest.raises(Interrupted) as caught:
        execute(journal, run.id, world.fakes, world.context(plan))
    assert run.id in caught.value.hint
    assert signal.getsignal(signal.SIGTERM) is former
    stopped = world.journal().run(run.id)
    assert (stopped.state, stopped.pid) == (RunState.RUNNING, None)
    assert world.resume(run.id).state is RunState.COMMITTED
    assert world.marks.count["acquire"] == 1


def test_a_run_that_ended_is_left_alone(world: World) -> None:
    run = world.start()
    count = len(world.journal().entries(run.id))
    assert world.resume(run.id) == run
    assert len(world.journal().entries(run.id)) == count

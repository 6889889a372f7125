"""What an operator says to a run in mid-way, and what the run makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from steering import WHO, asks_during, last_state, waiting_at_verify, with_approval

from drkit.errors import ConfigError, GuardRefused, NeedsOperator, PlaceError
from drkit.runs.book.graph import unapproved
from drkit.runs.journal.journal import ClaimLost
from drkit.runs.records import Ask, RunState, StepState
from drkit.runs.steering.skip import skip_step
from drkit.runs.steering.stopping import stop_where_it_is
from drkit.state.schema import RUNS

if TYPE_CHECKING:
    from conftest import World


def test_stop_lets_the_steps_that_run_end_and_begins_no_other(world: World) -> None:
    asks_during(world, "acquire", "stop")
    run = world.start()
    assert (run.state, run.asked) == (RunState.NEEDS_OPERATOR, None)
    assert world.steps(run.id)["acquire"].state is StepState.DONE
    assert world.marks.count["deploy"] == 0
    assert WHO in last_state(world, run)["reason"]
    assert world.resume(run.id).state is RunState.COMMITTED
    assert world.marks.count["acquire"] == 1


def test_abort_stops_what_runs_and_undoes_nothing(world: World) -> None:
    asks_during(world, "deploy", "abort")
    run = world.start()
    assert (run.state, run.asked) == (RunState.NEEDS_OPERATOR, None)
    assert world.steps(run.id)["deploy"].state is StepState.EFFECT_UNKNOWN
    assert world.marks.undone == []
    assert world.resume(run.id).state is RunState.COMMITTED
    assert world.marks.count["acquire"] == 1


def test_R12_a_rollback_that_is_asked_for_undoes_exactly_what_began(world: World) -> None:
    asks_during(world, "deploy", "rollback")
    run = world.start()
    assert (run.state, run.outcome, run.asked) == (RunState.ROLLED_BACK, "rolled back", None)
    assert "cutover" not in world.marks.undone
    assert world.marks.there.isdisjoint({"hold", "acquire", "restore"})


def test_a_drill_that_is_rolled_back_is_torn_down_and_counts_for_nothing(world: World) -> None:
    asks_during(world, "deploy", "rollback")
    run = world.start("drill")
    assert (run.state, run.outcome) == (RunState.INTERRUPTED, "interrupted")
    assert "acquire" not in world.marks.there


def test_a_run_that_nobody_executes_is_stopped_where_it_is(world: World) -> None:
    journal = world.journal()
    run = journal.open_run(world.plan(), sandbox=False)
    stopped = stop_where_it_is(world.journal(), run.id, world.lease_of, who=WHO)
    assert (stopped.state, stopped.pid) == (RunState.NEEDS_OPERATOR, None)
    assert not world.marks.count
    assert world.resume(run.id).state is RunState.COMMITTED


def test_what_is_being_undone_is_not_left_half_done(world: World) -> None:
    world.marks.undo_fail["acquire"] = [PlaceError("no answer", hint="wait")]
    asks_during(world, "deploy", "rollback")
    run = world.start()
    assert run.state is RunState.ROLLBACK_FAILED
    with pytest.raises(GuardRefused, match="half done"):
        stop_where_it_is(world.journal(), run.id, world.lease_of, who=WHO)
    assert world.resume(run.id).state is RunState.ROLLED_BACK


def test_nobody_is_asked_once_the_run_has_ended(world: World) -> None:
    run = world.start()
    with pytest.raises(ConfigError, match="has ended"):
        world.journal().ask(run.id, Ask("rollback", WHO), who=WHO)


def test_step_by_step_one_step_begins_each_time(world: World) -> None:
    plan = world.plan()
    run = world.journal().open_run(plan, sandbox=False)
    seen = []
    for _ in range(len(plan.steps)):
        state = world.resume(run.id, one_step=True).state
        seen.append(sum(world.marks.count.values()))
        if state.ended:
            break
        assert state is RunState.NEEDS_OPERATOR
    assert seen == list(range(1, len(plan.steps) + 1))
    assert world.journal().run(run.id).state is RunState.COMMITTED


def test_step_by_step_one_step_is_undone_each_time(world: World) -> None:
    run = waiting_at_verify(world)
    world.journal().ask(run.id, Ask("rollback", WHO), who=WHO)
    for undone in (["restore"], ["restore", "acquire"]):
        assert world.resume(run.id, one_step=True).state is RunState.ROLLING_BACK
        assert world.marks.undone == undone
    assert world.resume(run.id, one_step=True).state is RunState.ROLLED_BACK
    assert world.marks.undone == ["restore", "acquire", "hold"]


def test_a_step_that_needs_approval_waits_for_it_while_others_go_on(world: World) -> None:
    with_approval(world, "fence")
    run = world.start()
    assert run.state is RunState.NEEDS_OPERATOR
    said = last_state(world, run)
    assert said["reason"] == "waits for approval of step fence"
    assert f"drkit runs approve {run.id}" in said["hint"]
    assert (world.marks.count["fence"], world.marks.count["restore"]) == (0, 0)
    assert world.marks.count["deploy"] == 1
    plan = world.journal().plan(run.id)
    assert [step.id for step in unapproved(plan, world.steps(run.id))] == ["fence"]


def test_time_never_approves_and_neither_does_a_resume(world: World) -> None:
    with_approval(world, "fence")
    run = world.start()
    for _ in range(2):
        world.clock.advance(7 * 86_400)
        assert world.resume(run.id).state is RunState.NEEDS_OPERATOR
    assert world.marks.count["fence"] == 0


def test_an_approved_step_begins_and_who_approved_is_in_the_journal(world: World) -> None:
    with_approval(world, "fence")
    run = world.start()
    world.journal().approve(run.id, "fence", who=WHO)
    assert world.resume(run.id).state is RunState.COMMITTED
    lines = [e for e in world.journal().entries(run.id) if e.step == "fence"]
    assert [e.kind for e in lines] == ["note", "intent", "done"]
    assert lines[0].payload["approved"] == WHO


def test_R12_a_skip_is_in_the_journal_with_who_and_why(world: World) -> None:
    world.marks.fail["verify_public"] = [NeedsOperator("odd", hint="look")]
    run = world.start()
    skip_step(
        world.journal(),
        run.id,
        "verify_public",
        world.lease_of,
        reason="the resolver is down",
        who=WHO,
    )
    run = world.resume(run.id)
    assert run.state is RunState.COMMITTED
    (line,) = [e for e in world.journal().entries(run.id) if e.kind == "skipped"]
    assert line.payload == {"reason": "the resolver is down", "who": WHO}
    assert world.marks.count["verify_public"] == 0


def test_a_run_whose_checks_were_skipped_comes_to_its_end(world: World) -> None:
    world.marks.fail["preflight"] = [NeedsOperator("odd", hint="look")]
    run = world.start()
    skip_step(
        world.journal(), run.id, "preflight", world.lease_of, reason="its provider is slow", who=WHO
    )
    with world.database.write() as connection:  # as a run that died in PREFLIGHT
        connection.execute(RUNS.update().values(state=RunState.PREFLIGHT.value))
    assert world.resume(run.id).state is RunState.COMMITTED


@pytest.mark.parametrize("step", ["acquire", "point", "restore", "verify"])
def test_R12_R8_no_step_is_skipped_that_gives_a_traffic_step_its_proof(
    world: World, step: str
) -> None:
    world.marks.fail["preflight"] = [NeedsOperator("odd", hint="look")]
    run = world.start()
    count = len(world.journal().entries(run.id))
    with pytest.raises(GuardRefused, match="cutover would lead traffic"):
        skip_step(world.journal(), run.id, step, world.lease_of, reason="in a hurry", who=WHO)
    assert len(world.journal().entries(run.id)) == count


def test_R12_R8_a_verification_is_not_skipped_though_nothing_names_its_output(
    world: World,
) -> None:
    steps = tuple(
        step.model_copy(update={"with_": {}}) if step.id == "cutover" else step
        for step in world.runbook.steps
    )
    world.runbook = world.runbook.model_copy(update={"steps": steps})
    run = waiting_at_verify(world)
    with pytest.raises(GuardRefused, match="cutover would lead traffic"):
        skip_step(world.journal(), run.id, "verify", world.lease_of, reason="in a hurry", who=WHO)


def test_R12_the_step_that_records_who_serves_is_not_skipped(world: World) -> None:
    run = waiting_at_verify(world)
    with pytest.raises(GuardRefused, match="records who serves"):
        skip_step(
            world.journal(), run.id, "cutover", world.lease_of, reason="done by hand", who=WHO
        )


def test_R5_a_paid_step_of_unknown_effect_is_looked_for_and_not_skipped(
    world: World, crash: type[BaseException]
) -> None:
    with pytest.raises(crash):
        world.start(breakpoint=world.crash_at("hold", "after-intent"))
    run = world.journal().run("latest")
    with pytest.raises(GuardRefused, match="not known whether hold took effect"):
        skip_step(world.journal(), run.id, "hold", world.lease_of, reason="never mind", who=WHO)
    assert world.resume(run.id).state is RunState.COMMITTED


def test_nothing_is_skipped_under_a_process_that_executes_the_run(world: World) -> None:
    seen = []

    def skips(call, _context):
        journal = world.journal()
        journal.claim = _held  # type: ignore[method-assign]
        with pytest.raises(ClaimLost):
            skip_step(journal, call.run_id, "verify_public", world.lease_of, reason="x", who=WHO)
        seen.append(call.step_id)

    def _held(_run_id, **_how):
        raise ClaimLost("another process", hint="wait")

    world.marks.during["deploy"] = skips
    assert world.start().state is RunState.COMMITTED
    assert seen == ["deploy"]


def test_a_step_that_is_done_is_not_skipped(world: World) -> None:
    run = waiting_at_verify(world)
    with pytest.raises(ConfigError, match="fence is DONE"):
        skip_step(world.journal(), run.id, "fence", world.lease_of, reason="x", who=WHO)

"""kill -9 between every two writes of what an operator asks for: the same again brings it to its
end, and nothing is done twice that may not be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from drkit.errors import ConfigError, NeedsOperator
from drkit.runs.records import Ask, RunRecord, RunState, StepState
from drkit.runs.steering.skip import skip_step
from drkit.runs.steering.stopping import stop_where_it_is

if TYPE_CHECKING:
    from conftest import World

WHO = "ada@desk"


def waiting_at_verify(world: World) -> RunRecord:
    world.marks.fail["verify"] = [NeedsOperator("odd", hint="look")]
    return world.start()


def dies_before(world: World, write: int) -> None:
    world.mortal.writes, world.mortal.dies_before = 0, write


# Ask; claim, lease, resumed, state; undo's intent, renewals, undone, what is left; the new plan;
# release; then the new target's claim and lease.
@pytest.mark.parametrize("write", range(16))
def test_a_retarget_that_was_killed_anywhere_is_brought_to_its_end(
    world: World, crash: type[BaseException], write: int
) -> None:
    run = waiting_at_verify(world)
    new = world.plan(target="runpod")

    def ask() -> None:
        world.journal().ask(run.id, Ask("retarget", WHO, new.to_json()), who=WHO)

    dies_before(world, write)
    with pytest.raises(crash):
        ask()
        _execute(world, run.id)
    world.mortal.dies_before = None
    now = world.journal().run(run.id)
    assert now.plan_checksum in (run.plan_checksum, new.checksum)
    if now.asked is None and now.target == "coreweave":  # the operator asks again
        ask()
    ended = world.resume(run.id)
    assert (ended.state, ended.plan_checksum) == (RunState.COMMITTED, new.checksum)
    assert world.marks.undone in (["acquire"], ["acquire", "acquire"])
    assert world.marks.count["acquire"] == 2
    assert world.marks.count["restore"] == world.marks.count["hold"] == 1
    lines = [e.kind for e in world.journal().entries(run.id)]
    assert lines.count("replanned") == 1


@pytest.mark.parametrize("write", range(12))
def test_R12_a_rollback_that_was_killed_anywhere_is_brought_to_its_end(
    world: World, crash: type[BaseException], write: int
) -> None:
    run = waiting_at_verify(world)
    dies_before(world, write)
    with pytest.raises(crash):
        world.journal().ask(run.id, Ask("rollback", WHO), who=WHO)
        _execute(world, run.id)
    world.mortal.dies_before = None
    if world.journal().run(run.id).state is RunState.NEEDS_OPERATOR:
        world.journal().ask(run.id, Ask("rollback", WHO), who=WHO)
    ended = world.resume(run.id)
    assert (ended.state, ended.outcome) == (RunState.ROLLED_BACK, "rolled back")
    assert set(world.marks.undone) == {"restore", "acquire", "hold"}
    assert world.marks.there.isdisjoint({"restore", "acquire", "hold"})
    assert world.marks.count["cutover"] == 0


@pytest.mark.parametrize("write", range(3))  # claim, the line, release
def test_R12_a_skip_that_was_killed_anywhere_is_there_whole_or_not_at_all(
    world: World, crash: type[BaseException], write: int
) -> None:
    world.marks.fail["verify_public"] = [NeedsOperator("odd", hint="look")]
    run = world.start()
    dies_before(world, write)
    with pytest.raises(crash):
        skip_step(world.journal(), run.id, "verify_public", world.lease_of, reason="why", who=WHO)
    world.mortal.dies_before = None
    skipped = world.steps(run.id)["verify_public"].state is StepState.SKIPPED
    assert skipped is (write == 2)
    if skipped:
        with pytest.raises(ConfigError, match="is SKIPPED"):
            skip_step(
                world.journal(), run.id, "verify_public", world.lease_of, reason="again", who=WHO
            )
    else:
        skip_step(world.journal(), run.id, "verify_public", world.lease_of, reason="why", who=WHO)
    assert world.resume(run.id).state is RunState.COMMITTED
    assert [e.kind for e in world.journal().entries(run.id)].count("skipped") == 1


@pytest.mark.parametrize("write", range(3))  # claim, state, release
def test_an_abort_that_was_killed_anywhere_is_repeated(
    world: World, crash: type[BaseException], write: int
) -> None:
    run = world.journal().open_run(world.plan(), sandbox=False)
    dies_before(world, write)
    with pytest.raises(crash):
        stop_where_it_is(world.journal(), run.id, world.lease_of, who=WHO)
    world.mortal.dies_before = None
    stopped = stop_where_it_is(world.journal(), run.id, world.lease_of, who=WHO)
    assert (stopped.state, stopped.pid) == (RunState.NEEDS_OPERATOR, None)
    assert world.resume(run.id).state is RunState.COMMITTED


@pytest.mark.parametrize("write", range(4))
def test_a_run_that_goes_step_by_step_and_dies_between_goes_on_at_the_same_step(
    world: World, crash: type[BaseException], write: int
) -> None:
    run = world.journal().open_run(world.plan(), sandbox=False)
    world.resume(run.id, one_step=True)
    dies_before(world, write)
    with pytest.raises(crash):
        _execute(world, run.id, one_step=True)
    world.mortal.dies_before = None
    world.resume(run.id, one_step=True)
    assert sum(world.marks.count.values()) in (2, 3)
    assert world.resume(run.id).state is RunState.COMMITTED
    assert all(
        world.marks.count[name] == 1
        for name, action in world.fakes.items()
        if action.effect.must_look
    )


def _execute(world: World, run_id: str, **settings: bool) -> None:
    """As `resume`, but the death that was arranged stays arranged."""
    from drkit.runs.engine import execute

    journal = world.journal()
    for _ in range(2):
        context = world.context(journal.plan(run_id))
        execute(journal, run_id, world.fakes, context, **settings)

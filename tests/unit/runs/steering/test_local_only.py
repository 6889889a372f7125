"""R3: a run of which no store has all is ended by the machine that has it, and by no other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from dead_runs import died, taken_over, wait_for_steps

from drkit.errors import NeedsOperator
from drkit.runs.journal.sealed import SealedRun
from drkit.runs.lease import local_to, owner_of
from drkit.runs.records import RunRecord, RunState
from drkit.runs.steering.takeover import take_over

if TYPE_CHECKING:
    from conftest import World


def test_R3_a_run_that_is_local_only_cannot_be_taken_over(
    world: World, crash: type[BaseException]
) -> None:
    world.copies_work = False

    def works_again(_call, _context):
        world.copies_work = True
        world.clock.advance(60)

    world.marks.during["fence"] = works_again
    run = died(world, crash, "point", "after-record")
    assert run.local_only
    there = world.elsewhere("there")
    with pytest.raises(NeedsOperator, match="local-only"):
        taken_over(there, run.id)
    assert there.journal().runs() == []
    assert owner_of(world.arbiter, run.id) is None


def without_a_store(world: World, crash: type[BaseException], step: str, point: str) -> RunRecord:
    """A run of which no store has what it did from `acquire` on; the stores are back by then."""

    def fails(at_step: str, at_point: str) -> None:
        world.copies_work &= at_step not in ("acquire", "fence")
        if (at_step, at_point) == (step, point):
            raise crash(point)

    with pytest.raises(crash):
        world.start(breakpoint=fails)
    wait_for_steps()
    world.copies_work = True
    return world.journal().run("latest")


def test_R3_a_run_of_which_the_stores_do_not_know_that_they_lack_something_is_not_taken_over(
    world: World, crash: type[BaseException]
) -> None:
    run = without_a_store(world, crash, "acquire", "after-effect")
    sealed = world.sealed(run.id)
    assert sealed is not None
    assert not sealed.run.local_only  # it could not be told
    assert run.local_only
    assert world.marks.count["acquire"] == 1
    there = world.elsewhere("there")
    with pytest.raises(NeedsOperator, match=r"local-only.*only here knows"):
        taken_over(there, run.id)
    assert there.journal().runs() == []
    assert owner_of(world.arbiter, run.id) is None
    assert world.resume(run.id).state is RunState.COMMITTED
    assert world.marks.count["acquire"] == 1


def test_R3_a_run_that_could_not_be_sealed_and_did_nothing_yet_may_be_taken_over(
    world: World, crash: type[BaseException]
) -> None:
    run = without_a_store(world, crash, "acquire", "after-intent")
    there = world.elsewhere("there")
    assert world.marks.count["acquire"] == 0
    if local_to(world.arbiter, run.id) is None:  # `fence` beside it may have come so far
        taken_over(there, run.id)
        assert there.resume(run.id).state is RunState.COMMITTED
        assert world.marks.count["acquire"] == 1


@pytest.mark.parametrize("died_before", range(5))
def test_R3_killed_anywhere_while_it_becomes_local_only_one_machine_ends_the_run(
    world: World, crash: type[BaseException], died_before: int
) -> None:
    """The intent, that it is local-only, the lease of that record, the record, and its release."""

    def fails(at_step: str, at_point: str) -> None:
        if at_step in ("acquire", "fence") and world.copies_work:
            world.copies_work = False
            world.mortal.writes, world.mortal.dies_before = 0, died_before

    with pytest.raises(crash):
        world.start(breakpoint=fails)
    wait_for_steps()
    world.mortal.dies_before, world.copies_work = None, True
    run = world.journal().run("latest")
    there = world.elsewhere("there")
    try:
        taken_over(there, run.id)
    except NeedsOperator:
        assert owner_of(world.arbiter, run.id) is None
        ended = world.resume(run.id)
    else:
        ended = there.resume(run.id)
    assert ended.state is RunState.COMMITTED
    assert world.marks.count["acquire"] == 1


def test_R3_a_run_that_becomes_local_only_while_its_lease_is_waited_for_stays_where_it_is(
    world: World, crash: type[BaseException]
) -> None:
    run = died(world, crash, "acquire", "after-record")
    there, seen = world.elsewhere("there"), []

    def read() -> SealedRun:
        sealed = world.sealed(run.id)
        assert sealed is not None
        seen.append(sealed)
        return replace(sealed, run=replace(sealed.run, local_only=len(seen) > 1))

    with pytest.raises(NeedsOperator, match="local-only"):
        take_over(
            there.journal(),
            read,
            arbiter=there.arbiter,
            holder="there",
            clock=world.clock,
            who="ada",
        )
    assert len(seen) == 2
    assert owner_of(world.arbiter, run.id) is None
    assert world.resume(run.id).state is RunState.COMMITTED

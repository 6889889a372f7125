"""Another machine takes a run over: from what was sealed, under the lease, and for good."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from dead_runs import (
    died,
    died_and_taken_over,
    died_before_it_spent,
    first_acts,
    taken_over,
    wait_for_steps,
)

from drkit.coordination.interface import LeaseHeld
from drkit.coordination.memory import MemoryArbiter
from drkit.errors import ConfigError, DamagedData
from drkit.io_policy import LONGEST_EFFECT_S
from drkit.runs.journal.journal import ClaimLost
from drkit.runs.journal.sealed import SealedRun
from drkit.runs.lease import LEASE_TTL_S, TakenOver, owner_of
from drkit.runs.records import Ask, RunState, StepState
from drkit.runs.steering.takeover import take_over

if TYPE_CHECKING:
    from conftest import World


@pytest.mark.parametrize(
    ("step", "point"),
    [
        ("hold", "after-effect"),
        ("acquire", "after-intent"),
        ("acquire", "after-effect"),
        ("acquire", "after-record"),
        ("verify", "after-record"),
        ("cutover", "after-intent"),
        ("cutover", "after-effect"),
        ("observe", "after-intent"),
    ],
)
def test_R3_another_machine_brings_the_run_to_its_end_and_does_nothing_twice(
    world: World, there: World, crash: type[BaseException], step: str, point: str
) -> None:
    run = died(world, crash, step, point)
    assert there.journal().runs() == []
    mine = taken_over(there, run.id)
    assert (mine.machine, mine.generation, mine.id) == ("there", 1, run.id)
    ended = there.resume(run.id)
    assert (ended.state, ended.plan_checksum) == (RunState.COMMITTED, run.plan_checksum)
    for name, action in world.fakes.items():
        if action.effect.must_look:
            assert world.marks.count[name] == 1, name
    entries = there.journal().entries(run.id)
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    elapsed = [entry.elapsed_s for entry in entries]
    assert elapsed == sorted(elapsed)


def test_R3_what_lies_on_the_other_machine_is_restored_here_and_verified_anew(
    world: World, there: World, crash: type[BaseException]
) -> None:
    run = died_and_taken_over(world, there, crash, "cutover", "before-intent")
    steps = there.steps(run.id)
    assert steps["restore"].state is StepState.PENDING
    assert steps["verify"].state is StepState.PENDING
    there.resume(run.id)
    assert (world.marks.count["restore"], world.marks.count["verify"]) == (2, 2)


def test_R12_what_is_to_begin_anew_on_this_machine_is_rolled_back_all_the_same(
    world: World, there: World, crash: type[BaseException]
) -> None:
    run = died_and_taken_over(world, there, crash, "cutover", "before-intent")
    there.journal().ask(run.id, Ask("rollback", "ada"), who="ada")
    assert there.resume(run.id).state is RunState.ROLLED_BACK
    assert set(world.marks.undone) == {"hold", "acquire", "restore"}


def test_R11_a_drill_that_is_being_torn_down_begins_nothing_anew_on_another_machine(
    world: World, there: World, crash: type[BaseException]
) -> None:
    world.marks.undo_fail["restore"] = [crash("in the teardown")]  # type: ignore[list-item]
    with pytest.raises(crash):
        world.start("drill")
    wait_for_steps()
    run = world.journal().run("latest")
    assert run.state is RunState.TEARDOWN
    taken_over(there, run.id)
    assert there.steps(run.id)["verify"].state is StepState.DONE
    assert there.resume(run.id).state is RunState.DONE
    assert "acquire" in world.marks.undone


def test_R3_once_traffic_has_moved_nothing_is_restored_again(
    world: World, there: World, crash: type[BaseException]
) -> None:
    world.marks.during["cutover"] = lambda _call, _context: world.clock.advance(5)
    run = died_and_taken_over(world, there, crash, "verify_public", "after-intent")
    assert there.resume(run.id).state is RunState.COMMITTED
    assert (world.marks.count["restore"], world.marks.count["verify"]) == (1, 1)


def test_T3_after_a_takeover_no_effect_comes_before_the_other_machines_last_one(
    world: World, there: World, crash: type[BaseException]
) -> None:
    run = died_before_it_spent(world, crash)
    taken_over(there, run.id)
    taken_s = world.clock.elapsed_s()
    first = first_acts(world, "acquire", "fence", "cutover")
    there.resume(run.id)
    assert all(at_s >= taken_s + LEASE_TTL_S + LONGEST_EFFECT_S for at_s in first.values()), first
    assert set(first) == {"acquire", "fence", "cutover"}


def test_T3_a_process_that_died_while_it_waited_leaves_the_wait_to_the_next(
    world: World, there: World, crash: type[BaseException]
) -> None:
    run = died_before_it_spent(world, crash)
    taken_over(there, run.id)

    def dies(_step: str, point: str) -> None:
        raise crash(point)

    with pytest.raises(crash):  # the lease is this machine's own from now on
        there.resume(run.id, breakpoint=dies)
    assert not any(e.payload.get("outwaited") for e in there.journal().entries(run.id))
    again_s = world.clock.elapsed_s()
    first = first_acts(world, "acquire")
    there.resume(run.id)
    assert first["acquire"] >= again_s + LEASE_TTL_S + LONGEST_EFFECT_S


def test_R3_a_machine_that_comes_back_finds_its_run_taken_and_does_nothing(
    world: World, there: World, crash: type[BaseException]
) -> None:
    run = died_and_taken_over(world, there, crash, "acquire", "after-effect")
    there.journal().ask(run.id, Ask("rollback", "ada"), who="ada")
    assert there.resume(run.id).state is RunState.ROLLED_BACK
    counts, undone = dict(world.marks.count), list(world.marks.undone)
    lines = len(world.journal().entries(run.id))
    with pytest.raises(TakenOver, match="taken over by there") as caught:
        world.resume(run.id)
    assert "--take-over" in caught.value.hint
    assert (dict(world.marks.count), world.marks.undone) == (counts, undone)
    assert len(world.journal().entries(run.id)) == lines
    # It can have the run back, as it stands now; then it is over here too.
    back = taken_over(world, run.id)
    assert (back.state, back.generation) == (RunState.ROLLED_BACK, 2)
    assert world.journal().open_run_of(run.service, run.namespace) is None


def test_R3_a_process_that_was_only_halted_loses_its_run_at_its_next_effect(
    world: World,
    there: World,
) -> None:
    """Its machine sleeps in mid-step; another one takes over, ends the run, and it wakes up."""
    seen: list[RunState] = []

    def sleeps(call, _context):
        seen.append(RunState.RUNNING)
        world.clock.advance(LEASE_TTL_S * 4)
        taken_over(there, call.run_id)
        there.journal().ask(call.run_id, Ask("rollback", "ada"), who="ada")
        plan = there.journal().plan(call.run_id)
        from drkit.runs.engine import execute

        ended = execute(there.journal(), call.run_id, there.fakes, there.context(plan))
        seen.append(ended.state)

    world.marks.during["cutover"] = sleeps  # nothing else runs then
    with pytest.raises(TakenOver):
        world.start()
    assert seen == [RunState.RUNNING, RunState.ROLLED_BACK]
    assert world.marks.count["cutover"] == 0
    assert "acquire" not in world.marks.there


def test_R3_a_run_that_goes_on_elsewhere_is_not_taken(
    world: World, there: World, crash: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = died(world, crash, "acquire", "after-effect")
    held = world.arbiter.acquire(run.service, "here", ttl_s=LEASE_TTL_S)
    leases = [held]

    def sleep(seconds: float) -> None:  # meanwhile the other one renews
        world.clock.advance(seconds)
        leases.append(world.arbiter.renew(leases[-1]))

    monkeypatch.setattr(world.clock, "sleep", sleep)
    with pytest.raises(LeaseHeld, match="here holds the lease"):
        taken_over(there, run.id)
    assert owner_of(world.arbiter, run.id) is None
    assert there.journal().runs() == []


def test_R3_a_machine_takes_its_run_back_from_one_that_died_before_it_had_it(
    world: World, there: World, crash: type[BaseException]
) -> None:
    run = died(world, crash, "acquire", "after-effect")
    world.mortal.writes, world.mortal.dies_before = 0, 4  # the owner is recorded, and no more
    with pytest.raises(crash):
        taken_over(there, run.id)
    with pytest.raises(LeaseHeld):
        world.resume(run.id)
    world.clock.advance(LEASE_TTL_S + 1)
    with pytest.raises(TakenOver):
        world.resume(run.id)
    world.copied.clear()  # nor does any store answer
    mine = take_over(
        world.journal(),
        lambda: world.sealed(run.id),
        arbiter=world.arbiter,
        holder=world.machine,
        clock=world.clock,
        who="ada",
        run_id=run.id,
    )
    assert (mine.machine, mine.generation) == ("here", 2)
    assert world.resume(run.id).state is RunState.COMMITTED
    assert world.marks.count["acquire"] == 1


# Lease; owner's lease, owner, its release; the run and its journal; lease given back.
@pytest.mark.parametrize("died_before", range(6))
def test_R3_a_takeover_that_was_killed_anywhere_is_finished_by_the_same_again(
    world: World, there: World, crash: type[BaseException], died_before: int
) -> None:
    run = died(world, crash, "acquire", "after-effect")
    world.mortal.writes, world.mortal.dies_before = 0, died_before
    with pytest.raises(crash):
        taken_over(there, run.id)
    world.mortal.dies_before = None
    mine = taken_over(there, run.id)
    assert (mine.machine, mine.generation) == ("there", 1)
    taken_s = world.clock.elapsed_s()
    first = first_acts(world, "cutover")
    assert there.resume(run.id).state is RunState.COMMITTED
    assert world.marks.count["acquire"] == 1
    assert first["cutover"] >= taken_s + LEASE_TTL_S + LONGEST_EFFECT_S


def test_an_unknown_run_and_one_with_missing_lines_are_said_to_be_so(
    world: World, there: World, crash: type[BaseException]
) -> None:
    run = died(world, crash, "acquire", "after-record")
    with pytest.raises(ConfigError, match="no store"):
        taken_over(there, "failover-20260101t000000-000000")
    first = min(world.copied)
    del world.copied[first]
    with pytest.raises(DamagedData, match="do not have all entries"):
        taken_over(there, run.id)
    assert there.journal().runs() == []


def test_what_the_first_machine_still_wrote_after_the_takeover_is_of_no_account(
    world: World, there: World, crash: type[BaseException]
) -> None:
    run = died_and_taken_over(world, there, crash, "acquire", "after-record")
    late = world.journal()
    late.claim(run.id)
    for _ in range(9):
        late.append(run.id, "note", payload={"paid": {"text": "too late"}})
    entries = there.journal().entries(run.id)
    assert len(late.entries(run.id)) > len(entries)
    sealed = world.sealed(run.id)
    assert sealed is not None
    assert sealed.run.generation == 1
    assert list(sealed.entries) == entries
    assert there.resume(run.id).state is RunState.COMMITTED


def test_R3_a_state_that_two_machines_share_gives_the_run_to_the_one_that_goes_on(
    world: World, crash: type[BaseException]
) -> None:
    world.copies_work = False  # what no store has is here all the same
    run = died(world, crash, "cutover", "before-intent")
    there = replace(world, machine="there", arbiter=MemoryArbiter(world.clock, world.arbiter.place))
    journal = there.journal()
    mine = take_over(
        journal,
        lambda: SealedRun(
            journal.run(run.id), journal.plan(run.id), tuple(journal.entries(run.id))
        ),
        arbiter=there.arbiter,
        holder="there",
        clock=world.clock,
        who="ada@laptop",
        shared=True,
    )
    assert (mine.machine, mine.generation) == ("there", 1)
    assert there.steps(run.id)["restore"].state is StepState.PENDING
    assert there.resume(run.id).state is RunState.COMMITTED
    assert (world.marks.count["restore"], world.marks.count["acquire"]) == (2, 1)
    with pytest.raises(ClaimLost):
        world.journal().append(run.id, "note", payload={})

"""R1: without the arbiter nothing costs, fences or moves but by hand, and it is told afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dead_runs import first_acts

from drkit.coordination.interface import ArbiterUnreachable, LeaseLost, RoleRecord
from drkit.errors import GuardRefused
from drkit.io_policy import LONGEST_EFFECT_S
from drkit.runs.engine import execute
from drkit.runs.lease import LEASE_TTL_S
from drkit.runs.records import RunRecord, RunState
from drkit.runs.steering.break_glass import BrokenGlass, kept_role, tell_arbiter

if TYPE_CHECKING:
    from conftest import World


def last_known(world: World) -> RoleRecord:
    return RoleRecord("assistant", 3, "lambda", None, world.clock.now(), "earlier")


def breaks_glass(world: World) -> RunRecord:
    plan = world.plan()
    journal = world.journal()
    run = journal.open_run(plan, sandbox=False)
    glass = BrokenGlass(world.database, "assistant", last_known(world))
    context = world.context(plan, arbiter=glass)

    def records(call, context):
        record = RoleRecord(
            "assistant",
            call.guard.epoch,
            "coreweave",
            "http://198.51.100.7:8000",
            context.clock.now(),
            call.run_id,
            ("s-1",),
        )
        context.arbiter.record_role(call.guard.lease(), record)

    world.marks.during["cutover"] = records
    return execute(journal, run.id, world.fakes, context)


def test_R1_without_the_arbiter_nothing_begins(world: World) -> None:
    world.arbiter.place.down = True
    with pytest.raises(ArbiterUnreachable):
        world.start()
    assert not world.marks.count


def test_R1_with_broken_glass_the_run_waits_for_whoever_may_hold_the_lease(world: World) -> None:
    world.arbiter.place.down = True
    first = first_acts(world, "hold", "acquire")
    began_s = world.clock.elapsed_s()
    run = breaks_glass(world)
    assert run.state is RunState.COMMITTED
    assert all(at_s >= began_s + LEASE_TTL_S + LONGEST_EFFECT_S for at_s in first.values())
    assert set(first) == {"hold", "acquire"}


def test_R1_what_was_recorded_without_the_arbiter_is_told_to_it_once_it_is_back(
    world: World,
) -> None:
    world.arbiter.place.down = True
    run = breaks_glass(world)
    assert run.epoch == 4, "one after the last that is known"
    assert tell_arbiter(world.database, world.arbiter, "assistant", "me", ttl_s=30) is None
    kept = kept_role(world.database, "assistant")
    assert kept is not None
    assert (kept.epoch, kept.site, kept.snapshots) == (4, "coreweave", ("s-1",))
    world.arbiter.place.down = False
    told = tell_arbiter(world.database, world.arbiter, "assistant", "me", ttl_s=30)
    assert told == kept == world.arbiter.read_role("assistant")
    assert kept_role(world.database, "assistant") is None
    assert tell_arbiter(world.database, world.arbiter, "assistant", "me", ttl_s=30) is None


@pytest.mark.parametrize("write", range(4))  # lease, role, its release, forgotten here
def test_R1_telling_the_arbiter_can_be_killed_anywhere(
    world: World, crash: type[BaseException], write: int
) -> None:
    world.arbiter.place.down = True
    breaks_glass(world)
    world.arbiter.place.down = False
    world.mortal.writes, world.mortal.dies_before = 0, write
    with pytest.raises(crash):
        tell_arbiter(world.database, world.arbiter, "assistant", "me", ttl_s=30)
    world.mortal.dies_before = None
    told = tell_arbiter(world.database, world.arbiter, "assistant", "me", ttl_s=30)
    assert told is not None
    assert world.arbiter.read_role("assistant") == told


def test_R1_a_role_that_another_run_recorded_meanwhile_is_not_overwritten(world: World) -> None:
    world.arbiter.place.down = True
    breaks_glass(world)
    world.arbiter.place.down = False
    lease = world.arbiter.acquire("assistant", "another", ttl_s=30)
    other = RoleRecord("assistant", 4, "vast", None, world.clock.now(), "another-run")
    world.arbiter.record_role(lease, other)
    world.arbiter.release(lease)
    with pytest.raises(GuardRefused, match="vast serves by the record"):
        tell_arbiter(world.database, world.arbiter, "assistant", "me", ttl_s=30)
    assert world.arbiter.read_role("assistant") == other
    assert kept_role(world.database, "assistant") is not None


def test_a_lease_of_broken_glass_ends_with_the_next_and_epochs_still_only_grow(
    world: World,
) -> None:
    glass = BrokenGlass(world.database, "assistant", last_known(world))
    first = glass.acquire("assistant", "here", ttl_s=30)
    second = glass.acquire("assistant", "here", ttl_s=30)
    assert second.taken_over
    assert glass.holding("assistant") is None
    assert glass.read_role("another") is None
    with pytest.raises(LeaseLost):
        glass.renew(first)
    with pytest.raises(LeaseLost):
        glass.record_role(first, last_known(world))
    with pytest.raises(GuardRefused, match="not after epoch 3"):
        glass.record_role(second, last_known(world))
    assert kept_role(world.database, "assistant") is None

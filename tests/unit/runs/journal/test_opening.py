"""R4: what stands against opening a run, read in the transaction that opens it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from drkit.config.decide import Decide
from drkit.operations.watch.decide import acknowledge, pause
from drkit.runs.journal.opening import NotNow, Opener, Right, RunOpen
from drkit.runs.records import RunState

if TYPE_CHECKING:
    from conftest import World

SETTINGS = Decide()


def opened(world: World, right: Right, kind: str = "failover"):
    journal = world.journal()
    return journal.open_run(world.plan(kind), sandbox=False, opener=Opener("ada", right, SETTINGS))


def over(world: World, run) -> None:
    """The run is rolled back before it began anything."""
    journal = world.journal()
    journal.claim(run.id)
    journal.set_state(run.id, RunState.ROLLING_BACK)
    journal.set_state(run.id, RunState.ROLLED_BACK)


def paused(world: World) -> None:
    now = world.clock.now()
    until = now + timedelta(hours=2)
    pause(world.database, "assistant", until=until, now=now, by="bob", why="works on the wires")


def test_who_opened_a_run_and_that_nobody_typed_it_is_kept(world: World) -> None:
    run = opened(world, Right.UNATTENDED)
    assert (run.opened_by, run.unattended) == ("ada", True)
    (line,) = world.journal().entries(run.id)
    assert (line.payload["who"], line.payload["right"]) == ("ada", "unattended")
    over(world, run)
    assert opened(world, Right.TYPED).unattended is False


@pytest.mark.parametrize("right", [Right.APPROVED, Right.UNATTENDED])
def test_R4_a_pause_stands_against_every_run_by_a_decision(world: World, right: Right) -> None:
    paused(world)
    with pytest.raises(NotNow, match="by bob: works on the wires"):
        opened(world, right)
    assert world.journal().runs() == []
    world.clock.advance(2 * 3600)
    assert opened(world, right).state is RunState.PLANNED


def test_R4_the_cooldown_stands_against_an_unattended_run_only_and_an_ack_ends_it(
    world: World,
) -> None:
    over(world, opened(world, Right.TYPED))
    world.clock.advance(60)
    with pytest.raises(NotNow, match="59 min of its cooldown"):
        opened(world, Right.UNATTENDED)
    over(world, opened(world, Right.APPROVED))
    with pytest.raises(NotNow, match="cooldown"):
        opened(world, Right.UNATTENDED)
    acknowledge(world.database, "assistant", world.clock.now())
    assert opened(world, Right.UNATTENDED).unattended


def test_R4_an_ack_is_for_the_runs_that_had_ended(world: World) -> None:
    over(world, opened(world, Right.TYPED))
    acknowledge(world.database, "assistant", world.clock.now())
    world.clock.advance(1)
    over(world, opened(world, Right.TYPED))
    with pytest.raises(NotNow, match="cooldown"):
        opened(world, Right.UNATTENDED)


def test_R4_a_day_and_a_week_have_their_limits_of_runs_that_nobody_typed(world: World) -> None:
    for _ in range(SETTINGS.most_per_week):
        over(world, opened(world, Right.UNATTENDED))
        world.clock.advance(3600 + 1)
        with pytest.raises(NotNow, match="in 24 hours"):
            opened(world, Right.UNATTENDED)
        world.clock.advance(24 * 3600)
    with pytest.raises(NotNow, match="2 in 7 days"):
        opened(world, Right.UNATTENDED)
    world.clock.advance(6 * 24 * 3600)
    assert opened(world, Right.UNATTENDED).unattended


def test_R4_runs_that_were_typed_count_for_no_limit(world: World) -> None:
    for _ in range(5):
        over(world, opened(world, Right.TYPED))
    world.clock.advance(3600 + 1)
    assert opened(world, Right.UNATTENDED).unattended


def test_R4_a_typed_run_passes_over_all_of_it_and_says_what(world: World) -> None:
    over(world, opened(world, Right.UNATTENDED))
    paused(world)
    run = opened(world, Right.TYPED)
    (line,) = world.journal().entries(run.id)
    passed_over = " ".join(line.payload["passed_over"])
    assert "paused" in passed_over
    assert "cooldown" in passed_over
    assert "24 hours" in passed_over


def test_R4_a_drill_does_not_begin_beside_a_run_of_production(world: World) -> None:
    run = opened(world, Right.TYPED)
    with pytest.raises(RunOpen, match=run.id):
        opened(world, Right.TYPED, "drill")
    assert [each.id for each in world.journal().runs()] == [run.id]


def test_R4_a_drill_is_not_kept_by_a_pause_or_a_limit(world: World) -> None:
    over(world, opened(world, Right.UNATTENDED))
    paused(world)
    assert opened(world, Right.UNATTENDED, "drill").state is RunState.PLANNED


def test_a_run_and_its_first_line_are_there_together_or_not_at_all(
    world: World, crash: type[BaseException]
) -> None:
    world.mortal.writes, world.mortal.dies_before = 0, 1
    run = opened(world, Right.TYPED)
    assert world.mortal.writes == 1
    assert [e.kind for e in world.journal().entries(run.id)] == ["state"]

"""The crash matrix: a run dies at every point of every step of every runbook there is.

In process, with the real engine, journal and actions in the run world; runbooks are those of the
folder, and the ones added tomorrow join by themselves. Whatever happened, it ends with one owner,
traffic on a permitted place, nothing left that costs money, and nothing done twice.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from run_inhabited import inhabited
from run_stack import PROJECT, Stack
from run_story import POINTS, Story, at_the_target, kinds, told
from run_world import World

from drkit.runs.records import Ask

SECONDS_IN_CI = 6.0
SECONDS_IN_SOAK = 900.0
WANTED_IN_SOAK = 5000
MOST_WRITES = 60
MEMORY = Path(__file__).parents[3] / ".drkit" / "tests" / "run-deaths.json"
ENDINGS = ("resumed", "rolled back")
RUNBOOKS = sorted(path.stem for path in (PROJECT / "runbooks").glob("*.yaml"))
CASES = [(runbook, kind) for runbook in RUNBOOKS for kind in kinds(runbook)]


@pytest.fixture(scope="module")
def away(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> World:
    return at_the_target(stack, tmp_path_factory.mktemp("away") / "world")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("runbook", "kind"), CASES)
def test_a_run_that_dies_at_any_point_of_any_step_ends_well(
    stack: Stack, away: World, tmp_path: Path, runbook: str, kind: str, ending: str
) -> None:
    like = away if kind == "failback" else None
    with inhabited(World(stack, tmp_path / "first", like=like)) as world:
        points = Story(world, runbook, kind).points()
    failed = []
    for number, at in enumerate(points):
        with inhabited(World(stack, tmp_path / str(number), number, like=like)) as world:
            story = Story(world, runbook, kind)
            died = story.execute(dies_at=at)
            assert died.dead, f"{at} was not reached"
            failed += told(world, story.end(ending), ending, at)
    assert len(points) % len(POINTS) == 0 < len(points)
    assert not failed, "\n".join(failed)


def die_again_and_again(stack: Stack, away: World, folder: Path, seed: int) -> list[str]:
    """A run whose processes die before drawn writes of theirs: on its way, when it is taken up,
    while it is taken back, on this machine and on another that takes it over. What is broken.
    """
    chance = random.Random(seed)
    runbook, kind = chance.choice(CASES)
    ending = chance.choice(ENDINGS)
    like = away if kind == "failback" else None
    with inhabited(World(stack, folder, seed, like=like, shared=chance.random() < 0.2)) as world:
        story = Story(world, runbook, kind)
        deaths = [chance.randrange(MOST_WRITES), chance.randrange(MOST_WRITES)]
        story.execute(dies_before_write=deaths[0])
        if ending == "rolled back" and not world.run(story.run_id).state.ended:
            world.ask(story.run_id, Ask("rollback", "somebody"))
        sealed = [run.id for run in world.sealed()]  # what no store knows cannot be taken over
        known = world.shared or story.run_id in sealed
        machine = chance.choice(("one", "one", "two")) if known else "one"
        world.sim.run(ends_s=world.sim.now_s + 100.0)
        if not world.run(story.run_id).state.ended:
            story.execute(machine=machine, dies_before_write=deaths[1])
        return told(world, story.end("resumed", machine), None, (seed, runbook, kind, *deaths))


def test_a_run_that_dies_more_than_once_anywhere_ends_well(
    stack: Stack, away: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed, seed, ends_at = [], 0, time.monotonic() + SECONDS_IN_CI
    while time.monotonic() < ends_at and not failed:
        seed += 1
        failed += die_again_and_again(stack, away, tmp_path / str(seed), seed)
    with capsys.disabled():
        print(f"\nruns: {seed} of them died more than once")
    assert not failed, "\n".join(failed)
    assert seed > 5


@pytest.mark.soak
@pytest.mark.timeout(SECONDS_IN_SOAK * 2)
def test_thousands_of_runs_that_die_more_than_once_end_well(
    stack: Stack, away: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Goes on where the last soak ended."""
    known = json.loads(MEMORY.read_text()) if MEMORY.exists() else {"runs": 0}
    failed, ends_at = [], time.monotonic() + SECONDS_IN_SOAK
    while known["runs"] < WANTED_IN_SOAK and time.monotonic() < ends_at and not failed:
        known["runs"] += 1
        seed = 1000 + known["runs"]
        failed += die_again_and_again(stack, away, tmp_path / str(seed), seed)
        MEMORY.parent.mkdir(parents=True, exist_ok=True)
        MEMORY.write_text(json.dumps(known))
    with capsys.disabled():
        print(f"\nruns: {known['runs']} died more than once in all")
    assert not failed, "\n".join(failed)

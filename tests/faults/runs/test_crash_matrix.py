"""The crash matrix: a run dies at every point of every step of every runbook there is.

In process, with the real engine, journal and actions in the run world; runbooks are those of the
folder, and the ones added tomorrow join by themselves. Whatever happened, it ends with one owner,
traffic on a permitted place, nothing left that costs money, and nothing done twice.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from run_inhabited import inhabited
from run_stack import PROJECT, Stack
from run_story import POINTS, Story, at_the_target, kinds, told
from run_world import World

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

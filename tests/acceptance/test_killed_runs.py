"""A real run of the real command, killed again and again: kill -9 at one point after the other.

Each process is killed at a point of its own (DRKIT_BREAK), and `drkit runs resume` starts the next
one; together they are one run. Where it ends there is one owner, one machine, and names lead to
what was verified. A handful of points in CI; in `make soak` every point of every step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drkit.runs.book.schema import load_runbook

if TYPE_CHECKING:
    from conftest import Copied, Deployment

FAILOVER = ("failover", "--to", "coreweave", "--sandbox", "--yes")
RESUME = ("runs", "resume", "--sandbox")
RUNBOOKS = Path(__file__).parents[2] / "runbooks"


def steps_of(runbook: str) -> list[str]:
    return [step.id for step in load_runbook(RUNBOOKS / f"{runbook}.yaml").steps]


POINTS = ("before-intent", "after-intent", "after-effect", "after-record")
IN_CI = (  # steps that wait for each other, so that each point is met
    ("acquire", "after-intent"),
    ("acquire", "after-effect"),
    ("cutover", "after-intent"),
    ("cutover", "after-effect"),
    ("commit", "after-record"),
)
KILLED = 25


@pytest.fixture
def bereft(deployment: Deployment) -> Deployment:
    """Up, and its primary killed."""
    deployment.done("sandbox", "up")
    deployment.done("sandbox", "kill", "lambda")
    return deployment


def kill_at(
    deployment: Deployment,
    points: Sequence[tuple[str, str]],
    command: tuple[str, ...] = FAILOVER,
) -> list[str]:
    """One run, whose processes are killed at these points in turn; those that were reached.

    A step that is done is not done again, so a point before one that was passed is not met.
    """
    reached = []
    for step, point in points:
        code, out = deployment.run(*command, DRKIT_BREAK=f"{step}:{point}:kill")
        command = RESUME
        if code == 0:
            break
        assert code == KILLED, out
        reached.append(f"{step}:{point}")
    return reached


def role_of(deployment: Deployment) -> dict:
    (file,) = (deployment.sandbox / "stores" / "gcs" / "arbiter").glob("service-assistant.json")
    role: dict = json.loads(file.read_bytes())["role"]
    return role


def must_be_sound(entries: list[dict]) -> None:
    """Nothing is missing, and whatever costs money is accounted for, before it is asked for again:
    a kill that came before a request was sent leaves one that turns out to be for nothing.
    """
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    paid = [entry["payload"]["paid"]["state"] for entry in entries if "paid" in entry["payload"]]
    again = [before for before, state in pairwise(paid) if state == "REQUESTED"]
    assert set(again) <= {"CONFIRMED_GONE"}, paid
    assert not paid or paid[-1] in ("ADOPTED", "CONFIRMED_GONE"), paid


def must_have_ended_well(deployment: Deployment) -> None:
    """One owner, one machine, traffic on it, asked for once."""
    run, entries = deployment.show()
    assert (run["state"], run["outcome"]) == ("COMMITTED", "committed")
    assert entries[0]["payload"]["plan_checksum"] == run["plan_checksum"]
    must_be_sound(entries)
    assert len(deployment.instances("coreweave")) == 1
    role = role_of(deployment)
    assert (role["epoch"], role["site"], role["run_id"]) == (1, "coreweave", run["id"])
    assert deployment.gateway()["url"] == role["endpoint_url"]
    assert f"//{deployment.address()}:" in role["endpoint_url"]
    assert deployment.ask_as_a_user() == (200, "Qwen3-4B")


def must_have_led_to_proven_places(seen: list[tuple[float, str, str | None]]) -> None:
    for name in ("dns", "gateway"):
        values = list(dict.fromkeys(value for _, which, value in seen if which == name))
        assert len(values) <= 2, values


def test_a_run_that_is_killed_again_and_again_ends_as_one_run(bereft: Deployment) -> None:
    with bereft.watched() as seen:
        reached = kill_at(bereft, IN_CI)
        code, out = bereft.run(*RESUME)
    assert code == 0, out
    assert reached == [f"{step}:{point}" for step, point in IN_CI]
    must_have_ended_well(bereft)
    must_have_led_to_proven_places(seen)


Killed = tuple["Deployment", list[tuple[str, str]]]


@pytest.fixture(params=steps_of("primary-gpu-down"))
def lost(
    request: pytest.FixtureRequest, copied: Copied, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Killed]:
    """A deployment whose primary was killed, and the points of one step."""
    with copied(tmp_path_factory.mktemp(request.param) / "deployment") as deployment:
        deployment.done("sandbox", "up")
        deployment.done("sandbox", "kill", "lambda")
        yield deployment, [(request.param, point) for point in POINTS]


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_every_point_of_a_step_is_survived(lost: Killed) -> None:
    deployment, points = lost
    with deployment.watched() as seen:
        reached = kill_at(deployment, points)
        code, out = deployment.run(*RESUME)
    assert code == 0, out
    assert reached == [f"{step}:{point}" for step, point in points]
    must_have_ended_well(deployment)
    must_have_led_to_proven_places(seen)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_every_point_of_a_step_is_taken_back(lost: Killed) -> None:
    deployment, points = lost
    for point in points:
        before = deployment.gateway()
        reached = kill_at(deployment, [point])
        assert reached == [":".join(point)]
        code, out = deployment.run("runs", "rollback", "--yes", "--sandbox")
        run, entries = deployment.show()
        assert (code, run["state"]) == (0, "ROLLED_BACK"), out
        must_be_sound(entries)
        assert deployment.instances("coreweave") == []
        after = deployment.gateway()
        assert not after["enabled"] or after == before  # a kill may come before anybody is held
        assert deployment.ask_as_a_user() == (200, "claude-sonnet-4-5")


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", steps_of("emergency-rollback"))
def test_every_point_of_an_emergency_is_survived(bereft: Deployment, step: str) -> None:
    command = ("runbook", "run", "emergency-rollback", "--sandbox", "--yes")
    points = [(step, point) for point in POINTS]
    reached = kill_at(bereft, points, command)
    code, out = bereft.run(*RESUME)
    assert code == 0, out
    assert reached == [":".join(point) for point in points]
    must_be_sound(bereft.show()[1])
    assert (role_of(bereft)["site"], role_of(bereft)["epoch"]) == ("external API", 1)
    assert bereft.ask_as_a_user() == (200, "claude-sonnet-4-5")


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", steps_of("failback"))
def test_every_point_of_the_way_home_is_survived(bereft: Deployment, step: str) -> None:
    home = f"//{bereft.address()}:"
    bereft.done("failover", "--to", "coreweave", "--yes")
    bereft.done("sandbox", "revive", "lambda")
    points = [(step, point) for point in POINTS]
    reached = kill_at(bereft, points, ("failback", "--sandbox", "--yes"))
    code, out = bereft.run(*RESUME)
    assert code == 0, out
    assert reached == [":".join(point) for point in points]
    must_be_sound(bereft.show()[1])
    assert (role_of(bereft)["site"], role_of(bereft)["epoch"]) == ("lambda", 2)
    assert home in bereft.gateway()["url"]
    assert bereft.instances("coreweave") == []
    assert bereft.ask_as_a_user() == (200, "Qwen3-4B")

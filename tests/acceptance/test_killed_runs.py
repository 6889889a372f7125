"""A real run of the real command, killed again and again: kill -9 at one point after the other.

Each process is killed at a point of its own (DRKIT_BREAK), and `drkit runs resume` starts the next
one; together they are one run. Where it ends there is one owner, one machine, and names lead to
what was verified. A handful of points in CI; in `make soak` every point of every step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Copied, Deployment

FAILOVER = ("failover", "--to", "coreweave", "--sandbox", "--yes")
STEPS = (
    "hold",
    "preflight",
    "acquire",
    "deploy",
    "fence",
    "point",
    "restore",
    "verify",
    "cutover",
    "verify_public",
    "observe",
    "commit",
)
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


def kill_at(deployment: Deployment, points: Sequence[tuple[str, str]]) -> list[str]:
    """One run, whose processes are killed at these points in turn; those that were reached.

    A step that is done is not done again, so a point before one that was passed is not met.
    """
    reached = []
    command: tuple[str, ...] = FAILOVER
    for step, point in points:
        code, out = deployment.run(*command, DRKIT_BREAK=f"{step}:{point}:kill")
        command = ("runs", "resume", "--sandbox")
        if code == 0:
            break
        assert code == KILLED, out
        reached.append(f"{step}:{point}")
    return reached


def must_have_ended_well(deployment: Deployment) -> None:
    """One owner, one machine, traffic on it, asked for once."""
    run, entries = deployment.show()
    assert (run["state"], run["outcome"]) == ("COMMITTED", "committed")
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    assert entries[0]["payload"]["plan_checksum"] == run["plan_checksum"]
    assert len(deployment.instances("coreweave")) == 1
    paid = [entry["payload"]["paid"] for entry in entries if "paid" in entry["payload"]]
    assert [each["state"] for each in paid].count("REQUESTED") == 1
    (file,) = (deployment.sandbox / "stores" / "gcs" / "arbiter").glob("service-assistant.json")
    role = json.loads(file.read_bytes())["role"]
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
        code, out = bereft.run("runs", "resume", "--sandbox")
    assert code == 0, out
    assert reached == [f"{step}:{point}" for step, point in IN_CI]
    must_have_ended_well(bereft)
    must_have_led_to_proven_places(seen)


@pytest.fixture(params=STEPS)
def another(
    request: pytest.FixtureRequest, copied: Copied, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Deployment, str]]:
    with copied(tmp_path_factory.mktemp(request.param) / "deployment") as deployment:
        deployment.done("sandbox", "up")
        deployment.done("sandbox", "kill", "lambda")
        yield deployment, request.param


@pytest.mark.soak
def test_every_point_of_a_step_is_survived(another: tuple[Deployment, str]) -> None:
    deployment, step = another
    with deployment.watched() as seen:
        reached = kill_at(deployment, [(step, point) for point in POINTS])
        code, out = deployment.run("runs", "resume", "--sandbox")
    assert code == 0, out
    assert reached == [f"{step}:{point}" for point in POINTS]
    must_have_ended_well(deployment)
    must_have_led_to_proven_places(seen)

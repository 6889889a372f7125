"""Runbooks and frozen plans of released versions are read by this one, or refused as unknown (R6).

A file of a released version is never written anew: `plans` hold {"checksum", "plan"}.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import Plan
from drkit.runs.book.schema import load_runbook

HERE = Path(__file__).parent
PLANS = sorted((HERE / "plans").glob("*.json"))
RUNBOOKS = sorted((HERE / "runbooks").glob("*.yaml"))


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    head = json.loads(path.read_text())
    return head["checksum"], head["plan"]


def test_there_are_plans_and_runbooks_of_every_released_version() -> None:
    kinds = {_read(path)[1]["kind"] for path in PLANS}
    assert kinds >= {"failover", "switchover", "failback", "drill"}
    assert {path.name.split("-")[0] for path in (*PLANS, *RUNBOOKS)} >= {"0.1.0"}
    assert len(RUNBOOKS) >= 3


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_an_old_plan_is_read_and_keeps_its_checksum(path: Path) -> None:
    checksum, values = _read(path)
    plan = Plan.from_json(json.dumps(values))
    assert plan.checksum == checksum
    assert json.loads(plan.to_json()) == values


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_what_an_old_plan_asks_for_is_known_or_is_not_executed(path: Path) -> None:
    """An action of another version is left to that version by the engine."""
    plan = Plan.from_json(json.dumps(_read(path)[1]))
    assert all(step.action in ACTIONS for step in plan.steps)


def test_an_approval_of_an_old_plan_is_still_one() -> None:
    _, values = _read(HERE / "plans" / "0.1.0-failover-approval.json")
    plan = Plan.from_json(json.dumps(values))
    assert [step.id for step in plan.steps if step.approval == "operator"] == ["cutover"]


@pytest.mark.parametrize("where", ["plan", "step"])
def test_R6_what_a_later_version_added_is_refused(where: str) -> None:
    _, values = _read(PLANS[0])
    place = values if where == "plan" else values["steps"][0]
    place["of_tomorrow"] = 1
    with pytest.raises((ValueError, TypeError), match="of_tomorrow"):
        Plan.from_json(json.dumps(values))


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_an_old_runbook_is_still_one(path: Path) -> None:
    book = load_runbook(path)
    assert path.stem == f"0.1.0-{book.name}"
    assert all(step.action in ACTIONS for step in book.steps)

"""Journals that released versions wrote are read by this one, to the same end.

The first line of each file says what its journal came to; the rest are its entries, one a line. A
file of a released version is never written anew.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from run_records import run_of

from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.graph import finished, ready
from drkit.runs.book.plan import Plan
from drkit.runs.evidence.build import build_evidence
from drkit.runs.evidence.values import Evidence, Verdict
from drkit.runs.records import Entry, RunState, StepState, paid_resources
from drkit.runs.states import RUN_TABLE, replay

JOURNALS = sorted((Path(__file__).parent / "journals").glob("*.jsonl"))


def _read(path: Path) -> tuple[dict, Plan, list[Entry]]:
    head, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    entries = [Entry(**{**line, "at": datetime.fromisoformat(line["at"])}) for line in lines]
    return head, Plan.from_json(json.dumps(head["plan"])), entries


def test_there_are_journals_of_every_released_version() -> None:
    assert {path.name.split("-")[0] for path in JOURNALS} >= {"0.1.0"}
    assert len(JOURNALS) >= 6


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: path.stem)
def test_an_old_journal_replays_to_where_its_steps_stood(path: Path) -> None:
    head, plan, entries = _read(path)
    steps = replay(entries, [step.id for step in plan.steps])
    assert {name: step.state.value for name, step in steps.items()} == head["steps"]
    assert [[paid.key, paid.state] for paid in paid_resources(entries)] == head["paid"]
    if head["outcome"] in ("committed", "passed"):
        undone = {"UNDONE"} & set(head["steps"].values())
        assert finished(plan, steps) or undone
    if head["outcome"] is None:
        last = entries[-1]
        taken_up = Entry(last.seq + 1, last.at, last.elapsed_s, None, 0, "resumed", {})
        steps = replay([*entries, taken_up], steps)
        assert [step.id for step in ready(plan, steps, set())] == ["restore"]


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: path.stem)
def test_an_old_plan_has_its_old_checksum_and_its_actions_are_still_known(path: Path) -> None:
    head, plan, _ = _read(path)
    assert plan.checksum == head["plan_checksum"]
    assert all(step.action in ACTIONS for step in plan.steps)


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: path.stem)
def test_the_moves_of_an_old_run_are_still_in_the_table(path: Path) -> None:
    head, _, entries = _read(path)
    moves = [entry.payload for entry in entries if entry.kind == "state"]
    known = {(before, after) for (before, _), after in RUN_TABLE.items()}
    for move in moves[1:]:
        assert (RunState(move["from"]), RunState(move["to"])) in known
    assert moves[-1]["to"] == head["state"]


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: path.stem)
def test_evidence_is_made_of_an_old_journal(path: Path) -> None:
    _evidence(path)


def _evidence(path: Path, upto_seq: int | None = None) -> Evidence:
    """What evidence makes of the journal, or of its beginning, while the run is open."""
    head, plan, entries = _read(path)
    whole = upto_seq is None
    entries = [entry for entry in entries if upto_seq is None or entry.seq <= upto_seq]
    state = RunState(head["state"]) if whole else RunState.RUNNING
    run = run_of(
        plan,
        entries[0].at,
        state=state,
        epoch=1,
        ended_at=entries[-1].at if state.ended else None,
        drkit_version=head["drkit_version"],
        outcome=head["outcome"] if whole else None,
    )
    return build_evidence(run, plan, entries, overrides=(), now=entries[-1].at)


def test_a_skipped_step_is_named_and_does_not_make_a_committed_run_a_failed_one() -> None:
    (path,) = [path for path in JOURNALS if path.stem.endswith("failover-retargeted")]
    evidence = _evidence(path)
    assert evidence.verdict is Verdict.PASSED
    assert "ada@desk had it go on without verify_public: the resolver is down" in (
        evidence.consequence
    )
    steps = {step.id: step.state for step in evidence.steps}
    assert steps["verify_public"] is StepState.SKIPPED
    assert "came up on runpod" in evidence.headline


def test_a_step_that_began_anew_is_not_done_before_it_is_done_again() -> None:
    (path,) = [path for path in JOURNALS if path.stem.endswith("failover-taken-over")]
    _, _, entries = _read(path)
    (replanned,) = [entry.seq for entry in entries if entry.kind == "replanned"]
    before = {step.id: step.state for step in _evidence(path, replanned - 1).steps}
    after = {step.id: step.state for step in _evidence(path, replanned).steps}
    assert (before["restore"], before["verify"]) == (StepState.DONE, StepState.DONE)
    assert (after["restore"], after["verify"]) == (StepState.PENDING, StepState.PENDING)
    assert {name for name in before if before[name] is not after[name]} == {"restore", "verify"}

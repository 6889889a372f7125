"""The two tables: every state leads somewhere, and a journal replays to where its steps stand."""

from __future__ import annotations

from itertools import count

import pytest

from drkit.clock import ManualClock
from drkit.runs.records import Entry, RunState, StepState, paid_resources
from drkit.runs.states import (
    MILESTONE_OF,
    MILESTONES,
    RUN_TABLE,
    STEP_TABLE,
    RunEvent,
    replay,
    run_after,
)

CLOCK = ManualClock()


def _entries(*kinds: tuple[str, str | None, dict[str, object]]) -> list[Entry]:
    seq = count(1)
    return [
        Entry(next(seq), CLOCK.now(), 0.0, step, 1, kind, payload)  # type: ignore[arg-type]
        for kind, step, payload in kinds
    ]


def test_every_state_of_a_run_is_reached_and_every_one_that_has_not_ended_can_end() -> None:
    reached = {RunState.PLANNED, *RUN_TABLE.values()}
    assert reached == set(RunState)
    can_end = {state for state in RunState if state.ended}
    while grown := {b for (b, _), a in RUN_TABLE.items() if a in can_end} - can_end:
        can_end |= grown
    assert can_end == set(RunState)


def test_an_ended_state_is_never_left() -> None:
    assert not [before for before, _ in RUN_TABLE if before.ended]


def test_every_event_is_used_and_every_milestone_has_a_step() -> None:
    assert {event for _, event in RUN_TABLE} == set(RunEvent)
    assert set(MILESTONE_OF.values()) == MILESTONES


def test_an_event_without_a_row_is_a_bug_unless_it_is_a_milestone() -> None:
    assert run_after(RunState.OBSERVING, RunEvent.PROVED) is RunState.OBSERVING
    with pytest.raises(ValueError, match="COMMITTED knows no ASK"):
        run_after(RunState.COMMITTED, RunEvent.ASK)


def test_every_step_state_survives_that_the_process_dies() -> None:
    for state in StepState:
        after = STEP_TABLE[state, "resumed"]
        assert after is (StepState.EFFECT_UNKNOWN if state is StepState.INTENT else state)


def test_an_intent_without_a_result_is_unknown_once_the_run_is_taken_up() -> None:
    entries = _entries(("intent", "acquire", {}), ("resumed", None, {"unknown": ["acquire"]}))
    steps = replay(entries, ["acquire", "deploy"])
    assert steps["acquire"].state is StepState.EFFECT_UNKNOWN
    assert steps["acquire"].began
    assert steps["deploy"].state is StepState.PENDING


def test_a_step_that_is_being_undone_is_unknown_until_it_is_undone() -> None:
    begun = _entries(
        ("intent", "acquire", {}),
        ("done", "acquire", {"output": {"instance_id": "i"}}),
        ("intent", "acquire", {"undo": True}),
    )
    step = replay(begun, ["acquire"])["acquire"]
    assert (step.state, step.output) == (StepState.EFFECT_UNKNOWN, {"instance_id": "i"})
    ended = [*begun, *_entries(("undone", "acquire", {}))]
    assert replay(ended, ["acquire"])["acquire"].state is StepState.UNDONE


def test_a_line_that_cannot_be_is_refused_by_its_number() -> None:
    with pytest.raises(ValueError, match="entry 1: a step in PENDING knows no 'done'"):
        replay(_entries(("done", "acquire", {})), ["acquire"])


def test_a_resource_that_never_came_to_be_costs_nothing() -> None:
    asked = {"key": "acquire/1.0", "what": "L40", "usd_per_hour": 1.5, "instance_id": None}
    entries = _entries(
        ("note", "acquire", {"paid": {**asked, "state": "REQUESTED"}}),
        ("note", "acquire", {"paid": {**asked, "state": "CONFIRMED_GONE"}}),
    )
    (paid,) = paid_resources(entries)
    assert (paid.state, paid.usd_until(CLOCK.now())) == ("CONFIRMED_GONE", 0.0)

"""Every state that a table can assign has a way on, and none is assigned that nobody handles."""

from __future__ import annotations

from drkit.coordination import decision
from drkit.health import table
from drkit.health.interface import ServiceState
from drkit.runs import states
from drkit.runs.records import RunState, StepState


def test_a_run_in_every_state_but_the_ended_ones_can_go_on() -> None:
    assigned = {RunState.PLANNED, *states.RUN_TABLE.values()}
    handled = {state for state, _ in states.RUN_TABLE}
    assert {state for state in assigned if not state.ended} <= handled
    assert not {state for state in handled if state.ended}


def test_a_run_in_every_open_state_reaches_its_end() -> None:
    reaches = {state for state in RunState if state.ended}
    while True:
        more = {before for (before, _), after in states.RUN_TABLE.items() if after in reaches}
        if more <= reaches:
            break
        reaches |= more
    assert {state for state, _ in states.RUN_TABLE} <= reaches


def test_a_step_in_every_state_can_be_taken_up_by_a_new_process() -> None:
    assigned = {StepState.PENDING, *states.STEP_TABLE.values()}
    assert {state for state in assigned if (state, "resumed") not in states.STEP_TABLE} == set()


def test_a_step_that_began_can_be_undone_whatever_became_of_it() -> None:
    began = {after for (_, entry), after in states.STEP_TABLE.items() if entry == "intent"}
    while True:
        more = {
            after
            for (state, entry), after in states.STEP_TABLE.items()
            if state in began and entry not in ("undone", "skipped", "reset")
        }
        if more <= began:
            break
        began |= more
    assert {state for state in began if (state, "undo") not in states.STEP_TABLE} == set()


def test_every_decision_that_has_not_ended_is_weighed_or_withdrawn() -> None:
    for state in decision.DecisionState:
        events = {event for before, event in decision.TABLE if before is state}
        assert bool(events) is not state.ended, state
        if events:
            assert decision.DecisionEvent.RECOVERED in events, state


def test_the_service_leaves_every_state_that_it_can_be_in() -> None:
    assigned = {ServiceState.UNKNOWN, *(row.to for row in table.TABLE.values())}
    assert assigned <= {state for state, _ in table.TABLE}
    began = {state for state, signal in table.TABLE if signal is table.Signal.RUN_BEGAN}
    assert began == assigned - {ServiceState.RECOVERING}

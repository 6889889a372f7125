"""Stopping a run that nobody executes, where it is."""

from __future__ import annotations

from drkit.errors import GuardRefused
from drkit.runs.journal.journal import Journal
from drkit.runs.records import RunRecord, RunState
from drkit.runs.states import RUN_TABLE, RunEvent
from drkit.runs.steering.claiming import LeaseOf, claimed


def stop_where_it_is(journal: Journal, run_id: str, lease_of: LeaseOf, *, who: str) -> RunRecord:
    """The run in NEEDS_OPERATOR: nothing goes on by itself, and nothing was undone.

    Raises `ClaimLost` or `LeaseHeld` when a process executes it, on whichever machine,
    `GuardRefused` when it may not be left so.
    """
    with claimed(journal, run_id, lease_of):
        run = journal.run(run_id)
        if (run.state, RunEvent.ASK) not in RUN_TABLE:
            raise GuardRefused(
                f"run {run_id} is in {run.state.value}, which is not left half done",
                hint=f"`drkit runs resume {run_id}` brings it to an end",
            )
        journal.set_state(
            run_id,
            RunState.NEEDS_OPERATOR,
            True,
            reason=f"{who} stopped it",
            hint=f"`drkit runs resume {run_id}` goes on where it stands",
        )
    return journal.run(run_id)

"""Whose writing a run has stopped, and has not yet proved anything in its place (S14). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drkit.runs.book.plan import Plan
from drkit.runs.records import JSON, RunRecord, RunState, StepState
from drkit.runs.states import StepProgress

_UNPROVED = frozenset(
    {RunState.PLANNED, RunState.PREFLIGHT, RunState.RUNNING, RunState.NEEDS_OPERATOR}
)
# What a fence says that it was about: of the primary, or of the target on the way home.
_NAMES = ("stateful", "sources")


def fenced_sources(
    run: RunRecord, plan: Plan, steps: Mapping[str, StepProgress]
) -> tuple[str, ...]:
    """Sources whose writers are fenced while nothing is verified: what is cut of them now belongs
    to neither side. Empty where there was nothing to fence, and in a drill.
    """
    if run.namespace != "production" or run.state not in _UNPROVED:
        return ()
    actions = {step.id: step.action for step in plan.steps}
    if any(
        action.startswith("verify") and steps[name].state is StepState.DONE
        for name, action in actions.items()
    ):
        return ()
    names = [
        name
        for step in plan.steps
        if step.action.startswith("fence")
        for key in _NAMES
        for name in _texts(steps[step.id].output.get(key))
    ]
    return tuple(dict.fromkeys(names))


def _texts(value: JSON) -> Sequence[str]:
    return [str(each) for each in value] if isinstance(value, list | tuple) else []

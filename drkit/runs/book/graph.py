"""Which steps may start: pure, from the plan and where each step stands."""

from __future__ import annotations

from collections.abc import Mapping, Set

from drkit.runs.book.plan import Plan, PlannedStep
from drkit.runs.records import StepState
from drkit.runs.states import StepProgress

_OVER = frozenset({StepState.DONE, StepState.SKIPPED})
_STARTABLE = frozenset({StepState.PENDING, StepState.EFFECT_UNKNOWN, StepState.FAILED})


def passed(step: PlannedStep, progress: StepProgress) -> bool:
    """Whether what waits for `step` may go on: it is done, skipped for a reason, or it failed, or
    gave no answer, and the runbook goes on without it.
    """
    in_vain = progress.state is StepState.FAILED or progress.unanswered
    return progress.state in _OVER or (in_vain and step.on_failure == "continue")


def ready(plan: Plan, steps: Mapping[str, StepProgress], busy: Set[str]) -> list[PlannedStep]:
    """Steps that may start now, in the plan's order. `busy` ones have been started already, and
    what needs one waits until it has come back: one that failed may be tried again, and one that is
    done has still to say so.
    """
    return [
        step
        for step in _startable(plan, steps, busy)
        if step.approval == "none" or steps[step.id].approved
    ]


def unapproved(plan: Plan, steps: Mapping[str, StepProgress]) -> list[PlannedStep]:
    """Steps that could start now, but for an operator's word."""
    may = ready(plan, steps, frozenset())
    return [step for step in _startable(plan, steps, frozenset()) if step not in may]


def _startable(plan: Plan, steps: Mapping[str, StepProgress], busy: Set[str]) -> list[PlannedStep]:
    return [
        step
        for step in plan.steps
        if step.id not in busy
        and steps[step.id].state in _STARTABLE
        and not passed(step, steps[step.id])
        and all(need not in busy and passed(plan.step(need), steps[need]) for need in step.needs)
    ]


def finished(plan: Plan, steps: Mapping[str, StepProgress]) -> bool:
    """Whether nothing is left to do."""
    return all(passed(step, steps[step.id]) for step in plan.steps)


def began_in_reverse(plan: Plan, steps: Mapping[str, StepProgress]) -> list[PlannedStep]:
    """The steps that began and are not undone, the last one first: the order of a rollback."""
    began = [
        (progress.began_seq, step)
        for step in plan.steps
        if (progress := steps[step.id]).began_seq is not None
        and progress.state is not StepState.UNDONE
    ]
    return [step for _, step in sorted(began, key=lambda each: each[0] or 0, reverse=True)]

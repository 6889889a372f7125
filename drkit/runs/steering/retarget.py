"""Leading an open run elsewhere: which steps begin anew, and when it may not be done. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from drkit.errors import GuardRefused
from drkit.runs.book.plan import Plan
from drkit.runs.records import Effect, RunRecord, StepState
from drkit.runs.states import StepProgress

# What these did or saw holds for one target only. Everything else stays as it is: above all what
# was restored, and that users are held.
OF_THE_TARGET = frozenset(
    {
        "standby",
        "preflight",
        "acquire",
        "deploy",
        "verify",
        "cutover",
        "verify_public",
        "observe",
        "commit",
    }
)

# What these left lies in the folder of the machine that executed them.
OF_THE_MACHINE = frozenset({"restore", "verify"})


def begin_anew(plan: Plan, steps: Mapping[str, StepProgress]) -> list[str]:
    """Ids of the steps that a run begins anew for another target."""
    return [
        step.id
        for step in plan.steps
        if step.action in OF_THE_TARGET and steps[step.id].state is not StepState.PENDING
    ]


def begin_anew_here(plan: Plan, steps: Mapping[str, StepProgress]) -> list[str]:
    """Ids of the steps that a run begins anew on another machine: none once traffic has moved,
    for then nothing needs them any more.
    """
    if any(
        step.action == "cutover" and steps[step.id].state is StepState.DONE for step in plan.steps
    ):
        return []
    return [
        step.id
        for step in plan.steps
        if step.action in OF_THE_MACHINE
        and steps[step.id].state not in (StepState.PENDING, StepState.UNDONE)
    ]


def may_retarget(run: RunRecord, plan: Plan, steps: Mapping[str, StepProgress], new: Plan) -> None:
    """Raises `GuardRefused` when the run has to be rolled back instead."""
    hint = f"`drkit runs rollback {run.id}`, then fail over anew"
    if plan.kind not in ("failover", "switchover"):
        raise GuardRefused(f"a {plan.kind} is not led elsewhere", hint=hint)
    if new.target == plan.target:
        raise GuardRefused(
            f"run {run.id} leads to {plan.target} already",
            hint=f"`drkit runs resume {run.id}` goes on with it",
        )
    if run.state.value in ("ROLLING_BACK", "ROLLBACK_FAILED"):
        raise GuardRefused(
            f"run {run.id} is being rolled back",
            hint=f"`drkit runs resume {run.id}` brings that to an end; then fail over anew",
        )
    moved = [
        step.id
        for step in plan.steps
        if step.action in OF_THE_TARGET
        and step.effect is Effect.TRAFFIC
        and steps[step.id].began
        and steps[step.id].state is not StepState.UNDONE
    ]
    if moved:
        raise GuardRefused(
            f"run {run.id} began to move traffic to {plan.target} ({', '.join(moved)})", hint=hint
        )
    now = {step.id: (step.action, step.version) for step in new.steps}
    lost = [
        step.id
        for step in plan.steps
        if step.action not in OF_THE_TARGET
        and steps[step.id].began
        and now.get(step.id) != (step.action, step.version)
    ]
    if lost:
        raise GuardRefused(
            f"the runbook is another one now: {', '.join(lost)} of run {run.id} are not in it",
            hint=hint,
        )

"""Going on without a step: by an operator, for a reason, and never where proof is lost (R12)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from drkit.errors import ConfigError, GuardRefused
from drkit.runs.book.plan import Plan, PlannedStep
from drkit.runs.book.references import REFERENCE, upstream
from drkit.runs.journal.journal import Journal
from drkit.runs.records import Effect, Entry, RunRecord, RunState, StepState
from drkit.runs.states import StepProgress, replay
from drkit.runs.steering.claiming import LeaseOf, claimed

_WALKS = frozenset(
    {
        RunState.PLANNED,
        RunState.PREFLIGHT,
        RunState.RUNNING,
        RunState.VERIFIED,
        RunState.CUTOVER,
        RunState.OBSERVING,
        RunState.NEEDS_OPERATOR,
    }
)
_SKIPPABLE = frozenset({StepState.PENDING, StepState.FAILED, StepState.EFFECT_UNKNOWN})


def skip_step(
    journal: Journal, run_id: str, step_id: str, lease_of: LeaseOf, *, reason: str, who: str
) -> Entry:
    """The journal's line of it: the run goes on without the step when it is resumed.

    Raises `ClaimLost` or `LeaseHeld` while a process executes the run, on whichever machine,
    `ConfigError` and `GuardRefused`; then nothing was written.
    """
    with claimed(journal, run_id, lease_of):
        run, plan = journal.run(run_id), journal.plan(run_id)
        steps = replay(journal.entries(run_id), [step.id for step in plan.steps])
        # Whoever executed it last has died: what it had begun is unknown.
        if any(step.state is StepState.INTENT for step in steps.values()):
            journal.append(run_id, "resumed", payload={"pid": None, "unknown": []})
            steps = replay(journal.entries(run_id), steps)
        may_skip(run, plan, steps, step_id)
        payload = {"reason": reason, "who": who}
        return journal.append(run_id, "skipped", step=step_id, payload=payload)


def may_skip(run: RunRecord, plan: Plan, steps: Mapping[str, StepProgress], step_id: str) -> None:
    """Raises `ConfigError` for a step that cannot be skipped, `GuardRefused` for one that may not
    be: traffic would be led to what nothing has proved (R8), or an effect be lost sight of (R5).
    """
    if step_id not in steps:
        raise ConfigError(
            f"run {run.id} has no step {step_id!r}", hint=f"it has {', '.join(steps)}"
        )
    step, state = plan.step(step_id), steps[step_id].state
    if run.state not in _WALKS or run.outcome is not None:
        raise GuardRefused(
            f"run {run.id} is in {run.state.value}: no step of it is still to come",
            hint=f"`drkit runs resume {run.id}` brings it to its end",
        )
    if state not in _SKIPPABLE:
        raise ConfigError(
            f"step {step_id} is {state.value} and cannot be skipped",
            hint=f"`drkit runs show {run.id}` says where each step stands",
        )
    if state is StepState.EFFECT_UNKNOWN and step.effect.must_look:
        raise GuardRefused(
            f"it is not known whether {step_id} took effect",
            hint=f"`drkit runs resume {run.id}` looks; `drkit runs rollback {run.id}` looks, and "
            "takes it back",
        )
    if step.action == "cutover":
        raise GuardRefused(
            f"{step_id} also records who serves: it is not skipped",
            hint=f"a name that you moved by hand is found as it is: `drkit runs resume {run.id}`",
        )
    if lacking := [each.id for each in plan.steps if _leans_on(each, step, plan, steps)]:
        raise GuardRefused(
            f"without {step_id}, {', '.join(lacking)} would lead traffic to what is not proved",
            hint=f"mend what {step_id} needs and `drkit runs resume {run.id}`, or lead the run "
            f"elsewhere: drkit runs retarget {run.id} --to TARGET",
        )


def _leans_on(
    later: PlannedStep, step: PlannedStep, plan: Plan, steps: Mapping[str, StepProgress]
) -> bool:
    """Whether `later` will move traffic by what `step` gives it: an output, or a proof."""
    if later.effect is not Effect.TRAFFIC or later.skip is not None:
        return False
    if steps[later.id].state in (StepState.DONE, StepState.SKIPPED):
        return False
    if step.id not in upstream(later.id, {each.id: each.needs for each in plan.steps}):
        return False
    text = " ".join(str(value) for value in later.arguments.values())
    named = {match["step"] for match in re.finditer(REFERENCE, text)}
    return step.id in named or step.action.startswith("verify")

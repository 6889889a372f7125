"""fence: the old primary can write nothing more. A primary without state needs no fence."""

from __future__ import annotations

from drkit.config.sources import AnyWeights
from drkit.errors import NeedsOperator
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.records import JSON, Effect


def _run(call: StepCall, context: Context) -> Done:
    """Weights are read only; whatever else lives on the primary can be written to."""
    primary = context.plan.primary
    stateful = [
        name
        for name, source in context.config.sources.items()
        if source.lives_on == primary and not isinstance(source, AnyWeights)
    ]
    accepted = call.arguments.get("accept_divergence")
    output: dict[str, JSON] = {"stateful": list(stateful), "accepted_by": accepted}
    if not stateful:
        return Done(f"nothing to fence: no source that can change lives on {primary}", output)
    if context.namespace == "drill":
        return Done(f"a drill fences nothing of {primary}", output)
    if accepted:
        return Done(f"not fenced: {accepted} accepts what {primary} may still write", output)
    raise NeedsOperator(
        f"{', '.join(stateful)} live on {primary}, which may come back and write to them",
        hint="see that nothing writes there any more, then put "
        "`with: {accept_divergence: YOUR NAME}` into the runbook's fence step and start anew",
    )


def _look(_call: StepCall, _context: Context) -> Done | None:
    """A fence that changes nothing outside leaves nothing to be found."""
    return None


ACTION = Action("fence", 1, Effect.FENCE, _run, look=_look, fences=True)

"""fence_target: what was brought to the target is written to no more, as far as can be seen.

Users are held, so that nothing comes through the gateway; then everything that was brought there
is looked at twice. A writer that goes past the gateway shows itself by what it writes.
"""

from __future__ import annotations

from drkit.errors import GuardRefused, NeedsOperator
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.places import fingerprint, moves_of
from drkit.runs.actions.pointing import holds_traffic
from drkit.runs.records import JSON, Effect
from drkit.units import format_duration


def _run(call: StepCall, context: Context) -> Done:
    plan, moves = context.plan, moves_of(call, context)
    accepted = call.arguments.get("accept_divergence")
    output: dict[str, JSON] = {"sources": [move.name for move in moves], "accepted_by": accepted}
    if not moves:
        return Done(f"nothing to fence: no source was brought to {plan.target}", output)
    if accepted:
        return Done(f"not fenced: {accepted} accepts what may still be written there", output)
    if loose := [s.name for s in context.switches if holds_traffic(s) and not s.read().held]:
        raise GuardRefused(
            f"{', '.join(loose)} still sends users to {plan.target}",
            hint="hold them first: drkit runbook run emergency-rollback",
        )
    before = {move.name: fingerprint(move) for move in moves}
    call.guard.pause(context.settle_s)
    written = [move.name for move in moves if fingerprint(move) != before[move.name]]
    if written:
        raise NeedsOperator(
            f"{', '.join(written)} at {plan.target} is still written to",
            hint="stop what writes there and resume the run, or put "
            "`with: {accept_divergence: YOUR NAME}` into the runbook's fence_target step",
        )
    quiet = format_duration(context.settle_s)
    names = ", ".join(before)
    output["fingerprints"] = dict(before)
    return Done(f"users are held, and {names} did not change in {quiet}", output)


def _look(_call: StepCall, _context: Context) -> Done | None:
    """A fence that changes nothing outside leaves nothing to be found."""
    return None


ACTION = Action("fence_target", 1, Effect.FENCE, _run, look=_look, fences=True)

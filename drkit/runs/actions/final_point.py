"""final_point: what was written at the target is in a point of its own before anything moves."""

from __future__ import annotations

from drkit.errors import DrkitError
from drkit.points.find import choose_point, list_points
from drkit.runs.actions.destination import brought_of
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.records import JSON, Effect


def _run(call: StepCall, context: Context) -> Done:
    """May be made again: a point too many loses nothing."""
    brought = brought_of(call)
    if not brought:
        return _newest(call, context)
    call.guard.check()
    snapshot_id = context.back_up(brought)
    output: dict[str, JSON] = {"snapshot_id": snapshot_id, "sources": list(brought)}
    names = ", ".join(brought)
    return Done(f"point {snapshot_id[:8]} has {names} as {context.plan.target} left them", output)


def _newest(call: StepCall, context: Context) -> Done:
    """Nothing lives at the target. The newest point is what home is compared with, if there is
    one; going home does not depend on it.
    """
    target = context.plan.target
    try:
        role = context.arbiter.read_role(context.plan.service)
        found = choose_point(list_points(context.repository()), role=role)
    except DrkitError as error:
        call.guard.note({"text": f"no point to compare with: {error.message}"})
        return Done(f"nothing was brought to {target}, and there is no point", {"snapshot_id": ""})
    said = f"nothing was brought to {target}; point {found.id[:8]} is what home is compared with"
    return Done(said, {"snapshot_id": found.id})


ACTION = Action("final_point", 1, Effect.WRITE, _run, data=True)

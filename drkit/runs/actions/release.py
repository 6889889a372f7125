"""release: the target's machine is given back, once the service lives at home again (R7, R9).

It was made by drkit, and carries the tags of the run that made it. The primary carries none, and is
on another site: no code here could reach it.
"""

from __future__ import annotations

from drkit.compute.interface import Instance
from drkit.errors import GuardRefused
from drkit.runs.actions.destination import brought_of
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.money import RUN_TAG, end_instance
from drkit.runs.actions.places import VectorMove, moves_of
from drkit.runs.actions.pointing import names_of
from drkit.runs.records import JSON, Effect


def _run(call: StepCall, context: Context) -> Done:
    """May be repeated: what is gone is not found any more."""
    made_by = call.arguments.get("made_by")
    _must_be_home(call, context)
    gone: list[JSON] = []
    if isinstance(made_by, str) and made_by:
        for instance in context.compute.find({RUN_TAG: made_by}):
            _give_back(call, context, instance, made_by)
            gone.append(instance.id)
    dropped = _drop_vectors(call, context, str(made_by))
    kept = [str(place.get("into")) for place in brought_of(call).values() if place.get("into")]
    output: dict[str, JSON] = {"gone": gone, "dropped": dropped, "kept": list(kept)}
    said = f"{', '.join(map(str, gone))} given back" if gone else "there is no machine to give back"
    return Done(f"{said}; kept: {', '.join(kept)}" if kept else said, output)


def _must_be_home(call: StepCall, context: Context) -> None:
    role, primary = context.arbiter.read_role(context.plan.service_key), context.plan.primary
    if role is None or role.site != primary or role.run_id != call.run_id:
        raise GuardRefused(
            f"{role.site if role else 'nobody'} serves by the role record, and not {primary}",
            hint="nothing was given back: see who serves, `drkit status`",
        )


def _give_back(call: StepCall, context: Context, instance: Instance, made_by: str) -> None:
    service = context.plan.service
    if instance.tags.get("drkit-service") != service or instance.tags.get(RUN_TAG) != made_by:
        raise GuardRefused(
            f"instance {instance.id} was not made for {service} by {made_by}, and is left alone",
            hint="look whose it is",
        )
    if names := names_of(context, context.plan.target, instance.endpoint):
        raise GuardRefused(
            f"{', '.join(names)} still leads to {instance.id}, which is kept",
            hint="see what moved it; the run resumes once it leads home",
        )
    end_instance(call, context, instance, instance.id)


def _drop_vectors(call: StepCall, context: Context, made_by: str) -> list[JSON]:
    """The collections that the failover made, whose content is at home and in the final point: the
    next failover needs their place empty.
    """
    from drkit.sources.qdrant_restore import drop_restored

    dropped: list[JSON] = []
    for move in moves_of(call, context):
        if isinstance(move, VectorMove):
            call.guard.check()
            dropped += drop_restored(
                move.away_url, move.away_key, names=tuple(move.new), made_for=made_by
            )
    return dropped


ACTION = Action("release", 1, Effect.WRITE, _run)

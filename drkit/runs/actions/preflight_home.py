"""What would stop a failback later is found before anybody is held."""

from __future__ import annotations

from drkit.errors import GuardRefused, PlaceError, VerificationFailed
from drkit.runs.actions.cutover import carriers
from drkit.runs.actions.destination import destination_of
from drkit.runs.actions.interface import Context, Done, StepCall
from drkit.runs.actions.places import TreeMove, VectorMove, moves_of, must_be_whole
from drkit.runs.actions.pointing import alive
from drkit.runs.records import EXTERNAL, JSON
from drkit.sources.qdrant_rest import aliases_of


def preflight_home(call: StepCall, context: Context) -> Done:
    """Home answers by its own address and names the model; traffic can be led there; each thing
    that was brought to the target has a place to come home to; who serves is as it was planned.
    """
    plan = context.plan
    home = destination_of(call, context)
    if alive(context, home.site, home.endpoint) is None:
        raise VerificationFailed(
            f"{home.site} does not answer as itself at {home.endpoint.url}",
            hint="nothing was changed; fail back once it serves its model again: drkit probe",
        )
    _must_serve_as_planned(call, context)
    able, refusals = carriers(context, home)
    if not able:
        raise GuardRefused(
            f"no switch can lead to {home.endpoint.url}: {refusals}",
            hint="see `drkit runbook check`",
        )
    for switch in able:
        switch.read()
    for move in moves_of(call, context):
        match move:
            case TreeMove():
                must_be_whole(move)
                _must_have_room_beside(move)
            case VectorMove():
                _must_be_swappable(move)
    unreachable = context.repository().unreachable
    for store, why in unreachable.items():
        call.guard.note({"text": f"store {store} is unreachable: {why}"})
    output: dict[str, JSON] = {"unreachable": list(unreachable)}
    return Done(f"{home.site} answers at {home.endpoint.url}; {plan.target} is left", output)


def _must_serve_as_planned(call: StepCall, context: Context) -> None:
    role = context.arbiter.read_role(context.plan.service_key)
    if role is not None and role.run_id == call.run_id:
        return
    now = role.site if role else context.plan.primary
    if context.plan.target != EXTERNAL and now not in (context.plan.target, EXTERNAL):
        raise GuardRefused(
            f"{now} serves {context.plan.service} now, and not {context.plan.target}",
            hint="it was moved since this failback was planned: plan it anew",
        )


def _must_have_room_beside(move: TreeMove) -> None:
    if not move.home.parent.is_dir():
        raise PlaceError(
            f"{move.home.parent} is not there, so that {move.name} cannot come home",
            hint="mount or make it as it was",
        )


def _must_be_swappable(move: VectorMove) -> None:
    """A collection comes home by its aliases; one that clients ask by its own name cannot."""
    home, away = move.home(), move.away()
    there, aliases = home.collections(), away.aliases()
    for collection in move.new:
        if collection in there and not aliases_of(aliases, collection):
            raise GuardRefused(
                f"{collection} has no alias, so that it cannot be swapped at {move.home_url}",
                hint="give it an alias that your clients ask, or bring it home by hand",
            )

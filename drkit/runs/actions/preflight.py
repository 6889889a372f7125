"""preflight: what would stop the run later is found now, before anything costs money."""

from __future__ import annotations

from drkit.errors import DrkitError, GuardRefused, PlaceError
from drkit.runs.actions.destination import is_standby
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.money import may_buy
from drkit.runs.actions.preflight_home import preflight_home
from drkit.runs.actions.preflight_standby import preflight_standby
from drkit.runs.actions.tickets import find_weights
from drkit.runs.records import JSON, Effect


def _run(call: StepCall, context: Context) -> Done:
    plan = context.plan
    if plan.kind == "failback":
        return preflight_home(call, context)
    if is_standby(call):
        return preflight_standby(call, context)
    may_buy(plan)
    candidates = context.config.targets[plan.target].candidates
    notes = context.compute.preflight()
    for note in notes:
        call.guard.note({"text": f"{note.level}: {note.text}"})
    if errors := [note.text for note in notes if note.level == "error"]:
        raise PlaceError(
            f"{plan.target} is not ready: {'; '.join(errors)}",
            hint="mend it, or fail over to another target",
        )
    offers = context.compute.offers(candidates)
    if not offers:
        call.guard.note({"text": f"{plan.target} offers nothing within the prices just now"})
    context.arbiter.read_role(plan.service_key)
    repository = context.repository()
    for store, why in repository.unreachable.items():
        call.guard.note({"text": f"store {store} is unreachable: {why}"})
    manifest, _ = find_weights(context)
    unread = _unreadable_switches(context)
    if unread and len(unread) == len(context.switches):
        raise GuardRefused(
            f"no switch can be read, so traffic could not be moved: {'; '.join(unread)}",
            hint="bring one back before anything is paid for",
        )
    for text in unread:
        call.guard.note({"text": text})
    output: dict[str, JSON] = {"offers": len(offers), "unreachable": list(repository.unreachable)}
    reachable = len(context.stores) - len(repository.unreachable)
    return Done(
        f"{len(offers)} offers; {reachable} of {len(context.stores)} stores answer; "
        f"weights {manifest.digest[:12]} are whole",
        output,
    )


def _unreadable_switches(context: Context) -> list[str]:
    found = []
    for switch in context.switches:
        try:
            switch.read()
        except DrkitError as error:
            found.append(error.message)
    return found


ACTION = Action("preflight", 1, Effect.READ, _run)

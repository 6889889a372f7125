"""hold: users go to the external API while there is no GPU. Costs nothing, loses nothing."""

from __future__ import annotations

from drkit.coordination.hold import Phase, hold_key, note_from
from drkit.coordination.hold_record import write_note
from drkit.coordination.interface import ArbiterUnreachable, LeaseHeld, LeaseLost
from drkit.errors import GuardRefused
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.pointing import (
    alive_home,
    holds_traffic,
    home_of,
    plan_json,
    point_to,
)
from drkit.runs.records import EXTERNAL, JSON, Effect
from drkit.traffic.interface import Switch, ToExternal


def _holders(context: Context) -> list[Switch]:
    service = context.config.service
    if service is None or service.external is None:
        return []
    return [switch for switch in context.switches if holds_traffic(switch)]


def _look(call: StepCall, context: Context) -> Done | None:
    """The protective hold may be on already; then it is adopted. Traffic that this run has
    already moved to its target is not held any more.
    """
    role = context.arbiter.read_role(context.plan.service_key)
    if role is not None and role.run_id == call.run_id and role.site != EXTERNAL:
        return Done("traffic is on the target already", {"held": []})
    holders = _holders(context)
    if not holders or not all(switch.read().held for switch in holders):
        return None
    names = [switch.name for switch in holders]
    return Done(f"{', '.join(names)} held already", {"held": names, "adopted": True})


def _run(call: StepCall, context: Context) -> Done:
    holders = _holders(context)
    if not holders:
        return Done("no switch can send users to an external API: they wait", {"held": []})
    plans = [point_to(switch, ToExternal(), call, context) for switch in holders]
    names = [plan.switch for plan in plans]
    output: dict[str, JSON] = {"held": names, "switches": [plan_json(plan) for plan in plans]}
    return Done(f"{', '.join(names)} shows users on the external API", output)


def _undo(call: StepCall, done: Done | None, context: Context) -> str:
    """Released only if who served before answers again; otherwise the external API is where users
    are best off (R8).
    """
    holders = [switch for switch in _holders(context) if switch.read().held]
    if not holders:
        return "nothing is held"
    home = home_of(context, context.arbiter.read_role(context.plan.service_key))
    server = alive_home(context, home)
    if server is None:
        by_others = done is not None and done.output.get("adopted") is True
        if home.site != EXTERNAL and not by_others:
            _leave_to_the_watch(call, context, tuple(switch.name for switch in holders))
        return f"they stay on the external API: {home.site} does not verify"
    for switch in holders:
        point_to(switch, server, call, context)
    return f"released to {server.site}, which answers again"


def _leave_to_the_watch(call: StepCall, context: Context, names: tuple[str, ...]) -> None:
    """Notes the hold as one of the watch: `drkit status` shows it, and who leads ends it once who
    serves verifies again. Where that cannot be noted now, an operator ends it: `drkit failback`.
    """
    if context.namespace != "production":
        return
    service = context.plan.service
    try:
        note = note_from(context.arbiter.read_role(hold_key(service)))
        if note.on:
            return
        call.guard.check()
        now, holder = context.clock.now(), context.holder
        write_note(context.arbiter, holder, note, Phase.HELD, names, service, EXTERNAL, now)
    except (ArbiterUnreachable, LeaseHeld, LeaseLost, GuardRefused) as error:
        call.guard.note({"text": f"nobody leads them back by itself: {error.message}"})


ACTION = Action("hold", 1, Effect.TRAFFIC, _run, look=_look, undo=_undo)

"""What would stop a switch to a standby later is found before anything is moved."""

from __future__ import annotations

from drkit.errors import GuardRefused
from drkit.runs.actions.cutover import carriers
from drkit.runs.actions.destination import destination_of
from drkit.runs.actions.interface import Context, Done, StepCall
from drkit.runs.records import JSON


def preflight_standby(call: StepCall, context: Context) -> Done:
    """The standby does not serve already, traffic can be led to it, and the stores answer. No
    provider is asked: nothing is rented.
    """
    there = destination_of(call, context)
    role = context.arbiter.read_role(context.plan.service_key)
    if role is not None and role.site == there.site and role.run_id != call.run_id:
        raise GuardRefused(
            f"{there.site} serves {context.plan.service_key} already, by {role.run_id}",
            hint="lead it to another target: drkit failover --to TARGET",
        )
    able, refusals = carriers(context, there)
    if not able:
        raise GuardRefused(
            f"no switch can lead to {there.endpoint.url}: {refusals or 'there is none'}",
            hint="see `drkit runbook check`",
        )
    for switch in able:
        switch.read()
    unreachable = context.repository().unreachable
    for store, why in unreachable.items():
        call.guard.note({"text": f"store {store} is unreachable: {why}"})
    names = ", ".join(switch.name for switch in able)
    output: dict[str, JSON] = {"unreachable": list(unreachable)}
    return Done(f"{names} can lead to {there.site} at {there.endpoint.url}", output)

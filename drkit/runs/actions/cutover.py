"""cutover: the role record, then the switches, from one proven place to the other (R8, S14)."""

from __future__ import annotations

from datetime import datetime

from drkit.coordination.interface import RoleRecord
from drkit.errors import GuardRefused
from drkit.points.find import listed_ids
from drkit.runs.actions.destination import Destination, destination_of
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.pointing import (
    Home,
    Proven,
    alive_home,
    fresh,
    holds_traffic,
    note_home,
    noted_home,
    plan_json,
    point_to,
    unset,
)
from drkit.runs.actions.proving import prove_target
from drkit.runs.actions.recording import record_role
from drkit.runs.records import JSON, Effect
from drkit.traffic.interface import Switch, ToExternal, ToSite
from drkit.verify.proof import Proof


def carriers(context: Context, there: Destination) -> tuple[list[Switch], dict[str, JSON]]:
    """The switches that can lead there, names first and gateways last, and why the
    others cannot.
    """
    to = ToSite(there.site, there.endpoint)
    refusals: dict[str, JSON] = {
        switch.name: why for switch in context.switches if (why := switch.refusal(to)) is not None
    }
    able = [switch for switch in context.switches if switch.name not in refusals]
    return sorted(able, key=holds_traffic), refusals


def _look(call: StepCall, context: Context) -> Done | None:
    """Done already: the role record is this run's, and every switch names the target."""
    role = context.arbiter.read_role(context.plan.service_key)
    if role is None or role.run_id != call.run_id:
        return None
    there = destination_of(call, context)
    if role.site != there.site:
        return None
    endpoint = there.endpoint
    able, refusals = carriers(context, there)
    plans = [switch.plan(switch.read(), ToSite(role.site, endpoint)) for switch in able]
    if not plans or any(plan.changes for plan in plans):
        return None
    output: dict[str, JSON] = {
        "epoch": role.epoch,
        "endpoint_url": endpoint.url,
        "switches": [plan_json(plan) for plan in plans],
        "not_carried": refusals,
    }
    return Done(f"every switch names {endpoint.url}", output)


def _run(call: StepCall, context: Context) -> Done:
    there = destination_of(call, context)
    endpoint = there.endpoint
    able, refusals = carriers(context, there)
    if not able:
        raise GuardRefused(
            f"no switch can lead to {endpoint.url}: {refusals or 'there is none'}",
            hint="put a gateway in front, or choose a target whose port is fixed",
        )
    proved_at, proofs = _proof(call, context)
    _record_role(call, context, there)
    proven = Proven(there.site, endpoint, proved_at)
    plans = [point_to(switch, proven, call, context) for switch in able]
    output: dict[str, JSON] = {
        "epoch": call.guard.epoch,
        "endpoint_url": endpoint.url,
        "switches": [plan_json(plan) for plan in plans],
        "not_carried": refusals,
    }
    names = ", ".join(plan.record for plan in plans)
    return Done(f"{names} lead to {endpoint.url}, epoch {call.guard.epoch}", output, proofs)


def _proof(call: StepCall, context: Context) -> tuple[datetime, tuple[Proof, ...]]:
    """When the target was verified last; one that has expired, or is not known, is made anew."""
    said = call.arguments.get("verified_at")
    if isinstance(said, str) and fresh(datetime.fromisoformat(said), context.clock.now()):
        return datetime.fromisoformat(said), ()
    _, proofs = prove_target(call, context)
    return context.clock.now(), proofs


def _record_role(call: StepCall, context: Context, there: Destination) -> None:
    """Who serves from now on, and which snapshots were listed when it began; once per run."""
    plan = context.plan
    role = context.arbiter.read_role(plan.service_key)
    if role is not None and role.run_id == call.run_id:
        return
    listed = listed_ids(context.repository())
    record = RoleRecord(
        service=plan.service_key,
        epoch=call.guard.epoch,
        site=there.site,
        endpoint_url=there.endpoint.url,
        since=context.clock.now(),
        run_id=call.run_id,
        snapshots=listed,
    )
    note_home(call, context, role)
    record_role(call, context, record)


def _undo(call: StepCall, _done: Done | None, context: Context) -> str:
    """Back to who served before if it answers now; else users go to the external API, and names
    that cannot lead there name nothing: never an unproven place (R8).
    """
    role = context.arbiter.read_role(context.plan.service_key)
    if role is None or role.run_id != call.run_id:
        return "traffic had not moved"
    home = noted_home(call, context)
    server = alive_home(context, home)
    said = []
    for switch in sorted(context.switches, key=holds_traffic, reverse=True):
        if server is not None and switch.refusal(ToSite(server.site, server.endpoint)) is None:
            point_to(switch, server, call, context)
            said.append(f"{switch.record} leads to {server.site} again")
        elif holds_traffic(switch):
            point_to(switch, ToExternal(), call, context)
            said.append(f"{switch.record} leads to the external API")
        else:
            unset(switch, call)
            said.append(f"{switch.record} names nothing")
    _give_role_back(call, context, role, home, server)
    return "; ".join(said) or "there is no switch"


def _give_role_back(
    call: StepCall, context: Context, role: RoleRecord, home: Home, server: Proven | None
) -> None:
    """Where this run led to serves no more: the next epoch is the former site's again. That may be
    the same target, and another machine of it.
    """
    url = server.endpoint.url if server else None
    if (role.site, role.endpoint_url) == (home.site, url):
        return
    record = RoleRecord(
        service=role.service,
        epoch=role.epoch + 1,
        site=home.site,
        endpoint_url=url,
        since=context.clock.now(),
        run_id=call.run_id,
        snapshots=listed_ids(context.repository()),
    )
    record_role(call, context, record)


ACTION = Action("cutover", 1, Effect.TRAFFIC, _run, look=_look, undo=_undo, to_site=True)

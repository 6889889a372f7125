"""The only code of runs that moves traffic, and the only places it may be moved to (R8).

A site is pointed at with a proof that is at most ten minutes old; the declared external API needs
none; a name of a drill may be unset. Nothing else can be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from drkit.compute.interface import Endpoint
from drkit.errors import GuardRefused
from drkit.runs.actions.interface import Context, StepCall
from drkit.runs.records import JSON
from drkit.traffic.interface import Setting, Switch, SwitchPlan, ToExternal, ToSite

PROOF_MAX_AGE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Proven:
    """A server that was verified at `proved_at`."""

    site: str
    endpoint: Endpoint
    proved_at: datetime


def fresh(proved_at: datetime, now: datetime) -> bool:
    """Whether a proof still counts; one from the future does not."""
    return timedelta(0) <= now - proved_at <= PROOF_MAX_AGE


def point_to(
    switch: Switch, to: Proven | ToExternal, call: StepCall, context: Context
) -> SwitchPlan:
    """Moves the switch there and reads it back; the plan that was applied.

    Raises `GuardRefused` for a proof that has expired, `SwitchMoved`, `SwitchFailed`.
    """
    if isinstance(to, Proven):
        if not fresh(to.proved_at, context.clock.now()):
            raise GuardRefused(
                f"{switch.name} is not pointed at {to.site}: its proof is of {to.proved_at:%H:%M}",
                hint="a target is verified at most ten minutes before traffic moves to it",
            )
        destination: ToSite | ToExternal = ToSite(to.site, to.endpoint)
    else:
        destination = to
    plan = switch.plan(switch.read(), destination)
    _apply(switch, plan, call)
    return plan


def unset(switch: Switch, call: StepCall) -> SwitchPlan:
    """Leaves the switch naming nothing: a machine that is given back must have no name."""
    before = switch.read()
    plan = SwitchPlan(switch.name, switch.record, before, Setting(held=before.held, value=None))
    _apply(switch, plan, call)
    return plan


def _apply(switch: Switch, plan: SwitchPlan, call: StepCall) -> None:
    if plan.changes:
        call.guard.check()
    switch.apply(plan)


def alive_primary(context: Context) -> Proven | None:
    """The primary, if it answers now by its own address; production only (R11)."""
    if context.primary is None or context.config.service is None:
        return None
    if context.namespace != "production":
        return None
    model = context.config.service.model
    seen = context.prober.observe(context.primary, model=model, api_key=context.api_key())
    if not seen.alive or seen.answered_by not in (None, model):
        return None
    return Proven(context.plan.primary, context.primary, context.clock.now())


def holds_traffic(switch: Switch) -> bool:
    """Whether this kind of switch can send users to the external API."""
    return switch.refusal(ToExternal()) is None


def plan_json(plan: SwitchPlan) -> dict[str, JSON]:
    """What was changed, as the journal keeps it."""
    return {
        "switch": plan.switch,
        "record": plan.record,
        "before": {"held": plan.before.held, "value": plan.before.value},
        "after": {"held": plan.after.held, "value": plan.after.value},
    }


def shown(setting: Setting) -> str:
    return "the external API" if setting.held else setting.value or "nothing"

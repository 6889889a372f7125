"""The only code of runs that moves traffic, and the only places it may be moved to (R8).

A site is pointed at with a proof that is at most ten minutes old; the declared external API needs
none; a name of a drill may be unset. Nothing else can be asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from drkit.compute.interface import Endpoint
from drkit.config.places import has_fixed_port
from drkit.coordination.interface import RoleRecord
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

    def still() -> None:
        _unless_expired(switch, to, context)
        call.guard.check()

    _unless_expired(switch, to, context)
    destination = ToSite(to.site, to.endpoint) if isinstance(to, Proven) else to
    plan = switch.plan(switch.read(), destination)
    switch.apply(plan, still)
    return plan


def _unless_expired(switch: Switch, to: Proven | ToExternal, context: Context) -> None:
    if isinstance(to, Proven) and not fresh(to.proved_at, context.clock.now()):
        raise GuardRefused(
            f"{switch.name} is not pointed at {to.site}: its proof is of {to.proved_at:%H:%M}",
            hint="a target is verified at most ten minutes before traffic moves to it",
        )


def unset(switch: Switch, call: StepCall) -> SwitchPlan:
    """Leaves the switch naming nothing: a machine that is given back must have no name."""
    before = switch.read()
    plan = SwitchPlan(switch.name, switch.record, before, Setting(held=before.held, value=None))
    switch.apply(plan, call.guard.check)
    return plan


def alive(context: Context, site: str, endpoint: Endpoint | None) -> Proven | None:
    """The server, if it answers now by its own address; production only (R11)."""
    if endpoint is None or context.config.service is None:
        return None
    if context.namespace != "production":
        return None
    model = context.config.service.model
    seen = context.prober.observe(endpoint, model=model, api_key=context.api_key())
    if not seen.alive or seen.answered_by not in (None, model):
        return None
    return Proven(site, endpoint, context.clock.now())


def alive_home(context: Context, home: Home) -> Proven | None:
    """The server that is to serve again when this run is taken back, if it answers now (R2, R8)."""
    if home.site == context.plan.primary:
        return alive(context, home.site, context.primary)
    return alive(context, home.site, declared_endpoint(context, home.site, home.endpoint_url))


@dataclass(frozen=True, slots=True)
class Home:
    """Who served before this run, by the role record: a site and where it answered."""

    site: str
    endpoint_url: str | None
    run_id: str | None

    def to_json(self) -> dict[str, JSON]:
        return {"site": self.site, "endpoint_url": self.endpoint_url, "run_id": self.run_id}


def home_of(context: Context, role: RoleRecord | None) -> Home:
    """Who serves by `role`; the primary, where nothing was ever recorded."""
    if role is None:
        return Home(context.plan.primary, context.primary.url if context.primary else None, None)
    return Home(role.site, role.endpoint_url, role.run_id)


def note_home(call: StepCall, context: Context, role: RoleRecord | None) -> None:
    """Writes down who serves now, before the role is recorded anew: a rollback goes back there."""
    home = home_of(context, role)
    call.guard.note({"former": home.to_json(), "text": f"{home.site} served until now"})


def noted_home(call: StepCall, context: Context) -> Home:
    """What `note_home` wrote first in this run."""
    for noted in call.guard.notes("former"):
        url, run_id = noted.get("endpoint_url"), noted.get("run_id")
        return Home(str(noted["site"]), str(url) if url else None, str(run_id) if run_id else None)
    return home_of(context, None)


def declared_endpoint(context: Context, target: str, url: str | None) -> Endpoint | None:
    """The target's server at a URL that a role record or the configuration names; None without
    one, and for a place that is no target any more.
    """
    place = context.config.targets.get(target)
    parts = urlsplit(url or "")
    if place is None or not parts.hostname:
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Endpoint(parts.scheme, parts.hostname, port, has_fixed_port(place.provider))


def names_of(context: Context, site: str, endpoint: Endpoint | None) -> list[str]:
    """The records that lead users to this server now. Raises `SwitchFailed`."""
    if endpoint is None:
        return []
    to = ToSite(site, endpoint)
    able = [switch for switch in context.switches if switch.refusal(to) is None]
    read = [(switch, switch.read()) for switch in able]
    return [s.record for s, now in read if not now.held and not s.plan(now, to).changes]


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

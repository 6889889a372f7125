"""Where a run brings the service: to its target's machine or standby, or home in a failback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drkit.compute.interface import Endpoint
from drkit.errors import ConfigError
from drkit.runs.actions.deploy import endpoint_of
from drkit.runs.actions.interface import Context, StepCall
from drkit.runs.actions.pointing import declared_endpoint
from drkit.runs.records import JSON


@dataclass(frozen=True, slots=True)
class Destination:
    """A site, and where its server answers by its own address."""

    site: str
    endpoint: Endpoint


def destination_of(call: StepCall, context: Context) -> Destination:
    """Raises `ComputeError` when the machine is gone, `ConfigError` when home has no address."""
    plan = context.plan
    if plan.kind == "failback":
        if context.primary is None:
            raise ConfigError(
                f"{plan.primary} has no address to be proved by",
                hint=f"write `endpoint: http://ADDRESS:PORT` in sites.{plan.primary}",
            )
        return Destination(plan.primary, context.primary)
    if is_standby(call):
        standby = declared_endpoint(context, plan.target, call.text("standby"))
        if standby is None:
            raise ConfigError(
                f"{plan.target} is no target any more",
                hint="bring it back into schedules.yaml, or roll the run back",
            )
        return Destination(plan.target, standby)
    _, endpoint = endpoint_of(context, call.text("instance"))
    return Destination(plan.target, endpoint)


def is_standby(call: StepCall) -> bool:
    """Whether the step is about a server that ran before this run, and not a machine of its own."""
    return "standby" in call.arguments


def brought_of(call: StepCall) -> dict[str, Mapping[str, JSON]]:
    """What lives at the place that is left, by source: `into` (a folder), `url`, `collections`."""
    brought = call.arguments.get("brought")
    if not isinstance(brought, Mapping):
        return {}
    return {name: place for name, place in brought.items() if isinstance(place, Mapping)}

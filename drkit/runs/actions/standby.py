"""standby: names the declared warm standby's server, to which the steps after it lead."""

from __future__ import annotations

from drkit.errors import ConfigError
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.pointing import declared_endpoint
from drkit.runs.records import Effect


def _run(_call: StepCall, context: Context) -> Done:
    """Its address as it is configured now; the journal keeps it, so that a run which is resumed
    leads where it was proved.
    """
    name = context.plan.target
    place = context.config.targets.get(name)
    endpoint = declared_endpoint(context, name, place.endpoint) if place else None
    if place is None or not place.standby or endpoint is None:
        raise ConfigError(
            f"{name} is no warm standby",
            hint=f"write `standby: true` and `endpoint` in targets.{name}, or use another runbook",
        )
    return Done(f"{name} runs already, at {endpoint.url}", {"endpoint_url": endpoint.url})


ACTION = Action("standby", 1, Effect.READ, _run)

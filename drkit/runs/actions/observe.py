"""observe: the target is watched under real traffic before anyone relies on it."""

from __future__ import annotations

from drkit.config.places import Service
from drkit.errors import ConfigError, VerificationFailed
from drkit.runs.actions.destination import destination_of
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.records import JSON, Effect
from drkit.units import format_duration

_EVERY_S = 10.0
_MOST_FAILED_IN_A_ROW = 3


def _run(call: StepCall, context: Context) -> Done:
    service: Service | None = context.config.service
    if service is None:
        raise ConfigError("schedules.yaml describes no service", hint="add its `service` section")
    end_s = context.clock.elapsed_s() + context.observe_s
    rounds = failed = in_a_row = 0
    while True:
        endpoint = destination_of(call, context).endpoint
        seen = context.prober.observe(endpoint, model=service.model, api_key=context.api_key())
        rounds += 1
        failed += not seen.alive
        in_a_row = 0 if seen.alive else in_a_row + 1
        if in_a_row >= _MOST_FAILED_IN_A_ROW:
            why = "; ".join(f"{each.probe}: {each.detail}" for each in seen.results)
            raise VerificationFailed(
                f"the target stopped answering while it was watched: {why}",
                hint="see the target's own log before trying again",
            )
        rest_s = end_s - context.clock.elapsed_s()
        if rest_s <= 0 and in_a_row == 0:
            break
        call.guard.pause(min(max(rest_s, 0.1), _EVERY_S / context.time_scale))
    output: dict[str, JSON] = {"rounds": rounds, "failed": failed, "seconds": context.observe_s}
    watched = format_duration(context.observe_s)
    return Done(f"answered {rounds - failed} of {rounds} rounds in {watched}", output)


ACTION = Action("observe", 1, Effect.READ, _run)

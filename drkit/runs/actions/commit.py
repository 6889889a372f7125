"""commit: from here on the target is where the service lives."""

from __future__ import annotations

from drkit.errors import ConfigError, VerificationFailed
from drkit.events import Note
from drkit.runs.actions.asking import ask_once
from drkit.runs.actions.destination import destination_of, is_standby
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.money import RUN_TAG
from drkit.runs.records import Effect


def _run(call: StepCall, context: Context) -> Done:
    plan, service = context.plan, context.config.service
    if service is None:
        raise ConfigError("schedules.yaml describes no service", hint="add its `service` section")
    there = destination_of(call, context)
    endpoint = there.endpoint
    seen = context.prober.observe(endpoint, model=service.model, api_key=context.api_key())
    if not seen.alive:
        raise VerificationFailed(
            f"{there.site} does not answer at {endpoint.url}, so it is not committed to",
            hint=f"`drkit runs resume {call.run_id}` tries again once it answers",
        )
    if plan.kind != "drill" and plan.commit_policy == "ask":
        ask_once(
            call,
            there.site,
            f"{plan.service} is served by {there.site}; the runbook asks before it commits",
            hint=f"`drkit runs resume {call.run_id}` commits",
        )
    if plan.kind != "failback" and not is_standby(call):
        _report_strays(call, context)
    return Done(f"{plan.service_key} lives on {there.site}", {"site": there.site})


def _report_strays(call: StepCall, context: Context) -> None:
    """What carries this run's tag and does not serve costs money for nothing: said at once (R9)."""
    for each in context.compute.find({RUN_TAG: call.run_id}):
        if each.id != call.text("instance"):
            text = f"instance {each.id} carries this run's tag and does not serve: destroy it"
            call.guard.note({"text": text})
            context.emit(Note("error", context.plan.target, text))


ACTION = Action("commit", 1, Effect.WRITE, _run)

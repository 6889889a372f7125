"""deploy: the machine gets its ticket, fetches the weights, starts the server, and answers."""

from __future__ import annotations

from drkit.compute.interface import ComputeError, Endpoint, Fault, Instance, InstanceState
from drkit.errors import ConfigError
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.money import ATTEMPT_TAG, STEP_TAG
from drkit.runs.actions.tickets import leave_ticket
from drkit.runs.records import JSON, Effect

_POLL_S = 5.0
_TICKET_S = 3600.0


def endpoint_of(context: Context, instance_id: str) -> tuple[Instance, Endpoint]:
    """The instance as it is now, and where its server answers. Raises `ComputeError`."""
    instance = context.compute.get(instance_id)
    if instance.state in (InstanceState.FAILED, InstanceState.GONE) or instance.endpoint is None:
        raise ComputeError(
            f"instance {instance_id} is {instance.state.value}: {instance.detail or 'no detail'}",
            fault=Fault.NOT_FOUND,
            hint="roll the run back, or fail over to another target",
        )
    return instance, instance.endpoint


def _run(call: StepCall, context: Context) -> Done:
    service = context.config.service
    if service is None:
        raise ConfigError("schedules.yaml describes no service", hint="add its `service` section")
    instance = context.compute.get(call.text("instance"))
    made_by, attempt = instance.tags.get(STEP_TAG, ""), instance.tags.get(ATTEMPT_TAG, "")
    expires_s = max(_TICKET_S, context.plan.step(call.step_id).timeout_s)
    call.guard.check()
    waits_at = call.outputs.get(made_by, {}).get("ticket_path")
    manifest = leave_ticket(
        context,
        call.run_id,
        made_by,
        attempt,
        expires_s=expires_s,
        waits_at=waits_at if isinstance(waits_at, str) else None,
    )
    while True:
        instance, endpoint = endpoint_of(context, instance.id)
        seen = context.prober.observe(endpoint, model=service.model, api_key=context.api_key())
        if seen.alive:
            break
        call.guard.pause(_POLL_S / context.time_scale)
    output: dict[str, JSON] = {
        "instance_id": instance.id,
        "endpoint_url": endpoint.url,
        "stable": endpoint.stable,
        "manifest_digest": manifest.digest,
        "files": len(manifest.files),
        "bytes": manifest.total_bytes,
    }
    return Done(f"{service.model} answers at {endpoint.url}", output)


ACTION = Action("deploy", 1, Effect.WRITE, _run)

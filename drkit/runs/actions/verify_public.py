"""verify_public: the way users take leads to the target, and the target's own model answers there.

A gateway that falls back hides a dead target behind good answers, so the fallback is forbidden
and the answer has to name the model (H5).
"""

from __future__ import annotations

from drkit.compute.interface import Endpoint
from drkit.errors import ConfigError
from drkit.runs.actions.cutover import carriers
from drkit.runs.actions.destination import Destination, destination_of
from drkit.runs.actions.interface import Action, Context, Done, ProofsPending, StepCall
from drkit.runs.actions.pointing import shown
from drkit.runs.records import JSON, Effect
from drkit.traffic.interface import ToSite
from drkit.verify.proof import Proof


def _run(call: StepCall, context: Context) -> Done:
    there = destination_of(call, context)
    proofs = [*_prove_names(context, there), _prove_answer(context, there.endpoint)]
    if failed := [proof for proof in proofs if not proof.passed]:
        said = "; ".join(f"{proof.subject}: {proof.detail}" for proof in failed)
        raise ProofsPending(
            f"users do not reach {there.site}: {said}",
            hint="see what else moves these names; the run looks again or rolls back",
            proofs=proofs,
        )
    output: dict[str, JSON] = {"through": context.gateway_url or context.public_record}
    return Done(proofs[-1].detail, output, tuple(proofs))


def _prove_names(context: Context, there: Destination) -> list[Proof]:
    """Each switch, asked at its authority, leads there."""
    able, _ = carriers(context, there)
    proofs = []
    for switch in able:
        now = switch.read()
        right = not switch.plan(now, ToSite(there.site, there.endpoint)).changes
        proofs.append(Proof("name", switch.record, right, f"leads to {shown(now)}"))
    return proofs


def _prove_answer(context: Context, endpoint: Endpoint) -> Proof:
    """Through the gateway where there is one; else at the address that the names lead to."""
    from drkit.verify.model import ask_gateway

    service = context.config.service
    if service is None:
        raise ConfigError("schedules.yaml describes no service", hint="add its `service` section")
    if context.gateway_url is None:
        seen = context.prober.observe(endpoint, model=service.model, api_key=context.api_key())
        answered_by, through = seen.answered_by, endpoint.url
    else:
        answered_by = ask_gateway(context.gateway_url, service.model, context.api_key())
        through = context.gateway_url
    if answered_by == service.model:
        return Proof("model", through, True, f"{answered_by} answers through {through}")
    return Proof("model", through, False, f"{answered_by or 'nobody'} answers, not {service.model}")


ACTION = Action("verify_public", 1, Effect.READ, _run)

"""verify: the target is proven, on its own address, before any name leads to it."""

from __future__ import annotations

from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.proving import prove_target
from drkit.runs.records import JSON, Effect


def _run(call: StepCall, context: Context) -> Done:
    endpoint, proofs = prove_target(call, context)
    output: dict[str, JSON] = {
        "verified_at": context.clock.now().isoformat(),
        "endpoint_url": endpoint.url,
        "proofs": len(proofs),
    }
    return Done(f"{len(proofs)} proofs passed at {endpoint.url}", output, proofs)


ACTION = Action("verify", 1, Effect.READ, _run, proves=True)

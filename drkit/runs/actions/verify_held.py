"""verify_held: users are really answered by the declared external API, and it names itself (H5)."""

from __future__ import annotations

from drkit.errors import ConfigError
from drkit.runs.actions.interface import Action, Context, Done, ProofsPending, StepCall
from drkit.runs.records import JSON, Effect
from drkit.verify.proof import Proof


def _run(_call: StepCall, context: Context) -> Done:
    """A user's own request, with no word about fallbacks: what users get is what is asked for."""
    from drkit.verify.model import ask_as_user

    service = context.config.service
    if service is None or service.external is None:
        raise ConfigError(
            "schedules.yaml names no external API", hint="add `external: {model: NAME}` to service"
        )
    if context.gateway_url is None:
        raise ConfigError(
            "there is no gateway to ask, so nobody can say who answers users",
            hint="add a switch of kind http; DNS alone cannot send users to an external API",
        )
    wanted = service.external.model
    answered_by = ask_as_user(context.gateway_url, service.model, context.api_key())
    through = context.gateway_url
    if answered_by != wanted:
        detail = f"{answered_by or 'nobody'} answers, not {wanted}"
        raise ProofsPending(
            f"users are not on the external API: {detail} through {through}",
            hint="see the gateway's own log, and that its external API has a key that works",
            proofs=(Proof("model", through, False, detail),),
        )
    detail = f"{answered_by} answers through {through}"
    output: dict[str, JSON] = {"answered_by": answered_by}
    return Done(detail, output, (Proof("model", through, True, detail),))


ACTION = Action("verify_held", 1, Effect.READ, _run)

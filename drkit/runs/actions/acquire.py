"""acquire: one GPU from the target's candidates, within the caps, found again by its tags."""

from __future__ import annotations

from collections.abc import Sequence

from drkit.compute.interface import (
    ComputeError,
    EffectUnknown,
    Fault,
    Instance,
    InstanceState,
    LaunchSpec,
    Offer,
)
from drkit.config.places import Service
from drkit.errors import ConfigError, GuardRefused, OutOfCapacity
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.money import (
    ATTEMPT_TAG,
    RUN_TAG,
    STEP_TAG,
    close_paid,
    destroy_own,
    may_buy,
    over_cap,
    record_paid,
    tags_of,
)
from drkit.runs.actions.tickets import ticket_environment, ticket_path
from drkit.runs.records import JSON, Effect, PaidResource

_NEXT = (Fault.OUT_OF_CAPACITY, Fault.QUOTA, Fault.NOT_FOUND)
"""Faults of one candidate; the next one may do. All others are the whole provider's."""

_LOOK_EVERY_S = 2.0


def _look(call: StepCall, context: Context) -> Done | None:
    """The instance that an earlier attempt made. After a request without an answer it is looked
    for as long as a provider may take to list it.
    """
    open_requests = [each for each in _paid(call) if each.state != "CONFIRMED_GONE"]
    found = _found(call, context, context.settle_s if open_requests else 0.0)
    usable = [each for each in found if each.state is not InstanceState.FAILED]
    for extra in [each for each in found if each not in usable[:1]]:
        destroy_own(call, context, extra)
    if usable:
        return _adopt(call, usable[0])
    for request in _paid(call):
        if request.state != "CONFIRMED_GONE":
            close_paid(call, request)
    return None


def _run(call: StepCall, context: Context) -> Done:
    plan = context.plan
    service = context.config.service
    if service is None:
        raise ConfigError("schedules.yaml describes no service", hint="add its `service` section")
    may_buy(plan)
    candidates = context.config.targets[plan.target].candidates
    offers = context.compute.offers(candidates)
    refusals = []
    for number, offer in enumerate(offers):
        if why := over_cap(plan, offer, call.guard.paid(), context):
            refusals.append(f"{offer.gpu}: {why}")
            continue
        instance = _create(call, context, service, offer, number)
        if isinstance(instance, Instance):
            return _adopt(call, instance)
        refusals.append(f"{offer.gpu}: {instance}")
    if offers and all("over the cap" in refusal for refusal in refusals):
        raise GuardRefused(
            f"every offer of {plan.target} is over the caps: {'; '.join(refusals)}",
            hint=f"raise targets.{plan.target}.limits, or choose another target; "
            "nothing was requested",
        )
    raise OutOfCapacity(
        f"{plan.target} has no GPU to give: {'; '.join(refusals) or 'no offer within the prices'}",
        hint="add candidates to the target, or fail over to another one",
    )


def _create(
    call: StepCall, context: Context, service: Service, offer: Offer, number: int
) -> Instance | str:
    """The instance, or why this candidate has none to give. The request is recorded first."""
    attempt = f"{call.attempt}.{number}"
    spec = LaunchSpec(
        model=service.model,
        image=service.image,
        args=service.args,
        port=service.port,
        ticket_path=str(ticket_path(context, call.step_id, attempt)),
        environment=ticket_environment(context, call.run_id, call.step_id, attempt),
    )
    record_paid(call, "REQUESTED", attempt, offer)
    call.guard.check()
    try:
        return context.compute.create(offer, spec, tags_of(call, context.plan, attempt))
    except EffectUnknown:
        # Looked for right away: the next attempt would find it too, but later.
        found = _found(call, context, context.settle_s)
        if found:
            return found[0]
        raise
    except ComputeError as error:
        record_paid(call, "CONFIRMED_GONE", attempt, offer)
        if error.fault in _NEXT:
            return error.message
        raise


def _found(call: StepCall, context: Context, within_s: float) -> Sequence[Instance]:
    """What carries this step's tags, looked for until there is something or the time is over."""
    end_s = context.clock.elapsed_s() + within_s
    while True:
        found = context.compute.find({RUN_TAG: call.run_id, STEP_TAG: call.step_id})
        rest_s = end_s - context.clock.elapsed_s()
        if found or rest_s <= 0:
            return found
        call.guard.pause(min(rest_s, _LOOK_EVERY_S / context.time_scale))


def _adopt(call: StepCall, instance: Instance) -> Done:
    attempt = instance.tags.get(ATTEMPT_TAG, f"{call.attempt}.0")
    offer = instance.offer
    record_paid(call, "ADOPTED", attempt, offer, instance.id)
    output: dict[str, JSON] = {
        "instance_id": instance.id,
        "gpu": offer.gpu,
        "region": offer.region,
        "usd_per_hour": offer.usd_per_hour,
        "attempt": attempt,
    }
    where = f" in {offer.region}" if offer.region else ""
    return Done(f"{offer.gpu}{where} as {instance.id}, ${offer.usd_per_hour:.2f} an hour", output)


def _paid(call: StepCall) -> list[PaidResource]:
    return [each for each in call.guard.paid() if each.key.startswith(f"{call.step_id}/")]


def _undo(call: StepCall, done: Done | None, context: Context) -> str:
    """Destroys what this step made. Without a recorded result it is looked for, and long enough."""
    asked = [each for each in _paid(call) if each.state != "CONFIRMED_GONE"]
    unsure = done is None and bool(asked)
    for instance in _found(call, context, context.settle_s if unsure else 0.0):
        destroy_own(call, context, instance)
    for request in _paid(call):
        if request.state != "CONFIRMED_GONE":
            close_paid(call, request)
    if not asked:
        return "nothing was asked for"
    return f"{context.plan.target} lists nothing with this step's tags any more"


ACTION = Action("acquire", 1, Effect.PAID, _run, look=_look, undo=_undo)

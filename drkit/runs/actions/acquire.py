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
    """The instance that an earlier attempt made."""
    found = _found(call, context)
    usable = [each for each in found if each.state is not InstanceState.FAILED]
    for extra in [each for each in found if each not in usable[:1]]:
        destroy_own(call, context, extra)
    if usable:
        return _adopt(call, usable[0])
    for request in _open(call):
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
    record_paid(call, "REQUESTED", attempt, offer, ticket=spec.ticket_path)
    tags = tags_of(call, context.plan, attempt)
    try:
        return context.compute.create(offer, spec, tags, call.guard.check)
    except EffectUnknown:
        # Looked for right away: the next attempt would find it too, but later.
        found = _found(call, context)
        if found:
            return found[0]
        raise
    except ComputeError as error:
        record_paid(call, "CONFIRMED_GONE", attempt, offer)
        if error.fault in _NEXT:
            return error.message
        raise


def _found(call: StepCall, context: Context) -> Sequence[Instance]:
    """What this step made: what it knows by id, listed or not, and what carries its tags. For a
    request that got no answer it looks as long as a provider may take to list what it made.
    """
    asked = _open(call)
    known = dict.fromkeys(each.instance_id for each in asked if each.instance_id)
    own = [context.compute.get(instance_id) for instance_id in known]
    there = {each.id: each for each in own if each.state is not InstanceState.GONE}
    unanswered = {each.key for each in asked if each.instance_id is None}
    end_s = context.clock.elapsed_s() + context.settle_s
    while True:
        listed = context.compute.find({RUN_TAG: call.run_id, STEP_TAG: call.step_id})
        found = there | {each.id: each for each in listed}
        keys = {f"{call.step_id}/{each.tags.get(ATTEMPT_TAG)}" for each in found.values()}
        rest_s = end_s - context.clock.elapsed_s()
        if unanswered <= keys or rest_s <= 0:
            return list(found.values())
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
        "ticket_path": _ticket_of(call, attempt),
    }
    where = f" in {offer.region}" if offer.region else ""
    return Done(f"{offer.gpu}{where} as {instance.id}, ${offer.usd_per_hour:.2f} an hour", output)


def _open(call: StepCall) -> list[PaidResource]:
    """What this step asked for and is not confirmed gone."""
    mine = (each for each in call.guard.paid() if each.key.startswith(f"{call.step_id}/"))
    return [each for each in mine if each.state != "CONFIRMED_GONE"]


def _ticket_of(call: StepCall, attempt: str) -> JSON:
    """Where the machine waits for its ticket, also if another machine of ours asked for it."""
    for paid in call.guard.notes("paid"):
        if paid.get("key") == f"{call.step_id}/{attempt}" and paid.get("ticket"):
            return paid["ticket"]
    return None


def _undo(call: StepCall, _done: Done | None, context: Context) -> str:
    """Destroys what this step made."""
    asked = _open(call)
    for instance in _found(call, context):
        destroy_own(call, context, instance)
    for request in _open(call):
        close_paid(call, request)
    if not asked:
        return "nothing was asked for"
    return f"{context.plan.target} lists nothing with this step's tags any more"


ACTION = Action("acquire", 1, Effect.PAID, _run, look=_look, undo=_undo, own=True)

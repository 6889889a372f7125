"""Spending: caps before the request (R10), a record before it too (R9), and only ours destroyed."""

from __future__ import annotations

from drkit.compute.interface import Instance, InstanceState, Offer
from drkit.coordination.interface import RoleRecord
from drkit.errors import GuardRefused
from drkit.runs.actions.interface import Context, StepCall
from drkit.runs.actions.pointing import names_of
from drkit.runs.book.plan import Plan
from drkit.runs.records import JSON, PaidResource, PaidState

RUN_TAG = "drkit-run"
STEP_TAG = "drkit-step"
ATTEMPT_TAG = "drkit-attempt"


def tags_of(call: StepCall, plan: Plan, attempt: str) -> dict[str, str]:
    return {
        "drkit-service": plan.service,
        RUN_TAG: call.run_id,
        STEP_TAG: call.step_id,
        ATTEMPT_TAG: attempt,
    }


def record_paid(
    call: StepCall,
    state: PaidState,
    attempt: str,
    offer: Offer,
    instance_id: str | None = None,
    *,
    ticket: str | None = None,
) -> None:
    """Writes down where a paid resource stands; durable when it returns. `ticket`: where it will
    look for its ticket.
    """
    where = f" in {offer.region}" if offer.region else ""
    paid: dict[str, JSON] = {
        "key": f"{call.step_id}/{attempt}",
        "state": state,
        "what": f"{offer.gpu}{where}",
        "usd_per_hour": offer.usd_per_hour,
        "instance_id": instance_id,
    }
    if ticket is not None:
        paid["ticket"] = ticket
    said = {"REQUESTED": "asked for", "ADOPTED": "have", "CONFIRMED_GONE": "confirmed gone:"}[state]
    detail = instance_id or f"at most ${offer.usd_per_hour:.2f} an hour"
    call.guard.note({"paid": paid, "text": f"{said} {paid['what']} ({detail})"})


def close_paid(call: StepCall, paid: PaidResource) -> None:
    """The resource is confirmed gone."""
    values: dict[str, JSON] = {
        "key": paid.key,
        "state": "CONFIRMED_GONE",
        "what": paid.what,
        "usd_per_hour": paid.usd_per_hour,
        "instance_id": paid.instance_id,
    }
    named = paid.instance_id or paid.key
    call.guard.note({"paid": values, "text": f"confirmed gone: {paid.what} ({named})"})


def may_buy(plan: Plan) -> None:
    """Raises `GuardRefused` for a drill without a cap: it buys nothing until one was set."""
    if plan.kind == "drill" and plan.usd_per_run is None:
        raise GuardRefused(
            f"a drill on {plan.target} buys nothing: it has no cap",
            hint=f"set targets.{plan.target}.limits.usd_per_run in schedules.yaml",
        )


def over_cap(plan: Plan, offer: Offer, paid: tuple[PaidResource, ...], context: Context) -> str:
    """Why this offer may not be taken, in words; empty if it may.

    Counted for the worst case: what the run has spent, and this offer for its whole time to live.
    """
    now = context.clock.now()
    held = [each for each in paid if each.state != "CONFIRMED_GONE"]
    per_hour = offer.usd_per_hour + sum(each.usd_per_hour for each in held)
    if plan.usd_per_hour is not None and per_hour > plan.usd_per_hour:
        return f"${per_hour:.2f} an hour is over the cap of ${plan.usd_per_hour:.2f}"
    hours = plan.ttl_min / 60
    spent = sum(each.usd_until(now) for each in paid if each.state == "CONFIRMED_GONE")
    total = spent + per_hour * hours
    if plan.usd_per_run is not None and total > plan.usd_per_run:
        return (
            f"${total:.2f} for {hours:g} h is over the cap of ${plan.usd_per_run:.2f} for the run"
        )
    return ""


def destroy_own(call: StepCall, context: Context, instance: Instance) -> None:
    """Ends an instance that this step made, and looks whether it is gone.

    Raises `GuardRefused` for any other: drkit has no code that destroys the primary (R7).
    """
    own = {RUN_TAG: call.run_id, STEP_TAG: call.step_id}
    if not own.items() <= dict(instance.tags).items():
        raise GuardRefused(
            f"instance {instance.id} does not carry this run's tags and is left alone",
            hint="look whose it is; drkit destroys only what this run made",
        )
    role = context.arbiter.read_role(context.plan.service_key)
    if role is not None and role.run_id != call.run_id:
        _unless_led_to(call, context, instance, role)
    end_instance(call, context, instance, instance.tags.get(ATTEMPT_TAG, "unknown"))


def _unless_led_to(call: StepCall, context: Context, instance: Instance, role: RoleRecord) -> None:
    """Another run recorded who serves: it may have left names here that this one led here, and
    that are not this one's to move any more (R8).
    """
    url = instance.endpoint.url if instance.endpoint is not None else ""
    if role.endpoint_url == url:
        raise GuardRefused(
            f"instance {instance.id} serves by the role record of run {role.run_id}",
            hint="`drkit failback` gives it back once the service is at home",
        )
    if role.epoch < call.guard.epoch or context.namespace != "production":
        return
    if names := names_of(context, context.plan.target, instance.endpoint):
        raise GuardRefused(
            f"{', '.join(names)} still leads to {instance.id}, which is kept",
            hint=f"run {role.run_id} left it so: lead it elsewhere, and resume this run",
        )


def end_instance(call: StepCall, context: Context, instance: Instance, attempt: str) -> None:
    """Ends it, looks whether it is gone, and writes that down (R9). Who calls knows whose it is."""
    context.compute.destroy(instance.id, call.guard.check)
    if (after := context.compute.get(instance.id)).state is not InstanceState.GONE:
        raise GuardRefused(
            f"instance {instance.id} is {after.state.value} after it was destroyed",
            hint="see the provider's console: it may still cost money",
        )
    record_paid(call, "CONFIRMED_GONE", attempt, instance.offer, instance.id)

"""record_hold: the role record says that no site serves, and that users are held (R2).

Users are moved first: a hold is a permitted place whatever the record says, and waits for nobody.
"""

from __future__ import annotations

from drkit.coordination.interface import RoleRecord
from drkit.errors import PlaceError
from drkit.points.find import listed_ids
from drkit.runs.actions.interface import Action, Context, Done, StepCall
from drkit.runs.actions.pointing import alive_home, holds_traffic, note_home, noted_home
from drkit.runs.actions.recording import record_role
from drkit.runs.records import EXTERNAL, JSON, Effect


def _look(call: StepCall, context: Context) -> Done | None:
    role = context.arbiter.read_role(context.plan.service_key)
    if role is None or role.run_id != call.run_id or role.site != EXTERNAL:
        return None
    return _done(call, context, role.epoch)


def _run(call: StepCall, context: Context) -> Done:
    plan = context.plan
    loose = [s.record for s in context.switches if holds_traffic(s) and not s.read().held]
    if loose:
        raise PlaceError(
            f"{', '.join(loose)} does not show users on the external API any more",
            hint=f"see what moved it; `drkit runs resume {call.run_id}` holds them again",
        )
    note_home(call, context, context.arbiter.read_role(plan.service_key))
    _record(call, context, EXTERNAL, None, call.guard.epoch)
    return _done(call, context, call.guard.epoch)


def _done(call: StepCall, context: Context, epoch: int) -> Done:
    former = noted_home(call, context)
    output: dict[str, JSON] = {"epoch": epoch, "former": former.to_json()}
    return Done(f"the role record says {EXTERNAL}, epoch {epoch}; before: {former.site}", output)


def _undo(call: StepCall, _done: Done | None, context: Context) -> str:
    """The former site serves again only if it answers now; else the record stays true."""
    role = context.arbiter.read_role(context.plan.service_key)
    if role is None or role.run_id != call.run_id or role.site != EXTERNAL:
        return "the role record does not say so"
    home = noted_home(call, context)
    server = alive_home(context, home)
    if server is None:
        return f"the role record stays: {home.site} does not verify"
    _record(call, context, server.site, server.endpoint.url, role.epoch + 1)
    return f"the role record says {server.site} again, epoch {role.epoch + 1}"


def _record(
    call: StepCall, context: Context, site: str, endpoint_url: str | None, epoch: int
) -> None:
    record = RoleRecord(
        service=context.plan.service_key,
        epoch=epoch,
        site=site,
        endpoint_url=endpoint_url,
        since=context.clock.now(),
        run_id=call.run_id,
        snapshots=listed_ids(context.repository()),
    )
    record_role(call, context, record)


ACTION = Action("record_hold", 1, Effect.TRAFFIC, _run, look=_look, undo=_undo)

"""The only code of runs that records who serves; no answer is no refusal (R5)."""

from __future__ import annotations

from drkit.coordination.interface import ArbiterUnreachable, RoleRecord
from drkit.runs.actions.interface import Context, StepCall


class RoleUnknown(ArbiterUnreachable):
    """The arbiter was told who serves and gave no answer: it may know it, or get to know it."""


def record_role(call: StepCall, context: Context, record: RoleRecord) -> None:
    """`record` is on the arbiter when this returns. Raises `RoleUnknown`, and what the guard and
    the arbiter refuse.
    """
    call.guard.check()
    lease = call.guard.lease()
    try:
        context.arbiter.record_role(lease, record)
    except ArbiterUnreachable as error:
        raise RoleUnknown(
            f"not known whether epoch {record.epoch} is recorded: {error.message}", hint=error.hint
        ) from error

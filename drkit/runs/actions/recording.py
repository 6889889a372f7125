"""The only code of runs that records who serves; no answer is no refusal (R5)."""

from __future__ import annotations

from drkit.coordination.interface import ArbiterUnreachable, LeaseLost, RoleRecord
from drkit.runs.actions.interface import Context, StepCall

_MOST_RENEWALS = 5
"""How often the lease may be renewed directly before a record: one renewal is likely, two rare."""


class RoleUnknown(ArbiterUnreachable):
    """The arbiter was told who serves and gave no answer: it may know it, or get to know it."""


def record_role(call: StepCall, context: Context, record: RoleRecord) -> None:
    """`record` is on the arbiter when this returns. Raises `RoleUnknown`, and what the guard and
    the arbiter refuse.
    """
    call.guard.check()
    for renewals in range(_MOST_RENEWALS + 1):
        lease = call.guard.lease()
        try:
            context.arbiter.record_role(lease, record)
            return
        except LeaseLost:
            # Nothing was recorded. The run itself renews its lease in the background, and may have
            # done so since; whether it is lost to another the guard is asked again.
            if renewals == _MOST_RENEWALS:
                raise
        except ArbiterUnreachable as error:
            raise RoleUnknown(
                f"not known whether epoch {record.epoch} is recorded: {error.message}",
                hint=error.hint,
            ) from error

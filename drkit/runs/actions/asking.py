"""A step's own question to the operator: resuming the run is the answer."""

from __future__ import annotations

from drkit.errors import NeedsOperator
from drkit.runs.actions.interface import StepCall
from drkit.runs.records import JSON


def ask_once(call: StepCall, about: JSON, message: str, *, hint: str) -> None:
    """Raises `NeedsOperator`, unless this step has asked the same in an earlier attempt.

    Counted by what was asked and not by attempts: one that failed for another reason, or died, has
    asked nothing. Asked again when `about` is not what it was.
    """
    asked = call.guard.notes("question")
    if asked and asked[-1].get("about") == about:
        return
    call.guard.note({"question": {"about": about}, "text": message})
    raise NeedsOperator(message, hint=hint)

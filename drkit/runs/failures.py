"""What an error means for the step that raised it: a table by class."""

from __future__ import annotations

from enum import Enum

from drkit.compute.interface import ComputeError, EffectUnknown, Fault
from drkit.coordination.interface import ArbiterUnreachable, LeaseHeld, LeaseLost
from drkit.errors import DrkitError, NeedsOperator, OutOfCapacity, PlaceError
from drkit.runs.actions.interface import ProofsPending
from drkit.runs.actions.recording import RoleUnknown
from drkit.runs.journal.journal import ClaimLost
from drkit.runs.records import JSON
from drkit.traffic.interface import SwitchMoved, SwitchUnknown


class StepStopped(Exception):
    """The step was told to stop: another one failed, or the process ends. Nobody's fault."""


class Meaning(Enum):
    RETRY = "it may pass by itself"
    STOP = "trying again would give the same"
    UNKNOWN = "it may have happened: look before anything else"
    OPERATOR = "a person has to decide"
    YIELD = "somebody else acts now; this process may do nothing more"
    STOPPED = "told to stop"


# The first row that fits counts, so that a class stands before those it derives from.
_BY_CLASS: tuple[tuple[type[Exception], Meaning], ...] = (
    (StepStopped, Meaning.STOPPED),
    (EffectUnknown, Meaning.UNKNOWN),
    (SwitchUnknown, Meaning.UNKNOWN),
    (RoleUnknown, Meaning.UNKNOWN),
    (ClaimLost, Meaning.YIELD),
    (LeaseLost, Meaning.YIELD),
    (LeaseHeld, Meaning.YIELD),
    (ArbiterUnreachable, Meaning.RETRY),
    (SwitchMoved, Meaning.RETRY),
    (ProofsPending, Meaning.RETRY),
    (NeedsOperator, Meaning.OPERATOR),
    (OutOfCapacity, Meaning.RETRY),
    (PlaceError, Meaning.RETRY),
    (DrkitError, Meaning.STOP),
)

_BY_FAULT = {
    Fault.OUT_OF_CAPACITY: Meaning.RETRY,
    Fault.QUOTA: Meaning.STOP,
    Fault.AUTH: Meaning.STOP,
    Fault.BALANCE: Meaning.STOP,
    Fault.INVALID: Meaning.STOP,
    Fault.RATE_LIMITED: Meaning.RETRY,
    Fault.TRANSIENT: Meaning.RETRY,
    Fault.NOT_FOUND: Meaning.STOP,
}


def meaning_of(error: Exception) -> Meaning:
    """What to do after `error`; one that is no `DrkitError` is a bug, and is not tried again."""
    if isinstance(error, ComputeError):
        return _BY_FAULT[error.fault]
    for kind, meaning in _BY_CLASS:
        if isinstance(error, kind):
            return meaning
    return Meaning.STOP


def failure_payload(error: Exception) -> dict[str, JSON]:
    """What the journal keeps of an error."""
    known = isinstance(error, DrkitError)
    proofs = getattr(error, "proofs", ())
    return {
        "error": error.message if isinstance(error, DrkitError) else f"{error!r}",
        "hint": error.hint
        if isinstance(error, DrkitError)
        else "this is a bug in drkit; -vv shows where it happened",
        "kind": type(error).__name__ if known else "bug",
        "retryable": meaning_of(error) in (Meaning.RETRY, Meaning.UNKNOWN),
        "proofs": [proof_json(proof) for proof in proofs],
    }


def proof_json(proof: object) -> dict[str, JSON]:
    """A proof as the journal keeps it."""
    return {
        "check": getattr(proof, "check", ""),
        "subject": getattr(proof, "subject", ""),
        "passed": bool(getattr(proof, "passed", False)),
        "detail": getattr(proof, "detail", ""),
        "files": list(getattr(proof, "files", ())),
    }

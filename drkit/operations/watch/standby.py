"""Warm standbys: each is verified at every probe, and only a proof of a short while ago counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from drkit.clock import Clock
from drkit.compute.interface import Endpoint
from drkit.health.interface import Memory, Prober, Verdict


@dataclass(frozen=True, slots=True)
class StandbyProof:
    """`passed_at`: when it answered last, by its own address and name; None: it never did.
    `fails`: why it did not pass when it was asked last; None: it passed.
    """

    target: str
    passed_at: datetime | None
    fails: str | None

    def age_s(self, now: datetime) -> float | None:
        """Seconds since it passed; a proof from the future is none."""
        if self.passed_at is None or self.passed_at > now:
            return None
        return (now - self.passed_at).total_seconds()


def verify_standby(
    memory: Memory,
    prober: Prober,
    endpoint: Endpoint,
    *,
    target: str,
    model: str,
    api_key: str | None,
    clock: Clock,
) -> StandbyProof:
    """Asks it for a token now, and keeps the answer for the next command."""
    seen = prober.observe(endpoint, model=model, api_key=api_key)
    fails = None
    if not seen.alive or seen.answered_by != model:  # a gateway's answer proves nothing (H5)
        failed = (r for r in seen.results if r.verdict is Verdict.FAILED)
        words = "; ".join(f"{result.probe}: {result.detail}" for result in failed)
        fails = words or f"answered by {seen.answered_by or 'nobody'}, not by {model}"
    before = last_proof(memory, target)
    passed_at = before.passed_at if before and fails else None if fails else clock.now()
    kept = passed_at.isoformat() if passed_at else None
    memory.remember(_name(target), {"passed_at": kept, "fails": fails})
    return StandbyProof(target, passed_at, fails)


def last_proof(memory: Memory, target: str) -> StandbyProof | None:
    """What the last command saw; None when none ever asked."""
    value = memory.recall(_name(target))
    if not isinstance(value, dict):
        return None
    try:
        at, fails = value["passed_at"], value["fails"]
        passed_at = datetime.fromisoformat(at) if at is not None else None
        return StandbyProof(target, passed_at, None if fails is None else str(fails))
    except (KeyError, TypeError, ValueError):
        return None


def _name(target: str) -> str:
    return f"standby/{target}"

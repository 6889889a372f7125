"""What a rehearsal changes on purpose: declared once, shown on the terminal and in the evidence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Override:
    """One setting, its real value, and the one it has in the sandbox."""

    name: str
    real: str
    sandbox: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a rehearsal goes. `time_scale`: real waits are divided by it."""

    time_scale: float
    observe_s: float
    settle_s: float
    ttl_s: int
    suspect_every_s: float
    down_after_s: float


SANDBOX_PACE = Pace(
    time_scale=20.0, observe_s=2.0, settle_s=0.2, ttl_s=0, suspect_every_s=0.3, down_after_s=1.0
)

OVERRIDES: tuple[Override, ...] = (
    Override("waits of the engine", "as they are", f"divided by {SANDBOX_PACE.time_scale:g}"),
    Override("observe window", "30 min", f"{SANDBOX_PACE.observe_s:g} s"),
    Override("settle before a create", "30 s", f"{SANDBOX_PACE.settle_s:g} s"),
    Override("lease of a run", "30 s", "5 s"),
    Override("DNS TTL", "as configured", f"{SANDBOX_PACE.ttl_s} s"),
    Override("probe while suspect", "every 10 s", f"every {SANDBOX_PACE.suspect_every_s:g} s"),
    Override("DOWN after", "at least 45 s", f"at least {SANDBOX_PACE.down_after_s:g} s"),
    Override("GPU providers", "the configured ones", "processes on this machine"),
    Override("stores", "the configured ones", "folders on this machine"),
)

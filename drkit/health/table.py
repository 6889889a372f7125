"""The service's state as a table: `(state, what a round says, guard) -> state`. Pure.

One failed round is a suspicion and never more. DOWN needs `down_after` failed rounds in a row and
`down_after_s` since the first of them, and a service that was seen healthy once (H3). A round in
which nothing failed but no token of ours came (BUSY: others' tokens still come, H2) ends a row of
failures; a round that could measure nothing (BLIND) says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from drkit.config.places import Probe
from drkit.health.interface import Observation, ServiceHealth, ServiceState, Verdict


class Signal(Enum):
    """What one round says."""

    GOOD = "good"
    BAD = "bad"
    BUSY = "busy"
    BLIND = "blind"


Guard = Callable[[ServiceHealth, float, Probe], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """The service goes to `to` if `guard` holds for what has been counted, this round included."""

    to: ServiceState
    guard: Guard


def always(_health: ServiceHealth, _now_elapsed_s: float, _settings: Probe) -> bool:
    return True


def seen_healthy(health: ServiceHealth, _now_elapsed_s: float, _settings: Probe) -> bool:
    return health.ever_healthy


def down_long_enough(health: ServiceHealth, now_elapsed_s: float, settings: Probe) -> bool:
    since_s = health.first_failed_elapsed_s
    return (
        health.failed_rounds >= settings.down_after
        and since_s is not None
        and now_elapsed_s - since_s >= settings.down_after_s
    )


def up_long_enough(health: ServiceHealth, _now_elapsed_s: float, settings: Probe) -> bool:
    return health.good_rounds >= settings.up_after


UNKNOWN, HEALTHY = ServiceState.UNKNOWN, ServiceState.HEALTHY
SUSPECT, DOWN = ServiceState.SUSPECT, ServiceState.DOWN

# What is not listed stays as it is.
TABLE: dict[tuple[ServiceState, Signal], Row] = {
    (UNKNOWN, Signal.GOOD): Row(HEALTHY, always),
    (UNKNOWN, Signal.BAD): Row(SUSPECT, seen_healthy),
    (HEALTHY, Signal.BAD): Row(SUSPECT, always),
    (SUSPECT, Signal.GOOD): Row(HEALTHY, always),
    (SUSPECT, Signal.BAD): Row(DOWN, down_long_enough),
    (DOWN, Signal.GOOD): Row(HEALTHY, up_long_enough),
}


def advance(
    health: ServiceHealth, observation: Observation, now_elapsed_s: float, settings: Probe
) -> tuple[ServiceHealth, tuple[str, ...]]:
    """The health after one more round, and what changed, in words ("HEALTHY -> SUSPECT: ...").

    `now_elapsed_s` is `Clock.elapsed_s` at the end of the round.
    """
    signal = signal_of(observation)
    counted = _count(health, signal, observation, now_elapsed_s)
    row = TABLE.get((health.state, signal))
    if row is None or not row.guard(counted, now_elapsed_s, settings):
        return counted, ()
    after = replace(counted, state=row.to)
    if row.to is HEALTHY:
        after = _outage_over(replace(after, ever_healthy=True))
    return after, (f"{health.state.value} -> {row.to.value}: {_why(observation)}",)


def signal_of(observation: Observation) -> Signal:
    if any(result.verdict is Verdict.FAILED for result in observation.results):
        return Signal.BAD
    if observation.alive:
        return Signal.GOOD
    if any(
        result.probe == "progress" and result.verdict is Verdict.PASSED
        for result in observation.results
    ):
        return Signal.BUSY
    return Signal.BLIND


def _count(
    health: ServiceHealth, signal: Signal, observation: Observation, now_elapsed_s: float
) -> ServiceHealth:
    """Rows of good and of failed rounds. What began an outage is kept until it is over."""
    match signal:
        case Signal.BLIND:
            return health
        case Signal.BAD:
            counted = replace(health, failed_rounds=health.failed_rounds + 1, good_rounds=0)
            if health.first_failed_at is None:
                counted = replace(
                    counted,
                    first_failed_at=observation.at,
                    first_failed_elapsed_s=now_elapsed_s,
                )
            return counted
        case Signal.GOOD | Signal.BUSY:
            good_rounds = health.good_rounds + (signal is Signal.GOOD)
            counted = replace(health, failed_rounds=0, good_rounds=good_rounds)
            return counted if health.state is DOWN else _outage_over(counted)


def _outage_over(health: ServiceHealth) -> ServiceHealth:
    return replace(health, first_failed_at=None, first_failed_elapsed_s=None)


def _why(observation: Observation) -> str:
    failed = [result for result in observation.results if result.verdict is Verdict.FAILED]
    shown = failed or observation.results
    return "; ".join(f"{result.probe}: {result.detail}" for result in shown)

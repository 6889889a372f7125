"""The service's state as a table: `(state, what is known now, guard) -> state`. Pure.

One failed round is a suspicion and never more. DOWN needs `down_after` failed rounds in a row and
`down_after_s` since the first of them, and a service that was seen healthy (H3). A round in which
nothing failed but no token of ours came (BUSY: others' tokens still come, H2) ends a row of
failures; one that could not see past this machine (BLIND) says nothing. Runs report their steps
as signals too, so that who serves and whether it is well are one state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from drkit.config.places import Probe
from drkit.health.interface import (
    FLAPS_WITHIN_S,
    REFERENCE,
    Observation,
    ServiceHealth,
    ServiceState,
    Verdict,
)

# A watcher that slept longer than this has no row of rounds: it begins a new one.
_MOST_GAP_S = 180.0


class Signal(Enum):
    """What one round, or one step of a run, says."""

    GOOD = "a token came"
    BAD = "a probe failed"
    BUSY = "others' tokens come"
    BLIND = "nothing could be seen"
    RUN_BEGAN = "a failover began"
    RUN_MOVED = "traffic is at the target"
    RUN_COMMITTED = "the target stays"
    RUN_UNDONE = "the failover was rolled back"
    PRIMARY_BACK = "the primary verifies again"
    PRIMARY_GONE = "the primary does not verify"
    FAILED_BACK = "traffic is at the primary"


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


def committed(health: ServiceHealth, _now_elapsed_s: float, _settings: Probe) -> bool:
    return health.committed


def known_long_enough(health: ServiceHealth, _now_elapsed_s: float, settings: Probe) -> bool:
    return health.ever_healthy or health.good_rounds >= settings.known_after


def down_long_enough(health: ServiceHealth, now_elapsed_s: float, settings: Probe) -> bool:
    since_s = health.first_failed_elapsed_s
    return (
        health.failed_rounds >= settings.down_after
        and since_s is not None
        and now_elapsed_s - since_s >= settings.down_after_s
    )


def up_long_enough(health: ServiceHealth, _now_elapsed_s: float, settings: Probe) -> bool:
    return health.good_rounds >= settings.up_after


_S, _G = ServiceState, Signal
_AT_TARGET = (_S.SERVING_TARGET, _S.FAILBACK_READY)

# What is not listed stays as it is. HEALTHY stands for `home`: well, wherever it serves from.
TABLE: dict[tuple[ServiceState, Signal], Row] = {
    (_S.UNKNOWN, _G.GOOD): Row(_S.HEALTHY, known_long_enough),
    (_S.UNKNOWN, _G.BAD): Row(_S.SUSPECT, seen_healthy),
    (_S.UNKNOWN, _G.RUN_BEGAN): Row(_S.RECOVERING, always),
    (_S.HEALTHY, _G.BAD): Row(_S.SUSPECT, always),
    (_S.HEALTHY, _G.RUN_BEGAN): Row(_S.RECOVERING, always),
    (_S.SUSPECT, _G.GOOD): Row(_S.HEALTHY, always),
    (_S.SUSPECT, _G.BAD): Row(_S.DOWN, down_long_enough),
    (_S.SUSPECT, _G.RUN_BEGAN): Row(_S.RECOVERING, always),
    (_S.DOWN, _G.GOOD): Row(_S.HEALTHY, up_long_enough),
    (_S.DOWN, _G.RUN_BEGAN): Row(_S.RECOVERING, always),
    (_S.RECOVERING, _G.RUN_MOVED): Row(_S.SERVING_TARGET, always),
    (_S.RECOVERING, _G.FAILED_BACK): Row(_S.HEALTHY, always),
    (_S.RECOVERING, _G.RUN_UNDONE): Row(_S.UNKNOWN, always),
    (_S.SERVING_TARGET, _G.RUN_UNDONE): Row(_S.UNKNOWN, always),
    (_S.SERVING_TARGET, _G.BAD): Row(_S.SUSPECT, committed),
    (_S.SERVING_TARGET, _G.PRIMARY_BACK): Row(_S.FAILBACK_READY, committed),
    (_S.SERVING_TARGET, _G.RUN_BEGAN): Row(_S.RECOVERING, committed),
    (_S.FAILBACK_READY, _G.PRIMARY_GONE): Row(_S.SERVING_TARGET, always),
    (_S.FAILBACK_READY, _G.BAD): Row(_S.SUSPECT, always),
    (_S.FAILBACK_READY, _G.RUN_BEGAN): Row(_S.RECOVERING, always),
}


def advance(
    health: ServiceHealth, observation: Observation, now_elapsed_s: float, settings: Probe
) -> tuple[ServiceHealth, tuple[str, ...]]:
    """The health after one more round, and what changed, in words ("HEALTHY -> SUSPECT: ...").

    `now_elapsed_s` is `Clock.elapsed_s` at the end of the round.
    """
    signal = signal_of(observation)
    health = _awake(health, now_elapsed_s)
    counted = _count(health, signal, observation, now_elapsed_s)
    if counted.state in _AT_TARGET and known_long_enough(counted, now_elapsed_s, settings):
        counted = replace(counted, ever_healthy=True)  # no less than one that is well at home
    return _move(health, counted, signal, now_elapsed_s, settings, _why(observation))


def told(
    health: ServiceHealth, signal: Signal, now_elapsed_s: float, settings: Probe
) -> tuple[ServiceHealth, tuple[str, ...]]:
    """The health after a run, or a probe of the primary that does not serve, reported `signal`."""
    counted = health
    match signal:
        case Signal.RUN_MOVED:
            counted = replace(health, home=_S.SERVING_TARGET, committed=False)
        case Signal.RUN_COMMITTED:
            counted = replace(health, committed=True)
        case Signal.RUN_UNDONE | Signal.FAILED_BACK:
            home = health.home if health.committed else _S.HEALTHY
            home = _S.HEALTHY if signal is Signal.FAILED_BACK else home
            counted = replace(health, home=home, committed=True)
    return _move(health, counted, signal, now_elapsed_s, settings, signal.value)


def signal_of(observation: Observation) -> Signal:
    """GOOD beats all. A failure counts only if something beyond this machine can be reached."""
    if observation.alive:
        return Signal.GOOD
    results = {result.probe: result.verdict for result in observation.results}
    if results.get(REFERENCE) is Verdict.FAILED:
        return Signal.BLIND
    if any(results.get(probe) is Verdict.FAILED for probe in ("liveness", "identity")):
        return Signal.BAD
    if results.get("completion") is Verdict.FAILED:
        return Signal.BAD
    if results.get("progress") is Verdict.PASSED:
        return Signal.BUSY
    return Signal.BLIND


def _move(
    before: ServiceHealth,
    counted: ServiceHealth,
    signal: Signal,
    now_elapsed_s: float,
    settings: Probe,
    why: str,
) -> tuple[ServiceHealth, tuple[str, ...]]:
    row = TABLE.get((before.state, signal))
    if row is None or not row.guard(counted, now_elapsed_s, settings):
        return counted, ()
    to = counted.home if row.to is _S.HEALTHY else row.to
    after = replace(counted, state=to)
    if row.to is _S.HEALTHY:
        after = _outage_over(replace(after, ever_healthy=True))
    if to is _S.SUSPECT:
        after = replace(after, suspicions=(*after.suspicions, now_elapsed_s))
    if to in (_S.RECOVERING, _S.SERVING_TARGET, _S.UNKNOWN):
        after = _outage_over(replace(after, failed_rounds=0, good_rounds=0))
    return after, (f"{before.state.value} -> {to.value}: {why}",)


def _awake(health: ServiceHealth, now_elapsed_s: float) -> ServiceHealth:
    """After a reboot or a long sleep of the watcher its rows of rounds begin anew."""
    last_s = health.last_round_elapsed_s
    if last_s is None or 0 <= now_elapsed_s - last_s <= _MOST_GAP_S:
        return health
    if now_elapsed_s < last_s:  # another boot: what was timed on its clock says nothing
        health = replace(health, suspicions=())
    health = replace(health, failed_rounds=0, good_rounds=0)
    return health if health.state is _S.DOWN else _outage_over(health)


def _count(
    health: ServiceHealth, signal: Signal, observation: Observation, now_elapsed_s: float
) -> ServiceHealth:
    """Rows of good and of failed rounds. What began an outage is kept until it is over."""
    health = replace(
        health,
        last_round_elapsed_s=now_elapsed_s,
        blind=signal is Signal.BLIND,
        suspicions=tuple(s for s in health.suspicions if now_elapsed_s - s <= FLAPS_WITHIN_S),
    )
    match signal:
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
            return counted if health.state is _S.DOWN else _outage_over(counted)
        case _:
            return health


def _outage_over(health: ServiceHealth) -> ServiceHealth:
    return replace(health, first_failed_at=None, first_failed_elapsed_s=None)


def _why(observation: Observation) -> str:
    failed = [result for result in observation.results if result.verdict is Verdict.FAILED]
    shown = failed or observation.results
    return "; ".join(f"{result.probe}: {result.detail}" for result in shown)

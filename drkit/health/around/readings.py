"""What is looked at beside the server itself. Each is a witness: it is shown, alerts or explains,
and never moves the service's table (H1).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from drkit.clock import Clock
from drkit.errors import DrkitError
from drkit.health.interface import ProbeResult, Verdict
from drkit.health.measures.window import Measure

READING_S = 20.0
"""Seconds that one reading may take; what is not there by then is said to be missing."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One result, and the numbers that limits may be set on, by metric."""

    result: ProbeResult
    measures: Mapping[str, Measure] = field(default_factory=dict)


Reader = Callable[[], Reading]
"""Reads one thing. A `DrkitError` of it means that it could not be measured."""


def take(
    readers: Mapping[str, Reader], *, clock: Clock, limit_s: float = READING_S
) -> tuple[Reading, ...]:
    """All of them at once, in their order, after `limit_s` at the latest.

    One that does not return in time is FAILED, and left to itself: a thread cannot be ended.
    """
    outcomes: dict[str, queue.Queue[Reading]] = {name: queue.Queue() for name in readers}
    begun_s = clock.elapsed_s()

    def work(name: str, reader: Reader) -> None:
        asked_s = clock.elapsed_s()
        reading = _read(name, reader)
        took_s = clock.elapsed_s() - asked_s
        if reading.result.latency_s is None and reading.result.verdict is not _UNMEASURED:
            reading = replace(reading, result=replace(reading.result, latency_s=took_s))
        outcomes[name].put(reading)

    for name, reader in readers.items():
        threading.Thread(target=work, args=(name, reader), daemon=True).start()
    taken = []
    for name, outcome in outcomes.items():
        left_s = max(0.0, limit_s - (clock.elapsed_s() - begun_s))
        try:
            taken.append(outcome.get(timeout=left_s))
        except queue.Empty:
            late = f"no answer within {limit_s:g} s"
            taken.append(Reading(ProbeResult(name, Verdict.FAILED, late)))
    return tuple(taken)


_UNMEASURED = Verdict.NOT_MEASURED


def not_measured(probe: str, why: str) -> Reading:
    return Reading(ProbeResult(probe, Verdict.NOT_MEASURED, why))


def passed(probe: str, detail: str, **measures: Measure) -> Reading:
    return Reading(ProbeResult(probe, Verdict.PASSED, detail), measures)


def failed(probe: str, detail: str) -> Reading:
    return Reading(ProbeResult(probe, Verdict.FAILED, detail))


def _read(name: str, reader: Reader) -> Reading:
    try:
        return reader()
    except DrkitError as error:
        return not_measured(name, error.message)
    except Exception as error:
        return not_measured(name, f"could not be measured: {type(error).__name__}: {error}")

"""Looks at what lies around the service, each part as often as it is due, and remembers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drkit.clock import Clock
from drkit.health.around.readings import Reader, Reading, take
from drkit.health.interface import Memory, ProbeResult, Verdict
from drkit.health.measures.window import Value

_SLACK_S = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read, and how many seconds ago: 0.0 for now."""

    reading: Reading
    age_s: float


def look_around(
    quick: Mapping[str, Reader],
    slow: Mapping[str, Reader],
    *,
    service: str,
    every_s: float,
    everything: bool,
    memory: Memory,
    clock: Clock,
) -> tuple[Seen, ...]:
    """Every reading, in order. A slow one that passed is taken again after `every_s`, or with
    `everything`; one that did not pass, each time.
    """
    now_s = clock.elapsed_s()
    name = f"readings/{service}"
    known = _remembered(memory.recall(name), now_s)
    due = {
        probe: reader
        for probe, reader in slow.items()
        if everything or probe not in known or _is_due(known[probe], every_s)
    }
    taken = dict(zip((*quick, *due), take({**quick, **due}, clock=clock), strict=True))
    seen = {probe: Seen(reading, 0.0) for probe, reading in taken.items()}
    seen |= {probe: known[probe] for probe in slow if probe not in taken}
    kept = {probe: _plain(each, now_s) for probe, each in seen.items() if probe in slow}
    memory.remember(name, kept)
    return tuple(seen[probe] for probe in (*quick, *slow))


def _is_due(seen: Seen, every_s: float) -> bool:
    failed = seen.reading.result.verdict is Verdict.FAILED
    return failed or seen.age_s >= every_s - _SLACK_S


def _plain(seen: Seen, now_s: float) -> dict[str, Any]:
    result = seen.reading.result
    return {
        "at_s": now_s - seen.age_s,
        "probe": result.probe,
        "verdict": result.verdict.value,
        "detail": result.detail,
        "latency_s": result.latency_s,
        "measures": {
            name: [each.value, each.samples]
            for name, each in seen.reading.measures.items()
            if isinstance(each, Value)
        },
    }


def _remembered(kept: Any, now_s: float) -> dict[str, Seen]:
    """What cannot be read, or was read before a reboot, is as if it had never been read."""
    found = {}
    for name, value in kept.items() if isinstance(kept, dict) else ():
        try:
            age_s = now_s - float(value["at_s"])
            latency_s = value["latency_s"]
            result = ProbeResult(
                str(value["probe"]),
                Verdict(value["verdict"]),
                str(value["detail"]),
                None if latency_s is None else float(latency_s),
            )
            measures = {
                str(metric): Value(float(number), int(samples))
                for metric, (number, samples) in value["measures"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        if age_s >= 0:
            found[str(name)] = Seen(Reading(result, measures), age_s)
    return found

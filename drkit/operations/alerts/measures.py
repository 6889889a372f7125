"""Everything that a limit can be set on, as numbers of now. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from drkit.health.around.readings import Reading
from drkit.health.interface import Observation, ServiceHealth, ServiceState, Verdict
from drkit.health.measures.default_limits import metric_of
from drkit.health.measures.history import availability
from drkit.health.measures.limits import shown
from drkit.health.measures.window import (
    Measure,
    NotMeasured,
    Value,
    newest,
    quantile,
    rate,
    share,
    stalled_s,
    within,
)
from drkit.health.scrape import Scrape

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_HOURS = {"1h": 1, "24h": 24, "30d": 720}


def measures_of(
    scrapes: Sequence[Scrape],
    gateway: Sequence[Scrape],
    readings: Sequence[Reading],
    health: ServiceHealth,
    tallies: Any,
    *,
    window_s: float,
    now_s: float,
    now: datetime,
) -> dict[str, Measure]:
    """By metric. `scrapes` and `gateway`: oldest first, of the server that serves and of its
    gateway; `tallies`: what the watch kept of its rounds.
    """
    seen, counted = within(scrapes, now_s, window_s), within(gateway, now_s, window_s)
    measures: dict[str, Measure] = {
        f"{name}_{label}": quantile(seen, name, q)
        for name in ("ttft", "latency")
        for label, q in _QUANTILES.items()
    }
    measures |= {name: newest(seen, name) for name in ("running", "waiting", "kv_cache")}
    measures["tokens_per_s"] = rate(seen, "generated")
    measures["error_rate"] = share(seen, "errors", "requests")
    measures["stalled"] = stalled_s(within(scrapes, now_s, window_s * 2))
    measures |= {
        f"availability_{label}": availability(tallies, now, hours=hours)
        for label, hours in _HOURS.items()
    }
    measures["fallback_rate"] = share(counted, "fallbacks", "requests")
    measures["gateway_error_rate"] = share(counted, "failures", "requests")
    measures["confidence"] = _told(counted, "confidence")
    measures |= {f"gateway_{name}": _told(counted, name) for name in ("p95", "p99")}
    measures |= _state(health)
    for reading in readings:
        measures |= reading.measures
        measures[metric_of(reading.result.probe)] = _failing(reading)
    details = {reading.result.probe: reading.result.detail for reading in readings}
    measures.setdefault("gpu", NotMeasured(details.get("gpu", "no exporter is configured")))
    measures["tls_days"] = _least([each.measures.get("tls_days") for each in readings])
    return measures


def words_of(
    readings: Sequence[Reading], observation: Observation, health: ServiceHealth
) -> dict[str, str]:
    """What people are told of metrics that are yes or no, by metric, while they are yes."""
    failed = [each for each in observation.results if each.verdict is Verdict.FAILED]
    why = "; ".join(f"{each.probe}: {each.detail}" for each in failed)
    words = {metric_of(each.result.probe): each.result.detail for each in readings}
    words["down"] = f"the service is DOWN{f': {why}' if why else ''}"
    words["flapping"] = f"suspected {len(health.suspicions)} times within half an hour"
    words["blind"] = "this machine sees nothing beyond its own network"
    return words


def _told(counted: Sequence[Scrape], gauge: str) -> Measure:
    """What the gateway itself says, on as many samples as it had requests in the window."""
    last = newest(counted, gauge)
    if isinstance(last, NotMeasured):
        return last
    asked = share(counted, "requests", "requests")
    if isinstance(asked, NotMeasured):
        return NotMeasured(f"{gauge} of nothing: {asked.why}")
    return Value(last.value, asked.samples)


def _state(health: ServiceHealth) -> dict[str, Measure]:
    return {
        "down": Value(float(health.state is ServiceState.DOWN), 1),
        "flapping": Value(float(health.flapping), 1),
        "blind": Value(float(health.blind), 1),
    }


def _failing(reading: Reading) -> Measure:
    match reading.result.verdict:
        case Verdict.FAILED:
            return Value(1.0, 1)
        case Verdict.PASSED:
            return Value(0.0, 1)
        case Verdict.NOT_MEASURED:
            return NotMeasured(reading.result.detail)


def _least(days: Sequence[Measure | None]) -> Measure:
    """The certificate that ends first."""
    known = [each for each in days if isinstance(each, Value)]
    if not known:
        return NotMeasured("no certificate is watched")
    return min(known, key=lambda each: each.value)


def measure_values(name: str, measure: Measure, unit: str) -> Mapping[str, Any]:
    """One row of a table: None and why, or the number and what it stands on; `shown` is the
    number for people.
    """
    head: dict[str, Any] = {"metric": name, "unit": unit}
    match measure:
        case NotMeasured(why=why):
            return head | {"value": None, "samples": 0, "shown": None, "detail": why}
        case Value(value=value, samples=samples, at_least=at_least):
            told = {"shown": shown(value, unit), "detail": "or more" if at_least else ""}
            return head | {"value": round(value, 6), "samples": samples} | told

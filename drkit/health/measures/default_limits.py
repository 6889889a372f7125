"""The limits of a deployment: drkit's own, changed and added to by its configuration. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import get_args

from drkit.config.alerts import LimitConfig, Metric
from drkit.errors import ConfigError
from drkit.health.measures.limits import Limit

DEFAULTS: tuple[Limit, ...] = (
    Limit("service-down", "down", True, 0.5, 0.5, 0, "critical"),
    Limit("flapping", "flapping", True, 0.5, 0.5, 0, "warning"),
    Limit("blind", "blind", True, 0.5, 0.5, 300, "warning"),
    Limit("stalled", "stalled", True, 120, 0, 0, "critical", 3, "s"),
    Limit("ttft-p95", "ttft_p95", True, 0.5, 0.4, 120, "warning", 20, "s"),
    Limit("ttft-p99", "ttft_p99", True, 1.0, 0.8, 120, "critical", 100, "s"),
    Limit("error-rate", "error_rate", True, 0.05, 0.02, 300, "critical", 20, "share"),
    Limit("gpu-busy", "gpu", True, 0.90, 0.80, 600, "warning", 1, "share"),
    Limit("fallback-rate", "fallback_rate", True, 0.20, 0.10, 120, "warning", 20, "share"),
    Limit("confidence", "confidence", False, 0.70, 0.75, 120, "warning", 20),
    Limit("tls-expiry", "tls_days", False, 14, 15, 0, "warning", 1, "days"),
)

_UNITS = {"kv_cache": "share", "error_rate": "share", "stalled": "s", "gpu": "share"}
_UNITS |= {"fallback_rate": "share", "gateway_error_rate": "share", "tls_days": "days"}
_UNITS |= {"gateway_p95": "s", "gateway_p99": "s"}
_UNITS_OF = {"ttft": "s", "latency": "s", "availability": "share"}

METRICS: Mapping[str, str] = {
    name: _UNITS.get(name, _UNITS_OF.get(name.partition("_")[0], "")) for name in get_args(Metric)
}
"""What a limit can be set on, and its unit."""

_PROBE_LASTING_S = 45.0
"""A probe that failed is made again at the next round: it failed at least twice by then."""


def failing(probe: str) -> Limit:
    """The limit of a probe beside the server's: it fails, again and again."""
    return Limit(probe, metric_of(probe), True, 0.5, 0.5, _PROBE_LASTING_S, "warning")


def metric_of(probe: str) -> str:
    """1 when the probe failed, 0 when it passed."""
    return f"failed {probe}"


def limits_of(configured: Mapping[str, LimitConfig], probes: Iterable[str]) -> tuple[Limit, ...]:
    """Every limit that holds. Raises `ConfigError` for one that is not whole."""
    known = {each.name: each for each in (*DEFAULTS, *map(failing, probes))}
    for name, wanted in configured.items():
        if wanted.off:
            known.pop(name, None)
        else:
            known[name] = _changed(name, known.get(name), wanted)
    return tuple(known.values())


def _changed(name: str, limit: Limit | None, wanted: LimitConfig) -> Limit:
    bound = wanted.above if wanted.above is not None else wanted.below
    if limit is None:
        if wanted.metric is None or bound is None:
            raise ConfigError(
                f"alerts.limits.{name} is no limit of drkit's, and not whole",
                hint="a new one needs `metric`, and `above` or `below`; "
                f"drkit's own are {', '.join(each.name for each in DEFAULTS)}",
            )
        limit = Limit(name, wanted.metric, wanted.above is not None, bound, bound, 0, "warning")
        limit = replace(limit, unit=METRICS[wanted.metric])
    elif wanted.metric is not None and wanted.metric != limit.metric:
        limit = replace(limit, metric=wanted.metric, unit=METRICS[wanted.metric])
    if bound is not None:
        limit = replace(limit, above=wanted.above is not None, raise_at=bound, clear_at=bound)
    return replace(
        limit,
        clear_at=limit.clear_at if wanted.clear is None else wanted.clear,
        lasting_s=limit.lasting_s if wanted.lasting is None else wanted.lasting,
        level=wanted.level or limit.level,
        least_samples=wanted.samples or limit.least_samples,
    )

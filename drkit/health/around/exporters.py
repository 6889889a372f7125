"""Numbers from beside the model server: how busy the GPUs are, and what a gateway has counted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drkit.clock import Clock
from drkit.compute.interface import Endpoint
from drkit.health.around.readings import Reading, failed, not_measured, passed
from drkit.health.ask import ask
from drkit.health.measures.window import Value
from drkit.health.scrape import Scrape, families
from drkit.http_client import NoAnswer
from drkit.io_policy import METRICS_CALL

GPU_USE = {
    "DCGM_FI_DEV_GPU_UTIL": 100.0,
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": 1.0,
    "nvidia_smi_utilization_gpu_ratio": 1.0,
    "nvidia_gpu_duty_cycle": 100.0,
}
"""Metrics of DCGM's exporter and of those that ask nvidia-smi, and what each calls fully busy."""


def read_gpu(endpoint: Endpoint, path: str, clock: Clock) -> Reading:
    """How busy the busiest GPU is, 0 to 1 (`gpu`); FAILED where the exporter does not answer."""
    probe = "gpu"
    try:
        reply = ask(endpoint, "GET", path or "/metrics", METRICS_CALL, clock=clock)
    except NoAnswer as error:
        return failed(probe, error.message)
    if reply.status != 200:
        return failed(probe, f"it answers {reply.status}")
    text = reply.body.decode(errors="replace")
    uses = _plain_percents(text)
    for name, full in GPU_USE.items():
        if found := families(text).get(name):
            uses = [value / full for _, value in found]
            break
    if not uses:
        return not_measured(probe, "it shows no use of a GPU that is understood")
    busiest = max(uses)
    detail = f"{busiest * 100:.0f} % busy" + (f", the busiest of {len(uses)}" if uses[1:] else "")
    return passed(probe, detail, gpu=Value(busiest, 1))


def _plain_percents(text: str) -> list[float]:
    """What `nvidia-smi --query-gpu=utilization.gpu --format=csv,noheader` prints, if it is that."""
    uses = []
    for line in text.splitlines()[:256]:
        number = line.strip().removesuffix("%").strip()
        if not number.isdigit() or int(number) > 100:
            return []
        uses.append(int(number) / 100)
    return uses


@dataclass(frozen=True, slots=True)
class StatsFields:
    """Where a gateway's statistics are: dotted paths into its JSON; None: it has no such number."""

    path: str
    requests: str | None
    fallbacks: str | None
    failures: str | None
    confidence: str | None
    p95_ms: str | None = None
    p99_ms: str | None = None


def read_stats(
    endpoint: Endpoint, fields: StatsFields, token: str | None, clock: Clock
) -> tuple[Reading, Scrape | None]:
    """Whether the gateway tells its statistics, and its counters as a scrape to compare."""
    probe = "gateway stats"
    try:
        reply = ask(endpoint, "GET", fields.path, METRICS_CALL, clock=clock, api_key=token)
    except NoAnswer as error:
        return failed(probe, error.message), None
    if reply.status != 200:
        refused = ": the token is not taken" if reply.status in (401, 403) else ""
        return failed(probe, f"{fields.path} answers {reply.status}{refused}"), None
    shown = reply.json()
    wanted = {
        "requests": fields.requests,
        "fallbacks": fields.fallbacks,
        "failures": fields.failures,
    }
    counters = {
        name: number for name, at in wanted.items() if (number := _number(shown, at)) is not None
    }
    gauges = {}
    if (confidence := _number(shown, fields.confidence)) is not None:
        gauges["confidence"] = confidence
    for name, at in (("p95", fields.p95_ms), ("p99", fields.p99_ms)):
        if (milliseconds := _number(shown, at)) is not None:
            gauges[name] = milliseconds / 1000
    if not counters and not gauges:
        return not_measured(probe, f"{fields.path} shows none of the numbers looked for"), None
    told = ", ".join(f"{number:g} {name}" for name, number in {**counters, **gauges}.items())
    scrape = Scrape(clock.elapsed_s(), "gateway", None, gauges=gauges, counters=counters)
    return passed(probe, told), scrape


def _number(value: Any, dotted: str | None) -> float | None:
    """The number at "tiers.1.requests"; None where there is none."""
    if dotted is None:
        return None
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)

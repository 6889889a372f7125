"""What the watch knows, for Prometheus: a file that node_exporter's textfile collector reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from drkit.health.interface import ProbeResult, ServiceHealth, ServiceState, Verdict
from drkit.health.measures.limits import Standing
from drkit.health.measures.window import Measure, Value
from drkit.stores.durable import write_file


def exposition(
    service: str,
    *,
    health: ServiceHealth,
    probes: Sequence[ProbeResult],
    measures: Mapping[str, Measure],
    standing: Sequence[tuple[str, Standing]],
    at: datetime,
) -> bytes:
    """Prometheus' text format. What was not measured has no series; it is never 0 (H4)."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()

    def gauge(name: str, words: str, *labels: str) -> Gauge:
        return Gauge(f"drkit_{name}", words, ("service", *labels), registry=registry)

    last = gauge("last_round_timestamp_seconds", "When the last round was made.")
    last.labels(service).set(at.timestamp())
    state = gauge("service_state", "1 for the state that the service is in.", "state")
    for each in ServiceState:
        state.labels(service, each.value).set(each is health.state)
    passed = gauge("probe_passed", "1 if the probe passed, 0 if it failed.", "probe")
    took = gauge("probe_seconds", "How long the probe took.", "probe")
    for result in probes:
        if result.verdict is not Verdict.NOT_MEASURED:
            passed.labels(service, result.probe).set(result.verdict is Verdict.PASSED)
        if result.latency_s is not None:
            took.labels(service, result.probe).set(result.latency_s)
    measured = gauge("measure", "What is measured over the window.", "metric")
    samples = gauge("measure_samples", "How many samples the measure stands on.", "metric")
    for name, measure in measures.items():
        if isinstance(measure, Value):
            measured.labels(service, name).set(measure.value)
            samples.labels(service, name).set(measure.samples)
    alert = gauge("alert", "1 while the alert stands.", "alert", "level")
    for name, stands in standing:
        alert.labels(service, name, stands.level).set(1)
    return generate_latest(registry)


def write_exposition(path: Path, text: bytes) -> None:
    """In place of the former file, whole; others may read it."""
    write_file(path, text, mode=0o644)

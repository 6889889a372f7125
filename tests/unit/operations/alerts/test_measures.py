"""All that a limit can be set on, from what was scraped, read and counted; and for Prometheus."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from prometheus_client.parser import text_string_to_metric_families

from drkit.clock import ManualClock
from drkit.health.around.readings import failed, not_measured, passed
from drkit.health.interface import ProbeResult, ServiceHealth, ServiceState, Verdict
from drkit.health.measures.default_limits import DEFAULTS, METRICS, limits_of
from drkit.health.measures.history import with_round
from drkit.health.measures.limits import Standing
from drkit.health.measures.window import NotMeasured, Value
from drkit.health.memory import observation
from drkit.health.scrape import Scrape
from drkit.health.table import Signal
from drkit.operations.alerts.exposition import exposition
from drkit.operations.alerts.measures import measure_values, measures_of, words_of

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
WELL = ServiceHealth(ServiceState.HEALTHY, ever_healthy=True)


def gateway(at_s: float, requests: float, fallbacks: float, confidence: float) -> Scrape:
    counters = {"requests": requests, "fallbacks": fallbacks, "failures": 0.0}
    gauges = {"confidence": confidence}
    return Scrape(at_s, "gateway", None, gauges=gauges, counters=counters)


def measured(*, scrapes=(), counted=(), readings=(), health=WELL, tallies=None, now_s=100.0):
    return measures_of(
        scrapes, counted, readings, health, tallies, window_s=300, now_s=now_s, now=NOW
    )


def test_every_metric_is_there_measured_or_not() -> None:
    found = measured()
    assert set(found) >= set(METRICS)
    assert isinstance(found["ttft_p95"], NotMeasured)
    assert isinstance(found["gpu"], NotMeasured)
    assert found["down"] == Value(0.0, 1)


def test_fallbacks_and_confidence_stand_on_the_requests_of_the_window() -> None:
    rows = [gateway(0, 1000, 10, 0.9), gateway(60, 1100, 40, 0.65)]
    found = measured(counted=rows)
    assert found["fallback_rate"] == Value(0.3, 100)
    assert found["confidence"] == Value(0.65, 100)
    assert found["gateway_error_rate"] == Value(0.0, 100)


def test_a_gateways_own_latencies_stand_on_its_requests() -> None:
    rows = [gateway(0, 1000, 10, 0.9), gateway(60, 1100, 40, 0.65)]
    rows = [replace(each, gauges={**each.gauges, "p95": 0.7}) for each in rows]
    found = measured(counted=rows)
    assert found["gateway_p95"] == Value(0.7, 100)
    assert isinstance(found["gateway_p99"], NotMeasured)


def test_H4_a_gateway_that_nobody_asked_has_no_confidence() -> None:
    rows = [gateway(0, 1000, 10, 0.1), gateway(60, 1000, 10, 0.1)]
    found = measured(counted=rows)
    assert isinstance(found["confidence"], NotMeasured)
    assert isinstance(found["fallback_rate"], NotMeasured)


def test_a_probe_that_failed_is_1_and_one_that_was_not_measured_is_nothing() -> None:
    readings = [failed("store a", "x"), passed("store b", "x"), not_measured("store c", "why")]
    found = measured(readings=readings)
    assert found["failed store a"] == Value(1.0, 1)
    assert found["failed store b"] == Value(0.0, 1)
    assert found["failed store c"] == NotMeasured("why")
    limits = {each.metric for each in limits_of({}, [each.result.probe for each in readings])}
    assert {"failed store a", "failed store b", "failed store c"} <= limits


def test_the_certificate_that_ends_first_counts() -> None:
    readings = [
        passed("tls a", "x", tls_days=Value(40.0, 1)),
        passed("tls b", "x", tls_days=Value(9.0, 1)),
        failed("tls c", "another name"),
    ]
    assert measured(readings=readings)["tls_days"] == Value(9.0, 1)


def test_availability_is_of_the_rounds_that_were_kept() -> None:
    kept: object = None
    for signal in (Signal.GOOD, Signal.BAD, Signal.GOOD, Signal.GOOD):
        kept = with_round(kept, signal, NOW)
    assert measured(tallies=kept)["availability_1h"] == Value(0.75, 4)


def test_every_default_limit_has_a_metric_that_is_given() -> None:
    found = measured()
    assert all(each.metric in found for each in DEFAULTS)


def test_rows_for_people_and_programs() -> None:
    row = measure_values("error_rate", Value(0.0512, 30), "share")
    assert (row["value"], row["shown"], row["samples"]) == (0.0512, "5.12 %", 30)
    row = measure_values("ttft_p99", NotMeasured("no samples"), "s")
    assert (row["value"], row["shown"], row["detail"]) == (None, None, "no samples")


def test_words_of_what_is_yes_or_no() -> None:
    dead = observation("http://x", "m", None, ManualClock())
    words = words_of([failed("store a", "refused")], dead, WELL)
    assert words["failed store a"] == "refused"
    assert words["down"] == "the service is DOWN: liveness: connection refused"


def test_H4_prometheus_is_told_what_was_measured_and_nothing_of_the_rest() -> None:
    text = exposition(
        'chat "1"',
        health=WELL,
        probes=[
            ProbeResult("liveness", Verdict.PASSED, "200", 0.01),
            ProbeResult("store a", Verdict.FAILED, "x"),
            ProbeResult("gpu", Verdict.NOT_MEASURED, "x"),
        ],
        measures={"ttft_p95": Value(0.4, 30), "gpu": NotMeasured("x")},
        standing=[("tls", Standing(raised=True, level="warning"))],
        at=NOW,
    ).decode()
    samples = {
        (each.name, *[v for k, v in sorted(each.labels.items()) if k != "service"]): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }
    assert samples["drkit_probe_passed", "liveness"] == 1
    assert samples["drkit_probe_passed", "store a"] == 0
    assert ("drkit_probe_passed", "gpu") not in samples
    assert samples["drkit_measure", "ttft_p95"] == 0.4
    assert ("drkit_measure", "gpu") not in samples
    assert samples["drkit_alert", "tls", "warning"] == 1
    assert samples["drkit_service_state", "HEALTHY"] == 1
    assert samples["drkit_service_state", "DOWN"] == 0

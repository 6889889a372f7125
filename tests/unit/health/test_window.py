"""Numbers from scrapes: across restarts, with missing parts, and never a 0 that nobody measured."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drkit.health.measures.history import (
    MOST_SCRAPES,
    availability,
    scrapes_from,
    with_round,
    with_scrape,
)
from drkit.health.measures.window import (
    NotMeasured,
    Value,
    newest,
    quantile,
    rate,
    share,
    stalled_s,
    within,
)
from drkit.health.scrape import Histogram, Scrape, families, moved, read_scrape
from drkit.health.table import Signal

BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, math.inf)
NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)


def histogram(*values: float) -> Histogram:
    counts = tuple(float(sum(value <= bound for value in values)) for bound in BOUNDS)
    return Histogram(BOUNDS, counts, sum(values))


def scrape(at_s: float, *latencies: float, started: float | None = 1.0, **counters: float):
    return Scrape(
        at_s, "vllm", started, counters=counters, histograms={"ttft": histogram(*latencies)}
    )


def test_a_quantile_is_of_what_came_between_the_scrapes_only() -> None:
    slow_before = [2.0] * 100
    rows = (scrape(0, *slow_before), scrape(30, *slow_before, *[0.2] * 10))
    assert quantile(rows, "ttft", 0.95) == Value(pytest.approx(0.1 + 0.15 * 0.95), 10)


@given(
    st.lists(st.floats(0.001, 2.4), min_size=1, max_size=60),
    st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_a_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], q: float) -> None:
    found = quantile((scrape(0), scrape(30, *values)), "ttft", q)
    true = sorted(values)[max(0, math.ceil(q * len(values)) - 1)]
    upper = next(bound for bound in BOUNDS if true <= bound)
    lower = max([0.0, *(bound for bound in BOUNDS if bound < upper)])
    assert isinstance(found, Value)
    assert lower - 1e-9 <= found.value <= upper + 1e-9


def test_beyond_the_last_bucket_it_is_at_least_so_much() -> None:
    rows = (scrape(0), scrape(30, *[100.0] * 10))
    assert quantile(rows, "ttft", 0.99) == Value(2.5, 10, at_least=True)


@pytest.mark.parametrize(
    "again",
    [
        scrape(60, 0.2, started=2.0, generated=500.0),  # its process says when it began
        scrape(60, 0.2, generated=1.0),  # a counter fell
        Scrape(60, "vllm", 1.0, counters={"generated": 500.0}, histograms={"ttft": histogram()}),
    ],
    ids=["another start", "a counter fell", "a histogram fell"],
)
def test_an_interval_with_a_restart_in_it_is_left_out(again: Scrape) -> None:
    first, second = scrape(0, generated=100.0), scrape(30, 0.2, 0.2, generated=400.0)
    later = replace(
        again,
        elapsed_s=90,
        counters={"generated": again.counters["generated"] + 30},
        histograms={"ttft": histogram(*[0.2] * int(again.histograms["ttft"].counts[-1]), 0.2)},
    )
    rows = (first, second, again, later)
    assert rate(rows, "generated") == Value(330 / 60, 2)
    whole = quantile(rows, "ttft", 0.5)
    assert isinstance(whole, Value)
    assert whole.samples == 3


def test_after_any_number_of_restarts_the_sum_is_what_was_seen_between_two_scrapes() -> None:
    rng = random.Random(20260504)
    for _ in range(200):
        rows, count, started, seen = [], 0.0, 1.0, 0.0
        for number in range(12):
            restarts = rng.random() < 0.3
            gained = float(rng.randint(0, 50))
            if restarts:
                count, started = gained, started + 100
            else:
                count += gained
                seen += gained if number else 0.0
            rows.append(scrape(number * 30.0, started=started, generated=count))
        found = rate(rows, "generated")
        spans = sum(30 for a, b in pairwise(rows) if a.started == b.started)
        if spans:
            assert isinstance(found, Value)
            assert found.value == pytest.approx(seen / spans)
        else:
            assert isinstance(found, NotMeasured)


def test_H4_what_is_missing_is_not_measured_and_never_0() -> None:
    one, two = scrape(0), scrape(30)
    assert isinstance(rate((one, two), "generated"), NotMeasured)
    assert isinstance(quantile((one,), "ttft", 0.5), NotMeasured)
    assert isinstance(quantile((one, two), "ttft", 0.5), NotMeasured), "nobody asked anything"
    assert isinstance(quantile((one, two), "latency", 0.5), NotMeasured)
    assert isinstance(share((one, two), "errors", "requests"), NotMeasured)
    assert isinstance(newest((one, two), "kv_cache"), NotMeasured)
    assert isinstance(stalled_s((one, two)), NotMeasured)
    assert isinstance(stalled_s(()), NotMeasured)
    assert isinstance(availability(None, NOW, hours=1), NotMeasured)


def test_H4_no_requests_is_no_error_rate() -> None:
    rows = [scrape(at, requests=100.0, errors=5.0) for at in (0, 30)]
    assert isinstance(share(rows, "errors", "requests"), NotMeasured)
    rows.append(scrape(60, requests=200.0, errors=15.0))
    assert share(rows, "errors", "requests") == Value(0.1, 100)


def test_buckets_that_were_configured_anew_begin_anew() -> None:
    other = Histogram((0.1, math.inf), (5.0, 5.0), 0.1)
    rows = [
        scrape(0),
        scrape(30, 2.0, 2.0),
        Scrape(60, "vllm", 1.0, histograms={"ttft": other}),
        Scrape(90, "vllm", 1.0, histograms={"ttft": replace(other, counts=(9.0, 9.0))}),
    ]
    assert quantile(rows, "ttft", 0.5) == Value(pytest.approx(0.05), 4)


def work(at_s: float, steps: float, running: float, **more: float) -> Scrape:
    return Scrape(at_s, "vllm", 1.0, steps={"s": steps}, gauges={"running": running, **more})


def test_work_without_a_step_is_a_stall_and_an_idle_server_is_none() -> None:
    idle = [work(at, 7, 0) for at in (0, 30, 60, 90)]
    assert stalled_s(idle) == Value(0, 1)
    assert stalled_s([*idle[:2], work(60, 7, 1), work(90, 7, 3), work(120, 7, 3)]) == Value(60, 3)
    assert stalled_s([work(0, 7, 1), work(30, 8, 1)]) == Value(0, 1)
    waits = [work(at, 7, 0, waiting=2) for at in (0, 60, 130)]
    assert stalled_s(waits) == Value(130, 3)


def test_the_window_is_of_the_last_so_many_seconds() -> None:
    rows = [scrape(at) for at in (0, 30, 60, 90)]
    assert [each.elapsed_s for each in within(rows, 95, 40)] == [60, 90]


TEXT = """
# HELP vllm:num_requests_running x
vllm:num_requests_running{engine="0",model_name="a \\"b\\" {c}"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:kv_cache_usage_perc{engine="0"} 0.2
vllm:kv_cache_usage_perc{engine="1"} 0.9
vllm:generation_tokens_total{engine="0"} 3.0
vllm:generation_tokens_total{engine="1"} 4.0 1700000000000
vllm:generation_tokens_total_created{engine="1"} 9.0
vllm:prompt_tokens_total nonsense
vllm:iteration_tokens_total_bucket{le="1.0"} 9.0
vllm:iteration_tokens_total_count{engine="0"} 2.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.1"} 1.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf"} 2.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="0.1"} 3.0
vllm:time_to_first_token_seconds_bucket{engine="1",le="+Inf"} 5.0
vllm:time_to_first_token_seconds_sum{engine="0"} 1.5
vllm:num_requests_waiting NaN
http_requests_total{handler="/v1/completions",method="POST",status="2xx"} 90
http_requests_total{handler="/v1/completions",method="POST",status="5xx"} 10
http_requests_total{handler="/docs",method="GET",status="5xx"} 99
process_start_time_seconds 1700.5
"""


def test_a_scrape_is_summed_over_engines_and_nothing_else_is_taken_for_it() -> None:
    found = read_scrape(TEXT, 5.0)
    assert found is not None
    assert found.dialect == "vllm"
    assert found.started == 1700.5
    assert found.steps == {
        "vllm:generation_tokens_total": 7.0,
        "vllm:iteration_tokens_total_count": 2.0,
    }
    assert found.gauges == {"running": 5.0, "kv_cache": 0.9}, "NaN is no number of waiting ones"
    assert found.counters == {"generated": 7.0, "requests": 100.0, "errors": 10.0}
    assert found.histograms == {"ttft": Histogram((0.1, math.inf), (4.0, 7.0), 1.5)}


def test_a_family_without_errors_has_counted_none_and_an_absent_one_is_not_measured() -> None:
    quiet = 'vllm:x 1\nhttp_requests_total{handler="/v1/completions",status="2xx"} 9\n'
    assert read_scrape(quiet, 0).counters == {"requests": 9.0, "errors": 0.0}
    assert read_scrape("vllm:x 1\n", 0).counters == {}


@pytest.mark.parametrize(
    "buckets",
    [
        '{le="0.1"} 1\n{le="0.2"} 2\n',
        '{le="0.1"} 3\n{le="+Inf"} 2\n',
        '{le="x"} 1\n{le="+Inf"} 2\n',
        '{} 1\n{le="+Inf"} 2\n',
    ],
    ids=["no last bucket", "it falls", "no number", "no bound"],
)
def test_buckets_that_make_no_histogram_are_not_measured(buckets: str) -> None:
    name = "vllm:time_to_first_token_seconds_bucket"
    text = "".join(f"{name}{line}\n" for line in buckets.splitlines())
    assert read_scrape(text, 0).histograms == {}


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(text: str) -> None:
    families(text)
    read_scrape(f"vllm:a 1\n{text}", 0)


def test_metrics_of_something_else_are_no_scrape() -> None:
    assert read_scrape("go_goroutines 7\n", 0) is None
    assert read_scrape("<html>not found</html>", 0) is None


def test_moved_names_a_counter_that_rose() -> None:
    before, after = work(0, 7, 1), work(30, 8, 1)
    assert moved(before, after) == "s"
    assert moved(after, before) is None
    assert moved(None, after) is None


def test_what_is_kept_is_bounded_and_comes_back_the_same() -> None:
    kept: object = None
    read = [replace(read_scrape(TEXT, at), elapsed_s=float(at)) for at in range(0, 6000, 30)]
    for each in read:
        kept = json.loads(json.dumps(with_scrape(kept, each, each.elapsed_s)))
    assert scrapes_from(kept, 5999) == tuple(read[-MOST_SCRAPES:])
    assert len(json.dumps(kept)) < 100_000
    assert scrapes_from(kept, 100) == (), "the machine was started again since"


@pytest.mark.parametrize("damage", [None, 7, {}, [1, {}], [{"elapsed_s": "x"}]])
def test_what_cannot_be_read_back_is_learnt_anew(damage: object) -> None:
    assert scrapes_from(damage, 10) == ()
    assert len(with_scrape(damage, scrape(5), 10)) == 1
    assert with_round(damage, Signal.GOOD, NOW)["hours"][0]["all"] == 1


def test_availability_counts_rounds_that_saw_something() -> None:
    kept: object = None
    for minute in range(60):
        signal = Signal.BAD if minute < 6 else Signal.BLIND if minute < 12 else Signal.BUSY
        kept = with_round(kept, signal, NOW.replace(minute=minute))
    assert availability(kept, NOW, hours=1) == Value(48 / 54, 54)
    tomorrow = NOW + timedelta(days=1)
    assert isinstance(availability(kept, tomorrow, hours=1), NotMeasured)
    assert availability(kept, tomorrow, hours=720) == Value(48 / 54, 54)
    assert isinstance(availability(kept, NOW + timedelta(days=31), hours=720), NotMeasured)


def test_availability_of_a_year_is_kept_small() -> None:
    kept: object = None
    for hour in range(24 * 365):
        kept = with_round(kept, Signal.GOOD, NOW + timedelta(hours=hour))
    assert len(json.dumps(kept)) < 8_000

"""Limits are raised once, cleared once, and never on too little."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drkit.config.alerts import LimitConfig
from drkit.errors import ConfigError
from drkit.health.measures.default_limits import DEFAULTS, METRICS, failing, limits_of
from drkit.health.measures.limits import FORGOTTEN_AFTER_S, Limit, Standing, judge, judge_all, shown
from drkit.health.measures.window import Measure, NotMeasured, Value

AT = datetime(2026, 1, 1, tzinfo=UTC)
P95 = Limit("p95", "ttft_p95", True, 0.5, 0.4, 120, "warning", 20, "s")
LOW = Limit("confidence", "confidence", False, 0.7, 0.75, 60, "warning", 20)


def run(limit: Limit, *measures: Measure | float, every_s: float = 30, start_s: float = 0):
    """What changed at which round, and how the limit stands at the end."""
    standing, changes = Standing(), []
    for number, each in enumerate(measures):
        measure = Value(each, 100) if isinstance(each, int | float) else each
        standing, change = judge(limit, standing, measure, start_s + number * every_s, AT)
        if change is not None:
            changes.append((number, change.raised))
    return changes, standing


def test_it_is_raised_after_it_lasted_and_once() -> None:
    assert run(P95, *[0.6] * 10) == ([(4, True)], run(P95, *[0.6] * 10)[1])
    assert run(P95, *[0.6] * 4)[0] == []


def test_a_moment_within_begins_the_wait_anew() -> None:
    assert run(P95, 0.6, 0.6, 0.6, 0.45, 0.6, 0.6, 0.6, 0.6)[0] == []


def test_between_the_two_bounds_nothing_changes() -> None:
    raised = [0.6] * 5
    assert run(P95, *raised, *[0.45] * 20)[0] == [(4, True)]
    assert run(P95, *raised, *[0.35] * 5)[0] == [(4, True), (9, False)]
    assert run(P95, *raised, *[0.35] * 3, 0.6, *[0.35] * 4)[0] == [(4, True)]


def test_a_lower_limit_is_the_same_the_other_way_round() -> None:
    assert run(LOW, 0.69, 0.69, 0.69)[0] == [(2, True)]
    assert run(LOW, 0.69, 0.69, 0.69, *[0.72] * 9)[0] == [(2, True)]
    assert run(LOW, 0.69, 0.69, 0.69, *[0.75] * 3)[0] == [(2, True), (5, False)]


def test_H4_too_few_samples_neither_raise_nor_clear() -> None:
    few = [Value(9.0, 19)] * 50
    assert run(P95, *few)[0] == []
    assert run(P95, *[0.6] * 5, *[Value(0.1, 19)] * 20)[0] == [(4, True)]


def test_H4_a_missing_metric_neither_raises_nor_clears_and_breaks_the_row() -> None:
    missing = NotMeasured("x")
    assert run(P95, *[missing] * 50)[0] == []
    assert run(P95, 0.6, 0.6, 0.6, missing, 0.6, 0.6, 0.6, 0.6)[0] == []
    changes, standing = run(P95, *[0.6] * 5, *[missing] * 10)
    assert changes == [(4, True)]
    assert standing.raised


def test_an_alert_that_nobody_can_see_any_more_is_dropped() -> None:
    rounds = int(FORGOTTEN_AFTER_S / 30) + 1
    changes, standing = run(P95, *[0.6] * 5, *[NotMeasured("x")] * rounds)
    assert [raised for _, raised in changes] == [True, False]
    assert not standing.raised


def test_at_least_is_enough_to_raise_and_never_to_clear() -> None:
    assert run(P95, *[Value(2.5, 100, at_least=True)] * 5)[0] == [(4, True)]
    low = Limit("x", "x", True, 5.0, 4.0, 0, "warning")
    standing = Standing(raised=True, measured_s=0.0)
    assert judge(low, standing, Value(2.5, 9, at_least=True), 30, AT)[1] is None


def test_a_watcher_that_slept_begins_its_row_anew() -> None:
    standing, _ = judge(P95, Standing(), Value(0.6, 100), 0, AT)
    assert judge(P95, standing, Value(0.6, 100), 7200, AT)[1] is None
    rebooted, change = judge(P95, Standing(measured_s=9e6, turning_s=8e6), Value(0.6, 100), 5, AT)
    assert change is None
    assert rebooted.turning_s == 5


@given(st.lists(st.sampled_from([0.1, 0.45, 0.6, None]), max_size=120))
def test_raised_and_cleared_take_turns_whatever_comes(values: list[float | None]) -> None:
    measures = [NotMeasured("x") if each is None else each for each in values]
    changes, standing = run(P95, *measures)
    turns = [raised for _, raised in changes]
    assert turns == [number % 2 == 0 for number in range(len(turns))]
    assert standing.raised == (len(turns) % 2 == 1)


def test_a_limit_that_is_no_longer_configured_is_forgotten() -> None:
    kept = {"gone": Standing(raised=True), "p95": Standing(raised=True)}
    after, changes = judge_all((P95,), kept, {"ttft_p95": Value(0.6, 100)}, 0, AT)
    assert set(after) == {"p95"}
    assert changes == []


def default(name: str) -> Limit:
    return next(each for each in DEFAULTS if each.name == name)


@pytest.mark.parametrize(
    ("name", "bad", "good", "lasting_s", "level"),
    [
        ("ttft-p95", 0.501, 0.5, 120, "warning"),
        ("ttft-p99", 1.001, 1.0, 120, "critical"),
        ("error-rate", 0.051, 0.05, 300, "critical"),
        ("gpu-busy", 0.91, 0.9, 600, "warning"),
        ("fallback-rate", 0.21, 0.2, 120, "warning"),
        ("confidence", 0.69, 0.7, 120, "warning"),
        ("tls-expiry", 13.9, 14, 0, "warning"),
        ("stalled", 121, 120, 0, "critical"),
    ],
)
def test_the_limits_that_everybody_has(name, bad, good, lasting_s, level) -> None:
    limit = default(name)
    assert (limit.lasting_s, limit.level) == (lasting_s, level)
    rounds = int(lasting_s / 30) + 1
    assert run(limit, *[float(bad)] * (rounds - 1))[0] == []
    assert run(limit, *[float(bad)] * rounds)[0] == [(rounds - 1, True)]
    assert run(limit, *[float(good)] * rounds * 2)[0] == []


def test_H4_each_limit_names_a_metric_that_is_measured_and_its_least_samples() -> None:
    for limit in DEFAULTS:
        assert limit.metric in METRICS
        assert limit.unit == METRICS[limit.metric]
        assert limit.least_samples >= 1
    assert default("ttft-p95").least_samples >= 20
    assert default("ttft-p99").least_samples >= 100


def test_limits_are_changed_switched_off_and_added() -> None:
    configured = {
        "ttft-p95": LimitConfig(above=0.8, lasting="10m", samples=50),
        "gpu-busy": LimitConfig(off=True),
        "queue": LimitConfig(metric="waiting", above=100, clear=50, level="critical"),
        "store gcs": LimitConfig(lasting="1h"),
    }
    found = {each.name: each for each in limits_of(configured, ["store gcs"])}
    assert found["ttft-p95"] == Limit(
        "ttft-p95", "ttft_p95", True, 0.8, 0.8, 600, "warning", 50, "s"
    )
    assert "gpu-busy" not in found
    assert found["queue"] == Limit("queue", "waiting", True, 100, 50, 0, "critical", 1, "")
    assert found["store gcs"].lasting_s == 3600
    assert limits_of({}, []) == DEFAULTS
    assert limits_of({}, ["tree a"])[-1] == failing("tree a")


def test_a_probe_that_fails_takes_the_place_of_no_other_limit() -> None:
    probes = ["gpu", "gateway stats", "tls", "tls llm.example.org", "store gcs", "tree sncp"]
    found = limits_of({}, probes)
    assert len({each.name for each in found}) == len(found) == len(DEFAULTS) + len(probes)


@pytest.mark.parametrize(
    ("name", "wanted", "says"),
    [
        ("mine", LimitConfig(above=1), "not whole"),
        ("mine", LimitConfig(metric="waiting"), "not whole"),
    ],
)
def test_a_limit_that_is_not_whole_is_refused(name: str, wanted: LimitConfig, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        limits_of({name: wanted}, [])


def test_numbers_are_written_for_people() -> None:
    assert shown(0.0512, "share") == "5.12 %"
    assert shown(0.25, "s") == "250 ms"
    assert shown(2.5, "s") == "2.5 s"
    assert shown(0, "s") == "0 s"
    assert shown(12.0, "days") == "12 days"


def test_after_a_reboot_an_alert_that_nobody_can_see_is_dropped_as_well() -> None:
    standing = Standing(raised=True, measured_s=9e6)
    for at_s in range(5, int(FORGOTTEN_AFTER_S) + 65, 30):
        standing, _ = judge(P95, standing, NotMeasured("x"), at_s, AT)
    assert not standing.raised


def test_a_metric_that_is_none_is_refused_in_the_file_with_a_better_one(tmp_path: Path) -> None:
    from drkit.config.load import InvalidDocument, load_config

    text = (Path(__file__).parents[3] / "schedules.yaml").read_text()
    file = tmp_path / "schedules.yaml"
    limits = "{store gcs: {off: true}, queue: {metric: waitin, above: 1}}"
    file.write_text(f"{text}\nalerts: {{limits: {limits}}}\n")
    with pytest.raises(InvalidDocument, match="did you mean `waiting`"):
        load_config(file)
    file.write_text(f"{text}\nalerts: {{limits: {limits.replace('waitin,', 'waiting,')}}}\n")
    assert set(load_config(file).alerts.limits) == {"store gcs", "queue"}


def test_the_good_side_is_the_good_side() -> None:
    with pytest.raises(ValueError, match="good side"):
        LimitConfig(metric="waiting", above=1, clear=2)
    with pytest.raises(ValueError, match="either"):
        LimitConfig(metric="waiting", above=1, below=0)

"""The service table: what moves it, and above all what does not."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drkit.clock import ManualClock
from drkit.config.places import Probe
from drkit.health.interface import (
    Observation,
    ProbeResult,
    ServiceHealth,
    ServiceState,
    Verdict,
)
from drkit.health.memory import observation
from drkit.health.table import TABLE, Signal, advance, signal_of, told

AT = datetime(2026, 1, 1, tzinfo=UTC)
URL = "http://192.0.2.1:8000"
SETTINGS = Probe()
GOOD = observation(URL, "m", "m", ManualClock())
BAD = observation(URL, "m", None, ManualClock())
BUSY = Observation(
    AT,
    URL,
    (
        ProbeResult("liveness", Verdict.PASSED, "200"),
        ProbeResult("completion", Verdict.NOT_MEASURED, "queued"),
        ProbeResult("progress", Verdict.PASSED, "moves"),
    ),
)
BLIND = Observation(AT, URL, ())
UNKNOWN, HEALTHY, SUSPECT, DOWN, RECOVERING, SERVING_TARGET, FAILBACK_READY = ServiceState
KNOWN = ServiceHealth(HEALTHY, ever_healthy=True)


def run(*rounds: Observation, every_s: float = 30, health: ServiceHealth | None = None):
    """The states after each round, the health at the end, and all events."""
    health = health or KNOWN
    states, events = [], []
    for number, each in enumerate(rounds):
        health, said = advance(health, each, number * every_s, SETTINGS)
        states.append(health.state)
        events += said
    return states, health, events


def test_signals() -> None:
    expected = [Signal.GOOD, Signal.BAD, Signal.BUSY, Signal.BLIND]
    assert [signal_of(each) for each in (GOOD, BAD, BUSY, BLIND)] == expected


def test_one_failed_round_is_a_suspicion_that_one_good_round_ends() -> None:
    states, health, events = run(GOOD, BAD, GOOD)
    assert states == [HEALTHY, SUSPECT, HEALTHY]
    assert health.first_failed_at is None
    assert [event.partition(":")[0] for event in events] == [
        "HEALTHY -> SUSPECT",
        "SUSPECT -> HEALTHY",
    ]


def test_the_third_failed_round_in_a_row_is_down_and_remembers_the_first() -> None:
    states, health, events = run(GOOD, BAD, BAD, BAD, BAD)
    assert states == [HEALTHY, SUSPECT, SUSPECT, DOWN, DOWN]
    assert health.first_failed_at == BAD.at
    assert health.first_failed_elapsed_s == 30
    assert "connection refused" in events[-1]


def test_rounds_alone_are_not_enough_without_the_time() -> None:
    states, _, _ = run(GOOD, *[BAD] * 6, every_s=10)
    assert states == [HEALTHY, *[SUSPECT] * 5, DOWN]


def test_down_ends_only_after_good_rounds_in_a_row() -> None:
    before = [GOOD, BAD, BAD, BAD]
    states, health, _ = run(*before, GOOD, GOOD, GOOD, GOOD, BAD, *[GOOD] * 5)
    assert states[4:] == [DOWN] * 9 + [HEALTHY]
    assert health.first_failed_at is None


def test_H3_a_service_never_seen_healthy_is_never_suspected_or_down() -> None:
    states, _, events = run(*[BAD] * 20, health=ServiceHealth())
    assert set(states) == {UNKNOWN}
    assert events == []


def test_H3_a_service_that_is_known_to_have_been_healthy_goes_down_from_unknown() -> None:
    states, _, _ = run(BAD, BAD, BAD, health=ServiceHealth(ever_healthy=True))
    assert states == [SUSPECT, SUSPECT, DOWN]


@pytest.mark.parametrize("state", ServiceState)
def test_H3_blindness_moves_nothing_and_counts_for_nothing(state) -> None:
    health = ServiceHealth(state, failed_rounds=2, ever_healthy=True, first_failed_elapsed_s=0.0)
    after, events = advance(health, BLIND, 1e3, SETTINGS)
    assert events == ()
    assert after == replace(health, blind=True, last_round_elapsed_s=1e3)


def test_H3_failures_seen_by_a_machine_that_is_cut_off_are_blindness() -> None:
    cut_off = ProbeResult("reference", Verdict.FAILED, "no reference host answers")
    assert signal_of(replace(BAD, results=(*BAD.results, cut_off))) is Signal.BLIND
    assert signal_of(replace(GOOD, results=(*GOOD.results, cut_off))) is Signal.GOOD


def test_H1_a_witness_such_as_the_public_name_moves_nothing() -> None:
    name = ProbeResult("public name", Verdict.FAILED, "resolves to another address")
    assert signal_of(replace(GOOD, results=(*GOOD.results, name))) is Signal.GOOD


def test_H3_a_new_service_is_healthy_only_after_some_good_rounds() -> None:
    states, health, _ = run(GOOD, BAD, GOOD, GOOD, GOOD, health=ServiceHealth())
    assert states == [*[UNKNOWN] * 4, HEALTHY]
    assert health.ever_healthy


@pytest.mark.parametrize("gap_s", [-50.0, 3600.0])
def test_a_watcher_that_slept_or_was_booted_anew_begins_a_new_row(gap_s: float) -> None:
    _, health, _ = run(BAD, BAD)
    begun, events = advance(health, BAD, 30 + gap_s, SETTINGS)
    assert (begun.state, begun.failed_rounds, events) == (SUSPECT, 1, ())
    assert begun.first_failed_elapsed_s == 30 + gap_s


def test_three_suspicions_within_half_an_hour_are_flapping_and_pass() -> None:
    _, health, _ = run(*[BAD, GOOD] * 3, every_s=60)
    assert health.flapping
    for number in range(20):
        health, _ = advance(health, GOOD, 360 + 100 * number, SETTINGS)
    assert not health.flapping


def test_a_failover_is_a_way_through_the_same_table() -> None:
    health, said = KNOWN, []
    for signal in (Signal.RUN_BEGAN, Signal.RUN_MOVED):
        health, events = told(health, signal, 0, SETTINGS)
        said += events
    assert health.state is SERVING_TARGET
    assert advance(health, BAD, 10, SETTINGS)[0].state is SERVING_TARGET  # a run watches it
    health, _ = told(health, Signal.RUN_COMMITTED, 10, SETTINGS)
    suspected, _ = advance(health, BAD, 20, SETTINGS)
    assert suspected.state is SUSPECT
    assert advance(suspected, GOOD, 30, SETTINGS)[0].state is SERVING_TARGET
    ready, _ = told(health, Signal.PRIMARY_BACK, 40, SETTINGS)
    assert ready.state is FAILBACK_READY
    back, _ = told(ready, Signal.RUN_BEGAN, 50, SETTINGS)
    assert told(back, Signal.FAILED_BACK, 60, SETTINGS)[0].state is HEALTHY


def test_a_failover_that_was_undone_knows_nothing_until_it_asks() -> None:
    health, _ = told(KNOWN, Signal.RUN_BEGAN, 0, SETTINGS)
    health, _ = told(health, Signal.RUN_UNDONE, 10, SETTINGS)
    assert (health.state, health.home) == (UNKNOWN, HEALTHY)


def test_H3_a_target_that_a_newcomer_only_ever_saw_serve_counts_as_seen_healthy() -> None:
    health = ServiceHealth()
    for signal in (Signal.RUN_BEGAN, Signal.RUN_MOVED, Signal.RUN_COMMITTED):
        health, _ = told(health, signal, 0, SETTINGS)
    _, briefly, _ = run(GOOD, GOOD, BAD, health=health)
    assert not briefly.ever_healthy
    states, known, _ = run(*[GOOD] * 3, *[BAD] * 3, health=health)
    assert known.ever_healthy
    assert states[-1] is DOWN


def test_every_state_has_a_way_out() -> None:
    assert {state for state, _ in TABLE} == set(ServiceState)


def test_H2_a_full_queue_is_no_outage_however_long_it_lasts() -> None:
    states, _, _ = run(GOOD, *[BUSY] * 20)
    assert set(states) == {HEALTHY}


def test_H2_tokens_that_still_come_end_a_row_of_failures() -> None:
    states, _, _ = run(GOOD, BAD, BAD, BUSY, BAD, BAD, BAD)
    assert states == [HEALTHY, *[SUSPECT] * 5, DOWN]


def test_H5_a_round_answered_by_another_model_is_a_failed_one() -> None:
    fallback = observation(URL, "m", "external", ManualClock())
    states, _, events = run(GOOD, fallback, fallback, fallback)
    assert states[-1] is DOWN
    assert "external" in events[-1]


ROUNDS = st.lists(
    st.tuples(st.sampled_from([GOOD, BAD, BUSY, BLIND]), st.floats(0, 120)), max_size=60
)


@given(ROUNDS, st.booleans(), st.integers(2, 6), st.integers(0, 300))
def test_down_always_follows_enough_failed_rounds_in_a_row_over_enough_time(
    rounds, ever_healthy, down_after, down_after_s
) -> None:
    settings = Probe(down_after=down_after, down_after_s=f"{down_after_s}s")
    health, now_s = ServiceHealth(ever_healthy=ever_healthy), 0.0
    healthy_once = ever_healthy
    row: list[float] = []
    for each, pause_s in rounds:
        now_s += pause_s
        signal = signal_of(each)
        if signal is Signal.BAD:
            row.append(now_s)
        elif signal is not Signal.BLIND:
            row = []
        was = health.state
        health, events = advance(health, each, now_s, settings)
        assert bool(events) == (health.state is not was)
        if health.state is DOWN and was is not DOWN:
            assert was is SUSPECT
            assert healthy_once
            assert len(row) >= down_after
            assert now_s - row[0] >= down_after_s
        healthy_once = healthy_once or health.state is HEALTHY
        assert (health.state is SUSPECT or health.state is DOWN) <= healthy_once


@given(ROUNDS)
def test_an_outage_has_a_beginning_as_long_as_it_lasts(rounds) -> None:
    health, now_s = ServiceHealth(ever_healthy=True), 0.0
    for each, pause_s in rounds:
        now_s += pause_s
        health, _ = advance(health, each, now_s, SETTINGS)
        assert (health.first_failed_at is None) == (health.first_failed_elapsed_s is None)
        if health.state is DOWN:
            assert health.first_failed_at is not None
        if health.state is HEALTHY:
            assert health.first_failed_at is None
            assert health.failed_rounds == 0


def test_the_table_names_only_moves_that_change_the_state() -> None:
    assert all(row.to is not state for (state, _), row in TABLE.items())


AROUND = ("tls llm.example.org", "store gcs", "qdrant q", "provider lambda", "tree sncp", "gpu")


@pytest.mark.parametrize("round_", [GOOD, BAD, BUSY, BLIND], ids=["good", "bad", "busy", "blind"])
@pytest.mark.parametrize("verdict", Verdict)
def test_H1_what_lies_around_the_server_moves_no_state(round_: Observation, verdict) -> None:
    around = tuple(ProbeResult(name, verdict, "") for name in AROUND)
    seen = replace(round_, results=(*round_.results, *around))
    assert signal_of(seen) is signal_of(round_)
    assert seen.alive == round_.alive

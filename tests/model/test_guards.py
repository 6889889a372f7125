"""Each guard is taken away from the very code that runs; the model then finds its rule broken.

The way to it, the shortest there is, is printed (`pytest -s`).
"""

from __future__ import annotations

from typing import Any

import pytest
from failover_model.guards import Guards
from failover_model.parts import Bounds
from failover_model.search import Found, search

from drkit.coordination import arbiter, decision, rules
from drkit.health import table
from drkit.runs import guard, lease, states
from drkit.runs.actions import money, pointing
from drkit.runs.book import graph
from drkit.runs.journal import opening
from drkit.runs.records import StepState
from drkit.wiring import watch

NOTHING = Bounds(falls=0, returns=0, faults=0, acts=1, crashes=(0, 0), stalls=0, blinks=0, longs=0)
MOST_STATES = 400_000


def few(**more: Any) -> Bounds:
    """Nothing goes wrong but `more`, in one run that an operator types."""
    values = {name: getattr(NOTHING, name) for name in Bounds.__dataclass_fields__}
    return Bounds(**{**values, "runs": 1, **more})


def broken(bounds: Bounds, rule: str) -> Found:
    found = search(bounds, most_states=MOST_STATES)
    print(f"\n{found}")
    assert found.broken is not None, "the guard is gone, and nothing was found"
    assert found.broken.rule == rule
    assert found.trace
    return found


def test_R1_without_asking_the_arbiter_effects_are_sent_that_it_never_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease.KeptLease, "prove", lambda self, _run, _epoch: self._lease)
    broken(few(faults=1), "R1")


def test_R1_a_lease_that_is_somebody_elses_gives_no_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard.StepGuard, "check", lambda _self: None)
    broken(few(stalls=1, shared=False, runs=2, acts=2), "R1")


def test_R2_a_watch_that_does_not_read_the_role_probes_who_served_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ignorant(app: Any, _seen: Any = None) -> tuple[str, Any]:
        return app.config.service.primary, app.primary

    monkeypatch.setattr(watch, "serving", ignorant)
    broken(few(), "R2")


def test_R4_without_the_unique_index_two_runs_of_a_service_are_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Guards, "one_at_a_time", False)
    broken(few(acts=2, runs=2), "R4")


def test_R4_a_pause_that_is_not_read_in_the_opening_transaction_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "against", lambda _standing, _settings: ((), ()))
    monkeypatch.setattr(decision, "blocks", lambda facts: () if facts.down else ("well",))
    broken(few(falls=1, acts=2, typed=False), "R4")


def test_R4_a_cooldown_that_is_not_read_in_the_opening_transaction_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "against", lambda _standing, _settings: ((), ()))
    monkeypatch.setattr(decision, "unattended_blocks", lambda _facts, _settings: ())
    broken(few(mode="auto", falls=1, faults=1, runs=2, acts=0), "R4")


def test_R5_a_call_that_did_not_return_and_counts_as_failed_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = {**states.STEP_TABLE, (StepState.INTENT, "unknown"): StepState.FAILED}
    monkeypatch.setattr(states, "STEP_TABLE", rows)
    broken(few(faults=1), "R5")


def test_R5_a_process_whose_claim_another_took_goes_on_unless_it_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def check(self: Any) -> None:
        self._lease.prove(self._run_id, self._proved_epoch)

    monkeypatch.setattr(guard.StepGuard, "check", check)
    monkeypatch.setattr(lease.KeptLease, "_again", lease.KeptLease._acquire)
    broken(few(stalls=1, acts=2, slow=True), "R5")


def test_R5_without_a_look_a_second_machine_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guards, "looks", lambda *_: False)
    broken(few(crashes=(1, 0)), "R5")


def test_R8_without_the_age_of_the_proof_users_are_led_to_what_was_proven_long_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pointing, "fresh", lambda _proved_at, _now: True)
    broken(few(longs=1), "R8")


def test_R9_a_machine_that_is_not_recorded_before_it_is_requested_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(money, "record_paid", lambda *_: None)
    broken(few(), "R9")


def test_R12_an_order_that_is_not_the_reverse_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    in_reverse = graph.began_in_reverse
    monkeypatch.setattr(graph, "began_in_reverse", lambda *args: in_reverse(*args)[::-1])
    broken(few(faults=1), "R12")


def test_R12_a_step_that_is_left_out_of_the_rollback_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_reverse = graph.began_in_reverse
    monkeypatch.setattr(graph, "began_in_reverse", lambda *args: in_reverse(*args)[1:])
    broken(few(faults=1), "R12")


def test_T1_a_waiter_that_does_not_count_by_itself_takes_a_lease_too_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arbiter, "left_s", lambda _sightings, _lease, _now_s: 0.0)
    broken(few(), "T1")


def test_T1_a_lease_that_is_given_to_whoever_asks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def acquired(state: Any, wanted: Any, *, left_s: float) -> Any:
        return rules.ServiceState(wanted, state.role)

    monkeypatch.setattr(arbiter, "acquired", acquired)
    broken(few(), "T1")


def test_T3_without_the_wait_after_a_takeover_a_late_request_comes_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease.KeptLease, "outwait", lambda _self: None)
    broken(few(shared=False, acts=2, runs=2, crashes=(1, 0)), "T3")


def test_T3_without_the_wait_after_a_death_on_the_same_machine_a_late_request_comes_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(states, "under_way", lambda _entries: False)
    broken(few(crashes=(1, 0)), "T3")


def test_T3_a_lease_that_is_given_back_too_soon_lets_a_late_request_come_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def give_back(self: Any) -> None:
        if self._lease is not None:
            self._arbiter.release(self._lease)

    monkeypatch.setattr(lease.KeptLease, "_give_back", give_back)
    broken(few(shared=False, acts=3, runs=2), "T3")


def test_T3_a_lease_that_another_held_meanwhile_is_not_simply_taken_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease.KeptLease, "_again", lease.KeptLease._acquire)
    broken(few(shared=False, acts=2, runs=2, stalls=1, crashes=(1, 0)), "T3")


def test_H3_with_one_vantage_point_nothing_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "unattended_blocks", lambda _facts, _settings: ())
    broken(few(mode="auto", blinks=1, acts=0), "H3")


def test_H3_what_was_to_go_alone_is_weighed_again_before_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = (decision.DecisionState.APPROVED, decision.DecisionEvent.WEIGHED)
    monkeypatch.setattr(decision, "TABLE", {**decision.TABLE, key: decision.TABLE[key][:1]})
    broken(few(mode="auto", falls=1, returns=1, acts=0), "H3")


def test_H3_a_service_never_seen_healthy_is_not_failed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    down = {**table.TABLE}
    for key, row in table.TABLE.items():
        if row.guard is table.seen_healthy:
            down[key] = table.Row(row.to, table.always)
    monkeypatch.setattr(table, "TABLE", down)
    monkeypatch.setattr(decision, "blocks", lambda facts: () if facts.down else ("well",))
    broken(few(mode="auto", known=False, acts=0), "H3")


def test_a_state_without_a_handler_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = dict(states.RUN_TABLE)
    del rows[(states.RunState.ROLLING_BACK, states.RunEvent.STUCK)]
    monkeypatch.setattr(states, "RUN_TABLE", rows)
    broken(few(faults=2), "handler")


def test_a_dead_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "finished", lambda _plan, _steps: False)
    found = search(few(), graph=True)
    assert found.broken is not None
    assert found.broken.rule == "dead end"

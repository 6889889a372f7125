"""Whether a service that is DOWN is failed over: what acts, what asks, and what never does."""

from dataclasses import replace
from pathlib import Path

import pytest
from decision_facts import OUTAGE
from hypothesis import given
from hypothesis import strategies as st

from drkit.clock import ManualClock
from drkit.config.decide import Decide
from drkit.coordination.decision import (
    TABLE,
    Decision,
    DecisionEvent,
    DecisionState,
    Facts,
    blocks,
    decide,
    may_hold,
    unattended_blocks,
)
from drkit.coordination.decisions import Decisions
from drkit.state.database import open_database

S, E = DecisionState, DecisionEvent
AUTO, APPROVE, OBSERVE = (Decide(mode=mode) for mode in ("auto", "approve", "observe"))


def after(
    *events: DecisionEvent,
    facts: Facts = OUTAGE,
    settings: Decide = APPROVE,
    now_s: float = 0,
    decision: Decision | None = None,
) -> Decision:
    decision = decision or Decision()
    for event in events:
        decision = decide(decision, event, facts, now_s, settings, by="ada")
    return decision


def test_by_default_a_person_is_asked_and_the_run_follows() -> None:
    asked = after(E.WEIGHED)
    assert asked.state is S.WAIT_APPROVAL
    approved = after(E.APPROVE, decision=asked)
    assert (approved.state, approved.by) == (S.APPROVED, "ada")
    started = decide(approved, E.STARTED, OUTAGE, 0, APPROVE)
    assert (started.state, started.by) == (S.RUN, "ada")


def test_a_mode_that_observes_says_what_it_would_have_done_and_waits_for_a_person() -> None:
    seen = after(E.WEIGHED, E.WEIGHED, settings=OBSERVE)
    assert seen.state is S.OBSERVED
    assert after(E.APPROVE, decision=seen, settings=OBSERVE).state is S.APPROVED


def test_auto_acts_alone_with_two_witnesses_and_a_proven_standby() -> None:
    decision = decide(Decision(), E.WEIGHED, OUTAGE, 0, AUTO)
    assert (decision.state, decision.by) == (S.APPROVED, "auto")
    assert decide(decision, E.WEIGHED, OUTAGE, 30, AUTO) == decision
    started = decide(decision, E.STARTED, OUTAGE, 60, AUTO)
    assert (started.state, started.by) == (S.RUN, "auto")


NOT_ALONE = {
    "mode": {},
    "one vantage point": {"seeing": 1, "seen_down": 1},
    "the others see it well": {"seen_down": 1},
    "flapping": {"flapping": True},
    "no standby": {"standby_proof_age_s": None},
    "an old proof": {"standby_proof_age_s": 601.0},
    "cooldown": {"cooldown_left_s": 1.0},
    "a second one today": {"unattended_last_day": 1},
    "a third one this week": {"unattended_last_week": 2},
    "a runbook that costs money": {"asks_a_person": ("`acquire` costs money",)},
}


@pytest.mark.parametrize("why", NOT_ALONE)
def test_H3_auto_asks_instead_when(why: str) -> None:
    settings = APPROVE if why == "mode" else AUTO
    facts = replace(OUTAGE, **NOT_ALONE[why])
    assert after(E.WEIGHED, facts=facts, settings=settings).state is S.WAIT_APPROVAL
    assert len(unattended_blocks(facts, settings)) >= 1


BLOCKED = {
    "down": False,
    "ever_healthy": False,
    "answers": True,
    "blind": True,
    "arbiter_reachable": False,
    "leads": False,
    "paused": True,
    "open_run": True,
}


@pytest.mark.parametrize("fact", BLOCKED)
def test_what_blocks_is_named_and_blocks_an_approval_too(fact: str) -> None:
    facts = replace(OUTAGE, **{fact: BLOCKED[fact]})
    blocked = after(E.WEIGHED, facts=facts, settings=AUTO)
    assert blocked.state is S.BLOCKED
    assert len(blocked.reasons) == 1
    asked = after(E.WEIGHED)
    refused = after(E.APPROVE, decision=asked, facts=facts)
    assert (refused.state, refused.reasons) == (S.WAIT_APPROVAL, blocked.reasons)
    approved = after(E.WEIGHED, E.APPROVE)
    assert after(E.STARTED, decision=approved, facts=facts).state is S.APPROVED
    lapsed = after(E.WEIGHED, decision=approved, facts=facts)
    assert (lapsed.state, lapsed.by) == (S.BLOCKED, None)
    assert after(E.WEIGHED, decision=lapsed).state is S.WAIT_APPROVAL


def test_an_approval_that_nobody_gives_expires_and_is_never_given_by_itself() -> None:
    asked = after(E.WEIGHED)
    assert after(E.WEIGHED, decision=asked, now_s=900).state is S.WAIT_APPROVAL
    assert after(E.WEIGHED, decision=asked, now_s=901).state is S.EXPIRED


def test_a_service_that_is_well_again_withdraws_the_decision_until_the_fence_began() -> None:
    asked = after(E.WEIGHED)
    assert after(E.RECOVERED, decision=asked).state is S.WITHDRAWN
    approved = after(E.APPROVE, decision=asked)
    assert after(E.RECOVERED, decision=approved).state is S.WITHDRAWN
    begun = replace(OUTAGE, fence_began=True)
    assert after(E.RECOVERED, decision=approved, facts=begun).state is S.APPROVED


def test_H3_users_are_held_on_one_vantage_point_that_sees_beyond_itself() -> None:
    alone = replace(OUTAGE, seeing=1, seen_down=1, flapping=True, standby_proof_age_s=None)
    assert may_hold(alone, OBSERVE)
    assert not may_hold(alone, Decide(protect="off"))
    for fact in set(BLOCKED) - {"open_run"}:
        assert not may_hold(replace(alone, **{fact: BLOCKED[fact]}), APPROVE), fact


def test_what_ended_stays_ended() -> None:
    for state in S:
        if state.ended:
            assert not [key for key in TABLE if key[0] is state]
        else:
            assert [key for key in TABLE if key[0] is state]


FACTS = st.builds(
    Facts,
    down=st.booleans(),
    ever_healthy=st.booleans(),
    answers=st.booleans(),
    blind=st.booleans(),
    flapping=st.booleans(),
    seen_down=st.integers(0, 3),
    seeing=st.integers(0, 3),
    leads=st.booleans(),
    arbiter_reachable=st.booleans(),
    paused=st.booleans(),
    open_run=st.booleans(),
    cooldown_left_s=st.sampled_from([0.0, 5.0]),
    unattended_last_day=st.integers(0, 2),
    unattended_last_week=st.integers(0, 3),
    standby_proof_age_s=st.sampled_from([None, 1.0, 601.0]),
    fence_began=st.booleans(),
)


@given(
    st.lists(st.tuples(st.sampled_from(E), FACTS, st.integers(0, 600)), max_size=30),
    st.sampled_from([AUTO, APPROVE, OBSERVE]),
)
def test_no_run_without_a_word_for_it_or_against_a_block(steps, settings: Decide) -> None:
    decision, now_s = Decision(), 0.0
    for event, facts, pause_s in steps:
        now_s += pause_s
        was = decision
        by = "ada" if event is E.APPROVE else None
        decision = decide(decision, event, facts, now_s, settings, by=by)
        if decision.state is S.RUN and was.state is not S.RUN:
            assert was.state is S.APPROVED
            assert not blocks(facts)
        if decision.state is S.APPROVED and was.state is not S.APPROVED:
            assert not blocks(facts)
            if event is E.APPROVE:
                assert decision.by == "ada"
            else:
                assert decision.by == "auto"
                assert not unattended_blocks(facts, settings)
        if was.state.ended:
            assert decision == was


def test_H3_what_was_to_go_alone_asks_when_a_second_vantage_point_no_longer_says_down() -> None:
    alone = decide(Decision(), E.WEIGHED, OUTAGE, 0, AUTO)
    unsure = replace(OUTAGE, seen_down=1)
    asked = decide(alone, E.WEIGHED, unsure, 0, AUTO)
    assert (asked.state, asked.by) == (S.WAIT_APPROVAL, None)
    assert decide(alone, E.STARTED, unsure, 0, AUTO).state is S.APPROVED
    by_hand = decide(asked, E.APPROVE, unsure, 0, AUTO, by="ada")
    assert decide(by_hand, E.WEIGHED, unsure, 0, AUTO).state is S.APPROVED
    assert decide(by_hand, E.STARTED, unsure, 0, AUTO).state is S.RUN


def test_an_approval_is_waited_for_by_the_clock_of_whoever_weighs(tmp_path: Path) -> None:
    """What another machine timed may lie ahead of this one's clock: it is counted anew, once."""
    clock, here = ManualClock(), ManualClock()
    clock.advance(10_000)
    database = open_database(tmp_path / "state.sqlite", clock=clock)

    def weighed(clock: ManualClock) -> DecisionState:
        _, after = Decisions(database, "chat", clock).weigh(E.WEIGHED, OUTAGE, APPROVE)
        assert after is not None
        return after.decision.state

    assert weighed(clock) is S.WAIT_APPROVAL
    assert weighed(here) is S.WAIT_APPROVAL
    for _ in range(9):
        here.advance(100)
        assert weighed(here) is S.WAIT_APPROVAL
    here.advance(1)
    assert weighed(here) is S.EXPIRED

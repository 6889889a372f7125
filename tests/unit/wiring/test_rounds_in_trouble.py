"""What follows from a round while the arbiter, the state or another machine is away or wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from round_scene import HOME, RUNBOOK, Make, answers, facts, planning, raises

from drkit.cli.runs.acting import unless_open_elsewhere
from drkit.cli.runs.running import plan_run
from drkit.coordination.decision import DecisionEvent, DecisionState
from drkit.coordination.leadership import LeaderPass, watch_key
from drkit.coordination.memory import MemoryArbiter
from drkit.errors import NeedsOperator
from drkit.health.interface import ServiceState
from drkit.operations.status.service_status import not_auto
from drkit.operations.watch.decide import pause
from drkit.runs.journal.opening import Opener, Right
from drkit.runs.records import RunState
from drkit.state.database import StateUnavailable
from drkit.wiring import App, watch
from drkit.wiring.run import open_journal
from drkit.wiring.watch import open_decisions, open_health_log, seen_health


@pytest.mark.parametrize(
    ("book", "change", "why"),
    [
        ("primary-gpu-down", ("", ""), "`acquire` costs money"),
        (
            "switch-to-standby",
            ("    action: cutover\n", "    action: cutover\n    approval: operator\n"),
            "`cutover` waits for an operator's approval",
        ),
        ("switch-to-standby", ("action: cutover", "action: buy"), "cannot be read"),
    ],
)
def test_R10_nobodys_word_buys_nothing_and_passes_over_nobody(
    scene: Make, tmp_path: Path, book: str, change: tuple[str, str], why: str
) -> None:
    made = scene()
    text = RUNBOOK.with_name(f"{book}.yaml").read_text().replace("lambda", "gpu")
    (tmp_path / "runbooks" / "down.yaml").write_text(text.replace(*change) if change[0] else text)
    made.die()
    made.round()
    assert (made.runs(), made.started) == ([], [])
    assert made.decided() is DecisionState.WAIT_APPROVAL
    health = watch.seen_health(made.app)
    facts = watch.read_facts(made.app, health, leads=True, arbiter_reachable=True)
    assert any(why in reason for reason in not_auto(facts, made.app.config.decide))


def test_T3_a_command_that_was_killed_is_waited_for_and_the_next_ones_lead_again(
    scene: Make,
) -> None:
    made = scene({"mode": "approve", "runbook": "down"})
    made.app.arbiter.acquire(watch_key("assistant"), "a/probe-1", ttl_s=120)  # and it died
    made.die()
    waited_s, began_s = 0.0, made.clock.elapsed_s()
    while not made.gateway.read().held:
        waited_s = made.clock.elapsed_s() - began_s
        made.round()
    assert made.clock.elapsed_s() >= 180
    assert waited_s < 180
    made.prober.set(HOME, "m")
    for _ in range(5):  # each round is a command of its own, and gives the lease back
        _, followed = made.round()
        assert followed.not_led is None
    assert not made.gateway.read().held
    assert made.app.arbiter.holding(watch_key("assistant")) is None


def test_T3_a_leader_that_took_over_holds_and_opens_nothing_before_its_time(scene: Make) -> None:
    made = scene()
    made.app.arbiter.acquire(watch_key("assistant"), "me", ttl_s=3600)
    free_from_s = made.clock.elapsed_s() + 600
    made.led_by(LeaderPass("me", free_from_s).environment())
    made.die()
    made.round()
    assert not made.gateway.read().held
    assert made.runs() == []
    assert made.decided() is DecisionState.APPROVED
    while not made.runs():
        made.round()
    assert made.clock.elapsed_s() >= free_from_s
    assert made.clock.elapsed_s() < free_from_s + 60
    assert made.gateway.read().held


def test_R1_while_the_arbiter_is_away_the_last_role_is_watched_and_nothing_is_done(
    scene: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scene()
    for _ in range(3):
        made.round()
    made.lose_arbiter()
    made.prober.set(HOME, None)
    watched, followed = made.round()
    assert (watched.site, watched.health.state) == ("gpu", ServiceState.DOWN)
    assert followed.not_led == "the arbiter is away"
    assert not made.gateway.read().held
    assert made.decided() is DecisionState.BLOCKED
    assert made.runs() == []
    assert [change.after for change in open_health_log(made.app).recent()][:2] == [
        "DOWN",
        "SUSPECT",
    ]


def test_R1_without_state_and_arbiter_a_round_is_made_all_the_same(
    scene: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scene()
    for _ in range(3):
        made.round()
    made.app.database.close()
    del made.app.__dict__["database"]
    gone = StateUnavailable("the database does not answer", hint="")
    monkeypatch.setattr("drkit.state.database.open_database", raises(gone))
    made.lose_arbiter()
    made.prober.set(HOME, None)
    watched, followed = made.round()
    assert (watched.site, watched.health.state) == ("gpu", ServiceState.DOWN)
    assert followed.not_led == "the database does not answer"
    assert not made.gateway.read().held


def test_R4_a_pause_that_comes_between_looking_and_opening_is_seen(
    scene: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scene()
    real = watch.decided_target

    def meanwhile(app: App) -> str:
        now = made.clock.now()
        until = now + timedelta(hours=1)
        pause(app.database, "assistant", until=until, now=now, by="ada", why="work")
        return real(app)

    made.monkeypatch.setattr("drkit.cli.runs.running.plan_run", planning(made, meanwhile))
    made.die()
    assert (made.runs(), made.started) == ([], [])
    assert "paused" in made.said()
    made.round()
    assert made.decided() is DecisionState.BLOCKED


def test_R4_a_run_that_another_machine_left_open_is_known_from_the_stores(scene: Make) -> None:
    made = scene()
    made.die()
    (run,) = made.runs()
    other = replace(run, machine="another", id=f"{run.id}-x")
    for ended in (False, True):
        known = replace(other, state=RunState.COMMITTED) if ended else other
        made.monkeypatch.setattr("drkit.wiring.run.runs_in_stores", answers([run, known]))
        if ended:
            unless_open_elsewhere(made.app)
        else:
            with pytest.raises(NeedsOperator, match="of another is open in the stores"):
                unless_open_elsewhere(made.app)


def test_a_run_that_is_open_elsewhere_keeps_auto_from_opening_another(scene: Make) -> None:
    made = scene()
    error = NeedsOperator("failover x of another is open in the stores", hint="")
    made.monkeypatch.setattr("drkit.wiring.run.runs_in_stores", raises(error))
    made.die()
    assert (made.runs(), made.started) == ([], [])
    assert "open in the stores" in made.said()


def test_a_process_that_dies_again_and_again_is_left_to_a_person(scene: Make) -> None:
    made = scene()
    made.die()
    (run,) = made.runs()
    journal = open_journal(made.app)
    for _ in range(3):
        journal.claim(run.id)
        journal.append(run.id, "resumed", payload={"pid": 1, "unknown": []})
        journal.release(run.id)
    made.started.clear()
    made.round()
    assert made.started == []
    assert "died 3 times" in made.said()


def test_T1_with_a_clock_that_is_wrong_no_run_is_opened(scene: Make) -> None:
    made = scene()
    made.monkeypatch.setattr(made.app, "arbiter", MemoryArbiter(made.clock))
    for _ in range(3):
        made.round()
    made.clock.advance(601)  # the clock is asked anew
    made.app.arbiter.acquire(watch_key("assistant"), "me", ttl_s=3600)
    made.led_by(LeaderPass("me").environment())
    made.app.arbiter.place.skew = 400.0  # type: ignore[attr-defined]
    made.clock.advance(601)
    for _ in range(3):
        made.round()
    made.prober.set(HOME, None)
    made.round()
    assert made.decided() is DecisionState.APPROVED
    assert (made.runs(), made.started) == ([], [])
    assert "clock" in made.said()


def test_R4_a_decision_that_is_withdrawn_meanwhile_opens_nothing(scene: Make) -> None:
    made = scene({"mode": "approve", "runbook": "down"})
    made.die()
    record = open_decisions(made.app).open()
    assert record is not None
    plan = plan_run(made.app, "down", kind="failover", target="spare")
    opener = Opener("ada", Right.APPROVED, made.app.config.decide, record.id)
    for state in ("WAIT_APPROVAL", "WITHDRAWN"):
        if state == "WITHDRAWN":
            made.prober.set(HOME, "m")
            for _ in range(6):
                made.round()
        with pytest.raises(NeedsOperator, match=f"is {state} by now"):
            open_journal(made.app).open_run(plan, sandbox=False, opener=opener)
    assert made.runs() == []


def test_an_approval_ends_in_its_run_as_one_step(scene: Make) -> None:
    made = scene({"mode": "approve", "runbook": "down"})
    made.die()
    decisions, settings = open_decisions(made.app), made.app.config.decide
    health = seen_health(made.app)
    facts = watch.read_facts(made.app, health, leads=True, arbiter_reachable=True)
    approved = decisions.approve(facts, settings, by="ada")
    opener = Opener("ada", Right.APPROVED, settings, approved.id)
    plan = plan_run(made.app, "down", kind="failover", target="spare")
    run = open_journal(made.app).open_run(plan, sandbox=False, opener=opener)
    assert decisions.open() is None
    assert not run.unattended
    with pytest.raises(NeedsOperator, match="open failover"):
        open_journal(made.app).open_run(plan, sandbox=False, opener=opener)


def test_another_machines_count_of_an_approvals_wait_is_not_gone_by(scene: Make) -> None:
    made = scene({"mode": "approve", "runbook": "down"})
    made.clock._elapsed_s = 1e6  # a machine that has run for long
    made.die()
    made.clock._elapsed_s = 5.0  # another one leads, which was started just now
    open_decisions(made.app).weigh(DecisionEvent.WEIGHED, facts(made), made.app.config.decide)
    made.clock._elapsed_s += 901
    open_decisions(made.app).weigh(DecisionEvent.WEIGHED, facts(made), made.app.config.decide)
    assert made.decided() is None  # it expired, and is asked anew

"""What follows from a round, on a real deployment: done by the leader alone, and only if it may."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drkit.cli import following
from drkit.cli.acting import unless_open_elsewhere
from drkit.cli.after_round import Followed, follow
from drkit.cli.running import plan_run
from drkit.coordination.decision import DecisionEvent, DecisionState
from drkit.coordination.interface import ArbiterUnreachable, RoleRecord
from drkit.coordination.leadership import STANDING_BY, LeaderPass, watch_key
from drkit.coordination.memory import MemoryArbiter
from drkit.errors import NeedsOperator
from drkit.events import Note
from drkit.health.interface import ServiceState
from drkit.health.memory import MemoryProber
from drkit.health.witness import Heard, Voice
from drkit.operations.decide import decided_runbook, decided_target, lacks_for_auto, pause
from drkit.operations.service_status import not_auto
from drkit.operations.watch import Watched
from drkit.runs.opening import Opener, Right
from drkit.runs.records import EXTERNAL, RunState
from drkit.state.audit import AuditLog
from drkit.state.database import StateUnavailable
from drkit.traffic.interface import Setting
from drkit.traffic.memory import MemorySwitch
from drkit.wiring import App, watch, witness
from drkit.wiring.run import open_journal
from drkit.wiring.watch import make_round, open_decisions, open_health_log, seen_health

HOME, SPARE = "http://127.0.0.1:8000", "http://127.0.0.9:8000"
RUNBOOK = Path(__file__).parents[3] / "runbooks" / "switch-to-standby.yaml"
GPU = {"kind": "local", "path": "gpu", "host": "127.0.0.1", "argv": ["serve"]}
AUTO = {"mode": "auto", "runbook": "down"}


class Scene:
    """A deployment whose rounds are commands of their own; `started` are the runs' processes."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app = app
        self.clock: Any = app.clock
        self.prober = MemoryProber(self.clock)
        self.prober.set(HOME, "m")
        self.prober.set(SPARE, "m")
        app.__dict__["prober"] = self.prober
        self.gateway = MemorySwitch("gateway", setting=Setting(False, HOME))
        self.started: list[str] = []
        self.voices = [Voice.DOWN]
        monkeypatch.setattr(app, "switches", lambda _namespace: (self.gateway,))
        monkeypatch.setattr(watch, "reach", lambda _hosts: _passed())
        monkeypatch.setattr(
            witness,
            "hear_witnesses",
            lambda _app, _site: tuple(Heard("w", voice, "") for voice in self.voices),
        )
        monkeypatch.setattr(
            following, "start_process", lambda _app, _config, run_id: self.started.append(run_id)
        )
        monkeypatch.setattr("drkit.wiring.run.runs_in_stores", _answers([]))
        self.session: Any = SimpleNamespace(config_path=Path("schedules.yaml"))
        self.monkeypatch = monkeypatch

    def round(self) -> tuple[Watched, Followed]:
        self.clock.advance(30)
        role, watched = make_round(self.app)
        return watched, follow(self.session, self.app, watched, role)

    def die(self) -> Followed:
        """Seen well, then dead until it is DOWN."""
        for _ in range(3):
            self.round()
        self.prober.set(HOME, None)
        watched, followed = self.round()
        assert watched.health.state is ServiceState.DOWN
        return followed

    def decided(self) -> DecisionState | None:
        record = open_decisions(self.app).open()
        return record.decision.state if record else None

    def runs(self) -> list[Any]:
        return open_journal(self.app).runs()

    def led_by(self, given: dict[str, str]) -> None:
        for name, value in given.items():
            self.monkeypatch.setenv(name, value)

    def said(self) -> str:
        events = self.app.emit.__self__  # type: ignore[attr-defined]
        return "\n".join(event.text for event in events if isinstance(event, Note))


def _passed() -> Any:
    from drkit.health.interface import ProbeResult, Verdict

    return ProbeResult("reference", Verdict.PASSED, "")


Make = Callable[..., Scene]


@pytest.fixture
def scene(open_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    shutil.copy(RUNBOOK, tmp_path / "runbooks" / "down.yaml")
    text = (tmp_path / "runbooks" / "down.yaml").read_text()
    (tmp_path / "runbooks" / "down.yaml").write_text(text.replace("lambda", "gpu"))
    monkeypatch.delenv("DRKIT_LEADER", raising=False)

    def make(decide: dict[str, Any] | None = None, **target: Any) -> Scene:
        spare = {"provider": GPU, "candidates": [{"gpu": "L40", "max_usd_per_hour": 1}]}
        spare |= {"standby": True, "endpoint": SPARE, **target}
        spare["limits"] = {"usd_per_hour": 2, "usd_per_run": 5}
        service = {"name": "assistant", "model": "m", "weights": "model", "primary": "gpu"}
        service["external"] = {"model": "ext"}  # type: ignore[assignment]
        app = open_app(service=service, targets={"spare": spare}, decide=decide or AUTO)
        return Scene(app, monkeypatch)

    return make


def test_in_mode_auto_the_run_is_opened_once_and_its_process_started(scene: Make) -> None:
    made = scene()
    followed = made.die()
    assert made.gateway.read().held
    (run,) = made.runs()
    assert followed.run_id == run.id
    assert (run.unattended, run.target, run.state) == (True, "spare", RunState.PLANNED)
    assert run.first_failed_probe_at is not None
    assert made.started == [run.id]
    assert made.decided() is None
    for _ in range(2):  # its process did not begin: it is started again, and no other is opened
        made.round()
    assert [each.id for each in made.runs()] == [run.id]
    assert set(made.started) == {run.id}
    rows = [row.what for row in AuditLog(made.app.database, made.clock).entries()]
    assert rows[:3] == ["hold: holding", "hold: held", "run failover"]


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


def test_what_a_decision_carries_out_depends_on_the_mode_and_on_a_standby(scene: Make) -> None:
    def decided(decide: dict[str, Any], **target: Any) -> tuple[str, str | None]:
        config = scene({**decide, "reference_hosts": ["127.0.0.1:1"]}, **target).app.config
        return decided_runbook(config), decided_target(config)

    assert decided({"mode": "auto"}) == ("switch-to-standby", "spare")
    assert decided({"mode": "auto", "to": "spare"}) == ("switch-to-standby", "spare")
    assert decided({"mode": "auto"}, standby=False) == ("primary-gpu-down", "spare")
    assert decided({"mode": "approve"}) == ("primary-gpu-down", "spare")
    assert decided({"mode": "auto", "runbook": "mine"}) == ("mine", "spare")


def test_what_auto_can_never_do_without_is_said_of_the_configuration(scene: Make) -> None:
    witnesses = {
        "far": {
            "url": "https://witness.example.org",
            "token": "env:T",
            "verifying_key": f"ed25519:{'A' * 43}=",
        }
    }
    assert lacks_for_auto(scene({**AUTO, "witnesses": witnesses}).app.config) == ()
    bare = scene(AUTO, standby=False).app.config
    assert lacks_for_auto(bare) == ("no witness is configured", "spare is no warm standby")
    assert lacks_for_auto(scene({"mode": "approve"}, standby=False).app.config) == ()


@pytest.mark.parametrize(
    ("decide", "state"),
    [
        ({"mode": "approve", "runbook": "down"}, DecisionState.WAIT_APPROVAL),
        ({"mode": "observe", "runbook": "down"}, DecisionState.OBSERVED),
    ],
)
def test_in_other_modes_users_are_held_and_nothing_is_opened(
    scene: Make, decide: dict[str, Any], state: DecisionState
) -> None:
    made = scene(decide)
    made.die()
    made.round()
    assert made.gateway.read().held
    assert made.decided() is state
    assert (made.runs(), made.started) == ([], [])


def test_H3_without_a_second_voice_or_a_standby_that_passes_a_person_is_asked(
    scene: Make,
) -> None:
    for why in ("silent", "well", "standby"):
        made = scene()
        shutil.rmtree(made.app.state_dir, ignore_errors=True)
        if why == "standby":
            made.prober.set(SPARE, "another")
        else:
            made.voices = [Voice.SILENT if why == "silent" else Voice.WELL]
        made.die()
        assert made.decided() is DecisionState.WAIT_APPROVAL, why
        assert made.runs() == []
        made.app.database.close()


def test_who_does_not_lead_probes_on_and_touches_nothing(scene: Make) -> None:
    made = scene()
    made.led_by(dict(STANDING_BY))
    followed = made.die()
    assert followed.not_led == "nobody leads"
    made.led_by(LeaderPass("another").environment())
    made.app.arbiter.acquire(watch_key("assistant"), "a third", ttl_s=3600)
    _, followed = made.round()
    assert followed.not_led == "a third leads"
    made.monkeypatch.delenv("DRKIT_LEADER")
    _, followed = made.round()
    assert "a third has the lease of the watch" in (followed.not_led or "")
    assert not made.gateway.read().held
    assert (made.decided(), made.runs()) == (None, [])
    assert open_health_log(made.app).recent() == []


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
    away = ArbiterUnreachable("the arbiter is away", hint="")
    for name in ("read_role", "acquire", "holding"):
        monkeypatch.setattr(made.app.arbiter, name, _raises(away))
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
    monkeypatch.setattr("drkit.state.database.open_database", _raises(gone))
    away = ArbiterUnreachable("the arbiter is away", hint="")
    for name in ("read_role", "acquire", "holding"):
        monkeypatch.setattr(made.app.arbiter, name, _raises(away))
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

    made.monkeypatch.setattr("drkit.cli.running.plan_run", _planning(made, meanwhile))
    made.die()
    assert (made.runs(), made.started) == ([], [])
    assert "paused" in made.said()
    made.round()
    assert made.decided() is DecisionState.BLOCKED


def test_users_are_led_back_when_it_is_well_and_not_while_a_run_is_open_or_it_is_paused(
    scene: Make,
) -> None:
    made = scene({"mode": "approve", "runbook": "down"})
    made.die()
    now = made.clock.now()
    until = now + timedelta(hours=1)
    pause(made.app.database, "assistant", until=until, now=now, by="ada", why="work")
    made.prober.set(HOME, "m")
    for _ in range(6):
        made.round()
    assert made.gateway.read().held  # paused
    made.clock.advance(3600)
    for _ in range(4):
        made.round()
    assert made.gateway.read().held  # the watcher slept, and counts anew
    made.round()
    assert made.gateway.read() == Setting(False, HOME)
    assert made.decided() is None


def test_H5_users_are_not_led_back_to_who_answers_by_another_name(scene: Make) -> None:
    made = scene({"mode": "approve", "runbook": "down"})
    made.die()
    made.prober.set(HOME, "another")
    for _ in range(8):
        made.round()
    assert made.gateway.read().held


def test_an_operators_emergency_is_not_taken_back(scene: Make) -> None:
    made = scene({"mode": "approve", "runbook": "down"})
    made.die()
    lease = made.app.arbiter.acquire("assistant", "run-1", ttl_s=30)
    role = RoleRecord("assistant", 1, EXTERNAL, None, made.clock.now(), "run-1")
    made.app.arbiter.record_role(lease, role)
    made.app.arbiter.release(lease)
    made.prober.set(HOME, "m")
    for _ in range(8):
        made.round()
    assert made.gateway.read().held


def test_R4_a_run_that_another_machine_left_open_is_known_from_the_stores(scene: Make) -> None:
    made = scene()
    made.die()
    (run,) = made.runs()
    other = replace(run, machine="another", id=f"{run.id}-x")
    for ended in (False, True):
        known = replace(other, state=RunState.COMMITTED) if ended else other
        made.monkeypatch.setattr("drkit.wiring.run.runs_in_stores", _answers([run, known]))
        if ended:
            unless_open_elsewhere(made.app)
        else:
            with pytest.raises(NeedsOperator, match="of another is open in the stores"):
                unless_open_elsewhere(made.app)


def test_a_run_that_is_open_elsewhere_keeps_auto_from_opening_another(scene: Make) -> None:
    made = scene()
    error = NeedsOperator("failover x of another is open in the stores", hint="")
    made.monkeypatch.setattr("drkit.wiring.run.runs_in_stores", _raises(error))
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


def _answers(value: Any) -> Callable[..., Any]:
    return lambda *_arguments: value


def _raises(error: Exception) -> Callable[..., Any]:
    def raising(*_arguments: Any, **_named: Any) -> Any:
        raise error

    return raising


def _planning(made: Scene, meanwhile: Callable[[App], str]) -> Callable[..., Any]:
    def planned(app: App, runbook: str, *, kind: Any, target: str | None) -> Any:
        plan = plan_run(app, runbook, kind=kind, target=target)
        meanwhile(app)
        return plan

    return planned


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
    open_decisions(made.app).weigh(DecisionEvent.WEIGHED, _facts(made), made.app.config.decide)
    made.clock._elapsed_s += 901
    open_decisions(made.app).weigh(DecisionEvent.WEIGHED, _facts(made), made.app.config.decide)
    assert made.decided() is None  # it expired, and is asked anew


def _facts(made: Scene) -> Any:
    return watch.read_facts(made.app, seen_health(made.app), leads=True, arbiter_reachable=True)

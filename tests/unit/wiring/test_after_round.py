"""What follows from a round, on a real deployment: done by the leader alone, and only if it may."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import Any

import pytest
from round_scene import AUTO, HOME, SPARE, Make

from drkit.coordination.decision import DecisionState
from drkit.coordination.interface import RoleRecord
from drkit.coordination.leadership import STANDING_BY, LeaderPass, watch_key
from drkit.health.witness.asking import Voice
from drkit.operations.watch.decide import decided_runbook, decided_target, lacks_for_auto, pause
from drkit.runs.records import EXTERNAL, RunState
from drkit.state.audit import AuditLog
from drkit.traffic.interface import Setting
from drkit.wiring.watch import open_health_log


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


def test_what_a_decision_carries_out_depends_on_the_mode_and_on_a_standby(scene: Make) -> None:
    def decided(decide: dict[str, Any], **target: Any) -> tuple[str, str | None]:
        config = scene({**decide, "reference_hosts": ["127.0.0.1:1"]}, **target).app.config
        return decided_runbook(config), decided_target(config)

    assert decided({"mode": "auto"}) == ("switch-to-standby", "spare")
    assert decided({"mode": "auto", "to": "spare"}) == ("switch-to-standby", "spare")
    assert decided({"mode": "auto"}, standby=False) == ("primary-gpu-down", "spare")
    assert decided({"mode": "approve"}) == ("primary-gpu-down", "spare")
    assert decided({"mode": "auto", "runbook": "mine"}) == ("mine", "spare")


def test_a_decision_leads_away_from_the_target_that_has_failed(scene: Make) -> None:
    config = scene({"reference_hosts": ["127.0.0.1:1"]}).app.config
    (spare,) = config.targets.values()
    two = config.model_copy(update={"targets": {"spare": spare, "other": spare}})
    preferred = two.model_copy(update={"decide": two.decide.model_copy(update={"to": "other"})})
    assert decided_target(two, serving="gpu") == "spare"
    assert decided_target(two, serving="spare") == "other"
    assert decided_target(preferred, serving="gpu") == "other"
    assert decided_target(preferred, serving="other") == "spare"
    assert decided_target(config, serving="spare") == "spare"  # another machine of the only one


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

"""What status says of the service: who serves and leads, and what stands against acting alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from decision_facts import OUTAGE

from drkit.config.decide import Decide
from drkit.coordination.hold import HoldNote, Phase
from drkit.coordination.interface import ArbiterProof, Holding, RoleRecord
from drkit.health.interface import ServiceHealth, ServiceState
from drkit.health.witness.asking import Heard, Voice
from drkit.operations.roles import SeenRole
from drkit.operations.status.service_status import ServiceStatus, not_auto, service_words
from drkit.operations.watch.decide import Pause
from drkit.operations.watch.standby import StandbyProof
from drkit.state.health_log import HealthChange

NOW = datetime(2026, 1, 4, 12, tzinfo=UTC)
ROLE = RoleRecord("chat", 3, "vast", "http://192.0.2.9:8000", NOW - timedelta(days=2), "run-7")
CALM = replace(OUTAGE, down=False, answers=True, seen_down=0, seeing=2, standby_proof_age_s=20)
STATUS = ServiceStatus(
    service="chat",
    site="vast",
    endpoint_url="http://192.0.2.9:8000",
    role=SeenRole(ROLE, NOW),
    leader=Holding("vm-1/daemon-9", 8.0),
    arbiter="store gcs (gcs bucket)",
    proof=ArbiterProof("store gcs (gcs bucket)", "it refused", NOW - timedelta(days=9)),
    health=ServiceHealth(ServiceState.HEALTHY, ever_healthy=True),
    changes=[HealthChange(NOW - timedelta(hours=1), "SUSPECT", "HEALTHY", "it answers")],
    hold=HoldNote(),
    pause=None,
    cooldown_left_s=0.0,
    decision=None,
    open_run=None,
    heard=(),
    standbys=(),
    mode="approve",
    not_auto=(),
)


def said(**other: Any) -> str:
    return "\n".join(service_words(replace(STATUS, **other), NOW))


def test_it_says_who_serves_by_which_record_and_who_leads() -> None:
    words = said()
    assert "chat is served by vast at http://192.0.2.9:8000 since 2026-01-02 12:00:00 UTC" in words
    assert "epoch 3, by run-7" in words
    assert "vm-1/daemon-9 leads the watch; arbiter: store gcs (gcs bucket)" in words
    assert "seen on 2025-12-26: it refused" in words
    assert "the service is HEALTHY since 2026-01-04 11:00:00 UTC (it answers)" in words
    assert "mode approve; auto is available" in words


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"role": SeenRole(ROLE, NOW - timedelta(minutes=12), "gcs does not answer")},
            "(as it was read 12 min ago: THE ARBITER IS AWAY: gcs does not answer)",
        ),
        ({"role": SeenRole(None, None, "gone")}, "(never read: THE ARBITER IS AWAY: gone)"),
        ({"role": SeenRole(ROLE, NOW, "gone")}, "nobody knows who leads"),
        ({"leader": None}, "nobody leads the watch: start drkit daemon"),
        ({"leader": Holding("x", -1.0)}, "nobody leads the watch"),
        ({"proof": None}, "not yet seen comparing: drkit init"),
        ({"hold": HoldNote(Phase.HELD, ("gw",), 2, NOW)}, "users are HELD on the external API"),
        ({"health": ServiceHealth(suspicions=(1.0, 2.0, 3.0))}, "FLAPPING"),
        ({"health": ServiceHealth(blind=True)}, "BLIND"),
        (
            {"pause": Pause(NOW + timedelta(hours=1), "ada", "work")},
            "PAUSED until 2026-01-04 13:00:00 UTC by ada: work",
        ),
        ({"cooldown_left_s": 600.0}, "cooldown: 10 min more; drkit ack ends it"),
        ({"heard": (Heard("w", Voice.SILENT, "no answer"),)}, "witness w: silent: no answer"),
        (
            {"standbys": (StandbyProof("cw", NOW - timedelta(seconds=30), "refused"),)},
            "standby cw: passed 30 s ago; FAILS now: refused",
        ),
        ({"not_auto": ("a", "b")}, "auto is not available: a; b"),
    ],
)
def test_it_says_what_is_not_as_it_should_be(changed: dict[str, Any], words: str) -> None:
    assert words in said(**changed)
    assert words not in said()


@pytest.mark.parametrize(
    ("fact", "why"),
    [
        ({"seeing": 1}, "fewer than two vantage points"),
        ({"standby_proof_age_s": None}, "no warm standby"),
        ({"standby_proof_age_s": 601}, "proof is too old"),
        ({"standby_fails": True}, "does not pass now"),
        ({"flapping": True}, "flapping"),
        ({"blind": True}, "beyond its own network"),
        ({"ever_healthy": False}, "never seen healthy"),
        ({"paused": True}, "paused"),
        ({"open_run": True}, "a run is open"),
        ({"arbiter_reachable": False}, "arbiter"),
        ({"cooldown_left_s": 1}, "drkit ack"),
        ({"unattended_last_day": 1}, "24 hours"),
        ({"unattended_last_week": 2}, "7 days"),
    ],
)
def test_why_auto_is_not_available_is_said_whatever_the_mode_and_before_any_outage(
    fact: dict[str, Any], why: str
) -> None:
    for mode in ("observe", "approve", "auto"):
        assert not_auto(CALM, Decide(mode=mode)) == ()
        (reason,) = not_auto(replace(CALM, **fact), Decide(mode=mode))
        assert why in reason

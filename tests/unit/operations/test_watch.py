"""Rounds that know the former ones, and what is weighed from them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.compute.interface import Endpoint
from drkit.config.decide import Decide
from drkit.config.places import Probe
from drkit.coordination.decision import DecisionState
from drkit.coordination.decisions import Decisions
from drkit.coordination.memory import MemoryArbiter, MemoryPlace
from drkit.errors import ConfigError, NeedsOperator
from drkit.health.interface import ProbeResult, ServiceState, Verdict
from drkit.health.memory import MemoryProber
from drkit.operations.decide import (
    acknowledge,
    current_pause,
    end_pause,
    facts_now,
    pause,
    weigh,
)
from drkit.operations.watch import Watch
from drkit.runs.journal import Journal
from drkit.state.database import Database, open_database

URL = "http://192.0.2.1:8000"
ENDPOINT = Endpoint("http", "192.0.2.1", 8000)


class Scene:
    """A watch with a clock turned by hand; every round is a command of its own."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.database: Database = open_database(folder / "state.sqlite", clock=self.clock)
        self.prober = MemoryProber(self.clock)
        self.prober.set(URL, "m")
        self.cut_off = False
        self.place = MemoryPlace()
        self.settings = Decide()

    def watch(self) -> Watch:
        return Watch(
            service="chat",
            model="m",
            primary="lambda",
            probe=Probe(),
            decide=self.settings,
            prober=self.prober,
            reach=self._reach,
            memory=self.database,
            clock=self.clock,
        )

    def _reach(self, _hosts) -> ProbeResult:
        verdict = Verdict.FAILED if self.cut_off else Verdict.PASSED
        return ProbeResult("reference", verdict, "")

    def rounds(self, number: int):
        for _ in range(number):
            self.clock.advance(30)
            watched = self.watch().round("lambda", ENDPOINT, None)
        return watched

    def facts(self):
        return facts_now(
            self.watch().health(),
            service="chat",
            settings=self.settings,
            arbiter=MemoryArbiter(self.clock, self.place),
            journal=Journal(self.database, self.clock),
            database=self.database,
            now=self.clock.now(),
        )

    @property
    def decisions(self) -> Decisions:
        return Decisions(self.database, "chat", self.clock)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    made.rounds(3)
    return made


def test_what_one_command_saw_the_next_one_knows(scene: Scene) -> None:
    assert scene.watch().health().state is ServiceState.HEALTHY
    assert scene.watch().health().ever_healthy


def test_a_suspected_service_is_asked_again_at_once_until_it_is_down(scene: Scene) -> None:
    scene.prober.set(URL, None)
    before_s = scene.clock.elapsed_s()
    watched = scene.rounds(1)
    assert watched.health.state is ServiceState.DOWN
    assert scene.clock.elapsed_s() - before_s <= 95
    assert [change.partition(":")[0] for change in watched.changes] == [
        "HEALTHY -> SUSPECT",
        "SUSPECT -> DOWN",
    ]


def test_H3_a_machine_that_is_cut_off_calls_nothing_down(scene: Scene) -> None:
    scene.prober.set(URL, None)
    scene.cut_off = True
    watched = scene.rounds(5)
    assert watched.health.state is ServiceState.HEALTHY
    assert watched.health.blind


def test_an_outage_opens_one_decision_that_waits_for_a_person(scene: Scene) -> None:
    scene.prober.set(URL, None)
    scene.rounds(2)
    _, first = weigh(scene.decisions, scene.facts(), scene.settings)
    _, second = weigh(scene.decisions, scene.facts(), scene.settings)
    assert first is not None
    assert first.decision.state is DecisionState.WAIT_APPROVAL
    assert first == second
    approved = scene.decisions.approve(scene.facts(), scene.settings, by="ada")
    assert approved.decision.by == "ada"
    scene.decisions.started(approved.id, "run-1")
    assert scene.decisions.open() is None


def test_a_decision_is_withdrawn_when_the_service_is_well(scene: Scene) -> None:
    scene.prober.set(URL, None)
    scene.rounds(2)
    weigh(scene.decisions, scene.facts(), scene.settings)
    scene.prober.set(URL, "m")
    scene.rounds(6)
    _, ended = weigh(scene.decisions, scene.facts(), scene.settings)
    assert ended is not None
    assert ended.decision.state is DecisionState.WITHDRAWN
    assert scene.decisions.open() is None
    with pytest.raises(NeedsOperator, match="no decision"):
        scene.decisions.approve(scene.facts(), scene.settings, by="ada")


def test_R4_a_pause_blocks_an_approval_and_always_ends(scene: Scene) -> None:
    scene.prober.set(URL, None)
    scene.rounds(2)
    weigh(scene.decisions, scene.facts(), scene.settings)
    now = scene.clock.now()
    for hours in (0, 9):
        with pytest.raises(ConfigError, match="8 hours"):
            pause(
                scene.database,
                "chat",
                until=now + timedelta(hours=hours),
                now=now,
                by="ada",
                why="",
            )
    pause(scene.database, "chat", until=now + timedelta(hours=1), now=now, by="ada", why="work")
    with pytest.raises(NeedsOperator, match="paused"):
        scene.decisions.approve(scene.facts(), scene.settings, by="ada")
    assert current_pause(scene.database, "chat", now + timedelta(hours=1)) is None
    end_pause(scene.database, "chat")
    assert scene.decisions.approve(scene.facts(), scene.settings, by="ada")


def test_R1_an_arbiter_that_is_away_blocks(scene: Scene) -> None:
    scene.prober.set(URL, None)
    scene.rounds(2)
    scene.place.down = True
    assert not scene.facts().arbiter_reachable
    _, decision = weigh(scene.decisions, scene.facts(), scene.settings)
    assert decision is not None
    assert decision.decision.state is DecisionState.BLOCKED


def test_an_acknowledgement_is_for_the_runs_of_before(scene: Scene) -> None:
    acknowledge(scene.database, "chat", scene.clock.now())
    assert scene.facts().cooldown_left_s == 0

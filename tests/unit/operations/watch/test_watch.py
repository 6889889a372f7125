"""Rounds that know the former ones, and what is weighed from them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.compute.interface import Endpoint
from drkit.config.decide import Decide
from drkit.config.places import Probe
from drkit.coordination.decision import DecisionState
from drkit.coordination.decisions import Decisions
from drkit.coordination.interface import RoleRecord
from drkit.coordination.memory import MemoryArbiter, MemoryPlace
from drkit.errors import ConfigError, NeedsOperator
from drkit.health.interface import ProbeResult, ServiceState, Verdict
from drkit.health.memory import MemoryProber
from drkit.health.witness.asking import Voice
from drkit.health.witness.file_memory import FileMemory
from drkit.operations.roles import read_role
from drkit.operations.watch.decide import (
    Elsewhere,
    acknowledge,
    current_pause,
    end_pause,
    facts_now,
    is_well,
    pause,
    weigh,
)
from drkit.operations.watch.standby import StandbyProof, last_proof, verify_standby
from drkit.operations.watch.watch import Watch
from drkit.runs.journal.journal import Journal
from drkit.state.database import Database, open_database
from drkit.state.health_log import HealthLog

URL = "http://192.0.2.1:8000"
ENDPOINT = Endpoint("http", "192.0.2.1", 8000)


class Scene:
    """A watch with a clock turned by hand; every round is a command of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "watch"
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

    def facts(self, **known):
        role = read_role(
            MemoryArbiter(self.clock, self.place), "chat", FileMemory(self.folder), self.clock
        )
        elsewhere = {"arbiter_reachable": role.unconfirmed is None, "leads": True, **known}
        return facts_now(
            self.watch().health(),
            Elsewhere(**elsewhere),
            service="chat",
            settings=self.settings,
            journal=Journal(self.database, self.clock),
            database=self.database,
            now=self.clock.now(),
            asks_a_person=(),
        )

    def weigh(self, **known):
        well = is_well(self.watch().health(), Probe())
        return weigh(self.decisions, self.facts(**known), self.settings, well=well)

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
    _, first = scene.weigh()
    _, second = scene.weigh()
    assert first is not None
    assert first.decision.state is DecisionState.WAIT_APPROVAL
    assert first == second
    approved = scene.decisions.approve(scene.facts(), scene.settings, by="ada")
    assert approved.decision.by == "ada"
    scene.decisions.started(approved.id, "run-1")
    assert scene.decisions.open() is None
    with pytest.raises(NeedsOperator, match="is RUN by now"):
        scene.decisions.started(approved.id, "run-2")


def test_a_decision_is_withdrawn_when_the_service_is_well(scene: Scene) -> None:
    scene.prober.set(URL, None)
    scene.rounds(2)
    scene.weigh()
    scene.prober.set(URL, "m")
    scene.rounds(6)
    _, ended = scene.weigh()
    assert ended is not None
    assert ended.decision.state is DecisionState.WITHDRAWN
    assert scene.decisions.open() is None
    with pytest.raises(NeedsOperator, match="no decision"):
        scene.decisions.approve(scene.facts(), scene.settings, by="ada")


def test_R4_a_pause_blocks_an_approval_and_always_ends(scene: Scene) -> None:
    scene.prober.set(URL, None)
    scene.rounds(2)
    scene.weigh()
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
    _, decision = scene.weigh()
    assert decision is not None
    assert decision.decision.state is DecisionState.BLOCKED


def test_an_acknowledgement_is_for_the_runs_of_before(scene: Scene) -> None:
    acknowledge(scene.database, "chat", scene.clock.now())
    assert scene.facts().cooldown_left_s == 0


def test_H3_a_witness_counts_when_it_speaks_and_only_as_what_it_says(scene: Scene) -> None:
    scene.prober.set(URL, None)
    scene.rounds(2)
    voices = (Voice.DOWN, Voice.WELL, Voice.SILENT)
    facts = scene.facts(voices=voices)
    assert (facts.seen_down, facts.seeing) == (2, 3)
    alone = scene.facts(voices=(Voice.SILENT,))
    assert (alone.seen_down, alone.seeing) == (1, 1)


def test_H3_a_machine_that_is_cut_off_is_no_vantage_point(scene: Scene) -> None:
    scene.prober.set(URL, None)
    scene.rounds(2)
    scene.cut_off = True
    scene.rounds(1)
    facts = scene.facts(voices=(Voice.DOWN,))
    assert facts.seeing == 1


def test_a_standby_counts_by_its_last_proof_and_not_while_it_fails(scene: Scene) -> None:
    now = scene.clock.now()
    proved = StandbyProof("vast", now - timedelta(seconds=90), None)
    assert scene.facts(standby=proved).standby_proof_age_s == 90
    assert not scene.facts(standby=proved).standby_fails
    assert scene.facts(standby=StandbyProof("vast", None, "refused")).standby_proof_age_s is None
    failing = StandbyProof("vast", now, "refused")
    assert scene.facts(standby=failing).standby_fails
    future = StandbyProof("vast", now + timedelta(seconds=9), None)
    assert scene.facts(standby=future).standby_proof_age_s is None


def test_a_service_that_is_merely_not_down_is_not_well(scene: Scene) -> None:
    scene.prober.set(URL, None)
    scene.rounds(2)
    scene.weigh()
    scene.prober.set(URL, "m")
    for good in range(1, 6):
        scene.rounds(1)
        _, decision = scene.weigh()
        assert decision is not None
        ended = decision.decision.state is DecisionState.WITHDRAWN
        assert ended is (good == 5)
    # After a run was rolled back nothing is known, and one good answer is not enough.
    known = replace(scene.watch().health(), state=ServiceState.HEALTHY, good_rounds=1)
    assert not is_well(known, Probe())
    assert not is_well(replace(known, good_rounds=5, state=ServiceState.UNKNOWN), Probe())
    assert not is_well(replace(known, good_rounds=5, blind=True), Probe())
    assert is_well(replace(known, good_rounds=5), Probe())


def test_R1_while_the_arbiter_is_away_the_role_that_was_read_last_is_followed(
    scene: Scene,
) -> None:
    arbiter, memory = MemoryArbiter(scene.clock, scene.place), FileMemory(scene.folder)
    scene.place.down = True
    never = read_role(arbiter, "chat", memory, scene.clock)
    assert (never.role, never.read_at) == (None, None)
    scene.place.down = False
    lease = arbiter.acquire("chat", "run-1", ttl_s=30)
    role = RoleRecord("chat", 4, "vast", "http://192.0.2.9:8000", scene.clock.now(), "run-1")
    arbiter.record_role(lease, role)
    seen = read_role(arbiter, "chat", memory, scene.clock)
    assert (seen.role, seen.unconfirmed) == (role, None)
    scene.place.down = True
    scene.clock.advance(600)
    kept = read_role(arbiter, "chat", memory, scene.clock)
    assert kept.role == role
    assert kept.age_s(scene.clock.now()) == 600
    assert kept.unconfirmed
    memory.remember("role/chat", {"read_at": "x", "role": []})
    assert read_role(arbiter, "chat", memory, scene.clock).role is None


def test_R1_an_arbiter_that_was_emptied_does_not_lead_home_a_service_that_lives_elsewhere(
    scene: Scene,
) -> None:
    memory = FileMemory(scene.folder)
    arbiter, emptied = MemoryArbiter(scene.clock), MemoryArbiter(scene.clock)
    lease = arbiter.acquire("chat", "run", ttl_s=30)
    arbiter.record_role(lease, RoleRecord("chat", 7, "coreweave", URL, scene.clock.now(), "run"))
    assert read_role(emptied, "chat", memory, scene.clock, primary="lambda").unconfirmed is None
    read_role(arbiter, "chat", memory, scene.clock, primary="lambda")
    for primary in ("lambda", None, "lambda"):  # it is not forgotten by being read
        seen = read_role(emptied, "chat", memory, scene.clock, primary=primary)
        assert seen.role is not None
        assert (seen.role.site, seen.role.epoch) == ("coreweave", 7)
        assert seen.unconfirmed is not None
    lease = emptied.acquire("chat", "run", ttl_s=30)
    emptied.record_role(lease, RoleRecord("chat", 1, "runpod", URL, scene.clock.now(), "run"))
    anew = read_role(emptied, "chat", memory, scene.clock, primary="lambda")
    assert anew.role is not None
    assert (anew.role.site, anew.unconfirmed) == ("runpod", None)


def test_who_lives_at_home_needs_no_record(scene: Scene) -> None:
    memory, arbiter = FileMemory(scene.folder), MemoryArbiter(scene.clock)
    lease = arbiter.acquire("chat", "run", ttl_s=30)
    arbiter.record_role(lease, RoleRecord("chat", 7, "lambda", URL, scene.clock.now(), "run"))
    read_role(arbiter, "chat", memory, scene.clock, primary="lambda")
    seen = read_role(MemoryArbiter(scene.clock), "chat", memory, scene.clock, primary="lambda")
    assert (seen.role, seen.unconfirmed) == (None, None)


def test_H5_a_standby_passes_only_by_its_own_name(scene: Scene) -> None:
    memory = FileMemory(scene.folder)

    def ask():
        return verify_standby(
            memory,
            scene.prober,
            ENDPOINT,
            target="vast",
            model="m",
            api_key=None,
            clock=scene.clock,
        )

    assert last_proof(memory, "vast") is None
    passed = ask()
    assert (passed.passed_at, passed.fails) == (scene.clock.now(), None)
    scene.clock.advance(60)
    scene.prober.set(URL, "another")
    failing = ask()
    assert failing.passed_at == passed.passed_at
    assert "another" in (failing.fails or "")
    assert last_proof(memory, "vast") == failing
    scene.prober.set(URL, "m")
    assert ask().fails is None


def test_every_change_of_health_is_kept_in_order(scene: Scene) -> None:
    log = HealthLog(scene.database, "chat", scene.clock)
    log.append(["HEALTHY -> SUSPECT: liveness: refused: by a peer", "SUSPECT -> DOWN: x"])
    scene.clock.advance(60)
    log.append(["DOWN -> HEALTHY: " + "y" * 5000])
    HealthLog(scene.database, "other", scene.clock).append(["UNKNOWN -> HEALTHY: z"])
    recent = log.recent()
    assert [(c.before, c.after) for c in recent] == [
        ("DOWN", "HEALTHY"),
        ("SUSPECT", "DOWN"),
        ("HEALTHY", "SUSPECT"),
    ]
    assert recent[2].why == "liveness: refused: by a peer"
    assert len(recent[0].why) == 2000
    assert recent[0].at - recent[1].at == timedelta(seconds=60)

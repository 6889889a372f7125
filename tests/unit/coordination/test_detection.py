"""A long life of trouble: nothing that is no outage is failed over, and every outage is seen."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import detection_world as world
import pytest

from drkit.config.places import Probe

MEMORY = Path(__file__).resolve().parents[3] / ".drkit" / "tests" / "detection.json"
SECONDS_IN_SOAK = 480
ROUNDS_IN_SOAK, FAULTS_IN_SOAK = 1_000_000, 1_000
FAULTS_A_TURN, ROUNDS_BETWEEN = 10, 335


def watched(*, seed: int, faults: int, rounds_each: int, **settings: int):
    """A world in which `faults` of each kind come between stretches of trouble."""
    made = world.World(seed, Probe(**settings))
    for _ in range(faults):
        for kind in world.FAULTS:
            made.live(rounds_each)
            made.fail(kind)
    return made.report


def test_H2_H3_no_false_failover_and_every_outage_is_seen_in_time(record_property) -> None:
    report = watched(seed=20260101, faults=30, rounds_each=400)
    print(f"{report.rounds} rounds, troubles {report.troubles}")
    record_property("rounds", report.rounds)
    check(report)
    assert all(report.troubles[trouble] > 10 for trouble in world.TROUBLES)
    # one point of view alone would have been wrong: that is what the second one is for
    assert report.path_cuts_called_down > 0


def check(report: world.Report) -> None:
    assert report.false_failovers == 0
    assert min(report.rounds_to_down) >= 3
    assert max(report.down_after_s["outage"] + report.down_after_s["silent outage"]) <= 95
    assert max(report.down_after_s["hung engine"]) <= 210


@dataclass
class SoFar:
    """What soaks have shown, this one and those before it."""

    turns: int = 0
    rounds: int = 0
    outages: int = 0
    hung: int = 0
    slowest_outage_s: float = 0.0
    slowest_hung_s: float = 0.0

    @property
    def done(self) -> bool:
        return self.rounds >= ROUNDS_IN_SOAK and min(self.outages, self.hung) >= FAULTS_IN_SOAK

    def add(self, report: world.Report) -> None:
        outages, hung = report.down_after_s["outage"], report.down_after_s["hung engine"]
        self.turns += 1
        self.rounds += report.rounds
        self.outages += len(outages)
        self.hung += len(hung)
        self.slowest_outage_s = max(self.slowest_outage_s, *outages)
        self.slowest_hung_s = max(self.slowest_hung_s, *hung)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS_IN_SOAK * 2)
def test_H2_H3_a_million_rounds_with_a_thousand_outages_and_a_thousand_hung_engines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Goes on where the last soak ended, with other seeds: the count adds up."""
    known = SoFar(**json.loads(MEMORY.read_text())) if MEMORY.exists() else SoFar()
    ends_at = time.monotonic() + SECONDS_IN_SOAK
    while not known.done and time.monotonic() < ends_at:
        seed = 1000 + known.turns
        report = watched(seed=seed, faults=FAULTS_A_TURN, rounds_each=ROUNDS_BETWEEN)
        check(report)
        known.add(report)
        MEMORY.parent.mkdir(parents=True, exist_ok=True)
        MEMORY.write_text(json.dumps(vars(known)))
    with capsys.disabled():
        print(
            f"\ndetection: {known.rounds} rounds, {known.outages} outages DOWN within "
            f"{known.slowest_outage_s:.1f} s, {known.hung} hung engines within "
            f"{known.slowest_hung_s:.1f} s, no false failover, in all"
        )


def test_a_table_that_is_hasty_would_be_found_out() -> None:
    hasty = watched(seed=7, faults=5, rounds_each=400, down_after=2, down_after_s="5s")
    assert min(hasty.rounds_to_down) < 3

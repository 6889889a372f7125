"""A long life of trouble: nothing that is no outage is failed over, and every outage is seen."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from drkit.config.places import Probe


@pytest.fixture(scope="module")
def world() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "detection_world.py"
    spec = importlib.util.spec_from_file_location("detection_world", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["detection_world"] = module
    spec.loader.exec_module(module)
    return module


def watched(world: ModuleType, *, seed: int, faults: int, rounds_each: int, **settings: int):
    """A world in which `faults` of each kind come between stretches of trouble."""
    made = world.World(seed, Probe(**settings))
    for _ in range(faults):
        for kind in world.FAULTS:
            made.live(rounds_each)
            made.fail(kind)
    return made.report


def test_H2_H3_no_false_failover_and_every_outage_is_seen_in_time(world, record_property) -> None:
    report = watched(world, seed=20260101, faults=30, rounds_each=400)
    print(f"{report.rounds} rounds, troubles {report.troubles}")
    record_property("rounds", report.rounds)
    assert report.false_failovers == 0
    assert min(report.rounds_to_down) >= 3
    assert max(report.down_after_s["outage"] + report.down_after_s["silent outage"]) <= 95
    assert max(report.down_after_s["hung engine"]) <= 210
    assert all(report.troubles[trouble] > 10 for trouble in world.TROUBLES)
    # one point of view alone would have been wrong: that is what the second one is for
    assert report.path_cuts_called_down > 0


def test_a_table_that_is_hasty_would_be_found_out(world) -> None:
    hasty = watched(world, seed=7, faults=5, rounds_each=400, down_after=2, down_after_s="5s")
    assert min(hasty.rounds_to_down) < 3

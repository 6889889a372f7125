"""A round of the watch that dies at any of its writes leaves the next one nothing wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from drkit.clock import ManualClock
from drkit.compute.interface import Endpoint
from drkit.config.decide import Decide
from drkit.config.places import Probe
from drkit.health.interface import Observation, ProbeResult, ServiceState, Verdict
from drkit.health.memory import MemoryProber
from drkit.health.scrape import Scrape
from drkit.health.witness.file_memory import FileMemory
from drkit.operations.watch.watch import Watch

ENDPOINT = Endpoint("http", "192.0.2.1", 8000)
OTHER = Endpoint("http", "192.0.2.2", 8000)


class Killed(BaseException):
    """kill -9."""


class Measuring(MemoryProber):
    """A server whose counters grow by ten a round."""

    def observe(self, endpoint: Endpoint, *, model: str, api_key: str | None) -> Observation:
        seen = super().observe(endpoint, model=model, api_key=api_key)
        at_s = self._clock.elapsed_s()
        scrape = Scrape(at_s, "vllm", 1.0, counters={"generated": 10.0 * len(self.asked)})
        alive = seen.answered_by is not None
        return Observation(
            seen.at, seen.endpoint_url, seen.results, seen.answered_by, scrape if alive else None
        )


class Scene:
    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.prober = Measuring(self.clock)
        for each in (ENDPOINT, OTHER):
            self.prober.set(each.url, "m")
        self.dies_at: int | None = None
        self.writes = 0
        scene = self

        class Dying(FileMemory):
            def remember(self, name: str, value: object) -> None:
                scene.writes += 1
                if scene.writes == scene.dies_at:
                    raise Killed
                super().remember(name, value)

        self.memory = Dying(folder)

    def watch(self) -> Watch:
        return Watch(
            service="chat",
            model="m",
            primary="lambda",
            probe=Probe(),
            decide=Decide(),
            prober=self.prober,
            reach=lambda _hosts: ProbeResult("reference", Verdict.PASSED, ""),
            memory=self.memory,
            clock=self.clock,
        )

    def round(self, endpoint: Endpoint = ENDPOINT):
        self.clock.advance(30)
        return self.watch().round("lambda", endpoint, None)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    for _ in range(3):
        made.round()
    return made


@pytest.mark.parametrize("write", range(1, 10))
def test_killed_at_any_write_while_well_it_stays_well(scene: Scene, write: int) -> None:
    scene.writes, scene.dies_at = 0, write
    died = 0
    for _ in range(3):
        try:
            scene.round()
        except Killed:
            died += 1
    assert died == 1
    health = scene.watch().health()
    assert health.state is ServiceState.HEALTHY
    assert health.failed_rounds == 0
    rows = scene.watch().scrapes(ENDPOINT.url)
    assert [each.elapsed_s for each in rows] == sorted({each.elapsed_s for each in rows})
    assert len(rows) >= 4


@pytest.mark.parametrize("write", range(1, 12))
def test_killed_at_any_write_of_an_outage_it_is_down_after_three_rounds_and_not_before(
    scene: Scene, write: int
) -> None:
    scene.prober.set(ENDPOINT.url, None)
    scene.writes, scene.dies_at = 0, write
    asked = len(scene.prober.asked)
    with pytest.raises(Killed):
        scene.round()
    if scene.watch().health().state is ServiceState.DOWN:
        assert len(scene.prober.asked) - asked >= 3
    assert scene.round().health.state is ServiceState.DOWN
    assert len(scene.prober.asked) - asked >= 3


def test_scrapes_of_another_address_are_another_servers(scene: Scene) -> None:
    assert len(scene.watch().scrapes(ENDPOINT.url)) == 3
    assert scene.watch().scrapes(OTHER.url) == ()
    scene.round(OTHER)
    assert len(scene.watch().scrapes(OTHER.url)) == 1
    assert scene.watch().scrapes(ENDPOINT.url) == ()

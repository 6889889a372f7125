"""What a run did is told to the service's table once, whoever ran it and whenever it is seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from run_records import RUN

from drkit.clock import ManualClock
from drkit.config.places import Probe
from drkit.coordination.interface import RoleRecord
from drkit.health.interface import ServiceHealth, ServiceState
from drkit.health.record import health_from, health_json
from drkit.operations.watch.telling import Runs, after_runs, tell_runs
from drkit.runs.records import EXTERNAL, RunRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)
S = ServiceState
KNOWN = ServiceHealth(S.HEALTHY, ever_healthy=True, good_rounds=9)
DOWN = replace(KNOWN, state=S.DOWN, good_rounds=0, failed_rounds=3, first_failed_at=NOW)


def role(
    epoch: int, site: str, run_id: str = "run-1", url: str | None = "http://x:1"
) -> RoleRecord:
    return RoleRecord("chat", epoch, site, url, NOW, run_id)


class Machine:
    def __init__(self, health: ServiceHealth = DOWN) -> None:
        self.kept: dict[str, Any] = {"health/chat": health_json(health)}
        self.clock = ManualClock()

    def remember(self, name: str, value: object) -> None:
        self.kept[name] = value

    def recall(self, name: str) -> object:
        return self.kept.get(name)

    def tell(self, open_run: RunRecord | None, role: RoleRecord | None) -> list[str]:
        changes = tell_runs(
            self,
            "chat",
            open_run=open_run,
            role=role,
            primary="lambda",
            probe=Probe(),
            clock=self.clock,
        )
        return [change.partition(":")[0] for change in changes]

    @property
    def health(self) -> ServiceHealth:
        return health_from(self.kept["health/chat"])


@pytest.fixture
def machine() -> Machine:
    made = Machine()
    assert made.tell(None, None) == []
    return made


def test_a_failover_is_followed_from_its_beginning_to_its_commit(machine: Machine) -> None:
    assert machine.tell(RUN, None) == ["DOWN -> RECOVERING"]
    assert machine.tell(RUN, None) == []
    assert machine.tell(RUN, role(1, "vast")) == ["RECOVERING -> SERVING_TARGET"]
    assert not machine.health.committed
    assert machine.tell(RUN, role(1, "vast")) == []
    assert machine.tell(None, role(1, "vast")) == []
    assert machine.health.state is S.SERVING_TARGET
    assert machine.health.committed
    assert machine.tell(None, role(1, "vast")) == []


def test_one_that_came_and_went_between_two_rounds_is_seen_by_its_epoch(machine: Machine) -> None:
    assert machine.tell(None, role(1, "vast")) == [
        "DOWN -> RECOVERING",
        "RECOVERING -> SERVING_TARGET",
    ]
    assert machine.health.committed
    assert machine.health.first_failed_at is None
    assert machine.tell(None, role(1, "vast")) == []


def test_one_that_was_rolled_back_leaves_nothing_known(machine: Machine) -> None:
    machine.tell(RUN, None)
    assert machine.tell(None, None) == ["RECOVERING -> UNKNOWN"]
    machine.tell(replace(RUN, id="run-2"), None)
    machine.tell(replace(RUN, id="run-2"), role(1, "vast", "run-2"))
    undone = role(2, "lambda", "run-2", url=None)  # the primary did not answer
    assert machine.tell(None, undone) == ["SERVING_TARGET -> UNKNOWN"]
    assert machine.tell(None, undone) == []


def test_a_first_sight_in_mid_run_is_no_success_when_it_is_rolled_back() -> None:
    machine = Machine()
    assert machine.tell(RUN, None) == ["DOWN -> RECOVERING"]
    assert machine.tell(None, None) == ["RECOVERING -> UNKNOWN"]
    late = Machine()
    assert len(late.tell(RUN, role(3, "vast"))) == 2
    assert late.tell(None, role(4, "lambda", url=None)) == ["SERVING_TARGET -> UNKNOWN"]


def test_a_failback_makes_the_primary_well_again_and_the_external_api_says_nothing() -> None:
    machine = Machine(replace(KNOWN, state=S.SERVING_TARGET, home=S.SERVING_TARGET))
    machine.tell(None, role(1, "vast"))
    assert machine.tell(None, role(2, "lambda", "run-2")) == [
        "SERVING_TARGET -> RECOVERING",
        "RECOVERING -> HEALTHY",
    ]
    assert machine.tell(None, role(3, EXTERNAL, "run-3", None)) == [
        "HEALTHY -> RECOVERING",
        "RECOVERING -> UNKNOWN",
    ]


def test_what_was_recorded_before_the_first_round_is_no_news() -> None:
    machine = Machine()
    assert machine.tell(None, role(7, "vast")) == []
    assert machine.health == DOWN


def test_status_shows_at_once_where_a_run_that_ended_left_the_service() -> None:
    """As the next round will, and without one."""
    moved = RoleRecord("chat", 1, "vast", "http://192.0.2.9:8000", NOW, "run-7")
    down = ServiceHealth(ServiceState.DOWN, ever_healthy=True)
    health, changes = after_runs(down, Runs(None, moved, 0, "gpu"), Probe(), 100.0)
    assert health.state is ServiceState.SERVING_TARGET
    assert health.committed
    assert changes
    same, _ = after_runs(down, Runs(None, moved, 1, "gpu"), Probe(), 100.0)
    assert same == down

"""Backups stop between fence and proof, where the fence was about something (S14)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from drkit.cli.repository.backing_up import run_backup
from drkit.errors import RepositoryLocked
from drkit.events import discard
from drkit.runs.journal.journal import Journal
from drkit.runs.records import RunRecord, RunState

if TYPE_CHECKING:
    from conftest import World


def fenced(world: World, *stateful: str, kind: str = "failover") -> tuple[Journal, RunRecord]:
    """A run whose fence is done, and whose verify is not."""
    journal = world.journal()
    run = journal.open_run(world.plan(kind), sandbox=False)
    journal.claim(run.id)
    journal.set_state(run.id, RunState.PREFLIGHT)
    journal.set_state(run.id, RunState.RUNNING)
    step_done(journal, run, "fence", {"stateful": list(stateful)})
    return journal, run


def step_done(journal: Journal, run: RunRecord, step: str, output: dict[str, Any]) -> None:
    effect = {"action": step, "version": 1, "effect": "read"}
    journal.append(run.id, "intent", step=step, attempt=1, payload=effect)
    journal.append(run.id, "done", step=step, attempt=1, payload={"output": output, "proof": "x"})


def back_up(world: World) -> None:
    """AttributeError: nothing stood against it, and it went on to what this app has not."""
    app: Any = SimpleNamespace(
        config=world.config,
        database=world.database,
        clock=world.clock,
        emit=discard,
        store=lambda name: SimpleNamespace(inspect=lambda: None),
    )
    run_backup(app)


def test_S14_no_backup_while_a_source_is_fenced_and_nothing_is_proved(world: World) -> None:
    _, run = fenced(world, "memory")
    with pytest.raises(RepositoryLocked, match="has fenced memory and proved nothing yet") as said:
        back_up(world)
    assert run.id in str(said.value.hint)


def test_S14_backups_go_on_once_it_is_verified(world: World) -> None:
    journal, run = fenced(world, "memory")
    step_done(journal, run, "verify", {})
    with pytest.raises(AttributeError):
        back_up(world)


def test_S14_backups_go_on_when_it_is_rolled_back(world: World) -> None:
    journal, run = fenced(world, "memory")
    journal.set_state(run.id, RunState.ROLLING_BACK)
    with pytest.raises(AttributeError):
        back_up(world)


@pytest.mark.parametrize("kind", ["failover", "drill"])
def test_a_fence_that_was_about_nothing_stops_no_backup(world: World, kind: str) -> None:
    fenced(world, *(("memory",) if kind == "drill" else ()), kind=kind)
    with pytest.raises(AttributeError):
        back_up(world)


def test_a_state_that_is_away_stops_no_backup(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drkit.state.database import StateUnavailable

    def away(*_: object) -> None:
        raise StateUnavailable("no state", hint="a test asked so")

    monkeypatch.setattr(Journal, "open_run_of", away)
    with pytest.raises(AttributeError):
        back_up(world)

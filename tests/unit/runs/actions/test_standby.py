"""switch-to-standby: proved once more by its own address, then users are led there; else nobody."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from drkit.coordination.interface import RoleRecord
from drkit.errors import ConfigError
from drkit.runs.actions import proving
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import asks_a_person, make_plan
from drkit.runs.book.schema import load_runbook
from drkit.runs.engine import execute
from drkit.runs.records import EXTERNAL, RunRecord, RunState
from drkit.traffic.interface import Setting
from drkit.verify.proof import Proof

if TYPE_CHECKING:
    from conftest import Crash, World

PRIMARY, STANDBY, OTHER = (f"http://{host}:8000" for host in ("203.0.113.10", "a", "b"))
MODEL = "Qwen3-4B"
ROOT = Path(__file__).parents[4]
BOOK = load_runbook(ROOT / "runbooks" / "switch-to-standby.yaml")


@pytest.fixture(autouse=True)
def golden(world: World, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the standby gives the golden answers; the primary is dead and the standby is not."""
    passes = [True]
    point = SimpleNamespace(golden=object(), sources={})
    found = SimpleNamespace(point=point)
    monkeypatch.setattr(proving, "list_points", lambda _repository: [found])
    monkeypatch.setattr(proving, "choose_point", lambda _points, _which, role: found)

    def compared(_golden: object, endpoint: object, **_named: object) -> Proof:
        return Proof("golden", endpoint.url, passes[0], "")  # type: ignore[attr-defined]

    monkeypatch.setattr(proving, "verify_golden", compared)
    world.runbook = BOOK
    world.real = tuple(step.action for step in BOOK.steps)
    world.prober.set(PRIMARY, None)
    world.prober.set(STANDBY, MODEL)
    _declare(world, STANDBY)
    return passes


def _declare(world: World, url: str | None) -> None:
    declared = {"standby": url is not None, "endpoint": url}
    target = world.config.targets["coreweave"].model_copy(update=declared)
    targets = {**world.config.targets, "coreweave": target}
    world.config = world.config.model_copy(update={"targets": targets})


def _led_to(world: World) -> set[str | None]:
    return {now.value for switch in world.switches for now in switch.history if not now.held}


def _start(world: World) -> RunRecord:
    return world.start(observe_s=10.0)


def test_users_are_held_and_led_to_the_standby_by_an_epoch_of_its_own(world: World) -> None:
    run = _start(world)
    assert (run.state, run.outcome) == (RunState.COMMITTED, "committed")
    role = world.arbiter.read_role("assistant")
    assert role is not None
    assert (role.site, role.endpoint_url, role.epoch) == ("coreweave", STANDBY, 1)
    _, gateway = world.switches
    assert gateway.history[1:] == [Setting(True, PRIMARY), Setting(False, STANDBY)]
    assert world.compute.find({}) == []
    noted = [entry.payload for entry in world.journal().entries(run.id)]
    assert not [payload for payload in noted if "paid" in payload]


@pytest.mark.parametrize("answers", [None, "another-model"])
def test_R8_a_standby_that_does_not_answer_as_itself_is_never_led_to(
    world: World, answers: str | None
) -> None:
    world.prober.set(STANDBY, answers)
    assert _start(world).state is RunState.ROLLED_BACK
    assert _led_to(world) == {PRIMARY}
    assert world.switches[1].read().held


def test_R8_a_standby_with_other_answers_than_the_golden_ones_is_never_led_to(
    world: World, golden: list[bool]
) -> None:
    golden[0] = False
    assert _start(world).state is RunState.ROLLED_BACK
    assert _led_to(world) == {PRIMARY}
    assert world.arbiter.read_role("assistant") is None


def test_a_standby_that_serves_already_is_not_switched_to(world: World) -> None:
    lease = world.arbiter.acquire("assistant", "here", ttl_s=60)
    now = world.clock.now()
    world.arbiter.record_role(
        lease, RoleRecord("assistant", 1, "coreweave", STANDBY, now, "earlier", ())
    )
    world.arbiter.release(lease)
    assert _start(world).state is RunState.ROLLED_BACK
    assert world.arbiter.read_role("assistant").epoch == 1  # type: ignore[union-attr]


def test_R6_a_run_that_is_resumed_leads_where_it_was_proved(
    world: World, crash: type[Crash]
) -> None:
    journal, plan = world.journal(), world.plan()
    run = journal.open_run(plan, sandbox=False)
    dies = world.context(plan, breakpoint=world.crash_at("verify", "after-record"))
    with pytest.raises(crash):
        execute(journal, run.id, world.fakes, dies)
    _declare(world, OTHER)
    world.clock.advance(300)
    assert world.resume(run.id).state is RunState.COMMITTED
    assert _led_to(world) == {PRIMARY, STANDBY}


def test_only_a_target_that_runs_already_is_planned_for(world: World) -> None:
    _declare(world, None)
    for target in ("coreweave", EXTERNAL):
        with pytest.raises(ConfigError):
            make_plan(BOOK, config=world.config, kind="failover", target=target, actions=ACTIONS)


def test_what_costs_money_asks_or_is_unknown_is_somebodys_decision() -> None:
    cold = load_runbook(ROOT / "runbooks" / "primary-gpu-down.yaml")
    assert asks_a_person(BOOK, ACTIONS) == ()
    assert asks_a_person(cold, ACTIONS) == ("runbook primary-gpu-down: `acquire` costs money",)
    asking = BOOK.steps[5].model_copy(update={"approval": "operator"})
    asked = BOOK.model_copy(update={"steps": (*BOOK.steps[:5], asking, *BOOK.steps[6:])})
    assert "approval" in asks_a_person(asked, ACTIONS)[0]
    known = {name: each for name, each in ACTIONS.items() if name != "standby"}
    assert "unknown" in asks_a_person(BOOK, known)[0]
    paid = {**ACTIONS, "verify": replace(ACTIONS["verify"], effect=ACTIONS["acquire"].effect)}
    assert "`verify` costs money" in asks_a_person(BOOK, paid)[0]

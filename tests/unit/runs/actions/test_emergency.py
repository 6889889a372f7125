"""emergency-rollback: all users on the external API, the record true, and a way back only if."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from dead_runs import unhurried

from drkit.config.places import External
from drkit.coordination.interface import RoleRecord
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import Plan, make_plan
from drkit.runs.book.schema import load_runbook
from drkit.runs.engine import execute
from drkit.runs.records import EXTERNAL, RunRecord, RunState
from drkit.traffic.interface import Setting
from drkit.verify import model as model_module

if TYPE_CHECKING:
    from conftest import Crash, World

PRIMARY = "http://203.0.113.10:8000"
TARGET = "http://192.0.2.1:8000"
MODEL, API = "Qwen3-4B", "claude-sonnet-4-5"
BOOK = load_runbook(Path(__file__).parents[4] / "runbooks" / "emergency-rollback.yaml")
STEPS = ["hold", "verify_held", "record"]


@pytest.fixture(autouse=True)
def users(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Who answers users: the external API when they are held, else `users[0]`."""
    other: list[str | None] = [MODEL]

    def answered(_url: str, _model: str, _key: str | None) -> str | None:
        return API if world.switches[1].read().held and other[0] is not None else other[0]

    monkeypatch.setattr(model_module, "ask_as_user", answered)
    world.runbook = BOOK
    world.real = tuple(step.action for step in BOOK.steps)
    return other


def _plan(world: World) -> Plan:
    plan = make_plan(BOOK, config=world.config, kind="switchover", target=EXTERNAL, actions=ACTIONS)
    return unhurried(plan)


def _start(world: World, **changes: object) -> RunRecord:
    journal, plan = world.journal(), _plan(world)
    run = journal.open_run(plan, sandbox=False)
    changes = {"gateway_url": "http://127.0.0.1:8080", **changes}
    return execute(journal, run.id, world.fakes, world.context(plan, **changes))


def _serves(world: World, site: str, url: str, epoch: int) -> None:
    lease = world.arbiter.acquire("assistant", "here", ttl_s=60)
    record = RoleRecord("assistant", epoch, site, url, world.clock.now(), "earlier", ())
    world.arbiter.record_role(lease, record)
    world.arbiter.release(lease)


def test_users_are_held_first_then_asked_then_recorded_and_nothing_is_bought(world: World) -> None:
    run = _start(world)
    assert (run.state, run.outcome) == (RunState.COMMITTED, "committed")
    done = [e.step for e in world.journal().entries(run.id) if e.kind == "done"]
    assert done == STEPS
    dns, gateway = world.switches
    assert gateway.history == [Setting(False, PRIMARY), Setting(True, PRIMARY)]
    assert len(dns.history) == 1
    assert world.compute.find({}) == []


def test_R2_the_role_record_says_that_no_site_serves(world: World) -> None:
    run = _start(world)
    role = world.arbiter.read_role("assistant")
    assert role is not None
    assert (role.site, role.endpoint_url, role.epoch) == (EXTERNAL, None, 1)
    assert (role.run_id, role.snapshots) == (run.id, ("s-1",))


def test_H5_users_who_are_answered_by_another_model_are_not_on_the_external_api(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_module, "ask_as_user", lambda *_: MODEL)
    world.prober.set(PRIMARY, MODEL)
    run = _start(world)
    assert run.state is RunState.ROLLED_BACK
    assert world.arbiter.read_role("assistant") is None
    assert not world.switches[1].read().held


def test_a_gateway_that_takes_a_moment_is_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [MODEL, None, API]
    monkeypatch.setattr(model_module, "ask_as_user", lambda *_: answers.pop(0))
    run = _start(world)
    assert run.state is RunState.COMMITTED
    failed = [e for e in world.journal().entries(run.id) if e.kind == "failed"]
    assert [(entry.step, entry.payload["retryable"]) for entry in failed] == [
        ("verify_held", True),
        ("verify_held", True),
    ]
    assert all(each.held for each in world.switches[1].history[1:])


@pytest.mark.parametrize("primary", [None, "another-model"])
def test_R8_what_does_not_verify_is_not_released_to(world: World, primary: str | None) -> None:
    world.prober.set(PRIMARY, primary)
    service = world.config.service
    assert service is not None
    world.config = world.config.model_copy(
        update={"service": service.model_copy(update={"external": External(model="another-api")})}
    )
    assert _start(world).state is RunState.ROLLED_BACK
    assert world.switches[1].read().held


def test_R8_a_server_that_answers_and_names_itself_otherwise_is_not_led_to(world: World) -> None:
    """Also where the round called it alive: who answered is looked at once more (H5)."""
    from drkit.compute.interface import Endpoint
    from drkit.health.memory import observation
    from drkit.runs.actions.pointing import alive

    seen = observation(PRIMARY, MODEL, MODEL, world.clock)
    endpoint = Endpoint("http", "203.0.113.10", 8000)
    for answered_by, led_to in ((MODEL, True), (None, True), ("another-model", False)):
        prober = SimpleNamespace(
            observe=lambda *_args, answered_by=answered_by, **_options: replace(
                seen, answered_by=answered_by
            )
        )
        context = world.context(_plan(world), prober=prober)
        assert (alive(context, "lambda", endpoint) is not None) is led_to


def test_R2_what_is_taken_back_goes_to_the_target_that_served_and_not_to_the_primary(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _serves(world, "coreweave", TARGET, 4)
    for switch in world.switches:
        switch.set_by_another(Setting(False, TARGET))
    world.prober.set(PRIMARY, MODEL)
    world.prober.set(TARGET, MODEL)
    monkeypatch.setattr(model_module, "ask_as_user", lambda *_: None)
    assert _start(world).state is RunState.ROLLED_BACK
    dns, gateway = world.switches
    assert (dns.read(), gateway.read()) == (Setting(False, TARGET), Setting(False, TARGET))
    assert PRIMARY not in [each.value for each in gateway.history[2:]]


def test_a_hold_waits_for_no_store_and_a_record_that_cannot_be_made_keeps_users_held(
    world: World,
) -> None:
    from drkit.errors import PlaceError

    def away() -> object:
        raise PlaceError("no store answers", hint="bring one back")

    run = _start(world, repository=away)
    assert run.state is RunState.NEEDS_OPERATOR
    assert world.switches[1].read().held
    assert world.arbiter.read_role("assistant") is None
    assert world.resume(run.id, gateway_url="http://127.0.0.1:8080").state is RunState.COMMITTED
    role = world.arbiter.read_role("assistant")
    assert role is not None
    assert role.site == EXTERNAL


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("point", ["before-intent", "after-intent", "after-effect", "after-record"])
def test_R5_killed_anywhere_it_is_resumed_and_moves_everything_once(
    world: World, crash: type[Crash], step: str, point: str
) -> None:
    with pytest.raises(crash):
        _start(world, breakpoint=world.crash_at(step, point))
    run_id = world.journal().run("latest").id
    run = world.resume(run_id, gateway_url="http://127.0.0.1:8080")
    assert run.state is RunState.COMMITTED
    assert [each.held for each in world.switches[1].history] == [False, True]
    role = world.arbiter.read_role("assistant")
    assert role is not None
    assert (role.site, role.epoch) == (EXTERNAL, 1)


def test_R12_a_record_that_is_taken_back_says_who_serves_again(world: World) -> None:
    """As `drkit runs rollback` does, from a run that stopped after its last effect."""
    from drkit.runs.actions.interface import StepCall

    run = _start(world)
    entries = world.journal().entries(run.id)
    context = world.context(_plan(world))

    class Hand:
        epoch = 1

        def check(self) -> None: ...
        def note(self, payload: object) -> None: ...
        def notes(self, name: str) -> list[object]:
            found = [e.payload.get(name) for e in entries if e.step == "record"]
            return [each for each in found if each is not None]

        def lease(self) -> object:
            return world.arbiter.acquire("assistant", "here", ttl_s=60)

    call = StepCall(run.id, "record", 1, {}, {}, Hand())  # type: ignore[arg-type]
    undo = ACTIONS["record_hold"].undo
    assert undo is not None
    assert "stays" in undo(call, None, context)
    world.prober.set(PRIMARY, MODEL)
    assert "lambda again" in undo(call, None, context)
    role = world.arbiter.read_role("assistant")
    assert role is not None
    assert (role.site, role.endpoint_url, role.epoch) == ("lambda", PRIMARY, 2)
    assert undo(call, None, context) == "the role record does not say so"

"""Users are on the external API within 30 s of a word, whoever had the lease (T3, R8)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from dead_runs import unhurried

from drkit.coordination.interface import LeaseHeld, LeaseLost
from drkit.coordination.memory import MemoryArbiter
from drkit.errors import VerificationFailed
from drkit.io_policy import LONGEST_EFFECT_S
from drkit.runs.actions.catalog import ACTIONS
from drkit.runs.book.plan import Plan, make_plan
from drkit.runs.book.schema import load_runbook
from drkit.runs.engine import execute
from drkit.runs.lease import LEASE_TTL_S
from drkit.runs.records import EXTERNAL, Ask, RunRecord, RunState
from drkit.runs.steering.break_glass import BrokenGlass
from drkit.traffic.interface import Setting
from drkit.verify import model as model_module

if TYPE_CHECKING:
    from conftest import Crash, World

TARGET = "http://192.0.2.1:8000"
MODEL, API = "Qwen3-4B", "claude-sonnet-4-5"
BOOK = load_runbook(Path(__file__).parents[3] / "runbooks" / "emergency-rollback.yaml")
PROMISED_S = 30.0
WAIT_S = LEASE_TTL_S + LONGEST_EFFECT_S


@pytest.fixture(autouse=True)
def users(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers users: the external API while they are held."""

    def answered(*_: object) -> str:
        return API if world.switches[1].read().held else MODEL

    monkeypatch.setattr(model_module, "ask_as_user", answered)
    world.runbook = BOOK
    world.real = tuple(step.action for step in BOOK.steps)


@pytest.fixture
def dead(world: World) -> MemoryArbiter:
    """Another machine died a moment ago, and had the lease."""
    arbiter = MemoryArbiter(world.clock, world.arbiter.place)
    arbiter.acquire("assistant", "there/failover", ttl_s=LEASE_TTL_S)
    return arbiter


def _plan(world: World) -> Plan:
    plan = make_plan(BOOK, config=world.config, kind="switchover", target=EXTERNAL, actions=ACTIONS)
    return unhurried(plan)


def _open(world: World) -> RunRecord:
    return world.journal().open_run(_plan(world), sandbox=False)


def _start(world: World, run: RunRecord | None = None, **changes: Any) -> RunRecord:
    run = run or _open(world)
    changes = {"gateway_url": "http://127.0.0.1:8080", **changes}
    context = world.context(_plan(world), **changes)
    return execute(world.journal(), run.id, world.fakes, context)


def _held_after_s(world: World) -> Callable[[], float]:
    """When the gateway was told to hold, in seconds from now."""
    gateway, began_s, seen = world.switches[1], world.clock.elapsed_s(), []
    apply = gateway.apply

    def applied(plan: Any, still: Any) -> None:
        apply(plan, still)
        seen.append(world.clock.elapsed_s() - began_s)

    gateway.apply = applied  # type: ignore[method-assign]
    return lambda: seen[0]


def _elapsed_s(world: World, run: RunRecord, step: str, kind: str = "done") -> float:
    entries = world.journal().entries(run.id)
    return next(e.elapsed_s for e in entries if (e.step, e.kind) == (step, kind))


@pytest.mark.parametrize("ran_out", [False, True])
def test_R8_users_do_not_wait_for_the_lease_of_a_machine_that_died(
    world: World, dead: MemoryArbiter, ran_out: bool
) -> None:
    if ran_out:
        world.arbiter.holding("assistant")
        world.clock.advance(LEASE_TTL_S + 1)
    held_after_s = _held_after_s(world)
    run = _start(world)
    assert run.state is RunState.COMMITTED
    assert held_after_s() < PROMISED_S
    assert _elapsed_s(world, run, "verify_held") < PROMISED_S
    assert _elapsed_s(world, run, "record") >= WAIT_S  # T3 holds for everything else
    assert [each.held for each in world.switches[1].history] == [False, True]


def test_R5_who_loses_the_lease_while_it_holds_users_sends_nothing_and_ends(
    world: World, dead: MemoryArbiter
) -> None:
    world.arbiter.holding("assistant")
    world.clock.advance(LEASE_TTL_S + 1)

    def slept(step: str, point: str) -> None:
        if (step, point) == ("hold", "after-intent"):
            dead.holding("assistant")
            world.clock.advance(LEASE_TTL_S + 1)
            dead.acquire("assistant", "there/failover", ttl_s=LEASE_TTL_S)

    with pytest.raises(LeaseLost):
        _start(world, breakpoint=slept)
    assert [each.held for each in world.switches[1].history] == [False]
    world.clock.advance(LEASE_TTL_S + 1)
    run = _start(world, world.journal().run("latest"))
    assert run.state is RunState.COMMITTED
    assert [each.held for each in world.switches[1].history] == [False, True]


def test_T3_what_arrives_late_and_leads_users_away_is_put_right(
    world: World, dead: MemoryArbiter
) -> None:
    gateway, sleep = world.switches[1], world.clock.sleep

    def sleeping(seconds: float) -> None:
        sleep(seconds)
        if world.clock.elapsed_s() > WAIT_S - 1 and len(gateway.history) == 2:
            gateway.set_by_another(Setting(False, TARGET))

    world.clock.sleep = sleeping  # type: ignore[method-assign]
    run = _start(world)
    assert run.state is RunState.COMMITTED
    assert [each.held for each in gateway.history] == [False, True, False, True]
    entries = world.journal().entries(run.id)
    (anew,) = [e for e in entries if e.kind == "replanned"]
    assert anew.payload["why"] == "what arrived late led users away: they are held again"
    done = [e.step for e in entries if e.kind == "done"]
    assert done == ["hold", "verify_held", "hold", "verify_held", "record"]


def test_R2_nobody_is_recorded_to_hold_users_who_were_led_away_since(world: World) -> None:
    gateway = world.switches[1]

    def moved(step: str, point: str) -> None:
        if (step, point) == ("record", "before-intent") and len(gateway.history) == 2:
            gateway.set_by_another(Setting(False, TARGET))

    run = _start(world, breakpoint=moved)
    assert run.state is RunState.NEEDS_OPERATOR
    assert world.arbiter.read_role("assistant") is None
    assert _start(world, run).state is RunState.COMMITTED
    assert gateway.read().held


def test_R8_without_the_arbiter_it_is_as_fast_once_it_was_typed(world: World) -> None:
    held_after_s = _held_after_s(world)
    run = _open(world)
    world.arbiter.place.down = True
    glass = BrokenGlass(world.database, "assistant", None)
    assert _start(world, run, arbiter=glass).state is RunState.COMMITTED
    assert held_after_s() < PROMISED_S
    assert _elapsed_s(world, run, "record") >= WAIT_S


def test_a_machine_that_lives_keeps_its_lease_and_users_are_held_all_the_same(
    world: World, dead: MemoryArbiter
) -> None:
    lease = dead.acquire("assistant", "there/failover", ttl_s=LEASE_TTL_S)
    sleep, kept = world.clock.sleep, [lease]

    def sleeping(seconds: float) -> None:
        sleep(seconds)
        kept.append(dead.renew(kept[-1]))

    world.clock.sleep = sleeping  # type: ignore[method-assign]
    run = _open(world)
    with pytest.raises(LeaseHeld):
        _start(world, run)
    assert world.switches[1].read().held
    assert world.journal().is_free(run.id)


def test_R1_what_nobody_typed_waits_for_its_lease(world: World, dead: MemoryArbiter) -> None:
    from drkit.config.decide import Decide
    from drkit.runs.journal.opening import Opener, Right

    settings = Decide(mode="auto")
    opener = Opener("there/daemon", Right.UNATTENDED, settings)
    run = world.journal().open_run(_plan(world), sandbox=False, opener=opener)
    with pytest.raises(LeaseHeld):
        _start(world, run)
    assert not world.switches[1].read().held


def test_a_gateway_that_does_not_answer_is_asked_again_under_the_lease(
    world: World, dead: MemoryArbiter
) -> None:
    world.switches[1].mute = 5  # as often as hold asks
    run = _start(world)
    assert run.state is RunState.COMMITTED
    assert world.switches[1].read().held


def test_users_are_not_held_once_more_by_a_run_that_is_to_be_taken_back(
    world: World, dead: MemoryArbiter
) -> None:
    run = _open(world)
    world.journal().ask(run.id, Ask("rollback", "ada"), who="ada")
    with pytest.raises(LeaseHeld):
        _start(world, run)
    assert not world.switches[1].read().held


def test_R12_users_who_turn_out_not_to_be_held_are_told_of(
    world: World, dead: MemoryArbiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_module, "ask_as_user", lambda *_: MODEL)
    assert _start(world).state is RunState.ROLLED_BACK
    assert world.arbiter.read_role("assistant") is None


@pytest.mark.parametrize("step", ["hold", "verify_held", "record"])
@pytest.mark.parametrize("point", ["before-intent", "after-intent", "after-effect", "after-record"])
def test_R5_killed_anywhere_on_the_way_it_is_resumed(
    world: World, dead: MemoryArbiter, crash: type[Crash], step: str, point: str
) -> None:
    run = _open(world)
    with pytest.raises(crash):
        _start(world, run, breakpoint=world.crash_at(step, point))
    assert world.resume(run.id, gateway_url="http://127.0.0.1:8080").state is RunState.COMMITTED
    assert [each.held for each in world.switches[1].history] == [False, True]
    role = world.arbiter.read_role("assistant")
    assert role is not None
    assert (role.site, role.epoch) == (EXTERNAL, 1)


def test_T3_a_failover_holds_nobody_before_its_lease(world: World, dead: MemoryArbiter) -> None:
    world.runbook = load_runbook(Path(__file__).parents[3] / "runbooks" / "primary-gpu-down.yaml")
    world.real = ("hold",)
    world.marks.fail["verify"] = [VerificationFailed("wrong", hint="look")]
    with pytest.raises(LeaseHeld):
        world.start()
    assert not world.switches[1].read().held

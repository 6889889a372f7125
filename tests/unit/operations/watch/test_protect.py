"""Users are held and led back by the leader alone, written down, and never twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from drkit.clock import ManualClock
from drkit.compute.interface import Endpoint, Still
from drkit.coordination.hold import Phase, Todo, hold_key, note_from
from drkit.coordination.interface import ArbiterUnreachable, RoleRecord
from drkit.coordination.leadership import LeaderPass, watch_key
from drkit.coordination.memory import MemoryArbiter, MemoryPlace
from drkit.errors import GuardRefused
from drkit.operations.watch.protect import Flip, NotLeading, Protector, Serving
from drkit.traffic.interface import Setting, SwitchFailed, SwitchPlan
from drkit.traffic.memory import MemorySwitch

URL = "http://10.0.0.1:8000"
HOME = Serving("lambda", Endpoint("http", "10.0.0.1", 8000))
DOWN = {"may_hold": True, "serving": None, "well": False}
WELL = {"may_hold": False, "serving": HOME, "well": True}


class Killed(BaseException):
    """The process dies here."""


class Scene:
    """One leader, one gateway, one DNS name that cannot hold anybody."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.place = MemoryPlace()
        self.arbiter = MemoryArbiter(self.clock, self.place)
        self.gateway = MemorySwitch("gw", setting=Setting(False, URL))
        self.dns = MemorySwitch("dns", carries_external=False, setting=Setting(False, "10.0.0.1"))
        self.audit: list[tuple[str, Mapping[str, object]]] = []
        self.lease = self.arbiter.acquire(watch_key("chat"), "a", ttl_s=10)

    def follow(self, *, leader: LeaderPass | None = None, **facts: object) -> Flip:
        protector = Protector(
            "chat",
            self.arbiter,
            (self.dns, self.gateway),
            leader or LeaderPass("a"),
            self.clock,
            lambda what, detail: self.audit.append((what, detail)),
        )
        return protector.follow(**facts)  # type: ignore[arg-type]

    def phase(self) -> Phase:
        return note_from(self.arbiter.read_role(hold_key("chat"))).phase

    @property
    def held(self) -> bool:
        return self.gateway.read().held


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    assert made.dns.history == [Setting(False, "10.0.0.1")]


def test_users_are_held_once_and_led_back_once(scene: Scene) -> None:
    assert scene.follow(**DOWN).todo is Todo.HOLD
    assert scene.held
    for _ in range(3):
        assert scene.follow(**DOWN).todo is Todo.NOTHING
    assert scene.follow(**WELL).todo is Todo.RELEASE
    assert scene.gateway.read() == Setting(False, URL)
    assert scene.follow(**WELL).todo is Todo.NOTHING
    assert [what for what, _ in scene.audit] == [
        "hold: holding",
        "hold: held",
        "hold: releasing",
        "hold: released",
    ]
    assert [detail["epoch"] for _, detail in scene.audit] == [1, 2, 3, 4]


def test_a_well_service_costs_no_question_to_a_switch(scene: Scene) -> None:
    scene.gateway.down = True
    assert scene.follow(**WELL).todo is Todo.NOTHING
    assert scene.follow(may_hold=False, serving=None, well=False).todo is Todo.NOTHING


def test_T2_who_does_not_lead_any_more_moves_nobody(scene: Scene) -> None:
    scene.clock.advance(10)
    with pytest.raises(NotLeading):
        scene.follow(**DOWN)
    scene.arbiter.acquire(watch_key("chat"), "b", ttl_s=10)
    with pytest.raises(NotLeading):
        scene.follow(**DOWN)
    assert len(scene.gateway.history) == 1
    assert scene.audit == []


def test_T2_leadership_is_asked_directly_before_the_switch_is_set(scene: Scene) -> None:
    def slow(_what: str, _detail: object) -> None:
        scene.clock.advance(10)  # the lid was closed while the intent was written

    leader = LeaderPass("a")
    protector = Protector("chat", scene.arbiter, (scene.gateway,), leader, scene.clock, slow)
    with pytest.raises(NotLeading):
        protector.follow(**DOWN)  # type: ignore[arg-type]
    assert not scene.held
    assert scene.phase() is Phase.HOLDING


def test_T3_after_a_takeover_the_first_flip_waits_and_looks_again(scene: Scene) -> None:
    free_from_s = scene.clock.elapsed_s() + 70
    waiting = LeaderPass("a", free_from_s)
    early = scene.follow(leader=waiting, **DOWN)
    assert (early.todo, scene.held) == (Todo.NOTHING, False)
    assert "T3" in early.why
    scene.clock.advance(45)
    scene.lease = scene.arbiter.acquire(watch_key("chat"), "a", ttl_s=60)
    assert scene.follow(leader=waiting, **DOWN).todo is Todo.HOLD
    assert scene.clock.elapsed_s() >= free_from_s
    assert scene.held


def test_T3_a_run_that_died_with_the_services_lease_is_waited_for_too(scene: Scene) -> None:
    other = MemoryArbiter(ManualClock(), scene.place)
    other.acquire("chat", "run-1", ttl_s=30)
    scene.lease = scene.arbiter.acquire(watch_key("chat"), "a", ttl_s=600)
    waited_s = 0
    while scene.follow(**DOWN).todo is Todo.NOTHING:
        assert not scene.held
        # Nobody took the lease meanwhile: the run may be resumed at any moment.
        holding = other.holding("chat")
        assert holding is not None and holding.holder == "run-1"
        scene.clock.advance(10)
        waited_s += 10
    assert scene.held
    assert 60 <= waited_s <= 90  # and the last 30 s within the command


def test_R1_without_the_arbiter_nobody_is_moved(scene: Scene) -> None:
    scene.place.down = True
    with pytest.raises(ArbiterUnreachable):
        scene.follow(**DOWN)
    assert not scene.held


def test_a_role_that_was_recorded_meanwhile_stops_the_flip(scene: Scene) -> None:
    real = scene.gateway.plan

    def meanwhile(before: Setting, to: object) -> SwitchPlan:
        # Another one moved the role with a lease that we do not see in time.
        state = scene.place.read("chat")
        role = RoleRecord("chat", 1, "vast", None, scene.clock.now(), "run-1")
        scene.place.change("chat", lambda _state: replace(state, role=role))
        return real(before, to)  # type: ignore[arg-type]

    scene.gateway.plan = meanwhile  # type: ignore[method-assign, assignment]
    with pytest.raises(GuardRefused, match="epoch 1"):
        scene.follow(**DOWN)
    assert not scene.held


def test_a_switch_that_fails_is_tried_again_in_the_next_round(scene: Scene) -> None:
    scene.gateway.deaf = True
    with pytest.raises(SwitchFailed):
        scene.follow(**DOWN)
    assert scene.phase() is Phase.HOLDING
    scene.gateway.deaf = False
    assert scene.follow(**DOWN).todo is Todo.HOLD
    assert (scene.phase(), scene.held) == (Phase.HELD, True)


@pytest.mark.parametrize("point", ["begun", "set", "told"])
@pytest.mark.parametrize("then", ["down", "well"])
def test_who_dies_in_a_flip_leaves_what_the_next_one_ends(
    scene: Scene, point: str, then: str
) -> None:
    """Killed after the intent, after the effect, after the record: by the audit, switch, note."""
    real = scene.gateway.apply

    def dies(plan: SwitchPlan, still: Still) -> None:
        if point == "set":
            real(plan, still)
        raise Killed

    def audit(what: str, detail: Mapping[str, object]) -> None:
        if point == "told" and what == "hold: held":
            raise Killed

    if point != "told":
        scene.gateway.apply = dies  # type: ignore[method-assign]
    first = Protector("chat", scene.arbiter, (scene.gateway,), LeaderPass("a"), scene.clock, audit)
    with pytest.raises(Killed):
        first.follow(**DOWN)  # type: ignore[arg-type]
    scene.gateway.apply = real  # type: ignore[method-assign]

    # Another daemon takes over, after the dead one's leases ran out and T3 is over.
    scene.clock.advance(100)
    scene.arbiter.acquire(watch_key("chat"), "b", ttl_s=10)
    next_one = Protector(
        "chat",
        scene.arbiter,
        (scene.gateway,),
        LeaderPass("b"),
        scene.clock,
        lambda _what, _detail: None,
    )
    for _ in range(3):
        next_one.follow(**(DOWN if then == "down" else WELL))  # type: ignore[arg-type]
    assert scene.held is (then == "down")
    assert next_one.note().phase is (Phase.HELD if then == "down" else Phase.RELEASED)
    assert len(scene.gateway.history) <= 3


def test_an_operators_hold_is_never_taken_off_and_one_they_took_off_not_put_on(
    scene: Scene,
) -> None:
    scene.gateway.set_by_another(Setting(True, URL))
    for facts in (DOWN, WELL, DOWN):
        assert scene.follow(**facts).todo is Todo.NOTHING
    assert scene.held
    scene.gateway.set_by_another(Setting(False, URL))
    assert scene.follow(**DOWN).todo is Todo.HOLD
    scene.gateway.set_by_another(Setting(False, URL))
    for _ in range(3):
        scene.follow(**DOWN)
    assert not scene.held
    scene.follow(**WELL)
    assert scene.follow(**DOWN).todo is Todo.HOLD  # another outage


def test_a_gateway_that_is_down_keeps_no_other_from_holding_and_is_held_when_it_is_back(
    scene: Scene,
) -> None:
    other = MemorySwitch("other", "http://other", setting=Setting(False, URL))
    other.down = True

    def follow(**facts: object) -> Flip:
        switches = (scene.gateway, other)
        leader, said = LeaderPass("a"), lambda *_said: None
        protector = Protector("chat", scene.arbiter, switches, leader, scene.clock, said)
        return protector.follow(**facts)  # type: ignore[arg-type]

    assert follow(**DOWN).note.switches == ("gw",)
    assert scene.held
    other.down, other.deaf = False, True
    with pytest.raises(SwitchFailed):
        follow(**DOWN)
    other.deaf = False
    assert follow(**DOWN).note.switches == ("gw", "other")
    assert other.read().held
    other.down = True
    with pytest.raises(SwitchFailed):  # how it stands is not known, so nobody is led back
        follow(**WELL)
    assert scene.held
    other.down = False
    assert follow(**WELL).todo is Todo.RELEASE
    assert (scene.held, other.read().held) == (False, False)


def test_a_gateway_that_fails_in_the_flip_keeps_no_other_from_being_set(scene: Scene) -> None:
    first = MemorySwitch("first", "http://first", setting=Setting(False, URL))
    first.deaf = True
    leader, said = LeaderPass("a"), lambda *_said: None
    switches = (first, scene.gateway)
    protector = Protector("chat", scene.arbiter, switches, leader, scene.clock, said)
    for _ in range(2):
        with pytest.raises(SwitchFailed):
            protector.follow(**DOWN)  # type: ignore[arg-type]
        assert scene.held
    assert protector.note().phase is Phase.HOLDING
    first.deaf = False
    assert protector.follow(**DOWN).note.phase is Phase.HELD  # type: ignore[arg-type]


def test_without_an_external_api_there_is_nothing_to_hold_with(scene: Scene) -> None:
    protector = Protector(
        "chat", scene.arbiter, (scene.dns,), LeaderPass("a"), scene.clock, lambda *_said: None
    )
    assert protector.follow(**DOWN).todo is Todo.NOTHING  # type: ignore[arg-type]

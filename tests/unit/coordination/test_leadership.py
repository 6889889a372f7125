"""One of several daemons leads; the others take over when it is gone, and not before."""

from __future__ import annotations

import random

import pytest

from drkit.clock import ManualClock
from drkit.coordination.interface import Lease
from drkit.coordination.leadership import (
    STANDING_BY,
    LeaderPass,
    Leadership,
    Stand,
    Unled,
    given_pass,
    watch_key,
)
from drkit.coordination.memory import MemoryArbiter, MemoryPlace
from drkit.io_policy import LONGEST_EFFECT_S

TTL_S = 10.0


class Machine:
    """A daemon on a machine of its own, with its own clock."""

    def __init__(self, place: MemoryPlace, name: str) -> None:
        self.clock = ManualClock()
        self.arbiter = MemoryArbiter(self.clock, place)
        self.leadership = Leadership(self.arbiter, "chat", name, self.clock, ttl_s=TTL_S)

    def step(self) -> Stand:
        return self.leadership.step().stand


@pytest.fixture
def place() -> MemoryPlace:
    return MemoryPlace()


def pass_time(seconds: float, *machines: Machine) -> None:
    for machine in machines:
        machine.clock.advance(seconds)


def test_the_first_leads_and_the_second_stands_by(place: MemoryPlace) -> None:
    a, b = Machine(place, "a"), Machine(place, "b")
    assert (a.step(), b.step()) == (Stand.LEADS, Stand.STANDS_BY)
    for _ in range(100):
        pass_time(TTL_S / 3, a, b)
        assert (a.step(), b.step()) == (Stand.LEADS, Stand.STANDS_BY)
    assert a.leadership.given() == LeaderPass("a", 0.0)
    assert b.leadership.given() is None


def test_a_leader_that_dies_is_followed_within_fifteen_seconds(place: MemoryPlace) -> None:
    a, b = Machine(place, "a"), Machine(place, "b")
    a.step()
    waited_s = 0.0
    while b.step() is not Stand.LEADS:
        waited_s += b.leadership.pause_s
        pass_time(b.leadership.pause_s, b)
    assert TTL_S <= waited_s <= 15


def test_T3_who_took_over_acts_only_when_nothing_can_still_arrive(place: MemoryPlace) -> None:
    a, b = Machine(place, "a"), Machine(place, "b")
    a.step()
    b.step()
    pass_time(TTL_S, b)
    assert b.step() is Stand.LEADS
    given = b.leadership.given()
    assert given is not None
    assert given.free_from_s == b.clock.elapsed_s() + TTL_S + LONGEST_EFFECT_S


def test_T3_who_goes_before_that_is_over_leaves_the_wait_to_the_next(place: MemoryPlace) -> None:
    a, b, c = (Machine(place, name) for name in "abc")
    a.step()
    b.step()
    pass_time(TTL_S, b)
    b.step()
    c.step()
    b.leadership.give_up()
    assert c.step() is Stand.STANDS_BY
    pass_time(TTL_S, c)
    assert c.step() is Stand.LEADS
    given = c.leadership.given()
    assert given is not None
    assert given.free_from_s > c.clock.elapsed_s()


def test_a_lease_that_is_given_back_is_free_at_once_and_nobody_waits(place: MemoryPlace) -> None:
    a, b = Machine(place, "a"), Machine(place, "b")
    a.step()
    a.leadership.give_up()
    a.leadership.give_up()
    assert b.step() is Stand.LEADS
    assert b.leadership.given() == LeaderPass("b", 0.0)


def test_T2_who_slept_does_not_lead_when_it_wakes_and_says_so_without_asking(
    place: MemoryPlace,
) -> None:
    a, b = Machine(place, "a"), Machine(place, "b")
    a.step()
    b.step()
    pass_time(TTL_S, a, b)
    place.down = True
    assert not a.leadership.leads()
    assert a.leadership.given() is None
    place.down = False
    assert b.step() is Stand.LEADS
    assert a.step() is Stand.STANDS_BY


def test_R1_a_leader_without_an_arbiter_leads_to_the_end_of_its_lease_and_no_longer(
    place: MemoryPlace,
) -> None:
    a = Machine(place, "a")
    a.step()
    place.down = True
    pass_time(TTL_S - 1, a)
    assert a.step() is Stand.LEADS
    pass_time(1, a)
    assert a.step() is Stand.CUT_OFF
    place.down = False
    assert a.step() is Stand.LEADS


def test_T1_a_leader_whose_clock_goes_wrong_gives_the_lease_back(place: MemoryPlace) -> None:
    a, b = Machine(place, "a"), Machine(place, "b")
    a.step()
    place.skew = 400.0
    b.leadership.step()  # its clock is wrong too, and it has never led
    stands = []
    for _ in range(300):
        pass_time(TTL_S / 3, a)
        stands.append(a.step())
    assert stands[-1] is Stand.REFUSED
    assert stands.index(Stand.REFUSED) * TTL_S / 3 <= 670
    assert b.arbiter.holding(watch_key("chat")) is None


def test_the_service_itself_stays_free_for_a_run(place: MemoryPlace) -> None:
    a = Machine(place, "a")
    a.step()
    lease = a.arbiter.acquire("chat", "run-1", ttl_s=30)
    assert isinstance(lease, Lease)


def test_a_command_knows_whether_a_daemon_started_it_and_whether_that_one_leads() -> None:
    given = LeaderPass("vm/daemon-1", 12.5)
    assert given_pass(given.environment()) == given
    assert given_pass(STANDING_BY) is Unled.BY_DAEMON
    assert given_pass({}) is Unled.BY_HAND
    for damaged in ("{", "[]", '{"holder": "x"}', '{"holder": "x", "free_from_s": "y"}'):
        assert given_pass({"DRKIT_LEADER": damaged}) is Unled.BY_DAEMON


def test_at_no_time_do_two_lead(place: MemoryPlace) -> None:
    """Steps that stall, sleep, and lose the arbiter, in any order."""
    rng = random.Random(20260101)
    for _ in range(40):
        place = MemoryPlace()
        machines = [Machine(place, name) for name in "abc"]
        for machine in machines:
            machine.clock.advance(rng.uniform(0, 1e6))
        led = 0
        for _ in range(300):
            pass_time(rng.choice([0.5, 2, 3.3, 11]), *machines)
            place.down = rng.random() < 0.2
            for machine in rng.sample(machines, rng.randint(1, 3)):
                machine.step()
            leaders = [machine for machine in machines if machine.leadership.leads()]
            assert len(leaders) <= 1
            led += len(leaders)
        assert led > 20

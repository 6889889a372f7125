"""How long a request may take, and how fast it may go, on a clock that is turned by hand."""

from __future__ import annotations

import pytest

from drkit.clock import ManualClock
from drkit.io_policy import Deadline
from drkit.pace import Allowance, Throttle

DEADLINE = Deadline(connect_s=5, total_s=60, min_bytes_per_s=1000)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_S10_silence_of_half_the_time_is_the_end(clock: ManualClock) -> None:
    allowance = Allowance(DEADLINE, clock)
    assert allowance.left_s() == 30
    clock.advance(29)
    assert allowance.left_s() == 1
    allowance.moved(1)
    assert allowance.left_s() == pytest.approx(30)


def test_S10_a_drip_is_over_after_the_time_and_what_its_bytes_earned(clock: ManualClock) -> None:
    allowance = Allowance(DEADLINE, clock)
    seconds = 0
    while allowance.left_s() > 0:
        clock.advance(1)
        allowance.moved(10)
        seconds += 1
        assert seconds < 100
    assert seconds == 61  # 60 s, and 10 bytes a second at 1000 a second


def test_a_body_that_moves_fast_enough_may_take_as_long_as_it_needs(clock: ManualClock) -> None:
    allowance = Allowance(DEADLINE, clock)
    for _ in range(10_000):
        clock.advance(1)
        allowance.moved(1000)
        assert allowance.left_s() > 0


def test_S10_a_request_that_moves_is_over_when_its_tries_are(clock: ManualClock) -> None:
    allowance = Allowance(DEADLINE, clock, ends_s=clock.elapsed_s() + 10)
    clock.advance(8)
    allowance.moved(10**9)
    assert allowance.left_s() == 2
    clock.advance(2)
    assert allowance.left_s() == 0


def test_a_deadline_without_a_rate_grows_with_no_byte(clock: ManualClock) -> None:
    allowance = Allowance(Deadline(connect_s=1, total_s=10), clock)
    for _ in range(9):
        clock.advance(1)
        allowance.moved(10**9)
    assert allowance.left_s() == 1


def test_a_throttle_lets_through_what_it_says_over_time(clock: ManualClock) -> None:
    throttle = Throttle(1000, clock)
    began_s = clock.elapsed_s()
    for _ in range(100):
        throttle.wait(500)
    assert clock.elapsed_s() - began_s == pytest.approx(50, abs=1.5)


def test_a_throttle_saves_no_more_than_a_second(clock: ManualClock) -> None:
    throttle = Throttle(1000, clock)
    clock.advance(3600)
    assert throttle.wait(1000) == 0
    assert throttle.wait(1000) == pytest.approx(1)


def test_waiting_for_a_throttle_is_not_on_the_server(clock: ManualClock) -> None:
    allowance = Allowance(DEADLINE, clock, ends_s=clock.elapsed_s() + 40)
    before_s = allowance.left_s()
    allowance.wait_for(Throttle(1, clock), 1000)
    assert clock.elapsed_s() > 900
    assert allowance.left_s() == pytest.approx(before_s)


def test_without_a_throttle_nothing_waits(clock: ManualClock) -> None:
    Allowance(DEADLINE, clock).wait_for(None, 10**12)
    assert clock.elapsed_s() == 0

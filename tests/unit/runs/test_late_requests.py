"""T3: what was sent and is not waited for any more holds up every effect that comes after it."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from drkit.clock import ManualClock
from drkit.coordination.interface import LeaseHeld, LeaseLost
from drkit.coordination.memory import MemoryArbiter, MemoryPlace
from drkit.io_policy import LONGEST_EFFECT_S
from drkit.runs.failures import StepStopped
from drkit.runs.guard import StepGuard
from drkit.runs.lease import LEASE_TTL_S, KeptLease
from drkit.runs.records import Entry
from drkit.runs.states import owes_a_wait, under_way


def _machines() -> tuple[ManualClock, MemoryArbiter, MemoryArbiter]:
    clock, place = ManualClock(), MemoryPlace()
    return clock, MemoryArbiter(clock, place), MemoryArbiter(clock, place)


def _guard(kept: KeptLease, clock: ManualClock) -> tuple[StepGuard, list[Entry]]:
    written = [Entry(1, clock.now(), 0.0, "acquire", 1, "intent", {"effect": "paid"})]

    def append(_run: str, kind: Any, **values: Any) -> None:
        entry = Entry(2, clock.now(), 0.0, values["step"], 1, kind, values["payload"])
        written.append(entry)

    known = SimpleNamespace(local_only=False)
    journal = cast(
        Any, SimpleNamespace(append=append, holds=lambda _run: True, run=lambda _run: known)
    )
    guard = StepGuard(journal, "run", "acquire", 2, kept, clock)
    guard.begin(1)
    return guard, written


def test_T3_a_lease_is_not_given_back_while_something_may_still_arrive() -> None:
    clock, one, other = _machines()
    with KeptLease(one, "s", "one/run", clock) as kept:
        guard, _ = _guard(kept, clock)
        assert guard.leave("it did not stop when it was told to")
        assert kept.wait_s() == LEASE_TTL_S + LONGEST_EFFECT_S
    with pytest.raises(LeaseHeld):
        other.acquire("s", "other/run", ttl_s=LEASE_TTL_S)
    clock.advance(LEASE_TTL_S)
    with KeptLease(other, "s", "other/run", clock) as kept:
        assert kept.wait_s() == LEASE_TTL_S + LONGEST_EFFECT_S


def test_a_lease_is_given_back_when_all_that_was_sent_has_ended() -> None:
    clock, one, other = _machines()
    with KeptLease(one, "s", "one/run", clock):
        pass
    with KeptLease(other, "s", "other/run", clock) as kept:
        assert kept.wait_s() == 0


def test_T3_a_call_that_nobody_waits_for_is_waited_for_by_the_next_process() -> None:
    clock, one, _ = _machines()
    with KeptLease(one, "s", "one/run", clock) as kept:
        guard, written = _guard(kept, clock)
        guard.note({"effect_unknown": "it did not return in its time"})
        assert not under_way(written)  # by its deadline it has happened, or never will
        del written[1:]
        guard.leave("it did not stop when it was told to")
        assert owes_a_wait(written)
        guard.note({"effect_unknown": "told to stop"})  # by the next one, which did not wait enough
        assert owes_a_wait(written)
        guard.note({"outwaited": True})
        assert not owes_a_wait(written)


def test_a_step_that_ended_is_not_left_behind() -> None:
    clock, one, _ = _machines()
    with KeptLease(one, "s", "one/run", clock) as kept:
        guard, written = _guard(kept, clock)
        assert guard.settle()
        assert not guard.leave("too late")
        assert kept.wait_s() == 0
        assert len(written) == 1


def test_a_step_that_was_left_before_it_began_never_begins() -> None:
    """Its thread came to nothing for so long that nobody waited: the process was stopped."""
    clock, one, _ = _machines()
    with KeptLease(one, "s", "one/run", clock) as kept:
        guard, written = _guard(kept, clock)
        late = StepGuard(guard._journal, "run", "deploy", 2, kept, clock)
        assert late.leave("no result within 60 s")
        with pytest.raises(StepStopped):
            late.begin(1, {"effect": "write"})
        assert len(written) == 1
        assert kept.wait_s() == 0


def test_T3_what_got_no_answer_may_arrive_until_long_after_it_was_sent() -> None:
    """Not after its step began: that was long before."""
    clock, one, _ = _machines()
    with KeptLease(one, "s", "one/run", clock) as kept:
        guard, _ = _guard(kept, clock)
        clock.advance(LEASE_TTL_S / 2)
        guard.check()
        guard.unanswered({})
        assert kept.wait_s() == LONGEST_EFFECT_S


def test_T3_who_leaves_a_step_that_begins_at_this_moment_waits_for_what_it_sends() -> None:
    clock, one, _ = _machines()
    with KeptLease(one, "s", "one/run", clock) as kept:
        guard, written = _guard(kept, clock)
        begins = StepGuard(guard._journal, "run", "deploy", 2, kept, clock)
        leaving = threading.Thread(target=begins.leave, args=["no result within 60 s"])
        append = guard._journal.append

        def left_meanwhile(*entry: Any, **values: Any) -> None:
            if entry[1] == "intent":
                leaving.start()
                leaving.join(0.05)  # it goes on when the step has begun
            append(*entry, **values)

        guard._journal.append = left_meanwhile  # type: ignore[method-assign]
        begins.begin(1, {"effect": "paid"})
        leaving.join()
        assert begins.stopped
        assert kept.wait_s() == LEASE_TTL_S + LONGEST_EFFECT_S
        assert owes_a_wait(written)


def test_a_step_that_was_told_to_stop_asks_nobody_and_ends_its_pause() -> None:
    clock, one, _ = _machines()
    kept = KeptLease(one, "s", "one/run", clock)
    kept._acquire()
    guard, _ = _guard(kept, clock)

    def told_meanwhile(seconds: float) -> None:
        clock.advance(seconds)
        guard.stop()

    clock.sleep = told_meanwhile  # type: ignore[method-assign]
    began_s = clock.elapsed_s()
    with pytest.raises(StepStopped):
        guard.pause(60.0)
    assert clock.elapsed_s() - began_s < 1
    one.place.down = True
    with pytest.raises(StepStopped):
        guard.check()


def test_T3_a_lease_that_another_held_meanwhile_is_not_taken_again_in_mid_step() -> None:
    clock, one, other = _machines()
    kept = KeptLease(one, "s", "one/run", clock)  # not kept alive: its process stands still
    kept._acquire()
    with pytest.raises(LeaseHeld):
        other.acquire("s", "other/run", ttl_s=LEASE_TTL_S)
    clock.advance(LEASE_TTL_S)
    other.acquire("s", "other/run", ttl_s=LEASE_TTL_S)  # and dies
    guard, _ = _guard(kept, clock)
    with pytest.raises(LeaseLost):
        guard.check()
    clock.advance(LEASE_TTL_S)
    with pytest.raises(LeaseLost):
        guard.check()
    with KeptLease(one, "s", "one/run", clock) as anew:
        assert anew.wait_s() == LEASE_TTL_S + LONGEST_EFFECT_S


def test_a_lease_that_ran_out_in_the_middle_of_a_long_step_is_taken_again() -> None:
    """The arbiter was away for longer than the lease lives, and nobody else took it: nobody can."""
    clock, one, other = _machines()
    kept = KeptLease(one, "s", "one/run", clock)
    kept._acquire()
    assert kept._lease is not None
    with pytest.raises(LeaseHeld):  # the other one counts from now on
        other.acquire("s", "other/hold", ttl_s=LEASE_TTL_S)
    clock.advance(LEASE_TTL_S)
    kept._keep_alive(kept._lease)
    with pytest.raises(LeaseHeld):
        other.acquire("s", "other/hold", ttl_s=LEASE_TTL_S)
    assert kept.wait_s() == 0


def test_T3_a_lease_that_another_took_meanwhile_is_left_to_it() -> None:
    clock, one, other = _machines()
    kept = KeptLease(one, "s", "one/run", clock)
    kept._acquire()
    lease = kept._lease
    assert lease is not None
    with pytest.raises(LeaseHeld):
        other.acquire("s", "other/run", ttl_s=LEASE_TTL_S)
    clock.advance(LEASE_TTL_S)
    other.acquire("s", "other/run", ttl_s=LEASE_TTL_S)
    clock.advance(LEASE_TTL_S)
    with pytest.raises(LeaseLost):
        kept._keep_alive(lease)
    with pytest.raises(LeaseLost):
        kept.prove("run", None)

"""Who serves is recorded under a lease that the run itself renews in the background."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from drkit.clock import ManualClock
from drkit.coordination.interface import Lease, LeaseLost, RoleRecord
from drkit.coordination.memory import MemoryArbiter
from drkit.runs.actions.recording import record_role


class Guard:
    """Gives the lease, which is renewed `renewals` times directly after it was given."""

    def __init__(self, arbiter: MemoryArbiter, renewals: int) -> None:
        self._arbiter = arbiter
        self.renewals = renewals
        self._own = arbiter.acquire("chat", "here/run", ttl_s=30)

    def check(self) -> None:
        """Nothing else stands against it."""

    def lease(self) -> Lease:
        given = self._own = self._arbiter.renew(self._own)
        if self.renewals:
            self.renewals -= 1
            self._own = self._arbiter.renew(self._own)
        return given


@pytest.mark.parametrize("renewals", [0, 1, 2])
def test_a_renewal_in_the_background_stops_no_record(renewals: int) -> None:
    clock = ManualClock()
    arbiter = MemoryArbiter(clock)
    call = cast(Any, SimpleNamespace(guard=Guard(arbiter, renewals)))
    context = cast(Any, SimpleNamespace(arbiter=arbiter))
    record = RoleRecord("chat", 1, "coreweave", None, clock.now(), "run")
    record_role(call, context, record)
    assert arbiter.read_role("chat") == record


def test_R5_a_lease_that_is_never_its_own_records_nothing() -> None:
    clock = ManualClock()
    arbiter = MemoryArbiter(clock)
    call = cast(Any, SimpleNamespace(guard=Guard(arbiter, 1000)))
    record = RoleRecord("chat", 1, "coreweave", None, clock.now(), "run")
    with pytest.raises(LeaseLost):
        record_role(call, cast(Any, SimpleNamespace(arbiter=arbiter)), record)
    assert arbiter.read_role("chat") is None

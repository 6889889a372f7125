"""An arbiter in memory that passes the suite and can be told to be unreachable."""

from __future__ import annotations

import threading

from drkit.clock import Clock
from drkit.coordination.arbiter import PlacedArbiter, Step
from drkit.coordination.interface import ArbiterUnreachable
from drkit.coordination.rules import ServiceState
from drkit.coordination.sightings import MemorySightings


class MemoryPlace:
    """States by service. `down`: nothing can be read or written. `skew`: of its clock, in s."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, ServiceState] = {}
        self.down = False
        self.skew: float | None = None

    def read(self, service: str) -> ServiceState:
        self._answer()
        return self._states.get(service, ServiceState())

    def change(self, service: str, step: Step) -> ServiceState:
        self._answer()
        with self._lock:
            state = step(self._states.get(service, ServiceState()))
            self._states[service] = state
        return state

    def prove(self) -> str:
        return "one process, one lock"

    def skew_s(self) -> float | None:
        self._answer()
        return self.skew

    def _answer(self) -> None:
        if self.down:
            raise ArbiterUnreachable("the arbiter does not answer", hint="bring it back")


class MemoryArbiter(PlacedArbiter):
    """One machine's view; machines that share `place` compete for the same leases."""

    def __init__(self, clock: Clock, place: MemoryPlace | None = None) -> None:
        self.place = place or MemoryPlace()
        super().__init__(self.place, MemorySightings(), clock)

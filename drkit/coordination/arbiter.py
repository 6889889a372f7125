"""The arbiter on any place that can compare and swap one small state per service."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from drkit.clock import Clock
from drkit.coordination.interface import ClockSkewed, Holding, Lease, RoleRecord
from drkit.coordination.rules import ServiceState, acquired, recorded, released, renewed
from drkit.coordination.sightings import Sightings, left_s
from drkit.units import format_duration

Step = Callable[[ServiceState], ServiceState]

MOST_SKEW_S = 300.0
_ASK_CLOCK_EVERY_S = 600.0


class Place(Protocol):
    """Where the states lie. All methods raise `ArbiterUnreachable`, `change` what `step` raises."""

    def read(self, service: str) -> ServiceState:
        """The state as it was last written whole; empty if there is none."""
        ...

    def change(self, service: str, step: Step) -> ServiceState:
        """Replaces the state by `step(state)`, atomically and durably: no other change comes
        between reading and writing. `step` may be called again. Returns the new state.
        """
        ...

    def prove(self) -> str:
        """How it was seen to compare before it writes, in words; leaves no state behind (R1).

        Raises `GuardRefused` naming what it let through.
        """
        ...

    def skew_s(self) -> float | None:
        """Seconds that the place's clock is ahead of this machine's; None: it has none."""
        ...


class PlacedArbiter:
    """`Arbiter`: the rules, this machine's count of time, and a place."""

    def __init__(self, place: Place, sightings: Sightings, clock: Clock) -> None:
        self._place = place
        self._sightings = sightings
        self._clock = clock
        self._clock_asked_s: float | None = None

    def read_role(self, service: str) -> RoleRecord | None:
        return self._place.read(service).role

    def acquire(self, service: str, holder: str, *, ttl_s: float) -> Lease:
        self.refuse_skew()
        wanted = Lease(service, holder, ttl_s, _new_token())
        started_s = self._clock.elapsed_s()
        former: list[Lease | None] = []

        def step(state: ServiceState) -> ServiceState:
            former[:] = [state.lease]
            return acquired(state, wanted, left_s=self._left_s(state))

        self._place.change(service, step)
        (before,) = former
        taken_over = before is not None and before.holder != holder
        return self._own(replace(wanted, taken_over=taken_over), started_s)

    def holding(self, service: str) -> Holding | None:
        state = self._place.read(service)
        return None if state.lease is None else Holding(state.lease.holder, self._left_s(state))

    def renew(self, lease: Lease) -> Lease:
        token = _new_token()
        started_s = self._clock.elapsed_s()
        state = self._place.change(
            lease.service,
            lambda state: renewed(state, lease, token, left_s=self._left_s(state)),
        )
        assert state.lease is not None
        return self._own(state.lease, started_s)

    def release(self, lease: Lease) -> None:
        self._place.change(lease.service, lambda state: released(state, lease))

    def record_role(self, lease: Lease, record: RoleRecord) -> None:
        self._place.change(
            lease.service,
            lambda state: recorded(state, lease, record, left_s=self._left_s(state)),
        )

    def refuse_skew(self) -> None:
        """Raises `ClockSkewed` (T1). The place's clock is asked now and then, and again at once
        where it was refused.
        """
        now_s = self._clock.elapsed_s()
        asked_s = self._clock_asked_s
        if asked_s is not None and now_s - asked_s < _ASK_CLOCK_EVERY_S:
            return
        skew_s = self._place.skew_s()
        if skew_s is not None and abs(skew_s) > MOST_SKEW_S:
            way = "behind" if skew_s > 0 else "ahead of"
            raise ClockSkewed(
                f"this machine's clock is {format_duration(abs(skew_s))} {way} the arbiter's; "
                "it may not lead or start a run",
                hint="set the clock (timedatectl set-ntp true), then try again",
            )
        self._clock_asked_s = now_s

    def _left_s(self, state: ServiceState) -> float:
        if state.lease is None:
            return 0.0
        return left_s(self._sightings, state.lease, self._clock.elapsed_s())

    def _own(self, lease: Lease, started_s: float) -> Lease:
        """A lease of our own is counted from before it was written: it ends here first."""
        self._sightings.save(lease.service, (lease.token, started_s))
        return lease


def _new_token() -> str:
    return secrets.token_hex(16)

"""Which of several daemons leads: the one that has the lease of the watch.

Only it decides and acts; the others probe on and stand by. The lease of the watch is not that of
the service, which a run has while it acts: who leads may change in the middle of a run.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

import orjson

from drkit.clock import Clock
from drkit.coordination.interface import (
    Arbiter,
    ArbiterUnreachable,
    ClockSkewed,
    Lease,
    LeaseHeld,
    LeaseLost,
)
from drkit.errors import GuardRefused
from drkit.io_policy import LONGEST_EFFECT_S

# Its own clock is asked anew this often, by taking the lease again where it would be renewed.
_TAKE_ANEW_EVERY_S = 60.0
_PASS = "DRKIT_LEADER"  # noqa: S105 - no secret: a name and a time


def watch_key(service: str) -> str:
    """What the lease of the watch is called on the arbiter."""
    return f"{service}/watch"


class Stand(Enum):
    LEADS = "leads"
    STANDS_BY = "stands by"
    CUT_OFF = "cannot reach the arbiter"
    REFUSED = "may not lead"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a daemon stands, and why in words."""

    stand: Stand
    why: str = ""


@dataclass(frozen=True, slots=True)
class LeaderPass:
    """What a leader gives to the commands it starts: in whose name they act, and from when on.

    `free_from_s` is on `Clock.elapsed_s`, which all processes of one machine share.
    """

    holder: str
    free_from_s: float = 0.0

    def environment(self) -> dict[str, str]:
        value = {"holder": self.holder, "free_from_s": self.free_from_s}
        return {_PASS: orjson.dumps(value).decode()}


STANDING_BY: Mapping[str, str] = {_PASS: ""}
"""The environment of commands that a daemon starts while it does not lead."""


class Unled(Enum):
    """How a command was started that has no pass."""

    BY_DAEMON = "by a daemon that does not lead"
    BY_HAND = "by nobody who leads"


def given_pass(environment: Mapping[str, str] = os.environ) -> LeaderPass | Unled:
    """The pass of the daemon that started this command, or that there is none."""
    text = environment.get(_PASS)
    if text is None:
        return Unled.BY_HAND
    try:
        value = orjson.loads(text)
        return LeaderPass(str(value["holder"]), float(value["free_from_s"]))
    except (ValueError, TypeError, KeyError):
        return Unled.BY_DAEMON


class Leadership:
    """One candidate. `step` is called every `pause_s`; the rest may be asked by any thread."""

    def __init__(
        self, arbiter: Arbiter, service: str, holder: str, clock: Clock, *, ttl_s: float
    ) -> None:
        self._arbiter = arbiter
        self._key = watch_key(service)
        self._holder = holder
        self._clock = clock
        self._ttl_s = ttl_s
        self._lock = threading.Lock()
        self._lease: Lease | None = None
        self._until_s = 0.0
        self._taken_s = 0.0
        self._free_from_s = 0.0

    @property
    def pause_s(self) -> float:
        """Between two steps: a third of the lease for who leads; who waits looks more often."""
        return self._ttl_s / 3 if self.leads() else self._ttl_s / 5

    def leads(self) -> bool:
        """Whether the lease is held now, counted on a clock that runs on in suspend (T2)."""
        with self._lock:
            return self._lease is not None and self._clock.elapsed_s() < self._until_s

    def given(self) -> LeaderPass | None:
        """The pass for a command that is started now; None when this one does not lead."""
        return LeaderPass(self._holder, self._free_from_s) if self.leads() else None

    def step(self) -> Position:
        """Renews the lease, or tries to get it. Never raises for what the arbiter does."""
        try:
            return self._renew() or self._acquire()
        except ClockSkewed as error:
            self.give_up()
            return Position(Stand.REFUSED, error.message)
        except GuardRefused as error:
            return Position(Stand.REFUSED, error.message)
        except ArbiterUnreachable as error:
            # What is held is held until it ends: nobody else gets it sooner.
            if self.leads():
                return Position(Stand.LEADS, f"not renewed: {error.message}")
            return Position(Stand.CUT_OFF, error.message)

    def give_up(self) -> None:
        """Gives the lease back, so that another one need not wait. May be called twice.

        A lease that was taken over a short while ago runs out instead: whoever gets it next must
        learn that something may still arrive (T3).
        """
        with self._lock:
            lease, self._lease = self._lease, None
        if lease is not None and self._clock.elapsed_s() >= self._free_from_s:
            with suppress(ArbiterUnreachable):  # then it runs out by itself
                self._arbiter.release(lease)

    def _renew(self) -> Position | None:
        """None: there is nothing to renew, or it is time to take the lease anew."""
        began_s = self._clock.elapsed_s()
        lease = self._lease
        if lease is None or began_s - self._taken_s >= _TAKE_ANEW_EVERY_S:
            return None
        try:
            renewed = self._arbiter.renew(lease)
        except LeaseLost:
            return None
        return self._held(renewed, began_s)

    def _acquire(self) -> Position:
        began_s = self._clock.elapsed_s()
        try:
            lease = self._arbiter.acquire(self._key, self._holder, ttl_s=self._ttl_s)
        except LeaseHeld as error:
            with self._lock:
                self._lease = None
            return Position(Stand.STANDS_BY, error.message)
        if lease.taken_over:
            # The former leader may not know yet, and what it sent last may still arrive (T3).
            self._free_from_s = self._clock.elapsed_s() + self._ttl_s + LONGEST_EFFECT_S
        self._taken_s = began_s
        return self._held(lease, began_s)

    def _held(self, lease: Lease, began_s: float) -> Position:
        with self._lock:
            self._lease, self._until_s = lease, began_s + self._ttl_s
        return Position(Stand.LEADS)

"""The lease and the guard of the engine themselves, on an arbiter of one moment of the model."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from failover_model.parts import TICK_S, Arbiter

from drkit.clock import ManualClock
from drkit.coordination import arbiter as placed
from drkit.coordination import rules, sightings
from drkit.coordination.interface import (
    ArbiterUnreachable,
    Lease,
    LeaseHeld,
    LeaseLost,
    RoleRecord,
)
from drkit.errors import GuardRefused
from drkit.runs import guard as guarding
from drkit.runs import lease as leasing
from drkit.runs import states
from drkit.runs.journal.journal import ClaimLost
from drkit.runs.lease import LEASE_TTL_S
from drkit.runs.records import Entry

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Checked(NamedTuple):
    """`word`: ok, claim, down, held, lost, outrun, or stopped. `leased`: the present lease is now
    this one's, under a new token. `wait`: ticks to be waited for before an effect (T3)."""

    word: str
    leased: bool
    wait: int


class Place:
    """Where the arbiter's state of the one service lies."""

    def __init__(self, arbiter: Arbiter) -> None:
        epoch, site, run = arbiter.role
        who = None if run is None else f"run{run}"
        role = RoleRecord("s", epoch, site, f"http://{site}.example:8000", NOW, who)
        self.up = arbiter.up
        self.state = rules.ServiceState(_lease(arbiter.lease, "present"), role)

    def read(self, _service: str) -> rules.ServiceState:
        if not self.up:
            raise ArbiterUnreachable("the arbiter does not answer", hint="")
        return self.state

    def change(self, service: str, step: Callable[[Any], Any]) -> rules.ServiceState:
        self.state = step(self.read(service))
        return self.state

    def skew_s(self) -> float | None:
        return None


class Desk:
    """One drkit's lease as the engine keeps it, at one moment of the model."""

    def __init__(self, arbiter: Arbiter, own: tuple[int, int], held: str, wait: int = 0) -> None:
        self.clock = ManualClock()
        self.clock.advance(1e6)
        seen = sightings.MemorySightings()
        if (age := arbiter.seen[own[0]]) is not None:
            seen.save("s", ("present", 1e6 - age * TICK_S))
        self.own = own
        self.place = Place(arbiter)
        self.arbiter = placed.PlacedArbiter(cast(Any, self.place), seen, self.clock)
        self.kept = leasing.KeptLease(self.arbiter, "s", _holder(own), self.clock)
        self.kept._lease = _lease(own, {"now": "present"}.get(held, "old")) if held else None
        self.kept._free_from_s = 1e6 + wait * TICK_S

    def enter(self, entries: list[Entry]) -> Checked:
        def enter() -> None:
            self.kept._acquire()
            if self.kept.wait_s() == 0:  # from here as `_Execution._outwait_former_holder`
                if states.owes_a_wait(entries):
                    self.kept.outwait()
                elif states.under_way(entries):
                    self.kept.outwait_requests()

        return self._outcome(enter)

    def check(self, epoch: int, claimed: bool) -> Checked:
        known = SimpleNamespace(local_only=False)  # stores are not in the model (R3)
        journal = cast(Any, SimpleNamespace(holds=lambda _run: claimed, run=lambda _run: known))
        run_id = f"run{self.own[1]}"
        guard = guarding.StepGuard(journal, run_id, "step", epoch, self.kept, self.clock)
        return self._outcome(guard.check)

    def leave(self) -> bool:
        self.kept._give_back()
        return self.place.state.lease is None

    def abandon(self) -> tuple[bool, int]:
        written = [Entry(1, NOW, 0.0, "acquire", 1, "intent", {"effect": "paid"})]

        def append(_run: str, kind: Any, **values: Any) -> None:
            written.append(Entry(2, NOW, 0.0, values["step"], 1, kind, values["payload"]))

        journal = cast(Any, SimpleNamespace(append=append))
        guard = guarding.StepGuard(journal, "run", "acquire", 2, self.kept, self.clock)
        guard.begin(1)
        guard.leave("it did not stop when it was told to")
        return states.owes_a_wait(written), round(self.kept.wait_s() / TICK_S)

    def renew(self) -> bool:
        return self._outcome(lambda: self.arbiter.renew(cast(Lease, self.kept._lease))).leased

    def record(self, epoch: int) -> bool:
        record = RoleRecord("s", epoch, "site", None, NOW, f"run{self.own[1]}")
        held = cast(Lease, self.kept._lease)
        return self._outcome(lambda: self.arbiter.record_role(held, record)).word == "ok"

    def _outcome(self, act: Callable[[], object]) -> Checked:
        word = "ok"
        try:
            act()
        except ArbiterUnreachable:
            word = "down"
        except ClaimLost:
            word = "claim"
        except LeaseHeld:
            word = "held"
        except LeaseLost:
            word = "lost"
        except GuardRefused:
            word = "outrun"
        held = self.place.state.lease
        leased = held is not None and held.holder == _holder(self.own) and held.token != "present"
        return Checked(word, leased, round(self.kept.wait_s() / TICK_S))


def _holder(own: tuple[int, int]) -> str:
    return f"machine{own[0]}/run{own[1]}"


def _lease(own: tuple[int, int] | None, token: str) -> Lease | None:
    return None if own is None else Lease("s", _holder(own), LEASE_TTL_S, token)

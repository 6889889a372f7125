"""The lease of a run: kept alive in the background, and proved again directly before effects."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType

from drkit.clock import Clock
from drkit.coordination.interface import (
    Arbiter,
    ArbiterUnreachable,
    ClockSkewed,
    Lease,
    LeaseHeld,
    LeaseLost,
    RoleRecord,
)
from drkit.errors import GuardRefused
from drkit.io_policy import LONGEST_EFFECT_S

LEASE_TTL_S = 30.0
_LEAST_TTL_S = 5.0
RENEWAL_S = 5.0
"""How much longer than its time a lease is waited for, in which its holder may renew it."""


class TakenOver(LeaseLost):
    """Another machine has the run now; this one may do nothing more for it (R3)."""


class Superseded(GuardRefused):
    """Another run moved the role since: where traffic leads is no more this one's to say."""


def ttl_of(time_scale: float) -> float:
    """Seconds that a lease lives, where waits are divided by `time_scale`."""
    return max(_LEAST_TTL_S, LEASE_TTL_S / time_scale)


def owner_key(run_id: str) -> str:
    """Where the arbiter says which machine a run that was taken over belongs to."""
    return f"run/{run_id}"


def owner_of(arbiter: Arbiter, run_id: str) -> RoleRecord | None:
    """Its epoch counts the takeovers, its site is the holder; None: it is whose who opened it."""
    record = arbiter.read_role(owner_key(run_id))
    return record if record is not None and record.service == owner_key(run_id) else None


def local_key(run_id: str) -> str:
    """Where the arbiter says of which machine alone a run is, because no store has all of it."""
    return f"run/{run_id}/local-only"


def local_to(arbiter: Arbiter, run_id: str) -> str | None:
    """The holder who did something that no store knew of before; None: a store has all of it (R3).

    Under the lease of the service the answer stays true: it is recorded before each such effect.
    """
    record = arbiter.read_role(local_key(run_id))
    return record.site if record is not None and record.service == local_key(run_id) else None


def unless_owned_by_another(arbiter: Arbiter, run_id: str, holder: str) -> None:
    """Raises `TakenOver` when the run is not `holder`'s any more."""
    owner = owner_of(arbiter, run_id)
    if owner is not None and owner.site != holder:
        raise TakenOver(
            f"run {run_id} was taken over by {owner.site.partition('/')[0]} "
            f"at {owner.since:%Y-%m-%d %H:%M} UTC; nothing was done here",
            hint=f"`drkit runs list --remote` shows it; "
            f"to have it back: drkit runs resume {run_id} --take-over",
        )


class KeptLease:
    """Holds `service`'s lease while it is entered. Raises `LeaseHeld` or `ArbiterUnreachable`.

    `run_id`: the run that acts under it; `TakenOver` is raised when it is another machine's now.
    `patience_s`: how long a lease that another holds is waited for.
    """

    def __init__(
        self,
        arbiter: Arbiter,
        service: str,
        holder: str,
        clock: Clock,
        *,
        run_id: str | None = None,
        ttl_s: float = LEASE_TTL_S,
        patience_s: float = 0.0,
    ) -> None:
        self._run_id = run_id
        self._ttl_s = ttl_s
        self._patience_s = patience_s
        self._clock = clock
        self._free_from_s = 0.0
        self._unanswered_s: dict[str, float] = {}
        self._said_local = False
        self._arbiter = arbiter
        self._service = service
        self._holder = holder
        self._lease: Lease | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> KeptLease:
        self._acquire_in_time()
        try:
            self._unless_taken_over()
        except BaseException:
            self._give_back()
            raise
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=self._ttl_s)
        with self._lock:
            self._give_back()

    def outwait(self) -> None:
        """From now on effects wait as after a takeover: an earlier process did not wait enough."""
        self._free_from_s = self._clock.elapsed_s() + self._ttl_s + LONGEST_EFFECT_S

    def outwait_requests(self) -> None:
        """From now on effects wait for the longest request: a process died while it sent one."""
        longest_s = self._clock.elapsed_s() + LONGEST_EFFECT_S
        self._free_from_s = max(self._free_from_s, longest_s)

    def unanswered(self, step_id: str, sent_s: float | None = None) -> None:
        """What that step sent then (None: now) got no answer; it may arrive as late as the longest
        request does.
        """
        since_s = self._clock.elapsed_s() if sent_s is None else sent_s
        self._unanswered_s[step_id] = since_s + LONGEST_EFFECT_S

    def wait_s(self, *, again: str | None = None) -> float:
        """Seconds until nothing that a former process sent can still arrive (T3): after a takeover
        its lease's full time, for it may not know yet, and then its longest request; and nothing
        that got no answer here, but for what step `again` asked for, and asks for again.
        """
        ends_s = [end_s for step_id, end_s in self._unanswered_s.items() if step_id != again]
        return max(0.0, max([self._free_from_s, *ends_s]) - self._clock.elapsed_s())

    def prove(self, run_id: str, epoch: int | None) -> Lease:
        """The lease, renewed now; the role record is not of a later epoch than this run's, where
        that matters (None: it does not).

        Raises `LeaseLost` when another holds it, `Superseded` when another run moved the role.
        """
        with self._lock:
            lease = self._renew()
        role = self._arbiter.read_role(self._service) if epoch is not None else None
        if role is not None and role.epoch >= (epoch or 0) and role.run_id != run_id:
            raise Superseded(
                f"epoch {role.epoch} was recorded by run {role.run_id or 'nobody'}, "
                f"and this run holds epoch {epoch}",
                hint="traffic was moved by somebody else meanwhile: `drkit status` shows where to",
            )
        return lease

    def say_local_only(self, run_id: str) -> None:
        """The arbiter knows, when this returns, that nobody else can take the run over: a store
        that was away cannot say so when it is back.
        """
        with self._lock:
            if self._said_local:
                return
            key, holder = local_key(run_id), self._holder
            if local_to(self._arbiter, run_id) != holder:
                before = self._arbiter.read_role(key)
                lease = self._arbiter.acquire(key, holder, ttl_s=self._ttl_s)
                epoch = (before.epoch if before is not None else 0) + 1
                record = RoleRecord(key, epoch, holder, None, self._clock.now(), run_id)
                self._arbiter.record_role(lease, record)
                self._arbiter.release(lease)
            self._said_local = True

    def _renew(self) -> Lease:
        """A lease that ran out, and that nobody took, is taken again: nothing was sent meanwhile
        that this proof does not come before.
        """
        if self._lease is None:
            raise LeaseLost(f"the lease of {self._service} is lost", hint="resume the run later")
        try:
            self._lease = self._arbiter.renew(self._lease)
        except LeaseLost:
            self._again()
        return self._lease

    def _acquire(self) -> None:
        self._lease = self._arbiter.acquire(self._service, self._holder, ttl_s=self._ttl_s)
        if self._lease.taken_over:
            self.outwait()

    def _acquire_in_time(self) -> None:
        end_s = self._clock.elapsed_s() + self._patience_s
        while True:
            try:
                return self._acquire()
            except LeaseHeld:
                if self._clock.elapsed_s() >= end_s:
                    raise
                self._clock.sleep(min(1.0, self._patience_s))

    def _unless_taken_over(self) -> None:
        """Nobody can take a run over without this lease: so it is asked for once, under it."""
        if self._run_id is not None:
            unless_owned_by_another(self._arbiter, self._run_id, self._holder)

    def _give_back(self) -> None:
        """Unless something may still arrive: then it runs out, so that the next one waits (T3)."""
        if self._lease is not None and self.wait_s() == 0:
            with suppress(ArbiterUnreachable):  # then it runs out by itself
                self._arbiter.release(self._lease)

    def _again(self) -> None:
        held = self._arbiter.holding(self._service)
        if held is not None and held.holder != self._holder:
            # What a step looked at was before another acted, even if that one is gone by now:
            # only a run that is taken up anew, and waits, may go on (T3).
            self._lease = None
            raise LeaseLost(
                f"the lease of {self._service} was taken over: {held.holder} holds it",
                hint="resume the run later: it waits, and looks before it does anything",
            )
        try:
            self._acquire()
            self._unless_taken_over()
        except TakenOver:
            self._give_back()
            self._lease = None
            raise
        except LeaseHeld as error:
            self._lease = None
            raise LeaseLost(
                f"the lease of {self._service} was taken over: {error.message}", hint=error.hint
            ) from error

    def _keep(self) -> None:
        while not self._ended.wait(self._ttl_s / 3):
            with self._lock:
                if self._lease is None:
                    return
                # A lease that is lost is found out by `prove`, before anything is done under it.
                with suppress(ArbiterUnreachable, LeaseLost, ClockSkewed):
                    self._keep_alive(self._lease)

    def _keep_alive(self, lease: Lease) -> None:
        """A lease that merely ran out, because the arbiter was away or this machine stood still, is
        taken again: a long step proves nothing, and nobody is to come between meanwhile.
        """
        try:
            self._lease = self._arbiter.renew(lease)
        except LeaseLost:
            held = self._arbiter.holding(self._service)
            if held is None or held.holder != self._holder or held.left_s > 0:
                raise
            self._again()

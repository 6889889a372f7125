"""The lease of a run: kept alive in the background, and proved again directly before effects."""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType

from drkit.clock import Clock
from drkit.coordination.interface import Arbiter, ArbiterUnreachable, Lease, LeaseHeld, LeaseLost
from drkit.errors import GuardRefused
from drkit.io_policy import LONGEST_EFFECT_S

LEASE_TTL_S = 30.0


class KeptLease:
    """Holds `service`'s lease while it is entered. Raises `LeaseHeld` or `ArbiterUnreachable`."""

    def __init__(self, arbiter: Arbiter, service: str, holder: str, clock: Clock) -> None:
        self._clock = clock
        self._free_from_s = 0.0
        self._arbiter = arbiter
        self._service = service
        self._holder = holder
        self._lease: Lease | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> KeptLease:
        self._acquire()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=LEASE_TTL_S)
        with self._lock:
            if self._lease is not None:
                with suppress(ArbiterUnreachable):  # then it runs out by itself
                    self._arbiter.release(self._lease)

    def wait_s(self) -> float:
        """Seconds until nothing that a former holder sent can still arrive (T3): after a takeover
        its lease's full time, for it may not know yet, and then its longest request.
        """
        return max(0.0, self._free_from_s - self._clock.elapsed_s())

    def prove(self, run_id: str, epoch: int) -> Lease:
        """The lease, renewed now; the role record is not of a later epoch than this run's.

        Raises `LeaseLost` when another holds it, `GuardRefused` when another run moved the role.
        """
        with self._lock:
            lease = self._renew()
        role = self._arbiter.read_role(self._service)
        if role is not None and role.epoch >= epoch and role.run_id != run_id:
            raise GuardRefused(
                f"epoch {role.epoch} was recorded by run {role.run_id or 'nobody'}, "
                f"and this run holds epoch {epoch}",
                hint="traffic was moved by somebody else meanwhile: `drkit status` shows where to",
            )
        return lease

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
        self._lease = self._arbiter.acquire(self._service, self._holder, ttl_s=LEASE_TTL_S)
        if self._lease.taken_over:
            self._free_from_s = self._clock.elapsed_s() + LEASE_TTL_S + LONGEST_EFFECT_S

    def _again(self) -> None:
        try:
            self._acquire()
        except LeaseHeld as error:
            self._lease = None
            raise LeaseLost(
                f"the lease of {self._service} was taken over: {error.message}", hint=error.hint
            ) from error

    def _keep(self) -> None:
        while not self._ended.wait(LEASE_TTL_S / 3):
            with self._lock:
                if self._lease is None:
                    return
                # A lease that is lost is found out by `prove`, before anything is done under it.
                with suppress(ArbiterUnreachable, LeaseLost):
                    self._lease = self._arbiter.renew(self._lease)

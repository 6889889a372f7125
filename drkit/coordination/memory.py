"""An arbiter in memory that passes the conformance suite and can be told to be unreachable."""

from __future__ import annotations

import secrets
import threading
from dataclasses import replace

from drkit.clock import Clock
from drkit.coordination.interface import (
    ArbiterUnreachable,
    Lease,
    LeaseHeld,
    LeaseLost,
    RoleRecord,
)
from drkit.errors import GuardRefused


class MemoryArbiter:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._leases: dict[str, tuple[Lease, float]] = {}
        self._roles: dict[str, RoleRecord] = {}
        self._lock = threading.Lock()
        self.down = False

    def read_role(self, service: str) -> RoleRecord | None:
        self._answer()
        return self._roles.get(service)

    def acquire(self, service: str, holder: str, *, ttl_s: float) -> Lease:
        self._answer()
        with self._lock:
            held = self._held(service)
            if held and held.holder != holder:
                raise LeaseHeld(f"{held.holder} holds the lease", hint="wait until it is free")
            return self._grant(Lease(service, holder, ttl_s, secrets.token_hex(8)))

    def renew(self, lease: Lease) -> Lease:
        self._answer()
        with self._lock:
            self._require(lease)
            return self._grant(replace(lease, token=secrets.token_hex(8)))

    def release(self, lease: Lease) -> None:
        self._answer()
        with self._lock:
            if lease == self._held(lease.service):
                del self._leases[lease.service]

    def record_role(self, lease: Lease, record: RoleRecord) -> None:
        self._answer()
        with self._lock:
            self._require(lease)
            former = self._roles.get(record.service)
            if former and record.epoch <= former.epoch:
                raise GuardRefused(f"epoch {record.epoch} is not new", hint="drkit status")
            self._roles[record.service] = record

    def _grant(self, lease: Lease) -> Lease:
        self._leases[lease.service] = (lease, self._clock.elapsed_s())
        return lease

    def _held(self, service: str) -> Lease | None:
        lease, since_s = self._leases.get(service, (None, 0.0))
        if lease is None or self._clock.elapsed_s() - since_s > lease.ttl_s:
            return None
        return lease

    def _require(self, lease: Lease) -> None:
        if self._held(lease.service) != lease:
            raise LeaseLost(f"the lease of {lease.service} is lost", hint="drkit status")

    def _answer(self) -> None:
        if self.down:
            raise ArbiterUnreachable("told to be down", hint="a test asked so")

"""Acting without the arbiter, because an operator typed that it must be (R1).

The last role that was read takes the place of the record. Nobody can be kept from acting at the
same time; so effects wait as after a takeover, for the lease of whoever had it to run out. What
the run records is kept in this state, and told to the arbiter by the first command that reaches
it again.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime

from drkit.coordination.interface import (
    Arbiter,
    ArbiterUnreachable,
    Holding,
    Lease,
    LeaseLost,
    RoleRecord,
)
from drkit.errors import GuardRefused
from drkit.state.database import Database


class BrokenGlass:
    """`Arbiter` for one process. `last`: the role record that was read last, None if none was."""

    def __init__(self, database: Database, service: str, last: RoleRecord | None) -> None:
        self._database = database
        self._service = service
        self._last = last
        self._token: str | None = None

    def read_role(self, service: str) -> RoleRecord | None:
        if service != self._service:
            return None
        return kept_role(self._database, service) or self._last

    def acquire(self, service: str, holder: str, *, ttl_s: float) -> Lease:
        self._token = secrets.token_hex(16)
        return Lease(service, holder, ttl_s, self._token, taken_over=True)

    def holding(self, service: str) -> Holding | None:
        return None

    def renew(self, lease: Lease) -> Lease:
        if lease.token != self._token:
            raise LeaseLost(f"the lease of {lease.service} is another one", hint="resume the run")
        self._token = secrets.token_hex(16)
        return replace(lease, token=self._token)

    def release(self, lease: Lease) -> None:
        self._token = None

    def record_role(self, lease: Lease, record: RoleRecord) -> None:
        before = self.read_role(record.service)
        if lease.token != self._token:
            raise LeaseLost(f"the lease of {lease.service} is another one", hint="resume the run")
        if before is not None and record.epoch <= before.epoch:
            raise GuardRefused(
                f"epoch {record.epoch} is not after epoch {before.epoch}, the last one known",
                hint="nothing was recorded; bring the arbiter back",
            )
        value = {
            "epoch": record.epoch,
            "site": record.site,
            "endpoint_url": record.endpoint_url,
            "since": record.since.isoformat(),
            "run_id": record.run_id,
            "snapshots": list(record.snapshots),
        }
        self._database.remember(_name(record.service), value)


def kept_role(database: Database, service: str) -> RoleRecord | None:
    """What a run recorded while the arbiter was away, and the arbiter does not know yet."""
    value = database.recall(_name(service))
    if not isinstance(value, dict):
        return None
    return RoleRecord(
        service,
        int(value["epoch"]),
        str(value["site"]),
        value["endpoint_url"],
        datetime.fromisoformat(value["since"]),
        value["run_id"],
        tuple(value["snapshots"]),
    )


def tell_arbiter(
    database: Database, arbiter: Arbiter, service: str, holder: str, *, ttl_s: float
) -> RoleRecord | None:
    """The role record that was kept, now on the arbiter; None when there is none, or it is still
    away. Killed in between, it is told again.

    Raises `GuardRefused` when another run moved the role meanwhile: a person has to look, and
    `LeaseHeld` while somebody acts.
    """
    kept = kept_role(database, service)
    if kept is None:
        return None
    try:
        role = arbiter.read_role(service)
        if role is not None and role.epoch >= kept.epoch and role.run_id != kept.run_id:
            raise GuardRefused(
                f"epoch {role.epoch} was recorded by run {role.run_id or 'nobody'} while run "
                f"{kept.run_id} acted without the arbiter: {role.site} serves by the record, "
                f"{kept.site} by that run",
                hint="see where traffic leads, and fail over to the place that is to serve",
            )
        if role is None or role.epoch < kept.epoch:
            lease = arbiter.acquire(service, holder, ttl_s=ttl_s)
            try:
                arbiter.record_role(lease, kept)
            finally:
                arbiter.release(lease)
    except ArbiterUnreachable:
        return None
    database.remember(_name(service), None)
    return kept


def _name(service: str) -> str:
    return f"role-not-recorded/{service}"
